/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arbitration of one link (protocol section 3), and what of its messages is a
 * violation (section 7): the session alone, without any I/O.
 */
#include <string.h>

#include "harness.h"
#include "session.h"

#define SECOND INT64_C(1000000000)

/* A session that speaks base from the start. */
static void start(struct mx_session *session, uint8_t subpriority)
{
    struct mx_session_config config = {
        .hello = MX_HELLO_MODE_OFF,
        .wish = subpriority,
        .name = "test",
        .hello_wait = SECOND,
        .request_timeout = 5 * SECOND,
    };

    mx_session_start(session, &config, 0, 0);
}

static void send(struct mx_session *session, uint8_t type)
{
    struct mx_message request = { .type = type, .offset = 0x1000,
                                  .value = 0x1000, .size = 8 };

    ck_assert(mx_session_may_send(session, mx_wire_class(type)));
    mx_session_send(session, &request, SECOND);
}

static enum mx_outcome receive(struct mx_session *session, uint8_t type,
                               uint8_t priority)
{
    struct mx_message message = { .type = type, .priority = priority,
                                  .offset = 0x1000, .value = 0x1000,
                                  .size = 8 };

    return mx_session_receive(session, &message, 0);
}

static void complete(struct mx_session *session, uint8_t type,
                     uint8_t priority)
{
    ck_assert_int_eq(receive(session, type, priority), MX_COMPLETE);
}

static void serve(struct mx_session *session, unsigned class)
{
    struct mx_message request, response = { .type = 0 };

    mx_session_serve(session, class, &request);
    mx_session_responded(session, class, &response);
    mx_session_response_sent(session, class);
}

#define assert_violates(outcome, session, text) \
    do { \
        ck_assert_int_eq(outcome, MX_VIOLATE); \
        ck_assert_ptr_nonnull(strstr((session)->reason, text)); \
    } while (0)

/* --- the table ----------------------------------------------------------- */

enum own { NOTHING, INV, READ, WRITE, INV_READ, INV_WRITE, OWN_COUNT };
enum { KEPT = 0, AT_ONCE = 1 };

static const uint8_t incoming_types[3] = { MX_REG_INV, MX_READ, MX_WRITE };
static const unsigned incoming_class[3] = { 0, 1, 1 };

/* The number that a request of the peer's has, by our own sub-priority. */
static const uint8_t incoming_number[2][3] = { { 1, 3, 3 }, { 0, 2, 2 } };
static const uint8_t own_number[2][3] = { { 0, 2, 2 }, { 1, 3, 3 } };

/*
 * What becomes of an incoming REG_INV, READ, WRITE while we have outstanding
 * what the row says: our own sub-priority is 0 on the left, 1 on the right.
 */
static const int table[OWN_COUNT][2][3] = {
    [NOTHING] =   { { AT_ONCE, AT_ONCE, AT_ONCE },
                    { AT_ONCE, AT_ONCE, AT_ONCE } },
    [INV] =       { { KEPT, KEPT, KEPT },
                    { AT_ONCE, KEPT, KEPT } },
    [READ] =      { { AT_ONCE, KEPT, KEPT },
                    { AT_ONCE, AT_ONCE, AT_ONCE } },
    [WRITE] =     { { AT_ONCE, KEPT, KEPT },
                    { AT_ONCE, AT_ONCE, AT_ONCE } },
    [INV_READ] =  { { KEPT, KEPT, KEPT },
                    { AT_ONCE, KEPT, KEPT } },
    [INV_WRITE] = { { KEPT, KEPT, KEPT },
                    { AT_ONCE, KEPT, KEPT } },
};

static const bool sends_inv[OWN_COUNT] = { [INV] = true, [INV_READ] = true,
                                           [INV_WRITE] = true };
static const uint8_t sends_access[OWN_COUNT] = {
    [NOTHING] = 0xff, [INV] = 0xff, [READ] = MX_READ, [WRITE] = MX_WRITE,
    [INV_READ] = MX_READ, [INV_WRITE] = MX_WRITE
};

