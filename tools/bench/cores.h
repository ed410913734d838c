/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Processors: this process on one, its peers on another.
 */
#ifndef BENCH_CORES_H
#define BENCH_CORES_H

#include <sched.h>
#include <stdbool.h>

struct cores {
    int ours;                   /* number of the processor of this process */
    int peers;                  /* of every other process; the same if there
                                 * is only one */
};

/* Choose among those that this process may run on.  Returns 0 or -errno. */
int cores_choose(struct cores *cores);

static inline bool cores_are_two(const struct cores *cores)
{
    return cores->ours != cores->peers;
}

/* Keep the calling thread on one processor.  Returns 0 or -errno. */
int cores_pin(int core);

/* Let it run, for a moment, where the process could before cores_choose(). */
void cores_loosen(cpu_set_t *before);
void cores_tighten(const cpu_set_t *before);

#endif
