/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What of a space may be shared (protocol section 4).
 */
#include "space.h"

#include "os.h"
#include "wire.h"

static bool same_object(const struct mx_space_range *one,
                        const struct mx_space_range *other)
{
    return one->kind == MX_SPACE_RAM && other->kind == MX_SPACE_RAM &&
           one->device == other->device && one->inode == other->inode;
}

/*
 * The end of what ranges like @like, those with its rights, have of the first
 * @covered bytes of the object and of what continues them.
 */
static uint64_t extend_cover(const struct memexpose_space *space,
                             const struct mx_space_range *like,
                             uint64_t covered)
{
    size_t i;

    for (i = 0; i < space->count; i++) {
        const struct mx_space_range *range = &space->ranges[i];

        if (same_object(range, like) && range->readonly == like->readonly &&
            range->offset <= covered &&
            range->offset + range->size > covered) {
            covered = range->offset + range->size;
        }
    }
    return covered;
}

/* Do the ranges with the rights of @like have every byte of the object? */
static bool is_covered(const struct memexpose_space *space,
                       const struct mx_space_range *like, uint64_t object_size)
{
    uint64_t covered = 0, before;

    do {
        before = covered;
        covered = extend_cover(space, like, covered);
    } while (covered > before);
    return covered >= object_size;
}

/* Is there no range of the same object that speaks against sharing it? */
static bool is_undisputed(const struct memexpose_space *space,
                          const struct mx_space_range *shared)
{
    size_t i;

    for (i = 0; i < space->count; i++) {
        const struct mx_space_range *range = &space->ranges[i];

        if (same_object(range, shared) &&
            (range->private || (shared->readonly && range->writable))) {
            return false;
        }
    }
    return true;
}

/* A memfd opened read-only can be opened anew through /proc (section 4). */
static bool is_sealed(const struct mx_object *object)
{
    return !object->seals_known || object->sealed_write;
}

/* May the whole object be had by the peer (section 4)? */
static bool may_share(const struct memexpose_space *space,
                      const struct mx_space_range *range)
{
    struct mx_object object;

    return is_undisputed(space, range) &&
           mx_os_object(range->fd, &object) == 0 &&
           (!range->readonly || is_sealed(&object)) &&
           is_covered(space, range, object.size);
}

/* Does @next continue @range, in addresses, object and rights? */
static bool continues(const struct mx_space_range *range,
                      const struct mx_space_range *next)
{
    return same_object(range, next) && range->readonly == next->readonly &&
           range->start + range->size == next->start &&
           range->offset + range->size == next->offset;
}

/* The maximal flat range of one object around @range (section 2). */
static void flatten(const struct memexpose_space *space,
                    const struct mx_space_range *range,
                    struct memexpose_share *share)
{
    const struct mx_space_range *first = range, *last = range;
    const struct mx_space_range *end = space->ranges + space->count;

    while (first > space->ranges && continues(first - 1, first)) {
        first--;
    }
    while (last + 1 < end && continues(last, last + 1)) {
        last++;
    }
    share->start = first->start;
    share->size = last->start - first->start + last->size;
    share->offset = first->offset;
    share->readonly = range->readonly;
}

static int share_of(const struct memexpose_space *space,
                    const struct mx_space_range *range,
                    struct memexpose_share *share)
{
    int fd = mx_os_duplicate(range->fd);

    if (fd < 0) {
        return 0;
    }
    *share = (struct memexpose_share) { .fd = fd };
    flatten(space, range, share);
    return 1;
}

static int resolve_locked(const struct memexpose_space *space,
                          uint64_t address, struct memexpose_share *share)
{
    const struct mx_space_range *range = mx_space_at(space, address);

    if (!range || range->kind != MX_SPACE_RAM || !may_share(space, range)) {
        return 0;
    }
    return share_of(space, range, share);
}

int memexpose_space_resolve(struct memexpose_space *space, uint64_t address,
                            struct memexpose_share *share)
{
    int ret;

    pthread_mutex_lock(&space->lock);
    ret = resolve_locked(space, address, share);
    pthread_mutex_unlock(&space->lock);
    return ret;
}

static int next_share_locked(const struct memexpose_space *space,
                             uint64_t address, struct memexpose_share *share)
{
    size_t i;

    for (i = mx_space_index(space, address); i < space->count; i++) {
        const struct mx_space_range *range = &space->ranges[i];

        if (range->kind == MX_SPACE_RAM && may_share(space, range)) {
            return share_of(space, range, share);
        }
    }
    return 0;
}

int memexpose_space_next_share(struct memexpose_space *space, uint64_t address,
                               struct memexpose_share *share)
{
    int ret;

    pthread_mutex_lock(&space->lock);
    ret = next_share_locked(space, address, share);
    pthread_mutex_unlock(&space->lock);
    return ret;
}
