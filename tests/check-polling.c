/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Polling before sleeping, on the waiting and on the answering side.  The
 * group's clock stands still unless a test lets time pass: what is polled for
 * comes in time however slow the machine is, and nothing is over by itself.
 */
#include "cancels.h"
#include "side.h"

#include <sched.h>
#include <sys/wait.h>

#include "group.h"

enum { WAIT = 1000000, SERVE = 1000, MOST = 20, LOOKS = 50 };

static atomic_int_fast64_t clock_time;
static atomic_int_fast64_t clock_step;  /* whenever it is looked at */
static atomic_uint clock_looks;

static int64_t now_op(void *opaque)
{
    (void)opaque;
    atomic_fetch_add(&clock_looks, 1);
    return atomic_fetch_add(&clock_time, clock_step);
}

static void pass(int64_t time)
{
    atomic_fetch_add(&clock_time, time);
}

static void setup_polling(void)
{
    static const struct memexpose_group_ops ops = {
        .size = sizeof(ops), .wait = wait_op, .now = now_op,
    };

    setup();
    ck_assert_int_eq(memexpose_group_destroy(group), 0);
    clock_time = mx_os_now();   /* deadlines are far from that of wait_op() */
    clock_step = 0;
    group = memexpose_group_create(&ops, NULL);
    ck_assert_ptr_nonnull(group);
}

/* As memexpose_group_set_polling() does where there are two processors. */
static void poll_for(int64_t wait, int64_t serve)
{
    ck_assert_int_eq(memexpose_group_set_polling(group, wait, serve), 0);
    group->poll_wait = wait;
    group->poll_serve = serve;
}

static struct memexpose_group_stats counters(void)
{
    struct memexpose_group_stats stats;

    memset(&stats, 0xff, sizeof(stats));
    memexpose_group_stats(group, &stats, sizeof(stats));
    return stats;
}

/* To ask the group would be to interrupt it; but who polls looks at the clock
 * again and again, and nobody else does. */
static bool looks_again(void *opaque)
{
    const unsigned *before = opaque;

    return clock_looks - *before > LOOKS;
}

static void until_polling(void)
{
    unsigned before = clock_looks;

    harness_wait(looks_again, &before, PATIENCE);
}

/* How often the consumer's wait was called. */
static int sleeps(void)
{
    int count;

    ck_assert_int_eq(sem_getvalue(&waits, &count), 0);
    return count;
}

/* --- the waiting side ---------------------------------------------------- */

static void answer(struct side *side, struct worker *reader, uint64_t value)
{
    say(side, MX_READ_RET, 2, 0, value);
    finish(reader);
    ck_assert_int_eq(reader->ret, 0);
    ck_assert_uint_eq(reader->value, value);
}

static void begin_polled_read(struct side *side, struct worker *reader)
{
    begin(reader, run_read, side->device, 0x1000);
    ck_assert_uint_eq(expect(side, MX_READ).offset, 0x1000);
    until_polling();
}

/* Neither by default, nor with one of both on the other side. */
START_TEST(off)
{
    struct worker reader;
    struct side side;

    connect_side(&side);
    if (_i == 1) {
        poll_for(0, SERVE);
    } else if (_i == 2) {
        poll_for(WAIT, SERVE);
        poll_for(0, 0);
    }
    begin(&reader, run_read, side.device, 0x1000);
    until_waiting();
    expect(&side, MX_READ);
    answer(&side, &reader, 7);
    if (_i != 1) {
        say(&side, MX_READ, 3, 0x40, 0);
        process();
        expect(&side, MX_READ_RET);
    }
    ck_assert_uint_eq(counters().polls, 0);
    ck_assert_uint_eq(counters().poll_hits, 0);
    ck_assert_uint_eq(counters().poll_misses, 0);
    ck_assert_uint_eq(counters().poll_time, 0);
    destroy(&side);
}
END_TEST

