/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The exporter's ledger (protocol section 4): a balanced tree in ascending
 * order, in which each node knows how far its subtree reaches.  Entries of one
 * object at one place never touch each other, as they would have been merged;
 * entries of different objects may well overlap.
 *
 * It is balanced by height, whatever comes in whatever order: the order is the
 * peer's.
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
    free(ledger->nodes);
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

/* --- the tree ------------------------------------------------------------ */

static uint32_t height(const struct mx_ledger *ledger, uint32_t node)
{
    return node != 0 ? ledger->nodes[node].height : 0;
}

static uint64_t last_of(const struct mx_ledger_entry *entry)
{
    return entry->start + (entry->size - 1);
}

/* Its subtrees may have changed. */
static void update(struct mx_ledger *ledger, uint32_t node)
{
    struct mx_ledger_node *at = &ledger->nodes[node];
    uint32_t left = height(ledger, at->left);
    uint32_t right = height(ledger, at->right);

    at->height = 1 + (left > right ? left : right);
    at->last = last_of(&at->entry);
    if (at->left != 0 && ledger->nodes[at->left].last > at->last) {
        at->last = ledger->nodes[at->left].last;
    }
    if (at->right != 0 && ledger->nodes[at->right].last > at->last) {
        at->last = ledger->nodes[at->right].last;
    }
}

/* Its left child takes its place, and is returned. */
static uint32_t turn_right(struct mx_ledger *ledger, uint32_t node)
{
    uint32_t left = ledger->nodes[node].left;

    ledger->nodes[node].left = ledger->nodes[left].right;
    ledger->nodes[left].right = node;
    update(ledger, node);
    update(ledger, left);
    return left;
}

static uint32_t turn_left(struct mx_ledger *ledger, uint32_t node)
{
    uint32_t right = ledger->nodes[node].right;

    ledger->nodes[node].right = ledger->nodes[right].left;
    ledger->nodes[right].left = node;
    update(ledger, node);
    update(ledger, right);
    return right;
}

/* How much higher is its left subtree than the right one? */
static int lean(const struct mx_ledger *ledger, uint32_t node)
{
    return (int)height(ledger, ledger->nodes[node].left) -
           (int)height(ledger, ledger->nodes[node].right);
}

/*
 * The heights of its subtrees, which are balanced, differ by two at most.
 * Returns the balanced tree.
 */
static uint32_t balance(struct mx_ledger *ledger, uint32_t node)
{
    struct mx_ledger_node *at = &ledger->nodes[node];

    if (lean(ledger, node) > 1) {
        if (lean(ledger, at->left) < 0) {
            at->left = turn_left(ledger, at->left);
        }
        return turn_right(ledger, node);
    }
    if (lean(ledger, node) < -1) {
        if (lean(ledger, at->right) > 0) {
            at->right = turn_right(ledger, at->right);
        }
        return turn_left(ledger, node);
    }
    update(ledger, node);
    return node;
}

/* No two entries are equal in all of this: they would have been merged. */
static bool is_before(const struct mx_ledger_entry *a,
                      const struct mx_ledger_entry *b)
{
    if (a->start != b->start) {
        return a->start < b->start;
    }
    if (a->device != b->device) {
        return a->device < b->device;
    }
    if (a->inode != b->inode) {
        return a->inode < b->inode;
    }
    return a->offset < b->offset;
}

/* Each returns the tree below @node as it is then. */

static uint32_t add(struct mx_ledger *ledger, uint32_t node, uint32_t added)
{
    struct mx_ledger_node *at;

    if (node == 0) {
        return added;
    }
    at = &ledger->nodes[node];
    if (is_before(&ledger->nodes[added].entry, &at->entry)) {
        at->left = add(ledger, at->left, added);
    } else {
        at->right = add(ledger, at->right, added);
    }
    return balance(ledger, node);
}

static uint32_t remove_first(struct mx_ledger *ledger, uint32_t node,
                             uint32_t *first)
{
    struct mx_ledger_node *at = &ledger->nodes[node];

    if (at->left == 0) {
        *first = node;
        return at->right;
    }
    at->left = remove_first(ledger, at->left, first);
    return balance(ledger, node);
}

static uint32_t remove_node(struct mx_ledger *ledger, uint32_t node,
                            uint32_t gone)
{
    struct mx_ledger_node *at = &ledger->nodes[node];
    uint32_t right, heir;

    if (node != gone) {
        if (is_before(&ledger->nodes[gone].entry, &at->entry)) {
            at->left = remove_node(ledger, at->left, gone);
        } else {
            at->right = remove_node(ledger, at->right, gone);
        }
        return balance(ledger, node);
    }
    if (at->right == 0) {
        return at->left;
    }
    right = remove_first(ledger, at->right, &heir);
    ledger->nodes[heir].left = at->left;
    ledger->nodes[heir].right = right;
    return balance(ledger, heir);
}

