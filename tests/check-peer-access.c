/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device as importer, seen by a raw peer: accesses over the link and their
 * deadlines (protocol sections 2, 3 and 7).
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "rig.h"

enum { AT = 0x100000, SIZE = 0x4000 };

static const struct offer plain = { .start = AT, .size = SIZE };

/* Started, connected and enabled, with what the test has configured. */
static void bring_up(struct rig *rig)
{
    rig_start(rig);
    rig_connect(rig);
    ck_assert_int_eq(memexpose_device_enable(rig->device, 0), 0);
}

/* The next read of @address goes over the link. */
static void expect_link(struct rig *rig, uint64_t address)
{
    rig_offer(rig, address, NULL, -1);
}

/* --- accesses (section 2) ------------------------------------------------ */

START_TEST(reads_every_size)
{
    static const unsigned sizes[] = { 1, 2, 4, 8 };
    static const uint64_t values[] = { 0x88, 0x7788, 0x55667788,
                                       0x1122334455667788 };
    struct access access;
    struct rig rig;
    uint8_t p;

    rig_up(&rig, ROLE(_i));
    p = rig_own(&rig, ACCESS);
    for (unsigned i = 0; i < 4; i++) {
        begin_read(&access, &rig, 0x1003, sizes[i]);
        peer_expect(&rig.peer, PEER_MEM,
                    say_read(p, 0x1003, (uint8_t)sizes[i]));
        /* Bytes beyond the size are not looked at. */
        peer_send(&rig.peer, PEER_MEM,
                  say_read_ret(p, 0, 0x1122334455667788, NULL));
        ck_assert_int_eq(end_access(&access), 0);
        ck_assert_uint_eq(access.value, values[i]);
    }
    ck_assert_uint_eq(rig_stats(&rig).requests_sent, 4);
    rig_end(&rig);
}
END_TEST

START_TEST(writes_every_size)
{
    static const unsigned sizes[] = { 1, 2, 4, 8 };
    static const uint64_t values[] = { 0x88, 0x7788, 0x55667788,
                                       0x1122334455667788 };
    struct access access;
    struct rig rig;
    uint8_t p;

    rig_up(&rig, ROLE(_i));
    p = rig_own(&rig, ACCESS);
    for (unsigned i = 0; i < 4; i++) {
        begin_write(&access, &rig, 0x1003, sizes[i], 0x1122334455667788);
        peer_expect(&rig.peer, PEER_MEM,
                    say_write(p, 0x1003, values[i], (uint8_t)sizes[i]));
        peer_send(&rig.peer, PEER_MEM, say_write_ret(p, 0, NULL));
        ck_assert_int_eq(end_access(&access), 0);
    }
    rig_end(&rig);
}
END_TEST

START_TEST(sends_nothing_of_other_sizes)
{
    static const unsigned sizes[] = { 0, 3, 5, 16, 256, 257 };
    struct rig rig;
    uint64_t value;

    rig_up(&rig, ROLE(_i));
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        ck_assert_int_eq(memexpose_read(rig.device, 0, sizes[i], &value),
                         -EINVAL);
        ck_assert_uint_eq(value, UINT64_MAX);
        ck_assert_int_eq(memexpose_write(rig.device, 0, sizes[i], 0),
                         -EINVAL);
    }
    peer_expect_nothing(&rig.peer, PEER_MEM);
    rig_end(&rig);
}
END_TEST

