/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every violation (protocol section 7), in both roles.  After each: the links
 * are closed, one line of the log names the reason with the offending header,
 * nothing is left mapped or open, whoever waits hears of it, and the process
 * serves the next peer.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "rig.h"

enum when {
    IDLE,                       /* nothing is outstanding */
    READING,                    /* the device awaits READ_RET */
    WRITING,
    CHANGING,                   /* the device awaits REG_INV_RET */
    LISTENING,                  /* it may get HELLO (role: listen) */
    GREETING,                   /* it awaits HELLO_RET (role: connect) */
    GREETED                     /* hello is settled, sub-priority 0 here */
};

struct violation {
    const char *name;
    const char *reason;         /* a part of it */
    enum when when;
    int which;                  /* link */
    int fds;                    /* descriptors sent along */
    /* The bytes; the last message in them is the offence. */
    struct bytes (*bytes)(struct rig *rig);
    size_t offence;             /* where its header is */
};

static struct hello greeting;   /* as the device sent it */

/* --- sizes and types ----------------------------------------------------- */

#define RAW(name, size, type, priority) \
    static struct bytes name(struct rig *rig) \
    { \
        (void)rig; \
        return bytes_header(size, type, priority); \
    }

RAW(read_short, 14, 0, 3)
RAW(read_long, 16, 0, 3)
RAW(read_empty, 0, 0, 3)
RAW(read_huge, 0xffffffff, 0, 3)
RAW(read_big_endian, 0x0f000000, 0, 3)
RAW(read_ret_short, 44, 1, 3)
RAW(write_short, 22, 2, 3)
RAW(write_ret_long, 38, 3, 3)
RAW(inv_short, 21, 4, 1)
RAW(inv_ret_long, 7, 5, 1)
RAW(intr_short, 141, 6, 0)
RAW(intr_long, 143, 6, 0)
RAW(hello_short, 85, 0x40, 0)
RAW(hello_long, 87, 0x40, 0)
RAW(hello_ret_short, 85, 0x41, 0)
RAW(type_7, 6, 7, 0)
RAW(type_3f, 6, 0x3f, 0)
RAW(type_47, 6, 0x47, 0)
RAW(type_ff, 6, 0xff, 0xff)

#define SAY(name, expression) \
    static struct bytes name(struct rig *rig) \
    { \
        (void)rig; \
        return expression; \
    }

/* On the wrong link. */
SAY(intr_message, say_intr(1, 1))
SAY(read_good, say_read(rig_peer(rig, ACCESS), RIG_RAM, 1))
SAY(read_ret_good, say_read_ret(rig_own(rig, ACCESS), 0, 0, NULL))
SAY(write_good, say_write(rig_peer(rig, ACCESS), RIG_RAM, 0, 1))
SAY(write_ret_good, say_write_ret(rig_own(rig, ACCESS), 0, NULL))
SAY(inv_good, say_inv(rig_peer(rig, INVALIDATE), 0, 1))
SAY(inv_ret_good, say_inv_ret(rig_own(rig, INVALIDATE)))

/* Priorities. */
SAY(read_own, say_read(rig_own(rig, ACCESS), RIG_RAM, 1))
SAY(write_own, say_write(rig_own(rig, ACCESS), RIG_RAM, 0, 1))
SAY(inv_own, say_inv(rig_own(rig, INVALIDATE), 0, 1))
SAY(read_class_0, say_read(rig_peer(rig, INVALIDATE), RIG_RAM, 1))
SAY(read_class_2, say_read((uint8_t)(rig_peer(rig, ACCESS) + 2), RIG_RAM, 1))
SAY(inv_class_1, say_inv(rig_peer(rig, ACCESS), 0, 1))
SAY(inv_255, say_inv(255, 0, 1))
SAY(read_ret_number, say_read_ret(rig_peer(rig, ACCESS), 0, 0, NULL))
SAY(write_ret_number, say_write_ret(rig_peer(rig, ACCESS), 0, NULL))
SAY(inv_ret_number, say_inv_ret(rig_peer(rig, INVALIDATE)))

/* Ranges. */
SAY(inv_wraps, say_inv(rig_peer(rig, INVALIDATE), UINT64_MAX, 2))
SAY(inv_wraps_far, say_inv(rig_peer(rig, INVALIDATE), 2, UINT64_MAX))

