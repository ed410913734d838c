/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The importer's region cache (protocol section 4): two levels that are never
 * changed once readers can see them.  A writer makes those chunks anew in
 * which something changes, and the list of all chunks, and publishes that; the
 * other chunks are in the old snapshot and in the new one.
 */
#include "region-cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    LINE = 8,                   /* regions that lie together */
    LINES = 2 * LINE,
    CHUNK = LINE * LINES,       /* regions in one, at most */
    SPARSE = CHUNK / 4,         /* fewer join a neighbour if they can */
    CACHE_LINE = 64             /* bytes */
};

/* What readers want to know of a region besides its start. */
struct entry {
    uint64_t size;
    void *host;
    uint64_t id : 62;
    uint64_t readonly : 1;
    uint64_t nonvolatile : 1;
};

/* All that a search touches at last, so that it waits for memory once. */
struct line {
    uint64_t starts[LINE];      /* behind the last all are UINT64_MAX */
    struct entry entries[LINE];
};

/*
 * What is searched stands apart from the regions, of which only writers need
 * the rest, and the first start of each line stands in a place of its own.  A
 * chunk has one region at least.
 */
struct chunk {
    size_t count;
    uint64_t bytes;
    struct mx_region *regions;
    _Alignas(CACHE_LINE) uint64_t firsts[LINES]; /* or UINT64_MAX */
    struct line lines[];
};

/* A snapshot has one chunk at least: an empty cache has no snapshot. */
struct mx_region_snapshot {
    size_t count;               /* of chunks */
    size_t regions;
    uint64_t bytes;
    struct chunk **chunks;
    size_t *preceding;          /* regions in all the chunks before */
    size_t stale, stale_end;    /* chunks that the next snapshot has not: set
                                 * when there is one, no reader looks */
    uint64_t starts[];          /* of the chunks, and a line of UINT64_MAX */
};

/* Where a region is; (last chunk, its count) is the end of all. */
struct place {
    size_t chunk, index;
};

/*
 * No value comes twice, in whatever cache, so that a cursor that outlives its
 * device does not fit another one at the same address.
 */
static _Atomic(uint64_t) last_generation;

static struct mx_region_snapshot *
current(const struct mx_region_cache *cache)
{
    return atomic_load_explicit(&cache->current, memory_order_acquire);
}

/* --- life of a snapshot -------------------------------------------------- */

static void chunk_free(struct chunk *chunk)
{
    if (chunk != NULL) {
        free(chunk->regions);
        free(chunk);
    }
}

static size_t lines_for(size_t regions)
{
    return (regions + LINE - 1) / LINE;
}

static struct chunk *chunk_create(size_t room)
{
    size_t lines = lines_for(room);
    struct chunk *chunk;

    chunk = aligned_alloc(CACHE_LINE, sizeof(*chunk) +
                                      lines * sizeof(chunk->lines[0]));
    if (chunk == NULL) {
        return NULL;
    }
    chunk->count = 0;
    chunk->bytes = 0;
    chunk->regions = malloc(room * sizeof(chunk->regions[0]));
    if (chunk->regions == NULL) {
        free(chunk);
        return NULL;
    }
    memset(chunk->firsts, 0xff, sizeof(chunk->firsts));
    memset(chunk->lines, 0xff, lines * sizeof(chunk->lines[0]));
    return chunk;
}

/* Append to a chunk that is not published yet. */
static void chunk_append(struct chunk *chunk, const struct mx_region *region)
{
    size_t line = chunk->count / LINE, index = chunk->count % LINE;

    if (index == 0) {
        chunk->firsts[line] = region->start;
    }
    chunk->lines[line].starts[index] = region->start;
    chunk->lines[line].entries[index] = (struct entry) {
        .size = region->size, .host = region->host, .id = region->id,
        .readonly = region->readonly, .nonvolatile = region->nonvolatile,
    };
    chunk->regions[chunk->count] = *region;
    chunk->bytes += region->size;
    chunk->count++;
}

/* The three arrays are in one allocation. */
static struct mx_region_snapshot *snapshot_create(size_t chunks)
{
    struct mx_region_snapshot *snapshot;
    size_t each = sizeof(snapshot->starts[0]) + sizeof(snapshot->chunks[0]) +
                  sizeof(snapshot->preceding[0]);

