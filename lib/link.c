/* SPDX-License-Identifier: BSD-3-Clause */
#include "link.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mutant.h"
#include "os.h"

/* How much is read at once of a link that is to end: 1 MiB. */
enum { READS_AT_ONCE = 256 };

void mx_link_init(struct mx_link *link, const struct mx_link_ops *ops,
                  void *opaque, const char *name)
{
    memset(link, 0, sizeof(*link));
    mx_conn_init(&link->conn[MX_MEM]);
    mx_conn_init(&link->conn[MX_INTR_LINK]);
    TAILQ_INIT(&link->waiting);
    TAILQ_INIT(&link->invalidations);
    link->ops = ops;
    link->opaque = opaque;
    link->name = name;
}

static const char *which_name(enum mx_which which)
{
    return which == MX_MEM ? "memory link" : "interrupt link";
}

void mx_link_fail(struct mx_link *link, int error, bool violation,
                  const char *format, ...)
{
    va_list arguments;

    if (link->end.set && !link->end.drain) {
        return;
    }
    link->end.set = true;
    link->end.drain = false;
    link->end.error = error;
    link->end.violation = violation;
    va_start(arguments, format);
    vsnprintf(link->end.reason, sizeof(link->end.reason), format, arguments);
    va_end(arguments);
}

/* The peer has gone; what it sent before is still to be taken. */
void mx_link_peer_left(struct mx_link *link)
{
    if (!link->end.set) {
        mx_link_fail(link, -ECONNRESET, false, "the peer has left");
        link->end.drain = true;
    }
}

static void violation(struct mx_link *link, enum mx_which which,
                      const char *reason, const uint8_t *header, size_t count)
{
    char hex[2 * MX_HEADER_SIZE + 1] = "";
    size_t i;

    for (i = 0; i < count; i++) {
        snprintf(hex + 2 * i, 3, "%02x", header[i]);
    }
    mx_link_fail(link, -ECONNRESET, true, "protocol violation on the %s: %s "
                 "(header %s)", which_name(which), reason, hex);
}

static void violation_in(struct mx_link *link, enum mx_which which,
                         const char *reason, const struct mx_message *message)
{
    uint8_t bytes[MX_MESSAGE_MAX];

    mx_wire_encode(message, bytes);
    violation(link, which, reason, bytes, MX_HEADER_SIZE);
}

/* --- sending ------------------------------------------------------------ */

/* Responses whose last byte is in the socket are no longer unanswered. */
static void note_sent_responses(struct mx_link *link)
{
    unsigned class;

    for (class = 0; class < MX_CLASSES; class++) {
        if (link->conn[MX_MEM].out_position >= link->response_end[class]) {
            mx_session_response_sent(&link->session, class);
        }
    }
}

static void flush(struct mx_link *link, enum mx_which which)
{
    int ret = mx_conn_flush(&link->conn[which]);

    if (ret == -EPIPE || ret == -ECONNRESET) {
        mx_link_peer_left(link);
    } else if (ret < 0) {
        mx_link_fail(link, -ECONNRESET, false, "cannot send on the %s: %s",
                     which_name(which), strerror(-ret));
    }
    if (which == MX_MEM) {
        note_sent_responses(link);
    }
}

/* Poll for writing from now on, or no longer? */
static void note_pending(struct mx_link *link, enum mx_which which,
                         bool before)
{
    if (mx_conn_pending(&link->conn[which]) != before) {
        link->ops->polls_changed(link->opaque);
    }
}

/* Queue and send as far as it goes.  @fd is the link's in any case. */
static void put(struct mx_link *link, enum mx_which which,
                const struct mx_message *message, int fd, uint64_t *end)
{
    bool pending = mx_conn_pending(&link->conn[which]);
    int ret = mx_conn_put(&link->conn[which], message, fd, end);

    if (ret < 0) {
        mx_os_close(fd);
        mx_link_fail(link, -ECONNRESET, false, "no room to send on the %s",
                     which_name(which));
        return;
    }
    link->ops->trace(link->opaque, which, true, message);
    flush(link, which);
    note_pending(link, which, pending);
}

static void respond(struct mx_link *link, unsigned class,
                    struct mx_message *response, int fd)
{
    mx_session_responded(&link->session, class, response);
    link->response_end[class] = UINT64_MAX;
    put(link, MX_MEM, response, fd, &link->response_end[class]);
}