static struct bytes two(struct bytes first, struct bytes second)
{
    memcpy(first.at + first.count, second.at, second.count);
    first.count += second.count;
    return first;
}

SAY(two_reads, two(read_good(rig), read_good(rig)))
SAY(read_and_write, two(read_good(rig), write_good(rig)))
SAY(two_invs, two(inv_good(rig), inv_good(rig)))
SAY(two_read_rets, two(read_ret_good(rig), read_ret_good(rig)))
SAY(two_inv_rets, two(inv_ret_good(rig), inv_ret_good(rig)))

/* --- shares: READING and WRITING are at 0x1000 --------------------------- */

static struct bytes share_ret(struct rig *rig, uint64_t start, uint64_t size)
{
    struct offer offer = { .start = start, .size = size };

    return say_read_ret(rig_own(rig, ACCESS), 0, 0, &offer);
}

static struct bytes share_of_kind(struct rig *rig, uint8_t kind)
{
    struct bytes bytes = share_ret(rig, 0x1000, 0x1000);

    bytes.at[18] = kind;
    return bytes;
}

static struct bytes write_share(struct rig *rig, uint64_t start)
{
    struct offer offer = { .start = start, .size = 0x1000 };

    return say_write_ret(rig_own(rig, ACCESS), 0, &offer);
}

SAY(share_good, share_ret(rig, 0x1000, 0x1000))
SAY(share_overflows, share_ret(rig, 0x1000, UINT64_MAX - 0xff))
SAY(share_above, share_ret(rig, 0x1001, 0x1000))
SAY(share_below, share_ret(rig, 0, 0x1000))
SAY(share_kind_2, share_of_kind(rig, 2))
SAY(share_kind_255, share_of_kind(rig, 255))
SAY(write_share_good, write_share(rig, 0x1000))
SAY(write_share_above, write_share(rig, 0x2000))

/* --- hello --------------------------------------------------------------- */

#define HELLO(function, field, number) \
    static struct bytes function(struct rig *rig) \
    { \
        struct hello hello = hello_default(); \
        (void)rig; \
        hello.field = number; \
        return say_hello(&hello); \
    }

HELLO(hello_good, magic, 0x3150584d)
HELLO(hello_magic, magic, 0x4d585031)
HELLO(hello_versions, low, 2)
HELLO(hello_subpriority, subpriority, 3)

SAY(hello_twice, two(hello_good(rig), hello_good(rig)))
SAY(hello_after_read, two(read_good(rig), hello_good(rig)))

#define HELLO_RET(function, field, number) \
    static struct bytes function(struct rig *rig) \
    { \
        struct hello hello = hello_default(); \
        (void)rig; \
        hello.pair = greeting.pair; \
        hello.subpriority = 0; \
        hello.field = number; \
        return say_hello_ret(&hello); \
    }

HELLO_RET(hello_ret_good, magic, 0x3150584d)
HELLO_RET(hello_ret_magic, magic, 0)
HELLO_RET(hello_ret_version, low = hello.high, 2)
HELLO_RET(hello_ret_versions, low, 0)
HELLO_RET(hello_ret_features, features, UINT64_C(1) << 63)
HELLO_RET(hello_ret_subpriority, subpriority, 2)
HELLO_RET(hello_ret_pair, pair, greeting.pair + 1)
HELLO_RET(hello_ret_no_pair, pair, 0)

SAY(hello_ret_twice, two(hello_ret_good(rig), hello_ret_good(rig)))

/* The first thing on the interrupt link has another pair id, or is none. */
static struct bytes hello_with_pair(struct rig *rig)
{
    struct hello hello = hello_default();

    hello.pair = 77;
    peer_send(&rig->peer, PEER_INTR, say_hello(&hello));
    rig_drive(rig);
    hello.pair = 78;
    return say_hello(&hello);
}

static struct bytes hello_after_intr(struct rig *rig)
{
    struct hello hello = hello_default();

    peer_send(&rig->peer, PEER_INTR, say_intr(1, 1));
    rig_drive(rig);
    hello.pair = 78;
    return say_hello(&hello);
}

static struct bytes intr_hello_other_pair(struct rig *rig)
{
    struct hello hello = hello_default();

    hello.pair = 77;
    peer_send(&rig->peer, PEER_MEM, say_hello(&hello));
    peer_expect_nothing(&rig->peer, PEER_MEM);
    hello.pair = 78;
    return say_hello(&hello);
}

