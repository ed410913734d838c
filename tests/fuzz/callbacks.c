/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the device target's callbacks do, what it promises, and how time passes
 * while it waits.
 */
#include "world.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "group.h"

struct world world;

/* --- a fault in what is mapped -------------------------------------------- */

static void on_sigbus(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    if (!world.device ||
        !memexpose_device_handle_sigbus(world.device, info->si_addr)) {
        fuzz_failed(__FILE__, __LINE__, "a fault in a share is handled");
    }
}

void world_catch_sigbus(void)
{
    struct sigaction action = { .sa_sigaction = on_sigbus,
                                .sa_flags = SA_SIGINFO };

    fuzz_check(sigaction(SIGBUS, &action, NULL) == 0);
}

static uint8_t byte_at(const struct held *held, uint64_t offset)
{
    return ((const volatile uint8_t *)held->range.host)[offset];
}

void world_touch(void)
{
    for (unsigned i = 0; i < world.held_count; i++) {
        byte_at(&world.held[i], 0);
        byte_at(&world.held[i], world.held[i].range.size - 1);
    }
}

/* --- the world's clock and waits ------------------------------------------ */

bool world_is_for_peer(const struct fuzz_step *step)
{
    return step->op % OPS < OP_PEER_OPS;
}

/* The peer's next step, if that is what comes next. */
static bool peer_goes_on(void)
{
    struct fuzz_input ahead = world.input;
    struct fuzz_step step;

    if (world.steps >= STEPS || !fuzz_take_step(&ahead, &step) ||
        !world_is_for_peer(&step)) {
        return false;
    }
    world.input = ahead;
    world.steps++;
    hostile_do(&world.peer, &step);
    return true;
}

/* While the device polls the peer goes on, and time passes. */
int64_t world_now(void *opaque)
{
    const struct memexpose_group *group = world.group;

    (void)opaque;
    if (world.poll_wait + world.poll_serve > 0 && group) {
        if (group->polling && !peer_goes_on() && world.polite) {
            hostile_answer(&world.peer);
        }
        if (group->polling || group->serve_until > 0) {
            world.now += LOOK;
        }
    }
    return world.now;
}

void world_set_polling(void)
{
    fuzz_check(memexpose_group_set_polling(world.group, world.poll_wait,
                                           world.poll_serve) == 0);
    world.group->poll_wait = world.poll_wait;
    world.group->poll_serve = world.poll_serve;
}

void world_check_polling(void)
{
    struct memexpose_group_stats stats;

    memexpose_group_stats(world.group, &stats, sizeof(stats));
    fuzz_check(world.poll_wait + world.poll_serve > 0 ||
               (stats.polls == 0 && stats.poll_misses == 0));
    fuzz_check(stats.poll_hits <= stats.polls);
    fuzz_check(stats.poll_time <= (uint64_t)(world.now - SECOND));
}

int world_wait(void *opaque, struct pollfd *fds, size_t count,
                   int64_t deadline)
{
    int ready;

    (void)opaque;
    fuzz_check(world.waits++ < WAITS);
    ready = fuzz_poll(fds, count);
    if (ready == 0) {
        if (!peer_goes_on() &&
            !(world.polite && hostile_answer(&world.peer))) {
            if (deadline == MEMEXPOSE_FOREVER) {
                memexpose_group_cancel(world.group);
            } else if (deadline > world.now) {
                world.now = deadline;
            }
        }
        ready = fuzz_poll(fds, count);
    }
    return ready;
}

/* --- callbacks ------------------------------------------------------------ */

void world_destroy_device(void)
{
    struct memexpose_device *device = world.device;

    if (device) {
        world.device = NULL;
        world.destroying++;
        memexpose_device_destroy(device);
        world.destroying--;
        world.held_count = 0;
        world.updating = false;
    }
}

void world_check_result(int ret)
{
    fuzz_check((ret >= 0) || ret == -EINVAL || ret == -ERANGE ||
               ret == -ENOTCONN || ret == -ECONNRESET || ret == -ETIMEDOUT ||
               ret == -ECANCELED || ret == -ENOMEM);
    fuzz_check(memexpose_strerror(ret) && memexpose_result(ret) <= INT32_MAX);
}

