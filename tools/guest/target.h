/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What commands read and write: the window, or this machine's own memory.
 *
 * Functions return 0, or -1 with the reason in the guest's failure.
 */
#ifndef GUEST_TARGET_H
#define GUEST_TARGET_H

#include "guest.h"

enum { TARGET_PIECE = 1 << 22 }; /* bytes at once, at most */

struct target {
    struct guest *guest;
    struct region *region;
    struct region physical;     /* own memory */
    bool own;
    uint32_t connects;          /* of the device, when this began */
};

int target_open(struct target *target, struct guest *guest, bool own);
void target_close(struct target *target);

/* Do @size bytes at @address lie in it?  @word is what the user wrote. */
int target_holds(struct target *target, const char *word, uint64_t address,
                 uint64_t size);

/* One access of 1, 2, 4 or 8 bytes at a multiple of that. */
int target_read(struct target *target, uint64_t address, unsigned bytes,
                uint64_t *value);
int target_write(struct target *target, uint64_t address, unsigned bytes,
                 uint64_t value);

/*
 * Any number of bytes up to TARGET_PIECE, from any address: 8 at once, single
 * ones at ragged ends.
 */
int target_copy_from(struct target *target, uint64_t address,
                     uint8_t *bytes, size_t count);
int target_copy_to(struct target *target, uint64_t address,
                   const uint8_t *bytes, size_t count);

#endif
