/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arbitration, kept requests, map changes, shares, and links that end and come
 * back (protocol sections 3, 4 and 7), as lib/session.c, lib/link.c,
 * lib/group.c, lib/device-export.c and lib/device-import.c have them.
 *
 * A machine is a process with one group.  Link number l has the ends 2l and
 * 2l + 1, of the machines OWNER(2l) and OWNER(2l + 1).  Every atomic step is
 * what happens in one hold of the group's lock.  Hello is in hello.pml, the
 * threads of a group are in reader.pml.
 *
 * Each machine runs:
 *   Link(end)      reads, services invalidations, maps, removes, connects
 *   Service(m)     services the peers' accesses, one at a time
 *   Guest(m, t)    a local thread: accesses and map changes
 *
 * SINGLE: the machine has one thread.  A service runs on the stack of the
 * guest's wait, so the guest goes on only after it, and the machine reads only
 * while the innermost frame waits.
 *
 * -DCONFIG_x chooses a configuration, -DMUTANT_x breaks one rule.
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

#define CHECK(property, condition) assert((condition) || property)

/* --- state ---------------------------------------------------------------- */

mtype = { INV, ACC, INV_RET, ACC_RET };
mtype = { NONE, KEPT, SERVICE };                /* incoming requests */
mtype = { ABSENT, ACCEPTED, MAPPED };           /* shares at the importer */
mtype = { IDLE, WAITS, DONE };                  /* local accesses */

/* type, priority, range, version of the share or 0, connection */
#ifdef MUTANT_BLOCKING_SEND
#define ROOM 1
bool sending[MACHINES];         /* a thread is, with the lock held */
#define UNLOCKED(m) (!sending[m])
#else
#define ROOM 4
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
bool look[MACHINES];
#define LOOK(m) look[m] = true
#define LOOKED(m) look[m]
#else
#define LOOK(m) skip
#define LOOKED(m) true
#endif

/* --- arbitration (section 3) ---------------------------------------------- */

#ifdef MUTANT_EQUAL
#define SUBPRIORITY(e) 0
#else
#define SUBPRIORITY(e) ((e) & 1)
#endif

#define NUMBER(class, e) (2 * (class) + SUBPRIORITY(e))

#ifdef MUTANT_REVERSED
#define BEATS(one, other) ((one) > (other))
#else
#define BEATS(one, other) ((one) < (other))
#endif

/* beats_outstanding() */
#define BEATS_OUTSTANDING(e, class) \
    ((!out[2 * (e)] || BEATS(NUMBER(class, PEER(e)), NUMBER(0, e))) && \
     (!out[2 * (e) + 1] || BEATS(NUMBER(class, PEER(e)), NUMBER(1, e))))

/* accesses_allowed() */
#ifdef MUTANT_SERVES_IN_CHANGE
#define CHANGE_ALLOWS(m) true
#elif defined(MUTANT_CHANGE_IS_INVALIDATION)
#define CHANGE_ALLOWS(m) (map_changes[m] == 0 || !INVALIDATING(m))
#else
#define CHANGE_ALLOWS(m) (map_changes[m] == 0)
#endif
#ifdef MUTANT_MANY_SERVICES
#define SERVICE_ALLOWS(m) true
#else
#define SERVICE_ALLOWS(m) (!in_service[m])
#endif

#ifdef MUTANT_KEEPS_INVALIDATIONS_TOO
#define INVALIDATION_ALLOWED(e) (!in_service[OWNER(e)])
#else
#define INVALIDATION_ALLOWED(e) true
#endif

/* mx_session_serviceable() */
#define SERVICEABLE(e, class) \
    (in[2 * (e) + class] == KEPT && BEATS_OUTSTANDING(e, class))
#define ACCESS_SERVICEABLE(e) \
    (LOOKED(OWNER(e)) && UNLOCKED(OWNER(e)) && up[e] && SERVICEABLE(e, 1) && \
     CHANGE_ALLOWS(OWNER(e)) && SERVICE_ALLOWS(OWNER(e)))

