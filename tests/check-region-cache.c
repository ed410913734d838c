/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The importer's region cache (protocol section 4) against a model that keeps
 * its ranges in no order and looks at each of them.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "random.h"
#include "region-cache.h"

enum { MODEL_MAX = 256, UNITS = 40, STEPS = 6000, PAGE = 0x1000 };

/* Ends of ranges are up to 2^64. */
typedef unsigned __int128 wide;

struct model {
    struct mx_region regions[MODEL_MAX];
    size_t count;
};

/* What a cache has handed over to be freed later. */
struct retired {
    void (*fn[4 * STEPS])(void *);
    void *arg[4 * STEPS];
    size_t count;
};

static void retire(void *opaque, void (*fn)(void *), void *arg)
{
    struct retired *retired = opaque;

    ck_assert_ptr_nonnull(arg);
    /* none is freed before the end, so that none can come back */
    for (size_t i = 0; i < retired->count; i++) {
        if (retired->arg[i] == arg) {
            ck_abort_msg("a snapshot was retired twice");
        }
    }
    ck_assert_uint_lt(retired->count, 4 * STEPS);
    retired->fn[retired->count] = fn;
    retired->arg[retired->count++] = arg;
}

static void free_retired(struct retired *retired)
{
    for (size_t i = 0; i < retired->count; i++) {
        retired->fn[i](retired->arg[i]);
    }
    retired->count = 0;
}

static wide end_of(const struct mx_region *region)
{
    return (wide)region->start + region->size;
}

static bool meets(const struct mx_region *region, wide start, wide end)
{
    return start < end && region->start < end && end_of(region) > start;
}

static bool contains(const struct mx_region *outer,
                     const struct mx_region *inner)
{
    return outer->start <= inner->start && end_of(outer) >= end_of(inner);
}

/* Do both say the same of where byte 0 of the address space would lie? */
static bool agree(const struct mx_region *a, const struct mx_region *b)
{
    return a->device == b->device && a->inode == b->inode &&
           a->start - a->offset == b->start - b->offset;
}

static const struct mx_region *model_find(const struct model *model,
                                          uint64_t address, uint64_t bytes)
{
    for (size_t i = 0; i < model->count; i++) {
        const struct mx_region *region = &model->regions[i];

        if (region->start <= address &&
            (wide)address + bytes <= end_of(region)) {
            return region;
        }
    }
    return NULL;
}

static enum mx_region_fit model_fit(const struct model *model,
                                    const struct mx_region *offered)
{
    bool met = false, replaces = true;

    for (size_t i = 0; i < model->count; i++) {
        const struct mx_region *region = &model->regions[i];

        if (!meets(region, offered->start, end_of(offered))) {
            continue;
        }
        met = true;
        if (contains(region, offered) && agree(region, offered) &&
            (offered->readonly || !region->readonly)) {
            return MX_REGION_SAME;
        }
        replaces = replaces && contains(offered, region) &&
                   agree(region, offered);
    }
    return !met ? MX_REGION_FREE :
           replaces ? MX_REGION_REPLACES : MX_REGION_OVERLAPS;
}

/* Removes what is met and checks that it is in @removed. */
static void model_remove(struct model *model, uint64_t start, uint64_t size,
                         const struct mx_region *removed, size_t count)
{
    size_t kept = 0, met = 0;

    for (size_t i = 0; i < model->count; i++) {
        struct mx_region *region = &model->regions[i];
        bool listed = false;

        if (!meets(region, start, (wide)start + size)) {
            model->regions[kept++] = *region;
            continue;
        }
        met++;
        for (size_t j = 0; j < count; j++) {
            listed = listed ||
                     memcmp(&removed[j], region, sizeof(*region)) == 0;
        }
        ck_assert(listed);
    }
    ck_assert_uint_eq(met, count);
    model->count = kept;
}

static void compare(const struct mx_region_cache *cache,
                    const struct model *model)
{
    const struct mx_region *previous = NULL;
    uint64_t bytes = 0;

    ck_assert_uint_eq(mx_region_cache_count(cache), model->count);
    ck_assert_ptr_null(mx_region_cache_at(cache, model->count));
    ck_assert_ptr_null(mx_region_cache_at(cache, SIZE_MAX));
    for (size_t i = 0; i < model->count; i++) {
        const struct mx_region *region = mx_region_cache_at(cache, i);
        const struct mx_region *wanted;

        ck_assert_ptr_nonnull(region);
        wanted = model_find(model, region->start, 1);
        if (wanted == NULL ||
            memcmp(region, wanted, sizeof(*region)) != 0 ||
            (previous != NULL && previous->start >= region->start)) {
            ck_abort_msg("entry %zu is wrong", i);
        }
        previous = region;
        bytes += region->size;
    }
    ck_assert_uint_eq(mx_region_cache_bytes(cache), bytes);
}

