/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "hostile.h"

size_t size_of_type(uint8_t type)
{
    static const uint8_t sizes[] = { 15, 45, 23, 37, 22, 6, 142 };

    if (type < sizeof(sizes)) {
        return sizes[type];
    }
    return type == HELLO || type == HELLO_RET ? 86 : 0;
}

void add(struct message *message, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes && message->count < MESSAGE; i++) {
        message->at[message->count++] =
            i < 8 ? (uint8_t)(value >> (8 * i)) : 0;
    }
}

struct message header(uint32_t size, uint8_t type, uint8_t priority)
{
    struct message message = { .count = 0 };

    add(&message, size, 4);
    add(&message, type, 1);
    add(&message, priority, 1);
    return message;
}

struct message say_read(uint8_t priority, uint64_t address, uint8_t size)
{
    struct message message = header(15, READ, priority);

    add(&message, address, 8);
    add(&message, size, 1);
    return message;
}

struct message say_write(uint8_t priority, uint64_t address, uint64_t value,
                         uint8_t size)
{
    struct message message = header(23, WRITE, priority);

    add(&message, address, 8);
    add(&message, value, 8);
    add(&message, size, 1);
    return message;
}

static void add_share(struct message *message, const struct share *share)
{
    if (!share) {
        add(message, 0, 27);
        return;
    }
    add(message, share->kind, 1);
    add(message, share->start, 8);
    add(message, share->mmap_start, 8);
    add(message, share->size, 8);
    add(message, share->readonly, 1);
    add(message, share->nonvolatile, 1);
}

struct message say_read_ret(uint8_t priority, uint32_t result, uint64_t value,
                            const struct share *share)
{
    struct message message = header(45, READ_RET, priority);

    add(&message, result, 4);
    add(&message, value, 8);
    add_share(&message, share);
    return message;
}

struct message say_write_ret(uint8_t priority, uint32_t result,
                             const struct share *share)
{
    struct message message = header(37, WRITE_RET, priority);

    add(&message, result, 4);
    add_share(&message, share);
    return message;
}

struct message say_inv(uint8_t priority, uint64_t start, uint64_t size)
{
    struct message message = header(22, INV, priority);

    add(&message, start, 8);
    add(&message, size, 8);
    return message;
}

struct message say_inv_ret(uint8_t priority)
{
    return header(6, INV_RET, priority);
}

struct message say_interrupt(uint64_t type)
{
    struct message message = header(142, INTERRUPT, 0);

    add(&message, type, 8);
    add(&message, 0, 128);
    return message;
}

struct message say_read_block(uint8_t priority, uint64_t address,
                              uint32_t size)
{
    struct message message = header(18, READ_BLOCK, priority);

    add(&message, address, 8);
    add(&message, size, 4);
    return message;
}

static struct message block_ret(struct message message, uint32_t result,
                                uint32_t done, const struct share *share)
{
    add(&message, result, 4);
    add(&message, done, 4);
    add_share(&message, share);
    return message;
}

struct message say_read_block_ret(uint8_t priority, uint32_t result,
                                  uint32_t done, const struct share *share)
{
    return block_ret(header(41 + done, READ_BLOCK_RET, priority), result,
                     done, share);
}

struct message say_write_block(uint8_t priority, uint64_t address,
                               uint32_t count)
{
    struct message message = header(14 + count, WRITE_BLOCK, priority);

    add(&message, address, 8);
    return message;
}

struct message say_write_block_ret(uint8_t priority, uint32_t result,
                                   uint32_t done, const struct share *share)
{
    return block_ret(header(41, WRITE_BLOCK_RET, priority), result, done,
                     share);
}

struct message say_offer(const struct share *share)
{
    struct message message = header(33, OFFER, 0);

    add_share(&message, share);
    return message;
}

struct message say_hello(uint8_t type, const struct greeting *greeting)
{
    static const char name[32] = "hostile";
    struct message message = header(86, type, 0);

    add(&message, greeting->magic, 4);
    add(&message, greeting->low, 2);
    add(&message, greeting->high, 2);
    add(&message, greeting->features, 8);
    add(&message, greeting->subpriority, 1);
    add(&message, 0, 3);
    add(&message, PAGE, 4);
    add(&message, 0, 8);
    add(&message, UINT64_C(1) << 32, 8);
    add(&message, greeting->pair, 8);
    memcpy(message.at + message.count, name, sizeof(name));
    message.count += sizeof(name);
    return message;
}

struct greeting good_greeting(uint64_t pair)
{
    return (struct greeting) {
        .magic = 0x3150584d, .low = 1, .high = 1, .subpriority = 2,
        .pair = pair,
    };
}

uint64_t number(const struct message *message, size_t at, unsigned bytes)
{
    uint64_t value = 0;

    while (bytes-- > 0) {
        value = value << 8 | message->at[at + bytes];
    }
    return value;
}
