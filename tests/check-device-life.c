/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of a device: transports of the consumer's, and callbacks that
 * destroy, disable or reset the device that they were called for.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "rig.h"

/* --- creating ------------------------------------------------------------ */

START_TEST(refuses_what_cannot_be)
{
    struct memexpose_group *group = memexpose_group_create(NULL, NULL);
    struct memexpose_device_config good, config;
    struct memexpose_device_ops ops = { .size = sizeof(size_t) - 1 };

    memexpose_device_config_init(&good);
    ck_assert_ptr_null(memexpose_device_create(group, &ops, NULL, NULL));
    ck_assert_int_eq(errno, EINVAL);

#define REFUSED(member, value) do { \
        config = good; \
        config.member = (value); \
        errno = 0; \
        ck_assert_ptr_null(memexpose_device_create(group, NULL, NULL, \
                                                   &config)); \
        ck_assert_int_eq(errno, EINVAL); \
    } while (0)
    REFUSED(size, sizeof(size_t) - 1);
    REFUSED(name, "123456789012345678901234567890123");
    REFUSED(name, NULL);
    REFUSED(role, MEMEXPOSE_ROLE_CONNECT + 1);
    REFUSED(hello, MEMEXPOSE_HELLO_REQUIRE + 1);
    REFUSED(subpriority, MEMEXPOSE_SUBPRIORITY_AUTO + 1);
    REFUSED(seals, MEMEXPOSE_SEALS_REQUIRE + 1);
    REFUSED(request_timeout, 0);
    REFUSED(map_change_timeout, -1);
    REFUSED(retry, 0);
    REFUSED(max_ranges, 0);
    config = good;
    config.span_start = 0x1000;
    config.span_size = UINT64_MAX - 0xff;
    ck_assert_ptr_null(memexpose_device_create(group, NULL, NULL, &config));
    ck_assert_int_eq(memexpose_group_destroy(group), 0);
}
END_TEST

START_TEST(a_group_outlives_its_devices)
{
    struct memexpose_group *group = memexpose_group_create(NULL, NULL);
    struct memexpose_device *device = memexpose_device_create(group, NULL,
                                                              NULL, NULL);

    ck_assert_ptr_nonnull(device);
    ck_assert_int_eq(memexpose_group_destroy(group), -EBUSY);
    memexpose_device_destroy(device);
    memexpose_device_destroy(NULL);
    ck_assert_int_eq(memexpose_group_destroy(group), 0);
    ck_assert_int_eq(memexpose_group_destroy(NULL), 0);
}
END_TEST

/* Without callbacks nothing is there, and nothing breaks. */
START_TEST(works_without_callbacks)
{
    struct rig rig;

    rig_init(&rig, MEMEXPOSE_ROLE_LISTEN);
    rig.group = memexpose_group_create(NULL, NULL);
    rig.device = memexpose_device_create(rig.group, NULL, NULL, &rig.config);
    rig_connect(&rig);
    rig_ask(&rig, say_read(3, 0, 8), say_read_ret(3, 2, 0, NULL));
    rig_ask(&rig, say_write(3, 0, 1, 8), say_write_ret(3, 2, NULL));
    peer_send(&rig.peer, PEER_INTR, say_intr(1, 1));
    rig_ask(&rig, say_inv(1, 0, 1), say_inv_ret(1));
    rig_end(&rig);
}
END_TEST

/* --- transports ---------------------------------------------------------- */

struct transport {
    unsigned opens, refusals, closes[PEER_LINKS];
};

static void count_open(void *opaque)
{
    ((struct transport *)opaque)->opens++;
}

static void count_refusal(void *opaque)
{
    ((struct transport *)opaque)->refusals++;
}

static void count_close(void *opaque, enum memexpose_link link)
{
    ((struct transport *)opaque)->closes[link]++;
}

static const struct memexpose_transport_ops counting = {
    .size = sizeof(counting),
    .open = count_open,
    .refuse = count_refusal,
    .closed = count_close,
};

