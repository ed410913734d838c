/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Offers (protocol section 9) that a raw peer makes to a device.
 */
#include <errno.h>

#include "device.h"
#include "push.h"

/* --- what is mapped, and when -------------------------------------------- */

static int map_in_run(struct rig *rig, const struct memexpose_range *range)
{
    (void)range;
    ck_assert(rig->updating);
    return 0;
}

START_TEST(maps_all_in_one_run)
{
    struct rig rig;

    prepare(&rig, _i);
    rig.on_map = map_in_run;
    rig_start(&rig);
    settle(&rig);
    for (unsigned i = 0; i < 3; i++) {
        offer_range(&rig, i);
        rig_drive(&rig);
    }
    rig_drive(&rig);
    ck_assert_uint_eq(rig.maps, 0);
    ck_assert_uint_eq(rig_ranges(&rig), 0);
    end_offers(&rig);
    ck_assert_uint_eq(rig.maps, 3);
    ck_assert_uint_eq(rig.updates, 1);
    ck_assert(!rig.updating);
    ck_assert_uint_eq(rig_ranges(&rig), 3);
    for (unsigned i = 0; i < 3; i++) {
        expect_direct(&rig, i);
    }
    ck_assert_uint_eq(rig_stats(&rig).offers_received, 3);
    ck_assert_uint_eq(rig_stats(&rig).shares_received, 3);
    ck_assert_uint_eq(rig_stats(&rig).requests_sent, 0);
    peer_close(&rig.peer);
    rig_drive(&rig);
    ck_assert_uint_eq(rig.unmaps, 3);
    ck_assert_uint_eq(rig.updates, 2);          /* they went in one, too */
    ck_assert(!rig.updating);
    rig_end(&rig);
}
END_TEST

START_TEST(one_is_no_run)
{
    struct rig rig;

    up(&rig, _i);
    offer_range(&rig, 0);
    end_offers(&rig);
    expect_direct(&rig, 0);
    ck_assert_uint_eq(rig.updates, 0);
    ck_assert_uint_eq(rig.maps, 1);
    rig_end(&rig);
}
END_TEST

/* An access that was there first waits, and is not sent if it is mapped. */
START_TEST(accesses_wait_for_the_end)
{
    struct access inside, outside;
    struct rig rig;
    uint8_t p;

    up(&rig, _i);
    p = rig_own(&rig, ACCESS);
    begin_read(&inside, &rig, AT, 1);
    peer_expect_nothing(&rig.peer, PEER_MEM);
    begin_read(&outside, &rig, 0x1000, 1);
    offer_range(&rig, 0);
    peer_expect_nothing(&rig.peer, PEER_MEM);
    peer_send(&rig.peer, PEER_MEM, say_offer(NULL));
    peer_expect(&rig.peer, PEER_MEM, say_read(p, 0x1000, 1));
    peer_send(&rig.peer, PEER_MEM, say_read_ret(p, 0, 9, NULL));
    ck_assert_int_eq(end_access(&outside), 0);
    ck_assert_uint_eq(outside.value, 9);
    ck_assert_int_eq(end_access(&inside), 0);
    ck_assert_uint_eq(inside.value, 0x21);
    ck_assert_uint_eq(rig_stats(&rig).requests_sent, 1);
    rig_end(&rig);
}
END_TEST

START_TEST(blocks_wait_for_the_end)
{
    static uint8_t mine[SIZE], wanted[SIZE];
    struct transfer transfer;
    struct rig rig;

    up(&rig, _i);
    begin_transfer(&transfer, &rig, false, AT, mine, SIZE);
    peer_expect_nothing(&rig.peer, PEER_MEM);
    offer_range(&rig, 0);
    end_offers(&rig);
    ck_assert_int_eq(end_transfer(&transfer), 0);
    memset(wanted, 0x21, SIZE);
    ck_assert_mem_eq(mine, wanted, SIZE);
    ck_assert_uint_eq(rig_stats(&rig).requests_sent, 0);
    rig_end(&rig);
}
END_TEST

