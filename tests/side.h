/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices of one group, each with a peer that is written out here and speaks
 * base, and threads that call into the library.
 */
#ifndef TESTS_SIDE_H
#define TESTS_SIDE_H

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <memexpose/memexpose.h>

#include "conn.h"
#include "harness.h"
#include "os.h"

#define SHARED UINT64_C(0x100000)       /* of what the device exports */

enum { SHARED_SIZE = 0x4000, PATIENCE = 8000 };

/* One device and the other ends of its links. */
struct side {
    struct memexpose_device *device;
    struct mx_conn mem, intr;
};

static struct memexpose_group *group;
static int object;              /* what is exported */

static _Thread_local bool keeps_big_lock;
static pthread_mutex_t big_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool has_big_lock;
static sem_t waits;             /* posted whenever a thread begins to wait */

static inline int wait_op(void *opaque, struct pollfd *fds, size_t count,
                   int64_t deadline)
{
    bool unlock = has_big_lock && !keeps_big_lock;
    int ret;

    (void)opaque;
    sem_post(&waits);
    if (unlock) {
        pthread_mutex_unlock(&big_lock);
    }
    ret = memexpose_wait(fds, count, deadline);
    if (unlock) {
        pthread_mutex_lock(&big_lock);
    }
    return ret;
}

static inline void setup(void)
{
    static const struct memexpose_group_ops ops = {
        .size = sizeof(ops), .wait = wait_op,
    };

    has_big_lock = false;
    keeps_big_lock = false;
    sem_init(&waits, 0, 0);
    object = mx_os_memfd("exported", SHARED_SIZE);
    ck_assert_int_ge(object, 0);
    group = memexpose_group_create(&ops, NULL);
    ck_assert_ptr_nonnull(group);
}

static inline void teardown(void)
{
    ck_assert_int_eq(memexpose_group_destroy(group), 0);
    close(object);
    sem_destroy(&waits);
}

static inline void process(void)
{
    memexpose_group_process(group, NULL, 0);
}

/* --- the device's callbacks ---------------------------------------------- */

static void (*in_read)(struct side *side);

static inline int read_op(void *opaque, uint64_t address, unsigned bytes,
                   uint64_t *value)
{
    void (*then)(struct side *side) = in_read;

    (void)bytes;
    if (then) {
        then(opaque);
    }
    *value = address;
    return MEMEXPOSE_RESULT_OK;
}

static inline int resolve_op(void *opaque, uint64_t address,
                      struct memexpose_share *share)
{
    (void)opaque;
    if (address < SHARED || address - SHARED >= SHARED_SIZE) {
        return 0;
    }
    *share = (struct memexpose_share) {
        .start = SHARED, .size = SHARED_SIZE, .fd = mx_os_duplicate(object),
    };
    return share->fd >= 0;
}

static void (*in_interrupt)(struct side *side);
static void (*in_link_changed)(struct side *side);
static void (*in_map)(struct side *side);

static inline void interrupt_op(void *opaque, bool level, bool rise)
{
    void (*then)(struct side *side) = in_interrupt;

    (void)rise;
    if (then && level) {
        then(opaque);
    }
}

static inline void link_changed_op(void *opaque, uint64_t state)
{
    void (*then)(struct side *side) = in_link_changed;

    if (then && (state & MEMEXPOSE_STATE_SETTLED)) {
        then(opaque);
    }
}

static inline int map_op(void *opaque, const struct memexpose_range *range)
{
    void (*then)(struct side *side) = in_map;

    (void)range;
    if (then) {
        then(opaque);
    }
    return 0;
}

static const struct memexpose_device_ops device_ops = {
    .size = sizeof(device_ops),
    .read = read_op,
    .resolve = resolve_op,
    .map = map_op,
    .interrupt = interrupt_op,
    .link_changed = link_changed_op,
};

/* --- the peer ------------------------------------------------------------ */

static inline void create(struct side *side)
{
    struct memexpose_device_config config;

    in_read = in_interrupt = in_link_changed = in_map = NULL;
    memexpose_device_config_init(&config);
    config.hello = MEMEXPOSE_HELLO_OFF;
    config.request_timeout = 60 * INT64_C(1000000000);
    config.map_change_timeout = 60 * INT64_C(1000000000);
    side->device = memexpose_device_create(group, &device_ops, side, &config);
    ck_assert_ptr_nonnull(side->device);
    mx_conn_init(&side->mem);
    mx_conn_init(&side->intr);
}

static inline void attach(struct side *side)
{
    int mem[2], intr[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, mem),
                     0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, intr),
                     0);
    mx_conn_open(&side->mem, mem[1]);
    mx_conn_open(&side->intr, intr[1]);
    ck_assert_int_eq(memexpose_device_attach(side->device,
                                             MEMEXPOSE_LINK_MEM, mem[0]), 0);
    ck_assert_int_eq(memexpose_device_attach(side->device,
                                             MEMEXPOSE_LINK_INTR, intr[0]), 0);
}

