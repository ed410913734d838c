/* SPDX-License-Identifier: BSD-3-Clause */
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static void to_stderr(void *opaque, enum memexpose_log_level level,
                      const char *line)
{
    (void)opaque;
    if (level <= MEMEXPOSE_LOG_WARNING) {
        fprintf(stderr, "memexpose: %s\n", line);
    }
}

static struct {
    memexpose_log_fn *fn;
    void *opaque;
} sink = { to_stderr, NULL };

void memexpose_set_log(memexpose_log_fn *fn, void *opaque)
{
    sink.fn = fn ? fn : to_stderr;
    sink.opaque = opaque;
}

void mx_log(enum memexpose_log_level level, const char *format, ...)
{
    int saved = errno;
    char line[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    sink.fn(sink.opaque, level, line);
    errno = saved;
}
