/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hello (protocol section 6): the session alone, without any I/O.  The rules
 * of arbitration are in check-arbitration.c, crossing first messages in
 * check-crossing.c, features in check-features.c.
 */
#include "hello.h"

/* --- two sides ----------------------------------------------------------- */

/* What becomes of the pair. */
enum end { BASE, HELLO, LISTENER_VIOLATED, LISTENER_CLOSES, CONNECTOR_CLOSES };

/* Both say what they have to, then the connecting side reads, unless the
 * listening side does so first: @listener_asks. */
static enum end meet(enum mx_hello_mode connector_mode,
                     enum mx_hello_mode listener_mode, bool listener_asks)
{
    struct mx_session connector, listener;
    enum mx_outcome outcome = MX_GO_ON;
    struct mx_message message;

    connecting(&connector, connector_mode);
    listening(&listener, listener_mode);
    if (mx_session_says_hello(&connector)) {
        mx_session_hello(&connector, &message);
        ck_assert_uint_eq(message.type, MX_HELLO);
        outcome = receive_intr(&listener, message);
        if (outcome == MX_VIOLATE) {
            assert_violates(&listener, receive(&listener, message),
                            "out of place");
            return LISTENER_VIOLATED;
        }
        ck_assert_int_eq(outcome, MX_GO_ON);
        ck_assert_int_eq(receive(&listener, message), MX_REPLY);
        mx_session_hello(&listener, &message);
        ck_assert_uint_eq(message.type, MX_HELLO_RET);
        ck_assert_int_eq(receive(&connector, message), MX_GO_ON);
    } else if (listener_asks) {
        outcome = mx_session_tick(&listener, true, BEGIN + SECOND);
        if (outcome == MX_CLOSE) {
            return LISTENER_CLOSES;
        }
        message = plain(MX_READ, 0);
        mx_session_send(&listener, &message, INT64_MAX);
        outcome = receive(&connector, message);
    } else {
        message = plain(MX_READ, 0);
        mx_session_send(&connector, &message, INT64_MAX);
        outcome = receive(&listener, message);
        if (outcome == MX_CLOSE) {
            assert_reason(&listener, "hello is required");
            return LISTENER_CLOSES;
        }
    }
    ck_assert_int_eq(connector.phase, MX_PHASE_SETTLED);
    ck_assert_int_eq(listener.phase, MX_PHASE_SETTLED);
    ck_assert_uint_eq(listener.subpriority, 0);
    ck_assert_uint_eq(connector.subpriority, 1);
    ck_assert(connector.said_hello == listener.said_hello);
    return connector.said_hello ? HELLO : BASE;
}

START_TEST(every_pair_of_modes)
{
    static const enum end expected[3][3] = {    /* connecting, listening */
        [MX_HELLO_MODE_OFF] = { BASE, BASE, LISTENER_CLOSES },
        [MX_HELLO_MODE_ON] = { LISTENER_VIOLATED, HELLO, HELLO },
        [MX_HELLO_MODE_REQUIRE] = { LISTENER_VIOLATED, HELLO, HELLO },
    };
    unsigned connector, listener;

    for (connector = 0; connector < 3; connector++) {
        for (listener = 0; listener < 3; listener++) {
            ck_assert_int_eq(meet((enum mx_hello_mode)connector,
                                  (enum mx_hello_mode)listener, false),
                             expected[connector][listener]);
            ck_assert_int_eq(meet((enum mx_hello_mode)connector,
                                  (enum mx_hello_mode)listener, true),
                             expected[connector][listener]);
        }
    }
}
END_TEST

