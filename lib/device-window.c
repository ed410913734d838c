/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The window: accesses to the peer's memory, direct or over the link (protocol
 * sections 3 and 4).
 */
#include "device.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "mutant.h"
#include "os.h"

/*
 * A result of its own for a block that waited: it can be copied now, or the
 * peer turned out to lack the feature.
 */
enum { TRY_AGAIN = INT_MIN };

uint64_t mx_window_last(const struct memexpose_device *device)
{
    uint64_t start, size;

    if (device->config.window_size == UINT64_MAX) {
        return UINT64_MAX;      /* stands for 2^64 */
    }
    if (device->config.window_size) {
        return device->config.window_size - 1;
    }
    mx_session_peer_span(&device->member.link.session, &start, &size);
    if (size > 0 && size < UINT64_MAX - start) {
        return start + size - 1;
    }
    return UINT64_MAX;
}

static bool in_window(const struct memexpose_device *device, uint64_t address,
                      uint64_t bytes)
{
    uint64_t last = mx_window_last(device);

    return address <= last && bytes - 1 <= last - address;
}

/* It has not been sent, and need not be. */
static void end_waiting(struct memexpose_device *device,
                        struct mx_request *request, int result)
{
    TAILQ_REMOVE(&device->member.link.waiting, request, entry);
    request->done = true;
    request->result = result;
    mx_group_news(mx_device_group(device));
}

void mx_window_settled(struct memexpose_device *device)
{
    struct mx_request *request, *next;

    for (request = TAILQ_FIRST(&device->member.link.waiting); request;
         request = next) {
        next = TAILQ_NEXT(request, entry);
        if (!in_window(device, request->message.offset,
                       request->message.size)) {
            end_waiting(device, request, -ERANGE);
        } else if (mx_wire_is_block(request->message.type) &&
                   !mx_session_has(&device->member.link.session,
                                   MX_FEATURE_BLOCK)) {
            end_waiting(device, request, TRY_AGAIN);
        }
    }
}

/* One load or store where the access is aligned, bytes otherwise. */
static uint64_t load(const void *host, size_t bytes)
{
    uint8_t copy[8] = { 0 };
    uint16_t two;
    uint32_t four;
    uint64_t eight;

    if ((uintptr_t)host % bytes != 0) {
        memcpy(copy, host, bytes);
        return mx_value_from_bytes(copy, (unsigned)bytes);
    }
    switch (bytes) {
    case 1:
        copy[0] = *(const volatile uint8_t *)host;
        break;
    case 2:
        two = *(const volatile uint16_t *)host;
        memcpy(copy, &two, sizeof(two));
        break;
    case 4:
        four = *(const volatile uint32_t *)host;
        memcpy(copy, &four, sizeof(four));
        break;
    default:
        eight = *(const volatile uint64_t *)host;
        memcpy(copy, &eight, sizeof(eight));
        break;
    }
    return mx_value_from_bytes(copy, (unsigned)bytes);
}

static void store(void *host, size_t bytes, uint64_t value)
{
    uint8_t copy[8];
    uint16_t two;
    uint32_t four;
    uint64_t eight;

    mx_value_to_bytes(value, copy);
    if ((uintptr_t)host % bytes != 0) {
        memcpy(host, copy, bytes);
        return;
    }
    switch (bytes) {
    case 1:
        *(volatile uint8_t *)host = copy[0];
        break;
    case 2:
        memcpy(&two, copy, sizeof(two));
        *(volatile uint16_t *)host = two;
        break;
    case 4:
        memcpy(&four, copy, sizeof(four));
        *(volatile uint32_t *)host = four;
        break;
    default:
        memcpy(&eight, copy, sizeof(eight));
        *(volatile uint64_t *)host = eight;
        break;
    }
}

static void *host_of(const struct mx_region *region, uint64_t address)
{
    return (uint8_t *)region->host + (address - region->start);
}

/* Where the memory is mapped the access is direct. */
static bool access_directly(struct memexpose_device *device,
                            struct mx_request *request)
{
    struct mx_message *message = &request->message;
    const struct mx_region *region =
        mx_region_cache_find(&device->cache, message->offset, message->size);
    void *host;

    if (!region || mx_wire_is_block(message->type) ||
        (message->type == MX_WRITE && region->readonly)) {
        return false;
    }
    host = host_of(region, message->offset);
    if (message->type == MX_WRITE) {
        store(host, message->size, message->value);
    } else {
        request->value = load(host, message->size);
    }
    return true;
}