static void send_own(struct mx_session *session, enum own own)
{
    if (sends_inv[own]) {
        send(session, MX_REG_INV);
    }
    if (sends_access[own] != 0xff) {
        send(session, sends_access[own]);
    }
}

static void complete_own(struct mx_session *session, enum own own,
                         unsigned subpriority)
{
    if (sends_inv[own]) {
        complete(session, MX_REG_INV_RET, own_number[subpriority][0]);
    }
    if (sends_access[own] == MX_READ) {
        complete(session, MX_READ_RET, own_number[subpriority][1]);
    } else if (sends_access[own] == MX_WRITE) {
        complete(session, MX_WRITE_RET, own_number[subpriority][2]);
    }
}

static void check_pair(enum own own, unsigned subpriority, unsigned incoming,
                       bool ours_first)
{
    struct mx_session session;
    int class = (int)incoming_class[incoming];
    int expected = table[own][subpriority][incoming] == AT_ONCE ? class : -1;

    start(&session, (uint8_t)subpriority);
    if (ours_first) {
        send_own(&session, own);
    }
    ck_assert_int_eq(receive(&session, incoming_types[incoming],
                             incoming_number[subpriority][incoming]),
                     MX_GO_ON);
    if (!ours_first) {
        send_own(&session, own);
    }
    ck_assert_msg(mx_session_serviceable(&session, true) == expected,
                  "own %d, sub-priority %u, incoming %u, ours %s", (int)own,
                  subpriority, incoming, ours_first ? "first" : "second");
    complete_own(&session, own, subpriority);
    ck_assert_int_eq(mx_session_serviceable(&session, true), class);
    serve(&session, (unsigned)class);
    ck_assert_int_eq(mx_session_serviceable(&session, true), -1);
}

START_TEST(every_pair_in_both_orders)
{
    unsigned own, subpriority, incoming;

    for (own = 0; own < OWN_COUNT; own++) {
        for (subpriority = 0; subpriority < 2; subpriority++) {
            for (incoming = 0; incoming < 3; incoming++) {
                check_pair((enum own)own, subpriority, incoming, true);
                check_pair((enum own)own, subpriority, incoming, false);
            }
        }
    }
}
END_TEST

/* The peer's came and is being serviced: ours, sent by another thread then,
 * neither stops that nor is lost. */
START_TEST(ours_sent_during_a_service)
{
    unsigned own, subpriority, incoming;

    for (own = 1; own < OWN_COUNT; own++) {
        for (subpriority = 0; subpriority < 2; subpriority++) {
            for (incoming = 0; incoming < 3; incoming++) {
                struct mx_message request, response = { .type = 0 };
                struct mx_session session;
                unsigned class = incoming_class[incoming];

                start(&session, (uint8_t)subpriority);
                receive(&session, incoming_types[incoming],
                        incoming_number[subpriority][incoming]);
                mx_session_serve(&session, class, &request);
                ck_assert_uint_eq(request.type, incoming_types[incoming]);
                send_own(&session, (enum own)own);
                mx_session_responded(&session, class, &response);
                ck_assert_uint_eq(response.type,
                                  incoming_types[incoming] + 1);
                ck_assert_uint_eq(response.priority,
                                  incoming_number[subpriority][incoming]);
                mx_session_response_sent(&session, class);
                complete_own(&session, (enum own)own, subpriority);
            }
        }
    }
}
END_TEST

/* --- looking again ------------------------------------------------------- */

START_TEST(looked_at_when_the_outstanding_set_shrinks)
{
    struct mx_session session;

    start(&session, 0);
    send(&session, MX_REG_INV);
    send(&session, MX_WRITE);
    receive(&session, MX_REG_INV, 1);
    receive(&session, MX_READ, 3);
    ck_assert_int_eq(mx_session_serviceable(&session, true), -1);
    complete(&session, MX_REG_INV_RET, 0);
    ck_assert_int_eq(mx_session_serviceable(&session, true), 0);
    serve(&session, 0);
    ck_assert_int_eq(mx_session_serviceable(&session, true), -1);
    complete(&session, MX_WRITE_RET, 2);
    ck_assert_int_eq(mx_session_serviceable(&session, true), 1);
}
END_TEST

