/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The hand-over of the reading among the threads of one process, and a lock of
 * the consumer's, as lib/group-wait.c and lib/group-event.c have them.
 *
 * Each atomic block is what happens under the group's lock.  The consumer's
 * big lock is held by whoever calls; a thread that waits lets go of it, one
 * that changes the memory map keeps it, callbacks need it.
 */

bit P_no_deadlock;              /* every wait ends, the peer is answered */
bit P_callback_locked;          /* callbacks run with the big lock held */
bit P_taken_over;               /* in a takeover nobody else hands out */

#define CHECK(property, condition) assert((condition) || property)

/* --- configurations and mutants ------------------------------------------ */

#define CHANGER 2               /* threads by number; 0 and 1 access */
#define LOOP 3
#define THREADS 4
#define NONE 7

#if defined(CONFIG_LOCKED)      /* both accesses hold the big lock */
#define HOLDS(t) true
#define HAS_LOOP true
#define CANCELS 0
#elif defined(CONFIG_MIXED)     /* one of them never has it */
#define HOLDS(t) ((t) != 1)
#define HAS_LOOP true
#define CANCELS 0
#elif defined(CONFIG_LOOP)      /* the event loop has a thread of its own */
#define HOLDS(t) ((t) != LOOP)
#define HAS_LOOP true
#define CANCELS 0
#elif defined(CONFIG_LOOPLESS)  /* who waits is all that drives the group */
#define HOLDS(t) true
#define HAS_LOOP false
#define CANCELS 1
#endif

#ifndef ACCESSORS
#define ACCESSORS 2
#endif
#ifndef TIMES
#define TIMES 1                 /* accesses of each thread */
#endif

#ifdef MUTANT_NO_TAKEOVER       /* a map change waits like everybody else */
#define TAKES_OVER false
#else
#define TAKES_OVER true
#endif

#ifdef MUTANT_WAITS_LOCKED      /* a thread that waits keeps the big lock */
#define KEEPS(t) true
#else
#define KEEPS(t) ((t) == CHANGER)
#endif

#ifdef MUTANT_READER_NOT_WOKEN  /* whose reading is taken is not told */
#define TELL_READER skip
#else
#define TELL_READER wake(reader)
#endif

#ifdef MUTANT_SLEEPER_NOT_WOKEN /* the reader goes, nobody is told */
#define TELL_SLEEPER skip
#else
#define TELL_SLEEPER wake_sleeper()
#endif

#ifdef MUTANT_NEWS_FOR_READER   /* and not for those who sleep */
#define HEARS_NEWS(t) (reader == (t))
#else
#define HEARS_NEWS(t) (sleeping[t] || reader == (t))
#endif

#ifdef MUTANT_HANDS_OUT_LATE    /* what was polled before the takeover */
#define HANDS_OUT(t) true
#else
#define HANDS_OUT(t) (reader == (t))
#endif

#ifdef MUTANT_BLIND_LOOP        /* it is not told that the takeover is over */
#define LOOK_AGAIN skip
#else
#define LOOK_AGAIN polls_changed()
#endif

#ifdef MUTANT_NO_LOOK_AT_END    /* of a map change, at what was kept */
#define LOOK_AT_END skip
#else
#define LOOK_AT_END polls_changed()
#endif

#ifdef MUTANT_CALLBACK_UNLOCKED /* called by whoever reads, as it is */
#define TAKES_LOCK(t) false
#else
#define TAKES_LOCK(t) (!HOLDS(t))
#endif

#ifdef MUTANT_LOOKS_TOO_EARLY   /* the lock is let go of before it sleeps */
#define HOLE true
#else
#define HOLE false
#endif

/* --- state ---------------------------------------------------------------- */

byte big = NONE;                /* who holds the consumer's lock */

byte reader = NONE;
bool reader_stale;              /* it polls for what is no more */
bool taken_over;
bool news;
bool sleeping[THREADS], woken[THREADS];
bool fd[THREADS];               /* by which a thread is woken */
bool loop_stale, loop_blind, loop_fd;

byte out = NONE;                /* whose request is unanswered */
bool wanted[THREADS], done[THREADS], cancelled[THREADS];
bool kept;                      /* the peer's access */
bool in_service, changing;

bool asked, invalidated;        /* on their way to the peer */
bool answered;
bool response, acknowledgement, request;        /* in our socket */

byte ended;                     /* threads */
bool unanswered;                /* the peer's access */

