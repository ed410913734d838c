/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device as its guest sees it: enabling, links, interrupts, reset (protocol
 * section 5), with a raw peer.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness.h"
#include "rig.h"
#include "wire.h"

static uint64_t get(struct rig *rig, uint64_t offset, unsigned bytes)
{
    return memexpose_device_reg_read(rig->device, offset, bytes);
}

static int set(struct rig *rig, uint64_t offset, unsigned bytes,
               uint64_t value)
{
    return memexpose_device_reg_write(rig->device, offset, bytes, value);
}

static const struct memexpose_interrupt sample = {
    .type = 0x1122334455667788, .data = { 1, 2, 3 },
};

/* --- links --------------------------------------------------------------- */

START_TEST(tells_of_its_links)
{
    struct rig rig;

    rig_init(&rig, ROLE(_i));
    rig_start(&rig);
    ck_assert_uint_eq(get(&rig, 0x010, 8), 0);
    ck_assert_uint_eq(get(&rig, 0x000, 8), 0);
    rig_connect(&rig);
    ck_assert_uint_eq(get(&rig, 0x010, 8), UINT64_C(1) << 32 | 7);
    ck_assert_uint_eq(get(&rig, 0x014, 4), 1);
    ck_assert_uint_eq(get(&rig, 0x000, 8), 0);  /* not enabled */
    ck_assert_int_eq(set(&rig, 0x000, 8, 1), 0);
    ck_assert_uint_eq(get(&rig, 0x000, 8), 1);
    ck_assert_uint_eq(get(&rig, 0x018, 8), 0);  /* no hello */
    ck_assert_uint_eq(get(&rig, 0x020, 8), 0);
    ck_assert_uint_eq(rig.state, UINT64_C(1) << 32 | 7);
    peer_close(&rig.peer);
    rig_drive(&rig);
    ck_assert_uint_eq(get(&rig, 0x010, 8), UINT64_C(1) << 32);
    ck_assert_uint_eq(get(&rig, 0x000, 8), 0);
    ck_assert_uint_eq(rig.state, UINT64_C(1) << 32);
    rig_connect(&rig);          /* a returning link makes it read 1 again */
    ck_assert_uint_eq(get(&rig, 0x000, 8), 1);
    ck_assert_uint_eq(get(&rig, 0x010, 8), UINT64_C(2) << 32 | 7);
    rig_end(&rig);
}
END_TEST

START_TEST(tells_of_each_link)
{
    struct rig rig;
    int theirs[PEER_LINKS];
    int which = _i;

    rig_init(&rig, MEMEXPOSE_ROLE_LISTEN);
    rig_start(&rig);
    peer_open(&rig.peer, theirs);
    ck_assert_int_eq(memexpose_device_attach(rig.device,
                                             (enum memexpose_link)which,
                                             theirs[which]), 0);
    ck_assert_uint_eq(get(&rig, 0x010, 8), 1u << which);
    ck_assert_int_eq(memexpose_device_attach(rig.device,
                                             (enum memexpose_link)which,
                                             theirs[!which]), -EBUSY);
    ck_assert_int_eq(memexpose_device_attach(rig.device,
                                             (enum memexpose_link)!which,
                                             theirs[!which]), 0);
    ck_assert_uint_eq(get(&rig, 0x010, 8), UINT64_C(1) << 32 | 7);
    rig_end(&rig);
}
END_TEST

