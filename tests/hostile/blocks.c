/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blocks that lie, stop in the middle, or are too much (section 8).
 */
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "hostile.h"

enum { ASKED = 100, LONG = 65536 };

static uint8_t bytes[LONG + 200];       /* of any block */

static bool settle(struct play *play)
{
    play->hello = true;
    play->features = BLOCKS;
    return play_settle(play);
}

/* It reads a block of ours. */
static bool asked_block(struct play *play)
{
    return settle(play) &&
           (target_tell(play->target, "dump 0x%x %u /dev/null", OURS, ASKED) ||
            failed(play, "the target does not obey")) &&
           take_header(play, MEM, 18, READ_BLOCK, peers(play, ACCESS));
}

/* It goes on, whatever became of the block. */
static bool obeys(struct play *play)
{
    return target_sync(play->target) ||
           failed(play, "the target obeys no more");
}

/* The message, and @count bytes behind it; it may have closed by then. */
static bool send_block(struct play *play, int which, struct message message,
                       size_t count, int fd)
{
    bool ok = send_bytes(play, which, message.at, message.count, &fd, fd >= 0);

    if (ok && count > 0 && !send_bytes(play, which, bytes, count, NULL, 0)) {
        play->why[0] = '\0';
    }
    return ok;
}

/* --- lies ---------------------------------------------------------------- */

struct lie {
    const char *name;
    bool asked;                 /* it answers a READ_BLOCK of the target's */
    uint8_t type;
    uint32_t size;              /* of the message */
    uint32_t result, done;      /* or what READ_BLOCK asks for */
    uint8_t kind;               /* of the share, and no descriptor */
    int which;                  /* link */
};

static const struct lie lies[] = {
    { "READ_BLOCK of 0", false, READ_BLOCK, 18, 0, 0, 0, MEM },
    { "READ_BLOCK of 65537", false, READ_BLOCK, 18, 0, LONG + 1, 0, MEM },
    { "READ_BLOCK of 4 GiB", false, READ_BLOCK, 18, 0, 0xffffffff, 0, MEM },
    { "READ_BLOCK too short", false, READ_BLOCK, 17, 0, 8, 0, MEM },
    { "READ_BLOCK too long", false, READ_BLOCK, 19, 0, 8, 0, MEM },
    { "WRITE_BLOCK of nothing", false, WRITE_BLOCK, 14, 0, 0, 0, MEM },
    { "WRITE_BLOCK of 65537", false, WRITE_BLOCK, 14 + LONG + 1, 0, 0, 0,
      MEM },
    { "WRITE_BLOCK of 4 GiB", false, WRITE_BLOCK, 0xffffffff, 0, 0, 0, MEM },
    { "WRITE_BLOCK too short", false, WRITE_BLOCK, 13, 0, 0, 0, MEM },
    { "WRITE_BLOCK on the other link", false, WRITE_BLOCK, 15, 0, 0, 0,
      INTR },
    { "READ_BLOCK on the other link", false, READ_BLOCK, 18, 0, 8, 0, INTR },
    { "READ_BLOCK_RET unasked", false, READ_BLOCK_RET, 141, 0, 100, 0, MEM },
    { "WRITE_BLOCK_RET unasked", false, WRITE_BLOCK_RET, 41, 0, 100, 0, MEM },
    { "one more", true, READ_BLOCK_RET, 142, 0, 101, 0, MEM },
    { "one less", true, READ_BLOCK_RET, 140, 0, 99, 0, MEM },
    { "none", true, READ_BLOCK_RET, 41, 0, 0, 0, MEM },
    { "64 KiB", true, READ_BLOCK_RET, 41 + LONG, 0, LONG, 0, MEM },
    { "over 64 KiB", true, READ_BLOCK_RET, 42 + LONG, 0, LONG + 1, 0, MEM },
    { "all of a failure", true, READ_BLOCK_RET, 141, 2, 100, 0, MEM },
    { "more of a failure", true, READ_BLOCK_RET, 1041, 2, 1000, 0, MEM },
    { "fewer bytes than done", true, READ_BLOCK_RET, 140, 0, 100, 0, MEM },
    { "more bytes than done", true, READ_BLOCK_RET, 142, 0, 100, 0, MEM },
    { "4 GiB done", true, READ_BLOCK_RET, 141, 0, 0xffffffff, 0, MEM },
    { "share without descriptor", true, READ_BLOCK_RET, 141, 0, 100, 1, MEM },
    { "share of kind 2", true, READ_BLOCK_RET, 141, 0, 100, 2, MEM },
    { "the other answer", true, WRITE_BLOCK_RET, 41, 0, 100, 0, MEM },
    { "a word", true, READ_RET, 45, 0, 0, 0, MEM },
};

