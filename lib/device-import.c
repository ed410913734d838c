/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is mapped of the peer's memory: shares accepted, announced to the
 * consumer, invalidated (protocol section 4, importer).
 */
#include "device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "mutant.h"
#include "os.h"

/* --- life of a mapping --------------------------------------------------- */

static void retire(void *opaque, void (*fn)(void *), void *arg)
{
    struct memexpose_device *device = opaque;

    if (device->ops.retire) {
        device->ops.retire(device->opaque, fn, arg);
    } else {
        fn(arg);
    }
}

void mx_import_init(struct memexpose_device *device)
{
    TAILQ_INIT(&device->mapped);
    TAILQ_INIT(&device->moving);
    mx_region_cache_init(&device->cache, retire, device);
    mx_ledger_init(&device->accepted);
    mx_faults_init(&device->faults);
}

void mx_import_free(struct memexpose_device *device)
{
    mx_region_cache_clear(&device->cache);
    mx_ledger_clear(&device->accepted);
    mx_faults_free(&device->faults);
}

static void free_mapping(void *arg)
{
    struct mx_mapping *mapping = arg;

    mx_os_unmap(mapping->region.host, mapping->region.size);
    free(mapping);
}

void mx_import_unpin(struct memexpose_device *device,
                     struct mx_mapping *mapping)
{
    if (--mapping->users == 0 && mapping->unmapped && !mapping->busy) {
        retire(device, free_mapping, mapping);
    }
}

/* Whatever becomes of it, accesses do not wait for it any more. */
static void end_hold(struct memexpose_device *device,
                     struct mx_mapping *mapping)
{
    if (mapping->holds) {
        mapping->holds = false;
        device->member.link.holds--;
    }
}

/* No other that is about to be mapped overlaps it. */
static int enter_accepted(struct memexpose_device *device,
                          const struct mx_region *region)
{
    struct mx_ledger_entry entry = {
        .start = region->start, .size = region->size, .inode = region->id,
    };

    return mx_ledger_enter(&device->accepted, &entry);
}

/* It is mapped now, or will not be. */
static void leave_accepted(struct memexpose_device *device,
                           const struct mx_region *region)
{
    struct mx_ledger_entry entry;

    mx_ledger_take(&device->accepted, region->start, region->size, &entry);
}

/* Nothing of the library's, nor of the consumer's, uses it any more. */
static void finish(struct memexpose_device *device, struct mx_mapping *mapping)
{
    end_hold(device, mapping);
    if (mapping->state == MX_MAPPING_ACCEPTED) {
        leave_accepted(device, &mapping->region);
        device->ranges--;
    } else {
        device->removals--;
        mx_group_news(mx_device_group(device));
    }
    TAILQ_REMOVE(&device->moving, mapping, entry);
    mx_faults_remove(mapping->fault);
    if (mapping->users == 0) {
        retire(device, free_mapping, mapping);
    } else {
        mapping->unmapped = true;       /* the last user frees it */
    }
}

/*
 * No thread, virtual CPU or device reaches the peer's memory from here on:
 * zeros replace it, before REG_INV is answered.
 */
static int detach(struct mx_mapping *mapping)
{
    int ret;

    if (mapping->detached) {
        return 0;
    }
    ret = mx_os_overlay(mapping->region.host, mapping->region.size,
                        mapping->region.readonly);
    mapping->detached = ret == 0;
    return ret;
}

static void set_going(struct memexpose_device *device,
                      struct mx_mapping *mapping)
{
    if (mapping->state == MX_MAPPING_MAPPED) {
        TAILQ_REMOVE(&device->mapped, mapping, entry);
        TAILQ_INSERT_TAIL(&device->moving, mapping, entry);
    } else {
        leave_accepted(device, &mapping->region);
    }
    end_hold(device, mapping);
    mapping->state = MX_MAPPING_GOING;
    device->ranges--;
    device->removals++;
}

