/* SPDX-License-Identifier: BSD-3-Clause */
#include "device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <memexpose/space.h>

#include "log.h"
#include "os.h"

#define SECOND INT64_C(1000000000)

/* --- configuration ------------------------------------------------------- */

void memexpose_device_config_init(struct memexpose_device_config *config)
{
    *config = (struct memexpose_device_config) {
        .size = sizeof(*config),
        .name = "memexpose",
        .role = MEMEXPOSE_ROLE_LISTEN,
        .hello = MEMEXPOSE_HELLO_ON,
        .subpriority = MEMEXPOSE_SUBPRIORITY_AUTO,
        .seals = MEMEXPOSE_SEALS_PREFER,
        .share = true,
        .wait = true,
        .request_timeout = 5 * SECOND,
        .map_change_timeout = 2 * SECOND,
        .hello_wait = SECOND,
        .connect_timeout = MEMEXPOSE_FOREVER,
        .retry = SECOND,
        .max_ranges = 1024,
        .peer_uid = MEMEXPOSE_USER_ANY,
        .block = true,
    };
}

static bool config_is_valid(const struct memexpose_device_config *config)
{
    return config->name && strlen(config->name) < MEMEXPOSE_NAME_SIZE &&
           config->role <= MEMEXPOSE_ROLE_CONNECT &&
           config->hello <= MEMEXPOSE_HELLO_REQUIRE &&
           config->subpriority <= MEMEXPOSE_SUBPRIORITY_AUTO &&
           config->seals <= MEMEXPOSE_SEALS_REQUIRE &&
           mx_span_valid(config->span_start, config->span_size) &&
           config->request_timeout > 0 && config->map_change_timeout > 0 &&
           config->hello_wait > 0 && config->connect_timeout >= 0 &&
           config->retry > 0 && config->max_ranges > 0 &&
           config->peer_uid >= MEMEXPOSE_USER_SELF &&
           config->peer_uid <= UINT32_MAX;
}

/* The consumer's view of the struct may be an older, smaller one. */
static int copy_config(struct memexpose_device *device,
                       const struct memexpose_device_config *config)
{
    memexpose_device_config_init(&device->config);
    if (config) {
        size_t size = config->size;

        if (size < sizeof(config->size)) {
            return -EINVAL;
        }
        if (size > sizeof(device->config)) {
            size = sizeof(device->config);
        }
        memcpy(&device->config, config, size);
    }
    if (!config_is_valid(&device->config)) {
        return -EINVAL;
    }
    strcpy(device->name, device->config.name);
    device->config.name = device->name;
    device->refused_uid = -1;
    if (device->config.peer_uid == MEMEXPOSE_USER_SELF) {
        device->config.peer_uid = mx_os_user();
    }
    device->member.map_change_timeout = device->config.map_change_timeout;
    return 0;
}

static void session_config(struct memexpose_device *device,
                           struct mx_session_config *session)
{
    const struct memexpose_device_config *config = &device->config;

    *session = (struct mx_session_config) {
        .connects = config->role == MEMEXPOSE_ROLE_CONNECT,
        .hello = (enum mx_hello_mode)config->hello,
        .wish = (uint8_t)config->subpriority,
        .page_size = (uint32_t)mx_os_page_size(),
        .name = device->name,
        .features = (config->block ? MX_FEATURE_BLOCK : 0) |
                    (config->push ? MX_FEATURE_PUSH : 0),
        .hello_wait = config->hello_wait,
        .request_timeout = config->request_timeout,
    };
    mx_export_span(device, &session->span_start, &session->span_size);
}

/* --- what the link tells ------------------------------------------------- */