static uint8_t priority_of(struct play *play, uint8_t type)
{
    return type == READ_BLOCK || type == WRITE_BLOCK ? own(play, ACCESS) :
                                                       peers(play, ACCESS);
}

static struct message put_lie(struct play *play, const struct lie *lie)
{
    struct message message = header(lie->size, lie->type,
                                    priority_of(play, lie->type));
    const struct share share = { lie->kind, OURS, 0, PAGE, 0, 0 };

    if (lie->type == READ_BLOCK || lie->type == WRITE_BLOCK) {
        add(&message, RAM, 8);
    } else {
        add(&message, lie->result, 4);
    }
    if (lie->type != WRITE_BLOCK) {
        add(&message, lie->done, 4);
    }
    if (lie->type != READ_BLOCK && lie->type != WRITE_BLOCK) {
        add(&message, share.kind, 1);
        add(&message, share.start, 8);
        add(&message, share.mmap_start, 8);
        add(&message, share.size, 8);
        add(&message, 0, lie->type == READ_RET ? 6 : 2);
    }
    return message;
}

static bool lying_block(struct play *play, const void *what)
{
    const struct lie *lie = what;
    off_t log = target_log_end(play->target);
    struct message message;

    if (!(lie->asked ? asked_block(play) : settle(play))) {
        return false;
    }
    message = put_lie(play, lie);
    return send_block(play, lie->which, message, 200, -1) && closes(play) &&
           is_named(play, &message, log) && obeys(play);
}

/* A descriptor within the bytes; the log names their message. */
static bool descriptor_in_a_block(struct play *play, const void *what)
{
    off_t log = target_log_end(play->target);
    struct message message;
    int fd = shared_memory(PAGE, true);
    bool ok = settle(play);

    (void)what;
    message = say_write_block(own(play, ACCESS), RAM, ASKED);
    ok = ok && send_block(play, MEM, message, 50, -1) &&
         send_bytes(play, MEM, bytes, 10, &fd, 1) &&
         send_bytes(play, MEM, bytes, ASKED - 60, NULL, 0);
    close(fd);
    return ok && closes(play) && is_named(play, &message, log);
}

static bool not_agreed(struct play *play, const void *what)
{
    uint8_t type = *(const uint8_t *)what;
    off_t log = target_log_end(play->target);
    struct message message;

    if (!play_settle(play)) {
        return false;
    }
    message = type == READ_BLOCK ? say_read_block(own(play, ACCESS), RAM, 8) :
                                   say_write_block(own(play, ACCESS), RAM, 8);
    return send_block(play, MEM, message, type == READ_BLOCK ? 0 : 8, -1) &&
           closes(play) && is_named(play, &message, log);
}

/* The second comes while the first is kept. */
static bool two_blocks(struct play *play, const void *what)
{
    struct message message;

    (void)what;
    if (!settle(play) || !asked_invalidate(play)) {
        return false;
    }
    message = say_write_block(own(play, ACCESS), RAM, 500);
    return send_block(play, MEM, message, 500, -1) &&
           send_block(play, MEM, message, 500, -1) && closes(play);
}

/* --- odd but allowed ----------------------------------------------------- */