    if (chunks > (SIZE_MAX - sizeof(*snapshot)) / each - LINE) {
        return NULL;
    }
    snapshot = malloc(sizeof(*snapshot) + (chunks + LINE) * each);
    if (snapshot == NULL) {
        return NULL;
    }
    memset(snapshot, 0, sizeof(*snapshot));
    memset(snapshot->starts + chunks, 0xff, LINE * sizeof(uint64_t));
    snapshot->chunks = (struct chunk **)(snapshot->starts + chunks + LINE);
    snapshot->preceding = (size_t *)(snapshot->chunks + chunks);
    return snapshot;
}

/* Append to a snapshot that is not published yet. */
static void snapshot_append(struct mx_region_snapshot *snapshot,
                            struct chunk *chunk)
{
    snapshot->starts[snapshot->count] = chunk->firsts[0];
    snapshot->chunks[snapshot->count] = chunk;
    snapshot->preceding[snapshot->count] = snapshot->regions;
    snapshot->regions += chunk->count;
    snapshot->bytes += chunk->bytes;
    snapshot->count++;
}

/* A snapshot goes, and with it the chunks that no other has. */
static void free_replaced(void *arg)
{
    struct mx_region_snapshot *snapshot = arg;

    for (size_t i = snapshot->stale; i < snapshot->stale_end; i++) {
        chunk_free(snapshot->chunks[i]);
    }
    free(snapshot);
}

/*
 * Readers find @snapshot from now on; some may still use the one before, of
 * which the chunks from @stale up to @stale_end are not in @snapshot.
 *
 * The generation follows the snapshot: who reads it first, and finds something
 * then, has found what is at least as new.  And it comes before anything is
 * retired: who reads an old one is a reader that is waited for.
 */
static void publish(struct mx_region_cache *cache,
                    struct mx_region_snapshot *snapshot,
                    size_t stale, size_t stale_end)
{
    uint64_t generation = atomic_fetch_add(&last_generation, 1) + 1;
    struct mx_region_snapshot *replaced;

    replaced = atomic_exchange_explicit(&cache->current, snapshot,
                                        memory_order_acq_rel);
    atomic_store_explicit(&cache->generation, generation,
                          memory_order_release);
    if (replaced == NULL) {
        return;
    }
    replaced->stale = stale;
    replaced->stale_end = stale_end;
    if (cache->retire != NULL) {
        cache->retire(cache->opaque, free_replaced, replaced);
    } else {
        free_replaced(replaced);
    }
}

void mx_region_cache_init(struct mx_region_cache *cache,
                          void (*retire)(void *opaque, void (*fn)(void *),
                                         void *arg), void *opaque)
{
    atomic_init(&cache->current, NULL);
    atomic_init(&cache->generation, 0);
    cache->retire = retire;
    cache->opaque = opaque;
}

void mx_region_cache_clear(struct mx_region_cache *cache)
{
    const struct mx_region_snapshot *snapshot = current(cache);

    publish(cache, NULL, 0, snapshot != NULL ? snapshot->count : 0);
}

/* --- looking up ---------------------------------------------------------- */

/*
 * How many starts of a line, but for its first one, are not above @address: no
 * step waits for another, and none is a guess.
 */
static inline size_t count_line(const uint64_t starts[LINE], uint64_t address)
{
    size_t even = 0, odd = starts[LINE - 1] <= address;

    for (unsigned i = 1; i < LINE - 1; i += 2) {
        odd += starts[i] <= address;
        even += starts[i + 1] <= address;
    }
    return even + odd;
}

/*
 * Only the last address of all is not below the UINT64_MAX that follow the
 * last of @count starts.
 */
static inline size_t limit(size_t index, size_t count, uint64_t address)
{
    if (address == UINT64_MAX && index >= count) {
        return count - 1;
    }
    return index;
}

/* The last chunk that begins at @address or before, else the first. */
static inline size_t search_top(const struct mx_region_snapshot *snapshot,
                                uint64_t address)
{
    const uint64_t *base = snapshot->starts;
    size_t left = snapshot->count, index;

    while (left > LINE) {
        size_t half = left / 2;

        base += base[half] <= address ? half : 0;
        left -= half;
    }
    index = (size_t)(base - snapshot->starts) + count_line(base, address);
    return limit(index, snapshot->count, address);
}

