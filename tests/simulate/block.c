/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blocks of the peer's bulk memory, of any size and at any place: within a
 * slot, across two, or past what is there.
 */
#include "sim.h"

#include <string.h>

enum {
    BESIDE = 600,               /* bytes before and behind bulk memory */
    IN_WORDS = 200,             /* bytes, where each word is a message, or a
                                 * callback */
    LEFT = 0xee                 /* what is in a buffer that nobody uses */
};

static uint8_t buffers[FIBERS][BLOCK_MOST];
static size_t left[FIBERS];     /* bytes of them that nobody may touch */

/* A buffer of an access that was given up belongs to its owner again. */
static void check_left(unsigned fiber)
{
    size_t i;

    for (i = 0; i < left[fiber]; i++) {
        SIM_CHECK(buffers[fiber][i] == LEFT, "something is put to a buffer "
                  "whose access has ended");
    }
    left[fiber] = 0;
}

void block_check_buffers(void)
{
    unsigned i;

    for (i = 0; i < FIBERS && !world.failed; i++) {
        check_left(i);
    }
}

void block_reset(void)
{
    memset(left, 0, sizeof(left));
}

struct block {
    struct sim_device *device;
    bool write;
    int64_t offset;             /* from BULK */
    size_t count;
    uint8_t *bytes;
};

static bool goes_in_words(const struct sim_device *device)
{
    const struct sim_device *peer =
        &device->peer.process->devices[device->peer.device];

    return peer->pieces || !device->config.block || !peer->config.block ||
           device->config.hello == MEMEXPOSE_HELLO_OFF ||
           peer->config.hello == MEMEXPOSE_HELLO_OFF;
}

static void draw_block(struct block *block)
{
    unsigned most = goes_in_words(block->device) ? IN_WORDS :
                    world.plan.block;

    block->write = sim_chance(1, 2);
    block->count = 1 + sim_below(sim_chance(1, 3) ? IN_WORDS : most);
    if (block->count > most) {
        block->count = most;
    }
    block->offset = (int64_t)sim_below(BULK_ALL + BESIDE) - BESIDE;
    if (sim_chance(1, 3)) {     /* across both slots */
        block->offset = BULK_SIZE - (int64_t)sim_below((unsigned)block->count);
    }
}

/* The part that lies in bulk memory. */
static uint64_t first_of(const struct block *block)
{
    return block->offset < 0 ? 0 : (uint64_t)block->offset;
}

static uint64_t size_of(const struct block *block)
{
    int64_t end = block->offset + (int64_t)block->count;

    end = end < BULK_ALL ? end : BULK_ALL;
    return end > (int64_t)first_of(block) ? (uint64_t)end - first_of(block) :
                                            0;
}

/* What of that is among the first @done bytes of the block. */
static uint64_t done_of(const struct block *block, size_t done)
{
    uint64_t skipped = first_of(block) - (uint64_t)block->offset;

    done = done > skipped ? done - skipped : 0;
    return done < size_of(block) ? done : size_of(block);
}

static void check_refused(const struct block *block, size_t done,
                          uint64_t began)
{
    int64_t at = block->offset + (int64_t)done;

    if (at >= 0) {
        bulk_refused(block->device->peer.process->index, (uint64_t)at, began);
    }
}

/* --- somebody loses patience --------------------------------------------- */

static void cancel(struct fiber *fiber)
{
    struct sim_device *device = fiber->argument;
    unsigned pauses = sim_below(30);

    while (pauses-- > 0) {
        fiber_pause();
    }
    if (!device->going && device->process->up) {
        sim_trace("cancels in the middle");
        world.cancels++;
        if (sim_chance(1, 2)) {
            memexpose_device_cancel(device_enter(device));
        } else {
            memexpose_group_cancel(device->process->group);
        }
    }
    fiber->process->threads--;
}

static void maybe_cancel(struct sim_device *device)
{
    if (world.plan.resets && sim_chance(1, 3)) {
        device->process->threads++;
        fiber_spawn(device->process, "cancel", cancel, device);
    }
}

/* --- the access ---------------------------------------------------------- */

static uint8_t *data_of(const struct block *block)
{
    return block->bytes + (first_of(block) - (uint64_t)block->offset);
}

static int perform(const struct block *block, size_t *done)
{
    struct memexpose_device *device = device_enter(block->device);
    uint64_t address = BULK + (uint64_t)block->offset;

    return block->write ?
           memexpose_write_block(device, address, block->bytes, block->count,
                                 done) :
           memexpose_read_block(device, address, block->bytes, block->count,
                                done);
}

static void finish_read(const struct block *block, size_t done, uint64_t began)
{
    bulk_read(block->device->peer.process->index, first_of(block),
              data_of(block), (size_t)done_of(block, done), began);
}

/* Returns what block_run() is to return. */
static int read_it(const struct block *block, size_t *done)
{
    struct process *peer = block->device->peer.process;
    bool stale = memory_stale(block->device->process, peer);
    uint64_t began = world.tick;
    int ret = perform(block, done);

    if (!stale && !memory_stale(block->device->process, peer)) {
        finish_read(block, *done, began);
        if (ret == MEMEXPOSE_RESULT_DECODE) {
            check_refused(block, *done, began);
        }
    }
    return ret;
}

static int write_it(const struct block *block, size_t *done)
{
    struct process *peer = block->device->peer.process;
    bool stale = memory_stale(block->device->process, peer);
    uint64_t began = world.tick, tag = oracle_value();
    unsigned handle = bulk_begin(peer->index, tag, false, first_of(block),
                                 size_of(block));
    int ret;

    memset(block->bytes, 0, block->count);
    bulk_fill(data_of(block), tag, first_of(block), (size_t)size_of(block));
    ret = perform(block, done);
    stale |= memory_stale(block->device->process, peer);
    if (!stale && ret == MEMEXPOSE_RESULT_DECODE) {
        check_refused(block, *done, began);
    }
    bulk_end(peer->index, handle, stale || ret < 0 ? ORACLE_MAYBE :
             ret > 0 ? ORACLE_NOT : ORACLE_DONE,
             stale ? 0 : done_of(block, *done));
    return ret;
}

int block_run(struct sim_device *device, int64_t *limit)
{
    unsigned id = fiber_current->id;
    struct block block = { .device = device, .bytes = buffers[id] };
    size_t done = 0;
    int ret;

    check_left(id);
    draw_block(&block);
    fiber_current->polled.waits = (unsigned)block.count / 8 + 4;
    *limit = fiber_current->polled.waits * device->config.request_timeout;
    maybe_cancel(device);
    sim_trace("%s 0x%zx bytes of %s at bulk offset %lld", block.write ?
              "writes" : "reads", block.count, device->peer.process->name,
              (long long)block.offset);
    ret = block.write ? write_it(&block, &done) : read_it(&block, &done);
    sim_trace("the block gave %d, 0x%zx bytes done", ret, done);
    SIM_CHECK((ret == 0) == (done == block.count),
              "a block of %zu did %zu bytes and gave %d", block.count, done,
              ret);
    SIM_CHECK(ret <= 0 || ret == MEMEXPOSE_RESULT_DECODE || world.faults > 0,
              "a block gave %d", ret);
    if (ret < 0) {
        memset(block.bytes, LEFT, block.count);
        left[id] = block.count;
    }
    return ret;
}
