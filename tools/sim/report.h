/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What goes to stderr: failures, the library's log, the trace.
 */
#ifndef SIM_REPORT_H
#define SIM_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#include <memexpose/memexpose.h>

#include "failure.h"

#define PROGRAM "memexpose-sim"

/* One line to stderr, with the program's name in front. */
void report(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Take the library's log, whose lines begin with the device's name. */
void report_log(void);

/*
 * Write a line for each message, and the library's decisions, to the file at
 * @path, or to stderr if that is NULL.  Returns 0, or -1 with the reason.
 */
int report_trace(const char *path, struct failure *failure);
void report_close_trace(void);

/* The trace callback of a device. */
void report_message(void *opaque, enum memexpose_link link, bool sent,
                    const void *message, size_t bytes);

/* Called after a line was written, to draw a prompt again; NULL: none. */
void report_set_prompt(void (*redraw)(void *opaque), void *opaque);

#endif
