/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Objects and mappings.  Both are real: objects are pieces of one memfd, and a
 * mapping shares it, so that what one process writes the other reads.
 */
#include "sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { OBJECTS = 256, PAGES = 10, MAPPINGS = 256 };

struct object {
    unsigned references;
    uint64_t id;
    struct process *owner;
    unsigned life;              /* of the owner */
    bool retired;
    uint64_t start;             /* its address in the owner's space */
    struct object_facts facts;
};

struct mapping {
    uint8_t *host;              /* NULL: free */
    struct process *process;
    struct object *object;
    uint64_t size, offset;
    unsigned stream;            /* by which the object came; 0: its own */
    unsigned reachable;         /* a bit for each page */
    bool watched;
    bool spoilt;                /* putting zeros over it has failed */
};

static struct object objects[OBJECTS];
static struct mapping mappings[MAPPINGS];
static unsigned used_mappings;  /* none is in use from here on */
static size_t live_objects;
static uint64_t last_id;
static int pool = -1;
static uint8_t *view;
static size_t page;

void memory_setup(void)
{
    size_t size;

    page = (size_t)sysconf(_SC_PAGESIZE);
    size = OBJECTS * PAGES * page;
    pool = memfd_create("simulate", MFD_CLOEXEC);
    if (pool < 0 || ftruncate(pool, (off_t)size) < 0) {
        abort();
    }
    view = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, pool, 0);
    if (view == MAP_FAILED) {
        abort();
    }
}

void memory_reset(void)
{
    unsigned i;

    for (i = 0; i < used_mappings; i++) {
        if (mappings[i].host) {
            munmap(mappings[i].host, mappings[i].size);
        }
    }
    memset(mappings, 0, used_mappings * sizeof(mappings[0]));
    memset(objects, 0, sizeof(objects));
    used_mappings = 0;
    live_objects = 0;
    last_id = 0;
}

uint8_t *memory_bytes(struct object *object)
{
    return view + (size_t)(object - objects) * PAGES * page;
}

struct object *memory_object(struct process *owner, uint64_t size)
{
    unsigned i = 0;

    if (size > PAGES * page) {
        return NULL;
    }
    while (i < OBJECTS && objects[i].references > 0) {
        i++;
    }
    if (i == OBJECTS) {
        sim_fail("the simulation has too few objects");
        return NULL;
    }
    objects[i] = (struct object) {
        .references = 1,
        .id = ++last_id,
        .owner = owner,
        .life = owner->life,
        .start = UINT64_MAX,
        .facts = { .size = size, .sealed_shrink = true },
    };
    memset(memory_bytes(&objects[i]), 0, (size_t)size);
    live_objects++;
    return &objects[i];
}

void memory_ref(struct object *object)
{
    object->references++;
}

void memory_unref(struct object *object)
{
    SIM_CHECK(object->references > 0, "an object is let go of too often");
    if (--object->references == 0) {
        live_objects--;
    }
}

uint64_t memory_id(const struct object *object)
{
    return object->id;
}

struct object_facts *memory_facts(struct object *object)
{
    return &object->facts;
}

void memory_retire(struct object *object)
{
    object->retired = true;
}

bool memory_retired(const struct object *object)
{
    return object->retired;
}

void memory_place(struct object *object, uint64_t start)
{
    object->start = start;
}

size_t memory_objects(void)
{
    return live_objects;
}

size_t memory_mappings(const struct process *process)
{
    size_t count = 0;
    unsigned i;

    for (i = 0; i < used_mappings; i++) {
        count += mappings[i].host && mappings[i].process == process;
    }
    return count;
}

int memory_map(struct object *object, uint64_t size, uint64_t offset,
               bool readonly, unsigned stream, void **host)
{
    int protection = readonly ? PROT_READ : PROT_READ | PROT_WRITE;
    uint64_t bytes = (size + page - 1) / page * page;
    unsigned i = 0;
    void *address;

    SIM_CHECK(size > 0 && offset % page == 0 &&
              offset + bytes <= PAGES * page, "a strange mapping is made");
    while (i < MAPPINGS && mappings[i].host) {
        i++;
    }
    if (i == MAPPINGS) {
        sim_fail("the simulation has too few mappings");
        return -ENOMEM;
    }
    address = mmap(NULL, bytes, protection, MAP_SHARED, pool,
                   memory_bytes(object) - view + (off_t)offset);
    if (address == MAP_FAILED) {
        abort();
    }
    memory_ref(object);
    mappings[i] = (struct mapping) {
        .host = address,
        .process = fiber_current ? fiber_current->process : NULL,
        .object = object,
        .size = bytes,
        .offset = offset,
        .stream = stream,
        .reachable = (1u << (bytes / page)) - 1,
    };
    used_mappings = i >= used_mappings ? i + 1 : used_mappings;
    *host = address;
    return 0;
}

