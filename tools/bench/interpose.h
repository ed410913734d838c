/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the library asks of the C library, counted on its way: the definitions
 * in a program come before those of the libraries that it is linked with.
 * Counts are right as long as one thread does the counted work.
 */
#ifndef BENCH_INTERPOSE_H
#define BENCH_INTERPOSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct interpose_counts {
    uint64_t allocations;
    uint64_t sends;             /* system calls that send */
    uint64_t receives;
    uint64_t waits;             /* poll, ppoll, epoll_wait */
    uint64_t others;            /* read, write, fcntl, close, mmap, ... */
};

void interpose_read(struct interpose_counts *counts);

/* False in a build with a sanitizer, which has allocators of its own. */
bool interpose_counts_allocations(void);

/*
 * From now on a shared mapping of one page of an object is no mapping of its
 * own but the next page of one that is all zeros, for @pages pages; 0 ends
 * that.  Nothing may be left of what was handed out before.  Returns 0 or
 * -errno.
 */
int interpose_stub_mappings(size_t pages);

#endif
