/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a consumer's callbacks may do: end the device that called, access,
 * change the memory map; and a group under load from several threads.
 */
#include "side.h"

/* --- callbacks that end their device ------------------------------------- */

START_TEST(ended_in_a_service)
{
    struct side side;

    connect_side(&side);
    in_read = enders[_i];
    say(&side, MX_READ, 3, SHARED, 0);
    process();
    ck_assert(left(&side));
    in_read = NULL;
    destroy(&side);
}
END_TEST

START_TEST(ended_in_an_interrupt)
{
    struct side side;

    connect_side(&side);
    in_interrupt = enders[_i];
    say(&side, MX_INTR, 0, 1, 0);
    process();
    ck_assert(left(&side));
    in_interrupt = NULL;
    destroy(&side);
}
END_TEST

START_TEST(ended_when_it_came_up)
{
    struct side side;

    create(&side);
    memexpose_device_enable(side.device, 0);
    in_link_changed = enders[_i];
    attach(&side);
    process();
    ck_assert(left(&side));
    in_link_changed = NULL;
    destroy(&side);
}
END_TEST

/* In the very thread that waits for an answer. */
START_TEST(ended_while_it_maps)
{
    struct mx_message answer = {
        .type = MX_READ_RET, .priority = 2,
        .share = { .kind = 1, .start = 0, .size = SHARED_SIZE },
    };
    struct worker reader;
    struct side side;
    uint64_t end;

    connect_side(&side);
    in_map = enders[_i];
    begin(&reader, run_read, side.device, 0x1000);
    expect(&side, MX_READ);
    ck_assert_int_eq(mx_conn_put(&side.mem, &answer, dup(object), &end), 0);
    ck_assert_int_eq(mx_conn_flush(&side.mem), 0);
    finish(&reader);
    process();
    ck_assert(left(&side));
    in_map = NULL;
    destroy(&side);
}
END_TEST

static int inner_ret, change_ret;

static void access_within(struct side *side)
{
    uint64_t value;

    inner_ret = memexpose_read(side->device, 0, 8, &value);
}

START_TEST(access_from_within_a_service)
{
    struct side side;

    connect_side(&side);
    in_read = access_within;
    inner_ret = 0;
    say(&side, MX_READ, 3, 0x40, 0);
    process();
    ck_assert_int_eq(inner_ret, MEMEXPOSE_RESULT_DECODE);
    ck_assert_uint_eq(expect(&side, MX_READ_RET).value, 0x40);
    expect_nothing(&side);
    destroy(&side);
}
END_TEST

static void change_within(struct side *side)
{
    memexpose_map_change_begin(group);
    memexpose_map_change_invalidate(side->device, 0, UINT64_MAX);
    change_ret = memexpose_map_change_wait(group);
    memexpose_map_change_end(group);
}

/* The peer's access moves what it was given. */
START_TEST(map_change_from_within_a_service)
{
    struct worker server;
    struct side side;

    connect_side(&side);
    say(&side, MX_READ, 3, SHARED, 0);
    process();
    ck_assert_uint_eq(expect(&side, MX_READ_RET).share.kind, 1);
    in_read = change_within;
    change_ret = 1;
    say(&side, MX_READ, 3, SHARED, 0);
    begin(&server, run_process, NULL, 0);
    ck_assert_uint_eq(expect(&side, MX_REG_INV).offset, SHARED);
    say(&side, MX_REG_INV_RET, 0, 0, 0);
    ck_assert_uint_eq(expect(&side, MX_READ_RET).value, SHARED);
    finish(&server);
    ck_assert_int_eq(change_ret, 0);
    in_read = NULL;
    destroy(&side);
}
END_TEST

/* --- everything at once -------------------------------------------------- */

enum { READS = 300, READERS = 3, CHANGES = 100 };

static atomic_bool peer_stops;
static atomic_bool peer_stopped;

/*
 * Answers everything, and asks one thing after the other until it is to stop;
 * then it has sent its last byte once what it asked last has been answered.
 */
