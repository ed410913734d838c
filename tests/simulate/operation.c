/* SPDX-License-Identifier: BSD-3-Clause */
/* What the threads of a simulated process do, one random thing at a time. */
#include "sim.h"

#include <errno.h>
#include <string.h>

#include "device.h"
#include "os.h"

uint64_t slot_address(unsigned slot)
{
    return slot < SLOTS ? UINT64_C(0x100000) * (slot + 1) :
                          BULK + (uint64_t)(slot - SLOTS) * BULK_SIZE;
}

unsigned slot_count(void)
{
    return world.plan.block ? PLACES : SLOTS;
}

/* The first word, one in two pages, one in the second page. */
uint64_t cell_offset(unsigned cell)
{
    uint64_t page = mx_os_page_size();

    return cell == 0 ? 0 : cell == 1 ? page - 4 : page + 16;
}

/* --- what an operation may answer ---------------------------------------- */

struct timing {
    int64_t began, callbacks;
    uint64_t outer;             /* it may lie within another's callback */
    struct links links;
};

static struct timing begin_operation(struct links links)
{
    uint64_t outer = fiber_current->reads_since;

    totals.operations++;
    world.tick++;
    fiber_current->reads_since = outer ? outer : world.tick;
    fiber_current->polled = polling_until(FOREVER);
    return (struct timing) { world.now,
                             fiber_current->process->callbacks, outer, links };
}

static bool acceptable(int ret, const struct links *links)
{
    switch (ret) {
    case -ENOTCONN:
    case -ECONNRESET:
        return links_may_have_ended(links);
    case -ETIMEDOUT:
        totals.deadlines++;
        return world.stalled;
    case -ECANCELED:
        return world.cancels > 0;
    case -ENOMEM:
    case -EMFILE:
        return world.faults > 0;
    default:
        return ret >= 0;
    }
}

/* Only what callbacks took may make it longer. */
static void end_operation(const char *what, struct timing timing,
                          int64_t limit, int ret)
{
    struct fiber *fiber = fiber_current;
    int64_t took = world.now - timing.began;

    fiber->reads_since = timing.outer;
    fiber->polled = polling_until(FOREVER);
    SIM_CHECK(acceptable(ret, &timing.links), "%s: %s ended with %d (%s)%s",
              fiber->process->name, what, ret, memexpose_strerror(ret),
              ret == -ETIMEDOUT ? ": a stuck waiter" : "");
    SIM_CHECK(fiber->process->stalled > timing.began ||
              took <= limit + 20 * MS + fiber->process->callbacks -
              timing.callbacks,
              "%s: %s took %lld ms", fiber->process->name, what,
              (long long)(took / MS));
}

/* --- accesses ------------------------------------------------------------ */

static struct sim_device *some_device(struct process *process)
{
    return &process->devices[sim_below(process->device_count)];
}

/*
 * What came by the link counts when the removals before it are complete
 * (section 4).  A direct access gives way only at a lock, or if it became one
 * while it waited.
 */
struct held {
    uint64_t waits, lock_waits, maps;
};

static struct held begin_held(const struct sim_device *device)
{
    return (struct held) { fiber_current->waits, fiber_current->lock_waits,
                           device->maps };
}

static void check_held(const struct sim_device *device, int ret,
                       struct held held)
{
    SIM_CHECK(ret < 0 || world.plan.preempt > 0 ||
              fiber_current->waits == held.waits ||
              fiber_current->lock_waits != held.lock_waits ||
              device->maps != held.maps || device->later == 0,
              "%s gets an answer before a removal is complete",
              device->process->name);
}

static void remote_read(struct sim_device *device)
{
    static const unsigned sizes[] = { 1, 2, 4, 8, 8, 8 };
    struct process *peer = device->peer.process;
    unsigned slot = sim_below(SLOTS), cell = sim_below(CELLS);
    unsigned bytes = cell == 1 ? 8 : sizes[sim_below(6)];
    bool stale = memory_stale(device->process, peer);
    struct timing timing = begin_operation(links_of(device->process,
                                                    device));
    uint64_t began = world.tick, value;
    struct held held = begin_held(device);
    int ret;

    sim_trace("reads %u of %s, slot %u, cell %u", bytes, peer->name, slot,
              cell);
    ret = memexpose_read(device_enter(device), slot_address(slot) +
                         cell_offset(cell), bytes, &value);
    check_held(device, ret, held);
    stale |= memory_stale(device->process, peer);
    sim_trace("read gave %d, 0x%llx", ret, (unsigned long long)value);
    if (ret == 0 && !stale) {
        oracle_read(peer->index, slot, cell, began, bytes, value, "a read");
    } else if (ret > 0) {
        oracle_refused(peer->index, slot, cell, began, ret, false);
    }
    end_operation("a read", timing, device->config.request_timeout, ret);
}

