/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * When and where hello is said (protocol section 6): on which link, in which
 * order, and how long it is waited for.
 */
#include "hello.h"

/* --- the pair id --------------------------------------------------------- */

START_TEST(pair_ids)
{
    struct mx_message mem = hello_message(PAIR, ANY);
    struct mx_message intr = hello_message(PAIR, ANY);
    struct mx_message other = hello_message(PAIR + 1, ANY);
    struct mx_message zero = hello_message(0, ANY);
    struct mx_session session;

    listening(&session, MX_HELLO_MODE_ON);      /* the memory link first */
    ck_assert_int_eq(receive(&session, mem), MX_GO_ON);
    ck_assert(!mx_session_may_send(&session, MX_CLASS_ACCESS));
    ck_assert_int_eq(receive_intr(&session, intr), MX_REPLY);
    assert_settled(&session, true, 0);
    listening(&session, MX_HELLO_MODE_ON);      /* the interrupt link first */
    ck_assert_int_eq(receive_intr(&session, intr), MX_GO_ON);
    ck_assert(!mx_session_may_send(&session, MX_CLASS_ACCESS));
    ck_assert_int_eq(receive(&session, mem), MX_REPLY);
    assert_settled(&session, true, 0);

    listening(&session, MX_HELLO_MODE_ON);
    receive(&session, mem);
    assert_violates(&session, receive_intr(&session, other), "pair id");
    listening(&session, MX_HELLO_MODE_ON);
    receive_intr(&session, other);
    assert_violates(&session, receive(&session, mem), "pair id");
    listening(&session, MX_HELLO_MODE_ON);
    receive(&session, mem);
    assert_violates(&session, receive_intr(&session, zero), "pair id");

    listening(&session, MX_HELLO_MODE_ON);      /* none asked for */
    ck_assert_int_eq(receive(&session, zero), MX_REPLY);
    assert_settled(&session, true, 0);
    assert_violates(&session, receive_intr(&session, zero), "out of place");
    listening(&session, MX_HELLO_MODE_ON);
    receive_intr(&session, intr);
    ck_assert_int_eq(receive(&session, zero), MX_VIOLATE);

    listening(&session, MX_HELLO_MODE_ON);      /* not as the first there */
    receive(&session, mem);
    ck_assert_int_eq(receive_intr(&session, plain(MX_INTR, 0)), MX_VIOLATE);
    listening(&session, MX_HELLO_MODE_ON);
    ck_assert_int_eq(receive_intr(&session, plain(MX_INTR, 0)), MX_GO_ON);
    ck_assert_int_eq(receive(&session, mem), MX_VIOLATE);
    listening(&session, MX_HELLO_MODE_ON);
    receive_intr(&session, plain(MX_INTR, 0));
    ck_assert_int_eq(receive(&session, zero), MX_REPLY);
}
END_TEST

START_TEST(missing_on_the_interrupt_link)
{
    int64_t due = BEGIN + SECOND / 10 + SECOND;
    struct mx_session session;

    listening(&session, MX_HELLO_MODE_ON);
    receive(&session, hello_message(PAIR, ANY));
    ck_assert(mx_session_deadline(&session, false) == due);
    ck_assert(mx_session_deadline(&session, true) == due);
    ck_assert_int_eq(mx_session_tick(&session, true, due - 1), MX_GO_ON);
    assert_violates(&session, mx_session_tick(&session, false, due),
                    "no HELLO on the interrupt link");
}
END_TEST

START_TEST(nothing_before_the_answer)
{
    struct mx_session session;

    listening(&session, MX_HELLO_MODE_ON);
    receive(&session, hello_message(PAIR, ANY));
    ck_assert_int_eq(receive(&session, plain(MX_READ, 3)), MX_VIOLATE);
    listening(&session, MX_HELLO_MODE_ON);
    receive(&session, hello_message(PAIR, ANY));
    ck_assert_int_eq(receive(&session, plain(MX_READ_RET, 2)), MX_VIOLATE);
    listening(&session, MX_HELLO_MODE_ON);
    ck_assert_int_eq(receive(&session, plain(MX_READ_RET, 2)), MX_VIOLATE);
    connecting(&session, MX_HELLO_MODE_ON);
    ck_assert_int_eq(receive(&session, plain(MX_READ_RET, 3)), MX_VIOLATE);
}
END_TEST