static void say_hello(struct mx_link *link)
{
    struct mx_message hello;
    uint64_t end;

    mx_session_hello(&link->session, &hello);
    put(link, MX_MEM, &hello, -1, &end);
    if (hello.type == MX_HELLO) {
        put(link, MX_INTR_LINK, &hello, -1, &end);
    }
}

/* --- coming and going --------------------------------------------------- */

void mx_link_open(struct mx_link *link, enum mx_which which, int fd)
{
    mx_conn_open(&link->conn[which], fd);
}

static void check_settled(struct mx_link *link, enum mx_phase before)
{
    if (link->session.phase == MX_PHASE_SETTLED &&
        before != MX_PHASE_SETTLED) {
        link->ops->settled(link->opaque);
    }
}

void mx_link_start(struct mx_link *link,
                   const struct mx_session_config *config, int64_t now)
{
    memset(&link->end, 0, sizeof(link->end));
    memset(link->response_end, 0, sizeof(link->response_end));
    link->up = true;
    mx_session_start(&link->session, config, mx_os_random(), now);
    if (mx_session_says_hello(&link->session)) {
        say_hello(link);
    }
    check_settled(link, MX_PHASE_DOWN);
}

static void complete(struct mx_request *request, bool answered, int result,
                     uint64_t value)
{
    request->answered = answered;
    request->done = true;
    request->result = result;
    request->value = value;
}

static void drop_invalidations(struct mx_link *link)
{
    struct mx_invalidation *invalidation;

    while ((invalidation = TAILQ_FIRST(&link->invalidations))) {
        TAILQ_REMOVE(&link->invalidations, invalidation, entry);
        free(invalidation);
    }
}

static void complete_all(struct mx_link *link, int error)
{
    struct mx_request *request;

    if (link->sent) {
        complete(link->sent, false, error, 0);
        link->sent = NULL;
    }
    while ((request = TAILQ_FIRST(&link->waiting))) {
        TAILQ_REMOVE(&link->waiting, request, entry);
        complete(request, false, error, 0);
    }
}

/* Once: a peer that comes back only to fail in the same way is no news. */
static void log_end(struct mx_link *link)
{
    enum memexpose_log_level level = link->end.drain ? MEMEXPOSE_LOG_INFO :
                                     MEMEXPOSE_LOG_WARNING;

    if (!link->end.reason[0]) {
        return;
    }
    if (strcmp(link->end.reason, link->last_reason) == 0 &&
        link->session.phase != MX_PHASE_SETTLED) {
        level = MEMEXPOSE_LOG_DEBUG;
    }
    strcpy(link->last_reason, link->end.reason);
    mx_log_peer(&link->logged, level, link->name, "link closed: %s",
                link->end.reason);
}

/* The one way in which links end (section 7). */
static void tear_down(struct mx_link *link)
{
    bool was_violation = link->end.violation;

    log_end(link);
    if (mx_link_invalidating(link) && !link->end.drain) {
        link->lost_invalidation = link->end.error;
    }
    mx_conn_close(&link->conn[MX_MEM]);
    mx_conn_close(&link->conn[MX_INTR_LINK]);
    link->up = false;
    mx_session_stop(&link->session);
    drop_invalidations(link);
    complete_all(link, link->end.error);
    memset(&link->end, 0, sizeof(link->end));
    link->ops->polls_changed(link->opaque);
    link->ops->news(link->opaque);
    link->ops->down(link->opaque, was_violation);
}

/* --- receiving ---------------------------------------------------------- */

/* Section 4: what a lying range is, and what is only of no use. */
static bool share_is_sound(const struct mx_wire_share *share, uint64_t address)
{
    return share->size == 0 ||
           (!mx_range_overflows(share->start, share->size) &&
            mx_range_within(address, 1, share->start, share->size));
}

static void take_share(struct mx_link *link, const struct mx_message *request,
                       const struct mx_message *response, int fd)
{
    if (response->result != 0 || !link->sent || link->end.set) {
        mx_os_close(fd);        /* closed unused (section 7) */
    } else if (!share_is_sound(&response->share, request->offset)) {
        mx_os_close(fd);
        violation_in(link, MX_MEM, "a share that does not contain the access",
                     response);
    } else {
        link->ops->share(link->opaque, &response->share, fd);
    }
}

