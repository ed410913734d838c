/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Byte layout of the messages (protocol sections 2, 6, 8 and 9).  Everything
 * is little-endian and packed; it is put together and taken apart byte by
 * byte, so that neither the byte order nor the alignment of the host matters.
 */
#include "wire.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <memexpose/device.h>

enum {
    SHARE_SIZE = 27,
    HELLO_SIZE = 80,
    DESCRIBED_DATA = 32         /* bytes of interrupt data in a description */
};

size_t mx_wire_size(uint8_t type)
{
    switch (type) {
    case MX_READ:
        return MX_HEADER_SIZE + 8 + 1;
    case MX_READ_RET:
        return MX_HEADER_SIZE + 4 + 8 + SHARE_SIZE;
    case MX_WRITE:
        return MX_HEADER_SIZE + 8 + 8 + 1;
    case MX_WRITE_RET:
        return MX_HEADER_SIZE + 4 + SHARE_SIZE;
    case MX_REG_INV:
        return MX_HEADER_SIZE + 8 + 8;
    case MX_REG_INV_RET:
        return MX_HEADER_SIZE;
    case MX_INTR:
        return MX_HEADER_SIZE + 8 + MX_INTR_DATA;
    case MX_HELLO:
    case MX_HELLO_RET:
        return MX_HEADER_SIZE + HELLO_SIZE;
    case MX_READ_BLOCK:
        return MX_HEADER_SIZE + 8 + 4;
    case MX_WRITE_BLOCK:
        return MX_HEADER_SIZE + 8;
    case MX_READ_BLOCK_RET:
    case MX_WRITE_BLOCK_RET:
        return MX_HEADER_SIZE + 4 + 4 + SHARE_SIZE;
    case MX_OFFER:
        return MX_HEADER_SIZE + SHARE_SIZE;
    default:
        return 0;
    }
}

static bool carries_block(uint8_t type)
{
    return type == MX_READ_BLOCK_RET || type == MX_WRITE_BLOCK;
}

size_t mx_wire_block(const struct mx_message *message)
{
    return carries_block(message->type) ? message->size : 0;
}

const char *mx_wire_name(uint8_t type)
{
    switch (type) {
    case MX_READ:
        return "READ";
    case MX_READ_RET:
        return "READ_RET";
    case MX_WRITE:
        return "WRITE";
    case MX_WRITE_RET:
        return "WRITE_RET";
    case MX_REG_INV:
        return "REG_INV";
    case MX_REG_INV_RET:
        return "REG_INV_RET";
    case MX_INTR:
        return "INTR";
    case MX_HELLO:
        return "HELLO";
    case MX_HELLO_RET:
        return "HELLO_RET";
    case MX_READ_BLOCK:
        return "READ_BLOCK";
    case MX_READ_BLOCK_RET:
        return "READ_BLOCK_RET";
    case MX_WRITE_BLOCK:
        return "WRITE_BLOCK";
    case MX_WRITE_BLOCK_RET:
        return "WRITE_BLOCK_RET";
    case MX_OFFER:
        return "OFFER";
    default:
        return "unknown";
    }
}

const char *mx_wire_error(enum mx_decoded decoded)
{
    switch (decoded) {
    case MX_DECODED:
        return "no error";
    case MX_DECODE_SHORT:
        return "incomplete";
    case MX_DECODE_BAD_TYPE:
        return "unknown type";
    case MX_DECODE_BAD_SIZE:
        return "size wrong for the type";
    case MX_DECODE_BAD_SHARE:
        return "share of an unknown kind";
    case MX_DECODE_BAD_BLOCK:
        return "a block of no bytes or of too many";
    case MX_DECODE_BAD_HELLO:
        return "malformed hello";
    }
    return "unknown error";
}

bool mx_wire_is_request(uint8_t type)
{
    return type == MX_READ || type == MX_WRITE || type == MX_REG_INV ||
           type == MX_READ_BLOCK || type == MX_WRITE_BLOCK;
}

bool mx_wire_is_response(uint8_t type)
{
    return type == MX_READ_RET || type == MX_WRITE_RET ||
           type == MX_REG_INV_RET || type == MX_READ_BLOCK_RET ||
           type == MX_WRITE_BLOCK_RET;
}

