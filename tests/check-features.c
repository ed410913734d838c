/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What hello agrees on besides (protocol sections 8 and 9): the session alone,
 * without any I/O.
 */
#include "hello.h"

enum { BOTH = MX_FEATURE_BLOCK | MX_FEATURE_PUSH };

static void start_with(struct mx_session *session, bool connects,
                       uint64_t features)
{
    struct mx_session_config config = defaults;

    config.connects = connects;
    config.features = features;
    mx_session_start(session, &config, PAIR, BEGIN);
}

/* Settled by hello, with sub-priority 0 here, and the peer's 1. */
static void settled_with(struct mx_session *session, uint64_t features)
{
    struct mx_message hello = hello_message(0, ANY);

    start_with(session, false, features);
    hello.u.hello.features = features;
    ck_assert_int_eq(receive(session, hello), MX_REPLY);
    assert_settled(session, true, 0);
}

/* What both offer; the answer to a connecting side is taken as it is. */
START_TEST(features_in_common)
{
    for (uint64_t theirs = 0; theirs < 8; theirs++) {
        for (uint64_t ours = 0; ours <= BOTH; ours++) {
            struct mx_session connector, listener;
            struct mx_message message;

            start_with(&listener, false, ours);
            message = hello_message(0, ANY);
            message.u.hello.features = theirs | UINT64_C(1) << 63;
            ck_assert_int_eq(receive(&listener, message), MX_REPLY);
            mx_session_hello(&listener, &message);
            ck_assert_uint_eq(message.u.hello.features, theirs & ours);
            ck_assert_int_eq(mx_session_has(&listener, MX_FEATURE_BLOCK),
                             (theirs & ours & 1) != 0);
            ck_assert_int_eq(mx_session_has(&listener, MX_FEATURE_PUSH),
                             (theirs & ours & 2) != 0);
            ck_assert(listener.awaits_offers == ((theirs & ours & 2) != 0));

            start_with(&connector, true, ours);
            mx_session_hello(&connector, &message);
            ck_assert_uint_eq(message.u.hello.features, ours);
            ck_assert(!mx_session_has(&connector, BOTH));
            message = answer_message(0);
            message.u.hello.features = theirs;
            ck_assert_int_eq(receive(&connector, message),
                             theirs & ~ours ? MX_VIOLATE : MX_GO_ON);
            if (!(theirs & ~ours)) {
                ck_assert_uint_eq(connector.features, theirs);
                ck_assert(connector.awaits_offers == ((theirs & 2) != 0));
            }
        }
    }
}
END_TEST

/* Base has none, however it came to it; nor has the next peer. */
START_TEST(no_features_without_hello)
{
    struct mx_session_config config = defaults;
    struct mx_session session;

    config.features = BOTH;
    mx_session_start(&session, &config, PAIR, BEGIN);
    ck_assert_int_eq(receive(&session, plain(MX_READ, 3)), MX_GO_ON);
    assert_settled(&session, false, 0);
    ck_assert(!mx_session_has(&session, BOTH) && !session.awaits_offers);
    config.hello = MX_HELLO_MODE_OFF;
    mx_session_start(&session, &config, PAIR, BEGIN);
    assert_settled(&session, false, 0);
    ck_assert(!mx_session_has(&session, BOTH) && !session.awaits_offers);

    settled_with(&session, BOTH);
    ck_assert(mx_session_has(&session, MX_FEATURE_BLOCK));
    mx_session_stop(&session);
    ck_assert(!mx_session_has(&session, BOTH) && !session.awaits_offers);
}
END_TEST

static struct mx_message block(uint8_t type, uint8_t priority, uint32_t size)
{
    return (struct mx_message) { .type = type, .priority = priority,
                                 .size = size };
}

