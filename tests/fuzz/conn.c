/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A connection with descriptors: messages, true and damaged, are written to a
 * socket in pieces, each with some descriptors, while a model says what has to
 * come out; and messages are put in and flushed into a socket that is full
 * from time to time.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn.h"
#include "fuzz.h"

enum {
    QUEUE_MESSAGE,              /* append a message to what is to be sent */
    QUEUE_BYTES,                /* append bytes that are none */
    SEND,                       /* a piece of it, with descriptors */
    FILL,                       /* the connection receives, and takes */
    PUT,                        /* the connection sends a message */
    FLUSH,
    DRAIN,                      /* the other side reads */
    PLACE,                      /* blocks go to a buffer, or nowhere */
    LEAVE,                      /* the block under way goes nowhere */
    KEEP,                       /* what was put goes on from a copy */
    DROP,                       /* no block goes on */
    OPS
};

enum {
    STREAM = 1 << 18,
    PUT_STREAM = 1 << 19,
    FDS = 64,
    STEPS = 400,
    MARK = 0xa5                 /* where no block was received */
};

/* A block that was put, which stays where it is until it is sent or kept. */
struct put_block {
    uint8_t *bytes;             /* NULL: none */
    size_t size;
    uint64_t end;               /* in the stream */
};

struct world {
    struct mx_conn conn;
    int peer;                   /* the other end */
    size_t queued, sent, taken;
    size_t fd_from[FDS], fd_to[FDS];    /* the bytes that each goes with */
    size_t fds, fds_taken;
    bool over;                  /* after the first error nothing is parsed */
    struct {
        bool open;
        uint8_t *to;            /* NULL: nowhere */
        size_t size;
    } block;                    /* that is being received */
    bool place;                 /* the next one in a buffer */
    struct put_block put_blocks[MX_CONN_BLOCKS];
    bool dropped;               /* nothing more can be sent */
    uint64_t put_end;
    size_t drained;
    unsigned put_fds, drained_fds;
    /* from here on nothing has to be zero */
    uint8_t stream[STREAM];     /* all that is queued and sent */
    uint8_t put_stream[PUT_STREAM];     /* all that was put */
};

static void queue(struct world *world, const uint8_t *bytes, size_t count)
{
    if (count <= STREAM - world->queued) {
        memcpy(world->stream + world->queued, bytes, count);
        world->queued += count;
    }
}

/* Mostly little, and at times all that there may be. */
static uint32_t block_size(const struct fuzz_step *step)
{
    return step->flags & 2 ? MX_BLOCK_MAX : (uint32_t)(step->b % 9000 + 1);
}

static void build(const struct fuzz_step *step, struct mx_message *message)
{
    memset(message, 0, sizeof(*message));
    message->type = fuzz_type(step->type);
    message->priority = step->priority;
    message->offset = step->a;
    message->value = step->b;
    message->size = step->size;
    message->result = step->result;
    if (message->type == MX_HELLO || message->type == MX_HELLO_RET) {
        message->u.hello.magic = MX_HELLO_MAGIC;
        message->u.hello.pair_id = step->a;
        message->u.hello.name[0] = 'f';
        return;
    }
    if (mx_wire_is_block(message->type)) {
        message->size = block_size(step);
    }
    if (message->type == MX_READ_RET || message->type == MX_WRITE_RET ||
        message->type == MX_OFFER || (step->flags & 8 &&
        mx_wire_is_block(message->type) &&
        mx_wire_is_response(message->type))) {
        message->share.kind = step->share & 1;
        message->share.start = step->a & ~UINT64_C(0xfff);
        message->share.size = step->b & 0xffff;
    }
    if (message->type == MX_INTR) {
        memset(message->u.data, step->share, MX_INTR_DATA);
    }
}

static void queue_message(struct world *world, const struct fuzz_step *step)
{
    uint8_t bytes[MX_MESSAGE_MAX];
    struct mx_message message;
    size_t count;

    build(step, &message);
    count = mx_wire_encode(&message, bytes);
    if (step->flags & 1) {      /* damage */
        bytes[step->fd % count] ^= (uint8_t)(step->flags | 2);
    }
    queue(world, bytes, count);
    for (size_t i = mx_wire_block(&message); i > 0; i -= count) {
        count = i < sizeof(bytes) ? i : sizeof(bytes);
        memset(bytes, (int)(step->a + i), count);
        queue(world, bytes, count);
    }
}

