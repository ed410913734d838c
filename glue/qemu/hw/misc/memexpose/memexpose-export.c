/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the peer reaches of this machine: a flat range of an address space,
 * by accesses, or by descriptors where it is backed by shareable memory.
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/rcu.h"
#include "qapi/error.h"
#include "memexpose-internal.h"
#include "trace.h"

/* --- accesses ------------------------------------------------------------ */

static bool is_exported(const MemexposeState *s, uint64_t address)
{
    return address >= s->export_base &&
           (s->export_size == 0 ||
            address - s->export_base < s->export_size);
}

static int to_result(MemTxResult result)
{
    return (result & MEMTX_ERROR ? MEMEXPOSE_RESULT_ERROR : 0) |
           (result & MEMTX_DECODE_ERROR ? MEMEXPOSE_RESULT_DECODE : 0) |
           (result & MEMTX_ACCESS_ERROR ? MEMEXPOSE_RESULT_DENIED : 0);
}

/* An access of the peer's.  It goes on behind @done bytes. */
typedef struct Access {
    MemexposeState *s;
    uint64_t address;
    uint8_t *bytes;
    size_t size;
    size_t done;
    bool is_write;
    bool is_block;
} Access;

/* Can all of it be copied at once, without a device that takes notice? */
static bool is_plain_memory(const MemoryRegion *mr, bool is_write)
{
    MemoryRegion *region = (MemoryRegion *)mr;

    if (memory_region_is_ram(region)) {
        return !memory_region_is_ram_device(region);
    }
    return memory_region_is_romd(region) && !is_write;
}

/*
 * Of a block that ends in a device, one access: so that it is known how many
 * bytes went before one that failed, and so that an access that moves what
 * lies behind it is seen to have done so.
 */
static size_t limit_piece(const MemoryRegionSection *section, size_t size,
                          bool is_write)
{
    uint64_t offset = section->offset_within_region;
    size_t largest = section->mr->ops->valid.max_access_size;

    if (is_plain_memory(section->mr, is_write)) {
        return size;
    }
    size = MIN(size, largest ? MIN(largest, 8) : 4);
    if (offset != 0) {
        size = MIN(size, offset & -offset);
    }
    return pow2floor(size);
}

/* The largest piece from there on that lies in one region. */
static int access_piece(Access *access)
{
    MemexposeState *s = access->s;
    uint64_t address = access->address + access->done;
    MemoryRegionSection section;
    int result = MEMEXPOSE_RESULT_DECODE;
    size_t size;

    section = memory_region_find(s->as->root, address,
                                 access->size - access->done);
    if (!section.mr) {
        return result;
    }
    if (section.offset_within_address_space != address ||
        memexpose_owns(section.mr)) {
        /* nothing there; or never through one window into another */
    } else if (access->is_write && section.readonly) {
        result = MEMEXPOSE_RESULT_DENIED;
    } else {
        size = int128_get64(section.size);
        if (access->is_block) {
            size = limit_piece(&section, size, access->is_write);
        }
        result = to_result(address_space_rw(s->as, address, s->attrs,
                                            access->bytes + access->done,
                                            size, access->is_write));
        if (result == MEMEXPOSE_RESULT_OK) {
            access->done += size;
        }
    }
    memory_region_unref(section.mr);
    return result;
}

/* What is not exported is not there; of a block the part before that is. */
static int access_all(Access *access)
{
    MemexposeState *s = access->s;
    int result = MEMEXPOSE_RESULT_OK;
    size_t wanted = access->size;

    if (!is_exported(s, access->address)) {
        return MEMEXPOSE_RESULT_DECODE;
    }
    if (!is_exported(s, access->address + wanted - 1)) {
        if (!access->is_block) {
            return MEMEXPOSE_RESULT_DECODE;
        }
        access->size = s->export_base + s->export_size - access->address;
    }
    if (access->is_write && s->export_readonly) {
        return MEMEXPOSE_RESULT_DENIED;
    }
    while (access->done < access->size && result == MEMEXPOSE_RESULT_OK) {
        result = access_piece(access);
    }
    return result == MEMEXPOSE_RESULT_OK && access->done < wanted ?
           MEMEXPOSE_RESULT_DECODE : result;
}

