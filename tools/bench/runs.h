/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What measures: the run of each figure.
 */
#ifndef BENCH_RUNS_H
#define BENCH_RUNS_H

#include "bench.h"

typedef int run_fn(struct bench *bench, const struct figure *figure,
                   struct result *result);

run_fn run_round_trip;          /* argument: how long to poll, nanoseconds */
run_fn run_round_trip_in_poll;  /* the floor by poll(2) and recv(2) */
run_fn run_poll_bound;          /* the same without a floor */
run_fn run_event_loop;          /* the peer is one of libevent's */
run_fn run_sequential;          /* argument: how many ranges */
run_fn run_random;
run_fn run_bulk_read, run_bulk_write;
run_fn run_block_read, run_block_write; /* argument: as run_round_trip */
run_fn run_block_gain;
run_fn run_interrupt_rate;
run_fn run_interrupt_latency;   /* argument: as run_round_trip */
run_fn run_invalidate;          /* argument: how many ranges are mapped */
run_fn run_connect;
run_fn run_first_mapped;        /* argument: with the feature push? */
run_fn run_memory;              /* argument: were there blocks, too? */
run_fn run_allocations;         /* argument: enum cost */
run_fn run_system_calls;

/* Of what a request costs, in which process, and how they wait. */
enum cost {
    COST_ANSWERING = 1,         /* else of the one that asks */
    COST_BLOCKS = 2,            /* else 8 bytes */
    COST_POLLING = 4            /* else sleeping */
};

enum {
    BULK_SIZE = 1 << 22,        /* copied at once */
    BLOCK_SIZE = 1 << 16
};

#endif
