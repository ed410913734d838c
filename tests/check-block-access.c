/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blocks (protocol section 8) that a device asks a raw peer for, or another
 * device.
 */
#include <errno.h>
#include <sched.h>
#include <unistd.h>

#include "block.h"

/* --- accessing ----------------------------------------------------------- */

/* The device reads; the peer gives it @count bytes of what is asked. */
static void answer_read(struct rig *rig, uint64_t address, uint32_t size,
                        const uint8_t *bytes)
{
    uint8_t p = rig_own(rig, ACCESS);

    peer_expect(&rig->peer, PEER_MEM, say_read_block(p, address, size));
    peer_send(&rig->peer, PEER_MEM, say_read_block_ret(p, 0, size, NULL));
    peer_send_block(&rig->peer, bytes, size);
}

static void answer_write(struct rig *rig, uint64_t address, uint32_t size,
                         const uint8_t *bytes)
{
    uint8_t p = rig_own(rig, ACCESS);

    peer_expect(&rig->peer, PEER_MEM, say_write_block(p, address, size));
    peer_take_block(&rig->peer, got, size);
    ck_assert_mem_eq(got, bytes, size);
    peer_send(&rig->peer, PEER_MEM, say_write_block_ret(p, 0, size, NULL));
}

static const uint32_t odd_sizes[] = { 3, 5, 6, 7, 9, 16, 100, 65535, 65536,
                                      65537, 100000, 3 * 65536 };

START_TEST(reads_and_writes)
{
    static uint8_t mine[LONG];
    struct transfer transfer;
    uint64_t messages = 0;
    struct rig rig;

    up(&rig, _i);
    for (unsigned i = 0; i < sizeof(odd_sizes) / sizeof(odd_sizes[0]); i++) {
        uint32_t size = odd_sizes[i], at;

        fill(wanted, size, i);
        memset(mine, 0xa5, sizeof(mine));
        begin_transfer(&transfer, &rig, false, AT + i, mine, size);
        for (at = 0; size - at > 1; at += size - at < BLOCK ? size - at :
                                         BLOCK) {
            answer_read(&rig, AT + i + at, size - at < BLOCK ? size - at :
                                           BLOCK, wanted + at);
            messages++;
        }
        if (at < size) {        /* one byte is left: no block */
            uint8_t p = rig_own(&rig, ACCESS);

            peer_expect(&rig.peer, PEER_MEM, say_read(p, AT + i + at, 1));
            peer_send(&rig.peer, PEER_MEM,
                      say_read_ret(p, 0, wanted[at], NULL));
        }
        ck_assert_int_eq(end_transfer(&transfer), 0);
        ck_assert_uint_eq(transfer.done, size);
        ck_assert_mem_eq(mine, wanted, size);
        ck_assert_uint_eq(mine[size], 0xa5);
        if (size == 65537) {
            continue;
        }
        begin_transfer(&transfer, &rig, true, AT + i, mine, size);
        for (at = 0; at < size; at += size - at < BLOCK ? size - at : BLOCK) {
            answer_write(&rig, AT + i + at, size - at < BLOCK ? size - at :
                                            BLOCK, wanted + at);
            messages++;
        }
        ck_assert_int_eq(end_transfer(&transfer), 0);
        ck_assert_uint_eq(transfer.done, size);
    }
    ck_assert_uint_eq(rig_stats(&rig).blocks_sent, messages);
    ck_assert_uint_eq(rig_stats(&rig).requests_sent, messages + 1);
    rig_end(&rig);
}
END_TEST

/* A single aligned word is one as ever. */
START_TEST(words_stay_words)
{
    struct transfer transfer;
    uint8_t mine[8], p;
    struct rig rig;

    up(&rig, _i);
    p = rig_own(&rig, ACCESS);
    for (uint8_t size = 1; size <= 8; size *= 2) {
        begin_transfer(&transfer, &rig, false, AT, mine, size);
        peer_expect(&rig.peer, PEER_MEM, say_read(p, AT, size));
        peer_send(&rig.peer, PEER_MEM,
                  say_read_ret(p, 0, 0x0807060504030201, NULL));
        ck_assert_int_eq(end_transfer(&transfer), 0);
        ck_assert_mem_eq(mine, "\1\2\3\4\5\6\7\10", size);
        begin_transfer(&transfer, &rig, true, AT + size, mine, size);
        peer_expect(&rig.peer, PEER_MEM,
                    say_write(p, AT + size, 0x0807060504030201 &
                              (UINT64_MAX >> (64 - 8 * size)), size));
        peer_send(&rig.peer, PEER_MEM, say_write_ret(p, 0, NULL));
        ck_assert_int_eq(end_transfer(&transfer), 0);
    }
    ck_assert_uint_eq(rig_stats(&rig).blocks_sent, 0);
    rig_end(&rig);
}
END_TEST

