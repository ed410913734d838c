/* SPDX-License-Identifier: BSD-3-Clause */
/* The scheduler: one seed, one schedule. */
#include "sim.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "device.h"
#include "mutants.h"
#include "os.h"

enum { STEPS = 400000 };         /* a block in words, polled for, takes many */

struct world world;
struct totals totals;

/* --- chance -------------------------------------------------------------- */

uint64_t sim_random(void)
{
    uint64_t mixed;

    world.random += UINT64_C(0x9e3779b97f4a7c15);
    mixed = world.random;
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

unsigned sim_below(unsigned limit)
{
    return limit ? (unsigned)((sim_random() >> 32) * limit >> 32) : 0;
}

bool sim_chance(unsigned of, unsigned in)
{
    return sim_below(in) < of;
}

bool sim_fault(const char *what)
{
    if (!world.plan.fault_rate || !fiber_current || world.ending ||
        !fiber_current->process->up || sim_below(world.plan.fault_rate)) {
        return false;
    }
    world.faults++;
    totals.faults++;
    sim_trace("fault: %s", what);
    return true;
}

/* --- words --------------------------------------------------------------- */

static void digest(const char *text)
{
    while (*text) {
        world.digest = (world.digest ^ (uint8_t)*text++) *
                       UINT64_C(0x100000001b3);
    }
}

void sim_trace(const char *format, ...)
{
    char text[300], who[24] = "";
    va_list arguments;

    if (!world.tracing) {
        return;
    }
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (fiber_current) {
        snprintf(who, sizeof(who), "%s/%s", fiber_current->process->name,
                 fiber_current->name);
    }
    digest(text);
    printf("%6" PRIu64 " %8.1f ms  %-10s %s\n", world.tick,
           (double)world.now / (double)MS, who, text);
}

void sim_fail(const char *format, ...)
{
    va_list arguments;

    if (!world.failed) {
        world.failed = true;
        va_start(arguments, format);
        vsnprintf(world.failure, sizeof(world.failure), format, arguments);
        va_end(arguments);
        sim_trace("FAILED: %s", world.failure);
    }
    while (fiber_current) {
        fiber_current->state = FIBER_SLEEP;
        fiber_current->deadline = FOREVER;
        fiber_yield();
    }
}

/*
 * Lost descriptors look as if the peer had sent too many.  A hello may come
 * too late; and the ends of two connections arrive one after the other, so
 * that the wrong halves may be put together until hello tells.
 */
static bool excused(const char *line)
{
    return world.lossy ||
           (world.stalled && strstr(line, "within the hello wait")) ||
           (!world.plan.calm && strstr(line, "(pair id)"));
}

static void log_line(void *opaque, enum memexpose_log_level level,
                     const char *line)
{
    (void)opaque;
    (void)level;
    sim_trace("log: %s", line);
    if (strstr(line, "violation") && !excused(line)) {
        sim_fail("the library sees its own kind violate the protocol: %s",
                 line);
    }
}

/* --- what the seed draws ------------------------------------------------- */

/* Kinds of schedules differ in what disturbs them. */
static void draw_plan(struct plan *plan)
{
    unsigned kind = sim_below(10);

    memset(plan, 0, sizeof(*plan));
    plan->operations = 3 + sim_below(12);
    plan->preempt = sim_chance(1, 2) ? sim_below(200) : 0;
    plan->linger = sim_chance(2, 3) ? sim_below(60) : 0;
    plan->spurious = sim_chance(1, 2) ? sim_below(300) : 0;
    plan->piece = sim_chance(1, 2) ? 400 : 1 + sim_below(60);
    plan->room = sim_chance(2, 3) ? 2000 : 1 + sim_below(200);
    if (sim_chance(1, 3)) {     /* blocks: room for a part of one */
        plan->room = 200 + sim_below(12000);
        plan->piece = 1 + plan->room / (2 + sim_below(6));
        plan->block = plan->room < BLOCK_MOST / 30 ? 30 * plan->room :
                      BLOCK_MOST;
    }
    plan->push = sim_chance(1, 3);
    plan->map_changes = sim_chance(4, 5);
    plan->calm = kind < 4;
    if (kind == 4 || kind >= 8) {
        plan->kills = 1 + sim_below(3);
    }
    if (kind == 5 || kind == 9) {
        plan->resets = true;
    }
    if (kind == 6 || kind == 9) {
        plan->stalls = 1 + sim_below(3);
    }
    if (kind == 7 || kind == 9) {
        plan->fault_rate = 5 + sim_below(sim_chance(1, 2) ? 40 : 300);
    }
}

static void draw_push(struct sim_device *device)
{
    device->pieces = sim_chance(1, 5);
    device->offers = !sim_chance(1, 8);
    device->updates = sim_chance(1, 2);
    device->config.push = world.plan.push && !sim_chance(1, 8);
    if (world.plan.push && sim_chance(5, 6)) {
        device->config.max_ranges = PLACES;
    }
}

static void join(struct process *one, struct process *other, unsigned link)
{
    struct process *ends[2] = { one, other };
    struct sim_device *devices[2];
    unsigned i;

    for (i = 0; i < 2; i++) {
        devices[i] = &ends[i]->devices[ends[i]->device_count];
        *devices[i] = (struct sim_device) {
            .process = ends[i],
            .index = ends[i]->device_count,
            .connects = i == 1,
            .link = link,
            .peer = { ends[1 - i], ends[1 - i]->device_count },
        };
        devices[i]->own_transport = sim_chance(1, 4);
        totals.transports += devices[i]->own_transport;
        memexpose_device_config_init(&devices[i]->config);
        if (devices[i]->own_transport) {
            devices[i]->config.role = devices[i]->connects ?
                                      MEMEXPOSE_ROLE_CONNECT :
                                      MEMEXPOSE_ROLE_LISTEN;
        }
        devices[i]->config.name = ends[i]->name;
        devices[i]->config.span_size = CONTROL + 0x1000;
        devices[i]->config.max_ranges = 1 + sim_below(6);
        devices[i]->config.share = !sim_chance(1, 10);
        devices[i]->config.seals = (enum memexpose_seals)sim_below(3);
        devices[i]->config.block = !sim_chance(1, 10);
        draw_push(devices[i]);
    }
    ends[0]->device_count++;
    ends[1]->device_count++;
    switch (sim_below(6)) {
    case 0:                     /* base on both sides */
        devices[0]->config.hello = MEMEXPOSE_HELLO_OFF;
        devices[1]->config.hello = MEMEXPOSE_HELLO_OFF;
        break;
    case 1:                     /* the listening side recognises base */
        devices[1]->config.hello = MEMEXPOSE_HELLO_OFF;
        break;
    case 2:
        devices[sim_below(2)]->config.hello = MEMEXPOSE_HELLO_REQUIRE;
        break;
    default:
        break;
    }
    if (sim_chance(1, 4)) {     /* turned round */
        devices[0]->config.subpriority = MEMEXPOSE_SUBPRIORITY_1;
        devices[1]->config.subpriority = MEMEXPOSE_SUBPRIORITY_0;
    }
}

/* Two peers; two links between them; three in a ring, or in a row. */
static void draw_processes(struct plan *plan)
{
    unsigned shape = sim_below(10);

    plan->processes = shape < 7 ? 2 : 3;
    plan->links = shape < 5 ? 1 : shape < 8 ? 2 : 3;
    if (shape == 7) {
        plan->links = 2;
    }
    process_reset();
    join(&processes[0], &processes[1], 0);
    if (shape >= 5 && shape < 7) {
        unsigned first = sim_below(2);

        join(&processes[first], &processes[1 - first], 1);
    }
    if (shape >= 7) {
        join(&processes[1], &processes[2], 1);
    }
    if (shape >= 8) {
        join(&processes[2], &processes[0], 2);
    }
}

/* --- steps --------------------------------------------------------------- */

static bool polled(const struct fiber *fiber)
{
    size_t i;

    for (i = 0; i < fiber->count; i++) {
        if (net_poll(fiber->fds[i].fd, fiber->fds[i].events)) {
            return true;
        }
    }
    return false;
}

static bool can_run(const struct fiber *fiber)
{
    if (world.now < fiber->process->stalled) {
        return false;
    }
    switch (fiber->state) {
    case FIBER_READY:
        return true;
    case FIBER_POLL:
        return world.now >= fiber->deadline ||
               (fiber->until_end && world.ending) || polled(fiber);
    case FIBER_COND:
        return fiber->signalled || world.now >= fiber->deadline;
    case FIBER_LOCK:
        return threads_lock_is_free(fiber->lock);
    case FIBER_SLEEP:
        return world.now >= fiber->deadline;
    default:
        return false;
    }
}

static struct fiber *pick_fiber(void)
{
    struct fiber *ready[FIBERS];
    unsigned count = 0, i;

    for (i = 0; i < FIBERS; i++) {
        if (fibers[i].state != FIBER_FREE && can_run(&fibers[i])) {
            ready[count++] = &fibers[i];
        }
    }
    return count ? ready[sim_below(count)] : NULL;
}

static int64_t earlier(int64_t one, int64_t other)
{
    return one < other ? one : other;
}

/* Nobody can do anything: the next moment at which somebody can. */
static int64_t next_moment(void)
{
    int64_t next = net_deadline();
    unsigned i;

    for (i = 0; i < FIBERS; i++) {
        const struct fiber *fiber = &fibers[i];

        if (fiber->state == FIBER_FREE) {
            continue;
        }
        if (world.now < fiber->process->stalled) {
            next = earlier(next, fiber->process->stalled);
        } else {
            next = earlier(next, fiber->deadline);
        }
    }
    for (i = 0; i < world.plan.processes; i++) {
        if (processes[i].revive > 0) {
            next = earlier(next, processes[i].revive);
        }
    }
    return next;
}

static void revive(void)
{
    unsigned i;

    for (i = 0; i < world.plan.processes; i++) {
        if (processes[i].revive > 0 && world.now >= processes[i].revive) {
            processes[i].revive = 0;
            processes[i].operations = 1 + sim_below(6);
            sim_trace("%s starts again", processes[i].name);
            process_boot(&processes[i]);
        }
    }
}

static void disturb(void)
{
    struct process *process = &processes[sim_below(world.plan.processes)];

    if (world.ending || !process->alive || sim_below(150)) {
        return;
    }
    if (world.plan.kills > 0 && sim_chance(1, 2)) {
        world.plan.kills--;
        totals.kills++;
        sim_trace("%s is killed", process->name);
        process_kill(process);
        process->revive = world.now + 1 + sim_below(50) * MS;
    } else if (world.plan.stalls > 0) {
        int64_t until = world.now + (int64_t)sim_below(8000) * MS;

        world.plan.stalls--;
        totals.stalls++;
        world.stalled = true;
        if (sim_chance(1, 2)) {
            sim_trace("%s stands still until %lld ms", process->name,
                      (long long)(until / MS));
            process->stalled = until;
        } else {
            net_stall(until);
        }
    }
}

static void step(void)
{
    struct fiber *fiber = pick_fiber();
    bool news = net_can_deliver();

    world.tick++;
    if (news && (!fiber || sim_chance(1, 2))) {
        net_deliver();
    } else if (fiber) {
        totals.switches++;
        fiber_resume(fiber);
    } else {
        int64_t next = next_moment();

        if (next == FOREVER) {
            sim_fail("a stuck waiter: nobody can do anything any more");
            return;
        }
        world.now = next;
    }
    revive();
    disturb();
    memory_check();
}

/* All have done their work, nothing is under way: both sides agree. */
static void check_agreement(void)
{
    unsigned i, j;

    for (i = 0; i < world.plan.processes; i++) {
        for (j = 0; j < processes[i].device_count; j++) {
            const struct sim_device *device = &processes[i].devices[j];
            const struct memexpose_stats *ours = &device->device->stats;
            const struct memexpose_stats *theirs = &device->peer.process->
                devices[device->peer.device].device->stats;

            SIM_CHECK(ours->requests_sent == theirs->requests_served,
                      "%s sent other requests than %s served",
                      processes[i].name, device->peer.process->name);
            SIM_CHECK(ours->shares_sent == theirs->shares_received,
                      "%s sent other shares than %s received",
                      processes[i].name, device->peer.process->name);
            SIM_CHECK(ours->blocks_sent == theirs->blocks_served,
                      "%s sent other blocks than %s served",
                      processes[i].name, device->peer.process->name);
            SIM_CHECK(ours->offers_sent == theirs->offers_received,
                      "%s sent other offers than %s received",
                      processes[i].name, device->peer.process->name);
            SIM_CHECK(ours->invalidations_sent ==
                      theirs->invalidations_received,
                      "%s sent other invalidations than %s received",
                      processes[i].name, device->peer.process->name);
            SIM_CHECK(ours->interrupts_sent == theirs->interrupts_received,
                      "%s sent other interrupts than %s received",
                      processes[i].name, device->peer.process->name);
        }
    }
}

/* Every process waits for what may come. */
static bool quiet(void)
{
    unsigned i;

    for (i = 0; i < FIBERS; i++) {
        if (fibers[i].state != FIBER_FREE && !fibers[i].until_end) {
            return false;
        }
    }
    return !net_can_deliver() && net_deadline() == FOREVER && !pick_fiber();
}

static void begin(uint64_t seed, bool tracing)
{
    unsigned i;

    memory_reset();
    net_reset();
    oracle_reset();
    bulk_reset();
    block_reset();
    threads_reset();
    mx_mutant_reset();
    for (i = 0; i < FIBERS; i++) {
        fiber_abandon(&fibers[i]);
    }
    world = (struct world) {
        .seed = seed,
        .random = seed * UINT64_C(0xd1342543de82ef95) + 1,
        .now = 1000 * MS,
        .tracing = tracing,
        .digest = UINT64_C(0xcbf29ce484222325),
    };
    memexpose_set_log(log_line, NULL);
    draw_plan(&world.plan);
    draw_processes(&world.plan);
    for (i = 0; i < world.plan.processes; i++) {
        processes[i].operations = world.plan.operations;
        process_boot(&processes[i]);
    }
}

bool sim_run(uint64_t seed, bool tracing)
{
    unsigned steps = 0, i;

    begin(seed, tracing);
    while (!world.failed && !process_all_gone()) {
        step();
        if (!world.ending && !process_working() && quiet()) {
            if (world.plan.calm) {
                check_agreement();
            }
            world.ending = true;
        }
        if (++steps == STEPS) {
            sim_fail("no end after %u steps: a stuck waiter", STEPS);
        }
    }
    block_check_buffers();
    totals.schedules++;
    totals.polled += world.polled;
    totals.steps += steps;
    for (i = 0; i < world.plan.processes && !world.failed; i++) {
        SIM_CHECK(net_descriptors(&processes[i]) == 0,
                  "a dead process has descriptors");
    }
    SIM_CHECK(world.failed || memory_objects() == 0, "%zu objects are left",
              memory_objects());
    return !world.failed;
}