static void remote_write(struct sim_device *device)
{
    struct process *peer = device->peer.process;
    unsigned slot = sim_below(SLOTS), cell = sim_below(CELLS), handle;
    bool stale = memory_stale(device->process, peer);
    struct timing timing = begin_operation(links_of(device->process,
                                                    device));
    uint64_t began = world.tick, value = oracle_value();
    struct held held = begin_held(device);
    int ret;

    sim_trace("writes 0x%llx to %s, slot %u, cell %u",
              (unsigned long long)value, peer->name, slot, cell);
    handle = oracle_begin(peer->index, slot, cell, value, false, false);
    ret = memexpose_write(device_enter(device), slot_address(slot) +
                          cell_offset(cell), 8, value);
    check_held(device, ret, held);
    stale |= memory_stale(device->process, peer);
    sim_trace("write gave %d", ret);
    if (ret > 0) {
        oracle_refused(peer->index, slot, cell, began, ret, true);
    }
    oracle_end(peer->index, slot, cell, handle, ret > 0 ? ORACLE_NOT :
               ret == 0 && !stale ? ORACLE_DONE : ORACLE_MAYBE);
    end_operation("a write", timing, device->config.request_timeout, ret);
}

static void remote_control(struct sim_device *device)
{
    struct timing timing = begin_operation(links_of(device->process,
                                                    device));
    uint64_t value = sim_random() % 1024;
    int ret;

    sim_trace("writes %llu to the control of %s",
              (unsigned long long)value % 8, device->peer.process->name);
    ret = memexpose_write(device_enter(device), CONTROL, 4, value);
    sim_trace("control gave %d", ret);
    SIM_CHECK(ret <= 0, "an access to registers gave %d", ret);
    end_operation("a write to registers", timing,
                  device->config.request_timeout, ret);
}

static void remote_words(struct sim_device *device)
{
    struct process *peer = device->peer.process;
    unsigned slot = sim_below(SLOTS);
    uint8_t buffer[24];
    size_t done = 0;
    bool stale = memory_stale(device->process, peer);
    struct timing timing = begin_operation(links_of(device->process,
                                                    device));
    uint64_t began = world.tick;
    int ret;

    fiber_current->polled.waits = sizeof(buffer) / 8;
    sim_trace("reads a block of %s, slot %u", peer->name, slot);
    ret = memexpose_read_block(device_enter(device), slot_address(slot),
                               buffer, sizeof(buffer), &done);
    stale |= memory_stale(device->process, peer);
    SIM_CHECK((ret == 0) == (done == sizeof(buffer)),
              "a block read did %zu bytes and gave %d", done, ret);
    if (done >= 8 && !stale) {
        oracle_read(peer->index, slot, 0, began, 8,
                    mx_value_from_bytes(buffer, 8), "a block read");
    }
    end_operation("a block read", timing,
                  3 * device->config.request_timeout, ret);
}

static void remote_block(struct sim_device *device)
{
    struct timing timing = begin_operation(links_of(device->process,
                                                    device));
    int64_t limit;
    int ret = block_run(device, &limit);
    end_operation("a block", timing, limit, ret);
}

/* As a guest does: by the host's address, at any time until unmap. */
static void direct_read(struct sim_device *device)
{
    struct process *process = device->process;
    struct process *peer = device->peer.process;
    unsigned slot = sim_below(SLOTS), cell = sim_below(CELLS);
    bool stale = memory_stale(process, peer);
    struct timing timing = begin_operation(links_of(device->process,
                                                    device));
    uint64_t began = world.tick, value;
    struct memexpose_range range;
    uint64_t address = slot_address(slot) + cell_offset(cell);
    void *host;

    process->readers++;
    host = memexpose_device_translate(device->device, address, &range);
    if (host && address + sizeof(value) <= range.start + range.size) {
        if (process->deferring) {
            fiber_linger();
        }
        memcpy(&value, host, sizeof(value));
        stale |= memory_stale(process, peer);
        totals.direct++;
        if (value != 0 && !stale) {
            oracle_read(peer->index, slot, cell, began, 8, value,
                        "a direct read");
        }
    }
    process->readers--;
    fiber_current->reads_since = timing.outer;
}

