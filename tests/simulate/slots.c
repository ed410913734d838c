/* SPDX-License-Identifier: BSD-3-Clause */
/* What a simulated process exports, and how that changes. */
#include "sim.h"

#include <errno.h>
#include <string.h>

#include "device.h"
#include "os.h"

static struct slot *slot_of(void *opaque, struct process **process)
{
    struct slot *slot = opaque;
    unsigned i;

    for (i = 0; i < PROCESSES; i++) {
        if (slot >= processes[i].slots && slot < processes[i].slots + SLOTS) {
            *process = &processes[i];
        }
    }
    return slot;
}

/* A byte of the registers, as a piece of an access may want it. */
static uint8_t *register_at(struct slot *slot, uint64_t offset)
{
    unsigned cell;

    for (cell = 0; cell < CELLS; cell++) {
        if (offset >= cell_offset(cell) && offset < cell_offset(cell) + 8) {
            return &slot->scratch[cell][offset - cell_offset(cell)];
        }
    }
    return NULL;
}

static int read_register(void *opaque, uint64_t offset, unsigned bytes,
                         uint64_t *value)
{
    struct process *process;
    struct slot *slot = slot_of(opaque, &process);

    *value = 0;
    while (bytes-- > 0) {
        const uint8_t *place = register_at(slot, offset + bytes);

        *value = *value << 8 | (place ? *place : 0);
    }
    return 0;
}

static int write_register(void *opaque, uint64_t offset, unsigned bytes,
                          uint64_t value)
{
    struct process *process;
    struct slot *slot = slot_of(opaque, &process);
    unsigned i;

    for (i = 0; i < bytes; i++) {
        uint8_t *place = register_at(slot, offset + i);

        if (place) {
            *place = (uint8_t)(value >> 8 * i);
        }
    }
    return 0;
}

static const struct memexpose_mmio_ops register_ops = {
    .size = sizeof(register_ops),
    .read = read_register,
    .write = write_register,
};

/*
 * Every word that begins in the slot becomes another; of one that ends behind
 * it there is nothing.  Of bulk memory it is every byte (bulk.c).
 */
struct change {
    unsigned handles[CELLS];
};

static uint64_t bulk_offset(unsigned index)
{
    return (uint64_t)(index - SLOTS) * BULK_SIZE;
}

static void begin_change(struct process *process, unsigned index,
                         uint64_t *values, struct change *change)
{
    const struct slot *slot = &process->slots[index];
    unsigned cell;

    if (index >= SLOTS) {
        change->handles[0] = bulk_begin(process->index, values ? *values : 0,
                                        !values, bulk_offset(index),
                                        BULK_SIZE);
        return;
    }
    for (cell = 0; cell < CELLS; cell++) {
        if (cell_offset(cell) < slot->size) {
            bool absent = !values || cell_offset(cell) + 8 > slot->size;

            change->handles[cell] =
                oracle_begin(process->index, index, cell,
                             absent ? 0 : values[cell], absent,
                             values && slot->readonly);
        }
    }
}

static void end_change(struct process *process, unsigned index,
                       const struct change *change, enum oracle_end how)
{
    unsigned cell;

    if (index >= SLOTS) {
        bulk_end(process->index, change->handles[0], how, 0);
        return;
    }
    for (cell = 0; cell < CELLS; cell++) {
        if (cell_offset(cell) < process->slots[index].size) {
            oracle_end(process->index, index, cell, change->handles[cell],
                       how);
        }
    }
}

static void fill_memory(const struct slot *slot, unsigned index,
                        const uint64_t *values)
{
    uint8_t *memory = memory_bytes(slot->object), bytes[8];
    unsigned cell;

    if (index >= SLOTS) {
        bulk_fill(memory, *values, bulk_offset(index), BULK_SIZE);
        return;
    }
    for (cell = 0; cell < CELLS; cell++) {
        if (cell_offset(cell) + 8 <= slot->size) {
            mx_value_to_bytes(values[cell], bytes);
            memcpy(memory + cell_offset(cell), bytes, 8);
        }
    }
}

static int add_memory(struct process *process, unsigned index,
                      const uint64_t *values, bool partly, bool private)
{
    struct slot *slot = &process->slots[index];
    struct object_facts *facts;
    unsigned flags = 0;
    int fd, ret;

    slot->object = memory_object(process, slot->size +
                                 (partly ? mx_os_page_size() : 0));
    if (!slot->object) {
        return -ENOMEM;
    }
    facts = memory_facts(slot->object);
    facts->sealed_write = slot->readonly;
    facts->sealed_shrink = !sim_chance(1, 6);
    fill_memory(slot, index, values);
    memory_place(slot->object, slot_address(index));
    flags |= slot->readonly ? MEMEXPOSE_RAM_READONLY : 0;
    flags |= private ? MEMEXPOSE_RAM_PRIVATE : 0;
    fd = net_object_fd(slot->object, !slot->readonly);
    ret = fd < 0 ? fd : memexpose_space_add_ram(process->space,
                                                slot_address(index),
                                                slot->size, fd, 0, flags);
    if (ret < 0) {
        mx_os_close(fd);
        memory_unref(slot->object);
        slot->object = NULL;
    }
    return ret;
}

