/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The library's own sockets (protocol sections 1 and 5): files, pairing,
 * retries.  Time is simulated, so that nobody sleeps.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <memexpose/memexpose.h>

#include "harness.h"
#include "os.h"
#include "socket.h"

#define SECOND INT64_C(1000000000)

enum { OFFERS = 8 };

static int64_t now;             /* of the group */
static struct memexpose_group *group;
static char mem_path[HARNESS_PATH], intr_path[HARNESS_PATH];

/* What the socket offered. */
static struct {
    int mem, intr;
} offers[OFFERS];
static unsigned offer_count;
static int offer_answer;

static int64_t simulated_now(void *opaque)
{
    (void)opaque;
    return now;
}

static int no_wait(void *opaque, struct pollfd *fds, size_t count,
                   int64_t deadline)
{
    (void)opaque;
    (void)deadline;
    return mx_os_poll(fds, count, 0);
}

static void setup(void)
{
    static const struct memexpose_group_ops ops = {
        .size = sizeof(ops), .wait = no_wait, .now = simulated_now,
    };

    now = 1000 * SECOND;
    offer_count = 0;
    offer_answer = 0;
    harness_path(mem_path, "s-mem");
    harness_path(intr_path, "s-intr");
    group = memexpose_group_create(&ops, NULL);
    ck_assert_ptr_nonnull(group);
}

static void teardown(void)
{
    while (offer_count > 0) {
        offer_count--;
        close(offers[offer_count].mem);
        close(offers[offer_count].intr);
    }
    ck_assert_int_eq(memexpose_group_destroy(group), 0);
}

static int take_offer(void *opaque, int mem_fd, int intr_fd)
{
    (void)opaque;
    if (offer_answer < 0) {
        return offer_answer;
    }
    ck_assert_uint_lt(offer_count, OFFERS);
    offers[offer_count].mem = mem_fd;
    offers[offer_count++].intr = intr_fd;
    return 0;
}

static int listen_at(const char *mem, const char *intr,
                     struct mx_socket **result)
{
    int ret;

    *result = NULL;
    mx_group_enter(group);
    ret = mx_socket_listen(group, mem, intr, "test", take_offer, NULL, result);
    mx_group_leave(group);
    return ret;
}

static int connect_at(const char *mem, const char *intr,
                      struct mx_socket **result)
{
    int ret;

    *result = NULL;
    mx_group_enter(group);
    ret = mx_socket_connect(group, mem, intr, "test", SECOND, take_offer,
                            NULL, result);
    mx_group_leave(group);
    return ret;
}

static void destroy(struct mx_socket *transport)
{
    mx_group_enter(group);
    mx_socket_destroy(transport);
    mx_group_leave(group);
}

static void process(void)
{
    memexpose_group_process(group, NULL, 0);
}

static struct mx_socket *must_listen(void)
{
    struct mx_socket *transport;

    ck_assert_int_eq(listen_at(mem_path, intr_path, &transport), 0);
    return transport;
}

static int dial(const char *path)
{
    int fd = mx_os_connect(path);

    ck_assert_int_ge(fd, 0);
    return fd;
}

static bool closed_by_peer(int fd)
{
    return mx_os_hung_up(fd);
}

/* Are the two ends of one connection? */
static void assert_joined(int one, int other)
{
    char sent = 'x', got = 0;

    ck_assert_int_eq(send(one, &sent, 1, MSG_NOSIGNAL), 1);
    ck_assert_int_eq(recv(other, &got, 1, MSG_DONTWAIT), 1);
    ck_assert_int_eq(got, 'x');
}

/* Somebody else's socket, listened on. */
static int foreign_listener(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    strcpy(address.sun_path, path);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)),
                     0);
    ck_assert_int_eq(listen(fd, 4), 0);
    return fd;
}

static bool exists(const char *path)
{
    struct stat status;

    return lstat(path, &status) == 0;
}

/* --- files --------------------------------------------------------------- */

