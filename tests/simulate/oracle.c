/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What memory may hold.  Every value that is written is a new one, so that a
 * read tells which write it saw.  What happened between two ticks may be seen
 * from the first on, and has to be from the second on, until something that
 * began later has happened.
 */
#include "sim.h"

#include <string.h>

enum { STATES = 32 };

struct state {
    unsigned handle;
    uint64_t value;
    bool absent;                /* there is nothing */
    bool readonly;
    bool performed;             /* the exporter saw it */
    uint64_t begin, end;        /* ticks */
};

struct cell {
    unsigned count;
    bool lost;                  /* too much went on: anything may be there */
    struct state states[STATES];
};

static struct cell cells[PROCESSES][SLOTS][CELLS];
static unsigned last_handle;
static uint64_t last_value;

void oracle_reset(void)
{
    unsigned process, slot, cell;

    for (process = 0; process < PROCESSES; process++) {
        for (slot = 0; slot < SLOTS; slot++) {
            for (cell = 0; cell < CELLS; cell++) {
                struct cell *one = &cells[process][slot][cell];

                one->count = 1;
                one->lost = false;
                one->states[0] = (struct state) { .absent = true };
            }
        }
    }
    last_handle = 0;
    last_value = 0;
}

uint64_t oracle_value(void)
{
    /* No byte of it is 0, and its low bytes are as new as all of it. */
    uint64_t low = ++last_value;

    low = (low % 251 + 1) | (low / 251 % 251 + 1) << 8 |
          (low / 251 / 251 % 251 + 1) << 16;
    return low | low << 24 | UINT64_C(0x5a5a) << 48;
}

uint64_t oracle_horizon(void)
{
    uint64_t oldest = world.tick;
    unsigned i;

    for (i = 0; i < FIBERS; i++) {
        if (fibers[i].state != FIBER_FREE && fibers[i].reads_since &&
            fibers[i].reads_since < oldest) {
            oldest = fibers[i].reads_since;
        }
    }
    return oldest;
}

/* Is what @state left replaced for one who began to look at @since? */
static bool replaced(const struct cell *cell, const struct state *state,
                     uint64_t since)
{
    unsigned i;

    for (i = 0; i < cell->count; i++) {
        const struct state *later = &cell->states[i];

        if (state->end < later->begin && later->end < since) {
            return true;
        }
    }
    return false;
}

static void forget(struct cell *cell)
{
    uint64_t since = oracle_horizon();
    unsigned i = 0;

    while (i < cell->count) {
        if (replaced(cell, &cell->states[i], since)) {
            cell->states[i] = cell->states[--cell->count];
        } else {
            i++;
        }
    }
}

unsigned oracle_begin(unsigned process, unsigned slot, unsigned index,
                      uint64_t value, bool absent, bool readonly)
{
    struct cell *cell = &cells[process][slot][index];

    if (cell->count > STATES / 2) {
        forget(cell);
    }
    if (cell->count == STATES) {
        cell->lost = true;
        return 0;
    }
    cell->states[cell->count++] = (struct state) {
        .handle = ++last_handle,
        .value = value,
        .absent = absent,
        .readonly = readonly,
        .begin = ++world.tick,
        .end = UINT64_MAX,
    };
    return last_handle;
}

void oracle_end(unsigned process, unsigned slot, unsigned index,
                unsigned handle, enum oracle_end how)
{
    struct cell *cell = &cells[process][slot][index];
    unsigned i;

    for (i = 0; i < cell->count; i++) {
        struct state *state = &cell->states[i];

        if (state->handle != handle) {
            continue;
        }
        if (state->performed) {
            SIM_CHECK(how != ORACLE_NOT, "a write was performed and refused");
        } else if (how == ORACLE_NOT) {
            cell->states[i] = cell->states[--cell->count];
        } else if (how == ORACLE_DONE) {
            state->end = ++world.tick;
        }
        return;
    }
}

void oracle_performed(unsigned process, unsigned slot, unsigned index,
                      uint64_t value, uint64_t began)
{
    struct cell *cell = &cells[process][slot][index];
    unsigned i;

    for (i = 0; i < cell->count; i++) {
        struct state *state = &cell->states[i];

        if (!state->absent && state->value == value) {
            SIM_CHECK(!state->performed, "a write is performed twice");
            SIM_CHECK(state->begin <= began && state->end == UINT64_MAX,
                      "a write is performed after it was answered");
            state->performed = true;
            state->begin = began;
            state->end = ++world.tick;
            return;
        }
    }
}

static uint64_t low_bytes(uint64_t value, unsigned bytes)
{
    return bytes < 8 ? value & ((UINT64_C(1) << 8 * bytes) - 1) : value;
}

static void describe(const struct cell *cell)
{
    unsigned i;

    for (i = 0; i < cell->count && world.tracing; i++) {
        const struct state *state = &cell->states[i];

        sim_trace("oracle: %s 0x%llx from %llu to %lld",
                  state->absent ? "nothing" : "value",
                  (unsigned long long)state->value,
                  (unsigned long long)state->begin, (long long)state->end);
    }
}

void oracle_read(unsigned process, unsigned slot, unsigned index,
                 uint64_t began, unsigned bytes, uint64_t value,
                 const char *how)
{
    const struct cell *cell = &cells[process][slot][index];
    unsigned i;

    totals.reads_checked++;
    for (i = 0; i < cell->count; i++) {
        const struct state *state = &cell->states[i];

        if (!state->absent && low_bytes(state->value, bytes) == value &&
            !replaced(cell, state, began)) {
            return;
        }
    }
    if (!cell->lost) {
        describe(cell);
        sim_fail("memory disagrees: %s of %s, slot %u, cell %u gave 0x%llx "
                 "(looked at since tick %llu)", how, processes[process].name,
                 slot, index, (unsigned long long)value,
                 (unsigned long long)began);
    }
}

void oracle_refused(unsigned process, unsigned slot, unsigned index,
                    uint64_t began, int result, bool write)
{
    const struct cell *cell = &cells[process][slot][index];
    unsigned i;

    for (i = 0; i < cell->count; i++) {
        const struct state *state = &cell->states[i];

        if (replaced(cell, state, began)) {
            continue;
        }
        if ((result == MEMEXPOSE_RESULT_DECODE && state->absent) ||
            (result == MEMEXPOSE_RESULT_DENIED && write && state->readonly)) {
            return;
        }
    }
    if (!cell->lost) {
        describe(cell);
        sim_fail("memory disagrees: access to %s, slot %u, cell %u was "
                 "refused with %d", processes[process].name, slot, index,
                 result);
    }
}

void oracle_died(unsigned process)
{
    unsigned slot, cell;

    for (slot = 0; slot < SLOTS; slot++) {
        for (cell = 0; cell < CELLS; cell++) {
            unsigned handle = oracle_begin(process, slot, cell, 0, true,
                                           false);

            oracle_end(process, slot, cell, handle, ORACLE_DONE);
        }
    }
    bulk_end(process, bulk_begin(process, 0, true, 0, BULK_ALL), ORACLE_DONE,
             0);
}
