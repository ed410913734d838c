/* SPDX-License-Identifier: BSD-3-Clause */
#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"

/* --- messages ------------------------------------------------------------ */

void bytes_add(struct bytes *bytes, uint64_t value, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        ck_assert_uint_lt(bytes->count, sizeof(bytes->at));
        bytes->at[bytes->count++] = i < 8 ? (uint8_t)(value >> (8 * i)) : 0;
    }
}

struct bytes bytes_header(uint32_t size, uint8_t type, uint8_t priority)
{
    struct bytes bytes = { 0 };

    bytes_add(&bytes, size, 4);
    bytes_add(&bytes, type, 1);
    bytes_add(&bytes, priority, 1);
    return bytes;
}

static void add_offer(struct bytes *bytes, const struct offer *offer)
{
    if (!offer) {
        bytes_add(bytes, 0, 27);
        return;
    }
    bytes_add(bytes, 1, 1);
    bytes_add(bytes, offer->start, 8);
    bytes_add(bytes, offer->mmap_start, 8);
    bytes_add(bytes, offer->size, 8);
    bytes_add(bytes, offer->readonly, 1);
    bytes_add(bytes, offer->nonvolatile, 1);
}

struct bytes say_read(uint8_t priority, uint64_t offset, uint8_t size)
{
    struct bytes bytes = bytes_header(15, 0, priority);

    bytes_add(&bytes, offset, 8);
    bytes_add(&bytes, size, 1);
    return bytes;
}

struct bytes say_read_ret(uint8_t priority, uint32_t result, uint64_t value,
                          const struct offer *offer)
{
    struct bytes bytes = bytes_header(45, 1, priority);

    bytes_add(&bytes, result, 4);
    bytes_add(&bytes, value, 8);
    add_offer(&bytes, offer);
    return bytes;
}

struct bytes say_write(uint8_t priority, uint64_t offset, uint64_t value,
                       uint8_t size)
{
    struct bytes bytes = bytes_header(23, 2, priority);

    bytes_add(&bytes, offset, 8);
    bytes_add(&bytes, value, 8);
    bytes_add(&bytes, size, 1);
    return bytes;
}

struct bytes say_write_ret(uint8_t priority, uint32_t result,
                           const struct offer *offer)
{
    struct bytes bytes = bytes_header(37, 3, priority);

    bytes_add(&bytes, result, 4);
    add_offer(&bytes, offer);
    return bytes;
}

struct bytes say_inv(uint8_t priority, uint64_t start, uint64_t size)
{
    struct bytes bytes = bytes_header(22, 4, priority);

    bytes_add(&bytes, start, 8);
    bytes_add(&bytes, size, 8);
    return bytes;
}

struct bytes say_inv_ret(uint8_t priority)
{
    return bytes_header(6, 5, priority);
}

struct bytes say_intr(uint64_t type, uint8_t fill)
{
    struct bytes bytes = bytes_header(142, 6, 0);

    bytes_add(&bytes, type, 8);
    for (unsigned i = 0; i < 128; i++) {
        bytes_add(&bytes, fill, 1);
    }
    return bytes;
}

struct bytes say_read_block(uint8_t priority, uint64_t offset, uint32_t size)
{
    struct bytes bytes = bytes_header(18, 0x42, priority);

    bytes_add(&bytes, offset, 8);
    bytes_add(&bytes, size, 4);
    return bytes;
}

static struct bytes block_ret(uint32_t size, uint8_t type, uint8_t priority,
                              uint32_t result, uint32_t done)
{
    struct bytes bytes = bytes_header(size, type, priority);

    bytes_add(&bytes, result, 4);
    bytes_add(&bytes, done, 4);
    return bytes;
}

struct bytes say_read_block_ret(uint8_t priority, uint32_t result,
                                uint32_t done, const struct offer *offer)
{
    struct bytes bytes = block_ret(41 + done, 0x43, priority, result, done);

    add_offer(&bytes, offer);
    return bytes;
}

struct bytes say_write_block(uint8_t priority, uint64_t offset, uint32_t count)
{
    struct bytes bytes = bytes_header(14 + count, 0x44, priority);

