/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The byte layout of the messages against bytes written out by hand (protocol
 * sections 2, 6, 8 and 9), and everything that makes a message malformed.
 */
#include <stdlib.h>
#include <string.h>

#include <memexpose/device.h>

#include "golden-messages.h"
#include "harness.h"
#include "random.h"
#include "wire.h"

static const uint8_t all_types[] = {
    MX_READ, MX_READ_RET, MX_WRITE, MX_WRITE_RET, MX_REG_INV, MX_REG_INV_RET,
    MX_INTR, MX_HELLO, MX_HELLO_RET, MX_READ_BLOCK, MX_READ_BLOCK_RET,
    MX_WRITE_BLOCK, MX_WRITE_BLOCK_RET, MX_OFFER
};

enum { TYPES = sizeof(all_types) / sizeof(all_types[0]) };

static void expect_same_hello(const struct mx_wire_hello *a,
                              const struct mx_wire_hello *b)
{
    ck_assert_uint_eq(a->magic, b->magic);
    ck_assert_uint_eq(a->version_low, b->version_low);
    ck_assert_uint_eq(a->version_high, b->version_high);
    ck_assert_uint_eq(a->features, b->features);
    ck_assert_uint_eq(a->subpriority, b->subpriority);
    ck_assert_uint_eq(a->page_size, b->page_size);
    ck_assert_uint_eq(a->span_start, b->span_start);
    ck_assert_uint_eq(a->span_size, b->span_size);
    ck_assert_uint_eq(a->pair_id, b->pair_id);
    ck_assert_mem_eq(a->name, b->name, sizeof(a->name));
}

static void expect_same(const struct mx_message *a, const struct mx_message *b)
{
    ck_assert_uint_eq(a->type, b->type);
    ck_assert_uint_eq(a->priority, b->priority);
    ck_assert_uint_eq(a->offset, b->offset);
    ck_assert_uint_eq(a->value, b->value);
    ck_assert_uint_eq(a->result, b->result);
    ck_assert_uint_eq(a->size, b->size);
    ck_assert_uint_eq(a->share.kind, b->share.kind);
    ck_assert_uint_eq(a->share.start, b->share.start);
    ck_assert_uint_eq(a->share.mmap_start, b->share.mmap_start);
    ck_assert_uint_eq(a->share.size, b->share.size);
    ck_assert_int_eq(a->share.readonly, b->share.readonly);
    ck_assert_int_eq(a->share.nonvolatile, b->share.nonvolatile);
    if (a->type == MX_HELLO || a->type == MX_HELLO_RET) {
        expect_same_hello(&a->u.hello, &b->u.hello);
    } else {
        ck_assert_mem_eq(a->u.data, b->u.data, sizeof(a->u.data));
    }
}

/*
 * Decode from a block of exactly @count bytes, so that the tools see a read
 * beyond; into a message full of something else.
 */
static enum mx_decoded decode(const uint8_t *bytes, size_t count,
                              struct mx_message *message, size_t *used)
{
    uint8_t *exact = malloc(count + (count == 0));
    enum mx_decoded decoded;

    ck_assert_ptr_nonnull(exact);
    memcpy(exact, bytes, count);
    memset(message, 0xa5, sizeof(*message));
    *used = 9999;
    decoded = mx_wire_decode(exact, count, message, used);
    free(exact);
    return decoded;
}

static enum mx_decoded verdict(const uint8_t *bytes, size_t count)
{
    struct mx_message message;
    size_t used;

    return decode(bytes, count, &message, &used);
}

/* For tests to spoil. */
static const struct golden *golden_of(uint8_t type)
{
    for (size_t i = 0; i < GOLDENS; i++) {
        if (goldens[i].message.type == type) {
            return &goldens[i];
        }
    }
    ck_abort_msg("no golden message of type %u", type);
    return NULL;
}

