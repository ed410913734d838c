/* SPDX-License-Identifier: BSD-3-Clause */
#include "output.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int output_bytes(struct loop *loop, struct failure *failure,
                 const char *bytes, size_t count)
{
    ssize_t ret = loop_write(loop, STDOUT_FILENO, bytes, count);

    return ret >= 0 ? 0 : fail(failure, "standard output: %s",
                               strerror((int)-ret));
}

int output_line(struct loop *loop, struct failure *failure,
                const char *format, ...)
{
    va_list arguments;
    char *line;
    int length, ret;

    va_start(arguments, format);
    length = vasprintf(&line, format, arguments);
    va_end(arguments);
    if (length < 0) {
        return fail(failure, "%s", strerror(ENOMEM));
    }
    line[length] = '\n'; /* in place of the zero, which nobody needs */
    ret = output_bytes(loop, failure, line, (size_t)length + 1);
    free(line);
    return ret;
}

int output_json(struct loop *loop, struct failure *failure, json_t *object)
{
    char *line = object ? json_dumps(object, JSON_COMPACT) : NULL;
    int ret;

    json_decref(object);
    if (!line) {
        return fail(failure, "%s", strerror(ENOMEM));
    }
    ret = output_line(loop, failure, "%s", line);
    free(line);
    return ret;
}

json_t *output_hex(uint64_t value, unsigned digits)
{
    return json_sprintf("0x%0*" PRIx64, (int)digits, value);
}

