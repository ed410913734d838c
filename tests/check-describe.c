/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages in words, for logs: of every type, cut off, and of what is none.
 */
#include <stdlib.h>
#include <string.h>

#include <memexpose/device.h>

#include "golden-messages.h"
#include "harness.h"
#include "wire.h"

static void expect_words(const struct mx_message *message,
                         const char *expected)
{
    uint8_t bytes[MX_MESSAGE_MAX];
    char text[256];

    memexpose_describe(bytes, mx_wire_encode(message, bytes), text,
                       sizeof(text));
    ck_assert_str_eq(text, expected);
}

START_TEST(test_describe)
{
    struct mx_message message = {
        .type = MX_READ_RET, .priority = 2, .value = 0x12,
        .share = { .kind = 1, .start = 0x80000000u, .size = 0x4000000,
                   .readonly = true }
    };

    expect_words(&message, "READ_RET prio 2 result 0 value 0x"
                 "0000000000000012 share fd start 0x80000000 size 0x4000000 "
                 "offset 0x0 ro");
    message.share.kind = 0;
    expect_words(&message, "READ_RET prio 2 result 0 value 0x"
                 "0000000000000012 share none");
    expect_words(&goldens[0].message,
                 "READ prio 2 offset 0x123456789abcdef size 4");
    expect_words(&goldens[3].message, "WRITE prio 3 offset 0xfee00010 size 8 "
                 "value 0xf1e2d3c4b5a69788");
    expect_words(&goldens[5].message, "WRITE_RET prio 2 result 0 share fd "
                 "start 0x1000 size 0x3000 offset 0x2000 rw nonvolatile");
    expect_words(&goldens[6].message, "REG_INV prio 1 start "
                 "0x8070605040302010 size 0xfff000");
    expect_words(&goldens[7].message, "REG_INV_RET prio 1");
    expect_words(&goldens[8].message, "INTR type 0xdeadbeef data f0f1f2f3f4f5"
                 "f6f708090a0b0c0d0e0f00000000000000000000000000000000...");
    expect_words(&goldens[9].message, "HELLO versions 1-515 features "
                 "0x807060504030201 sub-priority any page 69632 span "
                 "0x40000000 size 0xfffffffffffffffe pair 0xa1b2c3d4e5f6071 "
                 "name \"peer\"");
    memset(&message, 0, sizeof(message));
    message.type = MX_INTR;
    expect_words(&message, "INTR type 0x0 data 0");
    message.u.data[1] = 0x20;
    expect_words(&message, "INTR type 0x0 data 0020");
}
END_TEST

/* Of a block its length is said: the bytes are not there. */
START_TEST(test_describe_blocks)
{
    struct mx_message message = { .type = MX_OFFER };

    expect_words(&goldens[11].message,
                 "READ_BLOCK prio 2 offset 0x1122334455667788 size 65536");
    expect_words(&goldens[12].message, "READ_BLOCK_RET prio 3 result 0 done "
                 "260 share none");
    expect_words(&goldens[13].message, "READ_BLOCK_RET prio 2 result 2 done "
                 "65535 share fd start 0x1000 size 0x3000 offset 0x2000 ro "
                 "nonvolatile");
    expect_words(&goldens[14].message,
                 "WRITE_BLOCK prio 3 offset 0xfee00010 size 65536");
    expect_words(&goldens[16].message, "WRITE_BLOCK_RET prio 2 result 4 done "
                 "3 share none");
    expect_words(&goldens[17].message, "OFFER share fd start 0x180000000 "
                 "size 0xfedcba9876543210 offset 0x203000 rw");
    expect_words(&message, "OFFER share none");
}
END_TEST

START_TEST(test_describe_name)
{
    struct mx_message message = goldens[10].message;
    char *name = message.u.hello.name;
    const char *shown;
    uint8_t bytes[MX_MESSAGE_MAX];
    char text[256];

    memcpy(name, "a\x1b[31m\x07\n\x7f\x80\xff z", 14);
    memexpose_describe(bytes, mx_wire_encode(&message, bytes), text,
                       sizeof(text));
    shown = strstr(text, "name ");
    ck_assert_ptr_nonnull(shown);
    ck_assert_str_eq(shown, "name \"a?[31m????? z\"");
}
END_TEST

START_TEST(test_describe_garbage)
{
    static const uint8_t wrong_size[] = { 0x10, 0, 0, 0, 0, 2 };
    static const uint8_t unknown[] = { 0x10, 0, 0, 0, 0x47, 2, 1, 2 };
    char text[256];

    memexpose_describe(NULL, 0, text, sizeof(text));
    ck_assert_str_eq(text, "incomplete, 0 bytes");
    memexpose_describe(goldens[0].bytes, 3, text, sizeof(text));
    ck_assert_str_eq(text, "incomplete, 3 bytes, header 0f0000");
    memexpose_describe(goldens[0].bytes, 14, text, sizeof(text));
    ck_assert_str_eq(text, "READ: incomplete, 14 bytes, header 0f0000000002");
    memexpose_describe(wrong_size, sizeof(wrong_size), text, sizeof(text));
    ck_assert_str_eq(text,
                     "READ: size wrong for the type, header 100000000002");
    memexpose_describe(unknown, sizeof(unknown), text, sizeof(text));
    ck_assert_str_eq(text, "unknown: unknown type, header 100000004702");
}
END_TEST

/* What does not fit is cut off, never written beyond. */
START_TEST(test_describe_cut)
{
    const struct golden *golden = &goldens[_i];
    char whole[256], *text;

    memexpose_describe(golden->bytes, golden->size, whole, sizeof(whole));
    for (size_t size = 0; size <= strlen(whole) + 1; size++) {
        text = malloc(size + (size == 0));
        ck_assert_ptr_nonnull(text);
        memexpose_describe(golden->bytes, golden->size, text, size);
        if (size > 0) {
            ck_assert_uint_eq(strnlen(text, size), size - 1);
            ck_assert_mem_eq(text, whole, size - 1);
        }
        free(text);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("describe");
    TCase *tcase = harness_tcase("words");

    tcase_add_test(tcase, test_describe);
    tcase_add_test(tcase, test_describe_blocks);
    tcase_add_test(tcase, test_describe_name);
    tcase_add_test(tcase, test_describe_garbage);
    tcase_add_loop_test(tcase, test_describe_cut, 0, GOLDENS);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
