/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rules of the link to one peer, pure: hello (protocol section 6),
 * arbitration and kept requests (section 3), deadlines as data (section 7),
 * blocks and offers (sections 8 and 9).
 *
 * It takes events (a message that came, a request that is to be sent, time)
 * and answers with what is to be done.  It does no I/O, knows no clock, calls
 * nobody and allocates nothing.
 */
#ifndef MX_SESSION_H
#define MX_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "wire.h"

enum mx_hello_mode { MX_HELLO_MODE_OFF, MX_HELLO_MODE_ON,
                     MX_HELLO_MODE_REQUIRE };

struct mx_session_config {
    bool connects;              /* this is the connecting side */
    enum mx_hello_mode hello;
    uint8_t wish;               /* sub-priority: 0, 1, MX_SUBPRIORITY_ANY */
    uint32_t page_size;
    uint64_t span_start, span_size;
    const char *name;
    uint64_t features;          /* offered, or accepted if offered */
    int64_t hello_wait;         /* ns */
    int64_t request_timeout;    /* ns */
};

enum mx_phase {
    MX_PHASE_DOWN,
    MX_PHASE_AWAIT_FIRST,       /* listening: the first message will tell */
    MX_PHASE_AWAIT_PAIR,        /* listening: HELLO is here, its twin on the
                                 * interrupt link is not */
    MX_PHASE_AWAIT_RET,         /* connecting: HELLO was sent */
    MX_PHASE_SETTLED
};

/* What came first on the interrupt link. */
enum mx_intr_first { MX_INTR_SILENT, MX_INTR_HELLO, MX_INTR_BASE };

/* This side's request in a class. */
struct mx_outgoing {
    bool active;
    struct mx_message request;
    int64_t deadline;
};

enum mx_incoming_state {
    MX_IN_NONE,
    MX_IN_KEPT,                 /* to be looked at */
    MX_IN_SERVICE,
    MX_IN_RESPONSE              /* queued, its last byte not yet sent */
};

/* The peer's request in a class. */
struct mx_incoming {
    enum mx_incoming_state state;
    struct mx_message request;
};

/* Invalidations serviced since the access was sent; past these, any. */
enum { MX_SINCE_MAX = 16 };

struct mx_session {
    struct mx_session_config config;
    enum mx_phase phase;
    bool said_hello;            /* settled by hello, not as base */
    bool heard;                 /* the memory link's first message came */
    bool ignores_hello;         /* settled as base before it came */
    uint8_t subpriority;        /* ours, once settled */
    uint64_t features;          /* both sides have, once settled */
    bool awaits_offers;         /* no access is sent before they end */
    int64_t started;            /* when both links were up */
    int64_t hello_came;
    enum mx_intr_first intr_first;
    struct mx_wire_hello intr_hello;
    struct mx_wire_hello hello; /* as we sent it, or will answer */
    struct mx_wire_hello peer;  /* as the peer said it */
    struct mx_outgoing out[MX_CLASSES];
    struct mx_incoming in[MX_CLASSES];
    struct {
        uint64_t start, size;
    } since[MX_SINCE_MAX];
    unsigned since_count;
    char reason[200];
};

/* What an event asks for. */
enum mx_outcome {
    MX_GO_ON,                   /* look again what can be serviced and sent */
    MX_COMPLETE,                /* it answers out[class].request */
    MX_TAKE_OFFER,              /* of a share, or the end of them */
    MX_REPLY,                   /* send the HELLO_RET of mx_session_hello() */
    MX_REPLY_AND_CLOSE,         /* the same, then close: ->reason */
    MX_CLOSE,                   /* close the links: ->reason */
    MX_VIOLATE                  /* the same; the peer broke the protocol */
};

/* Both links are up.  @pair_id: random, for a connecting side. */
void mx_session_start(struct mx_session *session,
                      const struct mx_session_config *config, uint64_t pair_id,
                      int64_t now);

/* The end of the links: forget everything. */
void mx_session_stop(struct mx_session *session);

/* Must HELLO be sent now, first, on both links? */
static inline bool mx_session_says_hello(const struct mx_session *session)
{
    return session->phase == MX_PHASE_AWAIT_RET;
}

/* HELLO of the connecting side, or HELLO_RET of the listening one. */
void mx_session_hello(const struct mx_session *session,
                      struct mx_message *message);

/* A message came on the memory link. */
enum mx_outcome mx_session_receive(struct mx_session *session,
                                   const struct mx_message *message,
                                   int64_t now);

/* A message came on the interrupt link; MX_GO_ON for INTR: deliver it. */
enum mx_outcome mx_session_receive_intr(struct mx_session *session,
                                        const struct mx_message *message);

/*
 * Time has passed.  @waiting: a local request waits for hello to settle.
 */
enum mx_outcome mx_session_tick(struct mx_session *session, bool waiting,
                                int64_t now);

/* When mx_session_tick() is due, INT64_MAX for never. */
int64_t mx_session_deadline(const struct mx_session *session, bool waiting);

/*
 * The class of the kept request that is to be serviced now, lowest number
 * first; -1 if there is none.  @accesses: accesses may be serviced (no map
 * change and no other service is in progress in the group).
 */
int mx_session_serviceable(const struct mx_session *session, bool accesses);

/* Its service begins. */
void mx_session_serve(struct mx_session *session, unsigned class,
                      struct mx_message *request);

/* Its response is queued; later: the last byte of it has been sent. */
void mx_session_responded(struct mx_session *session, unsigned class,
                          struct mx_message *response);
void mx_session_response_sent(struct mx_session *session, unsigned class);

/* May a local request of the class be sent? */
bool mx_session_may_send(const struct mx_session *session, unsigned class);

/* It is sent; its priority is filled in. */
void mx_session_send(struct mx_session *session, struct mx_message *request,
                     int64_t deadline);

/*
 * Was an invalidation that overlaps the range serviced since the last access
 * was sent?
 */
bool mx_session_invalidated(const struct mx_session *session, uint64_t start,
                            uint64_t size);

/* May a share be offered: is every invalidation of ours acknowledged? */
bool mx_session_may_offer(const struct mx_session *session);

static inline bool mx_session_has(const struct mx_session *session,
                                  uint64_t feature)
{
    return session->phase == MX_PHASE_SETTLED && session->features & feature;
}

/* What the peer announced that it exports; 0, 0 without hello. */
void mx_session_peer_span(const struct mx_session *session, uint64_t *start,
                          uint64_t *size);

#endif