START_TEST(tells_its_transport)
{
    struct transport seen = { 0 };
    struct rig rig;

    rig_init(&rig, ROLE(_i));
    rig_start(&rig);
    ck_assert_int_eq(memexpose_device_set_transport(rig.device, &counting,
                                                    &seen), 0);
    ck_assert_uint_eq(seen.opens, 1);
    ck_assert_int_eq(memexpose_device_set_transport(rig.device, &counting,
                                                    &seen), -EEXIST);
    ck_assert_int_eq(memexpose_device_listen(rig.device, "a", "b"), -EEXIST);
    ck_assert_int_eq(memexpose_device_connect(rig.device, "a", "b"), -EEXIST);
    rig_connect(&rig);
    ck_assert_uint_eq(seen.closes[0] + seen.closes[1], 0);
    peer_close(&rig.peer);
    rig_drive(&rig);
    ck_assert_uint_eq(seen.closes[0], 1);
    ck_assert_uint_eq(seen.closes[1], 1);
    ck_assert_uint_eq(seen.opens, 1);
    rig_connect(&rig);
    ck_assert_int_eq(memexpose_device_enable(rig.device, 0), 0);
    ck_assert_uint_eq(seen.opens, 1);
    memexpose_device_disable(rig.device);
    ck_assert_uint_eq(seen.closes[0], 2);
    ck_assert_uint_eq(seen.closes[1], 2);
    ck_assert_uint_eq(seen.refusals, 1);
    ck_assert_int_eq(memexpose_device_enable(rig.device, 0), -EINPROGRESS);
    ck_assert_uint_eq(seen.opens, 2);
    rig_connect(&rig);
    rig_expect_served(&rig);
    memexpose_device_reset(rig.device);
    ck_assert_uint_eq(seen.closes[0], 3);
    ck_assert_uint_eq(seen.refusals, 1);
    rig_connect(&rig);
    rig_end(&rig);
    ck_assert_uint_eq(seen.closes[0], 4);
    ck_assert_uint_eq(seen.closes[1], 4);
}
END_TEST

START_TEST(refuses_other_descriptors)
{
    struct memexpose_transport_ops small = { .size = 1 };
    struct rig rig;
    int theirs[PEER_LINKS];

    rig_up(&rig, ROLE(_i));
    ck_assert_int_eq(memexpose_device_set_transport(rig.device, &small, NULL),
                     -EINVAL);
    ck_assert_int_eq(memexpose_device_attach(rig.device, MEMEXPOSE_LINK_MEM,
                                             -1), -EBADF);
    ck_assert_int_eq(memexpose_device_attach(rig.device, MEMEXPOSE_LINK_MEM,
                                             12345), -EBADF);
    {
        struct peer peer = rig.peer, second;

        peer_open(&second, theirs);
        ck_assert_int_eq(memexpose_device_attach(
            rig.device, MEMEXPOSE_LINK_MEM, theirs[PEER_MEM]), -EBUSY);
        close(theirs[PEER_MEM]);
        close(theirs[PEER_INTR]);
        peer_close(&second);
        rig.peer = peer;
    }
    rig_expect_served(&rig);
    rig_end(&rig);
}
END_TEST

/* A half whose peer has gone makes room for the next. */
START_TEST(replaces_a_half_that_has_gone)
{
    struct rig rig;
    int theirs[PEER_LINKS];

    rig_init(&rig, MEMEXPOSE_ROLE_LISTEN);
    rig_start(&rig);
    peer_open(&rig.peer, theirs);
    ck_assert_int_eq(memexpose_device_attach(rig.device,
                                             (enum memexpose_link)_i,
                                             theirs[_i]), 0);
    close(theirs[!_i]);
    rig_connect(&rig);
    rig_expect_served(&rig);
    rig_end(&rig);
}
END_TEST

/* --- the library's own sockets ------------------------------------------- */

