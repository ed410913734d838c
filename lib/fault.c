/* SPDX-License-Identifier: BSD-3-Clause */
#include "fault.h"

#include <stdlib.h>

#include "os.h"

enum { CHUNK = 64 };

struct mx_fault_chunk {
    struct mx_fault_chunk *next;
    struct mx_fault faults[CHUNK];
};

void mx_faults_init(struct mx_faults *faults)
{
    atomic_init(&faults->chunks, NULL);
    faults->free = NULL;
    atomic_init(&faults->removed, NULL);
}

void mx_faults_free(struct mx_faults *faults)
{
    struct mx_fault_chunk *chunk, *next;

    for (chunk = atomic_load(&faults->chunks); chunk; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
}

/* Whoever looks meanwhile sees the table with the new chunk or without. */
static struct mx_fault *add_chunk(struct mx_faults *faults)
{
    struct mx_fault_chunk *chunk = calloc(1, sizeof(*chunk));
    unsigned i;

    if (!chunk) {
        return NULL;
    }
    for (i = 0; i < CHUNK; i++) {
        chunk->faults[i].faults = faults;
        chunk->faults[i].next = i + 1 < CHUNK ? &chunk->faults[i + 1] : NULL;
    }
    chunk->next = atomic_load(&faults->chunks);
    atomic_store(&faults->chunks, chunk);
    return &chunk->faults[0];
}

struct mx_fault *mx_faults_add(struct mx_faults *faults, const void *host,
                               uint64_t size)
{
    struct mx_fault *fault = faults->free;

    if (!fault) {
        fault = atomic_exchange(&faults->removed, NULL);
    }
    if (!fault) {
        fault = add_chunk(faults);
    }
    if (fault) {
        faults->free = fault->next;
        atomic_store(&fault->size, size);
        atomic_store(&fault->host, (uintptr_t)host);
    }
    return fault;
}

/* All that was removed is taken at once, so none comes back meanwhile. */
void mx_faults_remove(struct mx_fault *fault)
{
    struct mx_faults *faults = fault->faults;

    atomic_store(&fault->host, 0);
    fault->next = atomic_load(&faults->removed);
    while (!atomic_compare_exchange_weak(&faults->removed, &fault->next,
                                         fault)) {
        ;
    }
}

/* It may be removed, and used again, while it is read. */
static bool contains(const struct mx_fault *fault, uintptr_t address)
{
    uintptr_t host = atomic_load(&fault->host);
    uint64_t size = atomic_load(&fault->size);

    return host != 0 && address >= host && address - host < size &&
           atomic_load(&fault->host) == host;
}

bool mx_faults_patch(const struct mx_faults *faults, const void *address)
{
    const struct mx_fault_chunk *chunk;
    uintptr_t page = (uintptr_t)address & ~(uintptr_t)(mx_os_page_size() - 1);
    unsigned i;

    for (chunk = atomic_load(&faults->chunks); chunk; chunk = chunk->next) {
        for (i = 0; i < CHUNK; i++) {
            if (contains(&chunk->faults[i], (uintptr_t)address)) {
                return mx_os_overlay((void *)page, mx_os_page_size(),
                                     false) == 0;
            }
        }
    }
    return false;
}