static struct bytes intr_before_intr_hello(struct rig *rig)
{
    struct hello hello = hello_default();

    hello.pair = 77;
    peer_send(&rig->peer, PEER_MEM, say_hello(&hello));
    peer_expect_nothing(&rig->peer, PEER_MEM);
    return say_intr(1, 1);
}

static struct bytes read_before_hello_ret(struct rig *rig)
{
    struct hello hello = hello_default();

    (void)rig;
    hello.pair = 77;
    return two(say_hello(&hello), say_read(3, RIG_RAM, 1));
}

/* --- the table ----------------------------------------------------------- */

enum { MEM = PEER_MEM, INTR = PEER_INTR };

static const char size_wrong[] = "size wrong for the type";
static const char unknown[] = "unknown type";
static const char own_number[] = "our own sub-priority";
static const char no_fit[] = "does not fit";
static const char too_many[] = "too many unanswered";
static const char no_match[] = "matches no request";
static const char another[] = "another priority";
static const char no_descriptor[] = "without its descriptor";
static const char descriptor[] = "unexpected descriptor";
static const char range[] = "does not contain the access";
static const char place[] = "out of place";
static const char malformed[] = "malformed hello";
static const char outside[] = "outside what was offered";
static const char pair[] = "pair id";

static const struct violation violations[] = {
    { "READ too short", size_wrong, IDLE, MEM, 0, read_short, 0 },
    { "READ too long", size_wrong, IDLE, MEM, 0, read_long, 0 },
    { "READ of size 0", size_wrong, IDLE, MEM, 0, read_empty, 0 },
    { "READ of 4 GiB", size_wrong, IDLE, MEM, 0, read_huge, 0 },
    { "big-endian", size_wrong, IDLE, MEM, 0, read_big_endian, 0 },
    { "READ_RET too short", size_wrong, READING, MEM, 0, read_ret_short, 0 },
    { "WRITE too short", size_wrong, IDLE, MEM, 0, write_short, 0 },
    { "WRITE_RET too long", size_wrong, WRITING, MEM, 0, write_ret_long, 0 },
    { "REG_INV too short", size_wrong, IDLE, MEM, 0, inv_short, 0 },
    { "REG_INV_RET too long", size_wrong, CHANGING, MEM, 0, inv_ret_long, 0 },
    { "INTR too short", size_wrong, IDLE, INTR, 0, intr_short, 0 },
    { "INTR too long", size_wrong, IDLE, INTR, 0, intr_long, 0 },
    { "HELLO too short", size_wrong, LISTENING, MEM, 0, hello_short, 0 },
    { "HELLO too long", size_wrong, LISTENING, MEM, 0, hello_long, 0 },
    { "HELLO too long, interrupts", size_wrong, LISTENING, INTR, 0,
      hello_long, 0 },
    { "HELLO_RET too short", size_wrong, GREETING, MEM, 0, hello_ret_short,
      0 },

    { "type 7", unknown, IDLE, MEM, 0, type_7, 0 },
    { "type 0x3f", unknown, IDLE, MEM, 0, type_3f, 0 },
    { "type 0x47", unknown, IDLE, MEM, 0, type_47, 0 },
    { "type 0xff", unknown, IDLE, MEM, 0, type_ff, 0 },
    { "type 7, interrupts", unknown, IDLE, INTR, 0, type_7, 0 },
    { "type 0x47, interrupts", unknown, IDLE, INTR, 0, type_47, 0 },
    { "type 0xff, interrupts", unknown, IDLE, INTR, 0, type_ff, 0 },
    { "unknown type, hello", unknown, LISTENING, MEM, 0, type_47, 0 },
    { "unknown type, awaiting", unknown, GREETING, MEM, 0, type_47, 0 },

    { "INTR on the memory link", "on the memory link", IDLE, MEM, 0,
      intr_message, 0 },
    { "READ on the interrupt link", "on the interrupt link", IDLE, INTR, 0,
      read_good, 0 },
    { "READ_RET on the interrupt link", "on the interrupt link", READING,
      INTR, 0, read_ret_good, 0 },
    { "WRITE on the interrupt link", "on the interrupt link", IDLE, INTR, 0,
      write_good, 0 },
    { "WRITE_RET on the interrupt link", "on the interrupt link", WRITING,
      INTR, 0, write_ret_good, 0 },
    { "REG_INV on the interrupt link", "on the interrupt link", IDLE, INTR, 0,
      inv_good, 0 },
    { "REG_INV_RET on the interrupt link", "on the interrupt link", CHANGING,
      INTR, 0, inv_ret_good, 0 },
    { "HELLO_RET on the interrupt link", "on the interrupt link", GREETING,
      INTR, 0, hello_ret_good, 0 },

    { "descriptor with READ", descriptor, IDLE, MEM, 1, read_good, 0 },
    { "descriptor with WRITE", descriptor, IDLE, MEM, 1, write_good, 0 },
    { "descriptor with REG_INV", descriptor, IDLE, MEM, 1, inv_good, 0 },
    { "descriptor with REG_INV_RET", descriptor, CHANGING, MEM, 1,
      inv_ret_good, 0 },
    { "descriptor with kind 0", descriptor, READING, MEM, 1, read_ret_good,
      0 },
    { "descriptor with kind 0, WRITE_RET", descriptor, WRITING, MEM, 1,
      write_ret_good, 0 },
    { "descriptor with INTR", descriptor, IDLE, INTR, 1, intr_message, 0 },
    { "descriptor with HELLO", descriptor, LISTENING, MEM, 1, hello_good, 0 },
    { "two descriptors with a share", descriptor, READING, MEM, 2, share_good,
      0 },
    { "five descriptors with a share", "descriptor", READING, MEM, 5,
      share_good, 0 },
    { "nine descriptors with INTR", "descriptor", IDLE, INTR, 9, intr_message,
      0 },
    { "share without descriptor", no_descriptor, READING, MEM, 0, share_good,
      0 },
    { "share without descriptor, WRITE_RET", no_descriptor, WRITING, MEM, 0,
      write_share_good, 0 },

    { "READ with our number", own_number, IDLE, MEM, 0, read_own, 0 },
    { "WRITE with our number", own_number, IDLE, MEM, 0, write_own, 0 },
    { "REG_INV with our number", own_number, IDLE, MEM, 0, inv_own, 0 },
    { "READ of class 0", no_fit, IDLE, MEM, 0, read_class_0, 0 },
    { "READ of class 2", no_fit, IDLE, MEM, 0, read_class_2, 0 },
    { "REG_INV of class 1", no_fit, IDLE, MEM, 0, inv_class_1, 0 },
    { "REG_INV of 255", no_fit, IDLE, MEM, 0, inv_255, 0 },

    { "READ_RET to nothing", no_match, IDLE, MEM, 0, read_ret_good, 0 },
    { "WRITE_RET to nothing", no_match, IDLE, MEM, 0, write_ret_good, 0 },
    { "REG_INV_RET to nothing", no_match, IDLE, MEM, 0, inv_ret_good, 0 },
    { "WRITE_RET to READ", no_match, READING, MEM, 0, write_ret_good, 0 },
    { "READ_RET to WRITE", no_match, WRITING, MEM, 0, read_ret_good, 0 },
    { "REG_INV_RET to READ", no_match, READING, MEM, 0, inv_ret_good, 0 },
    { "READ_RET to REG_INV", no_match, CHANGING, MEM, 0, read_ret_good, 0 },
    { "share to nothing", no_match, IDLE, MEM, 1, share_good, 0 },
    { "READ_RET twice", no_match, READING, MEM, 0, two_read_rets, 45 },
    { "REG_INV_RET twice", no_match, CHANGING, MEM, 0, two_inv_rets, 6 },
    { "READ_RET before HELLO_RET", no_match, GREETING, MEM, 0, read_ret_good,
      0 },
    { "READ_RET of another number", another, READING, MEM, 0, read_ret_number,
      0 },
    { "WRITE_RET of another number", another, WRITING, MEM, 0,
      write_ret_number, 0 },
    { "REG_INV_RET of another number", another, CHANGING, MEM, 0,
      inv_ret_number, 0 },

    { "two READ", too_many, IDLE, MEM, 0, two_reads, 15 },
    { "READ and WRITE", too_many, IDLE, MEM, 0, read_and_write, 15 },
    { "two REG_INV", too_many, IDLE, MEM, 0, two_invs, 22 },

    { "share that overflows", range, READING, MEM, 1, share_overflows, 0 },
    { "share above the access", range, READING, MEM, 1, share_above, 0 },
    { "share below the access", range, READING, MEM, 1, share_below, 0 },
    { "share beside the access, WRITE_RET", range, WRITING, MEM, 1,
      write_share_above, 0 },
    { "share of kind 2", "kind", READING, MEM, 1, share_kind_2, 0 },
    { "share of kind 255", "kind", READING, MEM, 0, share_kind_255, 0 },
    { "REG_INV that wraps", "2^64", IDLE, MEM, 0, inv_wraps, 0 },
    { "REG_INV that wraps, from 2", "2^64", IDLE, MEM, 0, inv_wraps_far, 0 },

    { "HELLO of another magic", malformed, LISTENING, MEM, 0, hello_magic, 0 },
    { "HELLO from high to low", malformed, LISTENING, MEM, 0, hello_versions,
      0 },
    { "HELLO of sub-priority 3", malformed, LISTENING, MEM, 0,
      hello_subpriority, 0 },
    { "HELLO of another magic, interrupts", malformed, LISTENING, INTR, 0,
      hello_magic, 0 },
    { "HELLO twice", place, LISTENING, MEM, 0, hello_twice, 86 },
    { "HELLO twice, interrupts", place, LISTENING, INTR, 0, hello_twice, 86 },
    { "HELLO after READ", place, LISTENING, MEM, 0, hello_after_read, 15 },
    { "HELLO to one without", place, IDLE, MEM, 0, hello_good, 0 },
    { "HELLO to one without, interrupts", place, IDLE, INTR, 0, hello_good,
      0 },
    { "HELLO to the connecting side", place, GREETING, MEM, 0, hello_good, 0 },
    { "HELLO to the connecting side, interrupts", place, GREETING, INTR, 0,
      hello_good, 0 },
    { "HELLO when settled", place, GREETED, MEM, 0, hello_good, 0 },
    { "HELLO when settled, interrupts", place, GREETED, INTR, 0, hello_good,
      0 },
    { "HELLO_RET to one without", place, IDLE, MEM, 0, hello_ret_good, 0 },
    { "HELLO_RET to the listening side", place, LISTENING, MEM, 0,
      hello_ret_good, 0 },
    { "HELLO_RET twice", place, GREETING, MEM, 0, hello_ret_twice, 86 },
    { "HELLO_RET of another magic", malformed, GREETING, MEM, 0,
      hello_ret_magic, 0 },
    { "HELLO_RET of version 2", outside, GREETING, MEM, 0, hello_ret_version,
      0 },
    { "HELLO_RET of two versions", "hello", GREETING, MEM, 0,
      hello_ret_versions, 0 },
    { "HELLO_RET of features", outside, GREETING, MEM, 0, hello_ret_features,
      0 },
    { "HELLO_RET of sub-priority 2", malformed, GREETING, MEM, 0,
      hello_ret_subpriority, 0 },
    { "HELLO_RET of another pair", outside, GREETING, MEM, 0, hello_ret_pair,
      0 },
    { "HELLO_RET without pair", outside, GREETING, MEM, 0, hello_ret_no_pair,
      0 },
    { "HELLO of another pair", pair, LISTENING, MEM, 0, hello_with_pair, 0 },
    { "HELLO after INTR", pair, LISTENING, MEM, 0, hello_after_intr, 0 },
    { "HELLO of another pair, interrupts", pair, LISTENING, INTR, 0,
      intr_hello_other_pair, 0 },
    { "INTR before HELLO", pair, LISTENING, INTR, 0, intr_before_intr_hello,
      0 },
    { "READ before HELLO_RET", "before HELLO_RET", LISTENING, MEM, 0,
      read_before_hello_ret, 86 },
};