/* Then the deadline of the access that waits does. */
START_TEST(offers_do_not_end)
{
    struct access access;
    struct rig rig;

    prepare(&rig, _i);
    rig.config.request_timeout = harness_milliseconds(300) * MS;
    rig_start(&rig);
    settle(&rig);
    offer_range(&rig, 0);
    begin_read(&access, &rig, AT, 1);
    ck_assert_int_eq(end_access(&access), -ETIMEDOUT);
    peer_expect_end(&rig.peer, PEER_MEM);
    peer_expect_end(&rig.peer, PEER_INTR);
    harness_assert_logged("the peer's offers did not end in time");
    ck_assert_uint_eq(rig_stats(&rig).requests_sent, 0);
    ck_assert_uint_eq(rig_stats(&rig).violations, 0);
    ck_assert_uint_eq(rig.maps, 0);
    settle(&rig);
    end_offers(&rig);
    expect_link(&rig, 0);
    rig_end(&rig);
}
END_TEST

/* Nobody asks: nothing is late. */
START_TEST(cancelled_while_they_last)
{
    struct access access;
    struct rig rig;

    up(&rig, _i);
    begin_read(&access, &rig, AT, 1);
    while (pthread_tryjoin_np(access.thread, NULL) != 0) {
        memexpose_device_cancel(rig.device);    /* has it begun to wait? */
        peer_expect_nothing(&rig.peer, PEER_MEM);
    }
    ck_assert_int_eq(access.ret, -ECANCELED);
    end_offers(&rig);
    peer_expect_nothing(&rig.peer, PEER_MEM);
    expect_link(&rig, 0);
    rig_end(&rig);
}
END_TEST

START_TEST(nothing_is_offered)
{
    struct rig rig;

    up(&rig, _i);
    end_offers(&rig);
    ck_assert_uint_eq(rig.maps + rig.updates, 0);
    expect_link(&rig, 0);
    end_offers(&rig);           /* once more does no harm */
    expect_link(&rig, 0);
    rig_expect_served(&rig);
    rig_end(&rig);
}
END_TEST

/* --- changes ------------------------------------------------------------- */

START_TEST(offered_anew)
{
    struct access access;
    struct rig rig;
    uint8_t q;

    up(&rig, _i);
    q = rig_peer(&rig, INVALIDATE);
    offer_range(&rig, 0);
    offer_range(&rig, 1);
    end_offers(&rig);
    rig_ask(&rig, say_inv(q, AT, SIZE), say_inv_ret(q));
    rig_drive(&rig);
    ck_assert_uint_eq(rig.unmaps, 1);
    ck_assert_uint_eq(rig_ranges(&rig), 1);
    begin_read(&access, &rig, AT, 1);
    peer_expect_nothing(&rig.peer, PEER_MEM);
    expect_direct(&rig, 1);     /* what is mapped still can be reached */
    offer_range(&rig, 0);
    peer_expect_nothing(&rig.peer, PEER_MEM);
    end_offers(&rig);
    ck_assert_int_eq(end_access(&access), 0);
    ck_assert_uint_eq(access.value, 0x21);
    ck_assert_uint_eq(rig_stats(&rig).requests_sent, 0);
    rig_end(&rig);
}
END_TEST

/* A change in the middle: what it takes back is not mapped. */
START_TEST(withdrawn_before_it_is_mapped)
{
    struct rig rig;
    uint8_t q;

    up(&rig, _i);
    q = rig_peer(&rig, INVALIDATE);
    for (unsigned i = 0; i < 3; i++) {
        offer_range(&rig, i);
    }
    rig_drive(&rig);
    rig_ask(&rig, say_inv(q, range(1).start + 5, 1), say_inv_ret(q));
    end_offers(&rig);
    ck_assert_uint_eq(rig.maps, 2);
    ck_assert_uint_eq(rig.unmaps, 0);
    ck_assert_uint_eq(rig_ranges(&rig), 2);
    expect_direct(&rig, 0);
    expect_direct(&rig, 2);
    expect_link(&rig, 1);
    rig_end(&rig);
}
END_TEST

