/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Peers that send too much, too slowly, or nothing at all.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "hostile.h"

/* --- descriptors --------------------------------------------------------- */

enum { DESCRIPTORS = 10000, AT_ONCE = 250 };

/* As many as can be in flight: what the target does not close, we wait for. */
static bool send_many(struct play *play, const void *at, size_t count,
                      unsigned *sent)
{
    int fds[AT_ONCE], fd = shared_memory(PAGE, true);
    bool ok = fd >= 0;

    for (unsigned i = 0; i < AT_ONCE; i++) {
        fds[i] = fd;
    }
    while (ok && *sent < DESCRIPTORS) {
        ok = send_bytes(play, MEM, at, count, fds, AT_ONCE);
        *sent += ok ? AT_ONCE : 0;
    }
    close(fd);
    return ok;
}

/* With every byte, and again after each time that the target closes. */
static bool descriptors_with_bytes(struct play *play, const void *what)
{
    unsigned sent = 0;

    (void)what;
    while (sent < DESCRIPTORS) {
        if (!play_settle(play)) {
            return false;
        }
        if (send_many(play, "\x0f", 1, &sent)) {
            break;
        }
        play->why[0] = '\0';
        if (!closes(play)) {
            return false;
        }
        play_close(play);
    }
    return closes(play);
}

static bool descriptors_with_reads(struct play *play, const void *what)
{
    struct message message;
    unsigned sent = 0;

    (void)what;
    if (!play_settle(play)) {
        return false;
    }
    message = say_read(own(play, ACCESS), REGISTERS, 8);
    send_many(play, message.at, message.count, &sent);
    play->why[0] = '\0';
    return closes(play);
}

/* Ten thousand that are in order, each with a share that is declined. */
static bool descriptors_in_order(struct play *play, const void *what)
{
    const struct share share = { 1, OURS, 0, UINT64_C(1) << 40, 0, 0 };
    int fd = shared_memory(PAGE, true);
    bool ok = play_settle(play) &&
              target_tell(play->target, "dump 0x%x %u /dev/null", OURS,
                          8 * DESCRIPTORS);
    uint64_t at = OURS;

    (void)what;
    for (unsigned i = 0; ok && i < DESCRIPTORS; i++, at += 8) {
        ok = take_header(play, MEM, 15, READ, peers(play, ACCESS)) &&
             send_with(play, say_read_ret(peers(play, ACCESS), 0, 0, &share),
                       dup(fd));
    }
    close(fd);
    return ok && maps_ranges(play, 0) && serves(play);
}

/* --- peers that do not read, or not fast --------------------------------- */

static void fill(struct play *play, int which, struct message message,
                 unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        struct pollfd ready = { .fd = play->fd[which], .events = POLLOUT };

        if (send(play->fd[which], message.at, message.count,
                 MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
            if (errno != EAGAIN || poll(&ready, 1, 200) <= 0 ||
                (ready.revents & (POLLERR | POLLHUP))) {
                return;
            }
        }
    }
}

static bool obeys(struct play *play)
{
    return target_sync(play->target) ||
           failed(play, "the target obeys no more");
}

static bool never_reads_answers(struct play *play, const void *what)
{
    (void)what;
    if (!play_settle(play)) {
        return false;
    }
    fill(play, MEM, say_read(own(play, ACCESS), RAM, 8), 5000);
    return obeys(play);
}

static bool never_reads_acknowledgements(struct play *play, const void *what)
{
    (void)what;
    if (!play_settle(play)) {
        return false;
    }
    fill(play, MEM, say_inv(own(play, INVALIDATION), 0, PAGE), 5000);
    return obeys(play);
}

/* Interrupts are dropped then, never waited for. */
static bool never_reads_interrupts(struct play *play, const void *what)
{
    (void)what;
    if (!play_settle(play)) {
        return false;
    }
    for (unsigned i = 0; i < 60; i++) {
        if (!target_tell(play->target, "intr 1;intr 2;intr 3;intr 4;intr 5;"
                         "intr 6;intr 7;intr 8;intr 9;intr 10") ||
            !obeys(play)) {
            return false;
        }
    }
    return serves(play);
}