static void *run_peer(void *opaque)
{
    struct side *side = opaque;
    struct pollfd fds = { .fd = side->mem.fd, .events = POLLIN };
    struct mx_message message;

    say(side, MX_READ, 3, SHARED, 0);
    while (poll(&fds, 1, -1) > 0) {
        int ret = mx_conn_fill(&side->mem);
        const char *reason;
        int fd;

        if (ret < 0 && ret != -EAGAIN) {
            break;
        }
        while (mx_conn_next(&side->mem, &message, &fd, &reason) ==
               MX_CONN_MESSAGE) {
            mx_os_close(fd);
            if (message.type == MX_READ) {
                say(side, MX_READ_RET, 2, 0, message.offset);
            } else if (message.type == MX_REG_INV) {
                say(side, MX_REG_INV_RET, 0, 0, 0);
            } else if (message.type == MX_READ_RET && peer_stops) {
                peer_stopped = true;
            } else if (message.type == MX_READ_RET) {
                say(side, MX_READ, 3, SHARED, 0);
            }
        }
    }
    return NULL;
}

static void *run_many_reads(void *opaque)
{
    struct worker *worker = opaque;
    uint64_t i, value;

    worker->ret = 0;
    for (i = 0; i < READS && worker->ret == 0; i++) {
        worker->ret = memexpose_read(worker->device, worker->address + i, 8,
                                     &value);
        if (worker->ret == 0 && value != worker->address + i) {
            worker->ret = -EILSEQ;
        }
    }
    return NULL;
}

static bool has_shared(void *device)
{
    struct memexpose_stats stats;

    process();
    memexpose_device_stats(device, &stats, sizeof(stats));
    return stats.shares_sent > 0;
}

static bool has_stopped(void *opaque)
{
    (void)opaque;
    process();
    return peer_stopped;
}

START_TEST(everything_at_once)
{
    struct worker readers[READERS];
    struct memexpose_stats stats;
    pthread_t peer;
    struct side side;
    unsigned i;

    connect_side(&side);
    peer_stops = false;
    peer_stopped = false;
    ck_assert_int_eq(pthread_create(&peer, NULL, run_peer, &side), 0);
    for (i = 0; i < READERS; i++) {
        begin(&readers[i], run_many_reads, side.device,
              UINT64_C(0x10000) * (i + 1));
    }
    harness_wait(has_shared, side.device, 5000);
    for (i = 0; i < CHANGES; i++) {
        memexpose_map_change_begin(group);
        ck_assert_int_eq(memexpose_map_change_invalidate(side.device, SHARED,
                                                         1), 0);
        ck_assert_int_eq(memexpose_map_change_wait(group), 0);
        memexpose_map_change_end(group);
        process();
    }
    for (i = 0; i < READERS; i++) {
        finish(&readers[i]);
        ck_assert_int_eq(readers[i].ret, 0);
    }
    peer_stops = true;
    harness_wait(has_stopped, NULL, 5000);
    memexpose_device_stats(side.device, &stats, sizeof(stats));
    ck_assert_uint_eq(stats.requests_sent, READERS * READS);
    ck_assert_uint_gt(stats.requests_served, 0);
    ck_assert_uint_gt(stats.invalidations_sent, 0);
    memexpose_device_destroy(side.device);
    pthread_join(peer, NULL);
    hang_up(&side);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("callbacks");
    TCase *tcase = with_group(suite, "callbacks");

    tcase_add_loop_test(tcase, ended_in_a_service, 0, 3);
    tcase_add_loop_test(tcase, ended_in_an_interrupt, 0, 3);
    tcase_add_loop_test(tcase, ended_when_it_came_up, 0, 3);
    tcase_add_loop_test(tcase, ended_while_it_maps, 0, 3);
    tcase_add_test(tcase, access_from_within_a_service);
    tcase_add_test(tcase, map_change_from_within_a_service);
    tcase_add_test(tcase, everything_at_once);
    return harness_main(suite);
}
