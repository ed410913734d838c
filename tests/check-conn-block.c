/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blocks on one stream (protocol section 8), in and out, in whatever pieces:
 * the bytes go from where they lie to where they are wanted.
 */
#include "random.h"
#include "stream.h"

enum { LONG_STREAM = 300000, PARTS_MAX = 12 };

/* Messages, some with a block behind them. */
struct part {
    struct mx_message message;
    size_t start, block;        /* in the stream; where the block begins */
    int fd;
};

static struct {
    uint8_t bytes[LONG_STREAM];
    size_t size;
    struct part part[PARTS_MAX];
    unsigned count, taken;
} all;

static uint8_t received[MX_BLOCK_MAX + 1];

static void add_part(const struct mx_message *message)
{
    struct part *part = &all.part[all.count++];

    ck_assert_uint_le(all.count, PARTS_MAX);
    part->message = *message;
    part->start = all.size;
    part->fd = message->share.kind ? object() : -1;
    all.size += mx_wire_encode(message, all.bytes + all.size);
    part->block = all.size;
    for (size_t i = 0; i < mx_wire_block(message); i++) {
        all.bytes[all.size++] = (uint8_t)(i * 7 + i / 256 + all.count);
    }
    ck_assert_uint_le(all.size, LONG_STREAM - MX_MESSAGE_MAX);
}

static struct mx_message write_block(uint32_t size)
{
    return (struct mx_message) { .type = MX_WRITE_BLOCK, .priority = 2,
                                 .offset = 0x1000, .size = size };
}

static struct mx_message read_block_ret(uint32_t size, bool share)
{
    struct mx_message message = { .type = MX_READ_BLOCK_RET, .priority = 3,
                                  .size = size };

    if (share) {
        message.share = read_ret.share;
    }
    return message;
}

static void add_write(uint32_t size)
{
    struct mx_message message = write_block(size);

    add_part(&message);
}

static void add_read_ret(uint32_t size, bool share)
{
    struct mx_message message = read_block_ret(size, share);

    add_part(&message);
}

/* Short ones, for every byte of them. */
static void fill_short(void)
{
    add_write(5);
    add_part(&read_ret);
    add_read_ret(100, true);
    add_write(1);
    add_read_ret(0, true);
    add_read_ret(41, false);
    add_part(&reg_inv_ret);
    add_write(77);
}

static void fill_long(void)
{
    add_write(MX_BLOCK_MAX);
    add_part(&reg_inv);
    add_read_ret(MX_BLOCK_MAX - 1, true);
    add_write(4097);
    add_read_ret(4096 - 41, false);
    add_part(&read_ret);
    add_read_ret(MX_BLOCK_MAX, true);
}

static void close_all(void)
{
    for (unsigned i = 0; i < all.count; i++) {
        if (all.part[i].fd >= 0) {
            close(all.part[i].fd);
        }
    }
    memset(&all, 0, sizeof(all));
}

/* --- receiving ----------------------------------------------------------- */

/* Where the next message with a descriptor begins, @to if none does. */
static size_t next_descriptor(size_t from, size_t to, int *fd)
{
    for (unsigned i = 0; i < all.count; i++) {
        if (all.part[i].fd >= 0 && all.part[i].start >= from &&
            all.part[i].start < to) {
            *fd = all.part[i].fd;
            return all.part[i].start;
        }
    }
    return to;
}

/* A descriptor goes with the first byte of its message. */
static void send_part(size_t from, size_t to)
{
    while (from < to) {
        int fd = -1;
        bool begins = next_descriptor(from, to, &fd) == from;
        size_t end = next_descriptor(from + begins, to, &(int) { -1 });

        send_pieces(all.bytes + from, end - from, &fd, begins);
        from = end;
    }
}

static void assert_part(const struct mx_message *message, int fd, bool placed)
{
    const struct part *part = &all.part[all.taken++];
    uint8_t bytes[MX_MESSAGE_MAX];

    ck_assert_uint_le(all.taken, all.count);
    ck_assert_mem_eq(bytes, all.bytes + part->start,
                     mx_wire_encode(message, bytes));
    ck_assert_int_eq(fd >= 0, part->fd >= 0);
    if (fd >= 0) {
        ck_assert(same_object(fd, part->fd));
        close(fd);
    }
    if (placed) {
        ck_assert_mem_eq(received, all.bytes + part->block,
                         mx_wire_block(message));
        ck_assert_uint_eq(received[mx_wire_block(message)], 0xa5);
    }
}