/* A peer that asks before anything was said speaks base. */
START_TEST(first_message_is_a_request)
{
    static const uint8_t types[3] = { MX_REG_INV, MX_READ, MX_WRITE };
    static const uint8_t from_1[3] = { 1, 3, 3 }, from_0[3] = { 0, 2, 2 };
    unsigned i;

    for (i = 0; i < 3; i++) {
        struct mx_session session;

        listening(&session, MX_HELLO_MODE_ON);
        ck_assert(!mx_session_may_send(&session, MX_CLASS_ACCESS));
        ck_assert_int_eq(receive(&session, plain(types[i], from_1[i])),
                         MX_GO_ON);
        assert_settled(&session, false, 0);
        ck_assert_int_ge(mx_session_serviceable(&session, true), 0);
        connecting(&session, MX_HELLO_MODE_ON);
        ck_assert(!mx_session_may_send(&session, MX_CLASS_ACCESS));
        ck_assert_int_eq(receive(&session, plain(types[i], from_0[i])),
                         MX_GO_ON);
        assert_settled(&session, false, 1);
        ck_assert_int_ge(mx_session_serviceable(&session, true), 0);

        listening(&session, MX_HELLO_MODE_REQUIRE);
        ck_assert_int_eq(receive(&session, plain(types[i], from_1[i])),
                         MX_CLOSE);
        connecting(&session, MX_HELLO_MODE_REQUIRE);
        ck_assert_int_eq(receive(&session, plain(types[i], from_0[i])),
                         MX_CLOSE);
        assert_reason(&session, "hello is required");
    }
}
END_TEST

/* Off: settled from the start, also before the peer has said anything. */
START_TEST(without_hello)
{
    static const struct {
        bool connects;
        uint8_t wish, taken;
    } cases[] = {
        { false, ANY, 0 }, { false, 0, 0 }, { false, 1, 1 },
        { true, ANY, 1 }, { true, 0, 0 }, { true, 1, 1 },
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mx_session session;
        uint64_t begin = 1, size = 1;

        start_as(&session, cases[i].connects, MX_HELLO_MODE_OFF,
                 cases[i].wish);
        ck_assert(!mx_session_says_hello(&session));
        assert_settled(&session, false, cases[i].taken);
        ck_assert(mx_session_may_send(&session, MX_CLASS_ACCESS));
        mx_session_peer_span(&session, &begin, &size);
        ck_assert_uint_eq(begin, 0);
        ck_assert_uint_eq(size, 0);
        assert_violates(&session, receive(&session, answer_message(0)),
                        "out of place");
        assert_violates(&session,
                        receive(&session, hello_message(PAIR, ANY)),
                        "out of place");
        assert_violates(&session,
                        receive_intr(&session, hello_message(PAIR, ANY)),
                        "out of place");
    }
}
END_TEST

/* Settled as base by the first request, a wish counts too. */
START_TEST(wishes_without_hello)
{
    struct mx_session session;

    start_as(&session, false, MX_HELLO_MODE_ON, 1);
    ck_assert_int_eq(receive(&session, plain(MX_READ, 2)), MX_GO_ON);
    assert_settled(&session, false, 1);
    start_as(&session, true, MX_HELLO_MODE_ON, 0);
    ck_assert_int_eq(receive(&session, plain(MX_READ, 3)), MX_GO_ON);
    assert_settled(&session, false, 0);
}
END_TEST

START_TEST(what_is_said)
{
    struct mx_session connector, listener;
    struct mx_message hello, answer;
    uint64_t begin, size;

    connecting(&connector, MX_HELLO_MODE_ON);
    mx_session_hello(&connector, &hello);
    ck_assert_uint_eq(hello.type, MX_HELLO);
    ck_assert_uint_eq(hello.priority, 0);
    ck_assert_uint_eq(hello.u.hello.magic, 0x3150584d);
    ck_assert_uint_eq(hello.u.hello.version_low, 1);
    ck_assert_uint_eq(hello.u.hello.version_high, 1);
    ck_assert_uint_eq(hello.u.hello.features, 0);
    ck_assert_uint_eq(hello.u.hello.subpriority, 2);
    ck_assert_uint_eq(hello.u.hello.page_size, 4096);
    ck_assert_uint_eq(hello.u.hello.span_start, 0x1000);
    ck_assert_uint_eq(hello.u.hello.span_size, 0x8000);
    ck_assert_uint_eq(hello.u.hello.pair_id, PAIR);
    ck_assert_str_eq(hello.u.hello.name, "here");

    listening(&listener, MX_HELLO_MODE_ON);
    hello = hello_message(PAIR, ANY);
    hello.u.hello.features = UINT64_MAX;    /* unknown ones are ignored */
    receive_intr(&listener, hello);
    ck_assert_int_eq(receive(&listener, hello), MX_REPLY);
    mx_session_hello(&listener, &answer);
    ck_assert_uint_eq(answer.type, MX_HELLO_RET);
    ck_assert_uint_eq(answer.u.hello.magic, 0x3150584d);
    ck_assert_uint_eq(answer.u.hello.version_low, 1);
    ck_assert_uint_eq(answer.u.hello.version_high, 1);
    ck_assert_uint_eq(answer.u.hello.features, 0);
    ck_assert_uint_eq(answer.u.hello.subpriority, 0);
    ck_assert_uint_eq(answer.u.hello.page_size, 4096);
    ck_assert_uint_eq(answer.u.hello.span_start, 0x1000);
    ck_assert_uint_eq(answer.u.hello.span_size, 0x8000);
    ck_assert_uint_eq(answer.u.hello.pair_id, PAIR);
    ck_assert_str_eq(answer.u.hello.name, "here");
    mx_session_peer_span(&listener, &begin, &size);
    ck_assert_uint_eq(begin, 0x5000);
    ck_assert_uint_eq(size, 0x6000);
    mx_session_stop(&listener);
    mx_session_peer_span(&listener, &begin, &size);
    ck_assert_uint_eq(begin, 0);
    ck_assert_uint_eq(size, 0);
}
END_TEST

