/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupts: how many in one direction, and how long one takes there and
 * back.
 */
#include "runs.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "floors.h"
#include "process.h"
#include "side.h"

enum {
    MESSAGE = 142,              /* bytes of an interrupt on the link */
    BURST = 4000                /* are timed together */
};

#define PATIENCE INT64_C(30000000000)

struct interrupts {
    struct pair pair;
    struct pong pong;
    int fd;                     /* of the floor in one direction */
    pid_t child;
    volatile uint64_t *received; /* by the child, which writes it */
    bool poll;                  /* while waiting for one */
    uint64_t sent, taken;       /* ours, in all */
    uint64_t arriving;          /* nanoseconds until all of ours had arrived */
};

/* --- in one direction ---------------------------------------------------- */

static int send_burst(struct memexpose_device *device)
{
    static const struct memexpose_interrupt interrupt = { .type = 1 };
    size_t i;
    int ret = 0;

    for (i = 0; i < BURST && ret == 0; i++) {
        do {
            ret = memexpose_device_send(device, &interrupt);
        } while (ret == -EAGAIN);       /* the socket is full: as the floor */
    }
    return ret;
}

/* The peer answers a read after what came before it on the other link. */
static int await_arrival(struct pair *pair, uint64_t arrived)
{
    struct side_counts counts;
    int ret;

    do {
        ret = pair_count(pair, &counts);
    } while (ret == 0 && counts.of[SIDE_ARRIVED] < arrived);
    return ret;
}

static int stream(void *arg, struct samples *samples, size_t rounds)
{
    struct interrupts *all = arg;
    struct side_news *news = all->pair.news;
    size_t i;
    int ret = 0;

    for (i = 0; i < rounds && ret == 0; i++) {
        uint64_t before = news->taken;
        int64_t begin = measure_now();

        ret = send_burst(side_device(&all->pair.side));
        all->sent += BURST;
        if (ret == 0) {
            ret = await_arrival(&all->pair, all->sent);
        }
        if (ret == 0 && news->taken == before) {
            ret = -ENOMSG;
        }
        if (ret == 0) {
            samples_add(samples, (double)(news->last - begin) /
                                 (double)(news->taken - before));
            all->taken += news->taken - before;
            all->arriving += (uint64_t)(news->last - begin);
        }
    }
    return ret;
}

static int stream_floor(void *arg, struct samples *samples, size_t rounds)
{
    struct interrupts *all = arg;
    size_t i;
    int ret = 0;

    for (i = 0; i < rounds && ret == 0; i++) {
        uint64_t before = *all->received;
        int64_t begin = measure_now();

        ret = floor_stream(all->fd, MESSAGE, BURST);
        while (ret == 0 && *all->received < before + BURST) {
            if (measure_now() - begin > PATIENCE) {
                ret = -ETIMEDOUT;
            }
        }
        samples_add(samples, (double)(measure_now() - begin) / BURST);
    }
    return ret;
}

static int start_drain(struct interrupts *all, int core)
{
    int fds[2];

    all->received = mmap(NULL, sizeof(*all->received), PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (all->received == MAP_FAILED ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
        return -errno;
    }
    all->child = process_fork(core);
    if (all->child == 0) {
        close(fds[0]);
        _exit(floor_drain(fds[1], MESSAGE, all->received) < 0);
    }
    close(fds[1]);
    all->fd = fds[0];
    return all->child < 0 ? (int)all->child : 0;
}

static void stop_drain(struct interrupts *all)
{
    if (all->fd >= 0) {
        close(all->fd);
    }
    process_stop(all->child);
    if (all->received && all->received != MAP_FAILED) {
        munmap((void *)all->received, sizeof(*all->received));
    }
}

int run_interrupt_rate(struct bench *bench, const struct figure *figure,
                       struct result *result)
{
    static const struct side_config config = { .pages = 0 };
    struct interrupts all = { .fd = -1 };
    int ret = pair_start(&all.pair, &config, bench->cores.peers);

    (void)figure;
    if (ret == 0) {
        ret = start_drain(&all, bench->cores.peers);
    }
    if (ret == 0) {
        ret = bench_compare(result, stream, stream_floor, &all,
                            bench_rounds(bench, 60, 15));
    }
    if (ret == 0) {
        snprintf(result->note, sizeof(result->note),
                 "counted are those taken; %.1f %% met a full queue: %.0f k/s "
                 "came", 100.0 * (1.0 - (double)all.taken / (double)all.sent),
                 1e6 * (double)all.sent / (double)all.arriving);
    }
    stop_drain(&all);
    pair_stop(&all.pair);
    return ret == 0 ? 0 : bench_fail(bench, ret);
}

/* --- there and back ------------------------------------------------------ */

static int echo(void *arg, struct samples *samples, size_t rounds)
{
    struct interrupts *all = arg;

    return pair_rally(&all->pair, samples, rounds);
}

static int echo_floor(void *arg, struct samples *samples, size_t rounds)
{
    struct interrupts *all = arg;
    size_t i;
    int ret = 0;

    for (i = 0; i < rounds && ret == 0; i++) {
        int64_t begin = measure_now();

        ret = floor_ping(all->pong.fd, MESSAGE, MESSAGE,
                         all->poll ? FLOOR_POLL : FLOOR_SLEEP,
                         i + 1 == rounds);
        samples_add(samples, (double)(measure_now() - begin));
    }
    return ret;
}

int run_interrupt_latency(struct bench *bench, const struct figure *figure,
                          struct result *result)
{
    static const struct side_config config = { .pages = 0 };
    struct interrupts all = { .pong.fd = -1, .poll = figure->argument > 0 };
    int ret;

    if (all.poll && bench_cannot_poll(bench, result)) {
        return 0;
    }
    ret = pair_start(&all.pair, &config, bench->cores.peers);
    if (ret == 0) {
        ret = pair_set_polling(&all.pair, figure->argument);
    }
    if (ret == 0) {
        ret = pair_write(&all.pair, SIDE_ECHO, 1);
    }
    if (ret == 0) {
        ret = pong_start(&all.pong, bench->cores.peers, MESSAGE, MESSAGE);
    }
    if (ret == 0) {
        ret = bench_compare(result, echo, echo_floor, &all,
                            bench_rounds(bench, 10000, 1000));
    }
    pong_stop(&all.pong);
    pair_stop(&all.pair);
    return ret == 0 ? 0 : bench_fail(bench, ret);
}
