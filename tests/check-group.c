/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A group and its two drivers (protocol section 3): who waits serves the
 * others, waits end when they are told to, and nobody sleeps over news.
 */
#include "cancels.h"
#include "side.h"

/* --- the event driver ---------------------------------------------------- */

static size_t ready(struct pollfd *fds, size_t count)
{
    int ret = poll(fds, count, 0);

    ck_assert_int_ge(ret, 0);
    return (size_t)ret;
}

/* Go round until nothing is ready, which must not take long; what is polled
 * then is in @fds. */
static size_t quiet(struct pollfd *fds, size_t max, uint64_t *generation)
{
    unsigned rounds;

    for (rounds = 0; rounds < 4; rounds++) {
        size_t count = memexpose_group_poll(group, fds, max, NULL,
                                            generation);

        ck_assert_uint_le(count, max);
        if (ready(fds, count) == 0) {
            return count;
        }
        memexpose_group_process(group, fds, count);
    }
    ck_abort_msg("the loop spins");
}

START_TEST(processed_by_a_loop)
{
    struct pollfd fds[8];
    struct side side;
    size_t count;

    connect_side(&side);
    count = quiet(fds, 8, NULL);
    ck_assert_uint_eq(count, 3);
    say(&side, MX_READ, 3, 0x40, 0);
    ck_assert_uint_eq(ready(fds, count), 1);
    memexpose_group_process(group, fds, count);
    ck_assert_uint_eq(expect(&side, MX_READ_RET).value, 0x40);
    destroy(&side);
}
END_TEST

/* What is polled changes behind the loop's back: the old set tells it. */
START_TEST(loop_hears_of_changes)
{
    struct pollfd fds[8];
    struct side side;
    uint64_t generation, next;
    size_t count;

    create(&side);
    count = quiet(fds, 8, &generation);
    ck_assert_uint_eq(count, 1);
    attach(&side);
    ck_assert_uint_eq(ready(fds, count), 1);
    memexpose_group_process(group, fds, count);
    count = quiet(fds, 8, &next);
    ck_assert_uint_eq(count, 3);
    ck_assert_uint_ne(next, generation);

    process();                  /* nothing: all stays as it is */
    ck_assert_uint_eq(memexpose_group_poll(group, fds, 8, NULL, &generation),
                      3);
    ck_assert_uint_eq(next, generation);

    memexpose_device_disable(side.device);
    fds[1].fd = fds[2].fd = -1; /* closed by now */
    ck_assert_uint_eq(ready(fds, 3), 1);
    memexpose_group_process(group, fds, 1);
    count = quiet(fds, 8, &next);
    ck_assert_uint_eq(count, 1);
    ck_assert_uint_ne(next, generation);
    ck_assert_uint_eq(memexpose_group_poll(group, NULL, 0, NULL, NULL), 1);
    destroy(&side);
}
END_TEST

static void *run_loop_once(void *opaque)
{
    struct worker *worker = opaque;
    struct pollfd fds[8];
    size_t count = memexpose_group_poll(group, fds, 8, NULL, NULL);

    sem_post(&waits);
    worker->ret = memexpose_wait(fds, count, MEMEXPOSE_FOREVER);
    memexpose_group_process(group, fds, count);
    return NULL;
}

START_TEST(loop_is_woken)
{
    struct pollfd fds[8];
    struct worker loop;
    struct side side;

    create(&side);
    quiet(fds, 8, NULL);
    begin(&loop, run_loop_once, NULL, 0);
    until_waiting();
    attach(&side);
    finish(&loop);
    ck_assert_int_eq(loop.ret, 1);
    destroy(&side);
}
END_TEST

/* --- looking again ------------------------------------------------------- */

START_TEST(kept_until_the_map_change_ends)
{
    struct pollfd fds[8];
    struct side side;
    size_t count;

    connect_side(&side);
    memexpose_map_change_begin(group);
    memexpose_map_change_begin(group);
    say(&side, MX_READ, 3, 0x40, 0);
    process();
    expect_nothing(&side);
    memexpose_map_change_end(group);
    process();
    expect_nothing(&side);
    count = quiet(fds, 8, NULL);
    memexpose_map_change_end(group);
    expect_nothing(&side);              /* not within the end ... */
    ck_assert_uint_eq(ready(fds, count), 1);    /* the loop is told */
    memexpose_group_process(group, fds, count);
    ck_assert_uint_eq(expect(&side, MX_READ_RET).value, 0x40);
    destroy(&side);
}
END_TEST