START_TEST(files_come_and_go)
{
    mode_t before = umask(0);
    struct mx_socket *transport = must_listen();
    struct stat status;

    umask(before);
    ck_assert_int_eq(lstat(mem_path, &status), 0);
    ck_assert(S_ISSOCK(status.st_mode));
    ck_assert_uint_eq(status.st_mode & 07777, 0600);
    ck_assert_int_eq(lstat(intr_path, &status), 0);
    ck_assert(S_ISSOCK(status.st_mode));
    ck_assert_uint_eq(status.st_mode & 07777, 0600);
    destroy(transport);
    ck_assert(!exists(mem_path));
    ck_assert(!exists(intr_path));
}
END_TEST

START_TEST(stale_file_is_replaced)
{
    struct mx_socket *transport;
    int fd;

    close(foreign_listener(mem_path));
    close(foreign_listener(intr_path));
    ck_assert(exists(mem_path));
    transport = must_listen();
    fd = dial(mem_path);
    close(fd);
    fd = dial(intr_path);
    close(fd);
    destroy(transport);
    ck_assert(!exists(mem_path));
}
END_TEST

/* Whichever of the two it is: nothing is left behind, the other's stays. */
START_TEST(living_peer_stays)
{
    struct mx_socket *transport;
    int fd = foreign_listener(intr_path), dialled;

    ck_assert_int_eq(listen_at(mem_path, intr_path, &transport), -EADDRINUSE);
    ck_assert_ptr_null(transport);
    ck_assert(!exists(mem_path));
    dialled = dial(intr_path);
    close(dialled);
    close(fd);
    unlink(intr_path);
    fd = foreign_listener(mem_path);
    ck_assert_int_eq(listen_at(mem_path, intr_path, &transport), -EADDRINUSE);
    ck_assert(!exists(intr_path));
    dialled = dial(mem_path);
    close(dialled);
    close(fd);
    unlink(mem_path);
}
END_TEST

/* Its queue of connections is full: it lives all the same. */
START_TEST(busy_peer_stays)
{
    struct mx_socket *transport;
    int fd = foreign_listener(mem_path), dialled[64], count = 0;

    ck_assert_int_eq(listen(fd, 0), 0);
    while (count < 64 && (dialled[count] = mx_os_connect(mem_path)) >= 0) {
        count++;
    }
    ck_assert_int_lt(count, 64);
    ck_assert_int_eq(listen_at(mem_path, intr_path, &transport), -EADDRINUSE);
    while (count-- > 0) {
        close(dialled[count]);
    }
    ck_assert(exists(mem_path));
    close(fd);
    unlink(mem_path);
}
END_TEST

