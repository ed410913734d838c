/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A whole device against a hostile peer.  The input is a script: what the peer
 * says and does, what this side does, and what its callbacks do.  Everything
 * happens in one thread, on a clock of its own: while the device waits, the
 * peer goes on with its script, and when it has nothing more to say, time
 * passes.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <memexpose/memexpose.h>

#include "fuzz.h"
#include "harness-count.h"
#include "hostile.h"

#define SECOND INT64_C(1000000000)

enum {
    RAM = 0x10000, RAM_SIZE = 0x4000,
    MORE_RAM = 0x20000, MORE_RAM_SIZE = 0x2000,
    MMIO = 0x40000, MMIO_SIZE = 0x1000,
    WINDOW = 0x50000, WINDOW_SIZE = 0x1000,
    STEPS = 256,
    WAITS = 4000,               /* a wait that never ends */
    HELD = 256,
    BLOCK_MAX = 300
};

struct held {
    struct memexpose_range range;
    bool later;                 /* unmap was called */
};

struct retired {
    void (*fn)(void *arg);
    void *arg;
};

struct world {
    struct memexpose_group *group;
    struct memexpose_space *space;
    struct memexpose_device *device;
    struct memexpose_device_config config;
    struct hostile peer;
    struct fuzz_input input;
    unsigned steps, waits;
    int64_t now;
    bool polite, retires, more_ram;
    unsigned changes;           /* depth */
    uint8_t plan[CALLBACKS];
    uint64_t plan_address;
    struct held held[HELD];
    unsigned held_count;
    struct retired retired[HELD];
    unsigned retired_count;
    uint8_t mark;
    uint64_t state;
    bool state_told;
};

static struct world world;

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

static void catch_sigbus(void)
{
    struct sigaction action = { .sa_sigaction = on_sigbus,
                                .sa_flags = SA_SIGINFO };

    fuzz_check(sigaction(SIGBUS, &action, NULL) == 0);
}

static uint8_t byte_at(const struct held *held, uint64_t offset)
{
    return ((const volatile uint8_t *)held->range.host)[offset];
}

static void touch(void)
{
    for (unsigned i = 0; i < world.held_count; i++) {
        byte_at(&world.held[i], 0);
        byte_at(&world.held[i], world.held[i].range.size - 1);
    }
}

/* --- the world's clock and waits ------------------------------------------ */

static int64_t op_now(void *opaque)
{
    (void)opaque;
    return world.now;
}

static bool is_for_peer(const struct fuzz_step *step)
{
    return step->op % OPS < OP_PEER_OPS;
}

/* The peer's next step, if that is what comes next. */
static bool peer_goes_on(void)
{
    struct fuzz_input ahead = world.input;
    struct fuzz_step step;

    if (world.steps >= STEPS || !fuzz_take_step(&ahead, &step) ||
        !is_for_peer(&step)) {
        return false;
    }
    world.input = ahead;
    world.steps++;
    hostile_do(&world.peer, &step);
    return true;
}

static int op_wait(void *opaque, struct pollfd *fds, size_t count,
                   int64_t deadline)
{
    int ready;

    (void)opaque;
    fuzz_check(world.waits++ < WAITS);
    ready = poll(fds, count, 0);
    if (ready == 0) {
        if (!peer_goes_on() &&
            !(world.polite && hostile_answer(&world.peer))) {
            if (deadline == MEMEXPOSE_FOREVER) {
                memexpose_group_cancel(world.group);
            } else if (deadline > world.now) {
                world.now = deadline;
            }
        }
        ready = poll(fds, count, 0);
    }
    fuzz_check(ready >= 0);
    return ready;
}

/* --- callbacks ------------------------------------------------------------ */

static void destroy_device(void)
{
    struct memexpose_device *device = world.device;

    if (device) {
        world.device = NULL;
        memexpose_device_destroy(device);
        world.held_count = 0;
    }
}