    bytes_add(&bytes, offset, 8);
    return bytes;
}

struct bytes say_write_block_ret(uint8_t priority, uint32_t result,
                                 uint32_t done, const struct offer *offer)
{
    struct bytes bytes = block_ret(41, 0x45, priority, result, done);

    add_offer(&bytes, offer);
    return bytes;
}

struct bytes say_offer(const struct offer *offer)
{
    struct bytes bytes = bytes_header(33, 0x46, 0);

    add_offer(&bytes, offer);
    return bytes;
}

static struct bytes greeting(uint8_t type, const struct hello *hello)
{
    struct bytes bytes = bytes_header(86, type, 0);
    size_t length = strlen(hello->name);

    bytes_add(&bytes, hello->magic, 4);
    bytes_add(&bytes, hello->low, 2);
    bytes_add(&bytes, hello->high, 2);
    bytes_add(&bytes, hello->features, 8);
    bytes_add(&bytes, hello->subpriority, 1);
    bytes_add(&bytes, 0, 3);
    bytes_add(&bytes, hello->page, 4);
    bytes_add(&bytes, hello->span_start, 8);
    bytes_add(&bytes, hello->span_size, 8);
    bytes_add(&bytes, hello->pair, 8);
    for (size_t i = 0; i < 32; i++) {
        bytes_add(&bytes, i < length ? (uint8_t)hello->name[i] : 0, 1);
    }
    return bytes;
}

struct bytes say_hello(const struct hello *hello)
{
    return greeting(0x40, hello);
}

struct bytes say_hello_ret(const struct hello *hello)
{
    return greeting(0x41, hello);
}

struct hello hello_default(void)
{
    return (struct hello) {
        .magic = 0x3150584d,
        .low = 1,
        .high = 1,
        .subpriority = 2,
        .page = 4096,
        .name = "raw",
    };
}

static uint64_t number_at(const struct bytes *bytes, size_t at, unsigned count)
{
    uint64_t value = 0;

    while (count-- > 0) {
        value = value << 8 | bytes->at[at + count];
    }
    return value;
}

void parse_hello(const struct bytes *bytes, struct hello *hello, char *name)
{
    ck_assert_uint_eq(bytes->count, 86);
    memcpy(name, bytes->at + 6 + 48, 32);
    name[32] = '\0';
    *hello = (struct hello) {
        .magic = (uint32_t)number_at(bytes, 6, 4),
        .low = (uint16_t)number_at(bytes, 6 + 4, 2),
        .high = (uint16_t)number_at(bytes, 6 + 6, 2),
        .features = number_at(bytes, 6 + 8, 8),
        .subpriority = bytes->at[6 + 16],
        .page = (uint32_t)number_at(bytes, 6 + 20, 4),
        .span_start = number_at(bytes, 6 + 24, 8),
        .span_size = number_at(bytes, 6 + 32, 8),
        .pair = number_at(bytes, 6 + 40, 8),
        .name = name,
    };
    ck_assert_uint_eq(number_at(bytes, 6 + 17, 3), 0);
}

/* --- sockets ------------------------------------------------------------- */

void peer_open(struct peer *peer, int theirs[PEER_LINKS])
{
    for (int which = 0; which < PEER_LINKS; which++) {
        int pair[2];

        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
                                    pair), 0);
        peer->fd[which] = pair[0];
        theirs[which] = pair[1];
    }
}

void peer_close_one(struct peer *peer, int which)
{
    if (peer->fd[which] >= 0) {
        close(peer->fd[which]);
        peer->fd[which] = -1;
    }
}

void peer_close(struct peer *peer)
{
    peer_close_one(peer, PEER_MEM);
    peer_close_one(peer, PEER_INTR);
}

