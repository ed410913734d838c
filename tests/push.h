/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device with a raw peer that makes offers (protocol section 9).
 */
#ifndef TESTS_PUSH_H
#define TESTS_PUSH_H

#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "harness.h"
#include "rig.h"

enum { AT = 0x100000, SIZE = 0x2000, STEP = 0x10000, FLOOD = 10000 };

static inline void prepare(struct rig *rig, int i)
{
    rig_init(rig, ROLE(i));
    rig->config.hello = MEMEXPOSE_HELLO_ON;
    rig->config.push = true;
    rig->config.share = false;  /* the device itself offers nothing */
}

/* Settled: what the device says first is the end of its own offers. */
static inline void settle(struct rig *rig)
{
    rig_greet(rig, RIG_PUSH | RIG_BLOCK);
    peer_expect(&rig->peer, PEER_MEM, say_offer(NULL));
}

static inline void up(struct rig *rig, int i)
{
    prepare(rig, i);
    rig_start(rig);
    settle(rig);
}

static inline struct offer range(unsigned i)
{
    return (struct offer) { .start = AT + (uint64_t)STEP * i, .size = SIZE };
}

/* The peer offers the range with memory of its own, full of @fill. */
static inline void offer_filled(struct rig *rig, const struct offer *offer,
                         uint8_t fill)
{
    int fd = peer_memory(SIZE, fill, true);

    peer_send_fd(&rig->peer, PEER_MEM, say_offer(offer), fd);
    close(fd);
}

static inline void offer_range(struct rig *rig, unsigned i)
{
    struct offer offer = range(i);

    offer_filled(rig, &offer, (uint8_t)(0x21 + i));
}

static inline bool is_received(void *opaque)
{
    struct rig *rig = opaque;
    int left = 1;

    rig_drive(rig);
    ck_assert_int_eq(ioctl(rig->peer.fd[PEER_MEM], SIOCOUTQ, &left), 0);
    return left == 0;
}

static inline void end_offers(struct rig *rig)
{
    peer_send(&rig->peer, PEER_MEM, say_offer(NULL));
    harness_wait(is_received, rig, PEER_PATIENCE);
    rig_drive(rig);
}

static inline void expect_direct(struct rig *rig, unsigned i)
{
    uint64_t value;

    ck_assert_int_eq(memexpose_read(rig->device, range(i).start, 1, &value),
                     0);
    ck_assert_uint_eq(value, 0x21 + i);
    peer_expect_nothing(&rig->peer, PEER_MEM);
}

static inline void expect_link(struct rig *rig, unsigned i)
{
    rig_offer(rig, range(i).start, NULL, -1);
}

#endif
