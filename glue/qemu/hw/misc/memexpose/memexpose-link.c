/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How links come to be: a socket chardev connects, and the library gets a
 * duplicate of its descriptor.  No byte goes through the chardev, which has no
 * deadlines and cannot tell which bytes a descriptor belongs to.
 */
#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qapi/error.h"
#include "memexpose-internal.h"
#include "trace.h"

static const char *link_name(const MemexposeLink *link)
{
    return link->which == MEMEXPOSE_LINK_MEM ? "memory" : "interrupt";
}

static const char *link_property(const MemexposeLink *link)
{
    return link->which == MEMEXPOSE_LINK_MEM ? "mem_chardev" : "intr_chardev";
}

static SocketChardev *link_socket(MemexposeLink *link)
{
    return SOCKET_CHARDEV(qemu_chr_fe_get_driver(&link->chr));
}

static const char *unfit_socket(const SocketChardev *socket)
{
    if (socket->tls_creds) {
        return "with tls-creds";
    }
    if (socket->is_websock) {
        return "with websocket=on";
    }
    if (socket->is_telnet || socket->is_tn3270) {
        return "with telnet=on or tn3270=on";
    }
    return NULL;
}

bool memexpose_link_check(MemexposeLink *link, Error **errp)
{
    Chardev *chr = qemu_chr_fe_get_driver(&link->chr);
    const char *unfit;

    if (!chr) {
        error_setg(errp, "%s is missing: expected the id of a socket chardev",
                   link_property(link));
        return false;
    }
    if (!object_dynamic_cast(OBJECT(chr), TYPE_CHARDEV_SOCKET)) {
        error_setg(errp, "%s=%s is a chardev of another kind: expected a "
                   "socket", link_property(link), chr->label);
        return false;
    }
    unfit = unfit_socket(SOCKET_CHARDEV(chr));
    if (unfit) {
        error_setg(errp, "%s=%s is a socket %s: expected a plain one",
                   link_property(link), chr->label, unfit);
        return false;
    }
    return true;
}

bool memexpose_links_listen(MemexposeState *s)
{
    return link_socket(&s->mem)->is_listen;
}

/* --- connections --------------------------------------------------------- */

/* The chardev's own end of the connection is to go, from the main loop. */
static void end_connection(MemexposeLink *link, unsigned which)
{
    link->ended = which;
    qemu_bh_schedule(link->state->ended_bh);
}

static int attach(MemexposeLink *link)
{
    QIOChannelSocket *channel = link_socket(link)->sioc;
    int fd = channel ? fcntl(channel->fd, F_DUPFD_CLOEXEC, 0) : -1;
    int ret;

    if (fd < 0) {
        return channel ? -errno : -ENOTCONN;
    }
    ret = memexpose_device_attach(link->state->device, link->which, fd);
    if (ret < 0) {
        close(fd);
    }
    return ret;
}

static void connection_opened(MemexposeLink *link)
{
    int ret;

    link->opened++;
    ret = attach(link);
    trace_memexpose_chardev(link->state->log_name, link_name(link), "attach",
                            ret);
    if (ret == 0) {
        link->attached = link->opened;
        return;
    }
    if (ret != -EPERM && ret != -EBUSY) {
        warn_report("%s: cannot use the %s link: %s", link->state->log_name,
                    link_name(link), strerror(-ret));
    }
    end_connection(link, link->opened);
}

static void chardev_event(void *opaque, QEMUChrEvent event)
{
    MemexposeLink *link = opaque;

    /*
     * The end of a connection is not looked at: the library finds it behind
     * the last byte.
     */
    if (event == CHR_EVENT_OPENED && link->state->device) {
        connection_opened(link);
    }
}

static void end_link(MemexposeLink *link)
{
    if (link->ended != 0 && link->ended == link->opened) {
        trace_memexpose_chardev(link->state->log_name, link_name(link),
                                "disconnect", 0);
        qemu_chr_fe_disconnect(&link->chr);
    }
    link->ended = 0;
}

static void ended_bh(void *opaque)
{
    MemexposeState *s = opaque;

    end_link(&s->mem);
    end_link(&s->intr);
}

/* The library has closed its duplicate. */
static void transport_closed(void *opaque, enum memexpose_link which)
{
    MemexposeState *s = opaque;
    MemexposeLink *link = which == MEMEXPOSE_LINK_MEM ? &s->mem : &s->intr;

    end_connection(link, link->attached);
}

static const struct memexpose_transport_ops transport_ops = {
    .size = sizeof(transport_ops),
    .closed = transport_closed,
};

/* --- life ---------------------------------------------------------------- */

static void link_start(MemexposeState *s, MemexposeLink *link)
{
    link->opened = 0;
    link->attached = 0;
    link->ended = 0;
    qemu_chr_fe_set_handlers(&link->chr, NULL, NULL, chardev_event, NULL,
                             link, NULL, true);
}

static void link_stop(MemexposeLink *link)
{
    qemu_chr_fe_set_handlers(&link->chr, NULL, NULL, NULL, NULL, NULL, NULL,
                             false);
    qemu_chr_fe_disconnect(&link->chr);
}

bool memexpose_links_start(MemexposeState *s, Error **errp)
{
    int ret = memexpose_device_set_transport(s->device, &transport_ops, s);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "cannot set the transport");
        return false;
    }
    s->ended_bh = qemu_bh_new(ended_bh, s);
    link_start(s, &s->mem);
    link_start(s, &s->intr);
    return true;
}

/* After the library's device has gone. */
void memexpose_links_stop(MemexposeState *s)
{
    link_stop(&s->mem);
    link_stop(&s->intr);
    qemu_bh_delete(s->ended_bh);
    s->ended_bh = NULL;
}

/* --- waiting for a connection -------------------------------------------- */

static bool link_possible(MemexposeLink *link)
{
    SocketChardev *socket = link_socket(link);

    return socket->is_listen || memexpose_chardev_reconnects(socket) ||
           qemu_chr_fe_backend_open(&link->chr);
}

bool memexpose_links_possible(MemexposeState *s)
{
    return link_possible(&s->mem) && link_possible(&s->intr);
}

/* Where the next client comes in, or -1. */
static int listening_fd(MemexposeLink *link)
{
    QIONetListener *listener = link_socket(link)->listener;

    if (!listener || listener->nsioc == 0 ||
        qemu_chr_fe_backend_open(&link->chr)) {
        return -1;
    }
    return memexpose_listener_fd(listener);
}

static void accept_client(MemexposeLink *link)
{
    Error *err = NULL;

    if (qemu_chr_fe_wait_connected(&link->chr, &err) < 0) {
        warn_report_err(err);
    }
}

/* A connection that was refused has to go before another can come. */
void memexpose_links_accept(MemexposeState *s, int ms)
{
    GPollFD fds[] = {
        { .events = G_IO_IN },
        { .events = G_IO_IN },
    };

    ended_bh(s);
    fds[0].fd = listening_fd(&s->mem);
    fds[1].fd = listening_fd(&s->intr);
    if (g_poll(fds, ARRAY_SIZE(fds), ms) <= 0) {
        return;
    }
    if (fds[0].revents & G_IO_IN) {
        accept_client(&s->mem);
    }
    if (fds[1].revents & G_IO_IN) {
        accept_client(&s->intr);
    }
}
