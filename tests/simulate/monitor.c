/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Listens to every link, with a parser of its own, and looks whether what is
 * said agrees with protocol sections 2, 3 and 7: one request of a class at a
 * time, answered once, with the numbers that belong to it, and REG_INV_RET
 * only when nothing is reachable any more.
 */
#include "sim.h"

#include <string.h>

enum { BLOCKS = 1, PUSH = 2 };  /* features */

enum {
    READ, READ_RET, WRITE, WRITE_RET, REG_INV, REG_INV_RET, INTR,
    HELLO = 0x40, HELLO_RET, READ_BLOCK, READ_BLOCK_RET, WRITE_BLOCK,
    WRITE_BLOCK_RET, OFFER,
    HEADER = 6, LARGEST = 142, BLOCK = 65536
};

struct request {
    bool outstanding;
    uint8_t type, priority;
    uint64_t start, size;       /* of an invalidation, or of a block */
};

struct direction {
    uint8_t bytes[LARGEST];
    size_t count;
    size_t block;               /* bytes of one that are still to come */
    uint8_t block_type;         /* of its message */
    struct request request[2];  /* by class */
    int subpriority;            /* -1: not yet known */
};

static struct listener {
    bool memory;
    uint64_t features;          /* as HELLO_RET has them */
    struct direction direction[2];
} listeners[MONITOR_STREAMS];

void monitor_open(unsigned stream, bool memory)
{
    struct listener *listener = &listeners[stream];
    unsigned end;

    listener->memory = memory;
    listener->features = 0;
    push_open(stream);
    for (end = 0; end < 2; end++) {
        memset(listener->direction[end].request, 0,
               sizeof(listener->direction[end].request));
        listener->direction[end].count = 0;
        listener->direction[end].block = 0;
        listener->direction[end].subpriority = -1;
    }
}

static uint64_t number_at(const uint8_t *bytes, unsigned count)
{
    uint64_t value = 0;

    while (count-- > 0) {
        value = value << 8 | bytes[count];
    }
    return value;
}

/* The fixed part of a message; a block comes behind it. */
static size_t size_of(uint8_t type)
{
    static const uint8_t base[] = { 15, 45, 23, 37, 22, 6, 142 };
    static const uint8_t more[] = { 86, 86, 18, 41, 14, 41, 33 };

    if (type >= HELLO) {
        return type <= OFFER ? more[type - HELLO] : 0;
    }
    return type <= INTR ? base[type] : 0;
}

static bool has_block(uint8_t type)
{
    return type == READ_BLOCK_RET || type == WRITE_BLOCK;
}

static bool is_block(uint8_t type)
{
    return type >= READ_BLOCK && type <= WRITE_BLOCK_RET;
}

/* How many bytes a request is about; @size: of the whole message. */
static uint64_t amount(const uint8_t *bytes, size_t size)
{
    switch (bytes[4]) {
    case REG_INV:
        return number_at(bytes + HEADER + 8, 8);
    case READ_BLOCK:
        return number_at(bytes + HEADER + 8, 4);
    case WRITE_BLOCK:
        return size - size_of(WRITE_BLOCK);
    default:
        return 0;
    }
}

static void take_request(unsigned stream, unsigned end, const uint8_t *bytes,
                         size_t size)
{
    struct direction *own = &listeners[stream].direction[end];
    struct direction *other = &listeners[stream].direction[1 - end];
    uint8_t type = bytes[4], priority = bytes[5];
    unsigned class = type == REG_INV ? 0 : 1;
    struct request *request = &own->request[class];

    SIM_CHECK(!request->outstanding, "link %u.%u: a second request of class "
              "%u is sent", stream, end, class);
    SIM_CHECK(priority / 2 == class, "link %u.%u: type %u is sent with "
              "priority %u", stream, end, type, priority);
    SIM_CHECK(own->subpriority < 0 || own->subpriority == priority % 2,
              "link %u.%u: the sub-priority changes", stream, end);
    own->subpriority = priority % 2;
    SIM_CHECK(own->subpriority != other->subpriority,
              "link %u: both sides have sub-priority %d", stream,
              own->subpriority);
    *request = (struct request) {
        .outstanding = true,
        .type = type,
        .priority = priority,
        .start = number_at(bytes + HEADER, 8),
        .size = amount(bytes, size),
    };
    SIM_CHECK(!is_block(type) || (request->size >= 1 &&
                                  request->size <= BLOCK),
              "link %u.%u: a block of %llu bytes", stream, end,
              (unsigned long long)request->size);
    SIM_CHECK(!is_block(type) || listeners[stream].features & BLOCKS,
              "link %u.%u: a block that was not agreed on", stream, end);
    totals.blocks += is_block(type);
    if (type == REG_INV) {
        totals.invalidations++;
    } else {
        totals.requests++;
    }
}