enum { VIOLATIONS = sizeof(violations) / sizeof(violations[0]) };

/* --- before -------------------------------------------------------------- */

static bool has_hello(enum when when)
{
    return when == LISTENING || when == GREETING || when == GREETED;
}

/* Something is mapped, which must go. */
static void map_something(struct rig *rig)
{
    const struct offer offer = { .start = 0x800000, .size = 0x2000 };
    int fd = peer_memory(0x2000, 1, true);

    rig_offer(rig, 0x800000, &offer, fd);
    close(fd);
    ck_assert_uint_eq(rig_ranges(rig), 1);
    ck_assert_uint_eq(rig->maps, 1);
}

static void take_greeting(struct rig *rig)
{
    static char name[33];
    struct bytes on_mem = peer_take(&rig->peer, PEER_MEM, 86);

    parse_hello(&on_mem, &greeting, name);
    ck_assert_uint_eq(on_mem.at[4], 0x40);
    peer_expect(&rig->peer, PEER_INTR, on_mem);
}

static void be_greeted(struct rig *rig)
{
    struct hello hello = hello_default();
    struct bytes answer;
    char name[33];

    peer_send(&rig->peer, PEER_MEM, say_hello(&hello));
    answer = peer_take(&rig->peer, PEER_MEM, 86);
    ck_assert_uint_eq(answer.at[4], 0x41);
    parse_hello(&answer, &hello, name);
    ck_assert_uint_eq(hello.subpriority, 0);
}

