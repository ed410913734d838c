/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The group's descriptors are watched by an epoll set of our own, and the
 * loop watches the set.  The loop thus never sees a descriptor that is not
 * ours: the library may close one in any thread, at any time, and its number
 * may come back as something else that the consumer gives to the same loop,
 * which would not be watched if the loop still knew the number as one of ours.
 */
#include <memexpose/event.h>

#include <errno.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define SECOND 1000000000
#define MICROSECOND 1000
#define LONGEST ((int64_t)3600 * SECOND)

/* How many descriptors that are ready are taken at once. */
enum { READY = 16 };

/* How soon to look again by oneself while descriptors cannot be watched. */
#define RETRY (SECOND / 100)

struct memexpose_event {
    struct event_base *base;
    struct memexpose_group *group;
    struct event *timer;        /* for the deadline */
    struct event *ready;        /* for the set; NULL: nothing is watched */
    int set;                    /* -1 if nothing is watched */
    uint64_t generation;        /* of what is watched */
    struct pollfd *watched;
    size_t count;
    struct pollfd *asked;       /* what is to be watched */
    size_t room;                /* of both */
};

static void forget(struct memexpose_event *event)
{
    if (event->ready) {
        event_free(event->ready);
        event->ready = NULL;
    }
    if (event->set >= 0) {
        close(event->set);
        event->set = -1;
    }
}

static bool grow(struct memexpose_event *event, size_t room)
{
    struct pollfd *fds;

    fds = realloc(event->watched, room * sizeof(*fds));
    if (!fds) {
        return false;
    }
    event->watched = fds;
    fds = realloc(event->asked, room * sizeof(*fds));
    if (!fds) {
        return false;
    }
    event->asked = fds;
    event->room = room;
    return true;
}

/* What is to be watched now, in event->asked.  False if there is no memory. */
static bool ask(struct memexpose_event *event, size_t *count,
                int64_t *deadline, uint64_t *generation)
{
    for (;;) {
        *count = memexpose_group_poll(event->group, event->asked, event->room,
                                      deadline, generation);
        if (*count <= event->room) {
            return true;
        }
        if (!grow(event, *count + 8)) {
            return false;
        }
    }
}

static bool control(struct memexpose_event *event, int operation,
                    const struct pollfd *fd)
{
    struct epoll_event wanted = { .events = 0, .data.fd = fd->fd };

    if (fd->events & POLLIN) {
        wanted.events |= EPOLLIN;
    }
    if (fd->events & POLLPRI) {
        wanted.events |= EPOLLPRI;
    }
    if (fd->events & POLLRDHUP) {
        wanted.events |= EPOLLRDHUP;
    }
    if (fd->events & POLLOUT) {
        wanted.events |= EPOLLOUT;
    }
    return epoll_ctl(event->set, operation, fd->fd, &wanted) == 0;
}

static void on_ready(evutil_socket_t set, short what, void *opaque);

/* Watch all that was asked for, with nothing left of what was before. */
static bool watch(struct memexpose_event *event, size_t count)
{
    size_t i;

    forget(event);
    event->set = epoll_create1(EPOLL_CLOEXEC);
    if (event->set < 0) {
        return false;
    }
    for (i = 0; i < count; i++) {
        if (!control(event, EPOLL_CTL_ADD, &event->asked[i])) {
            return false;
        }
    }
    event->ready = event_new(event->base, event->set, EV_READ | EV_PERSIST,
                             on_ready, event);
    return event->ready && event_add(event->ready, NULL) == 0;
}

/* Are the descriptors that are asked for those that are watched? */
static bool same_descriptors(const struct memexpose_event *event, size_t count,
                             uint64_t generation)
{
    size_t i;

    if (!event->ready || generation != event->generation ||
        count != event->count) {
        return false;
    }
    for (i = 0; i < count; i++) {
        if (event->asked[i].fd != event->watched[i].fd) {
            return false;
        }
    }
    return true;
}

/* Watch the same descriptors for something else. */
static bool adjust(struct memexpose_event *event)
{
    size_t i;

    for (i = 0; i < event->count; i++) {
        if (event->asked[i].events != event->watched[i].events &&
            !control(event, EPOLL_CTL_MOD, &event->asked[i])) {
            return false;
        }
    }
    return true;
}