/* The whole line comes while its starts are compared. */
static inline void fetch(const struct line *line)
{
    for (size_t at = 0; at < sizeof(*line); at += CACHE_LINE) {
        __builtin_prefetch((const char *)line + at);
    }
}

/* The last line that begins at @address or before, else the first. */
static inline size_t search_lines(const struct chunk *chunk, uint64_t address)
{
    size_t index;

    if (chunk->count <= LINE) {
        return 0;
    }
    index = count_line(chunk->firsts, address) +
            (chunk->firsts[LINE] <= address) +
            count_line(chunk->firsts + LINE, address);
    return limit(index, lines_for(chunk->count), address);
}

/* The last of its regions that begins there or before, else the first. */
static inline size_t search_chunk(const struct chunk *chunk, uint64_t address)
{
    size_t line = search_lines(chunk, address);

    fetch(&chunk->lines[line]);
    return limit(line * LINE +
                 count_line(chunk->lines[line].starts, address),
                 chunk->count, address);
}

static inline const struct mx_region *
region_at(const struct mx_region_snapshot *snapshot, struct place place)
{
    return &snapshot->chunks[place.chunk]->regions[place.index];
}

/* The last region that begins at @address or before, else the first. */
static inline struct place seek(const struct mx_region_snapshot *snapshot,
                                uint64_t address)
{
    struct place place;

    place.chunk = search_top(snapshot, address);
    place.index = search_chunk(snapshot->chunks[place.chunk], address);
    return place;
}

/* The place of the region that holds all of [address, address + bytes). */
static inline const struct chunk *find(const struct mx_region_snapshot *among,
                                       uint64_t address, uint64_t bytes,
                                       size_t *index)
{
    const struct chunk *chunk;
    uint64_t distance, size;

    if (among == NULL) {
        return NULL;
    }
    chunk = among->chunks[search_top(among, address)];
    *index = search_chunk(chunk, address);
    /* below the first start it wraps and is more than any size */
    distance = address - chunk->lines[*index / LINE].starts[*index % LINE];
    size = chunk->lines[*index / LINE].entries[*index % LINE].size;
    return distance < size && bytes <= size - distance ? chunk : NULL;
}

const struct mx_region *mx_region_cache_find(const struct mx_region_cache *c,
                                             uint64_t address, uint64_t bytes)
{
    size_t index;
    const struct chunk *chunk = find(current(c), address, bytes, &index);

    return chunk != NULL ? &chunk->regions[index] : NULL;
}

void *mx_region_cache_lookup(const struct mx_region_cache *cache,
                             uint64_t address, uint64_t bytes,
                             struct memexpose_range *range)
{
    size_t index;
    const struct chunk *chunk = find(current(cache), address, bytes, &index);
    const struct entry *entry;
    uint64_t start;

    if (chunk == NULL) {
        return NULL;
    }
    entry = &chunk->lines[index / LINE].entries[index % LINE];
    start = chunk->lines[index / LINE].starts[index % LINE];
    *range = (struct memexpose_range) {
        .start = start, .size = entry->size, .host = entry->host,
        .readonly = entry->readonly, .nonvolatile = entry->nonvolatile,
        .id = entry->id,
    };
    return (char *)entry->host + (address - start);
}

/* A word for __atomic_load_n(), which public headers can do with. */
_Static_assert(sizeof(_Atomic(uint64_t)) == sizeof(uint64_t) &&
               ATOMIC_LLONG_LOCK_FREE == 2, "64 bits are read in one piece");

const uint64_t *mx_region_cache_generation(const struct mx_region_cache *cache,
                                           uint64_t *seen)
{
    *seen = atomic_load_explicit(&cache->generation, memory_order_acquire);
    return (const uint64_t *)&cache->generation;
}

const struct mx_region *mx_region_cache_at(const struct mx_region_cache *cache,
                                           size_t index)
{
    const struct mx_region_snapshot *snapshot = current(cache);
    size_t chunk = 0;

    if (snapshot == NULL || index >= snapshot->regions) {
        return NULL;
    }
    for (size_t count = snapshot->count; count > 1; count -= count / 2) {
        if (snapshot->preceding[chunk + count / 2] <= index) {
            chunk += count / 2;
        }
    }
    index -= snapshot->preceding[chunk];
    return &snapshot->chunks[chunk]->regions[index];
}