static bool never_answers(struct play *play, const void *what)
{
    bool (*asked)(struct play *, uint64_t) =
        *(const int *)what == READ ? asked_read : asked_write;

    return play_settle(play) && asked(play, OURS) && closes(play) &&
           obeys(play);
}

static bool never_acknowledges(struct play *play, const void *what)
{
    (void)what;
    return play_settle(play) && asked_invalidate(play) && closes(play) &&
           obeys(play);
}

/* Links, and not a word: nobody waits for it. */
static bool says_nothing(struct play *play, const void *what)
{
    (void)what;
    return play_open(play) && obeys(play);
}

/* A byte at a time, with a pause before each. */
static bool trickle(struct play *play, int which, struct message message,
                    int fd)
{
    bool ok = true;

    for (size_t i = 0; ok && i < message.count; i++) {
        pause_ms(10);
        ok = send_bytes(play, which, message.at + i, 1, &fd,
                        i == 0 && fd >= 0);
    }
    return ok;
}

static bool reads_slowly(struct play *play, size_t count)
{
    struct message message;

    for (size_t i = 0; i < count; i++) {
        pause_ms(10);
        if (!take(play, MEM, 1, &message, NULL)) {
            return false;
        }
    }
    return true;
}

static bool a_byte_at_a_time(struct play *play, const void *what)
{
    const struct share share = { 1, OURS, 0, PAGE, 0, 0 };
    int fd = shared_memory(PAGE, true);
    bool ok = play_settle(play) &&
              trickle(play, MEM, say_read(own(play, ACCESS), REGISTERS, 8),
                      -1) &&
              reads_slowly(play, 45) && obeys(play) &&
              asked_read(play, OURS) &&
              trickle(play, MEM, say_read_ret(peers(play, ACCESS), 0, 7,
                                              &share), fd) &&
              answers(play, "0x0000000000000007") && maps_ranges(play, 1) &&
              trickle(play, MEM, say_inv(own(play, INVALIDATION), OURS, 1),
                      -1) &&
              reads_slowly(play, 6) && maps_ranges(play, 0) &&
              trickle(play, INTR, say_interrupt(9), -1) && obeys(play);

    (void)what;
    close(fd);
    return ok;
}

/* So slowly that the deadline comes first. */
static bool too_slowly(struct play *play, const void *what)
{
    struct message message;
    unsigned sent = 0;

    (void)what;
    if (!play_settle(play) || !asked_read(play, OURS)) {
        return false;
    }
    message = say_read_ret(peers(play, ACCESS), 0, 7, NULL);
    while (sent < message.count - 1 &&
           send_bytes(play, MEM, message.at + sent, 1, NULL, 0)) {
        sent++;
        pause_ms(patience(REQUEST_MS) / 25);
    }
    play->why[0] = '\0';
    return closes(play);
}

/* --- floods -------------------------------------------------------------- */

static bool floods_interrupts(struct play *play, const void *what)
{
    (void)what;
    if (!play_settle(play)) {
        return false;
    }
    for (unsigned i = 0; i < 10; i++) {
        fill(play, INTR, say_interrupt(i), 2000);
        if (!serves(play) || !obeys(play)) {
            return false;
        }
    }
    return true;
}

/* The library keeps to 100 lines in 10 s, and says how many it left out. */
static bool fills_the_log(struct play *play, const void *what)
{
    enum { TIMES = 150, LINES = 100, PERIOD = 10000 };
    off_t log = target_log_end(play->target);
    int64_t began = now_ms();
    unsigned lines, periods;

    (void)what;
    for (unsigned i = 0; i < TIMES; i++) {
        if (!play_settle(play) ||
            !send_message(play, MEM, header(HEADER, 7, 0)) || !closes(play)) {
            return false;
        }
        play_close(play);
    }
    lines = target_logged(play->target, log, "");
    periods = 2 + (unsigned)((now_ms() - began) / PERIOD);
    return lines <= periods * (LINES + 1) ||
           failed(play, "%u lines in the log in %u periods", lines, periods);
}

