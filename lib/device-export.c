/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is exported: the peer's accesses, what is shared with it, and changes
 * of the memory map (protocol sections 3 and 4, exporter).
 */
#include "device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "mutant.h"
#include "os.h"

/* 2^64 - 1 stands for 2^64, wherever it starts. */
bool mx_span_valid(uint64_t start, uint64_t size)
{
    return size == UINT64_MAX || !mx_range_overflows(start, size);
}

bool mx_access_size_valid(uint64_t bytes)
{
    return bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8;
}

int memexpose_device_set_span(struct memexpose_device *device, uint64_t start,
                              uint64_t size)
{
    struct memexpose_group *group = mx_device_group(device);

    if (!mx_span_valid(start, size)) {
        return -EINVAL;
    }
    mx_group_enter(group);
    device->config.span_start = start;
    device->config.span_size = size;
    mx_group_leave(group);
    return 0;
}

/* --- servicing an access ------------------------------------------------- */

static uint32_t wire_result(int ret)
{
    return ret < 0 ? MEMEXPOSE_RESULT_ERROR : (uint32_t)ret;
}

/* The largest naturally aligned piece. */
unsigned mx_piece_size(uint64_t address, size_t bytes)
{
    unsigned size = 8;

    while (size > bytes || address % size != 0) {
        size /= 2;
    }
    return size;
}

static int read_piece(struct memexpose_device *device, uint64_t address,
                      uint8_t *buffer, unsigned bytes)
{
    uint64_t value = 0;
    uint8_t copy[8];
    int ret;

    if (!device->ops.read) {
        return MEMEXPOSE_RESULT_DECODE;
    }
    ret = device->ops.read(device->opaque, address, bytes, &value);
    if (ret == MEMEXPOSE_RESULT_OK) {
        mx_value_to_bytes(value, copy);
        memcpy(buffer, copy, bytes);
    }
    return ret;
}

static int write_piece(struct memexpose_device *device, uint64_t address,
                       const uint8_t *buffer, unsigned bytes)
{
    if (!device->ops.write) {
        return MEMEXPOSE_RESULT_DECODE;
    }
    return device->ops.write(device->opaque, address, bytes,
                             mx_value_from_bytes(buffer, bytes));
}

/* For a consumer that has no callbacks for blocks. */
static int perform_pieces(struct memexpose_device *device, uint64_t address,
                          uint8_t *buffer, size_t bytes, bool write,
                          size_t *done)
{
    int ret = MEMEXPOSE_RESULT_OK;
    unsigned piece;

    /* one of them may destroy the device */
    for (*done = 0; *done < bytes && ret == MEMEXPOSE_RESULT_OK &&
         !device->destroyed;) {
        uint64_t at = address + *done;

        piece = mx_piece_size(at, bytes - *done);
        ret = write ? write_piece(device, at, buffer + *done, piece) :
                      read_piece(device, at, buffer + *done, piece);
        *done += ret == MEMEXPOSE_RESULT_OK ? piece : 0;
    }
    return ret;
}

static int perform_block(struct memexpose_device *device,
                         const struct mx_message *request, uint8_t *buffer,
                         size_t *done)
{
    bool write = request->type == MX_WRITE_BLOCK;

    if (write && device->ops.write_block) {
        return device->ops.write_block(device->opaque, request->offset,
                                       buffer, request->size, done);
    }
    if (!write && device->ops.read_block) {
        return device->ops.read_block(device->opaque, request->offset, buffer,
                                      request->size, done);
    }
    return perform_pieces(device, request->offset, buffer, request->size,
                          write, done);
}

/* What was done of a block that failed is less than the whole (section 8). */
static uint32_t service_block(struct memexpose_device *device,
                              const struct mx_message *request,
                              uint8_t *buffer, struct mx_message *response)
{
    size_t done = 0;
    int ret;

    if (!buffer) {
        return MEMEXPOSE_RESULT_ERROR;
    }
    ret = perform_block(device, request, buffer, &done);
    if (ret == MEMEXPOSE_RESULT_OK) {
        done = request->size;
    } else if (done >= request->size) {
        done = request->size - 1;
    }
    response->size = (uint32_t)done;
    return wire_result(ret);
}

static uint32_t service_word(struct memexpose_device *device,
                             const struct mx_message *request,
                             struct mx_message *response)
{
    uint64_t value = 0;
    int ret = MEMEXPOSE_RESULT_DECODE;

    if (!mx_access_size_valid(request->size)) {
        return MEMEXPOSE_RESULT_ERROR;
    }
    if (request->type == MX_WRITE && device->ops.write) {
        value = mx_value_of_size(request->value, request->size);
        ret = device->ops.write(device->opaque, request->offset,
                                request->size, value);
    } else if (request->type == MX_READ && device->ops.read) {
        ret = device->ops.read(device->opaque, request->offset, request->size,
                               &value);
        response->value = ret == MEMEXPOSE_RESULT_OK ?
                          mx_value_of_size(value, request->size) : 0;
    }
    return wire_result(ret);
}

