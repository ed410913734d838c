/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Many bytes at once: of memory that is mapped, and by messages of the feature
 * block.
 */
#include "runs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "floors.h"
#include "side.h"

enum { SLOW_PART = 16 };         /* is read a word at a time */

struct copy {
    struct pair pair, slow;     /* the second without the feature */
    struct pong pong;
    uint8_t *buffer;
    uint8_t *local;             /* the peer's RAM, mapped by ourselves */
    uint64_t address;
    size_t size;
    size_t there, back;         /* bytes of the floor's messages */
    bool write, poll;           /* else sleep */
};

static int transfer(struct copy *copy, struct pair *pair, size_t size)
{
    struct memexpose_device *device = side_device(&pair->side);

    return copy->write
        ? memexpose_write_block(device, copy->address, copy->buffer, size,
                                NULL)
        : memexpose_read_block(device, copy->address, copy->buffer, size,
                               NULL);
}

/* What takes long is done in part: the rest takes as long. */
static int time_transfers(struct copy *copy, struct pair *pair, size_t part,
                          struct samples *samples, size_t rounds)
{
    size_t i;
    int ret = 0;

    for (i = 0; i < rounds && ret == 0; i++) {
        int64_t begin = measure_now();

        ret = transfer(copy, pair, copy->size / part);
        samples_add(samples,
                    (double)(measure_now() - begin) * (double)part);
    }
    return ret;
}

static int take_ours(void *arg, struct samples *samples, size_t rounds)
{
    struct copy *copy = arg;

    return time_transfers(copy, &copy->pair, 1, samples, rounds);
}

/* --- mapped -------------------------------------------------------------- */

static int take_memcpy(void *arg, struct samples *samples, size_t rounds)
{
    struct copy *copy = arg;
    size_t i;

    for (i = 0; i < rounds; i++) {
        int64_t begin = measure_now();

        if (copy->write) {
            floor_copy(copy->local, copy->buffer, copy->size);
        } else {
            floor_copy(copy->buffer, copy->local, copy->size);
        }
        samples_add(samples, (double)(measure_now() - begin));
    }
    return 0;
}

/* Both mappings are of the same memory. */
static int map_both(struct copy *copy)
{
    uint64_t value;

    copy->local = mmap(NULL, copy->size, PROT_READ | PROT_WRITE, MAP_SHARED,
                       copy->pair.ram_fd, 0);
    if (copy->local == MAP_FAILED) {
        copy->local = NULL;
        return -errno;
    }
    memset(copy->local, 1, copy->size);
    memset(copy->buffer, 1, copy->size);
    return memexpose_read(side_device(&copy->pair.side), copy->address, 8,
                          &value);
}

static int run_bulk(struct bench *bench, struct result *result, bool write)
{
    static const struct side_config config = { .pages = 0 };
    struct copy copy = {
        .address = SIDE_RAM, .size = BULK_SIZE, .write = write,
    };
    int ret = pair_start(&copy.pair, &config, bench->cores.peers);

    copy.buffer = aligned_alloc(4096, BULK_SIZE);
    if (ret == 0) {
        ret = copy.buffer ? map_both(&copy) : -ENOMEM;
    }
    if (ret == 0) {
        ret = bench_compare(result, take_ours, take_memcpy, &copy,
                            bench_rounds(bench, 400, 60));
    }
    if (copy.local) {
        munmap(copy.local, BULK_SIZE);
    }
    free(copy.buffer);
    pair_stop(&copy.pair);
    return ret == 0 ? 0 : bench_fail(bench, ret);
}

int run_bulk_read(struct bench *bench, const struct figure *figure,
                  struct result *result)
{
    (void)figure;
    return run_bulk(bench, result, false);
}

int run_bulk_write(struct bench *bench, const struct figure *figure,
                   struct result *result)
{
    (void)figure;
    return run_bulk(bench, result, true);
}

/* --- by messages --------------------------------------------------------- */

static int take_messages(void *arg, struct samples *samples, size_t rounds)
{
    struct copy *copy = arg;
    size_t i;
    int ret = 0;

    for (i = 0; i < rounds && ret == 0; i++) {
        int64_t begin = measure_now();

        ret = floor_ping(copy->pong.fd, copy->there, copy->back,
                         copy->poll ? FLOOR_POLL : FLOOR_SLEEP,
                         i + 1 == rounds);
        samples_add(samples, (double)(measure_now() - begin));
    }
    return ret;
}

static int take_slowly(void *arg, struct samples *samples, size_t rounds)
{
    struct copy *copy = arg;

    return time_transfers(copy, &copy->slow, SLOW_PART, samples, rounds);
}

static int start_floor(struct copy *copy, int core, bool slow)
{
    const struct side_config config = { .no_block = true };

    if (slow) {
        return pair_start(&copy->slow, &config, core);
    }
    return pong_start(&copy->pong, core, copy->there, copy->back);
}

/* The floor is either the bytes of the messages, or the words one by one. */
static int run_block(struct bench *bench, struct result *result, bool write,
                     bool slow, int64_t poll)
{
    static const struct side_config config = { .pages = 0 };
    struct copy copy = {
        .pong.fd = -1, .address = SIDE_PRIVATE,
        .size = BLOCK_SIZE, .write = write, .poll = poll > 0,
        .there = write ? 14 + BLOCK_SIZE : 18,
        .back = write ? 41 : 41 + BLOCK_SIZE,
    };
    size_t rounds = slow ? bench_rounds(bench, 10, 3)
                         : bench_rounds(bench, 5000, 300);
    int ret;

    if (copy.poll && bench_cannot_poll(bench, result)) {
        return 0;
    }
    ret = pair_start(&copy.pair, &config, bench->cores.peers);
    copy.buffer = calloc(1, BLOCK_SIZE);
    if (ret == 0) {
        ret = pair_set_polling(&copy.pair, poll);
    }
    if (ret == 0) {
        ret = copy.buffer ? start_floor(&copy, bench->cores.peers, slow)
                          : -ENOMEM;
    }
    if (ret == 0) {
        ret = bench_compare(result, take_ours,
                            slow ? take_slowly : take_messages, &copy,
                            rounds);
    }
    free(copy.buffer);
    pong_stop(&copy.pong);
    pair_stop(&copy.slow);
    pair_stop(&copy.pair);
    return ret == 0 ? 0 : bench_fail(bench, ret);
}

int run_block_read(struct bench *bench, const struct figure *figure,
                   struct result *result)
{
    return run_block(bench, result, false, false, figure->argument);
}

int run_block_write(struct bench *bench, const struct figure *figure,
                    struct result *result)
{
    return run_block(bench, result, true, false, figure->argument);
}

int run_block_gain(struct bench *bench, const struct figure *figure,
                   struct result *result)
{
    (void)figure;
    return run_block(bench, result, false, true, 0);
}