static void take_parts(bool placed)
{
    struct mx_message message;
    const char *reason = "";
    enum mx_conn_next next;
    int fd;

    while ((next = mx_conn_next(&conn, &message, &fd, &reason)) ==
           MX_CONN_MESSAGE || next == MX_CONN_BLOCK) {
        if (next == MX_CONN_MESSAGE) {
            assert_part(&message, fd, placed && mx_wire_block(&message) > 0);
            continue;
        }
        ck_assert_int_eq(fd, -1);
        ck_assert(mx_conn_receives(&conn, message.type));
        ck_assert(!mx_conn_receives(&conn, MX_READ));
        memset(received, 0xa5, sizeof(received));
        mx_conn_place_block(&conn, placed ? received : NULL);
    }
    ck_assert_msg(next == MX_CONN_NONE, "%s", reason);
    ck_assert_int_eq(fd, -1);
}

static void receive_parts(bool placed)
{
    int ret;

    while ((ret = mx_conn_fill(&conn)) == 0) {
        take_parts(placed);
    }
    ck_assert_int_eq(ret, -EAGAIN);
}

static void assert_all_parts(void)
{
    ck_assert_uint_eq(all.taken, all.count);
    ck_assert_uint_eq(conn.fd_count, 0);
    ck_assert_uint_eq(conn.in_start, conn.in_end);
    ck_assert(!conn.in_block.open);
    all.taken = 0;
}

START_TEST(every_split)
{
    fill_short();
    for (size_t at = 0; at <= all.size; at++) {
        for (unsigned way = 0; way < 4; way++) {
            send_part(0, at);
            if (way & 1) {
                receive_parts(way & 2);
            }
            send_part(at, all.size);
            receive_parts(way & 2);
            assert_all_parts();
        }
    }
    close_all();
}
END_TEST

START_TEST(byte_by_byte)
{
    fill_short();
    for (size_t at = 0; at < all.size; at++) {
        send_part(at, at + 1);
        receive_parts(true);
        ck_assert(all.taken == all.count || all.part[all.taken].start +
                  mx_wire_size(all.part[all.taken].message.type) +
                  mx_wire_block(&all.part[all.taken].message) > at + 1);
    }
    assert_all_parts();
    close_all();
}
END_TEST

START_TEST(random_pieces)
{
    struct random_source random;

    random_start(&random, "random pieces");
    fill_long();
    for (unsigned round = 0; round < 40; round++) {
        bool placed = random_below(&random, 4) > 0;
        size_t at = 0;

        while (at < all.size) {
            size_t count = 1 + (size_t)random_below(&random, 1 +
                           random_below(&random, 40000));
            size_t to = at + count < all.size ? at + count : all.size;

            send_part(at, to);
            at = to;
            receive_parts(placed);
        }
        assert_all_parts();
    }
    close_all();
}
END_TEST

/* Once it is known where it goes, it comes in one piece, without a copy. */
START_TEST(in_place)
{
    struct mx_message message;
    const char *reason;
    int fd;

    add_write(MX_BLOCK_MAX);
    add_part(&reg_inv);
    send_part(0, 14);
    ck_assert_int_eq(mx_conn_fill(&conn), 0);
    ck_assert_int_eq(mx_conn_next(&conn, &message, &fd, &reason),
                     MX_CONN_BLOCK);
    /* asked again as long as nobody says where */
    ck_assert_int_eq(mx_conn_next(&conn, &message, &fd, &reason),
                     MX_CONN_BLOCK);
    memset(received, 0xa5, sizeof(received));
    mx_conn_place_block(&conn, received);
    ck_assert_int_eq(mx_conn_next(&conn, &message, &fd, &reason),
                     MX_CONN_NONE);
    send_part(14, all.size);
    ck_assert_int_eq(mx_conn_fill(&conn), 0);
    ck_assert_uint_eq(conn.in_block.left, 0);
    take_parts(true);
    assert_all_parts();
    ck_assert_uint_eq(conn.in_position, all.size);
    close_all();
}
END_TEST

