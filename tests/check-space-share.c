/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is added to a space and removed from it, and what of it may be shared:
 * an object of which all may be exported, in its maximal flat range (protocol
 * section 4).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "os.h"
#include "space.h"

enum {
    PAGE = 0x10000,             /* whole pages wherever this runs */
    RO = MEMEXPOSE_RAM_READONLY,
    PRIVATE = MEMEXPOSE_RAM_PRIVATE
};

static struct memexpose_space *space;

static void setup(void)
{
    space = memexpose_space_create();
    ck_assert_ptr_nonnull(space);
}

static void teardown(void)
{
    memexpose_space_destroy(space);
}

static int add(uint64_t start, uint64_t size, int fd, uint64_t offset,
               unsigned flags)
{
    return memexpose_space_add_ram(space, start, size, fd, offset, flags);
}

/* Add part of an object, whose descriptor stays the test's. */
static void add_part(uint64_t start, uint64_t size, int fd, uint64_t offset,
                     unsigned flags)
{
    int copy = mx_os_duplicate(fd);

    ck_assert_int_ge(copy, 0);
    ck_assert_int_eq(add(start, size, copy, offset, flags), 0);
}

static int new_memfd(uint64_t size)
{
    int fd = mx_os_memfd("test", size);

    ck_assert_int_ge(fd, 0);
    return fd;
}

static int reopen(int fd)
{
    int readonly = mx_os_reopen_readonly(fd);

    ck_assert_int_ge(readonly, 0);
    return readonly;
}

/* A file of @size bytes in the directory of the test. */
static int new_file(const char *name, off_t size)
{
    char path[HARNESS_PATH];
    int fd;

    harness_path(path, name);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, size), 0);
    return fd;
}

static void expect_shared(uint64_t address, uint64_t start, uint64_t size,
                          uint64_t offset, bool readonly)
{
    struct memexpose_share share;

    memset(&share, 0x55, sizeof(share));
    ck_assert_int_eq(memexpose_space_resolve(space, address, &share), 1);
    ck_assert_uint_eq(share.start, start);
    ck_assert_uint_eq(share.size, size);
    ck_assert_uint_eq(share.offset, offset);
    ck_assert_int_eq(share.readonly, readonly);
    ck_assert_int_eq(share.nonvolatile, false);
    ck_assert(fcntl(share.fd, F_GETFD) & FD_CLOEXEC);
    mx_os_close(share.fd);
}

static void expect_not_shared(uint64_t address)
{
    struct memexpose_share share;

    ck_assert_int_eq(memexpose_space_resolve(space, address, &share), 0);
}

START_TEST(what_cannot_be_added)
{
    static const struct memexpose_mmio_ops ops = { .size = sizeof(ops) };
    static const struct memexpose_mmio_ops small = { .size = 8 };

    ck_assert_int_eq(add(0x1000, 0, -1, 0, 0), -EINVAL);
    ck_assert_int_eq(add(UINT64_MAX, 2, -1, 0, 0), -EINVAL);
    ck_assert_int_eq(add(0x1000, 0x1000, -1, 0, 4), -EINVAL);
    ck_assert_int_eq(add(0x1000, 0x1000, -1, 1, 0), -EINVAL);
    ck_assert_int_eq(add(0, INT64_MAX + (uint64_t)1, -1, 0, 0), -ENOMEM);
    ck_assert_int_eq(memexpose_space_add_mmio(space, 0, 0, &ops, NULL),
                     -EINVAL);
    ck_assert_int_eq(memexpose_space_add_mmio(space, 0, 8, &small, NULL),
                     -EINVAL);
    ck_assert_int_eq(memexpose_space_add_mmio(space, 2, UINT64_MAX, &ops,
                                              NULL), -EINVAL);
    ck_assert_int_eq(memexpose_space_add_window(space, 0, 0), -EINVAL);
    ck_assert_int_eq(memexpose_space_add_window(space, 2, UINT64_MAX),
                     -EINVAL);
    ck_assert_int_eq(memexpose_space_remove(space, 0), -ENOENT);
}
END_TEST

