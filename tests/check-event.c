/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A group driven from a libevent loop, by the public interface alone: peers
 * in threads with groups of their own come, access, interrupt and go.
 */
#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memexpose/event.h>
#include <memexpose/memexpose.h>

#include "harness.h"

#define SECOND ((int64_t)1000000000)

enum {
    RAM = 0x10000,              /* addresses in every space here */
    RAM_SIZE = 0x20000,
    COUNTER = 0x100000,         /* reads give the number of reads before */
    COUNTER_SIZE = 0x1000
};

/* One side: a device in a group, with what it exports. */
struct side {
    struct memexpose_group *group;
    struct memexpose_space *space;
    struct memexpose_device *device;
    struct loop *loop;          /* NULL: driven by a thread of its own */
    uint64_t count;             /* of the counter */
    unsigned ups;               /* how often both links came up */
    bool up;
    bool takes;                 /* numbers when links change */
};

/* The loop under test, in the main thread. */
struct loop {
    struct event_base *base;
    struct memexpose_group *group;
    struct memexpose_event *event;
    struct event *done;         /* ends the loop */
    int done_fd;                /* by which a thread tells of its end */
    unsigned busy;              /* threads that are to end before */
    unsigned others, other_calls; /* descriptors of the consumer's own */
    struct event *other[64];
    int other_fd[64];
};

static int read_counter(void *opaque, uint64_t offset, unsigned bytes,
                        uint64_t *value)
{
    struct side *side = opaque;

    (void)offset;
    (void)bytes;
    *value = side->count++;
    return MEMEXPOSE_RESULT_OK;
}

static const struct memexpose_mmio_ops counter_ops = {
    .size = sizeof(counter_ops),
    .read = read_counter,
};

static int read_side(void *opaque, uint64_t address, unsigned bytes,
                     uint64_t *value)
{
    struct side *side = opaque;

    return memexpose_space_read(side->space, address, bytes, value);
}

static int write_side(void *opaque, uint64_t address, unsigned bytes,
                      uint64_t value)
{
    struct side *side = opaque;

    return memexpose_space_write(side->space, address, bytes, value);
}

static int resolve_side(void *opaque, uint64_t address,
                        struct memexpose_share *share)
{
    struct side *side = opaque;

    return memexpose_space_resolve(side->space, address, share);
}

/* A side of the loop's sends back what it gets. */
static void interrupt_side(void *opaque, bool level, bool rise)
{
    struct side *side = opaque;
    struct memexpose_interrupt interrupt;

    (void)level;
    (void)rise;
    while (side->loop &&
           memexpose_device_receive(side->device, &interrupt) == 0) {
        interrupt.type++;
        ck_assert_int_eq(memexpose_device_send(side->device, &interrupt), 0);
    }
}

static void other_ready(evutil_socket_t fd, short what, void *opaque)
{
    struct loop *loop = opaque;
    eventfd_t count;

    (void)what;
    ck_assert_int_eq(eventfd_read(fd, &count), 0);
    loop->other_calls++;
}

/* Take the numbers that were closed just now, for the same loop. */
static void take_numbers(struct loop *loop)
{
    unsigned i;

    for (i = 0; i < 4 && loop->others < 64; i++) {
        int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
        struct event *event = event_new(loop->base, fd, EV_READ | EV_PERSIST,
                                        other_ready, loop);

        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(event_add(event, NULL), 0);
        loop->other_fd[loop->others] = fd;
        loop->other[loop->others++] = event;
    }
}

static void link_changed(void *opaque, uint64_t state)
{
    struct side *side = opaque;
    uint64_t both = MEMEXPOSE_STATE_MEM_UP | MEMEXPOSE_STATE_INTR_UP;

    side->ups = (unsigned)(state >> 32);
    side->up = (state & both) == both;
    if (side->takes) {
        take_numbers(side->loop);
    }
}

static const struct memexpose_device_ops side_ops = {
    .size = sizeof(side_ops),
    .read = read_side,
    .write = write_side,
    .resolve = resolve_side,
    .interrupt = interrupt_side,
    .link_changed = link_changed,
};

