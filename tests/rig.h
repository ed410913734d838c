/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One device with a raw peer at the other end of its links, in one process:
 * the peer speaks, the device is driven, the peer listens.  Accesses of the
 * device's that wait run in a thread of their own.
 */
#ifndef MX_TESTS_RIG_H
#define MX_TESTS_RIG_H

#include <pthread.h>
#include <stdatomic.h>

#include <memexpose/memexpose.h>

#include "peer.h"

#define MS INT64_C(1000000)

/* The role of the @i-th run of a test that runs in both. */
#define ROLE(i) ((i) ? MEMEXPOSE_ROLE_CONNECT : MEMEXPOSE_ROLE_LISTEN)

enum {
    RIG_RAM = 0x10000,          /* exported memory, may be shared */
    RIG_RAM_SIZE = 0x4000,
    RIG_MMIO = 0x40000,         /* registers: reads give the offset */
    RIG_MMIO_SIZE = 0x1000,
    RIG_WINDOW = 0x50000,       /* where a device lies: not to be reached */
    RIG_WINDOW_SIZE = 0x1000,
    RIG_KEPT = 32               /* ranges that are remembered */
};

struct rig {
    struct memexpose_group *group;
    struct memexpose_space *space;
    struct memexpose_device *device;
    struct memexpose_device_config config;
    struct peer peer;
    pthread_t driver;           /* of rig_drive_beside() */
    uint8_t ours;               /* the device's sub-priority */
    bool blocks;                /* with the callbacks for blocks */

    /* What a test does in place of, or besides, the ordinary. */
    int (*on_read)(struct rig *rig, uint64_t address, unsigned bytes,
                   uint64_t *value);
    int (*on_write)(struct rig *rig, uint64_t address, unsigned bytes,
                    uint64_t value);
    int (*on_resolve)(struct rig *rig, uint64_t address,
                      struct memexpose_share *share);
    int (*on_read_block)(struct rig *rig, uint64_t address, void *buffer,
                         size_t bytes, size_t *done);
    int (*on_write_block)(struct rig *rig, uint64_t address,
                          const void *buffer, size_t bytes, size_t *done);
    int (*on_next_share)(struct rig *rig, uint64_t address,
                         struct memexpose_share *share);
    void (*on_update)(struct rig *rig, bool begin);
    void (*on_trace)(struct rig *rig, bool sent, const uint8_t *bytes,
                     size_t count);
    int (*on_map)(struct rig *rig, const struct memexpose_range *range);
    int (*on_unmap)(struct rig *rig, const struct memexpose_range *range);
    void (*on_interrupt)(struct rig *rig, bool level, bool rise);
    void (*on_link)(struct rig *rig, uint64_t state);
    void *arg;

    /* What the callbacks saw. */
    atomic_uint reads, writes, resolves, maps, unmaps, interrupts, rises;
    atomic_uint block_reads, block_writes, asked_shares, updates;
    atomic_bool updating;       /* update(true) came, update(false) did not */
    atomic_bool level;
    atomic_uint_fast64_t state;
    struct memexpose_range mapped[RIG_KEPT];
    struct memexpose_range unmapped[RIG_KEPT];
};

/* Defaults: base protocol, no hello; change ->config before rig_start(). */
void rig_init(struct rig *rig, enum memexpose_role role);
void rig_start(struct rig *rig);

/* A new peer; the links come up. */
void rig_connect(struct rig *rig);

/* All of it in one: started, connected, enabled. */
void rig_up(struct rig *rig, enum memexpose_role role);

/* The same with hello, at which the peer offers or accepts @features, and the
 * device what is configured: rig_init() and rig_start() have been called. */
void rig_greet(struct rig *rig, uint64_t features);
enum { RIG_BLOCK = 1, RIG_PUSH = 2 };

void rig_end(struct rig *rig);

/* rig_start() in the group of another. */
void rig_start_in(struct rig *rig, struct rig *other);

/* A second device in the group of another, connected and enabled. */
void rig_join(struct rig *rig, struct rig *other);
void rig_leave(struct rig *rig);

/* Drive the device once in a thread, for what waits within a callback. */
void rig_drive_beside(struct rig *rig);
void rig_driven(struct rig *rig);
void rig_drive(void *opaque);
struct memexpose_stats rig_stats(struct rig *rig);

/* Priorities on the wire: requests of the device's and of its peer's. */
uint8_t rig_own(const struct rig *rig, unsigned class);
uint8_t rig_peer(const struct rig *rig, unsigned class);
enum { INVALIDATE, ACCESS };

/* What the peer reads comes back, without a share. */
#define rig_expect_served(rig) rig_expect_served_at(__FILE__, __LINE__, (rig))
void rig_expect_served_at(const char *file, int line, struct rig *rig);

/* The share of the exported memory. */
extern const struct offer rig_whole_ram;

/* The peer asks, and this is what it gets; with a descriptor. */
void rig_ask(struct rig *rig, struct bytes question, struct bytes answer);
int rig_ask_fd(struct rig *rig, struct bytes question, struct bytes answer);

/* Both come, in either order. */
void rig_take_two(struct rig *rig, struct bytes one, struct bytes other);

/* The peer reads a zero at @address and takes the share along. */
void rig_take_share(struct rig *rig, uint64_t address,
                    const struct offer *offer);

/* A change of the device's memory map, in a thread. */
struct change {
    pthread_t thread;
    struct rig *rig;
    uint64_t start, size;
    int ret;
    atomic_bool done;
};

void begin_change(struct change *change, struct rig *rig, uint64_t start,
                  uint64_t size);
int end_change(struct change *change);

/* An access of the device's, in a thread. */
struct access {
    pthread_t thread;
    struct memexpose_device *device;
    bool write;
    uint64_t address;
    unsigned bytes;
    uint64_t value;
    int ret;
};

void begin_read(struct access *access, struct rig *rig, uint64_t address,
                unsigned bytes);
void begin_write(struct access *access, struct rig *rig, uint64_t address,
                 unsigned bytes, uint64_t value);
int end_access(struct access *access);

/* The same with a block. */
struct transfer {
    pthread_t thread;
    struct memexpose_device *device;
    bool write;
    uint64_t address;
    uint8_t *buffer;
    size_t bytes, done;
    int ret;
};

void begin_transfer(struct transfer *transfer, struct rig *rig, bool write,
                    uint64_t address, uint8_t *buffer, size_t bytes);
int end_transfer(struct transfer *transfer);

/* The device reads and the peer answers, with a share and @fd, or -1. */
void rig_offer(struct rig *rig, uint64_t address, const struct offer *offer,
               int fd);

size_t rig_ranges(struct rig *rig);

#endif
