/* SPDX-License-Identifier: BSD-3-Clause */
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

/* What the handlers tell: a process has one set of signals. */
static volatile sig_atomic_t terminated;
static volatile sig_atomic_t interrupted;
static volatile sig_atomic_t terminal_signal;
static int wake_pipe[2] = { -1, -1 };
static struct memexpose_device *volatile sigbus_device;
static struct memexpose_space *volatile sigbus_space;

static void on_signal(int number)
{
    int saved = errno;

    if (number == SIGTERM) {
        terminated = 1;
    } else if (number == SIGINT) {
        interrupted = 1;
    } else {
        terminal_signal = 1;
    }
    if (write(wake_pipe[1], "", 1) < 0) {
        /* the pipe is full, so that it wakes already */
    }
    errno = saved;
}

/*
 * Somebody may have shortened an object that the peer shares, or a file that
 * we do (protocol section 4).  Another fault ends the process, as it would
 * without us.
 */
static void on_sigbus(int number, siginfo_t *info, void *context)
{
    int saved = errno;

    (void)context;
    if (!(sigbus_device && memexpose_device_handle_sigbus(sigbus_device,
                                                          info->si_addr)) &&
        !(sigbus_space && memexpose_space_handle_sigbus(sigbus_space,
                                                        info->si_addr))) {
        signal(number, SIG_DFL);
    }
    errno = saved;
}

static void drain_wake_pipe(void)
{
    char bytes[64];

    while (read(wake_pipe[0], bytes, sizeof(bytes)) > 0) {
    }
}

/* A signal that comes later finds no descriptor, and nobody to wake. */
static void close_wake_pipe(void)
{
    int fds[2] = { wake_pipe[0], wake_pipe[1] };

    wake_pipe[0] = wake_pipe[1] = -1;
    if (fds[0] >= 0) {
        close(fds[0]);
        close(fds[1]);
    }
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    struct loop *loop = arg;

    (void)fd;
    (void)what;
    drain_wake_pipe();
    if (terminal_signal) {
        terminal_signal = 0;
        if (loop->terminal_changed) {
            loop->terminal_changed(loop->opaque);
        }
    }
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
}

/* Without SA_RESTART, so that system calls that block end, too. */
static void handle_signals(void)
{
    struct sigaction action, before;

    memset(&action, 0, sizeof(action));
    sigemptyset(&action.sa_mask);
    action.sa_handler = on_signal;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGWINCH, &action, NULL);
    sigaction(SIGCONT, &action, NULL);
    /* a shell starts what is in the background with SIGINT ignored */
    if (sigaction(SIGINT, NULL, &before) == 0 &&
        before.sa_handler != SIG_IGN) {
        sigaction(SIGINT, &action, NULL);
    }
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
    action.sa_sigaction = on_sigbus;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGBUS, &action, NULL);
}

/* A base that takes every kind of descriptor: files and /dev/null as well. */
static struct event_base *create_base(void)
{
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;

    if (config && event_config_require_features(config,
                                                EV_FEATURE_FDS) == 0) {
        base = event_base_new_with_config(config);
    }
    if (config) {
        event_config_free(config);
    }
    return base;
}

int loop_init(struct loop *loop)
{
    memset(loop, 0, sizeof(*loop));
    if (pipe2(wake_pipe, O_CLOEXEC | O_NONBLOCK) < 0) {
        return -errno;
    }
    handle_signals();
    loop->base = create_base();
    if (!loop->base) {
        return -ENOMEM;
    }
    loop->timer = event_new(loop->base, -1, 0, on_timer, NULL);
    loop->signals = event_new(loop->base, wake_pipe[0], EV_READ | EV_PERSIST,
                              on_wake, loop);
    if (!loop->timer || !loop->signals ||
        event_add(loop->signals, NULL) < 0) {
        return -ENOMEM;
    }
    return 0;
}

void loop_clear(struct loop *loop)
{
    memexpose_event_destroy(loop->driver);
    memexpose_group_destroy(loop->group);
    if (loop->signals) {
        event_free(loop->signals);
    }
    if (loop->timer) {
        event_free(loop->timer);
    }
    if (loop->base) {
        event_base_free(loop->base);
    }
    free(loop->fds);
    libevent_global_shutdown();
    close_wake_pipe();
}

/*
 * The library waits (protocol section 3): a signal ends that, too.  The stop
 * is looked at first; a signal that comes later makes the pipe readable.
 */