static void remember(struct memexpose_event *event, size_t count,
                     uint64_t generation)
{
    struct pollfd *spare = event->watched;

    event->watched = event->asked;
    event->asked = spare;
    event->count = count;
    event->generation = generation;
}

/* Make what is watched what is to be watched.  A descriptor may be closed by
 * another thread at any moment: then this fails and is to be tried again. */
static bool refresh(struct memexpose_event *event, int64_t *deadline)
{
    uint64_t generation;
    size_t count;
    bool done;

    if (!ask(event, &count, deadline, &generation)) {
        forget(event);
        return false;
    }
    done = same_descriptors(event, count, generation) ? adjust(event) :
                                                        watch(event, count);
    if (done) {
        remember(event, count, generation);
    } else {
        forget(event);
    }
    return done;
}

/* The time from now to @deadline, rounded up. */
static struct timeval time_left(const struct memexpose_event *event,
                                int64_t deadline)
{
    int64_t now = memexpose_group_now(event->group);
    int64_t left = deadline > now ? deadline - now : 0;
    struct timeval time;

    if (left > LONGEST) {
        left = LONGEST;
    }
    left = (left + MICROSECOND - 1) / MICROSECOND;
    time.tv_sec = (time_t)(left / (SECOND / MICROSECOND));
    time.tv_usec = (suseconds_t)(left % (SECOND / MICROSECOND));
    return time;
}

/* Go on at @deadline at the latest, if need be at once. */
static void schedule(struct memexpose_event *event, int64_t deadline)
{
    struct timeval left;

    if (deadline == MEMEXPOSE_FOREVER) {
        event_del(event->timer);
        return;
    }
    left = time_left(event, deadline);
    if (event_add(event->timer, &left) < 0) {
        event_active(event->timer, EV_TIMEOUT, 0);
    }
}

/* If watching fails the group is served all the same, if more slowly. */
static void prepare(struct memexpose_event *event)
{
    int64_t deadline = MEMEXPOSE_FOREVER;

    if (!refresh(event, &deadline)) {
        int64_t retry = memexpose_group_now(event->group) + RETRY;

        deadline = deadline < retry ? deadline : retry;
    }
    schedule(event, deadline);
}

static short poll_events(uint32_t events)
{
    return (short)((events & EPOLLIN ? POLLIN : 0) |
                   (events & EPOLLPRI ? POLLPRI : 0) |
                   (events & EPOLLOUT ? POLLOUT : 0) |
                   (events & EPOLLRDHUP ? POLLRDHUP : 0) |
                   (events & EPOLLHUP ? POLLHUP : 0) |
                   (events & EPOLLERR ? POLLERR : 0));
}

/* The set knows what is ready, however many are watched; what is left comes
 * the next time. */
static void on_ready(evutil_socket_t set, short what, void *opaque)
{
    struct memexpose_event *event = opaque;
    struct epoll_event events[READY];
    struct pollfd ready[READY];
    int count = epoll_wait(set, events, READY, 0);
    int i;

    (void)what;
    for (i = 0; i < count; i++) {
        ready[i] = (struct pollfd) {
            .fd = events[i].data.fd,
            .revents = poll_events(events[i].events),
        };
    }
    memexpose_group_process(event->group, ready, count > 0 ? (size_t)count :
                            0);
    prepare(event);
}

static void on_timer(evutil_socket_t none, short what, void *opaque)
{
    struct memexpose_event *event = opaque;

    (void)none;
    (void)what;
    memexpose_group_process(event->group, NULL, 0);
    prepare(event);
}

struct memexpose_event *memexpose_event_create(struct event_base *base,
                                               struct memexpose_group *group)
{
    struct memexpose_event *event = calloc(1, sizeof(*event));

    if (!event) {
        errno = ENOMEM;
        return NULL;
    }
    event->base = base;
    event->group = group;
    event->set = -1;
    event->timer = evtimer_new(base, on_timer, event);
    if (!event->timer) {
        free(event);
        errno = ENOMEM;
        return NULL;
    }
    prepare(event);
    return event;
}

void memexpose_event_destroy(struct memexpose_event *event)
{
    if (!event) {
        return;
    }
    forget(event);
    event_free(event->timer);
    free(event->watched);
    free(event->asked);
    free(event);
}
