/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random numbers for tests that can be repeated: every test prints its seed,
 * and MEMEXPOSE_TEST_SEED sets it.
 */
#ifndef TESTS_RANDOM_H
#define TESTS_RANDOM_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct random_source {
    uint64_t state;
};

static inline void random_start(struct random_source *source,
                                const char *test)
{
    const char *given = getenv("MEMEXPOSE_TEST_SEED");
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    source->state = (uint64_t)now.tv_sec * 1000000007u +
                    (uint64_t)now.tv_nsec;
    if (given != NULL) {
        source->state = strtoull(given, NULL, 0);
    }
    printf("%s: MEMEXPOSE_TEST_SEED=0x%016" PRIx64 "\n", test, source->state);
    fflush(stdout);
}

/* A counter whose bits are mixed by two multiplications. */
static inline uint64_t random_next(struct random_source *source)
{
    uint64_t mixed;

    source->state += 0x9e3779b97f4a7c15u;
    mixed = source->state;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return mixed ^ (mixed >> 31);
}

static inline uint64_t random_below(struct random_source *source,
                                    uint64_t limit)
{
    return random_next(source) % limit;
}

#endif
