/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What devices and requests take: memory, allocations, system calls.
 */
#include "runs.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "interpose.h"
#include "side.h"

enum { DEVICES = 64, MANY = 1000 };

#define POLL_TIME 100000

/* --- memory -------------------------------------------------------------- */

struct memory {
    struct bench *bench;
    bool blocks;
    uint8_t buffer[BLOCK_SIZE];
};

/* Each device is used, so that what it takes is there. */
static int use_devices(struct pair *pair, struct memory *memory)
{
    static const struct memexpose_interrupt interrupt = { .type = 1 };
    uint64_t value;
    size_t i;
    int ret = 0;

    for (i = 0; i < pair->side.device_count && ret == 0; i++) {
        struct memexpose_device *device = pair->side.devices[i];

        ret = memexpose_read(device, side_register_address(SIDE_WORD), 8,
                             &value);
        if (ret == 0) {
            ret = memexpose_device_send(device, &interrupt);
        }
        if (ret == 0 && memory->blocks) {
            ret = memexpose_read_block(device, SIDE_PRIVATE, memory->buffer,
                                       BLOCK_SIZE, NULL);
        }
        if (ret == 0 && memory->blocks) {
            ret = memexpose_write_block(device, SIDE_PRIVATE, memory->buffer,
                                        BLOCK_SIZE, NULL);
        }
    }
    return ret;
}

/* Here and there, with so many devices. */
static int weigh(struct memory *memory, size_t devices, uint64_t weight[2])
{
    const struct side_config config = { .devices = devices };
    struct pair pair;
    uint64_t before;
    int ret;

    malloc_trim(0);             /* what was freed must not hide anything */
    before = side_resident();
    ret = pair_start(&pair, &config, memory->bench->cores.peers);
    if (ret == 0) {
        ret = use_devices(&pair, memory);
    }
    weight[0] = side_resident() - before;
    if (ret == 0) {
        ret = pair_read(&pair, SIDE_RESIDENT, &weight[1]);
    }
    pair_stop(&pair);
    return ret == 0 && before == 0 ? -ENOTSUP : ret;
}

/* The difference between many and one, for each; the larger of both sides. */
static int take_memory(void *arg, struct samples *samples, size_t rounds)
{
    struct memory *memory = arg;
    uint64_t one[2], many[2];
    double each[2];
    size_t i;
    int ret = 0;

    for (i = 0; i < rounds && ret == 0; i++) {
        ret = weigh(memory, 1, one);
        if (ret == 0) {
            ret = weigh(memory, 1 + DEVICES, many);
        }
        if (ret == 0) {
            each[0] = ((double)many[0] - (double)one[0]) / DEVICES;
            each[1] = ((double)many[1] - (double)one[1]) / DEVICES;
            samples_add(samples, each[0] > each[1] ? each[0] : each[1]);
        }
    }
    return ret;
}

int run_memory(struct bench *bench, const struct figure *figure,
               struct result *result)
{
    struct memory *memory = calloc(1, sizeof(*memory));
    int ret = memory ? 0 : -ENOMEM;

    if (ret == 0) {
        memory->bench = bench;
        memory->blocks = figure->argument != 0;
        ret = bench_compare(result, take_memory, NULL, memory, 1);
    }
    free(memory);
    return ret == 0 ? 0 : bench_fail(bench, ret);
}

/* --- a request ----------------------------------------------------------- */

struct request {
    struct pair pair;
    long cost;                  /* enum cost */
    bool allocations;           /* else system calls */
    struct side_counts each;    /* what the last samples consist of, times
                                 * the number of requests */
    double requests;
    uint8_t buffer[BLOCK_SIZE];
};

static int ask(struct request *request)
{
    struct memexpose_device *device = side_device(&request->pair.side);
    uint64_t value;

    if (request->cost & COST_BLOCKS) {
        return memexpose_read_block(device, SIDE_PRIVATE, request->buffer,
                                    BLOCK_SIZE, NULL);
    }
    return memexpose_read(device, side_register_address(SIDE_WORD), 8,
                          &value);
}

static int ask_often(struct request *request)
{
    size_t i;
    int ret = 0;

    for (i = 0; i < MANY && ret == 0; i++) {
        ret = ask(request);
    }
    return ret;
}

