/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The consumer's callbacks: memory with the space of the library behind it,
 * and registers by which a peer's access makes things happen while it is
 * serviced (protocol section 3).
 */
#include "sim.h"

#include <errno.h>
#include <string.h>

#include "device.h"
#include "os.h"

struct time_spent {
    int64_t began;
    struct polled polled;       /* before the callback, which may wait */
    unsigned remakes;           /* of the device that calls */
};

/* In a run only what is mapped changes, and only this device's. */
static struct time_spent enter(struct sim_device *device, bool mapping)
{
    struct time_spent spent = { world.now, fiber_current->polled,
                                device->remakes };
    const struct sim_device *updating = fiber_current->updating;

    SIM_CHECK(!updating || (mapping && updating == device),
              "%s: something else is called in a run of map and unmap",
              device->process->name);

    device->inside++;
    fiber_current->inside[device->index]++;
    fiber_current->depth++;
    fiber_current->polled = polling_until(FOREVER);
    return spent;
}

static struct time_spent enter_callback(struct sim_device *device)
{
    return enter(device, false);
}

/* A wait may take longer by what callbacks took meanwhile. */
static void leave_callback(struct sim_device *device, struct time_spent spent)
{
    if (spent.remakes == device->remakes) {
        device->inside--;
        fiber_current->inside[device->index]--;
    }
    fiber_current->depth--;
    fiber_current->polled = spent.polled;
    fiber_current->process->callbacks += world.now - spent.began;
}

/* --- service ------------------------------------------------------------- */

/* Does the request that is being serviced beat all that we have sent? */
static void check_beats(const struct sim_device *device)
{
    const struct mx_session *session = &device->device->member.link.session;
    unsigned own, theirs = 2 * MX_CLASS_ACCESS + 1 - session->subpriority;

    for (own = 0; own < MX_CLASSES; own++) {
        SIM_CHECK(!session->out[own].active ||
                  theirs < session->out[own].request.priority,
                  "%s services an access of priority %u while its own of %u "
                  "is outstanding", device->process->name, theirs,
                  session->out[own].request.priority);
    }
}

static struct time_spent begin_service(struct sim_device *device)
{
    struct process *process = device->process;

    SIM_CHECK(device->resolved || process->in_service == 0,
              "%s services two accesses at a time", process->name);
    if (!device->pieces) {      /* much may begin between two of them */
        SIM_CHECK(device->resolved || process->group->map_changes == 0,
                  "%s services an access in a map change", process->name);
        check_beats(device);
    }
    device->resolved = false;
    process->in_service++;
    device->callbacks++;
    totals.served++;
    fiber_current->services++;
    return enter_callback(device);
}

static void end_service(struct sim_device *device, struct time_spent spent)
{
    fiber_linger();
    device->process->in_service--;
    fiber_current->services--;
    leave_callback(device, spent);
}

static void nested_access(struct process *process)
{
    unsigned i;

    for (i = 0; i < process->device_count; i++) {
        struct sim_device *device = &process->devices[i];
        uint64_t value, waits = fiber_waits(fiber_current);
        bool may_wait = world.plan.preempt > 0;
        int ret;

        if (device->going) {
            continue;
        }
        ret = memexpose_read(device_enter(device), slot_address(0) +
                             cell_offset(2), 4, &value);
        SIM_CHECK(ret == MEMEXPOSE_RESULT_DECODE, "%s: an access from within "
                  "a service gave %d", process->name, ret);
        SIM_CHECK(may_wait || fiber_waits(fiber_current) == waits,
                  "%s: an access from within a service waited",
                  process->name);
    }
}

static void move_slot(struct process *process, unsigned slot)
{
    if (!world.plan.map_changes || process->slots[slot].busy) {
        return;
    }
    sim_trace("slot %u moves within the service", slot);
    slot_withdraw(process, slot);
    slot_add(process, slot);
}

static void control(struct sim_device *device, uint64_t value)
{
    struct process *process = device->process;

    switch (value % 8) {
    case 0:
    case 1:
        move_slot(process, (unsigned)(value / 8 % slot_count()));
        break;
    case 2:
    case 3:
        nested_access(process);
        break;
    case 4:
        fiber_sleep(world.now + (int64_t)(value / 8 % 30) * MS);
        break;
    case 5:
        if (!device->going) {
            operation_interrupt(device);
        }
        break;
    case 6:
        if (world.plan.map_changes) {
            operation_custom_change(process);
        }
        break;
    default:
        if (world.plan.resets && sim_chance(1, 3)) {
            operation_disrupt(process, true);
        }
        break;
    }
}

static int find_cell(uint64_t address, unsigned *slot, unsigned *cell)
{
    for (*slot = 0; *slot < SLOTS; ++*slot) {
        for (*cell = 0; *cell < CELLS; ++*cell) {
            if (address == slot_address(*slot) + cell_offset(*cell)) {
                return 1;
            }
        }
    }
    return 0;
}