static bool take_block_ret(struct play *play, uint32_t result, uint32_t done)
{
    struct message message;
    int fd;

    if (!take(play, MEM, 41, &message, &fd)) {
        return false;
    }
    if (fd >= 0) {
        close(fd);
    }
    if (number(&message, 6, 4) != result || number(&message, 10, 4) != done ||
        number(&message, 0, 4) != 41 + done) {
        return failed(play, "result %u and %u bytes instead of %u and %u",
                      (unsigned)number(&message, 6, 4),
                      (unsigned)number(&message, 10, 4), result, done);
    }
    for (uint32_t left = done; left > 0;) {
        uint32_t piece = left < 100 ? left : 100;

        if (!take(play, MEM, piece, &message, NULL)) {
            return false;
        }
        left -= piece;
    }
    return true;
}

struct odd {
    uint64_t address;
    uint32_t size, result, done;
};

static const struct odd odd_reads[] = {
    { RAM, LONG, 2, RAM_SIZE }, { RAM, 1, 0, 1 }, { RAM + 1, 8, 0, 8 },
    { RAM - 1, 2, 2, 0 }, { UINT64_MAX, 2, 2, 0 }, { UINT64_MAX, 1, 2, 0 },
    { UINT64_MAX - LONG + 1, LONG, 2, 0 }, { 0, LONG, 2, 0 },
};

/*
 * A pc with 32 MiB: behind them there is nothing, nor before its firmware and
 * behind the 1024 bytes of its timer; and what belongs to the device itself is
 * not for the peer.
 */
#define VM_RAM_END UINT64_C(0x2000000)
#define VM_WINDOW UINT64_C(0xb0000000)
#define VM_REGISTERS UINT64_C(0xe0000000)
#define VM_TIMER UINT64_C(0xfed00000)
#define VM_FIRMWARE UINT64_C(0xfffc0000)

static const struct odd odd_vm_reads[] = {
    { VM_RAM_END - RAM_SIZE, LONG, 2, RAM_SIZE }, { RAM, 1, 0, 1 },
    { RAM + 1, 8, 0, 8 }, { RAM, LONG, 0, LONG }, { 0, LONG, 0, LONG },
    { VM_RAM_END - 1, 2, 2, 1 }, { VM_RAM_END, LONG, 2, 0 },
    { VM_FIRMWARE - 1, 2, 2, 0 }, { VM_FIRMWARE, LONG, 0, LONG },
    { VM_TIMER, LONG, 2, 1024 }, { VM_TIMER + 1020, 5, 2, 4 },
    { VM_WINDOW, LONG, 2, 0 }, { VM_REGISTERS, 8, 2, 0 },
    { UINT64_MAX, 2, 2, 0 }, { UINT64_MAX, 1, 2, 0 },
    { UINT64_MAX - LONG + 1, LONG, 2, 0 },
};

static bool reads_odd(struct play *play, const struct odd *reads,
                      size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!send_message(play, MEM, say_read_block(own(play, ACCESS),
                                                    reads[i].address,
                                                    reads[i].size)) ||
            !take_block_ret(play, reads[i].result, reads[i].done)) {
            return false;
        }
    }
    return true;
}

static bool odd_blocks(struct play *play, const void *what)
{
    (void)what;
    return settle(play) &&
           (play->target->vm ?
            reads_odd(play, odd_vm_reads,
                      sizeof(odd_vm_reads) / sizeof(odd_vm_reads[0])) :
            reads_odd(play, odd_reads,
                      sizeof(odd_reads) / sizeof(odd_reads[0]))) &&
           serves(play);
}

/*
 * What round_asks_blocks() says of a machine: a hundred bytes are words.  The
 * answers come in time, and so does what is asked next.
 */
