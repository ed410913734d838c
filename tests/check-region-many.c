/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The importer's region cache (protocol section 4) with thousands of ranges,
 * against a model that has a slot for each: what is found, what an old
 * snapshot still says, what is retired, and what a lack of memory leaves.
 */
#include <errno.h>
#include <string.h>

#include "harness.h"
#include "random.h"
#include "region-cache.h"

enum {
    SLOTS = 6000,
    STEPS = 12000,
    PENDING = 32,               /* old snapshots that are still there */
    GRAIN = 0x4000,             /* of the slots */
    PAGE = 0x1000
};

struct model {
    struct mx_region slots[SLOTS];      /* size 0: empty */
    size_t count;
};

/* An old snapshot, and what was found in it. */
struct old {
    void (*fn)(void *);
    void *arg;
    const struct mx_region *found;
    struct mx_region copy;
};

struct past {
    struct old olds[PENDING];
    size_t next;                /* the oldest */
    unsigned long retired;
    const struct mx_region *found;      /* in the snapshot of now */
};

static void bury(struct old *old)
{
    if (!old->fn) {
        return;
    }
    if (old->found) {
        ck_assert_mem_eq(old->found, &old->copy, sizeof(old->copy));
    }
    old->fn(old->arg);
    memset(old, 0, sizeof(*old));
}

static void retire(void *opaque, void (*fn)(void *), void *arg)
{
    struct past *past = opaque;
    struct old *old = &past->olds[past->next];

    bury(old);
    old->fn = fn;
    old->arg = arg;
    old->found = past->found;
    if (old->found) {
        old->copy = *old->found;
    }
    past->next = (past->next + 1) % PENDING;
    past->retired++;
}

/* The oldest first. */
static void bury_all(struct past *past)
{
    for (size_t i = 0; i < PENDING; i++) {
        bury(&past->olds[(past->next + i) % PENDING]);
    }
}

/* Somewhere in its slot, up to all of it. */
static struct mx_region random_region(struct random_source *source,
                                      uint64_t slot, uint64_t id)
{
    uint64_t first = random_below(source, GRAIN / PAGE);
    uint64_t count = 1 + random_below(source, GRAIN / PAGE - first);
    struct mx_region region;

    memset(&region, 0, sizeof(region)); /* the padding as well */
    region.start = slot * GRAIN + first * PAGE;
    region.size = count * PAGE;
    region.host = (void *)(uintptr_t)(id * 64);
    region.inode = 1;
    region.offset = region.start + PAGE;
    region.id = id;
    region.readonly = id & 1;
    region.nonvolatile = id & 2;
    return region;
}

static void compare(const struct mx_region_cache *cache,
                    const struct model *model)
{
    uint64_t bytes = 0;
    size_t index = 0;

    ck_assert_uint_eq(mx_region_cache_count(cache), model->count);
    for (size_t i = 0; i < SLOTS; i++) {
        const struct mx_region *wanted = &model->slots[i], *region;

        if (wanted->size == 0) {
            continue;
        }
        region = mx_region_cache_at(cache, index);
        if (!region || memcmp(region, wanted, sizeof(*region)) != 0 ||
            mx_region_cache_find(cache, wanted->start, 1) != region) {
            ck_abort_msg("entry %zu is wrong", index);
        }
        index++;
        bytes += wanted->size;
    }
    ck_assert_ptr_null(mx_region_cache_at(cache, index));
    ck_assert_uint_eq(mx_region_cache_bytes(cache), bytes);
}

/* Both ways to look up say the same. */
static bool looks_same(const struct mx_region_cache *cache, uint64_t address,
                       const struct mx_region *found)
{
    struct memexpose_range range;
    void *host = mx_region_cache_lookup(cache, address, 1, &range);

    if (!found) {
        return host == NULL;
    }
    return host == (char *)found->host + (address - found->start) &&
           range.start == found->start && range.size == found->size &&
           range.host == found->host && range.id == found->id &&
           range.readonly == found->readonly &&
           range.nonvolatile == found->nonvolatile;
}

static void look(struct random_source *source,
                 const struct mx_region_cache *cache,
                 const struct model *model)
{
    for (unsigned i = 0; i < 50; i++) {
        uint64_t address = random_below(source, (uint64_t)SLOTS * GRAIN);
        const struct mx_region *wanted = &model->slots[address / GRAIN];
        const struct mx_region *found;
        bool there = address >= wanted->start &&
                     address - wanted->start < wanted->size;

        found = mx_region_cache_find(cache, address, 1);
        if ((found != NULL) != there ||
            (found && memcmp(found, wanted, sizeof(*found)) != 0) ||
            !looks_same(cache, address, found)) {
            ck_abort_msg("find 0x%" PRIx64, address);
        }
    }
    ck_assert_ptr_null(mx_region_cache_find(cache, UINT64_MAX, 1));
    ck_assert(looks_same(cache, UINT64_MAX, NULL));
}

