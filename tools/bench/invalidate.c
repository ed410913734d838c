/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How long it takes until the peer has let go of one of many ranges.  The
 * floor is a round trip of the same link.
 */
#include "runs.h"

#include <errno.h>
#include <unistd.h>

#include "side.h"

struct invalidation {
    struct pair pair;
    size_t ranges, next, page;
    uint64_t asked;             /* how many were taken back so far */
};

/* The peer maps @count ranges of ours from @first on. */
static int let_peer_map(struct invalidation *all, size_t first, size_t count)
{
    uint64_t before = all->pair.side.interrupts;
    int ret = pair_write(&all->pair, SIDE_TOUCH_FIRST, first);

    if (ret == 0) {
        ret = pair_write(&all->pair, SIDE_TOUCH_COUNT, count);
    }
    return ret == 0 ? pair_await_interrupt(&all->pair, before) : ret;
}

static int take_back(struct invalidation *all, size_t index)
{
    struct memexpose_group *group = all->pair.side.group;
    int ret;

    memexpose_map_change_begin(group);
    ret = memexpose_map_change_invalidate(side_device(&all->pair.side),
        side_range_address(index, all->page), all->page);
    if (ret == 0) {
        ret = memexpose_map_change_wait(group);
    }
    all->asked++;
    return ret;
}

static int take_ours(void *arg, struct samples *samples, size_t rounds)
{
    struct invalidation *all = arg;
    size_t i;
    int ret = 0;

    for (i = 0; i < rounds && ret == 0; i++) {
        size_t index = all->next;
        int64_t begin = measure_now();

        ret = take_back(all, index);
        samples_add(samples, (double)(measure_now() - begin));
        memexpose_map_change_end(all->pair.side.group);
        if (ret == 0) {
            ret = let_peer_map(all, index, 1);
        }
        /* far from the last, and all of them some time */
        all->next = (all->next + 7919) % all->ranges;
    }
    return ret;
}

static int take_round_trips(void *arg, struct samples *samples, size_t rounds)
{
    struct invalidation *all = arg;

    return pair_time_reads(&all->pair, samples, rounds);
}

/* What was not shared would be taken back at once. */
static int check_that_it_was_shared(struct invalidation *all)
{
    struct memexpose_stats stats;

    memexpose_device_stats(side_device(&all->pair.side), &stats,
                           sizeof(stats));
    return stats.invalidations_sent == all->asked &&
           stats.shares_sent == all->asked + all->ranges ? 0 : -ENODATA;
}

static int measure(struct bench *bench, struct invalidation *all,
                   struct result *result)
{
    const struct side_config config = { .own_pages = all->ranges };
    int ret = pair_start(&all->pair, &config, bench->cores.peers);

    if (ret == 0) {
        ret = pair_set_polling(&all->pair, 1000000);
    }
    if (ret == 0) {
        ret = let_peer_map(all, 0, all->ranges);
    }
    if (ret == 0) {
        ret = pair_set_polling(&all->pair, 0);
    }
    if (ret == 0) {
        ret = bench_compare(result, take_ours, take_round_trips, all,
                            bench_rounds(bench, 2000, 200));
    }
    return ret == 0 ? check_that_it_was_shared(all) : ret;
}

int run_invalidate(struct bench *bench, const struct figure *figure,
                   struct result *result)
{
    struct invalidation all = {
        .ranges = (size_t)figure->argument,
        .page = (size_t)sysconf(_SC_PAGESIZE),
    };
    int ret = measure(bench, &all, result);

    pair_stop(&all.pair);
    return ret == 0 ? 0 : bench_fail(bench, ret);
}
