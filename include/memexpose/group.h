/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A group: all devices of a process that must be served while any of them
 * waits (protocol section 3).  Two devices that can reach each other, even by
 * way of other processes, must be in one group, so use one for the process.
 *
 * Threads.  Every function here may be called from any thread, and from any
 * callback of the library unless said otherwise.  The library holds no lock
 * while it calls back (retire, trace and the log excepted), starts no thread
 * and installs no signal handler.
 *
 * A group is driven in two ways, which mix freely:
 *  - event-driven: memexpose_group_poll() says what to poll for and until
 *    when, memexpose_group_process() does what there is to do;
 *  - blocking: a thread that waits for the answer to an access, for a map
 *    change or for an enable serves the whole group meanwhile, by way of the
 *    wait callback.
 */
#ifndef MEMEXPOSE_GROUP_H
#define MEMEXPOSE_GROUP_H

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct memexpose_group;
struct memexpose_device;

/* A deadline that never comes. */
#define MEMEXPOSE_FOREVER INT64_MAX

/**
 * struct memexpose_group_ops - what a consumer supplies for a group
 *
 * Every member but @size may be NULL.
 */
struct memexpose_group_ops {
    /* sizeof(struct memexpose_group_ops) of the consumer's build */
    size_t size;

    /**
     * @wait: sleep until a descriptor is ready or @deadline has come
     * @opaque: as given to memexpose_group_create()
     * @fds: as for poll(2); revents is to be filled in
     * @count: entries in @fds
     * @deadline: on the group's clock, in nanoseconds, or MEMEXPOSE_FOREVER
     *
     * Called in each thread that waits, which may let go of locks of its own
     * meanwhile; several may be in it at the same time.  It may return early,
     * without any descriptor ready.  It may call memexpose_group_cancel() and
     * memexpose_device_cancel(), nothing else of the library.
     *
     * Returns: the number of ready descriptors, 0 when there is none, or
     * -errno; -EINTR counts as 0, another error ends the wait.
     * Default: memexpose_wait().
     */
    int (*wait)(void *opaque, struct pollfd *fds, size_t count,
                int64_t deadline);

    /**
     * @now: the group's clock, in nanoseconds
     *
     * Default: CLOCK_MONOTONIC.  With a clock of its own (simulated time) a
     * consumer has to supply @wait, too.
     */
    int64_t (*now)(void *opaque);

    /**
     * @prepare: a thread is about to wait
     *
     * The place for what callbacks have put off, such as the removal of what
     * unmap answered MEMEXPOSE_UNMAP_LATER for, or the end of a map change:
     * a consumer whose event loop does such work would wait for itself if the
     * thread that waits is the one of the loop.  All that came has been handed
     * out.  Called with no lock of the library held, in each thread that
     * waits, each time before @wait; may call every function of the library.
     * It may itself wait, and then comes again from within.
     *
     * Returns: positive if it did anything, so that the library looks again
     * whether there still is something to wait for; 0 if there was nothing to
     * do.  Default: nothing.
     */
    int (*prepare)(void *opaque);
};

/**
 * memexpose_group_create - make a group without devices
 * @ops: the consumer's callbacks, copied; NULL for the defaults
 * @opaque: handed to each callback
 *
 * Returns: the group, or NULL with errno set: ENOMEM, EMFILE or ENFILE (the
 * group has descriptors of its own, by which threads are woken: two, and one
 * more for each thread but one that ever waited at the same time), EINVAL
 * (@ops->size is too small).
 */
struct memexpose_group *
memexpose_group_create(const struct memexpose_group_ops *ops, void *opaque);

/**
 * memexpose_group_destroy - free a group
 * @group: without devices; NULL does nothing.  Not from a callback.
 *
 * Returns: 0, or -EBUSY if a device is left; then nothing happens.
 */
int memexpose_group_destroy(struct memexpose_group *group);

/**
 * memexpose_group_set_polling - poll before sleeping
 * @group: the group
 * @wait: how long a thread that waits looks at the sockets itself before it
 *        sleeps in the wait callback, in nanoseconds; 0: not at all
 * @serve: how long memexpose_group_process() looks for more after it has
 *         received something, in nanoseconds; 0: not at all.  It returns when
 *         the consumer was told something (an interrupt, a link's change);
 *         what is left of the time memexpose_group_poll() then says that it is
 *         to be called again at once.
 *
 * To sleep and to be woken costs many times what a message does.  A thread
 * that polls uses its processor for that, and callbacks run in it as ever; it
 * does not let go of locks of the consumer's before it sleeps.  It stops as
 * soon as another thread wants something of the group.  If the thread that
 * calls this has only one processor to run on, both count as 0.  The default
 * is 0 for both.
 *
 * Returns: 0, or -EINVAL if one is negative or over a second.
 */
int memexpose_group_set_polling(struct memexpose_group *group, int64_t wait,
                                int64_t serve);

/**
 * struct memexpose_group_stats - what a group has counted since its creation
 */
struct memexpose_group_stats {
    uint64_t polls;       /* how often the sockets were looked at */
    uint64_t poll_hits;   /* periods of polling that something ended */
    uint64_t poll_misses; /* those that ended with nothing: then it slept */
    uint64_t poll_time;   /* spent polling, in nanoseconds */
};

