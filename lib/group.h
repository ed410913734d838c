/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All links that one process must keep serving while any of them waits
 * (protocol section 3), and the two drivers over them: process and wait.
 *
 * One mutex guards everything in a group.  It is let go of around each
 * callback of the consumer's (mx_group_call_begin/end) and while a thread
 * waits.  What is to be done is found in the state by mx_group_pump(), one
 * step after the other, so that nested calls and other threads can go on with
 * it in the middle of a callback.
 */
#ifndef MX_GROUP_H
#define MX_GROUP_H

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <memexpose/group.h>

#include "link.h"

struct memexpose_group;

/* A descriptor to poll, or a time to come; its owner embeds it. */
struct mx_source {
    TAILQ_ENTRY(mx_source) entry;
    int fd;                     /* -1: only the deadline counts */
    short events;
    int64_t deadline;           /* MX_FOREVER: only the descriptor counts */
    /* Ready, or due; called with the lock, which it does not let go of. */
    void (*ready)(struct mx_source *source, short revents);
    void *owner;
    bool looked_at;             /* in this round of the dispatcher */
};

struct mx_member;

struct mx_member_ops {
    /* Do one thing that needs the consumer; lets go of the lock if it does.
     * Returns whether it did anything. */
    bool (*settle)(struct mx_member *member);
    /* One link is there, the other not yet, and its peer may have gone. */
    void (*half_ready)(struct mx_member *member);
    /* Service the access that mx_link_access_number() told of. */
    void (*service)(struct mx_member *member);
    /* Is there a share to offer, and may it be?  Offer one (section 9). */
    bool (*may_offer)(const struct mx_member *member);
    void (*offer)(struct mx_member *member);
    /* The last reference is gone. */
    void (*free)(struct mx_member *member);
};

/* What a device is to its group. */
struct mx_member {
    TAILQ_ENTRY(mx_member) entry;
    struct memexpose_group *group;
    const struct mx_member_ops *ops;
    struct mx_link link;
    unsigned references;
    atomic_uint cancels;        /* counts memexpose_device_cancel() */
    int64_t map_change_timeout;
};

/* What a thread is in the middle of; lies on its stack. */
enum mx_call_kind {
    MX_CALL_CONSUMER,           /* a callback of the consumer's */
    MX_CALL_SERVICE,            /* one that services a peer's access */
    MX_CALL_MAP_CHANGE          /* not one: work on a map change */
};

struct mx_call {
    TAILQ_ENTRY(mx_call) entry;
    pthread_t thread;
    struct mx_member *member;   /* NULL for a map change */
    enum mx_call_kind kind;
};

/*
 * By what one waiting thread is woken.  They are made when needed, used again,
 * and never freed before the group, so that a signal handler can walk them.
 */
struct mx_waiter {
    struct mx_waiter *next;
    int fd;
    atomic_bool rung;           /* the descriptor may be readable */
    atomic_bool in_use;
    bool sleeping;              /* beside the reader */
    bool may_read;              /* when nobody else does */
    bool polling;               /* the reader, awake: it looks by itself */
    bool woken;                 /* since it fell asleep, or began to read */
};

struct memexpose_group {
    pthread_mutex_t lock;
    atomic_uint wanting;        /* threads that wait for the lock */
    atomic_bool polling;        /* whoever has it may keep it for long ... */
    int64_t poll_wait, poll_serve;      /* ... up to these times */
    int64_t serve_until;        /* the event loop is not to sleep; 0: it may */
    struct memexpose_group_stats stats;
    struct memexpose_group_ops ops;
    void *opaque;
    TAILQ_HEAD(, mx_member) members;
    unsigned member_count;
    struct mx_member *hot;      /* its memory link is the next to bring
                                 * something, as far as one knows; or NULL */
    uint64_t received;          /* counts what the links brought */
    uint64_t told;              /* counts what the consumer's loop may wait
                                 * for: interrupts, changes of a link */
    TAILQ_HEAD(, mx_source) sources;
    TAILQ_HEAD(, mx_call) calls;
    _Atomic(struct mx_waiter *) waiters;
    int loop_fd;                /* wakes the consumer's event loop */
    struct mx_waiter *reader;   /* whose turn it is to poll the sockets */
    uint64_t reader_polls;      /* ->polls as the reader saw it */
    unsigned takeovers;         /* depth, by one thread ... */
    pthread_t takeover_thread;  /* ... that waits for a map change */
    uint64_t polls;             /* counts changes of what is to be polled */
    uint64_t news;              /* counts what a waiting thread may wait for */
    uint64_t told_news;         /* ->news when all that wait were woken last */
    uint64_t loop_polls;        /* as the event loop saw it */
    bool loop_woken;
    bool loop_blind;            /* it was told to wait for a takeover's end */
    unsigned draining;          /* threads that wait for calls to end */
    bool in_service;            /* of a peer's access */
    uint8_t *block;             /* what is read for a peer; NULL: not yet */
    uint8_t *spare;             /* for what a peer writes; NULL: in use */
    unsigned map_changes;       /* depth */
    atomic_uint_fast64_t map_change_count; /* of begins and ends */
    int64_t map_change_deadline;
    atomic_uint cancels;        /* counts memexpose_group_cancel() */
};

void mx_group_enter(struct memexpose_group *group);

/* Wake whom the changes concern. */
void mx_group_tell_others(struct memexpose_group *group);

