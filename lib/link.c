/* SPDX-License-Identifier: BSD-3-Clause */
#include "link-parts.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mutant.h"
#include "os.h"

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

const char *mx_link_which(enum mx_which which)
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

void mx_link_report(struct mx_link *link, enum mx_which which,
                      const char *reason, const uint8_t *header, size_t count)
{
    char hex[2 * MX_HEADER_SIZE + 1] = "";
    size_t i;

    for (i = 0; i < count; i++) {
        snprintf(hex + 2 * i, 3, "%02x", header[i]);
    }
    mx_link_fail(link, -ECONNRESET, true, "protocol violation on the %s: %s "
                 "(header %s)", mx_link_which(which), reason, hex);
}

void mx_link_violation(struct mx_link *link, enum mx_which which,
                         const char *reason, const struct mx_message *message)
{
    uint8_t bytes[MX_MESSAGE_MAX];

    mx_wire_encode(message, bytes);
    mx_link_report(link, which, reason, bytes, MX_HEADER_SIZE);
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
                     mx_link_which(which), strerror(-ret));
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

/*
 * Queue and send as far as it goes.  @fd is the link's in any case.  The
 * @bytes of a block stay where they are until they are sent, or kept.
 */
static void put_block(struct mx_link *link, enum mx_which which,
                      const struct mx_message *message, const uint8_t *bytes,
                      int fd, uint64_t *end)
{
    bool pending = mx_conn_pending(&link->conn[which]);
    int ret = mx_conn_put_block(&link->conn[which], message, fd, bytes, end);

    if (ret < 0) {
        mx_os_close(fd);
        mx_link_fail(link, -ECONNRESET, false, "no room to send on the %s",
                     mx_link_which(which));
        return;
    }
    link->ops->trace(link->opaque, which, true, message);
    flush(link, which);
    note_pending(link, which, pending);
}

static void put(struct mx_link *link, enum mx_which which,
                const struct mx_message *message, int fd, uint64_t *end)
{
    put_block(link, which, message, NULL, fd, end);
}

/* What is not sent yet goes on from a copy: the bytes are used otherwise. */
static void keep_block(struct mx_link *link, const uint8_t *bytes, size_t size)
{
    if (bytes && MX_RULE(KEEP_BLOCK) &&
        mx_conn_keep_block(&link->conn[MX_MEM], bytes, size) < 0) {
        mx_conn_drop_blocks(&link->conn[MX_MEM]);
        mx_link_fail(link, -ECONNRESET, false, "no memory to send a block");
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

static void respond(struct mx_link *link, unsigned class,
                    struct mx_message *response, const uint8_t *read, int fd)
{
    mx_session_responded(&link->session, class, response);
    link->response_end[class] = UINT64_MAX;
    put_block(link, MX_MEM, response, read, fd, &link->response_end[class]);
    keep_block(link, read, MX_BLOCK_MAX);
}

void mx_link_say_hello(struct mx_link *link)
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

void mx_link_check_settled(struct mx_link *link, enum mx_phase before)
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
        mx_link_say_hello(link);
    }
    mx_link_check_settled(link, MX_PHASE_DOWN);
}