/* mx_link_invalidating(), all_acknowledged() */
#define PENDING(e) (out[2 * (e)] || inv_queue[e] != 0)
#if LINKS == 1
#define OVER_ENDS(f, m) (f(0, m) || f(1, m))
#elif LINKS == 2
#define OVER_ENDS(f, m) (f(0, m) || f(1, m) || f(2, m) || f(3, m))
#else
#define OVER_ENDS(f, m) (f(0, m) || f(1, m) || f(2, m) || f(3, m) || \
                         f(4, m) || f(5, m))
#endif
#define INVALIDATES(e, m) (OWNER(e) == m && PENDING(e))
#define INVALIDATING(m) OVER_ENDS(INVALIDATES, m)
#define WORTH_A_LOOK(e, m) (OWNER(e) == m && up[e] && \
    (SERVICEABLE(e, 0) || ACCESS_SERVICEABLE(e)))

/*
 * Who reads.  One thread reads only while its innermost frame waits; with more
 * threads one of them always waits.
 */
#ifdef SINGLE
#define GUEST_ON_TOP(m) (UNLOCKED(m) && !in_service[m])
#define THREAD_READS(m) (UNLOCKED(m) && (!in_service[m] || service_waits[m]))
#else
#define GUEST_ON_TOP(m) UNLOCKED(m)
#define THREAD_READS(m) UNLOCKED(m)
#endif
#ifdef MUTANT_ONE_LINK
/* Only the link that is waited on: guest t of machine m has slot m + 1. */
#define READS(e) (THREAD_READS(OWNER(e)) && \
    (access[OWNER(e) + 1] != WAITS || sent[e] == OWNER(e) + 1) && \
    (!guest_waits[OWNER(e) + 1] || PENDING(e)))
#else
#define READS(e) THREAD_READS(OWNER(e))
#endif

/* --- links ---------------------------------------------------------------- */

#ifdef MUTANT_BLOCKING_SEND
#define PUT(e, type, prio, range, share) \
    sending[OWNER(e)] = true; \
    wire[e] ! type, prio, range, share, connection[(e) >> 1]; \
    sending[OWNER(e)] = false
#else
#define PUT(e, type, prio, range, share) \
    if \
    :: cut[(e) >> 1] \
    :: else -> \
        CHECK(P_bounded, nfull(wire[e])); \
        wire[e] ! type, prio, range, share, connection[(e) >> 1] \
    fi
#endif

/* send_invalidation() */
inline send_invalidation(e)
{
    if
    :: up[e] && !out[2 * (e)] && inv_queue[e] != 0 ->
#if RANGES > 1
        range = (inv_queue[e] & 1 -> 0 : 1);
#else
        range = 0;
#endif
        inv_queue[e] = inv_queue[e] & ~(1 << range);
        out[2 * (e)] = true;
        CHECK(P_ledger_true, given[e] & (1 << range));
        PUT(e, INV, NUMBER(0, e), range, 0)
    :: else
    fi
}

/* take_share(), mx_import_share() */
inline take_share(e)
{
    if
    :: share != 0 && mapping[(e) * RANGES + range] == ABSENT ->
        mapping[(e) * RANGES + range] = ACCEPTED;
        mapped_version[(e) * RANGES + range] = share
    :: else
    fi
}

/* mx_session_receive(), take_response() */
inline receive(e)
{
    CHECK(P_same_connection, number == connection[(e) >> 1]);
    if
    :: type == INV || type == ACC ->
        class = (type == ACC);
        CHECK(P_priority, prio == NUMBER(class, PEER(e)));
        CHECK(P_one_kept, in[2 * (e) + class] == NONE);
        in[2 * (e) + class] = KEPT;
        in_range[2 * (e) + class] = range;
        LOOK(OWNER(e))
    :: else ->
        class = (type == ACC_RET);
        CHECK(P_answered_once, out[2 * (e) + class]);
        CHECK(P_priority, prio == NUMBER(class, e));
        out[2 * (e) + class] = false;
#ifndef MUTANT_NO_LOOK_AT_RESPONSE
        LOOK(OWNER(e));
#endif
        if
        :: class == 0 -> send_invalidation(e)
        :: class == 1 && sent[e] != 0 ->
            take_share(e);
#ifdef MUTANT_COMPLETES_INNERMOST
            /* the loop that read it takes it for its own */
            if
            :: !service_waits[OWNER(e)] -> access[sent[e]] = DONE
            :: else
            fi;
#else
            access[sent[e]] = DONE;
#endif
            sent[e] = 0
        :: else                 /* given up: discarded, its share too */
        fi
    fi;
    type = INV; prio = 0; range = 0; share = 0; number = 0; class = 0
}

