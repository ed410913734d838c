/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blocks (protocol section 8) that a raw peer asks for.
 */
#include <errno.h>
#include <unistd.h>

#include "block.h"

/* --- serving ------------------------------------------------------------- */

static int read_op(struct rig *rig, uint64_t address, unsigned bytes,
                   uint64_t *value)
{
    ck_assert_uint_eq(address % bytes, 0);
    (void)rig;
    *value = 0;
    for (unsigned i = bytes; i-- > 0;) {
        *value = *value << 8 | byte_at(address + i);
    }
    return MEMEXPOSE_RESULT_OK;
}

static int write_block_op(struct rig *rig, uint64_t address,
                          const void *buffer, size_t bytes, size_t *done)
{
    (void)rig;
    (void)done;
    memcpy(got + (address - AT), buffer, bytes);
    return MEMEXPOSE_RESULT_OK;
}

static int write_op(struct rig *rig, uint64_t address, unsigned bytes,
                    uint64_t value)
{
    (void)rig;
    ck_assert_uint_eq(address % bytes, 0);
    for (unsigned i = 0; i < bytes; i++) {
        got[address - AT + i] = (uint8_t)(value >> (8 * i));
    }
    return MEMEXPOSE_RESULT_OK;
}

static const uint32_t sizes[] = { 1, 2, 3, 7, 8, 9, 100, 4095, 4096, 65535,
                                  65536 };

enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };

/* With the consumer's callbacks for blocks, or by those for words. */
static void start_serving(struct rig *rig, int i)
{
    rig_init(rig, ROLE(i & 1));
    rig->blocks = i & 2;
    rig->on_read = read_op;
    rig->on_write = write_op;
    rig->on_read_block = read_block_op;
    rig->on_write_block = write_block_op;
    bring_up(rig, RIG_BLOCK);
}

START_TEST(serves_reads)
{
    struct rig rig;

    start_serving(&rig, _i);
    for (unsigned i = 0; i < 2 * SIZES; i++) {
        uint64_t address = AT + 5 * (i & 1);
        uint32_t size = sizes[i / 2];
        uint8_t p = rig_peer(&rig, ACCESS);

        peer_send(&rig.peer, PEER_MEM, say_read_block(p, address, size));
        peer_expect(&rig.peer, PEER_MEM, say_read_block_ret(p, 0, size, NULL));
        peer_take_block(&rig.peer, got, size);
        for (uint32_t at = 0; at < size; at++) {
            wanted[at] = byte_at(address + at);
        }
        ck_assert_mem_eq(got, wanted, size);
    }
    peer_expect_nothing(&rig.peer, PEER_MEM);
    ck_assert_uint_eq(rig_stats(&rig).blocks_served, 2 * SIZES);
    ck_assert_uint_eq(rig_stats(&rig).requests_served, 2 * SIZES);
    ck_assert_uint_eq(rig.block_reads, rig.blocks ? 2 * SIZES : 0);
    ck_assert_int_eq(rig.reads == 0, rig.blocks);
    rig_end(&rig);
}
END_TEST

START_TEST(serves_writes)
{
    struct rig rig;

    start_serving(&rig, _i);
    for (unsigned i = 0; i < 2 * SIZES; i++) {
        uint64_t offset = 5 * (i & 1);
        uint32_t size = sizes[i / 2];
        uint8_t p = rig_peer(&rig, ACCESS);

        fill(wanted, size, i);
        memset(got, 0xa5, sizeof(got));
        peer_send(&rig.peer, PEER_MEM, say_write_block(p, AT + offset, size));
        peer_send_block(&rig.peer, wanted, size);
        peer_expect(&rig.peer, PEER_MEM,
                    say_write_block_ret(p, 0, size, NULL));
        ck_assert_mem_eq(got + offset, wanted, size);
        ck_assert_uint_eq(got[offset + size], 0xa5);
    }
    ck_assert_uint_eq(rig_stats(&rig).blocks_served, 2 * SIZES);
    ck_assert_uint_eq(rig.block_writes, rig.blocks ? 2 * SIZES : 0);
    rig_end(&rig);
}
END_TEST