/* Registers 0x010 to 0x020 show what the links are like. */
void mx_device_update_link(struct memexpose_device *device)
{
    const struct mx_link *link = &device->member.link;
    uint64_t state = (uint64_t)device->connects << 32;

    if (mx_conn_is_open(&link->conn[MX_MEM])) {
        state |= MEMEXPOSE_STATE_MEM_UP;
    }
    if (mx_conn_is_open(&link->conn[MX_INTR_LINK])) {
        state |= MEMEXPOSE_STATE_INTR_UP;
    }
    if (link->up && link->session.phase == MX_PHASE_SETTLED) {
        state |= MEMEXPOSE_STATE_SETTLED;
    }
    mx_regs_set_link(&device->regs, state);
    mx_session_peer_span(&link->session, &device->regs.span_start,
                         &device->regs.span_size);
}

static int link_invalidate(void *opaque, uint64_t start, uint64_t size)
{
    struct memexpose_device *device = opaque;

    device->stats.invalidations_received++;
    return mx_import_invalidate(device, start, size);
}

static void link_share(void *opaque, const struct mx_wire_share *share, int fd)
{
    mx_import_share(opaque, share, fd);
}

static void link_offer(void *opaque, const struct mx_wire_share *share, int fd)
{
    mx_import_offer(opaque, share, fd);
}

static void link_interrupt(void *opaque, uint64_t type, const uint8_t *data)
{
    struct memexpose_device *device = opaque;

    device->stats.interrupts_received++;
    if (!mx_regs_push(&device->regs, type, data)) {
        device->stats.interrupts_dropped++;
    }
}

/*
 * One that meets a full queue is dropped; but not before the consumer has been
 * told of those that fill it, however many came at once.
 */
static bool link_has_room(void *opaque)
{
    struct memexpose_device *device = opaque;

    return !mx_regs_full(&device->regs) ||
           !(device->telling || device->rise ||
             mx_device_line(device) != device->level_told);
}

static uint8_t *link_take_buffer(void *opaque)
{
    return mx_group_take_buffer(mx_device_group(opaque));
}

static void link_give_buffer(void *opaque, uint8_t *buffer)
{
    mx_group_give_buffer(mx_device_group(opaque), buffer);
}

static void link_settled(void *opaque)
{
    struct memexpose_device *device = opaque;
    const struct mx_session *session = &device->member.link.session;

    if (session->said_hello) {
        mx_log_peer(&device->member.link.logged, MEMEXPOSE_LOG_INFO,
                    device->name, "peer '%s' said hello, sub-priority here "
                    "%u", session->peer.name, session->subpriority);
    } else {
        mx_log_peer(&device->member.link.logged, MEMEXPOSE_LOG_INFO,
                    device->name, "base protocol, sub-priority here %u",
                    session->subpriority);
    }
    mx_window_settled(device);
    mx_export_begin_offers(device);
}

static void link_down(void *opaque, bool violation)
{
    struct memexpose_device *device = opaque;
    unsigned which;

    device->generation++;
    device->stats.violations += violation;
    mx_ledger_clear(&device->ledger);
    device->offers_due = false;
    mx_import_drop_all(device);
    for (which = 0; which < MX_LINKS; which++) {
        device->call_closed[which]++;
    }
    if (device->socket) {
        mx_socket_down(device->socket);
    }
}

static enum memexpose_link public_link(enum mx_which which)
{
    return which == MX_MEM ? MEMEXPOSE_LINK_MEM : MEMEXPOSE_LINK_INTR;
}

static void link_trace(void *opaque, enum mx_which which, bool sent,
                       const struct mx_message *message)
{
    struct memexpose_device *device = opaque;
    uint8_t bytes[MX_MESSAGE_MAX];
    size_t size;

    if (sent) {
        bool block = message->type == MX_READ_BLOCK ||
                     message->type == MX_WRITE_BLOCK;

        device->stats.requests_sent += message->type == MX_READ ||
                                       message->type == MX_WRITE || block;
        device->stats.blocks_sent += block;
        device->stats.invalidations_sent += message->type == MX_REG_INV;
        device->stats.shares_sent += message->share.kind != 0;
    }
    if (device->ops.trace) {
        size = mx_wire_encode(message, bytes);
        device->ops.trace(device->opaque, public_link(which), sent, bytes,
                          size);
    }
}

