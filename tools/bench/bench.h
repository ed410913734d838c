/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Figures: what is measured, how often, and what it is compared with.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "../sim/failure.h"
#include "cores.h"
#include "measure.h"

/* The best of this many medians is held against a target. */
enum { REPETITIONS = 5 };

struct bench {
    struct cores cores;
    bool quick;
    struct failure failure;     /* why a figure could not be measured */
};

/* What ours and the floor are turned into. */
enum compare {
    COMPARE_RATIO,              /* how many times as long as the floor */
    COMPARE_SPEED,              /* how many times as fast as the floor */
    COMPARE_EXTRA,              /* how much longer than the floor */
    COMPARE_NOTHING             /* there is no floor: ours alone */
};

struct repetition {
    struct summary ours, floor;
};

struct result {
    struct repetition repetitions[REPETITIONS];
    size_t count;
    bool has_floor;
    bool skipped;               /* the note says why */
    bool one_processor;         /* for both processes */
    char note[200];
};

struct figure {
    const char *name;
    const char *what;           /* is measured */
    const char *floor;          /* that it is compared with, or NULL */
    const char *unit;
    bool rate;                  /* shown is scale / sample, else the sample
                                 * divided by it */
    double scale;
    enum compare compare;
    double target;              /* NO_TARGET: none */
    bool at_least;              /* the target, else at most */
    int (*run)(struct bench *bench, const struct figure *figure,
               struct result *result);
    long argument;              /* what run makes of it */
};

#define NO_TARGET (-1.0)

extern const struct figure figures[];
extern const size_t figure_count;

/* What result says of @figure: the median of the repetitions, and the best. */
double result_value(const struct figure *figure, const struct result *result);
double result_best(const struct figure *figure, const struct result *result);

/* What is compared with a floor has a target on two processors only. */
bool result_has_target(const struct figure *figure,
                       const struct result *result);
bool result_meets_target(const struct figure *figure,
                         const struct result *result);

/* The medians over the repetitions, as samples are. */
void result_summary(const struct result *result, struct summary *ours,
                    struct summary *floor);

/* Measure @rounds times and add as many samples; 0, or what failed. */
typedef int take_fn(void *arg, struct samples *samples, size_t rounds);

/* Measure ours and the floor in turn; @floor may be NULL.  Returns 0, -errno,
 * or a positive MEMEXPOSE_RESULT_*. */
int bench_compare(struct result *result, take_fn *ours, take_fn *floor,
                  void *arg, size_t rounds);

/* @full, or fewer for a quick run. */
size_t bench_rounds(const struct bench *bench, size_t full, size_t quick);

/* With one processor polling keeps the other process from it.  Returns true
 * after it has said so in @result. */
bool bench_cannot_poll(const struct bench *bench, struct result *result);

/* Why @ret; returns -1. */
int bench_fail(struct bench *bench, int ret);

/* The other end of a floor, in a process of its own: floor_pong(). */
struct pong {
    int fd;
    pid_t child;
};

int pong_start(struct pong *pong, int core, size_t there, size_t back);
void pong_stop(struct pong *pong);

#endif