static int add_registers(struct process *process, unsigned index,
                         const uint64_t *values)
{
    struct slot *slot = &process->slots[index];
    unsigned cell;

    for (cell = 0; cell < CELLS; cell++) {
        mx_value_to_bytes(values[cell], slot->scratch[cell]);
    }
    return memexpose_space_add_mmio(process->space, slot_address(index),
                                    slot->size, &register_ops, slot);
}

/* Kinds of slots, drawn from ten numbers: the others are plain memory. */
enum { ODD_SIZE = 3, READ_ONLY, REGISTERS, PARTLY, PRIVATE, KINDS = 10 };

static void draw_slot(struct slot *slot, unsigned index, unsigned kind)
{
    uint64_t page = mx_os_page_size();

    if (index >= SLOTS) {
        slot->size = BULK_SIZE;
    } else {
        slot->size = kind == ODD_SIZE ? page + 0x100 :
                     sim_chance(1, 8) ? page : 2 * page;
    }
    slot->readonly = kind == READ_ONLY;
    slot->mappable = kind != REGISTERS && kind != PARTLY && kind != PRIVATE;
    slot->settled = UINT64_MAX;
}

/* Words of registers would be too many for so much. */
static unsigned draw_kind(unsigned index)
{
    unsigned kind = sim_below(KINDS);

    if (index >= SLOTS && (kind == READ_ONLY || kind == REGISTERS)) {
        kind = PRIVATE;
    }
    return kind;
}

bool slot_add(struct process *process, unsigned index)
{
    struct slot *slot = &process->slots[index];
    uint64_t values[CELLS];
    unsigned kind = draw_kind(index), cell;
    struct change change;
    int ret;

    if (slot->busy || slot->present) {
        return false;
    }
    slot->busy = true;
    draw_slot(slot, index, kind);
    for (cell = 0; cell < CELLS; cell++) {
        values[cell] = oracle_value();
    }
    begin_change(process, index, values, &change);
    if (kind == REGISTERS) {
        ret = add_registers(process, index, values);
    } else {
        ret = add_memory(process, index, values, kind == PARTLY,
                         kind == PRIVATE);
    }
    sim_trace("adds slot %u, 0x%llx bytes of kind %u: %d", index,
              (unsigned long long)slot->size, kind, ret);
    SIM_CHECK(ret == 0 || world.faults > 0, "adding a slot gave %d", ret);
    end_change(process, index, &change, ret == 0 ? ORACLE_DONE : ORACLE_NOT);
    slot->present = ret == 0;
    slot->busy = false;
    return ret == 0;
}

/* No map change is under way: from now on all that is there is offered. */
void slots_settle(struct process *process)
{
    unsigned i;

    if (process->group->map_changes > 0) {
        return;
    }
    for (i = 0; i < PLACES; i++) {
        struct slot *slot = &process->slots[i];

        if (slot->present && !slot->busy && slot->settled == UINT64_MAX) {
            slot->settled = ++world.tick;
        }
    }
}

/* Map changes that overlap hear of all that is lost in any of them. */
static bool withdrawal_may_fail(int ret, const struct process *process)
{
    return (ret == -ETIMEDOUT && world.stalled) ||
           (ret == -ECANCELED && world.cancels > 0) ||
           /* this side disabled, was reset, or could not send or receive */
           (ret == -ECONNRESET && (world.cancels > 0 || world.faults > 0) &&
            links_may_have_ended(&process->change_links)) ||
           ((ret == -ENOMEM || ret == -EMFILE) && world.faults > 0);
}

void slot_withdraw(struct process *process, unsigned index)
{
    struct slot *slot = &process->slots[index];
    int64_t began = world.now, callbacks = process->callbacks;
    struct change change;
    int ret;

    if (slot->busy || !slot->present) {
        return;
    }
    slot->busy = true;
    slot->settled = UINT64_MAX;
    process_changes_map(process);
    sim_trace("withdraws slot %u", index);
    begin_change(process, index, NULL, &change);
    if (slot->object) {
        memory_watch(slot->object);
    }
    polling_anew(fiber_current);
    ret = memexpose_space_withdraw(process->space, process->group,
                                   slot_address(index));
    sim_trace("withdrawing slot %u gave %d", index, ret);
    SIM_CHECK(ret == 0 || withdrawal_may_fail(ret, process),
              "%s: a map change ended with %d (%s)%s", process->name, ret,
              memexpose_strerror(ret), ret == -ETIMEDOUT ?
              ": a stuck waiter" : "");
    SIM_CHECK(process->stalled > began || fiber_current->depth > 0 ||
              world.now - began <= 2020 * MS + process->callbacks - callbacks,
              "a map change took %lld ms",
              (long long)((world.now - began) / MS));
    totals.deadlines += ret == -ETIMEDOUT;
    end_change(process, index, &change, ORACLE_DONE);
    if (slot->object) {
        SIM_CHECK(ret != 0 || !memory_watched(slot->object), "%s: a map "
                  "change gave 0 before every peer let go", process->name);
        memory_retire(slot->object);
        memory_check();
        memory_unref(slot->object);
        slot->object = NULL;
    }
    slot->present = false;
    slot->busy = false;
    slots_settle(process);
}
