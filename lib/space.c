/* SPDX-License-Identifier: BSD-3-Clause */
#include "space.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "os.h"
#include "wire.h"

/* How much of a block is copied before others get the lock. */
#define BLOCK_PIECE 0x10000

/* The index of the first range that ends behind @address. */
size_t mx_space_index(const struct memexpose_space *space, uint64_t address)
{
    size_t low = 0, high = space->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct mx_space_range *range = &space->ranges[middle];

        if (range->start + (range->size - 1) < address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The range that holds @address, or NULL. */
struct mx_space_range *mx_space_at(const struct memexpose_space *space,
                                   uint64_t address)
{
    size_t i = mx_space_index(space, address);

    if (i == space->count || space->ranges[i].start > address) {
        return NULL;
    }
    return &space->ranges[i];
}

struct memexpose_space *memexpose_space_create(void)
{
    struct memexpose_space *space = calloc(1, sizeof(*space));

    if (space) {
        mx_faults_init(&space->faults);
    }
    if (space && pthread_mutex_init(&space->lock, NULL) != 0) {
        free(space);
        space = NULL;
    }
    if (!space) {
        errno = ENOMEM;
    }
    return space;
}

static void release(struct mx_space_range *range)
{
    if (range->kind == MX_SPACE_RAM) {
        mx_faults_remove(range->fault);
        mx_os_unmap(range->host, range->host_size);
        mx_os_close(range->fd);
    }
}

void memexpose_space_destroy(struct memexpose_space *space)
{
    size_t i;

    if (!space) {
        return;
    }
    for (i = 0; i < space->count; i++) {
        release(&space->ranges[i]);
    }
    free(space->ranges);
    mx_faults_free(&space->faults);
    pthread_mutex_destroy(&space->lock);
    free(space);
}

/* The range that was added at @start, or NULL. */
static struct mx_space_range *range_added(const struct memexpose_space *space,
                                 uint64_t start)
{
    struct mx_space_range *range = mx_space_at(space, start);

    return range && range->start == start ? range : NULL;
}

static int insert_locked(struct memexpose_space *space,
                         const struct mx_space_range *range)
{
    size_t i = mx_space_index(space, range->start);

    if (i < space->count &&
        mx_ranges_intersect(range->start, range->size,
                            space->ranges[i].start, space->ranges[i].size)) {
        return -EEXIST;
    }
    if (space->count == space->room) {
        size_t room = space->room ? 2 * space->room : 8;
        struct mx_space_range *ranges = realloc(space->ranges,
                                                room * sizeof(*ranges));

        if (!ranges) {
            return -ENOMEM;
        }
        space->ranges = ranges;
        space->room = room;
    }
    memmove(&space->ranges[i + 1], &space->ranges[i],
            (space->count - i) * sizeof(*range));
    space->ranges[i] = *range;
    space->count++;
    return 0;
}

static int insert(struct memexpose_space *space, struct mx_space_range *range)
{
    int ret = -ENOMEM;

    pthread_mutex_lock(&space->lock);
    if (range->kind == MX_SPACE_RAM) {
        range->fault = mx_faults_add(&space->faults, range->host,
                                     range->host_size);
    }
    if (range->kind != MX_SPACE_RAM || range->fault) {
        ret = insert_locked(space, range);
    }
    if (ret < 0 && range->fault) {
        mx_faults_remove(range->fault);
    }
    pthread_mutex_unlock(&space->lock);
    return ret;
}

static bool impossible(uint64_t start, uint64_t size)
{
    return size == 0 || mx_range_overflows(start, size);
}

/* New memory, all zeros, that can be shared as it is (section 4). */
static int new_object(uint64_t size, bool readonly)
{
    int fd = mx_os_memfd("memexpose", size);
    int ret;

    if (fd < 0) {
        return fd;
    }
    ret = mx_os_seal(fd, readonly);
    if (ret == 0 && !readonly) {
        return fd;
    }
    if (ret == 0) {
        ret = mx_os_reopen_readonly(fd);
    }
    mx_os_close(fd);
    return ret;
}

/* Map what @range tells of its descriptor, and learn which object it is. */
static int map_object(struct mx_space_range *range)
{
    struct mx_object object;
    void *host;
    int ret;

    ret = mx_os_object(range->fd, &object);
    if (ret < 0) {
        return ret;
    }
    if (!object.regular) {
        return -ENOTSUP;
    }
    if (range->offset % object.page_size != 0) {
        return -EINVAL;
    }
    if (range->offset > object.size ||
        range->size > object.size - range->offset) {
        return -ENODATA;
    }
    if (!range->readonly && !object.writable) {
        return -EACCES;
    }
    range->writable = object.writable;
    range->device = object.device;
    range->inode = object.inode;
    range->host_size = range->size +
                       (object.page_size - range->size % object.page_size) %
                       object.page_size;
    ret = mx_os_map(range->fd, range->host_size, range->offset,
                    range->readonly, &host);
    if (ret == 0) {
        range->host = host;
    }
    return ret;
}

/* Map and insert; the descriptor is the caller's if it fails. */
static int add_object(struct memexpose_space *space,
                      struct mx_space_range *range)
{
    int ret = map_object(range);

    if (ret == 0) {
        ret = insert(space, range);
        if (ret < 0) {
            mx_os_unmap(range->host, range->host_size);
        }
    }
    return ret;
}

int memexpose_space_add_ram(struct memexpose_space *space, uint64_t start,
                            uint64_t size, int fd, uint64_t offset,
                            unsigned flags)
{
    struct mx_space_range range = {
        .start = start,
        .size = size,
        .kind = MX_SPACE_RAM,
        .readonly = flags & MEMEXPOSE_RAM_READONLY,
        .private = flags & MEMEXPOSE_RAM_PRIVATE,
        .fd = fd,
        .offset = offset,
    };
    int ret;

    if (impossible(start, size) || offset % mx_os_page_size() != 0 ||
        (flags & ~(MEMEXPOSE_RAM_READONLY | MEMEXPOSE_RAM_PRIVATE))) {
        return -EINVAL;
    }
    if (fd != -1) {
        return add_object(space, &range);
    }
    range.fd = new_object(size, range.readonly);
    range.offset = 0;
    if (range.fd < 0) {
        return range.fd;
    }
    ret = add_object(space, &range);
    if (ret < 0) {
        mx_os_close(range.fd);
    }
    return ret;
}

int memexpose_space_add_mmio(struct memexpose_space *space, uint64_t start,
                             uint64_t size,
                             const struct memexpose_mmio_ops *ops,
                             void *opaque)
{
    struct mx_space_range range = {
        .start = start,
        .size = size,
        .kind = MX_SPACE_MMIO,
        .opaque = opaque,
    };

    if (impossible(start, size) || ops->size < sizeof(*ops)) {
        return -EINVAL;
    }
    range.ops = *ops;
    return insert(space, &range);
}

int memexpose_space_add_window(struct memexpose_space *space, uint64_t start,
                               uint64_t size)
{
    struct mx_space_range range = {
        .start = start,
        .size = size,
        .kind = MX_SPACE_WINDOW,
    };

    return impossible(start, size) ? -EINVAL : insert(space, &range);
}

int memexpose_space_remove(struct memexpose_space *space, uint64_t start)
{
    struct mx_space_range *range, removed;

    pthread_mutex_lock(&space->lock);
    range = range_added(space, start);
    if (range) {
        removed = *range;
        space->count--;
        memmove(range, range + 1, (size_t)(space->ranges + space->count -
                                           range) * sizeof(*range));
    }
    pthread_mutex_unlock(&space->lock);
    if (!range) {
        return -ENOENT;
    }
    release(&removed);
    return 0;
}

bool mx_space_added(struct memexpose_space *space, uint64_t start,
                    uint64_t *size)
{
    struct mx_space_range *range;

    pthread_mutex_lock(&space->lock);
    range = range_added(space, start);
    if (range) {
        *size = range->size;
    }
    pthread_mutex_unlock(&space->lock);
    return range;
}

/* An access, or what is left of it.  The first byte is at @address. */
struct access {
    bool write;
    uint64_t address;
    uint8_t *bytes;             /* in memory order; only read by a write */
    size_t count;
};

static void advance(struct access *access, size_t count)
{
    access->address += count;
    access->bytes += count;
    access->count -= count;
}

/* How many of the bytes of an access lie in @range, which has the first. */
static size_t bytes_within(const struct access *access,
                           const struct mx_space_range *range)
{
    uint64_t left = range->size - (access->address - range->start);

    return left < access->count ? (size_t)left : access->count;
}

/* What is to be said before anything is done (sections 2 to 4). */
static int permission(const struct mx_space_range *range, bool write)
{
    if (!range || range->kind == MX_SPACE_WINDOW) {
        return MEMEXPOSE_RESULT_DECODE;
    }
    if (range->kind == MX_SPACE_MMIO) {
        return (write ? !range->ops.write : !range->ops.read) ?
               MEMEXPOSE_RESULT_DENIED : MEMEXPOSE_RESULT_OK;
    }
    return write && range->readonly ? MEMEXPOSE_RESULT_DENIED :
                                      MEMEXPOSE_RESULT_OK;
}

/*
 * Ask for every byte of an access, so that nothing has happened if one is
 * refused.  That some of it is denied counts more than that some is not there.
 */
static int check(const struct memexpose_space *space, struct access access)
{
    int result = MEMEXPOSE_RESULT_OK;

    while (access.count) {
        const struct mx_space_range *range =
            mx_space_at(space, access.address);
        int said = permission(range, access.write);

        if (said == MEMEXPOSE_RESULT_DENIED) {
            return said;
        }
        result |= said;
        advance(&access, range ? bytes_within(&access, range) : 1);
    }
    return result;
}

/* One load or store of a type at @host. */
#define TRANSFER(type)                                          \
    do {                                                        \
        volatile type *place = (volatile type *)(void *)host;   \
        type all;                                               \
                                                                \
        if (write) {                                            \
            memcpy(&all, bytes, sizeof(all));                   \
            *place = all;                                       \
        } else {                                                \
            all = *place;                                       \
            memcpy(bytes, &all, sizeof(all));                   \
        }                                                       \
    } while (0)

/* Another process looks on: an aligned power of two moves in one. */
static void transfer(uint8_t *host, uint8_t *bytes, size_t count, bool write)
{
    bool aligned = (uintptr_t)host % count == 0;

    if (count == 8 && aligned) {
        TRANSFER(uint64_t);
    } else if (count == 4 && aligned) {
        TRANSFER(uint32_t);
    } else if (count == 2 && aligned) {
        TRANSFER(uint16_t);
    } else if (count > 8) {
        memcpy(write ? host : bytes, write ? bytes : host, count);
    } else {
        for (; count; count--, host++, bytes++) {
            TRANSFER(uint8_t);
        }
    }
}

static void access_ram(const struct mx_space_range *range,
                       struct access *access,
                       size_t count)
{
    uint8_t *host = range->host + (access->address - range->start);

    if (count > BLOCK_PIECE) {
        count = BLOCK_PIECE;
    }
    transfer(host, access->bytes, count, access->write);
    advance(access, count);
}

/* One call of a callback, of a copy: the range may be gone meanwhile. */
static int call(const struct mx_space_range *mmio, const struct access *access,
                unsigned count)
{
    uint64_t offset = access->address - mmio->start;
    uint64_t value = 0;
    uint8_t bytes[8];
    int result;

    if (access->write) {
        value = mx_value_from_bytes(access->bytes, count);
        result = mmio->ops.write(mmio->opaque, offset, count, value);
    } else {
        result = mmio->ops.read(mmio->opaque, offset, count, &value);
        mx_value_to_bytes(value, bytes);
        memcpy(access->bytes, bytes, count);
    }
    return result < 0 ? MEMEXPOSE_RESULT_ERROR : result;
}

/* The largest naturally aligned size at @address of at most @count bytes. */
static unsigned natural(uint64_t address, size_t count)
{
    unsigned size = 8;

    while (address % size != 0 || size > count) {
        size /= 2;
    }
    return size;
}

static int access_mmio(const struct mx_space_range *mmio,
                       struct access *access,
                       size_t count)
{
    int result = MEMEXPOSE_RESULT_OK;

    while (count && result == MEMEXPOSE_RESULT_OK) {
        unsigned part = natural(access->address, count);

        result = call(mmio, access, part);
        if (result == MEMEXPOSE_RESULT_OK) {
            advance(access, part);
            count -= part;
        }
    }
    return result;
}

/*
 * The part of an access that lies in the range of its first byte.  The lock is
 * held, but not during a callback.
 */
static int access_piece(struct memexpose_space *space, struct access *access)
{
    const struct mx_space_range *range = mx_space_at(space, access->address);
    int result = permission(range, access->write);
    struct mx_space_range mmio;

    if (result != MEMEXPOSE_RESULT_OK) {
        return result;
    }
    if (range->kind == MX_SPACE_RAM) {
        access_ram(range, access, bytes_within(access, range));
        return MEMEXPOSE_RESULT_OK;
    }
    mmio = *range;
    pthread_mutex_unlock(&space->lock);
    result = access_mmio(&mmio, access, bytes_within(access, &mmio));
    pthread_mutex_lock(&space->lock);
    return result;
}

/* An access of a size that can be: all of it is allowed, or nothing done. */
static int access_whole(struct memexpose_space *space, struct access access)
{
    int result;

    if (access.count != 1 && access.count != 2 && access.count != 4 &&
        access.count != 8) {
        return MEMEXPOSE_RESULT_ERROR;
    }
    if (mx_range_overflows(access.address, access.count)) {
        return MEMEXPOSE_RESULT_DECODE;
    }
    pthread_mutex_lock(&space->lock);
    result = check(space, access);
    while (access.count && result == MEMEXPOSE_RESULT_OK) {
        result = access_piece(space, &access);
    }
    pthread_mutex_unlock(&space->lock);
    return result;
}

int memexpose_space_read(struct memexpose_space *space, uint64_t address,
                         unsigned bytes, uint64_t *value)
{
    uint8_t data[8] = { 0 };
    int result = access_whole(space, (struct access) {
        .address = address,
        .bytes = data,
        .count = bytes,
    });

    *value = result == MEMEXPOSE_RESULT_OK ?
             mx_value_from_bytes(data, bytes) : 0;
    return result;
}

int memexpose_space_write(struct memexpose_space *space, uint64_t address,
                          unsigned bytes, uint64_t value)
{
    uint8_t data[8];

    mx_value_to_bytes(value, data);
    return access_whole(space, (struct access) {
        .write = true,
        .address = address,
        .bytes = data,
        .count = bytes,
    });
}

/* Any number of bytes, up to the first that fails. */
static int access_block(struct memexpose_space *space, struct access access,
                        size_t *done)
{
    size_t bytes = access.count;
    int result = MEMEXPOSE_RESULT_OK;

    while (access.count && result == MEMEXPOSE_RESULT_OK) {
        if (access.count < bytes && access.address == 0) {
            result = MEMEXPOSE_RESULT_DECODE;   /* it passed 2^64 */
            break;
        }
        pthread_mutex_lock(&space->lock);
        result = access_piece(space, &access);
        pthread_mutex_unlock(&space->lock);
    }
    if (done) {
        *done = bytes - access.count;
    }
    return result;
}

int memexpose_space_read_block(struct memexpose_space *space,
                               uint64_t address, void *buffer, size_t bytes,
                               size_t *done)
{
    return access_block(space, (struct access) {
        .address = address,
        .bytes = buffer,
        .count = bytes,
    }, done);
}

int memexpose_space_write_block(struct memexpose_space *space,
                                uint64_t address, const void *buffer,
                                size_t bytes, size_t *done)
{
    return access_block(space, (struct access) {
        .write = true,
        .address = address,
        .bytes = (uint8_t *)buffer,
        .count = bytes,
    }, done);
}

/* Windows are not exported, so the span does not reach for them. */
void memexpose_space_span(struct memexpose_space *space, uint64_t *start,
                          uint64_t *size)
{
    const struct mx_space_range *first = NULL, *last = NULL;
    size_t i;

    *start = 0;
    *size = 0;
    pthread_mutex_lock(&space->lock);
    for (i = 0; i < space->count; i++) {
        if (space->ranges[i].kind != MX_SPACE_WINDOW) {
            last = &space->ranges[i];
            first = first ? first : last;
        }
    }
    if (first) {
        *start = first->start;
        *size = last->start - first->start + last->size;
        if (*size == 0) {
            *size = UINT64_MAX; /* 2^64 (section 7) */
        }
    }
    pthread_mutex_unlock(&space->lock);
}

bool memexpose_space_handle_sigbus(struct memexpose_space *space,
                                   const void *address)
{
    return mx_faults_patch(&space->faults, address);
}