size_t mx_region_cache_count(const struct mx_region_cache *cache)
{
    const struct mx_region_snapshot *snapshot = current(cache);

    return snapshot != NULL ? snapshot->regions : 0;
}

uint64_t mx_region_cache_bytes(const struct mx_region_cache *cache)
{
    const struct mx_region_snapshot *snapshot = current(cache);

    return snapshot != NULL ? snapshot->bytes : 0;
}

/* --- what a range meets -------------------------------------------------- */

/* How many regions there are before it. */
static size_t number_of(const struct mx_region_snapshot *snapshot,
                        struct place place)
{
    return snapshot->preceding[place.chunk] + place.index;
}

static struct place next(const struct mx_region_snapshot *snapshot,
                         struct place place)
{
    place.index++;
    if (place.index == snapshot->chunks[place.chunk]->count &&
        place.chunk + 1 < snapshot->count) {
        place.chunk++;
        place.index = 0;
    }
    return place;
}

/*
 * [start, start + size), which is not empty, meets the regions from @first on
 * and before @end.
 */
static void find_met(const struct mx_region_snapshot *snapshot,
                     uint64_t start, uint64_t size, struct place *first,
                     struct place *end)
{
    uint64_t last = mx_range_overflows(start, size) ? UINT64_MAX :
                    start + (size - 1);
    const struct mx_region *region;

    *first = seek(snapshot, start);
    region = region_at(snapshot, *first);
    if (region->start <= start && start - region->start >= region->size) {
        *first = next(snapshot, *first);
    }
    *end = seek(snapshot, last);
    if (region_at(snapshot, *end)->start <= last) {
        *end = next(snapshot, *end);
    }
}

const struct mx_region *mx_region_cache_first(const struct mx_region_cache *c,
                                              uint64_t start, uint64_t size)
{
    const struct mx_region_snapshot *snapshot = current(c);
    struct place first, end;

    if (snapshot == NULL || size == 0) {
        return NULL;
    }
    find_met(snapshot, start, size, &first, &end);
    return number_of(snapshot, first) < number_of(snapshot, end) ?
           region_at(snapshot, first) : NULL;
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
    struct place place, end;

    if (snapshot == NULL || offered->size == 0) {
        return MX_REGION_FREE;
    }
    find_met(snapshot, offered->start, offered->size, &place, &end);
    while (number_of(snapshot, place) < number_of(snapshot, end)) {
        result = fit(region_at(snapshot, place), offered);
        if (result != MX_REGION_REPLACES) {
            break;
        }
        place = next(snapshot, place);
    }
    return result;
}

/* --- changing ------------------------------------------------------------ */

/* The regions from @first on and before @end go, and @added comes. */
struct change {
    const struct mx_region_snapshot *before;    /* NULL: empty */
    struct place first, end;
    const struct mx_region *added;      /* or NULL */

    size_t stale, stale_end;    /* chunks that are made anew */
    size_t total, split;        /* regions in the new ones, in the first */
    struct chunk *chunks[2];
};

static size_t count_in(const struct change *change, size_t chunk)
{
    return change->before->chunks[chunk]->count;
}

/* A neighbour takes part if that makes one good chunk of two poor ones. */
static void widen(struct change *change)
{
    size_t total = change->total;

    if (total == 0 || total >= SPARSE) {
        return;
    }
    if (change->stale > 0 &&
        count_in(change, change->stale - 1) + total <= CHUNK) {
        change->stale--;
        change->total += count_in(change, change->stale);
    } else if (change->stale_end < change->before->count &&
               count_in(change, change->stale_end) + total <= CHUNK) {
        change->total += count_in(change, change->stale_end);
        change->stale_end++;
    }
}

/* Where the last of the chunks that are made anew ends. */
static struct place end_of_stale(const struct change *change)
{
    return (struct place) {
        .chunk = change->stale_end - 1,
        .index = count_in(change, change->stale_end - 1),
    };
}

/* How many regions go into the first chunk; the rest has another. */
static size_t split(const struct change *change)
{
    if (change->total <= CHUNK) {
        return change->total;
    }
    /* those who only ever append get full chunks */
    if (change->added != NULL &&
        number_of(change->before, change->end) == change->before->regions) {
        return CHUNK;
    }
    return (change->total + 1) / 2;
}