static void subtract(struct side_counts *from, const struct side_counts *less)
{
    size_t i;

    for (i = 0; i < SIDE_REGISTER_COUNT; i++) {
        from->of[i] -= less->of[i];
    }
}

static int count_here(struct request *request)
{
    struct side_counts before;
    int ret;

    side_count(&request->pair.side, &before);
    ret = ask_often(request);
    side_count(&request->pair.side, &request->each);
    subtract(&request->each, &before);
    request->requests = MANY;
    return ret;
}

/* The reads that count are requests, too, and all alike. */
static int count_there(struct request *request)
{
    struct side_counts before;
    int ret = pair_count(&request->pair, &before);

    if (ret == 0) {
        ret = ask_often(request);
    }
    if (ret == 0) {
        ret = pair_count(&request->pair, &request->each);
    }
    subtract(&request->each, &before);
    request->requests = MANY + SIDE_COUNT_READS;
    return ret;
}

static double each(const struct request *request, enum side_register number)
{
    return (double)request->each.of[number] / request->requests;
}

/* Without those that only look whether something has come. */
static double calls(const struct request *request)
{
    return each(request, SIDE_SENDS) + each(request, SIDE_RECEIVES) +
           each(request, SIDE_WAITS) + each(request, SIDE_OTHERS) -
           each(request, SIDE_POLLS);
}

static int take_cost(void *arg, struct samples *samples, size_t rounds)
{
    struct request *request = arg;
    size_t i;
    int ret = 0;

    for (i = 0; i < rounds && ret == 0; i++) {
        ret = request->cost & COST_ANSWERING ? count_there(request)
                                             : count_here(request);
        if (ret == 0 && (each(request, SIDE_SENDS) < 1.0 ||
                         each(request, SIDE_RECEIVES) < 1.0)) {
            ret = -ENOSYS;      /* calls go where they are not counted */
        }
        samples_add(samples, request->allocations
                    ? each(request, SIDE_ALLOCATIONS) : calls(request));
    }
    return ret;
}

static void note_calls(const struct request *request, struct result *result)
{
    int used = snprintf(result->note, sizeof(result->note),
                        "send %.2f, wait %.2f, receive %.2f, other %.2f",
                        each(request, SIDE_SENDS), each(request, SIDE_WAITS),
                        each(request, SIDE_RECEIVES),
                        each(request, SIDE_OTHERS));

    if (request->cost & COST_POLLING) {
        snprintf(result->note + used, sizeof(result->note) - (size_t)used,
                 "; looks while it polls, not counted: %.2f",
                 each(request, SIDE_POLLS));
    }
}

static int measure(struct bench *bench, struct request *request,
                   struct result *result)
{
    static const struct side_config config = { .pages = 0 };
    int ret = pair_start(&request->pair, &config, bench->cores.peers);

    if (ret == 0 && (request->cost & COST_POLLING)) {
        ret = pair_set_polling(&request->pair, POLL_TIME);
    }
    if (ret == 0) {
        ret = bench_compare(result, take_cost, NULL, request, 1);
    }
    if (ret == 0 && !request->allocations) {
        note_calls(request, result);
    }
    pair_stop(&request->pair);
    return ret;
}

static int run_request(struct bench *bench, const struct figure *figure,
                       struct result *result, bool allocations)
{
    struct request *request = calloc(1, sizeof(*request));
    int ret = request ? 0 : -ENOMEM;

    if (ret == 0) {
        request->cost = figure->argument;
        request->allocations = allocations;
        ret = measure(bench, request, result);
    }
    free(request);
    return ret == 0 ? 0 : bench_fail(bench, ret);
}

int run_allocations(struct bench *bench, const struct figure *figure,
                    struct result *result)
{
    if (!interpose_counts_allocations()) {
        result->skipped = true;
        snprintf(result->note, sizeof(result->note),
                 "not counted in a build with a sanitizer");
        return 0;
    }
    return run_request(bench, figure, result, true);
}

int run_system_calls(struct bench *bench, const struct figure *figure,
                     struct result *result)
{
    if ((figure->argument & COST_POLLING) &&
        bench_cannot_poll(bench, result)) {
        return 0;
    }
    return run_request(bench, figure, result, false);
}