START_TEST(not_a_socket)
{
    struct mx_socket *transport;
    char target[HARNESS_PATH];
    int fd = open(mem_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert_int_eq(listen_at(mem_path, intr_path, &transport), -EEXIST);
    ck_assert(exists(mem_path));
    unlink(mem_path);
    harness_path(target, "target");
    ck_assert_int_eq(symlink(target, mem_path), 0);
    ck_assert_int_eq(listen_at(mem_path, intr_path, &transport), -EEXIST);
    ck_assert(!exists(target));
    unlink(mem_path);
    ck_assert_int_eq(mkdir(intr_path, 0700), 0);
    ck_assert_int_eq(listen_at(mem_path, intr_path, &transport), -EEXIST);
    ck_assert(!exists(mem_path));
}
END_TEST

START_TEST(names_that_do_not_fit)
{
    struct mx_socket *transport;
    char name[200];

    memset(name, 'a', sizeof(name));
    name[0] = '/';
    name[108] = '\0';
    ck_assert_int_eq(listen_at(name, intr_path, &transport), -ENAMETOOLONG);
    ck_assert_int_eq(listen_at(mem_path, name, &transport), -ENAMETOOLONG);
    ck_assert(!exists(mem_path));
    ck_assert_int_eq(connect_at(name, intr_path, &transport), -ENAMETOOLONG);
    ck_assert_int_eq(connect_at(mem_path, name, &transport), -ENAMETOOLONG);
    name[107] = '\0';
    ck_assert_int_eq(connect_at(name, name, &transport), 0);
    destroy(transport);
    harness_path(name, "no/such/directory");
    ck_assert_int_eq(listen_at(name, intr_path, &transport), -ENOENT);
}
END_TEST

START_TEST(file_of_another_stays)
{
    struct mx_socket *transport = must_listen();
    int fd;

    ck_assert_int_eq(unlink(mem_path), 0);
    fd = foreign_listener(mem_path);
    destroy(transport);
    ck_assert(exists(mem_path));
    ck_assert(!exists(intr_path));
    close(fd);
    unlink(mem_path);
}
END_TEST

/* --- pairing ------------------------------------------------------------- */

START_TEST(nth_with_nth)
{
    struct mx_socket *transport = must_listen();
    int mem[3], intr[3];
    unsigned i;

    mem[0] = dial(mem_path);
    process();
    mem[1] = dial(mem_path);
    process();
    ck_assert_uint_eq(offer_count, 0);
    intr[0] = dial(intr_path);
    process();
    ck_assert_uint_eq(offer_count, 1);
    intr[1] = dial(intr_path);
    intr[2] = dial(intr_path);
    process();
    ck_assert_uint_eq(offer_count, 2);
    mem[2] = dial(mem_path);
    process();
    ck_assert_uint_eq(offer_count, 3);
    for (i = 0; i < 3; i++) {
        assert_joined(mem[i], offers[i].mem);
        assert_joined(intr[i], offers[i].intr);
        close(mem[i]);
        close(intr[i]);
    }
    destroy(transport);
}
END_TEST

/* The half of one that gave up is none; the next pair is not mixed up. */
START_TEST(closed_half_is_discarded)
{
    struct mx_socket *transport = must_listen();
    int mem, intr;

    mem = dial(mem_path);
    process();
    close(mem);                 /* seen in a round of its own */
    process();
    mem = dial(mem_path);
    intr = dial(intr_path);
    process();
    ck_assert_uint_eq(offer_count, 1);
    assert_joined(mem, offers[0].mem);
    assert_joined(intr, offers[0].intr);
    close(mem);
    close(intr);

    mem = dial(mem_path);       /* seen in the same round as the next */
    process();
    close(mem);
    mem = dial(mem_path);
    intr = dial(intr_path);
    process();
    ck_assert_uint_eq(offer_count, 2);
    assert_joined(mem, offers[1].mem);
    assert_joined(intr, offers[1].intr);
    close(mem);
    close(intr);

    intr = dial(intr_path);     /* the other kind, gone before it is seen */
    close(intr);
    intr = dial(intr_path);
    mem = dial(mem_path);
    process();
    ck_assert_uint_eq(offer_count, 3);
    assert_joined(mem, offers[2].mem);
    assert_joined(intr, offers[2].intr);
    close(mem);
    close(intr);
    destroy(transport);
}
END_TEST

START_TEST(too_many_halves)
{
    struct mx_socket *transport = must_listen();
    int fd[12];
    unsigned i, refused = 0;

    for (i = 0; i < 12; i++) {
        fd[i] = dial(mem_path);
        process();
    }
    for (i = 0; i < 12; i++) {
        refused += closed_by_peer(fd[i]);
    }
    ck_assert_uint_eq(refused, 4);
    harness_assert_logged("too many connections");
    destroy(transport);
    for (i = 0; i < 12; i++) {
        ck_assert(closed_by_peer(fd[i]));
        close(fd[i]);
    }
}
END_TEST

START_TEST(refused_pairs)
{
    static const struct {
        int answer;
        const char *why;
    } cases[] = { { -EBUSY, "another peer is connected" },
                  { -EPERM, "links are refused now" } };
    struct mx_socket *transport = must_listen();
    char self[64];
    unsigned i;

    snprintf(self, sizeof(self), "process %ld of user %ld", (long)getpid(),
             (long)getuid());
    for (i = 0; i < 2; i++) {
        int mem = dial(mem_path), intr = dial(intr_path);

        offer_answer = cases[i].answer;
        process();
        ck_assert(closed_by_peer(mem));
        ck_assert(closed_by_peer(intr));
        harness_assert_logged(self);
        harness_assert_logged(cases[i].why);
        harness_log_clear();
        close(mem);
        close(intr);
    }
    mx_group_enter(group);
    mx_socket_refuse(transport);
    mx_group_leave(group);
    offer_answer = 0;
    {
        int mem = dial(mem_path), intr = dial(intr_path);

        process();
        ck_assert_uint_eq(offer_count, 0);
        ck_assert(closed_by_peer(mem));
        harness_assert_logged("links are refused now");
        close(mem);
        close(intr);
        mx_group_enter(group);
        mx_socket_open(transport);
        mx_group_leave(group);
        mem = dial(mem_path);
        intr = dial(intr_path);
        process();
        ck_assert_uint_eq(offer_count, 1);
        close(mem);
        close(intr);
    }
    destroy(transport);
}
END_TEST

/* --- with a device ------------------------------------------------------- */

static bool up(struct memexpose_device *device)
{
    return (memexpose_device_link_state(device) & 3) == 3;
}

START_TEST(one_peer_at_a_time)
{
    struct memexpose_device *device = memexpose_device_create(group, NULL,
                                                              NULL, NULL);
    int mem[3], intr[3];
    char self[64];

    snprintf(self, sizeof(self), "refused process %ld", (long)getpid());
    ck_assert_int_eq(memexpose_device_listen(device, mem_path, intr_path), 0);
    ck_assert_int_eq(memexpose_device_listen(device, mem_path, intr_path),
                     -EEXIST);
    mem[0] = dial(mem_path);
    intr[0] = dial(intr_path);
    process();
    ck_assert(up(device));
    mem[1] = dial(mem_path);
    intr[1] = dial(intr_path);
    process();
    ck_assert(closed_by_peer(mem[1]));
    ck_assert(closed_by_peer(intr[1]));
    ck_assert(!closed_by_peer(mem[0]));
    harness_assert_logged(self);
    harness_assert_logged("another peer is connected");
    harness_log_clear();
    close(mem[1]);
    close(intr[1]);

    /* The first ends just before the next comes: nobody is refused. */
    close(mem[0]);
    mem[2] = dial(mem_path);
    intr[2] = dial(intr_path);
    process();
    ck_assert(up(device));
    ck_assert(!closed_by_peer(mem[2]));
    ck_assert(!closed_by_peer(intr[2]));
    ck_assert(closed_by_peer(intr[0]));
    ck_assert_uint_eq(memexpose_device_link_state(device) >> 32, 2);
    harness_assert_not_logged("refused");
    close(intr[0]);

    close(mem[2]);
    close(intr[2]);
    memexpose_device_destroy(device);
    ck_assert(!exists(mem_path));
}
END_TEST

/* The end of either link ends both (section 1). */
START_TEST(end_of_the_interrupt_link_is_looked_for)
{
    struct memexpose_device *device = memexpose_device_create(group, NULL,
                                                              NULL, NULL);
    int mem[2], intr[2];

    ck_assert_int_eq(memexpose_device_listen(device, mem_path, intr_path), 0);
    mem[0] = dial(mem_path);
    intr[0] = dial(intr_path);
    process();
    ck_assert(up(device));
    close(intr[0]);
    mem[1] = dial(mem_path);
    intr[1] = dial(intr_path);
    process();
    harness_assert_not_logged("refused");
    ck_assert(up(device));
    ck_assert(!closed_by_peer(mem[1]));
    ck_assert(closed_by_peer(mem[0]));
    ck_assert_uint_eq(memexpose_device_link_state(device) >> 32, 2);
    close(mem[0]);
    close(mem[1]);
    close(intr[1]);
    memexpose_device_destroy(device);
}
END_TEST

/* --- connecting ---------------------------------------------------------- */

static int64_t next_deadline(void)
{
    int64_t deadline;

    memexpose_group_poll(group, NULL, 0, &deadline, NULL);
    return deadline;
}

/* Let time pass until the next attempt. */
static void next_attempt(void)
{
    int64_t due = next_deadline();

    ck_assert(due != INT64_MAX);
    ck_assert(due - now <= SECOND);
    now = due;
    process();
}

START_TEST(connect_before_the_listener)
{
    struct mx_socket *transport;
    int mem, intr, fd, i;
    int64_t pause, last = 0;

    ck_assert_int_eq(connect_at(mem_path, intr_path, &transport), 0);
    process();
    for (i = 0; i < 12; i++) {      /* rarer and rarer */
        pause = next_deadline() - now;
        ck_assert(pause > 0 && pause >= last && pause <= SECOND);
        last = pause;
        next_attempt();
    }
    ck_assert(last == SECOND);
    mem = foreign_listener(mem_path);
    next_attempt();                 /* a lone half is closed again */
    ck_assert_uint_eq(offer_count, 0);
    fd = accept(mem, NULL, NULL);
    ck_assert(closed_by_peer(fd));
    close(fd);
    intr = foreign_listener(intr_path);
    next_attempt();
    ck_assert_uint_eq(offer_count, 1);
    ck_assert(next_deadline() == INT64_MAX);
    fd = accept(mem, NULL, NULL);
    assert_joined(fd, offers[0].mem);
    close(fd);
    fd = accept(intr, NULL, NULL);
    assert_joined(fd, offers[0].intr);
    close(fd);

    now += 60 * SECOND;             /* a link that lasted: soon again */
    mx_group_enter(group);
    mx_socket_down(transport);
    mx_group_leave(group);
    ck_assert(next_deadline() <= now + SECOND / 10);
    next_attempt();
    ck_assert_uint_eq(offer_count, 2);
    mx_group_enter(group);          /* one that did not: with a pause */
    mx_socket_down(transport);
    mx_group_leave(group);
    ck_assert(next_deadline() > now);
    next_attempt();
    ck_assert_uint_eq(offer_count, 3);
    mx_group_enter(group);          /* refused: not at all */
    mx_socket_refuse(transport);
    mx_socket_down(transport);
    mx_group_leave(group);
    process();
    ck_assert(next_deadline() == INT64_MAX);
    mx_group_enter(group);
    mx_socket_open(transport);
    mx_group_leave(group);
    next_attempt();
    ck_assert_uint_eq(offer_count, 4);
    destroy(transport);
    close(mem);
    close(intr);
}
END_TEST

START_TEST(offer_that_is_refused)
{
    struct mx_socket *transport;
    int mem = foreign_listener(mem_path), intr = foreign_listener(intr_path);
    int fd;

    offer_answer = -EBUSY;
    ck_assert_int_eq(connect_at(mem_path, intr_path, &transport), 0);
    process();
    fd = accept(mem, NULL, NULL);
    ck_assert(closed_by_peer(fd));
    close(fd);
    offer_answer = 0;
    next_attempt();
    ck_assert_uint_eq(offer_count, 1);
    destroy(transport);
    close(mem);
    close(intr);
}
END_TEST

/* Two devices find each other, lose each other, and meet again. */
START_TEST(devices_meet_again)
{
    struct memexpose_device *one = memexpose_device_create(group, NULL, NULL,
                                                           NULL);
    struct memexpose_device *other = memexpose_device_create(group, NULL,
                                                             NULL, NULL);
    unsigned round;

    ck_assert_int_eq(memexpose_device_connect(one, mem_path, intr_path), 0);
    process();
    ck_assert(!up(one));
    for (round = 1; round <= 3; round++) {
        ck_assert_int_eq(memexpose_device_listen(other, mem_path, intr_path),
                         0);
        while (!up(one)) {
            next_attempt();
        }
        process();
        ck_assert(up(other));
        ck_assert_uint_eq(memexpose_device_link_state(one) >> 32, round);
        memexpose_device_destroy(other);
        process();
        ck_assert(!up(one));
        other = memexpose_device_create(group, NULL, NULL, NULL);
    }
    memexpose_device_destroy(one);
    memexpose_device_destroy(other);
}
END_TEST

/* --- no descriptors left ------------------------------------------------- */

static size_t ready(int64_t *deadline)
{
    struct pollfd fds[16];
    size_t count = memexpose_group_poll(group, fds, 16, deadline, NULL);
    int ret;

    ck_assert_uint_le(count, 16);
    ret = mx_os_poll(fds, count, 0);
    ck_assert_int_ge(ret, 0);
    return (size_t)ret;
}

/* It keeps to the limit by closing what was accepted already. */
static bool under_valgrind(void)
{
    const char *preloaded = getenv("LD_PRELOAD");

    return preloaded && strstr(preloaded, "vgpreload");
}

START_TEST(out_of_descriptors)
{
    struct mx_socket *transport = must_listen();
    struct rlimit before, none;
    int mem = dial(mem_path), intr = dial(intr_path), spare = dup(mem);
    unsigned i, said;
    int64_t deadline;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = (rlim_t)spare;  /* the lowest that is free, and above */
    close(spare);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    process();
    process();                      /* whoever was told of the change */
    said = harness_logged("cannot accept");
    ck_assert_uint_gt(said, 0);
    ck_assert_uint_le(said, 4);
    for (i = 0; i < 20; i++) {      /* nothing is ready: no spinning */
        ck_assert_uint_eq(ready(&deadline), 0);
        ck_assert(deadline > now && deadline <= now + SECOND);
        process();
    }
    ck_assert_uint_eq(harness_logged("cannot accept"), said);
    ck_assert_uint_eq(offer_count, 0);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    if (under_valgrind()) {
        close(mem);
        close(intr);
        mem = dial(mem_path);
        intr = dial(intr_path);
    }
    now = deadline;
    process();
    ck_assert_uint_eq(offer_count, 1);
    assert_joined(mem, offers[0].mem);
    ck_assert_uint_eq(ready(&deadline), 0);
    ck_assert(deadline == INT64_MAX);
    close(mem);
    close(intr);
    destroy(transport);
}
END_TEST

static TCase *with_group(Suite *suite, const char *name)
{
    TCase *tcase = harness_tcase(name);

    tcase_add_checked_fixture(tcase, setup, teardown);
    suite_add_tcase(suite, tcase);
    return tcase;
}

int main(void)
{
    Suite *suite = suite_create("socket");
    TCase *tcase = with_group(suite, "files");

    tcase_add_test(tcase, files_come_and_go);
    tcase_add_test(tcase, stale_file_is_replaced);
    tcase_add_test(tcase, living_peer_stays);
    tcase_add_test(tcase, busy_peer_stays);
    tcase_add_test(tcase, not_a_socket);
    tcase_add_test(tcase, names_that_do_not_fit);
    tcase_add_test(tcase, file_of_another_stays);

    tcase = with_group(suite, "pairs");
    tcase_add_test(tcase, nth_with_nth);
    tcase_add_test(tcase, closed_half_is_discarded);
    tcase_add_test(tcase, too_many_halves);
    tcase_add_test(tcase, refused_pairs);
    tcase_add_test(tcase, one_peer_at_a_time);
    tcase_add_test(tcase, end_of_the_interrupt_link_is_looked_for);

    tcase = with_group(suite, "connecting");
    tcase_add_test(tcase, connect_before_the_listener);
    tcase_add_test(tcase, offer_that_is_refused);
    tcase_add_test(tcase, devices_meet_again);
    tcase_add_test(tcase, out_of_descriptors);
    return harness_main(suite);
}