void mx_link_complete(struct mx_request *request, bool answered, int result,
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
        mx_link_complete(link->sent, false, error, 0);
        link->sent = NULL;
    }
    while ((request = TAILQ_FIRST(&link->waiting))) {
        TAILQ_REMOVE(&link->waiting, request, entry);
        mx_link_complete(request, false, error, 0);
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
    mx_link_give_back(link, link->write_block);
    link->write_block = NULL;
    link->up = false;
    link->parked = false;
    mx_session_stop(&link->session);
    drop_invalidations(link);
    complete_all(link, link->end.error);
    memset(&link->end, 0, sizeof(link->end));
    link->ops->polls_changed(link->opaque);
    link->ops->news(link->opaque);
    link->ops->down(link->opaque, was_violation);
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
    } else if (link->session.awaits_offers) {
        mx_link_fail(link, -ETIMEDOUT, false, "the peer's offers did not end "
                     "in time");
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

bool mx_link_needs_time(const struct mx_link *link)
{
    return link->up &&
           (link->end.set || mx_link_deadline(link) != MX_FOREVER);
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
    mx_link_take(link, now);
    before = link->session.phase;
    if (!link->end.set && !check_waiting(link, now)) {
        mx_link_act(link,
                    mx_session_tick(&link->session, has_waiting(link), now),
            NULL, MX_MEM);
        mx_link_check_settled(link, before);
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
        respond(link, MX_CLASS_INVALIDATE, &response, NULL, -1);
    }
    ret = link->ops->invalidate(link->opaque, request.offset, request.value);
    if (ret < 0) {
        mx_link_fail(link, -ECONNRESET, false, "cannot let go of what is "
                     "mapped: %s", strerror(-ret));
        return true;
    }
    if (MX_RULE(OVERLAY_FIRST)) {
        respond(link, MX_CLASS_INVALIDATE, &response, NULL, -1);
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
            mx_link_take(link, now);
        }
        tear_down(link);
        return true;
    }
    return service_invalidation(link) || mx_link_unpark(link);
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

/* While something is about to be mapped only callbacks' accesses are sent. */
static struct mx_request *next_access(const struct mx_link *link)
{
    struct mx_request *next = TAILQ_FIRST(&link->waiting);

    while (next && link->holds > 0 && !next->nested &&
           MX_RULE(HOLD_UNTIL_MAPPED)) {
        next = TAILQ_NEXT(next, entry);
    }
    return next;
}

static bool send_access(struct mx_link *link)
{
    struct mx_request *next = next_access(link);

    if (!next || !mx_session_may_send(&link->session, MX_CLASS_ACCESS)) {
        return false;
    }
    TAILQ_REMOVE(&link->waiting, next, entry);
    link->sent = next;
    mx_session_send(&link->session, &next->message, next->deadline);
    link->access_end = UINT64_MAX;
    put_block(link, MX_MEM, &next->message, next->buffer, -1,
              &link->access_end);
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

void mx_link_begin_access(struct mx_link *link, struct mx_message *request,
                          uint8_t **written)
{
    mx_session_serve(&link->session, MX_CLASS_ACCESS, request);
    *written = NULL;
    if (request->type == MX_WRITE_BLOCK) {
        *written = link->write_block;
        link->write_block = NULL;
    }
}

void mx_link_give_back(struct mx_link *link, uint8_t *written)
{
    if (written) {
        link->ops->give_buffer(link->opaque, written);
    }
}

void mx_link_end_access(struct mx_link *link, struct mx_message *response,
                        const uint8_t *read, int fd)
{
    respond(link, MX_CLASS_ACCESS, response, read, fd);
}

bool mx_link_may_offer(const struct mx_link *link)
{
    return link->up && !link->end.set && !mx_link_invalidating(link) &&
           !mx_conn_pending(&link->conn[MX_MEM]) &&
           mx_session_may_offer(&link->session);
}

void mx_link_offer(struct mx_link *link, const struct mx_wire_share *share,
                   int fd)
{
    struct mx_message offer;
    uint64_t end;

    memset(&offer, 0, sizeof(offer));
    offer.type = MX_OFFER;
    if (share) {
        offer.share = *share;
    }
    put(link, MX_MEM, &offer, fd, &end);
}

void mx_link_submit(struct mx_link *link, struct mx_request *request)
{
    TAILQ_INSERT_TAIL(&link->waiting, request, entry);
}

/* Its block is neither sent from there nor received there any more. */
static void leave_buffer(struct mx_link *link, struct mx_request *request)
{
    struct mx_conn *conn = &link->conn[MX_MEM];

    if (request->message.type == MX_WRITE_BLOCK) {
        keep_block(link, request->buffer, request->message.size);
    } else if (mx_conn_receives(conn, MX_READ_BLOCK_RET) &&
               MX_RULE(LEAVE_BUFFER)) {
        mx_conn_place_block(conn, NULL);
    }
}

void mx_link_abandon(struct mx_link *link, struct mx_request *request)
{
    if (request->done) {
        return;
    }
    if (link->sent == request) {
        leave_buffer(link, request);
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