static void queue_bytes(struct world *world, const struct fuzz_step *step)
{
    uint8_t bytes[16];

    mx_value_to_bytes(step->a, bytes);
    mx_value_to_bytes(step->b, bytes + 8);
    queue(world, bytes, step->size % sizeof(bytes) + 1u);
}

/* A piece of what is queued, all of it if the size is 0. */
static void send_piece(struct world *world, const struct fuzz_step *step)
{
    size_t count = world->queued - world->sent;
    size_t fd_count = step->share % 6;
    int fds[5] = { 0 };

    if (step->size && step->size < count) {
        count = step->size;
    }
    if (count == 0 || world->fds + fd_count > FDS) {
        return;
    }
    for (size_t i = 0; i < fd_count; i++) {
        fds[i] = fuzz_object(FUZZ_SEALED +
                             (step->fd + i) % (FUZZ_OBJECTS - 1));
    }
    count = fuzz_send(world->peer, world->stream + world->sent, count, fds,
                      fd_count);
    world->sent += count;
    for (size_t i = 0; count > 0 && i < fd_count; i++) {
        world->fd_from[world->fds] = world->sent - count;
        world->fd_to[world->fds++] = world->sent;
    }
}

static void forget_block(struct world *world)
{
    free(world->block.to);
    world->block.to = NULL;
    world->block.open = false;
}

static void place_block(struct world *world)
{
    size_t size = mx_wire_block(&world->conn.in_block.message);

    fuzz_check(!world->block.open && size > 0 && size <= MX_BLOCK_MAX);
    world->block.open = true;
    world->block.size = size;
    world->block.to = world->place ? malloc(size) : NULL;
    if (world->block.to) {
        memset(world->block.to, MARK, size);
    }
    fuzz_check(mx_conn_receives(&world->conn,
                                world->conn.in_block.message.type));
    mx_conn_place_block(&world->conn, world->block.to);
}

/* What was there when nobody wants it any more stays as it is: it is freed. */
static void leave_block(struct world *world)
{
    if (world->block.open) {
        mx_conn_place_block(&world->conn, NULL);
        free(world->block.to);
        world->block.to = NULL;
    }
}

/* The bytes behind the message are those of the block. */
static void check_block(struct world *world, size_t size)
{
    fuzz_check(world->block.open == (size > 0));
    fuzz_check(size == 0 || world->block.size == size);
    fuzz_check(world->taken + size <= world->sent);
    if (world->block.to) {
        fuzz_check(memcmp(world->block.to, world->stream + world->taken,
                          size) == 0);
    }
    forget_block(world);
    world->taken += size;
}

/* What came out is what went in, in order. */
static void check_taken(struct world *world, const struct mx_message *message,
                        int fd)
{
    struct mx_message expected;
    size_t used = 0;

    fuzz_check(mx_wire_decode(world->stream + world->taken,
                              world->sent - world->taken, &expected, &used) ==
               MX_DECODED);
    fuzz_check(memcmp(&expected, message, sizeof(expected)) == 0);
    fuzz_check((fd >= 0) == (message->share.kind == 1));
    world->taken += used;
    check_block(world, mx_wire_block(message));
    if (fd >= 0) {
        fuzz_check(world->fds_taken < world->fds);
        world->fds_taken++;
        close(fd);
    }
    /* one whose bytes have all been parsed would have been a violation */
    fuzz_check(world->fds_taken == world->fds ||
               world->fd_to[world->fds_taken] > world->taken);
}

/*
 * Descriptors come with the first byte that was sent with them, at the
 * earliest, so one that goes with later bytes is of no use.
 */
static bool lacks_descriptor(const struct world *world,
                             const struct mx_message *message, size_t used)
{
    return message->share.kind == 1 &&
           (world->fds_taken == world->fds ||
            world->fd_from[world->fds_taken] >= world->taken + used);
}

