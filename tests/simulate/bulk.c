/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What bulk memory may hold, byte by byte.  Each write leaves contents that
 * tell it from every other.  A block is not atomic: each byte that is read
 * must be one that was there at some time between the begin and the end of
 * the access, whatever its neighbours are.
 */
#include "sim.h"

#include <string.h>

enum { STATES = 64 };

struct state {
    unsigned handle;
    bool absent;                /* there is nothing */
    uint64_t tag;
    uint64_t from, to;          /* offsets */
    uint64_t begin, end;        /* ticks */
};

static struct bulk {
    unsigned count;
    bool lost;                  /* too much went on: anything may be there */
    struct state states[STATES];
} bulks[PROCESSES];
static unsigned last_handle;

void bulk_reset(void)
{
    unsigned i;

    for (i = 0; i < PROCESSES; i++) {
        bulks[i].count = 1;
        bulks[i].lost = false;
        bulks[i].states[0] = (struct state) { .absent = true,
                                              .to = BULK_ALL };
    }
    last_handle = 0;
}

/* --- contents ------------------------------------------------------------ */

static uint64_t word_of(uint64_t tag, uint64_t index)
{
    return tag * UINT64_C(0x9e3779b97f4a7c15) ^
           (index + 1) * UINT64_C(0xbf58476d1ce4e5b9);
}

static uint8_t byte_of(uint64_t tag, uint64_t offset)
{
    return (uint8_t)(word_of(tag, offset / 8) >> offset % 8 * 8);
}

void bulk_fill(uint8_t *bytes, uint64_t tag, uint64_t offset, size_t count)
{
    size_t i = 0;

    while (i < count) {
        if ((offset + i) % 8 == 0 && count - i >= 8) {
            uint64_t word = word_of(tag, (offset + i) / 8);
            unsigned byte;

            for (byte = 0; byte < 8; byte++) {
                bytes[i++] = (uint8_t)(word >> byte * 8);
            }
        } else {
            bytes[i] = byte_of(tag, offset + i);
            i++;
        }
    }
}

/* How many bytes are as the tag has them. */
static size_t agreeing(const uint8_t *bytes, uint64_t tag, uint64_t offset,
                       size_t count)
{
    uint8_t expected[512];
    size_t i = 0;

    while (i < count) {
        size_t piece = count - i < sizeof(expected) ? count - i :
                       sizeof(expected);

        bulk_fill(expected, tag, offset + i, piece);
        if (memcmp(bytes + i, expected, piece) != 0) {
            size_t same = 0;

            while (bytes[i + same] == expected[same]) {
                same++;
            }
            return i + same;
        }
        i += piece;
    }
    return count;
}

/* --- states -------------------------------------------------------------- */

static bool covers(const struct state *state, uint64_t from, uint64_t to)
{
    return state->from <= from && state->to >= to;
}

/* Has something else taken its place for one who looks since @since? */
static bool replaced(const struct bulk *bulk, const struct state *state,
                     uint64_t from, uint64_t to, uint64_t since)
{
    unsigned i;

    for (i = 0; i < bulk->count; i++) {
        const struct state *later = &bulk->states[i];

        if (state->end < later->begin && later->end < since &&
            covers(later, from, to)) {
            return true;
        }
    }
    return false;
}

static void forget(struct bulk *bulk)
{
    uint64_t since = oracle_horizon();
    unsigned i = 0;

    while (i < bulk->count) {
        const struct state *state = &bulk->states[i];

        if (replaced(bulk, state, state->from, state->to, since)) {
            bulk->states[i] = bulk->states[--bulk->count];
        } else {
            i++;
        }
    }
}

static void add(struct bulk *bulk, const struct state *state)
{
    if (bulk->count > STATES / 2) {
        forget(bulk);
    }
    if (bulk->count == STATES) {
        bulk->lost = true;
        return;
    }
    bulk->states[bulk->count++] = *state;
}

unsigned bulk_begin(unsigned process, uint64_t tag, bool absent,
                    uint64_t offset, uint64_t size)
{
    add(&bulks[process], &(struct state) {
        .handle = ++last_handle,
        .absent = absent,
        .tag = tag,
        .from = offset,
        .to = offset + size,
        .begin = ++world.tick,
        .end = UINT64_MAX,
    });
    return last_handle;
}

static struct state *find(struct bulk *bulk, unsigned handle)
{
    unsigned i;

    for (i = 0; i < bulk->count; i++) {
        if (bulk->states[i].handle == handle) {
            return &bulk->states[i];
        }
    }
    return NULL;
}

