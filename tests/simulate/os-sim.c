/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is left of lib/os.h: time, chance, and mappings.  Descriptors are in
 * net.c.
 */
#include "sim.h"

#include <errno.h>
#include <unistd.h>

#include "os.h"

int64_t mx_os_now(void)
{
    return world.now;
}

void mx_os_unmap(void *host, uint64_t size)
{
    memory_unmap(host, size);
}

int mx_os_overlay(void *host, uint64_t size, bool readonly)
{
    if (sim_fault("overlay")) {
        memory_spoil(host);
        return -ENOMEM;
    }
    return memory_overlay(host, size, readonly);
}

bool mx_os_passes_descriptors(int fd)
{
    (void)fd;
    return true;
}

size_t mx_os_page_size(void)
{
    static size_t size;

    if (size == 0) {
        size = (size_t)sysconf(_SC_PAGESIZE);
    }
    return size;
}

unsigned mx_os_processors(void)
{
    return 2;
}

void mx_os_yield(void)
{
    fiber_yield();
}

uint64_t mx_os_random(void)
{
    return sim_random() | 1;
}

long mx_os_user(void)
{
    return 0;
}