START_TEST(ranges_do_not_overlap)
{
    static const struct memexpose_mmio_ops ops = { .size = sizeof(ops) };
    static const struct {
        uint64_t start, size;
        int ret;
    } tries[] = {
        { 0x1fff, 1, -EEXIST }, { 0x2000, 1, 0 },      { 0xfff, 2, -EEXIST },
        { 0xfff, 1, 0 },        { 0, 0x4000, -EEXIST }, { 0x1800, 8, -EEXIST },
        { 0, UINT64_MAX, -EEXIST }, { UINT64_MAX, 1, 0 },
        { UINT64_MAX, 1, -EEXIST }, { 0, 1, 0 }
    };
    unsigned i;

    ck_assert_int_eq(add(0x1000, 0x1000, -1, 0, 0), 0);
    for (i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
        uint64_t start = tries[i].start, size = tries[i].size;

        ck_assert_int_eq(memexpose_space_add_window(space, start, size),
                         tries[i].ret);
        if (tries[i].ret == 0) {
            ck_assert_int_eq(memexpose_space_remove(space, start), 0);
        }
        ck_assert_int_eq(memexpose_space_add_mmio(space, start, size, &ops,
                                                  NULL), tries[i].ret);
        if (size < PAGE) {
            ck_assert_int_eq(add(start, size, -1, 0, 0),
                             tries[i].ret ? tries[i].ret : -EEXIST);
        }
    }
}
END_TEST

START_TEST(descriptors_that_cannot_be_memory)
{
    int memfd = new_memfd(2 * PAGE), readonly = reopen(memfd), pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    ck_assert_int_eq(add(0, PAGE, pair[0], 0, 0), -ENOTSUP);
    ck_assert_int_eq(add(0, PAGE, -2, 0, 0), -EBADF);
    ck_assert_int_eq(add(0, 2 * PAGE + 1, memfd, 0, 0), -ENODATA);
    ck_assert_int_eq(add(0, PAGE + 1, memfd, PAGE, 0), -ENODATA);
    ck_assert_int_eq(add(0, 1, memfd, 4 * PAGE, 0), -ENODATA);
    ck_assert_int_eq(add(0, PAGE, memfd, (uint64_t)0 - PAGE, 0), -ENODATA);
    ck_assert_int_eq(add(0, PAGE, memfd, 8, 0), -EINVAL);
    ck_assert_int_eq(add(0, PAGE, readonly, 0, 0), -EACCES);
    ck_assert_int_eq(memexpose_space_add_window(space, 8, 8), 0);
    ck_assert_int_eq(add(0, PAGE, readonly, 0, RO), -EEXIST);
    /* all of them are still the test's */
    mx_os_close(memfd);
    mx_os_close(readonly);
    mx_os_close(pair[0]);
    mx_os_close(pair[1]);
}
END_TEST

START_TEST(ranges_are_told_and_removed_by_their_start)
{
    uint64_t size = 0;

    ck_assert_int_eq(add(0x1000, 0x2345, -1, 0, 0), 0);
    ck_assert(mx_space_added(space, 0x1000, &size));
    ck_assert_uint_eq(size, 0x2345);
    ck_assert(!mx_space_added(space, 0x1001, &size));
    ck_assert_int_eq(memexpose_space_remove(space, 0x1001), -ENOENT);
    ck_assert_int_eq(memexpose_space_remove(space, 0x1000), 0);
    ck_assert_int_eq(memexpose_space_remove(space, 0x1000), -ENOENT);
    ck_assert(!mx_space_added(space, 0x1000, &size));
}
END_TEST