#ifdef MUTANT_ACCEPTED_SURVIVES
#define GOES(e, r) (mapping[(e) * RANGES + r] == MAPPED)
#else
#define GOES(e, r) (mapping[(e) * RANGES + r] != ABSENT)
#endif

/* detach(): the overlay, and what remains for the consumer to remove */
inline detach(e, r)
{
    if
    :: !GOES(e, r)
    :: GOES(e, r) ->
        going[e] = true;
#ifndef MUTANT_ACKNOWLEDGES_EARLY
        mapping[(e) * RANGES + r] = ABSENT;
        mapped_version[(e) * RANGES + r] = 0
#endif
    fi
}

/* service_invalidation(): sends nothing but its answer */
inline service_invalidation(e)
{
    range = in_range[2 * (e)];
    detach(e, range);
    in[2 * (e)] = NONE;
    in_range[2 * (e)] = 0;
    PUT(e, INV_RET, NUMBER(0, PEER(e)), range, 0);
    range = 0
}

/* Nothing stale can be reached; while the link is cut nobody has promised. */
#define FRESH(e, r) \
    (mapping[(e) * RANGES + r] != MAPPED || cut[(e) >> 1] || \
     mapped_version[(e) * RANGES + r] == \
     version[EXPORTER(e) * RANGES + r])

#define STALE(e, m) (EXPORTER(e) == m && !FRESH(e, range))

/* announce(): an accepted share is mapped, maybe late */
inline map(e, r)
{
    mapping[(e) * RANGES + r] = MAPPED;
    CHECK(P_nothing_stale, FRESH(e, r))
}

#define MAPPABLE(e, r) (mapping[(e) * RANGES + r] == ACCEPTED && \
                        !going[e] && UNLOCKED(OWNER(e)) && \
                        map_changes[OWNER(e)] == 0)

inline drop_mapping(e, r)
{
    if
    :: mapping[(e) * RANGES + r] == MAPPED -> going[e] = true;
#ifndef MUTANT_KEEPS_MAPPED
        mapping[(e) * RANGES + r] = ABSENT;
        mapped_version[(e) * RANGES + r] = 0
#endif
    :: mapping[(e) * RANGES + r] == ACCEPTED ->
#ifndef MUTANT_KEEPS_ACCEPTED
        mapping[(e) * RANGES + r] = ABSENT;
        mapped_version[(e) * RANGES + r] = 0
#else
        skip
#endif
    :: else
    fi
}

/* tear_down(): the one way in which links end (section 7) */
inline tear_down(e)
{
    cut[(e) >> 1] = true;
    up[e] = false;
#ifndef MUTANT_KEEPS_OUTSTANDING
    out[2 * (e)] = false;
    out[2 * (e) + 1] = false;
#endif
#ifndef MUTANT_KEEPS_KEPT
    in[2 * (e)] = NONE;
    in[2 * (e) + 1] = NONE;
    in_range[2 * (e)] = 0;
    in_range[2 * (e) + 1] = 0;
#endif
#ifndef MUTANT_KEEPS_INVALIDATIONS
    inv_queue[e] = 0;
#endif
#ifndef MUTANT_KEEPS_LEDGER
    ledger[e] = 0;
#endif
#ifdef MUTANT_FORGETS_SERVICE
    in_service[OWNER(e)] = false;
#endif
    given[e] = 0;
    drop_mapping(e, 0);
#if RANGES > 1
    drop_mapping(e, 1);
#endif
    if
    :: sent[e] != 0 -> access[sent[e]] = DONE; sent[e] = 0
    :: else
    fi;
    LOOK(OWNER(e))
}

/* New sockets: what was under way in the old ones is gone. */
inline connect(l)
{
#ifndef MUTANT_KEEPS_BYTES
    do
    :: nempty(wire[2 * (l)]) -> wire[2 * (l)] ? _, _, _, _, _
    :: empty(wire[2 * (l)]) -> break
    od;
    do
    :: nempty(wire[2 * (l) + 1]) -> wire[2 * (l) + 1] ? _, _, _, _, _
    :: empty(wire[2 * (l) + 1]) -> break
    od;
#endif
    connection[l]++;
    cut[l] = false
}