bool mx_wire_is_block(uint8_t type)
{
    return type >= MX_READ_BLOCK && type <= MX_WRITE_BLOCK_RET;
}

unsigned mx_wire_class(uint8_t type)
{
    if (type == MX_REG_INV || type == MX_REG_INV_RET) {
        return MX_CLASS_INVALIDATE;
    }
    return MX_CLASS_ACCESS;
}

uint8_t mx_wire_response_type(uint8_t request)
{
    return (uint8_t)(request + 1);
}

/* Only these take part in arbitration; others send 0, which nobody reads. */
static bool has_priority(uint8_t type)
{
    return mx_wire_is_request(type) || mx_wire_is_response(type);
}

bool mx_range_overflows(uint64_t start, uint64_t size)
{
    return size != 0 && size - 1 > UINT64_MAX - start;
}

bool mx_ranges_intersect(uint64_t start1, uint64_t size1,
                         uint64_t start2, uint64_t size2)
{
    if (size1 == 0 || size2 == 0) {
        return false;
    }
    if (start1 < start2) {
        return start2 - start1 < size1;
    }
    return start1 - start2 < size2;
}

bool mx_range_within(uint64_t start, uint64_t size,
                     uint64_t start2, uint64_t size2)
{
    return start >= start2 && start - start2 <= size2 &&
           size <= size2 - (start - start2);
}

void mx_value_to_bytes(uint64_t value, uint8_t bytes[8])
{
    for (unsigned i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(value >> (8 * i));
    }
}

uint64_t mx_value_from_bytes(const uint8_t *bytes, unsigned count)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < count; i++) {
        value |= (uint64_t)bytes[i] << (8 * i);
    }
    return value;
}

/* Write the low @count bytes of @value; returns where the next field goes. */
static uint8_t *put(uint8_t *at, uint64_t value, unsigned count)
{
    uint8_t bytes[8];

    mx_value_to_bytes(value, bytes);
    memcpy(at, bytes, count);
    return at + count;
}

/* Read a field of @count bytes and step over it. */
static uint64_t get(const uint8_t **at, unsigned count)
{
    uint64_t value = mx_value_from_bytes(*at, count);

    *at += count;
    return value;
}

static uint8_t *put_share(uint8_t *at, const struct mx_wire_share *share)
{
    static const struct mx_wire_share none;

    if (share->kind == 0) {
        share = &none;
    }
    at = put(at, share->kind, 1);
    at = put(at, share->start, 8);
    at = put(at, share->mmap_start, 8);
    at = put(at, share->size, 8);
    at = put(at, share->readonly, 1);
    return put(at, share->nonvolatile, 1);
}

static uint8_t *put_name(uint8_t *at, const char *name)
{
    memset(at, 0, MX_NAME_BYTES);
    memcpy(at, name, strnlen(name, MX_NAME_BYTES));
    return at + MX_NAME_BYTES;
}

static uint8_t *put_hello(uint8_t *at, const struct mx_wire_hello *hello)
{
    at = put(at, hello->magic, 4);
    at = put(at, hello->version_low, 2);
    at = put(at, hello->version_high, 2);
    at = put(at, hello->features, 8);
    at = put(at, hello->subpriority, 1);
    at = put(at, 0, 3);
    at = put(at, hello->page_size, 4);
    at = put(at, hello->span_start, 8);
    at = put(at, hello->span_size, 8);
    at = put(at, hello->pair_id, 8);
    return put_name(at, hello->name);
}

static void put_body(uint8_t *at, const struct mx_message *message)
{
    switch (message->type) {
    case MX_READ:
        at = put(at, message->offset, 8);
        put(at, message->size, 1);
        break;
    case MX_READ_RET:
        at = put(at, message->result, 4);
        at = put(at, message->value, 8);
        put_share(at, &message->share);
        break;
    case MX_WRITE:
        at = put(at, message->offset, 8);
        at = put(at, message->value, 8);
        put(at, message->size, 1);
        break;
    case MX_WRITE_RET:
        at = put(at, message->result, 4);
        put_share(at, &message->share);
        break;
    case MX_REG_INV:
        at = put(at, message->offset, 8);
        put(at, message->value, 8);
        break;
    case MX_INTR:
        at = put(at, message->offset, 8);
        memcpy(at, message->u.data, MX_INTR_DATA);
        break;
    case MX_HELLO:
    case MX_HELLO_RET:
        put_hello(at, &message->u.hello);
        break;
    case MX_READ_BLOCK:
        at = put(at, message->offset, 8);
        put(at, message->size, 4);
        break;
    case MX_WRITE_BLOCK:
        put(at, message->offset, 8);
        break;
    case MX_READ_BLOCK_RET:
    case MX_WRITE_BLOCK_RET:
        at = put(at, message->result, 4);
        at = put(at, message->size, 4);
        put_share(at, &message->share);
        break;
    case MX_OFFER:
        put_share(at, &message->share);
        break;
    default:
        break;
    }
}