START_TEST(many_ranges_in_any_order)
{
    uint64_t start, size;
    unsigned i;

    for (i = 0; i < 101; i++) {
        start = (uint64_t)(i * 37 % 101) * 16 + 0x1000;
        ck_assert_int_eq(memexpose_space_add_window(space, start, 16), 0);
    }
    for (i = 0; i < 101; i++) {
        start = (uint64_t)(i * 53 % 101) * 16 + 0x1000;
        ck_assert(mx_space_added(space, start, &size));
        ck_assert_int_eq(memexpose_space_remove(space, start), 0);
        ck_assert(!mx_space_added(space, start, &size));
    }
}
END_TEST

START_TEST(the_span_is_what_is_exported)
{
    static const struct memexpose_mmio_ops ops = { .size = sizeof(ops) };
    uint64_t start = 1, size = 1;

    memexpose_space_span(space, &start, &size);
    ck_assert_uint_eq(start, 0);
    ck_assert_uint_eq(size, 0);
    ck_assert_int_eq(add(0x3000, 0x1001, -1, 0, 0), 0);
    ck_assert_int_eq(memexpose_space_add_mmio(space, 0x2fff, 1, &ops, NULL),
                     0);
    ck_assert_int_eq(memexpose_space_add_window(space, 0, 0x1000), 0);
    ck_assert_int_eq(memexpose_space_add_window(space, 0x8000, 0x1000), 0);
    memexpose_space_span(space, &start, &size);
    ck_assert_uint_eq(start, 0x2fff);
    ck_assert_uint_eq(size, 0x1002);
    ck_assert_int_eq(memexpose_space_remove(space, 0), 0);
    ck_assert_int_eq(add(0, 1, -1, 0, 0), 0);
    ck_assert_int_eq(add(UINT64_MAX - 7, 7, -1, 0, 0), 0);
    memexpose_space_span(space, &start, &size);
    ck_assert_uint_eq(start, 0);
    ck_assert_uint_eq(size, UINT64_MAX);
    ck_assert_int_eq(add(UINT64_MAX, 1, -1, 0, 0), 0);
    memexpose_space_span(space, &start, &size);
    ck_assert_uint_eq(size, UINT64_MAX);
}
END_TEST

START_TEST(new_memory_is_shared_sealed)
{
    struct memexpose_share share;
    struct mx_object object;
    uint64_t value;
    uint32_t word = 0x12345678;
    void *host;

    ck_assert_int_eq(add(0x123000, 0x2345, -1, 0, 0), 0);
    expect_shared(0x123000, 0x123000, 0x2345, 0, false);
    expect_shared(0x125344, 0x123000, 0x2345, 0, false);
    expect_not_shared(0x125345);
    ck_assert_int_eq(memexpose_space_resolve(space, 0x124000, &share), 1);
    ck_assert_int_eq(mx_os_object(share.fd, &object), 0);
    ck_assert_uint_eq(object.size, 0x2345);
    ck_assert(object.sealed_shrink && object.writable && object.seals_known);
    ck_assert_int_ne(ftruncate(share.fd, 0x100000), 0);
    ck_assert_int_eq(mx_os_map(share.fd, 0x2345, 0, false, &host), 0);
    memcpy((uint8_t *)host + 0x1100, &word, 4);
    ck_assert_int_eq(memexpose_space_read(space, 0x124100, 4, &value), 0);
    memcpy(&word, &value, 4);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    ck_assert_uint_eq(word, 0x12345678);
#else
    ck_assert_uint_eq(value, 0x78563412);
#endif
    /* what is shared lives on without the range */
    ck_assert_int_eq(memexpose_space_remove(space, 0x123000), 0);
    ck_assert_uint_ne(*((uint8_t *)host + 0x1100), 0);
    mx_os_unmap(host, 0x2345);
    mx_os_close(share.fd);
}
END_TEST

