/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device as exporter, seen by a raw peer (protocol sections 2 and 4).  Most
 * tests run in both roles.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "rig.h"

/* --- accesses (section 2) ------------------------------------------------ */

START_TEST(reads_every_size)
{
    static const unsigned sizes[] = { 1, 2, 4, 8 };
    static const uint64_t values[] = { 0x88, 0x7788, 0x55667788,
                                       0x1122334455667788 };
    struct rig rig;
    uint8_t p;

    rig_up(&rig, ROLE(_i));
    p = rig_peer(&rig, ACCESS);
    ck_assert_int_eq(memexpose_space_write(rig.space, RIG_RAM + 3, 8,
                                           values[3]), 0);
    for (unsigned i = 0; i < 4; i++) {
        close(rig_ask_fd(&rig, say_read(p, RIG_RAM + 3, (uint8_t)sizes[i]),
                     say_read_ret(p, 0, values[i], &rig_whole_ram)));
    }
    ck_assert_uint_eq(rig_stats(&rig).requests_served, 4);
    ck_assert_uint_eq(rig_stats(&rig).shares_sent, 4);
    rig_end(&rig);
}
END_TEST

START_TEST(writes_every_size)
{
    static const unsigned sizes[] = { 1, 2, 4, 8 };
    static const uint64_t after[] = {
        0xffffffffffffff88, 0xffffffffffff7788, 0xffffffff55667788,
        0x1122334455667788,
    };
    struct rig rig;
    uint64_t value;
    uint8_t p;

    rig_up(&rig, ROLE(_i));
    p = rig_peer(&rig, ACCESS);
    for (unsigned i = 0; i < 4; i++) {
        memexpose_space_write(rig.space, RIG_RAM + 8, 8, UINT64_MAX);
        /* What is beyond the size is not looked at. */
        close(rig_ask_fd(&rig, say_write(p, RIG_RAM + 8, 0x1122334455667788,
                                     (uint8_t)sizes[i]),
                     say_write_ret(p, 0, &rig_whole_ram)));
        memexpose_space_read(rig.space, RIG_RAM + 8, 8, &value);
        ck_assert_uint_eq(value, after[i]);
    }
    rig_end(&rig);
}
END_TEST

static int see_value(struct rig *rig, uint64_t address, unsigned bytes,
                     uint64_t value)
{
    (void)address;
    (void)bytes;
    *(uint64_t *)rig->arg = value;
    return MEMEXPOSE_RESULT_OK;
}

START_TEST(ignores_bytes_beyond_the_size)
{
    struct rig rig;
    uint64_t seen = 0;
    uint8_t p;

    rig_up(&rig, ROLE(_i));
    p = rig_peer(&rig, ACCESS);
    rig.on_write = see_value;
    rig.arg = &seen;
    rig_ask(&rig, say_write(p, RIG_MMIO, UINT64_C(0xdeadbeefcafe1234), 2),
            say_write_ret(p, 0, NULL));
    ck_assert_uint_eq(seen, 0x1234);
    rig_end(&rig);
}
END_TEST

static int read_ones(struct rig *rig, uint64_t address, unsigned bytes,
                     uint64_t *value)
{
    (void)rig;
    (void)address;
    (void)bytes;
    *value = UINT64_MAX;
    return MEMEXPOSE_RESULT_OK;
}

START_TEST(extends_values_by_zeros)
{
    struct rig rig;
    uint8_t p;

    rig_up(&rig, ROLE(_i));
    p = rig_peer(&rig, ACCESS);
    rig.on_read = read_ones;
    rig_ask(&rig, say_read(p, RIG_MMIO, 2), say_read_ret(p, 0, 0xffff, NULL));
    rig_ask(&rig, say_read(p, RIG_MMIO, 8),
            say_read_ret(p, 0, UINT64_MAX, NULL));
    rig_end(&rig);
}
END_TEST

START_TEST(refuses_other_sizes)
{
    static const uint8_t sizes[] = { 0, 3, 5, 6, 7, 9, 16, 128, 255 };
    struct rig rig;
    uint8_t p;

    rig_up(&rig, ROLE(_i));
    p = rig_peer(&rig, ACCESS);
    for (unsigned i = 0; i < sizeof(sizes); i++) {
        rig_ask(&rig, say_read(p, RIG_RAM, sizes[i]),
                say_read_ret(p, 1, 0, NULL));
        rig_ask(&rig, say_write(p, RIG_RAM, 1, sizes[i]),
                say_write_ret(p, 1, NULL));
    }
    ck_assert_uint_eq(rig.reads + rig.writes, 0);
    rig_end(&rig);
}
END_TEST