static bool intersects(const struct mx_mapping *mapping, uint64_t start,
                       uint64_t size)
{
    return mx_ranges_intersect(mapping->region.start, mapping->region.size,
                               start, size);
}

/*
 * Shares accepted but not yet mapped go as well (section 4, M); and a part
 * that a larger range is to replace may not be gone yet.
 */
static int drop_moving(struct memexpose_device *device, uint64_t start,
                       uint64_t size)
{
    struct mx_mapping *mapping;
    int ret = 0;

    TAILQ_FOREACH(mapping, &device->moving, entry) {
        if (intersects(mapping, start, size)) {
            int failed = detach(mapping);

            ret = ret ? ret : failed;
            if (mapping->state == MX_MAPPING_ACCEPTED) {
                set_going(device, mapping);
            }
        }
    }
    return ret;
}

int mx_import_invalidate(struct memexpose_device *device, uint64_t start,
                         uint64_t size)
{
    struct mx_region *gone = NULL;
    size_t count = 0, i;
    int ret;

    if (size == 0) {
        return 0;
    }
    ret = mx_region_cache_remove(&device->cache, start, size, &gone, &count);
    for (i = 0; i < count; i++) {
        struct mx_mapping *mapping = gone[i].owner;
        int failed = detach(mapping);

        set_going(device, mapping);
        ret = ret ? ret : failed;
    }
    free(gone);
    return ret || !MX_RULE(DROP_ACCEPTED) ? ret :
           drop_moving(device, start, size);
}

/* That an overlay may fail is all the same now: the peer has gone. */
void mx_import_drop_all(struct memexpose_device *device)
{
    struct mx_mapping *mapping;

    mx_region_cache_clear(&device->cache);
    while ((mapping = TAILQ_FIRST(&device->mapped))) {
        set_going(device, mapping);
    }
    TAILQ_FOREACH(mapping, &device->moving, entry) {
        detach(mapping);
        if (mapping->state == MX_MAPPING_ACCEPTED) {
            set_going(device, mapping);
        }
    }
}

void mx_import_abandon(struct memexpose_device *device)
{
    struct mx_mapping *mapping, *next;

    for (mapping = TAILQ_FIRST(&device->moving); mapping; mapping = next) {
        next = TAILQ_NEXT(mapping, entry);
        if (!mapping->busy) {   /* else this is within its callback */
            finish(device, mapping);
        }
    }
}

/* --- telling the consumer ------------------------------------------------ */

void mx_describe_range(const struct mx_region *region,
                       struct memexpose_range *range)
{
    *range = (struct memexpose_range) {
        .start = region->start,
        .size = region->size,
        .host = region->host,
        .readonly = region->readonly,
        .nonvolatile = region->nonvolatile,
        .id = region->id,
    };
}

static int call_map(struct memexpose_device *device,
                    struct mx_mapping *mapping)
{
    struct memexpose_range range;
    struct mx_call frame;
    int ret;

    if (!device->ops.map) {
        return 0;
    }
    mx_describe_range(&mapping->region, &range);
    mapping->busy = true;
    mx_group_call_begin(&device->member, &frame, MX_CALL_CONSUMER);
    ret = device->ops.map(device->opaque, &range);
    mx_group_call_end(&device->member, &frame);
    mapping->busy = false;
    return ret;
}

static void publish(struct memexpose_device *device,
                    struct mx_mapping *mapping)
{
    if (mx_region_cache_insert(&device->cache, &mapping->region) < 0) {
        if (detach(mapping) < 0) {
            mx_link_fail(&device->member.link, -ECONNRESET, false,
                         "cannot let go of what is mapped");
        }
        set_going(device, mapping);
        return;
    }
    end_hold(device, mapping);
    leave_accepted(device, &mapping->region);
    mapping->state = MX_MAPPING_MAPPED;
    TAILQ_REMOVE(&device->moving, mapping, entry);
    TAILQ_INSERT_TAIL(&device->mapped, mapping, entry);
    mx_window_mapped(device);
}

