/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A space from within: space.c holds its life and accesses, space-share.c what
 * of it may be shared.
 */
#ifndef MX_SPACE_H
#define MX_SPACE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <memexpose/space.h>

#include "fault.h"

enum mx_space_kind {
    MX_SPACE_RAM,
    MX_SPACE_MMIO,
    MX_SPACE_WINDOW             /* of a memexpose device: nothing is there */
};

struct mx_space_range {
    uint64_t start;
    uint64_t size;
    enum mx_space_kind kind;

    /* RAM */
    bool readonly;
    bool private;
    int fd;
    bool writable;              /* the descriptor was opened for writing */
    uint8_t *host;
    uint64_t host_size;         /* what was mapped: whole pages */
    struct mx_fault *fault;     /* by which a SIGBUS handler finds it */
    uint64_t offset;            /* of start in the object */
    uint64_t device;            /* identity of the object */
    uint64_t inode;

    /* MMIO */
    struct memexpose_mmio_ops ops;
    void *opaque;
};

struct memexpose_space {
    pthread_mutex_t lock;       /* of what follows; not held in callbacks */
    struct mx_faults faults;
    struct mx_space_range *ranges;       /* ascending, without overlap */
    size_t count;
    size_t room;
};

/* The index of the first range that ends behind @address. */
size_t mx_space_index(const struct memexpose_space *space, uint64_t address);

/* The range that holds @address, or NULL. */
struct mx_space_range *mx_space_at(const struct memexpose_space *space,
                                   uint64_t address);

/* Was a range added at @start?  *@size is its size then. */
bool mx_space_added(struct memexpose_space *space, uint64_t start,
                    uint64_t *size);

#endif