START_TEST(new_read_only_memory_can_never_be_written)
{
    struct memexpose_share share;
    struct mx_object object;
    char path[64];
    void *host;
    int again;

    ck_assert_int_eq(add(0, PAGE, -1, 0, RO), 0);
    expect_shared(8, 0, PAGE, 0, true);
    ck_assert_int_eq(memexpose_space_resolve(space, 0, &share), 1);
    ck_assert_int_eq(mx_os_object(share.fd, &object), 0);
    ck_assert(!object.writable && object.sealed_write && object.sealed_shrink);
    ck_assert_int_eq(mx_os_map(share.fd, PAGE, 0, false, &host), -EACCES);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", share.fd);
    again = open(path, O_RDWR | O_CLOEXEC);
    if (again >= 0) {
        ck_assert_int_eq(mx_os_map(again, PAGE, 0, false, &host), -EPERM);
        ck_assert_int_lt(write(again, "x", 1), 0);
    }
    mx_os_close(again);
    mx_os_close(share.fd);
}
END_TEST

START_TEST(private_memory_and_registers_are_not_shared)
{
    static const struct memexpose_mmio_ops ops = { .size = sizeof(ops) };
    int memfd = new_memfd(PAGE);

    ck_assert_int_eq(add(0, PAGE, -1, 0, PRIVATE), 0);
    ck_assert_int_eq(add(PAGE, PAGE, -1, 0, PRIVATE | RO), 0);
    ck_assert_int_eq(memexpose_space_add_mmio(space, 2 * PAGE, PAGE, &ops,
                                              NULL), 0);
    ck_assert_int_eq(memexpose_space_add_window(space, 3 * PAGE, PAGE), 0);
    expect_not_shared(0);
    expect_not_shared(PAGE);
    expect_not_shared(2 * PAGE);
    expect_not_shared(3 * PAGE);
    expect_not_shared(4 * PAGE);
    /* the object of a private range is not given away by another range */
    add_part(8 * PAGE, PAGE, memfd, 0, 0);
    expect_shared(8 * PAGE, 8 * PAGE, PAGE, 0, false);
    add_part(16 * PAGE, PAGE, memfd, 0, PRIVATE);
    expect_not_shared(8 * PAGE);
    mx_os_close(memfd);
}
END_TEST

START_TEST(an_object_is_shared_if_all_of_it_is_covered)
{
    int memfd = new_memfd(4 * PAGE + 100);

    /* in another order than that of the object, with an overlap */
    add_part(0, 2 * PAGE, memfd, 2 * PAGE, 0);
    add_part(8 * PAGE, PAGE, memfd, 0, 0);
    expect_not_shared(0);
    add_part(4 * PAGE, 2 * PAGE, memfd, PAGE, 0);
    expect_not_shared(0);
    add_part(12 * PAGE, 99, memfd, 4 * PAGE, 0);
    expect_not_shared(0);
    ck_assert_int_eq(memexpose_space_remove(space, 12 * PAGE), 0);
    add_part(12 * PAGE, 100, memfd, 4 * PAGE, 0);
    expect_shared(PAGE, 0, 2 * PAGE, 2 * PAGE, false);
    expect_shared(4 * PAGE, 4 * PAGE, 2 * PAGE, PAGE, false);
    expect_shared(8 * PAGE, 8 * PAGE, PAGE, 0, false);
    expect_shared(12 * PAGE + 99, 12 * PAGE, 100, 4 * PAGE, false);
    ck_assert_int_eq(memexpose_space_remove(space, 8 * PAGE), 0);
    expect_not_shared(0);
    mx_os_close(memfd);
}
END_TEST