static uint32_t perform(struct memexpose_device *device,
                        const struct mx_message *request, uint8_t *buffer,
                        struct mx_message *response)
{
    if (mx_range_overflows(request->offset, request->size)) {
        return mx_wire_is_block(request->type) ||
               mx_access_size_valid(request->size) ? MEMEXPOSE_RESULT_DECODE :
                                                     MEMEXPOSE_RESULT_ERROR;
    }
    return mx_wire_is_block(request->type) ?
           service_block(device, request, buffer, response) :
           service_word(device, request, response);
}

/* What cannot be taken back is given only where it does no harm. */
static const char *unfit(const struct memexpose_share *share,
                         uint64_t address, const struct mx_object *object)
{
    if (share->size == 0 || mx_range_overflows(share->start, share->size) ||
        !mx_range_within(address, 1, share->start, share->size)) {
        return "the range does not contain the access";
    }
    if (!object->regular) {
        return "the object is neither a regular file nor a memfd";
    }
    if (object->size < share->offset ||
        object->size - share->offset < share->size) {
        return "the object is too short";
    }
    if (share->readonly && object->writable) {
        return "read-only memory with a descriptor that can write";
    }
    if (share->readonly && object->seals_known && !object->sealed_write) {
        return "read-only memory in a memfd not sealed against writing";
    }
    if (!share->readonly && !object->writable) {
        return "memory with a descriptor that cannot write";
    }
    return NULL;
}

static bool is_fit(const struct memexpose_device *device,
                   const struct memexpose_share *share, uint64_t address,
                   const struct mx_object *object)
{
    const char *why = unfit(share, address, object);

    if (why) {
        mx_log(MEMEXPOSE_LOG_DEBUG, "%s: memory at 0x%llx stays on the link: "
               "%s", device->name, (unsigned long long)address, why);
    }
    return !why;
}

/*
 * Ask the consumer what may be shared, by @op: resolve or next_share.  Returns
 * its descriptor or -1; one that is bad is of an object that is unfit.
 */
static int ask_for_share(struct memexpose_device *device,
                         int (*op)(void *opaque, uint64_t address,
                                   struct memexpose_share *share),
                         uint64_t address, struct memexpose_share *share,
                         struct mx_object *object)
{
    if (!device->config.share || !device->passes_descriptors || !op) {
        return -1;
    }
    memset(share, 0, sizeof(*share));
    share->fd = -1;
    if (op(device->opaque, address, share) != 1 || share->fd < 0) {
        return -1;
    }
    if (mx_os_object(share->fd, object) < 0) {
        memset(object, 0, sizeof(*object));
    }
    return share->fd;
}

/* What may be shared of what was accessed.  Returns its descriptor or -1. */
static int resolve(struct memexpose_device *device, uint64_t address,
                   struct memexpose_share *share, struct mx_object *object)
{
    int fd = ask_for_share(device, device->ops.resolve, address, share,
                           object);

    if (fd >= 0 && !is_fit(device, share, address, object)) {
        mx_os_close(fd);
        return -1;
    }
    return fd;
}

static struct mx_ledger_entry entry_of(const struct memexpose_share *share,
                                       const struct mx_object *object)
{
    return (struct mx_ledger_entry) {
        .start = share->start,
        .size = share->size,
        .device = object->device,
        .inode = object->inode,
        .offset = share->offset,
    };
}

/* The ledger entry and the response come in one step (section 4, M). */
static bool enter_share(struct memexpose_device *device,
                        const struct memexpose_share *share,
                        const struct mx_object *object,
                        struct mx_wire_share *wire)
{
    struct mx_ledger_entry entry = entry_of(share, object);

    if (mx_ledger_enter(&device->ledger, &entry) < 0) {
        return false;
    }
    *wire = (struct mx_wire_share) {
        .kind = 1,
        .start = share->start,
        .mmap_start = share->offset,
        .size = share->size,
        .readonly = share->readonly,
        .nonvolatile = share->nonvolatile,
    };
    return true;
}

/* May a share that was resolved at @changes still be given away?  (M) */
static bool still_valid(const struct memexpose_group *group, uint64_t changes)
{
    return (group->map_changes == 0 &&
            atomic_load(&group->map_change_count) == changes) ||
           !MX_RULE(NO_SHARE_IN_MAP_CHANGE);
}

/* Where what is read of a block goes, until it is sent or kept. */
static uint8_t *read_buffer(struct memexpose_group *group)
{
    if (!group->block) {
        group->block = malloc(MX_BLOCK_MAX);
    }
    return group->block;
}