void peer_send_fds(struct peer *peer, int which, const uint8_t *at,
                   size_t count, const int *fds, size_t fd_count)
{
    struct iovec part = { .iov_base = (void *)(uintptr_t)at,
                          .iov_len = count };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * PEER_FDS)];
    } control = { .bytes = { 0 } };

    if (fd_count > 0) {
        struct cmsghdr *head;

        ck_assert_uint_le(fd_count, PEER_FDS);
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(head), fds, sizeof(int) * fd_count);
    }
    ck_assert_int_eq(sendmsg(peer->fd[which], &message, MSG_NOSIGNAL),
                     (ssize_t)count);
}

void peer_send(struct peer *peer, int which, struct bytes bytes)
{
    peer_send_fds(peer, which, bytes.at, bytes.count, NULL, 0);
}

void peer_send_fd(struct peer *peer, int which, struct bytes bytes, int fd)
{
    peer_send_fds(peer, which, bytes.at, bytes.count, &fd, 1);
}

/* Where the test is, and what it waits for. */
struct place {
    const char *file;
    int line;
};

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void drive(struct peer *peer)
{
    if (peer->drive) {
        peer->drive(peer->opaque);
    }
}

/*
 * Receive once without waiting: bytes, 0 at the end of the stream, -1 if there
 * is nothing.  *@fd becomes the descriptor that came, or -1.
 */
static ssize_t receive(struct peer *peer, int which, uint8_t *at,
                       size_t count, int *fd)
{
    struct iovec part = { .iov_base = at, .iov_len = count };
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * 4)];
    } control;
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof(control.bytes),
    };
    struct cmsghdr *head;
    ssize_t got = recvmsg(peer->fd[which], &message,
                          MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    *fd = -1;
    if (got < 0) {
        if (errno == ECONNRESET) {
            return 0;           /* it was closed with bytes unread */
        }
        ck_assert_msg(errno == EAGAIN, "recvmsg: %s", strerror(errno));
        return -1;
    }
    ck_assert_int_eq(message.msg_flags & MSG_CTRUNC, 0);
    head = CMSG_FIRSTHDR(&message);
    if (head) {
        ck_assert_int_eq(head->cmsg_type, SCM_RIGHTS);
        ck_assert_uint_eq(head->cmsg_len, CMSG_LEN(sizeof(int)));
        memcpy(fd, CMSG_DATA(head), sizeof(int));
    }
    return got;
}

/* As receive(), but waits; fails the test when nothing comes. */
static ssize_t await(struct place place, struct peer *peer, int which,
                     uint8_t *at, size_t count, int *fd)
{
    int64_t deadline = now_ms() + harness_milliseconds(PEER_PATIENCE);

    for (;;) {
        struct pollfd wanted = { .fd = peer->fd[which], .events = POLLIN };
        ssize_t got;

        drive(peer);
        got = receive(peer, which, at, count, fd);
        if (got >= 0) {
            return got;
        }
        ck_assert_msg(now_ms() < deadline, "%s:%d: nothing has come on the "
                      "%s link after %d ms", place.file, place.line,
                      which == PEER_MEM ? "memory" : "interrupt",
                      PEER_PATIENCE);
        poll(&wanted, 1, 1);
    }
}

static const char *hex(const uint8_t *at, size_t count)
{
    static char text[2][1100];
    static unsigned turn;
    char *out = text[turn++ % 2];

    out[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        sprintf(out + 2 * i, "%02x", at[i]);
    }
    return out;
}

static struct bytes take(struct place place, struct peer *peer, int which,
                         size_t count, int *fd)
{
    struct bytes bytes = { 0 };
    int more;

    *fd = -1;
    while (bytes.count < count) {
        ssize_t got = await(place, peer, which, bytes.at + bytes.count,
                            count - bytes.count, &more);

        ck_assert_msg(got > 0, "%s:%d: the stream ends after %zu of %zu "
                      "bytes: %s", place.file, place.line, bytes.count, count,
                      hex(bytes.at, bytes.count));
        ck_assert_msg(more < 0 || bytes.count == 0, "%s:%d: a descriptor "
                      "after the first byte", place.file, place.line);
        if (more >= 0) {
            *fd = more;
        }
        bytes.count += (size_t)got;
    }
    return bytes;
}