static uint64_t generation(const struct mx_region_cache *cache)
{
    uint64_t seen;

    mx_region_cache_generation(cache, &seen);
    return seen;
}

static void put(struct mx_region_cache *cache, struct model *model,
                const struct mx_region *region)
{
    struct mx_region *slot = &model->slots[region->start / GRAIN];

    ck_assert_int_eq(mx_region_cache_insert(cache, region), 0);
    *slot = *region;
    model->count++;
}

/* The lowest that is met, or none. */
static void meet(struct random_source *source,
                 const struct mx_region_cache *cache,
                 const struct model *model)
{
    uint64_t start = random_below(source, (uint64_t)SLOTS * GRAIN);
    uint64_t size = random_below(source, 3 * GRAIN);
    const struct mx_region *met = mx_region_cache_first(cache, start, size);

    for (size_t i = start / GRAIN; i < SLOTS; i++) {
        const struct mx_region *slot = &model->slots[i];

        if (mx_ranges_intersect(slot->start, slot->size, start, size)) {
            ck_assert_ptr_nonnull(met);
            ck_assert_mem_eq(met, slot, sizeof(*slot));
            return;
        }
    }
    ck_assert_ptr_null(met);
}

/* What is met goes, in order; returns how much that was. */
static size_t take(struct mx_region_cache *cache, struct model *model,
                   uint64_t start, uint64_t size)
{
    struct mx_region *removed = NULL;
    size_t count = 0, index = 0;

    ck_assert_int_eq(mx_region_cache_remove(cache, start, size, &removed,
                                            &count), 0);
    for (size_t i = 0; i < SLOTS; i++) {
        struct mx_region *slot = &model->slots[i];

        if (mx_ranges_intersect(slot->start, slot->size, start, size)) {
            ck_assert_uint_lt(index, count);
            ck_assert_mem_eq(&removed[index], slot, sizeof(*slot));
            memset(slot, 0, sizeof(*slot));
            model->count--;
            index++;
        }
    }
    ck_assert_uint_eq(index, count);
    free(removed);
    return count;
}

/* Mostly few at a time; now and then many. */
static uint64_t random_size(struct random_source *source)
{
    return 1 + random_below(source, random_below(source, 40) == 0 ?
                                    GRAIN * (uint64_t)SLOTS / 3 :
                                    3 * GRAIN);
}

START_TEST(test_random)
{
    static struct model model;
    static struct past past;
    struct random_source source;
    struct mx_region_cache cache;
    unsigned long changes = 0;
    size_t most = 0;

    random_start(&source, "many regions");
    mx_region_cache_init(&cache, retire, &past);
    for (uint64_t step = 1; step <= STEPS; step++) {
        uint64_t slot = random_below(&source, SLOTS);
        struct mx_region region = random_region(&source, slot, step);
        bool any = model.count > 0;

        past.found = mx_region_cache_at(&cache, model.count / 2);
        if (model.slots[slot].size == 0) {
            ck_assert_int_eq(mx_region_cache_fit(&cache, &region),
                             MX_REGION_FREE);
            put(&cache, &model, &region);
            changes += any;
        } else if (random_below(&source, 8) == 0) {
            changes += take(&cache, &model, slot * GRAIN,
                            random_size(&source)) > 0;
        } else {
            ck_assert_int_eq(mx_region_cache_fit(&cache, &model.slots[slot]),
                             MX_REGION_SAME);
        }
        ck_assert_uint_eq(past.retired, changes);
        look(&source, &cache, &model);
        meet(&source, &cache, &model);
        if (step % 100 == 0) {
            compare(&cache, &model);
        }
        most = model.count > most ? model.count : most;
    }
    ck_assert_uint_gt(most, SLOTS / 5);
    past.found = NULL;
    mx_region_cache_clear(&cache);
    bury_all(&past);
}
END_TEST