/* Any value but 0 is a failure. */
START_TEST(takes_results)
{
    static const uint32_t results[] = { 1, 2, 4, 6, 8, 0x40000000,
                                        0x80000000, 0xffffffff };
    struct access access;
    struct rig rig;
    uint8_t p;

    rig_up(&rig, ROLE(_i));
    p = rig_own(&rig, ACCESS);
    for (unsigned i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
        begin_read(&access, &rig, 0x1000, 4);
        peer_expect(&rig.peer, PEER_MEM, say_read(p, 0x1000, 4));
        peer_send(&rig.peer, PEER_MEM, say_read_ret(p, results[i], 5, NULL));
        ck_assert_int_gt(end_access(&access), 0);
        if (results[i] <= 8) {
            ck_assert_int_eq(access.ret, (int)results[i]);
        }
        ck_assert_uint_eq(access.value, UINT64_MAX);
        begin_write(&access, &rig, 0x1000, 4, 1);
        peer_expect(&rig.peer, PEER_MEM, say_write(p, 0x1000, 1, 4));
        peer_send(&rig.peer, PEER_MEM, say_write_ret(p, results[i], NULL));
        ck_assert_int_gt(end_access(&access), 0);
    }
    rig_end(&rig);
}
END_TEST

/* The bytes behind kind 0 are not looked at. */
START_TEST(ignores_bytes_behind_kind_0)
{
    struct access access;
    struct bytes answer;
    struct rig rig;
    uint8_t p;

    rig_up(&rig, ROLE(_i));
    p = rig_own(&rig, ACCESS);
    begin_read(&access, &rig, 0x1000, 4);
    peer_expect(&rig.peer, PEER_MEM, say_read(p, 0x1000, 4));
    answer = say_read_ret(p, 0, 5, NULL);
    memset(answer.at + 19, 0xff, 26);
    peer_send(&rig.peer, PEER_MEM, answer);
    ck_assert_int_eq(end_access(&access), 0);
    ck_assert_uint_eq(access.value, 5);
    ck_assert_uint_eq(rig_stats(&rig).shares_received, 0);
    rig_end(&rig);
}
END_TEST

/* Its request stays outstanding, its answer is discarded. */
START_TEST(discards_the_answer_to_a_cancelled_access)
{
    struct access access, next;
    int fd = peer_memory(SIZE, 0x21, true);
    size_t descriptors;
    struct rig rig;
    uint8_t p;

    rig_up(&rig, ROLE(_i));
    p = rig_own(&rig, ACCESS);
    descriptors = harness_descriptors();
    begin_read(&access, &rig, AT, 1);
    peer_expect(&rig.peer, PEER_MEM, say_read(p, AT, 1));
    memexpose_device_cancel(rig.device);
    ck_assert_int_eq(end_access(&access), -ECANCELED);
    ck_assert_uint_eq(access.value, UINT64_MAX);
    begin_read(&next, &rig, 0x2000, 1);
    peer_expect_nothing(&rig.peer, PEER_MEM);
    peer_send_fd(&rig.peer, PEER_MEM, say_read_ret(p, 0, 1, &plain), fd);
    peer_expect(&rig.peer, PEER_MEM, say_read(p, 0x2000, 1));
    peer_send(&rig.peer, PEER_MEM, say_read_ret(p, 0, 7, NULL));
    ck_assert_int_eq(end_access(&next), 0);
    ck_assert_uint_eq(next.value, 7);
    ck_assert_uint_eq(harness_descriptors(), descriptors);
    ck_assert_uint_eq(rig_ranges(&rig), 0);
    close(fd);
    rig_end(&rig);
}
END_TEST

/* --- deadlines (section 7) ----------------------------------------------- */

START_TEST(closes_when_nothing_is_answered)
{
    struct access access;
    struct rig rig;
    int64_t begun, took;

    rig_init(&rig, ROLE(_i));
    rig.config.request_timeout = 150 * MS;
    bring_up(&rig);
    begun = memexpose_group_now(rig.group);
    begin_read(&access, &rig, AT, 1);
    peer_expect(&rig.peer, PEER_MEM, say_read(rig_own(&rig, ACCESS), AT, 1));
    ck_assert_int_eq(end_access(&access), -ETIMEDOUT);
    took = memexpose_group_now(rig.group) - begun;
    ck_assert_int_ge(took, 150 * MS);
    ck_assert_int_lt(took, harness_milliseconds(1000) * MS);
    peer_expect_end(&rig.peer, PEER_MEM);
    peer_expect_end(&rig.peer, PEER_INTR);
    ck_assert_uint_eq(harness_logged("link closed"), 1);
    ck_assert_uint_eq(rig_stats(&rig).violations, 0);
    rig_connect(&rig);
    expect_link(&rig, AT);
    rig_end(&rig);
}
END_TEST

