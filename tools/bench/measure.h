/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Numbers, and what is said of them.
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stddef.h>
#include <stdint.h>

/* One number for each thing that was measured. */
struct samples {
    double *values;
    size_t count, room;
};

struct summary {
    double p50, p99, min;
};

/* CLOCK_MONOTONIC, in nanoseconds. */
int64_t measure_now(void);

/* Make room for @room numbers.  Returns 0 or -ENOMEM. */
int samples_init(struct samples *samples, size_t room);
void samples_clear(struct samples *samples);

/* Numbers beyond the room are dropped. */
static inline void samples_add(struct samples *samples, double value)
{
    if (samples->count < samples->room) {
        samples->values[samples->count++] = value;
    }
}

/* Sorts the samples, of which there is one at least. */
void samples_summarise(struct samples *samples, struct summary *summary);

/* The median of @count numbers, which are sorted. */
double measure_median(double *values, size_t count);

#endif
