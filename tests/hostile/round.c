/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every case against one process, time and again, and what must hold after
 * each: the process lives, it holds what it held before, a good peer is
 * served.
 */
#include "round.h"

#include <stdio.h>
#include <string.h>

enum {
    RETRY_EVERY = 50,           /* cases: the target connects by itself */
    LOG_PERIOD = 10500,         /* ms: then the log has room again */
    VM_SETTLES = 2000,          /* ms: a machine has let go of everything */
    FAILURES = 20               /* and no more are looked at */
};

bool round_listens(const struct round *round)
{
    return round->target.listens;
}

/* Features are agreed on by hello. */
bool round_has_features(const struct round *round)
{
    return round->hello;
}

/*
 * A machine's processors, and devices that copy, access the window by 8 bytes
 * at most: it serves blocks, and never asks for one.  blocks.c looks whether
 * that is still so.
 */
bool round_asks_blocks(const struct round *round)
{
    return !round->target.vm;
}

const char *round_seals(const struct round *round)
{
    return round->seals;
}

static void complain(struct round *round, const char *group,
                     const char *name, const char *why, off_t log)
{
    round->failures++;
    printf("FAIL: %s: %s: %s%s: %s\n", round->target.name, group, name,
           round->hello ? "" : " (base)", why);
    target_show_log(&round->target, log);
    fflush(stdout);
}

static struct play begin_play(struct round *round)
{
    return (struct play) {
        .target = &round->target, .fd = { -1, -1 }, .hello = round->hello,
        .retries = round->retries,
    };
}

static bool same(struct play *play, const struct holdings *now,
                 const struct holdings *before)
{
    if (now->descriptors != before->descriptors) {
        return failed(play, "%u descriptors instead of %u", now->descriptors,
                      before->descriptors);
    }
    if (now->shared != before->shared || now->digest != before->digest) {
        return failed(play, "%u shared mappings instead of %u, or others",
                      now->shared, before->shared);
    }
    return true;
}

/*
 * What the process holds.  What a virtual machine gives back it may give back
 * a little later, when its other threads have let go of it.
 */
static bool look_at_target(const struct round *round,
                           struct holdings *holdings)
{
    int64_t deadline = now_ms() + patience(VM_SETTLES);
    struct play ignored = { .target = NULL };
    bool ok = target_holds(&round->target, holdings);

    while (ok && round->target.vm && round->before.descriptors > 0 &&
           !same(&ignored, holdings, &round->before) && now_ms() < deadline) {
        pause_ms(10);
        ok = target_holds(&round->target, holdings);
    }
    return ok;
}

/* A good peer is there and served; hence all others are done with. */
static bool look(struct round *round, struct play *play,
                 struct holdings *holdings)
{
    bool ok = good_peer(play) &&
              (look_at_target(round, holdings) ||
               failed(play, "the process cannot be looked at"));

    play_close(play);
    return ok;
}

static bool is_wanted(const struct round *round, const char *group,
                      const char *name)
{
    return !round->over && (!round->only || strstr(group, round->only) ||
                            strstr(name, round->only));
}

void round_leave_out(struct round *round, const char *group, const char *name)
{
    round->left_out += is_wanted(round, group, name);
}

void round_case(struct round *round, const char *group, const char *name,
                case_function *function, const void *what)
{
    struct play play = begin_play(round), good;
    struct holdings holdings;
    off_t log = target_log_end(&round->target);

    if (!is_wanted(round, group, name)) {
        return;
    }
    if (!round->only && round->seen++ % round->every != 0) {
        return;
    }
    round->cases++;
    round->retries = round->cases % RETRY_EVERY == 0;
    play.retries = round->retries;
    if (!function(&play, what)) {
        complain(round, group, name, play.why, log);
    }
    play_close(&play);
    good = begin_play(round);
    if (!target_lives(&round->target)) {
        complain(round, group, name, "the process has ended", log);
        round->over = true;
    } else if (!look(round, &good, &holdings) ||
               !same(&good, &holdings, &round->before)) {
        complain(round, group, name, good.why, log);
    }
    round->over = round->over || round->failures >= FAILURES;
}