static bool asks_for_words(struct play *play, const void *what)
{
    bool ok = settle(play) &&
              (target_tell(play->target, "dump 0x%x %u /dev/null", OURS,
                           ASKED) ||
               failed(play, "the target does not obey"));

    (void)what;
    for (unsigned i = 0; ok && i < (ASKED + 7) / 8; i++) {
        ok = take_header(play, MEM, 15, READ, peers(play, ACCESS)) &&
             send_message(play, MEM, say_read_ret(peers(play, ACCESS), 0, i,
                                                  NULL));
    }
    return ok && obeys(play) && serves(play);
}

/* --- a peer that dies ---------------------------------------------------- */

struct cut {
    const char *name;
    bool asked;                 /* it answers */
    bool receives;              /* it is the target's response that it cuts */
    uint32_t block;
    size_t size;                /* of it all */
    size_t at;                  /* and then it dies */
};

static const struct cut cuts[] = {
    { "READ_BLOCK", false, false, 0, 18, 0 },
    { "WRITE_BLOCK", false, false, 20, 34, 0 },
    { "READ_BLOCK_RET", true, false, ASKED, 141, 0 },
    { "READ_BLOCK_RET received", false, true, 20, 61, 0 },
};

static struct message cut_message(struct play *play, const struct cut *cut)
{
    static const struct share share = { 1, OURS, 0, PAGE, 0, 0 };

    if (cut->asked) {
        return say_read_block_ret(peers(play, ACCESS), 0, ASKED, &share);
    }
    return cut->receives || cut->block == 0 ?
           say_read_block(own(play, ACCESS), RAM,
                          cut->block ? cut->block : ASKED) :
           say_write_block(own(play, ACCESS), RAM, cut->block);
}

static bool cut_block(struct play *play, const void *what)
{
    const struct cut *cut = what;
    struct message message;
    int fd = -1;
    bool ok;

    if (!(cut->asked ? asked_block(play) : settle(play))) {
        return false;
    }
    message = cut_message(play, cut);
    if (cut->receives) {
        ok = send_message(play, MEM, message) &&
             take(play, MEM, cut->at, &message, &fd);
    } else {
        size_t head = cut->at < message.count ? cut->at : message.count;

        fd = cut->asked ? shared_memory(PAGE, true) : -1;
        ok = (head == 0 || send_bytes(play, MEM, message.at, head, &fd,
                                      fd >= 0)) &&
             (head == cut->at || send_bytes(play, MEM, bytes, cut->at - head,
                                            NULL, 0));
    }
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

/* @asked: it takes a target that asks for a block. */
static void block_case(struct round *round, bool asked, const char *group,
                       const char *name, case_function *function,
                       const void *what)
{
    if (asked && !round_asks_blocks(round)) {
        round_leave_out(round, group, name);
    } else {
        round_case(round, group, name, function, what);
    }
}

static void every_cut(struct round *round)
{
    static const size_t places[] = { 14, 15, 4095, 4096, 4097, 14 + LONG - 1 };

    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        struct cut cut = cuts[i];

        /* of the bytes themselves one is like the next */
        for (cut.at = 0; cut.at < cut.size; cut.at += cut.at < 61 ? 1 : 9) {
            block_case(round, cut.asked, "cut off: ", cut.name, cut_block,
                       &cut);
        }
    }
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        struct cut cut = { "WRITE_BLOCK of 64 KiB", false, false, LONG,
                           14 + LONG, places[i] };

        round_case(round, "cut off: ", cut.name, cut_block, &cut);
    }
}

/* --- too much, too slowly ------------------------------------------------ */

/* Of how many bytes that came does the peer know, once no more come? */
static size_t until_nothing_comes(struct play *play, size_t wanted)
{
    /* a machine has other things to do before it answers */
    int64_t deadline = now_ms() + patience(play->target->vm ? 1000 : 100);
    int there = 0;

    while ((size_t)there < wanted && now_ms() < deadline) {
        pause_ms(1);
        if (ioctl(play->fd[MEM], SIOCINQ, &there) < 0) {
            return 0;
        }
    }
    return (size_t)there;
}

/*
 * It asks until a response does not fit any more, and does not read.  The
 * target does other things meanwhile, and goes on when it reads at last.
 */