START_TEST(adjacent_ranges_that_continue_are_one)
{
    int memfd = new_memfd(4 * PAGE), other = new_memfd(PAGE);

    add_part(PAGE, PAGE, memfd, 0, 0);
    add_part(2 * PAGE, PAGE, memfd, PAGE, 0);
    add_part(3 * PAGE, PAGE, memfd, 2 * PAGE, 0);
    add_part(0, PAGE, other, 0, 0);
    add_part(4 * PAGE, PAGE, memfd, 2 * PAGE, 0);   /* goes back */
    add_part(6 * PAGE, PAGE, memfd, 3 * PAGE, 0);   /* behind a gap */
    expect_shared(PAGE, PAGE, 3 * PAGE, 0, false);
    expect_shared(2 * PAGE, PAGE, 3 * PAGE, 0, false);
    expect_shared(4 * PAGE - 1, PAGE, 3 * PAGE, 0, false);
    expect_shared(4 * PAGE, 4 * PAGE, PAGE, 2 * PAGE, false);
    expect_shared(6 * PAGE, 6 * PAGE, PAGE, 3 * PAGE, false);
    expect_shared(0, 0, PAGE, 0, false);
    ck_assert_int_eq(memexpose_space_remove(space, 3 * PAGE), 0);
    expect_shared(PAGE, PAGE, 2 * PAGE, 0, false);
    mx_os_close(memfd);
    mx_os_close(other);
}
END_TEST

START_TEST(read_only_memory_is_shared_if_nothing_writes_it)
{
    int memfd = new_memfd(2 * PAGE), readonly = reopen(memfd);

    add_part(0, 2 * PAGE, readonly, 0, RO);
    expect_not_shared(0);                   /* it is not sealed */
    ck_assert_int_eq(mx_os_seal(memfd, true), 0);
    expect_shared(0, 0, 2 * PAGE, 0, true);
    add_part(4 * PAGE, 2 * PAGE, memfd, 0, RO);
    expect_not_shared(4 * PAGE);            /* opened for writing */
    expect_not_shared(0);                   /* since that one is there */
    ck_assert_int_eq(memexpose_space_remove(space, 4 * PAGE), 0);
    expect_shared(0, 0, 2 * PAGE, 0, true);
    mx_os_close(memfd);
    mx_os_close(readonly);
}
END_TEST

START_TEST(a_mixture_shares_nothing_read_only)
{
    int memfd = new_memfd(2 * PAGE), readonly;

    add_part(4 * PAGE, PAGE, memfd, 0, 0);
    ck_assert_int_eq(mx_os_seal(memfd, true), 0);
    readonly = reopen(memfd);
    add_part(0, 2 * PAGE, readonly, 0, RO);
    expect_not_shared(0);
    expect_not_shared(4 * PAGE);    /* half of it must not be written */
    ck_assert_int_eq(memexpose_space_remove(space, 4 * PAGE), 0);
    expect_shared(0, 0, 2 * PAGE, 0, true);
    mx_os_close(memfd);
    mx_os_close(readonly);

    memfd = new_memfd(2 * PAGE);
    add_part(8 * PAGE, PAGE, memfd, 0, RO);
    add_part(9 * PAGE, PAGE, memfd, PAGE, 0);
    expect_not_shared(8 * PAGE);
    expect_not_shared(9 * PAGE);
    add_part(12 * PAGE, 2 * PAGE, memfd, 0, 0);
    expect_not_shared(8 * PAGE);
    expect_shared(9 * PAGE, 9 * PAGE, PAGE, PAGE, false);
    mx_os_close(memfd);
}
END_TEST

/* Any file will do, whatever file system the directory is on. */
START_TEST(files_are_shared)
{
    int fd = new_file("data", PAGE + 5), readonly = reopen(fd);
    uint64_t value;

    ck_assert_int_eq(pwrite(fd, "\1\2\3\4", 4, PAGE), 4);
    add_part(0, PAGE + 5, readonly, 0, RO);
    ck_assert_int_eq(memexpose_space_read(space, PAGE, 4, &value), 0);
    ck_assert_uint_eq(value, 0x04030201);
    ck_assert_int_eq(memexpose_space_write(space, PAGE, 4, 0),
                     MEMEXPOSE_RESULT_DENIED);
    expect_shared(0, 0, PAGE + 5, 0, true);
    ck_assert_int_eq(memexpose_space_remove(space, 0), 0);
    add_part(0, PAGE, fd, 0, 0);
    expect_not_shared(0);                   /* five bytes are not exported */
    ck_assert_int_eq(memexpose_space_remove(space, 0), 0);
    add_part(0, PAGE + 5, fd, 0, 0);
    ck_assert_int_eq(memexpose_space_write(space, PAGE, 1, 9), 0);
    ck_assert_int_eq(pread(fd, &value, 1, PAGE), 1);
    ck_assert_uint_eq(*(uint8_t *)&value, 9);
    expect_shared(0, 0, PAGE + 5, 0, false);
    ck_assert_int_eq(ftruncate(fd, 2 * PAGE), 0);
    expect_not_shared(0);                   /* it has grown */
    mx_os_close(fd);
    mx_os_close(readonly);
}
END_TEST

