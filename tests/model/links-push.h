/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The feature push (protocol section 9), a part of links.pml: -DPUSH has it
 * negotiated on every link.
 *
 * An offer is resolved and queued as a part of Service(m): one or the other
 * runs, and the callback that finds what can be shared holds no lock of the
 * library's.  Which of them goes first is left open.
 */

#ifdef PUSH

#ifndef MAPPABLE_FIRST
#define MAPPABLE_FIRST ALL_RANGES       /* what may be shared at first */
#endif
#ifndef TURNS
#define TURNS 0                 /* changes that make a range (un)mappable */
#endif
#define OFFERS_AT_ONCE 3        /* so many messages fit in the socket */

byte mappable[MACHINES] = MAPPABLE_FIRST;
byte turns = TURNS;

/* --- state ---------------------------------------------------------------- */

/* exporter */
bool due[ENDS] = true;          /* offers are to be made, or being made */
byte at[ENDS];                  /* how far they have come */

/* importer */
#ifdef MUTANT_SETTLES_FREE
#define HOLDS_FIRST false
#else
#define HOLDS_FIRST true
#endif
bool holds[ENDS] = HOLDS_FIRST;        /* until the end of the offers */
byte since[ENDS];               /* invalidated since the access was sent */
byte added[ENDS];               /* mappable, its offers have not ended */

#if LINKS == 1
#define EACH_END(what, m) what(0, m); what(1, m)
#elif LINKS == 2
#define EACH_END(what, m) what(0, m); what(1, m); what(2, m); what(3, m)
#else
#define EACH_END(what, m) what(0, m); what(1, m); what(2, m); what(3, m); \
    what(4, m); what(5, m)
#endif

/* --- importer: holding accesses ------------------------------------------- */

/* The offers have ended, but are not mapped yet. */
#ifdef MUTANT_RELEASES_EARLY
#define UNMAPPED(e) false
#elif RANGES > 1
#define UNMAPPED(e) (mapping[(e) * RANGES] == ACCEPTED || \
                     mapping[(e) * RANGES + 1] == ACCEPTED)
#else
#define UNMAPPED(e) (mapping[e] == ACCEPTED)
#endif
#define HOLDS(e) (holds[e] || UNMAPPED(e))

#ifdef MUTANT_FORGETS_TO_HOLD
#define HOLD_AT(e, type) skip
#else
#define HOLD_AT(e, type) holds[e] = holds[e] || type == INV
#endif

#ifdef MUTANT_REPLACES_EARLY
#define HOLD_AT_OFFER(e) skip
#else
#define HOLD_AT_OFFER(e) holds[e] = true
#endif

/* A range that has grown: its part goes, and comes back as a part of it. */
#ifdef GROWS
#define REPLACE_PART(e) \
    if \
    :: mapping[(e) * RANGES] == MAPPED -> \
        mapping[(e) * RANGES] = OFFERED; \
        going[e] = true \
    :: else \
    fi
#else
#define REPLACE_PART(e) skip
#endif

#ifdef MUTANT_OFFER_TAKEN_AS_SHARE      /* of a response */
#define OFFER_SINCE(e, r) SINCE(e, r)
#else
#define OFFER_SINCE(e, r) false
#endif

/* A share in a response is declined if it was invalidated meanwhile. */
#define SINCE(e, r) (since[e] & (1 << (r)))
#define NOTE_SINCE(e, r) \
    since[e] = (out[2 * (e) + 1] -> since[e] | (1 << (r)) : 0)
#define CLEAR_SINCE(e) since[e] = 0

/* Nobody has told the importer of what was added. */
#define CHECK_DIRECT(e, r) \
    CHECK(P_direct, !(mappable[EXPORTER(e)] & (1 << (r))) || \
          cut[(e) >> 1] || (added[e] & (1 << (r))))

#ifdef MUTANT_KEEPS_POSITION
#define START_AT(e) skip
#else
#define START_AT(e) at[e] = 0
#endif

/* settled, here and with the next peer */
#define START_PUSH(e) \
    due[e] = true; \
    START_AT(e); \
    holds[e] = HOLDS_FIRST; \
    since[e] = 0; \
    added[e] = 0