static void local_access(struct process *process)
{
    unsigned slot = sim_below(SLOTS), cell = sim_below(CELLS), handle;
    uint64_t address = slot_address(slot) + cell_offset(cell);
    struct timing timing = begin_operation(links_of(process, NULL));
    uint64_t began = world.tick, value;
    int ret;

    if (sim_chance(1, 2)) {
        ret = memexpose_space_read(process->space, address, 8, &value);
        if (ret == 0) {
            oracle_read(process->index, slot, cell, began, 8, value,
                        "a local read");
        }
    } else {
        value = oracle_value();
        handle = oracle_begin(process->index, slot, cell, value, false,
                              false);
        ret = memexpose_space_write(process->space, address, 8, value);
        oracle_end(process->index, slot, cell, handle,
                   ret == 0 ? ORACLE_DONE : ORACLE_NOT);
    }
    if (ret != 0) {
        oracle_refused(process->index, slot, cell, began, ret, true);
    }
    fiber_current->reads_since = timing.outer;
}

/* --- the memory map ------------------------------------------------------ */

static void change_slot(struct process *process)
{
    unsigned slot = sim_below(slot_count());

    if (process->slots[slot].busy) {
        return;
    }
    if (process->slots[slot].present) {
        slot_withdraw(process, slot);
        if (sim_chance(1, 3)) {
            return;
        }
    }
    slot_add(process, slot);
}

/* What was added is offered at the end of a map change. */
static void map_change(struct process *process)
{
    bool whole = world.plan.push && sim_chance(3, 4);
    unsigned count = whole ? 1 + sim_below(3) : 1;

    if (whole) {
        memexpose_map_change_begin(process->group);
    }
    while (count-- > 0) {
        change_slot(process);
    }
    if (whole) {
        memexpose_map_change_end(process->group);
        slots_settle(process);
    }
}

/* Everything is taken back, and given again after the change. */
void operation_custom_change(struct process *process)
{
    bool twice = sim_chance(1, 3);
    struct timing timing;
    unsigned i;
    int ret;

    process_changes_map(process);
    timing = begin_operation(process->change_links);
    sim_trace("begins a map change of everything");
    memexpose_map_change_begin(process->group);
    if (twice) {
        memexpose_map_change_begin(process->group);
    }
    process->changes++;
    for (i = 0; i < process->device_count; i++) {
        struct sim_device *device = &process->devices[i];

        if (device->going) {
            continue;           /* it takes everything back by itself */
        }
        ret = memexpose_map_change_invalidate(device_enter(device),
                                              slot_address(0), CONTROL -
                                              slot_address(0));
        SIM_CHECK(ret == 0 || (ret == -ENOMEM && world.faults > 0),
                  "an invalidation gave %d", ret);
        if (sim_chance(1, 4)) {
            fiber_pause();
        }
    }
    polling_anew(fiber_current);
    ret = memexpose_map_change_wait(process->group);
    sim_trace("the wait of the map change gave %d", ret);
    if (ret == 0) {
        memory_check_none(process);
    }
    if (twice) {
        memexpose_map_change_end(process->group);
    }
    process->changes--;
    memexpose_map_change_end(process->group);
    slots_settle(process);
    end_operation("a map change", timing, 2000 * MS, ret);
}

/* --- interrupts ---------------------------------------------------------- */

void operation_interrupt(struct sim_device *device)
{
    struct memexpose_interrupt interrupt;
    int ret;

    device->attempts++;
    interrupt.type = (uint64_t)device->process->life << 32 | device->attempts;
    memset(interrupt.data, (int)(interrupt.type & 0xff),
           sizeof(interrupt.data));
    ret = memexpose_device_send(device_enter(device), &interrupt);
    sim_trace("interrupt 0x%llx gave %d", (unsigned long long)interrupt.type,
              ret);
    device->refused += ret != 0;
    SIM_CHECK(ret == 0 || ret == -EAGAIN ||
              (ret == -ENOTCONN && !world.plan.calm),
              "an interrupt gave %d", ret);
}

static void receive_interrupts(struct sim_device *device)
{
    struct memexpose_interrupt interrupt;
    uint64_t lock_waits = fiber_current->lock_waits;
    unsigned i, later = device->later;

    while (!device->going &&
           memexpose_device_receive(device_enter(device), &interrupt) == 0) {
        SIM_CHECK(world.plan.preempt > 0 || later == 0 ||
                  fiber_current->lock_waits != lock_waits,
                  "%s gets an interrupt before a removal is complete",
                  device->process->name);
        sim_trace("interrupt 0x%llx received",
                  (unsigned long long)interrupt.type);
        SIM_CHECK(interrupt.type > device->last_popped || device->sharing ||
                  !device->peer.process->single,
                  "interrupts come out of order");
        for (i = 0; i < sizeof(interrupt.data); i++) {
            SIM_CHECK(interrupt.data[i] == (interrupt.type & 0xff),
                      "an interrupt's data is broken");
        }
        device->last_popped = interrupt.type;
        device->popped++;
        later = device->later;
        lock_waits = fiber_current->lock_waits;
    }
}

/* --- disturbances -------------------------------------------------------- */

