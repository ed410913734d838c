/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Seeds from a session between two devices: one is the one that the script of
 * tests/fuzz/device.c will stand for, the other is heard by the trace of the
 * first.  What it said becomes the peer's steps, each at its place among what
 * the first one did.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include <memexpose/memexpose.h>

#include "fuzz.h"
#include "hostile.h"
#include "wire.h"

enum { RAM = 0x10000, RAM_SIZE = 0x4000, MMIO = 0x40000, SCRIPT = 4096 };

/* What becomes of it. */
struct session {
    uint8_t script[SCRIPT], stream[SCRIPT];
    size_t script_size, stream_size;
    fuzz_seed_fn *fn;
    void *opaque;
    const char *name;
    unsigned messages;
};

struct kind {
    const char *name;
    enum memexpose_hello hello;
    unsigned features;
};

/* One of the two. */
struct side {
    struct session *session;
    struct memexpose_group *group;
    struct memexpose_device *device;
    struct memexpose_space *space;
    struct side *other;
};

static void add_step(struct session *session, const struct fuzz_step *step)
{
    if (session->script_size + FUZZ_STEP <= SCRIPT) {
        fuzz_put_step(session->script + session->script_size, step);
        session->script_size += FUZZ_STEP;
    }
}

static void add_conn_step(struct session *session, uint8_t op, uint8_t type,
                          const struct mx_message *message)
{
    struct fuzz_step step = {
        .op = op, .type = type, .flags = 4,
        .priority = message->priority, .size = (uint8_t)message->size,
        .share = message->share.kind, .a = message->offset,
        .b = mx_wire_is_block(message->type) ? message->size - 1u :
             message->value,
    };

    if (session->stream_size + FUZZ_STEP <= SCRIPT) {
        fuzz_put_step(session->stream + session->stream_size, &step);
        session->stream_size += FUZZ_STEP;
    }
}

/* How the peer of a script says the same. */
static void peer_step(struct session *session, unsigned link,
                      const struct mx_message *message)
{
    struct fuzz_step step = {
        .op = OP_SEND, .flags = FLAG_RIGHT | (link ? FLAG_INTR : 0),
        .type = fuzz_type_byte(message->type), .priority = message->priority,
        .size = (uint8_t)message->size, .result = (uint8_t)message->result,
        .a = message->offset,
        .b = mx_wire_is_block(message->type) ? message->size :
             message->value,
    };

    switch (message->type) {
    case MX_OFFER:
        step.share = message->share.kind ? SHARE_GIVEN : SHARE_NONE;
        step.a = message->share.start;
        step.b = message->share.size;
        break;
    case MX_READ_RET:
    case MX_WRITE_RET:
    case MX_READ_BLOCK_RET:
    case MX_WRITE_BLOCK_RET:
        step.op = OP_ANSWER;
        step.priority = 0;
        step.share = message->share.kind ? SHARE_GIVEN : SHARE_NONE;
        step.a = message->share.start;
        step.b = message->share.kind ? message->share.size : message->value;
        break;
    case MX_REG_INV_RET:
        step.op = OP_ACK;
        break;
    case MX_HELLO:
    case MX_HELLO_RET:
        if (link) {
            return;             /* the twin comes by itself */
        }
        step.op = OP_GREET;
        step.priority = (uint8_t)message->u.hello.features;
        step.a = message->u.hello.pair_id;
        step.b = message->u.hello.span_size;
        break;
    default:
        break;
    }
    add_step(session, &step);
}

static void seed_message(struct session *session, const void *message,
                         size_t bytes)
{
    uint8_t data[2 + MX_MESSAGE_MAX] = { 0, 128 };
    char name[64];

    memcpy(data + 2, message, bytes);
    snprintf(name, sizeof(name), "%s-%02u-%s", session->name,
             session->messages++, mx_wire_name(data[6]));
    session->fn(session->opaque, "codec", name, data, 2 + bytes);
}

static void op_trace(void *opaque, enum memexpose_link link, bool sent,
                     const void *message, size_t bytes)
{
    const struct side *side = opaque;
    struct session *session = side->session;
    struct mx_message decoded;
    size_t used;

    fuzz_check(mx_wire_decode(message, bytes, &decoded, &used) == MX_DECODED);
    seed_message(session, message, bytes);
    add_conn_step(session, sent ? 4 : 0, fuzz_type_byte(decoded.type),
                  &decoded);
    if (!sent) {
        struct mx_message piece = { .share = { .kind = decoded.share.kind } };

        add_conn_step(session, 2, 0, &piece);
        add_conn_step(session, 3, 0, &piece);
        peer_step(session, link == MEMEXPOSE_LINK_INTR, &decoded);
    }
}

