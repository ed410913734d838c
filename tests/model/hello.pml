/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hello (protocol section 6), as lib/session.c has it: the listening side, the
 * connecting side, both links, and first requests that cross HELLO.
 *
 * Time is a choice: the hello wait of a side that has a request of its own may
 * be over at any step.
 */

bit P_no_deadlock;              /* each request is answered, or both closed */
bit P_agree;                    /* one has sub-priority 0, the other 1 */
bit P_no_violation;             /* two sides that keep the rules see none */
bit P_paired;                   /* no service before both links belong */

#define CHECK(property, condition) assert((condition) || property)

mtype = { HELLO, HELLO_RET, REQUEST, RESPONSE, INTR };
mtype = { FIRST, PAIR, RET, SETTLED, CLOSED };  /* enum mx_phase */

#define ANY 2
#define NO_ONE 3                /* 0xff */

#define LISTENER 0
#define CONNECTOR 1
#define OTHER(s) (1 - (s))

chan memory[2] = [4] of { mtype, byte, bit };   /* number or wish, pair id */
chan interrupts[2] = [4] of { mtype };

mtype phase[2];
byte wish[2];
byte sub[2];
bool by_hello[2];
bool ignores_hello[2];
bool heard[2];
bool twin;                      /* the interrupt link's HELLO has come */
bool paired;                    /* HELLO has a pair id */
bool says_hello;                /* the connecting side does */
bool out[2];
bool kept[2];
bool answered[2];
bool left[2];                   /* its links are closed */

/* Base gives each side what it wishes. */
#ifndef BASE_FITS
#define BASE_FITS ((wish[LISTENER] == ANY && wish[CONNECTOR] != 0) || \
    (wish[CONNECTOR] == ANY && wish[LISTENER] != 1) || \
    wish[LISTENER] + wish[CONNECTOR] == 1)
#endif

/* settle() */
inline settle(end_, taken, hello)
{
    phase[end_] = SETTLED;
    sub[end_] = taken;
    by_hello[end_] = hello;
    if
    :: phase[OTHER(end_)] == SETTLED && BASE_FITS ->
        CHECK(P_agree, sub[end_] != sub[OTHER(end_)] &&
              by_hello[end_] == by_hello[OTHER(end_)])
    :: else
    fi
}

inline settle_as_base(s)
{
    if
    :: wish[s] == ANY -> settle(s, s, false)
    :: else -> settle(s, wish[s], false)
    fi
}

/* MX_CLOSE and MX_VIOLATE */
inline close(s)
{
    phase[s] = CLOSED;
    left[s] = true;
    out[s] = false;
    kept[s] = false
}

inline violate(s)
{
    CHECK(P_no_violation, !BASE_FITS);
    close(s)
}

/* agree_subpriority(), answer_hello() */
inline answer_hello(s)
{
    if
    :: wish[s] == ANY && peer_wish == ANY -> number = 0
    :: wish[s] == ANY && peer_wish != ANY -> number = 1 - peer_wish
    :: wish[s] != ANY && peer_wish == wish[s] -> number = NO_ONE
    :: wish[s] != ANY && peer_wish != wish[s] -> number = wish[s]
    fi;
    memory[s] ! HELLO_RET, number, 0;
    if
    :: number == NO_ONE -> close(s)
    :: else ->
        CHECK(P_paired, !paired || twin);
        settle(s, number, true)
    fi
}

/* receive_hello(), match_pair() */
inline receive_hello(s)
{
    if
#ifndef MUTANT_LATE_HELLO_ANSWERED
    :: ignores_hello[s] && !heard[s] -> skip
#else
    :: ignores_hello[s] && !heard[s] -> peer_wish = number; answer_hello(s)
#endif
    :: !(ignores_hello[s] && !heard[s]) && phase[s] != FIRST -> violate(s)
    :: phase[s] == FIRST ->
        peer_wish = number;
        if
#ifndef MUTANT_PAIR_NOT_AWAITED
        :: pair && !twin -> phase[s] = PAIR
        :: !pair || twin -> answer_hello(s)
#else
        :: answer_hello(s)
#endif
        fi
    fi
}

inline receive_hello_ret(s)
{
    if
    :: phase[s] != RET -> violate(s)
    :: phase[s] == RET && number == NO_ONE -> close(s)
    :: phase[s] == RET && number != NO_ONE -> settle(s, 1 - number, true)
    fi
}

