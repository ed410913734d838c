/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Byte layout of the messages (protocol sections 2, 6, 8 and 9): encode,
 * decode, validate one message.  Pure: no I/O, no state, no memory.
 */
#ifndef MX_WIRE_H
#define MX_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mx_type {
    MX_READ = 0,
    MX_READ_RET = 1,
    MX_WRITE = 2,
    MX_WRITE_RET = 3,
    MX_REG_INV = 4,
    MX_REG_INV_RET = 5,
    MX_INTR = 6,
    MX_HELLO = 0x40,
    MX_HELLO_RET = 0x41,
    MX_READ_BLOCK = 0x42,
    MX_READ_BLOCK_RET = 0x43,
    MX_WRITE_BLOCK = 0x44,
    MX_WRITE_BLOCK_RET = 0x45,
    MX_OFFER = 0x46
};

enum {
    MX_HEADER_SIZE = 6,
    MX_MESSAGE_MAX = 142,       /* the largest there is, blocks aside */
    MX_BLOCK_MAX = 65536,       /* bytes in a block */
    MX_INTR_DATA = 128,
    MX_NAME_BYTES = 32,
    MX_CLASS_INVALIDATE = 0,    /* arbitration classes (section 3) */
    MX_CLASS_ACCESS = 1,
    MX_CLASSES = 2
};

#define MX_HELLO_MAGIC 0x3150584du
#define MX_HELLO_VERSION 1
#define MX_FEATURE_BLOCK UINT64_C(1)
#define MX_FEATURE_PUSH UINT64_C(2)
#define MX_SUBPRIORITY_ANY 2
#define MX_SUBPRIORITY_NONE 0xff

struct mx_wire_share {
    uint8_t kind;               /* 0 none, 1 descriptor; all else 0 if none */
    uint64_t start;
    uint64_t mmap_start;
    uint64_t size;
    bool readonly;
    bool nonvolatile;
};

struct mx_wire_hello {
    uint32_t magic;
    uint16_t version_low;
    uint16_t version_high;
    uint64_t features;
    uint8_t subpriority;
    uint32_t page_size;
    uint64_t span_start;
    uint64_t span_size;
    uint64_t pair_id;
    char name[MX_NAME_BYTES + 1];
};

/*
 * One message, decoded, but for the bytes of a block, which follow it.
 * Members that its type has not are 0.
 */
struct mx_message {
    uint8_t type;               /* enum mx_type */
    uint8_t priority;
    uint64_t offset;            /* accesses; REG_INV: start; INTR: type */
    uint64_t value;             /* READ_RET, WRITE; REG_INV: size */
    uint32_t result;            /* responses to accesses */
    uint32_t size;              /* accesses: bytes; of a response to a block
                                 * those that were done */
    struct mx_wire_share share; /* responses to accesses; OFFER */
    union {
        uint8_t data[MX_INTR_DATA]; /* INTR */
        struct mx_wire_hello hello; /* HELLO, HELLO_RET */
    } u;
};

/*
 * The size of a message of this type, header included, the bytes of a block
 * not; 0 if unknown.
 */
size_t mx_wire_size(uint8_t type);

/* How many bytes of a block follow the message. */
size_t mx_wire_block(const struct mx_message *message);

/*
 * Write @message to @bytes, which has room for MX_MESSAGE_MAX.
 * Returns the number of bytes written.
 */
size_t mx_wire_encode(const struct mx_message *message, uint8_t *bytes);

/* What mx_wire_decode() found. */
enum mx_decoded {
    MX_DECODED,                 /* a whole message */
    MX_DECODE_SHORT,            /* more bytes are needed */
    MX_DECODE_BAD_TYPE,         /* violation: unknown type */
    MX_DECODE_BAD_SIZE,         /* violation: size wrong for the type */
    MX_DECODE_BAD_SHARE,        /* violation: a share of a kind above 1 */
    MX_DECODE_BAD_BLOCK,        /* violation: no bytes, or too many */
    MX_DECODE_BAD_HELLO         /* violation: magic, or lowest > highest
                                 * version, or a sub-priority that is none */
};

/*
 * Read one message from the @count bytes at @bytes.  The type and size are
 * looked at as soon as the header is there.  *@used is the number of bytes it
 * took if MX_DECODED; those of a block come behind them, and may not be there
 * yet.  A share of kind 0, and bytes specified as zero, are
 * not looked at.
 */
enum mx_decoded mx_wire_decode(const uint8_t *bytes, size_t count,
                               struct mx_message *message, size_t *used);

/* "size wrong for the type" and so on, for the log. */
const char *mx_wire_error(enum mx_decoded decoded);

/* "READ" and so on; "unknown" for others. */
const char *mx_wire_name(uint8_t type);

/* Types that travel on the memory link as requests, and as responses. */
bool mx_wire_is_request(uint8_t type);
bool mx_wire_is_response(uint8_t type);

/* Requests and responses that are, or answer, accesses to a block. */
bool mx_wire_is_block(uint8_t type);

/* The arbitration class of a request or response. */
unsigned mx_wire_class(uint8_t type);

/* The type that answers a request. */
uint8_t mx_wire_response_type(uint8_t request);

/* Does [start, start + size) pass 2^64?  Its end may be 2^64. */
bool mx_range_overflows(uint64_t start, uint64_t size);

/* Do two ranges that do not overflow have an address in common? */
bool mx_ranges_intersect(uint64_t start1, uint64_t size1,
                         uint64_t start2, uint64_t size2);

/* Is [start, start + size) inside [start2, start2 + size2)?  No overflow. */
bool mx_range_within(uint64_t start, uint64_t size,
                     uint64_t start2, uint64_t size2);

/* The bytes of a value in memory order, and back (section 2). */
void mx_value_to_bytes(uint64_t value, uint8_t bytes[8]);
uint64_t mx_value_from_bytes(const uint8_t *bytes, unsigned count);

/* The bytes that count in an access of @count, the others zero. */
static inline uint64_t mx_value_of_size(uint64_t value, unsigned count)
{
    return count < 8 ? value & ((UINT64_C(1) << (8 * count)) - 1) : value;
}

#endif