static sem_t service_began, service_may_end;

static void hold_service(struct side *side)
{
    (void)side;
    sem_post(&service_began);
    sem_wait(&service_may_end);
}

/* One service at a time in the group; invalidations go on beside it. */
START_TEST(kept_until_the_service_ends)
{
    struct side one, other;
    struct worker server;

    connect_side(&one);
    connect_side(&other);
    sem_init(&service_began, 0, 0);
    sem_init(&service_may_end, 0, 0);
    in_read = hold_service;
    say(&one, MX_READ, 3, 0x40, 0);
    begin(&server, run_process, NULL, 0);
    sem_wait(&service_began);
    in_read = NULL;
    say(&other, MX_READ, 3, 0x48, 0);
    say(&other, MX_REG_INV, 1, 0, 0x1000);
    process();
    expect(&other, MX_REG_INV_RET);
    expect_nothing(&other);
    expect_nothing(&one);
    sem_post(&service_may_end);
    finish(&server);
    ck_assert_uint_eq(expect(&one, MX_READ_RET).value, 0x40);
    ck_assert_uint_eq(expect(&other, MX_READ_RET).value, 0x48);
    destroy(&one);
    destroy(&other);
    sem_destroy(&service_began);
    sem_destroy(&service_may_end);
}
END_TEST

/* --- waiting ------------------------------------------------------------- */

START_TEST(who_waits_serves_all)
{
    struct side one, other;
    struct worker reader;

    connect_side(&one);
    connect_side(&other);
    begin(&reader, run_read, one.device, 0x1000);
    ck_assert_uint_eq(expect(&one, MX_READ).offset, 0x1000);
    say(&other, MX_READ, 3, 0x40, 0);
    ck_assert_uint_eq(expect(&other, MX_READ_RET).value, 0x40);
    say(&one, MX_READ_RET, 2, 0, 77);
    finish(&reader);
    ck_assert_int_eq(reader.ret, 0);
    ck_assert_uint_eq(reader.value, 77);
    destroy(&one);
    destroy(&other);
}
END_TEST

/* Whoever of the two reads it, the waiting thread gets the answer. */
START_TEST(processed_beside_a_wait)
{
    struct side side;
    unsigned round;

    connect_side(&side);
    for (round = 0; round < 200; round++) {
        struct worker reader;

        begin(&reader, run_read, side.device, round);
        ck_assert_uint_eq(expect(&side, MX_READ).offset, round);
        say(&side, MX_READ_RET, 2, 0, round * 3);
        process();
        finish(&reader);
        ck_assert_int_eq(reader.ret, 0);
        ck_assert_uint_eq(reader.value, round * 3);
    }
    destroy(&side);
}
END_TEST

START_TEST(two_threads_on_one_device)
{
    struct worker one, other;
    struct mx_message first;
    struct side side;

    connect_side(&side);
    begin(&one, run_read, side.device, 0x1000);
    begin(&other, run_read, side.device, 0x2000);
    first = expect(&side, MX_READ);
    process();
    expect_nothing(&side);      /* one at a time */
    say(&side, MX_READ_RET, 2, 0, first.offset + 1);
    ck_assert_uint_eq(expect(&side, MX_READ).offset,
                      first.offset == 0x1000 ? 0x2000 : 0x1000);
    say(&side, MX_READ_RET, 2, 0, (0x3000 - first.offset) + 1);
    finish(&one);
    finish(&other);
    ck_assert_int_eq(one.ret, 0);
    ck_assert_int_eq(other.ret, 0);
    ck_assert_uint_eq(one.value, 0x1001);
    ck_assert_uint_eq(other.value, 0x2001);
    destroy(&side);
}
END_TEST

/* Both hold a lock of the consumer's while they ask: each must let go of it
 * in its wait, or neither gets on. */
START_TEST(two_threads_with_a_big_lock)
{
    struct worker one, other;
    struct mx_message first;
    struct side side;

    connect_side(&side);
    has_big_lock = true;
    begin(&one, run_read, side.device, 0x1000);
    until_waiting();
    first = expect(&side, MX_READ);
    begin(&other, run_read, side.device, 0x2000);
    until_waiting();
    say(&side, MX_READ_RET, 2, 0, 1);
    ck_assert_uint_eq(first.offset, 0x1000);
    ck_assert_uint_eq(expect(&side, MX_READ).offset, 0x2000);
    say(&side, MX_READ_RET, 2, 0, 2);
    finish(&one);
    finish(&other);
    ck_assert_int_eq(one.ret, 0);
    ck_assert_int_eq(other.ret, 0);
    ck_assert_uint_eq(one.value, 1);
    ck_assert_uint_eq(other.value, 2);
    destroy(&side);
}
END_TEST

