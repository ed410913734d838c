/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Waiting: the event loop, in which the peer is served, and signals.
 *
 * SIGTERM and SIGINT stop whatever waits: loop_stopped() tells which came.
 */
#ifndef SIM_LOOP_H
#define SIM_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <memexpose/event.h>
#include <memexpose/memexpose.h>

struct event_base;
struct event;

struct loop {
    struct event_base *base;
    struct event *timer;
    struct event *signals;
    struct memexpose_group *group;
    struct memexpose_event *driver;
    struct pollfd *fds;         /* room for the wait callback */
    size_t room;
    /* called when the terminal's size has changed, or it was given back */
    void (*terminal_changed)(void *opaque);
    void *opaque;
};

/* Returns 0 or -errno. */
int loop_init(struct loop *loop);
void loop_clear(struct loop *loop);

/* Make the group whose waits this loop's signals end, served by the loop. */
int loop_create_group(struct loop *loop);

/* Hand a SIGBUS to these from now on; NULL: to nobody. */
void loop_set_sigbus(struct memexpose_device *device,
                     struct memexpose_space *space);

/* The signal that asks for an end, or 0. */
int loop_stopped(void);

/* Forget a SIGINT. */
void loop_forget_interrupt(void);

/* CLOCK_MONOTONIC in nanoseconds. */
int64_t loop_now(void);

/* @timeout nanoseconds from now; MEMEXPOSE_FOREVER stays what it is. */
int64_t loop_deadline(int64_t timeout);

/*
 * Serve the peer until @done(@arg), which may be NULL, says true.  What is
 * there already is dealt with even if @deadline has passed.
 * Returns 0, -ETIMEDOUT, -ECANCELED (loop_stopped()) or -EIO.
 */
int loop_until(struct loop *loop, bool (*done)(void *arg), void *arg,
               int64_t deadline);

/* Deal with what is there, without waiting. */
void loop_turn(struct loop *loop);

/*
 * read(2) and write(2) that serve the peer while they wait; write writes all.
 * Return the number of bytes, or -errno; -ECANCELED if loop_stopped().
 */
ssize_t loop_read(struct loop *loop, int fd, void *bytes, size_t count);
ssize_t loop_write(struct loop *loop, int fd, const void *bytes,
                   size_t count);

#endif