/* What the library's own space says, and the share of the first byte. */
START_TEST(serves_memory)
{
    struct rig rig;
    uint8_t p;

    rig_init(&rig, ROLE(_i & 1));
    rig.blocks = _i & 2;
    bring_up(&rig, RIG_BLOCK);
    p = rig_peer(&rig, ACCESS);
    fill(wanted, RIG_RAM_SIZE, 9);
    peer_send(&rig.peer, PEER_MEM, say_write_block(p, RIG_RAM, RIG_RAM_SIZE));
    peer_send_block(&rig.peer, wanted, RIG_RAM_SIZE);
    close(peer_expect_fd(&rig.peer, PEER_MEM,
                         say_write_block_ret(p, 0, RIG_RAM_SIZE,
                                             &rig_whole_ram)));
    peer_send(&rig.peer, PEER_MEM, say_read_block(p, RIG_RAM + 1, 0x3000));
    close(peer_expect_fd(&rig.peer, PEER_MEM,
                         say_read_block_ret(p, 0, 0x3000, &rig_whole_ram)));
    peer_take_block(&rig.peer, got, 0x3000);
    ck_assert_mem_eq(got, wanted + 1, 0x3000);
    ck_assert_uint_eq(rig_stats(&rig).shares_sent, 2);

    /* Past its end: what was there, and no share of a failure. */
    peer_send(&rig.peer, PEER_MEM,
              say_read_block(p, RIG_RAM + RIG_RAM_SIZE - 10, 20));
    peer_expect(&rig.peer, PEER_MEM, say_read_block_ret(p, 2, 10, NULL));
    peer_take_block(&rig.peer, got, 10);
    ck_assert_mem_eq(got, wanted + RIG_RAM_SIZE - 10, 10);
    peer_send(&rig.peer, PEER_MEM, say_read_block(p, 0x100, 20));
    peer_expect(&rig.peer, PEER_MEM, say_read_block_ret(p, 2, 0, NULL));
    rig_expect_served(&rig);
    rig_end(&rig);
}
END_TEST

static int failing_block(struct rig *rig, uint64_t address, void *buffer,
                         size_t bytes, size_t *done)
{
    const size_t *fail_at = rig->arg;

    (void)address;
    memset(buffer, 0x42, bytes);
    if (*fail_at != SIZE_MAX) {
        *done = *fail_at;
    }
    return MEMEXPOSE_RESULT_DENIED;
}

static int failing_write_block(struct rig *rig, uint64_t address,
                               const void *buffer, size_t bytes, size_t *done)
{
    (void)buffer;
    return failing_block(rig, address, got, bytes, done);
}

/* As much as the consumer says, but never all of it. */
START_TEST(fails_in_the_middle)
{
    static const struct {
        size_t done;
        uint32_t said;
    } cases[] = {
        { 0, 0 }, { 1, 1 }, { 99, 99 }, { 100, 99 }, { 1000000, 99 },
        { SIZE_MAX, 0 },
    };
    struct rig rig;
    uint8_t p;

    rig_init(&rig, ROLE(_i));
    rig.blocks = true;
    rig.on_read_block = failing_block;
    rig.on_write_block = failing_write_block;
    bring_up(&rig, RIG_BLOCK);
    p = rig_peer(&rig, ACCESS);
    memset(wanted, 0x42, 100);
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        rig.arg = (void *)(uintptr_t)&cases[i].done;
        peer_send(&rig.peer, PEER_MEM, say_read_block(p, RIG_RAM, 100));
        peer_expect(&rig.peer, PEER_MEM,
                    say_read_block_ret(p, 4, cases[i].said, NULL));
        peer_take_block(&rig.peer, got, cases[i].said);
        ck_assert_mem_eq(got, wanted, cases[i].said);
        peer_send(&rig.peer, PEER_MEM, say_write_block(p, RIG_RAM, 100));
        peer_send_block(&rig.peer, wanted, 100);
        peer_expect(&rig.peer, PEER_MEM,
                    say_write_block_ret(p, 4, cases[i].said, NULL));
    }
    rig_end(&rig);
}
END_TEST

static int failing_read(struct rig *rig, uint64_t address, unsigned bytes,
                        uint64_t *value)
{
    if (address + bytes > AT + *(const size_t *)rig->arg) {
        return -EIO;            /* what is no result is result 1 */
    }
    return read_op(rig, address, bytes, value);
}

static int failing_write(struct rig *rig, uint64_t address, unsigned bytes,
                         uint64_t value)
{
    return failing_read(rig, address, bytes, &value);
}

