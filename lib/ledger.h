/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The exporter's ledger: what was shared with the peer and not yet invalidated
 * (protocol section 4).  Pure.
 */
#ifndef MX_LEDGER_H
#define MX_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire.h"

struct mx_ledger_entry {
    uint64_t start;
    uint64_t size;
    uint64_t device;            /* identity of the object: st_dev, st_ino */
    uint64_t inode;
    uint64_t offset;            /* of start in the object */
};

struct mx_ledger {
    struct mx_ledger_entry *entries; /* ascending by start */
    size_t count, room;
};

void mx_ledger_init(struct mx_ledger *ledger);

/* Forget everything, free everything. */
void mx_ledger_clear(struct mx_ledger *ledger);

/*
 * Enter what is being shared.  Entries of one object that are equal or overlap
 * or touch, and agree on where the object lies, are merged.  The steady case,
 * an entry that is there already, allocates nothing.
 * Returns 0 or -ENOMEM; then it must not be shared.
 */
int mx_ledger_enter(struct mx_ledger *ledger,
                    const struct mx_ledger_entry *entry);

/*
 * Take one entry that intersects [start, start + size) out of the ledger.
 * Returns false if there is none.  Never allocates.
 */
bool mx_ledger_take(struct mx_ledger *ledger, uint64_t start, uint64_t size,
                    struct mx_ledger_entry *entry);

#endif
