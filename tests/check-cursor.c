/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lookups with a cursor: what it remembers, when it no longer holds, and that
 * memory that it found is there inside the section of whoever uses it
 * (protocol section 4).
 */
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "rig.h"

enum { AT = 0x100000, SIZE = 0x4000, NEXT = 0x200000, ROUNDS = 400 };

static const struct offer first = { .start = AT, .size = SIZE };
static const struct offer second = {
    .start = NEXT, .size = SIZE, .readonly = true
};

static void offer_memory(struct rig *rig, const struct offer *offer,
                         uint8_t fill)
{
    int fd = peer_memory(offer->size, fill, true);

    rig_offer(rig, offer->start, offer, fd);
    close(fd);
}

static void take_back(struct rig *rig, uint64_t start, uint64_t size)
{
    peer_send(&rig->peer, PEER_MEM, say_inv(rig_peer(rig, INVALIDATE), start,
                                            size));
    peer_expect(&rig->peer, PEER_MEM, say_inv_ret(rig_peer(rig,
                                                           INVALIDATE)));
}

/* As memexpose_device_translate() says, and so does the cursor's range. */
static void expect_found(struct rig *rig, uint64_t address, uint64_t bytes,
                         struct memexpose_cursor *cursor)
{
    struct memexpose_range range;
    void *host = memexpose_device_translate(rig->device, address, &range);

    ck_assert_ptr_nonnull(host);
    ck_assert_ptr_eq(memexpose_device_lookup(rig->device, address, bytes,
                                             cursor), host);
    ck_assert_uint_eq(cursor->range.start, range.start);
    ck_assert_uint_eq(cursor->range.size, range.size);
    ck_assert_ptr_eq(cursor->range.host, range.host);
    ck_assert_uint_eq(cursor->range.id, range.id);
    ck_assert(cursor->range.readonly == range.readonly);
    ck_assert(cursor->range.nonvolatile == range.nonvolatile);
}

static void expect_none(struct rig *rig, uint64_t address, uint64_t bytes,
                        struct memexpose_cursor *cursor)
{
    ck_assert_ptr_null(memexpose_device_lookup(rig->device, address, bytes,
                                               cursor));
}

START_TEST(finds_what_lies_in_one_range)
{
    struct memexpose_cursor cursor = { 0 };
    struct rig rig;

    rig_up(&rig, MEMEXPOSE_ROLE_LISTEN);
    expect_none(&rig, AT, 1, &cursor);
    expect_none(&rig, 0, 0, &cursor);
    offer_memory(&rig, &first, 0x21);
    offer_memory(&rig, &second, 0x22);
    for (unsigned i = 0; i < 3; i++) {
        expect_found(&rig, AT, SIZE, &cursor);
        expect_found(&rig, AT + SIZE - 8, 8, &cursor);
        ck_assert(!cursor.range.readonly);
        expect_none(&rig, AT + SIZE - 8, 9, &cursor);
        expect_none(&rig, AT - 1, 1, &cursor);
        expect_none(&rig, AT - 1, UINT64_MAX, &cursor);
        expect_none(&rig, AT + 1, UINT64_MAX, &cursor);
        expect_none(&rig, UINT64_MAX, 1, &cursor);
        expect_found(&rig, AT + 5, 1, &cursor);
        expect_none(&rig, AT + SIZE, 1, &cursor);
        expect_found(&rig, NEXT + 7, 1, &cursor);
        ck_assert(cursor.range.readonly);
    }
    rig_end(&rig);
}
END_TEST

/* It is not searched again: what the cursor says is believed. */
START_TEST(remembers_until_something_changes)
{
    struct memexpose_cursor cursor = { 0 };
    struct rig rig;
    uint8_t marks[16];

    rig_up(&rig, MEMEXPOSE_ROLE_LISTEN);
    offer_memory(&rig, &first, 0x21);
    expect_found(&rig, AT + 5, 1, &cursor);
    cursor.range.host = marks;
    ck_assert_ptr_eq(memexpose_device_lookup(rig.device, AT + 9, 1, &cursor),
                     &marks[9]);
    offer_memory(&rig, &second, 0x22);
    expect_found(&rig, AT + 9, 1, &cursor);

    cursor.range.host = marks;
    take_back(&rig, NEXT, 1);
    expect_found(&rig, AT + 9, 1, &cursor);
    take_back(&rig, AT, 1);
    expect_none(&rig, AT + 9, 1, &cursor);
    offer_memory(&rig, &first, 0x23);   /* at the same place */
    expect_found(&rig, AT + 9, 1, &cursor);
    memexpose_device_disable(rig.device);
    expect_none(&rig, AT + 9, 1, &cursor);
    rig_end(&rig);
}
END_TEST

START_TEST(belongs_to_no_device)
{
    struct memexpose_cursor cursor = { 0 };
    struct rig rig, other;

    rig_up(&rig, MEMEXPOSE_ROLE_LISTEN);
    rig_init(&other, MEMEXPOSE_ROLE_LISTEN);
    rig_join(&other, &rig);
    offer_memory(&rig, &first, 0x21);
    offer_memory(&other, &first, 0x22);
    for (unsigned i = 0; i < 3; i++) {
        expect_found(&rig, AT + i, 1, &cursor);
        expect_found(&other, AT + i, 1, &cursor);
    }
    take_back(&other, AT, SIZE);
    expect_none(&other, AT, 1, &cursor);
    expect_found(&rig, AT, 1, &cursor);
    rig_leave(&other);
    expect_found(&rig, AT, 1, &cursor);
    rig_end(&rig);
}
END_TEST

