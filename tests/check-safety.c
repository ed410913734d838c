/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who may be the peer (SO_PEERCRED), what it is told of what is exported, and
 * files that somebody shortens while they are exported.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memexpose/memexpose.h>

#include "harness.h"


static struct memexpose_group *group;

static struct memexpose_device *
new_device(const struct memexpose_device_ops *ops, void *opaque,
           int64_t peer_uid)
{
    struct memexpose_device_config config;
    struct memexpose_device *device;

    memexpose_device_config_init(&config);
    config.peer_uid = peer_uid;
    device = memexpose_device_create(group, ops, opaque, &config);
    ck_assert_ptr_nonnull(device);
    return device;
}

static void make_group(void)
{
    group = memexpose_group_create(NULL, NULL);
    ck_assert_ptr_nonnull(group);
}

static void drop_group(void)
{
    ck_assert_int_eq(memexpose_group_destroy(group), 0);
}

/* --- the peer's user ------------------------------------------------------ */

/* What attaching a socket of this process gives. */
static int attach(int64_t peer_uid)
{
    struct memexpose_device *device = new_device(NULL, NULL, peer_uid);
    int pair[2], ret;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair),
                     0);
    ret = memexpose_device_attach(device, MEMEXPOSE_LINK_MEM, pair[0]);
    if (ret < 0) {
        close(pair[0]);         /* still ours */
    }
    close(pair[1]);
    memexpose_device_destroy(device);
    return ret;
}

START_TEST(whoever_may_connect_is_the_default)
{
    struct memexpose_device_config config;

    memexpose_device_config_init(&config);
    ck_assert_int_eq(config.peer_uid, MEMEXPOSE_USER_ANY);
    ck_assert_int_eq(attach(config.peer_uid), 0);
}
END_TEST

START_TEST(only_one_user_is_let_in)
{
    ck_assert_int_eq(attach(MEMEXPOSE_USER_SELF), 0);
    ck_assert_int_eq(attach(geteuid()), 0);
    harness_assert_not_logged("refused");
    ck_assert_int_eq(attach((int64_t)geteuid() + 1), -EACCES);
    harness_assert_logged("is let in");
}
END_TEST

START_TEST(no_user_has_such_a_number)
{
    struct memexpose_device_config config;

    memexpose_device_config_init(&config);
    config.peer_uid = -3;
    ck_assert_ptr_null(memexpose_device_create(group, NULL, NULL, &config));
    ck_assert_int_eq(errno, EINVAL);
    config.peer_uid = INT64_C(1) << 32;
    ck_assert_ptr_null(memexpose_device_create(group, NULL, NULL, &config));
    ck_assert_int_eq(errno, EINVAL);
}
END_TEST

struct pair {
    struct memexpose_device *listening, *connecting;
};

static bool refused_twice(void *opaque)
{
    (void)opaque;
    memexpose_group_process(group, NULL, 0);
    return harness_logged("is let in") >= 2;
}

static bool connected(void *opaque)
{
    const struct pair *pair = opaque;

    memexpose_group_process(group, NULL, 0);
    return (memexpose_device_link_state(pair->listening) &
            memexpose_device_link_state(pair->connecting) &
            MEMEXPOSE_STATE_SETTLED) != 0;
}

static void join(struct pair *pair, const char *name)
{
    char mem[HARNESS_PATH], intr[HARNESS_PATH], suffix[40];

    snprintf(suffix, sizeof(suffix), "%s-mem", name);
    harness_path(mem, suffix);
    snprintf(suffix, sizeof(suffix), "%s-intr", name);
    harness_path(intr, suffix);
    ck_assert_int_eq(memexpose_device_listen(pair->listening, mem, intr), 0);
    ck_assert_int_eq(memexpose_device_connect(pair->connecting, mem, intr), 0);
}

static void part(struct pair *pair)
{
    memexpose_device_destroy(pair->listening);
    memexpose_device_destroy(pair->connecting);
}

/* Either side refuses, says so once, and goes on. */
START_TEST(sockets_refuse_another_user)
{
    int64_t other = (int64_t)geteuid() + 1;
    struct pair one = { new_device(NULL, NULL, other),
                        new_device(NULL, NULL, MEMEXPOSE_USER_ANY) };
    struct pair two = { new_device(NULL, NULL, MEMEXPOSE_USER_ANY),
                        new_device(NULL, NULL, other) };

    join(&one, "one");
    join(&two, "two");
    harness_wait(refused_twice, NULL, 5000);
    ck_assert_uint_eq(memexpose_device_link_state(one.listening), 0);
    ck_assert_uint_eq(memexpose_device_link_state(two.connecting), 0);
    part(&one);
    part(&two);
}
END_TEST

START_TEST(sockets_let_the_user_in)
{
    struct pair pair = { new_device(NULL, NULL, MEMEXPOSE_USER_SELF),
                         new_device(NULL, NULL, MEMEXPOSE_USER_SELF) };

    join(&pair, "pair");
    harness_wait(connected, &pair, 5000);
    part(&pair);
}
END_TEST