/* A service or a map change of the group: nothing but invalidations. */
START_TEST(accesses_wait_for_the_group)
{
    unsigned subpriority;

    for (subpriority = 0; subpriority < 2; subpriority++) {
        struct mx_session session;

        start(&session, (uint8_t)subpriority);
        receive(&session, MX_READ, (uint8_t)(3 - subpriority));
        ck_assert_int_eq(mx_session_serviceable(&session, false), -1);
        receive(&session, MX_REG_INV, (uint8_t)(1 - subpriority));
        ck_assert_int_eq(mx_session_serviceable(&session, false), 0);
        serve(&session, 0);
        ck_assert_int_eq(mx_session_serviceable(&session, false), -1);
        ck_assert_int_eq(mx_session_serviceable(&session, true), 1);
    }
}
END_TEST

START_TEST(lowest_number_first)
{
    unsigned subpriority;

    for (subpriority = 0; subpriority < 2; subpriority++) {
        struct mx_session session;

        start(&session, (uint8_t)subpriority);
        receive(&session, MX_WRITE, (uint8_t)(3 - subpriority));
        receive(&session, MX_REG_INV, (uint8_t)(1 - subpriority));
        ck_assert_int_eq(mx_session_serviceable(&session, true), 0);
        serve(&session, 0);
        ck_assert_int_eq(mx_session_serviceable(&session, true), 1);
    }
}
END_TEST

START_TEST(one_of_a_class_is_outstanding)
{
    struct mx_session session;

    start(&session, 1);
    send(&session, MX_READ);
    ck_assert(!mx_session_may_send(&session, MX_CLASS_ACCESS));
    ck_assert(mx_session_may_send(&session, MX_CLASS_INVALIDATE));
    send(&session, MX_REG_INV);
    ck_assert(!mx_session_may_send(&session, MX_CLASS_INVALIDATE));
    complete(&session, MX_READ_RET, 3);
    ck_assert(mx_session_may_send(&session, MX_CLASS_ACCESS));
    ck_assert(!mx_session_may_send(&session, MX_CLASS_INVALIDATE));
}
END_TEST

START_TEST(our_numbers)
{
    unsigned subpriority, i;

    for (subpriority = 0; subpriority < 2; subpriority++) {
        for (i = 0; i < 3; i++) {
            struct mx_message request = { .type = incoming_types[i] };
            struct mx_session session;

            start(&session, (uint8_t)subpriority);
            mx_session_send(&session, &request, SECOND);
            ck_assert_uint_eq(request.priority, own_number[subpriority][i]);
        }
    }
}
END_TEST

/* --- requests that violate ----------------------------------------------- */

START_TEST(too_many_unanswered_requests)
{
    unsigned subpriority, first, second;

    for (subpriority = 0; subpriority < 2; subpriority++) {
        for (first = 0; first < 3; first++) {
            for (second = 0; second < 3; second++) {
                struct mx_session session;
                enum mx_outcome outcome;

                start(&session, (uint8_t)subpriority);
                receive(&session, incoming_types[first],
                        incoming_number[subpriority][first]);
                outcome = receive(&session, incoming_types[second],
                                  incoming_number[subpriority][second]);
                if (incoming_class[first] != incoming_class[second]) {
                    ck_assert_int_eq(outcome, MX_GO_ON);
                } else {
                    assert_violates(outcome, &session,
                                    "too many unanswered requests");
                }
            }
        }
    }
}
END_TEST

