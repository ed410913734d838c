/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The blocking driver of a group.  Of the threads that wait one reads: it
 * polls the sockets and hands out what comes.  The others sleep, each on a
 * descriptor of its own, by the consumer's wait like the reader, so that it
 * can let go of locks of its own meanwhile.
 */
#include "group.h"

#include <errno.h>
#include <stdlib.h>

#include "mutant.h"
#include "os.h"

int memexpose_wait(struct pollfd *fds, size_t count, int64_t deadline)
{
    return mx_os_poll(fds, count, deadline);
}

/* --- waiters ------------------------------------------------------------- */

/* A new waiter, ready to be used again. */
struct mx_waiter *mx_group_add_waiter(struct memexpose_group *group)
{
    struct mx_waiter *waiter = calloc(1, sizeof(*waiter));

    if (!waiter) {
        return NULL;
    }
    waiter->fd = mx_os_wake_create();
    if (waiter->fd < 0) {
        errno = -waiter->fd;
        free(waiter);
        return NULL;
    }
    waiter->next = atomic_load(&group->waiters);
    atomic_store(&group->waiters, waiter);
    return waiter;
}

void mx_group_free_waiters(struct memexpose_group *group)
{
    struct mx_waiter *waiter, *next;

    for (waiter = atomic_load(&group->waiters); waiter; waiter = next) {
        next = waiter->next;
        mx_os_close(waiter->fd);
        free(waiter);
    }
}

/* Only what a signal handler may do.  What is rung is readable already. */
static void ring(struct mx_waiter *waiter)
{
    mx_os_wake(waiter->fd);
    atomic_store(&waiter->rung, true);
}

static void quieten(struct mx_waiter *waiter)
{
    atomic_store(&waiter->rung, false);
    mx_os_wake_clear(waiter->fd);
}

void mx_waiter_wake(struct mx_waiter *waiter)
{
    if (!waiter->woken && !waiter->polling) {
        waiter->woken = true;
        ring(waiter);
    }
}

/* The wait of any of them may be over, or interrupted. */
void mx_group_wake_waiters(struct memexpose_group *group)
{
    struct mx_waiter *waiter;

    for (waiter = atomic_load(&group->waiters); waiter;
         waiter = waiter->next) {
        if (waiter->sleeping || waiter == group->reader) {
            mx_waiter_wake(waiter);
        }
    }
}

/* Nobody reads: whoever sleeps is to do it. */
void mx_group_wake_sleeper(struct memexpose_group *group)
{
    struct mx_waiter *waiter;

    for (waiter = atomic_load(&group->waiters); waiter;
         waiter = waiter->next) {
        if (waiter->sleeping && waiter->may_read) {
            mx_waiter_wake(waiter);
            return;
        }
    }
}

/* --- waiting ------------------------------------------------------------- */

struct mx_cancel mx_group_cancel_mark(struct memexpose_group *group,
                                      struct mx_member *member)
{
    return (struct mx_cancel) {
        .group = atomic_load(&group->cancels),
        .member = member ? atomic_load(&member->cancels) : 0,
    };
}

static bool cancelled(struct memexpose_group *group, struct mx_member *member,
                      struct mx_cancel mark)
{
    return atomic_load(&group->cancels) != mark.group ||
           (member && atomic_load(&member->cancels) != mark.member);
}

/* Only what a signal handler may do. */
void mx_group_wake_all(struct memexpose_group *group)
{
    struct mx_waiter *waiter;

    for (waiter = atomic_load(&group->waiters); waiter;
         waiter = waiter->next) {
        if (atomic_load(&waiter->in_use)) {
            ring(waiter);
        }
    }
}

void memexpose_group_cancel(struct memexpose_group *group)
{
    atomic_fetch_add(&group->cancels, 1);
    mx_group_wake_all(group);
}

static struct mx_waiter *take_waiter(struct memexpose_group *group)
{
    struct mx_waiter *waiter;

    for (waiter = atomic_load(&group->waiters); waiter;
         waiter = waiter->next) {
        if (!atomic_load(&waiter->in_use)) {
            break;
        }
    }
    if (!waiter) {
        waiter = mx_group_add_waiter(group);
    }
    if (waiter) {
        if (atomic_load(&waiter->rung)) {
            quieten(waiter);
        }
        waiter->woken = false;
        waiter->may_read = false;
        atomic_store(&waiter->in_use, true);
    }
    return waiter;
}