/* While one waits, the other works. */
static int op_wait(void *opaque, struct pollfd *fds, size_t count,
                   int64_t deadline)
{
    const struct side *side = opaque;

    (void)deadline;
    memexpose_group_process(side->other->group, NULL, 0);
    return fuzz_poll(fds, count);
}

static int op_read(void *opaque, uint64_t address, unsigned bytes,
                   uint64_t *value)
{
    const struct side *side = opaque;

    return memexpose_space_read(side->space, address, bytes, value);
}

static int op_write(void *opaque, uint64_t address, unsigned bytes,
                    uint64_t value)
{
    const struct side *side = opaque;

    return memexpose_space_write(side->space, address, bytes, value);
}

static int op_resolve(void *opaque, uint64_t address,
                      struct memexpose_share *share)
{
    const struct side *side = opaque;

    return memexpose_space_resolve(side->space, address, share);
}

static int mmio_read(void *opaque, uint64_t offset, unsigned bytes,
                     uint64_t *value)
{
    (void)opaque;
    (void)bytes;
    *value = offset;
    return MEMEXPOSE_RESULT_OK;
}

static void make_space(struct side *side)
{
    static const struct memexpose_mmio_ops mmio = { .size = sizeof(mmio),
                                                    .read = mmio_read };

    side->space = memexpose_space_create();
    fuzz_check(side->space);
    fuzz_check(memexpose_space_add_ram(side->space, RAM, RAM_SIZE, -1, 0,
                                       0) == 0);
    fuzz_check(memexpose_space_add_mmio(side->space, MMIO, 0x1000, &mmio,
                                        NULL) == 0);
}

static int op_next_share(void *opaque, uint64_t address,
                         struct memexpose_share *share)
{
    const struct side *side = opaque;

    return memexpose_space_next_share(side->space, address, share);
}

static void make_side(struct side *side, enum memexpose_role role,
                      const struct kind *kind, bool traced)
{
    struct memexpose_group_ops group_ops = { .size = sizeof(group_ops),
                                             .wait = op_wait };
    struct memexpose_device_ops ops = {
        .size = sizeof(ops), .read = op_read, .write = op_write,
        .resolve = op_resolve, .next_share = op_next_share,
        .trace = traced ? op_trace : NULL,
    };
    struct memexpose_device_config config;

    memexpose_device_config_init(&config);
    config.hello = kind->hello;
    config.block = kind->features & MX_FEATURE_BLOCK;
    config.push = kind->features & MX_FEATURE_PUSH;
    config.role = role;
    make_space(side);
    side->group = memexpose_group_create(&group_ops, side);
    fuzz_check(side->group);
    side->device = memexpose_device_create(side->group, &ops, side, &config);
    fuzz_check(side->device);
    memexpose_device_set_space(side->device, side->space);
}

static void destroy_side(struct side *side)
{
    memexpose_device_destroy(side->device);
    fuzz_check(memexpose_group_destroy(side->group) == 0);
    memexpose_space_destroy(side->space);
}

static void process(struct side sides[2])
{
    for (int i = 0; i < 6; i++) {
        memexpose_group_process(sides[i % 2].group, NULL, 0);
    }
}

static void join(struct side sides[2])
{
    for (unsigned link = 0; link < 2; link++) {
        int ends[2];

        fuzz_socket_pair(ends);
        for (int i = 0; i < 2; i++) {
            fuzz_check(memexpose_device_attach(sides[i].device,
                       link ? MEMEXPOSE_LINK_INTR : MEMEXPOSE_LINK_MEM,
                       ends[i]) == 0);
        }
    }
    for (int i = 0; i < 2; i++) {
        memexpose_device_enable(sides[i].device, 0);
    }
    process(sides);
}