START_TEST(finds_nothing)
{
    static const uint64_t places[] = {
        0, RIG_RAM - 1, RIG_RAM + RIG_RAM_SIZE, UINT64_MAX,
    };
    struct rig rig;
    uint8_t p;

    rig_up(&rig, ROLE(_i));
    p = rig_peer(&rig, ACCESS);
    for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        rig_ask(&rig, say_read(p, places[i], 1), say_read_ret(p, 2, 0, NULL));
        rig_ask(&rig, say_write(p, places[i], 1, 1),
                say_write_ret(p, 2, NULL));
    }
    rig_end(&rig);
}
END_TEST

/* An access that passes the end of the address space. */
START_TEST(does_not_wrap)
{
    struct rig rig;
    uint8_t p;

    rig_up(&rig, ROLE(_i));
    p = rig_peer(&rig, ACCESS);
    ck_assert_int_eq(memexpose_space_add_ram(rig.space, UINT64_MAX - 0xfff,
                                             0x1000, -1, 0, 0), 0);
    ck_assert_int_eq(memexpose_space_add_ram(rig.space, 0, 0x1000, -1, 0, 0),
                     0);
    rig_ask(&rig, say_read(p, UINT64_MAX - 2, 4), say_read_ret(p, 2, 0, NULL));
    rig_ask(&rig, say_write(p, UINT64_MAX - 2, 0, 4),
            say_write_ret(p, 2, NULL));
    ck_assert_uint_eq(rig.reads + rig.writes, 0);
    rig_end(&rig);
}
END_TEST

/* Pieces of two objects; the share is the one with the first byte. */
START_TEST(serves_piecewise)
{
    const struct offer second = { .start = RIG_RAM + RIG_RAM_SIZE,
                                  .size = 0x1000 };
    uint64_t border = RIG_RAM + RIG_RAM_SIZE;
    struct rig rig;
    struct stat first_stat, stat;
    int first, other;
    uint8_t p;

    rig_up(&rig, ROLE(_i));
    p = rig_peer(&rig, ACCESS);
    ck_assert_int_eq(memexpose_space_add_ram(rig.space, border, 0x1000, -1, 0,
                                             0), 0);
    close(rig_ask_fd(&rig, say_write(p, border - 3, 0x1122334455667788, 8),
                 say_write_ret(p, 0, &rig_whole_ram)));
    first = rig_ask_fd(&rig, say_read(p, border - 3, 8),
                   say_read_ret(p, 0, 0x1122334455667788, &rig_whole_ram));
    other = rig_ask_fd(&rig, say_read(p, border, 4),
                   say_read_ret(p, 0, 0x22334455, &second));
    ck_assert_int_eq(fstat(first, &first_stat), 0);
    ck_assert_int_eq(fstat(other, &stat), 0);
    ck_assert_uint_ne(first_stat.st_ino, stat.st_ino);
    close(first);
    close(other);
    rig_end(&rig);
}
END_TEST