int memexpose_export_read(void *opaque, uint64_t address, unsigned bytes,
                          uint64_t *value)
{
    MemexposeState *s = opaque;
    uint8_t buffer[8] = { 0 };
    Access access = {
        .s = s, .address = address, .bytes = buffer, .size = bytes,
    };
    int result = access_all(&access);

    *value = ldq_le_p(buffer);
    trace_memexpose_export(s->log_name, "read", address, bytes, *value,
                           result);
    return result;
}

int memexpose_export_write(void *opaque, uint64_t address, unsigned bytes,
                           uint64_t value)
{
    MemexposeState *s = opaque;
    uint8_t buffer[8];
    Access access = {
        .s = s, .address = address, .bytes = buffer, .size = bytes,
        .is_write = true,
    };
    int result;

    stq_le_p(buffer, value);
    result = access_all(&access);
    trace_memexpose_export(s->log_name, "write", address, bytes, value,
                           result);
    return result;
}

int memexpose_export_read_block(void *opaque, uint64_t address, void *buffer,
                                size_t bytes, size_t *done)
{
    MemexposeState *s = opaque;
    Access access = {
        .s = s, .address = address, .bytes = buffer, .size = bytes,
        .is_block = true,
    };
    int result = access_all(&access);

    *done = access.done;
    trace_memexpose_export_block(s->log_name, "read", address, bytes, *done,
                                 result);
    return result;
}

int memexpose_export_write_block(void *opaque, uint64_t address,
                                 const void *buffer, size_t bytes,
                                 size_t *done)
{
    MemexposeState *s = opaque;
    Access access = {
        .s = s, .address = address, .bytes = (uint8_t *)buffer,
        .size = bytes, .is_write = true, .is_block = true,
    };
    int result = access_all(&access);

    *done = access.done;
    trace_memexpose_export_block(s->log_name, "write", address, bytes, *done,
                                 result);
    return result;
}

/* --- sharing ------------------------------------------------------------- */

typedef struct FlatSearch {
    MemexposeState *s;
    const MemoryRegion *mr;
    uint64_t address;
    uint64_t start, size, offset;       /* out: the flat range */
    uint64_t covered;           /* bytes of the region known to be exported */
    bool found, progress;
} FlatSearch;

static bool find_range(Int128 start, Int128 size, const MemoryRegion *mr,
                       hwaddr offset, void *opaque)
{
    FlatSearch *search = opaque;

    if (mr != search->mr || int128_gt(start, int128_make64(search->address)) ||
        int128_ge(int128_make64(search->address), int128_add(start, size))) {
        return false;
    }
    search->start = int128_get64(start);
    search->size = int128_get64(size);
    search->offset = offset;
    search->found = true;
    return true;
}

/* Does this exported range go on where @covered ends? */
static bool find_cover(Int128 start, Int128 size, const MemoryRegion *mr,
                       hwaddr offset, void *opaque)
{
    FlatSearch *search = opaque;
    uint64_t first, bytes;

    if (mr != search->mr) {
        return false;
    }
    first = int128_get64(start);
    bytes = int128_get64(size);
    if (!is_exported(search->s, first) ||
        !is_exported(search->s, first + bytes - 1) ||
        offset > search->covered || offset + bytes <= search->covered) {
        return false;
    }
    search->covered = offset + bytes;
    search->progress = true;
    return false;
}

/*
 * A descriptor gives the whole object.  Where only a part of the address space
 * is exported, the object has to lie in that part as a whole.
 */