/* settle_by_request(), receive_request() */
inline receive_request(s)
{
    if
    :: phase[s] == PAIR -> violate(s)
    :: phase[s] == FIRST -> settle_as_base(s)
#ifdef MUTANT_CROSSING_WAITS
    :: phase[s] == RET          /* HELLO_RET is still to come */
#elif defined(MUTANT_CROSSING_VIOLATES)
    :: phase[s] == RET -> violate(s)
#elif defined(MUTANT_CROSSING_CLOSES_EARS)
    :: phase[s] == RET -> settle(s, 0, true)
#else
    :: phase[s] == RET -> settle_as_base(s)
#endif
    :: phase[s] == SETTLED
    fi;
    if
    :: phase[s] == CLOSED
    :: phase[s] == SETTLED && number == sub[s] -> violate(s)
    :: else -> kept[s] = true
    fi
}

proctype Side(bit s)
{
    mtype type = HELLO;
    byte number, peer_wish;
    bit pair;
    bool wants = true;
    bool tells = true;

end:
    do
    :: atomic { phase[s] != CLOSED && nempty(memory[OTHER(s)]) ->
        memory[OTHER(s)] ? type, number, pair;
        if
        :: type == HELLO -> receive_hello(s)
        :: type == HELLO_RET -> receive_hello_ret(s)
        :: type == REQUEST -> receive_request(s)
        :: type == RESPONSE ->
            CHECK(P_no_violation, out[s]);
            out[s] = false;
            answered[s] = true
        fi;
        heard[s] = true;
        type = HELLO; number = 0; pair = 0
    }
    :: atomic { phase[s] != CLOSED && nempty(interrupts[OTHER(s)]) ->
        interrupts[OTHER(s)] ? type;
        /* mx_session_receive_intr() */
        if
        :: type == HELLO ->
            twin = true;
            if
            :: phase[s] == PAIR -> answer_hello(s)
            :: phase[s] == SETTLED && !ignores_hello[s] -> violate(s)
            :: else
            fi
        :: type == INTR && phase[s] == PAIR && !twin -> violate(s)
        :: else
        fi;
        type = HELLO; number = 0
    }
    /* tick_hello(): the listening side has waited long enough */
    :: atomic { s == LISTENER && phase[s] == FIRST && wants ->
        settle_as_base(s);
        ignores_hello[s] = true
    }
    :: atomic { phase[s] == SETTLED && wants ->
        wants = false;
        out[s] = true;
        memory[s] ! REQUEST, sub[s], 0
    }
    :: atomic { phase[s] == SETTLED && kept[s] &&
        (!out[s] || 1 - sub[s] < sub[s]) ->
        kept[s] = false;
        CHECK(P_agree, sub[s] != sub[OTHER(s)]);
        memory[s] ! RESPONSE, 0, 0
    }
    :: atomic { phase[s] != CLOSED && tells ->
        tells = false;
        interrupts[s] ! INTR
    }
    /* the end of the links is seen after what came before it */
    :: atomic { phase[s] != CLOSED && left[OTHER(s)] &&
        empty(memory[OTHER(s)]) && empty(interrupts[OTHER(s)]) -> close(s)
    }
    od
}

init {
    byte i;

    atomic {
        if
        :: wish[LISTENER] = 0
        :: wish[LISTENER] = 1
        :: wish[LISTENER] = ANY
        fi;
        if
        :: wish[CONNECTOR] = 0
        :: wish[CONNECTOR] = 1
        :: wish[CONNECTOR] = ANY
        fi;
        if
        :: says_hello = true; paired = true
        :: says_hello = true
        :: true
        fi;
        phase[LISTENER] = FIRST;
        if
        :: says_hello ->
            phase[CONNECTOR] = RET;
            memory[CONNECTOR] ! HELLO, wish[CONNECTOR], paired;
            if
            :: paired -> interrupts[CONNECTOR] ! HELLO
            :: else
            fi
        :: else -> settle_as_base(CONNECTOR)
        fi;
        run Side(LISTENER);
        run Side(CONNECTOR)
    }
    timeout;
    CHECK(P_no_deadlock, left[0] || left[1] || (answered[0] && answered[1] &&
          !kept[0] && !kept[1]));
    CHECK(P_no_deadlock, left[0] == left[1])
}
