/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The importer's region cache: which ranges of the peer are mapped here
 * (protocol section 4).  It maps nothing itself.
 *
 * Readers look ranges up in an immutable snapshot that writers replace, with
 * no lock: an atomic load and a search that takes time as the logarithm of the
 * number of ranges.  Writers are serialised by the caller; a change copies no
 * more than a small part.  What is replaced is given to the caller's retire
 * function, in one call for each change.
 */
#ifndef MX_REGION_CACHE_H
#define MX_REGION_CACHE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <memexpose/device.h>

#include "wire.h"

/* One mapped range.  [start, start + size) never overflows, is not empty. */
struct mx_region {
    uint64_t start;
    uint64_t size;
    void *host;
    bool readonly;
    bool nonvolatile;
    uint64_t device;            /* identity of the object: st_dev, st_ino */
    uint64_t inode;
    uint64_t offset;            /* of start in the object */
    uint64_t id;                /* unique, below 2^62, given by the caller */
    void *owner;                /* the caller's */
};

struct mx_region_snapshot;      /* sorted, immutable once published */

struct mx_region_cache {
    _Atomic(struct mx_region_snapshot *) current; /* NULL: empty */
    _Atomic(uint64_t) generation;       /* another after each change */
    /* calls fn(arg) when no reader of a replaced snapshot can be left */
    void (*retire)(void *opaque, void (*fn)(void *arg), void *arg);
    void *opaque;
};

/* @retire NULL: replaced snapshots are freed at once. */
void mx_region_cache_init(struct mx_region_cache *cache,
                          void (*retire)(void *opaque, void (*fn)(void *),
                                         void *arg), void *opaque);

/* Frees the current snapshot, likewise by way of retire. */
void mx_region_cache_clear(struct mx_region_cache *cache);

/*
 * The range that holds [address, address + bytes), or NULL.  Lock-free; the
 * result lives as long as the snapshot does.
 */
const struct mx_region *mx_region_cache_find(const struct mx_region_cache *c,
                                             uint64_t address, uint64_t bytes);

/* The same for those who only want to get there: its host address and what
 * consumers are told of the range, or NULL. */
void *mx_region_cache_lookup(const struct mx_region_cache *cache,
                             uint64_t address, uint64_t bytes,
                             struct memexpose_range *range);

/*
 * Where the cache's generation is, which is now @seen.  What a reader finds
 * after that may be used by a later one within whose section the generation is
 * still @seen, and for as long as that section lasts: each change makes it
 * another before what has changed is retired.  No two caches ever have the
 * same one, the 0 of those that have not changed yet excepted.  Lock-free.
 */
const uint64_t *mx_region_cache_generation(const struct mx_region_cache *cache,
                                           uint64_t *seen);

/* The lowest range that intersects [start, start + size), or NULL; for
 * writers. */
const struct mx_region *mx_region_cache_first(const struct mx_region_cache *c,
                                              uint64_t start, uint64_t size);

/* The @index-th range in ascending order, or NULL; for writers. */
const struct mx_region *mx_region_cache_at(const struct mx_region_cache *cache,
                                           size_t index);
size_t mx_region_cache_count(const struct mx_region_cache *cache);

/* The sum of the sizes. */
uint64_t mx_region_cache_bytes(const struct mx_region_cache *cache);

/* What may be done with an offered range (section 4). */
enum mx_region_fit {
    MX_REGION_FREE,             /* it overlaps nothing */
    MX_REGION_SAME,             /* pages and rights are all mapped already by
                                 * one range: nothing to do */
    MX_REGION_REPLACES,         /* it contains all that it overlaps, each the
                                 * same object at the same place */
    MX_REGION_OVERLAPS          /* to be declined */
};

enum mx_region_fit mx_region_cache_fit(const struct mx_region_cache *cache,
                                       const struct mx_region *offered);

/* Insert a range that overlaps nothing.  Returns 0 or -ENOMEM. */
int mx_region_cache_insert(struct mx_region_cache *cache,
                           const struct mx_region *region);

/*
 * Remove every range that intersects [start, start + size) and append them to
 * the malloc'ed array *@removed (of *@count entries, the caller's to free; may
 * be NULL with 0).  size 0 removes nothing.  Returns 0, or -ENOMEM, in which
 * case nothing has changed.
 */
int mx_region_cache_remove(struct mx_region_cache *cache, uint64_t start,
                           uint64_t size, struct mx_region **removed,
                           size_t *count);

#endif