static bool has_surplus_descriptor(const struct world *world,
                                   const struct mx_message *message,
                                   size_t used)
{
    size_t next = world->fds_taken + (message->share.kind == 1);
    size_t end = world->taken + used + mx_wire_block(message);

    return next < world->fds && world->fd_from[next] < end;
}

/* A violation is one in the model, too. */
static void check_violation(struct world *world, const char *reason)
{
    struct mx_message message;
    size_t used = 0, count;
    enum mx_decoded decoded =
        mx_wire_decode(world->stream + world->taken,
                       world->sent - world->taken, &message, &used);

    fuzz_check(reason && *reason);
    mx_conn_header(&world->conn, &count);
    fuzz_check(count <= MX_HEADER_SIZE);
    if (decoded == MX_DECODED) {
        fuzz_check(lacks_descriptor(world, &message, used) ||
                   has_surplus_descriptor(world, &message, used));
    } else {
        fuzz_check(decoded != MX_DECODE_SHORT);
    }
    world->over = true;
}

static void take_messages(struct world *world)
{
    struct mx_message message;
    const char *reason = NULL;

    while (!world->over) {
        int fd = -2;

        switch (mx_conn_next(&world->conn, &message, &fd, &reason)) {
        case MX_CONN_NONE:
            return;
        case MX_CONN_MESSAGE:
            check_taken(world, &message, fd);
            break;
        case MX_CONN_BLOCK:
            fuzz_check(fd == -1);
            place_block(world);
            break;
        case MX_CONN_VIOLATION:
            fuzz_check(fd == -1);
            check_violation(world, reason);
            break;
        }
    }
}

static void fill(struct world *world)
{
    int ret;

    while (!world->over) {
        ret = mx_conn_fill(&world->conn);
        fuzz_check(world->conn.in_end <= sizeof(world->conn.in));
        fuzz_check(world->conn.fd_count <= MX_CONN_FDS);
        if (ret == -E2BIG) {
            fuzz_check(world->fds - world->fds_taken > 4);
            world->over = true; /* as the link does */
            return;
        }
        if (ret < 0) {
            fuzz_check(ret == -EAGAIN);
            return;
        }
        take_messages(world);
    }
}

/* Where blocks lie that are sent is nobody's business any more. */
static void free_sent(struct world *world)
{
    for (int i = 0; i < MX_CONN_BLOCKS; i++) {
        struct put_block *block = &world->put_blocks[i];

        if (block->bytes && block->end <= world->conn.out_position) {
            free(block->bytes);
            block->bytes = NULL;
        }
    }
}

static void flush(struct world *world)
{
    if (!world->dropped) {
        fuzz_check(mx_conn_flush(&world->conn) == 0);
        free_sent(world);
    }
}

static struct put_block *free_place(struct world *world)
{
    for (int i = 0; i < MX_CONN_BLOCKS; i++) {
        if (!world->put_blocks[i].bytes) {
            return &world->put_blocks[i];
        }
    }
    return NULL;
}

/* The message and its block, and both where they are expected again. */
static int put_block(struct world *world, const struct mx_message *message,
                     int fd, const struct fuzz_step *step, uint64_t *end)
{
    size_t size = mx_wire_block(message), used;
    uint8_t *at = world->put_stream + world->put_end;
    struct put_block *place = free_place(world);
    uint8_t *bytes = NULL;
    int ret;

    if (size > 0) {
        if (!place) {
            return -ENOBUFS;
        }
        bytes = malloc(size);
        fuzz_check(bytes);
        memset(bytes, (int)step->a, size);
    }
    ret = mx_conn_put_block(&world->conn, message, fd, bytes, end);
    if (ret < 0) {
        free(bytes);
        return ret;
    }
    used = mx_wire_encode(message, at);
    if (size > 0) {
        memcpy(at + used, bytes, size);
        *place = (struct put_block) { bytes, size, *end };
    }
    world->put_end += used + size;
    return 0;
}

