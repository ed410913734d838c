/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The group of all memexpose devices of this process: driven by the main loop
 * and by every thread that waits, and told of changes of the memory map.
 */
#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qapi/error.h"
#include "memexpose-internal.h"
#include "trace.h"

/* How often a thread that waits looks whether the machine is to end. */
#define WAIT_SLICE (100 * SCALE_MS)

typedef struct MemexposeSource {
    GSource source;
    GArray *fds;                /* of GPollFD, as they are registered */
    int64_t deadline;
} MemexposeSource;

/* Guarded by the big lock. */
static struct {
    struct memexpose_group *group;
    MemexposeSource *source;
    QEMUBH *bh;
    MemoryListener first, last;
    QLIST_HEAD(, MemexposeState) members;
    unsigned committing;        /* depth: from begin to the last commit */
    unsigned changed;           /* map changes that are to be ended */
} all;

/* --- the log ------------------------------------------------------------- */

static void memexpose_log(void *opaque, enum memexpose_log_level level,
                          const char *line)
{
    switch (level) {
    case MEMEXPOSE_LOG_ERROR:
        error_report("%s", line);
        break;
    case MEMEXPOSE_LOG_WARNING:
        warn_report("%s", line);
        break;
    case MEMEXPOSE_LOG_INFO:
        info_report("%s", line);
        break;
    default:
        trace_memexpose_log(line);
        break;
    }
}

/* --- the main loop ------------------------------------------------------- */

/* Events go to poll(2) as they are: GLib's conditions have its values. */
QEMU_BUILD_BUG_ON(G_IO_IN != POLLIN || G_IO_OUT != POLLOUT);

static void forget_descriptors(MemexposeSource *source)
{
    guint i;

    for (i = 0; i < source->fds->len; i++) {
        g_source_remove_poll(&source->source,
                             &g_array_index(source->fds, GPollFD, i));
    }
}

static void watch_descriptors(MemexposeSource *source,
                              const struct pollfd *fds, size_t count)
{
    size_t i;

    forget_descriptors(source);
    /* not moved as long as they are registered */
    g_array_set_size(source->fds, count);
    for (i = 0; i < count; i++) {
        GPollFD *fd = &g_array_index(source->fds, GPollFD, i);

        fd->fd = fds[i].fd;
        fd->events = fds[i].events;
        fd->revents = 0;
        g_source_add_poll(&source->source, fd);
    }
}

static bool same_descriptors(const MemexposeSource *source,
                             const struct pollfd *fds, size_t count)
{
    size_t i;

    if (source->fds->len != count) {
        return false;
    }
    for (i = 0; i < count; i++) {
        const GPollFD *fd = &g_array_index(source->fds, GPollFD, i);

        if (fd->fd != fds[i].fd ||
            fd->events != fds[i].events) {
            return false;
        }
    }
    return true;
}

static void update_descriptors(MemexposeSource *source)
{
    g_autofree struct pollfd *more = NULL;
    struct pollfd some[16], *fds = some;
    size_t count = memexpose_group_poll(all.group, some, G_N_ELEMENTS(some),
                                        &source->deadline, NULL);

    while (count > G_N_ELEMENTS(some)) {
        size_t room = count;

        g_free(more);
        fds = more = g_new(struct pollfd, room);
        count = memexpose_group_poll(all.group, fds, room, &source->deadline,
                                     NULL);
        if (count <= room) {
            break;
        }
    }
    if (!same_descriptors(source, fds, count)) {
        watch_descriptors(source, fds, count);
    }
}

static bool is_due(const MemexposeSource *source)
{
    return source->deadline != MEMEXPOSE_FOREVER &&
           memexpose_group_now(all.group) >= source->deadline;
}

static gboolean source_prepare(GSource *base, gint *timeout)
{
    MemexposeSource *source = (MemexposeSource *)base;
    int64_t left;

    *timeout = -1;
    update_descriptors(source);
    if (source->deadline == MEMEXPOSE_FOREVER) {
        return false;
    }
    left = source->deadline - memexpose_group_now(all.group);
    *timeout = left <= 0 ? 0 : MIN(left / SCALE_MS + 1, G_MAXINT);
    return left <= 0;
}

static gboolean source_check(GSource *base)
{
    MemexposeSource *source = (MemexposeSource *)base;
    guint i;

    for (i = 0; i < source->fds->len; i++) {
        if (g_array_index(source->fds, GPollFD, i).revents) {
            return true;
        }
    }
    return is_due(source);
}