static void side_create_as(struct side *side, struct memexpose_group *group,
                           struct loop *loop, bool base)
{
    struct memexpose_device_config config;

    memexpose_device_config_init(&config);
    harness_stretch_deadlines(&config);
    config.hello = base ? MEMEXPOSE_HELLO_OFF : config.hello;
    memset(side, 0, sizeof(*side));
    side->group = group;
    side->loop = loop;
    side->space = memexpose_space_create();
    ck_assert_ptr_nonnull(side->space);
    ck_assert_int_eq(memexpose_space_add_ram(side->space, RAM, RAM_SIZE, -1, 0,
                                             0), 0);
    ck_assert_int_eq(memexpose_space_add_mmio(side->space, COUNTER,
                                              COUNTER_SIZE, &counter_ops,
                                              side), 0);
    side->device = memexpose_device_create(group, &side_ops, side,
                                           &config);
    ck_assert_ptr_nonnull(side->device);
}

static void side_create(struct side *side, struct memexpose_group *group,
                        struct loop *loop)
{
    side_create_as(side, group, loop, false);
}

static void side_destroy(struct side *side)
{
    memexpose_device_destroy(side->device);
    memexpose_space_destroy(side->space);
}

static void socket_paths(const char *name, char mem[HARNESS_PATH],
                         char intr[HARNESS_PATH])
{
    char file[32];

    snprintf(file, sizeof(file), "%s-mem", name);
    harness_path(mem, file);
    snprintf(file, sizeof(file), "%s-intr", name);
    harness_path(intr, file);
}

static void side_listen(struct side *side, const char *name)
{
    char mem[HARNESS_PATH], intr[HARNESS_PATH];

    socket_paths(name, mem, intr);
    ck_assert_int_eq(memexpose_device_listen(side->device, mem, intr), 0);
}

static void side_connect(struct side *side, const char *name)
{
    char mem[HARNESS_PATH], intr[HARNESS_PATH];

    socket_paths(name, mem, intr);
    ck_assert_int_eq(memexpose_device_connect(side->device, mem, intr), 0);
}

static void side_enable(struct side *side)
{
    int64_t deadline = memexpose_group_now(side->group) +
                       harness_milliseconds(15) * SECOND;

    ck_assert_int_eq(memexpose_device_enable(side->device, deadline), 0);
}

/* Drive a side's group without libevent until @fn is content. */
static void side_drive(struct side *side, bool (*fn)(void *), void *opaque)
{
    struct pollfd fds[32];

    while (!fn(opaque)) {
        int64_t deadline;
        size_t count = memexpose_group_poll(side->group, fds, 32, &deadline,
                                            NULL);

        ck_assert_uint_le(count, 32);
        ck_assert_int_ge(memexpose_wait(fds, count, deadline), 0);
        memexpose_group_process(side->group, fds, count);
    }
}

/* The loop. */

static void thread_done(evutil_socket_t fd, short what, void *opaque)
{
    struct loop *loop = opaque;
    eventfd_t count;

    (void)what;
    ck_assert_int_eq(eventfd_read(fd, &count), 0);
    ck_assert_uint_le(count, loop->busy);
    loop->busy -= (unsigned)count;
    if (loop->busy == 0) {
        event_base_loopbreak(loop->base);
    }
}

static void loop_create(struct loop *loop)
{
    memset(loop, 0, sizeof(*loop));
    loop->base = event_base_new();
    loop->group = memexpose_group_create(NULL, NULL);
    ck_assert_ptr_nonnull(loop->base);
    ck_assert_ptr_nonnull(loop->group);
    loop->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    loop->done = event_new(loop->base, loop->done_fd, EV_READ | EV_PERSIST,
                           thread_done, loop);
    ck_assert_int_eq(event_add(loop->done, NULL), 0);
    loop->event = memexpose_event_create(loop->base, loop->group);
    ck_assert_ptr_nonnull(loop->event);
}

static void loop_destroy(struct loop *loop)
{
    unsigned i;

    memexpose_event_destroy(loop->event);
    for (i = 0; i < loop->others; i++) {
        event_free(loop->other[i]);
        close(loop->other_fd[i]);
    }
    event_free(loop->done);
    close(loop->done_fd);
    /* nothing but what the test registered was left */
    ck_assert_int_eq(event_base_dispatch(loop->base), 1);
    event_base_free(loop->base);
    ck_assert_int_eq(memexpose_group_destroy(loop->group), 0);
}