#define READABLE (response || acknowledgement || request)
#define SERVICEABLE (kept && !in_service && !changing)
#define TAKEN_FROM(t) (taken_over && (t) != CHANGER)

/* --- waking --------------------------------------------------------------- */

inline wake(t)
{
    if
    :: !woken[t] -> woken[t] = true; fd[t] = true
    :: else
    fi
}

inline wake_sleeper()
{
    if
    :: sleeping[0] -> wake(0)
    :: sleeping[1] -> wake(1)
    :: !sleeping[0] && !sleeping[1] && sleeping[CHANGER] -> wake(CHANGER)
    :: else
    fi
}

inline hear(t)
{
    if
    :: HEARS_NEWS(t) -> wake(t)
    :: else
    fi
}

inline polls_changed()
{
    reader_stale = true;
    loop_stale = true
}

/* mx_group_leave() */
inline leave()
{
    if
    :: news -> news = false; hear(0); hear(1); hear(CHANGER)
    :: !news && reader != NONE && reader_stale -> wake(reader)
    :: !news && reader == NONE && !taken_over -> TELL_SLEEPER
    :: else
    fi;
    if
    :: loop_stale && !loop_fd -> loop_fd = true
    :: else
    fi
}

/* --- what there is to do -------------------------------------------------- */

/* One request at a time. */
inline send_next()
{
    if
    :: out == NONE && wanted[0] -> wanted[0] = false; out = 0; asked = true
    :: out == NONE && wanted[1] -> wanted[1] = false; out = 1; asked = true
    :: else
    fi
}

inline hand_out(t)
{
    CHECK(P_taken_over, !TAKEN_FROM(t));
    if
    :: acknowledgement ->
        acknowledgement = false;
        done[CHANGER] = true;
        news = true
    :: else
    fi;
    if
    :: response ->
        response = false;
        done[out] = true;
        out = NONE;
        news = true
    :: else
    fi;
    if
    :: request -> request = false; kept = true
    :: else
    fi
}

inline lock(t)
{
    if
    :: HOLDS(t) -> atomic { big == NONE -> big = t }
    :: !HOLDS(t)
    fi
}

inline unlock(t)
{
    if
    :: HOLDS(t) -> atomic { assert(big == t); big = NONE }
    :: !HOLDS(t)
    fi
}

inline unlock_to_wait(t)
{
    if
    :: HOLDS(t) && !KEEPS(t) -> atomic { assert(big == t); big = NONE }
    :: else
    fi
}

inline lock_again(t)
{
    if
    :: HOLDS(t) && !KEEPS(t) -> atomic { big == NONE -> big = t }
    :: else
    fi
}

/* The callback of a service; it takes the lock if its thread has none. */
inline service(t)
{
    if
    :: !TAKES_LOCK(t)
    :: TAKES_LOCK(t) -> atomic { big == NONE -> big = t }
    fi;
    CHECK(P_callback_locked, big == t);
    if
    :: !TAKES_LOCK(t)
    :: TAKES_LOCK(t) -> big = NONE
    fi;
    atomic { in_service = false; answered = true }
}

/* --- waiting (wait_until()) ----------------------------------------------- */

/* SLEEP and READ let go of the group's lock in their middle. */
inline sleep_beside(t)
{
    unlock_to_wait(t);
    fd[t];
    lock_again(t);
    atomic { sleeping[t] = false; woken[t] = false; fd[t] = false }
}

inline read_once(t)
{
    unlock_to_wait(t);
    atomic {
        READABLE || fd[t] ->
        ready = READABLE;
        seen = fd[t]
    }
    lock_again(t);
    atomic {
        woken[t] = false;
        fd[t] = fd[t] && !seen;
        if
        :: HANDS_OUT(t) ->
            if
            :: reader == t -> reader = NONE
            :: else
            fi;
            if
            :: ready -> hand_out(t)
            :: else
            fi
        :: else
        fi;
        ready = false;
        seen = false
    }
}

/* Ends when @over holds, or its wait was cancelled. */
inline wait_until(t, over)
{
    what = LOOK;
    do
    :: what == LOOK ->
        atomic {
            if
            :: !TAKEN_FROM(t) -> send_next()
            :: else
            fi;
            if
            :: !TAKEN_FROM(t) && SERVICEABLE ->
                kept = false;
                in_service = true;
                leave();
                what = SERVE
            :: else ->
                if
                :: (over) || cancelled[t] -> what = FINISH
                :: !((over) || cancelled[t]) && HOLE -> leave(); what = WAIT
                :: !((over) || cancelled[t]) && !HOLE ->
                    choose(t)
                fi
            fi
        }
    :: what == WAIT -> atomic { choose(t) }
    :: what == SERVE -> service(t); what = LOOK
    :: what == SLEEP -> sleep_beside(t); what = LOOK
    :: what == READ -> read_once(t); what = LOOK
    :: what == FINISH -> break
    od
}