/* It is wanted no more: what is to come goes nowhere. */
START_TEST(placed_elsewhere)
{
    add_write(1000);
    for (size_t at = 14; at <= all.size; at++) {
        memset(received, 0xa5, sizeof(received));
        send_part(0, at);
        receive_parts(true);
        if (at < all.size) {
            mx_conn_place_block(&conn, NULL);
        }
        send_part(at, all.size);
        while (mx_conn_fill(&conn) == 0) {
            take_parts(false);
        }
        ck_assert_mem_eq(received, all.bytes + 14, at - 14);
        ck_assert_uint_eq(received[at - 14], 0xa5);
        assert_all_parts();
    }
    close_all();
}
END_TEST

/* The peer dies behind every byte, and what it sent is closed (teardown). */
START_TEST(end_of_the_stream)
{
    fill_short();
    for (size_t at = 0; at <= all.size; at++) {
        send_part(0, at);
        hang_up();
        while (mx_conn_fill(&conn) == 0) {
            take_parts(at % 2);
        }
        ck_assert_int_eq(mx_conn_fill(&conn), -ENODATA);
        teardown();
        setup();
        all.taken = 0;
    }
    close_all();
}
END_TEST

/* --- descriptors --------------------------------------------------------- */

static void expect_violation(const char *expected, const uint8_t *header)
{
    struct mx_message message;
    const uint8_t *offending;
    const char *reason = "";
    enum mx_conn_next next;
    size_t count;
    int fd;

    while ((next = mx_conn_next(&conn, &message, &fd, &reason)) ==
           MX_CONN_BLOCK || next == MX_CONN_NONE) {
        if (next == MX_CONN_BLOCK) {
            mx_conn_place_block(&conn, received);
        } else {
            ck_assert_int_eq(mx_conn_fill(&conn), 0);
        }
    }
    ck_assert_int_eq(next, MX_CONN_VIOLATION);
    ck_assert_int_eq(fd, -1);
    ck_assert_msg(strstr(reason, expected), "'%s'", reason);
    offending = mx_conn_header(&conn, &count);
    ck_assert_uint_eq(count, MX_HEADER_SIZE);
    ck_assert_mem_eq(offending, header, MX_HEADER_SIZE);
    teardown();
    setup();
}

/* With any byte of a block that has none: before it, or inside. */
START_TEST(unexpected_descriptor)
{
    int fd = object();

    add_write(60);
    add_part(&reg_inv);
    for (size_t at = 0; at < 74; at++) {
        if (at > 0) {
            send_part(0, at);
        }
        send_pieces(all.bytes + at, 1, &fd, 1);
        send_part(at + 1, all.size);
        expect_violation("unexpected descriptor", all.bytes);
    }
    close(fd);
    close_all();
}
END_TEST

/* One too many with a share, too; none is a violation before the block. */
START_TEST(one_too_many_or_too_few)
{
    int fd = object();
    int fds[2] = { fd, fd };

    add_read_ret(60, true);
    send_pieces(all.bytes, all.size, fds, 2);
    expect_violation("unexpected descriptor", all.bytes);
    send_pieces(all.bytes, 41, &fd, 1);
    send_pieces(all.bytes + 41, all.size - 41, &fd, 1);
    expect_violation("unexpected descriptor", all.bytes);
    send_pieces(all.bytes, 41, NULL, 0);
    expect_violation("without its descriptor", all.bytes);
    close(fd);
    close_all();
}
END_TEST

/* That of the next message may come with the last bytes of a block. */
START_TEST(descriptor_of_the_next)
{
    add_write(60);
    add_part(&read_ret);
    for (size_t at = 1; at < 74; at++) {
        send_part(0, at);
        send_pieces(all.bytes + at, all.size - at, &all.part[1].fd, 1);
        receive_parts(true);
        assert_all_parts();
    }
    close_all();
}
END_TEST

/* --- sending ------------------------------------------------------------- */

