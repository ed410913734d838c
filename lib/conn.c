/* SPDX-License-Identifier: BSD-3-Clause */
#include "conn.h"

#include <errno.h>
#include <string.h>

#include "os.h"

void mx_conn_init(struct mx_conn *conn)
{
    memset(conn, 0, sizeof(*conn));
    conn->fd = -1;
    conn->out_fd = -1;
}

void mx_conn_open(struct mx_conn *conn, int fd)
{
    mx_conn_init(conn);
    conn->fd = fd;
}

void mx_conn_close(struct mx_conn *conn)
{
    size_t i;

    for (i = 0; i < conn->fd_count; i++) {
        mx_os_close(conn->fds[i].fd);
    }
    mx_os_close(conn->out_fd);
    mx_os_close(conn->fd);
    mx_conn_init(conn);
}

/* Queue what came with the bytes up to @end. */
static int queue_descriptors(struct mx_conn *conn,
                             const struct mx_received_fds *fds, uint64_t end)
{
    size_t i;
    bool too_many = false;

    for (i = 0; i < fds->count; i++) {
        if (conn->fd_count == MX_CONN_FDS) {
            mx_os_close(fds->fd[i]);
            too_many = true;
            continue;
        }
        conn->fds[conn->fd_count].fd = fds->fd[i];
        conn->fds[conn->fd_count].end = end;
        conn->fd_count++;
    }
    if (too_many || (fds->truncated && fds->count == MX_OS_FDS)) {
        return -E2BIG;
    }
    return fds->truncated ? -EMFILE : 0;
}

int mx_conn_fill(struct mx_conn *conn)
{
    struct mx_received_fds fds;
    size_t left = conn->in_end - conn->in_start;
    ssize_t got;
    int ret;

    memmove(conn->in, conn->in + conn->in_start, left);
    conn->in_start = 0;
    conn->in_end = left;
    got = mx_os_receive(conn->fd, conn->in + left, sizeof(conn->in) - left,
                        &fds);
    if (got < 0) {
        return (int)got;
    }
    conn->in_end += (size_t)got;
    ret = queue_descriptors(conn, &fds, conn->in_position + conn->in_end);
    if (ret < 0) {
        return ret;
    }
    return got == 0 ? -ENODATA : 0;
}

/* A message that declares a descriptor takes the first in the queue. */
static int take_descriptor(struct mx_conn *conn)
{
    int fd;

    if (conn->fd_count == 0) {
        return -1;
    }
    fd = conn->fds[0].fd;
    conn->fd_count--;
    memmove(conn->fds, conn->fds + 1, conn->fd_count * sizeof(conn->fds[0]));
    return fd;
}

/* Is one left although all bytes that it came with have been parsed? */
static bool descriptor_left_over(const struct mx_conn *conn, uint64_t parsed)
{
    return conn->fd_count > 0 && conn->fds[0].end <= parsed;
}

enum mx_conn_next mx_conn_next(struct mx_conn *conn,
                               struct mx_message *message, int *fd,
                               const char **reason)
{
    enum mx_decoded decoded;
    size_t used;

    *fd = -1;
    decoded = mx_wire_decode(conn->in + conn->in_start,
                             conn->in_end - conn->in_start, message, &used);
    if (decoded == MX_DECODE_SHORT) {
        return MX_CONN_NONE;
    }
    if (decoded != MX_DECODED) {
        *reason = mx_wire_error(decoded);
        return MX_CONN_VIOLATION;
    }
    if (message->share.kind) {
        *fd = take_descriptor(conn);
        if (*fd < 0) {
            *reason = "a share without its descriptor";
            return MX_CONN_VIOLATION;
        }
    }
    if (descriptor_left_over(conn, conn->in_position + used)) {
        mx_os_close(*fd);
        *fd = -1;
        *reason = "an unexpected descriptor";
        return MX_CONN_VIOLATION;
    }
    conn->in_start += used;
    conn->in_position += used;
    return MX_CONN_MESSAGE;
}

const uint8_t *mx_conn_header(const struct mx_conn *conn, size_t *count)
{
    size_t there = conn->in_end - conn->in_start;

    *count = there < MX_HEADER_SIZE ? there : MX_HEADER_SIZE;
    return conn->in + conn->in_start;
}

int mx_conn_put(struct mx_conn *conn, const struct mx_message *message, int fd,
                uint64_t *end)
{
    uint8_t bytes[MX_MESSAGE_MAX];
    size_t size = mx_wire_encode(message, bytes);
    size_t left = conn->out_end - conn->out_start;

    if (left + size > sizeof(conn->out) || (fd >= 0 && conn->out_fd >= 0)) {
        return -ENOBUFS;
    }
    memmove(conn->out, conn->out + conn->out_start, left);
    memcpy(conn->out + left, bytes, size);
    conn->out_start = 0;
    conn->out_end = left + size;
    if (fd >= 0) {
        conn->out_fd = fd;
        conn->out_fd_position = conn->out_position + left;
    }
    *end = conn->out_position + conn->out_end;
    return 0;
}

/* How many bytes can go in one send, and with which descriptor. */
static size_t next_piece(const struct mx_conn *conn, int *passed)
{
    size_t left = conn->out_end - conn->out_start;

    *passed = -1;
    if (conn->out_fd < 0) {
        return left;
    }
    if (conn->out_fd_position > conn->out_position) {
        return (size_t)(conn->out_fd_position - conn->out_position);
    }
    *passed = conn->out_fd;
    return left;
}

int mx_conn_flush(struct mx_conn *conn)
{
    while (mx_conn_pending(conn)) {
        int passed;
        size_t size = next_piece(conn, &passed);
        ssize_t sent = mx_os_send(conn->fd, conn->out + conn->out_start, size,
                                  passed);

        if (sent == -EAGAIN) {
            return 0;
        }
        if (sent < 0) {
            return (int)sent;
        }
        if (passed >= 0) {
            mx_os_close(conn->out_fd);
            conn->out_fd = -1;
        }
        conn->out_start += (size_t)sent;
        conn->out_position += (size_t)sent;
    }
    return 0;
}

void mx_conn_unput(struct mx_conn *conn, uint64_t start)
{
    conn->out_end = conn->out_start + (size_t)(start - conn->out_position);
}