/* Kept, in service, answered but not sent: each is unanswered. */
START_TEST(unanswered_until_the_last_byte)
{
    unsigned class;

    for (class = 0; class < MX_CLASSES; class++) {
        uint8_t type = class ? MX_READ : MX_REG_INV;
        uint8_t priority = class ? 3 : 1;
        struct mx_message request, response = { .type = 0 };
        struct mx_session session, copy;

        start(&session, 0);
        ck_assert_int_eq(receive(&session, type, priority), MX_GO_ON);
        copy = session;
        assert_violates(receive(&copy, type, priority), &copy, "too many");
        mx_session_serve(&session, class, &request);
        copy = session;
        assert_violates(receive(&copy, type, priority), &copy, "too many");
        mx_session_response_sent(&session, class);  /* none is queued */
        copy = session;
        assert_violates(receive(&copy, type, priority), &copy, "too many");
        mx_session_responded(&session, class, &response);
        ck_assert_int_eq(mx_session_serviceable(&session, true), -1);
        copy = session;
        assert_violates(receive(&copy, type, priority), &copy, "too many");
        mx_session_response_sent(&session, class);
        ck_assert_int_eq(receive(&session, type, priority), MX_GO_ON);
        ck_assert_int_eq(mx_session_serviceable(&session, true), (int)class);
    }
}
END_TEST

START_TEST(priorities_of_requests)
{
    unsigned subpriority, i, priority;

    for (subpriority = 0; subpriority < 2; subpriority++) {
        for (i = 0; i < 3; i++) {
            for (priority = 0; priority < 256; priority++) {
                struct mx_session session;
                enum mx_outcome outcome;

                start(&session, (uint8_t)subpriority);
                outcome = receive(&session, incoming_types[i],
                                  (uint8_t)priority);
                if (priority == incoming_number[subpriority][i]) {
                    ck_assert_int_eq(outcome, MX_GO_ON);
                } else if (priority == own_number[subpriority][i]) {
                    assert_violates(outcome, &session, "our own sub-priority");
                } else {
                    assert_violates(outcome, &session, "does not fit");
                }
            }
        }
    }
}
END_TEST

static enum mx_outcome invalidate(struct mx_session *session, uint64_t begin,
                                  uint64_t size)
{
    struct mx_message message = { .type = MX_REG_INV, .priority = 1,
                                  .offset = begin, .value = size };

    return mx_session_receive(session, &message, 0);
}

START_TEST(ranges_of_invalidations)
{
    static const struct {
        uint64_t start, size;
        bool passes;
    } cases[] = {
        { 0, 0, false }, { UINT64_MAX, 0, false }, { 0x1000, 0, false },
        { 0, UINT64_MAX, false }, { 1, UINT64_MAX, false },
        { UINT64_MAX, 1, false }, { UINT64_MAX - 0xfff, 0x1000, false },
        { UINT64_MAX, 2, true }, { 2, UINT64_MAX, true },
        { UINT64_MAX - 0xfff, 0x1001, true },
        { UINT64_MAX, UINT64_MAX, true },
        { 0x8000000000000000u, 0x8000000000000000u, false },
        { 0x8000000000000000u, 0x8000000000000001u, true },
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mx_session session;
        enum mx_outcome outcome;

        start(&session, 0);
        outcome = invalidate(&session, cases[i].start, cases[i].size);
        if (cases[i].passes) {
            assert_violates(outcome, &session, "2^64");
        } else {
            ck_assert_int_eq(outcome, MX_GO_ON);
            ck_assert_int_eq(mx_session_serviceable(&session, false), 0);
        }
    }
}
END_TEST

/* --- responses that violate ---------------------------------------------- */

static const uint8_t response_types[3] = { MX_REG_INV_RET, MX_READ_RET,
                                           MX_WRITE_RET };

START_TEST(responses_to_nothing)
{
    unsigned i;

    for (i = 0; i < 3; i++) {
        struct mx_session session;

        start(&session, 0);
        assert_violates(receive(&session, response_types[i], own_number[0][i]),
                        &session, "matches no request");
        start(&session, 0);
        send(&session, incoming_types[i]);
        complete(&session, response_types[i], own_number[0][i]);
        assert_violates(receive(&session, response_types[i], own_number[0][i]),
                        &session, "matches no request");
    }
}
END_TEST

