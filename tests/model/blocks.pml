/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blocks (protocol section 8) and sockets that are full on both sides at once,
 * as lib/conn.c, lib/link.c and lib/group-wait.c have them.
 *
 * Two processes of one thread with LINKS links between them.  A message is a
 * row of units, of which a socket holds ROOM; a block has more.  What does not
 * fit stays in the sender's queue.  Every atomic step is one call of send or
 * receive, or what is done with a message that is whole.  Link l has the ends
 * 2l, of process 0, and 2l + 1, of process 1.
 */

bit P_no_deadlock;      /* every request is answered */
bit P_one_kept;         /* one request of a class at a time */
bit P_answered_once;
bit P_whole;            /* messages are not mixed up */
bit P_queue_bounded;    /* the queue has room for all that may be in it */

#define CHECK(property, condition) assert((condition) || property)

/* --- configurations ------------------------------------------------------- */

#define BLOCK 3                 /* units of a message with data */

#if defined(CONFIG_BLOCKS)      /* each process accesses and invalidates */
#define LINKS 1
#define ROOM 2
#define ACCESSES(e) 2
#define INVALIDATIONS(e) 1
#elif defined(CONFIG_BLOCKS_TWO)        /* on two links at once */
#define LINKS 2
#define ROOM 1
#define ACCESSES(e) 1
#define INVALIDATIONS(e) 0
#endif

#define ENDS (2 * LINKS)
#define PEER(e) ((e) ^ 1)
#define PROCESS(e) ((e) & 1)

/* --- state ---------------------------------------------------------------- */

mtype = { READ, WRITE, READ_RET, WRITE_RET, INV, INV_RET };

#define UNITS(type) ((type) == WRITE || (type) == READ_RET -> BLOCK : 1)
#define REQUEST(type) ((type) == READ || (type) == WRITE || (type) == INV)

/* Each unit shows whose it is, and which. */
chan wire[ENDS] = [ROOM] of { mtype, byte };

/* struct mx_conn */
chan queue[ENDS] = [4] of { mtype };
byte gone[ENDS];                /* units of its first message in the socket */
mtype partial[ENDS];            /* what is being received */
byte got[ENDS];

/* struct mx_session: index class + 2 * end; class 1 are accesses */
bool out[2 * ENDS];
bool kept[2 * ENDS];
mtype kept_type[ENDS];          /* of the access */
bool answering[2 * ENDS];       /* the response is not all in the socket */

byte accesses[ENDS];            /* to be sent */
byte invalidations[ENDS];

#define CLASS(type) ((type) == INV || (type) == INV_RET -> 0 : 1)
#define NUMBER(class, e) (2 * (class) + PROCESS(e))
#define BEATS_OUTSTANDING(e, class) \
    ((!out[2 * (e)] || NUMBER(class, PEER(e)) < NUMBER(0, e)) && \
     (!out[2 * (e) + 1] || NUMBER(class, PEER(e)) < NUMBER(1, e)))
#define SERVICEABLE(e, class) \
    (kept[2 * (e) + (class)] && BEATS_OUTSTANDING(e, class))

/* --- who may do what ------------------------------------------------------ */

/* It is in the middle of a message that the socket has no room for. */
#define HALF_SENT(e) (gone[e] > 0)
#if LINKS == 1
#define STUCK(p) (HALF_SENT(p))
#else
#define STUCK(p) (HALF_SENT(p) || HALF_SENT(2 + (p)))
#endif
#ifdef MUTANT_FINISHES_SENDING
/* Before it reads again. */
#define MAY_READ(e) (!STUCK(PROCESS(e)))
#elif defined(MUTANT_READS_WHERE_IT_SENDS)
/* Only the link whose socket is full, not the others of the group. */
#define MAY_READ(e) (!STUCK(PROCESS(e)) || HALF_SENT(e))
#elif defined(MUTANT_KEPT_STAYS_IN_BUFFER)
/* Behind a kept request nothing is read. */
#define MAY_READ(e) (!kept[2 * (e) + 1])
#elif defined(MUTANT_READS_WHEN_SENT)
/* Nothing is read while something waits to be sent. */
#define MAY_READ(e) (empty(queue[e]))
#else
#define MAY_READ(e) true
#endif

