/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What peers do, hostile or not: come, say hello, ask, answer, leave.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "hostile.h"

bool failed(struct play *play, const char *format, ...)
{
    va_list args;

    if (!play->why[0]) {        /* what came first counts */
        va_start(args, format);
        vsnprintf(play->why, sizeof(play->why), format, args);
        va_end(args);
    }
    return false;
}

int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void pause_ms(int ms)
{
    poll(NULL, 0, ms);
}

int patience(int ms)
{
    const char *slow = getenv("CK_TIMEOUT_MULTIPLIER");

    return slow && atoi(slow) > 0 ? ms * atoi(slow) : ms;
}

uint8_t own(const struct play *play, unsigned class)
{
    return (uint8_t)(2 * class + play->mine);
}

uint8_t peers(const struct play *play, unsigned class)
{
    return (uint8_t)(2 * class + play->theirs);
}

/* --- links --------------------------------------------------------------- */

static int connect_to(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(address.sun_path, path);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool has_ended(int fd)
{
    struct pollfd ready = { .fd = fd, .events = POLLRDHUP };

    return poll(&ready, 1, 0) > 0 && (ready.revents & (POLLRDHUP | POLLHUP));
}

/* Connections of before that nobody took. */
static void drop_stale(struct target *target)
{
    for (int which = 0; which < LINKS; which++) {
        int fd;

        while ((fd = accept4(target->listener[which], NULL, NULL,
                             SOCK_CLOEXEC)) >= 0) {
            close(fd);
        }
    }
}

static int accept_from(int listener)
{
    struct pollfd ready = { .fd = listener, .events = POLLIN };

    if (poll(&ready, 1, patience(PATIENCE)) <= 0) {
        return -1;
    }
    return accept4(listener, NULL, NULL, SOCK_CLOEXEC);
}

static bool accept_pair(struct play *play)
{
    struct target *target = play->target;

    do {
        play_close(play);
        for (int which = 0; which < LINKS; which++) {
            play->fd[which] = accept_from(target->listener[which]);
            if (play->fd[which] < 0) {
                return failed(play, "the target does not connect");
            }
        }
    } while (has_ended(play->fd[MEM]) || has_ended(play->fd[INTR]));
    return true;
}

/* It hesitates longer and longer otherwise. */
static bool await_connection(struct play *play)
{
    struct target *target = play->target;

    if (!play->retries) {
        if (!target_tell(target, "disable") || !target_sync(target)) {
            return failed(play, "the target does not obey");
        }
        drop_stale(target);
        if (!target_tell(target, "enable")) {
            return failed(play, "the target does not obey");
        }
    }
    return accept_pair(play);
}

static bool connect_pair(struct play *play)
{
    play_close(play);
    for (int which = 0; which < LINKS; which++) {
        play->fd[which] = connect_to(play->target->path[which]);
        if (play->fd[which] < 0) {
            return failed(play, "cannot connect: %s", strerror(errno));
        }
    }
    return true;
}

void play_close(struct play *play)
{
    for (int which = 0; which < LINKS; which++) {
        if (play->fd[which] >= 0) {
            close(play->fd[which]);
            play->fd[which] = -1;
        }
    }
}

/* The greetings of a target that connects: on both links, with one id. */
static bool take_greetings(struct play *play)
{
    struct message message;

    if (!take(play, INTR, 86, &message, NULL) || message.at[4] != HELLO) {
        return failed(play, "no HELLO on the interrupt link");
    }
    play->pair = number(&message, HEADER + 40, 8);
    play->offered = number(&message, HEADER + 8, 8);
    return take_header(play, MEM, 86, HELLO, 0);
}

unsigned most_ranges(const struct play *play)
{
    return play->target->vm ? 256 : 1024;
}

bool play_open(struct play *play)
{
    play->mine = play->target->listens;
    play->theirs = !play->mine;
    if (play->target->listens) {
        play->pair = 0x1234567;
        return connect_pair(play);
    }
    return await_connection(play) && take_greetings(play);
}

/* --- bytes --------------------------------------------------------------- */

bool send_bytes(struct play *play, int which, const void *at, size_t count,
                const int *fds, size_t fd_count)
{
    struct iovec part = { .iov_base = (void *)(uintptr_t)at,
                          .iov_len = count };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * 256)];
    } control;

    if (fd_count > 0) {
        struct cmsghdr *head;

        memset(&control, 0, sizeof(control));
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(head), fds, sizeof(int) * fd_count);
    }
    if (sendmsg(play->fd[which], &message, MSG_NOSIGNAL) != (ssize_t)count) {
        return failed(play, "cannot send: %s", strerror(errno));
    }
    return true;
}

bool send_message(struct play *play, int which, struct message message)
{
    return send_bytes(play, which, message.at, message.count, NULL, 0);
}

bool send_with(struct play *play, struct message message, int fd)
{
    bool ok = fd >= 0 && send_bytes(play, MEM, message.at, message.count, &fd,
                                    1);

    if (fd >= 0) {
        close(fd);
    }
    return ok || failed(play, "no descriptor to send");
}