START_TEST(fails_between_words)
{
    size_t fail_at;
    struct rig rig;
    uint8_t p;

    rig_init(&rig, ROLE(_i));
    rig.arg = &fail_at;
    rig.on_read = failing_read;
    rig.on_write = failing_write;
    bring_up(&rig, RIG_BLOCK);
    p = rig_peer(&rig, ACCESS);
    for (fail_at = 0; fail_at < 32; fail_at++) {
        uint32_t done = fail_at < 31 ? (uint32_t)fail_at & ~7u : 30;

        if (fail_at >= 24 && fail_at < 28) {
            done = 24;          /* 4, then 2, then 1 */
        } else if (fail_at >= 28) {
            done = fail_at < 30 ? 28 : 30;
        }
        peer_send(&rig.peer, PEER_MEM, say_read_block(p, AT, 31));
        if (fail_at >= 31) {
            done = 31;
        }
        peer_expect(&rig.peer, PEER_MEM,
                    say_read_block_ret(p, fail_at < 31, done, NULL));
        peer_take_block(&rig.peer, got, done);
        peer_send(&rig.peer, PEER_MEM, say_write_block(p, AT, 31));
        peer_send_block(&rig.peer, wanted, 31);
        peer_expect(&rig.peer, PEER_MEM,
                    say_write_block_ret(p, fail_at < 31, done, NULL));
    }
    rig_end(&rig);
}
END_TEST

/* Past 2^64 nothing is done; up to there all is. */
START_TEST(ends_at_the_end)
{
    struct rig rig;
    uint8_t p;

    rig_init(&rig, ROLE(_i));
    rig.blocks = true;
    rig.on_read_block = read_block_op;
    bring_up(&rig, RIG_BLOCK);
    p = rig_peer(&rig, ACCESS);
    peer_send(&rig.peer, PEER_MEM, say_read_block(p, UINT64_MAX - 14, 16));
    peer_expect(&rig.peer, PEER_MEM, say_read_block_ret(p, 2, 0, NULL));
    peer_send(&rig.peer, PEER_MEM, say_write_block(p, UINT64_MAX, 2));
    peer_send_block(&rig.peer, wanted, 2);
    peer_expect(&rig.peer, PEER_MEM, say_write_block_ret(p, 2, 0, NULL));
    ck_assert_uint_eq(rig.block_reads + rig.block_writes, 0);
    peer_send(&rig.peer, PEER_MEM, say_read_block(p, UINT64_MAX - 15, 16));
    peer_expect(&rig.peer, PEER_MEM, say_read_block_ret(p, 0, 16, NULL));
    peer_take_block(&rig.peer, got, 16);
    rig_end(&rig);
}
END_TEST

/* The trace gets what comes before the bytes, with the size of all. */
static unsigned traced;

static void trace(struct rig *rig, bool sent, const uint8_t *bytes,
                  size_t count)
{
    uint32_t size = bytes[0] | (uint32_t)bytes[1] << 8 |
                    (uint32_t)bytes[2] << 16;

    (void)rig;
    if (bytes[4] == 0x43) {
        ck_assert(sent);
        ck_assert_uint_eq(count, 41);
        ck_assert_uint_eq(size, 41 + 1000);
        traced++;
    } else if (bytes[4] == 0x44) {
        ck_assert(!sent);
        ck_assert_uint_eq(count, 14);
        ck_assert_uint_eq(size, 14 + 1000);
        traced++;
    } else {
        ck_assert_uint_eq(size, count);
    }
}

START_TEST(is_traced)
{
    char text[200];
    struct rig rig;
    uint8_t p;

    rig_init(&rig, ROLE(_i));
    traced = 0;
    rig.on_trace = trace;
    rig.on_read = read_op;
    rig.on_write = write_op;
    bring_up(&rig, RIG_BLOCK);
    p = rig_peer(&rig, ACCESS);
    peer_send(&rig.peer, PEER_MEM, say_read_block(p, AT, 1000));
    peer_expect(&rig.peer, PEER_MEM, say_read_block_ret(p, 0, 1000, NULL));
    peer_take_block(&rig.peer, got, 1000);
    peer_send(&rig.peer, PEER_MEM, say_write_block(p, AT, 1000));
    peer_send_block(&rig.peer, got, 1000);
    peer_expect(&rig.peer, PEER_MEM, say_write_block_ret(p, 0, 1000, NULL));
    ck_assert_uint_eq(traced, 2);
    memexpose_describe(say_write_block(3, AT, 1000).at, 14, text,
                       sizeof(text));
    ck_assert_str_eq(text, "WRITE_BLOCK prio 3 offset 0x100000 size 1000");
    rig_end(&rig);
}
END_TEST

