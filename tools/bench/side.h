/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One end of a link: a device that exports a few kinds of memory, and says by
 * registers what its process has done.  Both ends are alike.
 */
#ifndef BENCH_SIDE_H
#define BENCH_SIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <memexpose/memexpose.h>

#include "measure.h"

/* What is exported, and where. */
#define SIDE_REGISTERS UINT64_C(0x10000000)
#define SIDE_PRIVATE   UINT64_C(0x20000000)  /* memory that is never shared */
#define SIDE_RAM       UINT64_C(0x100000000) /* one object, shared whole */
#define SIDE_RANGES    UINT64_C(0x10000000000) /* each page by itself */

enum {
    SIDE_PRIVATE_SIZE = 1 << 16,
    SIDE_RAM_SIZE = 1 << 23
};

/* Registers of 8 bytes: their offset is 8 times this. */
enum side_register {
    SIDE_WORD,                  /* anything */
    SIDE_LATCH,                 /* reading it latches what is below */
    SIDE_CPU_TIME,              /* of the process, in nanoseconds */
    SIDE_POLL_TIME,             /* of that spent polling */
    SIDE_POLLS,
    SIDE_ALLOCATIONS,
    SIDE_SENDS,
    SIDE_RECEIVES,
    SIDE_WAITS,
    SIDE_OTHERS,
    SIDE_INTERRUPTS,            /* taken */
    SIDE_ARRIVED,               /* and such, those dropped included */
    SIDE_RESIDENT,              /* anonymous memory now, in bytes */
    SIDE_POLL_WAIT,             /* written: how long to poll, nanoseconds */
    SIDE_POLL_SERVE,
    SIDE_TOUCH_FIRST,           /* written: the first range to touch ... */
    SIDE_TOUCH_COUNT,           /* ... and how many; an interrupt follows */
    SIDE_ECHO,                  /* written: answer interrupts with one? */
    SIDE_REGISTER_COUNT
};

/* What the peer tells of interrupts without being asked, by memory that both
 * processes have from the beginning. */
struct side_news {
    _Atomic uint64_t taken;
    _Atomic int64_t last;       /* when the last was taken */
};

/* What a process has done so far: the registers, for oneself. */
struct side_counts {
    uint64_t of[SIDE_REGISTER_COUNT];
};

struct side_config {
    size_t pages;               /* at SIDE_RANGES, of the peer */
    size_t own_pages;           /* of the process that starts it */
    size_t devices;             /* 0 counts as 1 */
    bool push;
    bool no_block;
    bool event_loop;            /* the peer is driven by libevent */
};

struct side {
    struct memexpose_group *group;
    struct memexpose_device **devices;
    size_t device_count;
    struct side_config config;
    uint8_t *private_memory;
    int ram_fd, pages_fd;
    uint64_t interrupts;        /* taken so far, of all devices */
    struct side_news *news;     /* to be told of them, or NULL */
    bool echo;
    bool left;                  /* a peer has gone */
    struct samples *rally;      /* times from one interrupt to the next */
    size_t rally_left;          /* how many are to come */
    int64_t rally_last;         /* when the last was sent */
    uint64_t touch_first, touch_count;
    struct side_counts latched;
};

static inline struct memexpose_device *side_device(const struct side *side)
{
    return side->devices[0];
}

static inline uint64_t side_register_address(enum side_register number)
{
    return SIDE_REGISTERS + 8 * (uint64_t)number;
}

/* Where the range @index begins; none touches the next. */
static inline uint64_t side_range_address(size_t index, size_t page_size)
{
    return SIDE_RANGES + 2 * (uint64_t)index * page_size;
}

/* Memory that can be shared.  Returns a descriptor, or -errno. */
int side_create_object(size_t size);

/* Make the devices without links.  @ram_fd, which stays the caller's, is the
 * object of SIDE_RAM, or -1: there is none.  Returns 0 or -errno;
 * side_destroy() in any case. */
int side_create(struct side *side, const struct side_config *config,
                enum memexpose_role role, int ram_fd);
void side_destroy(struct side *side);

/* Drive the group until @done says so, or @nanoseconds have passed.  Returns
 * 0, -ETIMEDOUT, or -errno. */
int side_drive(struct side *side, bool (*done)(void *arg), void *arg,
               int64_t nanoseconds);

/* Serve the peers until one has left; for the other process. */
void side_serve(struct side *side);

/* The same from a loop of libevent, without SIDE_TOUCH_COUNT. */
void side_serve_from_event_loop(struct side *side);

void side_count(struct side *side, struct side_counts *counts);

/* Anonymous memory of this process (RssAnon), in bytes; 0 if unknown. */
uint64_t side_resident(void);

bool side_is_settled(void *side);

/* memexpose_group_set_polling(): the processes have a processor each. */
int side_set_polling(struct side *side, int64_t wait, int64_t serve);

/* --- two of them --------------------------------------------------------- */

/* This process's side and the process of the other. */
struct pair {
    struct side side;
    pid_t peer;
    int ram_fd;                 /* of the peer's SIDE_RAM, for both */
    struct side_news *news;     /* of the peer */
};

/* Start the peer on processor @core and connect to it.  Returns 0 or -errno;
 * pair_stop() in any case, which does nothing to one that is all zeros. */
int pair_start(struct pair *pair, const struct side_config *config, int core);
void pair_stop(struct pair *pair);

int pair_read(struct pair *pair, enum side_register number, uint64_t *value);
int pair_write(struct pair *pair, enum side_register number, uint64_t value);

/* How long it takes to read a word of the peer's, @rounds times. */
int pair_time_reads(struct pair *pair, struct samples *samples, size_t rounds);

/* What the peer's process had done when it served the first of the reads that
 * this takes, SIDE_COUNT_READS of them. */
enum { SIDE_COUNT_READS = SIDE_ARRIVED - SIDE_LATCH + 1 };
int pair_count(struct pair *pair, struct side_counts *counts);

/* How long both sides poll before they sleep. */
int pair_set_polling(struct pair *pair, int64_t nanoseconds);

/* Answer each interrupt of the peer's, which does the same, with the next. */
int pair_rally(struct pair *pair, struct samples *samples, size_t count);

/* Drive until more than @before interrupts have been taken here. */
int pair_await_interrupt(struct pair *pair, uint64_t before);

#endif
