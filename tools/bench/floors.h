/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the machine does at best: system calls and loads as plain as can be.
 * Nothing here knows of memexpose.
 *
 * Functions return 0, or -errno; those that serve in another process return
 * when the other end of the socket is closed.
 */
#ifndef BENCH_FLOORS_H
#define BENCH_FLOORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The most that a message of these functions can have. */
enum { FLOOR_MESSAGE = 1 << 17 };

/* How to wait for a message. */
enum floor_wait {
    FLOOR_SLEEP,                /* in recv(2) */
    FLOOR_POLL,                 /* not at all: recv(2) again and again */
    FLOOR_SLEEP_IN_POLL         /* in poll(2), before recv(2) */
};

/*
 * There and back.  The first byte of a message says how the server is to wait
 * for the next one; after the last it does not poll.
 */
int floor_ping(int fd, size_t there, size_t back, enum floor_wait how,
               bool last);
int floor_pong(int fd, size_t there, size_t back);

/* One way: @count messages of @size bytes, each tried until the socket takes
 * it.  The other side counts them in *@received, as they come. */
int floor_stream(int fd, size_t size, size_t count);
int floor_drain(int fd, size_t size, volatile uint64_t *received);

/*
 * Connect to both paths and exchange a message of 64 bytes; then, if @map,
 * ask for a descriptor (15 bytes there, 45 back), map a page of it and load a
 * word.
 */
int floor_connect(const char *first, const char *second, bool map);
int floor_listen(const char *path);
int floor_accept(int first_listener, int second_listener, int object);

/* Load from each of the pointers in turn; the next cannot begin before the
 * last has ended.  Every word has to be zero. */
uint64_t floor_chase(uint64_t *const *pointers, size_t count);

void floor_copy(void *to, const void *from, size_t size);

#endif
