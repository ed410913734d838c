/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A raw peer: two sockets and nothing of the library.  What it sends is put
 * together byte by byte as the protocol says (section 2), and what it expects
 * has to come exactly so.  It shares no code with the library, so that a
 * mistake in the library is not made twice.
 */
#ifndef MX_TESTS_PEER_H
#define MX_TESTS_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <check.h>

enum { PEER_MEM, PEER_INTR, PEER_LINKS };

enum {
    PEER_PATIENCE = 5000,       /* ms until something must have come */
    PEER_FDS = 16
};

struct peer {
    int fd[PEER_LINKS];         /* -1: closed */
    void (*drive)(void *opaque); /* let the other side do its work */
    void *opaque;
};

/* Bytes in the making. */
struct bytes {
    size_t count;
    uint8_t at[512];
};

/* A share as it stands in a response; kind 1. */
struct offer {
    uint64_t start;
    uint64_t mmap_start;
    uint64_t size;
    uint8_t readonly;
    uint8_t nonvolatile;
};

/* HELLO and HELLO_RET (section 6). */
struct hello {
    uint32_t magic;
    uint16_t low, high;
    uint64_t features;
    uint8_t subpriority;
    uint32_t page;
    uint64_t span_start, span_size;
    uint64_t pair;
    const char *name;
};

/* --- messages ------------------------------------------------------------ */

struct bytes bytes_header(uint32_t size, uint8_t type, uint8_t priority);
void bytes_add(struct bytes *bytes, uint64_t value, unsigned count);

struct bytes say_read(uint8_t priority, uint64_t offset, uint8_t size);
struct bytes say_read_ret(uint8_t priority, uint32_t result, uint64_t value,
                          const struct offer *offer);
struct bytes say_write(uint8_t priority, uint64_t offset, uint64_t value,
                       uint8_t size);
struct bytes say_write_ret(uint8_t priority, uint32_t result,
                           const struct offer *offer);
struct bytes say_inv(uint8_t priority, uint64_t start, uint64_t size);
struct bytes say_inv_ret(uint8_t priority);
struct bytes say_intr(uint64_t type, uint8_t fill);
struct bytes say_hello(const struct hello *hello);
struct bytes say_hello_ret(const struct hello *hello);

/* Blocks (section 8): what comes before their bytes. */
struct bytes say_read_block(uint8_t priority, uint64_t offset, uint32_t size);
struct bytes say_read_block_ret(uint8_t priority, uint32_t result,
                                uint32_t done, const struct offer *offer);
struct bytes say_write_block(uint8_t priority, uint64_t offset,
                             uint32_t count);
struct bytes say_write_block_ret(uint8_t priority, uint32_t result,
                                 uint32_t done, const struct offer *offer);

/* OFFER (section 9); NULL: the end of the offers. */
struct bytes say_offer(const struct offer *offer);

/* One that a test changes where it has to: version 1, sub-priority any. */
struct hello hello_default(void);

/* Take a hello of 86 bytes apart; @name has 33 bytes. */
void parse_hello(const struct bytes *bytes, struct hello *hello, char *name);

/* --- sockets ------------------------------------------------------------- */

/* Make the sockets; @theirs are the other side's ends. */
void peer_open(struct peer *peer, int theirs[PEER_LINKS]);
void peer_close(struct peer *peer);
void peer_close_one(struct peer *peer, int which);

void peer_send(struct peer *peer, int which, struct bytes bytes);
void peer_send_fd(struct peer *peer, int which, struct bytes bytes, int fd);
void peer_send_fds(struct peer *peer, int which, const uint8_t *at,
                   size_t count, const int *fds, size_t fd_count);

/* Exactly these bytes, and no descriptor. */
#define peer_expect(peer, which, bytes) \
    peer_expect_at(__FILE__, __LINE__, (peer), (which), (bytes))
void peer_expect_at(const char *file, int line, struct peer *peer, int which,
                    struct bytes bytes);

/* Exactly these bytes, and with the first of them one descriptor. */
#define peer_expect_fd(peer, which, bytes) \
    peer_expect_fd_at(__FILE__, __LINE__, (peer), (which), (bytes))
int peer_expect_fd_at(const char *file, int line, struct peer *peer,
                      int which, struct bytes bytes);

/* Any @count bytes, and no descriptor. */
#define peer_take(peer, which, count) \
    peer_take_at(__FILE__, __LINE__, (peer), (which), (count))
struct bytes peer_take_at(const char *file, int line, struct peer *peer,
                          int which, size_t count);

/* The same for bytes of any number, as they go on behind a message. */
void peer_send_block(struct peer *peer, const uint8_t *at, size_t count);
#define peer_take_block(peer, at, count) \
    peer_take_block_at(__FILE__, __LINE__, (peer), (at), (count))
void peer_take_block_at(const char *file, int line, struct peer *peer,
                        uint8_t *at, size_t count);

/* The end of the stream, and nothing before it. */
#define peer_expect_end(peer, which) \
    peer_expect_end_at(__FILE__, __LINE__, (peer), (which))
void peer_expect_end_at(const char *file, int line, struct peer *peer,
                        int which);

/* The other side has done all that it can: there is nothing to read. */
#define peer_expect_nothing(peer, which) \
    peer_expect_nothing_at(__FILE__, __LINE__, (peer), (which))
void peer_expect_nothing_at(const char *file, int line, struct peer *peer,
                            int which);

/* A memfd of @size bytes, each @fill, sealed against shrinking if @sealed. */
int peer_memory(size_t size, uint8_t fill, bool sealed);

#endif
