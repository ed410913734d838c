/* SPDX-License-Identifier: BSD-3-Clause */
#include "socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "os.h"

enum {
    HALVES = 8,                 /* connections without their other half */
    FIRST_RETRY = 20000000,     /* ns: the first pause, doubled each time */
    STABLE = 1000000000,        /* ns: a link that lasted is no failure */
    ACCEPT_PAUSE = 100000000    /* ns, when descriptors have run out */
};

/* One socket that is listened on, and what came there. */
struct half {
    struct mx_socket *transport;
    char *path;
    uint64_t device, inode;     /* of the file */
    struct mx_source listener;
    bool failing;               /* to accept, and that was said */
    struct mx_source waiting[HALVES];
    unsigned count;
};

struct mx_socket {
    struct memexpose_group *group;
    const char *name;
    mx_socket_offer *offer;
    void *opaque;
    bool connects;
    bool refused;
    struct half half[MX_LINKS];
    struct mx_source timer;     /* connecting: the next attempt */
    int64_t retry, pause;
    int64_t connected_at;
    struct mx_log_limit logged; /* what strangers cause in the log */
};

/* --- listening ----------------------------------------------------------- */

static void add_source(struct mx_socket *transport, struct mx_source *source)
{
    mx_group_add_source(transport->group, source);
}

static void drop_source(struct mx_socket *transport, struct mx_source *source)
{
    mx_group_remove_source(transport->group, source);
}

static void remove_waiting(struct half *half, unsigned index)
{
    unsigned i;

    for (i = 0; i < half->count; i++) {
        drop_source(half->transport, &half->waiting[i]);
    }
    half->count--;
    for (i = index; i < half->count; i++) {
        half->waiting[i].fd = half->waiting[i + 1].fd;
    }
    for (i = 0; i < half->count; i++) {
        add_source(half->transport, &half->waiting[i]);
    }
}

static int take_first(struct half *half)
{
    int fd = half->waiting[0].fd;

    remove_waiting(half, 0);
    return fd;
}

static void refuse_pair(struct mx_socket *transport, int mem_fd, int intr_fd,
                        int why)
{
    long pid, uid;

    if (why != -EACCES) {       /* else that has been said */
        mx_os_peer(mem_fd, &pid, &uid);
        mx_log_peer(&transport->logged, MEMEXPOSE_LOG_INFO, transport->name,
                    "refused process %ld of user %ld: %s", pid, uid,
                    why == -EBUSY ? "another peer is connected" :
                    "links are refused now");
    }
    mx_os_close(mem_fd);
    mx_os_close(intr_fd);
}

static void offer_pair(struct mx_socket *transport)
{
    int mem_fd = take_first(&transport->half[MX_MEM]);
    int intr_fd = take_first(&transport->half[MX_INTR_LINK]);
    int ret = transport->refused ? -EPERM :
              transport->offer(transport->opaque, mem_fd, intr_fd);

    if (ret < 0) {
        refuse_pair(transport, mem_fd, intr_fd, ret);
    }
}

static void discard(struct half *half, unsigned index)
{
    int fd = half->waiting[index].fd;

    remove_waiting(half, index);
    mx_os_close(fd);
}

/* A half whose peer has closed is discarded. */
static void discard_closed(struct half *half)
{
    unsigned i = half->count;

    while (i-- > 0) {
        if (mx_os_hung_up(half->waiting[i].fd)) {
            discard(half, i);
        }
    }
}

/*
 * The n-th memory connection belongs to the n-th interrupt connection.  Where
 * both have been closed they are a pair all the same: what their peer sent
 * before it left is not lost.
 */
static void pair_up(struct mx_socket *transport)
{
    struct half *mem = &transport->half[MX_MEM];
    struct half *intr = &transport->half[MX_INTR_LINK];

    while (mem->count > 0 && intr->count > 0) {
        bool mem_closed = mx_os_hung_up(mem->waiting[0].fd);

        if (mem_closed == mx_os_hung_up(intr->waiting[0].fd)) {
            offer_pair(transport);
        } else {
            discard(mem_closed ? mem : intr, 0);
        }
    }
    discard_closed(mem);
    discard_closed(intr);
}