/* What hello says of the span, and the bit that tells when it is settled. */
START_TEST(tells_of_the_span)
{
    struct hello hello = hello_default();
    struct rig rig;
    char name[MEMEXPOSE_NAME_SIZE];
    uint64_t value;

    rig_init(&rig, MEMEXPOSE_ROLE_LISTEN);
    rig.config.hello = MEMEXPOSE_HELLO_ON;
    rig_start(&rig);
    rig_connect(&rig);
    ck_assert_int_eq(memexpose_device_enable(rig.device, 0), 0);
    ck_assert_uint_eq(get(&rig, 0x000, 8), 1);  /* does not wait for hello */
    ck_assert_uint_eq(get(&rig, 0x010, 4), 3);
    hello.span_start = 0x2000;
    hello.span_size = 0x3000;
    hello.name = "a\x01name";
    peer_send(&rig.peer, PEER_MEM, say_hello(&hello));
    peer_take(&rig.peer, PEER_MEM, 86);
    ck_assert_uint_eq(get(&rig, 0x010, 4), 7);
    ck_assert_uint_eq(get(&rig, 0x018, 8), 0x2000);
    ck_assert_uint_eq(get(&rig, 0x020, 8), 0x3000);
    memexpose_device_peer_name(rig.device, name);
    ck_assert_str_eq(name, "a?name");
    ck_assert_int_eq(memexpose_read(rig.device, 0x4fff, 2, &value), -ERANGE);
    rig_offer(&rig, 0x4fff, NULL, -1);
    peer_close(&rig.peer);
    rig_drive(&rig);
    ck_assert_uint_eq(get(&rig, 0x018, 8), 0);
    ck_assert_uint_eq(get(&rig, 0x020, 8), 0);
    rig_end(&rig);
}
END_TEST

/* 0x028 and 0x030: a change of the links raises the line too. */
START_TEST(interrupts_when_links_change)
{
    struct rig rig;

    rig_init(&rig, ROLE(_i));
    rig_start(&rig);
    ck_assert_uint_eq(get(&rig, 0x030, 8), 0);
    rig_connect(&rig);
    ck_assert(!rig.level);
    ck_assert_uint_eq(rig.interrupts, 0);
    ck_assert_int_eq(set(&rig, 0x028, 8, 1), 0);
    ck_assert_uint_eq(get(&rig, 0x028, 8), 1);
    ck_assert(rig.level);
    ck_assert_uint_eq(get(&rig, 0x034, 4), 0);  /* the other half */
    ck_assert(rig.level);
    ck_assert_uint_eq(get(&rig, 0x030, 8), 1);
    ck_assert(!rig.level);
    ck_assert_uint_eq(get(&rig, 0x030, 8), 0);
    peer_close(&rig.peer);
    rig_drive(&rig);
    ck_assert(rig.level);
    ck_assert_uint_eq(rig.rises, 2);
    ck_assert_int_eq(set(&rig, 0x028, 8, 0), 0);
    ck_assert(!rig.level);
    ck_assert_uint_eq(get(&rig, 0x030, 8), 1);
    rig_end(&rig);
}
END_TEST

/* --- interrupts ---------------------------------------------------------- */

START_TEST(receives_by_registers)
{
    struct rig rig;

    rig_up(&rig, ROLE(_i));
    peer_send(&rig.peer, PEER_INTR, say_intr(0x1122334455667788, 0xa5));
    rig_drive(&rig);
    ck_assert(rig.level);
    ck_assert_uint_eq(get(&rig, 0x404, 4), 0);  /* the half without action */
    ck_assert(rig.level);
    ck_assert_uint_eq(get(&rig, 0x400, 4), 1);
    ck_assert(!rig.level);
    ck_assert_uint_eq(get(&rig, 0x408, 8), 0x1122334455667788);
    ck_assert_uint_eq(get(&rig, 0x40c, 4), 0x11223344);
    ck_assert_uint_eq(get(&rig, 0x48f, 1), 0xa5);
    ck_assert_uint_eq(get(&rig, 0x490, 1), 0);
    ck_assert_uint_eq(get(&rig, 0x400, 8), 0);
    ck_assert_uint_eq(get(&rig, 0x408, 8), 0x1122334455667788);
    rig_end(&rig);
}
END_TEST