inline choose(t)
{
    if
    :: reader != NONE || TAKEN_FROM(t) ->
        sleeping[t] = true;
        what = SLEEP
    :: else ->
        reader = t;
        reader_stale = false;
        what = READ
    fi;
    leave()
}

mtype = { LOOK, WAIT, SERVE, SLEEP, READ, FINISH };

/* --- threads -------------------------------------------------------------- */

proctype Accessor(byte t)
{
    mtype what;
    bool ready, seen;
    byte left = TIMES;

    do
    :: left > 0 && !cancelled[t] ->
        left--;
        lock(t);
        atomic { done[t] = false; wanted[t] = true }
        wait_until(t, done[t]);
        atomic {
            if
            :: !done[t] -> wanted[t] = false; polls_changed()
            :: else
            fi;
            leave()
        }
        unlock(t)
    :: else -> break
    od;
    ended++
}

/* It sends an invalidation and waits until that is acknowledged. */
proctype Changer()
{
    mtype what;
    bool ready, seen;

    lock(CHANGER);
    atomic { changing = true; invalidated = true; leave() }
    atomic {
        if
        :: TAKES_OVER ->
            taken_over = true;
            if
            :: reader != NONE -> TELL_READER; reader = NONE
            :: else
            fi
        :: else
        fi
    }
    wait_until(CHANGER, done[CHANGER]);
    atomic {
        taken_over = false;
        if
        :: loop_blind -> loop_blind = false; LOOK_AGAIN
        :: else
        fi;
        news = true;
        leave()
    }
    atomic {
        changing = false;
        send_next();
        if
        :: SERVICEABLE -> LOOK_AT_END
        :: else
        fi;
        leave()
    }
    unlock(CHANGER);
    ended++
}

/* The consumer's event loop: memexpose_group_poll() and _process(). */
proctype Loop()
{
    bool ready, blind;

    lock(LOOP);
    do
    ::  atomic {
            blind = TAKEN_FROM(LOOP);
            loop_blind = loop_blind || blind;
            reader_stale = reader_stale || blind;
            loop_stale = false
        }
        unlock(LOOP);
end_poll:
        atomic {
            loop_fd || (!blind && READABLE) ->
            ready = !blind && READABLE
        }
        lock(LOOP);
        atomic {
            loop_fd = false;
            if
            :: !TAKEN_FROM(LOOP) && ready -> hand_out(LOOP)
            :: else
            fi;
            ready = false
        }
        do
        ::  atomic {
                !TAKEN_FROM(LOOP) && SERVICEABLE ->
                kept = false;
                in_service = true;
                leave()
            }
            service(LOOP)
        ::  atomic {
                TAKEN_FROM(LOOP) || !SERVICEABLE ->
                if
                :: !TAKEN_FROM(LOOP) -> send_next()
                :: else
                fi;
                leave()
            }
            break
        od
    od
}

/*
 * It acknowledges at any time, and answers when no access of its own is
 * unanswered: that beats ours.
 */
proctype Peer()
{
    byte left = HAS_LOOP;       /* else nobody may be there to serve it */

end_idle:
    do
    :: atomic { invalidated -> invalidated = false; acknowledgement = true }
    :: atomic { asked -> asked = false; response = true }
    :: atomic { left > 0 -> left--; request = true; unanswered = true };
        do
        :: atomic {
            invalidated -> invalidated = false; acknowledgement = true }
        :: atomic { answered -> answered = false; unanswered = false; break }
        od
    od
}

/* memexpose_group_cancel(), or a deadline, for one of them. */
proctype Canceller()
{
    if
    :: cancelled[0] = true; fd[0] = true
    :: cancelled[1] = true; fd[1] = true
    :: skip
    fi
}

init
{
    atomic {
        run Accessor(0);
        if
        :: ACCESSORS == 2 -> run Accessor(1)
        :: else
        fi;
        run Changer();
        run Peer();
        if
        :: HAS_LOOP -> run Loop()
        :: else
        fi;
        if
        :: CANCELS > 0 -> run Canceller()
        :: else
        fi
    }
    timeout;                    /* nobody can take another step */
    CHECK(P_no_deadlock, ended == ACCESSORS + 1 && !unanswered)
}