static void compare(struct place place, const struct bytes *came,
                    const struct bytes *wanted)
{
    ck_assert_msg(memcmp(came->at, wanted->at, wanted->count) == 0,
                  "%s:%d: bytes %s came instead of %s", place.file,
                  place.line, hex(came->at, came->count),
                  hex(wanted->at, wanted->count));
}

struct bytes peer_take_at(const char *file, int line, struct peer *peer,
                          int which, size_t count)
{
    struct place place = { file, line };
    int fd;
    struct bytes bytes = take(place, peer, which, count, &fd);

    ck_assert_msg(fd < 0, "%s:%d: a descriptor came with %s", file, line,
                  hex(bytes.at, bytes.count));
    return bytes;
}

void peer_expect_at(const char *file, int line, struct peer *peer, int which,
                    struct bytes bytes)
{
    struct place place = { file, line };
    struct bytes came = peer_take_at(file, line, peer, which, bytes.count);

    compare(place, &came, &bytes);
}

int peer_expect_fd_at(const char *file, int line, struct peer *peer,
                      int which, struct bytes bytes)
{
    struct place place = { file, line };
    int fd;
    struct bytes came = take(place, peer, which, bytes.count, &fd);

    compare(place, &came, &bytes);
    ck_assert_msg(fd >= 0, "%s:%d: no descriptor came", file, line);
    return fd;
}

void peer_expect_end_at(const char *file, int line, struct peer *peer,
                        int which)
{
    struct place place = { file, line };
    uint8_t byte;
    int fd;
    ssize_t got = await(place, peer, which, &byte, 1, &fd);

    ck_assert_msg(got == 0, "%s:%d: byte %02x came instead of the end", file,
                  line, byte);
}

void peer_expect_nothing_at(const char *file, int line, struct peer *peer,
                            int which)
{
    uint8_t byte;
    ssize_t got;
    int fd;

    drive(peer);
    drive(peer);
    got = receive(peer, which, &byte, 1, &fd);
    ck_assert_msg(got < 0, "%s:%d: %s came", file, line,
                  got == 0 ? "the end of the stream" : "a byte");
}

/* As much at a time as the socket takes, driving the other side. */
void peer_send_block(struct peer *peer, const uint8_t *at, size_t count)
{
    int64_t deadline = now_ms() + harness_milliseconds(PEER_PATIENCE);

    while (count > 0) {
        struct pollfd wanted = { .fd = peer->fd[PEER_MEM],
                                 .events = POLLOUT };
        ssize_t sent = send(peer->fd[PEER_MEM], at, count,
                            MSG_NOSIGNAL | MSG_DONTWAIT);

        drive(peer);
        if (sent > 0) {
            at += sent;
            count -= (size_t)sent;
            continue;
        }
        ck_assert_msg(errno == EAGAIN, "send: %s", strerror(errno));
        ck_assert_msg(now_ms() < deadline, "nobody reads the block");
        poll(&wanted, 1, 1);
    }
}

void peer_take_block_at(const char *file, int line, struct peer *peer,
                        uint8_t *at, size_t count)
{
    struct place place = { file, line };
    size_t got = 0;

    while (got < count) {
        int fd;
        ssize_t more = await(place, peer, PEER_MEM, at + got, count - got,
                             &fd);

        ck_assert_msg(more > 0, "%s:%d: the stream ends after %zu of %zu "
                      "bytes of a block", file, line, got, count);
        ck_assert_msg(fd < 0, "%s:%d: a descriptor in a block", file, line);
        got += (size_t)more;
    }
}

int peer_memory(size_t size, uint8_t fill, bool sealed)
{
    int fd = memfd_create("peer", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    uint8_t page[4096];

    ck_assert_int_ge(fd, 0);
    memset(page, fill, sizeof(page));
    for (size_t at = 0; at < size; at += sizeof(page)) {
        size_t piece = size - at < sizeof(page) ? size - at : sizeof(page);

        ck_assert_int_eq(pwrite(fd, page, piece, (off_t)at), (ssize_t)piece);
    }
    if (sealed) {
        ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    }
    return fd;
}