static void link_polls_changed(void *opaque)
{
    struct memexpose_device *device = opaque;

    mx_group_polls_changed(mx_device_group(device));
}

static void link_news(void *opaque)
{
    struct memexpose_device *device = opaque;

    mx_group_news(mx_device_group(device));
}

static const struct mx_link_ops link_ops = {
    .invalidate = link_invalidate,
    .share = link_share,
    .offer = link_offer,
    .interrupt = link_interrupt,
    .has_room = link_has_room,
    .take_buffer = link_take_buffer,
    .give_buffer = link_give_buffer,
    .settled = link_settled,
    .down = link_down,
    .trace = link_trace,
    .polls_changed = link_polls_changed,
    .news = link_news,
};

/* --- the links' end ------------------------------------------------------ */

void mx_device_end_links(struct memexpose_device *device, int error)
{
    struct mx_link *link = &device->member.link;
    unsigned which;

    if (link->up) {
        mx_link_fail(link, error, false, "%s", "");
        while (mx_link_step(link, mx_group_now(mx_device_group(device)))) {
        }
        return;
    }
    for (which = 0; which < MX_LINKS; which++) {
        if (mx_conn_is_open(&link->conn[which])) {  /* a half of a pair */
            mx_conn_close(&link->conn[which]);
            device->call_closed[which]++;
            mx_group_polls_changed(mx_device_group(device));
        }
    }
}

/* Is the old peer still there?  Its end may not have been seen yet. */
static void look_for_end(struct memexpose_device *device, enum mx_which which)
{
    struct mx_link *link = &device->member.link;
    int64_t now = mx_group_now(mx_device_group(device));

    if (!mx_conn_is_open(&link->conn[which]) ||
        !mx_os_hung_up(link->conn[which].fd)) {
        return;
    }
    if (!link->up) {
        mx_device_end_links(device, -ECONNRESET);
        return;
    }
    mx_link_peer_left(link);
    while (mx_link_step(link, now)) {
    }
}

/* The peer of a lone half may have gone (mx_member_ops). */
static void half_ready(struct mx_member *member)
{
    look_for_end(mx_device_of(member), MX_MEM);
    look_for_end(mx_device_of(member), MX_INTR_LINK);
}

/* --- what the consumer is told ------------------------------------------- */

static bool tell_transport(struct memexpose_device *device)
{
    const struct memexpose_transport_ops *ops = &device->transport;
    void (*call)(void *) = NULL;
    struct mx_call frame;
    unsigned which;

    for (which = 0; which < MX_LINKS; which++) {
        if (device->call_closed[which] == 0) {
            continue;
        }
        device->call_closed[which]--;
        if (ops->closed) {
            mx_group_call_begin(&device->member, &frame, MX_CALL_CONSUMER);
            ops->closed(device->transport_opaque,
                        public_link((enum mx_which)which));
            mx_group_call_end(&device->member, &frame);
        }
        return true;
    }
    if (device->call_refuse) {
        device->call_refuse = false;
        call = ops->refuse;
    } else if (device->call_open) {
        device->call_open = false;
        call = ops->open;
    }
    if (call) {
        mx_group_call_begin(&device->member, &frame, MX_CALL_CONSUMER);
        call(device->transport_opaque);
        mx_group_call_end(&device->member, &frame);
    }
    return call != NULL;
}

static void tell_interrupt(struct memexpose_device *device, bool level)
{
    bool rise = device->rise;
    struct mx_call frame;

    device->level_told = level;
    device->rise = false;
    mx_device_group(device)->told++;
    if (device->ops.interrupt) {
        mx_group_call_begin(&device->member, &frame, MX_CALL_CONSUMER);
        device->ops.interrupt(device->opaque, level, rise);
        mx_group_call_end(&device->member, &frame);
    }
}

