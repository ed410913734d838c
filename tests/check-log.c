/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The log: how much of it a peer may fill.
 */
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "log.h"

static unsigned lines;
static char last[512];

static void count_line(void *opaque, enum memexpose_log_level level,
                       const char *line)
{
    (void)opaque;
    (void)level;
    lines++;
    snprintf(last, sizeof(last), "%s", line);
}

static void setup(void)
{
    lines = 0;
    memexpose_set_log(count_line, NULL);
}

static void teardown(void)
{
    memexpose_set_log(NULL, NULL);
}

static void say_often(struct mx_log_limit *limit, unsigned count)
{
    unsigned i;

    for (i = 0; i < count; i++) {
        mx_log_peer(limit, MEMEXPOSE_LOG_WARNING, "here", "line %u", i);
    }
}

START_TEST(limits_a_peer)
{
    struct mx_log_limit limit = { 0 };

    say_often(&limit, 1);
    ck_assert_uint_eq(lines, 1);
    ck_assert_str_eq(last, "here: line 0");
    say_often(&limit, MX_LOG_LINES + 50);
    ck_assert_uint_eq(lines, MX_LOG_LINES);
    ck_assert_str_eq(last, "here: line 98");
}
END_TEST

START_TEST(counts_what_it_leaves_out)
{
    struct mx_log_limit limit = { 0 };

    say_often(&limit, MX_LOG_LINES + 7);
    limit.since -= MX_LOG_PERIOD;       /* as if that had passed */
    lines = 0;
    say_often(&limit, 0);
    ck_assert_uint_eq(lines, 0);
    mx_log_peer(&limit, MEMEXPOSE_LOG_INFO, "here", "room again");
    ck_assert_uint_eq(lines, 2);
    ck_assert_str_eq(last, "here: room again");
    limit.since -= MX_LOG_PERIOD;
    lines = 0;
    mx_log_peer(&limit, MEMEXPOSE_LOG_INFO, "here", "nothing was left out");
    ck_assert_uint_eq(lines, 1);
}
END_TEST

START_TEST(limits_each_alone)
{
    struct mx_log_limit one = { 0 }, other = { 0 };

    say_often(&one, MX_LOG_LINES * 2);
    lines = 0;
    say_often(&other, 1);
    ck_assert_uint_eq(lines, 1);
    mx_log(MEMEXPOSE_LOG_ERROR, "one's own is never left out");
    ck_assert_uint_eq(lines, 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("log");
    TCase *tcase = harness_tcase("log");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, limits_a_peer);
    tcase_add_test(tcase, counts_what_it_leaves_out);
    tcase_add_test(tcase, limits_each_alone);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