void mx_export_service(struct mx_member *member)
{
    struct memexpose_device *device = mx_device_of(member);
    struct memexpose_group *group = member->group;
    struct mx_message request, response;
    struct memexpose_share share;
    struct mx_object object;
    struct mx_call frame;
    uint64_t generation = device->generation;
    uint64_t changes;
    uint8_t *written, *buffer;
    int fd = -1;

    memset(&response, 0, sizeof(response));
    mx_link_begin_access(&member->link, &request, &written);
    buffer = request.type == MX_READ_BLOCK ? read_buffer(group) : written;
    mx_group_call_begin(member, &frame, MX_CALL_SERVICE);
    if (!MX_RULE(RESOLVE_AFTERWARDS)) {
        fd = resolve(device, request.offset, &share, &object);
    }
    response.result = perform(device, &request, buffer, &response);
    /* After the access, which may have moved its own target (M). */
    changes = atomic_load(&group->map_change_count);
    if (response.result == MEMEXPOSE_RESULT_OK && !device->destroyed &&
        MX_RULE(RESOLVE_AFTERWARDS)) {
        fd = resolve(device, request.offset, &share, &object);
    }
    mx_group_call_end(member, &frame);
    mx_link_give_back(&member->link, written);
    device->stats.requests_served++;
    device->stats.blocks_served += mx_wire_is_block(request.type);
    if ((device->generation != generation || member->link.end.set) &&
        MX_RULE(GENERATIONS)) {
        mx_os_close(fd);        /* the link it came by has gone */
        return;
    }
    /* What is about to be offered is not shared in between (section 9). */
    if (fd >= 0 && (device->offers_due || !still_valid(group, changes) ||
                    !enter_share(device, &share, &object, &response.share))) {
        mx_os_close(fd);
        fd = -1;
    }
    mx_link_end_access(&member->link, &response,
                       request.type == MX_READ_BLOCK ? buffer : NULL, fd);
}

/* --- offering what can be shared (section 9) ----------------------------- */

void mx_export_begin_offers(struct memexpose_device *device)
{
    if (mx_session_has(&device->member.link.session, MX_FEATURE_PUSH)) {
        device->offers_due = true;
        device->offer_next = 0;
    }
}

bool mx_export_may_offer(const struct mx_member *member)
{
    const struct memexpose_device *device =
        (const struct memexpose_device *)member;

    return device->offers_due && mx_link_may_offer(&member->link);
}

/* Behind the range; if there is nothing the offers are at their end. */
static bool step_behind(struct memexpose_device *device,
                        const struct memexpose_share *share)
{
    uint64_t next = share->start + share->size;

    if (share->size == 0 || next <= device->offer_next) {
        return false;
    }
    device->offer_next = next;
    return true;
}

static void end_offers(struct memexpose_device *device)
{
    device->offers_due = false;
    mx_link_offer(&device->member.link, NULL, -1);
}

static void offer(struct memexpose_device *device,
                  const struct memexpose_share *share,
                  const struct mx_object *object)
{
    struct mx_ledger_entry entry = entry_of(share, object);
    struct mx_wire_share wire;

    if (!is_fit(device, share, share->start, object) ||
        mx_ledger_holds(&device->ledger, &entry) ||
        !enter_share(device, share, object, &wire)) {
        mx_os_close(share->fd);
        return;
    }
    if (!MX_RULE(OFFER_IN_LEDGER)) {
        mx_ledger_take(&device->ledger, share->start, 1, &entry);
    }
    device->stats.offers_sent++;
    mx_link_offer(&device->member.link, &wire, share->fd);
}

void mx_export_offer(struct mx_member *member)
{
    struct memexpose_device *device = mx_device_of(member);
    struct memexpose_group *group = member->group;
    uint64_t generation = device->generation;
    uint64_t changes = atomic_load(&group->map_change_count);
    uint64_t next = device->offer_next;
    struct memexpose_share share;
    struct mx_object object;
    struct mx_call frame;
    int fd;

    mx_group_call_begin(member, &frame, MX_CALL_SERVICE);
    fd = ask_for_share(device, device->ops.next_share, next, &share, &object);
    mx_group_call_end(member, &frame);
    if (device->generation != generation || !device->offers_due ||
        !mx_link_may_offer(&member->link) || !still_valid(group, changes)) {
        mx_os_close(fd);        /* they begin anew */
    } else if (fd < 0) {
        end_offers(device);
    } else {
        bool last = !step_behind(device, &share);

        offer(device, &share, &object);
        if (last) {
            end_offers(device);
        }
    }
}

/* --- changes of the memory map ------------------------------------------- */