/* Once it is taken back it is in nobody's way. */
START_TEST(offered_again_before_it_is_mapped)
{
    struct offer larger = range(0);
    struct rig rig;
    uint8_t q;

    up(&rig, _i);
    q = rig_peer(&rig, INVALIDATE);
    offer_range(&rig, 0);
    larger.start -= 0x1000;
    offer_filled(&rig, &larger, 0x55);
    harness_wait(is_received, &rig, PEER_PATIENCE);
    harness_assert_logged("overlaps what is about to be mapped");
    rig_ask(&rig, say_inv(q, range(0).start, 1), say_inv_ret(q));
    offer_range(&rig, 0);
    end_offers(&rig);
    ck_assert_uint_eq(rig.maps, 1);
    ck_assert_uint_eq(rig_ranges(&rig), 1);
    expect_direct(&rig, 0);
    rig_ask(&rig, say_inv(q, range(0).start, 1), say_inv_ret(q));
    offer_filled(&rig, &larger, 0x21);
    end_offers(&rig);
    ck_assert_uint_eq(rig.maps, 2);
    expect_direct(&rig, 0);
    rig_end(&rig);
}
END_TEST

/* New memory, without an invalidation before it. */
START_TEST(offered_later)
{
    struct access access;
    struct rig rig;

    up(&rig, _i);
    end_offers(&rig);
    expect_link(&rig, 0);
    offer_range(&rig, 0);
    rig_drive(&rig);
    begin_read(&access, &rig, AT, 1);
    peer_expect_nothing(&rig.peer, PEER_MEM);
    ck_assert_uint_eq(rig.maps, 0);
    end_offers(&rig);
    ck_assert_int_eq(end_access(&access), 0);
    ck_assert_uint_eq(access.value, 0x21);
    ck_assert_uint_eq(rig_stats(&rig).requests_sent, 1);
    rig_end(&rig);
}
END_TEST

/* An access that is not sent. */
static bool is_held(void *opaque)
{
    struct rig *rig = opaque;
    bool held;

    mx_group_enter(rig->group);
    held = !TAILQ_EMPTY(&rig->device->member.link.waiting);
    mx_group_leave(rig->group);
    return held;
}

/* What was not offered in time comes with an answer, and is held for, too. */
START_TEST(shared_by_an_answer)
{
    const struct offer share = range(0);
    int fd = peer_memory(SIZE, 0x21, true);
    struct access access;
    struct rig rig;
    uint8_t p;

    up(&rig, _i);
    end_offers(&rig);
    p = rig_own(&rig, ACCESS);
    memexpose_map_change_begin(rig.group);      /* mapped after that */
    begin_read(&access, &rig, AT, 1);
    peer_expect(&rig.peer, PEER_MEM, say_read(p, AT, 1));
    peer_send_fd(&rig.peer, PEER_MEM, say_read_ret(p, 0, 0x21, &share), fd);
    ck_assert_int_eq(end_access(&access), 0);
    begin_read(&access, &rig, AT + 1, 1);
    harness_wait(is_held, &rig, PEER_PATIENCE);
    peer_expect_nothing(&rig.peer, PEER_MEM);
    ck_assert_uint_eq(rig.maps, 0);
    memexpose_map_change_end(rig.group);
    ck_assert_int_eq(end_access(&access), 0);
    ck_assert_uint_eq(access.value, 0x21);
    ck_assert_uint_eq(rig.maps, 1);
    ck_assert_uint_eq(rig_stats(&rig).requests_sent, 1);
    peer_expect(&rig.peer, PEER_MEM, say_offer(NULL));  /* of its own change */
    close(fd);
    rig_end(&rig);
}
END_TEST

/* What it offers while this side changes its own map waits for that. */
START_TEST(ends_within_a_change_of_ours)
{
    struct rig rig;

    up(&rig, _i);
    memexpose_map_change_begin(rig.group);
    offer_range(&rig, 0);
    offer_range(&rig, 1);
    end_offers(&rig);
    ck_assert_uint_eq(rig.maps, 0);
    memexpose_map_change_end(rig.group);
    rig_drive(&rig);
    ck_assert_uint_eq(rig.maps, 2);
    ck_assert_uint_eq(rig.updates, 1);
    peer_expect(&rig.peer, PEER_MEM, say_offer(NULL));
    expect_direct(&rig, 0);
    rig_end(&rig);
}
END_TEST