static size_t send_limit = SIZE_MAX;    /* bytes at a time; 0: none */
static size_t send_budget = SIZE_MAX;   /* bytes in all */
static const void *last_sent_from;      /* the last piece */
static size_t sends[4];                 /* bytes of each */
static unsigned send_count;

ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct iovec parts[8];
    struct msghdr less = *message;
    size_t left = send_limit < send_budget ? send_limit : send_budget;
    size_t count = 0;
    ssize_t sent;

    if (fd == peer) {
        return __real_sendmsg(fd, message, flags);
    }
    while (count < message->msg_iovlen && left > 0) {
        parts[count] = message->msg_iov[count];
        if (parts[count].iov_len > left) {
            parts[count].iov_len = left;
        }
        left -= parts[count].iov_len;
        last_sent_from = parts[count].iov_base;
        count++;
    }
    if (count == 0) {
        errno = EAGAIN;
        return -1;
    }
    less.msg_iov = parts;
    less.msg_iovlen = count;
    sent = __real_sendmsg(fd, &less, flags);
    if (sent > 0 && send_count < 4) {
        sends[send_count++] = (size_t)sent;
    }
    send_budget -= sent > 0 && send_budget != SIZE_MAX ? (size_t)sent : 0;
    return sent;
}

/* Queue what there is room for. */
static unsigned queue_parts(unsigned next)
{
    uint64_t end = 0;

    while (next < all.count) {
        const struct part *part = &all.part[next];
        int fd = part->fd < 0 ? -1 : dup(part->fd);

        if (mx_conn_put_block(&conn, &part->message, fd,
                              all.bytes + part->block, &end) < 0) {
            if (fd >= 0) {
                close(fd);      /* it stays the caller's */
            }
            break;
        }
        next++;
        ck_assert_uint_eq(end, next < all.count ? all.part[next].start :
                                                  all.size);
    }
    return next;
}

/* It belongs to a message that begins in [from, to): the kernel joins what
 * was sent without one and what was sent with it. */
static void assert_descriptor(size_t from, size_t to, int fd)
{
    int wanted = -1;

    ck_assert_uint_lt(next_descriptor(from, to, &wanted), to);
    ck_assert(same_object(fd, wanted));
    close(fd);
}

