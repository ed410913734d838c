/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A whole device against a hostile peer.  The input is a script: what the peer
 * says and does, what this side does, and what its callbacks do.  Everything
 * happens in one thread, on a clock of its own: while the device waits, the
 * peer goes on with its script, and when it has nothing more to say, time
 * passes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness-count.h"
#include "world.h"

enum { LIES = 64 };             /* rounds until one must have been seen */

/* --- what this side does -------------------------------------------------- */

static void create_device(void)
{
    if (!world.device) {
        world.state_told = false;
        world.peer.last_id = 0;
        world.device = memexpose_device_create(world.group, world_device_ops(),
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
    bool large = step->priority & 1 &&
                 hostile_agreed(&world.peer, MX_FEATURE_BLOCK);
    size_t most = large ? LARGE_BLOCK_MAX : BLOCK_MAX, done = 0;
    size_t bytes = step->b % (most + 1);
    uint8_t *buffer = malloc(bytes ? bytes : 1);
    int ret;

    if (!buffer) {
        return;                 /* that was the one to fail (OP_FAIL) */
    }
    memset(buffer, step->result, bytes);
    ret = step->type & 1 ?
        memexpose_write_block(world.device, step->a, buffer, bytes, &done) :
        memexpose_read_block(world.device, step->a, buffer, bytes, &done);
    free(buffer);               /* nobody may use it from here on */
    world_check_result(ret);
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
        world_let_go(held);
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
        world_read_window(step->a, step->size);
        break;
    case OP_WRITE:
        world_check_result(memexpose_write(world.device, step->a, step->size,
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
        world_send_interrupt(step->a);
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
            world_destroy_device();
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
        world_withdraw();
        break;
    case OP_ADD_RAM:
        add_ram();
        break;
    case OP_RETIRE:
        world_retire_all();
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
        world_touch();
        break;
    default:
        break;
    }
}

/* A length that lies ends the links, as soon as it is read. */
static void check_closed(void)
{
    unsigned i;

    if (!world.peer.lied) {
        return;
    }
    for (i = 0; i < LIES && world.device &&
         memexpose_device_link_state(world.device) & 3; i++) {
        hostile_listen(&world.peer);
        memexpose_group_process(world.group, NULL, 0);
    }
    fuzz_check(i < LIES);
    world.peer.lied = false;
}

static void drive(void)
{
    memexpose_group_process(world.group, NULL, 0);
    check_closed();
    hostile_listen(&world.peer);
    world_check_ranges();
}

static void run(const struct fuzz_step *step)
{
    world.waits = 0;
    if (world_is_for_peer(step)) {
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

/* Bits of the result that nothing else uses: one that has to be set, and one
 * that must not, or there is no polling; then how much, and of which kind. */
static void configure_polling(uint8_t bits)
{
    bool polls = (bits & 0xc0) == 0x40;
    int64_t time = bits & 8 ? 10 * LOOK : 2 * LOOK;

    world.poll_wait = polls && !(bits & 16) ? time : 0;
    world.poll_serve = polls && !(bits & 32) ? time : 0;
}

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
    world.config.block = step->size & 16;
    world.config.push = step->size & 32;
    world.pieces = step->size & 64;
    world.updates = step->size & 128;
    world.peer.narrow = step->result & 1;
    configure_polling(step->result);
    world.config.window_size = windows[step->share % 4];
    world.config.max_ranges = step->fd % 8 + 1u;
    world.config.connect_timeout = SECOND;
}

static bool create(void)
{
    static const struct memexpose_group_ops group_ops = {
        .size = sizeof(group_ops), .wait = world_wait, .now = world_now,
    };
    world.group = memexpose_group_create(&group_ops, NULL);
    world.space = memexpose_space_create();
    fuzz_check(world.group && world.space);
    world_set_polling();
    fuzz_check(memexpose_space_add_ram(world.space, RAM, RAM_SIZE, -1, 0,
                                       0) == 0);
    fuzz_check(memexpose_space_add_mmio(world.space, MMIO, MMIO_SIZE,
                                        &world_mmio_ops, NULL) == 0);
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
    world_destroy_device();
    world_retire_all();
    world_check_polling();
    fuzz_check(memexpose_group_destroy(world.group) == 0);
    memexpose_space_destroy(world.space);
    hostile_close(&world.peer, 0);
    hostile_close(&world.peer, 1);
}

int fuzz_device(const uint8_t *data, size_t size)
{
    struct fuzz_step step = { 0 };

    world_catch_sigbus();
    fuzz_begin();
    memset(&world, 0, sizeof(world));
    world.peer.fd[0] = -1;
    world.peer.fd[1] = -1;
    world.peer.acknowledged = world_acknowledged;
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