static int64_t map_change_deadline(const struct memexpose_group *group)
{
    const struct mx_member *member;
    int64_t timeout = MX_FOREVER;
    int64_t now = mx_group_now(group);

    TAILQ_FOREACH(member, &group->members, entry) {
        if (member->map_change_timeout < timeout) {
            timeout = member->map_change_timeout;
        }
    }
    return timeout > MX_FOREVER - now ? MX_FOREVER : now + timeout;
}

void memexpose_map_change_begin(struct memexpose_group *group)
{
    struct mx_member *member;

    mx_group_enter(group);
    if (group->map_changes++ == 0) {
        group->map_change_deadline = map_change_deadline(group);
        TAILQ_FOREACH(member, &group->members, entry) {
            member->link.lost_invalidation = 0;
        }
    }
    atomic_fetch_add(&group->map_change_count, 1);
    mx_group_leave(group);
}

/* What can be shared is not what it was. */
static void begin_all_offers(struct memexpose_group *group)
{
    struct mx_member *member;

    TAILQ_FOREACH(member, &group->members, entry) {
        mx_export_begin_offers(mx_device_of(member));
    }
}

void memexpose_map_change_end(struct memexpose_group *group)
{
    mx_group_enter(group);
    if (group->map_changes > 0) {
        group->map_changes--;
        atomic_fetch_add(&group->map_change_count, 1);
        begin_all_offers(group);
    }
    mx_group_settle(group);
    mx_group_leave(group);
}

/* REG_INV for every ledger entry that intersects, as the whole entry. */
int mx_export_invalidate(struct memexpose_device *device, uint64_t start,
                         uint64_t size)
{
    struct memexpose_group *group = mx_device_group(device);
    struct mx_link *link = &device->member.link;
    struct mx_ledger_entry entry;

    while (mx_ledger_take(&device->ledger, start, size, &entry)) {
        if (mx_link_invalidate(link, entry.start, entry.size,
                               group->map_change_deadline) < 0) {
            link->lost_invalidation = -ENOMEM;
            mx_link_fail(link, -ECONNRESET, false, "no memory to invalidate");
            return -ENOMEM;
        }
    }
    return 0;
}

int memexpose_map_change_invalidate(struct memexpose_device *device,
                                    uint64_t start, uint64_t size)
{
    struct memexpose_group *group = mx_device_group(device);
    struct mx_call call;
    int ret = -EINVAL;

    mx_group_enter(group);
    if (group->map_changes > 0 && !mx_range_overflows(start, size)) {
        mx_group_change_begin(group, &call);
        ret = size == 0 ? 0 : mx_export_invalidate(device, start, size);
        mx_group_settle(group);
        mx_group_change_end(group, &call);
    }
    mx_group_leave(group);
    return ret;
}

static bool all_acknowledged(void *arg)
{
    const struct memexpose_group *group = arg;
    const struct mx_member *member;

    TAILQ_FOREACH(member, &group->members, entry) {
        if (mx_link_invalidating(&member->link)) {
            return false;
        }
    }
    return true;
}

/* The time is over, or somebody cancelled: the change proceeds. */
static void give_up_on_peers(struct memexpose_group *group, int why)
{
    struct mx_member *member;

    TAILQ_FOREACH(member, &group->members, entry) {
        if (mx_link_invalidating(&member->link)) {
            mx_link_fail(&member->link, why, false, "it has not acknowledged "
                         "an invalidation %s", why == -ETIMEDOUT ? "in time" :
                         "before the wait was cancelled");
        }
    }
}

/* Whose change it was is not known: all that overlap hear of it. */
static int lost_or_done(const struct memexpose_group *group)
{
    const struct mx_member *member;
    int ret = 0;

    TAILQ_FOREACH(member, &group->members, entry) {
        if (member->link.lost_invalidation) {
            ret = member->link.lost_invalidation;
        }
    }
    return ret;
}

static int await_acknowledgements(struct memexpose_group *group)
{
    struct mx_wait wait = {
        .done = all_acknowledged,
        .arg = group,
        .deadline = group->map_change_deadline,
        .mark = mx_group_cancel_mark(group, NULL),
        .takeover = true,
    };
    int ret = mx_group_wait(group, &wait);

    if (ret < 0) {
        give_up_on_peers(group, ret);
        mx_group_settle(group);
    }
    return ret;
}

int memexpose_map_change_wait(struct memexpose_group *group)
{
    struct mx_call call;
    int ret = 0;

    mx_group_enter(group);
    mx_group_change_begin(group, &call);
    if (!all_acknowledged(group)) {
        ret = await_acknowledgements(group);
    }
    if (ret == 0) {
        ret = lost_or_done(group);
    }
    mx_group_change_end(group, &call);
    mx_group_leave(group);
    return ret;
}
