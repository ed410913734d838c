/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The world of one script for the device target: the device, its peer, its
 * clock, and what its callbacks are to do (callbacks.c); what else happens
 * there is in device.c.
 */
#ifndef MX_TESTS_FUZZ_WORLD_H
#define MX_TESTS_FUZZ_WORLD_H

#include <memexpose/memexpose.h>

#include "fuzz.h"
#include "hostile.h"

#define SECOND INT64_C(1000000000)
#define LOOK INT64_C(1000)      /* what polling until the next look takes */

enum {
    RAM = 0x10000, RAM_SIZE = 0x4000,
    MORE_RAM = 0x20000, MORE_RAM_SIZE = 0x2000,
    MMIO = 0x40000, MMIO_SIZE = 0x1000,
    WINDOW = 0x50000, WINDOW_SIZE = 0x1000,
    STEPS = 256,
    WAITS = 4000,               /* in one step: a wait that never ends */
    HELD = 256,
    BLOCK_MAX = 300,            /* in words */
    LARGE_BLOCK_MAX = 70000
};

struct held {
    struct memexpose_range range;
    bool later;                 /* unmap was called */
};

struct retired {
    void (*fn)(void *arg);
    void *arg;
};

struct world {
    struct memexpose_group *group;
    struct memexpose_space *space;
    struct memexpose_device *device;
    struct memexpose_device_config config;
    struct hostile peer;
    struct fuzz_input input;
    unsigned steps, waits;
    int64_t now;
    bool polite, retires, more_ram;
    bool pieces;                /* no callbacks for blocks */
    bool updates, updating;
    int64_t poll_wait, poll_serve;      /* 0: no polling */
    unsigned destroying;
    unsigned changes;           /* depth */
    uint8_t plan[CALLBACKS];
    uint64_t plan_address;
    struct held held[HELD];
    unsigned held_count;
    struct retired retired[HELD];
    unsigned retired_count;
    uint8_t mark;
    uint64_t state;
    bool state_told;
};

extern struct world world;

void world_catch_sigbus(void);

/* Read what is mapped, as a CPU would. */
void world_touch(void);

/* Is it the peer that does this? */
bool world_is_for_peer(const struct fuzz_step *step);

/* The group's callbacks: the peer goes on while the device waits. */
int world_wait(void *opaque, struct pollfd *fds, size_t count,
               int64_t deadline);
int64_t world_now(void *opaque);

/* Poll as long as was configured, on one processor, too; look at what the
 * group has counted of it. */
void world_set_polling(void);
void world_check_polling(void);

/* The device's. */
const struct memexpose_device_ops *world_device_ops(void);
extern const struct memexpose_mmio_ops world_mmio_ops;

/* What both scripts and callbacks do. */
void world_destroy_device(void);
void world_check_result(int ret);
void world_read_window(uint64_t address, unsigned bytes);
void world_send_interrupt(uint64_t type);
void world_withdraw(void);
void world_retire_all(void);
void world_let_go(struct held *held);

/* An invalidation was acknowledged (struct hostile). */
void world_acknowledged(void *opaque, uint64_t start, uint64_t size,
                        uint64_t last_id);
void world_check_ranges(void);

#endif
