/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The violations of section 7 but for hello's, one by one: each closes both
 * links and is named once in the log, with the header that offends.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hostile.h"

/* What has happened before the offence. */
enum stage {
    SETTLED,
    ASKED_READ,                 /* the target's READ is unanswered */
    ASKED_WRITE,
    ASKED_INVALIDATE            /* its REG_INV is */
};

struct offence {
    enum stage stage;
    int which;                  /* link */
    struct message message;
    unsigned descriptors;       /* that go with it */
    unsigned times;             /* how often it is sent; 0 is 1 */
    bool allowed;               /* it is no violation */
};

static bool reach(struct play *play, enum stage stage)
{
    if (!play_settle(play)) {
        return false;
    }
    switch (stage) {
    case ASKED_READ:
        return asked_read(play, OURS);
    case ASKED_WRITE:
        return asked_write(play, OURS);
    case ASKED_INVALIDATE:
        return asked_invalidate(play);
    case SETTLED:
        break;
    }
    return true;
}

static bool send_offence(struct play *play, const struct offence *offence)
{
    int fd = offence->descriptors > 0 ? shared_memory(PAGE, true) : -1;
    int fds[2] = { fd, fd };
    bool ok = true;

    for (unsigned i = 0; ok && i < offence->times + (offence->times == 0);
         i++) {
        ok = send_bytes(play, offence->which, offence->message.at,
                        offence->message.count, fds, offence->descriptors);
    }
    if (fd >= 0) {
        close(fd);
    }
    return ok || offence->times > 1;    /* it may have closed already */
}

/*
 * Named once, with the header in hex; or left out, if this peer has filled the
 * log with others, which it has to own up to in the end.
 */
bool is_named(struct play *play, const struct message *message, off_t log)
{
    char hex[32] = "(header ";
    size_t at = strlen(hex);
    unsigned named;

    for (unsigned i = 0; i < HEADER && i < message->count; i++) {
        at += (size_t)sprintf(hex + at, "%02x", message->at[i]);
    }
    if (!target_sync(play->target)) {
        return failed(play, "the target does not answer");
    }
    named = target_logged(play->target, log, "protocol violation");
    if (named == 0) {
        play->target->unnamed++;
        return true;
    }
    if (named > 1) {
        return failed(play, "the log names more than one violation");
    }
    return target_logged(play->target, log, hex) == 1 ||
           failed(play, "the log does not show '%s'", hex);
}

static bool offend(struct play *play, const void *what)
{
    const struct offence *offence = what;
    off_t log = target_log_end(play->target);

    if (!reach(play, offence->stage) || !send_offence(play, offence)) {
        return false;
    }
    if (offence->allowed) {
        return offence->stage == SETTLED ? serves(play) : true;
    }
    return closes(play) && is_named(play, &offence->message, log);
}

/* --- size, type, link ---------------------------------------------------- */

static const uint8_t types[] = {
    READ, READ_RET, WRITE, WRITE_RET, INV, INV_RET, INTERRUPT, HELLO,
    HELLO_RET
};

static enum stage stage_of(uint8_t type)
{
    return type == READ_RET ? ASKED_READ : type == WRITE_RET ? ASKED_WRITE :
           type == INV_RET ? ASKED_INVALIDATE : SETTLED;
}

/* The priority that it should have; the peer that connects has 1. */
static uint8_t priority_of(uint8_t type, bool target_listens)
{
    uint8_t mine = target_listens, theirs = !target_listens;

    switch (type) {
    case READ:
    case WRITE:
        return (uint8_t)(2 + mine);
    case READ_RET:
    case WRITE_RET:
        return (uint8_t)(2 + theirs);
    case INV:
        return mine;
    case INV_RET:
        return theirs;
    default:
        return 0;
    }
}

static void wrong_sizes(struct round *round)
{
    for (size_t i = 0; i < sizeof(types); i++) {
        uint32_t right = (uint32_t)size_of_type(types[i]);
        uint32_t sizes[] = { 0, 1, 5, right - 1, right + 1, 2 * right,
                             0x10000, 0x7fffffff, 0xffffffff };

        for (size_t j = 0; j < sizeof(sizes) / sizeof(sizes[0]); j++) {
            struct offence offence = {
                .stage = stage_of(types[i]),
                .which = types[i] == INTERRUPT ? INTR : MEM,
                .message = header(sizes[j], types[i],
                                  priority_of(types[i],
                                              round_listens(round))),
            };
            char name[64];

            snprintf(name, sizeof(name), "size %u of type %u", sizes[j],
                     types[i]);
            add(&offence.message, 0, right - HEADER);
            round_case(round, "violation: ", name, offend, &offence);
        }
    }
}

