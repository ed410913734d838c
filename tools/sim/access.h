/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Accesses, to the peer's memory through the window or to our own.
 */
#ifndef SIM_ACCESS_H
#define SIM_ACCESS_H

#include <stddef.h>
#include <stdint.h>

#include "sim.h"

/* Functions as in the library; they return what those do. */
struct target {
    int (*read)(struct sim *sim, uint64_t address, unsigned bytes,
                uint64_t *value);
    int (*write)(struct sim *sim, uint64_t address, unsigned bytes,
                 uint64_t value);
    int (*read_block)(struct sim *sim, uint64_t address, void *buffer,
                      size_t bytes, size_t *done);
    int (*write_block)(struct sim *sim, uint64_t address, const void *buffer,
                       size_t bytes, size_t *done);
    const char *(*strerror)(int ret);
};

/* A value that was read; @name is what the address is called in JSON. */
int access_print(struct sim *sim, const char *command, const char *name,
                 uint64_t address, unsigned bytes, uint64_t value);

#endif