static void return_waiter(struct mx_waiter *waiter)
{
    atomic_store(&waiter->in_use, false);
}

/* Let go of the lock, and the consumer of its own, while nothing happens. */
static int call_wait(struct memexpose_group *group, struct pollfd *fds,
                     size_t count, int64_t deadline)
{
    int ret;

    mx_group_leave(group);
    ret = group->ops.wait ?
          group->ops.wait(group->opaque, fds, count, deadline) :
          mx_os_poll(fds, count, deadline);
    mx_group_enter(group);
    return ret == -EINTR ? 0 : ret;
}

static void wake_up(struct mx_waiter *waiter, short revents)
{
    waiter->woken = false;
    if (revents) {
        quieten(waiter);
    }
}

/* Somebody else reads: sleep until there is news or the time is over. */
static int sleep_beside(struct memexpose_group *group,
                        struct mx_waiter *waiter, int64_t deadline)
{
    struct pollfd fd = { .fd = waiter->fd, .events = POLLIN };
    int ret;

    waiter->sleeping = true;
    ret = call_wait(group, &fd, 1, deadline);
    waiter->sleeping = false;
    wake_up(waiter, fd.revents);
    return ret < 0 ? ret : 0;
}

/*
 * Poll the sockets once, as the group's reader, and hand out what comes,
 * unless another thread has taken over meanwhile.
 */
static int read_once(struct memexpose_group *group, struct mx_waiter *waiter,
                     int64_t deadline)
{
    struct mx_poll_set set;
    int ret = mx_group_gather(group, waiter->fd, &set);

    if (ret < 0) {
        return ret;
    }
    if (deadline < set.deadline) {
        set.deadline = deadline;
    }
    group->reader = waiter;
    group->reader_polls = group->polls;
    ret = call_wait(group, set.fds, set.count, set.deadline);
    wake_up(waiter, ret > 0 ? set.fds[0].revents : 0);
    if (group->reader == waiter) {
        group->reader = NULL;
        if (ret >= 0) {         /* 0: something may be due */
            mx_group_dispatch(group, set.fds, set.count);
        }
    }
    mx_group_release(&set);
    return ret < 0 ? ret : 0;
}

static void begin_takeover(struct memexpose_group *group,
                           struct mx_waiter *waiter)
{
    while (mx_group_taken_over(group)) {
        sleep_beside(group, waiter, MX_FOREVER);
    }
    group->takeovers++;
    group->takeover_thread = pthread_self();
    if (group->reader) {
        mx_waiter_wake(group->reader);  /* it will see that it is not */
        group->reader = NULL;
    }
}

static void end_takeover(struct memexpose_group *group)
{
    group->takeovers--;
    if (group->takeovers == 0 && group->loop_blind) {
        group->loop_blind = false;
        mx_group_polls_changed(group);
    }
    mx_group_news(group);
}

/*
 * The consumer does what it has put off.  Returns whether the wait is to be
 * looked at again: what happened meanwhile woke only those that slept.
 */
static bool prepare(struct memexpose_group *group)
{
    uint64_t news = group->news;
    bool progress;

    if (!group->ops.prepare || mx_group_taken_over(group)) {
        return false;
    }
    mx_group_leave(group);
    progress = group->ops.prepare(group->opaque) > 0;
    mx_group_enter(group);
    return progress || group->news != news;
}

/* --- polling before sleeping --------------------------------------------- */

/* How a time of polling ended. */
enum polled { POLLED_TIME, POLLED_CAME, POLLED_WANTED };

/* A cancel rings, as everything does that comes without the lock. */
static enum polled poll_sockets(struct memexpose_group *group,
                                struct mx_waiter *waiter, int64_t *now,
                                int64_t until)
{
    unsigned round;

    for (round = 0;; round++) {
        if (mx_group_look(group, -1, round, *now) ||
            atomic_load_explicit(&waiter->rung, memory_order_relaxed)) {
            *now = mx_group_now(group);
            return POLLED_CAME;
        }
        if (mx_group_is_wanted(group)) {
            *now = mx_group_now(group);
            return POLLED_WANTED;
        }
        if (mx_group_clock_round(round)) {
            *now = mx_group_now(group);
            if (*now >= until) {
                return POLLED_TIME;
            }
        }
    }
}