static inline void connect_side(struct side *side)
{
    create(side);
    attach(side);
    ck_assert_int_eq(memexpose_device_enable(side->device, 0), 0);
}

static inline void hang_up(struct side *side)
{
    mx_conn_close(&side->mem);
    mx_conn_close(&side->intr);
}

static inline void destroy(struct side *side)
{
    memexpose_device_destroy(side->device);
    hang_up(side);
}

static inline void say(struct side *side, uint8_t type, uint8_t priority,
                uint64_t offset, uint64_t value)
{
    struct mx_message message = { .type = type, .priority = priority,
                                  .offset = offset, .value = value,
                                  .size = 8 };
    struct mx_conn *conn = type == MX_INTR ? &side->intr : &side->mem;
    uint64_t end;

    ck_assert_int_eq(mx_conn_put(conn, &message, -1, &end), 0);
    ck_assert_int_eq(mx_conn_flush(conn), 0);
    ck_assert(!mx_conn_pending(conn));
}

/* The next message that came, without waiting: false if there is none. */
static inline bool heard(struct side *side, struct mx_message *message)
{
    const char *reason;
    int fd, tries;

    for (tries = 0; tries < 2; tries++) {
        if (mx_conn_next(&side->mem, message, &fd, &reason) ==
            MX_CONN_MESSAGE) {
            mx_os_close(fd);
            return true;
        }
        if (mx_conn_fill(&side->mem) < 0) {
            return false;
        }
    }
    return false;
}

static inline struct mx_message expect(struct side *side, uint8_t type)
{
    struct pollfd fds = { .fd = side->mem.fd, .events = POLLIN };
    struct mx_message message;

    while (!heard(side, &message)) {
        ck_assert_int_gt(poll(&fds, 1, harness_milliseconds(PATIENCE)), 0);
        ck_assert(!(fds.revents & POLLHUP) || (fds.revents & POLLIN));
    }
    ck_assert_uint_eq(message.type, type);
    return message;
}

static inline void expect_nothing(struct side *side)
{
    struct mx_message message;

    ck_assert(!heard(side, &message));
}

static inline bool left(struct side *side)
{
    return mx_os_hung_up(side->mem.fd) && mx_os_hung_up(side->intr.fd);
}

/* --- threads ------------------------------------------------------------- */

struct worker {
    pthread_t thread;
    struct memexpose_device *device;
    uint64_t address, value;
    int ret;
};

static inline void *run_read(void *opaque)
{
    struct worker *worker = opaque;

    if (has_big_lock) {
        pthread_mutex_lock(&big_lock);
    }
    worker->ret = memexpose_read(worker->device, worker->address, 8,
                                 &worker->value);
    if (has_big_lock) {
        pthread_mutex_unlock(&big_lock);
    }
    return NULL;
}

static inline void *run_enable(void *opaque)
{
    struct worker *worker = opaque;

    worker->ret = memexpose_device_enable(worker->device, MEMEXPOSE_FOREVER);
    return NULL;
}

static inline void *run_process(void *opaque)
{
    (void)opaque;
    process();
    return NULL;
}

static inline void begin(struct worker *worker, void *(*run)(void *),
                  struct memexpose_device *device, uint64_t address)
{
    worker->device = device;
    worker->address = address;
    worker->ret = 1;
    ck_assert_int_eq(pthread_create(&worker->thread, NULL, run, worker), 0);
}

static inline struct timespec soon(void)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += harness_milliseconds(PATIENCE) / 1000;
    return until;
}

static inline void finish(struct worker *worker)
{
    struct timespec until = soon();

    ck_assert_msg(pthread_timedjoin_np(worker->thread, NULL, &until) == 0,
                  "a thread waits for ever");
}

/* Somebody has begun to wait for the sockets. */
static inline void until_waiting(void)
{
    struct timespec until = soon();

    ck_assert_int_eq(sem_timedwait(&waits, &until), 0);
}

/* Three ways to end it, to be called from anywhere. */
static inline void disable(struct side *side)
{
    memexpose_device_disable(side->device);
}

static inline void reset(struct side *side)
{
    memexpose_device_reset(side->device);
}

static inline void destroy_device(struct side *side)
{
    memexpose_device_destroy(side->device);
    side->device = NULL;
}

static void (*const enders[])(struct side *side) = {
    disable, reset, destroy_device,
};

static inline TCase *with_group(Suite *suite, const char *name)
{
    TCase *tcase = harness_tcase(name);

    tcase_add_checked_fixture(tcase, setup, teardown);
    suite_add_tcase(suite, tcase);
    return tcase;
}

#endif