/**
 * memexpose_group_stats - the counters
 * @group: the group
 * @stats: out
 * @size: sizeof(*@stats) of the consumer's build; only as much is written
 */
void memexpose_group_stats(struct memexpose_group *group,
                           struct memexpose_group_stats *stats, size_t size);

/**
 * memexpose_group_poll - what an event loop has to wait for
 * @group: the group
 * @fds: where to write descriptors and events; may be NULL if @max is 0
 * @max: entries in @fds
 * @deadline: out, may be NULL: when to call memexpose_group_process() at the
 *            latest, on the group's clock in nanoseconds; MEMEXPOSE_FOREVER
 *            if only descriptors matter
 * @generation: out, may be NULL: another number than before if a descriptor
 *              was opened or closed since.  A loop that keeps registrations
 *              (epoll) must then make all of them anew: a number may have come
 *              back as another descriptor.
 *
 * To be asked again after memexpose_group_process().  When anything else makes
 * the answer change, a descriptor that is always among @fds becomes ready, so
 * that the loop wakes, processes and asks again.  Descriptors belong to the
 * library: poll them, nothing else.
 *
 * Returns: how many entries there are, which may be more than @max.
 */
size_t memexpose_group_poll(struct memexpose_group *group, struct pollfd *fds,
                            size_t max, int64_t *deadline,
                            uint64_t *generation);

/**
 * memexpose_group_process - do what there is to do, without waiting
 * @group: the group
 * @fds: what poll(2) said of the descriptors; NULL: the library looks itself
 * @count: entries in @fds
 *
 * Reads, answers, maps, unmaps, closes, connects, in this thread, with the
 * callbacks that go with it.  A callback may itself wait (see
 * memexpose_map_change_wait()); then this does.
 */
void memexpose_group_process(struct memexpose_group *group,
                             const struct pollfd *fds, size_t count);

/**
 * memexpose_group_cancel - end every wait that is under way in the group
 * @group: the group
 *
 * Accesses return -ECANCELED (their requests stay outstanding until answered
 * or overdue; the answers are discarded), an enable-wait returns -ECANCELED
 * with the enable still pending, a map change proceeds and closes the links
 * that have not acknowledged (protocol section 7).  Waits that begin later are
 * not affected.  Async-signal-safe.
 */
void memexpose_group_cancel(struct memexpose_group *group);

/**
 * memexpose_group_now - the group's clock
 * @group: the group
 *
 * Returns: the time in nanoseconds.
 */
int64_t memexpose_group_now(const struct memexpose_group *group);

/**
 * memexpose_wait - the default of the wait callback, by ppoll(2)
 * @fds: as for poll(2)
 * @count: entries in @fds
 * @deadline: on CLOCK_MONOTONIC in nanoseconds, or MEMEXPOSE_FOREVER
 *
 * Returns: as poll(2), but -errno for an error.
 */
int memexpose_wait(struct pollfd *fds, size_t count, int64_t deadline);

/**
 * memexpose_map_change_begin - the exported memory map is about to change
 * @group: the group
 *
 * From now to memexpose_map_change_end() no peer's access is serviced in this
 * group (protocol section 3); one that a thread is servicing already is not
 * waited for.  Its response carries no share.  Changes nest and may overlap
 * between threads; the time for all of them runs from the first begin.
 */
void memexpose_map_change_begin(struct memexpose_group *group);

/**
 * memexpose_map_change_invalidate - part of a device's exported memory changes
 * @device: whose peer must be told
 * @start: first address that changes
 * @size: how many bytes; @start + @size may be 2^64 but not pass it
 *
 * Everything shared that intersects is withdrawn: a REG_INV goes out for each,
 * without waiting for the answer.  To be called between begin and end, before
 * the old memory ceases to be what it was.
 *
 * Returns: 0; -EINVAL if the range passes 2^64 or no map change is in
 * progress; -ENOMEM, then the link is closed instead, and
 * memexpose_map_change_wait() will return -ENOMEM, too.
 */
int memexpose_map_change_invalidate(struct memexpose_device *device,
                                    uint64_t start, uint64_t size);

/**
 * memexpose_map_change_wait - wait until every peer has let go
 * @group: the group
 *
 * Waits for the acknowledgement of every invalidation of the group, serving
 * the group's other needs meanwhile.  The thread takes over the reading of the
 * group from any thread that does it now, so it may hold locks that the other
 * threads' callbacks want.  A link that has not acknowledged when the time for
 * map changes is over is closed; after that nobody reaches the old memory by
 * way of the library, but a peer may not have let go of it.
 *
 * Returns: 0 if every peer has acknowledged, or left by itself, or never was
 * shared anything; -ETIMEDOUT if a link had to be closed, -ECANCELED if that
 * was because of a cancel; -ECONNRESET or -ENOMEM if this side ended a link
 * for another reason before that; else what the wait callback failed with, the
 * links being closed as well.  Where map changes overlap all of them hear of
 * such an end, until the last of them is over.
 */
int memexpose_map_change_wait(struct memexpose_group *group);

/**
 * memexpose_map_change_end - the memory map has changed
 * @group: the group
 *
 * Accesses that were kept are serviced again, by whatever drives the group.
 */
void memexpose_map_change_end(struct memexpose_group *group);

#ifdef __cplusplus
}
#endif

#endif