/* The part of a block that lies in bulk memory is one that was sent. */
static void check_performed(struct process *process, uint64_t address,
                            const uint8_t *bytes, size_t count)
{
    uint64_t end = address + count;
    uint64_t from = address > BULK ? address : BULK;

    end = end < BULK + BULK_ALL ? end : BULK + BULK_ALL;
    if (from < end) {
        bulk_performed(process->index, from - BULK, bytes + (from - address),
                       (size_t)(end - from));
    }
}

static int on_read(void *opaque, uint64_t address, unsigned bytes,
                   uint64_t *value)
{
    struct sim_device *device = opaque;
    struct time_spent spent = begin_service(device);
    int ret = 0;

    sim_trace("services a read of %u at 0x%llx", bytes,
              (unsigned long long)address);
    if (address >= CONTROL) {
        *value = 0x77;
    } else {
        ret = memexpose_space_read(device->process->space, address, bytes,
                                   value);
    }
    end_service(device, spent);
    return ret;
}

static int on_write(void *opaque, uint64_t address, unsigned bytes,
                    uint64_t value)
{
    struct sim_device *device = opaque;
    struct process *process = device->process;
    struct time_spent spent = begin_service(device);
    uint64_t began = ++world.tick;
    unsigned slot, cell;
    int ret = 0;

    sim_trace("services a write of %u at 0x%llx", bytes,
              (unsigned long long)address);
    if (address >= CONTROL) {
        control(device, value);
    } else {
        uint8_t copy[8];

        mx_value_to_bytes(value, copy);
        check_performed(process, address, copy, bytes);
        ret = memexpose_space_write(process->space, address, bytes, value);
        if (ret == 0 && find_cell(address, &slot, &cell)) {
            oracle_performed(process->index, slot, cell, value, began);
            if (sim_chance(1, 6)) {     /* it moves its own target */
                move_slot(process, slot);
            }
        }
    }
    end_service(device, spent);
    return ret;
}

static int on_read_block(void *opaque, uint64_t address, void *buffer,
                         size_t bytes, size_t *done)
{
    struct sim_device *device = opaque;
    struct time_spent spent = begin_service(device);
    int ret;

    sim_trace("services a block read of 0x%zx at 0x%llx", bytes,
              (unsigned long long)address);
    ret = memexpose_space_read_block(device->process->space, address, buffer,
                                     bytes, done);
    end_service(device, spent);
    return ret;
}

static int on_write_block(void *opaque, uint64_t address, const void *buffer,
                          size_t bytes, size_t *done)
{
    struct sim_device *device = opaque;
    struct process *process = device->process;
    struct time_spent spent = begin_service(device);
    int ret;

    sim_trace("services a block write of 0x%zx at 0x%llx", bytes,
              (unsigned long long)address);
    check_performed(process, address, buffer, bytes);
    fiber_linger();
    check_performed(process, address, buffer, bytes);
    ret = memexpose_space_write_block(process->space, address, buffer, bytes,
                                      done);
    if (ret == 0 && sim_chance(1, 12)) {        /* it moves its own target */
        move_slot(process, SLOTS + sim_below(BULKS));
    }
    end_service(device, spent);
    return ret;
}

/* No access is serviced meanwhile, and no map change is under way. */
static int on_next_share(void *opaque, uint64_t address,
                         struct memexpose_share *share)
{
    struct sim_device *device = opaque;
    struct process *process = device->process;
    struct time_spent spent = enter_callback(device);
    int ret;

    SIM_CHECK(process->in_service == 0, "%s offers within a service",
              process->name);
    SIM_CHECK(process->group->map_changes == 0, "%s offers in a map change",
              process->name);
    process->in_service++;
    fiber_linger();
    ret = memexpose_space_next_share(process->space, address, share);
    fiber_linger();
    process->in_service--;
    leave_callback(device, spent);
    return ret;
}

static int on_resolve(void *opaque, uint64_t address,
                      struct memexpose_share *share)
{
    struct sim_device *device = opaque;
    struct time_spent spent = enter_callback(device);
    int ret;

    /* Before the access: only a mutant does it. */
    device->resolved =
        device->callbacks == device->device->stats.requests_served;
    fiber_linger();
    ret = memexpose_space_resolve(device->process->space, address, share);
    fiber_linger();
    leave_callback(device, spent);
    return ret;
}

/* --- what is mapped ------------------------------------------------------ */

/* As long as the peer has that there, it is no use to offer it again. */
static void note_declined(struct sim_device *device,
                          const struct memexpose_range *range)
{
    unsigned i;

    for (i = 0; i < PLACES; i++) {
        if (slot_address(i) == range->start) {
            device->declined[i] = memory_id(memory_at(range->host));
        }
    }
}