static void announce(struct memexpose_device *device,
                     struct mx_mapping *mapping)
{
    int ret = call_map(device, mapping);

    mapping->announced = ret >= 0;
    if (mapping->state != MX_MAPPING_ACCEPTED) {
        if (device->destroyed) {
            finish(device, mapping);
        }
        return;                 /* invalidated meanwhile */
    }
    if (ret < 0) {
        mx_log(MEMEXPOSE_LOG_DEBUG, "%s: mapping declined by its consumer: %s",
               device->name, strerror(-ret));
        finish(device, mapping);
        return;
    }
    publish(device, mapping);
}

static void withdraw(struct memexpose_device *device,
                     struct mx_mapping *mapping)
{
    struct memexpose_range range;
    struct mx_call frame;
    int ret = 0;

    if (mapping->announced && device->ops.unmap) {
        mx_describe_range(&mapping->region, &range);
        mapping->busy = true;
        mapping->state = MX_MAPPING_LATER;
        mx_group_call_begin(&device->member, &frame, MX_CALL_CONSUMER);
        ret = device->ops.unmap(device->opaque, &range);
        mx_group_call_end(&device->member, &frame);
        mapping->busy = false;
    }
    if (ret != MEMEXPOSE_UNMAP_LATER || mapping->unmapped ||
        device->destroyed) {
        mapping->unmapped = false;
        finish(device, mapping);
    }
}

/* Something new must wait until what lay there before is gone. */
static bool must_wait(struct memexpose_device *device,
                      const struct mx_mapping *mapping)
{
    const struct mx_mapping *other;

    if (device->removals == 0) {
        return false;
    }
    TAILQ_FOREACH(other, &device->moving, entry) {
        if (other->state != MX_MAPPING_ACCEPTED &&
            intersects(other, mapping->region.start, mapping->region.size)) {
            return true;
        }
    }
    return false;
}

/*
 * What comes is told after a change of the own memory map (section 4), and
 * what was offered when the offers end (section 9).
 */
static bool may_announce(const struct memexpose_device *device)
{
    return device->member.group->map_changes == 0 &&
           !device->member.link.session.awaits_offers;
}

/* Is there something to tell the consumer of the mapping? */
static bool is_to_be_told(struct memexpose_device *device,
                          const struct mx_mapping *mapping)
{
    if (mapping->busy) {
        return false;
    }
    if (mapping->state == MX_MAPPING_GOING) {
        return true;
    }
    return mapping->state == MX_MAPPING_ACCEPTED &&
           may_announce(device) && !must_wait(device, mapping);
}

/* Up to @most of them; returns how many. */
static unsigned count_to_be_told(struct memexpose_device *device,
                                 unsigned most)
{
    const struct mx_mapping *mapping;
    unsigned count = 0;

    if (device->removals == 0 && !may_announce(device)) {
        return 0;               /* however much has been offered */
    }
    TAILQ_FOREACH(mapping, &device->moving, entry) {
        if (count == most) {
            break;
        }
        count += is_to_be_told(device, mapping);
    }
    return count;
}

static bool tell_one(struct memexpose_device *device)
{
    struct mx_mapping *mapping;

    TAILQ_FOREACH(mapping, &device->moving, entry) {
        if (is_to_be_told(device, mapping)) {
            if (mapping->state == MX_MAPPING_GOING) {
                withdraw(device, mapping);
            } else {
                announce(device, mapping);
            }
            return true;
        }
    }
    return false;
}

static void call_update(struct memexpose_device *device, bool begin)
{
    struct mx_call frame;

    mx_group_call_begin(&device->member, &frame, MX_CALL_CONSUMER);
    device->ops.update(device->opaque, begin);
    mx_group_call_end(&device->member, &frame);
}

/*
 * Several in a run: the consumer can make one change of them.  Who destroys
 * the device in another thread waits for the end of it.
 */
