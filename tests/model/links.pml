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
 * -DCONFIG_x chooses a configuration, -DMUTANT_x breaks one rule, -DPUSH has
 * the feature push (section 9, links-push.h).
 */

#include "links-state.h"

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
    (SERVICEABLE(e, 0) || ACCESS_SERVICEABLE(e) || OFFERABLE(e)))

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

#include "links-push.h"

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
    :: share != 0 && mapping[(e) * RANGES + range] == ABSENT &&
       !SINCE(e, range) ->
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
        HOLD_AT(e, type);
        LOOK(OWNER(e))
#ifdef PUSH
    :: type == OFFER || type == OFFERS_END -> take_offer(e)
#endif
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
            CHECK(P_done_once, touched[e]);
            touched[e] = false;
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
        :: else ->              /* given up: discarded, its share too */
            touched[e] = false
        fi
    fi;
    type = INV; prio = 0; range = 0; share = 0; number = 0; class = 0
}

#ifdef MUTANT_ACCEPTED_SURVIVES
#define GOES(e, r) (mapping[(e) * RANGES + r] == MAPPED || \
                    mapping[(e) * RANGES + r] == OFFERED)
#elif defined(MUTANT_OFFERED_SURVIVES)
#define GOES(e, r) (mapping[(e) * RANGES + r] == MAPPED || \
                    mapping[(e) * RANGES + r] == ACCEPTED)
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
    NOTE_SINCE(e, range);
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
    :: mapping[(e) * RANGES + r] == ACCEPTED ||
       mapping[(e) * RANGES + r] == OFFERED ->
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
    touched[e] = false;
    START_PUSH(e);
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
        LOOK_AT_ROOM(PEER(e));
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
    :: atomic { !up[e] && !cut[e >> 1] ->
        up[e] = true;
        LOOK(OWNER(e))
    }
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
    changed[m] = true;
    STOP_OFFERS(m)
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
    TURN_MAPPABLE(m, r);
    range = r;
    CHECK(P_nothing_stale, !OVER_ENDS(STALE, m));
    range = 0
}

/* memexpose_map_change_end() */
inline map_change_end(m)
{
    map_changes[m]--;
    changed[m] = true;
    OFFER_AGAIN(m);
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
    :: (changed[m] || map_changes[m] > 0 || NO_SHARE_YET(e)) -> share = 0
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
#ifdef MUTANT_ANSWERED_STAYS_KEPT
    in[2 * (e) + 1] = KEPT;
#else
    in[2 * (e) + 1] = NONE;
    in_range[2 * (e) + 1] = 0;
#endif
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
#ifdef PUSH
    :: offer_one()
#endif
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
        CHECK(P_done_once, !touched[PEER(e)]);
        touched[PEER(e)] = out[2 * PEER(e) + 1];
        /* one begun before the change may go on beside it */
        CHECK(P_untouched_in_change, map_changes[m] == 0);
        in[2 * e + 1] = SERVICE;
        in_service[m] = true;
        services[m] = 1;
        wanted = in_range[2 * e + 1];
        mine = connection[e >> 1];
#ifdef MUTANT_SHARE_BEFORE_ACCESS
        share = SHARE(m, wanted);
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
                invalidate(m, SERVICE_RANGE);
                service_waits[m] = true
            }
            atomic {
                UNLOCKED(m) && !INVALIDATING(m) ->
                service_waits[m] = false;
                commit(m, SERVICE_RANGE)
            }
            atomic { UNLOCKED(m) -> map_change_end(m) }
        :: true
        fi;
        /* resolve(), which holds no lock of the library's */
        atomic {
            UNLOCKED(m) -> changed[m] = false;
#ifndef MUTANT_SHARE_BEFORE_ACCESS
            share = SHARE(m, wanted)
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

#ifdef MUTANT_HELD_IS_SENT
#define LOOKED_BEFORE looked
#else
#define LOOKED_BEFORE false
#endif

/* access_locked(): directly where it is mapped, else over the link */
inline submit(e, r, slot)
{
    if
    :: up[e] && (mapping[(e) * RANGES + r] != MAPPED || LOOKED_BEFORE) ->
        CHECK_DIRECT(e, r);
        CLEAR_SINCE(e);
        out[2 * (e) + 1] = true;
        sent[e] = slot;
        access[slot] = WAITS;
        PUT(e, ACC, NUMBER(1, e), r, 0)
    :: up[e] && mapping[(e) * RANGES + r] == MAPPED && !LOOKED_BEFORE ->
        CHECK(P_nothing_stale, FRESH(e, r))
    :: !up[e]                   /* result 1 */
    fi
}

/* A second access waits locally for its turn: link->waiting. */
#define MAY_SUBMIT(e) (!up[e] || (!out[2 * (e) + 1] && !HOLDS(e)) || \
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
#ifdef MUTANT_HELD_IS_SENT
    bool looked;
#endif

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
        :: GUEST_RANGES(slot) & 1 -> range = 0
        :: GUEST_RANGES(slot) & 2 -> range = 1
        fi;
#endif
#ifdef MUTANT_HELD_IS_SENT
        atomic { GUEST_ON_TOP(m) -> looked = (up[e] && HOLDS(e) &&
            mapping[e * RANGES + range] != MAPPED)
        }
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
#ifndef GROWS
            :: mask = 1
#endif
#if RANGES > 1
            :: CHANGES_ALL -> mask = ALL_RANGES
#endif
            fi;
            GUEST_ON_TOP(m) -> map_change_begin(m)
        }
#ifndef GROWS
        atomic { GUEST_ON_TOP(m) -> invalidate(m, 0) }
#endif
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
#ifdef HURRIES
        if
        :: HURRIES(slot) -> goto proceed   /* nothing has really changed */
        :: true
        fi;
#endif
        atomic {
            GUEST_ON_TOP(m) && !INVALIDATING(m) ->
            guest_waits[slot] = false;
#ifndef GROWS
            commit(m, 0);
#endif
#if RANGES > 1
            if
            :: mask & 2 -> commit(m, 1)
            :: else
            fi;
#endif
            mask = 0
        }
proceed:
        atomic { map_change_end(m); mask = 0; guest_waits[slot] = false }
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
        :: i < ENDS ->
#ifdef OFFERED_FIRST
            begin_with(i);
#endif
            run Link(i);
            i++
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
    CHECK(P_all_answered, !OVER_ENDS(BUSY, 0));
    CHECK(P_no_deadlock, !OVER_ENDS(HELD, 0))
}