void world_read_window(uint64_t address, unsigned bytes)
{
    uint64_t value = 0;
    int ret;

    if (!world.device) {
        return;
    }
    ret = memexpose_read(world.device, address, bytes, &value);
    world_check_result(ret);
    fuzz_check(ret == 0 || value == UINT64_MAX);
    fuzz_check(ret != 0 || bytes == 8 || value >> (8 * bytes) == 0);
}

static void change_map(uint64_t start, uint64_t size)
{
    int ret;

    memexpose_map_change_begin(world.group);
    if (world.device) {
        ret = memexpose_map_change_invalidate(world.device, start, size);
        fuzz_check(ret == 0 || ret == -EINVAL || ret == -ENOMEM);
    }
    ret = memexpose_map_change_wait(world.group);
    fuzz_check(ret == 0 || ret == -ETIMEDOUT || ret == -ECANCELED ||
               ret == -ENOMEM);
    memexpose_map_change_end(world.group);
}

void world_send_interrupt(uint64_t type)
{
    struct memexpose_interrupt interrupt = { .type = type };

    if (world.device) {
        int ret = memexpose_device_send(world.device, &interrupt);

        fuzz_check(ret == 0 || ret == -ENOTCONN || ret == -EAGAIN);
    }
}

void world_withdraw(void)
{
    if (world.more_ram) {
        world.more_ram = false;
        memexpose_space_withdraw(world.space, world.group, MORE_RAM);
    }
}

/* What was planned for this callback, once. */
static uint8_t follow_plan(enum callback callback)
{
    uint8_t plan = world.plan[callback];

    world.plan[callback] = PLAN_NOTHING;
    if (!world.device) {
        return PLAN_NOTHING;
    }
    switch (plan) {
    case PLAN_DESTROY:
        world_destroy_device();
        break;
    case PLAN_DISABLE:
        memexpose_device_disable(world.device);
        break;
    case PLAN_RESET:
        memexpose_device_reset(world.device);
        break;
    case PLAN_ENABLE:
        memexpose_device_enable(world.device, MEMEXPOSE_FOREVER);
        break;
    case PLAN_CANCEL:
        memexpose_device_cancel(world.device);
        break;
    case PLAN_READ:
        world_read_window(world.plan_address, 4);
        break;
    case PLAN_CHANGE:
        change_map(world.plan_address, 0x1000);
        break;
    case PLAN_SEND:
        world_send_interrupt(world.plan_address);
        break;
    case PLAN_REGISTER:
        memexpose_device_reg_write(world.device, world.plan_address & 0xfff,
                                   8, world.plan_address >> 12);
        break;
    case PLAN_WITHDRAW:
        world_withdraw();
        break;
    default:
        break;
    }
    return plan;
}

static int op_read(void *opaque, uint64_t address, unsigned bytes,
                   uint64_t *value)
{
    uint8_t plan = follow_plan(CALL_READ);

    (void)opaque;
    fuzz_check(bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8);
    fuzz_check(bytes - 1 <= UINT64_MAX - address);
    fuzz_check(world.changes == 0);
    return plan == PLAN_FAIL ? -EIO :
           memexpose_space_read(world.space, address, bytes, value);
}

static int op_write(void *opaque, uint64_t address, unsigned bytes,
                    uint64_t value)
{
    uint8_t plan = follow_plan(CALL_WRITE);

    (void)opaque;
    fuzz_check(bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8);
    fuzz_check(bytes - 1 <= UINT64_MAX - address);
    fuzz_check(world.changes == 0);
    return plan == PLAN_FAIL ? 0x7fffffff :
           memexpose_space_write(world.space, address, bytes, value);
}