START_TEST(answered_in_time)
{
    struct worker reader;
    struct side side;
    unsigned i;

    connect_side(&side);
    poll_for(WAIT, 0);
    for (i = 1; i <= 3; i++) {
        begin_polled_read(&side, &reader);
        pass(WAIT - 1);
        answer(&side, &reader, i);
    }
    ck_assert_int_eq(sleeps(), 0);
    ck_assert_uint_gt(counters().polls, 3 * LOOKS);
    ck_assert_uint_eq(counters().poll_hits, 3);
    ck_assert_uint_eq(counters().poll_misses, 0);
    ck_assert_uint_eq(counters().poll_time, 3 * (WAIT - 1));
    destroy(&side);
}
END_TEST

START_TEST(answered_too_late)
{
    struct worker reader;
    struct side side;

    connect_side(&side);
    poll_for(WAIT, 0);
    begin_polled_read(&side, &reader);
    ck_assert_int_eq(sleeps(), 0);
    pass(WAIT);
    until_waiting();
    ck_assert_uint_eq(counters().poll_misses, 1);
    ck_assert_uint_eq(counters().poll_time, WAIT);
    answer(&side, &reader, 1);
    destroy(&side);
}
END_TEST

/* It polls anew whenever it has slept. */
START_TEST(polls_after_each_sleep)
{
    struct side side, other;
    struct worker reader;

    connect_side(&side);
    connect_side(&other);
    poll_for(WAIT, 0);
    begin_polled_read(&side, &reader);
    pass(WAIT);
    until_waiting();
    say(&other, MX_READ, 3, 0x40, 0);
    ck_assert_uint_eq(expect(&other, MX_READ_RET).value, 0x40);
    until_polling();
    answer(&side, &reader, 1);
    ck_assert_int_eq(sleeps(), 0);
    ck_assert_uint_eq(counters().poll_misses, 1);
    destroy(&side);
    destroy(&other);
}
END_TEST

static void take_time(struct side *side)
{
    (void)side;
    pass(WAIT / 4);
}

/* The sleep, in which the consumer lets go of its locks, comes at last. */
START_TEST(peer_cannot_put_off_the_sleep)
{
    struct side side, other;
    struct worker reader;
    unsigned i;

    connect_side(&side);
    connect_side(&other);
    poll_for(WAIT, 0);
    begin_polled_read(&side, &reader);
    in_read = take_time;
    for (i = 0; i < 4; i++) {
        ck_assert_int_eq(sleeps(), 0);
        say(&other, MX_READ, 3, 0x40, 0);
        expect(&other, MX_READ_RET);
    }
    until_waiting();
    answer(&side, &reader, 1);
    destroy(&side);
    destroy(&other);
}
END_TEST

static sem_t interrupted;

static void note_interrupt(struct side *side)
{
    (void)side;
    sem_post(&interrupted);
}

enum { OTHERS = 3 };

/* Every link is looked at, be there few or many. */
START_TEST(who_polls_serves_all)
{
    struct side side, other[OTHERS];
    struct timespec until = soon();
    struct worker reader;
    int i;

    connect_side(&side);
    for (i = 0; i < _i; i++) {
        connect_side(&other[i]);
    }
    sem_init(&interrupted, 0, 0);
    poll_for(WAIT, 0);
    begin_polled_read(&side, &reader);
    for (i = 0; i < _i; i++) {
        say(&other[i], MX_READ, 3, 0x40 + 8 * (uint64_t)i, 0);
        ck_assert_uint_eq(expect(&other[i], MX_READ_RET).value, 0x40 + 8 * i);
    }
    in_interrupt = note_interrupt;
    say(&side, MX_INTR, 0, 1, 0);
    ck_assert_int_eq(sem_timedwait(&interrupted, &until), 0);
    answer(&side, &reader, 1);
    ck_assert_int_eq(sleeps(), 0);
    for (i = 0; i < _i; i++) {
        destroy(&other[i]);
    }
    destroy(&side);
    sem_destroy(&interrupted);
}
END_TEST

/* New sockets are taken up, too. */
START_TEST(who_polls_lets_links_come)
{
    struct worker enabler;
    struct side side, other;

    connect_side(&other);
    create(&side);
    poll_for(WAIT, 0);
    begin(&enabler, run_enable, side.device, 0);
    until_polling();
    attach(&side);
    finish(&enabler);
    ck_assert_int_eq(enabler.ret, 0);
    ck_assert_int_eq(sleeps(), 0);
    destroy(&side);
    destroy(&other);
}
END_TEST