static void check_result(int ret)
{
    fuzz_check((ret >= 0) || ret == -EINVAL || ret == -ERANGE ||
               ret == -ENOTCONN || ret == -ECONNRESET || ret == -ETIMEDOUT ||
               ret == -ECANCELED || ret == -ENOMEM);
    fuzz_check(memexpose_strerror(ret) && memexpose_result(ret) <= INT32_MAX);
}

static void read_window(uint64_t address, unsigned bytes)
{
    uint64_t value = 0;
    int ret;

    if (!world.device) {
        return;
    }
    ret = memexpose_read(world.device, address, bytes, &value);
    check_result(ret);
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

static void send_interrupt(uint64_t type)
{
    struct memexpose_interrupt interrupt = { .type = type };

    if (world.device) {
        int ret = memexpose_device_send(world.device, &interrupt);

        fuzz_check(ret == 0 || ret == -ENOTCONN || ret == -EAGAIN);
    }
}

static void withdraw(void)
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
        destroy_device();
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
        read_window(world.plan_address, 4);
        break;
    case PLAN_CHANGE:
        change_map(world.plan_address, 0x1000);
        break;
    case PLAN_SEND:
        send_interrupt(world.plan_address);
        break;
    case PLAN_REGISTER:
        memexpose_device_reg_write(world.device, world.plan_address & 0xfff,
                                   8, world.plan_address >> 12);
        break;
    case PLAN_WITHDRAW:
        withdraw();
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

static void let_go(struct held *held)
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
        let_go(held);
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

static void retire_all(void)
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

/* --- promises ------------------------------------------------------------- */

/* What was marked after the acknowledgement is not seen (section 4). */
static void acknowledged(void *opaque, uint64_t start, uint64_t size,
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
static void check_ranges(void)
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

/* --- what this side does -------------------------------------------------- */

static const struct memexpose_device_ops *device_ops(void)
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
    };

    ops.retire = world.retires ? op_retire : NULL;
    return &ops;
}

static void create_device(void)
{
    if (!world.device) {
        world.state_told = false;
        world.peer.last_id = 0;
        world.device = memexpose_device_create(world.group, device_ops(),
                                               NULL, &world.config);
    }
    if (world.device) {
        memexpose_device_set_space(world.device, world.space);
    }
}

static void connect_peer(void)
{
    enum memexpose_subpriority half = world.config.subpriority;
    bool listens = world.config.role == MEMEXPOSE_ROLE_LISTEN;
    int theirs[2];

    if (!world.device) {
        return;
    }
    if (half == MEMEXPOSE_SUBPRIORITY_AUTO) {
        half = listens ? MEMEXPOSE_SUBPRIORITY_0 : MEMEXPOSE_SUBPRIORITY_1;
    }
    hostile_close(&world.peer, 0);
    hostile_close(&world.peer, 1);
    memexpose_group_process(world.group, NULL, 0);
    if (!world.device) {
        return;                 /* link_changed destroyed it */
    }
    hostile_connect(&world.peer, listens,
                    half == MEMEXPOSE_SUBPRIORITY_0 ? 1 : 0, theirs);
    for (unsigned i = 0; i < 2; i++) {
        if (!world.device ||
            memexpose_device_attach(world.device, i ? MEMEXPOSE_LINK_INTR :
                                    MEMEXPOSE_LINK_MEM, theirs[i]) < 0) {
            close(theirs[i]);
        }
    }
}

static void access_block(const struct fuzz_step *step)
{
    uint8_t buffer[BLOCK_MAX] = { 0 };
    size_t bytes = step->b % (BLOCK_MAX + 1), done = 0;
    int ret = step->type & 1 ?
        memexpose_write_block(world.device, step->a, buffer, bytes, &done) :
        memexpose_read_block(world.device, step->a, buffer, bytes, &done);

    check_result(ret);
    fuzz_check(done <= bytes && (ret != 0 || done == bytes));
}