/* --- exporter: when to offer ---------------------------------------------- */

/* resolve() */
#define SHARE(m, r) \
    (mappable[m] & (1 << (r)) -> version[(m) * RANGES + (r)] : 0)

#ifdef MUTANT_SHARES_WHILE_DUE
#define NO_SHARE_YET(e) false
#else
#define NO_SHARE_YET(e) due[e]
#endif

#ifdef MUTANT_OFFERS_WHILE_INVALIDATING
#define INVALIDATIONS_ALLOW(e) true
#else
#define INVALIDATIONS_ALLOW(e) (!PENDING(e))
#endif
#ifdef MUTANT_OFFERS_IN_CHANGE
#define OFFER_ALLOWED(m) true
#define OVERTAKEN(m) false
#elif defined(MUTANT_OFFERS_WHAT_WAS)
#define OFFER_ALLOWED(m) (map_changes[m] == 0)
#define OVERTAKEN(m) false
#else
#define OFFER_ALLOWED(m) (map_changes[m] == 0)
#define OVERTAKEN(m) (changed[m] || map_changes[m] > 0)
#endif

#define OFFERABLE(e) \
    (LOOKED(OWNER(e)) && up[e] && due[e] && OFFER_ALLOWED(OWNER(e)) && \
     !in_service[OWNER(e)] && INVALIDATIONS_ALLOW(e) && \
     len(wire[e]) < OFFERS_AT_ONCE)

/* map changes */
#ifdef MUTANT_STOPS_FOR_GOOD     /* no new ones after those stopped */
bool stopped[ENDS];
#define STOP_END(e, m) stopped[e] = stopped[e] || (OWNER(e) == m && due[e])
#elif defined(MUTANT_GOES_ON_WHERE_STOPPED)
#define STOP_END(e, m) skip
#else
#define STOP_END(e, m) at[e] = (OWNER(e) == m -> 0 : at[e])
#endif
#ifdef MUTANT_NO_OFFERS_AFTER_CHANGE
#define AGAIN_END(e, m) skip
#elif defined(MUTANT_STOPS_FOR_GOOD)
#define AGAIN_END(e, m) due[e] = (due[e] || OWNER(e) == m) && !stopped[e]
#else
#define AGAIN_END(e, m) due[e] = due[e] || OWNER(e) == m
#endif
#define STOP_OFFERS(m) EACH_END(STOP_END, m)
#define OFFER_AGAIN(m) EACH_END(AGAIN_END, m)

/* A map change may make a range mappable, or no longer. */
#define ADD_END(e, m) \
    added[e] = (EXPORTER(e) == m -> added[e] | range : added[e])
#define TURN_MAPPABLE(m, r) \
    if \
    :: true \
    :: turns > 0 -> turns--; \
        mappable[m] = mappable[m] ^ (1 << (r)); \
        range = mappable[m] & (1 << (r)); \
        EACH_END(ADD_END, m) \
    fi

/* --- offers --------------------------------------------------------------- */

/* An offer, or their end: what has been accepted so far may be mapped. */
inline take_offer(e)
{
    CHECK(P_offers_in_turn, in[2 * (e)] == NONE);
    if
    :: type == OFFER && mapping[(e) * RANGES + range] == ABSENT &&
       !OFFER_SINCE(e, range) ->
        HOLD_AT_OFFER(e);
        REPLACE_PART(e);
        mapping[(e) * RANGES + range] = OFFERED;
        mapped_version[(e) * RANGES + range] = share
    :: type == OFFERS_END ->
        if
        :: mapping[(e) * RANGES] == OFFERED ->
            mapping[(e) * RANGES] = ACCEPTED
        :: else
        fi;
#if RANGES > 1
        if
        :: mapping[(e) * RANGES + 1] == OFFERED ->
            mapping[(e) * RANGES + 1] = ACCEPTED
        :: else
        fi;
#endif
        added[e] = added[e] & ~share;
        holds[e] = false
    :: else
    fi
}

#ifdef MUTANT_NO_EMPTY_END
#define PUT_END(e) \
    if \
    :: at[e] == 0 \
    :: else -> PUT(e, OFFERS_END, 0, 0, added[PEER(e)]) \
    fi