/* A response has come to the request that the session still remembers. */
static void take_response(struct mx_link *link,
                          const struct mx_message *response, int fd)
{
    unsigned class = mx_wire_class(response->type);
    const struct mx_message *request = &link->session.out[class].request;

    link->ops->news(link->opaque);
    if (class != MX_CLASS_ACCESS) {
        return;
    }
    if (fd >= 0) {
        take_share(link, request, response, fd);
    }
    if (link->sent && (!link->end.set || link->end.drain)) {
        complete(link->sent, true, (int)(response->result & INT32_MAX),
                 mx_value_of_size(response->value, request->size));
        if (response->result & ~(uint32_t)INT32_MAX) {
            link->sent->result |= 1;    /* any value but 0 is a failure */
        }
        link->sent = NULL;
    }
}

static void act(struct mx_link *link, enum mx_outcome outcome,
                const struct mx_message *message, enum mx_which which)
{
    switch (outcome) {
    case MX_REPLY:
        say_hello(link);
        break;
    case MX_REPLY_AND_CLOSE:
        say_hello(link);
        mx_link_fail(link, -ECONNRESET, false, "%s", link->session.reason);
        break;
    case MX_CLOSE:
        mx_link_fail(link, message ? -ECONNRESET : -ETIMEDOUT, false, "%s",
                     link->session.reason);
        break;
    case MX_VIOLATE:
        if (message) {
            violation_in(link, which, link->session.reason, message);
        } else {
            mx_link_fail(link, -ECONNRESET, true, "protocol violation: %s",
                         link->session.reason);
        }
        break;
    case MX_GO_ON:
    case MX_COMPLETE:
        break;
    }
}

static void take_memory_message(struct mx_link *link,
                                const struct mx_message *message, int fd,
                                int64_t now)
{
    enum mx_outcome outcome = mx_session_receive(&link->session, message, now);

    if (outcome == MX_COMPLETE) {
        take_response(link, message, fd);
        return;
    }
    mx_os_close(fd);
    act(link, outcome, message, MX_MEM);
}

static void take_interrupt_message(struct mx_link *link,
                                   const struct mx_message *message, int fd)
{
    enum mx_outcome outcome = mx_session_receive_intr(&link->session, message);

    mx_os_close(fd);
    act(link, outcome, message, MX_INTR_LINK);
    if (outcome == MX_GO_ON && message->type == MX_INTR) {
        link->ops->interrupt(link->opaque, message->offset, message->u.data);
    }
}

/* Take every whole message that is there; none after a violation. */
static void parse(struct mx_link *link, enum mx_which which, int64_t now)
{
    struct mx_conn *conn = &link->conn[which];
    struct mx_message message;
    const char *reason;
    const uint8_t *header;
    enum mx_phase before;
    size_t count;
    int fd;

    while (!link->end.set || link->end.drain) {
        switch (mx_conn_next(conn, &message, &fd, &reason)) {
        case MX_CONN_NONE:
            return;
        case MX_CONN_VIOLATION:
            header = mx_conn_header(conn, &count);
            violation(link, which, reason, header, count);
            return;
        case MX_CONN_MESSAGE:
            break;
        }
        link->ops->trace(link->opaque, which, false, &message);
        before = link->session.phase;
        if (which == MX_MEM) {
            take_memory_message(link, &message, fd, now);
        } else {
            take_interrupt_message(link, &message, fd);
        }
        check_settled(link, before);
    }
}

/* Receive once and take what came.  Returns false if there is no more. */
static bool receive(struct mx_link *link, enum mx_which which, int64_t now)
{
    int ret = mx_conn_fill(&link->conn[which]);
    const uint8_t *header;
    size_t count;

    if (ret == -EAGAIN) {
        return false;
    }
    if (ret == -E2BIG) {
        header = mx_conn_header(&link->conn[which], &count);
        violation(link, which, "more descriptors than a message can have",
                  header, count);
        return false;
    }
    if (ret == -ENODATA || ret == -ECONNRESET) {
        mx_link_peer_left(link);
        return false;
    }
    if (ret < 0) {
        mx_link_fail(link, -ECONNRESET, false, "cannot receive on the %s: %s",
                     which_name(which), strerror(-ret));
        return false;
    }
    parse(link, which, now);
    return true;
}

