/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The exporter's ledger: what was shared with the peer and not yet invalidated
 * (protocol section 4); the importer has one of what it is about to map.
 *
 * Pure.  Everything takes time as the logarithm of the number of entries, and
 * as the number of those that lie at one address, which are more than one only
 * if different objects were there.
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

/* A node of a balanced tree; nodes are named by number, 0 is none. */
struct mx_ledger_node {
    struct mx_ledger_entry entry;
    uint64_t last;              /* highest address of all in its subtree */
    uint32_t left, right;
    uint32_t height;
};

struct mx_ledger {
    struct mx_ledger_node *nodes;       /* from 1 on; room for @room of them */
    uint32_t root;              /* in ascending order by start */
    uint32_t unused;            /* a list by way of left */
    uint32_t used;              /* nodes that were ever used */
    uint32_t room;
    size_t count;               /* entries */
};

void mx_ledger_init(struct mx_ledger *ledger);

/* Forget everything, free everything. */
void mx_ledger_clear(struct mx_ledger *ledger);

/*
 * Enter what is being shared.  Entries of one object that are equal or overlap
 * or touch, and agree on where the object lies, are merged.  The steady case,
 * an entry that is there already, allocates nothing; nor does what only makes
 * an entry larger.
 * Returns 0 or -ENOMEM; then it must not be shared.
 */
int mx_ledger_enter(struct mx_ledger *ledger,
                    const struct mx_ledger_entry *entry);

/* Is all of it there already, as one entry? */
bool mx_ledger_holds(const struct mx_ledger *ledger,
                     const struct mx_ledger_entry *entry);

/* Does any entry intersect [start, start + size)? */
bool mx_ledger_meets(const struct mx_ledger *ledger, uint64_t start,
                     uint64_t size);

/*
 * Take the first entry that intersects [start, start + size) out of the
 * ledger.  Returns false if there is none.  Never allocates.
 */
bool mx_ledger_take(struct mx_ledger *ledger, uint64_t start, uint64_t size,
                    struct mx_ledger_entry *entry);

#endif