#else
#define PUT_END(e) PUT(e, OFFERS_END, 0, 0, added[PEER(e)])
#endif

/* Begin where the first offers have been made: ranges 0 are mapped. */
#ifdef OFFERED_FIRST
inline begin_with(e)
{
    due[e] = false;
    holds[e] = false;
    mapping[(e) * RANGES] = MAPPED;
    mapped_version[(e) * RANGES] = 1;
    given[e] = MAPPABLE_FIRST;
    ledger[e] = MAPPABLE_FIRST
}
#endif

#define TO_OFFER(e, r) \
    (r >= at[e] && (mappable[m] & ~ledger[e] & (1 << (r))))

/* The next range that is not in the ledger, or none is left. */
inline next_offer(e)
{
    if
    :: TO_OFFER(e, 0) -> wanted = 0
#if RANGES > 1
    :: !TO_OFFER(e, 0) && TO_OFFER(e, 1) -> wanted = 1
#endif
    :: else -> wanted = RANGES
    fi
}

#ifdef MUTANT_NO_LOOK_AT_OFFERS
#define LOOK_AFTER_OFFER(m) skip
#else
#define LOOK_AFTER_OFFER(m) LOOK(m)
#endif

#ifdef MUTANT_OFFER_ENTERED_LATER
#define ENTER(e) skip
#define SPLIT } atomic { \
    if \
    :: wanted < RANGES && share -> ledger[e] = ledger[e] | (1 << wanted) \
    :: else \
    fi
#else
#define ENTER(e) ledger[e] = ledger[e] | (1 << wanted)
#define SPLIT skip
#endif

#define OFFERS(end_) \
    :: end_ < ENDS && OWNER(end_) == m && OFFERABLE(end_) -> e = end_

/* One step of the offers to one peer; the callback runs in its middle. */
inline offer_one()
{
    atomic {
        if
        OFFERS(0)
        OFFERS(1)
#if LINKS > 1
        OFFERS(2)
        OFFERS(3)
#endif
#if LINKS > 2
        OFFERS(4)
        OFFERS(5)
#endif
        fi;
        in_service[m] = true;
        services[m] = 1;
        mine = connection[e >> 1];
        changed[m] = false;
        next_offer(e);
        share = (wanted < RANGES -> version[m * RANGES + wanted] : 0)
    }
    atomic {
        in_service[m] = false;
        services[m] = 0;
        LOOK_AFTER_OFFER(m);
        if
        :: !up[e] || mine != connection[e >> 1] || OVERTAKEN(m) ->
            share = 0
        :: else ->
            CHECK(P_offers_in_turn, !out[2 * e]);
            if
            :: wanted < RANGES ->
                given[e] = given[e] | (1 << wanted);
                ENTER(e);
                at[e] = wanted + 1;
                PUT(e, OFFER, 0, wanted, share)
            :: else ->
                due[e] = false;
                PUT_END(e);
                at[e] = 0
            fi
        fi;
        SPLIT;
        share = 0; e = 0; wanted = 0; mine = 0
    }
}

#define HELD(e, m) (up[e] && (HOLDS(e) || due[e]))

/* What waited in the queue is in the socket. */
#ifdef LOOKS
#define LOOK_AT_ROOM(e) \
    if \
    :: len(wire[e]) == OFFERS_AT_ONCE - 1 -> LOOK(OWNER(e)) \
    :: else \
    fi
#else
#define LOOK_AT_ROOM(e) skip
#endif

#else

#define LOOK_AT_ROOM(e) skip
#define HELD(e, m) false
#define HOLDS(e) false
#define HOLD_AT(e, type) skip
#define SINCE(e, r) false
#define NOTE_SINCE(e, r) skip
#define CLEAR_SINCE(e) skip
#define CHECK_DIRECT(e, r) skip
#define START_PUSH(e) skip
#define SHARE(m, r) version[(m) * RANGES + (r)]
#define NO_SHARE_YET(e) false
#define OFFERABLE(e) false
#define STOP_OFFERS(m) skip
#define OFFER_AGAIN(m) skip
#define TURN_MAPPABLE(m, r) skip

#endif
