/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is left of lib/os.h: time, chance, and mappings.  Descriptors are in
 * net.c.
 */
#include "sim.h"

#include <errno.h>
#include <unistd.h>

#include "group.h"
#include "os.h"

/* --- polling before sleeping --------------------------------------------- */

enum {
    SLACK = 4,                  /* looks, to hand out what has come */
    GREEDY = 4,                 /* looks, until another thread has the lock */
    SERVES = 20                 /* times the time for which one serves on */
};

void polling_draw(struct process *process)
{
    static const unsigned looks[] = { 0, 2, 10, 40 };

    process->poll_wait = process->poll_serve = process->looked = 0;
    process->greedy = 0;
    process->hits = 0;
    process->processors = 2;
    if (sim_chance(1, 3)) {
        process->poll_wait = looks[sim_below(4)] * LOOK;
        process->poll_serve = looks[sim_below(3)] * LOOK;
        process->processors = sim_chance(1, 10) ? 1 : 2;
    }
}

void polling_set(struct process *process)
{
    bool off = sim_chance(1, 4);

    if (process->poll_wait + process->poll_serve > 0) {
        SIM_CHECK(memexpose_group_set_polling(process->group, off ? 0 :
                                              process->poll_wait, off ? 0 :
                                              process->poll_serve) == 0,
                  "bounds of polling are refused");
    }
}

/* In a wait, or in an event loop that is not to sleep? */
static bool polls(const struct memexpose_group *group)
{
    return fiber_current->polled.serving ?
           group->polling || group->serve_until > 0 :
           group->polling && group->reader && group->reader->polling;
}

/* Whose thread has the group's lock, and looks for more? */
static struct process *who_polls(void)
{
    struct process *process = fiber_current ? fiber_current->process : NULL;
    const struct memexpose_group *group = process ? process->group : NULL;

    return group && threads_holds(&group->lock) && polls(group) ? process :
                                                                  NULL;
}

/* Let others run; whatever time passes meanwhile is polled. */
static void look(struct process *process, int64_t takes)
{
    int64_t began = world.now;

    world.now += takes;
    fiber_current->state = FIBER_READY;
    fiber_yield();
    process->looked += world.now - began;
}

/* What has come may be handed out before anybody is let in. */
static void count_greedy(struct process *process)
{
    const struct memexpose_group *group = process->group;

    process->looker = fiber_current;
    if (group->polling && group->wanting > 0 &&
        group->stats.poll_hits == process->hits) {
        process->greedy++;
    } else {
        process->greedy = 0;
        process->hits = group->stats.poll_hits;
    }
}

/* It is over in time, and soon if another thread wants the group. */
static void check_look(struct process *process)
{
    struct polled *polled = &fiber_current->polled;
    int64_t allowed = polled->serving ? SERVES * process->poll_serve :
                      polled->waits * process->poll_wait;

    SIM_CHECK(process->processors > 1 && allowed + polled->waits > 0,
              "%s polls, and should not", process->name);
    SIM_CHECK(polled->time <= allowed + SLACK * LOOK,
              "%s polls for %lld us", process->name,
              (long long)(polled->time / 1000));
    SIM_CHECK(polled->late <= SLACK, "%s polls when its wait is over",
              process->name);
    SIM_CHECK(polled->rung <= SLACK, "%s polls, and was cancelled",
              process->name);
    SIM_CHECK(process->greedy <= GREEDY,
              "%s polls, and another thread wants the group", process->name);
}

static void count_look(struct process *process)
{
    struct polled *polled = &fiber_current->polled;

    if (process->group->stats.polls != polled->round) {
        polled->round = process->group->stats.polls;
        polled->time += LOOK;
        polled->late += world.now >= polled->deadline;
        polled->rung = !polled->serving && process->group->reader->rung ?
                       polled->rung + 1 : 0;
        count_greedy(process);
        check_look(process);
    }
}

int64_t polling_clock(void)
{
    struct process *process = who_polls();

    if (process) {
        count_look(process);
        look(process, LOOK);
    }
    return world.now;
}

void polling_in_vain(void)
{
    struct process *process = who_polls();

    if (process && sim_chance(1, 8)) {
        look(process, 0);
    }
}

void polling_check(struct process *process)
{
    struct memexpose_group_stats stats;
    bool polls = process->processors > 1 &&
                 process->poll_wait + process->poll_serve > 0;

    memexpose_group_stats(process->group, &stats, sizeof(stats));
    SIM_CHECK(polls || stats.polls + stats.poll_hits + stats.poll_misses +
              stats.poll_time == 0, "%s does not poll, but counts",
              process->name);
    SIM_CHECK(stats.poll_hits <= stats.polls, "%s looked %llu times, and "
              "found something %llu times", process->name,
              (unsigned long long)stats.polls,
              (unsigned long long)stats.poll_hits);
    SIM_CHECK(stats.poll_time <= (uint64_t)process->looked,
              "%s polled for %lld ns, and counts %llu", process->name,
              (long long)process->looked, (unsigned long long)stats.poll_time);
    world.polled |= stats.polls > 0;
    totals.poll_hits += stats.poll_hits;
    totals.poll_misses += stats.poll_misses;
}

/* --- lib/os.h ------------------------------------------------------------ */

int64_t mx_os_now(void)
{
    return polling_clock();
}

void mx_os_unmap(void *host, uint64_t size)
{
    memory_unmap(host, size);
}

int mx_os_overlay(void *host, uint64_t size, bool readonly)
{
    if (sim_fault("overlay")) {
        memory_spoil(host);
        return -ENOMEM;
    }
    return memory_overlay(host, size, readonly);
}

bool mx_os_passes_descriptors(int fd)
{
    (void)fd;
    return true;
}

size_t mx_os_page_size(void)
{
    static size_t size;

    if (size == 0) {
        size = (size_t)sysconf(_SC_PAGESIZE);
    }
    return size;
}

unsigned mx_os_processors(void)
{
    return fiber_current->process->processors;
}

void mx_os_yield(void)
{
    fiber_current->lock_waits++;
    fiber_pause();
}

uint64_t mx_os_random(void)
{
    return sim_random() | 1;
}

long mx_os_user(void)
{
    return 0;
}
