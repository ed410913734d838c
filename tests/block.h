/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device with a raw peer, both with the feature block.
 */
#ifndef TESTS_BLOCK_H
#define TESTS_BLOCK_H

#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "harness.h"
#include "rig.h"

enum { AT = 0x100000, BLOCK = 65536, LONG = 200000 };

static uint8_t wanted[LONG], got[LONG];

static inline void fill(uint8_t *at, size_t count, unsigned seed)
{
    for (size_t i = 0; i < count; i++) {
        at[i] = (uint8_t)(i * 5 + i / 251 + seed);
    }
}

static inline void bring_up(struct rig *rig, uint64_t features)
{
    rig->config.hello = MEMEXPOSE_HELLO_ON;
    rig_start(rig);
    rig_greet(rig, features);
}

static inline void up(struct rig *rig, int i)
{
    rig_init(rig, ROLE(i));
    bring_up(rig, RIG_BLOCK);
}

/* All that the peer sent has been received. */
static inline bool is_received(void *opaque)
{
    struct rig *rig = opaque;
    int left = 1;

    rig_drive(rig);
    ck_assert_int_eq(ioctl(rig->peer.fd[PEER_MEM], SIOCOUTQ, &left), 0);
    return left == 0;
}

static inline uint8_t byte_at(uint64_t address)
{
    return (uint8_t)(address * 3 + address / 256);
}

static inline int read_block_op(struct rig *rig, uint64_t address,
                                void *buffer, size_t bytes, size_t *done)
{
    uint8_t *at = buffer;

    (void)rig;
    (void)done;
    for (size_t i = 0; i < bytes; i++) {
        at[i] = byte_at(address + i);
    }
    return MEMEXPOSE_RESULT_OK;
}

/* So small a buffer that a block does not go at once. */
static inline void narrow_connect(struct rig *rig)
{
    int tiny = 1, theirs[PEER_LINKS];

    peer_close(&rig->peer);
    peer_open(&rig->peer, theirs);
    ck_assert_int_eq(setsockopt(theirs[PEER_MEM], SOL_SOCKET, SO_SNDBUF,
                                &tiny, sizeof(tiny)), 0);
    ck_assert_int_eq(memexpose_device_attach(rig->device, MEMEXPOSE_LINK_MEM,
                                             theirs[PEER_MEM]), 0);
    ck_assert_int_eq(memexpose_device_attach(rig->device, MEMEXPOSE_LINK_INTR,
                                             theirs[PEER_INTR]), 0);
}

/* Listening, and the peer says hello through the narrow socket. */
static inline void narrow_up(struct rig *rig)
{
    struct hello hello = hello_default();

    rig_init(rig, MEMEXPOSE_ROLE_LISTEN);
    rig->config.hello = MEMEXPOSE_HELLO_ON;
    rig->blocks = true;
    rig->on_read_block = read_block_op;
    rig_start(rig);
    narrow_connect(rig);
    ck_assert_int_eq(memexpose_device_enable(rig->device, 0), 0);
    hello.features = RIG_BLOCK;
    peer_send(&rig->peer, PEER_MEM, say_hello(&hello));
    peer_take(&rig->peer, PEER_MEM, 86);
}

#endif