static void waiting_ready(struct mx_source *source, short revents)
{
    struct half *half = source->owner;

    (void)revents;
    pair_up(half->transport);
}

static void add_waiting(struct half *half, int fd)
{
    struct mx_source *source;

    if (half->count == HALVES) {
        mx_log_peer(&half->transport->logged, MEMEXPOSE_LOG_WARNING,
                    half->transport->name, "%s: too many connections without "
                    "their other half, one is refused", half->path);
        mx_os_close(fd);
        return;
    }
    source = &half->waiting[half->count++];
    source->fd = fd;
    add_source(half->transport, source);
}

/* Out of descriptors: look again in a while instead of spinning. */
static void pause_listening(struct half *half)
{
    struct mx_source *listener = &half->listener;

    listener->events = 0;
    listener->deadline = mx_group_now(half->transport->group) + ACCEPT_PAUSE;
    mx_group_polls_changed(half->transport->group);
}

static void accept_all(struct half *half)
{
    int fd;

    while ((fd = mx_os_accept(half->listener.fd)) >= 0) {
        half->failing = false;
        add_waiting(half, fd);
    }
    if (fd == -EAGAIN) {
        return;
    }
    if (!half->failing) {
        mx_log(MEMEXPOSE_LOG_WARNING, "%s: cannot accept on %s: %s",
               half->transport->name, half->path, strerror(-fd));
    }
    half->failing = true;
    pause_listening(half);
}

static void resume_listening(struct half *half)
{
    if (half->listener.deadline != MX_FOREVER) {
        half->listener.deadline = MX_FOREVER;
        half->listener.events = POLLIN;
        mx_group_polls_changed(half->transport->group);
    }
}

/* Both are looked at, so that no half seems to be alone that is not. */
static void listener_ready(struct mx_source *source, short revents)
{
    struct half *half = source->owner;
    struct mx_socket *transport = half->transport;

    (void)revents;
    resume_listening(half);
    accept_all(&transport->half[MX_MEM]);
    accept_all(&transport->half[MX_INTR_LINK]);
    pair_up(transport);
}

/* --- connecting ---------------------------------------------------------- */

static void schedule(struct mx_socket *transport, int64_t wait)
{
    transport->timer.deadline = mx_group_now(transport->group) + wait;
    mx_group_polls_changed(transport->group);
}

/* With pauses that grow, so that a peer that is about to come is met soon. */
static void schedule_retry(struct mx_socket *transport)
{
    schedule(transport, transport->pause);
    transport->pause *= 2;
    if (transport->pause > transport->retry) {
        transport->pause = transport->retry;
    }
}

/* Both or none: a lone half is closed again. */
static int connect_pair(struct mx_socket *transport)
{
    int mem_fd = mx_os_connect(transport->half[MX_MEM].path);
    int intr_fd, ret;

    if (mem_fd < 0) {
        return mem_fd;
    }
    intr_fd = mx_os_connect(transport->half[MX_INTR_LINK].path);
    if (intr_fd < 0) {
        mx_os_close(mem_fd);
        return intr_fd;
    }
    ret = transport->offer(transport->opaque, mem_fd, intr_fd);
    if (ret < 0) {
        mx_os_close(mem_fd);
        mx_os_close(intr_fd);
    }
    return ret;
}

static void timer_due(struct mx_source *source, short revents)
{
    struct mx_socket *transport = source->owner;

    (void)revents;
    source->deadline = MX_FOREVER;
    if (transport->refused) {
        return;
    }
    if (connect_pair(transport) == 0) {
        transport->connected_at = mx_group_now(transport->group);
        return;
    }
    schedule_retry(transport);
}

static void start_connecting(struct mx_socket *transport)
{
    transport->pause = transport->retry < FIRST_RETRY ? transport->retry :
                       FIRST_RETRY;
    schedule(transport, 0);
}

void mx_socket_down(struct mx_socket *transport)
{
    if (!transport->connects || transport->refused) {
        return;
    }
    if (mx_group_now(transport->group) - transport->connected_at >= STABLE) {
        start_connecting(transport);
        return;
    }
    schedule_retry(transport);
}

/* --- both ---------------------------------------------------------------- */