/* --- what is declined ---------------------------------------------------- */

START_TEST(maps_so_many_and_no_more)
{
    struct rig rig;

    prepare(&rig, _i);
    rig.config.max_ranges = 2;
    rig_start(&rig);
    settle(&rig);
    for (unsigned i = 0; i < 4; i++) {
        offer_range(&rig, i);
    }
    end_offers(&rig);
    ck_assert_uint_eq(rig.maps, 2);
    ck_assert_uint_eq(rig_ranges(&rig), 2);
    harness_assert_logged("too many ranges");
    expect_direct(&rig, 1);
    expect_link(&rig, 2);       /* it still can be reached */
    rig_end(&rig);
}
END_TEST

static const struct offer declines[] = {
    { .start = AT, .size = 0 },
    { .start = UINT64_MAX, .size = 0 },
    { .start = AT, .size = SIZE + 1 },
    { .start = AT + 0x10, .size = SIZE },
    { .start = AT, .mmap_start = UINT64_MAX - 0xfff, .size = SIZE },
    { .start = AT, .size = 0xfff },
    { .start = 0x10000000, .size = SIZE },      /* beyond the window */
    { .start = AT + 0x1000, .size = 0x1000 },   /* overlaps the first */
};

START_TEST(declines_what_is_of_no_use)
{
    size_t open;
    struct rig rig;

    prepare(&rig, _i);
    rig.config.window_size = 0x8000000;
    rig.config.seals = MEMEXPOSE_SEALS_REQUIRE;
    rig_start(&rig);
    settle(&rig);
    open = harness_descriptors();
    for (unsigned i = 0; i < sizeof(declines) / sizeof(declines[0]); i++) {
        if (i == 7) {
            offer_range(&rig, 0);
        }
        offer_filled(&rig, &declines[i], 0x77);
    }
    {
        const struct offer offer = range(1);
        int fd = peer_memory(SIZE, 1, false);   /* not sealed */

        peer_send_fd(&rig.peer, PEER_MEM, say_offer(&offer), fd);
        close(fd);
    }
    end_offers(&rig);
    ck_assert_uint_eq(rig_ranges(&rig), 1);
    ck_assert_uint_eq(rig.maps, 1);
    ck_assert_uint_eq(harness_descriptors(), open);
    expect_direct(&rig, 0);
    harness_assert_logged("not sealed against shrinking");
    ck_assert_uint_eq(rig_stats(&rig).violations, 0);
    rig_expect_served(&rig);
    rig_end(&rig);
}
END_TEST

START_TEST(maps_read_only_memory)
{
    const struct offer rom = { .start = AT, .size = SIZE, .readonly = 1,
                               .nonvolatile = 1 };
    struct access access;
    struct rig rig;
    uint8_t p;

    up(&rig, _i);
    p = rig_own(&rig, ACCESS);
    offer_filled(&rig, &rom, 0x21);
    end_offers(&rig);
    ck_assert(rig.mapped[0].readonly && rig.mapped[0].nonvolatile);
    expect_direct(&rig, 0);
    begin_write(&access, &rig, AT, 1, 1);
    peer_expect(&rig.peer, PEER_MEM, say_write(p, AT, 1, 1));
    peer_send(&rig.peer, PEER_MEM, say_write_ret(p, 4, NULL));
    ck_assert_int_eq(end_access(&access), MEMEXPOSE_RESULT_DENIED);
    rig_end(&rig);
}
END_TEST

static int decline(struct rig *rig, const struct memexpose_range *range)
{
    (void)rig;
    (void)range;
    return -ENOSPC;
}

START_TEST(the_consumer_may_decline)
{
    struct rig rig;

    prepare(&rig, _i);
    rig.on_map = decline;
    rig_start(&rig);
    settle(&rig);
    offer_range(&rig, 0);
    offer_range(&rig, 1);
    end_offers(&rig);
    ck_assert_uint_eq(rig.maps, 2);
    ck_assert_uint_eq(rig_ranges(&rig), 0);
    expect_link(&rig, 0);
    rig_end(&rig);
}
END_TEST