/* An address in one of three places: at 0, in the middle, below 2^64. */
static uint64_t random_place(struct random_source *source)
{
    static const uint64_t bases[] = {
        0, 0x7ffffffffffff000u - 20 * PAGE, 0 - (uint64_t)UNITS * PAGE
    };

    return bases[random_below(source, 3)] +
           random_below(source, UNITS) * PAGE;
}

/* At most @pages pages from @start on, but not past 2^64. */
static uint64_t random_size(struct random_source *source, uint64_t start,
                            unsigned pages)
{
    uint64_t size = (1 + random_below(source, pages)) * PAGE;

    return start != 0 && size > 0 - start ? 0 - start : size;
}

static struct mx_region random_region(struct random_source *source,
                                      uint64_t id)
{
    struct mx_region region;

    memset(&region, 0, sizeof(region)); /* the padding as well */
    region.start = random_place(source);
    region.size = random_size(source, region.start, 6);
    region.host = (void *)(uintptr_t)(id * 64);
    region.readonly = random_below(source, 4) == 0;
    region.nonvolatile = random_below(source, 2) == 0;
    region.device = random_below(source, 12) == 0 ? 8 : 7;
    region.inode = random_below(source, 12) == 0 ? 2 : 1;
    region.offset = region.start + 5 * PAGE +
                    (random_below(source, 12) == 0) * (uint64_t)PAGE;
    region.id = id;
    return region;
}

static struct retired all_retired;
static size_t changes;          /* of a cache that was not empty */

static uint64_t generation(const struct mx_region_cache *cache)
{
    uint64_t seen;
    const uint64_t *at = mx_region_cache_generation(cache, &seen);

    ck_assert_uint_eq(*at, seen);
    return seen;
}

static void insert(struct mx_region_cache *cache, struct model *model,
                   const struct mx_region *region)
{
    uint64_t before = generation(cache);

    changes += model->count > 0;
    ck_assert_int_eq(mx_region_cache_insert(cache, region), 0);
    ck_assert_uint_lt(model->count, MODEL_MAX);
    model->regions[model->count++] = *region;
    ck_assert_uint_gt(generation(cache), before);
}

/* Returns how many went. */
static size_t take_out(struct mx_region_cache *cache, struct model *model,
                       uint64_t start, uint64_t size)
{
    struct mx_region *removed = NULL;
    uint64_t before = generation(cache);
    size_t count = 0;

    ck_assert_int_eq(mx_region_cache_remove(cache, start, size, &removed,
                                            &count), 0);
    model_remove(model, start, size, removed, count);
    changes += count > 0;
    ck_assert((generation(cache) != before) == (count > 0));
    free(removed);
    return count;
}

/* What the device does with an offer. */
static void offer(struct mx_region_cache *cache, struct model *model,
                  const struct mx_region *region, unsigned seen[4])
{
    enum mx_region_fit fit = mx_region_cache_fit(cache, region);

    ck_assert_int_eq(fit, model_fit(model, region));
    seen[fit]++;
    if (fit == MX_REGION_REPLACES) {
        ck_assert_uint_gt(take_out(cache, model, region->start,
                                   region->size), 0);
    }
    if (fit == MX_REGION_FREE || fit == MX_REGION_REPLACES) {
        insert(cache, model, region);
    }
}

/* Look for an address near an edge of something. */
static void look(struct random_source *source,
                 const struct mx_region_cache *cache,
                 const struct model *model)
{
    for (unsigned i = 0; i < 20; i++) {
        uint64_t address = random_place(source) + random_below(source, 17) - 8;
        uint64_t bytes = 1ull << random_below(source, i % 5 == 0 ? 64 : 4);
        const struct mx_region *found, *wanted;

        found = mx_region_cache_find(cache, address, bytes);
        wanted = model_find(model, address, bytes);
        if ((found == NULL) != (wanted == NULL) ||
            (found != NULL && memcmp(found, wanted, sizeof(*found)) != 0)) {
            ck_abort_msg("find 0x%" PRIx64 " + 0x%" PRIx64, address, bytes);
        }
    }
}

