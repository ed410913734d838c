/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A transport of the consumer's own (memexpose_device_set_transport): a thread
 * that connects or accepts, and hands over what comes.
 */
#include "sim.h"

#include <errno.h>
#include <stdio.h>

#include "os.h"

/* Between two attempts to connect, in ms, doubled each time. */
enum { AGAIN = 20, BACKOFF = 6 };

static void wake(struct transport *transport)
{
    mx_os_wake(transport->waker);
}

static void on_open(void *opaque)
{
    struct sim_device *device = opaque;

    device->transport.wanted = device->transport.opened = true;
    wake(&device->transport);
}

static void on_refuse(void *opaque)
{
    struct sim_device *device = opaque;

    device->transport.wanted = false;
    wake(&device->transport);
}

static void on_closed(void *opaque, enum memexpose_link link)
{
    struct sim_device *device = opaque;

    SIM_CHECK(device->transport.up[link], "%s: a link is closed that was "
              "never handed over", device->process->name);
    device->transport.up[link]--;
    wake(&device->transport);
}

static const struct memexpose_transport_ops transport_ops = {
    .size = sizeof(transport_ops),
    .open = on_open,
    .refuse = on_refuse,
    .closed = on_closed,
};

static void close_fd(int *fd)
{
    mx_os_close(*fd);
    *fd = -1;
}

/* What the library does not take is the consumer's. */
static bool hand_over(struct sim_device *device, enum memexpose_link link)
{
    struct transport *transport = &device->transport;
    int fd = transport->half[link], ret;

    if (device->going) {
        return false;
    }
    transport->half[link] = -1;
    transport->up[link]++;
    ret = memexpose_device_attach(device_enter(device), link, fd);
    sim_trace("attaching link %d gave %d", (int)link, ret);
    SIM_CHECK(ret == 0 || !world.plan.calm, "attaching gave %d", ret);
    if (ret < 0) {
        transport->up[link]--;
        close_fd(&fd);
    }
    return ret == 0;
}

/* If the first is closed already, the second would wait for ever. */
static void hand_over_both(struct sim_device *device)
{
    struct transport *transport = &device->transport;
    unsigned link;

    if (transport->wanted && hand_over(device, MEMEXPOSE_LINK_MEM) &&
        transport->up[MEMEXPOSE_LINK_MEM]) {
        hand_over(device, MEMEXPOSE_LINK_INTR);
    }
    for (link = 0; link < 2; link++) {
        close_fd(&transport->half[link]);
    }
}

/* --- connecting ---------------------------------------------------------- */

static void dial(struct sim_device *device)
{
    struct transport *transport = &device->transport;
    unsigned link;

    for (link = 0; link < 2; link++) {
        int fd = mx_os_connect(transport->path[link]);

        if (fd < 0) {
            close_fd(&transport->half[0]);
            return;
        }
        transport->half[link] = fd;
    }
    hand_over_both(device);
}

static int64_t connect_once(struct sim_device *device)
{
    struct transport *transport = &device->transport;

    if (!transport->wanted || device->going || transport->up[0] ||
        transport->up[1]) {
        return FOREVER;
    }
    if (world.now < transport->pause) {
        return transport->pause;
    }
    transport->pause = world.now + (AGAIN * MS << transport->attempts);
    transport->attempts += transport->attempts < BACKOFF;
    dial(device);
    return transport->pause;
}

/* --- listening ----------------------------------------------------------- */

/* Links are not wanted before they are asked for: who comes so early waits. */
static bool may_accept(const struct sim_device *device, unsigned link)
{
    const struct transport *transport = &device->transport;

    return transport->listener[link] >= 0 && transport->opened &&
           !device->going && !transport->up[link];
}

/* Each link by itself: the library puts them together. */
static bool accept_one(struct sim_device *device, unsigned link)
{
    struct transport *transport = &device->transport;
    int fd = mx_os_accept(transport->listener[link]);

    if (fd < 0) {
        return false;
    }
    transport->half[link] = fd;
    if (transport->wanted) {
        hand_over(device, (enum memexpose_link)link);
    }
    close_fd(&transport->half[link]);
    return true;
}

/* The lack of descriptors passes. */
static int64_t accept_all(struct sim_device *device)
{
    unsigned link;

    for (link = 0; link < 2; link++) {
        while (may_accept(device, link) && accept_one(device, link)) {
        }
    }
    return world.faults > 0 ? world.now + AGAIN * MS : FOREVER;
}

static size_t collect(const struct sim_device *device, struct pollfd *fds)
{
    size_t count = 1;
    unsigned link;

    fds[0] = (struct pollfd) { .fd = device->transport.waker,
                               .events = POLLIN };
    for (link = 0; link < 2; link++) {
        if (may_accept(device, link)) {
            fds[count++] = (struct pollfd) {
                .fd = device->transport.listener[link], .events = POLLIN,
            };
        }
    }
    return count;
}

static void run(struct fiber *fiber)
{
    struct sim_device *device = fiber->argument;
    struct transport *transport = &device->transport;
    unsigned link;

    while (!world.ending) {
        struct pollfd fds[3];
        int64_t again = device->connects ? connect_once(device) :
                        accept_all(device);

        fiber->until_end = true;
        fiber_poll(fds, collect(device, fds), again);
        fiber->until_end = false;
        mx_os_wake_clear(transport->waker);
    }
    for (link = 0; link < 2; link++) {
        close_fd(&transport->half[link]);
        close_fd(&transport->listener[link]);
    }
    transport->over = true;
    fiber->process->threads--;
}

/* --- life ---------------------------------------------------------------- */

static void start(struct sim_device *device)
{
    struct transport *transport = &device->transport;
    uint64_t ignored;
    unsigned link;

    transport->started = true;
    transport->waker = mx_os_wake_create();
    SIM_CHECK(transport->waker >= 0, "a transport cannot be made");
    for (link = 0; link < 2; link++) {
        snprintf(transport->path[link], sizeof(transport->path[link]),
                 "%u-%s", device->link, link ? "intr" : "mem");
        transport->half[link] = transport->listener[link] = -1;
        if (!device->connects) {
            transport->listener[link] =
                mx_os_listen(transport->path[link], &ignored, &ignored);
            SIM_CHECK(transport->listener[link] >= 0,
                      "a transport cannot listen");
        }
    }
    device->process->threads++;
    fiber_spawn(device->process, "dialer", run, device);
}

/* It outlives devices, and ends with the schedule. */
int transport_set(struct sim_device *device)
{
    struct transport *transport = &device->transport;

    if (!transport->started) {
        start(device);
    }
    SIM_CHECK(!transport->up[0] && !transport->up[1], "%s: a transport was "
              "not told that links are closed", device->process->name);
    transport->wanted = false;
    return memexpose_device_set_transport(device->device, &transport_ops,
                                          device);
}

/* The device is there, or not any more. */
void transport_tell(struct sim_device *device)
{
    if (device->transport.started) {
        wake(&device->transport);
    }
}

void transport_release(struct sim_device *device)
{
    struct transport *transport = &device->transport;

    if (transport->started) {
        SIM_CHECK(transport->over, "a transport goes on");
        close_fd(&transport->waker);
    }
    transport->started = false;
}
