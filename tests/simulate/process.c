/* SPDX-License-Identifier: BSD-3-Clause */
/* A simulated process: its life and its threads. */
#include "sim.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "device.h"
#include "os.h"

enum { POLLED = 32 };

struct process processes[PROCESSES];

/* --- its links ----------------------------------------------------------- */

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

void process_changes_map(struct process *process)
{
    totals.map_changes++;
    if (process->group->map_changes == 0) {
        process->change_links = links_of(process, NULL);
    }
}

/* --- threads ------------------------------------------------------------- */

/* Drive the group as an event loop does. */
static void serve(struct process *process, int64_t until)
{
    struct fiber *fiber = fiber_current;
    struct pollfd fds[POLLED];

    do {
        int64_t deadline;
        size_t count;

        fiber->polled = (struct polled) { .serving = true,
                                          .deadline = FOREVER };
        count = memexpose_group_poll(process->group, fds, POLLED, &deadline,
                                     NULL);
        SIM_CHECK(count <= POLLED, "more is polled than there is");
        if (deadline <= world.now) {
            fiber_pause();      /* as poll(2) does without a time to wait */
        }
        fiber->until_end = true;
        fiber_poll(fds, count, deadline < until ? deadline : until);
        fiber->until_end = false;
        polling_anew(fiber);
        if (sim_chance(1, 4)) {
            memexpose_group_process(process->group, NULL, 0);
        } else {
            memexpose_group_process(process->group, fds, count);
        }
        fiber->polled = polling_until(FOREVER);
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
    polling_anew(fiber_current);
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
    return polling_clock();
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

    consumer_ops(device, &ops);
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
    polling_set(process);
    for (i = 0; i < slot_count(); i++) {
        if (i == 0 || sim_chance(3, 4)) {
            slot_add(process, i);
        }
    }
    slots_settle(process);
    for (i = 0; i < process->device_count; i++) {
        SIM_CHECK(device_create(&process->devices[i]),
                  "a device is not there");
    }
    process->up = true;
}

/* Long or, for one who polls, no longer than that takes. */
static int64_t some_patience(void)
{
    return sim_chance(1, 4) ? sim_below(40) * LOOK : sim_below(300) * MS;
}

static void enable_all(struct process *process)
{
    unsigned i;

    for (i = 0; i < process->device_count; i++) {
        bool patient = world.plan.calm || sim_chance(1, 2);
        int64_t until = patient ? FOREVER : world.now + some_patience();
        int ret;

        fiber_current->polled = polling_until(until);
        ret = memexpose_device_enable(process->devices[i].device, until);
        fiber_current->polled = polling_until(FOREVER);
        sim_trace("enabling device %u gave %d", i, ret);
        SIM_CHECK(ret == 0 || (!patient && ret == -ETIMEDOUT) ||
                  (!world.plan.calm && (ret == -ECANCELED || ret == -EMFILE ||
                                        ret == -ENOMEM)),
                  "%s: enabling gave %d", process->name, ret);
    }
}

/* --- death --------------------------------------------------------------- */

/* A block without a buffer is answered at once; one in pieces takes more. */
static bool served_fits(const struct sim_device *device,
                        const struct memexpose_stats *stats)
{
    return stats->requests_served == device->callbacks ||
           (stats->blocks_served > 0 &&
            (device->pieces || (world.faults > 0 && stats->requests_served >
                                device->callbacks)));
}

static void check_stats(struct process *process, struct sim_device *device)
{
    struct memexpose_stats stats;

    memexpose_device_stats(device->device, &stats, sizeof(stats));
    SIM_CHECK(stats.violations == 0 || !world.plan.calm,
              "%s saw a violation of the protocol", process->name);
    if (device->remakes > 0) {
        return;                 /* some was counted by those before it */
    }
    SIM_CHECK(served_fits(device, &stats), "%s: %llu requests "
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
    polling_check(process);
    SIM_CHECK(memexpose_group_destroy(process->group) == 0,
              "%s: a device is left in the group", process->name);
    process->group = NULL;
    memexpose_space_destroy(process->space);
    process_run_retired(process);
    for (i = 0; i < PLACES; i++) {
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
    process->group = NULL;
    polling_draw(process);
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
        device->updating = false;
        memset(device->declined, 0, sizeof(device->declined));
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
    threads_release_process(process);
    process->life++;
    process->alive = false;
    process->up = false;
    oracle_died(process->index);
    for (i = 0; i < PLACES; i++) {
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
