/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the peer sends: taken apart, put before the session, acted upon.
 */
#include "link-parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "os.h"

/* How much is read at once of a link that is to end: 1 MiB. */
enum { READS_AT_ONCE = 256 };

/* Section 4: what a lying range is, and what is only of no use. */
static bool share_is_sound(const struct mx_wire_share *share, uint64_t address)
{
    return share->size == 0 ||
           (!mx_range_overflows(share->start, share->size) &&
            mx_range_within(address, 1, share->start, share->size));
}

/* One that nobody asked for contains no access. */
static void take_offer(struct mx_link *link, const struct mx_message *offer,
                       int fd)
{
    const struct mx_wire_share *share = &offer->share;

    if (share->kind == 0) {
        return;                 /* the session knows: accesses may be sent */
    }
    if (mx_range_overflows(share->start, share->size)) {
        mx_os_close(fd);
        mx_link_violation(link, MX_MEM, "a share that passes 2^64", offer);
    } else if (link->end.set) {
        mx_os_close(fd);
    } else {
        link->ops->offer(link->opaque, share, fd);
    }
}

static void take_share(struct mx_link *link, const struct mx_message *request,
                       const struct mx_message *response, int fd)
{
    if (response->result != 0 || !link->sent || link->end.set) {
        mx_os_close(fd);        /* closed unused (section 7) */
    } else if (!share_is_sound(&response->share, request->offset)) {
        mx_os_close(fd);
        mx_link_violation(link, MX_MEM, "a share that does not contain the "
                          "access", response);
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
    if (request->type == MX_WRITE_BLOCK &&
        link->conn[MX_MEM].out_position < link->access_end) {
        mx_os_close(fd);
        mx_link_violation(link, MX_MEM, "an answer to half a request",
                          response);
        return;
    }
    if (fd >= 0) {
        take_share(link, request, response, fd);
    }
    if (link->sent && (!link->end.set || link->end.drain)) {
        mx_link_complete(link->sent, true, (int)(response->result & INT32_MAX),
                 mx_value_of_size(response->value, request->size));
        link->sent->performed = response->size;
        if (response->result & ~(uint32_t)INT32_MAX) {
            link->sent->result |= 1;    /* any value but 0 is a failure */
        }
        link->sent = NULL;
    }
}

void mx_link_act(struct mx_link *link, enum mx_outcome outcome,
                const struct mx_message *message, enum mx_which which)
{
    switch (outcome) {
    case MX_REPLY:
        mx_link_say_hello(link);
        break;
    case MX_REPLY_AND_CLOSE:
        mx_link_say_hello(link);
        mx_link_fail(link, -ECONNRESET, false, "%s", link->session.reason);
        break;
    case MX_CLOSE:
        mx_link_fail(link, message ? -ECONNRESET : -ETIMEDOUT, false, "%s",
                     link->session.reason);
        break;
    case MX_VIOLATE:
        if (message) {
            mx_link_violation(link, which, link->session.reason, message);
        } else {
            mx_link_fail(link, -ECONNRESET, true, "protocol violation: %s",
                         link->session.reason);
        }
        break;
    case MX_GO_ON:
    case MX_COMPLETE:
    case MX_TAKE_OFFER:
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
    } else if (outcome == MX_TAKE_OFFER) {
        take_offer(link, message, fd);
    } else {
        mx_os_close(fd);
        mx_link_act(link, outcome, message, MX_MEM);
    }
}

/* The message whose block is to come: would it be one that is in place? */
static bool is_admitted(struct mx_link *link, const struct mx_message *message,
                        int64_t now)
{
    struct mx_session trial = link->session;
    enum mx_outcome outcome = mx_session_receive(&trial, message, now);

    if (outcome == MX_GO_ON || outcome == MX_COMPLETE) {
        return true;
    }
    link->session = trial;
    mx_link_act(link, outcome, message, MX_MEM);
    return false;
}

/* Where a block goes that is to come; false if the links end instead. */
static bool place_block(struct mx_link *link, int64_t now)
{
    struct mx_conn *conn = &link->conn[MX_MEM];
    const struct mx_message *message = &conn->in_block.message;

    if (!is_admitted(link, message, now)) {
        return false;
    }
    if (message->type == MX_READ_BLOCK_RET) {
        mx_conn_place_block(conn, link->sent ? link->sent->buffer : NULL);
        return true;
    }
    if (!link->write_block) {
        link->write_block = link->ops->take_buffer(link->opaque);
    }
    if (!link->write_block) {
        mx_link_fail(link, -ECONNRESET, false, "no memory for a block");
        return false;
    }
    mx_conn_place_block(conn, link->write_block);
    return true;
}

static void take_interrupt_message(struct mx_link *link,
                                   const struct mx_message *message, int fd)
{
    enum mx_outcome outcome = mx_session_receive_intr(&link->session, message);

    mx_os_close(fd);
    mx_link_act(link, outcome, message, MX_INTR_LINK);
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
        if (which == MX_INTR_LINK && !link->end.set &&
            !link->ops->has_room(link->opaque)) {
            link->parked = true;
            link->ops->polls_changed(link->opaque);
            return;
        }
        switch (mx_conn_next(conn, &message, &fd, &reason)) {
        case MX_CONN_NONE:
            return;
        case MX_CONN_VIOLATION:
            header = mx_conn_header(conn, &count);
            mx_link_report(link, which, reason, header, count);
            return;
        case MX_CONN_BLOCK:
            if (which != MX_MEM) {
                mx_link_violation(link, which, "a block on the interrupt link",
                                  &conn->in_block.message);
                return;
            }
            if (!place_block(link, now)) {
                return;
            }
            continue;
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
        mx_link_check_settled(link, before);
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
        mx_link_report(link, which, "more descriptors than a message can have",
                       header, count);
        return false;
    }
    if (ret == -ENODATA || ret == -ECONNRESET) {
        mx_link_peer_left(link);
        return false;
    }
    if (ret < 0) {
        mx_link_fail(link, -ECONNRESET, false, "cannot receive on the %s: %s",
                     mx_link_which(which), strerror(-ret));
        return false;
    }
    parse(link, which, now);
    return true;
}

/* What may come on the interrupt link has no time. */
bool mx_link_unpark(struct mx_link *link)
{
    if (!link->parked || !link->ops->has_room(link->opaque)) {
        return false;
    }
    link->parked = false;
    link->ops->polls_changed(link->opaque);
    parse(link, MX_INTR_LINK, MX_FOREVER);
    return true;
}

/* The rest of a block is likely to be there, too. */
void mx_link_read(struct mx_link *link, enum mx_which which, int64_t now)
{
    if (link->parked && which == MX_INTR_LINK) {
        return;
    }
    while (link->up && !link->end.set && receive(link, which, now) &&
           link->conn[which].in_block.open) {
    }
}

/* Take what lies in the sockets, up to a limit. */
void mx_link_take(struct mx_link *link, int64_t now)
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