START_TEST(test_encode_golden)
{
    const struct golden *golden = &goldens[_i];
    uint8_t bytes[MX_MESSAGE_MAX + 1];

    memset(bytes, 0xa5, sizeof(bytes));
    ck_assert_uint_eq(mx_wire_encode(&golden->message, bytes), golden->size);
    ck_assert_mem_eq(bytes, golden->bytes, golden->size);
    for (size_t i = golden->size; i < sizeof(bytes); i++) {
        ck_assert_uint_eq(bytes[i], 0xa5);
    }
}
END_TEST

START_TEST(test_decode_golden)
{
    const struct golden *golden = &goldens[_i];
    uint8_t bytes[MX_MESSAGE_MAX + 7];
    struct mx_message message;
    size_t used;

    ck_assert_int_eq(decode(golden->bytes, golden->size, &message, &used),
                     MX_DECODED);
    ck_assert_uint_eq(used, golden->size);
    expect_same(&message, &golden->message);

    /* the same with more bytes behind it */
    memset(bytes, 0xff, sizeof(bytes));
    memcpy(bytes, golden->bytes, golden->size);
    ck_assert_int_eq(decode(bytes, sizeof(bytes), &message, &used),
                     MX_DECODED);
    ck_assert_uint_eq(used, golden->size);
    expect_same(&message, &golden->message);
}
END_TEST

START_TEST(test_unaligned)
{
    const struct golden *golden = &goldens[_i];
    uint8_t bytes[MX_MESSAGE_MAX + 8];
    struct mx_message message;
    size_t used;

    for (size_t shift = 0; shift < 8; shift++) {
        ck_assert_uint_eq(mx_wire_encode(&golden->message, bytes + shift),
                          golden->size);
        ck_assert_mem_eq(bytes + shift, golden->bytes, golden->size);
        ck_assert_int_eq(mx_wire_decode(bytes + shift, golden->size, &message,
                                        &used), MX_DECODED);
        expect_same(&message, &golden->message);
    }
}
END_TEST

static void random_share(struct random_source *source,
                         struct mx_wire_share *share)
{
    share->kind = random_next(source) & 1;
    if (share->kind == 1) {
        share->start = random_next(source);
        share->mmap_start = random_next(source);
        share->size = random_next(source);
        share->readonly = random_next(source) & 1;
        share->nonvolatile = random_next(source) & 1;
    }
}

static void random_hello(struct random_source *source, bool answer,
                         struct mx_wire_hello *hello)
{
    size_t length = random_below(source, MX_NAME_BYTES + 1);

    hello->magic = MX_HELLO_MAGIC;
    hello->version_low = (uint16_t)random_next(source);
    hello->version_high = answer ? hello->version_low : 0xffff;
    hello->features = random_next(source);
    hello->subpriority = (uint8_t)random_below(source, answer ? 2 : 3);
    hello->page_size = (uint32_t)random_next(source);
    hello->span_start = random_next(source);
    hello->span_size = random_next(source);
    hello->pair_id = random_next(source);
    for (size_t i = 0; i < length; i++) {
        hello->name[i] = (char)(1 + random_below(source, 255));
    }
}