/* Another device may well lie where one was that has gone. */
START_TEST(outlives_its_device)
{
    struct memexpose_cursor cursor = { 0 };
    const struct memexpose_device *before;
    unsigned same = 0;

    for (unsigned i = 0; i < 20; i++) {
        struct rig rig;

        before = cursor.device;
        rig_up(&rig, MEMEXPOSE_ROLE_LISTEN);
        same += rig.device == before;
        /* what the cursor found is not there, but as much has happened */
        offer_memory(&rig, i % 2 ? &first : &second, 0x21);
        expect_none(&rig, i % 2 ? NEXT : AT, 1, &cursor);
        expect_found(&rig, i % 2 ? AT : NEXT, 1, &cursor);
        rig_end(&rig);
    }
    printf("%u of 20 devices lay where the one before did\n", same);
}
END_TEST

/* A build with a smaller or a larger structure than the library's. */
START_TEST(writes_as_much_as_there_is)
{
    struct {
        struct memexpose_cursor cursor;
        uint64_t more;
    } large = { .more = 7 };
    struct memexpose_cursor small;
    const size_t part = offsetof(struct memexpose_cursor, range.id);
    uint64_t id = 0x5a5a;
    struct rig rig;

    rig_up(&rig, MEMEXPOSE_ROLE_LISTEN);
    offer_memory(&rig, &first, 0x21);
    ck_assert_ptr_nonnull(memexpose_device_search(rig.device, AT, 1,
                                                  &large.cursor,
                                                  sizeof(large)));
    ck_assert_uint_eq(large.more, 7);
    ck_assert_uint_eq(large.cursor.range.size, SIZE);
    memset(&small, 0, sizeof(small));
    small.range.id = id;
    ck_assert_ptr_nonnull(memexpose_device_search(rig.device, AT, 1, &small,
                                                  part));
    ck_assert_uint_eq(small.range.id, id);
    ck_assert_ptr_eq(small.range.host, large.cursor.range.host);
    rig_end(&rig);
}
END_TEST

/* --- while the peer shares and takes back -------------------------------- */

/*
 * A read-side section of the consumer's is between two of these counts; what
 * is retired is freed once the reader has counted further.
 */
static atomic_ulong quiet;
static atomic_bool over;
static struct rig threads;

static void op_retire(void *opaque, void (*fn)(void *arg), void *arg)
{
    unsigned long since = atomic_load(&quiet);

    (void)opaque;
    while (!atomic_load(&over) && atomic_load(&quiet) == since) {
        sched_yield();
    }
    fn(arg);
}

static const struct memexpose_device_ops ops = {
    .size = sizeof(ops),
    .retire = op_retire,
};

struct reader {
    pthread_t thread;
    atomic_uint hits;
    unsigned wrong;
};

/* The peer's memory, which may change at any time and is no race. */
__attribute__((no_sanitize("thread")))
static uint8_t look(const void *host)
{
    return *(const volatile uint8_t *)host;
}

static void *read_along(void *opaque)
{
    struct memexpose_cursor cursor = { 0 };
    struct reader *reader = opaque;
    uint64_t at = 0;

    while (!atomic_load(&over)) {
        const void *host = memexpose_device_lookup(threads.device, AT + at, 1,
                                                   &cursor);

        if (host) {             /* what the peer wrote, or zero: it is there */
            uint8_t value = look(host);

            reader->wrong += value != 0 && value != 0x21;
            reader->hits++;
        }
        atomic_fetch_add(&quiet, 1);
        at = (at + 37) % SIZE;
    }
    return NULL;
}

static bool has_hit(void *opaque)
{
    struct reader *reader = opaque;

    return atomic_exchange(&reader->hits, 0) > 0;
}

START_TEST(memory_is_there_in_a_section)
{
    static struct reader reader;
    unsigned rounds = (unsigned)(ROUNDS / harness_milliseconds(1));

    rig_init(&threads, MEMEXPOSE_ROLE_LISTEN);
    rig_start(&threads);
    memexpose_device_destroy(threads.device);
    threads.device = memexpose_device_create(threads.group, &ops, &threads,
                                             &threads.config);
    ck_assert_ptr_nonnull(threads.device);
    rig_connect(&threads);
    ck_assert_int_eq(memexpose_device_enable(threads.device, 0), 0);
    ck_assert_int_eq(pthread_create(&reader.thread, NULL, read_along,
                                    &reader), 0);
    for (unsigned i = 0; i < rounds; i++) {
        offer_memory(&threads, &first, 0x21);
        harness_wait(has_hit, &reader, 5000);
        take_back(&threads, AT, SIZE);
        ck_assert_uint_eq(rig_ranges(&threads), 0);
    }
    atomic_store(&over, true);
    pthread_join(reader.thread, NULL);
    ck_assert_uint_eq(reader.wrong, 0);
    rig_end(&threads);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cursor");
    TCase *tcase = harness_tcase("cursor");

    tcase_add_test(tcase, finds_what_lies_in_one_range);
    tcase_add_test(tcase, remembers_until_something_changes);
    tcase_add_test(tcase, belongs_to_no_device);
    tcase_add_test(tcase, outlives_its_device);
    tcase_add_test(tcase, writes_as_much_as_there_is);
    tcase_add_test(tcase, memory_is_there_in_a_section);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