START_TEST(sends_by_registers)
{
    struct bytes wanted = say_intr(0xaabbccdd11223344, 0);
    struct rig rig;

    rig_up(&rig, ROLE(_i));
    set(&rig, 0x808, 4, 0x11223344);
    set(&rig, 0x80c, 4, 0xaabbccdd);
    ck_assert_uint_eq(get(&rig, 0x808, 8), 0xaabbccdd11223344);
    for (unsigned i = 0; i < 128; i++) {
        set(&rig, 0x810 + i, 1, i);
        wanted.at[14 + i] = (uint8_t)i;
    }
    ck_assert_uint_eq(get(&rig, 0x810 + 4, 4), 0x07060504);
    set(&rig, 0x804, 4, 1);     /* the half without action */
    peer_expect_nothing(&rig.peer, PEER_INTR);
    set(&rig, 0x800, 4, 0);     /* any write sends */
    peer_expect(&rig.peer, PEER_INTR, wanted);
    set(&rig, 0x800, 1, 77);
    peer_expect(&rig.peer, PEER_INTR, wanted);
    ck_assert_uint_eq(rig_stats(&rig).interrupts_sent, 2);
    rig_end(&rig);
}
END_TEST

/* 26 sent, 16 kept, 10 dropped without a word and counted. */
START_TEST(overflows)
{
    struct rig rig;
    struct memexpose_stats stats;

    rig_up(&rig, ROLE(_i));
    for (unsigned i = 0; i < 26; i++) {
        peer_send(&rig.peer, PEER_INTR, say_intr(i, 0));
    }
    while (rig_stats(&rig).interrupts_received < 26) {
        rig_drive(&rig);
    }
    stats = rig_stats(&rig);
    ck_assert_uint_eq(stats.interrupts_received, 26);
    ck_assert_uint_eq(stats.interrupts_dropped, 10);
    ck_assert_uint_eq(rig.rises, 1);
    for (unsigned i = 0; i < 16; i++) {
        ck_assert(rig.level);
        ck_assert_uint_eq(get(&rig, 0x400, 8), 1);
        ck_assert_uint_eq(get(&rig, 0x408, 8), i);
    }
    ck_assert(!rig.level);
    ck_assert_uint_eq(get(&rig, 0x400, 8), 0);
    harness_assert_not_logged("link closed");
    rig_end(&rig);
}
END_TEST

/* A message on each rise: the second comes only after the queue was empty. */
START_TEST(rises_once_until_drained)
{
    struct rig rig;

    rig_up(&rig, ROLE(_i));
    for (unsigned i = 1; i <= 3; i++) {
        peer_send(&rig.peer, PEER_INTR, say_intr(i, 0));
        rig_drive(&rig);
        peer_send(&rig.peer, PEER_INTR, say_intr(i, 0));
        rig_drive(&rig);
        ck_assert_uint_eq(rig.rises, i);
        ck_assert_uint_eq(get(&rig, 0x400, 8), 1);
        ck_assert_uint_eq(get(&rig, 0x400, 8), 1);
        ck_assert_uint_eq(get(&rig, 0x400, 8), 0);
    }
    rig_end(&rig);
}
END_TEST

/* One that comes when the queue has just been drained is a new rise. */
START_TEST(rises_again_between_two_looks)
{
    struct memexpose_interrupt interrupt;
    struct rig rig;

    rig_up(&rig, ROLE(_i));
    peer_send(&rig.peer, PEER_INTR, say_intr(1, 0));
    rig_drive(&rig);
    ck_assert_int_eq(memexpose_device_receive(rig.device, &interrupt), 0);
    peer_send(&rig.peer, PEER_INTR, say_intr(2, 0));
    rig_drive(&rig);
    ck_assert_uint_eq(rig.rises, 2);
    ck_assert(rig.level);
    rig_end(&rig);
}
END_TEST

/*
 * A full link never blocks its sender.  What gets through are whole messages,
 * in order; the others are counted.
 */
