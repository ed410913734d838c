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

/* Locks are let go of before a fiber gives way, so few are ever held. */
static const pthread_mutex_t *held[HELD];
static unsigned held_count;

void threads_reset(void)
{
    held_count = 0;
}

pthread_t __wrap_pthread_self(void)
{
    return (pthread_t)(fiber_current ? fiber_current->id + 1 : 0);
}

static bool is_held(const pthread_mutex_t *mutex)
{
    unsigned i;

    for (i = 0; i < held_count; i++) {
        if (held[i] == mutex) {
            return true;
        }
    }
    return false;
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
    if (fiber_current && held_count == 0 && !fiber_current->entering &&
        sim_chance(world.plan.preempt, 1000)) {
        fiber_pause();
    }
    if (fiber_current) {
        fiber_current->entering = false;
    }
    SIM_CHECK(!is_held(mutex), "a thread takes a lock that it holds");
    SIM_CHECK(held_count < HELD, "locks are taken and never let go of");
    held[held_count++] = mutex;
    return 0;
}

/* Another thread may have it, as far as anyone can know. */
int __wrap_pthread_mutex_trylock(pthread_mutex_t *mutex)
{
    if (fiber_current && world.plan.preempt > 0 && sim_chance(1, 8)) {
        return EBUSY;
    }
    return __wrap_pthread_mutex_lock(mutex);
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    unsigned i;

    for (i = 0; i < held_count; i++) {
        if (held[i] == mutex) {
            held[i] = held[--held_count];
            return 0;
        }
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
    SIM_CHECK(held_count == 0, "a thread sleeps with a lock held");
    fiber->state = FIBER_COND;
    fiber->cond = cond;
    fiber->signalled = false;
    fiber->deadline = deadline;
    fiber_yield();
    held[held_count++] = mutex;
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
