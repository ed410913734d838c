/* SPDX-License-Identifier: BSD-3-Clause */
#include "group.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mutant.h"
#include "os.h"

/* --- life ---------------------------------------------------------------- */

/* One waiter is made at once: a lone thread can wait whatever happens. */
static int init_group(struct memexpose_group *group)
{
    int ret;

    TAILQ_INIT(&group->members);
    TAILQ_INIT(&group->sources);
    TAILQ_INIT(&group->calls);
    group->loop_fd = mx_os_wake_create();
    if (group->loop_fd < 0) {
        return group->loop_fd;
    }
    ret = mx_group_add_waiter(group) ?
          -pthread_mutex_init(&group->lock, NULL) : -errno;
    if (ret < 0) {
        mx_group_free_waiters(group);
        mx_os_close(group->loop_fd);
    }
    return ret;
}

struct memexpose_group *
memexpose_group_create(const struct memexpose_group_ops *ops, void *opaque)
{
    struct memexpose_group *group;
    int ret;

    if (ops && ops->size < sizeof(ops->size)) {
        errno = EINVAL;
        return NULL;
    }
    group = calloc(1, sizeof(*group));
    if (!group) {
        return NULL;
    }
    if (ops) {
        memcpy(&group->ops, ops, ops->size < sizeof(*ops) ? ops->size :
               sizeof(*ops));
    }
    group->opaque = opaque;
    ret = init_group(group);
    if (ret < 0) {
        free(group);
        errno = -ret;
        return NULL;
    }
    return group;
}

int memexpose_group_destroy(struct memexpose_group *group)
{
    bool busy;

    if (!group) {
        return 0;
    }
    mx_group_enter(group);
    busy = !TAILQ_EMPTY(&group->members);
    mx_group_leave(group);
    if (busy) {
        return -EBUSY;
    }
    mx_group_free_waiters(group);
    mx_os_close(group->loop_fd);
    pthread_mutex_destroy(&group->lock);
    free(group->block);
    free(group->spare);
    free(group);
    return 0;
}

int64_t mx_group_now(const struct memexpose_group *group)
{
    return group->ops.now ? group->ops.now(group->opaque) : mx_os_now();
}

int64_t memexpose_group_now(const struct memexpose_group *group)
{
    return mx_group_now(group);
}

/* --- polling ------------------------------------------------------------- */

#define LONGEST_POLLING INT64_C(1000000000)

static bool polling_is_valid(int64_t time)
{
    return time >= 0 && time <= LONGEST_POLLING;
}

int memexpose_group_set_polling(struct memexpose_group *group, int64_t wait,
                                int64_t serve)
{
    if (!polling_is_valid(wait) || !polling_is_valid(serve)) {
        return -EINVAL;
    }
    if (mx_os_processors() == 1) {
        wait = serve = 0;       /* else it keeps the peer from running */
    }
    mx_group_enter(group);
    group->poll_wait = wait;
    group->poll_serve = serve;
    group->serve_until = 0;     /* begun by another bound */
    mx_group_leave(group);
    return 0;
}

void memexpose_group_stats(struct memexpose_group *group,
                           struct memexpose_group_stats *stats, size_t size)
{
    mx_group_enter(group);
    memcpy(stats, &group->stats, size < sizeof(*stats) ? size :
           sizeof(*stats));
    mx_group_leave(group);
}

/* --- the lock, and who must hear of changes ------------------------------ */

/* How often to try for a lock that is about to be let go of. */
enum { TRIES = 64 };

/* One who polls soon sees that it is wanted: sooner than one could sleep. */
static bool try_often(struct memexpose_group *group)
{
    unsigned tries;

    for (tries = 0; tries < TRIES && atomic_load(&group->polling); tries++) {
        mx_os_yield();
        if (pthread_mutex_trylock(&group->lock) == 0) {
            return true;
        }
    }
    return false;
}

void mx_group_enter(struct memexpose_group *group)
{
    if (pthread_mutex_trylock(&group->lock) == 0) {
        return;
    }
    atomic_fetch_add(&group->wanting, 1);
    if (!try_often(group)) {
        pthread_mutex_lock(&group->lock);
    }
    atomic_fetch_sub(&group->wanting, 1);
}

bool mx_group_is_wanted(struct memexpose_group *group)
{
    return atomic_load_explicit(&group->wanting, memory_order_relaxed) > 0;
}

/* A mutex is not fair: to take it again at once would be to keep it. */
void mx_group_give_way(struct memexpose_group *group)
{
    mx_group_leave(group);
    while (mx_group_is_wanted(group)) {
        mx_os_yield();
    }
    mx_group_enter(group);
}

/*
 * What they wait for may have come about in another thread; the reader polls
 * what it saw last, and so does an event loop.
 */
