/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Offers (protocol section 9): a device that makes them to a raw peer, and to
 * another device.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness.h"
#include "rig.h"

enum { MORE = 0x100000, MORE_SIZE = 0x2000 };

static const struct offer more = { .start = MORE, .size = MORE_SIZE };

static void prepare(struct rig *rig, int i)
{
    rig_init(rig, ROLE(i));
    rig->config.hello = MEMEXPOSE_HELLO_ON;
    rig->config.push = true;
}

static void up(struct rig *rig, int i)
{
    prepare(rig, i);
    rig_start(rig);
    rig_greet(rig, RIG_PUSH);
}

static void expect_offer(struct rig *rig, const struct offer *offer)
{
    close(peer_expect_fd(&rig->peer, PEER_MEM, say_offer(offer)));
}

static void expect_end(struct rig *rig)
{
    peer_expect(&rig->peer, PEER_MEM, say_offer(NULL));
}

/* --- what is offered, and when ------------------------------------------- */

START_TEST(offers_all)
{
    struct rig rig;

    prepare(&rig, _i);
    rig_start(&rig);
    ck_assert_int_eq(memexpose_space_add_ram(rig.space, MORE, MORE_SIZE, -1,
                                             0, 0), 0);
    ck_assert_int_eq(memexpose_space_add_ram(rig.space, 0x200000, 0x1000, -1,
                                             0, MEMEXPOSE_RAM_PRIVATE), 0);
    rig_greet(&rig, RIG_PUSH | RIG_BLOCK);
    expect_offer(&rig, &rig_whole_ram);
    expect_offer(&rig, &more);
    expect_end(&rig);
    peer_expect_nothing(&rig.peer, PEER_MEM);
    ck_assert_uint_eq(rig_stats(&rig).offers_sent, 2);
    ck_assert_uint_eq(rig_stats(&rig).shares_sent, 2);
    rig_expect_served(&rig);
    peer_send(&rig.peer, PEER_MEM, say_offer(NULL));
    rig_end(&rig);
}
END_TEST

/* An access that came before is answered behind them. */
START_TEST(offers_first)
{
    struct hello hello = hello_default();
    struct bytes bytes, question;
    struct rig rig;

    prepare(&rig, 0);
    rig_start(&rig);
    rig_connect(&rig);
    hello.features = RIG_PUSH;
    bytes = say_hello(&hello);
    question = say_read(3, RIG_MMIO + 8, 8);
    memcpy(bytes.at + bytes.count, question.at, question.count);
    bytes.count += question.count;
    peer_send(&rig.peer, PEER_MEM, bytes);
    peer_take(&rig.peer, PEER_MEM, 86);
    expect_offer(&rig, &rig_whole_ram);
    expect_end(&rig);
    peer_expect(&rig.peer, PEER_MEM, say_read_ret(3, 0, 8, NULL));
    rig_end(&rig);
}
END_TEST

static int no_share(struct rig *rig, uint64_t address,
                    struct memexpose_share *share)
{
    (void)rig;
    (void)address;
    (void)share;
    return 0;
}

START_TEST(has_nothing_to_offer)
{
    struct rig rig;

    prepare(&rig, _i);
    rig.on_next_share = no_share;
    rig_start(&rig);
    rig_greet(&rig, RIG_PUSH);
    expect_end(&rig);
    peer_expect_nothing(&rig.peer, PEER_MEM);
    ck_assert_uint_eq(rig.asked_shares, 1);
    ck_assert_uint_eq(rig_stats(&rig).offers_sent, 0);
    rig_end(&rig);
}
END_TEST

START_TEST(keeps_everything_if_told_to)
{
    struct rig rig;

    prepare(&rig, _i);
    rig.config.share = false;
    rig_start(&rig);
    rig_greet(&rig, RIG_PUSH);
    expect_end(&rig);
    ck_assert_uint_eq(rig.asked_shares, 0);
    rig_end(&rig);
}
END_TEST

/* Not agreed on: as ever. */
START_TEST(does_not_offer_unasked)
{
    struct rig rig;

    for (unsigned way = 0; way < 3; way++) {
        prepare(&rig, _i);
        rig.config.push = way > 0;
        if (way == 2) {
            rig.config.hello = MEMEXPOSE_HELLO_OFF;
            rig_start(&rig);
            rig_connect(&rig);
            ck_assert_int_eq(memexpose_device_enable(rig.device, 0), 0);
        } else {
            rig_start(&rig);
            rig_greet(&rig, way == 0 ? RIG_PUSH | RIG_BLOCK : RIG_BLOCK);
        }
        peer_expect_nothing(&rig.peer, PEER_MEM);
        rig_take_share(&rig, RIG_RAM, &rig_whole_ram);
        ck_assert_int_eq(memexpose_space_add_ram(rig.space, MORE, MORE_SIZE,
                                                 -1, 0, 0), 0);
        peer_expect_nothing(&rig.peer, PEER_MEM);
        ck_assert_uint_eq(rig.asked_shares, 0);
        rig_end(&rig);
    }
}
END_TEST