START_TEST(test_random)
{
    static struct model model;
    struct random_source source;
    struct mx_region_cache cache;
    unsigned seen[4] = { 0 };

    random_start(&source, "region cache");
    mx_region_cache_init(&cache, retire, &all_retired);
    for (unsigned step = 1; step <= STEPS; step++) {
        struct mx_region region = random_region(&source, step);
        uint64_t start = random_place(&source);

        if (random_below(&source, 4) != 0) {
            offer(&cache, &model, &region, seen);
        } else {
            take_out(&cache, &model, start,
                     random_below(&source, 10) == 0 ? 0 :
                     random_size(&source, start, 3) - (step & 1));
        }
        if (step % 500 == 0) {  /* all of it */
            take_out(&cache, &model, 0, UINT64_MAX);
            ck_assert_uint_eq(mx_region_cache_count(&cache), 0);
        }
        /* what was replaced was retired, in one call */
        ck_assert_uint_eq(all_retired.count, changes);
        compare(&cache, &model);
        look(&source, &cache, &model);
    }
    /* the test has met every case */
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_uint_gt(seen[i], 20);
    }
    mx_region_cache_clear(&cache);
    ck_assert_uint_eq(mx_region_cache_count(&cache), 0);
    mx_region_cache_clear(&cache);
    free_retired(&all_retired);
}
END_TEST

static struct mx_region make(uint64_t start, uint64_t size)
{
    struct mx_region region;

    memset(&region, 0, sizeof(region));
    region.start = start;
    region.size = size;
    region.offset = start;
    region.id = start;
    return region;
}

static void put(struct mx_region_cache *cache, uint64_t start, uint64_t size)
{
    struct mx_region region = make(start, size);

    ck_assert_int_eq(mx_region_cache_insert(cache, &region), 0);
}

static bool holds(const struct mx_region_cache *cache, uint64_t address,
                  uint64_t bytes)
{
    return mx_region_cache_find(cache, address, bytes) != NULL;
}

#define TOP UINT64_MAX

START_TEST(test_find_edges)
{
    struct mx_region_cache cache;

    mx_region_cache_init(&cache, NULL, NULL);
    ck_assert(!holds(&cache, 0, 1));
    ck_assert_uint_eq(mx_region_cache_bytes(&cache), 0);
    put(&cache, 0x1000, 0x1000);
    ck_assert(!holds(&cache, 0, 1));
    ck_assert(!holds(&cache, 0xfff, 1));
    ck_assert(!holds(&cache, 0xfff, 2));
    ck_assert(holds(&cache, 0x1000, 8));
    ck_assert(holds(&cache, 0x1ff8, 8));
    ck_assert(!holds(&cache, 0x1ff9, 8));
    ck_assert(!holds(&cache, 0x2000, 1));
    ck_assert(!holds(&cache, TOP, 1));
    put(&cache, 0, 0x1000);     /* two adjacent ones are two */
    ck_assert(holds(&cache, 0, 1));
    ck_assert(holds(&cache, 0xfff, 1));
    ck_assert(!holds(&cache, 0xfff, 2));
    put(&cache, 0 - (uint64_t)0x1000, 0x1000);
    ck_assert(holds(&cache, TOP, 1));
    ck_assert(!holds(&cache, TOP, 2));  /* nor does it go on at 0 */
    ck_assert(!holds(&cache, TOP, TOP));
    ck_assert(holds(&cache, TOP - 7, 8));
    ck_assert(!holds(&cache, TOP - 6, 8));
    ck_assert(!holds(&cache, TOP - 0x1000, 1));
    ck_assert(holds(&cache, TOP - 0xfff, 0x1000));
    ck_assert_uint_eq(mx_region_cache_bytes(&cache), 0x3000);
    mx_region_cache_clear(&cache);
    put(&cache, 0, TOP);        /* the largest there can be */
    ck_assert(holds(&cache, 0, TOP));
    ck_assert(holds(&cache, TOP - 1, 1));
    ck_assert(!holds(&cache, TOP, 1));
    mx_region_cache_clear(&cache);
}
END_TEST

static enum mx_region_fit fit_of(const struct mx_region_cache *cache,
                                 uint64_t start, uint64_t size,
                                 bool readonly, uint64_t inode,
                                 uint64_t shift)
{
    struct mx_region region = make(start, size);

    region.readonly = readonly;
    region.inode = inode;
    region.offset += shift;
    return mx_region_cache_fit(cache, &region);
}