/* As recv(2), with the descriptor that came, or -1. */
static ssize_t receive_one(uint8_t *at, size_t count, int *fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = { .iov_base = at, .iov_len = count };
    struct msghdr head = { .msg_iov = &part, .msg_iovlen = 1,
                           .msg_control = control.bytes,
                           .msg_controllen = sizeof(control.bytes) };
    ssize_t got = recvmsg(peer, &head, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    *fd = -1;
    if (got > 0 && CMSG_FIRSTHDR(&head)) {
        memcpy(fd, CMSG_DATA(CMSG_FIRSTHDR(&head)), sizeof(int));
    }
    return got;
}

static uint8_t got_bytes[LONG_STREAM];

/* @limit bytes are sent at a time, the peer takes @piece at a time. */
static void check_sending(size_t limit, size_t piece)
{
    unsigned next = 0, descriptors = 0;
    size_t got = 0;

    while (got < all.size) {
        ssize_t count;
        int fd;

        send_limit = 0;
        next = queue_parts(next);
        send_limit = limit;
        ck_assert_int_eq(mx_conn_flush(&conn), 0);
        count = receive_one(got_bytes + got, piece, &fd);
        ck_assert_int_gt(count, 0);
        if (fd >= 0) {
            assert_descriptor(got, got + (size_t)count, fd);
            descriptors++;
        }
        got += (size_t)count;
    }
    for (unsigned i = 0; i < all.count; i++) {
        descriptors -= all.part[i].fd >= 0;
    }
    ck_assert_uint_eq(descriptors, 0);
    ck_assert(!mx_conn_pending(&conn));
    ck_assert_uint_eq(conn.out_position, all.size);
    ck_assert_mem_eq(got_bytes, all.bytes, all.size);
}

START_TEST(sent_in_pieces)
{
    fill_short();
    for (size_t limit = 1; limit < 160; limit++) {
        check_sending(limit, 1);
        teardown();
        setup();
    }
    check_sending(SIZE_MAX, 1);
    close_all();
}
END_TEST

START_TEST(long_ones_in_pieces)
{
    static const size_t limits[] = { 1, 4095, 65535, 65536, SIZE_MAX };
    int tiny = 1;

    fill_long();
    for (unsigned i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        check_sending(limits[i], limits[i] == 1 ? 7 : 5000);
        teardown();
        setup();
        ck_assert_int_eq(setsockopt(conn.fd, SOL_SOCKET, SO_SNDBUF, &tiny,
                                    sizeof(tiny)), 0);
    }
    close_all();
}
END_TEST

/* Two blocks with messages before, between and behind; a third has no room. */
START_TEST(two_blocks_at_once)
{
    uint64_t end = 77;
    int fd;
    struct mx_message third = read_block_ret(9, true);

    add_part(&reg_inv);
    add_write(50);
    add_part(&reg_inv_ret);
    add_read_ret(60, true);
    add_part(&reg_inv);
    send_limit = 0;
    ck_assert_uint_eq(queue_parts(0), all.count);
    fd = object();
    ck_assert_int_eq(mx_conn_put_block(&conn, &third, fd, all.bytes, &end),
                     -ENOBUFS);
    ck_assert_uint_eq(end, 77);
    ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
    close(fd);
    third = read_block_ret(0, false);   /* one of no bytes needs none */
    ck_assert_int_eq(mx_conn_put_block(&conn, &third, -1, NULL, &end), 0);
    ck_assert_uint_eq(end, all.size + 41);
    send_limit = SIZE_MAX;
    ck_assert_int_eq(mx_conn_flush(&conn), 0);
    ck_assert_int_eq(receive_one(got_bytes, all.part[3].start, &fd),
                     (ssize_t)all.part[3].start);
    ck_assert_int_eq(fd, -1);
    ck_assert_int_eq(receive_one(got_bytes + all.part[3].start, LONG_STREAM -
                                 all.part[3].start, &fd),
                     (ssize_t)(all.size + 41 - all.part[3].start));
    assert_descriptor(all.part[3].start, all.size, fd);
    ck_assert_mem_eq(got_bytes, all.bytes, all.size);
    close_all();
}
END_TEST

START_TEST(sent_from_where_they_lie)
{
    size_t allocations = harness_allocations();

    add_write(1000);
    send_limit = SIZE_MAX;
    queue_parts(0);
    ck_assert_int_eq(mx_conn_flush(&conn), 0);
    ck_assert_ptr_eq(last_sent_from, all.bytes + 14);
    ck_assert_uint_eq(harness_allocations(), allocations);
    close_all();
}
END_TEST

/* What stands before a long block, and a descriptor with it, goes first. */
START_TEST(long_ones_follow)
{
    static const uint32_t sizes[] = { 1, 16383, 16384, MX_BLOCK_MAX };

    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        bool follows = sizes[i] >= 16384;
        int fd;

        add_read_ret(sizes[i], true);
        send_count = 0;
        queue_parts(0);
        ck_assert_int_eq(mx_conn_flush(&conn), 0);
        ck_assert_uint_eq(send_count, follows ? 2 : 1);
        ck_assert_uint_eq(sends[0], follows ? 41 : all.size);
        ck_assert_int_eq(receive_one(got_bytes, 41, &fd), 41);
        assert_descriptor(0, 41, fd);
        for (size_t got = 41; got < all.size;) {
            ssize_t count = receive_one(got_bytes + got, all.size - got, &fd);

            ck_assert_int_gt(count, 0);
            ck_assert_int_eq(fd, -1);
            got += (size_t)count;
        }
        ck_assert_mem_eq(got_bytes, all.bytes, all.size);
        close_all();
        teardown();
        setup();
    }
}
END_TEST

/* A block of the caller's, of which @sent bytes and no more have gone out. */
static void send_some(uint8_t *mine, size_t sent)
{
    uint64_t end;

    memcpy(mine, all.bytes + 14, mx_wire_block(&all.part[0].message));
    send_limit = SIZE_MAX;
    send_budget = sent;
    ck_assert_int_eq(mx_conn_put_block(&conn, &all.part[0].message, -1, mine,
                                       &end), 0);
    ck_assert_int_eq(mx_conn_put(&conn, &reg_inv, -1, &end), 0);
    ck_assert_int_eq(mx_conn_flush(&conn), 0);
    send_budget = SIZE_MAX;
}