START_TEST(denies_writes_to_read_only_memory)
{
    const struct offer rom = { .start = 0x20000, .size = 0x1000,
                               .readonly = 1 };
    struct rig rig;
    uint8_t p;
    int fd;

    rig_up(&rig, ROLE(_i));
    p = rig_peer(&rig, ACCESS);
    ck_assert_int_eq(memexpose_space_add_ram(rig.space, 0x20000, 0x1000, -1,
                                             0, MEMEXPOSE_RAM_READONLY), 0);
    rig_ask(&rig, say_write(p, 0x20000, 1, 1), say_write_ret(p, 4, NULL));
    fd = rig_ask_fd(&rig, say_read(p, 0x20000, 1),
                    say_read_ret(p, 0, 0, &rom));
    /* Not by way of the descriptor either, nor by opening it anew. */
    ck_assert_int_eq(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    ck_assert_int_ne(fcntl(fd, F_GET_SEALS) & 0x10, 0);
    close(fd);
    rig_end(&rig);
}
END_TEST

static int answer_minus(struct rig *rig, uint64_t address, unsigned bytes,
                        uint64_t *value)
{
    (void)address;
    (void)bytes;
    *value = 0x77;
    return *(int *)rig->arg;
}

START_TEST(passes_results_on)
{
    static const int results[] = { 1, 2, 4, 7, -EIO, -EINVAL };
    struct rig rig;
    uint8_t p;

    rig_up(&rig, ROLE(_i));
    p = rig_peer(&rig, ACCESS);
    rig.on_read = answer_minus;
    for (unsigned i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
        int result = results[i];

        rig.arg = &result;
        rig_ask(&rig, say_read(p, RIG_RAM, 1),
                say_read_ret(p, result < 0 ? 1 : (uint32_t)result, 0, NULL));
    }
    ck_assert_uint_eq(rig.resolves, 0);
    rig_end(&rig);
}
END_TEST

START_TEST(does_not_reach_devices)
{
    struct rig rig;
    uint8_t p;

    rig_up(&rig, ROLE(_i));
    p = rig_peer(&rig, ACCESS);
    rig_ask(&rig, say_read(p, RIG_WINDOW + 8, 8), say_read_ret(p, 2, 0, NULL));
    rig_ask(&rig, say_write(p, RIG_WINDOW + 8, 0, 8),
            say_write_ret(p, 2, NULL));
    rig_end(&rig);
}
END_TEST

/* --- framing (section 2) ------------------------------------------------- */

START_TEST(takes_messages_byte_by_byte)
{
    struct bytes question;
    struct rig rig;
    uint8_t p;

    rig_up(&rig, ROLE(_i));
    p = rig_peer(&rig, ACCESS);
    question = say_read(p, RIG_MMIO + 0x456, 2);
    for (size_t i = 0; i < question.count; i++) {
        peer_expect_nothing(&rig.peer, PEER_MEM);
        peer_send_fds(&rig.peer, PEER_MEM, question.at + i, 1, NULL, 0);
    }
    peer_expect(&rig.peer, PEER_MEM, say_read_ret(p, 0, 0x456, NULL));
    rig_end(&rig);
}
END_TEST

/* Both in one piece; the lower number comes first. */
START_TEST(answers_the_lower_number_first)
{
    struct bytes both, inv;
    struct rig rig;
    uint8_t p, q;

    rig_up(&rig, ROLE(_i));
    p = rig_peer(&rig, ACCESS);
    q = rig_peer(&rig, INVALIDATE);
    both = say_read(p, RIG_MMIO + 1, 1);
    inv = say_inv(q, 0, 0x1000);
    memcpy(both.at + both.count, inv.at, inv.count);
    both.count += inv.count;
    peer_send(&rig.peer, PEER_MEM, both);
    peer_expect(&rig.peer, PEER_MEM, say_inv_ret(q));
    peer_expect(&rig.peer, PEER_MEM, say_read_ret(p, 0, 1, NULL));
    rig_end(&rig);
}
END_TEST

/* The priority of an interrupt is not looked at. */
START_TEST(takes_interrupts)
{
    struct memexpose_interrupt interrupt;
    struct bytes message = say_intr(0x1122334455667788, 0x5a);
    struct rig rig;

    rig_up(&rig, ROLE(_i));
    message.at[5] = 0xff;
    peer_send(&rig.peer, PEER_INTR, message);
    peer_expect_nothing(&rig.peer, PEER_INTR);
    ck_assert_int_eq(memexpose_device_receive(rig.device, &interrupt), 0);
    ck_assert_uint_eq(interrupt.type, 0x1122334455667788);
    ck_assert_uint_eq(interrupt.data[0], 0x5a);
    ck_assert_uint_eq(interrupt.data[127], 0x5a);
    ck_assert_int_eq(memexpose_device_receive(rig.device, &interrupt),
                     -EAGAIN);
    rig_end(&rig);
}
END_TEST

/* --- what is shared (section 4) ------------------------------------------ */

START_TEST(shares_the_object_itself)
{
    struct rig rig;
    uint8_t *memory;
    uint64_t value;
    uint8_t p;
    int fd;

    rig_up(&rig, ROLE(_i));
    p = rig_peer(&rig, ACCESS);
    fd = rig_ask_fd(&rig, say_write(p, RIG_RAM + 0x1234, 0x99, 1),
                say_write_ret(p, 0, &rig_whole_ram));
    memory = mmap(NULL, RIG_RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                  0);
    ck_assert_ptr_ne(memory, MAP_FAILED);
    ck_assert_uint_eq(memory[0x1234], 0x99);
    memory[0x1235] = 0x42;
    memexpose_space_read(rig.space, RIG_RAM + 0x1235, 1, &value);
    ck_assert_uint_eq(value, 0x42);
    ck_assert_int_ne(fcntl(fd, F_GET_SEALS) & F_SEAL_SHRINK, 0);
    munmap(memory, RIG_RAM_SIZE);
    close(fd);
    rig_end(&rig);
}
END_TEST

START_TEST(shares_again_each_time)
{
    struct rig rig;

    rig_up(&rig, ROLE(_i));
    for (int i = 0; i < 5; i++) {
        rig_take_share(&rig, RIG_RAM + 8u * (unsigned)i, &rig_whole_ram);
    }
    rig_end(&rig);
}
END_TEST

START_TEST(keeps_everything_if_told_to)
{
    struct rig rig;
    uint8_t p;

    rig_init(&rig, ROLE(_i));
    rig.config.share = false;
    rig_start(&rig);
    rig_connect(&rig);
    p = rig_peer(&rig, ACCESS);
    rig_ask(&rig, say_read(p, RIG_RAM, 1), say_read_ret(p, 0, 0, NULL));
    rig_ask(&rig, say_write(p, RIG_RAM, 0, 1), say_write_ret(p, 0, NULL));
    rig_end(&rig);
}
END_TEST

/* What a consumer may offer by mistake does no harm. */
struct mistake {
    const char *what;
    uint64_t start, size;
    bool readonly;
    int flags;                  /* of the descriptor; -1: a pipe */
    int seals;
};

static const struct mistake mistakes[] = {
    { "empty", RIG_RAM, 0, false, O_RDWR, 0 },
    { "wraps", RIG_RAM, UINT64_MAX, false, O_RDWR, 0 },
    { "below", RIG_RAM - 0x1000, 0x1000, false, O_RDWR, 0 },
    { "above", RIG_RAM + 0x1000, 0x1000, false, O_RDWR, 0 },
    { "no object", RIG_RAM, 0x1000, false, -1, 0 },
    { "writable descriptor", RIG_RAM, 0x1000, true, O_RDWR, 0x10 },
    { "not sealed", RIG_RAM, 0x1000, true, O_RDONLY, 0 },
    { "cannot be written", RIG_RAM, 0x1000, false, O_RDONLY, 0 },
};

static int offer_mistake(struct rig *rig, uint64_t address,
                         struct memexpose_share *share)
{
    const struct mistake *mistake = rig->arg;
    char path[64];
    int fd, pipes[2];

    (void)address;
    if (mistake->flags < 0) {
        ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
        close(pipes[1]);
        share->fd = pipes[0];
    } else {
        fd = peer_memory(0x1000, 0, false);
        ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, mistake->seals), 0);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        share->fd = open(path, mistake->flags | O_CLOEXEC);
        close(fd);
    }
    ck_assert_int_ge(share->fd, 0);
    share->start = mistake->start;
    share->size = mistake->size;
    share->readonly = mistake->readonly;
    return 1;
}

