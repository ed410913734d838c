/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A connection with descriptors: messages, true and damaged, are written to a
 * socket in pieces, each with some descriptors, while a model says what has to
 * come out; and messages are put in and flushed into a socket that is full
 * from time to time.
 */
#include <errno.h>
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
    OPS
};

enum { STREAM = 1 << 15, FDS = 64, STEPS = 400 };

struct world {
    struct mx_conn conn;
    int peer;                   /* the other end */
    uint8_t stream[STREAM];     /* all that is queued and sent */
    size_t queued, sent, taken;
    size_t fd_from[FDS], fd_to[FDS];    /* the bytes that each goes with */
    size_t fds, fds_taken;
    bool over;                  /* after the first error nothing is parsed */
    uint64_t put_end;
    size_t drained;
    unsigned put_fds, drained_fds;
};

static void queue(struct world *world, const uint8_t *bytes, size_t count)
{
    if (count <= STREAM - world->queued) {
        memcpy(world->stream + world->queued, bytes, count);
        world->queued += count;
    }
}

static const uint8_t types[] = {
    MX_READ, MX_READ_RET, MX_WRITE, MX_WRITE_RET, MX_REG_INV, MX_REG_INV_RET,
    MX_INTR, MX_HELLO, MX_HELLO_RET,
};

static void build(const struct fuzz_step *step, struct mx_message *message)
{
    memset(message, 0, sizeof(*message));
    message->type = types[step->type % sizeof(types)];
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
    if (message->type == MX_READ_RET || message->type == MX_WRITE_RET) {
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

    return next < world->fds && world->fd_from[next] < world->taken + used;
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

static void put(struct world *world, const struct fuzz_step *step)
{
    struct mx_message message;
    uint64_t end = 0;
    int fd = -1, ret;

    build(step, &message);
    if (message.share.kind) {
        fd = dup(fuzz_object(FUZZ_SEALED));
        fuzz_check(fd >= 0);
    }
    ret = mx_conn_put(&world->conn, &message, fd, &end);
    if (ret < 0) {
        fuzz_check(ret == -ENOBUFS);
        if (fd >= 0) {
            close(fd);
        }
        return;
    }
    world->put_end += mx_wire_size(message.type);
    world->put_fds += fd >= 0;
    fuzz_check(end == world->put_end);
    if (step->flags & 4) {
        fuzz_check(mx_conn_flush(&world->conn) == 0);
    }
}

static void drain(struct world *world, size_t limit)
{
    uint8_t bytes[256];
    unsigned fds;
    size_t got;

    while (limit > 0 &&
           (got = fuzz_receive(world->peer, bytes, limit < sizeof(bytes) ?
                               limit : sizeof(bytes), &fds)) > 0) {
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
        fuzz_check(mx_conn_flush(&world->conn) == 0);
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
        fuzz_check(mx_conn_flush(&world->conn) == 0);
        break;
    default:
        drain(world, step->size * 4u);
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
    memset(&world, 0, sizeof(world));
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
        drain_all(&world);
    }
    mx_conn_close(&world.conn);
    fuzz_check(!mx_conn_is_open(&world.conn));
    close(world.peer);
    fuzz_end();
    return 0;
}