static void tell_state(struct memexpose_device *device, uint64_t state)
{
    struct mx_call frame;

    device->state_told = state;
    mx_device_group(device)->told++;
    if (device->ops.link_changed) {
        mx_group_call_begin(&device->member, &frame, MX_CALL_CONSUMER);
        device->ops.link_changed(device->opaque, state);
        mx_group_call_end(&device->member, &frame);
    }
}

/* Calls never overlap; a change meanwhile is told by the one who tells. */
static bool tell_changes(struct memexpose_device *device)
{
    bool told = false;
    bool level;

    mx_device_update_link(device);
    level = mx_device_line(device);
    if (device->telling) {
        return false;
    }
    device->telling = true;
    if (device->regs.link != device->state_told) {
        tell_state(device, device->regs.link);
        told = true;
    } else if (level != device->level_told || device->rise) {
        tell_interrupt(device, level);
        told = true;
    }
    device->telling = false;
    return told;
}

/* A signal handler has patched a page: end the links. */
static bool check_fault(struct memexpose_device *device)
{
    if (!atomic_exchange(&device->faulted, false)) {
        return false;
    }
    mx_link_fail(&device->member.link, -ECONNRESET, false,
                 "the peer has shrunk what it shared");
    return true;
}

static bool settle_device(struct mx_member *member)
{
    struct memexpose_device *device = mx_device_of(member);

    return check_fault(device) || mx_import_settle(device) ||
           tell_transport(device) || tell_changes(device);
}

static void free_device(struct mx_member *member)
{
    struct memexpose_device *device = mx_device_of(member);

    mx_import_free(device);
    mx_ledger_clear(&device->ledger);
    free(device);
}

static const struct mx_member_ops member_ops = {
    .half_ready = half_ready,
    .settle = settle_device,
    .service = mx_export_service,
    .may_offer = mx_export_may_offer,
    .offer = mx_export_offer,
    .free = free_device,
};

/* --- life ---------------------------------------------------------------- */

static int init_device(struct memexpose_device *device,
                       const struct memexpose_device_ops *ops, void *opaque,
                       const struct memexpose_device_config *config)
{
    if (ops) {
        if (ops->size < sizeof(ops->size)) {
            return -EINVAL;
        }
        memcpy(&device->ops, ops, ops->size < sizeof(*ops) ? ops->size :
               sizeof(*ops));
    }
    device->opaque = opaque;
    if (copy_config(device, config) < 0) {
        return -EINVAL;
    }
    mx_ledger_init(&device->ledger);
    mx_link_init(&device->member.link, &link_ops, device, device->name);
    device->member.ops = &member_ops;
    mx_import_init(device);
    return 0;
}

struct memexpose_device *
memexpose_device_create(struct memexpose_group *group,
                        const struct memexpose_device_ops *ops, void *opaque,
                        const struct memexpose_device_config *config)
{
    struct memexpose_device *device = calloc(1, sizeof(*device));
    int ret;

    if (!device) {
        return NULL;
    }
    ret = init_device(device, ops, opaque, config);
    if (ret < 0) {
        free(device);
        errno = -ret;
        return NULL;
    }
    mx_group_enter(group);
    mx_group_add_member(group, &device->member);
    mx_group_leave(group);
    return device;
}

void mx_device_cancel_waits(struct memexpose_device *device)
{
    atomic_fetch_add(&device->member.cancels, 1);
}

void memexpose_device_destroy(struct memexpose_device *device)
{
    struct memexpose_group *group;

    if (!device) {
        return;
    }
    group = mx_device_group(device);
    mx_group_enter(group);
    device->destroyed = true;
    device->refuses = true;
    mx_device_cancel_waits(device);
    mx_group_news(group);
    mx_socket_destroy(device->socket);
    device->socket = NULL;
    mx_device_end_links(device, -ECANCELED);
    while (settle_device(&device->member)) {
    }
    mx_group_drain_calls(&device->member);
    mx_import_abandon(device);
    device->gone = true;
    mx_group_remove_member(&device->member);
    mx_group_polls_changed(group);
    mx_member_unref(&device->member);
    mx_group_leave(group);
}