/* A new peer gets them all again. */
START_TEST(offers_to_the_next)
{
    struct rig rig;

    up(&rig, _i);
    for (unsigned i = 0; i < 3; i++) {
        expect_offer(&rig, &rig_whole_ram);
        expect_end(&rig);
        peer_close(&rig.peer);
        rig_drive(&rig);
        rig_greet(&rig, i == 1 ? 0 : RIG_PUSH);
        if (i == 1) {           /* of base between them */
            peer_expect_nothing(&rig.peer, PEER_MEM);
            peer_close(&rig.peer);
            rig_drive(&rig);
            rig_greet(&rig, RIG_PUSH);
        }
    }
    expect_offer(&rig, &rig_whole_ram);
    expect_end(&rig);
    rig_end(&rig);
}
END_TEST

/* --- what is not offered ------------------------------------------------- */

struct listed {
    struct memexpose_share share;
    int fd;
};

/* Three ranges, of which the one in the middle is a mistake. */
static struct listed list[3];

static int listed_share(struct rig *rig, uint64_t address,
                        struct memexpose_share *share)
{
    (void)rig;
    for (unsigned i = 0; i < 3; i++) {
        if (list[i].share.start + (list[i].share.size - 1) >= address) {
            *share = list[i].share;
            share->fd = dup(list[i].fd);
            return 1;
        }
    }
    return 0;
}

static void fill_list(void)
{
    for (unsigned i = 0; i < 3; i++) {
        list[i].share = (struct memexpose_share) {
            .start = MORE + 0x10000 * i, .size = 0x1000,
        };
        list[i].fd = peer_memory(0x1000, 1, true);
    }
}

static struct offer offer_of(unsigned i)
{
    return (struct offer) { .start = list[i].share.start,
                            .size = list[i].share.size };
}

static void close_list(void)
{
    for (unsigned i = 0; i < 3; i++) {
        close(list[i].fd);
    }
}

static int a_pipe(void)
{
    int pipes[2];

    ck_assert_int_eq(pipe(pipes), 0);
    close(pipes[1]);
    return pipes[0];
}

START_TEST(does_not_offer_by_mistake)
{
    struct offer first, last;
    struct rig rig;
    size_t open;

    fill_list();
    first = offer_of(0);
    last = offer_of(2);
    switch (_i) {
    case 0:                     /* read-only, but not sealed */
        list[1].share.readonly = true;
        break;
    case 1:                     /* longer than the object */
        list[1].share.size = 0x2000;
        break;
    case 2:
        list[1].share.offset = 0x1000;
        break;
    default:
        close(list[1].fd);
        list[1].fd = a_pipe();
        break;
    }
    prepare(&rig, 0);
    rig.on_next_share = listed_share;
    rig_start(&rig);
    rig_greet(&rig, RIG_PUSH);
    open = harness_descriptors();
    expect_offer(&rig, &first);
    expect_offer(&rig, &last);
    expect_end(&rig);
    ck_assert_uint_eq(harness_descriptors(), open);
    ck_assert_uint_eq(rig_stats(&rig).offers_sent, 2);
    close_list();
    rig_end(&rig);
}
END_TEST

/* One that is said over and over, or is at the very end. */
static int same_share(struct rig *rig, uint64_t address,
                      struct memexpose_share *share)
{
    (void)address;
    *share = list[0].share;
    share->fd = dup(list[0].fd);
    ck_assert_uint_lt(rig->asked_shares, 10);
    return 1;
}

START_TEST(comes_to_an_end)
{
    struct offer offer;
    struct rig rig;

    fill_list();
    if (_i) {
        list[0].share.start = UINT64_MAX - 0xfff;
    }
    offer = offer_of(0);
    prepare(&rig, 0);
    rig.on_next_share = same_share;
    rig_start(&rig);
    rig_greet(&rig, RIG_PUSH);
    expect_offer(&rig, &offer);
    expect_end(&rig);
    peer_expect_nothing(&rig.peer, PEER_MEM);
    close_list();
    rig_end(&rig);
}
END_TEST

/* --- changes of the memory map ------------------------------------------- */