static void send_the_rest(void)
{
    int fd;

    ck_assert_int_eq(mx_conn_flush(&conn), 0);
    ck_assert(!mx_conn_pending(&conn));
    ck_assert_int_eq(receive_one(got_bytes, LONG_STREAM, &fd),
                     (ssize_t)all.size);
    ck_assert_mem_eq(got_bytes, all.bytes, all.size);
}

/* What is not yet sent goes on from a copy, as the bytes change. */
START_TEST(kept)
{
    uint8_t mine[200], other[200];
    size_t allocations;

    add_write(sizeof(mine));
    add_part(&reg_inv);
    allocations = harness_allocations();
    for (size_t sent = 0; sent <= all.size; sent++) {
        bool left = sent < 14 + sizeof(mine);

        send_some(mine, sent);
        ck_assert_int_eq(mx_conn_keep_block(&conn, other, sizeof(other)), 0);
        ck_assert_uint_eq(harness_allocations(), allocations);
        ck_assert_int_eq(mx_conn_keep_block(&conn, mine, sizeof(mine)), 0);
        ck_assert_uint_eq(harness_allocations(), allocations + left);
        memset(mine, 0, sizeof(mine));
        ck_assert_int_eq(mx_conn_keep_block(&conn, mine, sizeof(mine)), 0);
        ck_assert_uint_eq(harness_allocations(), allocations + left);
        send_the_rest();
        ck_assert_uint_eq(harness_allocations(), allocations);
    }
    close_all();
}
END_TEST

START_TEST(kept_without_memory)
{
    uint8_t mine[200];

    add_write(sizeof(mine));
    add_part(&reg_inv);
    send_some(mine, 100);
    harness_fail_allocation(1);
    ck_assert_int_eq(mx_conn_keep_block(&conn, mine, sizeof(mine)), -ENOMEM);
    ck_assert(harness_allocation_failed());
    mx_conn_drop_blocks(&conn);
    ck_assert_uint_eq(conn.out_blocks, 0);
    close_all();
}
END_TEST

/* Copies are freed, by dropping them or with the connection. */
START_TEST(dropped)
{
    uint8_t mine[200];
    size_t allocations = harness_allocations();

    add_write(sizeof(mine));
    add_part(&reg_inv);
    for (unsigned way = 0; way < 2; way++) {
        send_some(mine, 100);
        ck_assert_int_eq(mx_conn_keep_block(&conn, mine, sizeof(mine)), 0);
        if (way) {
            mx_conn_drop_blocks(&conn);
        } else {
            mx_conn_close(&conn);
        }
        ck_assert_uint_eq(harness_allocations(), allocations);
        ck_assert_uint_eq(conn.out_blocks, 0);
        teardown();
        setup();
    }
    close_all();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conn-block");
    TCase *tcase = with_socket(suite, "receiving");

    tcase_add_test(tcase, every_split);
    tcase_add_test(tcase, byte_by_byte);
    tcase_add_test(tcase, random_pieces);
    tcase_add_test(tcase, in_place);
    tcase_add_test(tcase, placed_elsewhere);
    tcase_add_test(tcase, end_of_the_stream);

    tcase = with_socket(suite, "descriptors");
    tcase_add_test(tcase, unexpected_descriptor);
    tcase_add_test(tcase, one_too_many_or_too_few);
    tcase_add_test(tcase, descriptor_of_the_next);

    tcase = with_socket(suite, "sending");
    tcase_add_test(tcase, sent_in_pieces);
    tcase_add_test(tcase, long_ones_in_pieces);
    tcase_add_test(tcase, two_blocks_at_once);
    tcase_add_test(tcase, long_ones_follow);
    tcase_add_test(tcase, sent_from_where_they_lie);
    tcase_add_test(tcase, kept);
    tcase_add_test(tcase, kept_without_memory);
    tcase_add_test(tcase, dropped);
    return harness_main(suite);
}
