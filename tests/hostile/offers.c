/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Offers that lie, stop in the middle, do not end, or are too many (section
 * 9), to a target with push=on.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hostile.h"

enum { OFFERS = 10000, RANGES = 10 };

static bool settle(struct play *play)
{
    play->hello = true;
    play->features = PUSH;
    return play_settle(play);
}

static bool end_offers(struct play *play)
{
    return send_message(play, MEM, say_offer(NULL));
}

static bool obeys(struct play *play)
{
    return target_sync(play->target) ||
           failed(play, "the target obeys no more");
}

/* --- lies ---------------------------------------------------------------- */

struct lie {
    const char *name;
    struct share share;
    uint32_t size;              /* of the message */
    unsigned descriptors;
    bool invalidates;           /* behind a REG_INV */
    uint64_t features;
};

static const struct lie lies[] = {
    { "not agreed on", { 1, OURS, 0, PAGE, 0, 0 }, 33, 1, false, BLOCKS },
    { "end, not agreed on", { 0 }, 33, 0, false, BLOCKS },
    { "while a REG_INV is unanswered", { 1, OURS, 0, PAGE, 0, 0 }, 33, 1,
      true, PUSH },
    { "end while a REG_INV is unanswered", { 0 }, 33, 0, true, PUSH },
    { "past 2^64", { 1, UINT64_MAX - PAGE + 1, 0, 2 * PAGE, 0, 0 }, 33, 1,
      false, PUSH },
    { "past 2^64 by all", { 1, UINT64_MAX, 0, UINT64_MAX, 0, 0 }, 33, 1,
      false, PUSH },
    { "without descriptor", { 1, OURS, 0, PAGE, 0, 0 }, 33, 0, false, PUSH },
    { "with two", { 1, OURS, 0, PAGE, 0, 0 }, 33, 2, false, PUSH },
    { "end with one", { 0 }, 33, 1, false, PUSH },
    { "of kind 2", { 2, OURS, 0, PAGE, 0, 0 }, 33, 1, false, PUSH },
    { "of kind 255", { 255, OURS, 0, PAGE, 0, 0 }, 33, 0, false, PUSH },
    { "too short", { 0 }, 32, 0, false, PUSH },
    { "too long", { 0 }, 34, 0, false, PUSH },
    { "of 4 GiB", { 0 }, 0xffffffff, 0, false, PUSH },
};

static struct message put_lie(const struct lie *lie)
{
    struct message message = say_offer(&lie->share);
    struct message head = header(lie->size, OFFER, 0);

    memcpy(message.at, head.at, HEADER);
    return message;
}

/* What the log leaves out has been accounted for with other violations. */
static bool names(struct play *play, const struct message *message, off_t log)
{
    unsigned unnamed = play->target->unnamed;
    bool ok = is_named(play, message, log);

    play->target->unnamed = unnamed;
    return ok;
}

static bool lying_offer(struct play *play, const void *what)
{
    const struct lie *lie = what;
    off_t log = target_log_end(play->target);
    struct message message = put_lie(lie), both = { .count = 0 };
    int fd, fds[2];
    bool ok;

    play->hello = true;
    play->features = lie->features;
    if (!play_settle(play)) {
        return false;
    }
    if (lie->invalidates) {
        both = say_inv(own(play, INVALIDATION), 0, 1);
    }
    memcpy(both.at + both.count, message.at, message.count);
    both.count += message.count;
    fd = shared_memory(PAGE, true);
    fds[0] = fds[1] = fd;
    ok = send_bytes(play, MEM, both.at, both.count, fds, lie->descriptors);
    close(fd);
    return ok && closes(play) && names(play, &message, log) && obeys(play);
}

/* Of no use, but no violation; each is closed, and none is mapped. */
static bool odd_offers(struct play *play, const void *what)
{
    static const struct share shares[] = {
        { 1, OURS, 0, 0, 0, 0 }, { 1, UINT64_MAX, 0, 0, 0, 0 },
        { 1, OURS, 0, 2 * PAGE, 0, 0 }, { 1, OURS + 1, 0, PAGE, 0, 0 },
        { 1, OURS, UINT64_MAX - PAGE + 1, PAGE, 0, 0 },
        { 1, OURS, 0, PAGE - 1, 1, 1 },
    };

    (void)what;
    if (!settle(play)) {
        return false;
    }
    for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
        if (!send_with(play, say_offer(&shares[i]),
                       shared_memory(PAGE, true))) {
            return false;
        }
    }
    return end_offers(play) && serves(play) && maps_ranges(play, 0);
}