START_TEST(cancelled)
{
    struct worker reader, next;
    struct side side;

    connect_side(&side);
    poll_for(WAIT, 0);
    begin_polled_read(&side, &reader);
    cancels[_i](&reader);
    finish(&reader);
    ck_assert_int_eq(reader.ret, -ECANCELED);
    ck_assert_int_eq(sleeps(), 0);

    /* nothing is left of it: who waits next polls, too */
    say(&side, MX_READ_RET, 2, 0, 1);
    process();
    begin_polled_read(&side, &next);
    answer(&side, &next, 2);
    ck_assert_int_eq(sleeps(), 0);
    destroy(&side);
}
END_TEST

START_TEST(ends_with_the_device)
{
    struct worker reader;
    struct side side;

    connect_side(&side);
    poll_for(WAIT, 0);
    begin_polled_read(&side, &reader);
    enders[_i](&side);
    finish(&reader);
    ck_assert_int_lt(reader.ret, 0);
    ck_assert_int_eq(sleeps(), 0);
    destroy(&side);
}
END_TEST

START_TEST(ends_with_the_link)
{
    struct worker reader;
    struct side side;

    connect_side(&side);
    poll_for(WAIT, 0);
    begin_polled_read(&side, &reader);
    hang_up(&side);
    finish(&reader);
    ck_assert_int_eq(reader.ret, -ECONNRESET);
    ck_assert_int_eq(sleeps(), 0);
    destroy(&side);
}
END_TEST

/* Its deadline comes before the time for polling is over. */
START_TEST(overdue)
{
    struct memexpose_device_config config;
    struct worker reader;
    struct side side;

    in_read = in_interrupt = in_link_changed = in_map = NULL;
    memexpose_device_config_init(&config);
    config.hello = MEMEXPOSE_HELLO_OFF;
    config.request_timeout = WAIT / 2;
    side.device = memexpose_device_create(group, &device_ops, &side, &config);
    ck_assert_ptr_nonnull(side.device);
    attach(&side);
    ck_assert_int_eq(memexpose_device_enable(side.device, 0), 0);
    poll_for(WAIT, 0);
    begin_polled_read(&side, &reader);
    pass(WAIT / 2);
    finish(&reader);
    ck_assert_int_eq(reader.ret, -ETIMEDOUT);
    ck_assert_int_eq(sleeps(), 0);
    ck_assert(left(&side));
    destroy(&side);
}
END_TEST

static void *run_enable_for_a_while(void *opaque)
{
    struct worker *worker = opaque;

    worker->ret = memexpose_device_enable(worker->device,
                                          clock_time + WAIT / 2);
    return NULL;
}

/* No link knows of this deadline. */
START_TEST(enabled_in_vain)
{
    struct worker enabler;
    struct side side;

    create(&side);
    poll_for(WAIT, 0);
    begin(&enabler, run_enable_for_a_while, side.device, 0);
    until_polling();
    pass(WAIT / 2);
    finish(&enabler);
    ck_assert_int_eq(enabler.ret, -ETIMEDOUT);
    ck_assert_int_eq(sleeps(), 0);
    destroy(&side);
}
END_TEST

/* --- other threads ------------------------------------------------------- */

/* The clock stands still: who polls would never end by itself. */
START_TEST(others_get_the_group)
{
    struct worker one, other;
    struct side side, second;
    unsigned i;

    connect_side(&side);
    connect_side(&second);
    poll_for(WAIT, 0);
    begin_polled_read(&side, &one);
    for (i = 0; i < 100; i++) {
        ck_assert_uint_eq(memexpose_device_reg_read(side.device, 0, 8), 1);
    }
    process();
    until_polling();            /* it goes on */
    ck_assert_int_eq(sleeps(), 0);
    ck_assert_uint_eq(counters().poll_misses, 0);

    begin(&other, run_read, second.device, 0x2000);
    ck_assert_uint_eq(expect(&second, MX_READ).offset, 0x2000);
    until_waiting();            /* only one polls */
    say(&second, MX_READ_RET, 2, 0, 2);
    finish(&other);
    ck_assert_uint_eq(other.value, 2);
    answer(&side, &one, 1);
    destroy(&side);
    destroy(&second);
}
END_TEST