static void random_message(struct random_source *source,
                           struct mx_message *message)
{
    memset(message, 0, sizeof(*message));
    message->type = all_types[random_below(source, TYPES)];
    switch (message->type) {
    case MX_HELLO:
    case MX_HELLO_RET:
        random_hello(source, message->type == MX_HELLO_RET,
                     &message->u.hello);
        return;
    case MX_INTR:
        message->offset = random_next(source);
        for (size_t i = 0; i < MX_INTR_DATA; i++) {
            message->u.data[i] = (uint8_t)random_next(source);
        }
        return;
    case MX_OFFER:
        random_share(source, &message->share);
        return;
    case MX_READ:
        message->offset = random_next(source);
        message->size = (uint8_t)random_next(source);
        break;
    case MX_READ_BLOCK:
    case MX_WRITE_BLOCK:
        message->offset = random_next(source);
        message->size = (uint32_t)(1 + random_below(source, MX_BLOCK_MAX));
        break;
    case MX_READ_BLOCK_RET:
    case MX_WRITE_BLOCK_RET:
        message->result = (uint32_t)random_next(source);
        message->size = (uint32_t)random_below(source, MX_BLOCK_MAX + 1);
        random_share(source, &message->share);
        break;
    case MX_WRITE:
        message->size = (uint8_t)random_next(source);
        /* fall through */
    case MX_REG_INV:
        message->offset = random_next(source);
        message->value = random_next(source);
        break;
    case MX_READ_RET:
        message->value = random_next(source);
        /* fall through */
    case MX_WRITE_RET:
        message->result = (uint32_t)random_next(source);
        random_share(source, &message->share);
        break;
    }
    message->priority = (uint8_t)random_next(source);
}

START_TEST(test_round_trip)
{
    struct mx_message message, decoded;
    uint8_t bytes[MX_MESSAGE_MAX];
    struct random_source source;
    size_t size, used;

    random_start(&source, "round trip");
    for (unsigned i = 0; i < 4000; i++) {
        random_message(&source, &message);
        memset(bytes, (int)i, sizeof(bytes));
        size = mx_wire_encode(&message, bytes);
        ck_assert_uint_eq(size, mx_wire_size(message.type));
        ck_assert_uint_eq(mx_value_from_bytes(bytes, 4),
                          size + mx_wire_block(&message));
        ck_assert_int_eq(decode(bytes, size, &decoded, &used), MX_DECODED);
        ck_assert_uint_eq(used, size);
        expect_same(&decoded, &message);
    }
}
END_TEST

START_TEST(test_encode_sends_zeros)
{
    struct mx_message message = { .type = MX_READ_RET };
    uint8_t bytes[MX_MESSAGE_MAX];
    static const uint8_t unarbitrated[] = { MX_INTR, MX_OFFER, MX_HELLO,
                                            MX_HELLO_RET };
    static const uint8_t zeros[27];

    /* members that mean nothing without a descriptor are not let out */
    message.share.start = message.share.mmap_start = message.share.size = ~0u;
    message.share.readonly = message.share.nonvolatile = true;
    ck_assert_uint_eq(mx_wire_encode(&message, bytes), 45);
    ck_assert_mem_eq(bytes + 18, zeros, 27);

    /* nor is a priority where there is none */
    message.priority = 3;
    for (size_t i = 0; i < sizeof(unarbitrated); i++) {
        message.type = unarbitrated[i];
        mx_wire_encode(&message, bytes);
        ck_assert_uint_eq(bytes[5], 0);
    }

    /* nor what stands behind the end of a name */
    memcpy(message.u.hello.name, "a\0secret", 9);
    mx_wire_encode(&message, bytes);
    ck_assert_uint_eq(bytes[54], 'a');
    ck_assert_mem_eq(bytes + 55, zeros, 27);

    /* what is no message is not written */
    message.type = 7;
    memset(bytes, 0xa5, sizeof(bytes));
    ck_assert_uint_eq(mx_wire_encode(&message, bytes), 0);
    ck_assert_uint_eq(bytes[0], 0xa5);
}
END_TEST

START_TEST(test_short)
{
    const struct golden *golden = &goldens[_i];

    for (size_t count = 0; count < golden->size; count++) {
        ck_assert_int_eq(verdict(golden->bytes, count), MX_DECODE_SHORT);
    }
}
END_TEST

static void set_size(uint8_t *bytes, uint32_t size)
{
    for (unsigned i = 0; i < 4; i++) {
        bytes[i] = (uint8_t)(size >> (8 * i));
    }
}

/* Does the size tell how many bytes of a block follow? */
static bool size_varies(uint8_t type)
{
    return type == MX_READ_BLOCK_RET || type == MX_WRITE_BLOCK;
}

