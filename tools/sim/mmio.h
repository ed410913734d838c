/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Models of registers that are exported: what a peer's accesses do.
 */
#ifndef SIM_MMIO_H
#define SIM_MMIO_H

#include <stdint.h>

#include <memexpose/memexpose.h>

enum mmio_model {
    MMIO_SCRATCH,               /* keeps what is written */
    MMIO_COUNTER                /* reads the number of accesses before */
};

struct mmio;

/* Returns NULL with errno set if there is no memory for that. */
struct mmio *mmio_create(enum mmio_model model, uint64_t size);
void mmio_destroy(struct mmio *mmio);

/* The callbacks; their opaque pointer is the struct mmio. */
extern const struct memexpose_mmio_ops mmio_ops;

#endif
