/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MX_LOG_H
#define MX_LOG_H

#include <stdint.h>

#include <memexpose/log.h>

/* One line to the process's log. */
void mx_log(enum memexpose_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * How much of the log a peer may fill: MX_LOG_LINES in MX_LOG_PERIOD
 * nanoseconds.  The others are counted, and told of when there is room again.
 */
#define MX_LOG_LINES  100
#define MX_LOG_PERIOD (10 * INT64_C(1000000000))

struct mx_log_limit {
    int64_t since;              /* when the period began */
    unsigned lines;             /* in it */
    unsigned long left_out;
};

/* One line that the peer of @name causes, unless it causes too many. */
void mx_log_peer(struct mx_log_limit *limit, enum memexpose_log_level level,
                 const char *name, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
