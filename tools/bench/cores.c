/* SPDX-License-Identifier: BSD-3-Clause */
#include "cores.h"

#include <errno.h>
#include <sched.h>

/* Where the process may run. */
static cpu_set_t all;

int cores_choose(struct cores *cores)
{
    int core, found = 0;

    if (sched_getaffinity(0, sizeof(all), &all) < 0) {
        return -errno;
    }
    for (core = 0; core < CPU_SETSIZE && found < 2; core++) {
        if (!CPU_ISSET(core, &all)) {
            continue;
        }
        if (found++ == 0) {
            cores->ours = core;
        }
        cores->peers = core;
    }
    return found > 0 ? 0 : -ENODEV;
}

int cores_pin(int core)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(core, &set);
    return sched_setaffinity(0, sizeof(set), &set) < 0 ? -errno : 0;
}

void cores_loosen(cpu_set_t *before)
{
    CPU_ZERO(before);
    if (sched_getaffinity(0, sizeof(*before), before) == 0) {
        sched_setaffinity(0, sizeof(all), &all);
    }
}

void cores_tighten(const cpu_set_t *before)
{
    sched_setaffinity(0, sizeof(*before), before);
}
