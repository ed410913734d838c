/* SPDX-License-Identifier: BSD-3-Clause */
#include "report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Like the library's log, where lines go is a matter of the process. */
static struct {
    FILE *trace;                /* NULL: no trace */
    void (*redraw)(void *opaque);
    void *opaque;
} reports;

/* A line stays a line, whatever is in file names and words. */
static void make_printable(char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < ' ' || *text == '\x7f') {
            *text = '?';
        }
    }
}

static void write_line(const char *line)
{
    /* what was typed at the prompt so far is wiped and drawn again */
    fprintf(stderr, "%s" PROGRAM ": %s\n", reports.redraw ? "\r\033[K" : "",
            line);
    if (reports.redraw) {
        reports.redraw(reports.opaque);
    }
}

void report(const char *format, ...)
{
    char line[sizeof(struct failure) + 512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    make_printable(line);
    write_line(line);
}

/* Seconds and microseconds of CLOCK_MONOTONIC. */
static void write_time(FILE *file)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    fprintf(file, "%lld.%06ld ", (long long)now.tv_sec, now.tv_nsec / 1000);
}

static void on_log(void *opaque, enum memexpose_log_level level,
                   const char *line)
{
    (void)opaque;
    if (level == MEMEXPOSE_LOG_DEBUG) {
        if (reports.trace) {
            write_time(reports.trace);
            fprintf(reports.trace, "-- %s\n", line);
        }
        return;
    }
    report("%s", line);
}

void report_log(void)
{
    memexpose_set_log(on_log, NULL);
}

int report_trace(const char *path, struct failure *failure)
{
    reports.trace = path ? fopen(path, "we") : stderr;
    if (!reports.trace) {
        return fail(failure, "'%s': %s, expected a FILE that can be written",
                    path, strerror(errno));
    }
    setvbuf(reports.trace, NULL, _IOLBF, 0);
    return 0;
}

void report_close_trace(void)
{
    if (reports.trace && reports.trace != stderr) {
        fclose(reports.trace);
    }
    reports.trace = NULL;
}

void report_message(void *opaque, enum memexpose_link link, bool sent,
                    const void *message, size_t bytes)
{
    char text[256];

    (void)opaque;
    if (!reports.trace) {
        return;
    }
    memexpose_describe(message, bytes, text, sizeof(text));
    write_time(reports.trace);
    fprintf(reports.trace, "%s %s %s\n", sent ? "->" : "<-",
            link == MEMEXPOSE_LINK_MEM ? "mem" : "intr", text);
}

void report_set_prompt(void (*redraw)(void *opaque), void *opaque)
{
    reports.redraw = isatty(STDERR_FILENO) ? redraw : NULL;
    reports.opaque = opaque;
}