/* Off here, or there, or without hello: words. */
START_TEST(falls_back_to_words)
{
    static const struct {
        bool hello, here;
        uint64_t there;
    } cases[] = { { true, false, 3 }, { true, true, RIG_PUSH },
                  { false, true, 0 } };
    struct transfer transfer;
    struct rig rig;
    uint8_t mine[7], p;

    for (unsigned i = 0; i < 3; i++) {
        rig_init(&rig, ROLE(_i));
        rig.config.block = cases[i].here;
        if (cases[i].hello) {
            bring_up(&rig, cases[i].there);
        } else {
            rig_start(&rig);
            rig_connect(&rig);
            ck_assert_int_eq(memexpose_device_enable(rig.device, 0), 0);
        }
        p = rig_own(&rig, ACCESS);
        begin_transfer(&transfer, &rig, false, AT, mine, 7);
        for (unsigned at = 0; at < 7; at += 4 >> (at / 4 + at / 6)) {
            unsigned size = 4u >> (at / 4 + at / 6);

            peer_expect(&rig.peer, PEER_MEM,
                        say_read(p, AT + at, (uint8_t)size));
            peer_send(&rig.peer, PEER_MEM, say_read_ret(p, 0, at, NULL));
        }
        ck_assert_int_eq(end_transfer(&transfer), 0);
        ck_assert_mem_eq(mine, "\0\0\0\0\4\0\6", 7);
        ck_assert_uint_eq(rig_stats(&rig).blocks_sent, 0);
        rig_end(&rig);
    }
}
END_TEST

/* What was done of a failure is said, and nothing behind it is touched. */
START_TEST(takes_failures)
{
    static const uint32_t done[] = { 0, 1, 10, 99 };
    struct transfer transfer;
    uint8_t mine[100], p;
    struct rig rig;

    up(&rig, _i);
    p = rig_own(&rig, ACCESS);
    fill(wanted, 100, 3);
    for (unsigned i = 0; i < 4; i++) {
        memset(mine, 0xa5, sizeof(mine));
        begin_transfer(&transfer, &rig, false, AT, mine, 100);
        peer_expect(&rig.peer, PEER_MEM, say_read_block(p, AT, 100));
        peer_send(&rig.peer, PEER_MEM,
                  say_read_block_ret(p, 3, done[i], NULL));
        peer_send_block(&rig.peer, wanted, done[i]);
        ck_assert_int_eq(end_transfer(&transfer), 3);
        ck_assert_uint_eq(transfer.done, done[i]);
        ck_assert_mem_eq(mine, wanted, done[i]);
        ck_assert_uint_eq(mine[done[i]], 0xa5);

        begin_transfer(&transfer, &rig, true, AT, wanted, 100);
        peer_expect(&rig.peer, PEER_MEM, say_write_block(p, AT, 100));
        peer_take_block(&rig.peer, got, 100);
        peer_send(&rig.peer, PEER_MEM,
                  say_write_block_ret(p, 0x80000000, done[i], NULL));
        ck_assert_int_gt(end_transfer(&transfer), 0);
        ck_assert_uint_eq(transfer.done, done[i]);
    }
    rig_end(&rig);
}
END_TEST

/* Of the second message: what the first did counts. */
START_TEST(fails_later)
{
    static uint8_t mine[BLOCK + 100];
    struct transfer transfer;
    struct rig rig;
    uint8_t p;

    up(&rig, _i);
    p = rig_own(&rig, ACCESS);
    fill(wanted, sizeof(mine), 3);
    begin_transfer(&transfer, &rig, false, AT, mine, sizeof(mine));
    answer_read(&rig, AT, BLOCK, wanted);
    peer_expect(&rig.peer, PEER_MEM, say_read_block(p, AT + BLOCK, 100));
    peer_send(&rig.peer, PEER_MEM, say_read_block_ret(p, 2, 50, NULL));
    peer_send_block(&rig.peer, wanted + BLOCK, 50);
    ck_assert_int_eq(end_transfer(&transfer), MEMEXPOSE_RESULT_DECODE);
    ck_assert_uint_eq(transfer.done, BLOCK + 50);
    ck_assert_mem_eq(mine, wanted, BLOCK + 50);
    rig_end(&rig);
}
END_TEST