proctype Link(byte e)
{
    mtype type = INV;
    byte prio, range, share, number;
    bit class;

end:
    do
    :: atomic {
        up[e] && READS(e) && nempty(wire[PEER(e)]) ->
        wire[PEER(e)] ? type, prio, range, share, number;
        receive(e)
    }
    :: atomic {
        up[e] && THREAD_READS(OWNER(e)) && LOOKED(OWNER(e)) &&
        SERVICEABLE(e, 0) && INVALIDATION_ALLOWED(e) ->
        service_invalidation(e)
    }
    :: atomic { up[e] && MAPPABLE(e, 0) -> map(e, 0) }
#if RANGES > 1
    :: atomic { up[e] && MAPPABLE(e, 1) -> map(e, 1) }
#endif
    /* withdraw(): the consumer has removed what went */
    :: atomic { going[e] -> going[e] = false
#ifdef MUTANT_ACKNOWLEDGES_EARLY
        ; mapping[(e) * RANGES] = ABSENT
#endif
    }
#if BREAKS > 0
    :: atomic { up[e] && breaks > 0 && !cut[e >> 1] ->
        breaks--;
        tear_down(e)
    }
    /* its peer has left: at once, or after what it sent has been taken */
    :: atomic { up[e] && cut[e >> 1] -> tear_down(e) }
    :: atomic { (e & 1) == 0 && !up[e] && !up[PEER(e)] && cut[e >> 1] ->
        connect(e >> 1)
    }
    :: atomic { !up[e] && !cut[e >> 1] -> up[e] = true }
#endif
#ifdef LOOKS
    :: atomic { e == FIRST_END(OWNER(e)) && look[OWNER(e)] &&
        !OVER_ENDS(WORTH_A_LOOK, OWNER(e)) -> look[OWNER(e)] = false
    }
#endif
    od
}

/* --- map changes (section 4, exporter) ------------------------------------ */

/* memexpose_map_change_begin() */
inline map_change_begin(m)
{
    map_changes[m]++;
    changed[m] = true
}

/* invalidate_shares(): each entry that is hit, on every link */
inline invalidate_end(m, e, r)
{
    if
    :: OWNER(e) == m && (ledger[e] & (1 << (r))) ->
        ledger[e] = ledger[e] & ~(1 << (r));
        inv_queue[e] = inv_queue[e] | (1 << (r));
        send_invalidation(e)
    :: else
    fi
}

/* memexpose_map_change_invalidate() */
inline invalidate(m, r)
{
    invalidate_end(m, 0, r);
    invalidate_end(m, 1, r);
#if LINKS > 1
    invalidate_end(m, 2, r);
    invalidate_end(m, 3, r);
#endif
#if LINKS > 2
    invalidate_end(m, 4, r);
    invalidate_end(m, 5, r);
#endif
    range = 0
}

/* The memory behind the range is another from here on. */
inline commit(m, r)
{
    version[(m) * RANGES + r]++;
    range = r;
    CHECK(P_nothing_stale, !OVER_ENDS(STALE, m));
    range = 0
}

/* memexpose_map_change_end() */
inline map_change_end(m)
{
    map_changes[m]--;
    changed[m] = true;
#ifndef MUTANT_NO_LOOK_AT_MAP_CHANGE
    LOOK(m)
#endif
}

/* --- services ------------------------------------------------------------- */

/* respond(): the share enters the ledger in the step that queues it */
inline respond(e)
{
#ifdef MUTANT_SHARES_IN_CHANGE
    if
    :: true
#else
    if
    :: (changed[m] || map_changes[m] > 0) -> share = 0
    :: else
#endif
    fi;
    if
    :: share != 0 ->
        given[e] = given[e] | (1 << wanted);
#ifndef MUTANT_LEDGER_LATER
        ledger[e] = ledger[e] | (1 << wanted);
#endif
    :: else
    fi;
    in[2 * (e) + 1] = NONE;
    in_range[2 * (e) + 1] = 0;
    PUT(e, ACC_RET, NUMBER(1, PEER(e)), wanted, share)
}