struct before {
    struct access access;
    struct change change;
};

static void prepare(struct rig *rig, enum when when, struct before *before)
{
    if (!has_hello(when)) {
        map_something(rig);
    }
    switch (when) {
    case READING:
        begin_read(&before->access, rig, 0x1000, 1);
        peer_expect(&rig->peer, PEER_MEM,
                    say_read(rig_own(rig, ACCESS), 0x1000, 1));
        break;
    case WRITING:
        begin_write(&before->access, rig, 0x1000, 1, 0);
        peer_expect(&rig->peer, PEER_MEM,
                    say_write(rig_own(rig, ACCESS), 0x1000, 0, 1));
        break;
    case CHANGING:
        rig_take_share(rig, RIG_RAM, &rig_whole_ram);
        begin_change(&before->change, rig, RIG_RAM, 1);
        peer_expect(&rig->peer, PEER_MEM, say_inv(rig_own(rig, INVALIDATE),
                                                  RIG_RAM, RIG_RAM_SIZE));
        break;
    case GREETING:
        take_greeting(rig);
        break;
    case GREETED:
        be_greeted(rig);
        break;
    case IDLE:
    case LISTENING:
        break;
    }
}

/* --- after --------------------------------------------------------------- */

/* What was answered before the offence has been answered. */
static void check_waiters(const struct violation *violation,
                          struct before *before)
{
    int wanted = violation->offence ? 0 : -ECONNRESET;