START_TEST(test_fit)
{
    struct mx_region_cache cache;
    struct mx_region readonly = make(0x8000, 0x2000);

    mx_region_cache_init(&cache, NULL, NULL);
    ck_assert_int_eq(fit_of(&cache, 0, TOP, false, 0, 0), MX_REGION_FREE);
    readonly.readonly = true;
    put(&cache, 0x4000, 0x2000);
    ck_assert_int_eq(mx_region_cache_insert(&cache, &readonly), 0);

    ck_assert_int_eq(fit_of(&cache, 0x3000, 0x1000, 0, 0, 0), MX_REGION_FREE);
    ck_assert_int_eq(fit_of(&cache, 0x6000, 0x2000, 0, 0, 0), MX_REGION_FREE);
    /* the same, part of it, fewer rights than it has: there already */
    ck_assert_int_eq(fit_of(&cache, 0x4000, 0x2000, 0, 0, 0), MX_REGION_SAME);
    ck_assert_int_eq(fit_of(&cache, 0x5000, 0x1000, 0, 0, 0), MX_REGION_SAME);
    ck_assert_int_eq(fit_of(&cache, 0x4000, 0x2000, 1, 0, 0), MX_REGION_SAME);
    ck_assert_int_eq(fit_of(&cache, 0x8000, 0x2000, 1, 0, 0), MX_REGION_SAME);
    /* more rights, or more pages, around all that it meets */
    ck_assert_int_eq(fit_of(&cache, 0x8000, 0x2000, 0, 0, 0),
                     MX_REGION_REPLACES);
    ck_assert_int_eq(fit_of(&cache, 0x3000, 0x3000, 1, 0, 0),
                     MX_REGION_REPLACES);
    ck_assert_int_eq(fit_of(&cache, 0x4000, 0x6000, 0, 0, 0),
                     MX_REGION_REPLACES);
    /* more rights to a part only; around one but across another */
    ck_assert_int_eq(fit_of(&cache, 0x8000, 0x1000, 0, 0, 0),
                     MX_REGION_OVERLAPS);
    ck_assert_int_eq(fit_of(&cache, 0x4000, 0x5000, 0, 0, 0),
                     MX_REGION_OVERLAPS);
    ck_assert_int_eq(fit_of(&cache, 0x3000, 0x2000, 0, 0, 0),
                     MX_REGION_OVERLAPS);
    /* another object, or another place in it */
    ck_assert_int_eq(fit_of(&cache, 0x4000, 0x2000, 0, 1, 0),
                     MX_REGION_OVERLAPS);
    ck_assert_int_eq(fit_of(&cache, 0x4000, 0x2000, 0, 0, 0x1000),
                     MX_REGION_OVERLAPS);
    ck_assert_int_eq(fit_of(&cache, 0x3000, 0x8000, 0, 1, 0),
                     MX_REGION_OVERLAPS);
    mx_region_cache_clear(&cache);
}
END_TEST

START_TEST(test_remove_appends)
{
    struct mx_region_cache cache;
    struct mx_region *removed = NULL;
    size_t count = 0;

    mx_region_cache_init(&cache, NULL, NULL);
    ck_assert_int_eq(mx_region_cache_remove(&cache, 0, TOP, &removed, &count),
                     0);
    ck_assert_uint_eq(count, 0);
    for (uint64_t i = 0; i < 6; i++) {
        put(&cache, (5 - i) * 0x2000, 0x1000);
    }
    ck_assert_int_eq(mx_region_cache_remove(&cache, 0x1000, 0x1000, &removed,
                                            &count), 0);
    ck_assert_int_eq(mx_region_cache_remove(&cache, 0x4000, 0, &removed,
                                            &count), 0);
    ck_assert_uint_eq(count, 0);
    ck_assert_ptr_null(removed);
    ck_assert_int_eq(mx_region_cache_remove(&cache, 0x2fff, 0x1002, &removed,
                                            &count), 0);
    ck_assert_uint_eq(count, 2);
    ck_assert_int_eq(mx_region_cache_remove(&cache, 0, 1, &removed, &count),
                     0);
    ck_assert_uint_eq(count, 3);
    ck_assert_uint_eq(removed[0].start, 0x2000);
    ck_assert_uint_eq(removed[1].start, 0x4000);
    ck_assert_uint_eq(removed[2].start, 0);
    ck_assert_uint_eq(mx_region_cache_count(&cache), 3);
    ck_assert_uint_eq(mx_region_cache_at(&cache, 0)->start, 0x6000);
    free(removed);
    mx_region_cache_clear(&cache);
}
END_TEST