static bool never_reads_blocks(struct play *play, const void *what)
{
    enum { RESPONSE = 41 + RAM_SIZE };
    size_t wanted = 0;
    struct message message;

    (void)what;
    if (!settle(play)) {
        return false;
    }
    do {
        wanted += RESPONSE;
        if (wanted > 1000 * RESPONSE ||
            !send_message(play, MEM, say_read_block(own(play, ACCESS), RAM,
                                                    RAM_SIZE))) {
            return failed(play, "the socket is never full");
        }
    } while (until_nothing_comes(play, wanted) == wanted);
    if (!obeys(play) || !target_tell(play->target, "intr 7") ||
        !take_header(play, INTR, 142, INTERRUPT, 0)) {
        return false;
    }
    for (; wanted > 0; wanted -= wanted < 100 ? wanted : 100) {
        int fd;

        if (!take(play, MEM, wanted < 100 ? wanted : 100, &message, &fd)) {
            return false;
        }
        if (fd >= 0) {
            close(fd);
        }
    }
    return serves(play);
}

/* It leaves then. */
static bool leaves_a_response(struct play *play, const void *what)
{
    size_t wanted = 0;

    (void)what;
    if (!settle(play)) {
        return false;
    }
    do {
        wanted += 41 + RAM_SIZE;
        if (!send_message(play, MEM, say_read_block(own(play, ACCESS), RAM,
                                                    RAM_SIZE))) {
            return false;
        }
    } while (until_nothing_comes(play, wanted) == wanted);
    return true;
}

/* A block, a byte at a time, and then its answer comes. */
static bool trickles_a_block(struct play *play, const void *what)
{
    struct message message;

    (void)what;
    if (!settle(play) ||
        !send_message(play, MEM, say_write_block(own(play, ACCESS), RAM,
                                                 30))) {
        return false;
    }
    for (unsigned i = 0; i < 30; i++) {
        pause_ms(5);
        if (!send_bytes(play, MEM, bytes, 1, NULL, 0)) {
            return false;
        }
    }
    return take(play, MEM, 41, &message, &(int) { -1 }) && obeys(play) &&
           serves(play);
}

/* So slowly that the deadline of the access comes first. */
static bool a_block_past_the_deadline(struct play *play, const void *what)
{
    unsigned sent = 0;

    (void)what;
    if (!asked_block(play) ||
        !send_message(play, MEM, say_read_block_ret(peers(play, ACCESS), 0,
                                                    ASKED, NULL))) {
        return false;
    }
    while (sent < ASKED - 1 && send_bytes(play, MEM, bytes, 1, NULL, 0)) {
        sent++;
        pause_ms(patience(REQUEST_MS) / 25);
    }
    play->why[0] = '\0';
    return closes(play) && obeys(play);
}

void cases_blocks(struct round *round)
{
    static const uint8_t types[] = { READ_BLOCK, WRITE_BLOCK };

    if (round_has_features(round)) {
        for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
            block_case(round, lies[i].asked, "block: ", lies[i].name,
                       lying_block, &lies[i]);
        }
        round_case(round, "block: ", "descriptor inside",
                   descriptor_in_a_block, NULL);
        round_case(round, "block: ", "two", two_blocks, NULL);
        round_case(round, "block: ", "odd but allowed", odd_blocks, NULL);
        every_cut(round);
        round_case(round, "block: ", "never reads", never_reads_blocks, NULL);
        round_case(round, "block: ", "leaves", leaves_a_response, NULL);
        round_case(round, "block: ", "trickles", trickles_a_block, NULL);
        block_case(round, true, "block: ", "past the deadline",
                   a_block_past_the_deadline, NULL);
        if (!round_asks_blocks(round)) {
            round_case(round, "block: ", "words are asked for",
                       asks_for_words, NULL);
        }
    }
    for (size_t i = 0; i < sizeof(types); i++) {
        round_case(round, "block: ", "not agreed on", not_agreed, &types[i]);
    }
}
