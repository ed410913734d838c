/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One stream socket: messages and descriptors in and out, in whatever pieces
 * the socket takes and gives them (protocol section 2).  Never blocks, and
 * never allocates but in mx_conn_keep_block().
 *
 * The bytes of a block (section 8) are not copied on their way: they are sent
 * from where they lie, and received where they are wanted.
 */
#ifndef MX_CONN_H
#define MX_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire.h"

enum {
    MX_CONN_IN = 4096,
    MX_CONN_OUT = 1024,
    MX_CONN_FDS = 8,
    MX_CONN_BLOCKS = 2          /* to be sent: a request's, a response's */
};

/* A block to be sent, or what is left of it. */
struct mx_out_block {
    const uint8_t *bytes;
    uint8_t *kept;              /* a copy to be freed, or NULL */
    size_t left;
    size_t ahead;               /* of out[] that go first */
};

struct mx_conn {
    int fd;                     /* -1: closed */
    uint8_t in[MX_CONN_IN];
    size_t in_start, in_end;
    uint64_t in_position;       /* of in[in_start] in the stream */
    struct {
        int fd;
        uint64_t end;           /* of the bytes that it came with */
    } fds[MX_CONN_FDS];
    size_t fd_count;
    struct {
        bool open;              /* a message whose block is not all here */
        bool placed;            /* it is known where the block goes */
        struct mx_message message;
        uint8_t header[MX_HEADER_SIZE];
        int fd;                 /* its descriptor, -1: none */
        uint8_t *to;            /* NULL: nowhere */
        size_t left;
    } in_block;
    uint8_t out[MX_CONN_OUT];
    size_t out_start, out_end;
    uint64_t out_position;      /* in the stream: all before is sent */
    struct mx_out_block out_block[MX_CONN_BLOCKS];
    size_t out_blocks;
    int out_fd;                 /* waits to be sent, -1: none */
    uint64_t out_fd_position;   /* with the byte at this position */
};

void mx_conn_init(struct mx_conn *conn);

/* Take over @fd. */
void mx_conn_open(struct mx_conn *conn, int fd);

/* Close the socket and every queued descriptor, forget all bytes. */
void mx_conn_close(struct mx_conn *conn);

static inline bool mx_conn_is_open(const struct mx_conn *conn)
{
    return conn->fd >= 0;
}

/*
 * Receive once.  Returns 0 if something came, -EAGAIN if nothing did, -ENODATA
 * at the end of the stream, -E2BIG if there are more descriptors than messages
 * can have, -EMFILE if some were lost because this process has too many, or
 * what recvmsg(2) failed with.  Every message has been taken before.
 */
int mx_conn_fill(struct mx_conn *conn);

enum mx_conn_next {
    MX_CONN_NONE,               /* no whole message is there */
    MX_CONN_MESSAGE,
    MX_CONN_BLOCK,              /* a message whose block is to come: say where
                                 * by mx_conn_place_block(), then it comes */
    MX_CONN_VIOLATION           /* *@reason says which */
};

/*
 * Take the next message.  *@fd is the descriptor that belongs to it, the
 * caller's, or -1.  With MX_CONN_VIOLATION the offending header is at
 * mx_conn_header().
 */
enum mx_conn_next mx_conn_next(struct mx_conn *conn,
                               struct mx_message *message, int *fd,
                               const char **reason);

/* The block under way goes to @to, which has room; NULL: to nowhere. */
void mx_conn_place_block(struct mx_conn *conn, uint8_t *to);

/* Is one under way for a message of this type? */
bool mx_conn_receives(const struct mx_conn *conn, uint8_t type);

/* The header, or what there is of it, of the message last looked at. */
const uint8_t *mx_conn_header(const struct mx_conn *conn, size_t *count);

/*
 * Queue a message with descriptor @fd, or -1; the descriptor becomes the
 * queue's.  *@end is the stream's position behind it.  Returns 0, or -ENOBUFS
 * if there is no room (the descriptor stays the caller's).
 */
int mx_conn_put(struct mx_conn *conn, const struct mx_message *message, int fd,
                uint64_t *end);

/*
 * The same with the block that follows it, of mx_wire_block() bytes, which
 * stay where they are until they are sent, or kept.
 */
int mx_conn_put_block(struct mx_conn *conn, const struct mx_message *message,
                      int fd, const uint8_t *bytes, uint64_t *end);

/*
 * Make a copy of what is not yet sent of the block of at most @size bytes at
 * @bytes, which are to be used otherwise.
 * Returns 0 or -ENOMEM.
 */
int mx_conn_keep_block(struct mx_conn *conn, const uint8_t *bytes,
                       size_t size);

/* Nothing of any block is sent: the socket is about to be closed. */
void mx_conn_drop_blocks(struct mx_conn *conn);

/* Send what is queued.  Returns 0 or -errno; what is left is no error. */
int mx_conn_flush(struct mx_conn *conn);

/* Is something left to be sent? */
static inline bool mx_conn_pending(const struct mx_conn *conn)
{
    return conn->out_start != conn->out_end || conn->out_blocks > 0;
}

/* Take back the message queued last, of which nothing has been sent, and that
 * has no block. */
void mx_conn_unput(struct mx_conn *conn, uint64_t start);

#endif