#ifdef MUTANT_ANSWERS_OLD
#define STILL_THERE(e) (up[e])
#else
#define STILL_THERE(e) (up[e] && mine == connection[(e) >> 1])
#endif

#define BEGINS(end_) \
    :: end_ < ENDS && OWNER(end_) == m && ACCESS_SERVICEABLE(end_) -> e = end_

/* service_one(), mx_export_service() */
proctype Service(byte m)
{
    byte e, wanted, share, range, mine;
    byte changes = SERVICE_CHANGES(m);
    byte nested = NESTED;

end:
    do
    :: atomic {
        if
        BEGINS(0)
        BEGINS(1)
#if LINKS > 1
        BEGINS(2)
        BEGINS(3)
#endif
#if LINKS > 2
        BEGINS(4)
        BEGINS(5)
#endif
        fi;
        CHECK(P_one_service, services[m] == 0);
        /* one begun before the change may go on beside it */
        CHECK(P_untouched_in_change, map_changes[m] == 0);
        in[2 * e + 1] = SERVICE;
        in_service[m] = true;
        services[m] = 1;
        wanted = in_range[2 * e + 1];
        mine = connection[e >> 1];
#ifdef MUTANT_SHARE_BEFORE_ACCESS
        share = version[m * RANGES + wanted];
#endif
    }
        /* perform(): the access itself, which may do more than touch */
        if
        :: nested > 0 -> nested--;
#ifdef MUTANT_NESTED_ACCESS
            atomic {
                !up[e] || !out[2 * e + 1] ->
                if
                :: !up[e]
                :: else ->
                    out[2 * e + 1] = true;
                    sent[e] = GUESTS + m + 1;
                    access[GUESTS + m + 1] = WAITS;
                    PUT(e, ACC, NUMBER(1, e), 0, 0)
                fi;
                service_waits[m] = true
            }
            atomic {
                access[GUESTS + m + 1] != WAITS ->
                access[GUESTS + m + 1] = IDLE;
                service_waits[m] = false
            }
#else
            skip                /* result 2, at once: access_locked() */
#endif
        :: changes > 0 -> changes--;
            /* it moves its own target */
            atomic {
                UNLOCKED(m) -> map_change_begin(m);
                invalidate(m, wanted);
                service_waits[m] = true
            }
            atomic {
                UNLOCKED(m) && !INVALIDATING(m) ->
                service_waits[m] = false;
                commit(m, wanted)
            }
            atomic { UNLOCKED(m) -> map_change_end(m) }
        :: true
        fi;
        /* resolve(), which holds no lock of the library's */
        atomic {
            UNLOCKED(m) -> changed[m] = false;
#ifndef MUTANT_SHARE_BEFORE_ACCESS
            share = version[m * RANGES + wanted]
#endif
        }
        atomic {
            UNLOCKED(m) -> in_service[m] = false;
            services[m] = 0;
#ifndef MUTANT_NO_LOOK_AT_SERVICE
            LOOK(m);
#endif
            if
            :: STILL_THERE(e) -> respond(e)
#ifdef MUTANT_KEEPS_KEPT
            :: up[e] && !STILL_THERE(e) -> in[2 * e + 1] = NONE
#endif
            :: else -> share = 0        /* the link it came by has gone */
            fi;
#ifdef MUTANT_LEDGER_LATER
        }
        atomic {
            if
            :: share != 0 -> ledger[e] = ledger[e] | (1 << wanted)
            :: else
            fi;
#endif
            share = 0; e = 0; wanted = 0; range = 0; mine = 0
        }
    od
}

/* --- local threads -------------------------------------------------------- */

/* access_locked(): directly where it is mapped, else over the link */
inline submit(e, r, slot)
{
    if
    :: up[e] && mapping[(e) * RANGES + r] != MAPPED ->
        out[2 * (e) + 1] = true;
        sent[e] = slot;
        access[slot] = WAITS;
        PUT(e, ACC, NUMBER(1, e), r, 0)
    :: up[e] && mapping[(e) * RANGES + r] == MAPPED ->
        CHECK(P_nothing_stale, FRESH(e, r))
    :: !up[e]                   /* result 1 */
    fi
}

