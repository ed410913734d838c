/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The codec: any bytes as a message, any fields as a message, and ranges
 * against arithmetic that is wide enough.
 */
#include <stdlib.h>
#include <string.h>

#include <memexpose/device.h>

#include "fuzz.h"
#include "wire.h"

/* A copy without a byte to spare, so that reading past its end is seen. */
static uint8_t *exact_copy(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);

    fuzz_check(copy);
    if (size) {
        memcpy(copy, data, size);
    }
    return copy;
}

static bool same_share(const struct mx_wire_share *one,
                       const struct mx_wire_share *other)
{
    return one->kind == other->kind && one->start == other->start &&
           one->mmap_start == other->mmap_start && one->size == other->size &&
           one->readonly == other->readonly &&
           one->nonvolatile == other->nonvolatile;
}

static bool same_hello(const struct mx_wire_hello *one,
                       const struct mx_wire_hello *other)
{
    return one->magic == other->magic &&
           one->version_low == other->version_low &&
           one->version_high == other->version_high &&
           one->features == other->features &&
           one->subpriority == other->subpriority &&
           one->page_size == other->page_size &&
           one->span_start == other->span_start &&
           one->span_size == other->span_size &&
           one->pair_id == other->pair_id &&
           memcmp(one->name, other->name, sizeof(one->name)) == 0;
}

static bool is_hello(uint8_t type)
{
    return type == MX_HELLO || type == MX_HELLO_RET;
}

static bool same(const struct mx_message *one, const struct mx_message *other)
{
    return one->type == other->type && one->priority == other->priority &&
           one->offset == other->offset && one->value == other->value &&
           one->result == other->result && one->size == other->size &&
           same_share(&one->share, &other->share) &&
           (is_hello(one->type) ? same_hello(&one->u.hello, &other->u.hello) :
            memcmp(one->u.data, other->u.data, MX_INTR_DATA) == 0);
}

/* The size of a block is one that it can have. */
static void check_block(const struct mx_message *message)
{
    if (mx_wire_is_block(message->type)) {
        fuzz_check(message->size <= MX_BLOCK_MAX);
        fuzz_check(message->size > 0 || mx_wire_is_response(message->type));
    }
    fuzz_check(mx_wire_block(message) == 0 ||
               mx_wire_block(message) == message->size);
}

/* What was decoded is encoded to what decodes to the same. */
static void check_round_trip(const struct mx_message *message)
{
    uint8_t bytes[MX_MESSAGE_MAX], again[MX_MESSAGE_MAX];
    struct mx_message decoded;
    size_t size = mx_wire_encode(message, bytes), used = 0;

    fuzz_check(size == mx_wire_size(message->type));
    fuzz_check(size <= MX_MESSAGE_MAX);
    fuzz_check(mx_wire_decode(bytes, size, &decoded, &used) == MX_DECODED);
    fuzz_check(used == size);
    fuzz_check(same(message, &decoded));
    check_block(&decoded);
    fuzz_check(mx_wire_encode(&decoded, again) == size);
    fuzz_check(memcmp(bytes, again, size) == 0);
}

/* The beginning of a message is none, and no error either. */
static void check_prefixes(const uint8_t *data, size_t size)
{
    for (size_t count = 0; count < size; count++) {
        uint8_t *copy = exact_copy(data, count);
        struct mx_message message;
        size_t used;

        fuzz_check(mx_wire_decode(copy, count, &message, &used) ==
                   MX_DECODE_SHORT);
        free(copy);
    }
}

static void check_description(const uint8_t *data, size_t size, size_t room)
{
    char *text = malloc(room ? room : 1);

    fuzz_check(text);
    memexpose_describe(data, size, text, room);
    fuzz_check(room == 0 || memchr(text, '\0', room));
    free(text);
}

static void any_bytes(struct fuzz_input *input)
{
    size_t room = fuzz_take(input, 1) * 2, used = 0;
    uint8_t *copy = exact_copy(input->at, input->left);
    struct mx_message message;
    enum mx_decoded decoded;

    decoded = mx_wire_decode(copy, input->left, &message, &used);
    if (decoded == MX_DECODED) {
        fuzz_check(used >= MX_HEADER_SIZE && used <= input->left);
        fuzz_check(mx_value_from_bytes(copy, 4) ==
                   used + mx_wire_block(&message));
        check_round_trip(&message);
        check_prefixes(copy, used);
    } else if (decoded == MX_DECODE_SHORT) {
        fuzz_check(input->left < MX_MESSAGE_MAX);
    }
    fuzz_check(strlen(mx_wire_error(decoded)) > 0);
    check_description(copy, input->left, room);
    free(copy);
}

