/* SPDX-License-Identifier: BSD-3-Clause */
#include "conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mutant.h"
#include "os.h"

void mx_conn_init(struct mx_conn *conn)
{
    memset(conn, 0, sizeof(*conn));
    conn->fd = -1;
    conn->out_fd = -1;
    conn->in_block.fd = -1;
}

void mx_conn_open(struct mx_conn *conn, int fd)
{
    mx_conn_init(conn);
    conn->fd = fd;
}

void mx_conn_drop_blocks(struct mx_conn *conn)
{
    while (conn->out_blocks > 0) {
        free(conn->out_block[--conn->out_blocks].kept);
    }
}

void mx_conn_close(struct mx_conn *conn)
{
    size_t i;

    for (i = 0; i < conn->fd_count; i++) {
        mx_os_close(conn->fds[i].fd);
    }
    mx_conn_drop_blocks(conn);
    mx_os_close(conn->in_block.fd);
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

/* What was received belongs to a block first, as far as one is under way. */
static size_t count_block(struct mx_conn *conn, size_t got)
{
    size_t count = got < conn->in_block.left ? got : conn->in_block.left;

    conn->in_block.to += count;
    conn->in_block.left -= count;
    conn->in_position += count;
    return count;
}

/* Does the block go where it is wanted without a copy? */
static bool receives_in_place(const struct mx_conn *conn)
{
    return conn->in_block.open && conn->in_block.to &&
           conn->in_start == conn->in_end;
}

int mx_conn_fill(struct mx_conn *conn)
{
    struct mx_received_fds fds;
    struct iovec parts[2];
    size_t left = conn->in_end - conn->in_start, count = 0;
    bool in_place = receives_in_place(conn);
    ssize_t got;
    int ret;

    memmove(conn->in, conn->in + conn->in_start, left);
    conn->in_start = 0;
    conn->in_end = left;
    if (in_place) {
        parts[count++] = (struct iovec) { conn->in_block.to,
                                          conn->in_block.left };
    }
    parts[count++] = (struct iovec) { conn->in + left,
                                      sizeof(conn->in) - left };
    got = mx_os_receive(conn->fd, parts, count, &fds);
    if (got < 0) {
        return (int)got;
    }
    conn->in_end += (size_t)got - (in_place ? count_block(conn, (size_t)got)
                                            : 0);
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

static void step(struct mx_conn *conn, size_t count)
{
    conn->in_start += count;
    conn->in_position += count;
}

static enum mx_conn_next unexpected_descriptor(int *fd, const char **reason)
{
    mx_os_close(*fd);
    *fd = -1;
    *reason = "an unexpected descriptor";
    return MX_CONN_VIOLATION;
}

void mx_conn_place_block(struct mx_conn *conn, uint8_t *to)
{
    conn->in_block.placed = true;
    conn->in_block.to = to;
}

bool mx_conn_receives(const struct mx_conn *conn, uint8_t type)
{
    return conn->in_block.open && conn->in_block.message.type == type;
}

/* Of what is here, what belongs to the block. */
static void take_block(struct mx_conn *conn)
{
    size_t there = conn->in_end - conn->in_start;
    size_t count = there < conn->in_block.left ? there : conn->in_block.left;

    if (conn->in_block.to) {
        memcpy(conn->in_block.to, conn->in + conn->in_start, count);
        conn->in_block.to += count;
    }
    conn->in_block.left -= count;
    step(conn, count);
}

/* The message whose block is under way, once that is here. */
static enum mx_conn_next end_block(struct mx_conn *conn,
                                   struct mx_message *message, int *fd,
                                   const char **reason)
{
    if (!conn->in_block.placed) {
        return MX_CONN_BLOCK;
    }
    take_block(conn);
    if (conn->in_block.left > 0 && MX_RULE(WHOLE_BLOCKS)) {
        return MX_CONN_NONE;
    }
    *message = conn->in_block.message;
    *fd = conn->in_block.fd;
    conn->in_block.fd = -1;
    if (descriptor_left_over(conn, conn->in_position)) {
        return unexpected_descriptor(fd, reason);
    }
    conn->in_block.open = false;
    return MX_CONN_MESSAGE;
}

static enum mx_conn_next begin_block(struct mx_conn *conn,
                                     const struct mx_message *message, int fd)
{
    conn->in_block.open = true;
    conn->in_block.placed = false;
    conn->in_block.message = *message;
    conn->in_block.fd = fd;
    conn->in_block.to = NULL;
    conn->in_block.left = mx_wire_block(message);
    return MX_CONN_BLOCK;
}

enum mx_conn_next mx_conn_next(struct mx_conn *conn,
                               struct mx_message *message, int *fd,
                               const char **reason)
{
    enum mx_decoded decoded;
    size_t used;

    *fd = -1;
    if (conn->in_block.open) {
        return end_block(conn, message, fd, reason);
    }
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
        return unexpected_descriptor(fd, reason);
    }
    memcpy(conn->in_block.header, conn->in + conn->in_start, MX_HEADER_SIZE);
    step(conn, used);
    if (mx_wire_block(message) > 0) {
        enum mx_conn_next next = begin_block(conn, message, *fd);

        *fd = -1;
        return next;
    }
    return MX_CONN_MESSAGE;
}

const uint8_t *mx_conn_header(const struct mx_conn *conn, size_t *count)
{
    size_t there = conn->in_end - conn->in_start;

    if (conn->in_block.open) {
        *count = MX_HEADER_SIZE;
        return conn->in_block.header;
    }
    *count = there < MX_HEADER_SIZE ? there : MX_HEADER_SIZE;
    return conn->in + conn->in_start;
}

/* How much of blocks is still to be sent. */
static size_t blocks_left(const struct mx_conn *conn)
{
    size_t sum = 0, i;

    for (i = 0; i < conn->out_blocks; i++) {
        sum += conn->out_block[i].left;
    }
    return sum;
}

int mx_conn_put(struct mx_conn *conn, const struct mx_message *message, int fd,
                uint64_t *end)
{
    uint8_t bytes[MX_MESSAGE_MAX];
    size_t size = mx_wire_encode(message, bytes);
    size_t left = conn->out_end - conn->out_start;
    uint64_t position = conn->out_position + left + blocks_left(conn);

    if (left + size > sizeof(conn->out) || (fd >= 0 && conn->out_fd >= 0)) {
        return -ENOBUFS;
    }
    memmove(conn->out, conn->out + conn->out_start, left);
    memcpy(conn->out + left, bytes, size);
    conn->out_start = 0;
    conn->out_end = left + size;
    if (fd >= 0) {
        conn->out_fd = fd;
        conn->out_fd_position = position;
    }
    *end = position + size;
    return 0;
}

int mx_conn_put_block(struct mx_conn *conn, const struct mx_message *message,
                      int fd, const uint8_t *bytes, uint64_t *end)
{
    size_t size = mx_wire_block(message);
    int ret;

    if (size > 0 && conn->out_blocks == MX_CONN_BLOCKS) {
        return -ENOBUFS;
    }
    ret = mx_conn_put(conn, message, fd, end);
    if (ret == 0 && size > 0) {
        conn->out_block[conn->out_blocks++] = (struct mx_out_block) {
            .bytes = bytes,
            .left = size,
            .ahead = conn->out_end - conn->out_start,
        };
        *end += size;
    }
    return ret;
}

static struct mx_out_block *find_block(struct mx_conn *conn,
                                       const uint8_t *bytes, size_t size)
{
    size_t i;

    for (i = 0; i < conn->out_blocks; i++) {
        struct mx_out_block *block = &conn->out_block[i];

        if (!block->kept && block->bytes >= bytes &&
            block->bytes < bytes + size) {
            return block;
        }
    }
    return NULL;
}

int mx_conn_keep_block(struct mx_conn *conn, const uint8_t *bytes, size_t size)
{
    struct mx_out_block *block = find_block(conn, bytes, size);

    if (!block) {
        return 0;
    }
    block->kept = malloc(block->left);
    if (!block->kept) {
        return -ENOMEM;
    }
    memcpy(block->kept, block->bytes, block->left);
    block->bytes = block->kept;
    return 0;
}

/* What can go in one send: messages and blocks in their order. */
enum { PARTS = 2 * MX_CONN_BLOCKS + 1 };

static size_t all_parts(const struct mx_conn *conn, struct iovec *parts)
{
    size_t at = conn->out_start, count = 0, i;

    for (i = 0; i <= conn->out_blocks; i++) {
        size_t end = i < conn->out_blocks ?
                     conn->out_start + conn->out_block[i].ahead :
                     conn->out_end;

        if (end > at) {
            parts[count++] = (struct iovec) { (void *)(conn->out + at),
                                              end - at };
            at = end;
        }
        if (i < conn->out_blocks) {
            parts[count++] = (struct iovec) {
                (void *)conn->out_block[i].bytes, conn->out_block[i].left };
        }
    }
    return count;
}

/* Not more than the first @most bytes of them. */
static size_t cut(struct iovec *parts, size_t count, uint64_t most)
{
    size_t i;

    for (i = 0; i < count; i++) {
        if (parts[i].iov_len >= most) {
            parts[i].iov_len = (size_t)most;
            return i + 1;
        }
        most -= parts[i].iov_len;
    }
    return count;
}

/* From this many bytes on a block takes about as long as to wake somebody. */
enum { LONG_BLOCK = 16384 };

/*
 * A receiver is woken when the first piece is there.  What stands before a
 * long block goes alone, so that the peer wakes while the block is copied.
 */
static bool goes_ahead(const struct mx_conn *conn)
{
    return conn->out_blocks > 0 && conn->out_block[0].ahead > 0 &&
           conn->out_block[0].left >= LONG_BLOCK;
}

/* A descriptor goes with the first byte of its message. */
static size_t next_parts(const struct mx_conn *conn, struct iovec *parts,
                         int *passed)
{
    size_t count = all_parts(conn, parts);

    if (goes_ahead(conn)) {
        count = 1;
    }
    *passed = -1;
    if (conn->out_fd < 0) {
        return count;
    }
    if (conn->out_fd_position > conn->out_position) {
        return cut(parts, count, conn->out_fd_position - conn->out_position);
    }
    *passed = conn->out_fd;
    return count;
}

static void drop_first_block(struct mx_conn *conn)
{
    free(conn->out_block[0].kept);
    conn->out_blocks--;
    memmove(conn->out_block, conn->out_block + 1,
            conn->out_blocks * sizeof(conn->out_block[0]));
}

/* @sent bytes of messages have gone out. */
static void advance_messages(struct mx_conn *conn, size_t sent)
{
    size_t i;

    conn->out_start += sent;
    for (i = 0; i < conn->out_blocks; i++) {
        conn->out_block[i].ahead -= sent;
    }
}

static void advance(struct mx_conn *conn, size_t sent)
{
    conn->out_position += sent;
    while (sent > 0) {
        struct mx_out_block *block = conn->out_blocks > 0 ?
                                     &conn->out_block[0] : NULL;
        size_t most = block ? block->ahead : conn->out_end - conn->out_start;
        size_t count = sent < most ? sent : most;

        advance_messages(conn, count);
        sent -= count;
        if (block && block->ahead == 0) {
            count = sent < block->left ? sent : block->left;
            block->bytes += count;
            block->left -= count;
            sent -= count;
            if (block->left == 0) {
                drop_first_block(conn);
            }
        }
    }
}

int mx_conn_flush(struct mx_conn *conn)
{
    while (mx_conn_pending(conn)) {
        struct iovec parts[PARTS];
        int passed;
        size_t count = next_parts(conn, parts, &passed);
        ssize_t sent = mx_os_send(conn->fd, parts, count, passed);

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
        advance(conn, (size_t)sent);
    }
    return 0;
}

void mx_conn_unput(struct mx_conn *conn, uint64_t start)
{
    conn->out_end = conn->out_start + (size_t)(start - conn->out_position);
}