inline put(e, message)
{
    CHECK(P_queue_bounded, nfull(queue[e]));
    queue[e] ! message
}

/* --- steps ---------------------------------------------------------------- */

/* mx_conn_flush(): as much as fits */
inline send_unit(e)
{
    queue[e] ? <type>;
    wire[e] ! type, gone[e];
    gone[e]++;
    if
    :: gone[e] == UNITS(type) ->
        queue[e] ? _;
        gone[e] = 0;
        if
        :: !REQUEST(type) -> answering[2 * (e) + CLASS(type)] = false
        :: else
        fi
    :: else
    fi
}

/* A message that is whole: a request is kept, a response taken. */
inline take(e)
{
    if
    :: REQUEST(type) ->
        CHECK(P_one_kept, !kept[2 * (e) + CLASS(type)] &&
              !answering[2 * (e) + CLASS(type)]);
        kept[2 * (e) + CLASS(type)] = true;
        if
        :: type != INV -> kept_type[e] = type
        :: else
        fi
    :: else ->
        CHECK(P_answered_once, out[2 * (e) + CLASS(type)]);
        out[2 * (e) + CLASS(type)] = false
    fi
}

/* mx_conn_fill(), mx_conn_next() */
inline receive_unit(e)
{
    wire[PEER(e)] ? type, unit;
    CHECK(P_whole, unit == got[e] && (unit == 0 || type == partial[e]));
    partial[e] = type;
    got[e]++;
    if
    :: got[e] == UNITS(type) -> got[e] = 0; partial[e] = 0; take(e)
    :: else
    fi
}

inline service(e, class)
{
    kept[2 * (e) + class] = false;
    answering[2 * (e) + class] = true;
    if
    :: class == 0 -> put(e, INV_RET)
    :: class == 1 && kept_type[e] == READ -> put(e, READ_RET)
    :: class == 1 && kept_type[e] == WRITE -> put(e, WRITE_RET)
    fi;
    if
    :: class == 1 -> kept_type[e] = 0
    :: else
    fi
}

inline access(e)
{
    accesses[e]--;
    out[2 * (e) + 1] = true;
    if
    :: put(e, READ)
    :: put(e, WRITE)
    fi
}

inline invalidate(e)
{
    invalidations[e]--;
    out[2 * (e)] = true;
    put(e, INV)
}

proctype End(byte e)
{
    mtype type;
    byte unit;

end:
    do
    :: atomic { nempty(queue[e]) && nfull(wire[e]) ->
        send_unit(e); type = 0
    }
    :: atomic { MAY_READ(e) && nempty(wire[PEER(e)]) ->
        receive_unit(e); type = 0; unit = 0
    }
    :: atomic { SERVICEABLE(e, 0) -> service(e, 0) }
    :: atomic { SERVICEABLE(e, 1) -> service(e, 1) }
    :: atomic { accesses[e] > 0 && !out[2 * e + 1] -> access(e) }
    :: atomic { invalidations[e] > 0 && !out[2 * e] -> invalidate(e) }
    od
}

#define DONE(e) (accesses[e] == 0 && invalidations[e] == 0 && \
    !out[2 * (e)] && !out[2 * (e) + 1] && \
    !kept[2 * (e)] && !kept[2 * (e) + 1] && empty(queue[e]))

init {
    byte e;

    atomic {
        do
        :: e < ENDS ->
            accesses[e] = ACCESSES(e);
            invalidations[e] = INVALIDATIONS(e);
            run End(e);
            e++
        :: else -> break
        od;
        e = 0
    }
    timeout;                    /* nobody can take another step */
    CHECK(P_no_deadlock, DONE(0) && DONE(1));
#if LINKS > 1
    CHECK(P_no_deadlock, DONE(2) && DONE(3))
#endif
}