void mx_link_read(struct mx_link *link, enum mx_which which, int64_t now)
{
    if (link->up && !link->end.set) {
        receive(link, which, now);
    }
}

void mx_link_write(struct mx_link *link, enum mx_which which)
{
    if (link->up && !link->end.set) {
        bool pending = mx_conn_pending(&link->conn[which]);

        flush(link, which);
        note_pending(link, which, pending);
    }
}

bool mx_link_wants_write(const struct mx_link *link, enum mx_which which)
{
    return mx_conn_pending(&link->conn[which]);
}

/* Take what lies in the sockets, up to a limit. */
static void take_what_came(struct mx_link *link, int64_t now)
{
    unsigned which, reads;

    for (which = 0; which < MX_LINKS; which++) {
        for (reads = 0; reads < READS_AT_ONCE; reads++) {
            if ((link->end.set && !link->end.drain) ||
                !receive(link, (enum mx_which)which, now)) {
                break;
            }
        }
    }
}

/* --- what is to be done ------------------------------------------------- */

static bool has_waiting(const struct mx_link *link)
{
    return !TAILQ_EMPTY(&link->waiting) || !TAILQ_EMPTY(&link->invalidations);
}

/* An access that could not even be sent in its time (section 7). */
static bool check_waiting(struct mx_link *link, int64_t now)
{
    const struct mx_request *first = TAILQ_FIRST(&link->waiting);

    if (!first || now < first->deadline) {
        return false;
    }
    if (link->session.phase == MX_PHASE_AWAIT_RET) {
        mx_link_fail(link, -ETIMEDOUT, false, "HELLO was not answered in "
                     "time: the peer may speak only base, try hello=off");
    } else {
        mx_link_fail(link, -ETIMEDOUT, false, "an access waited in vain for "
                     "its turn");
    }
    return true;
}

int64_t mx_link_deadline(const struct mx_link *link)
{
    const struct mx_request *first = TAILQ_FIRST(&link->waiting);
    int64_t deadline;

    if (!link->up) {
        return MX_FOREVER;
    }
    deadline = mx_session_deadline(&link->session, has_waiting(link));
    if (first && first->deadline < deadline) {
        deadline = first->deadline;
    }
    return deadline;
}

/*
 * Time is over only for what has not come: a process that was busy elsewhere
 * must not take an answer that lies in its socket for none.
 */
static void tick(struct mx_link *link, int64_t now)
{
    enum mx_phase before;

    if (now < mx_link_deadline(link)) {
        return;
    }
    take_what_came(link, now);
    before = link->session.phase;
    if (!link->end.set && !check_waiting(link, now)) {
        act(link, mx_session_tick(&link->session, has_waiting(link), now),
            NULL, MX_MEM);
        check_settled(link, before);
    }
}

/* Servicing an invalidation sends nothing but its answer. */
static bool service_invalidation(struct mx_link *link)
{
    struct mx_message request, response;
    int ret;

    if (mx_session_serviceable(&link->session, false) !=
        MX_CLASS_INVALIDATE) {
        return false;
    }
    mx_session_serve(&link->session, MX_CLASS_INVALIDATE, &request);
    memset(&response, 0, sizeof(response));
    if (!MX_RULE(OVERLAY_FIRST)) {
        respond(link, MX_CLASS_INVALIDATE, &response, -1);
    }
    ret = link->ops->invalidate(link->opaque, request.offset, request.value);
    if (ret < 0) {
        mx_link_fail(link, -ECONNRESET, false, "cannot let go of what is "
                     "mapped: %s", strerror(-ret));
        return true;
    }
    if (MX_RULE(OVERLAY_FIRST)) {
        respond(link, MX_CLASS_INVALIDATE, &response, -1);
    }
    return true;
}

bool mx_link_step(struct mx_link *link, int64_t now)
{
    if (!link->up) {
        return false;
    }
    if (!link->end.set) {
        tick(link, now);
    }
    if (link->end.set) {
        if (link->end.drain) {
            /* An interrupt that was sent last is not lost although the end of
             * the other link was seen first. */
            take_what_came(link, now);
        }
        tear_down(link);
        return true;
    }
    return service_invalidation(link);
}

