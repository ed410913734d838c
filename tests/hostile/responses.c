/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Answers out of turn, and more requests than may be unanswered (section 3).
 */
#include <string.h>

#include "hostile.h"

static bool send_mem(struct play *play, struct message message)
{
    return send_message(play, MEM, message);
}

static struct message read_ret(struct play *play)
{
    return say_read_ret(peers(play, ACCESS), 0, 0, NULL);
}

static struct message write_ret(struct play *play)
{
    return say_write_ret(peers(play, ACCESS), 0, NULL);
}

static struct message inv_ret(struct play *play)
{
    return say_inv_ret(peers(play, INVALIDATION));
}

static struct message response_of(struct play *play, uint8_t type)
{
    return type == READ_RET ? read_ret(play) :
           type == WRITE_RET ? write_ret(play) : inv_ret(play);
}

static bool unasked(struct play *play, const void *what)
{
    return play_settle(play) &&
           send_mem(play, response_of(play, *(const uint8_t *)what)) &&
           closes(play);
}

/* As the very first message. */
static bool first(struct play *play, const void *what)
{
    return play_open(play) &&
           send_mem(play, response_of(play, *(const uint8_t *)what)) &&
           closes(play);
}

static bool after_read(struct play *play, const void *what)
{
    return play_settle(play) && asked_read(play, OURS) &&
           send_mem(play, response_of(play, *(const uint8_t *)what)) &&
           closes(play);
}

static bool after_write(struct play *play, const void *what)
{
    return play_settle(play) && asked_write(play, OURS) &&
           send_mem(play, response_of(play, *(const uint8_t *)what)) &&
           closes(play);
}

static bool after_invalidate(struct play *play, const void *what)
{
    return play_settle(play) && asked_invalidate(play) &&
           send_mem(play, response_of(play, *(const uint8_t *)what)) &&
           closes(play);
}

static bool twice(struct play *play, const void *what)
{
    uint8_t type = *(const uint8_t *)what;
    struct message message;

    if (!play_settle(play) ||
        !(type == READ_RET ? asked_read(play, OURS) :
          type == WRITE_RET ? asked_write(play, OURS) :
          asked_invalidate(play))) {
        return false;
    }
    message = response_of(play, type);
    memcpy(message.at + message.count, message.at, message.count);
    message.count *= 2;
    return send_mem(play, message) && closes(play);
}

/* In place of an answer, the same question. */
static bool echoes(struct play *play, const void *what)
{
    struct message message;

    (void)what;
    return play_settle(play) && asked_read(play, OURS) &&
           send_mem(play, say_read(peers(play, ACCESS), OURS, 8)) &&
           closes(play) &&
           (memset(&message, 0, sizeof(message)), true);
}

/* During a change of the target's memory accesses are kept, but only one. */
static bool too_many_accesses(struct play *play, const void *what)
{
    (void)what;
    return play_settle(play) && asked_invalidate(play) &&
           send_mem(play, say_read(own(play, ACCESS), REGISTERS, 8)) &&
           send_mem(play, say_write(own(play, ACCESS), REGISTERS, 1, 8)) &&
           closes(play);
}

/* An invalidation that the target's own beats is kept. */
static bool too_many_invalidations(struct play *play, const void *what)
{
    (void)what;
    return play_settle(play) && asked_invalidate(play) &&
           send_mem(play, say_inv(own(play, INVALIDATION), 0, PAGE)) &&
           send_mem(play, say_inv(own(play, INVALIDATION), PAGE, PAGE)) &&
           closes(play);
}

/* One kept is answered in the end. */
static bool kept(struct play *play, const void *what)
{
    (void)what;
    return play_settle(play) && asked_invalidate(play) &&
           send_mem(play, say_read(own(play, ACCESS), REGISTERS, 8)) &&
           send_mem(play, inv_ret(play)) &&
           take_header(play, MEM, 45, READ_RET, own(play, ACCESS));
}

/* Many at once: how far it gets is the target's affair. */
static bool in_one_piece(struct play *play, const void *what)
{
    struct message one = say_read(own(play, ACCESS), REGISTERS, 8);
    uint8_t many[100 * 15];

    (void)what;
    if (!play_settle(play)) {
        return false;
    }
    one = say_read(own(play, ACCESS), REGISTERS, 8);
    for (unsigned i = 0; i < 100; i++) {
        memcpy(many + i * one.count, one.at, one.count);
    }
    return send_bytes(play, MEM, many, sizeof(many), NULL, 0);
}

void cases_responses(struct round *round)
{
    static const uint8_t read_type = READ_RET, write_type = WRITE_RET,
                         inv_type = INV_RET;
    static const uint8_t *const types[] = { &read_type, &write_type,
                                            &inv_type };
    static const char *const names[] = { "READ_RET", "WRITE_RET",
                                         "REG_INV_RET" };

    for (unsigned i = 0; i < 3; i++) {
        round_case(round, "out of turn: unasked ", names[i], unasked,
                   types[i]);
        round_case(round, "out of turn: first ", names[i], first, types[i]);
        round_case(round, "out of turn: twice ", names[i], twice, types[i]);
        if (types[i] != &read_type) {
            round_case(round, "out of turn: after READ ", names[i],
                       after_read, types[i]);
        }
        if (types[i] != &write_type) {
            round_case(round, "out of turn: after WRITE ", names[i],
                       after_write, types[i]);
        }
        if (types[i] != &inv_type) {
            round_case(round, "out of turn: after REG_INV ", names[i],
                       after_invalidate, types[i]);
        }
    }
    round_case(round, "out of turn: ", "echo", echoes, NULL);
    round_case(round, "too many: ", "accesses", too_many_accesses, NULL);
    if (round_listens(round)) {
        round_case(round, "too many: ", "invalidations",
                   too_many_invalidations, NULL);
    }
    round_case(round, "kept: ", "an access", kept, NULL);
    round_case(round, "kept: ", "a hundred in one piece", in_one_piece, NULL);
}