/* Whichever allocation fails: -ENOMEM, and nothing has changed. */
START_TEST(test_no_memory)
{
    struct mx_region_cache cache;
    struct mx_region region = make(0x9000, 0x1000);
    struct mx_region *removed = NULL;
    size_t count = 0;
    unsigned long failures = 0;
    uint64_t before;

    mx_region_cache_init(&cache, NULL, NULL);
    put(&cache, 0x1000, 0x1000);
    put(&cache, 0x3000, 0x1000);
    before = generation(&cache);
    for (;;) {
        harness_fail_allocation(failures + 1);
        if (mx_region_cache_insert(&cache, &region) == 0) {
            break;
        }
        ck_assert(harness_allocation_failed());
        failures++;
        ck_assert_uint_eq(mx_region_cache_count(&cache), 2);
        ck_assert(!holds(&cache, 0x9000, 1));
        ck_assert_uint_eq(generation(&cache), before);
    }
    harness_fail_allocation(0);
    ck_assert_uint_eq(failures, 3);     /* the chunk is two; the snapshot */

    failures = 0;
    for (;;) {
        harness_fail_allocation(failures + 1);
        if (mx_region_cache_remove(&cache, 0x1000, 1, &removed,
                                   &count) == 0) {
            break;
        }
        ck_assert(harness_allocation_failed());
        failures++;
        ck_assert_uint_eq(count, 0);
        ck_assert_uint_eq(mx_region_cache_count(&cache), 3);
        ck_assert(holds(&cache, 0x1000, 1));
    }
    harness_fail_allocation(0);
    ck_assert_uint_eq(failures, 4);     /* the list as well */
    ck_assert_uint_eq(count, 1);
    free(removed);
    mx_region_cache_clear(&cache);
}
END_TEST

/*
 * Readers and a writer at the same time.  A reader counts each time that it
 * uses no snapshot; what was retired is freed once every reader has counted
 * further since.
 */
enum { READERS = 2, SLOTS = 600, CHANGES = 6000, PENDING = 64 };

/* What a region is for: retired behind the region itself, as mappings are. */
struct thing {
    uint64_t id;
};

struct reader {
    pthread_t thread;
    const struct mx_region_cache *cache;
    atomic_bool *stop;
    atomic_ulong quiet;         /* how often it has used no snapshot */
    unsigned long found, kept, wrong;
    uint64_t seed;
    struct mx_region last;      /* as of this generation */
    const uint64_t *generation;
    uint64_t seen;
};

struct grave {
    void (*fn)(void *);
    void *arg;
    unsigned long quiet[READERS];
};

struct yard {
    struct reader readers[READERS];
    struct grave graves[PENDING];
    size_t count;
    unsigned long retired;
};

static void look_at(struct reader *reader, const struct mx_region *region,
                    uint64_t slot)
{
    const struct thing *thing = region->owner;

    reader->wrong += region->start != slot * 0x2000 ||
                     region->size != 0x1000 || region->id % SLOTS != slot ||
                     region->offset != ~region->id || thing->id != region->id;
}

/* What was found in an earlier section is there as long as nothing changes. */
static void look_again(struct reader *reader)
{
    if (reader->generation &&
        __atomic_load_n(reader->generation, __ATOMIC_ACQUIRE) ==
        reader->seen) {
        reader->kept++;
        look_at(reader, &reader->last, reader->last.start / 0x2000);
    }
}

static void look_up(struct reader *reader, uint64_t slot, uint64_t within)
{
    const struct mx_region *region;
    const uint64_t *generation;
    uint64_t seen;

    generation = mx_region_cache_generation(reader->cache, &seen);
    region = mx_region_cache_find(reader->cache, slot * 0x2000 + within, 8);
    if (region != NULL) {
        reader->found++;
        look_at(reader, region, slot);
        reader->last = *region;
        reader->generation = generation;
        reader->seen = seen;
    }
}

static void *read_along(void *opaque)
{
    struct reader *reader = opaque;
    struct random_source source = { reader->seed };

    while (!atomic_load(reader->stop)) {
        look_again(reader);
        atomic_fetch_add(&reader->quiet, 1);
        look_up(reader, random_below(&source, SLOTS),
                random_below(&source, 0xff8));
        atomic_fetch_add(&reader->quiet, 1);
    }
    return NULL;
}

