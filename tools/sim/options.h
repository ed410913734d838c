/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command line.
 */
#ifndef SIM_OPTIONS_H
#define SIM_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <memexpose/memexpose.h>

#include "failure.h"

enum { SOCKET_PATH_MAX = 107 };

/* A --ram or --mmio, in the order given. */
struct range_option {
    const char *word;
    bool mmio;
};

struct options {
    bool connect;               /* else listen */
    const char *peer;           /* the NAME of --listen or --connect */
    char mem_socket[SOCKET_PATH_MAX + 1];
    char intr_socket[SOCKET_PATH_MAX + 1];
    struct range_option *ranges;
    size_t range_count;
    struct memexpose_device_config config;
    bool window_placed;         /* --window SIZE,at= */
    uint64_t window_start;
    int64_t connect_timeout;    /* nanoseconds */
    int64_t poll_time;          /* likewise: before sleeping */
    char own_name[MEMEXPOSE_NAME_SIZE]; /* if --name is not given */
    bool json;
    bool trace;
    const char *trace_file;     /* NULL: stderr */
    const char *script_file;
    const char *commands;       /* -c */
};

/* What main() has to do. */
enum options_result {
    OPTIONS_RUN,
    OPTIONS_HELP,
    OPTIONS_VERSION,
    OPTIONS_BAD                 /* the reason is in the failure */
};

/* Strings point into @argv. */
enum options_result options_parse(struct options *options, int argc,
                                  char **argv, struct failure *failure);
void options_clear(struct options *options);

extern const char options_help[];

#endif