static bool may_all_be_exported(MemexposeState *s, MemoryRegion *mr,
                                FlatView *view)
{
    FlatSearch search = { .s = s, .mr = mr };

    if (s->export_base == 0 && s->export_size == 0) {
        return true;
    }
    do {
        search.progress = false;
        flatview_for_each_range(view, find_cover, &search);
    } while (search.progress);
    return search.covered >= memory_region_size(mr);
}

/*
 * Read-only memory goes out only if nothing here can write it: the region
 * itself is read-only, and so is the descriptor.
 */
static bool may_be_shared(MemexposeState *s,
                          const MemoryRegionSection *section, int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0) {
        return false;
    }
    if (section->readonly) {
        return section->mr->readonly && (flags & O_ACCMODE) == O_RDONLY;
    }
    return !s->export_readonly && (flags & O_ACCMODE) == O_RDWR;
}

static int descriptor_of(MemoryRegion *mr)
{
    if (!memory_region_is_ram(mr) || memory_region_is_ram_device(mr) ||
        !mr->ram_block || !qemu_ram_is_shared(mr->ram_block) ||
        memexpose_owns(mr)) {
        return -1;
    }
    return memory_region_get_fd(mr);
}

static int share_section(MemexposeState *s, uint64_t address,
                         const MemoryRegionSection *section,
                         struct memexpose_share *share)
{
    FlatSearch search = { .s = s, .mr = section->mr, .address = address };
    int fd = descriptor_of(section->mr);
    FlatView *view;

    if (fd < 0 || !may_be_shared(s, section, fd)) {
        return 0;
    }
    RCU_READ_LOCK_GUARD();
    view = address_space_to_flatview(s->as);
    flatview_for_each_range(view, find_range, &search);
    if (!search.found || !is_exported(s, search.start) ||
        !is_exported(s, search.start + search.size - 1) ||
        !may_all_be_exported(s, section->mr, view)) {
        return 0;
    }
    fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) {
        return 0;
    }
    share->start = search.start;
    share->size = search.size;
    share->offset = memexpose_block_offset(section->mr->ram_block) +
                    search.offset;
    share->fd = fd;
    share->readonly = section->readonly;
    share->nonvolatile = section->nonvolatile;
    trace_memexpose_export_share(s->log_name, share->start, share->size,
                                 share->offset, share->readonly);
    return 1;
}

int memexpose_export_resolve(void *opaque, uint64_t address,
                             struct memexpose_share *share)
{
    MemexposeState *s = opaque;
    MemoryRegionSection section;
    int ret;

    section = memory_region_find(s->as->root, address, 1);
    if (!section.mr) {
        return 0;
    }
    ret = share_section(s, address, &section, share);
    memory_region_unref(section.mr);
    return ret;
}

typedef struct FlatNext {
    uint64_t address;
    uint64_t start, last;       /* out */
    bool found;
} FlatNext;

/* The first range with a descriptor that does not end before @address. */
static bool find_next(Int128 start, Int128 size, const MemoryRegion *mr,
                      hwaddr offset, void *opaque)
{
    FlatNext *next = opaque;
    Int128 last = int128_sub(int128_add(start, size), int128_one());

    if (int128_gt(int128_make64(next->address), last) ||
        descriptor_of((MemoryRegion *)mr) < 0) {
        return false;
    }
    next->start = int128_get64(start);
    next->last = int128_get64(last);
    next->found = true;
    return true;
}

/* One after the other, what resolving would give at some address. */
int memexpose_export_next_share(void *opaque, uint64_t address,
                                struct memexpose_share *share)
{
    MemexposeState *s = opaque;
    FlatNext next = { .address = address };

    do {
        next.found = false;
        WITH_RCU_READ_LOCK_GUARD() {
            flatview_for_each_range(address_space_to_flatview(s->as),
                                    find_next, &next);
        }
        if (!next.found) {
            return 0;
        }
        if (memexpose_export_resolve(s, next.start, share) == 1) {
            return 1;
        }
        next.address = next.last + 1;
    } while (next.address != 0);
    return 0;
}

