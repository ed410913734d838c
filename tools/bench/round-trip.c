/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A read of 8 bytes that the other process answers, sleeping and polling.
 */
#include "runs.h"

#include <stdio.h>

#include "floors.h"
#include "side.h"

enum { THERE = 15, BACK = 45 }; /* a READ and its answer */

struct round_trip {
    struct pair pair;
    struct pong pong;
    enum floor_wait how;        /* the floor waits */
    bool event_loop;            /* the peer is driven by libevent */
};

static int ask(void *arg, struct samples *samples, size_t rounds)
{
    struct round_trip *trip = arg;

    return pair_time_reads(&trip->pair, samples, rounds);
}

static int ask_floor(void *arg, struct samples *samples, size_t rounds)
{
    struct round_trip *trip = arg;
    size_t i;
    int ret = 0;

    for (i = 0; i < rounds && ret == 0; i++) {
        int64_t begin = measure_now();

        ret = floor_ping(trip->pong.fd, THERE, BACK, trip->how,
                         i + 1 == rounds);
        samples_add(samples, (double)(measure_now() - begin));
    }
    return ret;
}

/* A part of the time that the samples took, in percent. */
static double share(const struct side_counts *before,
                    const struct side_counts *after,
                    enum side_register number, int64_t time)
{
    return 100.0 * (double)(after->of[number] - before->of[number]) /
           (double)time;
}

/* How long both processes poll, and how long they run. */
static int note_share(struct round_trip *trip, struct result *result,
                      size_t rounds)
{
    struct side_counts before[2], after[2];
    struct samples none = { 0 };
    int ret = pair_count(&trip->pair, &before[1]);
    int64_t time = measure_now();

    side_count(&trip->pair.side, &before[0]);
    if (ret == 0) {
        ret = ask(trip, &none, rounds);
    }
    side_count(&trip->pair.side, &after[0]);
    if (ret == 0) {
        ret = pair_count(&trip->pair, &after[1]);
    }
    time = measure_now() - time;
    snprintf(result->note, sizeof(result->note),
             "polls %.0f %% of the time here and %.0f %% there, CPU time "
             "%.0f %% and %.0f %%",
             share(&before[0], &after[0], SIDE_POLL_TIME, time),
             share(&before[1], &after[1], SIDE_POLL_TIME, time),
             share(&before[0], &after[0], SIDE_CPU_TIME, time),
             share(&before[1], &after[1], SIDE_CPU_TIME, time));
    return ret;
}

static int measure(struct bench *bench, struct round_trip *trip,
                   struct result *result, int64_t bound, bool floor)
{
    const struct side_config config = { .event_loop = trip->event_loop };
    size_t rounds = bench_rounds(bench, 20000, 1000);
    int ret = pair_start(&trip->pair, &config, bench->cores.peers);

    if (ret == 0) {
        ret = pong_start(&trip->pong, bench->cores.peers, THERE, BACK);
    }
    if (ret == 0) {
        ret = pair_set_polling(&trip->pair, bound);
    }
    if (ret == 0) {
        ret = bench_compare(result, ask, floor ? ask_floor : NULL, trip,
                            rounds);
    }
    if (ret == 0 && bound > 0) {
        ret = note_share(trip, result, rounds);
    }
    return ret;
}

static int run(struct bench *bench, struct result *result, int64_t bound,
               bool floor, struct round_trip *trip)
{
    int ret;

    if (bound > 0 && bench_cannot_poll(bench, result)) {
        return 0;
    }
    trip->pong.fd = -1;
    ret = measure(bench, trip, result, bound, floor);
    pong_stop(&trip->pong);
    pair_stop(&trip->pair);
    return ret == 0 ? 0 : bench_fail(bench, ret);
}

static enum floor_wait as_we_wait(int64_t bound)
{
    return bound > 0 ? FLOOR_POLL : FLOOR_SLEEP;
}

int run_round_trip(struct bench *bench, const struct figure *figure,
                   struct result *result)
{
    struct round_trip trip = { .how = as_we_wait(figure->argument) };

    return run(bench, result, figure->argument, true, &trip);
}

int run_round_trip_in_poll(struct bench *bench, const struct figure *figure,
                           struct result *result)
{
    struct round_trip trip = { .how = FLOOR_SLEEP_IN_POLL };

    return run(bench, result, figure->argument, true, &trip);
}

int run_poll_bound(struct bench *bench, const struct figure *figure,
                   struct result *result)
{
    struct round_trip trip = { .how = FLOOR_SLEEP };

    return run(bench, result, figure->argument, false, &trip);
}

int run_event_loop(struct bench *bench, const struct figure *figure,
                   struct result *result)
{
    struct round_trip trip = {
        .how = as_we_wait(figure->argument), .event_loop = true,
    };

    return run(bench, result, figure->argument, true, &trip);
}