/* What is new is offered; what was shared already is not again. */
START_TEST(offers_what_is_new)
{
    struct rig rig;

    up(&rig, _i);
    expect_offer(&rig, &rig_whole_ram);
    expect_end(&rig);
    memexpose_map_change_begin(rig.group);
    ck_assert_int_eq(memexpose_space_add_ram(rig.space, MORE, MORE_SIZE, -1,
                                             0, 0), 0);
    memexpose_map_change_end(rig.group);
    expect_offer(&rig, &more);
    expect_end(&rig);
    memexpose_map_change_begin(rig.group);
    peer_expect_nothing(&rig.peer, PEER_MEM);
    memexpose_map_change_end(rig.group);
    expect_end(&rig);
    ck_assert_uint_eq(rig_stats(&rig).offers_sent, 2);
    rig_end(&rig);
}
END_TEST

/* What was withdrawn is offered anew, before kept accesses are serviced. */
START_TEST(offers_anew)
{
    struct change change;
    struct rig rig;
    uint8_t p;

    up(&rig, _i);
    p = rig_peer(&rig, ACCESS);
    expect_offer(&rig, &rig_whole_ram);
    expect_end(&rig);
    begin_change(&change, &rig, RIG_RAM, 1);
    peer_expect(&rig.peer, PEER_MEM, say_inv(rig_own(&rig, INVALIDATE),
                                             RIG_RAM, RIG_RAM_SIZE));
    peer_send(&rig.peer, PEER_MEM, say_read(p, RIG_MMIO + 8, 8));
    peer_expect_nothing(&rig.peer, PEER_MEM);
    peer_send(&rig.peer, PEER_MEM, say_inv_ret(rig_own(&rig, INVALIDATE)));
    ck_assert_int_eq(end_change(&change), 0);
    expect_offer(&rig, &rig_whole_ram);
    expect_end(&rig);
    peer_expect(&rig.peer, PEER_MEM, say_read_ret(p, 0, 8, NULL));
    rig_end(&rig);
}
END_TEST

/* A change begins between two offers. */
static int share_and_change(struct rig *rig, uint64_t address,
                            struct memexpose_share *share)
{
    if (rig->asked_shares == 2) {
        memexpose_map_change_begin(rig->group);
    }
    return listed_share(rig, address, share);
}

START_TEST(stops_for_a_change)
{
    struct offer first, second, third;
    struct change change;
    struct rig rig;

    fill_list();
    first = offer_of(0);
    second = offer_of(1);
    third = offer_of(2);
    prepare(&rig, _i);
    rig.on_next_share = share_and_change;
    rig_start(&rig);
    rig_greet(&rig, RIG_PUSH);
    expect_offer(&rig, &first);
    peer_expect_nothing(&rig.peer, PEER_MEM);
    ck_assert_uint_eq(rig.asked_shares, 2);
    begin_change(&change, &rig, first.start, 1);
    peer_expect(&rig.peer, PEER_MEM, say_inv(rig_own(&rig, INVALIDATE),
                                             first.start, first.size));
    peer_expect_nothing(&rig.peer, PEER_MEM);
    peer_send(&rig.peer, PEER_MEM, say_inv_ret(rig_own(&rig, INVALIDATE)));
    ck_assert_int_eq(end_change(&change), 0);
    peer_expect_nothing(&rig.peer, PEER_MEM);   /* the outer one goes on */
    memexpose_map_change_end(rig.group);
    expect_offer(&rig, &first);
    expect_offer(&rig, &second);
    expect_offer(&rig, &third);
    expect_end(&rig);
    close_list();
    rig_end(&rig);
}
END_TEST

/* An end of the links in the middle: nothing is left, the next gets all. */
static void (*ender)(struct rig *rig);

static int share_and_end(struct rig *rig, uint64_t address,
                         struct memexpose_share *share)
{
    if (rig->asked_shares == 2) {
        ender(rig);
    }
    return listed_share(rig, address, share);
}

static void end_disable(struct rig *rig)
{
    memexpose_device_disable(rig->device);
}

static void end_reset(struct rig *rig)
{
    memexpose_device_reset(rig->device);
}

static void end_destroy(struct rig *rig)
{
    memexpose_device_destroy(rig->device);
    rig->device = NULL;
}

static void (*const enders[])(struct rig *rig) = { end_disable, end_reset,
                                                   end_destroy };