void mx_window_mapped(struct memexpose_device *device)
{
    struct mx_request *request, *next;

    for (request = TAILQ_FIRST(&device->member.link.waiting); request;
         request = next) {
        next = TAILQ_NEXT(request, entry);
        if (!MX_RULE(WAITING_MAPPED)) {
            continue;
        }
        if (access_directly(device, request)) {
            end_waiting(device, request, 0);
        } else if (mx_wire_is_block(request->message.type)) {
            end_waiting(device, request, TRY_AGAIN);
        }
    }
}

struct access_wait {
    struct memexpose_device *device;
    struct mx_request *request;
};

/* A response counts once what the peer took away before it is gone. */
static bool access_done(void *arg)
{
    const struct access_wait *wait = arg;

    return wait->request->done &&
           (!wait->request->answered || wait->device->removals == 0 ||
            !MX_RULE(HOLD_ANSWERS));
}

static int access_by_link(struct memexpose_device *device,
                          struct mx_request *request)
{
    struct memexpose_group *group = mx_device_group(device);
    struct access_wait wait = { .device = device, .request = request };
    struct mx_link *link = &device->member.link;
    int64_t now = mx_group_now(group);
    int ret;

    request->deadline = device->config.request_timeout > MX_FOREVER - now ?
                        MX_FOREVER : now + device->config.request_timeout;
    request->nested = mx_group_in_callback(group);
    mx_member_ref(&device->member);
    mx_link_submit(link, request);
    ret = mx_group_wait(group, &(struct mx_wait) {
        .member = &device->member,
        .done = access_done,
        .arg = &wait,
        .deadline = request->deadline,
        .mark = mx_group_cancel_mark(group, &device->member),
    });
    if (ret == -ETIMEDOUT && !request->done) {
        mx_link_fail(link, -ETIMEDOUT, false, "an access was not answered in "
                     "time");
        mx_group_settle(group);
    }
    if (ret == 0) {
        ret = request->result;
    } else {
        mx_link_abandon(link, request);
        mx_group_polls_changed(group);
        if (link->end.set) {    /* no memory to keep a block */
            mx_group_settle(group);
        }
    }
    mx_member_unref(&device->member);
    return ret;
}

/* How many of @bytes come before the first that is mapped for such use. */
static size_t count_unmapped(const struct memexpose_device *device,
                             uint64_t address, size_t bytes, bool write)
{
    const struct mx_region *region;
    size_t at = 0;

    while (at < bytes &&
           (region = mx_region_cache_first(&device->cache, address + at,
                                           bytes - at))) {
        if (!write || !region->readonly) {
            return region->start > address ?
                   (size_t)(region->start - address) : 0;
        }
        if (region->size - 1 >= address + (bytes - 1) - region->start) {
            break;              /* it reaches to the end, or further */
        }
        at = (size_t)(region->start + region->size - address);
    }
    return bytes;
}

/* Hello may have settled, and memory been mapped, since it was decided. */
static bool is_still_block(const struct memexpose_device *device,
                           const struct mx_message *message)
{
    const struct mx_session *session = &device->member.link.session;

    return (session->phase != MX_PHASE_SETTLED ||
            mx_session_has(session, MX_FEATURE_BLOCK)) &&
           count_unmapped(device, message->offset, message->size,
                          message->type == MX_WRITE_BLOCK) == message->size;
}

static int access_locked(struct memexpose_device *device,
                         struct mx_request *request)
{
    const struct mx_link *link = &device->member.link;
    const struct mx_message *message = &request->message;

    if (mx_group_must_not_access(mx_device_group(device)) &&
        MX_RULE(NO_NESTED_ACCESS)) {
        return MEMEXPOSE_RESULT_DECODE;
    }
    if (!device->regs.enabled || !link->up || link->end.set) {
        return -ENOTCONN;
    }
    if (link->session.phase == MX_PHASE_SETTLED &&
        !in_window(device, message->offset, message->size)) {
        return -ERANGE;
    }
    if (mx_wire_is_block(message->type) && !is_still_block(device, message)) {
        return TRY_AGAIN;
    }
    if (access_directly(device, request)) {
        return 0;
    }
    return access_by_link(device, request);
}

