/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command line.
 */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdbool.h>

#include "../sim/failure.h"

struct options {
    bool quick, check, json, list;
    const char *only;           /* a pattern of names, or NULL */
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

/* Is the figure of this name wanted? */
bool options_choose(const struct options *options, const char *name);

extern const char options_help[];

#endif
