/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The importer's region cache (protocol section 4): a sorted array that is
 * never changed once readers can see it.  Writers copy it, change the copy and
 * publish that; they are few and rare, readers are every access of a guest.
 */
#include "region-cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * The starts stand apart from the regions so that a search touches few cache
 * lines; both arrays are in one allocation.  A snapshot has one region at
 * least: an empty cache has no snapshot.
 */
struct mx_region_snapshot {
    struct mx_region *regions;
    size_t count;
    uint64_t bytes;
    uint64_t starts[];
};

static struct mx_region_snapshot *
current(const struct mx_region_cache *cache)
{
    return atomic_load_explicit(&cache->current, memory_order_acquire);
}

static struct mx_region_snapshot *snapshot_create(size_t count)
{
    struct mx_region_snapshot *snapshot;
    size_t each = sizeof(snapshot->starts[0]) + sizeof(snapshot->regions[0]);

    if (count > (SIZE_MAX - sizeof(*snapshot)) / each) {
        return NULL;
    }
    snapshot = malloc(sizeof(*snapshot) + count * each);
    if (snapshot == NULL) {
        return NULL;
    }
    snapshot->regions = (struct mx_region *)(snapshot->starts + count);
    snapshot->count = 0;
    snapshot->bytes = 0;
    return snapshot;
}

/* Append to a snapshot that is not published yet. */
static void snapshot_append(struct mx_region_snapshot *snapshot,
                            const struct mx_region *region)
{
    snapshot->starts[snapshot->count] = region->start;
    snapshot->regions[snapshot->count] = *region;
    snapshot->bytes += region->size;
    snapshot->count++;
}

/* Readers find @snapshot from now on; some may still use the one before. */
static void publish(struct mx_region_cache *cache,
                    struct mx_region_snapshot *snapshot)
{
    struct mx_region_snapshot *replaced;

    replaced = atomic_exchange_explicit(&cache->current, snapshot,
                                        memory_order_acq_rel);
    if (replaced == NULL) {
        return;
    }
    if (cache->retire != NULL) {
        cache->retire(cache->opaque, free, replaced);
    } else {
        free(replaced);
    }
}

void mx_region_cache_init(struct mx_region_cache *cache,
                          void (*retire)(void *opaque, void (*fn)(void *),
                                         void *arg), void *opaque)
{
    atomic_init(&cache->current, NULL);
    cache->retire = retire;
    cache->opaque = opaque;
}

void mx_region_cache_clear(struct mx_region_cache *cache)
{
    publish(cache, NULL);
}

/* The last of @count ascending starts that is not above @address, else 0. */
static size_t search(const uint64_t *starts, size_t count, uint64_t address)
{
    const uint64_t *base = starts;

    while (count > 1) {
        size_t half = count / 2;

        base += base[half] <= address ? half : 0;
        count -= half;
    }
    return (size_t)(base - starts);
}

const struct mx_region *mx_region_cache_find(const struct mx_region_cache *c,
                                             uint64_t address, uint64_t bytes)
{
    const struct mx_region_snapshot *snapshot = current(c);
    const struct mx_region *region;
    uint64_t distance;

    if (snapshot == NULL) {
        return NULL;
    }
    region = &snapshot->regions[search(snapshot->starts, snapshot->count,
                                       address)];
    /* below the first start it wraps and is more than any size */
    distance = address - region->start;
    if (distance < region->size && bytes <= region->size - distance) {
        return region;
    }
    return NULL;
}

const struct mx_region *mx_region_cache_at(const struct mx_region_cache *cache,
                                           size_t index)
{
    const struct mx_region_snapshot *snapshot = current(cache);

    if (snapshot == NULL || index >= snapshot->count) {
        return NULL;
    }
    return &snapshot->regions[index];
}

size_t mx_region_cache_count(const struct mx_region_cache *cache)
{
    const struct mx_region_snapshot *snapshot = current(cache);

    return snapshot != NULL ? snapshot->count : 0;
}

uint64_t mx_region_cache_bytes(const struct mx_region_cache *cache)
{
    const struct mx_region_snapshot *snapshot = current(cache);

    return snapshot != NULL ? snapshot->bytes : 0;
}