/* --- what does not end, or is too much ----------------------------------- */

/* An access waits for the end, within its deadline. */
static bool offers_without_end(struct play *play, const void *what)
{
    const struct share share = { 1, OURS, 0, PAGE, 0, 0 };
    const char *word = play->target->vm ? "all ones" :
                                          "did not answer in time";
    off_t log = target_log_end(play->target);

    (void)what;
    return settle(play) &&
           send_with(play, say_offer(&share), shared_memory(PAGE, true)) &&
           serves(play) &&
           (target_tell(play->target, "read 0x%x", OURS) ||
            failed(play, "the target does not obey")) &&
           closes(play) && obeys(play) &&
           (target_logged(play->target, log, word) ||
            failed(play, "the read does not fail"));
}

/* Ranges that are the same again and again: all in one run, and no more. */
static bool floods_offers(struct play *play, const void *what)
{
    int fd = shared_memory(PAGE, true);
    bool ok = settle(play);

    (void)what;
    for (unsigned i = 0; ok && i < OFFERS; i++) {
        const struct share share = { 1, OURS + i % RANGES * 0x10000, 0, PAGE,
                                     0, 0 };

        ok = send_with(play, say_offer(&share), dup(fd)) &&
             (i % 100 != 99 || serves(play));
    }
    close(fd);
    return ok && end_offers(play) && serves(play) &&
           maps_ranges(play, RANGES) && serves(play);
}

/*
 * Different ones: the limit holds.  A machine maps them in one step, for which
 * QEMU compares all its memory with each other for each.
 */
static bool floods_ranges(struct play *play, const void *what)
{
    int fd = shared_memory(PAGE, true);
    bool ok = settle(play);

    (void)what;
    for (unsigned i = 0; ok && i < 2000; i++) {
        const struct share share = { 1, OURS + i * 0x10000ull, 0, PAGE, 0,
                                     0 };

        ok = send_with(play, say_offer(&share), dup(fd)) &&
             (i % 100 != 99 || serves(play));
    }
    close(fd);
    return ok && end_offers(play) && serves(play) &&
           maps_ranges(play, most_ranges(play));
}

static bool floods_ends(struct play *play, const void *what)
{
    bool ok = settle(play);

    (void)what;
    for (unsigned i = 0; ok && i < OFFERS; i++) {
        ok = end_offers(play);
    }
    return ok && serves(play) && obeys(play);
}

/* Takes back what it offers, before it ends, time and again. */
static bool offers_and_withdraws(struct play *play, const void *what)
{
    const struct share share = { 1, OURS, 0, PAGE, 0, 0 };
    bool ok = settle(play);

    (void)what;
    for (unsigned i = 0; ok && i < 200; i++) {
        ok = send_with(play, say_offer(&share), shared_memory(PAGE, true)) &&
             (i % 3 != 0 || end_offers(play)) &&
             send_message(play, MEM, say_inv(own(play, INVALIDATION), OURS,
                                             PAGE)) &&
             take_header(play, MEM, 6, INV_RET, own(play, INVALIDATION));
    }
    return ok && end_offers(play) && serves(play) && maps_ranges(play, 0);
}

/* --- a peer that dies ---------------------------------------------------- */

static bool cut_offer(struct play *play, const void *what)
{
    const struct share share = { 1, OURS, 0, PAGE, 0, 0 };
    struct message message = say_offer(&share);
    size_t count = *(const size_t *)what;
    int fd = shared_memory(PAGE, true);
    bool ok = settle(play) &&
              send_bytes(play, MEM, message.at, message.count, &fd, 1) &&
              (count == 0 || send_bytes(play, MEM, message.at, count, &fd,
                                        1));

    close(fd);
    return ok;
}

void cases_offers(struct round *round)
{
    if (!round_has_features(round)) {
        return;
    }
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        round_case(round, "offer: ", lies[i].name, lying_offer, &lies[i]);
    }
    round_case(round, "offer: ", "odd but allowed", odd_offers, NULL);
    round_case(round, "offer: ", "no end", offers_without_end, NULL);
    round_case(round, "offer: ", "10,000 of them", floods_offers, NULL);
    round_case(round, "offer: ", "2,000 ranges", floods_ranges, NULL);
    round_case(round, "offer: ", "10,000 ends", floods_ends, NULL);
    round_case(round, "offer: ", "withdrawn", offers_and_withdraws, NULL);
    for (size_t at = 0; at <= 33; at++) {
        round_case(round, "cut off: ", "OFFER", cut_offer, &at);
    }
}