START_TEST(drops_when_the_link_is_full)
{
    struct memexpose_interrupt interrupt = sample;
    struct rig rig;
    uint64_t sent = 0, dropped = 0, last = 0;
    int size = 4608;

    rig_init(&rig, ROLE(_i));
    rig_start(&rig);
    rig_connect(&rig);
    ck_assert_int_eq(setsockopt(rig.peer.fd[PEER_INTR], SOL_SOCKET, SO_RCVBUF,
                                &size, sizeof(size)), 0);
    while (dropped < 10) {
        int ret;

        interrupt.type = sent + dropped;
        ret = memexpose_device_send(rig.device, &interrupt);
        ck_assert(ret == 0 || ret == -EAGAIN);
        sent += ret == 0;
        dropped += ret != 0;
    }
    ck_assert_uint_eq(rig_stats(&rig).interrupts_sent, sent);
    ck_assert_uint_eq(rig_stats(&rig).interrupts_dropped, dropped);
    for (uint64_t i = 0; i < sent; i++) {
        struct bytes bytes = peer_take(&rig.peer, PEER_INTR, 142);
        uint64_t type = mx_value_from_bytes(bytes.at + 6, 8);

        ck_assert_uint_eq(bytes.at[0], 142);
        ck_assert_uint_eq(bytes.at[4], 6);
        ck_assert(i == 0 || type > last);
        ck_assert_uint_eq(bytes.at[14], 1);
        last = type;
    }
    peer_expect_nothing(&rig.peer, PEER_INTR);
    ck_assert_int_eq(memexpose_device_send(rig.device, &sample), 0);
    rig_expect_served(&rig);
    rig_end(&rig);
}
END_TEST

/* Takes what there is as soon as it is told. */
static void takes_all(struct rig *rig, bool level, bool rise)
{
    struct memexpose_interrupt interrupt;
    uint64_t *next = rig->arg;

    (void)level;
    (void)rise;
    while (memexpose_device_receive(rig->device, &interrupt) == 0) {
        ck_assert_uint_eq(interrupt.type, *next);
        ++*next;
    }
}

/* However many come at once, none meets a full queue. */
START_TEST(drops_nothing_that_is_taken)
{
    struct rig rig;
    uint64_t next = 0;

    rig_up(&rig, ROLE(_i));
    rig.on_interrupt = takes_all;
    rig.arg = &next;
    for (unsigned i = 0; i < 100; i++) {
        peer_send(&rig.peer, PEER_INTR, say_intr(i, 0));
    }
    while (next < 100) {
        rig_drive(&rig);
    }
    ck_assert_uint_eq(rig_stats(&rig).interrupts_received, 100);
    ck_assert_uint_eq(rig_stats(&rig).interrupts_dropped, 0);
    rig_end(&rig);
}
END_TEST

START_TEST(drops_without_a_link)
{
    struct rig rig;

    rig_init(&rig, ROLE(_i));
    rig_start(&rig);
    ck_assert_int_eq(memexpose_device_send(rig.device, &sample), -ENOTCONN);
    ck_assert_int_eq(set(&rig, 0x800, 8, 1), 0);
    ck_assert_uint_eq(rig_stats(&rig).interrupts_dropped, 2);
    rig_end(&rig);
}
END_TEST

/* What was sent before the end is not lost. */
START_TEST(receives_what_came_before_the_end)
{
    struct rig rig;

    rig_up(&rig, ROLE(_i));
    for (unsigned i = 0; i < 16; i++) {
        peer_send(&rig.peer, PEER_INTR, say_intr(i, 0));
    }
    peer_close(&rig.peer);
    rig_drive(&rig);
    for (unsigned i = 0; i < 16; i++) {
        ck_assert_uint_eq(get(&rig, 0x400, 8), 1);
    }
    rig_end(&rig);
}
END_TEST

/* --- enabling ------------------------------------------------------------ */

struct enabling {
    struct rig *rig;
    pthread_t thread;
    int ret;
};

static void *run_enable(void *opaque)
{
    struct enabling *enabling = opaque;

    enabling->ret = set(enabling->rig, 0x000, 8, 1);
    return NULL;
}