    if (violation->when == READING || violation->when == WRITING) {
        ck_assert_int_eq(end_access(&before->access), wanted);
        ck_assert_uint_eq(memexpose_result(wanted), wanted ? 1 : 0);
    } else if (violation->when == CHANGING) {
        ck_assert_int_eq(end_change(&before->change), wanted);
    }
}

static void check_log(const struct violation *violation,
                      const struct bytes *sent)
{
    const uint8_t *header = sent->at + violation->offence;
    char text[64];

    snprintf(text, sizeof(text), "%02x%02x%02x%02x%02x%02x", header[0],
             header[1], header[2], header[3], header[4], header[5]);
    ck_assert_msg(harness_logged("link closed") == 1, "%s: %u lines",
                  violation->name, harness_logged("link closed"));
    ck_assert_msg(harness_logged("violation") == 1, "%s: %u lines",
                  violation->name, harness_logged("violation"));
    ck_assert_msg(harness_logged(violation->reason) == 1, "%s: %u lines name "
                  "'%s'", violation->name, harness_logged(violation->reason),
                  violation->reason);
    ck_assert_msg(harness_logged(text) == 1, "%s: %u lines show the header "
                  "%s", violation->name, harness_logged(text), text);
}

static void expect_closed(struct rig *rig, const struct violation *violation)
{
    if (violation->which == PEER_MEM && violation->bytes == hello_twice) {
        peer_take(&rig->peer, PEER_MEM, 86);    /* the first was answered */
    }
    peer_expect_end(&rig->peer, PEER_MEM);
    peer_expect_end(&rig->peer, PEER_INTR);
}

static void check_state(struct rig *rig, const struct violation *violation)
{
    struct memexpose_stats stats = rig_stats(rig);
    bool mapped = !has_hello(violation->when);

    ck_assert_uint_eq(stats.violations, 1);
    ck_assert_uint_eq(stats.mapped_ranges, 0);
    ck_assert_uint_eq(stats.mapped_bytes, 0);
    ck_assert_uint_eq(rig_ranges(rig), 0);
    ck_assert_uint_eq(rig->maps, mapped);
    ck_assert_uint_eq(rig->unmaps, mapped);
    ck_assert_uint_eq(memexpose_device_link_state(rig->device) & 7, 0);
}