START_TEST(ends_while_it_is_asked)
{
    struct offer first;
    struct rig rig;

    fill_list();
    first = offer_of(0);
    prepare(&rig, 0);
    ender = enders[_i];
    rig.on_next_share = share_and_end;
    rig_start(&rig);
    rig_greet(&rig, RIG_PUSH);
    expect_offer(&rig, &first);
    peer_expect_end(&rig.peer, PEER_MEM);
    ck_assert_uint_eq(rig.asked_shares, 2);
    if (rig.device) {
        memexpose_device_enable(rig.device, 0);     /* links may come */
        rig_connect(&rig);
        ck_assert_int_eq(memexpose_device_enable(rig.device, 0), 0);
        rig_expect_served(&rig);
    }
    close_list();
    rig_end(&rig);
}
END_TEST

/* --- two devices --------------------------------------------------------- */

static bool is_all_mapped(void *opaque)
{
    struct rig *rigs = opaque;

    rig_drive(&rigs[0]);
    rig_drive(&rigs[1]);
    return rig_ranges(&rigs[0]) == 1 && rig_ranges(&rigs[1]) == 4;
}

static void connect_both(struct rig *rigs)
{
    for (int which = 0; which < PEER_LINKS; which++) {
        enum memexpose_link link = which == PEER_MEM ? MEMEXPOSE_LINK_MEM :
                                                       MEMEXPOSE_LINK_INTR;
        int pair[2];

        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
                                    pair), 0);
        for (int i = 0; i < 2; i++) {
            ck_assert_int_eq(memexpose_device_attach(rigs[i].device, link,
                                                     pair[i]), 0);
        }
    }
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(memexpose_device_enable(rigs[i].device, 0), 0);
    }
}

/* All is mapped before anybody asks, and no access ever goes over the link. */
START_TEST(no_request_is_sent)
{
    static uint8_t block[RIG_RAM_SIZE];
    struct rig rigs[2];
    uint64_t value;

    for (int i = 0; i < 2; i++) {
        prepare(&rigs[i], i);
        rigs[i].config.window_size = UINT64_MAX;
        rig_start(&rigs[i]);
    }
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(memexpose_space_add_ram(rigs[0].space, MORE +
                                                 0x100000 * i, MORE_SIZE, -1,
                                                 0, 0), 0);
    }
    connect_both(rigs);
    harness_wait(is_all_mapped, rigs, PEER_PATIENCE);
    ck_assert_uint_eq(rigs[0].updates, 0);      /* one range: no run */
    ck_assert_uint_eq(rigs[1].updates, 1);
    ck_assert_int_eq(memexpose_write(rigs[1].device, MORE, 8, 42), 0);
    ck_assert_int_eq(memexpose_read(rigs[1].device, MORE, 8, &value), 0);
    ck_assert_uint_eq(value, 42);
    ck_assert_int_eq(memexpose_read_block(rigs[0].device, RIG_RAM, block,
                                          RIG_RAM_SIZE, NULL), 0);
    for (int i = 0; i < 2; i++) {
        ck_assert_uint_eq(rig_stats(&rigs[i]).requests_sent, 0);
        ck_assert_uint_eq(rig_stats(&rigs[i]).requests_served, 0);
        ck_assert_uint_eq(rig_stats(&rigs[i]).offers_sent, i ? 1 : 4);
        ck_assert_uint_eq(rig_stats(&rigs[i]).offers_received, i ? 4 : 1);
        ck_assert_uint_eq(rig_stats(&rigs[i]).shares_received, i ? 4 : 1);
    }
    rig_end(&rigs[0]);
    rig_end(&rigs[1]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("push");
    TCase *tcase = harness_tcase("offers");

    tcase_add_loop_test(tcase, offers_all, 0, 2);
    tcase_add_test(tcase, offers_first);
    tcase_add_loop_test(tcase, has_nothing_to_offer, 0, 2);
    tcase_add_loop_test(tcase, keeps_everything_if_told_to, 0, 2);
    tcase_add_loop_test(tcase, does_not_offer_unasked, 0, 2);
    tcase_add_loop_test(tcase, offers_to_the_next, 0, 2);
    tcase_add_loop_test(tcase, does_not_offer_by_mistake, 0, 4);
    tcase_add_loop_test(tcase, comes_to_an_end, 0, 2);
    suite_add_tcase(suite, tcase);
    tcase = harness_tcase("changes");
    tcase_add_loop_test(tcase, offers_what_is_new, 0, 2);
    tcase_add_loop_test(tcase, offers_anew, 0, 2);
    tcase_add_loop_test(tcase, stops_for_a_change, 0, 2);
    tcase_add_loop_test(tcase, ends_while_it_is_asked, 0, 3);
    tcase_add_test(tcase, no_request_is_sent);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