START_TEST(test_bad_size)
{
    const struct golden *golden = &goldens[_i];
    uint32_t right = (uint32_t)golden->size;
    uint8_t bytes[MX_MESSAGE_MAX];
    uint32_t wrong[] = {
        right << 8, right << 16, right << 24, right | 0x10000,
        right | 0x80000000u, UINT32_MAX, 0x7fffffff, 0x80000000u
    };

    if (size_varies(golden->message.type)) {
        return;                 /* test_lying_lengths */
    }
    memcpy(bytes, golden->bytes, sizeof(bytes));
    for (uint32_t size = 0; size < 300; size++) {
        if (size != right) {
            set_size(bytes, size);
            ck_assert_int_eq(verdict(bytes, 5), MX_DECODE_SHORT);
            ck_assert_int_eq(verdict(bytes, 6), MX_DECODE_BAD_SIZE);
            ck_assert_int_eq(verdict(bytes, sizeof(bytes)),
                             MX_DECODE_BAD_SIZE);
        }
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        set_size(bytes, wrong[i]);
        ck_assert_int_eq(verdict(bytes, 6), MX_DECODE_BAD_SIZE);
    }
}
END_TEST

START_TEST(test_every_type)
{
    static const size_t sizes[256] = {
        15, 45, 23, 37, 22, 6, 142, [0x40] = 86, [0x41] = 86,
        [0x42] = 18, [0x43] = 41, [0x44] = 14, [0x45] = 41, [0x46] = 33
    };
    uint8_t bytes[MX_MESSAGE_MAX] = { 0 };

    for (unsigned type = 0; type < 256; type++) {
        ck_assert_uint_eq(mx_wire_size((uint8_t)type), sizes[type]);
        bytes[4] = (uint8_t)type;
        if (sizes[type] != 0) {
            set_size(bytes, (uint32_t)sizes[type] + (type == 0x44));
            ck_assert_int_eq(verdict(bytes, 6), sizes[type] == 6 ?
                             MX_DECODED : MX_DECODE_SHORT);
            continue;
        }
        for (uint32_t size = 0; size < 256; size += 5) {
            set_size(bytes, size);
            ck_assert_int_eq(verdict(bytes, 5), MX_DECODE_SHORT);
            ck_assert_int_eq(verdict(bytes, 6), MX_DECODE_BAD_TYPE);
        }
    }
}
END_TEST

/* A block is of 1 to 65536 bytes, and its message as long as it says. */
START_TEST(test_read_block_sizes)
{
    static const uint32_t sizes[] = {
        1, 2, 65535, 65536, 0, 65537, 0x20000, 0x80000001u, UINT32_MAX
    };
    uint8_t bytes[18];

    memcpy(bytes, golden_of(MX_READ_BLOCK)->bytes, sizeof(bytes));
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        set_size(bytes + 14, sizes[i]);
        ck_assert_int_eq(verdict(bytes, 17), MX_DECODE_SHORT);
        ck_assert_int_eq(verdict(bytes, 18),
                         i < 4 ? MX_DECODED : MX_DECODE_BAD_BLOCK);
    }
}
END_TEST