static void put(struct world *world, const struct fuzz_step *step)
{
    struct mx_message message;
    uint64_t end = 0;
    int fd = -1, ret;

    size_t block;

    build(step, &message);
    block = mx_wire_block(&message);
    if (world->dropped || world->put_end + MX_MESSAGE_MAX + block >
        PUT_STREAM) {
        return;
    }
    if (message.share.kind) {
        fd = dup(fuzz_object(FUZZ_SEALED));
        fuzz_check(fd >= 0);
    }
    ret = put_block(world, &message, fd, step, &end);
    if (ret < 0) {
        fuzz_check(ret == -ENOBUFS);
        if (fd >= 0) {
            close(fd);
        }
        return;
    }
    world->put_fds += fd >= 0;
    fuzz_check(end == world->put_end);
    if (step->flags & 4) {
        flush(world);
    }
}

/* Some of it, or all of it, is used otherwise from now on. */
static void keep(struct world *world, const struct fuzz_step *step)
{
    struct put_block *block =
        &world->put_blocks[step->type % MX_CONN_BLOCKS];

    if (block->bytes && !world->dropped &&
        mx_conn_keep_block(&world->conn, block->bytes, block->size) == 0) {
        free(block->bytes);
        block->bytes = NULL;
    }
}

static void drop(struct world *world)
{
    mx_conn_drop_blocks(&world->conn);
    fuzz_check(world->conn.out_blocks == 0);
    for (int i = 0; i < MX_CONN_BLOCKS; i++) {
        free(world->put_blocks[i].bytes);
        world->put_blocks[i].bytes = NULL;
    }
    world->dropped = true;
}

static void drain(struct world *world, size_t limit)
{
    uint8_t bytes[256];
    unsigned fds;
    size_t got;

    while (limit > 0 &&
           (got = fuzz_receive(world->peer, bytes, limit < sizeof(bytes) ?
                               limit : sizeof(bytes), &fds)) > 0) {
        fuzz_check(world->dropped || (world->drained + got <= world->put_end &&
                   memcmp(bytes, world->put_stream + world->drained,
                          got) == 0));
        world->drained += got;
        world->drained_fds += fds;
        limit -= got;
    }
}

/* Sooner or later all that was put comes out. */
static void drain_all(struct world *world)
{
    for (int i = 0; i < 1000 && mx_conn_pending(&world->conn); i++) {
        drain(world, SIZE_MAX);
        flush(world);
    }
    drain(world, SIZE_MAX);
    fuzz_check(!mx_conn_pending(&world->conn));
    fuzz_check(world->drained == world->put_end);
    fuzz_check(world->drained_fds == world->put_fds);
}

static void run(struct world *world, const struct fuzz_step *step)
{
    switch (step->op % OPS) {
    case QUEUE_MESSAGE:
        queue_message(world, step);
        break;
    case QUEUE_BYTES:
        queue_bytes(world, step);
        break;
    case SEND:
        send_piece(world, step);
        break;
    case FILL:
        fill(world);
        break;
    case PUT:
        put(world, step);
        break;
    case FLUSH:
        flush(world);
        break;
    case DRAIN:
        drain(world, step->flags & 2 ? SIZE_MAX : step->size * 4u);
        break;
    case PLACE:
        world->place = step->size & 1;
        break;
    case LEAVE:
        leave_block(world);
        break;
    case KEEP:
        keep(world, step);
        break;
    default:
        drop(world);
        break;
    }
}

int fuzz_conn(const uint8_t *data, size_t size)
{
    static struct world world;
    struct fuzz_input input = { data, size };
    struct fuzz_step step, rest = { .op = SEND };
    int ends[2], little = 2048;

    fuzz_begin();
    memset(&world, 0, offsetof(struct world, stream));
    fuzz_socket_pair(ends);
    setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &little, sizeof(little));
    mx_conn_init(&world.conn);
    mx_conn_open(&world.conn, ends[0]);
    world.peer = ends[1];
    for (int i = 0; i < STEPS && fuzz_take_step(&input, &step); i++) {
        run(&world, &step);
    }
    if (size % 2) {             /* an end with all that is left, or without */
        send_piece(&world, &rest);
        fill(&world);
        if (!world.dropped) {
            drain_all(&world);
        }
    }
    mx_conn_close(&world.conn);
    drop(&world);
    forget_block(&world);
    fuzz_check(!mx_conn_is_open(&world.conn));
    close(world.peer);
    fuzz_end();
    return 0;
}