START_TEST(blocks_without_the_feature)
{
    static const uint8_t types[] = { MX_READ_BLOCK, MX_WRITE_BLOCK };

    for (unsigned i = 0; i < 2; i++) {
        struct mx_session session;

        settled_with(&session, MX_FEATURE_PUSH);
        assert_violates(&session, receive(&session, block(types[i], 3, 9)),
                        "not agreed on");
        listening(&session, MX_HELLO_MODE_ON);      /* first of all */
        assert_violates(&session, receive(&session, block(types[i], 3, 9)),
                        "not agreed on");
        settled_with(&session, MX_FEATURE_BLOCK);
        ck_assert_int_eq(receive(&session, block(types[i], 3, 9)), MX_GO_ON);
        ck_assert_int_eq(mx_session_serviceable(&session, true),
                         MX_CLASS_ACCESS);
        /* one access in all, whatever its type */
        assert_violates(&session, receive(&session, plain(MX_READ, 3)),
                        "too many");
        assert_violates(&session, receive(&session, block(types[!i], 3, 9)),
                        "too many");
        settled_with(&session, MX_FEATURE_BLOCK);
        assert_violates(&session, receive(&session, block(types[i], 2, 9)),
                        "our own");
        assert_violates(&session, receive(&session, block(types[i], 1, 9)),
                        "does not fit");
    }
}
END_TEST

/* All and no failure, or less and one. */
START_TEST(lengths_of_answers)
{
    static const uint8_t types[] = { MX_READ_BLOCK, MX_WRITE_BLOCK };
    static const uint32_t done[] = { 0, 1, 99, 100, 101, 65536 };

    for (unsigned i = 0; i < 2 * 6 * 2; i++) {
        struct mx_message request = block(types[i & 1], 0, 100), answer;
        uint32_t result = i & 2 ? 2 : 0, count = done[i / 4];
        bool fits = result ? count < 100 : count == 100;
        struct mx_session session;

        settled_with(&session, MX_FEATURE_BLOCK);
        mx_session_send(&session, &request, INT64_MAX);
        ck_assert_uint_eq(request.priority, 2);
        ck_assert(!mx_session_may_send(&session, MX_CLASS_ACCESS));
        answer = block((uint8_t)(request.type + 1), 2, count);
        answer.result = result;
        if (fits) {
            ck_assert_int_eq(receive(&session, answer), MX_COMPLETE);
            ck_assert(mx_session_may_send(&session, MX_CLASS_ACCESS));
        } else {
            assert_violates(&session, receive(&session, answer),
                            "another length");
        }
    }
}
END_TEST

/* Each answer to each question but its own. */
START_TEST(answers_of_another_type)
{
    static const uint8_t types[] = { MX_READ, MX_WRITE, MX_READ_BLOCK,
                                     MX_WRITE_BLOCK };

    for (unsigned i = 0; i < 16; i++) {
        struct mx_message request = block(types[i / 4], 0, 8);
        struct mx_session session;

        settled_with(&session, MX_FEATURE_BLOCK);
        mx_session_send(&session, &request, INT64_MAX);
        ck_assert_int_eq(receive(&session, block((uint8_t)(types[i % 4] + 1),
                                                 2, 8)),
                         i / 4 == i % 4 ? MX_COMPLETE : MX_VIOLATE);
    }
}
END_TEST

static struct mx_message offer(uint8_t kind)
{
    return (struct mx_message) { .type = MX_OFFER, .share.kind = kind };
}

/* From settling, from each offer and each REG_INV, to the end of offers. */
START_TEST(offers_hold_accesses)
{
    struct mx_message request, response = { 0 };
    struct mx_session session;

    settled_with(&session, MX_FEATURE_PUSH);
    for (unsigned round = 0; round < 3; round++) {
        ck_assert(!mx_session_may_send(&session, MX_CLASS_ACCESS));
        ck_assert(mx_session_may_send(&session, MX_CLASS_INVALIDATE));
        ck_assert_int_eq(receive(&session, offer(1)), MX_TAKE_OFFER);
        ck_assert(!mx_session_may_send(&session, MX_CLASS_ACCESS));
        ck_assert_int_eq(receive(&session, offer(0)), MX_TAKE_OFFER);
        ck_assert(mx_session_may_send(&session, MX_CLASS_ACCESS));
        /* more may come, and holds them again until the end */
        ck_assert_int_eq(receive(&session, offer(1)), MX_TAKE_OFFER);
        ck_assert(!mx_session_may_send(&session, MX_CLASS_ACCESS));
        ck_assert_int_eq(receive(&session, offer(0)), MX_TAKE_OFFER);
        ck_assert_int_eq(receive(&session, offer(0)), MX_TAKE_OFFER);
        ck_assert(mx_session_may_send(&session, MX_CLASS_ACCESS));

        ck_assert_int_eq(receive(&session, plain(MX_REG_INV, 1)), MX_GO_ON);
        ck_assert(!mx_session_may_send(&session, MX_CLASS_ACCESS));
        mx_session_serve(&session, MX_CLASS_INVALIDATE, &request);
        mx_session_responded(&session, MX_CLASS_INVALIDATE, &response);
        mx_session_response_sent(&session, MX_CLASS_INVALIDATE);
    }
}
END_TEST