/* Who polls ends first; the other, that slept beside, reads from then on. */
START_TEST(sleeper_takes_its_place)
{
    struct worker one, other;
    struct side side;

    connect_side(&side);
    poll_for(WAIT, 0);
    begin_polled_read(&side, &one);
    begin(&other, run_read, side.device, 0x2000);
    until_waiting();
    answer(&side, &one, 1);
    ck_assert_uint_eq(expect(&side, MX_READ).offset, 0x2000);
    answer(&side, &other, 2);
    destroy(&side);
}
END_TEST

START_TEST(map_change_takes_over)
{
    struct worker reader;
    struct side side;

    connect_side(&side);
    say(&side, MX_READ, 3, SHARED, 0);
    process();
    ck_assert_uint_eq(expect(&side, MX_READ_RET).share.kind, 1);
    poll_for(WAIT, 0);
    begin_polled_read(&side, &reader);
    memexpose_map_change_begin(group);
    ck_assert_int_eq(memexpose_map_change_invalidate(side.device, SHARED, 1),
                     0);
    ck_assert_uint_eq(expect(&side, MX_REG_INV).offset, SHARED);
    say(&side, MX_REG_INV_RET, 0, 0, 0);
    ck_assert_int_eq(memexpose_map_change_wait(group), 0);
    memexpose_map_change_end(group);
    answer(&side, &reader, 1);
    destroy(&side);
}
END_TEST

/* An event loop hears of what one who polls has changed. */
START_TEST(loop_hears_of_changes)
{
    struct pollfd fds[8];
    struct worker reader;
    struct side side, other;
    size_t count;

    connect_side(&side);
    connect_side(&other);
    poll_for(WAIT, 0);
    count = memexpose_group_poll(group, fds, 8, NULL, NULL);
    ck_assert_uint_eq(count, 5);
    begin_polled_read(&side, &reader);
    fds[0].revents = 0;
    hang_up(&other);            /* who polls closes its links */
    ck_assert_int_eq(poll(fds, 1, harness_milliseconds(PATIENCE)), 1);
    answer(&side, &reader, 1);
    destroy(&other);
    destroy(&side);
}
END_TEST

/* --- the answering side -------------------------------------------------- */

static void ask(struct side *side, uint64_t address)
{
    say(side, MX_READ, 3, address, 0);
    ck_assert_uint_eq(expect(side, MX_READ_RET).value, address);
}

START_TEST(answers_several_in_one_call)
{
    struct worker server;
    struct side side;
    unsigned i;

    connect_side(&side);
    poll_for(0, SERVE);
    say(&side, MX_READ, 3, 0x40, 0);
    begin(&server, run_process, NULL, 0);
    ck_assert_uint_eq(expect(&side, MX_READ_RET).value, 0x40);
    for (i = 1; i <= 5; i++) {
        until_polling();
        pass(SERVE - 1);
        ask(&side, 0x40 + i);
    }
    until_polling();
    pass(SERVE);
    finish(&server);
    ck_assert_uint_eq(counters().poll_hits, 5);
    ck_assert_uint_eq(counters().poll_misses, 1);
    ck_assert_uint_eq(counters().poll_time, 5 * (SERVE - 1) + SERVE);
    destroy(&side);
}
END_TEST

static void take_all_but_the_time(struct side *side)
{
    (void)side;
    pass(SERVE - 1);
}

/* However many come, the loop has its turn. */
START_TEST(gives_the_loop_its_turn)
{
    const unsigned most = MOST * SERVE / (SERVE - 1) + 1;
    struct worker server;
    struct side side;
    unsigned i;

    connect_side(&side);
    poll_for(0, SERVE);
    say(&side, MX_READ, 3, 0x40, 0);
    begin(&server, run_process, NULL, 0);
    ck_assert_uint_eq(expect(&side, MX_READ_RET).value, 0x40);
    in_read = take_all_but_the_time;
    for (i = 0; i < most; i++) {
        ask(&side, 0x40);
    }
    finish(&server);
    ck_assert_uint_eq(counters().poll_hits, most);
    ck_assert_uint_eq(counters().poll_misses, 0);
    say(&side, MX_READ, 3, 0x48, 0);
    expect_nothing(&side);
    clock_step = SERVE;
    process();
    ck_assert_uint_eq(expect(&side, MX_READ_RET).value, 0x48);
    destroy(&side);
}
END_TEST

