/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All figures, in the order in which they are measured and shown.
 */
#include "runs.h"

#define US 1e3, COMPARE_RATIO
#define TRIP "an 8-byte read of a register of the other process"
#define STREAM "15 bytes there and 45 back over a unix stream"
#define LOADS "a load from mapped memory, found by its address in the window"
#define POINTER "the same loads by pointers, each after the one before"
#define SAME "the same bytes by send(2) and recv(2)"

const struct figure figures[] = {
    { "roundtrip-blocking", TRIP ", both asleep in between", STREAM,
      "us", false, US, 1.10, false, run_round_trip, 0 },
    { "roundtrip-blocking-poll", "the same, beside a floor that waits as it "
      "has to for more than one socket", STREAM ", in poll(2)", "us", false,
      US, NO_TARGET, false, run_round_trip_in_poll, 0 },
    { "roundtrip-polling", TRIP ", both polling up to 100 us",
      STREAM ", both polling", "us", false, US, 1.30, false,
      run_round_trip, 100000 },
    { "roundtrip-bound-0", TRIP ", polling no longer than that many us", NULL,
      "us", false, 1e3, COMPARE_NOTHING, NO_TARGET, false,
      run_poll_bound, 0 },
    { "roundtrip-bound-5", NULL, NULL, "us", false, 1e3, COMPARE_NOTHING,
      NO_TARGET, false, run_poll_bound, 5000 },
    { "roundtrip-bound-20", NULL, NULL, "us", false, 1e3, COMPARE_NOTHING,
      NO_TARGET, false, run_poll_bound, 20000 },
    { "roundtrip-bound-50", NULL, NULL, "us", false, 1e3, COMPARE_NOTHING,
      NO_TARGET, false, run_poll_bound, 50000 },
    { "roundtrip-bound-100", NULL, NULL, "us", false, 1e3, COMPARE_NOTHING,
      NO_TARGET, false, run_poll_bound, 100000 },

    { "roundtrip-event-blocking", TRIP ", which a libevent loop serves",
      STREAM ", both asleep or both polling", "us", false, US, NO_TARGET,
      false, run_event_loop, 0 },
    { "roundtrip-event-polling", NULL, NULL, "us", false, US, NO_TARGET,
      false, run_event_loop, 100000 },

    { "mapped-sequential-1", LOADS ", by the number of ranges mapped",
      POINTER, "ns", false, 1, COMPARE_EXTRA, 2, false, run_sequential, 1 },
    { "mapped-sequential-1000", NULL, NULL, "ns", false, 1, COMPARE_EXTRA,
      NO_TARGET, false, run_sequential, 1000 },
    { "mapped-sequential-100000", NULL, NULL, "ns", false, 1, COMPARE_EXTRA,
      NO_TARGET, false, run_sequential, 100000 },
    { "mapped-random-1", NULL, NULL, "ns", false, 1, COMPARE_EXTRA, 2, false,
      run_random, 1 },
    { "mapped-random-1000", NULL, NULL, "ns", false, 1, COMPARE_EXTRA, 25,
      false, run_random, 1000 },
    { "mapped-random-100000", NULL, NULL, "ns", false, 1, COMPARE_EXTRA, 120,
      false, run_random, 100000 },

    { "bulk-read", "4 MiB of mapped memory, copied in one call",
      "memcpy(3) between two mappings of this process, the same memory",
      "GB/s", true, BULK_SIZE, COMPARE_SPEED, 0.97, true, run_bulk_read, 0 },
    { "bulk-write", NULL, NULL, "GB/s", true, BULK_SIZE, COMPARE_SPEED, 0.97,
      true, run_bulk_write, 0 },

    { "block-read", "64 KiB of memory that cannot be mapped, in one call",
      SAME ", both asleep in between", "us", false, US, 1.3, false,
      run_block_read, 0 },
    { "block-write", NULL, NULL, "us", false, US, 1.3, false,
      run_block_write, 0 },
    { "block-read-polling", "the same, both polling up to 100 us",
      SAME ", both polling", "us", false, US, NO_TARGET, false,
      run_block_read, 100000 },
    { "block-write-polling", NULL, NULL, "us", false, US, NO_TARGET, false,
      run_block_write, 100000 },
    { "block-gain", "the same 64 KiB, read",
      "read 8 bytes at a time (4 KiB of them, times 16)", "us", false, 1e3,
      COMPARE_SPEED, 20, true, run_block_gain, 0 },

    { "interrupt-rate", "interrupts in one direction, as fast as they go",
      "messages of 142 bytes by send(2) and recv(2)", "k/s", true, 1e6,
      COMPARE_SPEED, 0.9, true, run_interrupt_rate, 0 },
    { "interrupt-latency", "an interrupt there and one back",
      "142 bytes there and back, both asleep or both polling", "us", false,
      US, NO_TARGET, false, run_interrupt_latency, 0 },
    { "interrupt-latency-polling", NULL, NULL, "us", false, US, NO_TARGET,
      false, run_interrupt_latency, 100000 },

    { "invalidate-1", "taking back one range, by how many the peer has mapped",
      "an 8-byte read over the same link", "us", false, US, NO_TARGET, false,
      run_invalidate, 1 },
    { "invalidate-1000", NULL, NULL, "us", false, US, NO_TARGET, false,
      run_invalidate, 1000 },
    { "invalidate-20000", NULL, NULL, "us", false, US, 2, false,
      run_invalidate, 20000 },

    { "connect-ready", "from connecting to a device that has settled hello",
      "two connect(2), then 64 bytes there and back", "us", false, US,
      NO_TARGET, false, run_connect, 0 },
    { "connect-mapped", "from connecting to the first load from memory mapped",
      "the same, then a descriptor asked for, mmap(2) and a load", "us",
      false, US, NO_TARGET, false, run_first_mapped, 0 },
    { "connect-mapped-push", NULL, NULL, "us", false, US, NO_TARGET, false,
      run_first_mapped, 1 },

    { "memory-device", "resident memory for each device with a peer, mappings "
      "aside", NULL, "KiB", false, 1024, COMPARE_NOTHING, 64, false,
      run_memory, 0 },
    { "memory-device-blocks", "the same when blocks of 64 KiB have gone both "
      "ways", NULL, "KiB", false, 1024, COMPARE_NOTHING, 64, false,
      run_memory, 1 },

    { "allocations-asking", "allocations for each request", NULL, "", false,
      1, COMPARE_NOTHING, 0, false, run_allocations, 0 },
    { "allocations-answering", NULL, NULL, "", false, 1, COMPARE_NOTHING, 0,
      false, run_allocations, COST_ANSWERING },
    { "allocations-block-asking", NULL, NULL, "", false, 1, COMPARE_NOTHING,
      0, false, run_allocations, COST_BLOCKS },
    { "allocations-block-answering", NULL, NULL, "", false, 1,
      COMPARE_NOTHING, 0, false, run_allocations,
      COST_BLOCKS | COST_ANSWERING },
    { "calls-blocking-asking", "system calls for each request", NULL, "",
      false, 1, COMPARE_NOTHING, 3, false, run_system_calls, 0 },
    { "calls-blocking-answering", NULL, NULL, "", false, 1, COMPARE_NOTHING,
      3, false, run_system_calls, COST_ANSWERING },
    { "calls-polling-asking", NULL, NULL, "", false, 1, COMPARE_NOTHING,
      NO_TARGET, false, run_system_calls, COST_POLLING },
    { "calls-polling-answering", NULL, NULL, "", false, 1, COMPARE_NOTHING,
      NO_TARGET, false, run_system_calls, COST_POLLING | COST_ANSWERING },
};

const size_t figure_count = sizeof(figures) / sizeof(figures[0]);