static void serve_the_next(struct rig *rig, enum when when)
{
    harness_log_clear();
    rig_connect(rig);
    if (when == LISTENING || when == GREETED) {
        rig->ours = 0;
    } else if (when == GREETING) {
        struct hello hello = hello_default();

        take_greeting(rig);
        hello.pair = greeting.pair;
        hello.subpriority = 0;
        peer_send(&rig->peer, PEER_MEM, say_hello_ret(&hello));
    }
    rig_expect_served(rig);
    ck_assert_uint_eq(memexpose_device_link_state(rig->device),
                      UINT64_C(2) << 32 | 7);
    harness_assert_not_logged("link closed");
}

static void check_violation(const struct violation *violation,
                            enum memexpose_role role)
{
    struct before before;
    struct bytes bytes;
    struct rig rig;
    int fds[PEER_FDS];
    size_t open;
    int i;

    rig_init(&rig, role);
    rig.config.hello = has_hello(violation->when) ? MEMEXPOSE_HELLO_ON :
                       MEMEXPOSE_HELLO_OFF;
    rig_start(&rig);
    rig_connect(&rig);
    ck_assert_int_eq(memexpose_device_enable(rig.device, 0), 0);
    prepare(&rig, violation->when, &before);
    bytes = violation->bytes(&rig);
    open = harness_descriptors();
    for (i = 0; i < violation->fds; i++) {
        fds[i] = peer_memory(0x1000, 0, true);
    }
    peer_send_fds(&rig.peer, violation->which, bytes.at, bytes.count, fds,
                  (size_t)violation->fds);
    for (i = 0; i < violation->fds; i++) {
        close(fds[i]);
    }
    expect_closed(&rig, violation);
    check_waiters(violation, &before);
    rig_drive(&rig);
    ck_assert_uint_eq(harness_descriptors(), open - 2);
    check_log(violation, &bytes);
    check_state(&rig, violation);
    serve_the_next(&rig, violation->when);
    rig_end(&rig);
}

/* Those of hello have their role; the others come in both. */
START_TEST(a_violation)
{
    const struct violation *violation = &violations[_i / 2];
    enum memexpose_role role = ROLE(_i % 2);

    if (has_hello(violation->when) &&
        (role == MEMEXPOSE_ROLE_CONNECT) != (violation->when == GREETING)) {
        return;
    }
    fprintf(stderr, "violation %d: %s\n", _i, violation->name);
    check_violation(violation, role);
}
END_TEST

/* --- what is no message -------------------------------------------------- */

/* The twin of a HELLO with a pair id does not come. */
START_TEST(no_twin_in_time)
{
    struct hello hello = hello_default();
    struct rig rig;

    rig_init(&rig, MEMEXPOSE_ROLE_LISTEN);
    rig.config.hello = MEMEXPOSE_HELLO_ON;
    rig.config.hello_wait = 100 * MS;
    rig_start(&rig);
    rig_connect(&rig);
    hello.pair = 5;
    peer_send(&rig.peer, PEER_MEM, say_hello(&hello));
    peer_expect_end(&rig.peer, PEER_MEM);
    peer_expect_end(&rig.peer, PEER_INTR);
    ck_assert_uint_eq(harness_logged("link closed"), 1);
    harness_assert_logged("interrupt link");
    serve_the_next(&rig, LISTENING);
    rig_end(&rig);
}
END_TEST

/* Two of the same kind, one after the other, are both named. */
START_TEST(the_second_is_named_too)
{
    struct rig rig;

    rig_up(&rig, ROLE(_i));
    for (int i = 0; i < 3; i++) {
        harness_log_clear();
        peer_send(&rig.peer, PEER_MEM, bytes_header(6, 7, 0));
        peer_expect_end(&rig.peer, PEER_MEM);
        ck_assert_uint_eq(harness_logged("violation"), 1);
        ck_assert_uint_eq(harness_logged("060000000700"), 1);
        rig_connect(&rig);
    }
    rig_expect_served(&rig);
    ck_assert_uint_eq(rig_stats(&rig).violations, 3);
    rig_end(&rig);
}
END_TEST