/* --- links --------------------------------------------------------------- */

static void start_links(struct memexpose_device *device)
{
    struct mx_session_config config;

    session_config(device, &config);
    device->generation++;
    device->connects++;
    mx_group_polls_changed(mx_device_group(device));
    mx_group_news(mx_device_group(device));
    mx_link_start(&device->member.link, &config,
                  mx_group_now(mx_device_group(device)));
}

/* Said once for each user: one who is refused may come again and again. */
static void log_refused(struct memexpose_device *device, long pid, long uid)
{
    mx_log_peer(&device->member.link.logged,
                device->refused_uid == uid ? MEMEXPOSE_LOG_DEBUG :
                MEMEXPOSE_LOG_WARNING, device->name, "refused process %ld of "
                "user %ld: only user %lld is let in", pid, uid,
                (long long)device->config.peer_uid);
    device->refused_uid = uid;
}

static bool is_let_in(struct memexpose_device *device, int fd)
{
    long pid, uid;

    if (device->config.peer_uid == MEMEXPOSE_USER_ANY) {
        return true;
    }
    mx_os_peer(fd, &pid, &uid);
    if (uid == device->config.peer_uid) {
        return true;
    }
    log_refused(device, pid, uid);
    return false;
}

static int attach_check(struct memexpose_device *device, enum mx_which which,
                        int fd)
{
    if (device->destroyed || device->refuses) {
        return -EPERM;
    }
    if (!is_let_in(device, fd)) {
        return -EACCES;
    }
    look_for_end(device, MX_MEM);
    look_for_end(device, MX_INTR_LINK);
    return mx_conn_is_open(&device->member.link.conn[which]) ? -EBUSY : 0;
}

/* Without descriptors nothing can be shared, in either direction. */
static void look_at_transport(struct memexpose_device *device, int fd)
{
    device->passes_descriptors = mx_os_passes_descriptors(fd);
    if (device->passes_descriptors || device->told_of_descriptors) {
        return;
    }
    device->told_of_descriptors = true;
    mx_log(MEMEXPOSE_LOG_WARNING, "%s: the memory link is no unix socket and "
           "cannot pass descriptors: every access goes over the link",
           device->name);
}

static void attach(struct memexpose_device *device, enum mx_which which,
                   int fd)
{
    struct mx_link *link = &device->member.link;

    if (which == MX_MEM) {
        look_at_transport(device, fd);
    }

    mx_link_open(link, which, fd);
    mx_group_polls_changed(mx_device_group(device));
    if (mx_conn_is_open(&link->conn[MX_MEM]) &&
        mx_conn_is_open(&link->conn[MX_INTR_LINK])) {
        start_links(device);
    }
}

int memexpose_device_attach(struct memexpose_device *device,
                            enum memexpose_link link, int fd)
{
    struct memexpose_group *group = mx_device_group(device);
    enum mx_which which = link == MEMEXPOSE_LINK_MEM ? MX_MEM : MX_INTR_LINK;
    int ret = mx_os_set_nonblocking(fd);

    if (ret < 0) {
        return ret;
    }
    mx_group_enter(group);
    ret = attach_check(device, which, fd);
    if (ret == 0) {
        attach(device, which, fd);
        mx_group_settle(group);
    }
    mx_group_leave(group);
    return ret;
}