/* A block as a whole is within the space of addresses. */
static void check_block(uint64_t address, size_t bytes)
{
    fuzz_check(bytes >= 1 && bytes <= MEMEXPOSE_BLOCK_SIZE);
    fuzz_check(bytes - 1 <= UINT64_MAX - address);
    fuzz_check(world.changes == 0);
}

static int op_read_block(void *opaque, uint64_t address, void *buffer,
                         size_t bytes, size_t *done)
{
    uint8_t plan = follow_plan(CALL_READ);

    (void)opaque;
    check_block(address, bytes);
    *done = world.plan_address;         /* of a failure, any nonsense */
    return plan == PLAN_FAIL ? -EIO :
           memexpose_space_read_block(world.space, address, buffer, bytes,
                                      done);
}

static int op_write_block(void *opaque, uint64_t address, const void *buffer,
                          size_t bytes, size_t *done)
{
    uint8_t plan = follow_plan(CALL_WRITE);

    (void)opaque;
    check_block(address, bytes);
    *done = world.plan_address;
    return plan == PLAN_FAIL ? 0x7fffffff :
           memexpose_space_write_block(world.space, address, buffer, bytes,
                                       done);
}

static int op_next_share(void *opaque, uint64_t address,
                         struct memexpose_share *share)
{
    uint8_t plan = follow_plan(CALL_RESOLVE);

    (void)opaque;
    fuzz_check(world.changes == 0);
    return plan == PLAN_FAIL ? 0 :
           memexpose_space_next_share(world.space, address, share);
}

/* Runs begin and end in turn, and not after the device's end. */
static void op_update(void *opaque, bool begin)
{
    (void)opaque;
    fuzz_check(world.device || world.destroying);
    fuzz_check(world.updating != begin);
    world.updating = begin;
    follow_plan(CALL_MAP);
}

static int op_resolve(void *opaque, uint64_t address,
                      struct memexpose_share *share)
{
    uint8_t plan = follow_plan(CALL_RESOLVE);

    (void)opaque;
    return plan == PLAN_FAIL ? 0 :
           memexpose_space_resolve(world.space, address, share);
}

static struct held *find_held(uint64_t id)
{
    for (unsigned i = 0; i < world.held_count; i++) {
        if (world.held[i].range.id == id) {
            return &world.held[i];
        }
    }
    return NULL;
}

static int op_map(void *opaque, const struct memexpose_range *range)
{
    uint8_t plan;

    (void)opaque;
    fuzz_check(range->size > 0 && range->size % 0x1000 == 0);
    fuzz_check(range->start % 0x1000 == 0);
    fuzz_check(!find_held(range->id));
    fuzz_check(hostile_offered(&world.peer, range->start, range->size));
    if (range->id > world.peer.last_id) {
        world.peer.last_id = range->id;
    }
    plan = follow_plan(CALL_MAP);
    if (plan == PLAN_FAIL || !world.device || world.held_count == HELD) {
        return -ENOSPC;
    }
    world.held[world.held_count++] = (struct held) { .range = *range };
    return 0;
}

void world_let_go(struct held *held)
{
    *held = world.held[--world.held_count];
}

static int op_unmap(void *opaque, const struct memexpose_range *range)
{
    struct held *held = find_held(range->id);
    uint8_t plan;

    (void)opaque;
    fuzz_check(!world.device || (held && !held->later));
    if (held) {
        held->later = true;
    }
    plan = follow_plan(CALL_UNMAP);
    if (plan == PLAN_LATER) {
        return MEMEXPOSE_UNMAP_LATER;
    }
    held = find_held(range->id);
    if (held) {
        world_let_go(held);
    }
    return 0;
}

static void op_retire(void *opaque, void (*fn)(void *arg), void *arg)
{
    (void)opaque;
    if (world.retired_count == HELD) {
        fn(arg);
        return;
    }
    world.retired[world.retired_count++] = (struct retired) { fn, arg };
}

void world_retire_all(void)
{
    for (unsigned i = 0; i < world.retired_count; i++) {
        world.retired[i].fn(world.retired[i].arg);
    }
    world.retired_count = 0;
}