/* A cancelled access keeps its deadline, and so does one behind it. */
START_TEST(closes_when_a_cancelled_one_is_not_answered)
{
    struct access access;
    struct rig rig;

    rig_init(&rig, ROLE(_i));
    rig.config.request_timeout = harness_milliseconds(150) * MS;
    bring_up(&rig);
    begin_read(&access, &rig, AT, 1);
    peer_expect(&rig.peer, PEER_MEM, say_read(rig_own(&rig, ACCESS), AT, 1));
    memexpose_group_cancel(rig.group);
    ck_assert_int_eq(end_access(&access), -ECANCELED);
    peer_expect_end(&rig.peer, PEER_MEM);
    rig_end(&rig);
}
END_TEST

START_TEST(one_that_queues_has_a_deadline_too)
{
    struct access first, second;
    struct rig rig;
    uint8_t p;

    rig_init(&rig, ROLE(_i));
    rig.config.request_timeout = 150 * MS;
    bring_up(&rig);
    p = rig_own(&rig, ACCESS);
    begin_read(&first, &rig, AT, 1);
    peer_expect(&rig.peer, PEER_MEM, say_read(p, AT, 1));
    begin_read(&second, &rig, AT + 8, 1);
    ck_assert_int_eq(end_access(&first), -ETIMEDOUT);
    ck_assert_int_lt(end_access(&second), 0);
    peer_expect_end(&rig.peer, PEER_MEM);
    rig_end(&rig);
}
END_TEST

START_TEST(is_refused_without_links)
{
    struct rig rig;
    uint64_t value;

    rig_init(&rig, ROLE(_i));
    rig_start(&rig);
    ck_assert_int_eq(memexpose_read(rig.device, AT, 1, &value), -ENOTCONN);
    rig_connect(&rig);
    ck_assert_int_eq(memexpose_read(rig.device, AT, 1, &value), -ENOTCONN);
    ck_assert_uint_eq(value, UINT64_MAX);
    ck_assert_int_eq(memexpose_write(rig.device, AT, 1, 0), -ENOTCONN);
    ck_assert_int_eq(memexpose_device_enable(rig.device, 0), 0);
    expect_link(&rig, AT);
    peer_close(&rig.peer);
    rig_drive(&rig);
    ck_assert_int_eq(memexpose_read(rig.device, AT, 1, &value), -ENOTCONN);
    rig_end(&rig);
}
END_TEST

/* --- main ---------------------------------------------------------------- */

static void both_roles(TCase *tcase, const TTest *test)
{
    tcase_add_loop_test(tcase, test, 0, 2);
}

static TCase *accesses(void)
{
    TCase *tcase = harness_tcase("accesses");

    both_roles(tcase, reads_every_size);
    both_roles(tcase, writes_every_size);
    both_roles(tcase, sends_nothing_of_other_sizes);
    both_roles(tcase, takes_results);
    both_roles(tcase, ignores_bytes_behind_kind_0);
    both_roles(tcase, discards_the_answer_to_a_cancelled_access);
    both_roles(tcase, closes_when_nothing_is_answered);
    both_roles(tcase, closes_when_a_cancelled_one_is_not_answered);
    both_roles(tcase, one_that_queues_has_a_deadline_too);
    both_roles(tcase, is_refused_without_links);
    return tcase;
}

int main(void)
{
    Suite *suite = suite_create("peer-access");

    suite_add_tcase(suite, accesses());
    return harness_main(suite);
}
