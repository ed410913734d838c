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
    if (which == MX_INTR_LINK && link->parked) {
        return 0;               /* its bytes wait, too */
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

/* What the link brought, counted in bytes. */
static uint64_t bytes_received(const struct mx_conn *conn)
{
    return conn->in_position + (conn->in_end - conn->in_start);
}

/* Returns whether anything came, be it the end of the link. */
static bool read_link(struct mx_member *member, enum mx_which which,
                      int64_t now)
{
    struct memexpose_group *group = member->group;
    struct mx_link *link = &member->link;
    const struct mx_conn *conn = &link->conn[which];
    uint64_t before = bytes_received(conn);

    mx_link_read(link, which, now);
    if (bytes_received(conn) == before) {
        return link->end.set;
    }
    group->received++;
    if (which == MX_MEM) {
        group->hot = member;
    }
    return true;
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
                read_link(member, (enum mx_which)which, now);
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
        if (group->serve_until > 0 && group->serve_until < earliest) {
            earliest = mx_group_now(group);     /* it is to look itself */
        }
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

/* --- polling ------------------------------------------------------------- */

enum {
    EVERYTHING = 64,            /* one in so many rounds looks at all */
    FEW_MEMBERS = 2,            /* their links are read, not polled */
    MOST_SERVING = 20           /* times the time for which one polls */
};

static bool look_at_everything(struct memexpose_group *group, int waker,
                               int64_t now)
{
    struct mx_poll_set set;
    bool found = false;

    if (mx_group_gather(group, waker, &set) < 0) {
        return false;           /* no memory now: whoever sleeps says so */
    }
    if (mx_os_poll(set.fds, set.count, 0) > 0 || set.deadline <= now) {
        mx_group_dispatch(group, set.fds, set.count);
        found = true;
    }
    mx_group_release(&set);
    return found;
}

static bool look_at_links(struct memexpose_group *group, int64_t now)
{
    struct mx_member *member;
    bool found = false;
    unsigned which;

    TAILQ_FOREACH(member, &group->members, entry) {
        for (which = 0; member->link.up && which < MX_LINKS; which++) {
            if (mx_link_wants_write(&member->link, (enum mx_which)which)) {
                mx_link_write(&member->link, (enum mx_which)which);
            }
            found |= read_link(member, (enum mx_which)which, now);
        }
    }
    return found;
}

/*
 * To receive in vain costs less than to poll(2) and then receive; and mostly
 * it is known what will come.
 */
bool mx_group_look(struct memexpose_group *group, int waker, unsigned round,
                   int64_t now)
{
    struct mx_member *hot = group->hot;
    bool widely = mx_group_clock_round(round) || !hot || !hot->link.up;

    group->stats.polls++;
    if (round % EVERYTHING == EVERYTHING - 1 ||
        (widely && group->member_count > FEW_MEMBERS)) {
        return look_at_everything(group, waker, now);
    }
    return widely ? look_at_links(group, now) : read_link(hot, MX_MEM, now);
}

/* Poll until something comes.  Returns false if the time was over before, or
 * somebody else wants the group. */
static bool await_more(struct memexpose_group *group, int64_t *now,
                       int64_t until)
{
    int64_t start = *now;
    bool came = false;
    unsigned round;

    atomic_store(&group->polling, true);
    for (round = 0; !came && *now < until && !mx_group_is_wanted(group);
         round++) {
        came = mx_group_look(group, group->loop_fd, round, *now);
        if (came || mx_group_clock_round(round)) {
            *now = mx_group_now(group);
        }
    }
    atomic_store(&group->polling, false);
    group->stats.poll_hits += came;
    group->stats.poll_misses += !came;
    group->stats.poll_time += (uint64_t)(*now - start);
    return came;
}

static void serve_from_now(struct memexpose_group *group, int64_t *now)
{
    *now = mx_group_now(group);
    group->serve_until = *now + group->poll_serve;
}

/*
 * Where something came more may follow.  The consumer's loop has its turn in
 * the end, however much there is, and at once if it was told something; if
 * time is left then it is to come back without a sleep.
 */
static void serve_more(struct memexpose_group *group)
{
    int64_t now = mx_group_now(group);
    int64_t end = now + MOST_SERVING * group->poll_serve;
    uint64_t told = group->told;

    mx_group_tell_others(group);
    while (!mx_group_taken_over(group) && group->told == told && now < end &&
           now < group->serve_until &&
           await_more(group, &now, group->serve_until < end ?
                      group->serve_until : end)) {
        mx_group_pump(group);
        mx_group_tell_others(group);
        serve_from_now(group, &now);
    }
    if (now >= group->serve_until) {
        group->serve_until = 0;
    }
}

static void look_and_serve(struct memexpose_group *group,
                           const struct pollfd *fds, size_t count)
{
    uint64_t received = group->received, told = group->told;
    int64_t now;

    if (fds) {
        mx_group_dispatch(group, fds, count);
    } else {
        dispatch_all(group);
        group->loop_polls = group->polls;
    }
    mx_group_pump(group);
    if (group->poll_serve > 0 && group->received != received) {
        serve_from_now(group, &now);
    }
    if (group->serve_until > 0 && group->told == told &&
        !mx_group_in_callback(group)) {
        serve_more(group);
    }
}

void memexpose_group_process(struct memexpose_group *group,
                             const struct pollfd *fds, size_t count)
{
    mx_group_enter(group);
    if (mx_group_taken_over(group)) {
        clear_loop_waker(group);
    } else {
        look_and_serve(group, fds, count);
    }
    mx_group_leave(group);
}
