/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What one stream receives (protocol section 2): messages and descriptors, in
 * whatever pieces they come.
 */
#include "golden-messages.h"
#include "random.h"
#include "stream.h"

/* --- receiving ----------------------------------------------------------- */

static void check_split(struct stream *stream, size_t at, bool early,
                        bool look_between)
{
    stream->taken = 0;
    send_range(stream, 0, at, early);
    if (look_between) {
        receive_all(stream);
    }
    send_range(stream, at, stream->size, early);
    receive_all(stream);
    assert_all_came(stream);
}

START_TEST(every_split)
{
    struct stream stream;
    size_t at;

    fill_stream(&stream);
    for (at = 0; at <= stream.size; at++) {
        check_split(&stream, at, false, true);
        check_split(&stream, at, false, false);
    }
    close_stream(&stream);
}
END_TEST

/* With one send for each half the descriptors come together with the bytes of
 * earlier messages. */
START_TEST(every_split_with_early_descriptors)
{
    struct stream stream;
    size_t at;

    fill_stream(&stream);
    for (at = 0; at <= stream.size; at++) {
        check_split(&stream, at, true, true);
        check_split(&stream, at, true, false);
    }
    close_stream(&stream);
}
END_TEST

START_TEST(byte_by_byte)
{
    struct stream stream;
    size_t at;

    fill_stream(&stream);
    for (at = 0; at < stream.size; at++) {
        unsigned whole = 0;

        send_range(&stream, at, at + 1, false);
        receive_all(&stream);
        while (whole < stream.count && (whole + 1 < stream.count ?
               stream.start[whole + 1] : stream.size) <= at + 1) {
            whole++;
        }
        ck_assert_uint_eq(stream.taken, whole);     /* none later */
    }
    assert_all_came(&stream);
    close_stream(&stream);
}
END_TEST

START_TEST(random_pieces)
{
    struct random_source random;
    struct stream stream;
    unsigned round;

    random_start(&random, "random pieces");
    fill_stream(&stream);
    for (round = 0; round < 500; round++) {
        size_t at = 0;

        stream.taken = 0;
        while (at < stream.size) {
            size_t count = 1 + (size_t)random_below(&random, 1 +
                           random_below(&random, 200));
            size_t to = at + count < stream.size ? at + count : stream.size;

            send_range(&stream, at, to, random_below(&random, 2));
            at = to;
            if (random_below(&random, 2)) {
                receive_all(&stream);
            }
        }
        receive_all(&stream);
        assert_all_came(&stream);
    }
    close_stream(&stream);
}
END_TEST

START_TEST(golden_bytes)
{
    struct stream stream = { .count = 0 };
    size_t i;

    for (i = 0; i < sizeof(goldens) / sizeof(goldens[0]); i++) {
        memset(&stream, 0, sizeof(stream));
        if (mx_wire_block(&goldens[i].message) > 0) {
            continue;           /* check-conn-block */
        }
        add(&stream, &goldens[i].message);
        ck_assert_mem_eq(stream.bytes, goldens[i].bytes, goldens[i].size);
        send_range(&stream, 0, stream.size, false);
        receive_all(&stream);
        assert_all_came(&stream);
        close_stream(&stream);
    }
}
END_TEST

/* Four messages that each have one, in one piece. */
START_TEST(several_descriptors)
{
    struct stream stream = { .count = 0 };
    unsigned i;

    for (i = 0; i < 4; i++) {
        add(&stream, i % 2 ? &write_ret : &read_ret);
    }
    send_range(&stream, 0, stream.size, true);
    receive_all(&stream);
    assert_all_came(&stream);
    close_stream(&stream);
}
END_TEST

/* --- violations ---------------------------------------------------------- */

