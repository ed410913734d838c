/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Time, in nanoseconds of CLOCK_MONOTONIC.
 */
#ifndef GUEST_CLOCK_H
#define GUEST_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

enum { CLOCK_FOREVER = -1 };    /* a deadline that never comes */

int64_t clock_now(void);

/* @timeout from now. */
int64_t clock_deadline(int64_t timeout);

/* Milliseconds until then, as poll(2) wants them: -1 for ever. */
int clock_left(int64_t deadline);

/* A millisecond passes; false: @deadline has passed before. */
bool clock_tick(int64_t deadline);

#endif
