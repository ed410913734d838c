/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * POSIX threads, as far as the library uses them, for fibers.  The linker
 * brings the library's calls here.
 */
#include "sim.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

pthread_t __wrap_pthread_self(void);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_trylock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond,
                                  pthread_mutex_t *mutex,
                                  const struct timespec *until);
int __wrap_pthread_cond_broadcast(pthread_cond_t *cond);
int __wrap_sched_yield(void);

enum { HELD = 16 };

/* Locks are let go of before a fiber gives way, unless it polls. */
static struct {
    const void *mutex;
    struct fiber *fiber;
} held[HELD];
static unsigned held_count;

void threads_reset(void)
{
    held_count = 0;
}

static void release(unsigned i)
{
    held[i] = held[--held_count];
}

void threads_release_process(const struct process *process)
{
    unsigned i = 0;

    while (i < held_count) {
        if (held[i].fiber && held[i].fiber->process == process) {
            release(i);
        } else {
            i++;
        }
    }
}

/* Its place among those that are held, or their number. */
static unsigned find(const void *mutex)
{
    unsigned i = 0;

    while (i < held_count && held[i].mutex != mutex) {
        i++;
    }
    return i;
}

bool threads_lock_is_free(const void *lock)
{
    return find(lock) == held_count;
}

bool threads_holds(const void *lock)
{
    unsigned i = find(lock);

    return i < held_count && held[i].fiber == fiber_current;
}

bool threads_holds_any(void)
{
    unsigned i;

    for (i = 0; i < held_count; i++) {
        if (held[i].fiber == fiber_current) {
            return true;
        }
    }
    return false;
}

pthread_t __wrap_pthread_self(void)
{
    return (pthread_t)(fiber_current ? fiber_current->id + 1 : 0);
}

static void take(const void *mutex)
{
    SIM_CHECK(held_count < HELD, "locks are taken and never let go of");
    held[held_count].mutex = mutex;
    held[held_count++].fiber = fiber_current;
    if (fiber_current && fiber_current->process->looker != fiber_current) {
        fiber_current->process->greedy = 0;
    }
}

/* Somebody has it who polls. */
static void wait_for_lock(const void *mutex)
{
    struct fiber *fiber = fiber_current;

    SIM_CHECK(fiber && !threads_holds(mutex),
              "a thread takes a lock that it holds");
    totals.lock_waits++;
    while (!threads_lock_is_free(mutex)) {
        fiber->at_lock = fiber->entering;
        fiber->lock_waits++;
        fiber->state = FIBER_LOCK;
        fiber->lock = mutex;
        fiber->deadline = FOREVER;
        fiber_yield();
    }
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
    if (fiber_current && !fiber_current->entering && !threads_holds_any() &&
        sim_chance(world.plan.preempt, 1000)) {
        fiber_pause();
    }
    if (!threads_lock_is_free(mutex)) {
        wait_for_lock(mutex);
    }
    if (fiber_current) {
        fiber_current->entering = fiber_current->at_lock = false;
    }
    take(mutex);
    return 0;
}

/* Another thread may have it, as far as anyone can know. */
int __wrap_pthread_mutex_trylock(pthread_mutex_t *mutex)
{
    if (fiber_current && world.plan.preempt > 0 && sim_chance(1, 8)) {
        return EBUSY;
    }
    if (threads_lock_is_free(mutex) || threads_holds(mutex)) {
        return __wrap_pthread_mutex_lock(mutex);
    }
    if (fiber_current) {
        fiber_current->at_lock = fiber_current->entering;
    }
    return EBUSY;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    if (threads_holds(mutex)) {
        release(find(mutex));
        return 0;
    }
    sim_fail("a thread lets go of a lock that it does not hold");
    return EPERM;
}

static int wait_cond(pthread_cond_t *cond, pthread_mutex_t *mutex,
                     int64_t deadline)
{
    struct fiber *fiber = fiber_current;

    SIM_CHECK(fiber, "a wait outside of any thread");
    __wrap_pthread_mutex_unlock(mutex);
    SIM_CHECK(!threads_holds_any(), "a thread sleeps with a lock held");
    fiber->state = FIBER_COND;
    fiber->cond = cond;
    fiber->signalled = false;
    fiber->deadline = deadline;
    fiber_yield();
    wait_for_lock(mutex);
    take(mutex);
    return fiber->signalled || deadline > world.now ? 0 : ETIMEDOUT;
}

int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
    return wait_cond(cond, mutex, FOREVER);
}

int __wrap_pthread_cond_timedwait(pthread_cond_t *cond,
                                  pthread_mutex_t *mutex,
                                  const struct timespec *until)
{
    return wait_cond(cond, mutex, (int64_t)until->tv_sec * 1000 * MS +
                                  until->tv_nsec);
}

int __wrap_pthread_cond_broadcast(pthread_cond_t *cond)
{
    unsigned i;

    for (i = 0; i < FIBERS; i++) {
        if (fibers[i].state == FIBER_COND && fibers[i].cond == cond) {
            fibers[i].signalled = true;
        }
    }
    return 0;
}

int __wrap_sched_yield(void)
{
    fiber_pause();
    return 0;
}