/* A thread beside the loop. */
struct thread {
    pthread_t thread;
    struct loop *loop;
    const char *name;           /* of the sockets */
    struct side *side;          /* of the loop's group, if it accesses that */
    void (*body)(struct thread *thread);
    atomic_bool *stop;
};

static void *thread_main(void *opaque)
{
    struct thread *thread = opaque;

    thread->body(thread);
    ck_assert_int_eq(eventfd_write(thread->loop->done_fd, 1), 0);
    return NULL;
}

static void thread_start(struct thread *thread)
{
    thread->loop->busy++;
    ck_assert_int_eq(pthread_create(&thread->thread, NULL, thread_main,
                                    thread), 0);
}

static void loop_run(struct loop *loop)
{
    ck_assert_int_eq(event_base_dispatch(loop->base), 0);
    ck_assert_uint_eq(loop->busy, 0);
}

/* Bodies of threads. */

static bool stopped(void *opaque)
{
    atomic_bool *stop = opaque;

    return *stop;
}

static bool got_interrupt(void *opaque)
{
    struct side *side = opaque;
    struct memexpose_interrupt interrupt;
    int ret = memexpose_device_receive(side->device, &interrupt);

    if (ret == 0) {
        ck_assert_uint_eq(interrupt.type, 0x1235);
        ck_assert_uint_eq(interrupt.data[127], 0xab);
    }
    return ret == 0;
}

/* The counter is read over the link each time, memory is mapped. */
static void access_peer(struct side *side, unsigned times)
{
    uint64_t value, before;
    unsigned i;

    ck_assert_int_eq(memexpose_read(side->device, COUNTER, 8, &before), 0);
    for (i = 0; i < times; i++) {
        ck_assert_int_eq(memexpose_read(side->device, COUNTER + 8, 8, &value),
                         0);
        ck_assert_uint_gt(value, before);
        before = value;
    }
    ck_assert_int_eq(memexpose_write(side->device, RAM + 0x8000, 8, times), 0);
    ck_assert_int_eq(memexpose_read(side->device, RAM + 0x8000, 8, &value), 0);
    ck_assert_uint_eq(value, times);
    ck_assert_int_eq(memexpose_device_ranges(side->device, NULL, 0), 1);
}

static void exchange_interrupts(struct side *side)
{
    struct memexpose_interrupt interrupt = { .type = 0x1234 };

    memset(interrupt.data, 0xab, sizeof(interrupt.data));
    ck_assert_int_eq(memexpose_device_send(side->device, &interrupt), 0);
    side_drive(side, got_interrupt, side);
}

static void visit_once(const char *name)
{
    struct memexpose_group *group = memexpose_group_create(NULL, NULL);
    struct side side;

    ck_assert_ptr_nonnull(group);
    side_create(&side, group, NULL);
    side_connect(&side, name);
    side_enable(&side);
    access_peer(&side, 50);
    exchange_interrupts(&side);
    side_destroy(&side);
    ck_assert_int_eq(memexpose_group_destroy(group), 0);
}

static void visit(struct thread *thread)
{
    visit_once(thread->name);
}

static void visit_often(struct thread *thread)
{
    unsigned i;

    for (i = 0; i < 12; i++) {
        visit_once(thread->name);
    }
}

/* A peer that listens, is read, and reads until it is told to stop. */
static void receive_visitor(struct thread *thread)
{
    struct memexpose_group *group = memexpose_group_create(NULL, NULL);
    struct side side;

    ck_assert_ptr_nonnull(group);
    side_create(&side, group, NULL);
    side_listen(&side, thread->name);
    side_enable(&side);
    access_peer(&side, 50);
    side_drive(&side, stopped, thread->stop);
    side_destroy(&side);
    ck_assert_int_eq(memexpose_group_destroy(group), 0);
}