static int wait_in_library(void *opaque, struct pollfd *fds, size_t count,
                           int64_t deadline)
{
    struct loop *loop = opaque;
    struct pollfd *room;
    int ret;

    if (loop_stopped()) {
        memexpose_group_cancel(loop->group);
        return 0;
    }
    if (count + 1 > loop->room) {
        room = realloc(loop->fds, (count + 1) * sizeof(*room));
        if (!room) {
            return -ENOMEM;
        }
        loop->fds = room;
        loop->room = count + 1;
    }
    if (count > 0) {
        memcpy(loop->fds, fds, count * sizeof(*fds));
    }
    loop->fds[count] = (struct pollfd){ .fd = wake_pipe[0],
                                        .events = POLLIN };
    ret = memexpose_wait(loop->fds, count + 1, deadline);
    if (ret < 0) {
        return ret;
    }
    if (count > 0) {
        memcpy(fds, loop->fds, count * sizeof(*fds));
    }
    if (loop->fds[count].revents) {
        on_wake(wake_pipe[0], EV_READ, loop);
        ret--;
    }
    return ret;
}

int loop_create_group(struct loop *loop)
{
    struct memexpose_group_ops ops = {
        .size = sizeof(ops),
        .wait = wait_in_library,
    };

    loop->group = memexpose_group_create(&ops, loop);
    if (!loop->group) {
        return -errno;
    }
    loop->driver = memexpose_event_create(loop->base, loop->group);
    return loop->driver ? 0 : -errno;
}

void loop_set_sigbus(struct memexpose_device *device,
                     struct memexpose_space *space)
{
    sigbus_device = device;
    sigbus_space = space;
}

int loop_stopped(void)
{
    return terminated ? SIGTERM : interrupted ? SIGINT : 0;
}

void loop_forget_interrupt(void)
{
    interrupted = 0;
}

int64_t loop_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t loop_deadline(int64_t timeout)
{
    return timeout == MEMEXPOSE_FOREVER ? timeout : loop_now() + timeout;
}

/* Rounded up, so that the deadline has come when the timer fires. */
static void arm(struct loop *loop, int64_t nanoseconds)
{
    int64_t microseconds = nanoseconds / 1000 + 1;
    struct timeval time = {
        .tv_sec = (time_t)(microseconds / 1000000),
        .tv_usec = (suseconds_t)(microseconds % 1000000),
    };

    evtimer_add(loop->timer, &time);
}

int loop_until(struct loop *loop, bool (*done)(void *arg), void *arg,
               int64_t deadline)
{
    bool looked = false;
    int64_t left;
    int ret = 0;

    for (;;) {
        if (done && done(arg)) {
            break;
        }
        if (loop_stopped()) {
            ret = -ECANCELED;
            break;
        }
        left = deadline == MEMEXPOSE_FOREVER ? deadline
                                             : deadline - loop_now();
        if (left <= 0 && looked) {
            ret = -ETIMEDOUT;
            break;
        }
        if (left > 0 && left != MEMEXPOSE_FOREVER) {
            arm(loop, left);
        }
        if (event_base_loop(loop->base, EVLOOP_ONCE |
                            (left > 0 ? 0 : EVLOOP_NONBLOCK)) < 0) {
            ret = -EIO;
            break;
        }
        looked = true;
    }
    event_del(loop->timer);
    return ret;
}

void loop_turn(struct loop *loop)
{
    event_base_loop(loop->base, EVLOOP_NONBLOCK);
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
    bool *ready = arg;

    (void)fd;
    (void)what;
    *ready = true;
}

static bool is_ready(void *arg)
{
    return *(bool *)arg;
}

static int wait_for_fd(struct loop *loop, int fd, short what)
{
    bool ready = false;
    struct event *event = event_new(loop->base, fd, what, on_ready, &ready);
    int ret;

    if (!event || event_add(event, NULL) < 0) {
        ret = -ENOMEM;
    } else {
        ret = loop_until(loop, is_ready, &ready, MEMEXPOSE_FOREVER);
    }
    if (event) {
        event_free(event);
    }
    return ret;
}

/* Regular files are always ready; their reads and writes do not wait long. */
static bool is_file(int fd)
{
    struct stat status;

    return fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

ssize_t loop_read(struct loop *loop, int fd, void *bytes, size_t count)
{
    bool file = is_file(fd);
    ssize_t got;
    int ret;

    for (;;) {
        ret = file ? 0 : wait_for_fd(loop, fd, EV_READ);
        if (ret < 0) {
            return ret;
        }
        got = read(fd, bytes, count);
        if (got >= 0) {
            return got;
        }
        if (errno != EINTR && errno != EAGAIN) {
            return -errno;
        }
        if (loop_stopped()) {
            return -ECANCELED;
        }
    }
}

ssize_t loop_write(struct loop *loop, int fd, const void *bytes, size_t count)
{
    bool file = is_file(fd);
    size_t done = 0, piece;
    ssize_t put;
    int ret;

    while (done < count) {
        /* what is writable takes this much without blocking */
        piece = file || count - done < PIPE_BUF ? count - done : PIPE_BUF;
        ret = file ? 0 : wait_for_fd(loop, fd, EV_WRITE);
        if (ret < 0) {
            return ret;
        }
        put = write(fd, (const char *)bytes + done, piece);
        if (put >= 0) {
            done += (size_t)put;
        } else if (errno != EINTR && errno != EAGAIN) {
            return -errno;
        }
    }
    return (ssize_t)done;
}