static void begin_enable(struct enabling *enabling, struct rig *rig)
{
    enabling->rig = rig;
    ck_assert_int_eq(pthread_create(&enabling->thread, NULL, run_enable,
                                    enabling), 0);
}

static int end_enable(struct enabling *enabling)
{
    ck_assert_int_eq(pthread_join(enabling->thread, NULL), 0);
    return enabling->ret;
}

/* Until the thread is in its wait, as far as that can be seen. */
static void await_enabled(struct rig *rig)
{
    uint64_t value;

    /* With links -ENOTCONN would mean that it is not enabled. */
    while (memexpose_read(rig->device, 0, 1, &value) != -ENOTCONN) {
        rig_drive(rig);
        poll(NULL, 0, 1);
    }
}

START_TEST(waits_for_both_links)
{
    struct enabling enabling;
    struct rig rig;
    int theirs[PEER_LINKS];

    rig_init(&rig, ROLE(_i));
    rig_start(&rig);
    begin_enable(&enabling, &rig);
    peer_open(&rig.peer, theirs);
    ck_assert_int_eq(memexpose_device_attach(rig.device, MEMEXPOSE_LINK_INTR,
                                             theirs[PEER_INTR]), 0);
    ck_assert_int_eq(pthread_tryjoin_np(enabling.thread, NULL), EBUSY);
    ck_assert_int_eq(memexpose_device_attach(rig.device, MEMEXPOSE_LINK_MEM,
                                             theirs[PEER_MEM]), 0);
    ck_assert_int_eq(end_enable(&enabling), 0);
    ck_assert_uint_eq(get(&rig, 0x000, 8), 1);
    rig_end(&rig);
}
END_TEST

START_TEST(waits_no_longer_than_told)
{
    struct rig rig;
    int64_t begun;

    rig_init(&rig, ROLE(_i));
    rig.config.connect_timeout = 100 * MS;
    rig_start(&rig);
    begun = memexpose_group_now(rig.group);
    ck_assert_int_eq(set(&rig, 0x000, 8, 1), -ETIMEDOUT);
    ck_assert_int_ge(memexpose_group_now(rig.group) - begun, 100 * MS);
    ck_assert_uint_eq(get(&rig, 0x000, 8), 0);
    rig_connect(&rig);          /* it stays enabled all the same */
    ck_assert_uint_eq(get(&rig, 0x000, 8), 1);
    rig_end(&rig);
}
END_TEST

START_TEST(does_not_wait_if_told_so)
{
    struct rig rig;

    rig_init(&rig, ROLE(_i));
    rig.config.wait = false;
    rig_start(&rig);
    ck_assert_int_eq(set(&rig, 0x000, 8, 1), -EINPROGRESS);
    ck_assert_uint_eq(get(&rig, 0x000, 8), 0);
    rig_connect(&rig);
    ck_assert_uint_eq(get(&rig, 0x000, 8), 1);
    rig_end(&rig);
}
END_TEST

/* What ends a wait: cancel, disable, reset. */
START_TEST(ends_a_wait)
{
    struct enabling enabling;
    struct rig rig;

    rig_init(&rig, MEMEXPOSE_ROLE_LISTEN);
    rig_start(&rig);
    begin_enable(&enabling, &rig);
    await_enabled(&rig);
    do {
        switch (_i) {
        case 0:
            memexpose_device_cancel(rig.device);
            break;
        case 1:
            memexpose_group_cancel(rig.group);
            break;
        case 2:
            memexpose_device_disable(rig.device);
            break;
        default:
            memexpose_device_reset(rig.device);
            break;
        }
        poll(NULL, 0, 1);       /* the other thread's turn */
    } while (pthread_tryjoin_np(enabling.thread, NULL) == EBUSY);
    ck_assert_int_eq(enabling.ret, -ECANCELED);
    if (_i == 2) {
        ck_assert_int_eq(memexpose_device_enable(rig.device, 0),
                         -EINPROGRESS);
    }
    rig_connect(&rig);
    ck_assert_uint_eq(get(&rig, 0x000, 8), _i < 3);
    rig_end(&rig);
}
END_TEST