START_TEST(hello_twice_or_too_late)
{
    struct mx_message hello = hello_message(PAIR, ANY);
    struct mx_session session;

    listening(&session, MX_HELLO_MODE_ON);
    receive(&session, hello);
    assert_violates(&session, receive(&session, hello), "out of place");
    listening(&session, MX_HELLO_MODE_ON);
    receive_intr(&session, hello);
    assert_violates(&session, receive_intr(&session, hello), "out of place");
    listening(&session, MX_HELLO_MODE_ON);
    receive_intr(&session, hello);
    receive(&session, hello);
    assert_violates(&session, receive(&session, hello), "out of place");
    assert_violates(&session, receive_intr(&session, hello), "out of place");
    listening(&session, MX_HELLO_MODE_ON);
    receive(&session, plain(MX_READ, 3));
    assert_violates(&session, receive(&session, hello), "out of place");
    assert_violates(&session, receive_intr(&session, hello), "out of place");
    listening(&session, MX_HELLO_MODE_ON);
    receive_intr(&session, plain(MX_INTR, 0));
    assert_violates(&session, receive_intr(&session, hello), "out of place");

    connecting(&session, MX_HELLO_MODE_ON);     /* it does not listen */
    assert_violates(&session, receive(&session, hello), "out of place");
    connecting(&session, MX_HELLO_MODE_ON);
    assert_violates(&session, receive_intr(&session, hello), "out of place");
}
END_TEST

START_TEST(types_on_the_interrupt_link)
{
    static const uint8_t types[] = { MX_READ, MX_READ_RET, MX_WRITE,
                                     MX_WRITE_RET, MX_REG_INV, MX_REG_INV_RET,
                                     MX_HELLO_RET };
    struct mx_session session;
    size_t i;

    for (i = 0; i < sizeof(types); i++) {
        listening(&session, MX_HELLO_MODE_OFF);
        assert_violates(&session, receive_intr(&session, plain(types[i], 3)),
                        "on the interrupt link");
    }
    ck_assert_int_eq(receive_intr(&session, plain(MX_INTR, 200)), MX_GO_ON);
}
END_TEST

/* --- the hello wait ------------------------------------------------------ */

static void start_waiting(struct mx_session *session, enum mx_hello_mode mode,
                          int64_t hello_wait, int64_t request_timeout)
{
    struct mx_session_config config = defaults;

    config.hello = mode;
    config.hello_wait = hello_wait;
    config.request_timeout = request_timeout;
    mx_session_start(session, &config, 0, BEGIN);
}

START_TEST(hello_wait)
{
    static const struct {
        int64_t hello_wait, request_timeout, due;
    } cases[] = {
        { SECOND, 5 * SECOND, BEGIN + SECOND },
        { SECOND, 2 * SECOND, BEGIN + SECOND },
        { SECOND, SECOND, BEGIN + SECOND / 2 },
        { SECOND / 10, SECOND, BEGIN + SECOND / 10 },
        { INT64_MAX, 5 * SECOND, BEGIN + 5 * SECOND / 2 },
        { INT64_MAX, INT64_MAX, BEGIN + INT64_MAX / 2 },
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mx_session session;
        int64_t due = cases[i].due;

        start_waiting(&session, MX_HELLO_MODE_ON, cases[i].hello_wait,
                      cases[i].request_timeout);
        ck_assert(mx_session_deadline(&session, true) == due);
        ck_assert(mx_session_deadline(&session, false) == INT64_MAX);
        ck_assert_int_eq(mx_session_tick(&session, false, due), MX_GO_ON);
        ck_assert_int_eq(session.phase, MX_PHASE_AWAIT_FIRST);
        ck_assert_int_eq(mx_session_tick(&session, true, due - 1), MX_GO_ON);
        ck_assert_int_eq(session.phase, MX_PHASE_AWAIT_FIRST);
        ck_assert_int_eq(mx_session_tick(&session, true, due), MX_GO_ON);
        assert_settled(&session, false, 0);
        ck_assert(mx_session_may_send(&session, MX_CLASS_ACCESS));
        ck_assert(mx_session_deadline(&session, true) == INT64_MAX);
    }
}
END_TEST