static void unknown_types(struct round *round)
{
    static const uint8_t unknown[] = { 7, 0x3f, 0x47, 0x48, 0x80, 0xff };

    for (int which = 0; which < LINKS; which++) {
        for (size_t i = 0; i < sizeof(unknown); i++) {
            struct offence offence = {
                .which = which, .message = header(6, unknown[i], 0),
            };
            char name[64];

            snprintf(name, sizeof(name), "type %u on link %d", unknown[i],
                     which);
            round_case(round, "violation: ", name, offend, &offence);
        }
    }
}

static void wrong_links(struct round *round)
{
    for (size_t i = 0; i < sizeof(types); i++) {
        uint8_t type = types[i];
        struct offence offence = {
            .stage = stage_of(type),
            .which = type == INTERRUPT ? MEM : INTR,
            .message = header((uint32_t)size_of_type(type), type,
                              priority_of(type, round_listens(round))),
        };
        char name[64];

        snprintf(name, sizeof(name), "type %u on the wrong link", type);
        add(&offence.message, 0, (unsigned)size_of_type(type) - HEADER);
        round_case(round, "violation: ", name, offend, &offence);
    }
}

/* --- descriptors --------------------------------------------------------- */

static const struct share whole = {
    .kind = 1, .start = OURS, .size = PAGE,
};

static void surplus_descriptors(struct round *round)
{
    bool listens = round_listens(round);
    uint8_t asks = priority_of(READ, listens);
    uint8_t answers_with = priority_of(READ_RET, listens);
    const struct offence offences[] = {
        { SETTLED, MEM, say_read(asks, RAM, 8), 1, 0, false },
        { SETTLED, MEM, say_read(asks, RAM, 8), 2, 0, false },
        { SETTLED, MEM, say_write(asks, RAM, 0, 8), 1, 0, false },
        { SETTLED, MEM, say_inv(priority_of(INV, listens), 0, 1), 1, 0,
          false },
        { SETTLED, INTR, say_interrupt(1), 1, 0, false },
        { ASKED_INVALIDATE, MEM, say_inv_ret(priority_of(INV_RET, listens)),
          1, 0, false },
        { ASKED_READ, MEM, say_read_ret(answers_with, 0, 0, NULL), 1, 0,
          false },
        { ASKED_READ, MEM, say_read_ret(answers_with, 0, 0, &whole), 2, 0,
          false },
        { ASKED_WRITE, MEM, say_write_ret(answers_with, 0, NULL), 1, 0,
          false },
        { ASKED_WRITE, MEM, say_write_ret(answers_with, 0, &whole), 2, 0,
          false },
    };

    for (size_t i = 0; i < sizeof(offences) / sizeof(offences[0]); i++) {
        char name[64];

        snprintf(name, sizeof(name), "%u with type %u", offences[i].descriptors,
                 offences[i].message.at[4]);
        round_case(round, "unexpected descriptor: ", name, offend,
                   &offences[i]);
    }
}

static void missing_descriptors(struct round *round)
{
    uint8_t priority = priority_of(READ_RET, round_listens(round));
    struct share share = whole;
    struct offence offence = {
        ASKED_READ, MEM, say_read_ret(priority, 0, 0, &share), 0, 0, false
    };

    round_case(round, "missing descriptor: ", "READ_RET", offend, &offence);
    offence.stage = ASKED_WRITE;
    offence.message = say_write_ret(priority, 0, &share);
    round_case(round, "missing descriptor: ", "WRITE_RET", offend, &offence);
    for (unsigned kind = 2; kind < 256; kind += 23) {
        share.kind = (uint8_t)kind;
        offence.descriptors = kind & 1;
        offence.message = say_write_ret(priority, 0, &share);
        round_case(round, "kind above 1: ", "WRITE_RET", offend, &offence);
        offence.stage = ASKED_READ;
        offence.message = say_read_ret(priority, 0, 0, &share);
        round_case(round, "kind above 1: ", "READ_RET", offend, &offence);
        offence.stage = ASKED_WRITE;
    }
}

/* --- priorities ---------------------------------------------------------- */

