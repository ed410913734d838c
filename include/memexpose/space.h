/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A ready-made address space for consumers without a memory map of their own:
 * RAM, ROM and device registers at absolute addresses, with the rules of
 * protocol section 4 about what may be shared.
 *
 * Threads: every function may be called from any thread; none from within a
 * callback of the same space's ranges, memexpose_space_read() and _write()
 * excepted.
 */
#ifndef MEMEXPOSE_SPACE_H
#define MEMEXPOSE_SPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <memexpose/device.h>

#ifdef __cplusplus
extern "C" {
#endif

struct memexpose_space;

/* Flags of memexpose_space_add_ram(). */
#define MEMEXPOSE_RAM_READONLY 0x1u /* nobody writes it, the owner included */
#define MEMEXPOSE_RAM_PRIVATE  0x2u /* never shared: stays on the link */

/**
 * struct memexpose_mmio_ops - registers that a consumer exports
 *
 * Both get the offset from the start of the range and 1, 2, 4 or 8 bytes, and
 * return MEMEXPOSE_RESULT_*.  A NULL member answers MEMEXPOSE_RESULT_DENIED.
 */
struct memexpose_mmio_ops {
    size_t size; /* sizeof(struct memexpose_mmio_ops) */
    int (*read)(void *opaque, uint64_t offset, unsigned bytes,
                uint64_t *value);
    int (*write)(void *opaque, uint64_t offset, unsigned bytes,
                 uint64_t value);
};

/**
 * memexpose_space_create - an empty space
 *
 * Returns: the space, or NULL with errno ENOMEM.
 */
struct memexpose_space *memexpose_space_create(void);

/**
 * memexpose_space_destroy - free a space, its memory and its descriptors
 * @space: no device uses it any more; NULL does nothing
 */
void memexpose_space_destroy(struct memexpose_space *space);

/**
 * memexpose_space_add_ram - add memory
 * @space: the space
 * @start: its address
 * @size: in bytes; need not be whole pages
 * @fd: an object that holds it (regular file or memfd), or -1 for new memory;
 *      the library's on success, the caller's on failure.  With
 *      MEMEXPOSE_RAM_READONLY it may be opened read-only, and is shared only
 *      if it is (see struct memexpose_share).
 * @offset: where @start lies in @fd, whole pages
 * @flags: MEMEXPOSE_RAM_*
 *
 * New memory is a memfd, sealed against shrinking, growing and further seals,
 * and, if read-only, against writing, so that it can be shared: it is all
 * zeros.  Give a descriptor to have something in it.
 *
 * An object is shared only if the ranges of the space together cover all of it
 * (protocol section 4).
 *
 * Returns: 0; -EINVAL (@size 0, past 2^64, unknown flags, offset not whole
 * pages); -EEXIST (overlaps); -ENODATA (the object ends before
 * @offset + @size); -ENOTSUP (@fd is neither regular file nor memfd); -EACCES
 * (@fd cannot be written and is not to be read-only); -ENOMEM, or what
 * memfd_create(2) and mmap(2) give.
 */
int memexpose_space_add_ram(struct memexpose_space *space, uint64_t start,
                            uint64_t size, int fd, uint64_t offset,
                            unsigned flags);

/**
 * memexpose_space_add_mmio - add registers, which are never shared
 * @space: the space
 * @start: their address
 * @size: in bytes
 * @ops: callbacks, copied; called without a lock of the library held
 * @opaque: handed to the callbacks
 *
 * Returns: 0, -EINVAL, -EEXIST, -ENOMEM, as memexpose_space_add_ram().
 */
int memexpose_space_add_mmio(struct memexpose_space *space, uint64_t start,
                             uint64_t size,
                             const struct memexpose_mmio_ops *ops,
                             void *opaque);

/**
 * memexpose_space_add_window - say where a memexpose device lies itself
 * @space: the space
 * @start: address of its registers or window
 * @size: in bytes
 *
 * A peer's access there gets MEMEXPOSE_RESULT_DECODE, and nothing there is
 * ever shared (protocol section 3).
 *
 * Returns: 0, -EINVAL, -EEXIST, -ENOMEM, as memexpose_space_add_ram().
 */
int memexpose_space_add_window(struct memexpose_space *space, uint64_t start,
                               uint64_t size);

/**
 * memexpose_space_remove - take a range out at once
 * @space: the space
 * @start: its address, as it was added
 *
 * For a space that is shared with peers use memexpose_space_withdraw().
 *
 * Returns: 0, or -ENOENT.
 */
int memexpose_space_remove(struct memexpose_space *space, uint64_t start);

/**
 * memexpose_space_withdraw - take a range out and tell every peer
 * @space: the space
 * @group: the group whose devices export @space (see memexpose_space_ops())
 * @start: the range's address, as it was added
 *
 * A whole map change: begins, invalidates what was shared of the range, waits
 * for the peers, removes the range, ends.
 *
 * Returns: 0; -ENOENT if there is no such range; else as
 * memexpose_map_change_wait(): the range is gone all the same.
 */
int memexpose_space_withdraw(struct memexpose_space *space,
                             struct memexpose_group *group, uint64_t start);

/**
 * memexpose_space_read - read the space, as a peer would
 * @space: the space
 * @address: any alignment; adjacent ranges are served piecewise
 * @bytes: 1, 2, 4 or 8
 * @value: out: the first byte in the low 8 bits
 *
 * Returns: MEMEXPOSE_RESULT_*, ERROR for another size.
 */
int memexpose_space_read(struct memexpose_space *space, uint64_t address,
                         unsigned bytes, uint64_t *value);

/**
 * memexpose_space_write - write the space, as a peer would
 * @space: the space
 * @address: any alignment
 * @bytes: 1, 2, 4 or 8
 * @value: the first byte in the low 8 bits
 *
 * Read-only memory is refused, also to its owner.  Nothing is written unless
 * every byte of it can be.
 *
 * Returns: MEMEXPOSE_RESULT_*.
 */
int memexpose_space_write(struct memexpose_space *space, uint64_t address,
                          unsigned bytes, uint64_t value);

/**
 * memexpose_space_read_block - read any number of bytes of the space
 * @space: the space
 * @address: any alignment
 * @buffer: out
 * @bytes: how many
 * @done: out, may be NULL: how many were read before a failure
 *
 * Memory is copied, registers are read in the largest naturally aligned
 * pieces.
 *
 * Returns: MEMEXPOSE_RESULT_* of the first piece that failed.
 */
int memexpose_space_read_block(struct memexpose_space *space,
                               uint64_t address, void *buffer, size_t bytes,
                               size_t *done);

/**
 * memexpose_space_write_block - write any number of bytes of the space
 * @space: the space
 * @address: any alignment
 * @buffer: what to write
 * @bytes: how many
 * @done: out, may be NULL: how many were written before a failure
 *
 * Returns: MEMEXPOSE_RESULT_* of the first piece that failed.
 */
int memexpose_space_write_block(struct memexpose_space *space,
                                uint64_t address, const void *buffer,
                                size_t bytes, size_t *done);

/**
 * memexpose_space_resolve - what may be shared at an address
 * @space: the space
 * @address: any
 * @share: out: @share->fd is a new descriptor, the caller's
 *
 * Returns: 1 if @share is filled in, 0 if the memory stays on the link.
 */
int memexpose_space_resolve(struct memexpose_space *space, uint64_t address,
                            struct memexpose_share *share);

/**
 * memexpose_space_next_share - the next range that may be shared
 * @space: the space
 * @address: where to begin to look
 * @share: out: the first that does not end at or below @address;
 *         @share->fd is a new descriptor, the caller's
 *
 * Returns: 1 if @share is filled in, 0 if there is none.
 */
int memexpose_space_next_share(struct memexpose_space *space, uint64_t address,
                               struct memexpose_share *share);

/**
 * memexpose_space_span - the span that the space covers, for a config
 * @space: the space
 * @start: out: lowest address; 0 if empty
 * @size: out: distance from there to the highest end; 2^64 - 1 for 2^64
 */
void memexpose_space_span(struct memexpose_space *space, uint64_t *start,
                          uint64_t *size);

/**
 * memexpose_space_handle_sigbus - a fault may lie in exported memory
 * @space: the space
 * @address: si_addr of the SIGBUS
 *
 * For the consumer's signal handler; async-signal-safe.  A peer that may write
 * a file that is shared with it can shorten it, too, if nothing seals it.  If
 * @address lies in memory of the space, a page of private zeros is put there.
 *
 * Returns: true if the page was patched and the handler can return; false if
 * the fault is none of the space's.
 */
bool memexpose_space_handle_sigbus(struct memexpose_space *space,
                                   const void *address);

/**
 * memexpose_space_ops - callbacks that export a space
 * @ops: out: written whole: read, write, read_block, write_block, resolve and
 *       next_share are the space's, the rest is NULL and may be filled in by
 *       the caller
 *
 * A device made with them must have the space as its opaque pointer.  A
 * consumer with callbacks of its own calls memexpose_space_read(), _write(),
 * _resolve() and so on from them instead, and names the space by
 * memexpose_device_set_space(), so that memexpose_space_withdraw() finds it.
 */
void memexpose_space_ops(struct memexpose_device_ops *ops);

/**
 * memexpose_device_set_space - say that a device exports a space
 * @device: the device
 * @space: what memexpose_space_withdraw() of it concerns; NULL for none
 */
void memexpose_device_set_space(struct memexpose_device *device,
                                struct memexpose_space *space);

#ifdef __cplusplus
}
#endif

#endif