/* --- sub-priorities ------------------------------------------------------ */

START_TEST(wishes)
{
    /* By the connecting side's wish and the listening one's: what each has. */
    static const struct {
        uint8_t connector, listener;
    } expected[3][3] = {
        { { NONE, NONE }, { 0, 1 }, { 0, 1 } },
        { { 1, 0 }, { NONE, NONE }, { 1, 0 } },
        { { 1, 0 }, { 0, 1 }, { 1, 0 } },
    };
    unsigned theirs, ours;

    for (theirs = 0; theirs < 3; theirs++) {
        for (ours = 0; ours < 3; ours++) {
            struct mx_session connector, listener;
            struct mx_message message;

            start_as(&connector, true, MX_HELLO_MODE_ON, (uint8_t)theirs);
            start_as(&listener, false, MX_HELLO_MODE_ON, (uint8_t)ours);
            mx_session_hello(&connector, &message);
            receive_intr(&listener, message);
            if (expected[theirs][ours].connector == NONE) {
                ck_assert_int_eq(receive(&listener, message),
                                 MX_REPLY_AND_CLOSE);
                assert_reason(&listener, "'here'");
                assert_reason(&listener, "sub-priority");
                mx_session_hello(&listener, &message);
                ck_assert_uint_eq(message.u.hello.version_low, 1);
                ck_assert_uint_eq(message.u.hello.version_high, 1);
                ck_assert_uint_eq(message.u.hello.subpriority, 0xff);
                ck_assert_uint_eq(message.u.hello.pair_id, PAIR);
                ck_assert_int_eq(receive(&connector, message), MX_CLOSE);
                assert_reason(&connector, "'here'");
                assert_reason(&connector, "sub-priority");
                ck_assert_int_ne(listener.phase, MX_PHASE_SETTLED);
                ck_assert_int_ne(connector.phase, MX_PHASE_SETTLED);
                continue;
            }
            ck_assert_int_eq(receive(&listener, message), MX_REPLY);
            assert_settled(&listener, true, expected[theirs][ours].listener);
            mx_session_hello(&listener, &message);
            ck_assert_uint_eq(message.u.hello.subpriority,
                              expected[theirs][ours].listener);
            ck_assert_int_eq(receive(&connector, message), MX_GO_ON);
            assert_settled(&connector, true,
                           expected[theirs][ours].connector);
        }
    }
}
END_TEST

START_TEST(wish_for_what_is_none)
{
    unsigned wish;

    for (wish = 3; wish < 256; wish++) {
        struct mx_session session;

        listening(&session, MX_HELLO_MODE_ON);
        ck_assert_int_eq(receive(&session, hello_message(0, (uint8_t)wish)),
                         MX_VIOLATE);
    }
}
END_TEST

/* --- versions ------------------------------------------------------------ */

