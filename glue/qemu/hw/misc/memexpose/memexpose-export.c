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

/* The largest piece from @address on that lies in one region. */
static int access_piece(MemexposeState *s, uint64_t address, uint8_t *bytes,
                        unsigned count, bool is_write, unsigned *done)
{
    MemoryRegionSection section = memory_region_find(s->as->root, address,
                                                     count);
    int result = MEMEXPOSE_RESULT_DECODE;

    *done = count;
    if (!section.mr) {
        return result;
    }
    if (section.offset_within_address_space == address) {
        *done = int128_get64(section.size);
        if (memexpose_owns(section.mr)) {
            /* never through one window into another */
        } else if (is_write && section.readonly) {
            result = MEMEXPOSE_RESULT_DENIED;
        } else {
            result = to_result(address_space_rw(s->as, address, s->attrs,
                                                bytes, *done, is_write));
        }
    }
    memory_region_unref(section.mr);
    return result;
}

static int access_all(MemexposeState *s, uint64_t address, uint8_t *bytes,
                      unsigned count, bool is_write)
{
    int result = MEMEXPOSE_RESULT_OK;

    while (count > 0 && result == MEMEXPOSE_RESULT_OK) {
        unsigned done;

        if (!is_exported(s, address) ||
            !is_exported(s, address + count - 1)) {
            return MEMEXPOSE_RESULT_DECODE;
        }
        if (is_write && s->export_readonly) {
            return MEMEXPOSE_RESULT_DENIED;
        }
        result = access_piece(s, address, bytes, count, is_write, &done);
        address += done;
        bytes += done;
        count -= done;
    }
    return result;
}

int memexpose_export_read(void *opaque, uint64_t address, unsigned bytes,
                          uint64_t *value)
{
    MemexposeState *s = opaque;
    uint8_t buffer[8] = { 0 };
    int result = access_all(s, address, buffer, bytes, false);

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
    int result;

    stq_le_p(buffer, value);
    result = access_all(s, address, buffer, bytes, true);
    trace_memexpose_export(s->log_name, "write", address, bytes, value,
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
    if (memexpose_owns(mr) || !memory_region_is_ram(mr) ||
        memory_region_is_ram_device(mr) || !mr->ram_block ||
        !qemu_ram_is_shared(mr->ram_block)) {
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
    if (!search.found || !may_all_be_exported(s, section->mr, view)) {
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