START_TEST(a_loop_serves_a_device)
{
    struct loop loop;
    struct side side;
    struct thread peer = { .loop = &loop, .name = "a", .body = visit };

    loop_create(&loop);
    side_create(&side, loop.group, &loop);
    side_listen(&side, "a");
    thread_start(&peer);
    loop_run(&loop);
    pthread_join(peer.thread, NULL);
    ck_assert_uint_eq(side.count, 51);
    ck_assert_uint_eq(side.ups, 1);
    side_destroy(&side);
    loop_destroy(&loop);
}
END_TEST

/* As the library's next descriptors or, if taken, as the consumer's. */
START_TEST(numbers_come_back_as_other_descriptors)
{
    struct loop loop;
    struct side side;
    struct thread peer = { .loop = &loop, .name = "a", .body = visit_often };

    loop_create(&loop);
    side_create(&side, loop.group, &loop);
    side.takes = _i;
    side_listen(&side, "a");
    thread_start(&peer);
    loop_run(&loop);
    pthread_join(peer.thread, NULL);
    ck_assert_uint_eq(side.ups, 12);
    ck_assert_uint_eq(side.count, 12 * 51);
    while (side.up) {
        ck_assert_int_eq(event_base_loop(loop.base, EVLOOP_ONCE), 0);
    }
    ck_assert_uint_ge(loop.others, side.takes ? 8 : 0);
    while (loop.other_calls < loop.others) {
        ck_assert_int_eq(event_base_loop(loop.base, EVLOOP_ONCE), 0);
    }
    ck_assert_uint_eq(loop.other_calls, loop.others);
    side_destroy(&side);
    loop_destroy(&loop);
}
END_TEST

START_TEST(several_devices_in_one_loop)
{
    static const char *const names[] = { "a", "b", "c" };
    struct thread peers[3];
    struct side sides[3];
    struct loop loop;
    unsigned i;

    loop_create(&loop);
    for (i = 0; i < 3; i++) {
        side_create(&sides[i], loop.group, &loop);
        side_listen(&sides[i], names[i]);
        peers[i] = (struct thread) {
            .loop = &loop,
            .name = names[i],
            .body = visit_often,
        };
        thread_start(&peers[i]);
    }
    loop_run(&loop);
    for (i = 0; i < 3; i++) {
        pthread_join(peers[i].thread, NULL);
        ck_assert_uint_eq(sides[i].count, 12 * 51);
        side_destroy(&sides[i]);
    }
    loop_destroy(&loop);
}
END_TEST

/* Fill what @fd can hold of what nobody has read; how much that was. */
static size_t fill(int fd)
{
    size_t total = 0;
    ssize_t sent;

    while ((sent = send(fd, "x", 1, MSG_DONTWAIT)) > 0) {
        total += (size_t)sent;
    }
    ck_assert_int_eq(errno, EAGAIN);
    return total;
}

/* A peer of bare sockets: [0] is the library's, [1] the test's. */
struct bare {
    int mem[2];
    int intr[2];
};

/* The library's ends get the numbers @mem and @intr if these are not -1. */
static void bare_create(struct bare *bare, int mem, int intr)
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, bare->mem), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, bare->intr), 0);
    ck_assert(mem == -1 || bare->mem[0] == mem);
    ck_assert(intr == -1 || bare->intr[0] == intr);
}

static void bare_attach(const struct bare *bare, struct side *side)
{
    ck_assert_int_eq(memexpose_device_attach(side->device, MEMEXPOSE_LINK_MEM,
                                             bare->mem[0]), 0);
    ck_assert_int_eq(memexpose_device_attach(side->device, MEMEXPOSE_LINK_INTR,
                                             bare->intr[0]), 0);
}

/* Ask for the counter, and run the loop until it is read. */
static void bare_ask(const struct bare *bare, struct side *side,
                     struct loop *loop)
{
    /* READ of 8 bytes, sub-priority 1 */
    static const uint8_t request[15] = {
        15, 0, 0, 0, 0, 3, 0, 0, COUNTER >> 16, 0, 0, 0, 0, 0, 8
    };
    uint64_t before = side->count;

    ck_assert_int_eq(send(bare->mem[1], request, 15, 0), 15);
    while (side->count == before) {
        ck_assert_int_eq(event_base_loop(loop->base, EVLOOP_ONCE), 0);
    }
}