/* Accesses of the first side's, which stand in its script as its own. */
static void access_memory(struct side *side, uint8_t op, uint64_t address,
                          uint8_t bytes)
{
    struct fuzz_step step = { .op = op, .size = bytes, .a = address };
    uint64_t value;
    int ret;

    add_step(side->session, &step);
    ret = op == OP_READ ?
        memexpose_read(side->device, address, bytes, &value) :
        memexpose_write(side->device, address, bytes, 0);
    fuzz_check(ret == 0 || ret == MEMEXPOSE_RESULT_DECODE ||
               ret == MEMEXPOSE_RESULT_DENIED);
}

static void access_block(struct side *side, uint64_t address, size_t bytes,
                         bool write)
{
    struct fuzz_step step = { .op = OP_BLOCK, .priority = 1, .type = write,
                              .a = address, .b = bytes };
    static uint8_t buffer[MX_BLOCK_MAX];
    int ret;

    add_step(side->session, &step);
    ret = write ?
        memexpose_write_block(side->device, address, buffer, bytes, NULL) :
        memexpose_read_block(side->device, address, buffer, bytes, NULL);
    fuzz_check(ret == 0 || ret == MEMEXPOSE_RESULT_DECODE ||
               ret == -ERANGE);
}

/* Both ways; some end where nothing is. */
static void live_in_blocks(struct side sides[2])
{
    static uint8_t buffer[0x900];

    access_block(&sides[0], MMIO + 3, 0x123, false);
    access_block(&sides[0], MMIO + 0xf00, 0x200, false);
    access_block(&sides[0], 0x30000, MX_BLOCK_MAX, true);
    memexpose_read_block(sides[1].device, MMIO + 0x801, buffer,
                         sizeof(buffer), NULL);
    memexpose_write_block(sides[1].device, RAM + 0x3ff, buffer,
                          sizeof(buffer), NULL);
    process(sides);
}

/* What two peers do in a day: each line is heard by the first. */
static void live(struct side sides[2], const struct kind *kind)
{
    static const struct memexpose_interrupt interrupt = { .type = 7 };
    struct fuzz_step withdraw = { .op = OP_WITHDRAW };
    struct fuzz_step later = { .op = OP_PLAN, .type = CALL_UNMAP,
                               .size = PLAN_LATER };
    struct fuzz_step unmapped = { .op = OP_UNMAPPED };
    uint64_t value;

    access_memory(&sides[0], OP_READ, MMIO + 8, 4);
    access_memory(&sides[0], OP_WRITE, MMIO, 8);
    access_memory(&sides[0], OP_READ, RAM + 0x100, 4);
    access_memory(&sides[0], OP_READ, 0x30000, 1);
    process(sides);
    if (kind->features & MX_FEATURE_BLOCK) {
        live_in_blocks(sides);
    }
    access_memory(&sides[0], OP_READ, RAM + 0x1004, 2);
    fuzz_check(memexpose_device_ranges(sides[0].device, NULL, 0) == 1);
    memexpose_read(sides[1].device, MMIO + 4, 4, &value);
    memexpose_write(sides[1].device, RAM + 8, 8, 1);
    process(sides);
    memexpose_device_send(sides[1].device, &interrupt);
    memexpose_device_send(sides[0].device, &interrupt);
    process(sides);
    add_step(sides[0].session, &later);
    memexpose_space_withdraw(sides[1].space, sides[1].group, RAM);
    process(sides);
    add_step(sides[0].session, &unmapped);
    fuzz_check(memexpose_device_ranges(sides[0].device, NULL, 0) == 0);
    memexpose_space_withdraw(sides[0].space, sides[0].group, RAM);
    add_step(sides[0].session, &withdraw);
    process(sides);
}

static void record_role(const char *name, enum memexpose_role role,
                        const struct kind *kind, fuzz_seed_fn *fn,
                        void *opaque)
{
    static struct session session;
    struct fuzz_step configuration = {
        .op = role == MEMEXPOSE_ROLE_CONNECT,
        .flags = (uint8_t)kind->hello,
        .type = 0, .priority = MEMEXPOSE_SEALS_PREFER, .fd = 7,
        .size = (uint8_t)(kind->features ? 128 | kind->features << 4 : 0),
    };
    struct side sides[2] = { { .session = &session },
                             { .session = &session } };
    char polls[48];

    memset(&session, 0, sizeof(session));
    session.fn = fn;
    session.opaque = opaque;
    session.name = name;
    add_step(&session, &configuration);
    add_conn_step(&session, 6, 0, &(struct mx_message) { 0 });
    sides[0].other = &sides[1];
    sides[1].other = &sides[0];
    make_side(&sides[0], role, kind, true);
    make_side(&sides[1], MEMEXPOSE_ROLE_CONNECT + MEMEXPOSE_ROLE_LISTEN - role,
              kind, false);
    join(sides);
    live(sides, kind);
    destroy_side(&sides[0]);
    destroy_side(&sides[1]);
    fn(opaque, "device", name, session.script, session.script_size);
    snprintf(polls, sizeof(polls), "%s-polls", name);
    configuration.result = 0x48;
    fuzz_put_step(session.script, &configuration);
    fn(opaque, "device", polls, session.script, session.script_size);
    fn(opaque, "conn", name, session.stream, session.stream_size);
}