static bool send_invalidation(struct mx_link *link)
{
    struct mx_invalidation *next = TAILQ_FIRST(&link->invalidations);
    struct mx_message request;
    uint64_t end;

    if (!next || !mx_session_may_send(&link->session, MX_CLASS_INVALIDATE)) {
        return false;
    }
    memset(&request, 0, sizeof(request));
    request.type = MX_REG_INV;
    request.offset = next->start;
    request.value = next->size;
    mx_session_send(&link->session, &request, next->deadline);
    TAILQ_REMOVE(&link->invalidations, next, entry);
    free(next);
    put(link, MX_MEM, &request, -1, &end);
    return true;
}

static bool send_access(struct mx_link *link)
{
    struct mx_request *next = TAILQ_FIRST(&link->waiting);
    uint64_t end;

    if (!next || !mx_session_may_send(&link->session, MX_CLASS_ACCESS)) {
        return false;
    }
    TAILQ_REMOVE(&link->waiting, next, entry);
    link->sent = next;
    mx_session_send(&link->session, &next->message, next->deadline);
    put(link, MX_MEM, &next->message, -1, &end);
    return true;
}

bool mx_link_send_next(struct mx_link *link)
{
    return link->up && !link->end.set &&
           (send_invalidation(link) || send_access(link));
}

int mx_link_access_number(const struct mx_link *link)
{
    if (!link->up || link->end.set ||
        mx_session_serviceable(&link->session, true) != MX_CLASS_ACCESS) {
        return -1;
    }
    return link->session.in[MX_CLASS_ACCESS].request.priority;
}

void mx_link_begin_access(struct mx_link *link, struct mx_message *request)
{
    mx_session_serve(&link->session, MX_CLASS_ACCESS, request);
}

void mx_link_end_access(struct mx_link *link, struct mx_message *response,
                        int fd)
{
    respond(link, MX_CLASS_ACCESS, response, fd);
}

void mx_link_submit(struct mx_link *link, struct mx_request *request)
{
    TAILQ_INSERT_TAIL(&link->waiting, request, entry);
}

void mx_link_abandon(struct mx_link *link, struct mx_request *request)
{
    if (request->done) {
        return;
    }
    if (link->sent == request) {
        link->sent = NULL;
    } else {
        TAILQ_REMOVE(&link->waiting, request, entry);
    }
}

int mx_link_invalidate(struct mx_link *link, uint64_t start, uint64_t size,
                       int64_t deadline)
{
    struct mx_invalidation *invalidation = malloc(sizeof(*invalidation));

    if (!invalidation) {
        return -ENOMEM;
    }
    invalidation->start = start;
    invalidation->size = size;
    invalidation->deadline = deadline;
    TAILQ_INSERT_TAIL(&link->invalidations, invalidation, entry);
    return 0;
}

bool mx_link_invalidating(const struct mx_link *link)
{
    return link->session.out[MX_CLASS_INVALIDATE].active ||
           !TAILQ_EMPTY(&link->invalidations);
}

/*
 * A full link never blocks its sender: the interrupt is dropped, unless some
 * of it has gone out (section 5).
 */
int mx_link_interrupt(struct mx_link *link, uint64_t type, const uint8_t *data)
{
    struct mx_conn *conn = &link->conn[MX_INTR_LINK];
    struct mx_message message;
    uint64_t start, end;

    if (!link->up || link->end.set) {
        return -ENOTCONN;
    }
    mx_link_write(link, MX_INTR_LINK);
    if (mx_conn_pending(conn)) {
        return -EAGAIN;
    }
    memset(&message, 0, sizeof(message));
    message.type = MX_INTR;
    message.offset = type;
    memcpy(message.u.data, data, MX_INTR_DATA);
    start = conn->out_position;
    if (mx_conn_put(conn, &message, -1, &end) < 0) {
        return -EAGAIN;
    }
    flush(link, MX_INTR_LINK);
    if (conn->out_position == start) {
        mx_conn_unput(conn, start);
        return link->end.set ? -ENOTCONN : -EAGAIN;
    }
    link->ops->trace(link->opaque, MX_INTR_LINK, true, &message);
    note_pending(link, MX_INTR_LINK, false);
    return 0;
}