static void bare_answered(const struct bare *bare, struct loop *loop)
{
    uint8_t bytes[64];

    while (recv(bare->mem[1], bytes, 45, MSG_DONTWAIT | MSG_PEEK) < 0) {
        ck_assert_int_eq(event_base_loop(loop->base, EVLOOP_ONCE), 0);
    }
    ck_assert_int_eq(recv(bare->mem[1], bytes, sizeof(bytes), MSG_DONTWAIT),
                     45);
    ck_assert_uint_eq(bytes[4], 1);
}

/* Until there is nothing left to do. */
static void loop_settle(struct loop *loop)
{
    unsigned i;

    for (i = 0; i < 8; i++) {
        ck_assert_int_eq(event_base_loop(loop->base, EVLOOP_NONBLOCK), 0);
    }
}

START_TEST(a_response_goes_out_when_there_is_room)
{
    struct loop loop;
    struct side side;
    struct bare bare;
    size_t filled;
    char byte;

    loop_create(&loop);
    side_create_as(&side, loop.group, &loop, true);
    bare_create(&bare, -1, -1);
    filled = fill(bare.mem[0]);
    bare_attach(&bare, &side);
    bare_ask(&bare, &side, &loop);
    loop_settle(&loop);
    for (; filled; filled--) {
        ck_assert_int_eq(recv(bare.mem[1], &byte, 1, MSG_DONTWAIT), 1);
    }
    bare_answered(&bare, &loop);
    side_destroy(&side);
    close(bare.mem[1]);
    close(bare.intr[1]);
    loop_destroy(&loop);
}
END_TEST

START_TEST(links_change_between_two_looks)
{
    struct bare old, bare;
    struct loop loop;
    struct side side;

    loop_create(&loop);
    side_create_as(&side, loop.group, &loop, true);
    bare_create(&old, -1, -1);
    bare_attach(&old, &side);
    bare_ask(&old, &side, &loop);
    bare_answered(&old, &loop);
    loop_settle(&loop);

    /* the same numbers, other sockets, while the loop does not run */
    memexpose_device_disable(side.device);
    ck_assert_int_eq(memexpose_device_enable(side.device, 0), -EINPROGRESS);
    close(old.mem[1]);
    close(old.intr[1]);
    bare_create(&bare, old.mem[0], old.intr[0]);
    bare_attach(&bare, &side);
    loop_settle(&loop);
    bare_ask(&bare, &side, &loop);
    bare_answered(&bare, &loop);
    side_destroy(&side);
    close(bare.mem[1]);
    close(bare.intr[1]);
    loop_destroy(&loop);
}
END_TEST

/* The deadline of the next attempt is all that leads to a link. */
START_TEST(a_loop_connects_when_the_time_has_come)
{
    atomic_bool stop = true;
    struct loop loop;
    struct side side;
    struct thread peer = {
        .loop = &loop, .name = "a", .body = receive_visitor, .stop = &stop,
    };

    loop_create(&loop);
    side_create(&side, loop.group, NULL);
    side_connect(&side, "a");
    ck_assert_int_eq(event_base_loop(loop.base, EVLOOP_NONBLOCK), 0);
    ck_assert_uint_eq(side.ups, 0);
    thread_start(&peer);
    loop_run(&loop);
    pthread_join(peer.thread, NULL);
    ck_assert_uint_eq(side.ups, 1);
    ck_assert_uint_eq(side.count, 51);
    side_destroy(&side);
    loop_destroy(&loop);
}
END_TEST

/* The interrupt lets the other side see that it is to stop, if it has not seen
 * that already and gone. */
static void enable_and_end(struct thread *thread)
{
    struct memexpose_interrupt interrupt = { .type = 1 };
    int ret;

    side_enable(thread->side);
    access_peer(thread->side, 500);
    *thread->stop = true;
    ret = memexpose_device_send(thread->side->device, &interrupt);
    ck_assert(ret == 0 || ret == -ENOTCONN);
}

