/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A peer that speaks the protocol when the script says so, and lies when it
 * says so.  It remembers what it said, so that it can tell whether the device
 * keeps its own promises.
 */
#ifndef MX_TESTS_HOSTILE_H
#define MX_TESTS_HOSTILE_H

#include "fuzz.h"
#include "wire.h"

/* The steps of a script; those of the peer come first. */
enum hostile_op {
    OP_SEND,                    /* a message of ->type, with these fields */
    OP_ANSWER,                  /* the access that was asked */
    OP_ACK,                     /* the invalidation that was asked */
    OP_GREET,                   /* HELLO or HELLO_RET, as it is due */
    OP_RAW,                     /* up to 16 bytes of any kind */
    OP_CLOSE,
    OP_DEAF,                    /* stop reading, or go on */
    OP_SHRINK,                  /* the unsealed object */
    OP_PEER_OPS,
    OP_CONNECT = OP_PEER_OPS,
    OP_READ,                    /* accesses through the window */
    OP_WRITE,
    OP_BLOCK,
    OP_REG_READ,
    OP_REG_WRITE,
    OP_ENABLE,
    OP_DISABLE,
    OP_RESET,
    OP_RENEW,                   /* destroy or create the device */
    OP_INTERRUPT,
    OP_RECEIVE,
    OP_CHANGE_BEGIN,
    OP_INVALIDATE,
    OP_CHANGE_WAIT,
    OP_CHANGE_END,
    OP_WITHDRAW,
    OP_ADD_RAM,
    OP_UNMAPPED,
    OP_RETIRE,
    OP_PLAN,                    /* what the next callback of a kind does */
    OP_TIME,
    OP_FAIL,                    /* an allocation to come */
    OP_CANCEL,
    OP_TOUCH,                   /* read what is mapped, as a CPU would */
    OP_DRIVE,
    OPS
};

/* Callbacks, and what the next of a kind is to do (OP_PLAN). */
enum callback { CALL_READ, CALL_WRITE, CALL_RESOLVE, CALL_MAP, CALL_UNMAP,
                CALL_INTERRUPT, CALL_LINK, CALLBACKS };

enum plan { PLAN_NOTHING, PLAN_FAIL, PLAN_LATER, PLAN_DESTROY, PLAN_DISABLE,
            PLAN_RESET, PLAN_ENABLE, PLAN_CANCEL, PLAN_READ, PLAN_CHANGE,
            PLAN_SEND, PLAN_REGISTER, PLAN_WITHDRAW, PLANS };

/* ->flags of a step */
enum {
    FLAG_INTR = 0x01,           /* on the interrupt link */
    FLAG_RIGHT = 0x02,          /* with the priority that is right */
    FLAG_DAMAGE = 0x04,         /* one byte is another */
    FLAG_PARTIAL = 0x08,        /* only the first ->size bytes */
    FLAG_OTHER_FD = 0x10,       /* a descriptor where none belongs, or none */
    FLAG_LINGER = 0x80          /* the device is not driven afterwards */
};

/* ->share of a step: the low four bits say which, the others how many pages */
enum {
    SHARE_NONE,
    SHARE_PAGES,                /* from the page of the access on */
    SHARE_WHOLE,                /* all of the object */
    SHARE_GIVEN,                /* ->a, ->b */
    SHARE_EMPTY,
    SHARE_SKEWED,               /* start and offset differ within the page */
    SHARE_WRAPS,
    SHARE_OFFSET_WRAPS,
    SHARE_TOO_LONG,             /* for the object */
    SHARE_BESIDE,               /* not where the access was */
    SHARE_READONLY,
    SHARES
};

enum { OFFERS = 64, INVALIDATIONS = 16, TAKEN_BACK = 64 };

struct hostile {
    int fd[2];                  /* -1: closed */
    bool connects;              /* as seen from the peer */
    uint8_t ours;               /* its sub-priority */
    bool wants_seals;           /* the device requires them */
    bool narrow;                /* little goes into the device's sockets */
    bool deaf;
    bool heard;                 /* something, the last time it listened */
    bool unsure;                /* it said what it does not understand */
    uint8_t in[2][4096];
    size_t in_count[2];
    bool asked, to_ack, to_greet;
    bool spoke;                 /* said something other than hello */
    size_t block_left[2];       /* bytes of one that are being heard */
    struct mx_message request, invalidation, hello;
    uint64_t features;          /* agreed on */
    bool holds;                 /* it owes the end of its offers */
    unsigned ends;              /* of its offers, so far */
    bool lied;                  /* about a length: the links must end */
    unsigned expected[MX_CLASSES];      /* responses */
    struct {
        uint64_t start, size;
        bool mappable;
    } offers[OFFERS];
    unsigned offer_count;
    struct {                    /* acknowledged invalidations */
        uint64_t start, size;
        unsigned offers;        /* made before: those that it concerns */
    } taken_back[TAKEN_BACK];
    unsigned taken_back_count;
    struct {
        uint64_t start, size, last_id;
        unsigned offers, ends;
    } invalidations[INVALIDATIONS];
    unsigned invalidation_count;
    uint64_t last_id;           /* of the ranges that the device announced */
    /* An invalidation was acknowledged. */
    void (*acknowledged)(void *opaque, uint64_t start, uint64_t size,
                         uint64_t last_id);
    void *opaque;
};

/* New links; @theirs are the device's ends.  @ours: the peer's half. */
void hostile_connect(struct hostile *peer, bool connects, uint8_t ours,
                     int theirs[2]);
void hostile_close(struct hostile *peer, unsigned which);

/* Read and check what the device says.  Returns whether it said anything. */
bool hostile_listen(struct hostile *peer);

/* Is it certain that both sides have the feature? */
bool hostile_agreed(const struct hostile *peer, uint64_t feature);

/* Do a step of the peer's (below OP_PEER_OPS). */
void hostile_do(struct hostile *peer, const struct fuzz_step *step);

/* Answer what is to be answered, truly.  Returns whether anything was. */
bool hostile_answer(struct hostile *peer);

/* Was such a range offered, and is the offer good? */
bool hostile_offered(const struct hostile *peer, uint64_t start,
                     uint64_t size);

#endif