static bool start(struct round *round, const char *const *words)
{
    struct play play = begin_play(round);

    if (!target_start(&round->target, words) ||
        !target_sync(&round->target) ||
        !look(round, &play, &round->before)) {
        complain(round, "start", words[0], play.why, 0);
        return false;
    }
    return true;
}

/* How many cases of a kind are played. */
static unsigned play_cases(struct round *round,
                           void (*cases)(struct round *))
{
    unsigned before = round->cases;

    cases(round);
    return round->cases - before;
}

/*
 * A machine has a single turn with hello for all cases, in which nobody sees
 * memory grow: blocks are played again together with offers.
 */
static void all_cases(struct round *round)
{
    if (round->all) {
        cases_violations(round);
        cases_responses(round);
        cases_greetings(round);
        cases_shares(round);
        cases_load(round);
        cases_cuts(round);
        round->blocks += play_cases(round, cases_blocks);
    }
    if (!round->push) {
        cases_shrinking(round);
        return;
    }
    round->offers += play_cases(round, cases_offers);
    if (round->target.vm) {
        round->blocks += play_cases(round, cases_blocks);
    }
}

/* What the log does not name it has counted. */
static void check_log(struct round *round)
{
    struct play play = begin_play(round);
    struct holdings ignored;
    unsigned left_out;
    char why[LINE];

    if (round->target.unnamed == 0) {
        return;
    }
    pause_ms(LOG_PERIOD);
    if (!look(round, &play, &ignored)) {
        complain(round, "log", "last look", play.why, 0);
        return;
    }
    left_out = target_left_out(&round->target);
    printf("%s: %u violations not named, %u lines left out\n",
           round->target.name, round->target.unnamed, left_out);
    if (left_out < round->target.unnamed) {
        snprintf(why, sizeof(why), "%u violations are not named, and only %u "
                 "lines were left out", round->target.unnamed, left_out);
        complain(round, "log", "all cases", why,
                 target_log_end(&round->target));
    }
}

static void check_growth(struct round *round, const struct holdings *first)
{
    struct play play = begin_play(round);
    struct holdings last;
    char why[LINE];

    if (!look(round, &play, &last)) {
        complain(round, "growth", "last look", play.why, 0);
        return;
    }
    printf("%s: %lld KiB of memory and %lld KiB of addresses more after "
           "%u cases\n", round->target.name,
           ((long long)last.anonymous - (long long)first->anonymous) / 1024,
           ((long long)last.addresses - (long long)first->addresses) / 1024,
           round->cases);
    if (last.anonymous > first->anonymous + round->growth ||
        (!round->target.vm &&   /* whose threads get arenas of 64 MiB */
         last.addresses > first->addresses + round->growth)) {
        snprintf(why, sizeof(why), "memory grows from %llu to %llu, "
                 "addresses from %llu to %llu",
                 (unsigned long long)first->anonymous,
                 (unsigned long long)last.anonymous,
                 (unsigned long long)first->addresses,
                 (unsigned long long)last.addresses);
        complain(round, "growth", "all cases", why,
                 target_log_end(&round->target));
    }
}

void round_run(struct round *round, const char *const *words)
{
    struct holdings first = { .descriptors = 0 };
    struct play play;

    round->hello = true;
    if (start(round, words)) {
        for (unsigned turn = 0; turn < round->turns && !round->over; turn++) {
            round->hello = round->push || turn % 2 == 0;
            all_cases(round);
            play = begin_play(round);
            if (turn == 0 && !round->over && !look(round, &play, &first)) {
                complain(round, "growth", "first look", play.why, 0);
            }
        }
        if (!round->over) {
            check_log(round);
            check_growth(round, &first);
        }
    }
    target_end(&round->target);
}