/* So that it never waits for a thread that serves. */
START_TEST(stops_for_others)
{
    struct worker server;
    struct side side;

    connect_side(&side);
    poll_for(0, SERVE);
    say(&side, MX_READ, 3, 0x40, 0);
    begin(&server, run_process, NULL, 0);
    until_polling();
    ck_assert_uint_eq(memexpose_device_reg_read(side.device, 0, 8), 1);
    finish(&server);
    ck_assert_uint_eq(expect(&side, MX_READ_RET).value, 0x40);
    destroy(&side);
}
END_TEST

/* Nothing came: so there is no reason to think that more will. */
START_TEST(does_not_poll_for_nothing)
{
    struct side side;

    connect_side(&side);
    poll_for(WAIT, SERVE);
    process();
    ck_assert_uint_eq(counters().polls, 0);
    destroy(&side);
}
END_TEST

static unsigned nested_polls;

static void process_within(struct side *side)
{
    uint64_t before = counters().polls;

    say(side, MX_REG_INV, 1, 0, 0);
    process();
    nested_polls += counters().polls != before;
}

START_TEST(does_not_poll_within_a_callback)
{
    struct side side;

    connect_side(&side);
    poll_for(0, SERVE);
    nested_polls = 0;
    in_read = process_within;
    clock_step = SERVE / 4;
    say(&side, MX_READ, 3, 0x40, 0);
    process();
    expect(&side, MX_REG_INV_RET);
    ck_assert_uint_eq(expect(&side, MX_READ_RET).value, 0x40);
    ck_assert_uint_eq(nested_polls, 0);
    ck_assert_uint_ge(counters().poll_misses, 1);
    destroy(&side);
}
END_TEST

/* The consumer's loop may wait for just that; then it is to come back, until
 * the time is over, or until it is told to poll no more. */
START_TEST(returns_with_an_interrupt)
{
    int64_t deadline, start = memexpose_group_now(group);
    struct side side;

    connect_side(&side);
    poll_for(0, SERVE);
    say(&side, MX_READ, 3, 0x40, 0);
    say(&side, MX_INTR, 0, 1, 0);
    process();
    ck_assert_uint_eq(expect(&side, MX_READ_RET).value, 0x40);
    ck_assert_uint_eq(counters().poll_misses, 0);
    memexpose_group_poll(group, NULL, 0, &deadline, NULL);
    ck_assert_int_lt(deadline, start + SERVE);
    if (_i) {
        poll_for(0, 0);
    } else {
        pass(SERVE);
        process();
    }
    memexpose_group_poll(group, NULL, 0, &deadline, NULL);
    ck_assert_int_eq(deadline, MEMEXPOSE_FOREVER);
    destroy(&side);
}
END_TEST

/* --- settings ------------------------------------------------------------ */

START_TEST(bad_times)
{
    const int64_t second = INT64_C(1000000000);

    ck_assert_int_eq(memexpose_group_set_polling(group, -1, 0), -EINVAL);
    ck_assert_int_eq(memexpose_group_set_polling(group, 0, -1), -EINVAL);
    ck_assert_int_eq(memexpose_group_set_polling(group, second + 1, 0),
                     -EINVAL);
    ck_assert_int_eq(memexpose_group_set_polling(group, 0, second + 1),
                     -EINVAL);
    ck_assert_int_eq(memexpose_group_set_polling(group, INT64_MIN, 0),
                     -EINVAL);
    ck_assert_int_eq(group->poll_wait, 0);
    ck_assert_int_eq(group->poll_serve, 0);
    ck_assert_int_eq(memexpose_group_set_polling(group, second, second), 0);
}
END_TEST