size_t mx_wire_encode(const struct mx_message *message, uint8_t *bytes)
{
    size_t size = mx_wire_size(message->type);
    uint8_t *at = bytes;

    if (size == 0) {
        return 0;
    }
    at = put(at, size + mx_wire_block(message), 4);
    at = put(at, message->type, 1);
    at = put(at, has_priority(message->type) ? message->priority : 0, 1);
    put_body(at, message);
    return size;
}

static enum mx_decoded get_share(const uint8_t *at,
                                 struct mx_wire_share *share)
{
    share->kind = (uint8_t)get(&at, 1);
    if (share->kind == 0) {
        return MX_DECODED;
    }
    share->start = get(&at, 8);
    share->mmap_start = get(&at, 8);
    share->size = get(&at, 8);
    share->readonly = get(&at, 1) != 0;
    share->nonvolatile = get(&at, 1) != 0;
    return share->kind == 1 ? MX_DECODED : MX_DECODE_BAD_SHARE;
}

/*
 * What is wrong whoever says it.  Whether an answer fits what was offered is
 * the session's question (section 6).
 */
static bool hello_is_well_formed(const struct mx_wire_hello *hello,
                                 bool answer)
{
    if (hello->magic != MX_HELLO_MAGIC ||
        hello->version_low > hello->version_high) {
        return false;
    }
    if (answer) {               /* the version chosen, twice */
        return hello->version_low == hello->version_high &&
               (hello->subpriority <= 1 ||
                hello->subpriority == MX_SUBPRIORITY_NONE);
    }
    return hello->subpriority <= MX_SUBPRIORITY_ANY;
}

static enum mx_decoded get_hello(const uint8_t *at, bool answer,
                                 struct mx_wire_hello *hello)
{
    hello->magic = (uint32_t)get(&at, 4);
    hello->version_low = (uint16_t)get(&at, 2);
    hello->version_high = (uint16_t)get(&at, 2);
    hello->features = get(&at, 8);
    hello->subpriority = (uint8_t)get(&at, 1);
    at += 3;                    /* specified as zero, not looked at */
    hello->page_size = (uint32_t)get(&at, 4);
    hello->span_start = get(&at, 8);
    hello->span_size = get(&at, 8);
    hello->pair_id = get(&at, 8);
    memcpy(hello->name, at, strnlen((const char *)at, MX_NAME_BYTES));
    return hello_is_well_formed(hello, answer) ? MX_DECODED
                                               : MX_DECODE_BAD_HELLO;
}

/* At least @least bytes, and not more than there can be. */
static enum mx_decoded check_block(const struct mx_message *message,
                                   uint32_t least)
{
    return message->size >= least && message->size <= MX_BLOCK_MAX
           ? MX_DECODED : MX_DECODE_BAD_BLOCK;
}

static enum mx_decoded get_block_response(const uint8_t *at,
                                          struct mx_message *message)
{
    enum mx_decoded decoded;

    message->result = (uint32_t)get(&at, 4);
    message->size = (uint32_t)get(&at, 4);
    decoded = get_share(at, &message->share);
    return decoded == MX_DECODED ? check_block(message, 0) : decoded;
}