START_TEST(test_write_block_sizes)
{
    uint8_t bytes[15];
    struct mx_message message;
    size_t used;

    memcpy(bytes, golden_of(MX_WRITE_BLOCK)->bytes, 14);
    for (uint32_t size = 0; size < 14; size++) {
        set_size(bytes, size);
        ck_assert_int_eq(verdict(bytes, 5), MX_DECODE_SHORT);
        ck_assert_int_eq(verdict(bytes, 6), MX_DECODE_BAD_SIZE);
    }
    set_size(bytes, 14);
    ck_assert_int_eq(verdict(bytes, 6), MX_DECODE_BAD_BLOCK);
    for (uint32_t size = 15; size <= 14 + 65536; size += 37) {
        set_size(bytes, size);
        ck_assert_int_eq(verdict(bytes, 13), MX_DECODE_SHORT);
        ck_assert_int_eq(decode(bytes, 14, &message, &used), MX_DECODED);
        ck_assert_uint_eq(used, 14);
        ck_assert_uint_eq(mx_wire_block(&message), size - 14);
    }
    for (unsigned bit = 17; bit < 32; bit++) {
        set_size(bytes, UINT32_C(1) << bit);
        ck_assert_int_eq(verdict(bytes, 6), MX_DECODE_BAD_BLOCK);
    }
    set_size(bytes, 14 + 65537);
    ck_assert_int_eq(verdict(bytes, 6), MX_DECODE_BAD_BLOCK);
    set_size(bytes, UINT32_MAX);
    ck_assert_int_eq(verdict(bytes, 6), MX_DECODE_BAD_BLOCK);
}
END_TEST

static enum mx_decoded lying(uint8_t type, uint32_t size, uint32_t done)
{
    uint8_t bytes[41];

    memcpy(bytes, golden_of(type)->bytes, sizeof(bytes));
    set_size(bytes, size);
    set_size(bytes + 10, done);
    return verdict(bytes, sizeof(bytes));
}

START_TEST(test_lying_lengths)
{
    static const uint32_t lengths[] = {
        0, 1, 2, 41, 100, 65535, 65536, 65537, 0x10000 + 41, 0x7fffffff,
        UINT32_MAX - 40, UINT32_MAX
    };
    const size_t count = sizeof(lengths) / sizeof(lengths[0]);

    for (size_t i = 0; i < count; i++) {
        bool allowed = lengths[i] <= 65536;

        ck_assert_int_eq(lying(MX_WRITE_BLOCK_RET, 41, lengths[i]),
                         allowed ? MX_DECODED : MX_DECODE_BAD_BLOCK);
        ck_assert_int_eq(lying(MX_WRITE_BLOCK_RET, 42, lengths[i]),
                         MX_DECODE_BAD_SIZE);
        for (size_t j = 0; j < count; j++) {
            enum mx_decoded verdict = lying(MX_READ_BLOCK_RET,
                                            41 + lengths[j], lengths[i]);

            if (i == j && allowed) {
                ck_assert_int_eq(verdict, MX_DECODED);
            } else {
                ck_assert(verdict == MX_DECODE_BAD_SIZE ||
                          verdict == MX_DECODE_BAD_BLOCK);
            }
        }
    }
    for (uint32_t size = 0; size < 41; size++) {
        ck_assert_int_eq(lying(MX_READ_BLOCK_RET, size, 0),
                         MX_DECODE_BAD_SIZE);
    }
}
END_TEST

/* How long a response is and what of it is there are two things. */
START_TEST(test_too_long_is_seen_early)
{
    uint8_t bytes[6] = { 0x2a, 0, 1, 0, MX_READ_BLOCK_RET, 3 };

    ck_assert_int_eq(verdict(bytes, 6), MX_DECODE_BAD_BLOCK);
    bytes[0]--;
    ck_assert_int_eq(verdict(bytes, 6), MX_DECODE_SHORT);
}
END_TEST

START_TEST(test_offer_kind)
{
    uint8_t bytes[33];

    memcpy(bytes, golden_of(MX_OFFER)->bytes, sizeof(bytes));
    for (unsigned kind = 0; kind < 256; kind++) {
        bytes[6] = (uint8_t)kind;
        ck_assert_int_eq(verdict(bytes, sizeof(bytes)), kind <= 1 ?
                         MX_DECODED : MX_DECODE_BAD_SHARE);
    }
}
END_TEST