/* In each order in which they may come, and then go. */
START_TEST(test_orders)
{
    static struct model model;
    struct random_source source;
    struct mx_region_cache cache;

    random_start(&source, "orders");
    mx_region_cache_init(&cache, NULL, NULL);
    for (unsigned order = 0; order < 3; order++) {
        for (uint64_t i = 0; i < SLOTS; i++) {
            uint64_t slot = order == 0 ? i : order == 1 ? SLOTS - 1 - i :
                            i * 7 % SLOTS + i * 7 / SLOTS;
            struct mx_region region;

            slot %= SLOTS;
            region = random_region(&source, slot, i);
            if (model.slots[slot].size == 0) {
                put(&cache, &model, &region);
            }
            if (i % 500 == 0) {
                compare(&cache, &model);
            }
        }
        compare(&cache, &model);
        for (uint64_t i = 0; i < SLOTS; i++) {
            uint64_t slot = order == 0 ? i : SLOTS - 1 - i;

            if (slot % 16 != 0) {
                take(&cache, &model, slot * GRAIN, GRAIN);
            }
        }
        compare(&cache, &model);
        /* chunks with little in them have become fewer */
        ck_assert_uint_le(harness_allocations(), 1 + model.count / 16);
        take(&cache, &model, 0, UINT64_MAX);
        ck_assert_uint_eq(mx_region_cache_count(&cache), 0);
    }
}
END_TEST

/* Whichever allocation fails: -ENOMEM, and nothing has changed. */
static void expect_unchanged(const struct mx_region_cache *cache,
                             const struct model *model, uint64_t before,
                             size_t allocations)
{
    ck_assert(harness_allocation_failed());
    harness_fail_allocation(0);
    ck_assert_uint_eq(generation(cache), before);
    ck_assert_uint_eq(harness_allocations(), allocations);
    compare(cache, model);
}

static unsigned put_with_failures(struct mx_region_cache *cache,
                                  struct model *model,
                                  const struct mx_region *region)
{
    size_t allocations = harness_allocations();
    uint64_t before = generation(cache);
    unsigned failures = 0;
    int ret;

    for (;;) {
        harness_fail_allocation(failures + 1);
        ret = mx_region_cache_insert(cache, region);
        if (ret == 0) {
            break;
        }
        ck_assert_int_eq(ret, -ENOMEM);
        expect_unchanged(cache, model, before, allocations);
        failures++;
    }
    harness_fail_allocation(0);
    model->slots[region->start / GRAIN] = *region;
    model->count++;
    return failures;
}

static unsigned take_with_failures(struct mx_region_cache *cache,
                                   struct model *model, uint64_t start,
                                   uint64_t size)
{
    uint64_t before = generation(cache);
    unsigned failures = 0;

    for (;;) {
        size_t allocations = harness_allocations();
        struct mx_region *removed = NULL;
        size_t count = 0;
        int ret;

        harness_fail_allocation(failures + 1);
        ret = mx_region_cache_remove(cache, start, size, &removed, &count);
        if (ret == 0) {
            harness_fail_allocation(0);
            ck_assert_uint_gt(count, 0);
            for (size_t i = 0; i < count; i++) {
                model->slots[removed[i].start / GRAIN].size = 0;
                model->count--;
            }
            free(removed);
            return failures;
        }
        ck_assert_int_eq(ret, -ENOMEM);
        ck_assert_uint_eq(count, 0);
        free(removed);
        expect_unchanged(cache, model, before, allocations);
        failures++;
    }
}

START_TEST(test_no_memory)
{
    static struct model model;
    struct random_source source;
    struct mx_region_cache cache;
    unsigned most = 0;

    random_start(&source, "no memory");
    mx_region_cache_init(&cache, NULL, NULL);
    for (uint64_t i = 0; i < 1000; i++) {
        uint64_t slot = i * 377 % 1000;
        struct mx_region region = random_region(&source, slot, i);
        unsigned failures = put_with_failures(&cache, &model, &region);

        most = failures > most ? failures : most;
    }
    ck_assert_uint_eq(most, 5); /* two chunks of two, and the snapshot */
    compare(&cache, &model);
    most = 0;
    for (uint64_t i = 0; i + 130 < 1000; i += 100) {
        unsigned failures = take_with_failures(&cache, &model, i * GRAIN,
                                               (1 + i / 10) * GRAIN);

        most = failures > most ? failures : most;
    }
    ck_assert_uint_ge(most, 4);
    compare(&cache, &model);
    mx_region_cache_clear(&cache);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("many regions");
    TCase *tcase = harness_tcase("model");

    tcase_add_test(tcase, test_random);
    tcase_add_test(tcase, test_orders);
    tcase_add_test(tcase, test_no_memory);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