/* --- lies ---------------------------------------------------------------- */

static struct bytes joined(struct bytes one, struct bytes other)
{
    memcpy(one.at + one.count, other.at, other.count);
    one.count += other.count;
    return one;
}

/* @which: of the rows below; the bytes, and how many descriptors go along. */
static struct bytes lie(struct rig *rig, int which, size_t *fds)
{
    struct offer offer = range(1);
    struct bytes bytes;

    *fds = 1;
    switch (which) {
    case 0:                     /* while a REG_INV is unanswered */
        return joined(say_inv(rig_peer(rig, INVALIDATE), AT, 1),
                      say_offer(&offer));
    case 1:
        *fds = 0;
        return joined(say_inv(rig_peer(rig, INVALIDATE), AT, 1),
                      say_offer(NULL));
    case 2:
        offer.start = UINT64_MAX - 0xfff;
        return say_offer(&offer);
    case 3:
        offer.start = 2;
        offer.size = UINT64_MAX;
        return say_offer(&offer);
    case 4:                     /* without its descriptor */
        *fds = 0;
        return say_offer(&offer);
    case 5:                     /* with one too many */
        *fds = 2;
        return say_offer(&offer);
    case 6:                     /* the end with one */
        return say_offer(NULL);
    case 7:
        bytes = say_offer(&offer);
        bytes.at[6] = 2;
        return bytes;
    case 8:
        bytes = say_offer(&offer);
        bytes.at[0]++;
        return bytes;
    default:
        bytes = say_offer(NULL);
        bytes.at[0]--;
        *fds = 0;
        return bytes;
    }
}

enum { LIES = 10 };

static const char *const reasons[LIES] = {
    "unanswered", "unanswered", "2^64", "2^64", "without its descriptor",
    "unexpected descriptor", "unexpected descriptor", "unknown kind",
    "size wrong", "size wrong",
};

static void send_lie(struct rig *rig, int link, struct bytes bytes, size_t fds)
{
    int fd = peer_memory(SIZE, 1, true);
    int both[2] = { fd, fd };

    peer_send_fds(&rig->peer, link, bytes.at, bytes.count, both, fds);
    close(fd);
}

START_TEST(a_lie)
{
    struct bytes bytes;
    struct rig rig;
    size_t open, fds;

    up(&rig, _i % 2);
    offer_range(&rig, 0);
    if (_i / 2 % 2) {           /* mapped, or on its way */
        end_offers(&rig);
    }
    rig_drive(&rig);
    open = harness_descriptors();
    bytes = lie(&rig, _i / 4, &fds);
    send_lie(&rig, PEER_MEM, bytes, fds);
    peer_expect_end(&rig.peer, PEER_MEM);
    peer_expect_end(&rig.peer, PEER_INTR);
    rig_drive(&rig);
    harness_assert_logged(reasons[_i / 4]);
    ck_assert_uint_eq(harness_logged("violation"), 1);
    ck_assert_uint_eq(harness_descriptors(), open - 2);
    ck_assert_uint_eq(rig_stats(&rig).violations, 1);
    ck_assert_uint_eq(rig_ranges(&rig), 0);
    ck_assert_uint_eq(rig.unmaps, rig.maps);
    settle(&rig);
    offer_range(&rig, 0);
    end_offers(&rig);
    expect_direct(&rig, 0);
    rig_end(&rig);
}
END_TEST