START_TEST(test_share_kind)
{
    static const uint8_t shares[][2] = {
        { MX_READ_RET, 18 }, { MX_WRITE_RET, 10 },
        { MX_READ_BLOCK_RET, 14 }, { MX_WRITE_BLOCK_RET, 14 }
    };

    for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
        const struct golden *golden = golden_of(shares[i][0]);
        uint8_t bytes[MX_MESSAGE_MAX];

        memcpy(bytes, golden->bytes, golden->size);
        for (unsigned kind = 0; kind < 256; kind++) {
            bytes[shares[i][1]] = (uint8_t)kind;
            for (uint8_t result = 0; result <= 1; result++) {
                bytes[6] = result; /* a failure does not excuse it */
                ck_assert_int_eq(verdict(bytes, golden->size), kind <= 1 ?
                                 MX_DECODED : MX_DECODE_BAD_SHARE);
            }
        }
    }
}
END_TEST

START_TEST(test_share_flags)
{
    uint8_t bytes[45] = { 45, 0, 0, 0, MX_READ_RET, 2, [18] = 1 };
    struct mx_message message;
    size_t used;

    for (unsigned flags = 0; flags < 65536; flags += 127) {
        bytes[43] = (uint8_t)flags;
        bytes[44] = (uint8_t)(flags >> 8);
        ck_assert_int_eq(decode(bytes, 45, &message, &used), MX_DECODED);
        ck_assert_int_eq(message.share.readonly, bytes[43] != 0);
        ck_assert_int_eq(message.share.nonvolatile, bytes[44] != 0);
    }
}
END_TEST

/* The bytes of a message with what need not be looked at changed. */
static void expect_not_looked_at(uint8_t type, size_t from, size_t to)
{
    const struct golden *golden = golden_of(type);
    uint8_t bytes[MX_MESSAGE_MAX];
    struct mx_message message;
    size_t used;

    memcpy(bytes, golden->bytes, golden->size);
    memset(bytes + from, 0xee, to - from);
    ck_assert_int_eq(decode(bytes, golden->size, &message, &used),
                     MX_DECODED);
    expect_same(&message, &golden->message);
}

START_TEST(test_not_looked_at)
{
    expect_not_looked_at(MX_READ_RET, 19, 45);  /* a share of kind 0 */
    expect_not_looked_at(MX_WRITE_RET, 11, 37);
    expect_not_looked_at(MX_READ_BLOCK_RET, 15, 41);
    expect_not_looked_at(MX_WRITE_BLOCK_RET, 15, 41);
    expect_not_looked_at(MX_INTR, 5, 6);        /* priorities */
    expect_not_looked_at(MX_OFFER, 5, 6);
    expect_not_looked_at(MX_HELLO, 5, 6);
    expect_not_looked_at(MX_HELLO_RET, 5, 6);
    expect_not_looked_at(MX_HELLO, 23, 26);     /* specified as zero */
    expect_not_looked_at(MX_HELLO_RET, 23, 26);
    expect_not_looked_at(MX_HELLO, 59, 86);     /* behind the name's end */
}
END_TEST

/* The verdict on a hello of @type with the byte at @at changed. */
static enum mx_decoded spoilt(uint8_t type, size_t at, unsigned byte)
{
    const struct golden *golden = golden_of(type);
    uint8_t bytes[MX_MESSAGE_MAX];

    memcpy(bytes, golden->bytes, golden->size);
    bytes[at] = (uint8_t)byte;
    return verdict(bytes, golden->size);
}

START_TEST(test_hello_magic)
{
    static const uint8_t magic[] = { 'M', 'X', 'P', '1' };

    for (size_t at = 0; at < 4; at++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            enum mx_decoded expected = byte == magic[at] ?
                MX_DECODED : MX_DECODE_BAD_HELLO;

            ck_assert_int_eq(spoilt(MX_HELLO, 6 + at, byte), expected);
            ck_assert_int_eq(spoilt(MX_HELLO_RET, 6 + at, byte), expected);
        }
    }
}
END_TEST

