/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What one stream sends (protocol section 2): as much as the socket takes,
 * a descriptor with the first byte of its message.
 */
#include "stream.h"

/* --- sending less than asked for ----------------------------------------- */

static size_t send_limit = SIZE_MAX;    /* bytes at a time; 0: none */

ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct msghdr less = *message;
    struct iovec part = message->msg_iov[0];

    if (send_limit == 0) {
        errno = EAGAIN;
        return -1;
    }
    if (part.iov_len > send_limit) {
        part.iov_len = send_limit;
    }
    less.msg_iov = &part;
    return __real_sendmsg(fd, &less, flags);
}

/* --- sending ------------------------------------------------------------- */

/* Queue the stream as there is room, sending at most @limit bytes at a time;
 * the peer takes one byte at a time. */
static void check_sending(const struct stream *stream, size_t limit)
{
    uint8_t bytes[STREAM];
    int fds[MESSAGES];
    size_t fd_at[MESSAGES];
    unsigned next = 0, fd_count = 0, i, expected = 0;
    size_t got = 0;
    uint64_t end = 0;

    while (got < stream->size) {
        union {
            struct cmsghdr align;
            char bytes[CMSG_SPACE(sizeof(int))];
        } control;
        struct iovec part = { .iov_base = bytes + got, .iov_len = 1 };
        struct msghdr head = { .msg_iov = &part, .msg_iovlen = 1,
                               .msg_control = control.bytes,
                               .msg_controllen = sizeof(control.bytes) };

        while (next < stream->count) {
            int fd = stream->fd[next] < 0 ? -1 : dup(stream->fd[next]);

            send_limit = 0;
            if (mx_conn_put(&conn, &stream->message[next], fd, &end) < 0) {
                if (fd >= 0) {
                    close(fd);      /* it stays the caller's */
                }
                break;
            }
            next++;
            ck_assert_uint_eq(end, next < stream->count ?
                              stream->start[next] : stream->size);
        }
        send_limit = limit;
        ck_assert_int_eq(mx_conn_flush(&conn), 0);
        if (recvmsg(peer, &head, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != 1) {
            ck_abort_msg("nothing comes");
        }
        if (CMSG_FIRSTHDR(&head)) {
            memcpy(&fds[fd_count], CMSG_DATA(CMSG_FIRSTHDR(&head)),
                   sizeof(int));
            fd_at[fd_count++] = got;
        }
        got++;
    }
    ck_assert(!mx_conn_pending(&conn));
    ck_assert_mem_eq(bytes, stream->bytes, stream->size);
    for (i = 0; i < stream->count; i++) {
        if (stream->fd[i] >= 0) {   /* with its message's first byte */
            ck_assert_uint_lt(expected, fd_count);
            ck_assert_uint_eq(fd_at[expected], stream->start[i]);
            ck_assert(same_object(fds[expected], stream->fd[i]));
            close(fds[expected++]);
        }
    }
    ck_assert_uint_eq(expected, fd_count);
}

START_TEST(sent_in_pieces)
{
    struct stream stream;
    size_t limit;

    fill_stream(&stream);
    for (limit = 1; limit < 160; limit++) {
        check_sending(&stream, limit);
        teardown();
        setup();
    }
    check_sending(&stream, SIZE_MAX);
    close_stream(&stream);
}
END_TEST

/* The socket itself is full, and drained a byte at a time. */
START_TEST(a_full_socket)
{
    static uint8_t expected[1 << 18], got[1 << 18];
    size_t size = 0, taken = 0;
    int tiny = 1;
    uint64_t end;

    ck_assert_int_eq(setsockopt(conn.fd, SOL_SOCKET, SO_SNDBUF, &tiny,
                                sizeof(tiny)), 0);
    for (;;) {
        if (mx_conn_put(&conn, &intr, -1, &end) < 0) {
            break;
        }
        size += encode(&intr, expected + size);
        ck_assert_uint_lt(size, sizeof(expected) - MX_MESSAGE_MAX);
        ck_assert_uint_eq(end, size);
        ck_assert_int_eq(mx_conn_flush(&conn), 0);
    }
    ck_assert(mx_conn_pending(&conn));
    while (taken < size) {
        ck_assert_int_eq(recv(peer, got + taken, 1, MSG_DONTWAIT), 1);
        taken++;
        ck_assert_int_eq(mx_conn_flush(&conn), 0);
    }
    ck_assert(!mx_conn_pending(&conn));
    ck_assert_uint_eq(conn.out_position, size);
    ck_assert_mem_eq(got, expected, size);
}
END_TEST

START_TEST(out_of_room)
{
    unsigned count = 0;
    int fd = object(), second = object();
    uint64_t end = 0, last;

    send_limit = 0;
    ck_assert_int_eq(mx_conn_put(&conn, &read_ret, fd, &end), 0);
    last = end;
    ck_assert_int_eq(mx_conn_put(&conn, &read_ret, second, &end), -ENOBUFS);
    ck_assert_uint_eq(end, last);
    ck_assert_int_ge(fcntl(second, F_GETFD), 0);    /* the caller's */
    while (mx_conn_put(&conn, &intr, -1, &end) == 0) {
        count++;
        ck_assert_uint_le(end, MX_CONN_OUT);
    }
    ck_assert_uint_eq(count, (MX_CONN_OUT - 45) / 142);
    ck_assert_int_eq(mx_conn_flush(&conn), 0);
    ck_assert(mx_conn_pending(&conn));
    send_limit = SIZE_MAX;
    ck_assert_int_eq(mx_conn_flush(&conn), 0);
    ck_assert(!mx_conn_pending(&conn));
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1);       /* sent and closed */
    ck_assert_int_eq(mx_conn_put(&conn, &read_ret, second, &end), 0);
}
END_TEST

