/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Looking up mapped memory again and again, mostly in the same range: a part of
 * <memexpose/device.h>, which includes it.
 */
#ifndef MEMEXPOSE_CURSOR_H
#define MEMEXPOSE_CURSOR_H

#include <stddef.h>
#include <stdint.h>

#include <memexpose/device.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct memexpose_cursor - what memexpose_device_lookup() found the last time
 *
 * The caller's: all zeros at first, and never used by two threads at the same
 * time.  There is nothing to release.  The library's members may be followed
 * by others one day.
 */
struct memexpose_cursor {
    /* the library's: found while this counter of the device read so */
    const uint64_t *generation;
    uint64_t seen;
    const struct memexpose_device *device;

    /* where the address lies that was returned; not to be changed */
    struct memexpose_range range;
};

/**
 * memexpose_device_search - memexpose_device_lookup() without a shortcut
 * @device: as there
 * @address: as there
 * @bytes: as there
 * @cursor: as there; always looked up anew, and filled in if it is found
 * @size: sizeof(*@cursor) of the consumer's build; only as much is written
 *
 * Returns: as there.
 */
void *memexpose_device_search(struct memexpose_device *device,
                              uint64_t address, uint64_t bytes,
                              struct memexpose_cursor *cursor, size_t size);

/**
 * memexpose_device_lookup - the host address, quickly if it is near the last
 * @device: the device
 * @address: in the peer's space
 * @bytes: how many, from there on, must lie in one range
 * @cursor: the caller's; after success @cursor->range is the range, and says
 *          where it ends and whether it is read-only; after NULL it is not to
 *          be looked at, and may be used on
 *
 * Takes no lock and writes nothing that other threads look at.  If all of it
 * lies in the range that @cursor found the last time, and nothing of what is
 * mapped has changed since, this costs a few comparisons; otherwise the range
 * is searched.
 *
 * May be called where memexpose_device_translate() may, and the address is as
 * good as one from there: inside a read-side section that began before the
 * call, until that section ends.  The cursor itself may be kept from section
 * to section, and from device to device: each call sees for itself whether
 * what it says still holds.
 *
 * Returns: the host address of @address, or NULL if not all of it is mapped as
 * one range.
 */
#ifdef __GNUC_GNU_INLINE__
static
#endif
inline void *memexpose_device_lookup(struct memexpose_device *device,
                                     uint64_t address, uint64_t bytes,
                                     struct memexpose_cursor *cursor)
{
    const struct memexpose_range *range = &cursor->range;
    uint64_t distance = address - range->start;

    /* the size is 0 until something has been found */
    if (distance < range->size && bytes <= range->size - distance &&
        cursor->device == device &&
        __atomic_load_n(cursor->generation, __ATOMIC_ACQUIRE) ==
        cursor->seen) {
        return (char *)range->host + distance;
    }
    return memexpose_device_search(device, address, bytes, cursor,
                                   sizeof(*cursor));
}

#ifdef __cplusplus
}
#endif

#endif