/* Once: as recv(2), with the descriptor that came, or -1. */
static ssize_t receive(int socket, void *at, size_t count, int *fd)
{
    struct iovec part = { .iov_base = at, .iov_len = count };
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1,
        .msg_control = control.bytes, .msg_controllen = sizeof(control),
    };
    struct cmsghdr *head;
    ssize_t got = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    *fd = -1;
    head = got >= 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (head && head->cmsg_type == SCM_RIGHTS) {
        memcpy(fd, CMSG_DATA(head), sizeof(int));
    }
    return got;
}

static bool readable(int fd, int ms)
{
    struct pollfd ready = { .fd = fd, .events = POLLIN };

    return poll(&ready, 1, ms) > 0;
}

bool take(struct play *play, int which, size_t count, struct message *message,
          int *fd)
{
    int64_t deadline = now_ms() + patience(PATIENCE);

    message->count = 0;
    if (fd) {
        *fd = -1;
    }
    while (message->count < count) {
        int more;
        ssize_t got = receive(play->fd[which], message->at + message->count,
                              count - message->count, &more);

        if (fd && more >= 0) {
            *fd = more;
        } else if (more >= 0) {
            close(more);
        }
        if (got == 0 || (got < 0 && errno != EAGAIN)) {
            return failed(play, "the link ended after %zu of %zu bytes",
                          message->count, count);
        }
        if (got > 0) {
            message->count += (size_t)got;
        } else if (now_ms() > deadline) {
            return failed(play, "%zu of %zu bytes came in time",
                          message->count, count);
        } else {
            readable(play->fd[which], 100);
        }
    }
    return true;
}

static bool has_header(struct play *play, const struct message *message,
                       size_t count, uint8_t type, uint8_t priority)
{
    if (number(message, 0, 4) != count || message->at[4] != type ||
        message->at[5] != priority) {
        return failed(play, "type %u with priority %u and size %u came "
                      "instead of %u, %u, %zu", message->at[4],
                      message->at[5], (unsigned)number(message, 0, 4), type,
                      priority, count);
    }
    return true;
}

/*
 * With push the target offers anew after each change of its memory map, as a
 * machine's is when something of ours is mapped: it may be before anything.
 */
static bool take_past_offers(struct play *play, int which,
                             struct message *head)
{
    struct message rest;

    for (;;) {
        if (!take(play, which, HEADER, head, NULL)) {
            return false;
        }
        if (!(play->features & PUSH) || head->at[4] != OFFER) {
            return true;
        }
        if (!has_header(play, head, 33, OFFER, 0) ||
            !take(play, which, 33 - HEADER, &rest, NULL)) {
            return false;
        }
    }
}

bool take_header(struct play *play, int which, size_t count, uint8_t type,
                 uint8_t priority)
{
    struct message head, rest;

    return take_past_offers(play, which, &head) &&
           has_header(play, &head, count, type, priority) &&
           take(play, which, count - HEADER, &rest, NULL);
}

/* Whatever comes before the end is of no interest. */
static bool ends(int fd, int64_t deadline)
{
    char bytes[4096];
    ssize_t got;
    int more;

    for (;;) {
        got = receive(fd, bytes, sizeof(bytes), &more);
        if (more >= 0) {
            close(more);
        }
        if (got == 0 || (got < 0 && errno != EAGAIN)) {
            return true;
        }
        if (got < 0 && (now_ms() > deadline || !readable(fd, 100))) {
            if (now_ms() > deadline) {
                return false;
            }
        }
    }
}

bool closes_within(struct play *play, int ms)
{
    int64_t deadline = now_ms() + patience(ms);

    if (!ends(play->fd[MEM], deadline) || !ends(play->fd[INTR], deadline)) {
        return failed(play, "the links stay open");
    }
    return true;
}

bool closes(struct play *play)
{
    return closes_within(play, PATIENCE);
}

/* --- what a peer that knows the protocol does ---------------------------- */

bool serves(struct play *play)
{
    return send_message(play, MEM, say_read(own(play, ACCESS), REGISTERS,
                                            8)) &&
           take_header(play, MEM, 45, READ_RET, own(play, ACCESS));
}

static bool agrees(struct play *play, uint64_t features)
{
    return (features & play->features) == play->features ||
           failed(play, "the target agrees on features 0x%llx only",
                  (unsigned long long)features);
}

static bool take_greeting_ret(struct play *play)
{
    struct message message;

    return take(play, MEM, 86, &message, NULL) &&
           has_header(play, &message, 86, HELLO_RET, 0) &&
           agrees(play, number(&message, HEADER + 8, 8));
}

/* Hello, as the side that connects or the other. */
static bool greet(struct play *play)
{
    struct greeting greeting = good_greeting(play->pair);

    greeting.features = play->features;
    if (!play->target->listens) {
        greeting.subpriority = 0;
        return agrees(play, play->offered) &&
               send_message(play, MEM, say_hello(HELLO_RET, &greeting));
    }
    return send_message(play, INTR, say_hello(HELLO, &greeting)) &&
           send_message(play, MEM, say_hello(HELLO, &greeting)) &&
           take_greeting_ret(play);
}

