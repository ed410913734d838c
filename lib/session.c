/* SPDX-License-Identifier: BSD-3-Clause */
#include "session.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "mutant.h"

static enum mx_outcome fail(struct mx_session *session,
                            enum mx_outcome outcome, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum mx_outcome fail(struct mx_session *session,
                            enum mx_outcome outcome, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(session->reason, sizeof(session->reason), format, arguments);
    va_end(arguments);
    return outcome;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t after(int64_t start, int64_t wait)
{
    return wait > INT64_MAX - start ? INT64_MAX : start + wait;
}

/* --- hello (section 6) ------------------------------------------------- */

/* Keep what the peer says of itself, its name in printable characters. */
static void take_peer(struct mx_session *session,
                      const struct mx_wire_hello *hello)
{
    char *c;

    session->peer = *hello;
    for (c = session->peer.name; *c; c++) {
        if ((unsigned char)*c < ' ' || (unsigned char)*c > '~') {
            *c = '?';
        }
    }
}

static void fill_hello(struct mx_session *session, uint64_t pair_id)
{
    const struct mx_session_config *config = &session->config;
    struct mx_wire_hello *hello = &session->hello;

    memset(hello, 0, sizeof(*hello));
    hello->magic = MX_HELLO_MAGIC;
    hello->version_low = MX_HELLO_VERSION;
    hello->version_high = MX_HELLO_VERSION;
    hello->features = config->features;
    hello->subpriority = config->wish;
    hello->page_size = config->page_size;
    hello->span_start = config->span_start;
    hello->span_size = config->span_size;
    hello->pair_id = pair_id;
    snprintf(hello->name, sizeof(hello->name), "%s", config->name);
}

static void settle(struct mx_session *session, uint8_t subpriority, bool hello)
{
    session->phase = MX_PHASE_SETTLED;
    session->awaits_offers = session->features & MX_FEATURE_PUSH;
    session->subpriority = MX_RULE(SUBPRIORITIES_DIFFER) ? subpriority : 0;
    session->said_hello = hello;
}

/* Without hello the connecting side has 1, unless told otherwise. */
static void settle_as_base(struct mx_session *session)
{
    uint8_t wish = session->config.wish;

    if (wish == MX_SUBPRIORITY_ANY) {
        wish = session->config.connects ? 1 : 0;
    }
    settle(session, wish, false);
}

static enum mx_outcome base_or_close(struct mx_session *session)
{
    if (session->config.hello == MX_HELLO_MODE_REQUIRE) {
        return fail(session, MX_CLOSE, "the peer speaks only base, but hello "
                    "is required here");
    }
    settle_as_base(session);
    return MX_GO_ON;
}

void mx_session_start(struct mx_session *session,
                      const struct mx_session_config *config, uint64_t pair_id,
                      int64_t now)
{
    memset(session, 0, sizeof(*session));
    session->config = *config;
    session->started = now;
    fill_hello(session, config->connects ? pair_id : 0);
    if (config->hello == MX_HELLO_MODE_OFF) {
        settle_as_base(session);
    } else if (config->connects) {
        session->phase = MX_PHASE_AWAIT_RET;
    } else {
        session->phase = MX_PHASE_AWAIT_FIRST;
    }
}

void mx_session_stop(struct mx_session *session)
{
    session->phase = MX_PHASE_DOWN;
    memset(session->out, 0, sizeof(session->out));
    memset(session->in, 0, sizeof(session->in));
    memset(&session->peer, 0, sizeof(session->peer));
    session->since_count = 0;
    session->said_hello = false;
    session->features = 0;
    session->awaits_offers = false;
}

void mx_session_hello(const struct mx_session *session,
                      struct mx_message *message)
{
    memset(message, 0, sizeof(*message));
    message->type = session->config.connects ? MX_HELLO : MX_HELLO_RET;
    message->u.hello = session->hello;
}

/* The sub-priority that the answering side takes, or ..._NONE. */
static uint8_t agree_subpriority(uint8_t theirs, uint8_t ours)
{
    if (ours == MX_SUBPRIORITY_ANY) {
        return theirs == MX_SUBPRIORITY_ANY ? 0 : (uint8_t)(1 - theirs);
    }
    return theirs == ours ? MX_SUBPRIORITY_NONE : ours;
}

static enum mx_outcome no_common_version(struct mx_session *session,
                                         enum mx_outcome outcome)
{
    return fail(session, outcome, "peer '%s' and this side have no protocol "
                "version in common: use the same release on both sides",
                session->peer.name);
}

static enum mx_outcome no_common_subpriority(struct mx_session *session,
                                             enum mx_outcome outcome)
{
    return fail(session, outcome, "peer '%s' and this side both insist on "
                "sub-priority %u: set one of them to auto",
                session->peer.name, session->config.wish);
}

/* Both HELLOs are here as far as they have to be: answer. */
static enum mx_outcome answer_hello(struct mx_session *session)
{
    struct mx_wire_hello *answer = &session->hello;
    const struct mx_wire_hello *peer = &session->peer;

    answer->pair_id = peer->pair_id;
    answer->features = 0;
    if (peer->version_low > MX_HELLO_VERSION ||
        peer->version_high < MX_HELLO_VERSION) {
        answer->version_low = answer->version_high = 0;
        answer->subpriority = MX_SUBPRIORITY_NONE;
        return no_common_version(session, MX_REPLY_AND_CLOSE);
    }
    answer->subpriority = agree_subpriority(peer->subpriority,
                                            session->config.wish);
    if (answer->subpriority == MX_SUBPRIORITY_NONE) {
        return no_common_subpriority(session, MX_REPLY_AND_CLOSE);
    }
    answer->features = peer->features & session->config.features;
    session->features = answer->features;
    settle(session, answer->subpriority, true);
    return MX_REPLY;
}

static enum mx_outcome wrong_pair(struct mx_session *session)
{
    return fail(session, MX_VIOLATE, "the interrupt link belongs to another "
                "memory link (pair id)");
}

/* A pair id asks for the same HELLO, first, on the interrupt link. */
static enum mx_outcome match_pair(struct mx_session *session)
{
    if (session->peer.pair_id == 0) {
        return session->intr_first == MX_INTR_HELLO ? wrong_pair(session) :
               answer_hello(session);
    }
    switch (session->intr_first) {
    case MX_INTR_SILENT:
        session->phase = MX_PHASE_AWAIT_PAIR;
        return MX_GO_ON;
    case MX_INTR_HELLO:
        return session->intr_hello.pair_id == session->peer.pair_id ?
               answer_hello(session) : wrong_pair(session);
    default:
        return wrong_pair(session);
    }
}

static enum mx_outcome receive_hello(struct mx_session *session,
                                     const struct mx_message *message,
                                     bool first, int64_t now)
{
    if (session->ignores_hello && first) {
        return MX_GO_ON;
    }
    if (session->phase != MX_PHASE_AWAIT_FIRST) {
        return fail(session, MX_VIOLATE, "HELLO out of place");
    }
    if (message->u.hello.subpriority > MX_SUBPRIORITY_ANY) {
        return fail(session, MX_VIOLATE, "HELLO wishes for sub-priority %u",
                    message->u.hello.subpriority);
    }
    take_peer(session, &message->u.hello);
    session->hello_came = now;
    return match_pair(session);
}

/* Is the answer one that our HELLO allows? */
static bool answer_fits(const struct mx_session *session,
                        const struct mx_wire_hello *answer)
{
    uint8_t wish = session->hello.subpriority;

    if (answer->pair_id != session->hello.pair_id ||
        answer->features & ~session->hello.features ||
        answer->version_low != answer->version_high) {
        return false;
    }
    if (answer->version_low == 0) {
        return answer->subpriority == MX_SUBPRIORITY_NONE;
    }
    if (answer->subpriority == MX_SUBPRIORITY_NONE) {
        return answer->version_low == MX_HELLO_VERSION &&
               wish != MX_SUBPRIORITY_ANY;
    }
    return answer->version_low == MX_HELLO_VERSION &&
           answer->subpriority <= 1 && answer->subpriority != wish;
}

static enum mx_outcome receive_hello_ret(struct mx_session *session,
                                         const struct mx_message *message)
{
    const struct mx_wire_hello *answer = &message->u.hello;

    if (session->phase != MX_PHASE_AWAIT_RET) {
        return fail(session, MX_VIOLATE, "HELLO_RET out of place");
    }
    if (!answer_fits(session, answer)) {
        return fail(session, MX_VIOLATE, "HELLO_RET outside what was offered");
    }
    take_peer(session, answer);
    if (answer->version_low == 0) {
        return no_common_version(session, MX_CLOSE);
    }
    if (answer->subpriority == MX_SUBPRIORITY_NONE) {
        return no_common_subpriority(session, MX_CLOSE);
    }
    session->features = answer->features;
    settle(session, (uint8_t)(1 - answer->subpriority), true);
    return MX_GO_ON;
}

/* A HELLO, and only the first message may be one, settles who belongs here. */
static enum mx_outcome receive_intr_hello(struct mx_session *session,
                                          const struct mx_message *message)
{
    if (session->config.connects || session->intr_first != MX_INTR_SILENT ||
        session->config.hello == MX_HELLO_MODE_OFF) {
        return fail(session, MX_VIOLATE, "HELLO out of place");
    }
    session->intr_first = MX_INTR_HELLO;
    session->intr_hello = message->u.hello;
    if (session->phase == MX_PHASE_AWAIT_PAIR) {
        return match_pair(session);
    }
    if (session->phase == MX_PHASE_SETTLED && !session->ignores_hello) {
        return fail(session, MX_VIOLATE, "HELLO out of place");
    }
    return MX_GO_ON;
}

enum mx_outcome mx_session_receive_intr(struct mx_session *session,
                                        const struct mx_message *message)
{
    if (message->type == MX_HELLO) {
        return receive_intr_hello(session, message);
    }
    if (message->type != MX_INTR) {
        return fail(session, MX_VIOLATE, "%s on the interrupt link",
                    mx_wire_name(message->type));
    }
    if (session->intr_first == MX_INTR_SILENT) {
        session->intr_first = MX_INTR_BASE;
        if (session->phase == MX_PHASE_AWAIT_PAIR) {
            return wrong_pair(session);
        }
    }
    return MX_GO_ON;
}

/* --- arbitration (section 3) ------------------------------------------- */

static uint8_t number(unsigned class, uint8_t subpriority)
{
    return (uint8_t)(2 * class + subpriority);
}

static bool beats(uint8_t one, uint8_t other)
{
    return MX_RULE(LOWER_BEATS) ? one < other : one > other;
}

/* The first request from a peer that says no hello settles it as base. */
static enum mx_outcome settle_by_request(struct mx_session *session)
{
    if (session->phase == MX_PHASE_AWAIT_PAIR) {
        return fail(session, MX_VIOLATE, "a request before HELLO_RET");
    }
    if (session->intr_first == MX_INTR_HELLO) {
        return fail(session, MX_VIOLATE, "hello on the interrupt link only");
    }
    return base_or_close(session);
}

static enum mx_outcome without_feature(struct mx_session *session,
                                       const struct mx_message *message)
{
    return fail(session, MX_VIOLATE, "%s, a feature that was not agreed on",
                mx_wire_name(message->type));
}

static enum mx_outcome receive_request(struct mx_session *session,
                                       const struct mx_message *message)
{
    unsigned class = mx_wire_class(message->type);
    struct mx_incoming *in = &session->in[class];

    if (session->phase != MX_PHASE_SETTLED) {
        enum mx_outcome outcome = settle_by_request(session);

        if (outcome != MX_GO_ON) {
            return outcome;
        }
    }
    if (mx_wire_is_block(message->type) &&
        !mx_session_has(session, MX_FEATURE_BLOCK)) {
        return without_feature(session, message);
    }
    if (message->priority == number(class, session->subpriority)) {
        return fail(session, MX_VIOLATE, "a request with our own "
                    "sub-priority %u", session->subpriority);
    }
    if (message->priority !=
        number(class, (uint8_t)(1 - session->subpriority))) {
        return fail(session, MX_VIOLATE, "a priority that does not fit %s",
                    mx_wire_name(message->type));
    }
    if (message->type == MX_REG_INV &&
        mx_range_overflows(message->offset, message->value)) {
        return fail(session, MX_VIOLATE, "REG_INV passes 2^64");
    }
    if (in->state != MX_IN_NONE) {
        return fail(session, MX_VIOLATE, "too many unanswered requests");
    }
    in->state = MX_IN_KEPT;
    in->request = *message;
    if (class == MX_CLASS_INVALIDATE &&
        mx_session_has(session, MX_FEATURE_PUSH) &&
        MX_RULE(HOLD_FOR_OFFERS)) {
        session->awaits_offers = true;  /* of what comes in its place */
    }
    return MX_GO_ON;
}

/* All of a block was done, or less and a failure. */
static bool length_fits(const struct mx_message *request,
                        const struct mx_message *response)
{
    if (!mx_wire_is_block(response->type)) {
        return true;
    }
    return response->result == 0 ? response->size == request->size :
                                   response->size < request->size;
}

static enum mx_outcome receive_response(struct mx_session *session,
                                        const struct mx_message *message)
{
    struct mx_outgoing *out = &session->out[mx_wire_class(message->type)];

    if (session->phase != MX_PHASE_SETTLED || !out->active ||
        mx_wire_response_type(out->request.type) != message->type) {
        return fail(session, MX_VIOLATE, "%s matches no request",
                    mx_wire_name(message->type));
    }
    if (message->priority != out->request.priority) {
        return fail(session, MX_VIOLATE, "%s shows another priority than its "
                    "request", mx_wire_name(message->type));
    }
    if (!length_fits(&out->request, message)) {
        return fail(session, MX_VIOLATE, "%s of another length than its "
                    "request and result", mx_wire_name(message->type));
    }
    out->active = false;
    return MX_COMPLETE;
}

/* Section 9. */
static enum mx_outcome receive_offer(struct mx_session *session,
                                     const struct mx_message *message)
{
    if (!mx_session_has(session, MX_FEATURE_PUSH)) {
        return without_feature(session, message);
    }
    if (session->in[MX_CLASS_INVALIDATE].state != MX_IN_NONE) {
        return fail(session, MX_VIOLATE, "OFFER while a REG_INV is "
                    "unanswered");
    }
    session->awaits_offers = message->share.kind != 0;
    return MX_TAKE_OFFER;
}

bool mx_session_may_offer(const struct mx_session *session)
{
    return mx_session_has(session, MX_FEATURE_PUSH) &&
           !session->out[MX_CLASS_INVALIDATE].active;
}

enum mx_outcome mx_session_receive(struct mx_session *session,
                                   const struct mx_message *message,
                                   int64_t now)
{
    bool first = !session->heard;

    session->heard = true;
    if (message->type == MX_HELLO) {
        return receive_hello(session, message, first, now);
    }
    if (message->type == MX_HELLO_RET) {
        return receive_hello_ret(session, message);
    }
    if (mx_wire_is_request(message->type)) {
        return receive_request(session, message);
    }
    if (mx_wire_is_response(message->type)) {
        return receive_response(session, message);
    }
    if (message->type == MX_OFFER) {
        return receive_offer(session, message);
    }
    return fail(session, MX_VIOLATE, "%s on the memory link",
                mx_wire_name(message->type));
}

/* Does the peer's request beat every request that we have outstanding? */
static bool beats_outstanding(const struct mx_session *session, unsigned class)
{
    uint8_t theirs = number(class, (uint8_t)(1 - session->subpriority));
    unsigned own;

    for (own = 0; own < MX_CLASSES; own++) {
        if (session->out[own].active &&
            !beats(theirs, number(own, session->subpriority))) {
            return false;
        }
    }
    return true;
}

int mx_session_serviceable(const struct mx_session *session, bool accesses)
{
    unsigned class;

    for (class = 0; class < MX_CLASSES; class++) {
        if (class == MX_CLASS_ACCESS && !accesses) {
            break;
        }
        if (session->in[class].state != MX_IN_KEPT) {
            continue;
        }
        if (beats_outstanding(session, class)) {
            return (int)class;
        }
        MX_LOOKED(RELOOK_OUTSTANDING, &session->in[class]);
    }
    return -1;
}

/* A share that was under way when it was invalidated must not be mapped. */
static void note_invalidation(struct mx_session *session, uint64_t start,
                              uint64_t size)
{
    if (session->out[MX_CLASS_ACCESS].active) {
        if (session->since_count < MX_SINCE_MAX) {
            session->since[session->since_count].start = start;
            session->since[session->since_count].size = size;
        }
        session->since_count += session->since_count <= MX_SINCE_MAX;
    }
}

void mx_session_serve(struct mx_session *session, unsigned class,
                      struct mx_message *request)
{
    struct mx_incoming *in = &session->in[class];

    in->state = MX_IN_SERVICE;
    *request = in->request;
    if (class == MX_CLASS_INVALIDATE) {
        note_invalidation(session, request->offset, request->value);
    }
}

void mx_session_responded(struct mx_session *session, unsigned class,
                          struct mx_message *response)
{
    struct mx_incoming *in = &session->in[class];

    in->state = MX_IN_RESPONSE;
    response->type = mx_wire_response_type(in->request.type);
    response->priority = in->request.priority;
}

void mx_session_response_sent(struct mx_session *session, unsigned class)
{
    if (session->in[class].state == MX_IN_RESPONSE) {
        session->in[class].state = MX_IN_NONE;
    }
}

bool mx_session_may_send(const struct mx_session *session, unsigned class)
{
    return session->phase == MX_PHASE_SETTLED && !session->out[class].active &&
           (class != MX_CLASS_ACCESS || !session->awaits_offers);
}

void mx_session_send(struct mx_session *session, struct mx_message *request,
                     int64_t deadline)
{
    unsigned class = mx_wire_class(request->type);
    struct mx_outgoing *out = &session->out[class];

    request->priority = number(class, session->subpriority);
    out->active = true;
    out->request = *request;
    out->deadline = deadline;
    if (class == MX_CLASS_ACCESS) {
        session->since_count = 0;
    }
}

bool mx_session_invalidated(const struct mx_session *session, uint64_t start,
                            uint64_t size)
{
    unsigned i;

    if (session->since_count > MX_SINCE_MAX) {
        return true;
    }
    for (i = 0; i < session->since_count; i++) {
        if (mx_ranges_intersect(start, size, session->since[i].start,
                                session->since[i].size)) {
            return true;
        }
    }
    return false;
}

/* --- time (sections 6 and 7) ------------------------------------------- */

/* A listening side with a request of its own waits this long for hello. */
static int64_t hello_deadline(const struct mx_session *session)
{
    return after(session->started,
                 earlier(session->config.hello_wait,
                         session->config.request_timeout / 2));
}

static int64_t pair_deadline(const struct mx_session *session)
{
    return after(session->hello_came, session->config.hello_wait);
}

static enum mx_outcome tick_hello(struct mx_session *session, bool waiting,
                                  int64_t now)
{
    enum mx_outcome outcome;

    if (session->phase == MX_PHASE_AWAIT_PAIR &&
        now >= pair_deadline(session)) {
        return fail(session, MX_VIOLATE, "no HELLO on the interrupt link "
                    "within the hello wait");
    }
    if (session->phase == MX_PHASE_AWAIT_FIRST && waiting &&
        now >= hello_deadline(session)) {
        outcome = base_or_close(session);
        session->ignores_hello = outcome == MX_GO_ON;
        return outcome;
    }
    return MX_GO_ON;
}

enum mx_outcome mx_session_tick(struct mx_session *session, bool waiting,
                                int64_t now)
{
    unsigned class;

    for (class = 0; class < MX_CLASSES; class++) {
        if (session->out[class].active &&
            now >= session->out[class].deadline) {
            return fail(session, MX_CLOSE, "no answer to %s in time",
                        mx_wire_name(session->out[class].request.type));
        }
    }
    return tick_hello(session, waiting, now);
}

int64_t mx_session_deadline(const struct mx_session *session, bool waiting)
{
    int64_t deadline = INT64_MAX;
    unsigned class;

    for (class = 0; class < MX_CLASSES; class++) {
        if (session->out[class].active) {
            deadline = earlier(deadline, session->out[class].deadline);
        }
    }
    if (session->phase == MX_PHASE_AWAIT_PAIR) {
        deadline = earlier(deadline, pair_deadline(session));
    } else if (session->phase == MX_PHASE_AWAIT_FIRST && waiting) {
        deadline = earlier(deadline, hello_deadline(session));
    }
    return deadline;
}

void mx_session_peer_span(const struct mx_session *session, uint64_t *start,
                          uint64_t *size)
{
    *start = session->said_hello ? session->peer.span_start : 0;
    *size = session->said_hello ? session->peer.span_size : 0;
}
