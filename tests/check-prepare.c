/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a consumer's callbacks put off is done before a thread waits: the ends
 * of map changes and removals that an event loop would come too late for.
 */
#include "side.h"

enum work { NOTHING, END_MAP_CHANGE, REMOVE, LINGER };

static _Atomic(enum work) to_do;
static struct side *prepared;   /* whose device it is about */
static uint64_t removed_id;
static atomic_uint prepared_count;
static sem_t lingers, go_on;

static int prepare_op(void *opaque)
{
    enum work work = atomic_exchange(&to_do, NOTHING);

    (void)opaque;
    atomic_fetch_add(&prepared_count, 1);
    if (work == END_MAP_CHANGE) {
        memexpose_map_change_end(group);
    } else if (work == REMOVE) {
        ck_assert_int_eq(memexpose_device_unmapped(prepared->device,
                                                   removed_id), 0);
    } else if (work == LINGER) {
        sem_post(&lingers);
        sem_wait(&go_on);
        return 0;               /* all that happened was done by others */
    }
    return work != NOTHING;
}

static int unmap_op(void *opaque, const struct memexpose_range *range)
{
    prepared = opaque;
    removed_id = range->id;
    atomic_store(&to_do, REMOVE);
    return MEMEXPOSE_UNMAP_LATER;
}

static void setup_prepare(void)
{
    static const struct memexpose_group_ops ops = {
        .size = sizeof(ops), .wait = wait_op, .prepare = prepare_op,
    };

    setup();
    ck_assert_int_eq(memexpose_group_destroy(group), 0);
    group = memexpose_group_create(&ops, NULL);
    ck_assert_ptr_nonnull(group);
    to_do = NOTHING;
    prepared_count = 0;
    sem_init(&lingers, 0, 0);
    sem_init(&go_on, 0, 0);
}

static void teardown_prepare(void)
{
    sem_destroy(&lingers);
    sem_destroy(&go_on);
    teardown();
}

/* The peer has sub-priority 0, and so is serviced first. */
static void connect_second(struct side *side)
{
    struct memexpose_device_config config;
    struct memexpose_device_ops ops = device_ops;

    ops.unmap = unmap_op;
    in_read = in_interrupt = in_link_changed = in_map = NULL;
    memexpose_device_config_init(&config);
    config.hello = MEMEXPOSE_HELLO_OFF;
    config.subpriority = MEMEXPOSE_SUBPRIORITY_1;
    side->device = memexpose_device_create(group, &ops, side, &config);
    ck_assert_ptr_nonnull(side->device);
    mx_conn_init(&side->mem);
    mx_conn_init(&side->intr);
    attach(side);
    ck_assert_int_eq(memexpose_device_enable(side->device, 0), 0);
}

/* The peer answers only when it has been answered, in a map change that ends
 * no earlier. */
START_TEST(ends_a_map_change)
{
    struct worker reader;
    struct side side;

    connect_second(&side);
    memexpose_map_change_begin(group);
    say(&side, MX_READ, 2, 0x40, 0);
    process();
    expect_nothing(&side);
    atomic_store(&to_do, END_MAP_CHANGE);
    begin(&reader, run_read, side.device, 0x1000);
    ck_assert_uint_eq(expect(&side, MX_READ).offset, 0x1000);
    ck_assert_uint_eq(expect(&side, MX_READ_RET).value, 0x40);
    say(&side, MX_READ_RET, 3, 0, 0x77);
    finish(&reader);
    ck_assert_int_eq(reader.ret, 0);
    ck_assert_uint_eq(reader.value, 0x77);
    destroy(&side);
}
END_TEST

static void share_with(struct side *side, uint64_t value)
{
    struct mx_message answer = {
        .type = MX_READ_RET, .priority = 3, .value = value,
        .share = { .kind = 1, .start = 0, .size = SHARED_SIZE },
    };
    uint64_t end;

    ck_assert_int_eq(mx_conn_put(&side->mem, &answer, dup(object), &end), 0);
    ck_assert_int_eq(mx_conn_flush(&side->mem), 0);
}

/* What comes after an invalidation is held back until the memory is gone. */
START_TEST(removes_what_was_unmapped)
{
    struct worker reader;
    struct side side;

    connect_second(&side);
    begin(&reader, run_read, side.device, 0);
    expect(&side, MX_READ);
    share_with(&side, 0);
    finish(&reader);
    ck_assert_uint_eq(memexpose_device_ranges(side.device, NULL, 0), 1);

    begin(&reader, run_read, side.device, SHARED);
    expect(&side, MX_READ);
    say(&side, MX_REG_INV, 0, 0, SHARED_SIZE);
    expect(&side, MX_REG_INV_RET);
    say(&side, MX_READ_RET, 3, 0, 0x99);
    finish(&reader);
    ck_assert_int_eq(reader.ret, 0);
    ck_assert_uint_eq(reader.value, 0x99);
    ck_assert_uint_eq(memexpose_device_ranges(side.device, NULL, 0), 0);
    destroy(&side);
}
END_TEST

/* The answer comes, by way of another thread, while the waiter prepares. */
START_TEST(misses_nothing_meanwhile)
{
    struct worker reader;
    struct timespec until = soon();
    struct side side;

    connect_second(&side);
    atomic_store(&to_do, LINGER);
    begin(&reader, run_read, side.device, 0x1000);
    ck_assert_int_eq(sem_timedwait(&lingers, &until), 0);
    expect(&side, MX_READ);
    say(&side, MX_READ_RET, 3, 0, 0x55);
    process();
    sem_post(&go_on);
    finish(&reader);
    ck_assert_int_eq(reader.ret, 0);
    ck_assert_uint_eq(reader.value, 0x55);
    destroy(&side);
}
END_TEST

START_TEST(comes_before_each_wait)
{
    struct worker reader;
    struct side side;

    connect_second(&side);
    begin(&reader, run_read, side.device, 0x1000);
    until_waiting();
    ck_assert_uint_ge(prepared_count, 1);
    expect(&side, MX_READ);
    say(&side, MX_READ_RET, 3, 0, 1);
    finish(&reader);
    destroy(&side);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("prepare");
    TCase *tcase = harness_tcase("prepare");

    tcase_add_checked_fixture(tcase, setup_prepare, teardown_prepare);
    tcase_add_test(tcase, ends_a_map_change);
    tcase_add_test(tcase, removes_what_was_unmapped);
    tcase_add_test(tcase, misses_nothing_meanwhile);
    tcase_add_test(tcase, comes_before_each_wait);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