START_TEST(versions)
{
    static const struct {
        uint16_t low, high;
        bool common;
    } cases[] = {
        { 1, 1, true }, { 0, 1, true }, { 1, 7, true }, { 0, 65535, true },
        { 0, 0, false }, { 2, 2, false }, { 2, 9, false },
        { 65535, 65535, false },
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mx_message hello = hello_message(0, ANY), answer;
        struct mx_session session;

        hello.u.hello.version_low = cases[i].low;
        hello.u.hello.version_high = cases[i].high;
        listening(&session, MX_HELLO_MODE_ON);
        ck_assert_int_eq(receive(&session, hello), cases[i].common ?
                         MX_REPLY : MX_REPLY_AND_CLOSE);
        mx_session_hello(&session, &answer);
        ck_assert_uint_eq(answer.u.hello.version_low, cases[i].common);
        ck_assert_uint_eq(answer.u.hello.version_high, cases[i].common);
        if (!cases[i].common) {
            ck_assert_uint_eq(answer.u.hello.subpriority, 0xff);
            assert_reason(&session, "'there'");
            assert_reason(&session, "version");
            ck_assert(!mx_session_may_send(&session, MX_CLASS_ACCESS));
        }
    }
}
END_TEST

/* --- the answer, field by field ------------------------------------------ */

static void check_answer(uint8_t wish, struct mx_message answer,
                         enum mx_outcome expected)
{
    struct mx_session session;

    start_as(&session, true, MX_HELLO_MODE_ON, wish);
    ck_assert_msg(receive(&session, answer) == expected, "wish %u, versions "
                  "%u to %u, features 0x%llx, sub-priority %u, pair 0x%llx",
                  wish, answer.u.hello.version_low,
                  answer.u.hello.version_high,
                  (unsigned long long)answer.u.hello.features,
                  answer.u.hello.subpriority,
                  (unsigned long long)answer.u.hello.pair_id);
    ck_assert(mx_session_may_send(&session, MX_CLASS_ACCESS) ==
              (expected == MX_GO_ON));
    if (expected == MX_GO_ON) {
        assert_settled(&session, true, 1u - answer.u.hello.subpriority);
    }
}

START_TEST(answered_subpriority)
{
    unsigned wish, taken;

    for (wish = 0; wish < 3; wish++) {
        for (taken = 0; taken < 255; taken++) {
            check_answer((uint8_t)wish, answer_message((uint8_t)taken),
                         taken < 2 && taken != wish ? MX_GO_ON : MX_VIOLATE);
        }
    }
    check_answer(0, answer_message(NONE), MX_CLOSE);
    check_answer(1, answer_message(NONE), MX_CLOSE);
}
END_TEST

/* We insisted on nothing: that there is no agreement is a lie. */
START_TEST(no_agreement_although_any_would_do)
{
    check_answer(ANY, answer_message(NONE), MX_VIOLATE);
}
END_TEST

START_TEST(answered_versions)
{
    static const struct {
        uint16_t low, high;
        uint8_t taken;
        enum mx_outcome expected;
    } cases[] = {
        { 1, 1, 0, MX_GO_ON },
        { 0, 0, NONE, MX_CLOSE },
        { 0, 0, 0, MX_VIOLATE },
        { 0, 0, 1, MX_VIOLATE },
        { 0, 1, 0, MX_VIOLATE }, { 0, 1, NONE, MX_VIOLATE },
        { 1, 0, 0, MX_VIOLATE }, { 1, 0, NONE, MX_VIOLATE },
        { 1, 2, 0, MX_VIOLATE }, { 1, 2, NONE, MX_VIOLATE },
        { 2, 2, 0, MX_VIOLATE }, { 2, 2, NONE, MX_VIOLATE },
        { 65535, 65535, 0, MX_VIOLATE },
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mx_message answer = answer_message(cases[i].taken);

        answer.u.hello.version_low = cases[i].low;
        answer.u.hello.version_high = cases[i].high;
        check_answer(ANY, answer, cases[i].expected);
    }
}
END_TEST