/* --- the span ------------------------------------------------------------- */

static void expect_span(struct pair *pair, uint64_t start, uint64_t size)
{
    harness_wait(connected, pair, 5000);
    ck_assert_uint_eq(memexpose_device_reg_read(pair->connecting,
                                                MEMEXPOSE_REG_SPAN_START, 8),
                      start);
    ck_assert_uint_eq(memexpose_device_reg_read(pair->connecting,
                                                MEMEXPOSE_REG_SPAN_SIZE, 8),
                      size);
}

static void connect_anew(struct pair *pair)
{
    memexpose_device_disable(pair->connecting);
    memexpose_device_enable(pair->connecting, 0);
}

START_TEST(the_span_is_that_of_the_moment)
{
    struct memexpose_space *space = memexpose_space_create();
    struct memexpose_device_ops ops;
    struct pair pair;

    memexpose_space_ops(&ops);
    pair.listening = new_device(&ops, space, MEMEXPOSE_USER_ANY);
    pair.connecting = new_device(NULL, NULL, MEMEXPOSE_USER_ANY);
    join(&pair, "pair");
    expect_span(&pair, 0, 0);
    ck_assert_int_eq(memexpose_space_add_ram(space, 0x10000, 0x2000, -1, 0, 0),
                     0);
    connect_anew(&pair);
    expect_span(&pair, 0x10000, 0x2000);
    ck_assert_int_eq(memexpose_device_set_span(pair.listening, 0x1000,
                                               UINT64_MAX), 0);
    connect_anew(&pair);
    expect_span(&pair, 0x1000, UINT64_MAX);
    ck_assert_int_eq(memexpose_device_set_span(pair.listening, UINT64_MAX, 2),
                     -EINVAL);
    part(&pair);
    memexpose_space_destroy(space);
}
END_TEST

/* --- a file that is shortened --------------------------------------------- */

static struct memexpose_space *faulting;
static unsigned patched;

static void on_sigbus(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (memexpose_space_handle_sigbus(faulting, info->si_addr)) {
        patched++;
    } else {
        signal(number, SIG_DFL);
    }
}

START_TEST(survives_a_file_that_is_shortened)
{
    struct sigaction action = { .sa_sigaction = on_sigbus,
                                .sa_flags = SA_SIGINFO };
    int fd = memfd_create("shortened", MFD_CLOEXEC);
    uint64_t value = 0;

    faulting = memexpose_space_create();
    ck_assert_int_eq(ftruncate(fd, 0x4000), 0);
    ck_assert_int_eq(memexpose_space_add_ram(faulting, 0, 0x4000,
                                             fcntl(fd, F_DUPFD_CLOEXEC, 0), 0,
                                             0), 0);
    ck_assert_int_eq(memexpose_space_write(faulting, 0x3000, 8, 7), 0);
    ck_assert_int_eq(memexpose_space_write(faulting, 0, 8, 9), 0);
    sigaction(SIGBUS, &action, NULL);
    ck_assert_int_eq(ftruncate(fd, 0x1000), 0);
    ck_assert_int_eq(memexpose_space_read(faulting, 0x3000, 8, &value), 0);
    ck_assert_uint_eq(value, 0);
    ck_assert_uint_eq(patched, 1);
    ck_assert_int_eq(memexpose_space_read(faulting, 0, 8, &value), 0);
    ck_assert_uint_eq(value, 9);
    ck_assert(!memexpose_space_handle_sigbus(faulting, &value));
    ck_assert_uint_eq(patched, 1);
    memexpose_space_destroy(faulting);
    close(fd);
}
END_TEST

/* Nobody may add a seal to memory that the library made. */
START_TEST(new_memory_takes_no_further_seal)
{
    struct memexpose_space *space = memexpose_space_create();
    struct memexpose_share share;

    ck_assert_int_eq(memexpose_space_add_ram(space, 0, 0x1000, -1, 0, 0), 0);
    ck_assert_int_eq(memexpose_space_resolve(space, 0, &share), 1);
    ck_assert_int_eq(fcntl(share.fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_int_ne(ftruncate(share.fd, 0), 0);
    close(share.fd);
    memexpose_space_destroy(space);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("safety");
    TCase *tcase = harness_tcase("safety");

    tcase_add_checked_fixture(tcase, make_group, drop_group);
    tcase_add_test(tcase, whoever_may_connect_is_the_default);
    tcase_add_test(tcase, only_one_user_is_let_in);
    tcase_add_test(tcase, no_user_has_such_a_number);
    tcase_add_test(tcase, sockets_refuse_another_user);
    tcase_add_test(tcase, sockets_let_the_user_in);
    tcase_add_test(tcase, the_span_is_that_of_the_moment);
    tcase_add_test(tcase, survives_a_file_that_is_shortened);
    tcase_add_test(tcase, new_memory_takes_no_further_seal);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