static void tell_run(struct memexpose_device *device)
{
    struct mx_call run;

    mx_group_run_begin(&device->member, &run);
    device->updating = true;
    device->teller = pthread_self();
    call_update(device, true);
    while (tell_one(device)) {
    }
    if (!device->gone) {
        call_update(device, false);
    }
    device->updating = false;
    mx_group_run_end(&device->member, &run);
}

/* A callback of the run destroys the device: the rest is told within. */
static bool ends_run(const struct memexpose_device *device)
{
    return device->destroyed && pthread_equal(device->teller, pthread_self());
}

bool mx_import_settle(struct memexpose_device *device)
{
    unsigned count;

    if (device->updating && !ends_run(device)) {
        return false;           /* whoever tells goes on */
    }
    count = count_to_be_told(device, device->ops.update &&
                                     !device->updating ? 2 : 1);
    if (count > 1) {
        tell_run(device);
    } else if (count == 1) {
        tell_one(device);
    }
    return count > 0;
}

int memexpose_device_unmapped(struct memexpose_device *device, uint64_t id)
{
    struct memexpose_group *group = mx_device_group(device);
    struct mx_mapping *mapping;
    int ret = -ENOENT;

    mx_group_enter(group);
    TAILQ_FOREACH(mapping, &device->moving, entry) {
        if (mapping->region.id == id && mapping->state == MX_MAPPING_LATER) {
            ret = 0;
            if (mapping->busy) {
                mapping->unmapped = true;       /* unmap is still running */
            } else {
                finish(device, mapping);
            }
            break;
        }
    }
    mx_group_settle(group);
    mx_group_leave(group);
    return ret;
}

/* --- accepting a share --------------------------------------------------- */

/*
 * Whole pages of the share inside the window.  Returns false if there are
 * none.
 */
static bool clip(const struct memexpose_device *device,
                 const struct mx_wire_share *share, uint64_t page,
                 struct mx_region *region)
{
    uint64_t last = share->start + (share->size - 1);
    uint64_t window = mx_window_last(device);
    uint64_t start, count;

    if (window < last) {
        last = window;
    }
    start = share->start + (page - 1);
    if (start < share->start) {
        return false;
    }
    start &= ~(page - 1);
    if (start > last) {
        return false;
    }
    count = last - start + 1;   /* 0 stands for 2^64 */
    region->start = start;
    region->size = count & ~(page - 1);
    region->offset = share->mmap_start + (start - share->start);
    return region->size > 0;
}

/* Why a share is declined, or NULL; fills in the region (section 4). */
static const char *examine(struct memexpose_device *device,
                           const struct mx_wire_share *share, int fd,
                           struct mx_region *region)
{
    struct mx_object object;

    if (share->size == 0) {
        return "it is empty";
    }
    if (mx_range_overflows(share->mmap_start, share->size)) {
        return "its offset wraps";
    }
    if (mx_os_object(fd, &object) < 0 || !object.regular) {
        return "the object is neither a regular file nor a memfd";
    }
    if (object.size < share->mmap_start ||
        object.size - share->mmap_start < share->size) {
        return "the object is too short";
    }
    if ((share->start ^ share->mmap_start) & (object.page_size - 1)) {
        return "address and offset differ within the page";
    }
    if (!clip(device, share, object.page_size, region)) {
        return "no whole page of it lies in the window";
    }
    if (device->config.seals == MEMEXPOSE_SEALS_REQUIRE &&
        !object.sealed_shrink) {
        return "the object is not sealed against shrinking";
    }
    if (device->config.seals == MEMEXPOSE_SEALS_PREFER &&
        !object.sealed_shrink && !device->warned_seals) {
        device->warned_seals = true;
        mx_log(MEMEXPOSE_LOG_WARNING, "%s: the peer shares memory that is not "
               "sealed against shrinking", device->name);
    }
    region->readonly = share->readonly;
    region->nonvolatile = share->nonvolatile;
    region->device = object.device;
    region->inode = object.inode;
    return NULL;
}