/* Each type of response to each type of request. */
START_TEST(responses_of_another_type)
{
    unsigned request, response;

    for (request = 0; request < 3; request++) {
        for (response = 0; response < 3; response++) {
            struct mx_session session;
            enum mx_outcome outcome;

            start(&session, 1);
            send(&session, incoming_types[request]);
            outcome = receive(&session, response_types[response],
                              own_number[1][response]);
            if (request == response) {
                ck_assert_int_eq(outcome, MX_COMPLETE);
            } else {
                assert_violates(outcome, &session, "matches no request");
            }
        }
    }
}
END_TEST

START_TEST(priorities_of_responses)
{
    unsigned subpriority, i, priority;

    for (subpriority = 0; subpriority < 2; subpriority++) {
        for (i = 0; i < 3; i++) {
            for (priority = 0; priority < 256; priority++) {
                struct mx_session session;
                enum mx_outcome outcome;

                start(&session, (uint8_t)subpriority);
                send(&session, incoming_types[i]);
                outcome = receive(&session, response_types[i],
                                  (uint8_t)priority);
                if (priority == own_number[subpriority][i]) {
                    ck_assert_int_eq(outcome, MX_COMPLETE);
                } else {
                    assert_violates(outcome, &session, "another priority");
                }
            }
        }
    }
}
END_TEST

START_TEST(an_interrupt_on_the_memory_link)
{
    struct mx_session session;

    start(&session, 0);
    assert_violates(receive(&session, MX_INTR, 0), &session,
                    "INTR on the memory link");
}
END_TEST

/* --- invalidations since the access was sent ----------------------------- */

static void serve_invalidation(struct mx_session *session, uint64_t begin,
                               uint64_t size)
{
    ck_assert_int_eq(invalidate(session, begin, size), MX_GO_ON);
    ck_assert_int_eq(mx_session_serviceable(session, false), 0);
    serve(session, 0);
}

START_TEST(invalidations_are_remembered)
{
    struct mx_session session;

    start(&session, 0);
    serve_invalidation(&session, 0x9000, 0x1000);   /* nothing is under way */
    send(&session, MX_READ);
    ck_assert(!mx_session_invalidated(&session, 0, UINT64_MAX));
    serve_invalidation(&session, 0x4000, 0x1000);
    ck_assert(mx_session_invalidated(&session, 0x4000, 1));
    ck_assert(mx_session_invalidated(&session, 0x4fff, 1));
    ck_assert(mx_session_invalidated(&session, 0, UINT64_MAX));
    ck_assert(!mx_session_invalidated(&session, 0x3000, 0x1000));
    ck_assert(!mx_session_invalidated(&session, 0x5000, 0x1000));
    ck_assert(!mx_session_invalidated(&session, 0x9000, 0x1000));
    serve_invalidation(&session, 0x7000, 0);
    ck_assert(!mx_session_invalidated(&session, 0x7000, 0x1000));
    serve_invalidation(&session, UINT64_MAX, 1);
    ck_assert(mx_session_invalidated(&session, UINT64_MAX, 1));
    ck_assert(mx_session_invalidated(&session, 0x4000, 1));

    /* The response is here; what came before it still counts. */
    complete(&session, MX_READ_RET, 2);
    ck_assert(mx_session_invalidated(&session, 0x4000, 1));
    send(&session, MX_REG_INV);
    ck_assert(mx_session_invalidated(&session, 0x4000, 1));
    send(&session, MX_WRITE);
    ck_assert(!mx_session_invalidated(&session, 0, UINT64_MAX));
}
END_TEST