/* With push the target offers what it has before anything else. */
static bool takes_offers(struct play *play)
{
    struct message message;
    int fd;

    do {
        if (!take(play, MEM, 33, &message, &fd)) {
            return false;
        }
        if (fd >= 0) {
            close(fd);
        }
        if (message.at[4] != OFFER) {
            return failed(play, "type %u came instead of an offer",
                          message.at[4]);
        }
    } while (message.at[6] != 0);
    return true;
}

bool play_settle(struct play *play)
{
    return play_open(play) && (!play->hello || greet(play)) &&
           (!(play->features & PUSH) || takes_offers(play)) && serves(play);
}

bool asked_read(struct play *play, uint64_t address)
{
    return (target_tell(play->target, "read 0x%llx",
                        (unsigned long long)address) ||
            failed(play, "the target does not obey")) &&
           take_header(play, MEM, 15, READ, peers(play, ACCESS));
}

bool asked_write(struct play *play, uint64_t address)
{
    return (target_tell(play->target, "write 0x%llx 0x1122",
                        (unsigned long long)address) ||
            failed(play, "the target does not obey")) &&
           take_header(play, MEM, 23, WRITE, peers(play, ACCESS));
}

/* What it shared is new each time, and what is to come stays. */
bool asked_invalidate(struct play *play)
{
    struct message message;
    int fd;

    if (!target_tell(play->target, "map 0x%x:0x1000", BORROWED) ||
        !target_sync(play->target) ||
        !send_message(play, MEM, say_read(own(play, ACCESS), BORROWED, 8)) ||
        !take(play, MEM, 45, &message, &fd)) {
        return failed(play, "no memory to be borrowed");
    }
    if (fd < 0) {
        return failed(play, "the memory is not shared");
    }
    close(fd);
    return target_tell(play->target, "unmap 0x%x", BORROWED) &&
           take_header(play, MEM, 22, INV, peers(play, INVALIDATION));
}

bool answers(struct play *play, const char *wanted)
{
    char line[LINE];

    if (!target_answer(play->target, line)) {
        return failed(play, "the target does not say '%s'", wanted);
    }
    return strcmp(line, wanted) == 0 ||
           failed(play, "the target says '%s' instead of '%s'", line, wanted);
}

bool maps_ranges(struct play *play, unsigned wanted)
{
    char line[LINE];
    unsigned count = 0;

    if (!target_sync(play->target) ||
        !target_tell(play->target, "regions; reg 0x28 1")) {
        return failed(play, "the target does not obey");
    }
    for (;;) {
        if (!target_answer(play->target, line)) {
            return failed(play, "the target does not answer");
        }
        if (strcmp(line, "0x00") == 0) {
            break;
        }
        count++;
    }
    return count == wanted || failed(play, "%u ranges are mapped instead of "
                                     "%u", count, wanted);
}

int shared_memory(size_t size, bool sealed)
{
    int fd = memfd_create("hostile", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0 || ftruncate(fd, (off_t)size) < 0 ||
        (sealed && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) < 0)) {
        return -1;
    }
    return fd;
}

/* --- a good peer --------------------------------------------------------- */

static bool takes_share(struct play *play)
{
    struct message message;
    int fd;

    if (!send_message(play, MEM, say_read(own(play, ACCESS), RAM, 8)) ||
        !take(play, MEM, 45, &message, &fd)) {
        return false;
    }
    if (fd < 0 || number(&message, HEADER, 4) != 0) {
        return failed(play, "the memory is not shared with a good peer");
    }
    close(fd);
    return true;
}

static bool exchanges_interrupts(struct play *play)
{
    char line[LINE];

    do {                        /* what others have left */
        if (!target_tell(play->target, "reg 0x400 8") ||
            !target_answer(play->target, line)) {
            return failed(play, "the target does not read its registers");
        }
    } while (strcmp(line, "0x0000000000000000") != 0);
    if (!send_message(play, INTR, say_interrupt(0x77)) ||
        !target_tell(play->target, "recv 5000") ||
        !target_answer(play->target, line)) {
        return failed(play, "an interrupt does not come");
    }
    if (strncmp(line, "0x0000000000000077 ", 19) != 0) {
        return failed(play, "another interrupt came: %.20s", line);
    }
    return target_tell(play->target, "intr 0x88") &&
           take_header(play, INTR, 142, INTERRUPT, 0);
}

static bool is_read(struct play *play)
{
    return asked_read(play, OURS) &&
           send_message(play, MEM, say_read_ret(peers(play, ACCESS), 0,
                                                0x5566, NULL)) &&
           answers(play, "0x0000000000005566");
}

bool good_peer(struct play *play)
{
    return play_settle(play) &&
           (target_sync(play->target) || failed(play, "no sync")) &&
           takes_share(play) && is_read(play) && exchanges_interrupts(play);
}