static int on_map(void *opaque, const struct memexpose_range *range)
{
    struct sim_device *device = opaque;
    struct time_spent spent = enter(device, true);
    bool takes = !sim_chance(1, 40);

    sim_trace("maps 0x%llx bytes at 0x%llx%s", (unsigned long long)range->size,
              (unsigned long long)range->start, takes ? "" : ": declined");
    SIM_CHECK(device->process->group->map_changes == 0,
              "%s maps in a map change of its own", device->process->name);
    fiber_linger();
    device->maps++;
    if (!takes) {
        memory_refuse(range->host);
        note_declined(device, range);
    }
    leave_callback(device, spent);
    return takes ? 0 : -ENOMEM;
}

struct removal {
    struct sim_device *device;
    unsigned remakes;           /* of the device that asked */
    uint64_t id;
};

static struct removal removals[FIBERS];

/* Some time later the guest has let go of it. */
static void let_go(struct fiber *fiber)
{
    struct removal removal = *(struct removal *)fiber->argument;
    int ret;

    fiber_linger();
    if (removal.remakes == removal.device->remakes) {
        removal.device->later--;
        if (!removal.device->going) {
            ret = memexpose_device_unmapped(device_enter(removal.device),
                                            removal.id);
            SIM_CHECK(ret == 0, "a removal that was to come later is "
                      "unknown");
        }
    }
    fiber->process->threads--;
}

static bool remove_later(struct sim_device *device, uint64_t id)
{
    struct removal *removal;
    struct fiber *fiber;

    if (!device->process->up || device->going) {
        return true;            /* means nothing while it is destroyed */
    }
    fiber = fiber_spawn(device->process, "removal", let_go, NULL);
    if (!fiber) {
        return false;
    }
    removal = &removals[fiber->id];
    *removal = (struct removal) { device, device->remakes, id };
    fiber->argument = removal;
    device->process->threads++;
    device->later++;
    return true;
}

static int on_unmap(void *opaque, const struct memexpose_range *range)
{
    struct sim_device *device = opaque;
    struct time_spent spent = enter(device, true);
    bool later = sim_chance(1, 4);

    sim_trace("unmaps 0x%llx%s", (unsigned long long)range->start,
              later ? " later" : "");
    if (later) {
        later = remove_later(device, range->id);
    } else {
        fiber_linger();
    }
    leave_callback(device, spent);
    return later ? MEMEXPOSE_UNMAP_LATER : 0;
}

static void on_update(void *opaque, bool begin)
{
    struct sim_device *device = opaque;
    struct time_spent spent = enter(device, true);

    SIM_CHECK(device->updating != begin, "%s: a run of map and unmap %s twice",
              device->process->name, begin ? "begins" : "ends");
    SIM_CHECK(begin || fiber_current->updating == device,
              "%s: another thread ends a run of map and unmap",
              device->process->name);
    device->updating = begin;
    fiber_linger();
    fiber_current->updating = begin ? device : NULL;
    leave_callback(device, spent);
}

static void on_retire(void *opaque, void (*fn)(void *arg), void *arg)
{
    struct sim_device *device = opaque;
    struct process *process = device->process;

    if (process->retired_count == RETIRED) {
        sim_fail("more is retired than can be kept");
        return;
    }
    process->retired[process->retired_count++] = (struct retired) { fn, arg };
}

void process_run_retired(struct process *process)
{
    if (process->readers > 0) {
        return;
    }
    while (process->retired_count > 0) {
        struct retired next = process->retired[--process->retired_count];

        next.fn(next.arg);
    }
}

/* --- what else it is told ------------------------------------------------ */

static void on_interrupt(void *opaque, bool level, bool rise)
{
    struct sim_device *device = opaque;
    struct time_spent spent = enter_callback(device);

    (void)level;
    (void)rise;
    SIM_CHECK(!device->interrupting, "calls of interrupt overlap");
    device->interrupting = true;
    fiber_linger();
    device->interrupting = false;
    leave_callback(device, spent);
}

static void on_link_changed(void *opaque, uint64_t state)
{
    struct sim_device *device = opaque;
    struct time_spent spent = enter_callback(device);

    sim_trace("link state 0x%llx", (unsigned long long)state);
    SIM_CHECK(!device->changing, "calls of link_changed overlap");
    device->changing = true;
    fiber_linger();
    device->changing = false;
    leave_callback(device, spent);
}

static void on_trace(void *opaque, enum memexpose_link link, bool sent,
                     const void *message, size_t bytes)
{
    (void)bytes;
    if (link == MEMEXPOSE_LINK_MEM) {
        push_message(opaque, sent, message);
    }
}

void consumer_ops(const struct sim_device *device,
                  struct memexpose_device_ops *ops)
{
    *ops = (struct memexpose_device_ops) {
        .size = sizeof(*ops),
        .read = on_read,
        .write = on_write,
        .resolve = on_resolve,
        .map = on_map,
        .unmap = on_unmap,
        .retire = device->process->deferring ? on_retire : NULL,
        .interrupt = on_interrupt,
        .link_changed = on_link_changed,
        .trace = on_trace,
        .read_block = device->pieces ? NULL : on_read_block,
        .write_block = device->pieces ? NULL : on_write_block,
        .next_share = device->offers ? on_next_share : NULL,
        .update = device->updates ? on_update : NULL,
    };
}
