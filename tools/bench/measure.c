/* SPDX-License-Identifier: BSD-3-Clause */
#include "measure.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

int64_t measure_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int samples_init(struct samples *samples, size_t room)
{
    samples->values = calloc(room, sizeof(*samples->values));
    samples->count = 0;
    samples->room = room;
    return samples->values ? 0 : -ENOMEM;
}

void samples_clear(struct samples *samples)
{
    free(samples->values);
    samples->values = NULL;
    samples->count = 0;
    samples->room = 0;
}

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;

    return (a > b) - (a < b);
}

/* The value below which @part of the sorted @values lie. */
static double quantile(const double *values, size_t count, double part)
{
    size_t index = (size_t)(part * (double)(count - 1) + 0.5);

    return values[index];
}

void samples_summarise(struct samples *samples, struct summary *summary)
{
    qsort(samples->values, samples->count, sizeof(*samples->values),
          by_value);
    summary->p50 = quantile(samples->values, samples->count, 0.50);
    summary->p99 = quantile(samples->values, samples->count, 0.99);
    summary->min = samples->values[0];
}

double measure_median(double *values, size_t count)
{
    qsort(values, count, sizeof(*values), by_value);
    return quantile(values, count, 0.5);
}
