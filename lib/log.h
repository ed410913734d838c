/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MX_LOG_H
#define MX_LOG_H

#include <memexpose/log.h>

/* One line to the process's log. */
void mx_log(enum memexpose_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
