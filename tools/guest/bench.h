/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the parts of bench share.
 */
#ifndef GUEST_BENCH_H
#define GUEST_BENCH_H

#include "guest.h"

/* Sort @count times in nanoseconds, and print NAME_ns_min, _median, _p99. */
void bench_print(const char *name, int64_t *samples, size_t count);

/*
 * Interrupts there and back, with another guest that answers.  Return 0, or
 * -1 with the reason in the guest's failure.
 */
int bench_ask(struct guest *guest, bool by_irq);

/* @timeout: how long to wait for the first, in nanoseconds; -1: for ever. */
int bench_answer(struct guest *guest, bool by_irq, int64_t timeout);

#endif