/* Without push nothing holds them. */
START_TEST(nothing_holds_without_push)
{
    struct mx_session session;

    settled_with(&session, MX_FEATURE_BLOCK);
    ck_assert(mx_session_may_send(&session, MX_CLASS_ACCESS));
    ck_assert_int_eq(receive(&session, plain(MX_REG_INV, 1)), MX_GO_ON);
    ck_assert(mx_session_may_send(&session, MX_CLASS_ACCESS));
}
END_TEST

START_TEST(offers_out_of_place)
{
    struct mx_message request, response = { 0 };
    struct mx_session session;

    for (uint8_t kind = 0; kind < 2; kind++) {
        settled_with(&session, MX_FEATURE_BLOCK);
        assert_violates(&session, receive(&session, offer(kind)),
                        "not agreed on");
        listening(&session, MX_HELLO_MODE_ON);
        assert_violates(&session, receive(&session, offer(kind)),
                        "not agreed on");
        start_with(&session, true, BOTH);           /* before HELLO_RET */
        assert_violates(&session, receive(&session, offer(kind)),
                        "not agreed on");
        assert_violates(&session, receive_intr(&session, offer(kind)),
                        "on the interrupt link");

        settled_with(&session, BOTH);
        ck_assert_int_eq(receive(&session, plain(MX_REG_INV, 1)), MX_GO_ON);
        assert_violates(&session, receive(&session, offer(kind)),
                        "unanswered");
        mx_session_serve(&session, MX_CLASS_INVALIDATE, &request);
        assert_violates(&session, receive(&session, offer(kind)),
                        "unanswered");
        mx_session_responded(&session, MX_CLASS_INVALIDATE, &response);
        assert_violates(&session, receive(&session, offer(kind)),
                        "unanswered");
        mx_session_response_sent(&session, MX_CLASS_INVALIDATE);
        ck_assert_int_eq(receive(&session, offer(kind)), MX_TAKE_OFFER);
    }
}
END_TEST

START_TEST(may_offer)
{
    struct mx_message request = plain(MX_REG_INV, 0);
    struct mx_session session;

    settled_with(&session, MX_FEATURE_BLOCK);
    ck_assert(!mx_session_may_offer(&session));
    start_with(&session, true, BOTH);
    ck_assert(!mx_session_may_offer(&session));
    settled_with(&session, MX_FEATURE_PUSH);
    ck_assert(mx_session_may_offer(&session));
    mx_session_send(&session, &request, INT64_MAX);
    ck_assert(!mx_session_may_offer(&session));
    ck_assert_int_eq(receive(&session, plain(MX_REG_INV_RET, 0)),
                     MX_COMPLETE);
    ck_assert(mx_session_may_offer(&session));
    /* an access of ours, or a request of the peer's, is no hindrance */
    ck_assert_int_eq(receive(&session, offer(0)), MX_TAKE_OFFER);
    request = plain(MX_READ, 0);
    mx_session_send(&session, &request, INT64_MAX);
    ck_assert_int_eq(receive(&session, plain(MX_READ, 3)), MX_GO_ON);
    ck_assert_int_eq(receive(&session, plain(MX_REG_INV, 1)), MX_GO_ON);
    ck_assert(mx_session_may_offer(&session));
    mx_session_stop(&session);
    ck_assert(!mx_session_may_offer(&session));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("features");
    TCase *tcase = harness_tcase("features");

    tcase_add_test(tcase, features_in_common);
    tcase_add_test(tcase, no_features_without_hello);
    tcase_add_test(tcase, blocks_without_the_feature);
    tcase_add_test(tcase, lengths_of_answers);
    tcase_add_test(tcase, answers_of_another_type);
    tcase_add_test(tcase, offers_hold_accesses);
    tcase_add_test(tcase, nothing_holds_without_push);
    tcase_add_test(tcase, offers_out_of_place);
    tcase_add_test(tcase, may_offer);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