START_TEST(stays_in_the_window)
{
    struct transfer transfer;
    uint8_t mine[100];
    struct rig rig;

    rig_init(&rig, ROLE(_i));
    rig.config.window_size = AT + 50;
    bring_up(&rig, RIG_BLOCK);
    fill(wanted, 100, 7);
    memset(mine, 0xa5, sizeof(mine));
    begin_transfer(&transfer, &rig, false, AT, mine, 100);
    answer_read(&rig, AT, 50, wanted);
    ck_assert_int_eq(end_transfer(&transfer), -ERANGE);
    ck_assert_uint_eq(transfer.done, 50);
    ck_assert_mem_eq(mine, wanted, 50);
    ck_assert_uint_eq(mine[50], 0xa5);
    ck_assert_int_eq(memexpose_write_block(rig.device, AT + 50, mine, 50,
                                           &transfer.done), -ERANGE);
    ck_assert_uint_eq(transfer.done, 0);
    rig_end(&rig);
    up(&rig, _i);
    ck_assert_int_eq(memexpose_read_block(rig.device, UINT64_MAX - 8, mine,
                                          10, &transfer.done), -ERANGE);
    ck_assert_uint_eq(transfer.done, 0);
    peer_expect_nothing(&rig.peer, PEER_MEM);
    rig_end(&rig);
}
END_TEST

/* --- memory that is mapped ----------------------------------------------- */

START_TEST(maps_a_share)
{
    const struct offer share = { .start = AT, .size = 0x4000 };
    static uint8_t mine[0x5000];
    struct transfer transfer;
    int fd = peer_memory(0x4000, 0x21, true);
    struct rig rig;
    uint8_t p;

    up(&rig, _i & 1);
    p = rig_own(&rig, ACCESS);
    begin_transfer(&transfer, &rig, _i & 2, AT + 7, mine, 100);
    if (_i & 2) {
        peer_expect(&rig.peer, PEER_MEM, say_write_block(p, AT + 7, 100));
        peer_take_block(&rig.peer, got, 100);
        peer_send_fd(&rig.peer, PEER_MEM,
                     say_write_block_ret(p, 0, 100, &share), fd);
    } else {
        peer_expect(&rig.peer, PEER_MEM, say_read_block(p, AT + 7, 100));
        peer_send_fd(&rig.peer, PEER_MEM,
                     say_read_block_ret(p, 0, 100, &share), fd);
        peer_send_block(&rig.peer, wanted, 100);
    }
    ck_assert_int_eq(end_transfer(&transfer), 0);
    rig_drive(&rig);
    ck_assert_uint_eq(rig_ranges(&rig), 1);

    /* Copied, and nothing is sent; what leaves the range is. */
    ck_assert_int_eq(memexpose_read_block(rig.device, AT, mine, 0x4000, NULL),
                     0);
    ck_assert_uint_eq(mine[0x3fff], 0x21);
    ck_assert_int_eq(memexpose_write_block(rig.device, AT + 1, "abc", 3,
                                           NULL), 0);
    ck_assert_int_eq(pread(fd, mine, 3, 1), 3);
    ck_assert_mem_eq(mine, "abc", 3);
    peer_expect_nothing(&rig.peer, PEER_MEM);
    ck_assert_uint_eq(rig_stats(&rig).requests_sent, 1);
    begin_transfer(&transfer, &rig, false, AT, mine, 0x5000);
    fill(wanted, 0x1000, 1);
    answer_read(&rig, AT + 0x4000, 0x1000, wanted);
    ck_assert_int_eq(end_transfer(&transfer), 0);
    ck_assert_mem_eq(mine + 1, "abc", 3);
    ck_assert_mem_eq(mine + 0x4000, wanted, 0x1000);
    close(fd);
    rig_end(&rig);
}
END_TEST