START_TEST(hello_wait_of_who_requires_it)
{
    struct mx_session session;

    start_waiting(&session, MX_HELLO_MODE_REQUIRE, SECOND, 5 * SECOND);
    ck_assert_int_eq(mx_session_tick(&session, true, BEGIN + SECOND - 1),
                     MX_GO_ON);
    ck_assert_int_eq(mx_session_tick(&session, true, BEGIN + SECOND),
                     MX_CLOSE);
    assert_reason(&session, "hello is required");
}
END_TEST

static void settle_early(struct mx_session *session)
{
    listening(session, MX_HELLO_MODE_ON);
    ck_assert_int_eq(mx_session_tick(session, true, BEGIN + SECOND),
                     MX_GO_ON);
    assert_settled(session, false, 0);
}

/* Ours went out as base; a HELLO that crossed it is as if it had not been. */
START_TEST(hello_that_comes_too_late)
{
    struct mx_message hello = hello_message(PAIR, ANY);
    struct mx_message read = plain(MX_READ, 0);
    struct mx_session session;

    settle_early(&session);
    mx_session_send(&session, &read, INT64_MAX);
    ck_assert_int_eq(receive(&session, hello), MX_GO_ON);
    ck_assert_int_eq(receive_intr(&session, hello), MX_GO_ON);
    assert_settled(&session, false, 0);
    ck_assert_int_eq(receive(&session, plain(MX_READ, 3)), MX_GO_ON);
    ck_assert_int_eq(receive(&session, plain(MX_READ_RET, 2)), MX_COMPLETE);
    ck_assert_int_eq(receive_intr(&session, plain(MX_INTR, 0)), MX_GO_ON);
    assert_violates(&session, receive(&session, hello), "out of place");
    assert_violates(&session, receive_intr(&session, hello), "out of place");

    settle_early(&session);         /* the interrupt link's comes first */
    ck_assert_int_eq(receive_intr(&session, hello), MX_GO_ON);
    ck_assert_int_eq(receive(&session, hello), MX_GO_ON);
    assert_settled(&session, false, 0);

    settle_early(&session);         /* not as that link's first message */
    receive(&session, plain(MX_READ, 3));
    assert_violates(&session, receive(&session, hello), "out of place");
    settle_early(&session);
    receive_intr(&session, plain(MX_INTR, 0));
    assert_violates(&session, receive_intr(&session, hello), "out of place");
    settle_early(&session);
    receive(&session, hello);
    assert_violates(&session, receive(&session, hello), "out of place");
    settle_early(&session);
    receive_intr(&session, hello);
    assert_violates(&session, receive_intr(&session, hello), "out of place");

    /* The interrupt link's came before the wait was over. */
    listening(&session, MX_HELLO_MODE_ON);
    receive_intr(&session, hello);
    ck_assert_int_eq(mx_session_tick(&session, true, BEGIN + SECOND),
                     MX_GO_ON);
    ck_assert_int_eq(receive(&session, hello), MX_GO_ON);
    assert_settled(&session, false, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hello");
    TCase *tcase = harness_tcase("pairs");

    tcase_add_test(tcase, pair_ids);
    tcase_add_test(tcase, missing_on_the_interrupt_link);
    tcase_add_test(tcase, nothing_before_the_answer);
    tcase_add_test(tcase, hello_twice_or_too_late);
    tcase_add_test(tcase, types_on_the_interrupt_link);
    suite_add_tcase(suite, tcase);

    tcase = harness_tcase("waiting");
    tcase_add_test(tcase, hello_wait);
    tcase_add_test(tcase, hello_wait_of_who_requires_it);
    tcase_add_test(tcase, hello_that_comes_too_late);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
