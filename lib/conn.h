/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One stream socket: messages and descriptors in and out, in whatever pieces
 * the socket takes and gives them (protocol section 2).  Never blocks, never
 * allocates.
 */
#ifndef MX_CONN_H
#define MX_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire.h"

enum { MX_CONN_IN = 4096, MX_CONN_OUT = 1024, MX_CONN_FDS = 8 };

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
    uint8_t out[MX_CONN_OUT];
    size_t out_start, out_end;
    uint64_t out_position;      /* of out[out_start]: all before is sent */
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

/* The header, or what there is of it, of the message last looked at. */
const uint8_t *mx_conn_header(const struct mx_conn *conn, size_t *count);

/*
 * Queue a message with descriptor @fd, or -1; the descriptor becomes the
 * queue's.  *@end is the stream's position behind it.  Returns 0, or -ENOBUFS
 * if there is no room (the descriptor stays the caller's).
 */
int mx_conn_put(struct mx_conn *conn, const struct mx_message *message, int fd,
                uint64_t *end);

/* Send what is queued.  Returns 0 or -errno; what is left is no error. */
int mx_conn_flush(struct mx_conn *conn);

/* Is something left to be sent? */
static inline bool mx_conn_pending(const struct mx_conn *conn)
{
    return conn->out_start != conn->out_end;
}

/* Take back the message queued last, of which nothing has been sent. */
void mx_conn_unput(struct mx_conn *conn, uint64_t start);

#endif