/* A second access waits locally for its turn: link->waiting. */
#define MAY_SUBMIT(e) (!up[e] || !out[2 * (e) + 1] || \
    mapping[(e) * RANGES + range] == MAPPED)

/* access_done() */
#define REMOVED(slot, e) (access[slot] == IDLE || !up[e] || !going[e])
#ifdef MUTANT_RESPONDS_BEFORE_REMOVAL
#define COMPLETE(slot, e) (access[slot] != WAITS)
#else
#define COMPLETE(slot, e) (access[slot] != WAITS && REMOVED(slot, e))
#endif

proctype Guest(byte m; byte slot)
{
    byte accesses = GUEST_ACCESSES(slot);
    byte changes = GUEST_CHANGES(slot);
    byte e, range, mask;

    do
    :: accesses > 0 -> accesses--;
        if
        :: GUEST_LINK(slot, 0) -> e = GUEST_END(slot, 0)
#if LINKS > 1
        :: GUEST_LINK(slot, 1) -> e = GUEST_END(slot, 1)
#endif
        fi;
#if RANGES > 1
        if
        :: range = 0
        :: range = 1
        fi;
#endif
        atomic {
            GUEST_ON_TOP(m) && MAY_SUBMIT(e) -> submit(e, range, slot)
        }
        atomic {
            if
            :: GUEST_ON_TOP(m) && COMPLETE(slot, e) ->
                CHECK(P_removed_first, REMOVED(slot, e))
#if CANCELS > 0
            :: GUEST_ON_TOP(m) && access[slot] == WAITS && cancels > 0 ->
                cancels--;
                sent[e] = 0
#endif
            fi;
            access[slot] = IDLE;
            e = 0;
            range = 0
        }
    :: changes > 0 -> changes--;
        atomic {
            if
            :: mask = 1
#if RANGES > 1
            :: mask = ALL_RANGES
#endif
            fi;
            GUEST_ON_TOP(m) -> map_change_begin(m)
        }
        atomic { GUEST_ON_TOP(m) -> invalidate(m, 0) }
#if RANGES > 1
        if
        :: mask & 2 -> atomic { GUEST_ON_TOP(m) -> invalidate(m, 1) }
        :: else
        fi;
#endif
#ifdef MUTANT_ACCESS_IN_CHANGE
        atomic { GUEST_ON_TOP(m) && MAY_SUBMIT(GUEST_END(slot, 0)) ->
            submit(GUEST_END(slot, 0), 0, slot)
        }
        atomic { GUEST_ON_TOP(m) && access[slot] != WAITS ->
            access[slot] = IDLE
        }
#endif
        guest_waits[slot] = true;
        atomic {
            GUEST_ON_TOP(m) && !INVALIDATING(m) ->
            guest_waits[slot] = false;
            commit(m, 0);
#if RANGES > 1
            if
            :: mask & 2 -> commit(m, 1)
            :: else
            fi;
#endif
            mask = 0
        }
        atomic { map_change_end(m) }
    :: break
    od;
    finished++
}

/* --- the whole ------------------------------------------------------------ */

#define BUSY(e, m) (up[e] && (out[2 * (e)] || out[2 * (e) + 1] || \
    in[2 * (e)] != NONE || in[2 * (e) + 1] != NONE || inv_queue[e] != 0))

init {
    byte i;

    atomic {
        i = 0;
        do
        :: i < ENDS -> run Link(i); i++
        :: else -> break
        od;
        i = 0;
        do
        :: i < MACHINES -> run Service(i);
#if defined(MUTANT_MANY_SERVICES) || defined(MUTANT_FORGETS_SERVICE)
            run Service(i);
#endif
            skip; i++
        :: else -> break
        od;
        i = 0;
        do
        :: i < GUESTS -> run Guest(GUEST_MACHINE(i + 1), i + 1); i++
        :: else -> break
        od;
        i = 0
    }
    timeout;                    /* nobody can take another step */
    CHECK(P_no_deadlock, finished == GUESTS && !in_service[0] &&
          !in_service[MACHINES - 1] && !in_service[1]);
    CHECK(P_all_answered, !OVER_ENDS(BUSY, 0))
}
