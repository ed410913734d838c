/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Properties and state of links.pml.
 */

/* --- configurations ------------------------------------------------------- */

#include "links-config.h"

#ifndef BREAKS
#define BREAKS 0                /* how often links end */
#endif
#ifndef CANCELS
#define CANCELS 0               /* accesses given up */
#endif
#ifndef RANGES
#define RANGES 1
#endif
#ifndef NESTED
#define NESTED 0                /* services that try an access of their own */
#endif

#define ENDS (2 * LINKS)
#define PEER(e) ((e) ^ 1)
#define EXPORTER(e) OWNER(PEER(e))
#define ALL_RANGES ((1 << RANGES) - 1)
#define SLOTS (GUESTS + MACHINES)       /* who may wait for an access */

/* --- properties ----------------------------------------------------------- */

/* Never true: their names show in what pan says of a violated assertion. */
bit P_no_deadlock;      /* whoever waits gets on */
bit P_answered_once;    /* a response has its request, and one only */
bit P_all_answered;     /* and each request its response, or the end */
bit P_untouched_in_change; /* none in one's own map change */
bit P_one_kept;         /* per class */
bit P_nothing_stale;    /* after an acknowledgement */
bit P_priority;         /* a number shows class and sender */
bit P_one_service;      /* the consumer is not entered again */
bit P_ledger_true;      /* what it has was shared on this connection */
bit P_same_connection;  /* nothing of an earlier one is taken */
bit P_bounded;          /* four messages at most are under way */
bit P_removed_first;    /* before a later response reaches the guest */
bit P_done_once;        /* each access */
#ifdef PUSH
bit P_direct;           /* what can be mapped is not accessed by the link */
bit P_offers_in_turn;   /* none while a REG_INV is unanswered */
#endif

#define CHECK(property, condition) assert((condition) || property)

/* --- state ---------------------------------------------------------------- */

mtype = { INV, ACC, INV_RET, ACC_RET, OFFER, OFFERS_END };
mtype = { NONE, KEPT, SERVICE };                /* incoming requests */
mtype = { ABSENT, OFFERED, ACCEPTED, MAPPED };  /* shares at the importer */
mtype = { IDLE, WAITS, DONE };                  /* local accesses */

/* type, priority, range, version of the share or 0, connection */
#ifdef MUTANT_BLOCKING_SEND
#define ROOM 1
bool sending[MACHINES];         /* a thread is, with the lock held */
#define UNLOCKED(m) (!sending[m])
#else
#ifdef PUSH
#define ROOM 7
#else
#define ROOM 4
#endif
#define UNLOCKED(m) true
#endif
chan wire[ENDS] = [ROOM] of { mtype, byte, byte, byte, byte };

/* struct mx_session: index class + 2 * end */
bool out[2 * ENDS];             /* outstanding: mx_outgoing */
mtype in[2 * ENDS] = NONE;      /* mx_incoming */
byte in_range[2 * ENDS];

/* struct mx_link */
bool up[ENDS] = true;
byte sent[ENDS];                /* the slot that waits for it, 0: nobody */
byte inv_queue[ENDS];           /* ranges whose REG_INV waits to be sent */
bool cut[LINKS];                /* the sockets are closed */
byte connection[LINKS];         /* generation */
byte breaks = BREAKS;
byte cancels = CANCELS;

/* struct memexpose_device */
byte ledger[ENDS];              /* ranges shared with the peer */
byte given[ENDS];               /* what really was, on this connection */
bool touched[ENDS];             /* by the access outstanding */
mtype mapping[ENDS * RANGES] = ABSENT;
byte mapped_version[ENDS * RANGES];
bool going[ENDS];               /* unreachable, not yet removed */
byte version[MACHINES * RANGES] = 1;    /* of the memory behind a range */

/* struct memexpose_group */
bool in_service[MACHINES];
bit services[MACHINES];         /* in truth */
bool service_waits[MACHINES];   /* in mx_group_wait() */
byte map_changes[MACHINES];
bool changed[MACHINES];         /* map_change_count is another */
mtype access[SLOTS + 1] = IDLE; /* struct mx_request, by slot; 0 unused */
bool guest_waits[SLOTS + 1];    /* for a map change */
byte finished;                  /* guests */

#ifdef LOOKS
/*
 * Kept requests are looked at when one comes and on three occasions.  The
 * library looks after every event (pump() in lib/group.c), of which these are
 * the ones that matter.
 */
bool look[MACHINES] = true;
#define LOOK(m) look[m] = true
#define LOOKED(m) look[m]
#else
#define LOOK(m) skip
#define LOOKED(m) true
#endif