/* Writing 0 closes both links and refuses new ones until 1 or reset. */
START_TEST(refuses_links_when_disabled)
{
    struct rig rig;
    int theirs[PEER_LINKS];

    rig_up(&rig, ROLE(_i & 1));
    ck_assert_int_eq(set(&rig, 0x000, 8, 0), 0);
    peer_expect_end(&rig.peer, PEER_MEM);
    peer_expect_end(&rig.peer, PEER_INTR);
    ck_assert_uint_eq(get(&rig, 0x000, 8), 0);
    ck_assert_uint_eq(get(&rig, 0x010, 4), 0);
    peer_close(&rig.peer);
    peer_open(&rig.peer, theirs);
    ck_assert_int_eq(memexpose_device_attach(rig.device, MEMEXPOSE_LINK_MEM,
                                             theirs[PEER_MEM]), -EPERM);
    close(theirs[PEER_MEM]);
    close(theirs[PEER_INTR]);
    if (_i & 2) {
        memexpose_device_reset(rig.device);
    } else {
        ck_assert_int_eq(memexpose_device_enable(rig.device, 0),
                         -EINPROGRESS);
    }
    rig_connect(&rig);
    ck_assert_uint_eq(get(&rig, 0x000, 8), !(_i & 2));
    rig_expect_served(&rig);
    rig_end(&rig);
}
END_TEST

/* Only the half that holds the first byte acts. */
START_TEST(enables_by_the_first_byte)
{
    struct rig rig;

    rig_init(&rig, ROLE(_i));
    rig_start(&rig);
    rig_connect(&rig);
    ck_assert_int_eq(set(&rig, 0x004, 4, 1), 0);
    ck_assert_uint_eq(get(&rig, 0x000, 8), 0);
    ck_assert_int_eq(set(&rig, 0x000, 1, 0xff), 0);
    ck_assert_uint_eq(get(&rig, 0x000, 4), 1);
    ck_assert_uint_eq(get(&rig, 0x004, 4), 0);
    ck_assert_int_eq(set(&rig, 0x004, 4, 0), 0);
    ck_assert_uint_eq(get(&rig, 0x000, 4), 1);
    rig_end(&rig);
}
END_TEST

/* --- reset --------------------------------------------------------------- */

START_TEST(tells_that_it_is_enabled)
{
    struct rig rig;

    rig_init(&rig, MEMEXPOSE_ROLE_LISTEN);
    rig.config.wait = false;
    rig_start(&rig);
    ck_assert(!memexpose_device_is_enabled(rig.device));
    ck_assert_int_eq(set(&rig, 0x000, 8, 1), -EINPROGRESS);
    ck_assert(memexpose_device_is_enabled(rig.device));
    ck_assert_uint_eq(get(&rig, 0x000, 8), 0);  /* no link is there */
    set(&rig, 0x000, 8, 0);
    ck_assert(!memexpose_device_is_enabled(rig.device));
    set(&rig, 0x000, 8, 1);
    memexpose_device_reset(rig.device);
    ck_assert(!memexpose_device_is_enabled(rig.device));
    rig_end(&rig);
}
END_TEST