static bool noise(struct play *play, const void *what)
{
    static uint8_t bytes[65536];
    unsigned state = *(const unsigned *)what;

    for (size_t i = 0; i < sizeof(bytes); i++) {
        state = state * 1103515245 + 12345;
        bytes[i] = (uint8_t)(state >> 16);
    }
    if (!play_open(play)) {
        return false;
    }
    send_bytes(play, (int)(*(const unsigned *)what % LINKS), bytes,
               sizeof(bytes), NULL, 0);
    play->why[0] = '\0';
    return closes(play);
}

/* --- halves -------------------------------------------------------------- */

/* Many first halves that never get a second. */
static bool lone_halves(struct play *play, const void *what)
{
    int which = *(const int *)what, fds[64];
    unsigned count = 0;

    for (unsigned i = 0; i < 64; i++) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
                        0);

        strcpy(address.sun_path, play->target->path[which]);
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
            fds[count++] = fd;
        } else {
            close(fd);
        }
    }
    while (count > 0) {
        close(fds[--count]);
    }
    return obeys(play);
}

/* One link ends: the other does too. */
static bool loses_one(struct play *play, const void *what)
{
    int which = *(const int *)what;
    bool ok;

    if (!play_settle(play)) {
        return false;
    }
    close(play->fd[which]);
    play->fd[which] = dup(play->fd[!which]);
    ok = closes(play);
    return ok;
}

static bool half_closes(struct play *play, const void *what)
{
    int which = *(const int *)what;

    return play_settle(play) && shutdown(play->fd[which], SHUT_WR) == 0 &&
           closes(play);
}

/*
 * Another peer comes while this one is there: it is sent away.  A virtual
 * machine does not even take it.
 */
static bool second_peer(struct play *play, const void *what)
{
    struct play other = { .target = play->target, .fd = { -1, -1 } };
    bool ok;

    (void)what;
    ok = play_settle(play) && play_open(&other) &&
         (play->target->vm || closes(&other)) && serves(play);
    play_close(&other);
    return ok;
}

static const int which[LINKS] = { MEM, INTR };
static const int access_types[] = { READ, WRITE };
static const unsigned seeds[] = { 1, 2, 3, 4, 5, 6 };

static void silences(struct round *round)
{
    round_case(round, "never reads: ", "answers", never_reads_answers, NULL);
    round_case(round, "never reads: ", "acknowledgements",
               never_reads_acknowledgements, NULL);
    round_case(round, "never reads: ", "interrupts", never_reads_interrupts,
               NULL);
    round_case(round, "never answers: ", "READ", never_answers,
               &access_types[0]);
    round_case(round, "never answers: ", "WRITE", never_answers,
               &access_types[1]);
    round_case(round, "never answers: ", "REG_INV", never_acknowledges, NULL);
    round_case(round, "says ", "nothing", says_nothing, NULL);
    round_case(round, "slowly: ", "a byte at a time", a_byte_at_a_time, NULL);
    round_case(round, "slowly: ", "past the deadline", too_slowly, NULL);
}

void cases_load(struct round *round)
{
    round_case(round, "10,000 descriptors: ", "with bytes",
               descriptors_with_bytes, NULL);
    round_case(round, "10,000 descriptors: ", "with accesses",
               descriptors_with_reads, NULL);
    round_case(round, "10,000 descriptors: ", "in order",
               descriptors_in_order, NULL);
    silences(round);
    round_case(round, "floods ", "interrupts", floods_interrupts, NULL);
    round_case(round, "floods ", "the log", fills_the_log, NULL);
    for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++) {
        round_case(round, "noise: ", "64 KiB", noise, &seeds[i]);
    }
    for (int i = 0; i < LINKS; i++) {
        round_case(round, "one link: ", "ends", loses_one, &which[i]);
        round_case(round, "one link: ", "is half closed", half_closes,
                   &which[i]);
        if (round_listens(round)) {
            round_case(round, "one link: ", "64 times, never the other",
                       lone_halves, &which[i]);
        }
    }
    if (round_listens(round)) {
        round_case(round, "two peers: ", "the second goes", second_peer,
                   NULL);
    }
}