/* A response that carries a share has it mapped. */
static void map_range(struct rig *rig, const struct offer *share, int fd)
{
    uint8_t p = rig_own(rig, ACCESS);
    struct transfer transfer;
    uint8_t mine[9];

    begin_transfer(&transfer, rig, false, share->start, mine, sizeof(mine));
    peer_expect(&rig->peer, PEER_MEM,
                say_read_block(p, share->start, sizeof(mine)));
    peer_send_fd(&rig->peer, PEER_MEM,
                 say_read_block_ret(p, 0, sizeof(mine), share), fd);
    peer_send_block(&rig->peer, wanted, sizeof(mine));
    ck_assert_int_eq(end_transfer(&transfer), 0);
    rig_drive(rig);
}

/*
 * Private memory, mapped, private, mapped for reading, private: what is mapped
 * does not go over the link, but for what may not be written there.
 */
START_TEST(goes_around_what_is_mapped)
{
    const struct offer whole = { .start = AT + 0x4000, .size = 0x4000 };
    const struct offer readonly = { .start = AT + 0xa000, .size = 0x1000,
                                    .readonly = 1 };
    static uint8_t mine[0xc000], theirs[0x4000];
    struct transfer transfer;
    int fd[2] = { peer_memory(0x4000, 0x21, true),
                  peer_memory(0x1000, 0x22, true) };
    struct rig rig;

    up(&rig, _i);
    map_range(&rig, &whole, fd[0]);
    map_range(&rig, &readonly, fd[1]);
    ck_assert_uint_eq(rig_ranges(&rig), 2);

    fill(wanted, sizeof(mine), 3);
    begin_transfer(&transfer, &rig, false, AT, mine, sizeof(mine));
    answer_read(&rig, AT, 0x4000, wanted);
    answer_read(&rig, AT + 0x8000, 0x2000, wanted + 0x8000);
    answer_read(&rig, AT + 0xb000, 0x1000, wanted + 0xb000);
    ck_assert_int_eq(end_transfer(&transfer), 0);
    memset(wanted + 0x4000, 0x21, 0x4000);
    memset(wanted + 0xa000, 0x22, 0x1000);
    ck_assert_mem_eq(mine, wanted, sizeof(mine));

    fill(mine, sizeof(mine), 4);
    begin_transfer(&transfer, &rig, true, AT, mine, sizeof(mine));
    answer_write(&rig, AT, 0x4000, mine);
    answer_write(&rig, AT + 0x8000, 0x4000, mine + 0x8000);
    ck_assert_int_eq(end_transfer(&transfer), 0);
    ck_assert_int_eq(pread(fd[0], theirs, 0x4000, 0), 0x4000);
    ck_assert_mem_eq(theirs, mine + 0x4000, 0x4000);
    peer_expect_nothing(&rig.peer, PEER_MEM);
    close(fd[0]);
    close(fd[1]);
    rig_end(&rig);
}
END_TEST

/* --- an access that nobody waits for any more ---------------------------- */

/* Cancelled before its answer, or after @there bytes of the block. */
START_TEST(cancelled_reads)
{
    static const size_t there[] = { 0, 1, 5, 5000, 65535 };
    static uint8_t mine[BLOCK], untouched[BLOCK];
    struct transfer transfer;
    struct bytes head;
    struct rig rig;
    uint8_t p;

    up(&rig, _i);
    p = rig_own(&rig, ACCESS);
    fill(wanted, BLOCK, 3);
    memset(untouched, 0x77, BLOCK);
    for (unsigned i = 0; i < 5; i++) {
        begin_transfer(&transfer, &rig, false, AT, mine, BLOCK);
        peer_expect(&rig.peer, PEER_MEM, say_read_block(p, AT, BLOCK));
        head = say_read_block_ret(p, 0, BLOCK, NULL);
        if (there[i] > 0) {
            peer_send(&rig.peer, PEER_MEM, head);
            peer_send_block(&rig.peer, wanted, there[i]);
            harness_wait(is_received, &rig, PEER_PATIENCE);
        }
        memexpose_device_cancel(rig.device);
        ck_assert_int_eq(end_transfer(&transfer), -ECANCELED);
        ck_assert_uint_eq(transfer.done, 0);
        memset(mine, 0x77, BLOCK);
        if (there[i] == 0) {
            peer_send(&rig.peer, PEER_MEM, head);
        }
        peer_send_block(&rig.peer, wanted + there[i], BLOCK - there[i]);
        harness_wait(is_received, &rig, PEER_PATIENCE);
        begin_transfer(&transfer, &rig, false, AT, got, 100);
        answer_read(&rig, AT, 100, wanted);
        ck_assert_int_eq(end_transfer(&transfer), 0);
        ck_assert_mem_eq(got, wanted, 100);
        ck_assert_mem_eq(mine, untouched, BLOCK);
    }
    rig_end(&rig);
}
END_TEST