START_TEST(listens_where_it_can)
{
    char mem[HARNESS_PATH], intr[HARNESS_PATH], file[HARNESS_PATH];
    struct rig one, other;
    int fd;

    harness_path(mem, "mem");
    harness_path(intr, "intr");
    harness_path(file, "file");
    fd = open(file, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    close(fd);
    rig_init(&one, MEMEXPOSE_ROLE_LISTEN);
    rig_start(&one);
    rig_init(&other, MEMEXPOSE_ROLE_LISTEN);
    rig_start(&other);
    ck_assert_int_eq(memexpose_device_listen(one.device, mem, file), -EEXIST);
    ck_assert_int_eq(access(mem, F_OK), -1);
    ck_assert_int_eq(memexpose_device_listen(one.device, mem, intr), 0);
    ck_assert_int_eq(memexpose_device_listen(other.device, mem, intr),
                     -EADDRINUSE);
    rig_end(&one);
    ck_assert_int_eq(access(mem, F_OK), -1);
    ck_assert_int_eq(access(intr, F_OK), -1);
    rig_end(&other);
}
END_TEST

/* --- callbacks that end it all ------------------------------------------- */

enum where {
    IN_READ, IN_WRITE, IN_RESOLVE, IN_MAP, IN_UNMAP, IN_INTERRUPT, IN_LINK_UP,
    IN_LINK_DOWN, WHERES
};

enum what { DESTROY, DISABLE, RESET, ENABLE, WHATS };

struct end {
    enum where where;
    enum what what;
    bool done;
};

static void act(struct rig *rig, enum where where)
{
    struct end *end = rig->arg;
    struct memexpose_device *device = rig->device;

    if (end->where != where || end->done) {
        return;
    }
    end->done = true;
    switch (end->what) {
    case DESTROY:
        rig->device = NULL;
        memexpose_device_destroy(device);
        break;
    case DISABLE:
        memexpose_device_disable(device);
        break;
    case RESET:
        memexpose_device_reset(device);
        break;
    case ENABLE:
        memexpose_device_enable(device, MEMEXPOSE_FOREVER);
        break;
    case WHATS:
        break;
    }
}

static int in_read(struct rig *rig, uint64_t address, unsigned bytes,
                   uint64_t *value)
{
    act(rig, IN_READ);
    return memexpose_space_read(rig->space, address, bytes, value);
}

static int in_write(struct rig *rig, uint64_t address, unsigned bytes,
                    uint64_t value)
{
    act(rig, IN_WRITE);
    return memexpose_space_write(rig->space, address, bytes, value);
}

static int in_resolve(struct rig *rig, uint64_t address,
                      struct memexpose_share *share)
{
    int ret = memexpose_space_resolve(rig->space, address, share);

    act(rig, IN_RESOLVE);
    return ret;
}

static int in_map(struct rig *rig, const struct memexpose_range *range)
{
    *(volatile uint8_t *)range->host = 1;
    act(rig, IN_MAP);
    *(volatile uint8_t *)range->host = 2;
    return 0;
}

static int in_unmap(struct rig *rig, const struct memexpose_range *range)
{
    *(volatile uint8_t *)range->host = 1;
    act(rig, IN_UNMAP);
    *(volatile uint8_t *)range->host = 2;
    return 0;
}

static void in_interrupt(struct rig *rig, bool level, bool rise)
{
    (void)level;
    (void)rise;
    act(rig, IN_INTERRUPT);
}

static void in_link(struct rig *rig, uint64_t state)
{
    if ((state & 7) == 7) {
        act(rig, IN_LINK_UP);
    } else if ((state & 7) == 0) {
        act(rig, IN_LINK_DOWN);
    }
}

static void prepare(struct rig *rig, struct end *end)
{
    rig_init(rig, MEMEXPOSE_ROLE_LISTEN);
    rig->on_read = in_read;
    rig->on_write = in_write;
    rig->on_resolve = in_resolve;
    rig->on_map = in_map;
    rig->on_unmap = in_unmap;
    rig->on_interrupt = in_interrupt;
    rig->on_link = in_link;
    rig->arg = end;
    rig_start(rig);
}

/* An access whose answer has a share; it may end in any way. */
static void map_there(struct rig *rig)
{
    const struct offer offer = { .start = 0x100000, .size = 0x1000 };
    struct access access;
    int fd = peer_memory(0x1000, 0, true);

    begin_read(&access, rig, offer.start, 1);
    peer_expect(&rig->peer, PEER_MEM, say_read(2, offer.start, 1));
    peer_send_fd(&rig->peer, PEER_MEM, say_read_ret(2, 0, 1, &offer), fd);
    end_access(&access);
    rig_drive(rig);
    close(fd);
}

static void provoke(struct rig *rig, enum where where)
{
    switch (where) {
    case IN_READ:
    case IN_RESOLVE:
        peer_send(&rig->peer, PEER_MEM, say_read(3, RIG_RAM, 1));
        break;
    case IN_WRITE:
        peer_send(&rig->peer, PEER_MEM, say_write(3, RIG_RAM, 1, 1));
        break;
    case IN_MAP:
        map_there(rig);
        break;
    case IN_UNMAP:
        map_there(rig);
        peer_send(&rig->peer, PEER_MEM, say_inv(1, 0, UINT64_MAX));
        break;
    case IN_INTERRUPT:
        peer_send(&rig->peer, PEER_INTR, say_intr(1, 1));
        break;
    case IN_LINK_DOWN:
        peer_close(&rig->peer);
        break;
    case IN_LINK_UP:
    case WHERES:
        break;
    }
    rig_drive(rig);
}

/* Every callback does each of these, and everything goes on. */
START_TEST(ends_within_callbacks)
{
    struct end end = { .where = (enum where)(_i / WHATS),
                       .what = (enum what)(_i % WHATS) };
    int theirs[PEER_LINKS];
    struct rig rig;

    prepare(&rig, &end);
    if (end.where == IN_LINK_UP) {
        peer_open(&rig.peer, theirs);
        ck_assert_int_eq(memexpose_device_attach(
            rig.device, MEMEXPOSE_LINK_MEM, theirs[PEER_MEM]), 0);
        ck_assert_int_eq(memexpose_device_attach(
            rig.device, MEMEXPOSE_LINK_INTR, theirs[PEER_INTR]), 0);
    } else {
        rig_connect(&rig);
        ck_assert_int_eq(memexpose_device_enable(rig.device, 0), 0);
        provoke(&rig, end.where);
    }
    ck_assert(end.done);
    if (end.what == DESTROY) {
        if (end.where != IN_LINK_DOWN) {
            peer_expect_end(&rig.peer, PEER_INTR);
        }
    } else {
        if (end.what == DISABLE) {
            ck_assert_int_eq(memexpose_device_enable(rig.device, 0),
                             -EINPROGRESS);
        }
        if (end.what == ENABLE && end.where != IN_LINK_DOWN) {
            memexpose_device_disable(rig.device);
            memexpose_device_enable(rig.device, 0);
        }
        if (end.what == RESET && end.where == IN_LINK_UP) {
            memexpose_device_enable(rig.device, 0);
            memexpose_device_reset(rig.device);
        }
        rig_connect(&rig);
        rig_expect_served(&rig);
    }
    rig_end(&rig);
}
END_TEST

/* Destroying waits for callbacks that other threads are in. */
struct slow {
    atomic_bool entered, leave, left;
};

static int read_slowly(struct rig *rig, uint64_t address, unsigned bytes,
                       uint64_t *value)
{
    struct slow *slow = rig->arg;

    (void)address;
    (void)bytes;
    *value = 0;
    slow->entered = true;
    while (!slow->leave) {
        sched_yield();
    }
    slow->left = true;
    return MEMEXPOSE_RESULT_OK;
}

static void *destroy_device(void *opaque)
{
    struct rig *rig = opaque;
    struct slow *slow = rig->arg;

    memexpose_device_destroy(rig->device);
    ck_assert(slow->left);
    rig->device = NULL;
    return NULL;
}

START_TEST(is_destroyed_during_a_service)
{
    struct slow slow = { false, false, false };
    struct rig rig;
    pthread_t destroyer;

    rig_up(&rig, ROLE(_i));
    rig.on_read = read_slowly;
    rig.arg = &slow;
    peer_send(&rig.peer, PEER_MEM, say_read(rig_peer(&rig, ACCESS), 0, 1));
    rig_drive_beside(&rig);
    while (!slow.entered) {
        sched_yield();
    }
    rig.peer.drive = NULL;
    ck_assert_int_eq(pthread_create(&destroyer, NULL, destroy_device, &rig),
                     0);
    peer_expect_end(&rig.peer, PEER_INTR);  /* it is at it */
    slow.leave = true;
    ck_assert_int_eq(pthread_join(destroyer, NULL), 0);
    rig_driven(&rig);
    ck_assert_ptr_null(rig.device);
    rig_end(&rig);
}
END_TEST

/* A waiting access ends when its device is destroyed. */
START_TEST(is_destroyed_during_an_access)
{
    struct access access;
    struct memexpose_device *device;
    struct rig rig;

    rig_up(&rig, ROLE(_i));
    begin_read(&access, &rig, 0x1000, 1);
    peer_expect(&rig.peer, PEER_MEM, say_read(rig_own(&rig, ACCESS), 0x1000,
                                              1));
    device = rig.device;
    rig.device = NULL;
    memexpose_device_destroy(device);
    ck_assert_int_eq(end_access(&access), -ECANCELED);
    rig_end(&rig);
}
END_TEST

/* --- main ---------------------------------------------------------------- */

int main(void)
{
    Suite *suite = suite_create("device-life");
    TCase *tcase = harness_tcase("creation");

    tcase_add_test(tcase, refuses_what_cannot_be);
    tcase_add_test(tcase, a_group_outlives_its_devices);
    tcase_add_test(tcase, works_without_callbacks);
    suite_add_tcase(suite, tcase);
    tcase = harness_tcase("transports");
    tcase_add_loop_test(tcase, tells_its_transport, 0, 2);
    tcase_add_loop_test(tcase, refuses_other_descriptors, 0, 2);
    tcase_add_loop_test(tcase, replaces_a_half_that_has_gone, 0, 2);
    tcase_add_test(tcase, listens_where_it_can);
    suite_add_tcase(suite, tcase);
    tcase = harness_tcase("ends");
    tcase_add_loop_test(tcase, ends_within_callbacks, 0, WHERES * WHATS);
    tcase_add_loop_test(tcase, is_destroyed_during_a_service, 0, 2);
    tcase_add_loop_test(tcase, is_destroyed_during_an_access, 0, 2);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