void bulk_end(unsigned process, unsigned handle, enum oracle_end how,
              uint64_t done)
{
    struct bulk *bulk = &bulks[process];
    struct state *state = find(bulk, handle), first;

    if (!state) {
        return;                 /* too much went on */
    }
    world.tick++;
    if (how == ORACLE_DONE) {
        state->end = world.tick;
        return;
    }
    first = *state;
    first.to = first.from + done;
    first.end = world.tick;
    state->from += done;
    if (how == ORACLE_NOT || state->from == state->to) {
        *state = bulk->states[--bulk->count];
    }
    if (done > 0) {
        add(bulk, &first);
    }
}

static void describe(const struct bulk *bulk)
{
    unsigned i;

    for (i = 0; i < bulk->count && world.tracing; i++) {
        const struct state *state = &bulk->states[i];

        sim_trace("bulk: %s 0x%llx at 0x%llx to 0x%llx, from %llu to %lld",
                  state->absent ? "nothing" : "tag",
                  (unsigned long long)state->tag,
                  (unsigned long long)state->from,
                  (unsigned long long)state->to,
                  (unsigned long long)state->begin, (long long)state->end);
    }
}

/* --- what is seen -------------------------------------------------------- */

/* Blocks of the peer's that are not over, or of which nobody knows. */
void bulk_performed(unsigned process, uint64_t offset, const uint8_t *bytes,
                    size_t count)
{
    const struct bulk *bulk = &bulks[process];
    unsigned i;

    for (i = 0; i < bulk->count; i++) {
        const struct state *state = &bulk->states[i];

        if (!state->absent && state->end == UINT64_MAX &&
            covers(state, offset, offset + count) &&
            agreeing(bytes, state->tag, offset, count) == count) {
            return;
        }
    }
    if (!bulk->lost) {
        describe(bulk);
        sim_fail("%s performs a block of 0x%zx bytes at 0x%llx that nobody "
                 "writes", processes[process].name, count,
                 (unsigned long long)offset);
    }
}

/* From @from on, where does a state begin or end next? */
static uint64_t next_bound(const struct bulk *bulk, uint64_t from, uint64_t to)
{
    unsigned i;

    for (i = 0; i < bulk->count; i++) {
        const struct state *state = &bulk->states[i];

        to = state->from > from && state->from < to ? state->from : to;
        to = state->to > from && state->to < to ? state->to : to;
    }
    return to;
}

/* Which of them may have been there, all over [from, to)? */
static unsigned candidates(const struct bulk *bulk, uint64_t from, uint64_t to,
                           uint64_t since, const struct state **found)
{
    unsigned count = 0, i;

    for (i = bulk->count; i-- > 0;) {
        const struct state *state = &bulk->states[i];

        if (covers(state, from, to) &&
            !replaced(bulk, state, from, to, since)) {
            found[count++] = state;
        }
    }
    return count;
}

/* How many bytes are explained, each by one of them. */
static size_t explained(const struct state **found, unsigned count,
                        uint64_t offset, const uint8_t *bytes, size_t size)
{
    size_t seen = 0, before;
    unsigned i;

    do {
        before = seen;
        for (i = 0; i < count; i++) {
            if (!found[i]->absent) {
                seen += agreeing(bytes + seen, found[i]->tag, offset + seen,
                                 size - seen);
            }
        }
    } while (seen > before && seen < size);
    return seen;
}

static void read_part(unsigned process, uint64_t offset, const uint8_t *bytes,
                      size_t count, uint64_t began)
{
    const struct bulk *bulk = &bulks[process];
    const struct state *found[STATES];
    unsigned number = candidates(bulk, offset, offset + count, began, found);
    size_t seen = explained(found, number, offset, bytes, count);

    if (seen < count && !bulk->lost) {
        describe(bulk);
        sim_fail("memory disagrees: a block read of %s gave 0x%02x at bulk "
                 "offset 0x%llx (looked at since tick %llu)",
                 processes[process].name, bytes[seen],
                 (unsigned long long)(offset + seen),
                 (unsigned long long)began);
    }
}

void bulk_read(unsigned process, uint64_t offset, const uint8_t *bytes,
               size_t count, uint64_t began)
{
    size_t done = 0;

    totals.reads_checked++;
    while (done < count) {
        uint64_t from = offset + done;
        size_t piece = (size_t)(next_bound(&bulks[process], from,
                                           offset + count) - from);

        read_part(process, from, bytes + done, piece, began);
        done += piece;
    }
}

void bulk_refused(unsigned process, uint64_t offset, uint64_t began)
{
    const struct bulk *bulk = &bulks[process];
    const struct state *found[STATES];
    unsigned count, i;

    if (offset >= BULK_ALL) {
        return;
    }
    count = candidates(bulk, offset, offset + 1, began, found);
    for (i = 0; i < count; i++) {
        if (found[i]->absent) {
            return;
        }
    }
    if (!bulk->lost) {
        describe(bulk);
        sim_fail("memory disagrees: a block of %s was refused at bulk offset "
                 "0x%llx", processes[process].name,
                 (unsigned long long)offset);
    }
}