START_TEST(does_not_share_by_mistake)
{
    struct mistake mistake = mistakes[_i];
    struct rig rig;
    uint8_t p;

    rig_up(&rig, MEMEXPOSE_ROLE_LISTEN);
    p = rig_peer(&rig, ACCESS);
    rig.on_resolve = offer_mistake;
    rig.arg = &mistake;
    rig_ask(&rig, say_read(p, RIG_RAM, 1), say_read_ret(p, 0, 0, NULL));
    ck_assert_uint_eq(rig.resolves, 1);
    rig_end(&rig);
}
END_TEST

/* Read-only memory that the exporter can write by another range. */
START_TEST(keeps_memory_with_a_writable_alias)
{
    struct rig rig;
    uint8_t p;
    int fd;

    rig_up(&rig, ROLE(_i));
    p = rig_peer(&rig, ACCESS);
    fd = peer_memory(0x1000, 7, true);
    ck_assert_int_eq(memexpose_space_add_ram(rig.space, 0x20000, 0x1000,
                                             fcntl(fd, F_DUPFD_CLOEXEC, 0), 0,
                                             0), 0);
    ck_assert_int_eq(memexpose_space_add_ram(rig.space, 0x30000, 0x1000, fd,
                                             0, MEMEXPOSE_RAM_READONLY), 0);
    rig_ask(&rig, say_read(p, 0x30000, 1), say_read_ret(p, 0, 7, NULL));
    rig_end(&rig);
}
END_TEST