static bool intersect(const struct mx_region *a, const struct mx_region *b)
{
    return mx_ranges_intersect(a->start, a->size, b->start, b->size);
}

static bool within(const struct mx_region *a, const struct mx_region *b)
{
    return mx_range_within(a->start, a->size, b->start, b->size);
}

static bool same_place(const struct mx_region *a, const struct mx_region *b)
{
    return a->device == b->device && a->inode == b->inode &&
           a->offset - a->start == b->offset - b->start;
}

static bool has_rights_of(const struct mx_region *a, const struct mx_region *b)
{
    return !a->readonly || b->readonly;
}

/* One mapped range that meets an offered one. */
static enum mx_region_fit fit(const struct mx_region *mapped,
                              const struct mx_region *offered)
{
    if (!same_place(mapped, offered)) {
        return MX_REGION_OVERLAPS;
    }
    if (within(offered, mapped) && has_rights_of(mapped, offered)) {
        return MX_REGION_SAME;
    }
    return within(mapped, offered) ? MX_REGION_REPLACES : MX_REGION_OVERLAPS;
}

enum mx_region_fit mx_region_cache_fit(const struct mx_region_cache *cache,
                                       const struct mx_region *offered)
{
    const struct mx_region_snapshot *snapshot = current(cache);
    enum mx_region_fit result = MX_REGION_FREE;

    for (size_t i = 0; snapshot != NULL && i < snapshot->count; i++) {
        if (!intersect(&snapshot->regions[i], offered)) {
            continue;
        }
        result = fit(&snapshot->regions[i], offered);
        if (result != MX_REGION_REPLACES) {
            break;
        }
    }
    return result;
}

int mx_region_cache_insert(struct mx_region_cache *cache,
                           const struct mx_region *region)
{
    const struct mx_region_snapshot *before = current(cache);
    size_t count = mx_region_cache_count(cache);
    struct mx_region_snapshot *after = snapshot_create(count + 1);
    size_t i = 0;

    if (after == NULL) {
        return -ENOMEM;
    }
    for (; i < count && before->starts[i] < region->start; i++) {
        snapshot_append(after, &before->regions[i]);
    }
    snapshot_append(after, region);
    for (; i < count; i++) {
        snapshot_append(after, &before->regions[i]);
    }
    publish(cache, after);
    return 0;
}

/* How many ranges of @snapshot [start, start + size) meets. */
static size_t count_met(const struct mx_region_snapshot *snapshot,
                        uint64_t start, uint64_t size)
{
    size_t met = 0;

    for (size_t i = 0; snapshot != NULL && i < snapshot->count; i++) {
        met += mx_ranges_intersect(snapshot->regions[i].start,
                                   snapshot->regions[i].size, start, size);
    }
    return met;
}

/* Make room for @more entries behind the @count of a malloc'ed array. */
static int extend(struct mx_region **regions, size_t count, size_t more)
{
    struct mx_region *extended;

    extended = reallocarray(*regions, count + more, sizeof(**regions));
    if (extended == NULL) {
        return -ENOMEM;
    }
    *regions = extended;
    return 0;
}

/* Share the ranges of @before out between those met and those that stay. */
static void part(const struct mx_region_snapshot *before,
                 uint64_t start, uint64_t size, struct mx_region *met,
                 struct mx_region_snapshot *after)
{
    for (size_t i = 0; i < before->count; i++) {
        const struct mx_region *region = &before->regions[i];

        if (mx_ranges_intersect(region->start, region->size, start, size)) {
            *met++ = *region;
        } else {
            snapshot_append(after, region);
        }
    }
}

int mx_region_cache_remove(struct mx_region_cache *cache, uint64_t start,
                           uint64_t size, struct mx_region **removed,
                           size_t *count)
{
    const struct mx_region_snapshot *before = current(cache);
    size_t met = count_met(before, start, size);
    struct mx_region_snapshot *after = NULL;

    if (met == 0) {
        return 0;
    }
    if (extend(removed, *count, met) < 0) {
        return -ENOMEM;
    }
    if (met < before->count) {
        after = snapshot_create(before->count - met);
        if (after == NULL) {
            return -ENOMEM;
        }
    }
    part(before, start, size, *removed + *count, after);
    *count += met;
    publish(cache, after);
    return 0;
}
