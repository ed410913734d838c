/* SPDX-License-Identifier: BSD-3-Clause */
#include "sim.h"

#include <setjmp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

enum { STACK = 256 * 1024 };

struct fiber fibers[FIBERS];
struct fiber *fiber_current;

/*
 * A fiber begins by way of its context.  From then on _setjmp() and _longjmp()
 * go to and fro, which cost no system call, unlike swapcontext().
 */
static struct place {
    void *stack;
    ucontext_t context;
    jmp_buf at;
    bool started;
} places[FIBERS];
#ifndef __SANITIZE_ADDRESS__
static jmp_buf scheduler;
#endif
static ucontext_t beginning;

#ifdef __SANITIZE_ADDRESS__
static void *scheduler_fake;
static const void *scheduler_stack;
static size_t scheduler_size;
static void *fakes[FIBERS];
static ucontext_t scheduler_context;
#endif

static void run_fiber(void)
{
    struct fiber *fiber = fiber_current;

#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(NULL, &scheduler_stack, &scheduler_size);
#endif
    fiber->entry(fiber);
    fiber->state = FIBER_FREE;
    for (;;) {
        fiber_yield();
    }
}

struct fiber *fiber_spawn(struct process *process, const char *name,
                          void (*entry)(struct fiber *fiber), void *argument)
{
    unsigned i = 0;
    struct place *place;

    while (i < FIBERS && fibers[i].state != FIBER_FREE) {
        i++;
    }
    if (i == FIBERS) {
        sim_fail("the simulation has too few fibers");
        return NULL;
    }
    place = &places[i];
    if (!place->stack) {
        place->stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                            0);
        if (place->stack == MAP_FAILED) {
            abort();
        }
    }
#ifdef __SANITIZE_ADDRESS__
    __asan_unpoison_memory_region(place->stack, STACK);
#endif
    fibers[i] = (struct fiber) {
        .id = i,
        .state = FIBER_READY,
        .process = process,
        .name = name,
        .entry = entry,
        .argument = argument,
        .polled = polling_until(FOREVER),
    };
    place->started = false;
    getcontext(&place->context);
    place->context.uc_stack.ss_sp = place->stack;
    place->context.uc_stack.ss_size = STACK;
    place->context.uc_link = &beginning;
    makecontext(&place->context, run_fiber, 0);
    return &fibers[i];
}

#ifdef __SANITIZE_ADDRESS__

void fiber_resume(struct fiber *fiber)
{
    struct place *place = &places[fiber->id];

    fiber_current = fiber;
    __sanitizer_start_switch_fiber(&scheduler_fake, place->stack, STACK);
    swapcontext(&scheduler_context, &place->context);
    __sanitizer_finish_switch_fiber(scheduler_fake, NULL, NULL);
    fiber_current = NULL;
}

void fiber_yield(void)
{
    unsigned id = fiber_current->id;

    fiber_current->waits++;
    __sanitizer_start_switch_fiber(&fakes[id], scheduler_stack,
                                   scheduler_size);
    swapcontext(&places[id].context, &scheduler_context);
    __sanitizer_finish_switch_fiber(fakes[id], &scheduler_stack,
                                    &scheduler_size);
}

#else

void fiber_resume(struct fiber *fiber)
{
    struct place *place = &places[fiber->id];

    fiber_current = fiber;
    if (_setjmp(scheduler) == 0) {
        if (place->started) {
            _longjmp(place->at, 1);
        }
        place->started = true;
        setcontext(&place->context);
    }
    fiber_current = NULL;
}

void fiber_yield(void)
{
    fiber_current->waits++;
    if (_setjmp(places[fiber_current->id].at) == 0) {
        _longjmp(scheduler, 1);
    }
}

#endif

void fiber_abandon(struct fiber *fiber)
{
    fiber->state = FIBER_FREE;
}

/* Only a look of one who polls may keep a lock, or the wait for another. */
static void check_locks(void)
{
    SIM_CHECK(!threads_holds_any(), "a thread sleeps with a lock held");
}

void fiber_pause(void)
{
    if (fiber_current) {
        check_locks();
        fiber_current->state = FIBER_READY;
        fiber_yield();
    }
}

void fiber_sleep(int64_t until)
{
    check_locks();
    fiber_current->state = FIBER_SLEEP;
    fiber_current->deadline = until;
    fiber_yield();
}

static int poll_now(struct pollfd *fds, size_t count)
{
    int ready = 0;
    size_t i;

    for (i = 0; i < count; i++) {
        fds[i].revents = net_poll(fds[i].fd, fds[i].events);
        ready += fds[i].revents != 0;
    }
    return ready;
}

int fiber_poll(struct pollfd *fds, size_t count, int64_t deadline)
{
    if (fiber_current && deadline > world.now) {
        check_locks();
        fiber_current->state = FIBER_POLL;
        fiber_current->fds = fds;
        fiber_current->count = count;
        fiber_current->deadline = deadline;
        fiber_yield();
    }
    return poll_now(fds, count);
}

void fiber_linger(void)
{
    while (sim_chance(world.plan.linger, 100)) {
        if (sim_chance(1, 8)) {
            fiber_sleep(world.now + (1 + sim_below(20)) * MS);
        } else {
            fiber_pause();
        }
    }
}