/* --- entries ------------------------------------------------------------- */

/* An unused node can be had from now on. */
static int make_room(struct mx_ledger *ledger)
{
    uint32_t room = ledger->room != 0 ? ledger->room * 2 : FIRST_ROOM;
    struct mx_ledger_node *nodes;

    if (ledger->unused != 0 || ledger->used < ledger->room) {
        return 0;
    }
    if (ledger->room > UINT32_MAX / 4) {
        return -ENOMEM;
    }
    nodes = reallocarray(ledger->nodes, (size_t)room + 1, sizeof(*nodes));
    if (nodes == NULL) {
        return -ENOMEM;
    }
    ledger->nodes = nodes;
    ledger->room = room;
    return 0;
}

/* There is room. */
static void insert(struct mx_ledger *ledger,
                   const struct mx_ledger_entry *entry)
{
    uint32_t node = ledger->unused;

    if (node != 0) {
        ledger->unused = ledger->nodes[node].left;
    } else {
        node = ++ledger->used;
    }
    memset(&ledger->nodes[node], 0, sizeof(ledger->nodes[node]));
    ledger->nodes[node].entry = *entry;
    update(ledger, node);
    ledger->root = add(ledger, ledger->root, node);
    ledger->count++;
}

static void take_out(struct mx_ledger *ledger, uint32_t node)
{
    ledger->root = remove_node(ledger, ledger->root, node);
    ledger->nodes[node].left = ledger->unused;
    ledger->unused = node;
    ledger->count--;
}

typedef bool test_fn(const struct mx_ledger_entry *wanted,
                     const struct mx_ledger_entry *entry);

/*
 * The first entry below @node that @wanted overlaps or touches and that passes
 * the test, or 0.
 */
static uint32_t find(const struct mx_ledger *ledger, uint32_t node,
                     const struct mx_ledger_entry *wanted, test_fn *test)
{
    const struct mx_ledger_node *at;
    uint32_t found;

    if (node == 0) {
        return 0;
    }
    at = &ledger->nodes[node];
    if (at->last < wanted->start && wanted->start - at->last > 1) {
        return 0;
    }
    found = find(ledger, at->left, wanted, test);
    if (found != 0) {
        return found;
    }
    if (at->entry.start > wanted->start &&
        at->entry.start - wanted->start > wanted->size) {
        return 0;
    }
    if (test(wanted, &at->entry)) {
        return node;
    }
    return find(ledger, at->right, wanted, test);
}

bool mx_ledger_holds(const struct mx_ledger *ledger,
                     const struct mx_ledger_entry *entry)
{
    return find(ledger, ledger->root, entry, within) != 0;
}

int mx_ledger_enter(struct mx_ledger *ledger,
                    const struct mx_ledger_entry *entry)
{
    struct mx_ledger_entry united = *entry;
    uint32_t met;

    if (entry->size == 0 || mx_ledger_holds(ledger, entry)) {
        return 0;
    }
    met = find(ledger, ledger->root, entry, joins);
    if (met == 0 && make_room(ledger) < 0) {
        return -ENOMEM;
    }
    while (met != 0) {
        unite(&united, &ledger->nodes[met].entry);
        take_out(ledger, met);
        met = find(ledger, ledger->root, &united, joins);
    }
    insert(ledger, &united);
    return 0;
}

/* The first entry that intersects, or 0. */
static uint32_t find_met(const struct mx_ledger *ledger, uint64_t start,
                         uint64_t size)
{
    uint32_t node = ledger->root;

    while (node != 0) {
        const struct mx_ledger_node *at = &ledger->nodes[node];

        /* if none is there then none is behind it either */
        if (at->left != 0 && ledger->nodes[at->left].last >= start) {
            node = at->left;
        } else if (mx_ranges_intersect(at->entry.start, at->entry.size,
                                       start, size)) {
            break;
        } else {
            node = at->right;
        }
    }
    return node;
}

bool mx_ledger_meets(const struct mx_ledger *ledger, uint64_t start,
                     uint64_t size)
{
    return find_met(ledger, start, size) != 0;
}

bool mx_ledger_take(struct mx_ledger *ledger, uint64_t start, uint64_t size,
                    struct mx_ledger_entry *entry)
{
    uint32_t node = find_met(ledger, start, size);

    if (node == 0) {
        return false;
    }
    *entry = ledger->nodes[node].entry;
    take_out(ledger, node);
    return true;
}
