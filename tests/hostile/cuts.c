/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Peers that die at every byte of every message, of those that they send and
 * of those that they receive.
 */
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "hostile.h"

/* How a message comes to be on a link. */
struct act {
    const char *name;
    int which;
    bool receives;              /* it is the target's */
    size_t size;
    bool (*prepare)(struct play *play);
    struct message (*message)(struct play *play);
    bool with_descriptor;
};

struct cut {
    const struct act *act;
    size_t bytes;               /* and then it dies */
};

static bool open_only(struct play *play)
{
    return play_open(play);
}

static bool read_asked(struct play *play)
{
    return play_settle(play) && asked_read(play, OURS);
}

static bool write_asked(struct play *play)
{
    return play_settle(play) && asked_write(play, OURS);
}

static bool invalidate_asked(struct play *play)
{
    return play_settle(play) && asked_invalidate(play);
}

/* --- messages that it sends ---------------------------------------------- */

static struct message hello(struct play *play)
{
    struct greeting greeting = good_greeting(play->pair);

    greeting.subpriority = play->target->listens ? 2 : 0;
    return say_hello(play->target->listens ? HELLO : HELLO_RET, &greeting);
}

static struct message a_read(struct play *play)
{
    return say_read(own(play, ACCESS), RAM, 8);
}

static struct message a_write(struct play *play)
{
    return say_write(own(play, ACCESS), RAM, 1, 8);
}

static struct message an_invalidation(struct play *play)
{
    return say_inv(own(play, INVALIDATION), OURS, PAGE);
}

static struct message an_acknowledgement(struct play *play)
{
    return say_inv_ret(peers(play, INVALIDATION));
}

static struct message an_interrupt(struct play *play)
{
    (void)play;
    return say_interrupt(1);
}

static const struct share share = { 1, OURS, 0, PAGE, 0, 0 };

static struct message a_value(struct play *play)
{
    return say_read_ret(peers(play, ACCESS), 0, 0, NULL);
}

static struct message a_value_with_share(struct play *play)
{
    return say_read_ret(peers(play, ACCESS), 0, 0, &share);
}

static struct message written_with_share(struct play *play)
{
    return say_write_ret(peers(play, ACCESS), 0, &share);
}

/* --- messages that it receives ------------------------------------------- */

static bool will_answer(struct play *play)
{
    return play_settle(play) && send_message(play, MEM, a_read(play));
}

static bool will_answer_write(struct play *play)
{
    return play_settle(play) && send_message(play, MEM, a_write(play));
}

static bool will_acknowledge(struct play *play)
{
    return play_settle(play) && send_message(play, MEM,
                                             an_invalidation(play));
}

static bool will_greet(struct play *play)
{
    struct greeting greeting;

    if (!play_open(play)) {
        return false;
    }
    greeting = good_greeting(play->pair);
    return send_message(play, INTR, say_hello(HELLO, &greeting)) &&
           send_message(play, MEM, say_hello(HELLO, &greeting));
}

static bool will_read(struct play *play)
{
    return play_settle(play) && target_tell(play->target, "read 0x%x", OURS);
}

static bool will_write(struct play *play)
{
    return play_settle(play) &&
           target_tell(play->target, "write 0x%x 1", OURS);
}

static bool will_interrupt(struct play *play)
{
    return play_settle(play) && target_tell(play->target, "intr 5");
}

static bool will_invalidate(struct play *play)
{
    struct message message;
    int fd;

    if (!play_settle(play) ||
        !target_tell(play->target, "map 0x%x:0x1000", BORROWED) ||
        !target_sync(play->target) ||
        !send_message(play, MEM, say_write(own(play, ACCESS), BORROWED, 0,
                                           8)) ||
        !take(play, MEM, 37, &message, &fd)) {
        return failed(play, "no memory to be borrowed");
    }
    close(fd);
    return target_tell(play->target, "unmap 0x%x", BORROWED);
}

static const struct act acts[] = {
    { "hello", MEM, false, 86, open_only, hello, false },
    { "READ", MEM, false, 15, play_settle, a_read, false },
    { "WRITE", MEM, false, 23, play_settle, a_write, false },
    { "REG_INV", MEM, false, 22, play_settle, an_invalidation, false },
    { "INTR", INTR, false, 142, play_settle, an_interrupt, false },
    { "READ_RET", MEM, false, 45, read_asked, a_value, false },
    { "READ_RET with a share", MEM, false, 45, read_asked,
      a_value_with_share, true },
    { "WRITE_RET with a share", MEM, false, 37, write_asked,
      written_with_share, true },
    { "REG_INV_RET", MEM, false, 6, invalidate_asked, an_acknowledgement,
      false },
    { "READ_RET received", MEM, true, 45, will_answer, NULL, false },
    { "WRITE_RET received", MEM, true, 37, will_answer_write, NULL, false },
    { "REG_INV_RET received", MEM, true, 6, will_acknowledge, NULL, false },
    { "READ received", MEM, true, 15, will_read, NULL, false },
    { "WRITE received", MEM, true, 23, will_write, NULL, false },
    { "REG_INV received", MEM, true, 22, will_invalidate, NULL, false },
    { "INTR received", INTR, true, 142, will_interrupt, NULL, false },
};

/* Only from a target that listens, and one that connects has said it. */
static const struct act greeted = {
    "HELLO_RET received", MEM, true, 86, will_greet, NULL, false
};
static const struct act greeting_sent = {
    "HELLO on interrupts", INTR, false, 86, open_only, hello, false
};

static bool send_part(struct play *play, const struct cut *cut)
{
    const struct act *act = cut->act;
    struct message message = act->message(play);
    int fd = act->with_descriptor ? shared_memory(PAGE, true) : -1;
    bool ok = cut->bytes == 0 ||
              send_bytes(play, act->which, message.at, cut->bytes, &fd,
                         fd >= 0);

    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

static bool take_part(struct play *play, const struct cut *cut)
{
    struct message message;
    struct pollfd ready = { .fd = play->fd[cut->act->which],
                            .events = POLLIN };
    int fd = -1;
    bool ok = poll(&ready, 1, patience(PATIENCE)) > 0 &&
              take(play, cut->act->which, cut->bytes, &message, &fd);

    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

static bool cut_off(struct play *play, const void *what)
{
    const struct cut *cut = what;

    return cut->act->prepare(play) &&
           (cut->act->receives ? take_part(play, cut) : send_part(play, cut));
}

static void cut_everywhere(struct round *round, const struct act *act)
{
    for (size_t bytes = 0; bytes <= act->size; bytes++) {
        struct cut cut = { act, bytes };
        char name[64];

        snprintf(name, sizeof(name), "%zu of %s", bytes, act->name);
        round_case(round, "dies after ", name, cut_off, &cut);
    }
}

void cases_cuts(struct round *round)
{
    for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
        cut_everywhere(round, &acts[i]);
    }
    if (round_listens(round)) {
        cut_everywhere(round, &greeted);
        cut_everywhere(round, &greeting_sent);
    }
}
