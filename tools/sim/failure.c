/* SPDX-License-Identifier: BSD-3-Clause */
#include "failure.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int fail(struct failure *failure, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(failure->text, sizeof(failure->text), format, arguments);
    va_end(arguments);
    return -1;
}

int fail_prefix(struct failure *failure, const char *format, ...)
{
    char said[sizeof(failure->text)];
    va_list arguments;
    size_t used;

    memcpy(said, failure->text, sizeof(said));
    va_start(arguments, format);
    vsnprintf(failure->text, sizeof(failure->text), format, arguments);
    va_end(arguments);
    used = strlen(failure->text);
    snprintf(failure->text + used, sizeof(failure->text) - used, ": %s",
             said);
    return -1;
}
