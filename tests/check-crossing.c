/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * First messages that cross (protocol section 6): every order in which two
 * sides can send, receive and wait is gone through.  None of them leaves the
 * two disagreeing, and none stands still.
 */
#include <string.h>

#include "harness.h"
#include "session.h"

#define SECOND INT64_C(1000000000)

enum { PAIR = 0x1234 };

static void start(struct mx_session *session, bool connects)
{
    struct mx_session_config config = {
        .connects = connects,
        .hello = MX_HELLO_MODE_ON,
        .wish = MX_SUBPRIORITY_ANY,
        .name = "test",
        .hello_wait = SECOND,
        .request_timeout = 5 * SECOND,
    };

    mx_session_start(session, &config, PAIR, 0);
}

static struct mx_message hello_message(void)
{
    return (struct mx_message) {
        .type = MX_HELLO,
        .u.hello = {
            .magic = MX_HELLO_MAGIC, .version_low = 1, .version_high = 1,
            .subpriority = MX_SUBPRIORITY_ANY, .pair_id = PAIR,
        },
    };
}

static struct mx_message answer_message(void)
{
    struct mx_message message = hello_message();

    message.type = MX_HELLO_RET;
    message.u.hello.subpriority = 0;
    return message;
}

enum { QUEUED = 6 };

struct lane {
    uint8_t type[QUEUED];
    uint8_t priority[QUEUED];
    unsigned count;
};

/* Both sides, what is under way, and what each has still to do. */
struct state {
    struct mx_session connector, listener;
    struct lane to_listener[2], to_connector[2];    /* memory, interrupt */
    bool connector_reads, listener_reads;
    bool connector_interrupts, listener_interrupts;
};

static unsigned long ends, ends_as_base, ends_with_hello;

static void enqueue(struct lane *lane, uint8_t type, uint8_t priority)
{
    ck_assert_uint_lt(lane->count, QUEUED);
    lane->type[lane->count] = type;
    lane->priority[lane->count++] = priority;
}

static struct mx_message dequeue(struct lane *lane)
{
    struct mx_message message;

    if (lane->type[0] == MX_HELLO) {
        message = hello_message();
    } else if (lane->type[0] == MX_HELLO_RET) {
        message = answer_message();
    } else {
        message = (struct mx_message) {
            .type = lane->type[0], .priority = lane->priority[0], .size = 8,
        };
    }
    lane->count--;
    memmove(lane->type, lane->type + 1, lane->count);
    memmove(lane->priority, lane->priority + 1, lane->count);
    return message;
}

static void deliver(struct mx_session *session, struct lane *from,
                    struct lane *answers, unsigned which)
{
    struct mx_message message = dequeue(from);
    enum mx_outcome outcome =
        which ? mx_session_receive_intr(session, &message) :
                mx_session_receive(session, &message, 1);

    ck_assert_msg(outcome == MX_GO_ON || outcome == MX_REPLY ||
                  outcome == MX_COMPLETE, "%s: %s",
                  mx_wire_name(message.type), session->reason);
    if (outcome == MX_REPLY) {
        enqueue(answers, MX_HELLO_RET, 0);
    }
}

static bool serve(struct mx_session *session, struct lane *lane)
{
    int class = mx_session_serviceable(session, true);
    struct mx_message request, response;

    if (class < 0) {
        return false;
    }
    mx_session_serve(session, (unsigned)class, &request);
    mx_session_responded(session, (unsigned)class, &response);
    mx_session_response_sent(session, (unsigned)class);
    enqueue(lane, response.type, response.priority);
    return true;
}

static bool ask(struct mx_session *session, struct lane *lane, bool *wants)
{
    struct mx_message request = { .type = MX_READ };

    if (!*wants || !mx_session_may_send(session, MX_CLASS_ACCESS)) {
        return false;
    }
    mx_session_send(session, &request, INT64_MAX);
    enqueue(lane, MX_READ, request.priority);
    *wants = false;
    return true;
}