/* The library's own transport has a pair (mx_socket_offer). */
static int take_pair(void *opaque, int mem_fd, int intr_fd)
{
    struct memexpose_device *device = opaque;
    long pid, uid;
    int ret = attach_check(device, MX_MEM, mem_fd);

    if (ret == 0) {
        ret = attach_check(device, MX_INTR_LINK, intr_fd);
    }
    if (ret < 0) {
        return ret;
    }
    mx_os_peer(mem_fd, &pid, &uid);
    mx_log_peer(&device->member.link.logged, MEMEXPOSE_LOG_INFO, device->name,
                "connected to process %ld of user %ld", pid, uid);
    attach(device, MX_MEM, mem_fd);
    attach(device, MX_INTR_LINK, intr_fd);
    return 0;
}

int memexpose_device_listen(struct memexpose_device *device,
                            const char *mem_path, const char *intr_path)
{
    struct memexpose_group *group = mx_device_group(device);
    int ret = -EEXIST;

    mx_group_enter(group);
    if (!device->has_transport) {
        device->config.role = MEMEXPOSE_ROLE_LISTEN;
        ret = mx_socket_listen(group, mem_path, intr_path, device->name,
                               take_pair, device, &device->socket);
        device->has_transport = ret == 0;
    }
    mx_group_leave(group);
    return ret;
}

int memexpose_device_connect(struct memexpose_device *device,
                             const char *mem_path, const char *intr_path)
{
    struct memexpose_group *group = mx_device_group(device);
    int ret = -EEXIST;

    mx_group_enter(group);
    if (!device->has_transport) {
        device->config.role = MEMEXPOSE_ROLE_CONNECT;
        ret = mx_socket_connect(group, mem_path, intr_path, device->name,
                                device->config.retry, take_pair, device,
                                &device->socket);
        device->has_transport = ret == 0;
    }
    mx_group_leave(group);
    return ret;
}

int memexpose_device_set_transport(struct memexpose_device *device,
                                   const struct memexpose_transport_ops *ops,
                                   void *opaque)
{
    struct memexpose_group *group = mx_device_group(device);
    int ret = 0;

    if (ops->size < sizeof(ops->size)) {
        return -EINVAL;
    }
    mx_group_enter(group);
    if (device->has_transport) {
        ret = -EEXIST;
    } else {
        memcpy(&device->transport, ops, ops->size < sizeof(*ops) ?
               ops->size : sizeof(*ops));
        device->transport_opaque = opaque;
        device->has_transport = true;
        device->call_open = !device->refuses;
        mx_group_settle(group);
    }
    mx_group_leave(group);
    return ret;
}

void mx_device_refuse_links(struct memexpose_device *device)
{
    device->refuses = true;
    device->call_refuse = true;
    device->call_open = false;
    if (device->socket) {
        mx_socket_refuse(device->socket);
    }
}

void mx_device_want_links(struct memexpose_device *device)
{
    if (!device->refuses || device->destroyed) {
        return;
    }
    device->refuses = false;
    device->call_open = true;
    device->call_refuse = false;
    if (device->socket) {
        mx_socket_open(device->socket);
    }
}

/* --- what there is to know ----------------------------------------------- */

uint64_t memexpose_device_link_state(struct memexpose_device *device)
{
    struct memexpose_group *group = mx_device_group(device);
    uint64_t state;

    mx_group_enter(group);
    mx_device_update_link(device);
    state = device->regs.link;
    mx_group_leave(group);
    return state;
}

void memexpose_device_peer_name(struct memexpose_device *device,
                                char name[MEMEXPOSE_NAME_SIZE])
{
    struct memexpose_group *group = mx_device_group(device);

    mx_group_enter(group);
    strcpy(name, device->member.link.session.peer.name);
    mx_group_leave(group);
}

void memexpose_device_stats(struct memexpose_device *device,
                            struct memexpose_stats *stats, size_t size)
{
    struct memexpose_group *group = mx_device_group(device);

    mx_group_enter(group);
    device->stats.mapped_ranges = mx_region_cache_count(&device->cache);
    device->stats.mapped_bytes = mx_region_cache_bytes(&device->cache);
    memcpy(stats, &device->stats, size < sizeof(*stats) ? size :
           sizeof(*stats));
    mx_group_leave(group);
}