/* Nothing that came after the offence counts. */
START_TEST(nothing_counts_after_it)
{
    struct memexpose_interrupt interrupt;
    struct bytes bytes;
    struct rig rig;

    rig_up(&rig, ROLE(_i));
    bytes = two(bytes_header(6, 7, 0), say_write(rig_peer(&rig, ACCESS),
                                                 RIG_RAM, 1, 1));
    peer_send(&rig.peer, PEER_MEM, bytes);
    peer_send(&rig.peer, PEER_INTR, two(bytes_header(6, 0, 0),
                                        say_intr(1, 1)));
    peer_expect_end(&rig.peer, PEER_MEM);
    ck_assert_uint_eq(rig.writes, 0);
    ck_assert_int_eq(memexpose_device_receive(rig.device, &interrupt),
                     -EAGAIN);
    ck_assert_uint_eq(rig_stats(&rig).violations, 1);
    rig_end(&rig);
}
END_TEST

/* --- a peer that dies at any byte ---------------------------------------- */

/* Each message that a peer may send, cut off after each of its bytes. */
static void die_at(enum memexpose_role role, enum when when, int which,
                   struct bytes (*say)(struct rig *rig), int fds)
{
    struct before before;
    struct bytes bytes;
    struct rig rig;
    int fd = peer_memory(0x1000, 0, true);
    size_t count = 0, total;

    do {
        rig_up(&rig, role);
        prepare(&rig, when, &before);
        bytes = say(&rig);
        total = bytes.count;
        if (count > 0) {
            peer_send_fds(&rig.peer, which, bytes.at, count, &fd,
                          (size_t)fds);
        }
        if (count % 2 == 0) {
            rig_drive(&rig);    /* seen with the end, or before it */
        }
        peer_close(&rig.peer);
        if (when == READING || when == WRITING) {
            ck_assert_int_eq(end_access(&before.access), -ECONNRESET);
        } else if (when == CHANGING) {
            ck_assert_int_eq(end_change(&before.change), 0);
        }
        rig_drive(&rig);
        ck_assert_uint_eq(rig_stats(&rig).violations, 0);
        ck_assert_uint_eq(rig_ranges(&rig), 0);
        ck_assert_uint_eq(rig.unmaps, rig.maps);
        rig_connect(&rig);
        rig_expect_served(&rig);
        rig_end(&rig);
        count++;
    } while (count < total);
    close(fd);
}

static const struct {
    enum when when;
    int which;
    struct bytes (*say)(struct rig *rig);
    int fds;
} deaths[] = {
    { IDLE, PEER_MEM, read_good, 0 },
    { IDLE, PEER_MEM, write_good, 0 },
    { IDLE, PEER_MEM, inv_good, 0 },
    { IDLE, PEER_INTR, intr_message, 0 },
    { READING, PEER_MEM, share_good, 1 },
    { READING, PEER_MEM, read_ret_good, 0 },
    { WRITING, PEER_MEM, write_share_good, 1 },
    { CHANGING, PEER_MEM, inv_ret_good, 0 },
};

enum { DEATHS = sizeof(deaths) / sizeof(deaths[0]) };

START_TEST(dies_at_any_byte)
{
    die_at(ROLE(_i % 2), deaths[_i / 2].when, deaths[_i / 2].which,
           deaths[_i / 2].say, deaths[_i / 2].fds);
}
END_TEST

/* The end of either link ends both. */
START_TEST(one_end_ends_both)
{
    struct rig rig;

    rig_up(&rig, ROLE(_i & 1));
    peer_close_one(&rig.peer, _i >> 1);
    peer_expect_end(&rig.peer, !(_i >> 1));
    ck_assert_uint_eq(memexpose_device_link_state(rig.device) & 7, 0);
    ck_assert_uint_eq(rig_stats(&rig).violations, 0);
    rig_connect(&rig);
    rig_expect_served(&rig);
    rig_end(&rig);
}
END_TEST

/* --- main ---------------------------------------------------------------- */

int main(void)
{
    Suite *suite = suite_create("peer-violations");
    TCase *tcase = harness_tcase("violations");

    tcase_add_loop_test(tcase, a_violation, 0, 2 * VIOLATIONS);
    tcase_add_test(tcase, no_twin_in_time);
    tcase_add_loop_test(tcase, the_second_is_named_too, 0, 2);
    tcase_add_loop_test(tcase, nothing_counts_after_it, 0, 2);
    suite_add_tcase(suite, tcase);
    tcase = harness_tcase("deaths");
    tcase_add_loop_test(tcase, dies_at_any_byte, 0, 2 * DEATHS);
    tcase_add_loop_test(tcase, one_end_ends_both, 0, 4);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
