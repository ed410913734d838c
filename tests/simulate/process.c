/* SPDX-License-Identifier: BSD-3-Clause */
/* A simulated process: its life, its threads, what it exports. */
#include "sim.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "device.h"
#include "os.h"

enum { POLLED = 32 };

struct process processes[PROCESSES];

/* --- what it exports ----------------------------------------------------- */

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
 * it there is nothing.
 */
struct change {
    unsigned handles[CELLS];
};

static void begin_change(struct process *process, unsigned index,
                         uint64_t *values, struct change *change)
{
    const struct slot *slot = &process->slots[index];
    unsigned cell;

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

    for (cell = 0; cell < CELLS; cell++) {
        if (cell_offset(cell) < process->slots[index].size) {
            oracle_end(process->index, index, cell, change->handles[cell],
                       how);
        }
    }
}

static int add_memory(struct process *process, unsigned index,
                      const uint64_t *values, bool partly, bool private)
{
    struct slot *slot = &process->slots[index];
    struct object_facts *facts;
    unsigned cell, flags = 0;
    int fd, ret;

    slot->object = memory_object(process, slot->size +
                                 (partly ? mx_os_page_size() : 0));
    if (!slot->object) {
        return -ENOMEM;
    }
    facts = memory_facts(slot->object);
    facts->sealed_write = slot->readonly;
    facts->sealed_shrink = !sim_chance(1, 6);
    for (cell = 0; cell < CELLS; cell++) {
        if (cell_offset(cell) + 8 <= slot->size) {
            uint8_t bytes[8];

            mx_value_to_bytes(values[cell], bytes);
            memcpy(memory_bytes(slot->object) + cell_offset(cell), bytes, 8);
        }
    }
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

bool slot_add(struct process *process, unsigned index)
{
    struct slot *slot = &process->slots[index];
    uint64_t page = mx_os_page_size(), values[CELLS];
    unsigned kind = sim_below(10), cell;
    struct change change;
    int ret;

    if (slot->busy || slot->present) {
        return false;
    }
    slot->busy = true;
    slot->size = kind == 3 ? page + 0x100 : sim_chance(1, 8) ? page : 2 * page;
    slot->readonly = kind == 4;
    for (cell = 0; cell < CELLS; cell++) {
        values[cell] = oracle_value();
    }
    begin_change(process, index, values, &change);
    if (kind == 5) {
        ret = add_registers(process, index, values);
    } else {
        ret = add_memory(process, index, values, kind == 6, kind == 7);
    }
    sim_trace("adds slot %u, 0x%llx bytes of kind %u: %d", index,
              (unsigned long long)slot->size, kind, ret);
    SIM_CHECK(ret == 0 || world.faults > 0, "adding a slot gave %d", ret);
    end_change(process, index, &change, ret == 0 ? ORACLE_DONE : ORACLE_NOT);
    slot->present = ret == 0;
    slot->busy = false;
    return ret == 0;
}

struct links links_of(struct process *process, const struct sim_device *only)
{
    struct links links = { .complete = true };
    unsigned i, which, count = 0;

    for (i = 0; i < process->device_count; i++) {
        const struct sim_device *device = &process->devices[i];
        const struct mx_link *link = &device->device->member.link;

        if (only && device != only) {
            continue;
        }
        links.complete &= !device->going && device->device->regs.enabled;
        for (which = 0; which < MX_LINKS; which++) {
            unsigned stream = device->going ? 0 :
                              net_stream_of(link->conn[which].fd);

            links.complete &= stream != 0;
            links.stream[count++] = stream;
        }
    }
    return links;
}

bool links_may_have_ended(const struct links *links)
{
    bool ended = !links->complete;
    unsigned i;

    for (i = 0; i < 2 * DEVICES; i++) {
        ended |= links->stream[i] && net_ended(links->stream[i]);
    }
    return ended && !world.plan.calm;
}

static bool withdrawal_may_fail(int ret, const struct links *links)
{
    return (ret == -ETIMEDOUT && world.stalled) ||
           (ret == -ECANCELED && world.cancels > 0) ||
           /* this side disabled, was reset, or could not send or receive */
           (ret == -ECONNRESET && (world.cancels > 0 || world.faults > 0) &&
            links_may_have_ended(links)) ||
           ((ret == -ENOMEM || ret == -EMFILE) && world.faults > 0);
}

void slot_withdraw(struct process *process, unsigned index)
{
    struct slot *slot = &process->slots[index];
    int64_t began = world.now, callbacks = process->callbacks;
    struct links links = links_of(process, NULL);
    struct change change;
    int ret;

    if (slot->busy || !slot->present) {
        return;
    }
    slot->busy = true;
    totals.map_changes++;
    sim_trace("withdraws slot %u", index);
    begin_change(process, index, NULL, &change);
    if (slot->object) {
        memory_watch(slot->object);
    }
    ret = memexpose_space_withdraw(process->space, process->group,
                                   slot_address(index));
    sim_trace("withdrawing slot %u gave %d", index, ret);
    SIM_CHECK(ret == 0 || withdrawal_may_fail(ret, &links),
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
}

/* --- threads ------------------------------------------------------------- */

/* Drive the group as an event loop does. */
static void serve(struct process *process, int64_t until)
{
    struct fiber *fiber = fiber_current;
    struct pollfd fds[POLLED];

    do {
        int64_t deadline;
        size_t count = memexpose_group_poll(process->group, fds, POLLED,
                                            &deadline, NULL);

        SIM_CHECK(count <= POLLED, "more is polled than there is");
        fiber->until_end = true;
        fiber_poll(fds, count, deadline < until ? deadline : until);
        fiber->until_end = false;
        if (sim_chance(1, 4)) {
            memexpose_group_process(process->group, NULL, 0);
        } else {
            memexpose_group_process(process->group, fds, count);
        }
        if (sim_chance(1, 4)) {
            process_run_retired(process);
        }
    } while (world.now < until && !world.ending);
}

static void work(struct process *process)
{
    unsigned i;

    for (i = 0; i < process->operations && !world.ending; i++) {
        operation_run(process);
        if (process->single) {
            serve(process, world.now + sim_below(4) * MS);
        } else if (sim_chance(1, 2)) {
            fiber_pause();
        } else {
            fiber_sleep(world.now + sim_below(4) * MS);
        }
    }
    process->workers--;
}

static void worker(struct fiber *fiber)
{
    work(fiber->process);
    fiber->process->threads--;
}

static void start_workers(struct process *process)
{
    unsigned count = 1 + sim_below(2), i;

    process->workers = count;
    for (i = 0; i < process->device_count; i++) {
        process->devices[i].sharing = count > 1;
    }
    for (i = 0; i < count; i++) {
        process->threads++;
        fiber_spawn(process, i ? "cpu1" : "cpu0", worker, NULL);
    }
}

/* --- birth --------------------------------------------------------------- */

static int group_wait(void *opaque, struct pollfd *fds, size_t count,
                      int64_t deadline)
{
    (void)opaque;
    if (sim_fault("wait")) {
        return -ENOMEM;
    }
    if (sim_chance(world.plan.spurious, 1000)) {
        fiber_pause();
        return sim_chance(1, 2) ? -EINTR : 0;
    }
    return fiber_poll(fds, count, deadline);
}

static int64_t group_now(void *opaque)
{
    (void)opaque;
    return world.now;
}

static int give_links(struct sim_device *device)
{
    char mem[16], intr[16];

    if (device->own_transport) {
        return transport_set(device);
    }
    snprintf(mem, sizeof(mem), "%u-mem", device->link);
    snprintf(intr, sizeof(intr), "%u-intr", device->link);
    return device->connects ?
           memexpose_device_connect(device->device, mem, intr) :
           memexpose_device_listen(device->device, mem, intr);
}

bool device_create(struct sim_device *device)
{
    struct process *process = device->process;
    struct memexpose_device_ops ops;
    int ret;

    consumer_ops(&ops);
    if (!process->deferring) {
        ops.retire = NULL;
    }
    device->device = memexpose_device_create(process->group, &ops, device,
                                             &device->config);
    SIM_CHECK(device->device || world.faults > 0,
              "a device cannot be created");
    if (!device->device) {
        return false;
    }
    memexpose_device_set_space(device->device, process->space);
    ret = give_links(device);
    SIM_CHECK(ret == 0 || world.faults > 0, "sockets cannot be made: %d",
              ret);
    if (ret < 0) {
        memexpose_device_destroy(device->device);
    }
    return ret == 0;
}

static void build(struct process *process)
{
    struct memexpose_group_ops ops = {
        .size = sizeof(ops),
        .wait = group_wait,
        .now = process->own_clock ? group_now : NULL,
    };
    unsigned i;

    process->group = memexpose_group_create(&ops, process);
    process->space = memexpose_space_create();
    SIM_CHECK(process->group && process->space, "a group cannot be created");
    for (i = 0; i < SLOTS; i++) {
        if (i == 0 || sim_chance(3, 4)) {
            slot_add(process, i);
        }
    }
    for (i = 0; i < process->device_count; i++) {
        SIM_CHECK(device_create(&process->devices[i]),
                  "a device is not there");
    }
    process->up = true;
}

static void enable_all(struct process *process)
{
    unsigned i;

    for (i = 0; i < process->device_count; i++) {
        bool patient = world.plan.calm || sim_chance(1, 2);
        int ret = memexpose_device_enable(process->devices[i].device,
                                          patient ? FOREVER : world.now +
                                          sim_below(300) * MS);

        sim_trace("enabling device %u gave %d", i, ret);
        SIM_CHECK(ret == 0 || (!patient && ret == -ETIMEDOUT) ||
                  (!world.plan.calm && (ret == -ECANCELED || ret == -EMFILE ||
                                        ret == -ENOMEM)),
                  "%s: enabling gave %d", process->name, ret);
    }
}

/* --- death --------------------------------------------------------------- */

static void check_stats(struct process *process, struct sim_device *device)
{
    struct memexpose_stats stats;

    memexpose_device_stats(device->device, &stats, sizeof(stats));
    SIM_CHECK(stats.violations == 0 || !world.plan.calm,
              "%s saw a violation of the protocol", process->name);
    if (device->remakes > 0) {
        return;                 /* some was counted by those before it */
    }
    SIM_CHECK(stats.requests_served == device->callbacks, "%s: %llu requests "
              "served are counted, %llu were", process->name,
              (unsigned long long)stats.requests_served,
              (unsigned long long)device->callbacks);
    SIM_CHECK(stats.interrupts_sent + device->refused == device->attempts,
              "%s: interrupts sent are counted wrongly", process->name);
    SIM_CHECK(device->resets || stats.interrupts_received ==
              device->popped + device->device->regs.count +
              stats.interrupts_dropped - device->refused,
              "%s: %llu interrupts came, %llu were taken, %u are left, %llu "
              "were dropped", process->name,
              (unsigned long long)stats.interrupts_received,
              (unsigned long long)device->popped,
              device->device->regs.count,
              (unsigned long long)(stats.interrupts_dropped -
                                   device->refused));
}

static void destroy(struct process *process)
{
    unsigned i;

    for (i = 0; i < process->device_count; i++) {
        check_stats(process, &process->devices[i]);
    }
    process->up = false;
    for (i = 0; i < process->device_count; i++) {
        memexpose_device_destroy(process->devices[i].device);
        transport_release(&process->devices[i]);
    }
    SIM_CHECK(memexpose_group_destroy(process->group) == 0,
              "%s: a device is left in the group", process->name);
    memexpose_space_destroy(process->space);
    process_run_retired(process);
    for (i = 0; i < SLOTS; i++) {
        if (process->slots[i].object) {
            memory_retire(process->slots[i].object);
            memory_unref(process->slots[i].object);
            process->slots[i].object = NULL;
        }
    }
    SIM_CHECK(net_descriptors(process) == 0, "%s leaves %zu descriptors",
              process->name, net_descriptors(process));
    SIM_CHECK(memory_mappings(process) == 0, "%s leaves %zu mappings",
              process->name, memory_mappings(process));
    SIM_CHECK(alloc_count(process) == 0, "%s leaves %zu allocations",
              process->name, alloc_count(process));
    oracle_died(process->index);
}

static void life(struct fiber *fiber)
{
    struct process *process = fiber->process;

    build(process);
    enable_all(process);
    if (process->single) {
        process->workers = 1;
        work(process);
    } else {
        start_workers(process);
    }
    while (!world.ending) {
        serve(process, FOREVER);
    }
    while (process->threads > 0) {
        fiber_sleep(world.now + MS);
    }
    sim_trace("ends");
    destroy(process);
    process->alive = false;
}

void process_boot(struct process *process)
{
    unsigned i;

    process->alive = true;
    process->up = false;
    process->stalled = 0;
    process->changes = process->in_service = 0;
    process->threads = process->readers = process->retired_count = 0;
    process->remaking = false;
    process->workers = 1;       /* until it knows better */
    process->single = sim_chance(1, 2);
    process->own_clock = sim_chance(1, 2);
    process->deferring = sim_chance(1, 2);
    memset(process->slots, 0, sizeof(process->slots));
    for (i = 0; i < process->device_count; i++) {
        struct sim_device *device = &process->devices[i];

        device->transport = (struct transport) { .started = false };
        device->going = false;
        device->remakes = device->inside = 0;
        device->interrupting = device->changing = false;
        device->resets = device->sharing = false;
        device->attempts = device->refused = device->popped = 0;
        device->callbacks = device->last_popped = 0;
        device->later = 0;
    }
    fiber_spawn(process, "main", life, NULL);
}

void process_kill(struct process *process)
{
    unsigned i;

    for (i = 0; i < FIBERS; i++) {
        if (fibers[i].state != FIBER_FREE && fibers[i].process == process) {
            fiber_abandon(&fibers[i]);
        }
    }
    process->life++;
    process->alive = false;
    process->up = false;
    oracle_died(process->index);
    for (i = 0; i < SLOTS; i++) {
        if (process->slots[i].object) {
            memory_unref(process->slots[i].object);
        }
    }
    memset(process->slots, 0, sizeof(process->slots));
    net_release_process(process);
    memory_release_process(process);
    alloc_release_process(process);
}

bool process_working(void)
{
    unsigned i;

    for (i = 0; i < world.plan.processes; i++) {
        if (processes[i].alive ? processes[i].workers > 0 :
            processes[i].revive > 0) {
            return true;
        }
    }
    return false;
}

bool process_all_gone(void)
{
    unsigned i;

    for (i = 0; i < world.plan.processes; i++) {
        if (processes[i].alive || processes[i].revive > 0) {
            return false;
        }
    }
    return true;
}

void process_reset(void)
{
    static const char names[] = "ABC";
    unsigned i;

    for (i = 0; i < PROCESSES; i++) {
        alloc_release_process(&processes[i]);
        processes[i] = (struct process) { .index = i };
        processes[i].name[0] = names[i];
    }
}