static int access(struct memexpose_device *device, uint8_t type,
                  uint64_t address, unsigned bytes, uint64_t *value)
{
    struct memexpose_group *group = mx_device_group(device);
    struct mx_request request;
    int ret;

    if (!mx_access_size_valid(bytes)) {
        return -EINVAL;
    }
    memset(&request, 0, sizeof(request));
    request.message.type = type;
    request.message.offset = address;
    request.message.size = bytes;
    request.message.value = mx_value_of_size(*value, bytes);
    mx_group_enter(group);
    ret = access_locked(device, &request);
    mx_group_leave(group);
    *value = request.value;
    return ret;
}

int memexpose_read(struct memexpose_device *device, uint64_t address,
                   unsigned bytes, uint64_t *value)
{
    uint64_t result = 0;
    int ret = access(device, MX_READ, address, bytes, &result);

    *value = ret == 0 ? result : UINT64_MAX;
    return ret;
}

int memexpose_write(struct memexpose_device *device, uint64_t address,
                    unsigned bytes, uint64_t value)
{
    return access(device, MX_WRITE, address, bytes, &value);
}

/* --- blocks -------------------------------------------------------------- */

/*
 * Find what is mapped at @address and keep it from being freed while it is
 * copied without the lock.
 */
static struct mx_mapping *pin(struct memexpose_device *device,
                              uint64_t address, bool write, size_t *bytes,
                              void **host)
{
    struct memexpose_group *group = mx_device_group(device);
    const struct mx_region *region = NULL;
    struct mx_mapping *mapping = NULL;

    mx_group_enter(group);
    if (device->regs.enabled && !mx_group_must_not_access(group)) {
        region = mx_region_cache_find(&device->cache, address, 1);
    }
    if (region && !(write && region->readonly)) {
        uint64_t left = region->size - (address - region->start);

        *bytes = left < *bytes ? (size_t)left : *bytes;
        *host = host_of(region, address);
        mapping = region->owner;
        mapping->users++;
        mx_member_ref(&device->member);
    }
    mx_group_leave(group);
    return mapping;
}

static void unpin(struct memexpose_device *device, struct mx_mapping *mapping)
{
    struct memexpose_group *group = mx_device_group(device);

    mx_group_enter(group);
    mx_import_unpin(device, mapping);
    mx_member_unref(&device->member);
    mx_group_leave(group);
}

/* Of @bytes, what the window has room for and nothing that is mapped. */
static size_t clip_block(struct memexpose_device *device, uint64_t address,
                         size_t bytes, bool write)
{
    uint64_t last = mx_window_last(device);

    if (address > last) {
        return 0;
    }
    if (bytes > MX_BLOCK_MAX) {
        bytes = MX_BLOCK_MAX;
    }
    if (bytes - 1 > last - address) {
        bytes = (size_t)(last - address + 1);
    }
    return count_unmapped(device, address, bytes, write);
}

/* How much goes in one message (section 8); 0: it goes in words. */
static size_t block_size(struct memexpose_device *device, uint64_t address,
                         size_t bytes, bool write)
{
    struct memexpose_group *group = mx_device_group(device);
    const struct mx_session *session = &device->member.link.session;
    size_t block = 0;
    bool feature;

    mx_group_enter(group);
    feature = session->phase == MX_PHASE_SETTLED ?
              session->features & MX_FEATURE_BLOCK : device->config.block;
    if (feature && mx_piece_size(address, bytes) < bytes) {
        block = clip_block(device, address, bytes, write);
    }
    mx_group_leave(group);
    return block;
}

/* A whole block by one message.  *@bytes becomes how much was done. */
static int access_block(struct memexpose_device *device, uint64_t address,
                        uint8_t *buffer, size_t *bytes, bool write)
{
    struct memexpose_group *group = mx_device_group(device);
    struct mx_request request;
    int ret;

    memset(&request, 0, sizeof(request));
    request.message.type = write ? MX_WRITE_BLOCK : MX_READ_BLOCK;
    request.message.offset = address;
    request.message.size = (uint32_t)*bytes;
    request.buffer = buffer;
    mx_group_enter(group);
    ret = access_locked(device, &request);
    mx_group_leave(group);
    *bytes = ret < 0 ? 0 : request.performed;
    return ret;
}

static int access_word(struct memexpose_device *device, uint64_t address,
                       uint8_t *buffer, unsigned bytes, bool write)
{
    uint8_t copy[8];
    uint64_t value;
    int ret;

    if (write) {
        value = mx_value_from_bytes(buffer, bytes);
        return memexpose_write(device, address, bytes, value);
    }
    ret = memexpose_read(device, address, bytes, &value);
    if (ret == 0) {
        mx_value_to_bytes(value, copy);
        memcpy(buffer, copy, bytes);
    }
    return ret;
}