/* The same, and let go of the lock. */
void mx_group_leave(struct memexpose_group *group);

/* Does another thread wait for the lock? */
bool mx_group_is_wanted(struct memexpose_group *group);

/* Let go of the lock until all those have had it that wait for it. */
void mx_group_give_way(struct memexpose_group *group);

int64_t mx_group_now(const struct memexpose_group *group);

/* What is to be polled for has changed. */
void mx_group_polls_changed(struct memexpose_group *group);

/* A thread that waits may find its wait over. */
void mx_group_news(struct memexpose_group *group);

void mx_group_add_source(struct memexpose_group *group,
                         struct mx_source *source);
void mx_group_remove_source(struct memexpose_group *group,
                            struct mx_source *source);

void mx_group_add_member(struct memexpose_group *group,
                         struct mx_member *member);
void mx_group_remove_member(struct mx_member *member);
void mx_member_ref(struct mx_member *member);
void mx_member_unref(struct mx_member *member);

/*
 * Around a callback of the consumer's for @member: the lock is let go of, the
 * member stays.
 */
void mx_group_call_begin(struct mx_member *member, struct mx_call *call,
                         enum mx_call_kind kind);
void mx_group_call_end(struct mx_member *member, struct mx_call *call);

/* Around several of them, in between which the member is not to be gone; the
 * lock is not let go of. */
void mx_group_run_begin(struct mx_member *member, struct mx_call *call);
void mx_group_run_end(struct mx_member *member, struct mx_call *call);

/* Around work on a map change; the lock is not let go of. */
void mx_group_change_begin(struct memexpose_group *group,
                           struct mx_call *call);
void mx_group_change_end(struct memexpose_group *group, struct mx_call *call);

/* Does another thread run a callback of the member? */
bool mx_member_called_elsewhere(const struct mx_member *member);

/* Is this thread within a callback? */
bool mx_group_in_callback(const struct memexpose_group *group);

/*
 * May this thread not access a peer's memory: because it is within the service
 * of an access, or of its own work on a map change?  (section 3, M)
 */
bool mx_group_must_not_access(const struct memexpose_group *group);

/* Do everything there is to do, without waiting. */
void mx_group_pump(struct memexpose_group *group);

/* Do everything there is to do but service accesses, without waiting. */
void mx_group_settle(struct memexpose_group *group);

/* Room for a block, or NULL; one that is given back is kept for the next. */
uint8_t *mx_group_take_buffer(struct memexpose_group *group);
void mx_group_give_buffer(struct memexpose_group *group, uint8_t *buffer);

/* --- group-event.c ------------------------------------------------------- */

/* What is to be polled: on the stack while it is little. */
enum { MX_POLL_ON_STACK = 32 };

struct mx_poll_set {
    struct pollfd some[MX_POLL_ON_STACK];
    struct pollfd *fds;
    size_t count;
    int64_t deadline;
};

/* Everything to poll, @waker first.  0 or -ENOMEM. */
int mx_group_gather(struct memexpose_group *group, int waker,
                    struct mx_poll_set *set);
void mx_group_release(struct mx_poll_set *set);

/* Hand out what poll said of the descriptors, and what is due. */
void mx_group_dispatch(struct memexpose_group *group,
                       const struct pollfd *fds, size_t count);

/*
 * Look once, without sleeping, where something is most likely to come; now and
 * then at everything, @waker too.  Returns whether there is something to do.
 */
bool mx_group_look(struct memexpose_group *group, int waker, unsigned round,
                   int64_t now);

/* The clock is to be looked at behind this round, and may be left alone behind
 * others. */
static inline bool mx_group_clock_round(unsigned round)
{
    return round % 8 == 7;
}

/* Does another thread read, in a map change of its own, until that ends? */
bool mx_group_taken_over(const struct memexpose_group *group);

/* --- group-wait.c -------------------------------------------------------- */

/* A new waiter; NULL with errno. */
struct mx_waiter *mx_group_add_waiter(struct memexpose_group *group);
void mx_group_free_waiters(struct memexpose_group *group);

void mx_waiter_wake(struct mx_waiter *waiter);

/* The wait of any of them may be over, or another than before. */
void mx_group_wake_waiters(struct memexpose_group *group);

/* Nobody reads: one of those who sleep is to do it. */
void mx_group_wake_sleeper(struct memexpose_group *group);

/* The cancel counts as they are when a wait begins. */
struct mx_cancel {
    unsigned group, member;
};

struct mx_cancel mx_group_cancel_mark(struct memexpose_group *group,
                                      struct mx_member *member);

struct mx_wait {
    struct mx_member *member;   /* whose cancel counts too; may be NULL */
    bool (*done)(void *arg);
    void *arg;
    int64_t deadline;
    struct mx_cancel mark;      /* from when the wait was asked for */
    bool takeover;              /* take the reading from whoever has it */
};

/*
 * Serve the group until @wait->done says so.  Returns 0, -ETIMEDOUT,
 * -ECANCELED, or what the consumer's wait failed with.
 */
int mx_group_wait(struct memexpose_group *group, const struct mx_wait *wait);

/* Wait until no other thread runs a callback of the member. */
void mx_group_drain_calls(struct mx_member *member);

/* Whoever waits is to look again; async-signal-safe. */
void mx_group_wake_all(struct memexpose_group *group);

#endif