START_TEST(timed_out_reads)
{
    static uint8_t mine[BLOCK], untouched[BLOCK];
    struct transfer transfer;
    struct rig rig;
    uint8_t p;

    rig_init(&rig, ROLE(_i));
    rig.config.request_timeout = harness_milliseconds(300) * MS;
    bring_up(&rig, RIG_BLOCK);
    p = rig_own(&rig, ACCESS);
    begin_transfer(&transfer, &rig, false, AT, mine, BLOCK);
    peer_expect(&rig.peer, PEER_MEM, say_read_block(p, AT, BLOCK));
    peer_send(&rig.peer, PEER_MEM, say_read_block_ret(p, 0, BLOCK, NULL));
    peer_send_block(&rig.peer, wanted, 30000);
    ck_assert_int_eq(end_transfer(&transfer), -ETIMEDOUT);
    ck_assert_uint_eq(transfer.done, 0);
    memset(mine, 0x77, BLOCK);
    memset(untouched, 0x77, BLOCK);
    peer_expect_end(&rig.peer, PEER_MEM);
    send(rig.peer.fd[PEER_MEM], wanted, 30000, MSG_NOSIGNAL);
    rig_drive(&rig);
    ck_assert_mem_eq(mine, untouched, BLOCK);
    ck_assert_uint_eq(rig_stats(&rig).violations, 0);
    rig_end(&rig);
}
END_TEST

/* It writes, of which so much has come. */
static void narrow(struct rig *rig, struct transfer *transfer, uint8_t *mine)
{
    uint8_t p = rig_own(rig, ACCESS);

    begin_transfer(transfer, rig, true, AT, mine, BLOCK);
    peer_expect(&rig->peer, PEER_MEM, say_write_block(p, AT, BLOCK));
    peer_take_block(&rig->peer, got, 100);
}

/* What was not sent yet goes on as it was when it was asked for. */
START_TEST(cancelled_writes)
{
    static uint8_t mine[BLOCK];
    struct transfer transfer;
    struct rig rig;
    uint8_t p;

    narrow_up(&rig);
    p = rig_own(&rig, ACCESS);
    fill(wanted, BLOCK, 3);
    memcpy(mine, wanted, BLOCK);
    narrow(&rig, &transfer, mine);
    memexpose_device_cancel(rig.device);
    ck_assert_int_eq(end_transfer(&transfer), -ECANCELED);
    memset(mine, 0, BLOCK);
    peer_take_block(&rig.peer, got + 100, BLOCK - 100);
    ck_assert_mem_eq(got, wanted, BLOCK);
    peer_send(&rig.peer, PEER_MEM, say_write_block_ret(p, 0, BLOCK, NULL));
    begin_transfer(&transfer, &rig, false, AT, mine, 100);
    answer_read(&rig, AT, 100, wanted);
    ck_assert_int_eq(end_transfer(&transfer), 0);
    rig_end(&rig);
}
END_TEST

START_TEST(cancelled_writes_without_memory)
{
    static uint8_t mine[BLOCK];
    struct transfer transfer;
    struct rig rig;

    narrow_up(&rig);
    narrow(&rig, &transfer, mine);
    harness_fail_allocation(1);
    memexpose_device_cancel(rig.device);
    ck_assert_int_eq(end_transfer(&transfer), -ECANCELED);
    ck_assert(harness_allocation_failed());
    memset(mine, 0x55, BLOCK);
    rig_drive(&rig);
    ck_assert_uint_eq(memexpose_device_link_state(rig.device) & 7, 0);
    harness_assert_logged("no memory to send a block");
    rig_end(&rig);
}
END_TEST

/* --- lies ---------------------------------------------------------------- */

START_TEST(answered_early)
{
    static uint8_t mine[BLOCK];
    struct transfer transfer;
    struct rig rig;
    uint8_t p;

    narrow_up(&rig);
    p = rig_own(&rig, ACCESS);
    narrow(&rig, &transfer, mine);
    peer_send(&rig.peer, PEER_MEM, say_write_block_ret(p, 0, BLOCK, NULL));
    ck_assert_int_eq(end_transfer(&transfer), -ECONNRESET);
    ck_assert_uint_eq(transfer.done, 0);
    rig_drive(&rig);
    harness_assert_logged("half a request");
    ck_assert_uint_eq(rig_stats(&rig).violations, 1);
    rig_end(&rig);
}
END_TEST

