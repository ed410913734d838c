/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The event driver of a group: what to poll for, and handing out what comes.
 */
#include "group.h"

#include <errno.h>
#include <stdlib.h>

#include "mutant.h"
#include "os.h"

bool mx_group_taken_over(const struct memexpose_group *group)
{
    return group->takeovers > 0 &&
           !pthread_equal(group->takeover_thread, pthread_self());
}

static short link_events(const struct mx_link *link, enum mx_which which)
{
    if (!link->up) {
        return POLLRDHUP;       /* a half of a pair: does its peer leave? */
    }
    return mx_link_wants_write(link, which) ? POLLIN | POLLOUT : POLLIN;
}

/* Of the wakers each driver polls its own. */
static size_t collect(struct memexpose_group *group, int waker,
                      struct pollfd *fds, size_t max, int64_t *deadline)
{
    const struct mx_source *source;
    const struct mx_member *member;
    size_t count = 0;
    int64_t earliest = MX_FOREVER;

    if (count < max) {
        fds[count] = (struct pollfd) { .fd = waker, .events = POLLIN };
    }
    count++;
    TAILQ_FOREACH(source, &group->sources, entry) {
        if (source->deadline < earliest) {
            earliest = source->deadline;
        }
        if (source->fd < 0) {
            continue;
        }
        if (count < max) {
            fds[count] = (struct pollfd) { .fd = source->fd,
                                           .events = source->events };
        }
        count++;
    }
    TAILQ_FOREACH(member, &group->members, entry) {
        int64_t due = mx_link_deadline(&member->link);
        unsigned which;

        if (due < earliest) {
            earliest = due;
        }
        for (which = 0; which < MX_LINKS; which++) {
            const struct mx_conn *conn = &member->link.conn[which];

            if (!mx_conn_is_open(conn) || !MX_POLLS(member)) {
                continue;
            }
            if (count < max) {
                fds[count] = (struct pollfd) {
                    .fd = conn->fd,
                    .events = link_events(&member->link,
                                          (enum mx_which)which),
                };
            }
            count++;
        }
    }
    *deadline = earliest;
    return count;
}

static short revents_of(const struct pollfd *fds, size_t count, int fd,
                        size_t *hint)
{
    size_t i;

    for (i = 0; i < count; i++) {
        size_t at = (*hint + i) % count;

        if (fds[at].fd == fd) {
            *hint = at + 1;
            return fds[at].revents;
        }
    }
    return 0;
}

static void dispatch_links(struct memexpose_group *group,
                           const struct pollfd *fds, size_t count,
                           size_t *hint)
{
    struct mx_member *member;
    int64_t now = mx_group_now(group);

    TAILQ_FOREACH(member, &group->members, entry) {
        unsigned which;

        for (which = 0; which < MX_LINKS; which++) {
            int fd = member->link.conn[which].fd;
            short revents = fd < 0 ? 0 : revents_of(fds, count, fd, hint);

            if (revents && !member->link.up) {
                member->ops->half_ready(member);
                break;
            }
            if (revents & POLLOUT) {
                mx_link_write(&member->link, (enum mx_which)which);
            }
            if (revents & ~POLLOUT) {
                mx_link_read(&member->link, (enum mx_which)which, now);
            }
        }
    }
}

/*
 * Hand the next source what concerns it; that may add and remove sources, so
 * each begins at the first again.
 */
static bool dispatch_source(struct memexpose_group *group,
                            const struct pollfd *fds, size_t count,
                            size_t *hint)
{
    struct mx_source *source;
    int64_t now = mx_group_now(group);

    TAILQ_FOREACH(source, &group->sources, entry) {
        short revents;

        if (source->looked_at) {
            continue;
        }
        source->looked_at = true;
        revents = source->fd < 0 ? 0 :
                  revents_of(fds, count, source->fd, hint);
        if (revents || now >= source->deadline) {
            source->ready(source, revents);
            return true;
        }
    }
    return false;
}

static void forget_looks(struct memexpose_group *group)
{
    struct mx_source *source;

    TAILQ_FOREACH(source, &group->sources, entry) {
        source->looked_at = false;
    }
}

static void clear_loop_waker(struct memexpose_group *group)
{
    mx_os_wake_clear(group->loop_fd);
    group->loop_woken = false;
}

/* Hand out what poll said.  Spurious or outdated readiness does no harm. */
void mx_group_dispatch(struct memexpose_group *group,
                       const struct pollfd *fds, size_t count)
{
    size_t hint = 0;

    if (revents_of(fds, count, group->loop_fd, &hint)) {
        clear_loop_waker(group);
    }
    while (dispatch_source(group, fds, count, &hint)) {
    }
    forget_looks(group);
    dispatch_links(group, fds, count, &hint);
}

/*
 * Another thread reads in a map change, until its end: nothing else is to be
 * polled for, or the event loop would spin.
 */
static size_t collect_waker(struct memexpose_group *group, struct pollfd *fds,
                            size_t max, int64_t *deadline)
{
    if (max > 0) {
        fds[0] = (struct pollfd) { .fd = group->loop_fd, .events = POLLIN };
    }
    *deadline = MX_FOREVER;
    group->loop_blind = true;
    mx_group_polls_changed(group);
    return 1;
}

size_t memexpose_group_poll(struct memexpose_group *group, struct pollfd *fds,
                            size_t max, int64_t *deadline,
                            uint64_t *generation)
{
    int64_t earliest;
    size_t count;

    mx_group_enter(group);
    if (mx_group_taken_over(group)) {
        count = collect_waker(group, fds, max, &earliest);
    } else {
        count = collect(group, group->loop_fd, fds, max, &earliest);
    }
    group->loop_polls = group->polls;
    if (generation) {
        *generation = group->polls;
    }
    if (deadline) {
        *deadline = earliest;
    }
    pthread_mutex_unlock(&group->lock);
    return count;
}

int mx_group_gather(struct memexpose_group *group, int waker,
                    struct mx_poll_set *set)
{
    set->fds = set->some;
    set->count = collect(group, waker, set->fds, MX_POLL_ON_STACK,
                         &set->deadline);
    if (set->count <= MX_POLL_ON_STACK) {
        return 0;
    }
    set->fds = calloc(set->count, sizeof(*set->fds));
    if (!set->fds) {
        return -ENOMEM;
    }
    collect(group, waker, set->fds, set->count, &set->deadline);
    return 0;
}

void mx_group_release(struct mx_poll_set *set)
{
    if (set->fds != set->some) {
        free(set->fds);
    }
}

/* Without the consumer's word on the descriptors: look at all of them. */
static void dispatch_all(struct memexpose_group *group)
{
    struct mx_poll_set set;

    if (mx_group_gather(group, group->loop_fd, &set) < 0) {
        return;                 /* no memory now: the next call looks again */
    }
    if (mx_os_poll(set.fds, set.count, 0) >= 0) {
        mx_group_dispatch(group, set.fds, set.count);
    }
    mx_group_release(&set);
}

void memexpose_group_process(struct memexpose_group *group,
                             const struct pollfd *fds, size_t count)
{
    mx_group_enter(group);
    if (mx_group_taken_over(group)) {
        clear_loop_waker(group);
    } else {
        if (fds) {
            mx_group_dispatch(group, fds, count);
        } else {
            dispatch_all(group);
            group->loop_polls = group->polls;
        }
        mx_group_pump(group);
    }
    mx_group_leave(group);
}