static void assert_violation(const char *expected, const uint8_t *header)
{
    struct mx_message message;
    const char *reason = "";
    const uint8_t *offending;
    size_t count;
    int fd;

    ck_assert_int_eq(mx_conn_next(&conn, &message, &fd, &reason),
                     MX_CONN_VIOLATION);
    ck_assert_int_eq(fd, -1);
    ck_assert_msg(strstr(reason, expected), "'%s'", reason);
    offending = mx_conn_header(&conn, &count);
    ck_assert_uint_eq(count, MX_HEADER_SIZE);
    ck_assert_mem_eq(offending, header, MX_HEADER_SIZE);
}

/* The next message has that descriptor. */
static void assert_takes(int expected)
{
    struct mx_message message;
    const char *reason;
    int fd;

    ck_assert_int_eq(mx_conn_next(&conn, &message, &fd, &reason),
                     MX_CONN_MESSAGE);
    ck_assert(same_object(fd, expected));
    close(fd);
}

START_TEST(unexpected_descriptor)
{
    static const struct mx_message *const without[] = {
        &read_request, &plain_ret, &reg_inv, &reg_inv_ret, &hello, &intr,
    };
    unsigned i;

    for (i = 0; i < sizeof(without) / sizeof(without[0]); i++) {
        uint8_t bytes[MX_MESSAGE_MAX];
        size_t size = encode(without[i], bytes), at;

        for (at = 1; at <= size; at++) {
            struct mx_message message;
            const char *reason;
            int fd = object(), got;

            send_pieces(bytes, at, &fd, 1);
            ck_assert_int_eq(mx_conn_fill(&conn), 0);
            if (at < size) {        /* it may yet be wanted */
                ck_assert_int_eq(mx_conn_next(&conn, &message, &got, &reason),
                                 MX_CONN_NONE);
                send_pieces(bytes + at, size - at, NULL, 0);
                ck_assert_int_eq(mx_conn_fill(&conn), 0);
            }
            assert_violation("unexpected descriptor", bytes);
            close(fd);
            teardown();
            setup();
        }
    }
}
END_TEST

START_TEST(missing_descriptor)
{
    uint8_t bytes[2 * MX_MESSAGE_MAX];
    size_t size = encode(&read_ret, bytes);
    int fd = object();

    send_pieces(bytes, size, NULL, 0);
    ck_assert_int_eq(mx_conn_fill(&conn), 0);
    assert_violation("without its descriptor", bytes);
    teardown();
    setup();

    /* One that comes with the next message does not do for both. */
    send_pieces(bytes, size, NULL, 0);
    send_pieces(bytes, size, &fd, 1);
    ck_assert_int_eq(mx_conn_fill(&conn), 0);
    if (conn.fd_count > 0) {
        assert_takes(fd);
    }
    assert_violation("without its descriptor", bytes);
    close(fd);
}
END_TEST