static void wrong_priority(struct round *round, const char *name,
                           struct message message)
{
    uint8_t type = message.at[4];
    uint8_t right = priority_of(type, round_listens(round));

    for (unsigned priority = 0; priority < 256;
         priority += priority < 8 ? 1 : 31) {
        struct offence offence = {
            .stage = stage_of(type), .which = MEM, .message = message,
        };

        offence.message.at[5] = (uint8_t)priority;
        if (priority != right) {
            round_case(round, "priority: ", name, offend, &offence);
        }
    }
}

static void wrong_priorities(struct round *round)
{
    wrong_priority(round, "READ", say_read(0, RAM, 8));
    wrong_priority(round, "WRITE", say_write(0, RAM, 0, 8));
    wrong_priority(round, "REG_INV", say_inv(0, 0, PAGE));
    wrong_priority(round, "READ_RET", say_read_ret(0, 0, 0, NULL));
    wrong_priority(round, "WRITE_RET", say_write_ret(0, 0, NULL));
    wrong_priority(round, "REG_INV_RET", say_inv_ret(0));
}

/* --- ranges -------------------------------------------------------------- */

static void invalid_ranges(struct round *round)
{
    uint8_t priority = priority_of(INV, round_listens(round));
    const struct {
        const char *name;
        uint64_t start, size;
        bool allowed;
    } ranges[] = {
        { "passes 2^64 by one", UINT64_MAX, 2, false },
        { "passes 2^64 by all", UINT64_MAX, UINT64_MAX, false },
        { "passes 2^64 in the middle", UINT64_C(1) << 63,
          (UINT64_C(1) << 63) + 1, false },
    };

    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        struct offence offence = {
            .which = MEM,
            .message = say_inv(priority, ranges[i].start, ranges[i].size),
        };

        round_case(round, "REG_INV: ", ranges[i].name, offend, &offence);
    }
}

/* What is odd, but is answered. */
static bool odd_invalidations(struct play *play, const void *what)
{
    static const uint64_t ranges[][2] = {
        { 0, 0 }, { UINT64_MAX, 0 }, { UINT64_MAX, 1 }, { 1, UINT64_MAX },
        { 0, UINT64_MAX }, { OURS, 1 }
    };
    uint8_t priority = own(play, INVALIDATION);

    (void)what;
    if (!play_settle(play)) {
        return false;
    }
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        priority = own(play, INVALIDATION);
        if (!send_message(play, MEM, say_inv(priority, ranges[i][0],
                                             ranges[i][1])) ||
            !take_header(play, MEM, 6, INV_RET, priority)) {
            return false;
        }
    }
    return serves(play);
}

static bool odd_accesses(struct play *play, const void *what)
{
    static const uint64_t addresses[] = {
        0, RAM - 1, RAM + RAM_SIZE - 1, RAM + RAM_SIZE, UINT64_MAX,
        UINT64_MAX - 6
    };
    struct message message;
    int fd;

    (void)what;
    if (!play_settle(play)) {
        return false;
    }
    for (unsigned i = 0; i < 6 * 256; i += i % 256 < 17 ? 1 : 13) {
        uint64_t address = addresses[i / 256];

        if (!send_message(play, MEM, say_read(own(play, ACCESS), address,
                                              (uint8_t)i)) ||
            !take(play, MEM, 45, &message, &fd)) {
            return false;
        }
        if (fd >= 0) {
            close(fd);
        }
        if (!send_message(play, MEM, say_write(own(play, ACCESS), address,
                                               UINT64_MAX, (uint8_t)i)) ||
            !take(play, MEM, 37, &message, &fd)) {
            return false;
        }
        if (fd >= 0) {
            close(fd);
        }
        if (i % 256 != 1 && i % 256 != 2 && i % 256 != 4 && i % 256 != 8 &&
            number(&message, HEADER, 4) != 1) {
            return failed(play, "an access of %u bytes gets another result "
                          "than 1", i % 256);
        }
    }
    return true;
}

void cases_violations(struct round *round)
{
    wrong_sizes(round);
    unknown_types(round);
    wrong_links(round);
    surplus_descriptors(round);
    missing_descriptors(round);
    wrong_priorities(round);
    invalid_ranges(round);
    round_case(round, "REG_INV: ", "odd but allowed", odd_invalidations,
               NULL);
    round_case(round, "access: ", "odd but allowed", odd_accesses, NULL);
}