static bool is_quiet(const struct yard *yard, const struct grave *grave)
{
    for (size_t i = 0; i < READERS; i++) {
        if (atomic_load(&yard->readers[i].quiet) == grave->quiet[i]) {
            return false;
        }
    }
    return true;
}

static void bury(void *opaque, void (*fn)(void *), void *arg)
{
    struct yard *yard = opaque;
    struct grave *grave;

    while (yard->count == PENDING) { /* the oldest is quiet first */
        if (!is_quiet(yard, &yard->graves[0])) {
            sched_yield();
            continue;
        }
        yard->graves[0].fn(yard->graves[0].arg);
        yard->count--;
        memmove(yard->graves, yard->graves + 1,
                yard->count * sizeof(yard->graves[0]));
    }
    grave = &yard->graves[yard->count++];
    grave->fn = fn;
    grave->arg = arg;
    for (size_t i = 0; i < READERS; i++) {
        grave->quiet[i] = atomic_load(&yard->readers[i].quiet);
    }
    yard->retired++;
}

static void change(struct mx_region_cache *cache, struct random_source *source,
                   uint64_t number)
{
    uint64_t slot = random_below(source, SLOTS);
    struct mx_region region = make(slot * 0x2000, 0x1000);
    struct mx_region *removed = NULL;
    struct thing *thing;
    size_t count = 0;

    region.id = number * SLOTS + slot;
    region.offset = ~region.id;
    if (mx_region_cache_fit(cache, &region) == MX_REGION_FREE) {
        thing = malloc(sizeof(*thing));
        ck_assert_ptr_nonnull(thing);
        thing->id = region.id;
        region.owner = thing;
        ck_assert_int_eq(mx_region_cache_insert(cache, &region), 0);
        return;
    }
    ck_assert_int_eq(mx_region_cache_remove(cache, region.start + 1, 1,
                                            &removed, &count), 0);
    ck_assert_uint_eq(count, 1);
    bury(cache->opaque, free, removed->owner);
    free(removed);
}

static void bury_things(struct mx_region_cache *cache)
{
    struct mx_region *removed = NULL;
    size_t count = 0;

    ck_assert_int_eq(mx_region_cache_remove(cache, 0, TOP, &removed, &count),
                     0);
    ck_assert_uint_gt(count, SLOTS / 4);
    for (size_t i = 0; i < count; i++) {
        bury(cache->opaque, free, removed[i].owner);
    }
    free(removed);
}

START_TEST(test_concurrent)
{
    static struct yard yard;
    struct random_source source;
    struct mx_region_cache cache;
    atomic_bool stop = false;

    random_start(&source, "concurrent");
    mx_region_cache_init(&cache, bury, &yard);
    for (size_t i = 0; i < READERS; i++) {
        struct reader *reader = &yard.readers[i];

        reader->cache = &cache;
        reader->stop = &stop;
        reader->seed = random_next(&source);
        ck_assert_int_eq(pthread_create(&reader->thread, NULL, read_along,
                                        reader), 0);
    }
    for (uint64_t i = 0; i < CHANGES; i++) {
        change(&cache, &source, i);
    }
    bury_things(&cache);
    atomic_store(&stop, true);
    for (size_t i = 0; i < READERS; i++) {
        ck_assert_int_eq(pthread_join(yard.readers[i].thread, NULL), 0);
        ck_assert_uint_gt(yard.readers[i].found, 0);
        ck_assert_uint_gt(yard.readers[i].kept, 0);
        ck_assert_uint_eq(yard.readers[i].wrong, 0);
    }
    ck_assert_uint_gt(yard.retired, CHANGES / 2);
    for (size_t i = 0; i < yard.count; i++) {
        yard.graves[i].fn(yard.graves[i].arg);
    }
}
END_TEST

static Suite *region_cache_suite(void)
{
    Suite *suite = suite_create("region cache");
    TCase *simple = harness_tcase("simple");
    TCase *model = harness_tcase("model");
    TCase *concurrent = harness_tcase("concurrent");

    tcase_add_test(simple, test_find_edges);
    tcase_add_test(simple, test_fit);
    tcase_add_test(simple, test_remove_appends);
    tcase_add_test(simple, test_no_memory);
    tcase_add_test(model, test_random);
    tcase_add_test(concurrent, test_concurrent);
    suite_add_tcase(suite, simple);
    suite_add_tcase(suite, model);
    suite_add_tcase(suite, concurrent);
    return suite;
}

int main(void)
{
    return harness_main(region_cache_suite());
}