static gboolean source_dispatch(GSource *base, GSourceFunc callback,
                                gpointer opaque)
{
    MemexposeSource *source = (MemexposeSource *)base;
    g_autofree struct pollfd *fds = g_new0(struct pollfd, source->fds->len);
    guint i;

    for (i = 0; i < source->fds->len; i++) {
        const GPollFD *fd = &g_array_index(source->fds, GPollFD, i);

        fds[i].fd = fd->fd;
        fds[i].events = fd->events;
        fds[i].revents = fd->revents;
    }
    memexpose_group_process(all.group, fds, source->fds->len);
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs source_funcs = {
    .prepare = source_prepare,
    .check = source_check,
    .dispatch = source_dispatch,
};

static void source_start(void)
{
    GSource *base = g_source_new(&source_funcs, sizeof(MemexposeSource));

    all.source = (MemexposeSource *)base;
    all.source->fds = g_array_new(false, true, sizeof(GPollFD));
    all.source->deadline = MEMEXPOSE_FOREVER;
    g_source_set_name(base, "memexpose");
    g_source_attach(base, NULL);
}

/* --- waiting ------------------------------------------------------------- */

bool memexpose_must_stop(void)
{
    return qemu_shutdown_requested_get() || qemu_reset_requested_get();
}

/*
 * The machine goes on while a thread waits, but within a commit: a second one
 * inside the first would break the flat views.
 */
static int group_wait(void *opaque, struct pollfd *fds, size_t count,
                      int64_t deadline)
{
    int64_t slice = memexpose_group_now(all.group) + WAIT_SLICE;
    bool locked = bql_locked();
    int ret;

    if (all.committing && locked) {
        return memexpose_wait(fds, count, deadline);
    }
    if (locked) {
        bql_unlock();
    }
    ret = memexpose_wait(fds, count, MIN(deadline, slice));
    if (locked) {
        bql_lock();
    }
    if (ret == 0 && memexpose_must_stop()) {
        memexpose_group_cancel(all.group);
    }
    return ret;
}

/* What callbacks and commits have put off. */
static int group_prepare(void *opaque)
{
    bool busy = all.changed > 0;

    if (all.committing) {
        return 0;
    }
    while (all.changed > 0) {
        all.changed--;
        trace_memexpose_map_change("end", 0);
        memexpose_map_change_end(all.group);
    }
    return memexpose_import_remove() || busy;
}

static void group_bh(void *opaque)
{
    group_prepare(NULL);
}

void memexpose_schedule(void)
{
    qemu_bh_schedule(all.bh);
}

static const struct memexpose_group_ops group_ops = {
    .size = sizeof(group_ops),
    .wait = group_wait,
    .prepare = group_prepare,
};

/* --- the memory map ------------------------------------------------------ */

bool memexpose_in_commit(void)
{
    return all.committing > 0;
}

/* Before anything of the memory map changes. */
static void first_begin(MemoryListener *listener)
{
    all.committing++;
    memexpose_map_change_begin(all.group);
    trace_memexpose_map_change("begin", 0);
}

/*
 * Everything that goes has been announced by now.  KVM drops its slots in its
 * own commit, which comes after this one.
 */
static void first_commit(MemoryListener *listener)
{
    int ret = memexpose_map_change_wait(all.group);

    trace_memexpose_map_change("wait", ret);
}

/*
 * All listeners are through.  What the end of the map change sets off may
 * change the memory map again, and has to wait until the commit is over.
 */
static void last_commit(MemoryListener *listener)
{
    all.committing--;
    all.changed++;
    memexpose_schedule();
}

static void listen_to_changes(void)
{
    /* KVM has 10 */
    all.first = (MemoryListener) {
        .name = "memexpose-first",
        .begin = first_begin,
        .commit = first_commit,
        .priority = 1,
    };
    all.last = (MemoryListener) {
        .name = "memexpose-last",
        .commit = last_commit,
        .priority = 1000,
    };
    memory_listener_register(&all.first, &address_space_memory);
    memory_listener_register(&all.last, &address_space_memory);
}

/* --- polling ------------------------------------------------------------- */

/*
 * Threads that wait poll as long as the device that wants it most.  The main
 * loop, when it has served a peer, never does: it has the whole machine to
 * look after.
 */
static void update_polling(void)
{
    const MemexposeState *s;
    uint32_t longest = 0;

    QLIST_FOREACH(s, &all.members, next_member) {
        longest = MAX(longest, s->poll_ns);
    }
    memexpose_group_set_polling(all.group, longest, 0);
    trace_memexpose_polling(longest);
}

void memexpose_group_join(MemexposeState *s)
{
    QLIST_INSERT_HEAD(&all.members, s, next_member);
    update_polling();
}

void memexpose_group_leave(MemexposeState *s)
{
    QLIST_REMOVE(s, next_member);
    update_polling();
}

/* --- life ---------------------------------------------------------------- */

/*
 * Made with the first device, and kept: the last device may go from within a
 * callback of the group's.
 */
struct memexpose_group *memexpose_group_get(Error **errp)
{
    if (all.group) {
        return all.group;
    }
    memexpose_set_log(memexpose_log, NULL);
    all.group = memexpose_group_create(&group_ops, NULL);
    if (!all.group) {
        error_setg_errno(errp, errno, "memexpose: cannot make a group");
        return NULL;
    }
    all.bh = qemu_bh_new(group_bh, NULL);
    source_start();
    listen_to_changes();
    return all.group;
}
