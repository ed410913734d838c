/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loads from memory of the peer that is mapped, each found by its address in
 * the window.  Each load has to wait for the one before.
 */
#include "runs.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "floors.h"
#include "interpose.h"
#include "side.h"

enum {
    ACCESSES = 1 << 17,         /* after which they come again */
    BATCH = 512,                /* are timed together */
    MAX_THREADS = 4
};

struct chase {
    struct bench *bench;
    struct pair pair;
    uint64_t *addresses;        /* of the accesses, in the window */
    uint64_t **pointers;        /* and in this process */
    unsigned threads;
};

/* One of the threads of a turn. */
struct chaser {
    const struct chase *chase;
    unsigned number;
    bool floor;
    size_t rounds;
    struct samples *samples;
    pthread_t thread;
    int ret;
};

/* Every word is zero, which only the machine knows. */
static int chase_window(const struct chase *chase, const uint64_t *addresses,
                        size_t count)
{
    struct memexpose_device *device = side_device(&chase->pair.side);
    struct memexpose_cursor cursor = { .seen = 0 };
    uint64_t value = 0;
    size_t i;

    for (i = 0; i < count; i++) {
        const volatile uint64_t *host =
            memexpose_device_lookup(device, addresses[i] + value,
                                    sizeof(*host), &cursor);

        if (!host) {
            return -EFAULT;
        }
        value = *host;
    }
    return 0;
}

static void chase_batches(struct chaser *chaser)
{
    const struct chase *chase = chaser->chase;
    size_t i, at = chaser->number * (ACCESSES / MAX_THREADS);

    for (i = 0; i < chaser->rounds && chaser->ret == 0; i++) {
        int64_t begin = measure_now();

        if (chaser->floor) {
            chaser->ret = floor_chase(chase->pointers + at, BATCH) == 0
                ? 0 : -EFAULT;
        } else {
            chaser->ret = chase_window(chase, chase->addresses + at, BATCH);
        }
        samples_add(chaser->samples,
                    (double)(measure_now() - begin) / BATCH);
        at = (at + BATCH) % ACCESSES;
    }
}

static void *chase_thread(void *arg)
{
    struct chaser *chaser = arg;
    const struct cores *cores = &chaser->chase->bench->cores;

    chaser->ret = cores_pin(chaser->number % 2 ? cores->peers : cores->ours);
    if (chaser->ret == 0) {
        chase_batches(chaser);
    }
    return NULL;
}

/* All threads at once; each has its part of @samples. */
static int chase_together(struct chase *chase, bool floor,
                          struct samples *samples, size_t rounds)
{
    struct chaser chasers[MAX_THREADS];
    struct samples own[MAX_THREADS];
    size_t each = rounds / chase->threads, i, j, begun;
    int ret = 0;

    for (begun = 0; begun < chase->threads && ret == 0; begun++) {
        memset(&own[begun], 0, sizeof(own[begun]));
        chasers[begun] = (struct chaser) {
            .chase = chase, .number = (unsigned)begun, .floor = floor,
            .rounds = each + 1, .samples = &own[begun],
        };
        ret = samples_init(&own[begun], each + 1);
        if (ret == 0) {
            ret = -pthread_create(&chasers[begun].thread, NULL, chase_thread,
                                  &chasers[begun]);
        }
        if (ret < 0) {
            samples_clear(&own[begun]);
            break;
        }
    }
    for (i = 0; i < begun; i++) {
        pthread_join(chasers[i].thread, NULL);
        ret = ret == 0 ? chasers[i].ret : ret;
        for (j = 0; j < own[i].count; j++) {
            samples_add(samples, own[i].values[j]);
        }
        samples_clear(&own[i]);
    }
    return ret;
}

static int take(struct chase *chase, bool floor, struct samples *samples,
                size_t rounds)
{
    struct chaser alone = {
        .chase = chase, .floor = floor, .rounds = rounds, .samples = samples,
    };

    if (chase->threads > 1) {
        return chase_together(chase, floor, samples, rounds);
    }
    chase_batches(&alone);
    return alone.ret;
}

static int take_ours(void *arg, struct samples *samples, size_t rounds)
{
    return take(arg, false, samples, rounds);
}

static int take_floor(void *arg, struct samples *samples, size_t rounds)
{
    return take(arg, true, samples, rounds);
}

/* --- mapping ------------------------------------------------------------- */

