/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counts what the library and a test allocate and map.  The linker sends their
 * calls here (--wrap); what libc does for itself does not come by.
 */
#ifndef MX_TESTS_HARNESS_COUNT_H
#define MX_TESTS_HARNESS_COUNT_H

#include <stdbool.h>
#include <stddef.h>

/* Called for what is left: @text says what, and where it was made. */
typedef void harness_left_fn(const char *text);

/* From now on count what is made. */
void harness_count_begin(void);

/* Report each allocation and mapping made since then that is left. */
void harness_count_end(harness_left_fn *left);

/* How many allocations made since then are left. */
size_t harness_count_allocations(void);

/* The @nth allocation from now fails; 0: none. */
void harness_count_fail(unsigned long nth);

/* Has it come to that? */
bool harness_count_failed(void);

/* Memory that is not counted, never NULL. */
void *harness_uncounted_realloc(void *old, size_t bytes);
void harness_uncounted_free(void *old);

#endif