START_TEST(answered_features_and_pair)
{
    struct mx_message answer = answer_message(0);
    unsigned bit;

    for (bit = 0; bit < 64; bit++) {    /* we offered none */
        answer.u.hello.features = UINT64_C(1) << bit;
        check_answer(ANY, answer, MX_VIOLATE);
        answer.u.hello.features = 0;
        answer.u.hello.pair_id = PAIR ^ (UINT64_C(1) << bit);
        check_answer(ANY, answer, MX_VIOLATE);
        answer.u.hello.pair_id = PAIR;
    }
    answer.u.hello.pair_id = 0;
    check_answer(ANY, answer, MX_VIOLATE);
    answer.u.hello.pair_id = PAIR;
    answer.u.hello.page_size = 0;
    answer.u.hello.name[0] = '\0';
    answer.priority = 77;           /* not looked at */
    check_answer(ANY, answer, MX_GO_ON);
}
END_TEST

START_TEST(answers_out_of_place)
{
    struct mx_session session;

    listening(&session, MX_HELLO_MODE_ON);
    assert_violates(&session, receive(&session, answer_message(0)),
                    "out of place");
    connecting(&session, MX_HELLO_MODE_ON);
    ck_assert_int_eq(receive(&session, answer_message(0)), MX_GO_ON);
    assert_violates(&session, receive(&session, answer_message(0)),
                    "out of place");
    connecting(&session, MX_HELLO_MODE_ON);
    ck_assert_int_eq(receive(&session, plain(MX_READ, 2)), MX_GO_ON);
    assert_violates(&session, receive(&session, answer_message(0)),
                    "out of place");
    connecting(&session, MX_HELLO_MODE_ON);
    assert_violates(&session, receive_intr(&session, answer_message(0)),
                    "on the interrupt link");
}
END_TEST

/* --- names --------------------------------------------------------------- */

static void check_name(const char *said, const char *shown)
{
    struct mx_message hello = hello_message(0, ANY);
    struct mx_message answer = answer_message(0);
    struct mx_session session;

    strcpy(hello.u.hello.name, said);
    strcpy(answer.u.hello.name, said);
    listening(&session, MX_HELLO_MODE_ON);
    ck_assert_int_eq(receive(&session, hello), MX_REPLY);
    ck_assert_str_eq(session.peer.name, shown);
    connecting(&session, MX_HELLO_MODE_ON);
    ck_assert_int_eq(receive(&session, answer), MX_GO_ON);
    ck_assert_str_eq(session.peer.name, shown);
    mx_session_stop(&session);
    ck_assert_str_eq(session.peer.name, "");
}

START_TEST(names)
{
    check_name("", "");
    check_name("plain ~!", "plain ~!");
    check_name("a\nb\tc\x1b[31m\x7f", "a?b?c?[31m?");
    check_name("\xc3\xa9t\xff\x80", "??t??");
    check_name("0123456789abcdef0123456789abcdef",
               "0123456789abcdef0123456789abcdef");
}
END_TEST

START_TEST(our_name)
{
    struct mx_session_config config = defaults;
    struct mx_session session;
    struct mx_message hello;

    config.connects = true;
    config.name = "0123456789abcdef0123456789abcdefX";
    mx_session_start(&session, &config, PAIR, BEGIN);
    mx_session_hello(&session, &hello);
    ck_assert_str_eq(hello.u.hello.name, "0123456789abcdef0123456789abcdef");
}
END_TEST

static void add_answers(Suite *suite)
{
    TCase *tcase = harness_tcase("answers");

    tcase_add_test(tcase, wishes);
    tcase_add_test(tcase, wish_for_what_is_none);
    tcase_add_test(tcase, versions);
    tcase_add_test(tcase, answered_subpriority);
    tcase_add_test(tcase, no_agreement_although_any_would_do);
    tcase_add_test(tcase, answered_versions);
    tcase_add_test(tcase, answered_features_and_pair);
    tcase_add_test(tcase, answers_out_of_place);
    tcase_add_test(tcase, names);
    tcase_add_test(tcase, our_name);
    suite_add_tcase(suite, tcase);
}

int main(void)
{
    Suite *suite = suite_create("session");
    TCase *tcase = harness_tcase("settling");

    tcase_add_test(tcase, every_pair_of_modes);
    tcase_add_test(tcase, first_message_is_a_request);
    tcase_add_test(tcase, without_hello);
    tcase_add_test(tcase, wishes_without_hello);
    tcase_add_test(tcase, what_is_said);
    suite_add_tcase(suite, tcase);
    add_answers(suite);

    return harness_main(suite);
}