START_TEST(links_that_end_wake_all)
{
    struct worker one, other;
    struct side side;

    connect_side(&side);
    begin(&one, run_read, side.device, 0x1000);
    begin(&other, run_read, side.device, 0x2000);
    expect(&side, MX_READ);
    hang_up(&side);
    finish(&one);
    finish(&other);
    ck_assert(one.ret == -ECONNRESET || one.ret == -ENOTCONN);
    ck_assert(other.ret == -ECONNRESET || other.ret == -ENOTCONN);
    ck_assert_uint_eq(one.value, UINT64_MAX);
    memexpose_device_destroy(side.device);
}
END_TEST

/* --- cancelling ---------------------------------------------------------- */

/* Its request stays outstanding, the answer is discarded, the next is sent
 * only then (section 7). */
START_TEST(access_is_cancelled)
{
    struct worker reader, next;
    struct side side;

    connect_side(&side);
    begin(&reader, run_read, side.device, 0x1000);
    expect(&side, MX_READ);
    cancels[_i](&reader);
    finish(&reader);
    ck_assert_int_eq(reader.ret, -ECANCELED);
    ck_assert_uint_eq(reader.value, UINT64_MAX);
    ck_assert(!left(&side));

    begin(&next, run_read, side.device, 0x2000);
    until_waiting();
    process();
    expect_nothing(&side);
    say(&side, MX_READ_RET, 2, 0, 1);
    ck_assert_uint_eq(expect(&side, MX_READ).offset, 0x2000);
    say(&side, MX_READ_RET, 2, 0, 2);
    finish(&next);
    ck_assert_int_eq(next.ret, 0);
    ck_assert_uint_eq(next.value, 2);
    destroy(&side);
}
END_TEST

START_TEST(enable_wait_is_cancelled)
{
    struct worker enabler;
    struct side side;

    create(&side);
    begin(&enabler, run_enable, side.device, 0);
    until_waiting();
    cancels[_i](&enabler);
    finish(&enabler);
    ck_assert_int_eq(enabler.ret, -ECANCELED);
    attach(&side);              /* the enable is still pending */
    ck_assert_uint_eq(memexpose_device_reg_read(side.device, 0, 8), 1);
    destroy(&side);
}
END_TEST

START_TEST(enable_wait_ends_with_the_device)
{
    struct worker enabler;
    struct side side;

    create(&side);
    begin(&enabler, run_enable, side.device, 0);
    until_waiting();
    enders[_i](&side);
    finish(&enabler);
    ck_assert_int_eq(enabler.ret, -ECANCELED);
    destroy(&side);
}
END_TEST

START_TEST(enable_wait_ends_with_the_links)
{
    struct worker enabler;
    struct side side;

    create(&side);
    begin(&enabler, run_enable, side.device, 0);
    until_waiting();
    attach(&side);
    finish(&enabler);
    ck_assert_int_eq(enabler.ret, 0);
    destroy(&side);
}
END_TEST

START_TEST(access_ends_with_the_device)
{
    struct worker reader;
    struct side side;

    connect_side(&side);
    begin(&reader, run_read, side.device, 0x1000);
    expect(&side, MX_READ);
    enders[_i](&side);
    finish(&reader);
    ck_assert_int_lt(reader.ret, 0);
    ck_assert(left(&side));
    destroy(&side);
}
END_TEST

/* --- taking over --------------------------------------------------------- */

/* The thread that waited first holds the reading, and cannot give it back
 * before the map changer lets go of the lock that both want. */