/* More than was asked for, all of a failure, or less without one. */
START_TEST(answered_with_another_length)
{
    static const struct {
        uint32_t result, done;
    } lies[] = { { 0, 101 }, { 0, 99 }, { 0, 0 }, { 0, 65536 }, { 2, 100 },
                 { 2, 101 }, { 0x80000000, 65536 } };
    uint8_t mine[200], untouched[200];
    struct transfer transfer;
    struct rig rig;
    uint8_t p;

    up(&rig, _i & 1);
    p = rig_own(&rig, ACCESS);
    memset(untouched, 0x77, sizeof(untouched));
    for (unsigned i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        uint32_t result = lies[i].result, done = lies[i].done;

        memset(mine, 0x77, sizeof(mine));
        begin_transfer(&transfer, &rig, _i & 2, AT, mine, 100);
        if (_i & 2) {
            peer_expect(&rig.peer, PEER_MEM, say_write_block(p, AT, 100));
            peer_take_block(&rig.peer, got, 100);
            peer_send(&rig.peer, PEER_MEM,
                      say_write_block_ret(p, result, done, NULL));
        } else {
            peer_expect(&rig.peer, PEER_MEM, say_read_block(p, AT, 100));
            peer_send(&rig.peer, PEER_MEM,
                      say_read_block_ret(p, result, done, NULL));
            send(rig.peer.fd[PEER_MEM], wanted, 200, MSG_NOSIGNAL);
        }
        ck_assert_int_eq(end_transfer(&transfer), -ECONNRESET);
        ck_assert_uint_eq(transfer.done, 0);
        ck_assert_mem_eq(mine, untouched, sizeof(mine));
        rig_drive(&rig);
        ck_assert_uint_eq(rig_stats(&rig).violations, i + 1);
        rig_greet(&rig, RIG_BLOCK);
    }
    rig_expect_served(&rig);
    rig_end(&rig);
}
END_TEST

/* It goes while it answers, or while it asks. */
START_TEST(dies_in_a_block)
{
    static const size_t places[] = { 0, 1, 5, 6, 13, 14, 15, 40, 41, 42, 5000,
                                     30000 };
    static uint8_t mine[BLOCK], message[BLOCK + 41];
    struct transfer transfer;
    struct bytes head;
    struct rig rig;

    up(&rig, _i);
    for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        memset(mine, 0, BLOCK);
        begin_transfer(&transfer, &rig, false, AT, mine, BLOCK);
        peer_expect(&rig.peer, PEER_MEM,
                    say_read_block(rig_own(&rig, ACCESS), AT, BLOCK));
        head = say_read_block_ret(rig_own(&rig, ACCESS), 0, BLOCK, NULL);
        memcpy(message, head.at, head.count);
        peer_send_block(&rig.peer, message, places[i]);
        peer_close(&rig.peer);
        ck_assert_int_eq(end_transfer(&transfer), -ECONNRESET);
        ck_assert_uint_eq(transfer.done, 0);
        rig_greet(&rig, RIG_BLOCK);
        head = say_write_block(rig_peer(&rig, ACCESS), RIG_RAM, BLOCK);
        memcpy(message, head.at, head.count);
        peer_send_block(&rig.peer, message, places[i]);
        peer_close(&rig.peer);
        rig_drive(&rig);
        ck_assert_uint_eq(memexpose_device_link_state(rig.device) & 7, 0);
        rig_greet(&rig, RIG_BLOCK);
    }
    ck_assert_uint_eq(rig.writes, 0);
    ck_assert_uint_eq(rig_stats(&rig).violations, 0);
    rig_expect_served(&rig);
    rig_end(&rig);
}
END_TEST

/* --- two devices --------------------------------------------------------- */

struct both {
    struct rig rig;
    pthread_t thread;
    atomic_uint *finished;
    uint8_t written[BLOCK];
    unsigned writes;
};

enum { ROUNDS = 20 };

static int both_write(struct rig *rig, uint64_t address, const void *buffer,
                      size_t bytes, size_t *done)
{
    struct both *both = rig->arg;

    (void)done;
    ck_assert_uint_eq(address, AT);
    ck_assert_uint_eq(bytes, BLOCK);
    memcpy(both->written, buffer, bytes);
    both->writes++;
    return MEMEXPOSE_RESULT_OK;
}