/* @block: how many bytes the message has beyond those of its type. */
static enum mx_decoded get_body(const uint8_t *at, size_t block,
                                struct mx_message *message)
{
    switch (message->type) {
    case MX_READ:
        message->offset = get(&at, 8);
        message->size = (uint32_t)get(&at, 1);
        return MX_DECODED;
    case MX_READ_RET:
        message->result = (uint32_t)get(&at, 4);
        message->value = get(&at, 8);
        return get_share(at, &message->share);
    case MX_WRITE:
        message->offset = get(&at, 8);
        message->value = get(&at, 8);
        message->size = (uint32_t)get(&at, 1);
        return MX_DECODED;
    case MX_WRITE_RET:
        message->result = (uint32_t)get(&at, 4);
        return get_share(at, &message->share);
    case MX_REG_INV:
        message->offset = get(&at, 8);
        message->value = get(&at, 8);
        return MX_DECODED;
    case MX_INTR:
        message->offset = get(&at, 8);
        memcpy(message->u.data, at, MX_INTR_DATA);
        return MX_DECODED;
    case MX_HELLO:
    case MX_HELLO_RET:
        return get_hello(at, message->type == MX_HELLO_RET, &message->u.hello);
    case MX_READ_BLOCK:
        message->offset = get(&at, 8);
        message->size = (uint32_t)get(&at, 4);
        return check_block(message, 1);
    case MX_WRITE_BLOCK:
        message->offset = get(&at, 8);
        message->size = (uint32_t)block;
        return MX_DECODED;
    case MX_READ_BLOCK_RET:
    case MX_WRITE_BLOCK_RET:
        return get_block_response(at, message);
    case MX_OFFER:
        return get_share(at, &message->share);
    default:
        return MX_DECODED;
    }
}

/* Is that the size of a message of this type? */
static enum mx_decoded check_size(uint8_t type, size_t size, size_t expected)
{
    if (expected == 0) {
        return MX_DECODE_BAD_TYPE;
    }
    if (!carries_block(type)) {
        return size == expected ? MX_DECODED : MX_DECODE_BAD_SIZE;
    }
    if (size < expected) {
        return MX_DECODE_BAD_SIZE;
    }
    if (size - expected > MX_BLOCK_MAX ||
        (type == MX_WRITE_BLOCK && size == expected)) {
        return MX_DECODE_BAD_BLOCK;
    }
    return MX_DECODED;
}

enum mx_decoded mx_wire_decode(const uint8_t *bytes, size_t count,
                               struct mx_message *message, size_t *used)
{
    const uint8_t *at = bytes;
    enum mx_decoded decoded;
    size_t size, expected;
    uint8_t priority;

    if (count < MX_HEADER_SIZE) {
        return MX_DECODE_SHORT;
    }
    memset(message, 0, sizeof(*message));
    size = (size_t)get(&at, 4);
    message->type = (uint8_t)get(&at, 1);
    priority = (uint8_t)get(&at, 1);
    message->priority = has_priority(message->type) ? priority : 0;

    expected = mx_wire_size(message->type);
    decoded = check_size(message->type, size, expected);
    if (decoded != MX_DECODED) {
        return decoded;
    }
    if (count < expected) {
        return MX_DECODE_SHORT;
    }
    decoded = get_body(at, size - expected, message);
    if (decoded != MX_DECODED) {
        return decoded;
    }
    *used = expected;
    return mx_wire_block(message) == size - expected ? MX_DECODED
                                                     : MX_DECODE_BAD_SIZE;
}

/* A description in the making; what does not fit is cut off. */
struct words {
    char *text;
    size_t size, length;
};

__attribute__((format(printf, 2, 3)))
static void say(struct words *words, const char *format, ...)
{
    size_t room = words->size - words->length;
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(words->text + words->length, room, format, arguments);
    va_end(arguments);
    if (length > 0) {
        words->length += (size_t)length < room ? (size_t)length : room - 1;
    }
}

/* Numbers of 64 bits by way of a type that needs no macro in the format. */
static void say_number(struct words *words, const char *what, uint64_t number)
{
    say(words, " %s 0x%llx", what, (unsigned long long)number);
}

static void say_value(struct words *words, uint64_t value)
{
    say(words, " value 0x%016llx", (unsigned long long)value);
}

static void say_bytes(struct words *words, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        say(words, "%02x", bytes[i]);
    }
}

static void say_share(struct words *words, const struct mx_wire_share *share)
{
    if (share->kind == 0) {
        say(words, " share none");
        return;
    }
    say(words, " share fd");
    say_number(words, "start", share->start);
    say_number(words, "size", share->size);
    say_number(words, "offset", share->mmap_start);
    say(words, share->readonly ? " ro" : " rw");
    if (share->nonvolatile) {
        say(words, " nonvolatile");
    }
}