static enum mx_decoded with_versions(uint8_t type, unsigned low, unsigned high)
{
    struct mx_message message = golden_of(type)->message;
    uint8_t bytes[MX_MESSAGE_MAX];
    size_t size;

    message.u.hello.version_low = (uint16_t)low;
    message.u.hello.version_high = (uint16_t)high;
    size = mx_wire_encode(&message, bytes);
    return verdict(bytes, size);
}

START_TEST(test_hello_versions)
{
    static const unsigned versions[] = {
        0, 1, 2, 0xff, 0x100, 0x101, 0xfffe, 0xffff
    };
    const size_t count = sizeof(versions) / sizeof(versions[0]);

    for (size_t low = 0; low < count; low++) {
        for (size_t high = 0; high < count; high++) {
            ck_assert_int_eq(with_versions(MX_HELLO, versions[low],
                                           versions[high]),
                             low <= high ? MX_DECODED : MX_DECODE_BAD_HELLO);
            /* an answer gives the one version chosen, twice */
            ck_assert_int_eq(with_versions(MX_HELLO_RET, versions[low],
                                           versions[high]),
                             low == high ? MX_DECODED : MX_DECODE_BAD_HELLO);
        }
    }
}
END_TEST

START_TEST(test_hello_subpriority)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        ck_assert_int_eq(spoilt(MX_HELLO, 22, byte),
                         byte == 0 || byte == 1 || byte == 2 ?
                         MX_DECODED : MX_DECODE_BAD_HELLO);
        ck_assert_int_eq(spoilt(MX_HELLO_RET, 22, byte),
                         byte == 0 || byte == 1 || byte == 0xff ?
                         MX_DECODED : MX_DECODE_BAD_HELLO);
    }
}
END_TEST

START_TEST(test_random_bytes)
{
    struct random_source source;
    uint8_t bytes[MX_MESSAGE_MAX + 10];
    char text[256];

    random_start(&source, "random bytes");
    for (unsigned i = 0; i < 20000; i++) {
        size_t count = random_below(&source, sizeof(bytes) + 1);
        struct mx_message message;
        size_t used;

        for (size_t j = 0; j < sizeof(bytes); j++) {
            bytes[j] = (uint8_t)random_next(&source);
        }
        if (i % 4 != 0) {       /* get past the header now and then */
            bytes[4] = all_types[random_below(&source, TYPES)];
            set_size(bytes, (uint32_t)mx_wire_size(bytes[4]));
        }
        if (decode(bytes, count, &message, &used) == MX_DECODED) {
            ck_assert_uint_eq(used, mx_wire_size(message.type));
            ck_assert_uint_le(used, count);
        }
        memexpose_describe(bytes, count, text, sizeof(text));
        ck_assert_uint_lt(strnlen(text, sizeof(text)), sizeof(text) - 1);
    }
}
END_TEST