static bool interrupt(struct lane *lane, bool *wants)
{
    if (!*wants) {
        return false;
    }
    enqueue(lane, MX_INTR, 0);
    *wants = false;
    return true;
}

/* The hello wait passes, unless the interrupt link's HELLO is under way. */
static bool pass_time(struct state *state)
{
    if (!state->listener_reads ||
        state->listener.phase != MX_PHASE_AWAIT_FIRST) {
        return false;
    }
    ck_assert_int_eq(mx_session_tick(&state->listener, true, SECOND),
                     MX_GO_ON);
    return true;
}

static bool act(struct state *state, unsigned what)
{
    unsigned which = what & 1;

    switch (what) {
    case 0:
    case 1:
        if (state->to_listener[which].count == 0) {
            return false;
        }
        deliver(&state->listener, &state->to_listener[which],
                &state->to_connector[0], which);
        return true;
    case 2:
    case 3:
        if (state->to_connector[which].count == 0) {
            return false;
        }
        deliver(&state->connector, &state->to_connector[which],
                &state->to_listener[0], which);
        return true;
    case 4:
        return serve(&state->listener, &state->to_connector[0]);
    case 5:
        return serve(&state->connector, &state->to_listener[0]);
    case 6:
        return ask(&state->listener, &state->to_connector[0],
                   &state->listener_reads);
    case 7:
        return ask(&state->connector, &state->to_listener[0],
                   &state->connector_reads);
    case 8:
        return interrupt(&state->to_connector[1],
                         &state->listener_interrupts);
    case 9:
        return interrupt(&state->to_listener[1],
                         &state->connector_interrupts);
    default:
        return pass_time(state);
    }
}

static void check_end(const struct state *state)
{
    ends++;
    if (!state->connector_reads && !state->listener_reads) {
        ck_assert_int_eq(state->connector.phase, MX_PHASE_SETTLED);
        ck_assert_int_eq(state->listener.phase, MX_PHASE_SETTLED);
        ck_assert(!state->connector.out[1].active);
        ck_assert(!state->listener.out[1].active);
    }
    ck_assert_int_eq(state->connector.phase, MX_PHASE_SETTLED);
    ck_assert(state->connector.said_hello == state->listener.said_hello);
    ck_assert_uint_eq(state->connector.subpriority, 1);
    ck_assert_uint_eq(state->listener.subpriority, 0);
    if (state->connector.said_hello) {
        ends_with_hello++;
    } else {
        ends_as_base++;
    }
}

static void explore(const struct state *state)
{
    bool any = false;
    unsigned what;

    for (what = 0; what < 11; what++) {
        struct state next = *state;

        if (act(&next, what)) {
            any = true;
            explore(&next);
        }
    }
    if (!any) {
        check_end(state);
    }
}

START_TEST(crossing_in_every_order)
{
    unsigned wants;

    ends = ends_as_base = ends_with_hello = 0;
    for (wants = 0; wants < 16; wants++) {
        struct state state = {
            .connector_reads = wants & 1,
            .listener_reads = wants & 2,
            .connector_interrupts = wants & 4,
            .listener_interrupts = wants & 8,
        };

        if ((wants & 12) == 12 || (wants & 11) == 11) {
            continue;           /* too many orders, and nothing new */
        }
        start(&state.connector, true);
        start(&state.listener, false);
        enqueue(&state.to_listener[0], MX_HELLO, 0);
        enqueue(&state.to_listener[1], MX_HELLO, 0);
        explore(&state);
    }
    ck_assert_uint_gt(ends_as_base, 0);
    ck_assert_uint_gt(ends_with_hello, 0);
    ck_assert_uint_eq(ends_as_base + ends_with_hello, ends);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("crossing");
    TCase *tcase = harness_tcase("every order");

    tcase_add_test(tcase, crossing_in_every_order);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