/* Which chunks are to be made anew, and how large? */
static void plan(struct change *change)
{
    const struct mx_region_snapshot *before = change->before;

    change->total = change->added != NULL;
    if (before != NULL) {
        change->stale = change->first.chunk;
        change->stale_end = change->end.chunk;
        if (change->end.index > 0 || change->stale_end == change->stale) {
            change->stale_end++;
        }
        change->total += change->first.index;
        change->total += number_of(before, end_of_stale(change)) -
                         number_of(before, change->end);
        widen(change);
    }
    change->split = split(change);
}

static void add(struct change *change, const struct mx_region *region)
{
    chunk_append(change->chunks[change->chunks[0]->count == change->split],
                 region);
}

static void copy(struct change *change, struct place from, struct place to)
{
    const struct mx_region_snapshot *before = change->before;

    while (number_of(before, from) < number_of(before, to)) {
        add(change, region_at(before, from));
        from = next(before, from);
    }
}

static void fill_chunks(struct change *change)
{
    if (change->before != NULL) {
        copy(change, (struct place) { .chunk = change->stale },
             change->first);
    }
    if (change->added != NULL) {
        add(change, change->added);
    }
    if (change->before != NULL) {
        copy(change, change->end, end_of_stale(change));
    }
}

static int make_chunks(struct change *change)
{
    if (change->total == 0) {
        return 0;
    }
    change->chunks[0] = chunk_create(change->split);
    if (change->chunks[0] == NULL) {
        return -ENOMEM;
    }
    if (change->split < change->total) {
        change->chunks[1] = chunk_create(change->total - change->split);
        if (change->chunks[1] == NULL) {
            return -ENOMEM;
        }
    }
    fill_chunks(change);
    return 0;
}

static int make_snapshot(const struct change *change,
                         struct mx_region_snapshot **after)
{
    const struct mx_region_snapshot *before = change->before;
    size_t others = before != NULL ? before->count - (change->stale_end -
                                                      change->stale) : 0;
    size_t i = 0;

    *after = NULL;
    if (others == 0 && change->total == 0) {
        return 0;
    }
    *after = snapshot_create(others + (change->chunks[0] != NULL) +
                             (change->chunks[1] != NULL));
    if (*after == NULL) {
        return -ENOMEM;
    }
    for (; i < change->stale; i++) {
        snapshot_append(*after, before->chunks[i]);
    }
    for (size_t j = 0; j < 2 && change->chunks[j] != NULL; j++) {
        snapshot_append(*after, change->chunks[j]);
    }
    for (i = change->stale_end; before != NULL && i < before->count; i++) {
        snapshot_append(*after, before->chunks[i]);
    }
    return 0;
}

/* Either all of it happens, or nothing and -ENOMEM. */
static int apply(struct mx_region_cache *cache, struct change *change)
{
    struct mx_region_snapshot *after;
    int ret;

    plan(change);
    ret = make_chunks(change);
    if (ret == 0) {
        ret = make_snapshot(change, &after);
    }
    if (ret < 0) {
        chunk_free(change->chunks[0]);
        chunk_free(change->chunks[1]);
        return ret;
    }
    publish(cache, after, change->stale, change->stale_end);
    return 0;
}

int mx_region_cache_insert(struct mx_region_cache *cache,
                           const struct mx_region *region)
{
    struct change change = { .before = current(cache), .added = region };

    if (change.before != NULL) {
        find_met(change.before, region->start, region->size, &change.first,
                 &change.end);
    }
    return apply(cache, &change);
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

int mx_region_cache_remove(struct mx_region_cache *cache, uint64_t start,
                           uint64_t size, struct mx_region **removed,
                           size_t *count)
{
    struct change change = { .before = current(cache) };
    struct place place;
    size_t met;

    if (change.before == NULL || size == 0) {
        return 0;
    }
    find_met(change.before, start, size, &change.first, &change.end);
    met = number_of(change.before, change.end) -
          number_of(change.before, change.first);
    if (met == 0) {
        return 0;
    }
    if (extend(removed, *count, met) < 0) {
        return -ENOMEM;
    }
    /* behind those that count, whatever comes of it */
    place = change.first;
    for (size_t i = 0; i < met; i++) {
        (*removed)[*count + i] = *region_at(change.before, place);
        place = next(change.before, place);
    }
    if (apply(cache, &change) < 0) {
        return -ENOMEM;
    }
    *count += met;
    return 0;
}