static void write_register(const struct fuzz_step *step)
{
    int ret = memexpose_device_reg_write(world.device, step->a, step->size,
                                         step->b);

    fuzz_check(ret == 0 || ret == -EINVAL || ret == -EINPROGRESS ||
               ret == -ETIMEDOUT || ret == -ECANCELED || ret == -ENOMEM);
}

static void tell_unmapped(void)
{
    for (unsigned i = 0; i < world.held_count;) {
        struct held *held = &world.held[i];
        uint64_t id = held->range.id;

        if (!held->later) {
            i++;
            continue;
        }
        let_go(held);
        fuzz_check(memexpose_device_unmapped(world.device, id) == 0);
        if (!world.device) {
            return;
        }
        i = 0;
    }
}

static void invalidate(const struct fuzz_step *step)
{
    int ret = memexpose_map_change_invalidate(world.device, step->a, step->b);

    fuzz_check(ret == 0 || ret == -EINVAL || ret == -ENOMEM);
    fuzz_check(world.changes > 0 || ret == -EINVAL);
}

/* Steps that need the device. */
static void use_device(const struct fuzz_step *step)
{
    struct memexpose_interrupt interrupt;

    switch (step->op % OPS) {
    case OP_READ:
        read_window(step->a, step->size);
        break;
    case OP_WRITE:
        check_result(memexpose_write(world.device, step->a, step->size,
                                     step->b));
        break;
    case OP_BLOCK:
        access_block(step);
        break;
    case OP_REG_READ:
        memexpose_device_reg_read(world.device, step->a, step->size);
        break;
    case OP_REG_WRITE:
        write_register(step);
        break;
    case OP_ENABLE:
        memexpose_device_enable(world.device, step->type & 1 ? world.now +
                                SECOND : 0);
        break;
    case OP_DISABLE:
        memexpose_device_disable(world.device);
        break;
    case OP_RESET:
        memexpose_device_reset(world.device);
        break;
    case OP_INTERRUPT:
        send_interrupt(step->a);
        break;
    case OP_RECEIVE:
        memexpose_device_receive(world.device, &interrupt);
        break;
    case OP_INVALIDATE:
        invalidate(step);
        break;
    case OP_UNMAPPED:
        tell_unmapped();
        break;
    default:
        break;
    }
}

static void add_ram(void)
{
    if (!world.more_ram) {
        world.more_ram = memexpose_space_add_ram(world.space, MORE_RAM,
                                                 MORE_RAM_SIZE, -1, 0, 0) == 0;
    }
}

static void end_change(void)
{
    if (world.changes > 0) {
        world.changes--;
        memexpose_map_change_end(world.group);
    }
}

/* Steps that concern the group, the space and the world. */
static void use_group(const struct fuzz_step *step)
{
    switch (step->op % OPS) {
    case OP_CONNECT:
        connect_peer();
        break;
    case OP_RENEW:
        if (world.device) {
            destroy_device();
        } else {
            create_device();
        }
        break;
    case OP_CHANGE_BEGIN:
        world.changes++;
        memexpose_map_change_begin(world.group);
        break;
    case OP_CHANGE_WAIT:
        memexpose_map_change_wait(world.group);
        break;
    case OP_CHANGE_END:
        end_change();
        break;
    case OP_WITHDRAW:
        withdraw();
        break;
    case OP_ADD_RAM:
        add_ram();
        break;
    case OP_RETIRE:
        retire_all();
        break;
    case OP_PLAN:
        world.plan[step->type % CALLBACKS] = step->size % PLANS;
        world.plan_address = step->a;
        break;
    case OP_TIME:
        world.now += (int64_t)(step->a % (uint64_t)(10 * SECOND));
        break;
    case OP_FAIL:
        harness_count_fail(step->size);
        break;
    case OP_CANCEL:
        memexpose_group_cancel(world.group);
        break;
    case OP_TOUCH:
        touch();
        break;
    default:
        break;
    }
}