/* Without push: not agreed on, before hello, or on the other link. */
START_TEST(an_offer_out_of_place)
{
    struct offer offer = range(0);
    struct rig rig;
    size_t open;

    prepare(&rig, _i % 2);
    rig.config.push = _i / 2 != 0;
    rig_start(&rig);
    if (_i / 2 == 2) {
        rig_connect(&rig);
        if (_i % 2) {           /* it says hello, which is not answered */
            peer_take(&rig.peer, PEER_MEM, 86);
            peer_take(&rig.peer, PEER_INTR, 86);
        }
    } else {
        rig_greet(&rig, _i / 2 == 3 ? RIG_PUSH : RIG_BLOCK);
    }
    if (_i / 2 == 3) {
        peer_expect(&rig.peer, PEER_MEM, say_offer(NULL));
    }
    open = harness_descriptors();
    send_lie(&rig, _i / 2 == 3 ? PEER_INTR : PEER_MEM, say_offer(&offer), 1);
    peer_expect_end(&rig.peer, PEER_MEM);
    rig_drive(&rig);
    harness_assert_logged(_i / 2 == 3 ? "on the interrupt link" :
                                        "not agreed on");
    ck_assert_uint_eq(rig_stats(&rig).violations, 1);
    ck_assert_uint_eq(harness_descriptors(), open - 2);
    ck_assert_uint_eq(rig.maps, 0);
    rig_end(&rig);
}
END_TEST

/* --- floods -------------------------------------------------------------- */

/* Different ranges up to the limit, or the same again and again. */
START_TEST(ten_thousand_offers)
{
    int fd = peer_memory(SIZE, 0x21, true);
    size_t open;
    struct rig rig;

    up(&rig, 0);
    open = harness_descriptors();
    for (unsigned i = 0; i < FLOOD; i++) {
        struct offer offer = range(_i ? i : i % 10);

        offer.size = 0x1000;
        peer_send_fd(&rig.peer, PEER_MEM, say_offer(&offer), fd);
        if (i % 100 == 99) {
            rig_drive(&rig);
            while (rig_stats(&rig).offers_received <= i) {
                rig_drive(&rig);
            }
        }
    }
    ck_assert_uint_eq(harness_descriptors(), open);
    ck_assert_uint_eq(rig.maps, 0);
    end_offers(&rig);
    ck_assert_uint_eq(rig_ranges(&rig), _i ? rig.config.max_ranges : 10);
    ck_assert_uint_eq(rig_stats(&rig).offers_received, FLOOD);
    ck_assert_uint_eq(rig.updates, 1);
    for (unsigned i = 0; i < FLOOD; i++) {      /* and as many ends */
        peer_send(&rig.peer, PEER_MEM, say_offer(NULL));
        if (i % 100 == 99) {
            rig_drive(&rig);
        }
    }
    rig_expect_served(&rig);
    close(fd);
    rig_end(&rig);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("push-import");
    TCase *tcase = harness_tcase("mapping");

    tcase_add_loop_test(tcase, maps_all_in_one_run, 0, 2);
    tcase_add_loop_test(tcase, one_is_no_run, 0, 2);
    tcase_add_loop_test(tcase, accesses_wait_for_the_end, 0, 2);
    tcase_add_loop_test(tcase, blocks_wait_for_the_end, 0, 2);
    tcase_add_loop_test(tcase, offers_do_not_end, 0, 2);
    tcase_add_loop_test(tcase, cancelled_while_they_last, 0, 2);
    tcase_add_loop_test(tcase, nothing_is_offered, 0, 2);
    tcase_add_loop_test(tcase, offered_anew, 0, 2);
    tcase_add_loop_test(tcase, withdrawn_before_it_is_mapped, 0, 2);
    tcase_add_loop_test(tcase, offered_again_before_it_is_mapped, 0, 2);
    tcase_add_loop_test(tcase, offered_later, 0, 2);
    tcase_add_loop_test(tcase, shared_by_an_answer, 0, 2);
    tcase_add_loop_test(tcase, ends_within_a_change_of_ours, 0, 2);
    suite_add_tcase(suite, tcase);
    tcase = harness_tcase("declining");
    tcase_add_loop_test(tcase, maps_so_many_and_no_more, 0, 2);
    tcase_add_loop_test(tcase, declines_what_is_of_no_use, 0, 2);
    tcase_add_loop_test(tcase, maps_read_only_memory, 0, 2);
    tcase_add_loop_test(tcase, the_consumer_may_decline, 0, 2);
    suite_add_tcase(suite, tcase);
    tcase = harness_tcase("lies");
    tcase_add_loop_test(tcase, a_lie, 0, 4 * LIES);
    tcase_add_loop_test(tcase, an_offer_out_of_place, 0, 8);
    tcase_add_loop_test(tcase, ten_thousand_offers, 0, 2);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