/* The data of an interrupt up to the last byte that is not zero. */
static void say_data(struct words *words, const uint8_t *data)
{
    size_t count = MX_INTR_DATA;

    while (count > 0 && data[count - 1] == 0) {
        count--;
    }
    if (count == 0) {
        say(words, " data 0");
        return;
    }
    say(words, " data ");
    say_bytes(words, data, count < DESCRIBED_DATA ? count : DESCRIBED_DATA);
    if (count > DESCRIBED_DATA) {
        say(words, "...");
    }
}

static void say_name(struct words *words, const char *name)
{
    say(words, " name \"");
    for (; *name != '\0'; name++) {
        say(words, "%c", *name >= ' ' && *name <= '~' ? *name : '?');
    }
    say(words, "\"");
}

static void say_subpriority(struct words *words, uint8_t subpriority)
{
    if (subpriority == MX_SUBPRIORITY_ANY) {
        say(words, " sub-priority any");
    } else if (subpriority == MX_SUBPRIORITY_NONE) {
        say(words, " sub-priority none");
    } else {
        say(words, " sub-priority %u", subpriority);
    }
}

static void say_hello(struct words *words, const struct mx_wire_hello *hello)
{
    say(words, " versions %u-%u", hello->version_low, hello->version_high);
    say_number(words, "features", hello->features);
    say_subpriority(words, hello->subpriority);
    say(words, " page %u", hello->page_size);
    say_number(words, "span", hello->span_start);
    say_number(words, "size", hello->span_size);
    say_number(words, "pair", hello->pair_id);
    say_name(words, hello->name);
}

static void say_body(struct words *words, const struct mx_message *message)
{
    switch (message->type) {
    case MX_READ:
        say_number(words, "offset", message->offset);
        say(words, " size %u", message->size);
        break;
    case MX_READ_RET:
        say(words, " result %u", message->result);
        say_value(words, message->value);
        say_share(words, &message->share);
        break;
    case MX_WRITE:
        say_number(words, "offset", message->offset);
        say(words, " size %u", message->size);
        say_value(words, message->value);
        break;
    case MX_WRITE_RET:
        say(words, " result %u", message->result);
        say_share(words, &message->share);
        break;
    case MX_REG_INV:
        say_number(words, "start", message->offset);
        say_number(words, "size", message->value);
        break;
    case MX_INTR:
        say_number(words, "type", message->offset);
        say_data(words, message->u.data);
        break;
    case MX_HELLO:
    case MX_HELLO_RET:
        say_hello(words, &message->u.hello);
        break;
    case MX_READ_BLOCK:
    case MX_WRITE_BLOCK:
        say_number(words, "offset", message->offset);
        say(words, " size %u", message->size);
        break;
    case MX_READ_BLOCK_RET:
    case MX_WRITE_BLOCK_RET:
        say(words, " result %u done %u", message->result, message->size);
        say_share(words, &message->share);
        break;
    case MX_OFFER:
        say_share(words, &message->share);
        break;
    default:
        break;
    }
}

/* Bytes that are no message: why not, and what of a header there is. */
static void say_fault(struct words *words, enum mx_decoded decoded,
                      const uint8_t *bytes, size_t count)
{
    if (count >= MX_HEADER_SIZE) {
        say(words, "%s: ", mx_wire_name(bytes[4]));
    }
    say(words, "%s", mx_wire_error(decoded));
    if (decoded == MX_DECODE_SHORT) {
        say(words, ", %zu bytes", count);
    }
    if (count > 0) {
        say(words, ", header ");
        say_bytes(words, bytes,
                  count < MX_HEADER_SIZE ? count : MX_HEADER_SIZE);
    }
}

void memexpose_describe(const void *message, size_t bytes, char *text,
                        size_t size)
{
    struct words words = { text, size, 0 };
    struct mx_message decoded;
    enum mx_decoded result;
    size_t used;

    if (size == 0) {
        return;
    }
    text[0] = '\0';
    result = mx_wire_decode(message, bytes, &decoded, &used);
    if (result != MX_DECODED) {
        say_fault(&words, result, message, bytes);
        return;
    }
    say(&words, "%s", mx_wire_name(decoded.type));
    if (has_priority(decoded.type)) {
        say(&words, " prio %u", decoded.priority);
    }
    say_body(&words, &decoded);
}