static void check_takeover(bool answer_first)
{
    struct worker reader;
    struct side side;

    connect_side(&side);
    say(&side, MX_READ, 3, SHARED, 0);
    process();
    ck_assert_uint_eq(expect(&side, MX_READ_RET).share.kind, 1);

    has_big_lock = true;
    begin(&reader, run_read, side.device, 0x1000);
    until_waiting();
    expect(&side, MX_READ);
    pthread_mutex_lock(&big_lock);
    keeps_big_lock = true;
    memexpose_map_change_begin(group);
    ck_assert_int_eq(memexpose_map_change_invalidate(side.device,
                                                     SHARED + 1, 1), 0);
    ck_assert_uint_eq(expect(&side, MX_REG_INV).offset, SHARED);
    if (answer_first) {
        say(&side, MX_READ_RET, 2, 0, 5);
    }
    say(&side, MX_REG_INV_RET, 0, 0, 0);
    ck_assert_int_eq(memexpose_map_change_wait(group), 0);
    memexpose_map_change_end(group);
    keeps_big_lock = false;
    pthread_mutex_unlock(&big_lock);
    if (!answer_first) {
        say(&side, MX_READ_RET, 2, 0, 5);
    }
    finish(&reader);
    ck_assert_int_eq(reader.ret, 0);
    ck_assert_uint_eq(reader.value, 5);
    destroy(&side);
}

START_TEST(map_change_takes_over)
{
    check_takeover(false);
    check_takeover(true);
}
END_TEST

static void *run_cancel(void *opaque)
{
    (void)opaque;
    until_waiting();
    memexpose_group_cancel(group);
    return NULL;
}

START_TEST(map_change_is_cancelled)
{
    struct worker canceller;
    struct side side;

    connect_side(&side);
    say(&side, MX_READ, 3, SHARED, 0);
    process();
    ck_assert_uint_eq(expect(&side, MX_READ_RET).share.kind, 1);
    memexpose_map_change_begin(group);
    memexpose_map_change_invalidate(side.device, 0, UINT64_MAX);
    begin(&canceller, run_cancel, NULL, 0);
    ck_assert_int_eq(memexpose_map_change_wait(group), -ECANCELED);
    finish(&canceller);
    memexpose_map_change_end(group);
    process();
    ck_assert(left(&side));
    destroy(&side);
}
END_TEST

static int within_ret;

static void access_and_acknowledge(struct side *side)
{
    uint64_t value;

    within_ret = memexpose_read(side->device, 0x1000, 8, &value);
    say(side, MX_REG_INV_RET, 0, 0, 0);
}

/* Its peer may keep the request until the change ends, which waits for it. */
START_TEST(no_access_within_ones_own_map_change)
{
    struct side side;

    connect_side(&side);
    say(&side, MX_READ, 3, SHARED, 0);
    process();
    ck_assert_uint_eq(expect(&side, MX_READ_RET).share.kind, 1);
    memexpose_map_change_begin(group);
    ck_assert_int_eq(memexpose_map_change_invalidate(side.device, SHARED, 1),
                     0);
    expect(&side, MX_REG_INV);
    within_ret = -1;
    in_interrupt = access_and_acknowledge;
    say(&side, MX_INTR, 0, 1, 0);
    ck_assert_int_eq(memexpose_map_change_wait(group), 0);
    in_interrupt = NULL;
    memexpose_map_change_end(group);
    ck_assert_int_eq(within_ret, MEMEXPOSE_RESULT_DECODE);
    expect_nothing(&side);
    destroy(&side);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("group");
    TCase *tcase = with_group(suite, "loop");

    tcase_add_test(tcase, processed_by_a_loop);
    tcase_add_test(tcase, loop_hears_of_changes);
    tcase_add_test(tcase, loop_is_woken);
    tcase_add_test(tcase, kept_until_the_map_change_ends);
    tcase_add_test(tcase, kept_until_the_service_ends);

    tcase = with_group(suite, "waiting");
    tcase_add_test(tcase, who_waits_serves_all);
    tcase_add_test(tcase, processed_beside_a_wait);
    tcase_add_test(tcase, two_threads_on_one_device);
    tcase_add_test(tcase, two_threads_with_a_big_lock);
    tcase_add_test(tcase, links_that_end_wake_all);
    tcase_add_loop_test(tcase, access_is_cancelled, 0, 3);
    tcase_add_loop_test(tcase, enable_wait_is_cancelled, 0, 3);
    tcase_add_loop_test(tcase, enable_wait_ends_with_the_device, 0, 3);
    tcase_add_test(tcase, enable_wait_ends_with_the_links);
    tcase_add_loop_test(tcase, access_ends_with_the_device, 0, 3);
    tcase_add_test(tcase, map_change_takes_over);
    tcase_add_test(tcase, map_change_is_cancelled);
    tcase_add_test(tcase, no_access_within_ones_own_map_change);
    return harness_main(suite);
}
