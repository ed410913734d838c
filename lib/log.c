/* SPDX-License-Identifier: BSD-3-Clause */
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include "os.h"

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

static bool has_room(struct mx_log_limit *limit, const char *name)
{
    int64_t now = mx_os_now();

    if (limit->since == 0 || now - limit->since >= MX_LOG_PERIOD) {
        if (limit->left_out > 0) {
            mx_log(MEMEXPOSE_LOG_WARNING, "%s: %lu lines about the peer were "
                   "left out", name, limit->left_out);
        }
        *limit = (struct mx_log_limit) { .since = now };
    }
    if (limit->lines == MX_LOG_LINES) {
        limit->left_out++;
        return false;
    }
    limit->lines++;
    return true;
}

void mx_log_peer(struct mx_log_limit *limit, enum memexpose_log_level level,
                 const char *name, const char *format, ...)
{
    char text[480];
    va_list arguments;

    if (!has_room(limit, name)) {
        return;
    }
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    mx_log(level, "%s: %s", name, text);
}
