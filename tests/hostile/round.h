/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef HOSTILE_ROUND_H
#define HOSTILE_ROUND_H

#include "hostile.h"

struct round {
    struct target target;
    const char *seals;
    const char *only;           /* cases with that in their name, or NULL */
    bool all;                   /* not only those about seals */
    bool push;                  /* those about offers: hello all the time */
    bool hello;
    bool retries;
    bool over;
    unsigned turns;
    unsigned every;             /* one case of so many is played */
    unsigned seen;
    uint64_t growth;            /* bytes: memory may be used anew, but not for
                                 * good */
    unsigned cases, failures;
    unsigned blocks, offers;    /* cases about these, of all */
    unsigned left_out;          /* cases that are not for this target */
    struct holdings before;     /* with a good peer, before any case */
};

/* @words: the program and its options, but those about sockets. */
void round_run(struct round *round, const char *const *words);

#endif