/* Half of the object is not exported: it would be given away as well. */
START_TEST(keeps_objects_of_which_a_part_is_its_own)
{
    struct rig rig;
    uint8_t p;

    rig_up(&rig, ROLE(_i));
    p = rig_peer(&rig, ACCESS);
    ck_assert_int_eq(memexpose_space_add_ram(rig.space, 0x20000, 0x1000,
                                             peer_memory(0x2000, 7, true), 0,
                                             0), 0);
    rig_ask(&rig, say_read(p, 0x20000, 1), say_read_ret(p, 0, 7, NULL));
    rig_end(&rig);
}
END_TEST

/* The maximal flat range, and where it lies in the object. */
START_TEST(offers_the_maximal_range)
{
    const struct offer upper = { .start = 0x20000, .mmap_start = 0x1000,
                                 .size = 0x2000 };
    const struct offer lower = { .start = 0x30000, .size = 0x1000 };
    int fd = peer_memory(0x3000, 7, true);
    struct rig rig;
    uint8_t p;

    rig_up(&rig, ROLE(_i));
    p = rig_peer(&rig, ACCESS);
    for (unsigned i = 0; i < 3; i++) {
        static const uint64_t at[] = { 0x30000, 0x20000, 0x21000 };

        ck_assert_int_eq(memexpose_space_add_ram(
            rig.space, at[i], 0x1000, fcntl(fd, F_DUPFD_CLOEXEC, 0),
            0x1000 * i, 0), 0);
    }
    close(fd);
    close(rig_ask_fd(&rig, say_read(p, 0x21800, 1),
                 say_read_ret(p, 0, 7, &upper)));
    close(rig_ask_fd(&rig, say_read(p, 0x30fff, 1),
                 say_read_ret(p, 0, 7, &lower)));
    rig_end(&rig);
}
END_TEST

/* Serving needs the links only, not the enable bit. */
START_TEST(serves_before_it_is_enabled)
{
    struct rig rig;

    rig_init(&rig, ROLE(_i));
    rig_start(&rig);
    rig_connect(&rig);
    rig_expect_served(&rig);
    rig_end(&rig);
}
END_TEST

/* --- main ---------------------------------------------------------------- */

static void both_roles(TCase *tcase, const TTest *test)
{
    tcase_add_loop_test(tcase, test, 0, 2);
}

static TCase *accesses(void)
{
    TCase *tcase = harness_tcase("accesses");

    both_roles(tcase, reads_every_size);
    both_roles(tcase, writes_every_size);
    both_roles(tcase, ignores_bytes_beyond_the_size);
    both_roles(tcase, extends_values_by_zeros);
    both_roles(tcase, refuses_other_sizes);
    both_roles(tcase, finds_nothing);
    both_roles(tcase, does_not_wrap);
    both_roles(tcase, serves_piecewise);
    both_roles(tcase, denies_writes_to_read_only_memory);
    both_roles(tcase, passes_results_on);
    both_roles(tcase, does_not_reach_devices);
    both_roles(tcase, takes_messages_byte_by_byte);
    both_roles(tcase, answers_the_lower_number_first);
    both_roles(tcase, takes_interrupts);
    both_roles(tcase, serves_before_it_is_enabled);
    return tcase;
}

static TCase *sharing(void)
{
    TCase *tcase = harness_tcase("sharing");

    both_roles(tcase, shares_the_object_itself);
    both_roles(tcase, shares_again_each_time);
    both_roles(tcase, keeps_everything_if_told_to);
    tcase_add_loop_test(tcase, does_not_share_by_mistake, 0,
                        sizeof(mistakes) / sizeof(mistakes[0]));
    both_roles(tcase, keeps_memory_with_a_writable_alias);
    both_roles(tcase, keeps_objects_of_which_a_part_is_its_own);
    both_roles(tcase, offers_the_maximal_range);
    return tcase;
}

int main(void)
{
    Suite *suite = suite_create("peer-serve");

    suite_add_tcase(suite, accesses());
    suite_add_tcase(suite, sharing());
    return harness_main(suite);
}