static void *write_at_once(void *opaque)
{
    struct both *both = opaque;
    static _Thread_local uint8_t mine[BLOCK];

    for (unsigned i = 0; i < ROUNDS; i++) {
        fill(mine, BLOCK, i + both->rig.ours);
        ck_assert_int_eq(memexpose_write_block(both->rig.device, AT, mine,
                                               BLOCK, NULL), 0);
    }
    atomic_fetch_add(both->finished, 1);
    while (atomic_load(both->finished) < 2) {
        rig_drive(&both->rig);
        sched_yield();
    }
    return NULL;
}

/* Neither reads all of the other's before it goes on: both get on. */
START_TEST(both_write_at_once)
{
    static struct both both[2];
    atomic_uint finished = 0;
    int tiny = 1;

    for (int i = 0; i < 2; i++) {
        memset(&both[i], 0, sizeof(both[i]));
        rig_init(&both[i].rig, ROLE(i));
        both[i].rig.config.hello = MEMEXPOSE_HELLO_ON;
        both[i].rig.config.window_size = UINT64_MAX;
        both[i].rig.config.request_timeout = 60 * 1000 * MS;
        both[i].rig.blocks = true;
        both[i].rig.on_write_block = both_write;
        both[i].rig.arg = &both[i];
        both[i].finished = &finished;
        rig_start(&both[i].rig);
    }
    for (int which = 0; which < PEER_LINKS; which++) {
        int pair[2];

        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
                                    pair), 0);
        for (int i = 0; i < 2; i++) {
            ck_assert_int_eq(setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &tiny,
                                        sizeof(tiny)), 0);
            ck_assert_int_eq(memexpose_device_attach(both[i].rig.device,
                (enum memexpose_link)(which == PEER_MEM ? MEMEXPOSE_LINK_MEM :
                                      MEMEXPOSE_LINK_INTR), pair[i]), 0);
        }
    }
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(memexpose_device_enable(both[i].rig.device, 0), 0);
        ck_assert_int_eq(pthread_create(&both[i].thread, NULL, write_at_once,
                                        &both[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(pthread_join(both[i].thread, NULL), 0);
    }
    for (int i = 0; i < 2; i++) {
        fill(wanted, BLOCK, ROUNDS - 1 + both[!i].rig.ours);
        ck_assert_mem_eq(both[i].written, wanted, BLOCK);
        ck_assert_uint_eq(both[i].writes, ROUNDS);
        ck_assert_uint_eq(rig_stats(&both[i].rig).blocks_sent, ROUNDS);
        ck_assert_uint_eq(rig_stats(&both[i].rig).blocks_served, ROUNDS);
        ck_assert_uint_eq(rig_stats(&both[i].rig).violations, 0);
    }
    for (int i = 0; i < 2; i++) {
        rig_end(&both[i].rig);
    }
}
END_TEST

/* --- main ---------------------------------------------------------------- */

static TCase *accessing(void)
{
    TCase *tcase = harness_tcase("accessing");

    tcase_add_loop_test(tcase, reads_and_writes, 0, 2);
    tcase_add_loop_test(tcase, words_stay_words, 0, 2);
    tcase_add_loop_test(tcase, falls_back_to_words, 0, 2);
    tcase_add_loop_test(tcase, takes_failures, 0, 2);
    tcase_add_loop_test(tcase, fails_later, 0, 2);
    tcase_add_loop_test(tcase, stays_in_the_window, 0, 2);
    tcase_add_loop_test(tcase, maps_a_share, 0, 4);
    tcase_add_loop_test(tcase, goes_around_what_is_mapped, 0, 2);
    tcase_add_loop_test(tcase, cancelled_reads, 0, 2);
    tcase_add_loop_test(tcase, timed_out_reads, 0, 2);
    tcase_add_test(tcase, cancelled_writes);
    tcase_add_test(tcase, cancelled_writes_without_memory);
    tcase_add_test(tcase, both_write_at_once);
    return tcase;
}

int main(void)
{
    Suite *suite = suite_create("block-access");
    TCase *tcase = harness_tcase("lies");

    suite_add_tcase(suite, accessing());
    tcase_add_test(tcase, answered_early);
    tcase_add_loop_test(tcase, answered_with_another_length, 0, 4);
    tcase_add_loop_test(tcase, dies_in_a_block, 0, 2);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