/* A larger range of the same object takes the place of its parts. */
static int replace_parts(struct memexpose_device *device,
                         const struct mx_region *region)
{
    struct mx_region *gone = NULL;
    size_t count = 0, i;
    int ret = mx_region_cache_remove(&device->cache, region->start,
                                     region->size, &gone, &count);

    for (i = 0; i < count; i++) {
        set_going(device, gone[i].owner);
    }
    free(gone);
    return ret;
}

/* With push no access goes out until it is mapped (section 9). */
static int accept(struct memexpose_device *device,
                  const struct mx_region *region, int fd)
{
    struct mx_link *link = &device->member.link;
    struct mx_mapping *mapping = calloc(1, sizeof(*mapping));
    int ret;

    if (!mapping) {
        return -ENOMEM;
    }
    mapping->region = *region;
    mapping->region.id = ++device->last_id;
    mapping->region.owner = mapping;
    ret = mx_os_map(fd, region->size, region->offset, region->readonly,
                    &mapping->region.host);
    if (ret < 0) {
        free(mapping);
        return ret;
    }
    mapping->fault = mx_faults_add(&device->faults, mapping->region.host,
                                   region->size);
    if (!mapping->fault) {
        free_mapping(mapping);
        return -ENOMEM;
    }
    ret = enter_accepted(device, &mapping->region);
    if (ret < 0) {
        mx_faults_remove(mapping->fault);
        free_mapping(mapping);
        return ret;
    }
    mapping->state = MX_MAPPING_ACCEPTED;
    mapping->holds = mx_session_has(&link->session, MX_FEATURE_PUSH);
    link->holds += mapping->holds;
    device->ranges++;
    TAILQ_INSERT_TAIL(&device->moving, mapping, entry);
    return 0;
}

/* Why a sound share is not mapped, or NULL. */
static const char *place(struct memexpose_device *device,
                         const struct mx_region *region, int fd)
{
    int ret;

    switch (mx_region_cache_fit(&device->cache, region)) {
    case MX_REGION_SAME:
        return "";
    case MX_REGION_OVERLAPS:
        return "it overlaps what is mapped";
    case MX_REGION_FREE:
    case MX_REGION_REPLACES:
        break;
    }
    if (mx_ledger_meets(&device->accepted, region->start, region->size)) {
        return "it overlaps what is about to be mapped";
    }
    if (device->ranges >= device->config.max_ranges) {
        return "too many ranges are mapped";
    }
    ret = replace_parts(device, region);
    if (ret == 0) {
        ret = accept(device, region, fd);
    }
    return ret < 0 ? strerror(-ret) : NULL;
}

static void take_share(struct memexpose_device *device,
                       const struct mx_wire_share *share, int fd,
                       const char *why)
{
    struct mx_region region = { 0 };

    device->stats.shares_received++;
    if (!why) {
        why = examine(device, share, fd, &region);
    }
    if (!why) {
        why = place(device, &region, fd);
    }
    mx_os_close(fd);            /* a mapping keeps its object by itself */
    if (why && *why) {
        mx_log_peer(&device->member.link.logged, MEMEXPOSE_LOG_DEBUG,
                    device->name, "share of 0x%llx bytes at 0x%llx declined: "
                    "%s", (unsigned long long)share->size,
                    (unsigned long long)share->start, why);
    }
}

void mx_import_share(struct memexpose_device *device,
                     const struct mx_wire_share *share, int fd)
{
    const struct mx_session *session = &device->member.link.session;

    take_share(device, share, fd,
               mx_session_invalidated(session, share->start, share->size) ?
               "it was invalidated meanwhile" : NULL);
}

/* What was invalidated before is offered after that (section 9). */
void mx_import_offer(struct memexpose_device *device,
                     const struct mx_wire_share *share, int fd)
{
    device->stats.offers_received++;
    take_share(device, share, fd, NULL);
}
