/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench: how long accesses take.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <memexpose/protocol.h>

#include "../sim/numbers.h"
#include "clock.h"
#include "fault.h"
#include "mmio.h"
#include "target.h"

enum {
    SAMPLES = 10000,
    COPY_DEFAULT = 512 << 10,   /* bytes copied at once */
    COPY_LEAST = 64 << 20,      /* bytes copied in all */
    COPY_TIME = 1000000000      /* nanoseconds, unless it takes longer */
};

static int by_size(const void *a, const void *b)
{
    const int64_t *left = a, *right = b;

    return (*left > *right) - (*left < *right);
}

static void print_latency(const char *name, int64_t *samples)
{
    qsort(samples, SAMPLES, sizeof(*samples), by_size);
    printf("%s_ns_median %" PRId64 "\n", name, samples[SAMPLES / 2]);
    printf("%s_ns_p99 %" PRId64 "\n", name,
           samples[SAMPLES - 1 - SAMPLES / 100]);
}

struct sampling {
    const volatile uint8_t *at; /* 8 bytes there are read; NULL: nothing */
    int64_t *samples;           /* nanoseconds of each */
};

static void take_samples(void *arg)
{
    struct sampling *sampling = arg;
    int64_t before;
    int i;

    for (i = 0; i < SAMPLES; i++) {
        before = clock_now();
        if (sampling->at) {
            mmio_read(sampling->at, 8);
        }
        sampling->samples[i] = clock_now() - before;
    }
}

static int measure(struct target *target, const char *name,
                   const volatile uint8_t *at, int64_t *samples)
{
    struct sampling sampling = { at, samples };

    if (fault_caught(take_samples, &sampling)) {
        return fail(&target->guest->failure, "%s: bus error", name);
    }
    print_latency(name, samples);
    return 0;
}

static int measure_latencies(struct target *target, uint64_t address)
{
    int64_t *samples = calloc(SAMPLES, sizeof(*samples));
    struct slice slice;
    uint64_t value;
    int ret = -1;

    if (!samples) {
        return fail(&target->guest->failure, "%s", strerror(ENOMEM));
    }
    /* the first access may have to map what the peer shares */
    if (target_read(target, address, 8, &value) == 0 &&
        region_map(target->region, address, 8, &slice,
                   &target->guest->failure) == 0) {
        ret = measure(target, "clock", NULL, samples) < 0 ||
            measure(target, "register_read", target->guest->io.mapped.at +
                    MEMEXPOSE_REG_LINK, samples) < 0 ||
            measure(target, "window_read", slice.at, samples) < 0 ? -1 : 0;
        slice_unmap(&slice);
    }
    free(samples);
    return ret;
}

/* Copies of the same bytes, over and over again. */
struct copying {
    const volatile uint8_t *at;
    uint64_t *words;            /* where they go */
    size_t size;
    volatile uint64_t done;     /* bytes */
    volatile int64_t spent;     /* nanoseconds */
};

static void copy_again(void *arg)
{
    struct copying *copying = arg;
    int64_t began = clock_now();
    size_t i;

    while (copying->done < COPY_LEAST && copying->spent < COPY_TIME) {
        for (i = 0; i < copying->size; i += 8) {
            copying->words[i / 8] = mmio_read_raw8(copying->at + i);
        }
        copying->done += copying->size;
        copying->spent = clock_now() - began;
    }
}

static uint64_t whole_words(uint64_t size)
{
    size = size < TARGET_PIECE ? size : TARGET_PIECE;
    return size < 8 ? 8 : size & ~UINT64_C(7);
}

static int measure_copy(struct target *target, uint64_t address,
                        uint64_t size)
{
    struct failure *failure = &target->guest->failure;
    struct copying copying = { .size = (size_t)size };
    struct slice slice = { NULL, 0, NULL };
    int ret = -1;

    copying.words = malloc(copying.size);
    if (!copying.words) {
        fail(failure, "%s", strerror(ENOMEM));
    } else if (region_map(target->region, address, copying.size, &slice,
                          failure) == 0) {
        copying.at = slice.at;
        ret = fault_caught(copy_again, &copying)
            ? fail(failure, "copy: bus error") : 0;
    }
    slice_unmap(&slice);
    free(copying.words);
    if (ret == 0) {
        printf("copy_bytes_per_second %.0f\n", (double)copying.done * 1e9 /
               (double)(copying.spent > 0 ? copying.spent : 1));
    }
    return ret;
}

/* Were the links up all the time? */
static int check_links(struct target *target, uint64_t address)
{
    uint64_t value;

    return target_read(target, address, 8, &value);
}

/* What is not said: the beginning of what the peer exports, if it told. */
static int choose(struct target *target, int count, uint64_t *address,
                  uint64_t *size)
{
    struct io *io = &target->guest->io;
    uint64_t room;

    if (count < 2 && io_read_reg(io, MEMEXPOSE_REG_SPAN_START, 8, address,
                                 &target->guest->failure) < 0) {
        return -1;
    }
    room = *address < io->window.size ? io->window.size - *address : 0;
    if (count < 3) {
        *size = room < COPY_DEFAULT ? room : COPY_DEFAULT;
    }
    return 0;
}

COMMAND(bench)
{
    struct failure *failure = &guest->failure;
    struct target target;
    uint64_t address = 0, size = 0;
    int ret;

    if ((count > 1 && number_address(failure, "ADDR", word[1],
                                     &address) < 0) ||
        (count > 2 && number_size(failure, "LEN", word[2], &size) < 0)) {
        return command_refused(guest, command);
    }
    if (address % 8 != 0) {
        fail(failure, "'%s': not aligned, expected an ADDR that is a "
             "multiple of 8", word[1]);
        return command_refused(guest, command);
    }
    ret = target_open(&target, guest, false);
    if (ret == 0) {
        ret = choose(&target, count, &address, &size);
    }
    if (ret == 0) {
        ret = target_holds(&target, count > 1 ? word[count - 1] : "bench",
                           address, size < 8 ? 8 : size);
    }
    if (ret == 0) {
        ret = measure_latencies(&target, address);
    }
    if (ret == 0) {
        ret = measure_copy(&target, address, whole_words(size));
    }
    if (ret == 0) {
        ret = check_links(&target, address);
    }
    target_close(&target);
    return ret < 0 ? command_failed(guest, command) : DONE;
}
