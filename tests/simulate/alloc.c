/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Allocations of the library belong to the simulated process that made them:
 * they may fail, they go with a process that is killed, and none may be left.
 */
#include "sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void *__real_aligned_alloc(size_t alignment, size_t bytes);
void __real_free(void *old);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_reallocarray(void *old, size_t count, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
char *__wrap_strdup(const char *text);
void __wrap_free(void *old);

enum { ALIGNMENT = 64 };        /* of all: nobody asks for more */

struct block {
    struct block *next, *previous;
    struct process *process;    /* NULL: the simulation's own */
    size_t bytes;
    _Alignas(ALIGNMENT) char data[];
};

static struct block *blocks[PROCESSES];
static size_t counts[PROCESSES];

static void link_block(struct block *block)
{
    struct block **first;

    if (!block->process) {
        return;
    }
    first = &blocks[block->process->index];
    counts[block->process->index]++;
    block->previous = NULL;
    block->next = *first;
    if (*first) {
        (*first)->previous = block;
    }
    *first = block;
}

static void unlink_block(struct block *block)
{
    if (!block->process) {
        return;
    }
    counts[block->process->index]--;
    if (block->previous) {
        block->previous->next = block->next;
    } else {
        blocks[block->process->index] = block->next;
    }
    if (block->next) {
        block->next->previous = block->previous;
    }
}

void *__wrap_malloc(size_t bytes)
{
    struct process *process = fiber_current ? fiber_current->process : NULL;
    struct block *block;

    if (process && sim_fault("malloc")) {
        errno = ENOMEM;
        return NULL;
    }
    block = __real_aligned_alloc(ALIGNMENT, sizeof(*block) +
                                 (bytes + ALIGNMENT - 1) / ALIGNMENT *
                                 ALIGNMENT);
    if (!block) {
        abort();
    }
    block->process = process;
    block->bytes = bytes;
    link_block(block);
    return block->data;
}

static struct block *block_of(void *data)
{
    return (struct block *)((char *)data - offsetof(struct block, data));
}

void __wrap_free(void *old)
{
    if (old) {
        unlink_block(block_of(old));
        __real_free(block_of(old));
    }
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    void *memory = __wrap_malloc(count * bytes);

    return memory ? memset(memory, 0, count * bytes) : NULL;
}

void *__wrap_realloc(void *old, size_t bytes)
{
    void *memory = __wrap_malloc(bytes);

    if (memory && old) {
        size_t had = block_of(old)->bytes;

        memcpy(memory, old, had < bytes ? had : bytes);
        __wrap_free(old);
    }
    return memory;
}

void *__wrap_reallocarray(void *old, size_t count, size_t bytes)
{
    return __wrap_realloc(old, count * bytes);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    if (alignment > ALIGNMENT) {
        abort();
    }
    return __wrap_malloc(bytes);
}

char *__wrap_strdup(const char *text)
{
    char *copy = __wrap_malloc(strlen(text) + 1);

    return copy ? strcpy(copy, text) : NULL;
}

void alloc_release_process(struct process *process)
{
    struct block **first = &blocks[process->index];

    while (*first) {
        __wrap_free((*first)->data);
    }
}

size_t alloc_count(const struct process *process)
{
    return counts[process->index];
}