static void check_enabled(int ret)
{
    sim_trace("enable gave %d", ret);
    SIM_CHECK(ret == 0 || ret == -EINPROGRESS || ret == -ETIMEDOUT ||
              ret == -ECANCELED || (world.faults > 0 &&
                                     (ret == -ENOMEM || ret == -EMFILE)),
              "enabling gave %d", ret);
}

static void enable(struct sim_device *device, int64_t pause)
{
    int64_t until = pause ? world.now + pause : 0;

    if (!device->going) {
        fiber_current->polled = polling_until(until);
        check_enabled(memexpose_device_enable(device_enter(device), until));
        fiber_current->polled = polling_until(FOREVER);
    }
}

static void disable_for_a_while(struct sim_device *device, bool in_callback)
{
    int64_t pause = (1 + sim_below(40)) * (sim_chance(1, 4) ? LOOK : MS);

    sim_trace("disables");
    memexpose_device_disable(device_enter(device));
    if (!in_callback) {
        fiber_sleep(world.now + pause);
    }
    enable(device, sim_chance(1, 2) ? 0 : pause);
}

static void reset(struct sim_device *device)
{
    sim_trace("resets the device");
    device->resets = true;
    memexpose_device_reset(device_enter(device));
    enable(device, 0);
}

/* Who has called a device may rely on it until he has the lock. */
static void await_callers(const struct process *process)
{
    unsigned i = 0;

    while (i < FIBERS) {
        if (fibers[i].state != FIBER_FREE && fibers[i].process == process &&
            fibers[i].at_lock) {
            fiber_pause();
            i = 0;
        } else {
            i++;
        }
    }
}

/*
 * Destroyed whatever goes on, and there again some time later.  One at a time:
 * of two threads that destroy each other's device from within callbacks none
 * would get on.
 */
static void make_anew(struct sim_device *device)
{
    struct process *process = device->process;

    if (process->remaking) {
        return;
    }
    process->remaking = device->going = true;
    totals.remakes++;
    await_callers(process);
    sim_trace("destroys the device");
    memexpose_device_destroy(device_enter(device));
    SIM_CHECK(device->inside == fiber_current->inside[device->index],
              "%s: a device is gone, and another thread is in a callback of "
              "it", process->name);
    device->remakes++;
    device->later = 0;
    device->inside = fiber_current->inside[device->index] = 0;
    do {
        fiber_sleep(world.now + sim_below(20) * MS);
    } while (!device_create(device));
    sim_trace("has made the device anew");
    process->remaking = device->going = false;
    transport_tell(device);
    enable(device, 0);
}

void operation_disrupt(struct process *process, bool in_callback)
{
    struct sim_device *device = some_device(process);

    if (device->going) {
        return;
    }
    totals.resets++;
    world.cancels++;
    switch (sim_below(5)) {
    case 0:
        sim_trace("cancels the waits of the device");
        memexpose_device_cancel(device_enter(device));
        break;
    case 1:
        sim_trace("cancels the waits of the group");
        memexpose_group_cancel(process->group);
        break;
    case 2:
        reset(device);
        break;
    case 3:
        make_anew(device);
        break;
    default:
        disable_for_a_while(device, in_callback);
        break;
    }
}

static void look_around(struct sim_device *device)
{
    struct memexpose_range ranges[4];
    struct memexpose_stats stats;

    memexpose_device_ranges(device_enter(device), ranges, 4);
    polling_set(device->process);
    if (!device->going) {
        memexpose_device_stats(device_enter(device), &stats, sizeof(stats));
    }
    if (!device->going) {
        memexpose_device_link_state(device_enter(device));
    }
    if (!device->going) {
        memexpose_device_reg_read(device_enter(device), MEMEXPOSE_REG_LINK,
                                  8);
    }
}

void operation_run(struct process *process)
{
    struct sim_device *device = some_device(process);
    unsigned dice = sim_below(100);

    if (device->going) {
        return;
    }
    if (dice < 30) {
        remote_read(device);
    } else if (dice < 48) {
        remote_write(device);
    } else if (dice < 60) {
        remote_control(device);
    } else if (dice < 66) {
        if (world.plan.block && sim_chance(3, 4)) {
            remote_block(device);
        } else {
            remote_words(device);
        }
    } else if (dice < 71) {
        direct_read(device);
    } else if (dice < 75) {
        local_access(process);
    } else if (dice < 85) {
        if (world.plan.map_changes) {
            map_change(process);
        }
    } else if (dice < 88) {
        if (world.plan.map_changes) {
            operation_custom_change(process);
        }
    } else if (dice < 92) {
        operation_interrupt(device);
    } else if (dice < 95) {
        receive_interrupts(device);
    } else if (dice < 97) {
        look_around(device);
    } else if (world.plan.resets) {
        operation_disrupt(process, false);
    }
}