START_TEST(old_and_new_counters)
{
    struct {
        struct memexpose_group_stats stats;
        uint64_t more;
    } larger = { .more = 42 };
    struct memexpose_group_stats smaller = { .poll_hits = 43 };

    group->stats.polls = 1;
    group->stats.poll_time = 4;
    memexpose_group_stats(group, &larger.stats, sizeof(larger));
    ck_assert_uint_eq(larger.stats.polls, 1);
    ck_assert_uint_eq(larger.stats.poll_time, 4);
    ck_assert_uint_eq(larger.more, 42);
    memexpose_group_stats(group, &smaller, sizeof(smaller.polls));
    ck_assert_uint_eq(smaller.polls, 1);
    ck_assert_uint_eq(smaller.poll_hits, 43);
}
END_TEST

static void keep_one(cpu_set_t *processors)
{
    int i;

    for (i = 0; CPU_COUNT(processors) > 1 && i < CPU_SETSIZE; i++) {
        CPU_CLR(i, processors);
    }
}

/* Returns what is wrong, or 0. */
static int try_processors(void)
{
    cpu_set_t processors;
    int64_t expected;

    if (sched_getaffinity(0, sizeof(processors), &processors) < 0) {
        return 1;
    }
    expected = CPU_COUNT(&processors) > 1 ? WAIT : 0;
    if (memexpose_group_set_polling(group, WAIT, WAIT) != 0 ||
        group->poll_wait != expected || group->poll_serve != expected) {
        return 2;
    }
    keep_one(&processors);
    if (sched_setaffinity(0, sizeof(processors), &processors) < 0) {
        return 3;
    }
    if (memexpose_group_set_polling(group, WAIT, WAIT) != 0 ||
        group->poll_wait != 0 || group->poll_serve != 0) {
        return 4;
    }
    return 0;
}

START_TEST(one_processor)
{
    pid_t child = fork();
    int status;

    ck_assert_int_ge(child, 0);
    if (child == 0) {
        _exit(try_processors());
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
}
END_TEST

static TCase *with_polling(Suite *suite, const char *name)
{
    TCase *tcase = harness_tcase(name);

    tcase_add_checked_fixture(tcase, setup_polling, teardown);
    suite_add_tcase(suite, tcase);
    return tcase;
}

int main(void)
{
    Suite *suite = suite_create("polling");
    TCase *tcase = with_polling(suite, "wait");

    tcase_add_loop_test(tcase, off, 0, 3);
    tcase_add_test(tcase, answered_in_time);
    tcase_add_test(tcase, answered_too_late);
    tcase_add_test(tcase, polls_after_each_sleep);
    tcase_add_test(tcase, peer_cannot_put_off_the_sleep);
    tcase_add_loop_test(tcase, who_polls_serves_all, 0, OTHERS + 1);
    tcase_add_test(tcase, who_polls_lets_links_come);
    tcase_add_loop_test(tcase, cancelled, 0, 3);
    tcase_add_loop_test(tcase, ends_with_the_device, 0, 3);
    tcase_add_test(tcase, ends_with_the_link);
    tcase_add_test(tcase, overdue);
    tcase_add_test(tcase, enabled_in_vain);

    tcase = with_polling(suite, "others");
    tcase_add_test(tcase, others_get_the_group);
    tcase_add_test(tcase, sleeper_takes_its_place);
    tcase_add_test(tcase, map_change_takes_over);
    tcase_add_test(tcase, loop_hears_of_changes);

    tcase = with_polling(suite, "serve");
    tcase_add_test(tcase, answers_several_in_one_call);
    tcase_add_test(tcase, gives_the_loop_its_turn);
    tcase_add_test(tcase, stops_for_others);
    tcase_add_test(tcase, does_not_poll_for_nothing);
    tcase_add_test(tcase, does_not_poll_within_a_callback);
    tcase_add_loop_test(tcase, returns_with_an_interrupt, 0, 2);

    tcase = with_polling(suite, "settings");
    tcase_add_test(tcase, bad_times);
    tcase_add_test(tcase, old_and_new_counters);
    tcase_add_test(tcase, one_processor);
    return harness_main(suite);
}