/* --- by hand: in the middle of a block ------------------------------------ */

enum { BESIDE = 0x100 };        /* where nothing is shared */

#define NARROW_BLOCKS \
    { .op = MEMEXPOSE_ROLE_CONNECT, .flags = MEMEXPOSE_HELLO_ON, \
      .priority = MEMEXPOSE_SEALS_PREFER, .size = 16, .result = 1, .fd = 7 }, \
    { .op = OP_GREET, .priority = 1 }
#define LARGE_BLOCK(write) \
    { .op = OP_BLOCK, .priority = 1, .type = write, .a = BESIDE, \
      .b = MX_BLOCK_MAX }

/* An answer before all of the request has come. */
static const struct fuzz_step answered_early[] = {
    NARROW_BLOCKS, LARGE_BLOCK(1), { .op = OP_ANSWER },
};

/* What was not sent when the access was given up goes on from a copy. */
static const struct fuzz_step write_given_up[] = {
    NARROW_BLOCKS,
    { .op = OP_PLAN, .type = CALL_READ, .size = PLAN_CANCEL },
    LARGE_BLOCK(1),
    { .op = OP_SEND, .flags = FLAG_RIGHT, .size = 4, .a = RAM },
    { .op = OP_DRIVE }, { .op = OP_DRIVE }, { .op = OP_DRIVE },
    { .op = OP_DRIVE }, { .op = OP_DRIVE }, { .op = OP_DRIVE },
};

/* What comes when the access was given up goes nowhere. */
static const struct fuzz_step read_given_up[] = {
    NARROW_BLOCKS,
    { .op = OP_PLAN, .type = CALL_INTERRUPT, .size = PLAN_CANCEL },
    LARGE_BLOCK(0),
    { .op = OP_ANSWER, .flags = FLAG_PARTIAL, .size = 40 },
    { .op = OP_SEND, .type = 6, .flags = FLAG_INTR },
    { .op = OP_RAW, .size = 15 }, { .op = OP_RAW, .size = 15 },
};

static void script(const char *name, const struct fuzz_step *steps,
                   size_t count, fuzz_seed_fn *fn, void *opaque)
{
    uint8_t bytes[SCRIPT];

    for (size_t i = 0; i < count; i++) {
        fuzz_put_step(bytes + i * FUZZ_STEP, &steps[i]);
    }
    fn(opaque, "device", name, bytes, count * FUZZ_STEP);
}

#define SCRIPT_OF(steps) steps, sizeof(steps) / sizeof((steps)[0])

static const struct kind kinds[] = {
    { "base", MEMEXPOSE_HELLO_OFF, 0 },
    { "hello", MEMEXPOSE_HELLO_ON, 0 },
    { "block", MEMEXPOSE_HELLO_ON, MX_FEATURE_BLOCK },
    { "push", MEMEXPOSE_HELLO_ON, MX_FEATURE_BLOCK | MX_FEATURE_PUSH },
};

void fuzz_seeds(fuzz_seed_fn *fn, void *opaque)
{
    char name[32];

    script("answered-early", SCRIPT_OF(answered_early), fn, opaque);
    script("write-given-up", SCRIPT_OF(write_given_up), fn, opaque);
    script("read-given-up", SCRIPT_OF(read_given_up), fn, opaque);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        snprintf(name, sizeof(name), "%s-listens", kinds[i].name);
        record_role(name, MEMEXPOSE_ROLE_LISTEN, &kinds[i], fn, opaque);
        snprintf(name, sizeof(name), "%s-connects", kinds[i].name);
        record_role(name, MEMEXPOSE_ROLE_CONNECT, &kinds[i], fn, opaque);
    }
}
