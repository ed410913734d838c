/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A connection, the other end of its socket, and a stream of messages.
 */
#ifndef TESTS_STREAM_H
#define TESTS_STREAM_H

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conn.h"
#include "harness.h"

enum { STREAM = 2048, MESSAGES = 24, FDS = 16 };

/* --- the other side ------------------------------------------------------ */

static int peer;                /* its socket */
static struct mx_conn conn;

static inline void setup(void)
{
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair),
                     0);
    peer = pair[1];
    mx_conn_open(&conn, pair[0]);
}

static inline void hang_up(void)
{
    close(peer);
    peer = -1;
}

static inline void teardown(void)
{
    if (peer >= 0) {
        close(peer);
    }
    mx_conn_close(&conn);
    ck_assert(!mx_conn_is_open(&conn));
}

static inline int object(void)
{
    int fd = memfd_create("object", MFD_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    return fd;
}

static inline bool same_object(int one, int other)
{
    struct stat a, b;

    ck_assert_int_eq(fstat(one, &a), 0);
    ck_assert_int_eq(fstat(other, &b), 0);
    return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static inline void send_pieces(const uint8_t *bytes, size_t count,
                               const int *fds, size_t fd_count)
{
    struct iovec part = { .iov_base = (void *)bytes, .iov_len = count };
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * FDS)];
    } control;
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    struct cmsghdr *head;

    if (fd_count > 0) {
        memset(&control, 0, sizeof(control));
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(head), fds, sizeof(int) * fd_count);
    }
    ck_assert_int_eq(sendmsg(peer, &message, 0), (ssize_t)count);
}

/* --- a stream of messages ------------------------------------------------ */

struct stream {
    uint8_t bytes[STREAM];
    size_t size;
    struct mx_message message[MESSAGES];
    size_t start[MESSAGES];
    int fd[MESSAGES];
    unsigned count;
    unsigned taken;             /* as they come out of the connection */
};

static inline void add(struct stream *stream, const struct mx_message *message)
{
    unsigned i = stream->count++;

    ck_assert_uint_lt(i, MESSAGES);
    stream->message[i] = *message;
    stream->start[i] = stream->size;
    stream->fd[i] = message->share.kind ? object() : -1;
    stream->size += mx_wire_encode(message, stream->bytes + stream->size);
    ck_assert_uint_le(stream->size, STREAM - MX_MESSAGE_MAX);
}

static const struct mx_message hello = {
    .type = MX_HELLO,
    .u.hello = { .magic = MX_HELLO_MAGIC, .version_low = 1, .version_high = 1,
                 .subpriority = 2, .page_size = 4096, .pair_id = 99,
                 .name = "peer" },
};
static const struct mx_message read_ret = {
    .type = MX_READ_RET, .priority = 3, .value = 0x1122334455667788u,
    .share = { .kind = 1, .start = 0x1000, .size = 0x2000 },
};
static const struct mx_message write_ret = {
    .type = MX_WRITE_RET, .priority = 2,
    .share = { .kind = 1, .start = 0x8000, .size = 0x1000, .readonly = true },
};
static const struct mx_message plain_ret = {
    .type = MX_READ_RET, .priority = 3, .value = 5,
};
static const struct mx_message read_request = {
    .type = MX_READ, .priority = 2, .offset = 0x1000, .size = 4,
};
static const struct mx_message reg_inv = {
    .type = MX_REG_INV, .priority = 1, .offset = 0x4000, .value = 0x1000,
};
static const struct mx_message reg_inv_ret = { .type = MX_REG_INV_RET };
static const struct mx_message intr = {
    .type = MX_INTR, .offset = 7, .u.data = { 1, 2, 3, [127] = 9 },
};

static inline void fill_stream(struct stream *stream)
{
    memset(stream, 0, sizeof(*stream));
    add(stream, &hello);
    add(stream, &read_ret);
    add(stream, &intr);
    add(stream, &write_ret);
    add(stream, &reg_inv_ret);
    add(stream, &read_ret);
    add(stream, &plain_ret);
    add(stream, &read_request);
    add(stream, &reg_inv);
    add(stream, &write_ret);
}

static inline void close_stream(struct stream *stream)
{
    unsigned i;

    for (i = 0; i < stream->count; i++) {
        if (stream->fd[i] >= 0) {
            close(stream->fd[i]);
        }
    }
}

/* Send [from, to); the descriptors of what begins there with its first byte,
 * as the rules want it, or (@early) with the first of all these bytes. */
static inline void send_range(const struct stream *stream, size_t from,
                              size_t to, bool early)
{
    int fds[FDS];
    size_t fd_count = 0;
    unsigned i;

    for (i = 0; i < stream->count; i++) {
        if (stream->fd[i] < 0 || stream->start[i] < from ||
            stream->start[i] >= to) {
            continue;
        }
        if (!early && stream->start[i] > from) {
            send_range(stream, from, stream->start[i], false);
            send_range(stream, stream->start[i], to, false);
            return;
        }
        if (early || stream->start[i] == from) {
            fds[fd_count++] = stream->fd[i];
        }
    }
    if (to > from) {
        send_pieces(stream->bytes + from, to - from, fds, fd_count);
    }
}

static inline void assert_next(struct stream *stream,
                               const struct mx_message *got, int fd)
{
    uint8_t bytes[MX_MESSAGE_MAX];
    size_t size = mx_wire_encode(got, bytes);
    unsigned i = stream->taken++;

    ck_assert_uint_lt(i, stream->count);
    ck_assert_mem_eq(bytes, stream->bytes + stream->start[i], size);
    ck_assert_int_eq(fd >= 0, stream->fd[i] >= 0);
    if (fd >= 0) {
        ck_assert(same_object(fd, stream->fd[i]));
        close(fd);
    }
}

/* Take every message that is there. */
static inline void take(struct stream *stream)
{
    struct mx_message message;
    const char *reason = "";
    enum mx_conn_next next;
    int fd;

    while ((next = mx_conn_next(&conn, &message, &fd, &reason)) ==
           MX_CONN_MESSAGE) {
        assert_next(stream, &message, fd);
    }
    ck_assert_msg(next == MX_CONN_NONE, "%s", reason);
    ck_assert_int_eq(fd, -1);
}

static inline void receive_all(struct stream *stream)
{
    int ret;

    while ((ret = mx_conn_fill(&conn)) == 0) {
        take(stream);
    }
    ck_assert_int_eq(ret, -EAGAIN);
}

static inline void assert_all_came(const struct stream *stream)
{
    ck_assert_uint_eq(stream->taken, stream->count);
    ck_assert_uint_eq(conn.fd_count, 0);
    ck_assert_uint_eq(conn.in_start, conn.in_end);
}

static inline size_t encode(const struct mx_message *message, uint8_t *bytes)
{
    return mx_wire_encode(message, bytes);
}

static inline TCase *with_socket(Suite *suite, const char *name)
{
    TCase *tcase = harness_tcase(name);

    tcase_add_checked_fixture(tcase, setup, teardown);
    suite_add_tcase(suite, tcase);
    return tcase;
}

#endif
