/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The two links to one peer, which come and go together (protocol section 1):
 * a session driven over two connections.  Everything here is called with the
 * group's lock held and calls nobody but the owner's mx_link_ops, which do not
 * let go of it.
 *
 * Whatever ends the links goes through mx_link_fail(), which only marks, and
 * mx_link_step(), which tears down and completes every request exactly once.
 */
#ifndef MX_LINK_H
#define MX_LINK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "conn.h"
#include "log.h"
#include "session.h"

enum mx_which { MX_MEM, MX_INTR_LINK, MX_LINKS };

/* A local access; it belongs to the one who waits for it. */
struct mx_request {
    TAILQ_ENTRY(mx_request) entry;
    struct mx_message message;  /* READ, WRITE, or of a block */
    uint8_t *buffer;            /* of a block */
    bool nested;                /* made within a callback: nothing holds it */
    int64_t deadline;
    bool answered;              /* by a response; else the links ended */
    bool done;
    int result;                 /* result bits, or -errno */
    uint64_t value;
    size_t performed;           /* of a block: bytes */
};

/* A REG_INV that waits to be sent. */
struct mx_invalidation {
    TAILQ_ENTRY(mx_invalidation) entry;
    uint64_t start, size;
    int64_t deadline;
};

struct mx_link_ops {
    /* REG_INV: nobody here may reach the range any more.  0 or -errno. */
    int (*invalidate)(void *opaque, uint64_t start, uint64_t size);
    /* A successful response to @request carried a share that is no violation;
     * @fd becomes the callee's. */
    void (*share)(void *opaque, const struct mx_wire_share *share, int fd);
    /* OFFER: the same, asked for by nobody. */
    void (*offer)(void *opaque, const struct mx_wire_share *share, int fd);
    void (*interrupt)(void *opaque, uint64_t type, const uint8_t *data);
    /* Is an interrupt to be taken now, or later? */
    bool (*has_room)(void *opaque);
    /* Room for a block, and its return; NULL: there is no memory. */
    uint8_t *(*take_buffer)(void *opaque);
    void (*give_buffer)(void *opaque, uint8_t *buffer);
    void (*settled)(void *opaque);      /* hello is */
    void (*down)(void *opaque, bool violation);
    void (*trace)(void *opaque, enum mx_which which, bool sent,
                  const struct mx_message *message);
    void (*polls_changed)(void *opaque);        /* descriptors, events */
    void (*news)(void *opaque); /* an answer came, or none will come */
};

struct mx_link {
    struct mx_conn conn[MX_LINKS];
    struct mx_session session;
    bool up;                    /* both are open */
    bool parked;                /* interrupts have come and wait for room */
    const struct mx_link_ops *ops;
    void *opaque;
    const char *name;           /* of the device, for the log */
    struct mx_log_limit logged; /* what the peer causes in it */
    TAILQ_HEAD(, mx_request) waiting;   /* accesses not yet sent */
    struct mx_request *sent;    /* the one outstanding; NULL if none, or if
                                 * nobody waits for it any more */
    TAILQ_HEAD(, mx_invalidation) invalidations;
    unsigned holds;             /* what was shared and is not yet mapped: no
                                 * access is sent meanwhile */
    uint64_t access_end;        /* of the one outstanding, in the stream */
    uint64_t response_end[MX_CLASSES];
    uint8_t *write_block;       /* what the peer writes, NULL: nothing yet */
    char last_reason[240];      /* why they ended the last time */
    int lost_invalidation;      /* in the map changes under way this side ended
                                 * the links for this error before one was
                                 * acknowledged */
    struct {                    /* set once: the links are to end */
        bool set;
        bool drain;             /* what the peer sent before counts */
        bool violation;
        int error;              /* for those who wait */
        char reason[240];
    } end;
};

void mx_link_init(struct mx_link *link, const struct mx_link_ops *ops,
                  void *opaque, const char *name);

/* A connected socket has come; the caller has seen that there is room. */
void mx_link_open(struct mx_link *link, enum mx_which which, int fd);

/* Both have: begin. */
void mx_link_start(struct mx_link *link,
                   const struct mx_session_config *config, int64_t now);

/* Mark the links as to be ended; only the first time counts. */
void mx_link_fail(struct mx_link *link, int error, bool violation,
                  const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Mark them as ended by the peer: what it sent before is still taken. */
void mx_link_peer_left(struct mx_link *link);

/* The socket is ready. */
void mx_link_read(struct mx_link *link, enum mx_which which, int64_t now);
void mx_link_write(struct mx_link *link, enum mx_which which);

/* Would the socket rather be polled for writing, too? */
bool mx_link_wants_write(const struct mx_link *link, enum mx_which which);

int64_t mx_link_deadline(const struct mx_link *link);

/* Does mx_link_step() have to know the time? */
bool mx_link_needs_time(const struct mx_link *link);

/*
 * Do what time, or the end of the links, asks for, and service invalidations.
 * Returns whether anything was done.
 */
bool mx_link_step(struct mx_link *link, int64_t now);

/* Send the next local request that may be sent.  Returns whether one was. */
bool mx_link_send_next(struct mx_link *link);

/*
 * An access is to be serviced if the group allows it.  The number of its
 * priority, or -1.
 */
int mx_link_access_number(const struct mx_link *link);

/* It begins.  *@written: the block of a WRITE_BLOCK, the caller's until it is
 * given back. */
void mx_link_begin_access(struct mx_link *link, struct mx_message *request,
                          uint8_t **written);
void mx_link_give_back(struct mx_link *link, uint8_t *written);

/*
 * Its answer, with what @response says of result, value, size and share, and
 * what was read of a block, which is the caller's again.  @fd is the link's.
 */
void mx_link_end_access(struct mx_link *link, struct mx_message *response,
                        const uint8_t *read, int fd);

/* May a share be offered now?  Offer it (@fd is the link's), or say that there
 * is no other (@share NULL). */
bool mx_link_may_offer(const struct mx_link *link);
void mx_link_offer(struct mx_link *link, const struct mx_wire_share *share,
                   int fd);

/* Queue an access; ->done tells when it is over. */
void mx_link_submit(struct mx_link *link, struct mx_request *request);

/* Nobody waits for it any more: not sent, or its answer is discarded. */
void mx_link_abandon(struct mx_link *link, struct mx_request *request);

/* Queue a REG_INV.  Returns 0 or -ENOMEM. */
int mx_link_invalidate(struct mx_link *link, uint64_t start, uint64_t size,
                       int64_t deadline);

/* Is a REG_INV not yet acknowledged? */
bool mx_link_invalidating(const struct mx_link *link);

/* Send an interrupt or drop it: 0, -ENOTCONN, -EAGAIN. */
int mx_link_interrupt(struct mx_link *link, uint64_t type,
                      const uint8_t *data);

#endif