static void init_half(struct mx_socket *transport, struct half *half)
{
    unsigned i;

    half->transport = transport;
    half->listener.fd = -1;
    half->listener.events = POLLIN;
    half->listener.deadline = MX_FOREVER;
    half->listener.ready = listener_ready;
    half->listener.owner = half;
    for (i = 0; i < HALVES; i++) {
        half->waiting[i].events = POLLRDHUP;
        half->waiting[i].deadline = MX_FOREVER;
        half->waiting[i].ready = waiting_ready;
        half->waiting[i].owner = half;
    }
}

static struct mx_socket *create(struct memexpose_group *group,
                                const char *mem_path, const char *intr_path,
                                const char *name, mx_socket_offer *offer,
                                void *opaque)
{
    struct mx_socket *transport = calloc(1, sizeof(*transport));

    if (!transport) {
        return NULL;
    }
    transport->group = group;
    transport->name = name;
    transport->offer = offer;
    transport->opaque = opaque;
    init_half(transport, &transport->half[MX_MEM]);
    init_half(transport, &transport->half[MX_INTR_LINK]);
    transport->half[MX_MEM].path = strdup(mem_path);
    transport->half[MX_INTR_LINK].path = strdup(intr_path);
    if (!transport->half[MX_MEM].path || !transport->half[MX_INTR_LINK].path) {
        mx_socket_destroy(transport);
        return NULL;
    }
    return transport;
}

static int listen_on(struct half *half)
{
    int fd = mx_os_listen(half->path, &half->device, &half->inode);

    if (fd < 0) {
        return fd;
    }
    half->listener.fd = fd;
    add_source(half->transport, &half->listener);
    return 0;
}

int mx_socket_listen(struct memexpose_group *group, const char *mem_path,
                     const char *intr_path, const char *name,
                     mx_socket_offer *offer, void *opaque,
                     struct mx_socket **result)
{
    struct mx_socket *transport = create(group, mem_path, intr_path, name,
                                         offer, opaque);
    int ret;

    if (!transport) {
        return -ENOMEM;
    }
    ret = listen_on(&transport->half[MX_MEM]);
    if (ret == 0) {
        ret = listen_on(&transport->half[MX_INTR_LINK]);
    }
    if (ret < 0) {
        mx_socket_destroy(transport);
        return ret;
    }
    *result = transport;
    return 0;
}

int mx_socket_connect(struct memexpose_group *group, const char *mem_path,
                      const char *intr_path, const char *name, int64_t retry,
                      mx_socket_offer *offer, void *opaque,
                      struct mx_socket **result)
{
    struct mx_socket *transport;
    int ret = mx_os_check_path(mem_path);

    if (ret == 0) {
        ret = mx_os_check_path(intr_path);
    }
    if (ret < 0) {
        return ret;
    }
    transport = create(group, mem_path, intr_path, name, offer, opaque);
    if (!transport) {
        return -ENOMEM;
    }
    transport->connects = true;
    transport->retry = retry;
    transport->timer.fd = -1;
    transport->timer.deadline = MX_FOREVER;
    transport->timer.ready = timer_due;
    transport->timer.owner = transport;
    add_source(transport, &transport->timer);
    start_connecting(transport);
    *result = transport;
    return 0;
}

void mx_socket_open(struct mx_socket *transport)
{
    transport->refused = false;
    if (transport->connects) {
        start_connecting(transport);
    }
}

void mx_socket_refuse(struct mx_socket *transport)
{
    transport->refused = true;
}

static void destroy_half(struct half *half)
{
    while (half->count > 0) {
        mx_os_close(take_first(half));
    }
    if (half->listener.fd >= 0) {
        drop_source(half->transport, &half->listener);
        mx_os_unlink(half->path, half->device, half->inode);
        mx_os_close(half->listener.fd);
    }
    free(half->path);
}

void mx_socket_destroy(struct mx_socket *transport)
{
    if (!transport) {
        return;
    }
    destroy_half(&transport->half[MX_MEM]);
    destroy_half(&transport->half[MX_INTR_LINK]);
    if (transport->connects) {
        drop_source(transport, &transport->timer);
    }
    free(transport);
}