/* --- changes ------------------------------------------------------------- */

static void export_region_del(MemoryListener *listener,
                              MemoryRegionSection *section)
{
    MemexposeState *s = container_of(listener, MemexposeState, listener);
    uint64_t start = section->offset_within_address_space;
    uint64_t size = int128_get64(section->size);

    if (!s->device || !memexpose_in_commit()) {
        return;
    }
    trace_memexpose_export_change(s->log_name, start, size);
    memexpose_map_change_invalidate(s->device, start, size);
}

typedef struct Span {
    uint64_t start, end;        /* @end is of the last byte */
    bool found;
} Span;

static bool widen_span(Int128 start, Int128 size, const MemoryRegion *mr,
                       hwaddr offset, void *opaque)
{
    Span *span = opaque;
    uint64_t first = int128_get64(start);
    uint64_t last = int128_get64(int128_sub(int128_add(start, size),
                                            int128_one()));

    if (memexpose_owns((MemoryRegion *)mr)) {
        return false;
    }
    if (!span->found) {
        span->start = first;
    }
    span->end = last;
    span->found = true;
    return false;
}

/* What is told to the next peer: from the lowest to the highest address. */
static void update_span(MemexposeState *s)
{
    Span span = { 0 };

    if (s->export_size != 0) {
        memexpose_device_set_span(s->device, s->export_base, s->export_size);
        return;
    }
    RCU_READ_LOCK_GUARD();
    flatview_for_each_range(address_space_to_flatview(s->as), widen_span,
                            &span);
    if (!span.found || span.end < s->export_base) {
        memexpose_device_set_span(s->device, 0, 0);
        return;
    }
    span.start = MAX(span.start, s->export_base);
    memexpose_device_set_span(s->device, span.start,
                              MIN(span.end - span.start, UINT64_MAX - 1) + 1);
}

static void export_commit(MemoryListener *listener)
{
    MemexposeState *s = container_of(listener, MemexposeState, listener);

    if (s->device) {
        update_span(s);
    }
}

/* --- life ---------------------------------------------------------------- */

/* The CPUs of some machines have a second address space. */
static bool use_secure_space(MemexposeState *s, Error **errp)
{
    Object *secure = NULL;

    if (first_cpu && object_property_find(OBJECT(first_cpu),
                                          "secure-memory")) {
        secure = object_property_get_link(OBJECT(first_cpu), "secure-memory",
                                          NULL);
    }
    if (!secure) {
        error_setg(errp, "address-space=secure: this machine has no secure "
                   "memory (on virt: secure=on)");
        return false;
    }
    address_space_init(&s->own_as, MEMORY_REGION(secure), "memexpose-secure");
    s->as = &s->own_as;
    s->attrs.secure = 1;
    return true;
}

static bool choose_space(MemexposeState *s, Error **errp)
{
    if (!s->address_space || !strcmp(s->address_space, "system")) {
        s->as = &address_space_memory;
        return true;
    }
    if (!strcmp(s->address_space, "secure")) {
        return use_secure_space(s, errp);
    }
    error_setg(errp, "address-space=%s: expected system or secure",
               s->address_space);
    return false;
}

bool memexpose_export_start(MemexposeState *s, Error **errp)
{
    s->attrs = MEMTXATTRS_UNSPECIFIED;
    s->attrs.unspecified = 0;
    if (!choose_space(s, errp)) {
        return false;
    }
    /* after the group's own, whose begin comes before any region_del */
    s->listener = (MemoryListener) {
        .name = "memexpose",
        .region_del = export_region_del,
        .commit = export_commit,
        .priority = 2,
    };
    memory_listener_register(&s->listener, s->as);
    return true;
}

void memexpose_export_stop(MemexposeState *s)
{
    memory_listener_unregister(&s->listener);
    if (s->as == &s->own_as) {
        address_space_destroy(s->as);
    }
    s->as = NULL;
}