/* --- memory that is short ------------------------------------------------ */

START_TEST(serves_without_memory)
{
    struct rig rig;
    uint8_t p;

    rig_init(&rig, ROLE(_i));
    rig.blocks = true;
    rig.on_read_block = read_block_op;
    bring_up(&rig, RIG_BLOCK);
    p = rig_peer(&rig, ACCESS);
    peer_send(&rig.peer, PEER_MEM, say_read_block(p, AT, 100));
    harness_fail_allocation(1);
    rig_drive(&rig);
    peer_expect(&rig.peer, PEER_MEM, say_read_block_ret(p, 1, 0, NULL));
    ck_assert(harness_allocation_failed());
    peer_send(&rig.peer, PEER_MEM, say_write_block(p, AT, 100));
    harness_fail_allocation(1);
    rig_drive(&rig);
    ck_assert(harness_allocation_failed());
    peer_expect_end(&rig.peer, PEER_MEM);
    harness_assert_logged("no memory for a block");
    ck_assert_uint_eq(rig_stats(&rig).violations, 0);
    ck_assert_uint_eq(rig.block_writes, 0);
    rig_greet(&rig, RIG_BLOCK);
    rig_expect_served(&rig);
    rig_end(&rig);
}
END_TEST

/* A response that does not go at once stays as it is while another device of
 * the group reads a block for its peer. */
START_TEST(responses_are_kept)
{
    struct rig rig, other;
    uint8_t p;

    narrow_up(&rig);
    rig_init(&other, MEMEXPOSE_ROLE_LISTEN);
    other.config.hello = MEMEXPOSE_HELLO_ON;
    other.blocks = true;
    other.on_read_block = read_block_op;
    rig_start_in(&other, &rig);
    rig_greet(&other, RIG_BLOCK);
    p = rig_peer(&rig, ACCESS);
    for (unsigned i = 0; i < 3; i++) {
        peer_send(&rig.peer, PEER_MEM, say_read_block(p, AT + i, BLOCK));
        rig_drive(&rig);
        peer_send(&other.peer, PEER_MEM, say_read_block(p, AT + 100, BLOCK));
        peer_expect(&other.peer, PEER_MEM,
                    say_read_block_ret(p, 0, BLOCK, NULL));
        peer_take_block(&other.peer, got, BLOCK);
        peer_expect(&rig.peer, PEER_MEM,
                    say_read_block_ret(p, 0, BLOCK, NULL));
        peer_take_block(&rig.peer, got, BLOCK);
        read_block_op(&rig, AT + i, wanted, BLOCK, NULL);
        ck_assert_mem_eq(got, wanted, BLOCK);
    }
    rig_leave(&other);
    rig_end(&rig);
}
END_TEST

START_TEST(keeps_without_memory)
{
    struct rig rig;
    uint8_t p;

    narrow_up(&rig);
    p = rig_peer(&rig, ACCESS);
    peer_send(&rig.peer, PEER_MEM, say_read_block(p, AT, 1000));
    peer_expect(&rig.peer, PEER_MEM, say_read_block_ret(p, 0, 1000, NULL));
    peer_take_block(&rig.peer, got, 1000);
    peer_send(&rig.peer, PEER_MEM, say_read_block(p, AT, BLOCK));
    harness_fail_allocation(1);
    rig_drive(&rig);
    ck_assert(harness_allocation_failed());
    rig_drive(&rig);
    ck_assert_uint_eq(memexpose_device_link_state(rig.device) & 7, 0);
    harness_assert_logged("no memory to send a block");
    rig_end(&rig);
}
END_TEST

/* --- main ---------------------------------------------------------------- */

int main(void)
{
    Suite *suite = suite_create("block");
    TCase *tcase = harness_tcase("serving");

    tcase_add_loop_test(tcase, serves_reads, 0, 4);
    tcase_add_loop_test(tcase, serves_writes, 0, 4);
    tcase_add_loop_test(tcase, serves_memory, 0, 4);
    tcase_add_loop_test(tcase, fails_in_the_middle, 0, 2);
    tcase_add_loop_test(tcase, fails_between_words, 0, 2);
    tcase_add_loop_test(tcase, ends_at_the_end, 0, 2);
    tcase_add_loop_test(tcase, is_traced, 0, 2);
    tcase_add_loop_test(tcase, serves_without_memory, 0, 2);
    tcase_add_test(tcase, responses_are_kept);
    tcase_add_test(tcase, keeps_without_memory);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