void mx_group_tell_others(struct memexpose_group *group)
{
    if (group->told_news != group->news) {
        group->told_news = group->news;
        mx_group_wake_waiters(group);
    } else if (group->reader && group->reader_polls != group->polls) {
        mx_waiter_wake(group->reader);
    } else if (!group->reader && group->takeovers == 0) {
        mx_group_wake_sleeper(group);
    }
    if (group->loop_polls != group->polls && !group->loop_woken) {
        group->loop_woken = true;
        mx_os_wake(group->loop_fd);
    }
}

void mx_group_leave(struct memexpose_group *group)
{
    mx_group_tell_others(group);
    pthread_mutex_unlock(&group->lock);
}

void mx_group_polls_changed(struct memexpose_group *group)
{
    group->polls++;
}

void mx_group_news(struct memexpose_group *group)
{
    group->news++;
}

void mx_group_add_source(struct memexpose_group *group,
                         struct mx_source *source)
{
    TAILQ_INSERT_TAIL(&group->sources, source, entry);
    mx_group_polls_changed(group);
}

void mx_group_remove_source(struct memexpose_group *group,
                            struct mx_source *source)
{
    TAILQ_REMOVE(&group->sources, source, entry);
    mx_group_polls_changed(group);
}

void mx_group_add_member(struct memexpose_group *group,
                         struct mx_member *member)
{
    member->group = group;
    member->references = 1;
    TAILQ_INSERT_TAIL(&group->members, member, entry);
    group->member_count++;
}

void mx_group_remove_member(struct mx_member *member)
{
    struct memexpose_group *group = member->group;

    TAILQ_REMOVE(&group->members, member, entry);
    group->member_count--;
    if (group->hot == member) {
        group->hot = NULL;
    }
}

void mx_member_ref(struct mx_member *member)
{
    member->references++;
}

void mx_member_unref(struct mx_member *member)
{
    if (--member->references == 0) {
        member->ops->free(member);
    }
}

/* --- callbacks ----------------------------------------------------------- */

static void push_call(struct memexpose_group *group, struct mx_call *call,
                      struct mx_member *member, enum mx_call_kind kind)
{
    call->thread = pthread_self();
    call->member = member;
    call->kind = kind;
    TAILQ_INSERT_TAIL(&group->calls, call, entry);
}

static void pop_call(struct memexpose_group *group, struct mx_call *call)
{
    TAILQ_REMOVE(&group->calls, call, entry);
}

static void begin_call(struct mx_member *member, struct mx_call *call,
                       enum mx_call_kind kind)
{
    push_call(member->group, call, member, kind);
    mx_member_ref(member);
}

static void end_call(struct mx_member *member, struct mx_call *call)
{
    struct memexpose_group *group = member->group;

    pop_call(group, call);
    if (group->draining > 0) {
        mx_group_news(group);
    }
    mx_member_unref(member);
}

void mx_group_run_begin(struct mx_member *member, struct mx_call *call)
{
    begin_call(member, call, MX_CALL_CONSUMER);
}

void mx_group_run_end(struct mx_member *member, struct mx_call *call)
{
    end_call(member, call);
}

void mx_group_call_begin(struct mx_member *member, struct mx_call *call,
                         enum mx_call_kind kind)
{
    begin_call(member, call, kind);
    mx_group_leave(member->group);
}

void mx_group_call_end(struct mx_member *member, struct mx_call *call)
{
    mx_group_enter(member->group);
    end_call(member, call);
}

void mx_group_change_begin(struct memexpose_group *group,
                           struct mx_call *call)
{
    push_call(group, call, NULL, MX_CALL_MAP_CHANGE);
}

void mx_group_change_end(struct memexpose_group *group, struct mx_call *call)
{
    pop_call(group, call);
}

static bool is_in(const struct memexpose_group *group, unsigned kinds)
{
    const struct mx_call *call;

    TAILQ_FOREACH(call, &group->calls, entry) {
        if (kinds & 1u << call->kind &&
            pthread_equal(call->thread, pthread_self())) {
            return true;
        }
    }
    return false;
}

bool mx_group_in_callback(const struct memexpose_group *group)
{
    return is_in(group, 1u << MX_CALL_CONSUMER | 1u << MX_CALL_SERVICE);
}

bool mx_group_must_not_access(const struct memexpose_group *group)
{
    return is_in(group, 1u << MX_CALL_SERVICE | 1u << MX_CALL_MAP_CHANGE);
}

bool mx_member_called_elsewhere(const struct mx_member *member)
{
    const struct mx_call *call;

    TAILQ_FOREACH(call, &member->group->calls, entry) {
        if (call->member == member &&
            !pthread_equal(call->thread, pthread_self())) {
            return true;
        }
    }
    return false;
}

/* --- blocks -------------------------------------------------------------- */

uint8_t *mx_group_take_buffer(struct memexpose_group *group)
{
    uint8_t *buffer = group->spare;

    group->spare = NULL;
    return buffer ? buffer : malloc(MX_BLOCK_MAX);
}