START_TEST(another_thread_waits_in_the_group_of_the_loop)
{
    atomic_bool stop = false;
    struct loop loop;
    struct side side;
    struct thread peer = {
        .loop = &loop, .name = "a", .body = receive_visitor, .stop = &stop,
    };
    struct thread local = {
        .loop = &loop, .side = &side, .body = enable_and_end, .stop = &stop,
    };

    loop_create(&loop);
    side_create(&side, loop.group, NULL);
    side_connect(&side, "a");
    thread_start(&peer);
    thread_start(&local);
    loop_run(&loop);
    pthread_join(peer.thread, NULL);
    pthread_join(local.thread, NULL);
    ck_assert_uint_eq(side.count, 51);
    side_destroy(&side);
    loop_destroy(&loop);
}
END_TEST

static void access_from_loop(evutil_socket_t fd, short what, void *opaque)
{
    struct thread *thread = opaque;

    (void)fd;
    (void)what;
    enable_and_end(thread);
}

START_TEST(the_thread_of_the_loop_waits_itself)
{
    atomic_bool stop = false;
    struct timeval now = { 0, 0 };
    struct loop loop;
    struct side side;
    struct thread peer = {
        .loop = &loop, .name = "a", .body = receive_visitor, .stop = &stop,
    };
    struct thread itself = { .side = &side, .stop = &stop };

    loop_create(&loop);
    side_create(&side, loop.group, NULL);
    side_connect(&side, "a");
    thread_start(&peer);
    ck_assert_int_eq(event_base_once(loop.base, -1, EV_TIMEOUT,
                                     access_from_loop, &itself, &now), 0);
    loop_run(&loop);
    pthread_join(peer.thread, NULL);
    ck_assert_uint_eq(side.count, 51);
    side_destroy(&side);
    loop_destroy(&loop);
}
END_TEST

/* Something was missing when the descriptors were to be watched. */
static void expect_recovery(struct loop *loop)
{
    struct thread peer = { .loop = loop, .name = "a", .body = visit };
    struct side side;

    side_create(&side, loop->group, loop);
    side_listen(&side, "a");
    thread_start(&peer);
    loop_run(loop);
    pthread_join(peer.thread, NULL);
    ck_assert_uint_eq(side.count, 51);
    side_destroy(&side);
}

START_TEST(a_loop_goes_on_when_memory_was_short)
{
    struct loop loop;

    loop_create(&loop);
    memexpose_event_destroy(loop.event);
    harness_fail_allocation(1);
    ck_assert_ptr_null(memexpose_event_create(loop.base, loop.group));
    ck_assert_int_eq(errno, ENOMEM);
    harness_fail_allocation((unsigned long)_i);
    loop.event = memexpose_event_create(loop.base, loop.group);
    ck_assert_ptr_nonnull(loop.event);
    ck_assert(harness_allocation_failed());
    expect_recovery(&loop);
    loop_destroy(&loop);
    memexpose_event_destroy(NULL);
}
END_TEST

START_TEST(a_loop_goes_on_when_descriptors_were_short)
{
    struct rlimit limit, none;
    struct loop loop;

    loop_create(&loop);
    memexpose_event_destroy(loop.event);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 0;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    loop.event = memexpose_event_create(loop.base, loop.group);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_ptr_nonnull(loop.event);
    expect_recovery(&loop);
    loop_destroy(&loop);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("event");
    TCase *tcase = harness_tcase("loop");

    tcase_add_test(tcase, a_loop_serves_a_device);
    tcase_add_loop_test(tcase, numbers_come_back_as_other_descriptors, 0, 2);
    tcase_add_test(tcase, several_devices_in_one_loop);
    tcase_add_test(tcase, a_response_goes_out_when_there_is_room);
    tcase_add_test(tcase, links_change_between_two_looks);
    tcase_add_test(tcase, a_loop_connects_when_the_time_has_come);
    tcase_add_test(tcase, another_thread_waits_in_the_group_of_the_loop);
    tcase_add_test(tcase, the_thread_of_the_loop_waits_itself);
    tcase_add_loop_test(tcase, a_loop_goes_on_when_memory_was_short, 2, 4);
    tcase_add_test(tcase, a_loop_goes_on_when_descriptors_were_short);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