/* It reads, so that others sleep beside it, but need not be woken. */
static void begin_polling(struct memexpose_group *group,
                          struct mx_waiter *waiter, struct mx_member *member)
{
    group->reader = waiter;
    group->reader_polls = group->polls;
    waiter->polling = true;
    atomic_store(&group->polling, true);
    if (member) {
        group->hot = member;
    }
    mx_group_tell_others(group);
}

static void end_polling(struct memexpose_group *group,
                        struct mx_waiter *waiter)
{
    if (atomic_load(&waiter->rung)) {
        quieten(waiter);
    }
    waiter->polling = false;
    if (group->reader == waiter) {
        group->reader = NULL;
    }
}

/*
 * Poll until something comes or @until, with the lock, but let whoever else
 * wants it have it.
 */
static void poll_once(struct memexpose_group *group, struct mx_waiter *waiter,
                      const struct mx_wait *wait, int64_t start, int64_t until)
{
    int64_t now = start;
    enum polled polled;

    begin_polling(group, waiter, wait->member);
    polled = poll_sockets(group, waiter, &now,
                          until < wait->deadline ? until : wait->deadline);
    atomic_store(&group->polling, false);
    group->stats.poll_hits += polled == POLLED_CAME;
    group->stats.poll_misses += polled == POLLED_TIME;
    group->stats.poll_time += (uint64_t)(now - start);
    if (polled == POLLED_WANTED) {
        mx_group_give_way(group);
    }
    end_polling(group, waiter);
}

/*
 * Is there time left to poll?  All that is polled between two sleeps counts
 * together, so that no peer can put off the sleep, in which the consumer lets
 * go of its locks.
 */
static bool may_poll(struct memexpose_group *group, int64_t now,
                     int64_t *until)
{
    if (group->poll_wait == 0 || group->reader || mx_group_taken_over(group)) {
        return false;
    }
    if (*until == 0) {
        *until = now + group->poll_wait;
    }
    return now < *until;
}

/* --- waiting ------------------------------------------------------------- */

static int sleep_once(struct memexpose_group *group, struct mx_waiter *waiter,
                      const struct mx_wait *wait)
{
    int ret;

    MX_WAITS(group, wait->member);
    ret = group->reader || mx_group_taken_over(group) ?
          sleep_beside(group, waiter, wait->deadline) :
          read_once(group, waiter, wait->deadline);
    MX_WAITS(group, NULL);
    return ret;
}

static int wait_until(struct memexpose_group *group, struct mx_waiter *waiter,
                      const struct mx_wait *wait)
{
    int64_t poll_until = 0;     /* not yet begun */

    for (;;) {
        int64_t now;
        int ret;

        if (!mx_group_taken_over(group)) {
            mx_group_pump(group);
        }
        if (wait->done(wait->arg)) {
            return 0;
        }
        if (cancelled(group, wait->member, wait->mark)) {
            return -ECANCELED;
        }
        now = mx_group_now(group);
        if (now >= wait->deadline) {
            return -ETIMEDOUT;
        }
        if (prepare(group)) {
            continue;
        }
        if (may_poll(group, now, &poll_until)) {
            poll_once(group, waiter, wait, now, poll_until);
            continue;
        }
        poll_until = 0;
        ret = sleep_once(group, waiter, wait);
        if (ret < 0) {
            return ret;
        }
    }
}

int mx_group_wait(struct memexpose_group *group, const struct mx_wait *wait)
{
    struct mx_waiter *waiter = take_waiter(group);
    int ret;

    if (!waiter) {
        return -errno;
    }
    waiter->may_read = true;
    if (wait->takeover) {
        begin_takeover(group, waiter);
    }
    ret = wait_until(group, waiter, wait);
    if (wait->takeover) {
        end_takeover(group);
    }
    return_waiter(waiter);
    return ret;
}

void mx_group_drain_calls(struct mx_member *member)
{
    struct memexpose_group *group = member->group;
    struct mx_waiter *waiter = take_waiter(group);
    struct pollfd none = { .fd = -1 };

    group->draining++;
    while (mx_member_called_elsewhere(member)) {
        if (waiter) {
            sleep_beside(group, waiter, MX_FOREVER);
        } else {                /* no descriptor is left: look every 10 ms */
            call_wait(group, &none, 1, mx_group_now(group) + 10000000);
        }
    }
    group->draining--;
    if (waiter) {
        return_waiter(waiter);
    }
}