void mx_group_give_buffer(struct memexpose_group *group, uint8_t *buffer)
{
    if (group->spare) {
        free(buffer);
    } else {
        group->spare = buffer;
    }
}

/* --- what is to be done -------------------------------------------------- */

#define NOT_LOOKED INT64_MIN    /* before every time */

/* The clock is looked at where it is needed, and once. */
static int64_t time_for(struct memexpose_group *group,
                        const struct mx_link *link, int64_t *now)
{
    if (*now == NOT_LOOKED && mx_link_needs_time(link)) {
        *now = mx_group_now(group);
    }
    return *now;
}

/* One step that needs no consumer for each link. */
static bool step_links(struct memexpose_group *group, int64_t *now)
{
    struct mx_member *member;
    bool progress = false;

    TAILQ_FOREACH(member, &group->members, entry) {
        struct mx_link *link = &member->link;

        while (mx_link_step(link, time_for(group, link, now))) {
            progress = true;
        }
    }
    return progress;
}

/* One step with the consumer; the list may be another afterwards. */
static bool settle_one(struct memexpose_group *group)
{
    struct mx_member *member;

    TAILQ_FOREACH(member, &group->members, entry) {
        bool progress;

        mx_member_ref(member);  /* a callback may destroy it */
        progress = member->ops->settle(member);
        if (progress) {
            mx_member_unref(member);
            return true;
        }
        member->references--;   /* never the last: the lock was held */
    }
    return false;
}

static bool send_local(struct memexpose_group *group)
{
    struct mx_member *member;
    bool progress = false;

    TAILQ_FOREACH(member, &group->members, entry) {
        progress |= mx_link_send_next(&member->link);
    }
    return progress;
}

/* May accesses of peers touch memory now? (section 3) */
static bool accesses_allowed(const struct memexpose_group *group)
{
    return (!group->in_service || !MX_RULE(KEEP_IN_SERVICE)) &&
           (group->map_changes == 0 || !MX_RULE(KEEP_IN_MAP_CHANGE));
}

/* The member whose peer's kept access has the lowest number. */
static struct mx_member *next_access(struct memexpose_group *group)
{
    struct mx_member *member, *best = NULL;
    int lowest = 0;

    if (!accesses_allowed(group)) {
        MX_LOOKED_ALL(group);
        return NULL;
    }
    TAILQ_FOREACH(member, &group->members, entry) {
        int number = mx_link_access_number(&member->link);

        if (number >= 0 && (!best || number < lowest)) {
            best = member;
            lowest = number;
        }
    }
    return best;
}

/* A member that has something to offer to its peer. */
static struct mx_member *next_offer(struct memexpose_group *group)
{
    struct mx_member *member;

    if (!accesses_allowed(group) && MX_RULE(NO_OFFER_IN_MAP_CHANGE)) {
        return NULL;
    }
    TAILQ_FOREACH(member, &group->members, entry) {
        if (member->ops->may_offer(member)) {
            return member;
        }
    }
    return NULL;
}

/* It touches the consumer's memory as the service of an access does. */
static bool offer_one(struct memexpose_group *group)
{
    struct mx_member *member = next_offer(group);

    if (!member) {
        return false;
    }
    group->in_service = true;
    mx_member_ref(member);
    member->ops->offer(member);
    mx_member_unref(member);
    group->in_service = false;
    return true;
}

/* One at a time in the group, in turn among equals. */
static bool service_one(struct memexpose_group *group)
{
    struct mx_member *member = next_access(group);

    if (!member) {
        return false;
    }
    TAILQ_REMOVE(&group->members, member, entry);
    TAILQ_INSERT_TAIL(&group->members, member, entry);
    group->in_service = true;
    mx_member_ref(member);
    member->ops->service(member);
    mx_member_unref(member);
    group->in_service = false;
    return true;
}

/* The clock is looked at again only where the consumer may have taken time. */
static bool do_something(struct memexpose_group *group, bool services,
                         int64_t *now)
{
    if (step_links(group, now)) {
        return true;
    }
    if (settle_one(group) ||
        (services && (offer_one(group) || service_one(group)))) {
        *now = NOT_LOOKED;
        return true;
    }
    return (services || !next_access(group)) && send_local(group);
}

/*
 * Everything there is to do, until nothing is left: what came is answered
 * before anything new is sent (section 3).
 */
void mx_group_pump(struct memexpose_group *group)
{
    int64_t now = NOT_LOOKED;

    while (do_something(group, true, &now)) {
    }
}

void mx_group_settle(struct memexpose_group *group)
{
    int64_t now = NOT_LOOKED;

    while (do_something(group, false, &now)) {
    }
    if (next_offer(group) || next_access(group)) {
        mx_group_polls_changed(group);  /* whatever drives the group: look */
    }
}
