/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Listens to every link, with a parser of its own, and looks whether what is
 * said agrees with protocol sections 2, 3 and 7: one request of a class at a
 * time, answered once, with the numbers that belong to it, and REG_INV_RET
 * only when nothing is reachable any more.
 */
#include "sim.h"

#include <string.h>

enum {
    READ, READ_RET, WRITE, WRITE_RET, REG_INV, REG_INV_RET, INTR,
    HELLO = 0x40, HELLO_RET,
    HEADER = 6, LARGEST = 142
};

struct request {
    bool outstanding;
    uint8_t type, priority;
    uint64_t start, size;
};

struct direction {
    uint8_t bytes[LARGEST];
    size_t count;
    struct request request[2];  /* by class */
    int subpriority;            /* -1: not yet known */
};

static struct listener {
    bool memory;
    struct direction direction[2];
} listeners[MONITOR_STREAMS];

void monitor_open(unsigned stream, bool memory)
{
    struct listener *listener = &listeners[stream];
    unsigned end;

    listener->memory = memory;
    for (end = 0; end < 2; end++) {
        memset(listener->direction[end].request, 0,
               sizeof(listener->direction[end].request));
        listener->direction[end].count = 0;
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

static size_t size_of(uint8_t type)
{
    static const uint8_t sizes[] = { 15, 45, 23, 37, 22, 6, 142 };

    if (type == HELLO || type == HELLO_RET) {
        return 86;
    }
    return type <= INTR ? sizes[type] : 0;
}

static void take_request(unsigned stream, unsigned end, const uint8_t *bytes)
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
        .size = type == REG_INV ? number_at(bytes + HEADER + 8, 8) : 0,
    };
    if (type == REG_INV) {
        totals.invalidations++;
    } else {
        totals.requests++;
    }
}

static void take_response(unsigned stream, unsigned end, const uint8_t *bytes)
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
    SIM_CHECK(type != REG_INV_RET ||
              !memory_reachable(fiber_current->process, stream,
                                request->start, request->size),
              "link %u.%u: REG_INV of 0x%llx is acknowledged while it still "
              "can be reached", stream, end,
              (unsigned long long)request->start);
    request->outstanding = false;
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

    trace_message(stream, end, bytes, size);
    SIM_CHECK(type == HELLO || memory == (type != INTR),
              "link %u.%u: type %u is on the wrong link", stream, end, type);
    switch (type) {
    case READ:
    case WRITE:
    case REG_INV:
        take_request(stream, end, bytes);
        break;
    case READ_RET:
    case WRITE_RET:
    case REG_INV_RET:
        take_response(stream, end, bytes);
        break;
    case INTR:
        totals.interrupts++;
        break;
    default:
        break;
    }
}

void monitor_sent(unsigned stream, unsigned end, const uint8_t *bytes,
                  size_t count)
{
    struct direction *direction = &listeners[stream].direction[end];
    size_t i, size;

    for (i = 0; i < count; i++) {
        direction->bytes[direction->count++] = bytes[i];
        if (direction->count < HEADER) {
            continue;
        }
        size = size_of(direction->bytes[4]);
        SIM_CHECK(size != 0 && number_at(direction->bytes, 4) == size,
                  "link %u.%u: a header that is none", stream, end);
        if (direction->count == size) {
            direction->count = 0;
            take_message(stream, end, direction->bytes, size);
        }
    }
}
