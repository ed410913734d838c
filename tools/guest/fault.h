/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Accesses that may fail: on some machines the CPU then takes an exception,
 * of which the kernel makes a SIGBUS.
 */
#ifndef GUEST_FAULT_H
#define GUEST_FAULT_H

#include <stdbool.h>

/* Catch them from now on. */
void fault_init(void);

/*
 * Call @body(@arg).  True: an access in it failed, and the rest of it was
 * not run.  What it has done until then must be in volatile objects.
 */
bool fault_caught(void (*body)(void *arg), void *arg);

#endif
