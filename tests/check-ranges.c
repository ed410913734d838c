/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ranges of addresses up to 2^64, and the bytes of values (protocol section
 * 2).
 */
#include "harness.h"
#include "wire.h"

#define TOP UINT64_MAX
#define HALF 0x8000000000000000u

START_TEST(test_range_overflows)
{
    ck_assert(!mx_range_overflows(0, 0));
    ck_assert(!mx_range_overflows(0, TOP));
    ck_assert(!mx_range_overflows(1, TOP));     /* ends at 2^64 */
    ck_assert(mx_range_overflows(2, TOP));
    ck_assert(mx_range_overflows(TOP, TOP));
    ck_assert(!mx_range_overflows(TOP, 0));
    ck_assert(!mx_range_overflows(TOP, 1));     /* ends at 2^64 */
    ck_assert(mx_range_overflows(TOP, 2));
    ck_assert(!mx_range_overflows(HALF, HALF));
    ck_assert(mx_range_overflows(HALF, HALF + 1));
    ck_assert(!mx_range_overflows(TOP - 0xfff, 0x1000));
    ck_assert(mx_range_overflows(TOP - 0xffe, 0x1000));
}
END_TEST

static void expect_intersect(uint64_t start1, uint64_t size1,
                             uint64_t start2, uint64_t size2, bool expected)
{
    ck_assert_int_eq(mx_ranges_intersect(start1, size1, start2, size2),
                     expected);
    ck_assert_int_eq(mx_ranges_intersect(start2, size2, start1, size1),
                     expected);
}

START_TEST(test_ranges_intersect)
{
    expect_intersect(0, 1, 0, 1, true);
    expect_intersect(0, 1, 1, 1, false);
    expect_intersect(0, 2, 1, 1, true);
    expect_intersect(10, 10, 19, 1, true);
    expect_intersect(10, 10, 20, 1, false);
    expect_intersect(10, 10, 12, 3, true);
    expect_intersect(0, 0, 0, TOP, false);      /* it holds nothing */
    expect_intersect(5, 0, 0, 10, false);
    expect_intersect(TOP, 1, 0, TOP, false);
    expect_intersect(TOP, 1, 1, TOP, true);
    expect_intersect(TOP, 1, 0, 1, false);
    expect_intersect(TOP, 1, TOP, 1, true);
    expect_intersect(TOP - 1, 1, TOP, 1, false);
    expect_intersect(HALF, HALF, 0, HALF, false);
    expect_intersect(HALF, HALF, 0, HALF + 1, true);
    expect_intersect(TOP - 0xfff, 0x1000, 0, 0x1000, false);
}
END_TEST

START_TEST(test_range_within)
{
    ck_assert(mx_range_within(0, 1, 0, 1));
    ck_assert(mx_range_within(0, TOP, 0, TOP));
    ck_assert(!mx_range_within(0, 2, 0, 1));
    ck_assert(!mx_range_within(1, 1, 0, 1));
    ck_assert(mx_range_within(1, 1, 0, 2));
    ck_assert(!mx_range_within(0, 1, 1, 1));
    ck_assert(mx_range_within(TOP, 1, TOP, 1));
    ck_assert(mx_range_within(TOP, 1, HALF, HALF));
    ck_assert(!mx_range_within(TOP, 2, HALF, HALF)); /* passes 2^64 */
    ck_assert(!mx_range_within(TOP, TOP, HALF, HALF));
    ck_assert(!mx_range_within(TOP, 1, 0, TOP));
    ck_assert(mx_range_within(TOP - 1, 1, 0, TOP));
    ck_assert(!mx_range_within(0, 1, TOP, 1));
    ck_assert(mx_range_within(5, 0, 0, 5));
}
END_TEST

START_TEST(test_values)
{
    static const uint8_t memory[8] = {
        0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0xf8
    };
    uint8_t bytes[8];

    mx_value_to_bytes(0xf807060504030201u, bytes);
    ck_assert_mem_eq(bytes, memory, 8);
    ck_assert_uint_eq(mx_value_from_bytes(memory, 8), 0xf807060504030201u);
    ck_assert_uint_eq(mx_value_from_bytes(memory, 4), 0x04030201u);
    ck_assert_uint_eq(mx_value_from_bytes(memory + 7, 1), 0xf8u);
    ck_assert_uint_eq(mx_value_from_bytes(memory, 0), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ranges");
    TCase *tcase = harness_tcase("arithmetic");

    tcase_add_test(tcase, test_range_overflows);
    tcase_add_test(tcase, test_ranges_intersect);
    tcase_add_test(tcase, test_range_within);
    tcase_add_test(tcase, test_values);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