START_TEST(test_names)
{
    static const struct {
        uint8_t type;
        const char *name;
        bool request, response;
        unsigned class;
    } rows[] = {
        { MX_READ, "READ", true, false, 1 },
        { MX_READ_RET, "READ_RET", false, true, 1 },
        { MX_WRITE, "WRITE", true, false, 1 },
        { MX_WRITE_RET, "WRITE_RET", false, true, 1 },
        { MX_REG_INV, "REG_INV", true, false, 0 },
        { MX_REG_INV_RET, "REG_INV_RET", false, true, 0 },
        { MX_INTR, "INTR", false, false, 2 },
        { MX_HELLO, "HELLO", false, false, 2 },
        { MX_HELLO_RET, "HELLO_RET", false, false, 2 },
        { MX_READ_BLOCK, "READ_BLOCK", true, false, 1 },
        { MX_READ_BLOCK_RET, "READ_BLOCK_RET", false, true, 1 },
        { MX_WRITE_BLOCK, "WRITE_BLOCK", true, false, 1 },
        { MX_WRITE_BLOCK_RET, "WRITE_BLOCK_RET", false, true, 1 },
        { MX_OFFER, "OFFER", false, false, 2 },
        { 7, "unknown", false, false, 2 },
        { 0x47, "unknown", false, false, 2 },
        { 0xff, "unknown", false, false, 2 }
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t type = rows[i].type;

        ck_assert_str_eq(mx_wire_name(type), rows[i].name);
        ck_assert_int_eq(mx_wire_is_request(type), rows[i].request);
        ck_assert_int_eq(mx_wire_is_response(type), rows[i].response);
        ck_assert_int_eq(mx_wire_is_block(type),
                         strstr(rows[i].name, "BLOCK") != NULL);
        if (rows[i].class < 2) {
            ck_assert_uint_eq(mx_wire_class(type), rows[i].class);
        }
    }
    ck_assert_uint_eq(mx_wire_response_type(MX_READ), MX_READ_RET);
    ck_assert_uint_eq(mx_wire_response_type(MX_WRITE), MX_WRITE_RET);
    ck_assert_uint_eq(mx_wire_response_type(MX_REG_INV), MX_REG_INV_RET);
    ck_assert_uint_eq(mx_wire_response_type(MX_READ_BLOCK),
                      MX_READ_BLOCK_RET);
    ck_assert_uint_eq(mx_wire_response_type(MX_WRITE_BLOCK),
                      MX_WRITE_BLOCK_RET);
}
END_TEST

START_TEST(test_errors_differ)
{
    for (int a = MX_DECODED; a <= MX_DECODE_BAD_HELLO; a++) {
        ck_assert_uint_gt(strlen(mx_wire_error((enum mx_decoded)a)), 0);
        for (int b = MX_DECODED; b < a; b++) {
            ck_assert_str_ne(mx_wire_error((enum mx_decoded)a),
                             mx_wire_error((enum mx_decoded)b));
        }
    }
    ck_assert_str_eq(mx_wire_error(MX_DECODE_BAD_SIZE),
                     "size wrong for the type");
}
END_TEST

static Suite *wire_suite(void)
{
    Suite *suite = suite_create("wire");
    TCase *layout = harness_tcase("layout");
    TCase *malformed = harness_tcase("malformed");
    TCase *helpers = harness_tcase("helpers");

    tcase_add_loop_test(layout, test_encode_golden, 0, GOLDENS);
    tcase_add_loop_test(layout, test_decode_golden, 0, GOLDENS);
    tcase_add_loop_test(layout, test_unaligned, 0, GOLDENS);
    tcase_add_test(layout, test_round_trip);
    tcase_add_test(layout, test_encode_sends_zeros);
    tcase_add_loop_test(malformed, test_short, 0, GOLDENS);
    tcase_add_loop_test(malformed, test_bad_size, 0, GOLDENS);
    tcase_add_test(malformed, test_every_type);
    tcase_add_test(malformed, test_read_block_sizes);
    tcase_add_test(malformed, test_write_block_sizes);
    tcase_add_test(malformed, test_lying_lengths);
    tcase_add_test(malformed, test_too_long_is_seen_early);
    tcase_add_test(malformed, test_offer_kind);
    tcase_add_test(malformed, test_share_kind);
    tcase_add_test(malformed, test_share_flags);
    tcase_add_test(malformed, test_not_looked_at);
    tcase_add_test(malformed, test_hello_magic);
    tcase_add_test(malformed, test_hello_versions);
    tcase_add_test(malformed, test_hello_subpriority);
    tcase_add_test(malformed, test_random_bytes);
    tcase_add_test(helpers, test_names);
    tcase_add_test(helpers, test_errors_differ);
    suite_add_tcase(suite, layout);
    suite_add_tcase(suite, malformed);
    suite_add_tcase(suite, helpers);
    return suite;
}

int main(void)
{
    return harness_main(wire_suite());
}
