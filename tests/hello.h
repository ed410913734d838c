/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sessions that have yet to settle, and what a peer may say to them.
 */
#ifndef TESTS_HELLO_H
#define TESTS_HELLO_H

#include <string.h>

#include "harness.h"
#include "session.h"

#define SECOND INT64_C(1000000000)
#define BEGIN (100 * SECOND)    /* when both links came up */

enum { PAIR = 0x1234 };
enum { ANY = MX_SUBPRIORITY_ANY, NONE = MX_SUBPRIORITY_NONE };

static const struct mx_session_config defaults = {
    .hello = MX_HELLO_MODE_ON,
    .wish = ANY,
    .page_size = 4096,
    .span_start = 0x1000,
    .span_size = 0x8000,
    .name = "here",
    .hello_wait = SECOND,
    .request_timeout = 5 * SECOND,
};

static inline void start_as(struct mx_session *session, bool connects,
                     enum mx_hello_mode mode, uint8_t wish)
{
    struct mx_session_config config = defaults;

    config.connects = connects;
    config.hello = mode;
    config.wish = wish;
    mx_session_start(session, &config, PAIR, BEGIN);
}

static inline void listening(struct mx_session *session,
                             enum mx_hello_mode mode)
{
    start_as(session, false, mode, ANY);
}

static inline void connecting(struct mx_session *session,
                              enum mx_hello_mode mode)
{
    start_as(session, true, mode, ANY);
}

static inline struct mx_message hello_message(uint64_t pair_id, uint8_t wish)
{
    return (struct mx_message) {
        .type = MX_HELLO,
        .u.hello = {
            .magic = MX_HELLO_MAGIC, .version_low = 1, .version_high = 1,
            .subpriority = wish, .page_size = 16384, .span_start = 0x5000,
            .span_size = 0x6000, .pair_id = pair_id, .name = "there",
        },
    };
}

static inline struct mx_message answer_message(uint8_t taken)
{
    struct mx_message message = hello_message(PAIR, taken);

    message.type = MX_HELLO_RET;
    return message;
}

static inline enum mx_outcome receive(struct mx_session *session,
                               struct mx_message message)
{
    return mx_session_receive(session, &message, BEGIN + SECOND / 10);
}

static inline enum mx_outcome receive_intr(struct mx_session *session,
                                    struct mx_message message)
{
    return mx_session_receive_intr(session, &message);
}

static inline struct mx_message plain(uint8_t type, uint8_t priority)
{
    return (struct mx_message) { .type = type, .priority = priority,
                                 .size = 8 };
}

static inline void assert_settled(const struct mx_session *session, bool hello,
                           unsigned subpriority)
{
    ck_assert_int_eq(session->phase, MX_PHASE_SETTLED);
    ck_assert(session->said_hello == hello);
    ck_assert_uint_eq(session->subpriority, subpriority);
}

#define assert_reason(session, text) \
    ck_assert_msg(strstr((session)->reason, text), "'%s' does not say '%s'", \
                  (session)->reason, text)

#define assert_violates(session, outcome, text) \
    do { \
        ck_assert_int_eq(outcome, MX_VIOLATE); \
        assert_reason(session, text); \
    } while (0)

#endif