/* Taken back whole, with nothing, or a part of another message, before it. */
START_TEST(unput)
{
    uint8_t bytes[MX_MESSAGE_MAX], got[2 * MX_MESSAGE_MAX];
    size_t size = encode(&intr, bytes), part;
    uint64_t end, start;

    send_limit = 0;
    start = conn.out_position;
    ck_assert_int_eq(mx_conn_put(&conn, &reg_inv, -1, &end), 0);
    mx_conn_unput(&conn, start);
    ck_assert(!mx_conn_pending(&conn));
    for (part = 0; part <= size; part++) {
        ck_assert_int_eq(mx_conn_put(&conn, &intr, -1, &start), 0);
        send_limit = part;
        if (part > 0) {     /* one piece goes out */
            ck_assert_int_eq(__wrap_sendmsg(conn.fd, &(struct msghdr) {
                .msg_iov = &(struct iovec) { conn.out + conn.out_start,
                                             part }, .msg_iovlen = 1 }, 0),
                             (ssize_t)part);
            conn.out_start += part;
            conn.out_position += part;
        }
        ck_assert_int_eq(mx_conn_put(&conn, &reg_inv, -1, &end), 0);
        mx_conn_unput(&conn, start);
        ck_assert_int_eq(mx_conn_pending(&conn), part < size);
        send_limit = SIZE_MAX;
        ck_assert_int_eq(mx_conn_flush(&conn), 0);
        ck_assert_uint_eq(conn.out_position, start);
        ck_assert_int_eq(recv(peer, got, sizeof(got), MSG_DONTWAIT),
                         (ssize_t)size);
        ck_assert_mem_eq(got, bytes, size);
    }
}
END_TEST

START_TEST(nobody_reads_any_more)
{
    uint64_t end;

    hang_up();
    ck_assert_int_eq(mx_conn_put(&conn, &read_ret, object(), &end), 0);
    ck_assert_int_eq(mx_conn_flush(&conn), -EPIPE);
    mx_conn_close(&conn);
    mx_conn_close(&conn);       /* does no harm */
    ck_assert(!mx_conn_pending(&conn));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conn-send");
    TCase *tcase = with_socket(suite, "sending");
    tcase_add_test(tcase, sent_in_pieces);
    tcase_add_test(tcase, a_full_socket);
    tcase_add_test(tcase, out_of_room);
    tcase_add_test(tcase, unput);
    tcase_add_test(tcase, nobody_reads_any_more);
    return harness_main(suite);
}