START_TEST(resets_everything)
{
    struct rig rig;

    rig_up(&rig, ROLE(_i));
    peer_send(&rig.peer, PEER_INTR, say_intr(7, 7));
    peer_send(&rig.peer, PEER_INTR, say_intr(8, 8));
    rig_drive(&rig);
    ck_assert_uint_eq(get(&rig, 0x400, 8), 1);
    set(&rig, 0x808, 8, 5);
    set(&rig, 0x810, 8, 5);
    set(&rig, 0x028, 8, 1);
    memexpose_device_reset(rig.device);
    peer_expect_end(&rig.peer, PEER_MEM);
    peer_expect_end(&rig.peer, PEER_INTR);
    ck_assert_uint_eq(get(&rig, 0x000, 8), 0);
    ck_assert_uint_eq(get(&rig, 0x028, 8), 0);
    ck_assert_uint_eq(get(&rig, 0x400, 8), 0);
    ck_assert_uint_eq(get(&rig, 0x408, 8), 0);
    ck_assert_uint_eq(get(&rig, 0x410, 8), 0);
    ck_assert_uint_eq(get(&rig, 0x808, 8), 0);
    ck_assert_uint_eq(get(&rig, 0x810, 8), 0);
    ck_assert(!rig.level);
    rig_connect(&rig);          /* they may come up anew */
    rig_expect_served(&rig);
    ck_assert_uint_eq(get(&rig, 0x000, 8), 0);
    rig_end(&rig);
}
END_TEST

/* A device never enabled keeps its links. */
START_TEST(keeps_its_links_if_never_enabled)
{
    struct rig rig;

    rig_init(&rig, ROLE(_i));
    rig_start(&rig);
    rig_connect(&rig);
    peer_send(&rig.peer, PEER_INTR, say_intr(7, 7));
    rig_drive(&rig);
    memexpose_device_reset(rig.device);
    ck_assert_uint_eq(get(&rig, 0x400, 8), 0);
    rig_expect_served(&rig);
    rig_end(&rig);
}
END_TEST

/* An access that waits when the device is reset. */
START_TEST(reset_ends_accesses)
{
    struct access access;
    struct rig rig;

    rig_up(&rig, ROLE(_i));
    begin_read(&access, &rig, 0x1000, 1);
    peer_expect(&rig.peer, PEER_MEM, say_read(rig_own(&rig, ACCESS), 0x1000,
                                              1));
    memexpose_device_reset(rig.device);
    ck_assert_uint_eq(memexpose_result(end_access(&access)), 1);
    peer_expect_end(&rig.peer, PEER_MEM);
    rig_end(&rig);
}
END_TEST

/* --- main ---------------------------------------------------------------- */

static void both_roles(TCase *tcase, const TTest *test)
{
    tcase_add_loop_test(tcase, test, 0, 2);
}

int main(void)
{
    Suite *suite = suite_create("device-guest");
    TCase *tcase = harness_tcase("links");

    both_roles(tcase, tells_of_its_links);
    both_roles(tcase, tells_of_each_link);
    tcase_add_test(tcase, tells_of_the_span);
    both_roles(tcase, interrupts_when_links_change);
    suite_add_tcase(suite, tcase);
    tcase = harness_tcase("interrupts");
    both_roles(tcase, receives_by_registers);
    both_roles(tcase, sends_by_registers);
    both_roles(tcase, overflows);
    both_roles(tcase, drops_nothing_that_is_taken);
    both_roles(tcase, rises_once_until_drained);
    both_roles(tcase, rises_again_between_two_looks);
    both_roles(tcase, drops_when_the_link_is_full);
    both_roles(tcase, drops_without_a_link);
    both_roles(tcase, receives_what_came_before_the_end);
    suite_add_tcase(suite, tcase);
    tcase = harness_tcase("enabling");
    both_roles(tcase, waits_for_both_links);
    both_roles(tcase, waits_no_longer_than_told);
    both_roles(tcase, does_not_wait_if_told_so);
    tcase_add_loop_test(tcase, ends_a_wait, 0, 4);
    tcase_add_loop_test(tcase, refuses_links_when_disabled, 0, 4);
    both_roles(tcase, enables_by_the_first_byte);
    tcase_add_test(tcase, tells_that_it_is_enabled);
    suite_add_tcase(suite, tcase);
    tcase = harness_tcase("reset");
    both_roles(tcase, resets_everything);
    both_roles(tcase, keeps_its_links_if_never_enabled);
    both_roles(tcase, reset_ends_accesses);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
