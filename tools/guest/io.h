/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Registers and window of a device, mapped into this process.
 *
 * Functions that return int return 0, or -1 with the reason in @failure.
 */
#ifndef GUEST_IO_H
#define GUEST_IO_H

#include "devices.h"

/* Memory that can be mapped from a file, in pieces. */
struct region {
    int fd;                     /* -1: not open */
    uint64_t offset;            /* of its first byte in the file */
    uint64_t size;
    bool undivided;             /* mappings begin with the first byte */
};

/* A piece of a region. */
struct slice {
    void *base;                 /* NULL: nothing is mapped */
    size_t length;
    volatile uint8_t *at;       /* the byte that was asked for */
};

/* Map [offset, offset + size), which lies in the region. */
int region_map(const struct region *region, uint64_t offset, size_t size,
               struct slice *slice, struct failure *failure);
void slice_unmap(struct slice *slice);

/* All physical addresses of this machine. */
int region_open_physical(struct region *region, struct failure *failure);
void region_close(struct region *region);

struct io {
    const struct device *device; /* NULL: not open */
    struct region regs, window;
    struct slice mapped;        /* the registers */
};

/* Make the device answer, and map its registers. */
int io_open(struct io *io, const struct device *device,
            struct failure *failure);
void io_close(struct io *io);

/* Map the window as memory, not as a device, from now on. */
int io_combine(struct io *io, struct failure *failure);

/* An access to a register, at a multiple of its size. */
int io_read_reg(struct io *io, uint64_t offset, unsigned bytes,
                uint64_t *value, struct failure *failure);
int io_write_reg(struct io *io, uint64_t offset, unsigned bytes,
                 uint64_t value, struct failure *failure);

/* Registers in a row, a multiple of 8 bytes, as they are in memory. */
int io_read_area(struct io *io, uint64_t offset, uint8_t *bytes,
                 size_t count, struct failure *failure);
int io_write_area(struct io *io, uint64_t offset, const uint8_t *bytes,
                  size_t count, struct failure *failure);

/* Is the device enabled, with both links up? */
int io_is_up(struct io *io, bool *up, struct failure *failure);

/*
 * Keep other processes of this program away, while several registers make
 * one action.  The end of the process unlocks.
 */
int io_lock(struct io *io, struct failure *failure);
void io_unlock(struct io *io);

#endif