START_TEST(the_callbacks_are_those_of_the_space)
{
    struct memexpose_device_ops ops;
    struct memexpose_share share;
    uint64_t value;

    memset(&ops, 0x55, sizeof(ops));
    memexpose_space_ops(&ops);
    ck_assert_uint_eq(ops.size, sizeof(ops));
    ck_assert_ptr_null(ops.map);
    ck_assert_ptr_null(ops.trace);
    ck_assert_int_eq(add(0, PAGE, -1, 0, 0), 0);
    ck_assert_int_eq(ops.write(space, 8, 2, 0x1234), 0);
    ck_assert_int_eq(ops.read(space, 8, 4, &value), 0);
    ck_assert_uint_eq(value, 0x1234);
    ck_assert_int_eq(ops.resolve(space, 8, &share), 1);
    mx_os_close(share.fd);
    memexpose_space_destroy(NULL);
}
END_TEST

START_TEST(no_memory)
{
    int memfd = new_memfd(PAGE);

    harness_fail_allocation(1);
    ck_assert_ptr_null(memexpose_space_create());
    ck_assert_int_eq(errno, ENOMEM);
    harness_fail_allocation(1);
    ck_assert_int_eq(add(0, PAGE, -1, 0, RO), -ENOMEM);
    harness_fail_allocation(1);
    ck_assert_int_eq(add(0, PAGE, memfd, 0, 0), -ENOMEM);
    harness_fail_allocation(1);
    ck_assert_int_eq(memexpose_space_add_window(space, 0, PAGE), -ENOMEM);
    ck_assert_int_eq(add(0, PAGE, memfd, 0, 0), 0);
    expect_shared(0, 0, PAGE, 0, false);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("space-share");
    TCase *ranges = harness_tcase("ranges"), *shares = harness_tcase("shares");

    tcase_add_checked_fixture(ranges, setup, teardown);
    tcase_add_test(ranges, what_cannot_be_added);
    tcase_add_test(ranges, ranges_do_not_overlap);
    tcase_add_test(ranges, descriptors_that_cannot_be_memory);
    tcase_add_test(ranges, ranges_are_told_and_removed_by_their_start);
    tcase_add_test(ranges, many_ranges_in_any_order);
    tcase_add_test(ranges, the_span_is_what_is_exported);
    tcase_add_test(ranges, no_memory);
    suite_add_tcase(suite, ranges);

    tcase_add_checked_fixture(shares, setup, teardown);
    tcase_add_test(shares, new_memory_is_shared_sealed);
    tcase_add_test(shares, new_read_only_memory_can_never_be_written);
    tcase_add_test(shares, private_memory_and_registers_are_not_shared);
    tcase_add_test(shares, an_object_is_shared_if_all_of_it_is_covered);
    tcase_add_test(shares, adjacent_ranges_that_continue_are_one);
    tcase_add_test(shares, read_only_memory_is_shared_if_nothing_writes_it);
    tcase_add_test(shares, a_mixture_shares_nothing_read_only);
    tcase_add_test(shares, files_are_shared);
    tcase_add_test(shares, the_callbacks_are_those_of_the_space);
    suite_add_tcase(suite, shares);
    return harness_main(suite);
}
