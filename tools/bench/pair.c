/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * This process's side, and another process with the other.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "process.h"
#include "side.h"

#define PATIENCE INT64_C(30000000000)

static void close_all(const int *fds, size_t count)
{
    size_t i;

    for (i = 0; i < count; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
}

/* Two sockets for each of @devices; [0] and [1] of a pair are the ends. */
static int create_sockets(int (*sockets)[2], size_t count)
{
    size_t i;

    for (i = 0; i < count; i++) {
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
                       sockets[i]) < 0) {
            int error = errno;

            close_all(sockets[0], 2 * i);
            return -error;
        }
    }
    return 0;
}

/* Descriptors that are handed over are taken out of @sockets. */
static int attach(struct side *side, int (*sockets)[2], int end)
{
    static const enum memexpose_link links[2] = {
        MEMEXPOSE_LINK_MEM, MEMEXPOSE_LINK_INTR
    };
    size_t i;
    int ret = 0;

    for (i = 0; i < 2 * side->device_count && ret == 0; i++) {
        ret = memexpose_device_attach(side->devices[i / 2], links[i % 2],
                                      sockets[i][end]);
        if (ret == 0) {
            sockets[i][end] = -1;
        }
    }
    for (i = 0; i < side->device_count && ret == 0; i++) {
        ret = memexpose_device_enable(side->devices[i], 0);
    }
    return ret == -EINPROGRESS ? 0 : ret;
}

static void close_ends(int (*sockets)[2], size_t count, int end)
{
    size_t i;

    for (i = 0; i < count; i++) {
        close_all(&sockets[i][end], 1);
        sockets[i][end] = -1;
    }
}

static _Noreturn void be_peer(const struct pair *pair,
                              const struct side_config *config,
                              int (*sockets)[2], size_t count)
{
    struct side side;
    int ret;

    close_ends(sockets, count, 0);
    ret = side_create(&side, config, MEMEXPOSE_ROLE_LISTEN, pair->ram_fd);
    side.news = pair->news;
    if (ret == 0) {
        ret = attach(&side, sockets, 1);
    }
    if (ret == 0 && config->event_loop) {
        side_serve_from_event_loop(&side);
    } else if (ret == 0) {
        side_serve(&side);
    }
    _exit(ret < 0);
}

static int start(struct pair *pair, const struct side_config *config, int core,
                 int (*sockets)[2], size_t count)
{
    struct side_config own = *config;
    int ret;

    own.pages = config->own_pages;
    pair->peer = process_fork(core);
    if (pair->peer == 0) {
        be_peer(pair, config, sockets, count);
    }
    if (pair->peer < 0) {
        return (int)pair->peer;
    }
    close_ends(sockets, count, 1);
    ret = side_create(&pair->side, &own, MEMEXPOSE_ROLE_CONNECT, -1);
    if (ret < 0) {
        return ret;
    }
    ret = attach(&pair->side, sockets, 0);
    return ret < 0 ? ret : side_drive(&pair->side, side_is_settled,
                                      &pair->side, PATIENCE);
}

int pair_start(struct pair *pair, const struct side_config *config, int core)
{
    size_t count = 2 * (config->devices ? config->devices : 1);
    int (*sockets)[2] = calloc(count, sizeof(*sockets));
    int ret;

    memset(pair, 0, sizeof(*pair));
    pair->ram_fd = side_create_object(SIDE_RAM_SIZE);
    pair->news = mmap(NULL, sizeof(*pair->news), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (pair->ram_fd < 0 || pair->news == MAP_FAILED || !sockets) {
        ret = pair->ram_fd < 0 ? pair->ram_fd : -ENOMEM;
    } else {
        ret = create_sockets(sockets, count);
        if (ret == 0) {
            ret = start(pair, config, core, sockets, count);
            close_all(sockets[0], 2 * count);
        }
    }
    free(sockets);
    return ret;
}

void pair_stop(struct pair *pair)
{
    side_destroy(&pair->side);
    process_stop(pair->peer);
    if (pair->ram_fd > 0) {
        close(pair->ram_fd);
    }
    if (pair->news && pair->news != MAP_FAILED) {
        munmap(pair->news, sizeof(*pair->news));
    }
    memset(pair, 0, sizeof(*pair));
}

int pair_read(struct pair *pair, enum side_register number, uint64_t *value)
{
    return memexpose_read(side_device(&pair->side),
                          side_register_address(number), 8, value);
}

int pair_write(struct pair *pair, enum side_register number, uint64_t value)
{
    return memexpose_write(side_device(&pair->side),
                           side_register_address(number), 8, value);
}

int pair_time_reads(struct pair *pair, struct samples *samples, size_t rounds)
{
    uint64_t value;
    size_t i;
    int ret = 0;

    for (i = 0; i < rounds && ret == 0; i++) {
        int64_t begin = measure_now();

        ret = pair_read(pair, SIDE_WORD, &value);
        samples_add(samples, (double)(measure_now() - begin));
    }
    return ret;
}

int pair_count(struct pair *pair, struct side_counts *counts)
{
    unsigned i;
    int ret = 0;

    memset(counts, 0, sizeof(*counts));
    for (i = SIDE_LATCH; i <= SIDE_ARRIVED && ret == 0; i++) {
        ret = pair_read(pair, (enum side_register)i, &counts->of[i]);
    }
    return ret;
}

int pair_set_polling(struct pair *pair, int64_t nanoseconds)
{
    int ret = pair_write(pair, SIDE_POLL_WAIT, (uint64_t)nanoseconds);

    if (ret == 0) {
        ret = pair_write(pair, SIDE_POLL_SERVE, (uint64_t)nanoseconds);
    }
    if (ret == 0) {
        ret = side_set_polling(&pair->side, nanoseconds, nanoseconds);
    }
    return ret;
}

struct awaited {
    struct side *side;
    uint64_t before;
};

static bool has_come(void *arg)
{
    const struct awaited *awaited = arg;

    return awaited->side->interrupts != awaited->before;
}

int pair_await_interrupt(struct pair *pair, uint64_t before)
{
    struct awaited awaited = { &pair->side, before };

    return side_drive(&pair->side, has_come, &awaited, PATIENCE);
}

static bool rally_is_over(void *arg)
{
    const struct side *side = arg;

    return side->rally_left == 0;
}

int pair_rally(struct pair *pair, struct samples *samples, size_t count)
{
    static const struct memexpose_interrupt first = { .type = 1 };
    struct side *side = &pair->side;
    int ret;

    side->rally = samples;
    side->rally_left = count;
    side->rally_last = measure_now();
    ret = memexpose_device_send(side_device(side), &first);
    return ret == 0 ? side_drive(side, rally_is_over, side, PATIENCE) : ret;
}