/* Two for one, or one for an earlier message that had one already. */
START_TEST(descriptor_left_over)
{
    uint8_t bytes[2 * MX_MESSAGE_MAX];
    size_t size = encode(&write_ret, bytes);
    int fds[2] = { object(), object() };

    send_pieces(bytes, size, fds, 2);
    ck_assert_int_eq(mx_conn_fill(&conn), 0);
    assert_violation("unexpected descriptor", bytes);
    teardown();
    setup();

    encode(&write_ret, bytes + size);   /* the second takes the other one */
    send_pieces(bytes, size + 1, fds, 2);
    ck_assert_int_eq(mx_conn_fill(&conn), 0);
    assert_takes(fds[0]);
    send_pieces(bytes + size + 1, size - 1, NULL, 0);
    ck_assert_int_eq(mx_conn_fill(&conn), 0);
    assert_takes(fds[1]);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

START_TEST(more_than_four_at_once)
{
    uint8_t bytes[MX_MESSAGE_MAX];
    size_t size = encode(&read_ret, bytes);
    int fds[8];
    unsigned i, count;

    for (i = 0; i < 8; i++) {
        fds[i] = object();
    }
    for (count = 5; count <= 8; count++) {
        send_pieces(bytes, size, fds, count);
        ck_assert_int_eq(mx_conn_fill(&conn), -E2BIG);
        teardown();
        setup();
    }
    for (i = 0; i < 8; i++) {
        close(fds[i]);
    }
}
END_TEST

START_TEST(more_than_eight_queued)
{
    uint8_t bytes[MX_MESSAGE_MAX];
    int fd = object();
    unsigned i;

    encode(&intr, bytes);
    for (i = 0; i < MX_CONN_FDS; i++) {
        send_pieces(bytes + i, 1, &fd, 1);
        ck_assert_int_eq(mx_conn_fill(&conn), 0);
    }
    ck_assert_uint_eq(conn.fd_count, MX_CONN_FDS);
    send_pieces(bytes + i, 1, &fd, 1);
    ck_assert_int_eq(mx_conn_fill(&conn), -E2BIG);
    ck_assert_uint_eq(conn.fd_count, MX_CONN_FDS);
    close(fd);
}
END_TEST

START_TEST(bad_messages)
{
    static const struct {
        uint8_t bytes[MX_HEADER_SIZE];
        const char *reason;
    } cases[] = {
        { { 6, 0, 0, 0, 7, 0 }, "type" },
        { { 6, 0, 0, 0, 0x47, 0 }, "unknown type" },
        { { 17, 0, 0, 0, MX_READ_BLOCK, 2 }, "size" },
        { { 14, 0, 0, 0, MX_WRITE_BLOCK, 2 }, "no bytes" },
        { { 15, 0, 1, 0, MX_WRITE_BLOCK, 2 }, "too many" },
        { { 0x2a, 0, 1, 0, MX_READ_BLOCK_RET, 2 }, "too many" },
        { { 42, 0, 0, 0, MX_WRITE_BLOCK_RET, 2 }, "size" },
        { { 32, 0, 0, 0, MX_OFFER, 0 }, "size" },
        { { 14, 0, 0, 0, MX_READ, 2 }, "size" },
        { { 0, 0, 0, 0, MX_REG_INV_RET, 0 }, "size" },
        { { 0xff, 0xff, 0xff, 0xff, MX_INTR, 0 }, "size" },
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mx_message message;
        const char *reason;
        int fd;

        send_pieces(cases[i].bytes, 5, NULL, 0);
        ck_assert_int_eq(mx_conn_fill(&conn), 0);
        ck_assert_int_eq(mx_conn_next(&conn, &message, &fd, &reason),
                         MX_CONN_NONE);
        send_pieces(cases[i].bytes + 5, 1, NULL, 0);
        ck_assert_int_eq(mx_conn_fill(&conn), 0);
        assert_violation(cases[i].reason, cases[i].bytes);
        teardown();
        setup();
    }
}
END_TEST

/* The peer dies behind every byte; what it sent is closed (teardown). */
START_TEST(end_of_the_stream)
{
    struct stream stream;
    size_t at;

    fill_stream(&stream);
    for (at = 0; at <= stream.size; at++) {
        stream.taken = 0;
        send_range(&stream, 0, at, at % 2);
        hang_up();
        while (mx_conn_fill(&conn) == 0) {
            take(&stream);
        }
        ck_assert_int_eq(mx_conn_fill(&conn), -ENODATA);
        teardown();
        setup();
    }
    close_stream(&stream);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conn");
    TCase *tcase = with_socket(suite, "receiving");

    tcase_add_test(tcase, every_split);
    tcase_add_test(tcase, every_split_with_early_descriptors);
    tcase_add_test(tcase, byte_by_byte);
    tcase_add_test(tcase, random_pieces);
    tcase_add_test(tcase, golden_bytes);
    tcase_add_test(tcase, several_descriptors);
    tcase_add_test(tcase, end_of_the_stream);

    tcase = with_socket(suite, "violations");
    tcase_add_test(tcase, unexpected_descriptor);
    tcase_add_test(tcase, missing_descriptor);
    tcase_add_test(tcase, descriptor_left_over);
    tcase_add_test(tcase, more_than_four_at_once);
    tcase_add_test(tcase, more_than_eight_queued);
    tcase_add_test(tcase, bad_messages);

    return harness_main(suite);
}