/* Each is shared with the answer to the first access. */
static int map_ranges(struct chase *chase, size_t ranges)
{
    struct memexpose_device *device = side_device(&chase->pair.side);
    size_t i, page = (size_t)sysconf(_SC_PAGESIZE);
    uint64_t value;
    int ret = 0;

    for (i = 0; i < ranges && ret == 0; i++) {
        ret = memexpose_read(device, side_range_address(i, page), 8, &value);
    }
    return ret;
}

/* The same numbers in each run: what is measured is the same, too. */
static size_t random_below(uint64_t *state, size_t limit)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return (size_t)((*state >> 32) % limit);
}

/* A word of a range; neighbours share 64 bytes only if there is one range. */
static void choose_addresses(struct chase *chase, size_t ranges, bool random)
{
    size_t i, page = (size_t)sysconf(_SC_PAGESIZE);
    size_t step = ranges == 1 ? 8 : 64, in_page = page / step;
    uint64_t state = 1;

    for (i = 0; i < ACCESSES; i++) {
        size_t range = i / in_page % ranges, word = i % in_page;

        if (random) {
            range = random_below(&state, ranges);
            word = random_below(&state, in_page);
        }
        chase->addresses[i] = side_range_address(range, page) + word * step;
    }
}

static int find_pointers(struct chase *chase)
{
    struct memexpose_range range;
    size_t i;

    for (i = 0; i < ACCESSES; i++) {
        chase->pointers[i] =
            memexpose_device_translate(side_device(&chase->pair.side),
                                       chase->addresses[i], &range);
        if (!chase->pointers[i]) {
            return -EFAULT;
        }
    }
    /* the kernel puts each page there when it is touched first */
    return floor_chase(chase->pointers, ACCESSES) == 0 ? 0 : -EFAULT;
}

static int prepare(struct chase *chase, size_t ranges, bool random)
{
    struct side_config config = { .pages = ranges };
    int ret;

    chase->addresses = calloc(ACCESSES, sizeof(*chase->addresses));
    chase->pointers = calloc(ACCESSES, sizeof(*chase->pointers));
    if (!chase->addresses || !chase->pointers) {
        return -ENOMEM;
    }
    ret = interpose_stub_mappings(ranges);
    if (ret == 0) {
        ret = pair_start(&chase->pair, &config, chase->bench->cores.peers);
    }
    if (ret == 0) {
        ret = pair_set_polling(&chase->pair, 1000000);
    }
    if (ret == 0) {
        ret = map_ranges(chase, ranges);
    }
    if (ret == 0) {
        choose_addresses(chase, ranges, random);
        ret = find_pointers(chase);
    }
    return ret;
}

/* --- figures ------------------------------------------------------------- */

/* With one thread it is the figure, with more it is told. */
static int measure(struct chase *chase, const struct figure *figure,
                   struct result *result)
{
    size_t rounds = bench_rounds(chase->bench, 2560, 512);
    struct result more;
    int ret = bench_compare(result, take_ours, take_floor, chase, rounds);

    snprintf(result->note, sizeof(result->note), "threads:");
    for (chase->threads = 2; chase->threads <= MAX_THREADS && ret == 0;
         chase->threads++) {
        size_t used = strlen(result->note);

        memset(&more, 0, sizeof(more));
        ret = bench_compare(&more, take_ours, take_floor, chase, rounds);
        if (ret == 0) {
            snprintf(result->note + used, sizeof(result->note) - used,
                     "%s %u %+.1f %s", chase->threads > 2 ? "," : "",
                     chase->threads, result_value(figure, &more),
                     figure->unit);
        }
    }
    return ret;
}

static int run(struct bench *bench, const struct figure *figure,
               struct result *result, bool random)
{
    struct chase chase = { .bench = bench, .threads = 1 };
    int ret;

    ret = prepare(&chase, (size_t)figure->argument, random);
    if (ret == 0) {
        ret = measure(&chase, figure, result);
    }
    pair_stop(&chase.pair);
    interpose_stub_mappings(0);
    free(chase.pointers);
    free(chase.addresses);
    return ret == 0 ? 0 : bench_fail(bench, ret);
}

int run_sequential(struct bench *bench, const struct figure *figure,
                   struct result *result)
{
    return run(bench, figure, result, false);
}

int run_random(struct bench *bench, const struct figure *figure,
               struct result *result)
{
    return run(bench, figure, result, true);
}