/* Copy or access one piece at @address; *@bytes becomes how much was done. */
static int transfer(struct memexpose_device *device, uint64_t address,
                    uint8_t *buffer, size_t *bytes, bool write)
{
    struct mx_mapping *mapping;
    size_t block;
    void *host;
    int ret;

    mapping = pin(device, address, write, bytes, &host);
    if (mapping) {
        memcpy(write ? host : buffer, write ? buffer : host, *bytes);
        unpin(device, mapping);
        return 0;
    }
    block = block_size(device, address, *bytes, write);
    if (block > 0) {
        *bytes = block;
        return access_block(device, address, buffer, bytes, write);
    }
    *bytes = mx_piece_size(address, *bytes);
    ret = access_word(device, address, buffer, (unsigned)*bytes, write);
    *bytes = ret == 0 ? *bytes : 0;
    return ret;
}

static int transfer_all(struct memexpose_device *device, uint64_t address,
                        uint8_t *buffer, size_t bytes, size_t *done,
                        bool write)
{
    int ret = 0;

    for (*done = 0; *done < bytes && (ret == 0 || ret == TRY_AGAIN);) {
        size_t piece = bytes - *done;

        ret = transfer(device, address + *done, buffer + *done, &piece, write);
        *done += piece;
    }
    return ret;
}

/* A callback may destroy the device between two pieces. */
static int transfer_block(struct memexpose_device *device, uint64_t address,
                          uint8_t *buffer, size_t bytes, size_t *done,
                          bool write)
{
    struct memexpose_group *group = mx_device_group(device);
    size_t count = 0;
    int ret = -ERANGE;

    if (bytes == 0 || !mx_range_overflows(address, bytes)) {
        mx_group_enter(group);
        mx_member_ref(&device->member);
        mx_group_leave(group);
        ret = transfer_all(device, address, buffer, bytes, &count, write);
        mx_group_enter(group);
        mx_member_unref(&device->member);
        mx_group_leave(group);
    }
    if (done) {
        *done = count;
    }
    return ret;
}

int memexpose_read_block(struct memexpose_device *device, uint64_t address,
                         void *buffer, size_t bytes, size_t *done)
{
    return transfer_block(device, address, buffer, bytes, done, false);
}

int memexpose_write_block(struct memexpose_device *device, uint64_t address,
                          const void *buffer, size_t bytes, size_t *done)
{
    return transfer_block(device, address, (uint8_t *)buffer, bytes, done,
                          true);
}

/* --- looking ranges up --------------------------------------------------- */

void *memexpose_device_translate(struct memexpose_device *device,
                                 uint64_t address,
                                 struct memexpose_range *range)
{
    return mx_region_cache_lookup(&device->cache, address, 1, range);
}

/* For those who cannot inline it. */
extern inline void *memexpose_device_lookup(struct memexpose_device *device,
                                            uint64_t address, uint64_t bytes,
                                            struct memexpose_cursor *cursor);

void *memexpose_device_search(struct memexpose_device *device,
                              uint64_t address, uint64_t bytes,
                              struct memexpose_cursor *cursor, size_t size)
{
    struct memexpose_cursor found = { .device = device };
    void *host;

    /* the generation first: see region-cache.h */
    found.generation = mx_region_cache_generation(&device->cache,
                                                  &found.seen);
    host = mx_region_cache_lookup(&device->cache, address, bytes,
                                  &found.range);
    if (!host) {
        return NULL;
    }
    if (size >= sizeof(found)) {
        *cursor = found;
    } else {                    /* an older consumer's */
        memcpy(cursor, &found, size);
    }
    return host;
}

size_t memexpose_device_ranges(struct memexpose_device *device,
                               struct memexpose_range *ranges, size_t max)
{
    struct memexpose_group *group = mx_device_group(device);
    size_t count, i;

    mx_group_enter(group);
    count = mx_region_cache_count(&device->cache);
    for (i = 0; i < count && i < max; i++) {
        mx_describe_range(mx_region_cache_at(&device->cache, i), &ranges[i]);
    }
    mx_group_leave(group);
    return count;
}

bool memexpose_device_handle_sigbus(struct memexpose_device *device,
                                    const void *address)
{
    struct memexpose_group *group = mx_device_group(device);

    if (!mx_faults_patch(&device->faults, address)) {
        return false;
    }
    atomic_store(&device->faulted, true);
    mx_group_wake_all(group);
    mx_os_wake(group->loop_fd);
    return true;
}