START_TEST(many_invalidations)
{
    struct mx_session session;
    unsigned i;

    start(&session, 0);
    send(&session, MX_READ);
    for (i = 0; i < MX_SINCE_MAX; i++) {
        serve_invalidation(&session, 0x10000 + 0x2000 * (uint64_t)i, 0x1000);
    }
    for (i = 0; i < MX_SINCE_MAX; i++) {
        uint64_t begin = 0x10000 + 0x2000 * (uint64_t)i;

        ck_assert(mx_session_invalidated(&session, begin, 0x1000));
        ck_assert(!mx_session_invalidated(&session, begin + 0x1000, 0x1000));
    }
    for (i = 0; i < 300; i++) { /* more than are noted: any may be stale */
        serve_invalidation(&session, 0, 0x1000);
        ck_assert(mx_session_invalidated(&session, 0x900000, 1));
    }
    complete(&session, MX_READ_RET, 2);
    send(&session, MX_READ);
    ck_assert(!mx_session_invalidated(&session, 0x900000, 1));
}
END_TEST

/* --- the end, and deadlines ---------------------------------------------- */

START_TEST(the_end_clears)
{
    struct mx_session session;

    start(&session, 0);
    send(&session, MX_READ);
    receive(&session, MX_REG_INV, 1);
    serve(&session, 0);
    receive(&session, MX_WRITE, 3);
    receive(&session, MX_REG_INV, 1);
    mx_session_stop(&session);
    ck_assert_int_eq(session.phase, MX_PHASE_DOWN);
    ck_assert_int_eq(mx_session_serviceable(&session, true), -1);
    ck_assert(!mx_session_may_send(&session, MX_CLASS_ACCESS));
    ck_assert(!mx_session_may_send(&session, MX_CLASS_INVALIDATE));
    ck_assert(!mx_session_invalidated(&session, 0, UINT64_MAX));
    ck_assert(mx_session_deadline(&session, true) == INT64_MAX);
}
END_TEST

START_TEST(deadlines)
{
    struct mx_message read = { .type = MX_READ }, inv = { .type = MX_REG_INV };
    struct mx_session session, copy;

    start(&session, 0);
    ck_assert(mx_session_deadline(&session, true) == INT64_MAX);
    mx_session_send(&session, &read, 700);
    mx_session_send(&session, &inv, 900);
    ck_assert(mx_session_deadline(&session, false) == 700);
    ck_assert_int_eq(mx_session_tick(&session, true, 699), MX_GO_ON);
    copy = session;
    ck_assert_int_eq(mx_session_tick(&copy, true, 700), MX_CLOSE);
    ck_assert_ptr_nonnull(strstr(copy.reason, "no answer to READ"));
    complete(&session, MX_READ_RET, 2);
    ck_assert(mx_session_deadline(&session, false) == 900);
    ck_assert_int_eq(mx_session_tick(&session, false, 899), MX_GO_ON);
    ck_assert_int_eq(mx_session_tick(&session, false, 900), MX_CLOSE);
    ck_assert_ptr_nonnull(strstr(session.reason, "no answer to REG_INV"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("arbitration");
    TCase *tcase = harness_tcase("order");

    tcase_add_test(tcase, every_pair_in_both_orders);
    tcase_add_test(tcase, ours_sent_during_a_service);
    tcase_add_test(tcase, looked_at_when_the_outstanding_set_shrinks);
    tcase_add_test(tcase, accesses_wait_for_the_group);
    tcase_add_test(tcase, lowest_number_first);
    tcase_add_test(tcase, one_of_a_class_is_outstanding);
    tcase_add_test(tcase, our_numbers);
    suite_add_tcase(suite, tcase);

    tcase = harness_tcase("violations");
    tcase_add_test(tcase, too_many_unanswered_requests);
    tcase_add_test(tcase, unanswered_until_the_last_byte);
    tcase_add_test(tcase, priorities_of_requests);
    tcase_add_test(tcase, ranges_of_invalidations);
    tcase_add_test(tcase, responses_to_nothing);
    tcase_add_test(tcase, responses_of_another_type);
    tcase_add_test(tcase, priorities_of_responses);
    tcase_add_test(tcase, an_interrupt_on_the_memory_link);
    suite_add_tcase(suite, tcase);

    tcase = harness_tcase("memory");
    tcase_add_test(tcase, invalidations_are_remembered);
    tcase_add_test(tcase, many_invalidations);
    tcase_add_test(tcase, the_end_clears);
    tcase_add_test(tcase, deadlines);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