static void drop(struct mapping *mapping)
{
    munmap(mapping->host, mapping->size);
    memory_unref(mapping->object);
    mapping->host = NULL;
}

void memory_unmap(void *host, uint64_t size)
{
    unsigned i;

    for (i = 0; i < used_mappings; i++) {
        if (mappings[i].host == host) {
            SIM_CHECK((size + page - 1) / page * page == mappings[i].size,
                      "a mapping is undone in part");
            drop(&mappings[i]);
            return;
        }
    }
    sim_fail("what is not mapped is unmapped");
}

struct object *memory_at(const void *host)
{
    unsigned i = 0;

    while (mappings[i].host != host) {
        i++;
    }
    return mappings[i].object;
}

void memory_refuse(void *host)
{
    unsigned i;

    for (i = 0; i < used_mappings; i++) {
        if (mappings[i].host == host) {
            mappings[i].reachable = 0;
        }
    }
}

int memory_overlay(void *host, uint64_t size, bool readonly)
{
    int protection = readonly ? PROT_READ : PROT_READ | PROT_WRITE;
    uint8_t *start = host;
    unsigned i;

    for (i = 0; i < used_mappings; i++) {
        struct mapping *mapping = &mappings[i];

        if (mapping->host && start >= mapping->host &&
            start + size <= mapping->host + mapping->size) {
            unsigned first = (unsigned)((size_t)(start - mapping->host) /
                                        page);
            unsigned count = (unsigned)(size / page);

            mapping->reachable &= ~(((1u << count) - 1) << first);
            if (mmap(host, size, protection,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
                MAP_FAILED) {
                abort();
            }
            return 0;
        }
    }
    sim_fail("something is put over what is not mapped");
    return -EINVAL;
}

void memory_spoil(void *host)
{
    unsigned i;

    for (i = 0; i < used_mappings; i++) {
        if (mappings[i].host == host) {
            mappings[i].spoilt = true;
        }
    }
}

void memory_release_process(struct process *process)
{
    unsigned i;

    for (i = 0; i < used_mappings; i++) {
        if (mappings[i].host && mappings[i].process == process) {
            drop(&mappings[i]);
        }
    }
    for (i = 0; i < OBJECTS; i++) {
        if (objects[i].references > 0 && objects[i].owner == process) {
            objects[i].retired = true;
        }
    }
}

/*
 * A dead exporter has ended its links, too.  Where nothing could be put over a
 * mapping, the link has ended instead.
 */
static bool excused(const struct mapping *mapping)
{
    const struct object *object = mapping->object;

    return (mapping->spoilt && net_ended(mapping->stream)) ||
           object->life != object->owner->life || !object->owner->alive ||
           net_ended_by(mapping->stream, object->owner);
}

static void check(const struct process *exporter)
{
    unsigned i;

    for (i = 0; i < used_mappings; i++) {
        const struct mapping *mapping = &mappings[i];

        if (mapping->host && mapping->reachable &&
            (mapping->object->retired || mapping->object->owner == exporter) &&
            mapping->process != mapping->object->owner &&
            !excused(mapping)) {
            sim_fail("stale mapping: %s still reaches object %llu (0x%llx) "
                     "that %s has withdrawn", mapping->process->name,
                     (unsigned long long)mapping->object->id,
                     (unsigned long long)mapping->object->start,
                     mapping->object->owner->name);
            return;
        }
    }
}

void memory_watch(struct object *object)
{
    unsigned i;

    for (i = 0; i < used_mappings; i++) {
        mappings[i].watched = mappings[i].host &&
                              mappings[i].object == object ?
                              !excused(&mappings[i]) : mappings[i].watched;
    }
}

bool memory_watched(const struct object *object)
{
    unsigned i;

    for (i = 0; i < used_mappings; i++) {
        const struct mapping *mapping = &mappings[i];

        if (mapping->host && mapping->reachable && mapping->watched &&
            mapping->object == object && mapping->process != object->owner &&
            !excused(mapping)) {
            return true;
        }
    }
    return false;
}

void memory_check(void)
{
    check(NULL);
}

void memory_check_none(const struct process *exporter)
{
    check(exporter);
}

bool memory_stale(const struct process *importer, const struct process *owner)
{
    unsigned i;

    for (i = 0; i < used_mappings; i++) {
        const struct mapping *mapping = &mappings[i];

        if (mapping->host && mapping->reachable && mapping->object->retired &&
            mapping->process == importer && mapping->object->owner == owner) {
            return true;
        }
    }
    return false;
}

bool memory_reachable(const struct process *importer, unsigned stream,
                      uint64_t start, uint64_t size)
{
    unsigned i;

    for (i = 0; i < used_mappings; i++) {
        const struct mapping *mapping = &mappings[i];

        if (mapping->host && mapping->reachable &&
            mapping->process == importer && mapping->stream == stream &&
            mapping->object->start < start + size
            && start < mapping->object->start + mapping->object->facts.size) {
            return true;
        }
    }
    return false;
}