static void drive(void)
{
    memexpose_group_process(world.group, NULL, 0);
    hostile_listen(&world.peer);
    check_ranges();
}

static void run(const struct fuzz_step *step)
{
    if (is_for_peer(step)) {
        hostile_do(&world.peer, step);
    } else {
        if (world.device) {
            use_device(step);
        }
        use_group(step);
    }
    if (!(step->flags & FLAG_LINGER)) {
        drive();
    }
}

/* --- the beginning and the end -------------------------------------------- */

static void configure(const struct fuzz_step *step)
{
    static const uint64_t windows[] = { 0, 0x100000, 0x12345, UINT64_MAX };

    memexpose_device_config_init(&world.config);
    world.config.name = "fuzz";
    world.config.role = step->op & 1 ? MEMEXPOSE_ROLE_CONNECT :
                        MEMEXPOSE_ROLE_LISTEN;
    world.config.hello = step->flags % 3;
    world.config.subpriority = (step->type + 2) % 3;
    world.config.seals = step->priority % 3;
    world.peer.wants_seals = world.config.seals == MEMEXPOSE_SEALS_REQUIRE;
    world.config.share = !(step->size & 1);
    world.config.wait = !(step->size & 2);
    world.polite = !(step->size & 4);
    world.retires = step->size & 8;
    world.config.window_size = windows[step->share % 4];
    world.config.max_ranges = step->fd % 8 + 1u;
    world.config.connect_timeout = SECOND;
}

static bool create(void)
{
    static const struct memexpose_group_ops group_ops = {
        .size = sizeof(group_ops), .wait = op_wait, .now = op_now,
    };
    static const struct memexpose_mmio_ops mmio = {
        .size = sizeof(mmio), .read = mmio_read, .write = mmio_write,
    };

    world.group = memexpose_group_create(&group_ops, NULL);
    world.space = memexpose_space_create();
    fuzz_check(world.group && world.space);
    fuzz_check(memexpose_space_add_ram(world.space, RAM, RAM_SIZE, -1, 0,
                                       0) == 0);
    fuzz_check(memexpose_space_add_mmio(world.space, MMIO, MMIO_SIZE, &mmio,
                                        NULL) == 0);
    fuzz_check(memexpose_space_add_window(world.space, WINDOW,
                                          WINDOW_SIZE) == 0);
    add_ram();
    create_device();
    return world.device != NULL;
}

/* With nothing left to do, what was told is what is. */
static void settle(void)
{
    harness_count_fail(0);
    memset(world.plan, 0, sizeof(world.plan));
    while (world.changes > 0) {
        end_change();
    }
    drive();
    if (world.device) {
        tell_unmapped();
        drive();
        fuzz_check(!world.state_told ||
                   world.state == memexpose_device_link_state(world.device));
    }
}

static void destroy(void)
{
    destroy_device();
    retire_all();
    fuzz_check(memexpose_group_destroy(world.group) == 0);
    memexpose_space_destroy(world.space);
    hostile_close(&world.peer, 0);
    hostile_close(&world.peer, 1);
}

int fuzz_device(const uint8_t *data, size_t size)
{
    struct fuzz_step step = { 0 };

    catch_sigbus();
    fuzz_begin();
    memset(&world, 0, sizeof(world));
    world.peer.fd[0] = -1;
    world.peer.fd[1] = -1;
    world.peer.acknowledged = acknowledged;
    world.input = (struct fuzz_input) { data, size };
    world.now = SECOND;
    fuzz_take_step(&world.input, &step);
    configure(&step);
    if (create()) {
        connect_peer();
        memexpose_device_enable(world.device, 0);
        drive();
    }
    while (world.steps++ < STEPS && fuzz_take_step(&world.input, &step)) {
        run(&step);
    }
    settle();
    destroy();
    fuzz_end();
    return 0;
}