static void op_interrupt(void *opaque, bool level, bool rise)
{
    (void)opaque;
    (void)level;
    (void)rise;
    follow_plan(CALL_INTERRUPT);
}

static void op_link_changed(void *opaque, uint64_t state)
{
    (void)opaque;
    world.state = state;
    world.state_told = true;
    follow_plan(CALL_LINK);
}

static void op_trace(void *opaque, enum memexpose_link link, bool sent,
                     const void *message, size_t bytes)
{
    char text[256];

    (void)opaque;
    (void)link;
    (void)sent;
    memexpose_describe(message, bytes, text, sizeof(text));
    fuzz_check(memchr(text, '\0', sizeof(text)));
}

static int mmio_read(void *opaque, uint64_t offset, unsigned bytes,
                     uint64_t *value)
{
    (void)opaque;
    fuzz_check(offset <= MMIO_SIZE - bytes);
    *value = offset;
    return MEMEXPOSE_RESULT_OK;
}

static int mmio_write(void *opaque, uint64_t offset, unsigned bytes,
                      uint64_t value)
{
    (void)opaque;
    (void)value;
    fuzz_check(offset <= MMIO_SIZE - bytes);
    return MEMEXPOSE_RESULT_OK;
}

const struct memexpose_mmio_ops world_mmio_ops = {
    .size = sizeof(world_mmio_ops),
    .read = mmio_read,
    .write = mmio_write,
};

/* --- promises ------------------------------------------------------------- */

/* What was marked after the acknowledgement is not seen (section 4). */
void world_acknowledged(void *opaque, uint64_t start, uint64_t size,
                         uint64_t last_id)
{
    (void)opaque;
    world.mark = world.mark == 0xff ? 1 : (uint8_t)(world.mark + 1);
    fuzz_mark_objects(world.mark);
    for (unsigned i = 0; i < world.held_count; i++) {
        const struct memexpose_range *range = &world.held[i].range;

        if (range->id > last_id || range->start > UINT64_MAX - range->size) {
            continue;
        }
        for (uint64_t at = 0; at < range->size; at += 0x1000) {
            uint64_t page = range->start + at;

            if (page >= start && page - start < size) {
                fuzz_check(byte_at(&world.held[i], at) != world.mark);
            }
        }
    }
}

/* What is mapped now was offered and not taken back. */
void world_check_ranges(void)
{
    struct memexpose_range ranges[64];
    struct memexpose_stats stats;
    uint64_t bytes = 0, end = 0;
    size_t count;

    if (!world.device) {
        return;
    }
    count = memexpose_device_ranges(world.device, ranges, 64);
    fuzz_check(count <= world.config.max_ranges);
    for (size_t i = 0; i < count; i++) {
        fuzz_check(i == 0 || ranges[i].start >= end);
        fuzz_check(hostile_offered(&world.peer, ranges[i].start,
                                   ranges[i].size));
        fuzz_check(find_held(ranges[i].id));
        bytes += ranges[i].size;
        end = ranges[i].start + ranges[i].size;
    }
    memexpose_device_stats(world.device, &stats, sizeof(stats));
    fuzz_check(stats.mapped_ranges == count && stats.mapped_bytes == bytes);
    if (count > 0) {
        fuzz_check((memexpose_device_link_state(world.device) & 3) == 3);
    }
}

/* --- the callbacks together ----------------------------------------------- */

const struct memexpose_device_ops *world_device_ops(void)
{
    static struct memexpose_device_ops ops = {
        .size = sizeof(ops),
        .read = op_read,
        .write = op_write,
        .resolve = op_resolve,
        .map = op_map,
        .unmap = op_unmap,
        .interrupt = op_interrupt,
        .link_changed = op_link_changed,
        .trace = op_trace,
        .next_share = op_next_share,
    };

    ops.retire = world.retires ? op_retire : NULL;
    ops.read_block = world.pieces ? NULL : op_read_block;
    ops.write_block = world.pieces ? NULL : op_write_block;
    ops.update = world.updates ? op_update : NULL;
    return &ops;
}
