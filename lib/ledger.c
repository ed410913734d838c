/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The exporter's ledger (protocol section 4): an array in ascending order.
 * Entries of one object at one place never touch each other, as they would
 * have been merged; entries of different objects may well overlap.
 */
#include "ledger.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_ROOM = 8 };

void mx_ledger_init(struct mx_ledger *ledger)
{
    memset(ledger, 0, sizeof(*ledger));
}

void mx_ledger_clear(struct mx_ledger *ledger)
{
    free(ledger->entries);
    mx_ledger_init(ledger);
}

static bool same_place(const struct mx_ledger_entry *a,
                       const struct mx_ledger_entry *b)
{
    return a->device == b->device && a->inode == b->inode &&
           a->offset - a->start == b->offset - b->start;
}

static bool within(const struct mx_ledger_entry *a,
                   const struct mx_ledger_entry *b)
{
    return same_place(a, b) &&
           mx_range_within(a->start, a->size, b->start, b->size);
}

/* The size of both together, if they overlap or touch; else 0. */
static uint64_t joint_size(const struct mx_ledger_entry *a,
                           const struct mx_ledger_entry *b)
{
    const struct mx_ledger_entry *low = a->start <= b->start ? a : b;
    const struct mx_ledger_entry *high = low == a ? b : a;
    uint64_t distance = high->start - low->start;

    if (distance > low->size) {
        return 0;
    }
    if (high->size <= low->size - distance) {
        return low->size;
    }
    return distance + high->size; /* 0 if it is 2^64, which has no name */
}

static bool joins(const struct mx_ledger_entry *a,
                  const struct mx_ledger_entry *b)
{
    return same_place(a, b) && joint_size(a, b) != 0;
}

/* Make @entry span @other too, which it joins. */
static void unite(struct mx_ledger_entry *entry,
                  const struct mx_ledger_entry *other)
{
    entry->size = joint_size(entry, other);
    if (other->start < entry->start) {
        entry->start = other->start;
        entry->offset = other->offset;
    }
}

static int make_room(struct mx_ledger *ledger)
{
    size_t room = ledger->room != 0 ? ledger->room * 2 : FIRST_ROOM;
    struct mx_ledger_entry *entries;

    if (ledger->count < ledger->room) {
        return 0;
    }
    entries = reallocarray(ledger->entries, room, sizeof(*entries));
    if (entries == NULL) {
        return -ENOMEM;
    }
    ledger->entries = entries;
    ledger->room = room;
    return 0;
}

/* Put @entry where it belongs; there is room. */
static void insert(struct mx_ledger *ledger,
                   const struct mx_ledger_entry *entry)
{
    size_t at = ledger->count;

    while (at > 0 && ledger->entries[at - 1].start > entry->start) {
        ledger->entries[at] = ledger->entries[at - 1];
        at--;
    }
    ledger->entries[at] = *entry;
    ledger->count++;
}

/* Take out what @entry joins, and make it span that. */
static void absorb(struct mx_ledger *ledger, struct mx_ledger_entry *entry)
{
    size_t kept = 0;

    for (size_t i = 0; i < ledger->count; i++) {
        if (joins(entry, &ledger->entries[i])) {
            unite(entry, &ledger->entries[i]);
        } else {
            ledger->entries[kept++] = ledger->entries[i];
        }
    }
    ledger->count = kept;
}

int mx_ledger_enter(struct mx_ledger *ledger,
                    const struct mx_ledger_entry *entry)
{
    struct mx_ledger_entry united = *entry;
    bool grows = true;

    if (entry->size == 0) {
        return 0;
    }
    for (size_t i = 0; i < ledger->count; i++) {
        if (within(entry, &ledger->entries[i])) {
            return 0;
        }
        grows = grows && !joins(entry, &ledger->entries[i]);
    }
    if (grows && make_room(ledger) < 0) {
        return -ENOMEM;
    }
    absorb(ledger, &united);
    insert(ledger, &united);
    return 0;
}

bool mx_ledger_take(struct mx_ledger *ledger, uint64_t start, uint64_t size,
                    struct mx_ledger_entry *entry)
{
    for (size_t i = 0; i < ledger->count; i++) {
        struct mx_ledger_entry *found = &ledger->entries[i];

        if (mx_ranges_intersect(found->start, found->size, start, size)) {
            *entry = *found;
            ledger->count--;
            memmove(found, found + 1,
                    (ledger->count - i) * sizeof(*found));
            return true;
        }
    }
    return false;
}