/* Section 8: all of it, or less and a failure. */
static bool length_fits(const struct request *request, const uint8_t *bytes,
                        size_t size)
{
    uint64_t result = number_at(bytes + HEADER, 4);
    uint64_t done = number_at(bytes + HEADER + 4, 4);

    return (result == 0 ? done == request->size : done < request->size) &&
           (bytes[4] == WRITE_BLOCK_RET ||
            done == size - size_of(READ_BLOCK_RET));
}

static void take_response(unsigned stream, unsigned end, const uint8_t *bytes,
                          size_t size)
{
    struct direction *other = &listeners[stream].direction[1 - end];
    uint8_t type = bytes[4];
    unsigned class = type == REG_INV_RET ? 0 : 1;
    struct request *request = &other->request[class];

    SIM_CHECK(request->outstanding && request->type == type - 1,
              "link %u.%u: type %u answers nothing", stream, end, type);
    SIM_CHECK(request->priority == bytes[5], "link %u.%u: an answer shows "
              "priority %u, its request %u", stream, end, bytes[5],
              request->priority);
    SIM_CHECK(!is_block(type) || length_fits(request, bytes, size),
              "link %u.%u: an answer of another length than its request and "
              "result", stream, end);
    SIM_CHECK(other->block == 0 || other->block_type != request->type,
              "link %u.%u: half a request is answered", stream, end);
    SIM_CHECK(type != REG_INV_RET ||
              !memory_reachable(fiber_current->process, stream,
                                request->start, request->size),
              "link %u.%u: REG_INV of 0x%llx is acknowledged while it still "
              "can be reached", stream, end,
              (unsigned long long)request->start);
    request->outstanding = false;
}

/* Section 9: of what may not be reached any more nothing is offered. */
static void take_offer(unsigned stream, unsigned end)
{
    const struct direction *own = &listeners[stream].direction[end];

    SIM_CHECK(listeners[stream].features & PUSH, "link %u.%u: an offer that "
              "was not agreed on", stream, end);
    SIM_CHECK(!own->request[0].outstanding, "link %u.%u: an offer while an "
              "invalidation is outstanding", stream, end);
    totals.offers++;
}

static void trace_message(unsigned stream, unsigned end, const uint8_t *bytes,
                          size_t size)
{
    char text[160];

    if (world.tracing) {
        memexpose_describe(bytes, size, text, sizeof(text));
        sim_trace("link %u.%u: %s", stream, end, text);
    }
}

static void take_message(unsigned stream, unsigned end, const uint8_t *bytes,
                         size_t size)
{
    uint8_t type = bytes[4];
    bool memory = listeners[stream].memory;

    if (type == HELLO_RET) {
        listeners[stream].features = number_at(bytes + HEADER + 8, 8);
    }
    trace_message(stream, end, bytes, size_of(type));
    SIM_CHECK(type == HELLO || memory == (type != INTR),
              "link %u.%u: type %u is on the wrong link", stream, end, type);
    switch (type) {
    case READ:
    case WRITE:
    case REG_INV:
    case READ_BLOCK:
    case WRITE_BLOCK:
        take_request(stream, end, bytes, size);
        break;
    case READ_RET:
    case WRITE_RET:
    case REG_INV_RET:
    case READ_BLOCK_RET:
    case WRITE_BLOCK_RET:
        take_response(stream, end, bytes, size);
        break;
    case OFFER:
        take_offer(stream, end);
        break;
    case INTR:
        totals.interrupts++;
        break;
    default:
        break;
    }
}

/* The first byte that is not of a block; @count if there is none. */
static size_t pass_block(struct direction *direction, size_t count)
{
    size_t passed = direction->block < count ? direction->block : count;

    direction->block -= passed;
    return passed;
}

static void add_byte(unsigned stream, unsigned end, uint8_t byte)
{
    struct direction *direction = &listeners[stream].direction[end];
    uint8_t type;
    size_t size, whole;

    direction->bytes[direction->count++] = byte;
    if (direction->count < HEADER) {
        return;
    }
    type = direction->bytes[4];
    size = size_of(type);
    whole = number_at(direction->bytes, 4);
    SIM_CHECK(size != 0 && (whole == size ||
                            (has_block(type) && whole > size &&
                             whole - size <= BLOCK)),
              "link %u.%u: a header that is none", stream, end);
    if (direction->count == size) {
        direction->count = 0;
        direction->block = whole - size;
        direction->block_type = type;
        take_message(stream, end, direction->bytes, whole);
    }
}

void monitor_sent(unsigned stream, unsigned end, const uint8_t *bytes,
                  size_t count)
{
    size_t i = 0;

    while (i < count) {
        i += pass_block(&listeners[stream].direction[end], count - i);
        if (i < count) {
            add_byte(stream, end, bytes[i++]);
        }
    }
}
