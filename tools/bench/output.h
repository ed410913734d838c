/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Results, for people and for programs.  Functions return 0, or -1 if
 * standard output cannot be written.
 */
#ifndef BENCH_OUTPUT_H
#define BENCH_OUTPUT_H

#include "bench.h"

/* A number as the figure has it: 10 characters at most. */
struct number {
    char text[24];
};

/* What was compared, as is said of targets: "1.07", "+1.4 ns". */
struct number output_compared(const struct figure *figure, double value);

int output_head(const struct bench *bench);
int output_row(const struct figure *figure, const struct result *result);
int output_json(const struct figure *figure, const struct result *result);

/* Names and what they mean, for --list. */
int output_list(bool (*choose)(void *arg, const char *name), void *arg);

#endif