static void take_share(struct fuzz_input *input, struct mx_wire_share *share)
{
    share->kind = fuzz_take(input, 1) & 1;
    if (share->kind) {
        share->start = fuzz_take(input, 8);
        share->mmap_start = fuzz_take(input, 8);
        share->size = fuzz_take(input, 8);
        share->readonly = fuzz_take(input, 1) & 1;
        share->nonvolatile = fuzz_take(input, 1) & 1;
    }
}

static void take_hello(struct fuzz_input *input, struct mx_message *message)
{
    struct mx_wire_hello *hello = &message->u.hello;
    bool answer = message->type == MX_HELLO_RET;

    hello->magic = MX_HELLO_MAGIC;
    hello->version_low = (uint16_t)fuzz_take(input, 2);
    hello->version_high = (uint16_t)(answer ? hello->version_low :
        hello->version_low + fuzz_take(input, 2) %
        (UINT32_C(0x10000) - hello->version_low));
    hello->features = fuzz_take(input, 8);
    hello->subpriority = (uint8_t)(fuzz_take(input, 1) % (answer ? 2 : 3));
    hello->page_size = (uint32_t)fuzz_take(input, 4);
    hello->span_start = fuzz_take(input, 8);
    hello->span_size = fuzz_take(input, 8);
    hello->pair_id = fuzz_take(input, 8);
    fuzz_take_bytes(input, hello->name, MX_NAME_BYTES);
    memset(hello->name + strlen(hello->name), 0,
           sizeof(hello->name) - strlen(hello->name));
}

/* Fields that a message of its type can have. */
static void any_fields(struct fuzz_input *input)
{
    struct mx_message message;

    memset(&message, 0, sizeof(message));
    message.type = fuzz_type((uint8_t)fuzz_take(input, 1));
    if (mx_wire_is_request(message.type) ||
        mx_wire_is_response(message.type)) {
        message.priority = (uint8_t)fuzz_take(input, 1);
    }
    switch (message.type) {
    case MX_READ:
    case MX_WRITE:
        message.offset = fuzz_take(input, 8);
        message.size = (uint8_t)fuzz_take(input, 1);
        message.value = message.type == MX_WRITE ? fuzz_take(input, 8) : 0;
        break;
    case MX_READ_RET:
    case MX_WRITE_RET:
        message.result = (uint32_t)fuzz_take(input, 4);
        message.value = message.type == MX_READ_RET ? fuzz_take(input, 8) : 0;
        take_share(input, &message.share);
        break;
    case MX_REG_INV:
        message.offset = fuzz_take(input, 8);
        message.value = fuzz_take(input, 8);
        break;
    case MX_INTR:
        message.offset = fuzz_take(input, 8);
        fuzz_take_bytes(input, message.u.data, MX_INTR_DATA);
        break;
    case MX_HELLO:
    case MX_HELLO_RET:
        take_hello(input, &message);
        break;
    case MX_READ_BLOCK:
    case MX_WRITE_BLOCK:
        message.offset = fuzz_take(input, 8);
        message.size = (uint32_t)(fuzz_take(input, 3) % MX_BLOCK_MAX + 1);
        break;
    case MX_READ_BLOCK_RET:
    case MX_WRITE_BLOCK_RET:
        message.result = (uint32_t)fuzz_take(input, 4);
        message.size = (uint32_t)(fuzz_take(input, 3) % (MX_BLOCK_MAX + 1));
        take_share(input, &message.share);
        break;
    case MX_OFFER:
        take_share(input, &message.share);
        break;
    default:
        break;
    }
    check_round_trip(&message);
}

__extension__ typedef unsigned __int128 wide;

static void ranges(struct fuzz_input *input)
{
    uint64_t start1 = fuzz_take(input, 8), size1 = fuzz_take(input, 8);
    uint64_t start2 = fuzz_take(input, 8), size2 = fuzz_take(input, 8);
    wide end1 = (wide)start1 + size1, end2 = (wide)start2 + size2;
    wide all = (wide)1 << 64;

    fuzz_check(mx_range_overflows(start1, size1) == (end1 > all));
    if (end1 > all || end2 > all) {
        return;
    }
    fuzz_check(mx_ranges_intersect(start1, size1, start2, size2) ==
               (size1 > 0 && size2 > 0 && start1 < end2 && start2 < end1));
    fuzz_check(mx_range_within(start1, size1, start2, size2) ==
               (start1 >= start2 && end1 <= end2));
}

int fuzz_codec(const uint8_t *data, size_t size)
{
    struct fuzz_input input = { data, size };

    fuzz_begin();
    switch (fuzz_take(&input, 1) % 4) {
    case 0:
    case 1:
        any_bytes(&input);
        break;
    case 2:
        any_fields(&input);
        break;
    default:
        ranges(&input);
        break;
    }
    fuzz_end();
    return 0;
}
