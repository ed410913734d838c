/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is mapped of the peer's memory: each range is RAM, a subregion of the
 * window.  Its memory is the library's, which replaces it by zeros before it
 * is invalidated; removal from the memory map follows.
 */
#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/rcu.h"
#include "qapi/error.h"
#include "qom/object.h"
#include "memexpose-internal.h"
#include "trace.h"

#define TYPE_MEMEXPOSE_SHARE "memexpose-share"
OBJECT_DECLARE_SIMPLE_TYPE(MemexposeShare, MEMEXPOSE_SHARE)

/*
 * One mapped range.  An object of its own, so that whoever uses the memory
 * keeps it, and not the device.
 */
struct MemexposeShare {
    Object parent;

    MemexposeState *state;
    uint64_t start;
    uint64_t id;                /* as the library calls it */
    bool readonly;
    MemoryRegion mr;
    bool going;
    uint64_t age;               /* when it began to go */
    QTAILQ_ENTRY(MemexposeShare) next;
    QTAILQ_ENTRY(MemexposeShare) next_added;
    QTAILQ_ENTRY(MemexposeShare) next_leaving;
};

/* Memory that the library wants to free. */
typedef struct MemexposeRetired {
    struct rcu_head rcu;
    void (*fn)(void *arg);
    void *arg;
    uint64_t age;
    QTAILQ_ENTRY(MemexposeRetired) next;
} MemexposeRetired;

/* Guarded by the big lock: new, mapped, and to be removed. */
static QTAILQ_HEAD(, MemexposeShare) added = QTAILQ_HEAD_INITIALIZER(added);
static QTAILQ_HEAD(, MemexposeShare) mapped = QTAILQ_HEAD_INITIALIZER(mapped);
static QTAILQ_HEAD(, MemexposeShare) going = QTAILQ_HEAD_INITIALIZER(going);

/*
 * Devices hold on to memory that they have mapped for DMA, beyond any RCU
 * grace period.  What the library retired after a share began to go is freed
 * when that share's last user has let go of it.
 */
static QemuMutex retired_lock;
static QTAILQ_HEAD(, MemexposeShare) leaving =
    QTAILQ_HEAD_INITIALIZER(leaving);
static QTAILQ_HEAD(, MemexposeRetired) retired =
    QTAILQ_HEAD_INITIALIZER(retired);
static uint64_t clock_of_ages;

/* --- freeing ------------------------------------------------------------- */

static MemexposeRetired *take_retired(void)
{
    MemexposeShare *oldest;
    MemexposeRetired *item;

    QEMU_LOCK_GUARD(&retired_lock);
    oldest = QTAILQ_FIRST(&leaving);
    QTAILQ_FOREACH(item, &retired, next) {
        if (!oldest || item->age < oldest->age) {
            QTAILQ_REMOVE(&retired, item, next);
            return item;
        }
    }
    return NULL;
}

static void free_retired(void)
{
    MemexposeRetired *item;

    while ((item = take_retired())) {
        item->fn(item->arg);
        g_free(item);
    }
}

static void grace_period_over(MemexposeRetired *item)
{
    WITH_QEMU_LOCK_GUARD(&retired_lock) {
        QTAILQ_INSERT_TAIL(&retired, item, next);
    }
    free_retired();
}

/* May come in any thread, and with a lock of the library's. */
void memexpose_import_retire(void *opaque, void (*fn)(void *arg), void *arg)
{
    MemexposeRetired *item = g_new0(MemexposeRetired, 1);

    item->fn = fn;
    item->arg = arg;
    WITH_QEMU_LOCK_GUARD(&retired_lock) {
        item->age = clock_of_ages++;
    }
    call_rcu(item, grace_period_over, rcu);
}

static void begin_leaving(MemexposeShare *share)
{
    QEMU_LOCK_GUARD(&retired_lock);
    share->age = clock_of_ages++;
    QTAILQ_INSERT_TAIL(&leaving, share, next_leaving);
}

static void memexpose_share_finalize(Object *obj)
{
    MemexposeShare *share = MEMEXPOSE_SHARE(obj);

    WITH_QEMU_LOCK_GUARD(&retired_lock) {
        if (share->going) {
            QTAILQ_REMOVE(&leaving, share, next_leaving);
        }
    }
    free_retired();
}

/* --- the memory map ------------------------------------------------------ */

/* Show what is new, in one transaction. */
static void add_new_shares(void)
{
    MemexposeShare *share, *next;

    if (QTAILQ_EMPTY(&added)) {
        return;
    }
    memory_region_transaction_begin();
    QTAILQ_FOREACH_SAFE(share, &added, next_added, next) {
        QTAILQ_REMOVE(&added, share, next_added);
        memory_region_set_readonly(&share->mr, share->readonly);
        memory_region_add_subregion(&share->state->window, share->start,
                                    &share->mr);
    }
    memory_region_transaction_commit();
}

/* What is mapped between begin and end is shown at the end. */
void memexpose_import_update(void *opaque, bool begin)
{
    MemexposeState *s = opaque;

    g_assert(bql_locked());
    trace_memexpose_update(s->log_name, begin);
    s->updating = begin;
    if (!begin) {
        add_new_shares();
    }
}

int memexpose_import_map(void *opaque, const struct memexpose_range *range)
{
    MemexposeState *s = opaque;
    g_autofree char *name = NULL;
    MemexposeShare *share;

    g_assert(bql_locked());
    if (memexpose_in_commit()) {
        return -EAGAIN;         /* it will be offered again */
    }
    trace_memexpose_map(s->log_name, range->start, range->size,
                        range->readonly);
    memexpose_faults_expect();
    share = MEMEXPOSE_SHARE(object_new(TYPE_MEMEXPOSE_SHARE));
    share->state = s;
    share->start = range->start;
    share->id = range->id;
    share->readonly = range->readonly;
    /* "share[*]" would look for a number, among all that there are */
    name = g_strdup_printf("share[%" PRIu64 "]", range->id);
    object_property_add_child(OBJECT(s->dev), name, OBJECT(share));
    object_unref(OBJECT(share));
    memory_region_init_ram_ptr(&share->mr, OBJECT(share), "memexpose-share",
                               range->size, range->host);
    QTAILQ_INSERT_TAIL(&mapped, share, next);
    QTAILQ_INSERT_TAIL(&added, share, next_added);
    if (!s->updating) {
        add_new_shares();
    }
    return 0;
}

int memexpose_import_unmap(void *opaque, const struct memexpose_range *range)
{
    MemexposeShare *share;

    g_assert(bql_locked());
    QTAILQ_FOREACH(share, &mapped, next) {
        if (share->state == opaque && share->id == range->id) {
            break;
        }
    }
    if (!share) {
        return 0;
    }
    trace_memexpose_unmap(share->state->log_name, range->start, range->size);
    share->going = true;
    begin_leaving(share);
    QTAILQ_REMOVE(&mapped, share, next);
    QTAILQ_INSERT_TAIL(&going, share, next);
    memexpose_schedule();
    return MEMEXPOSE_UNMAP_LATER;
}

bool memexpose_import_remove(void)
{
    QTAILQ_HEAD(, MemexposeShare) batch = QTAILQ_HEAD_INITIALIZER(batch);
    MemexposeShare *share, *next;
    unsigned count = 0;

    if (QTAILQ_EMPTY(&going)) {
        return false;
    }
    /* more may come while this waits in the commit */
    QTAILQ_FOREACH_SAFE(share, &going, next, next) {
        QTAILQ_REMOVE(&going, share, next);
        QTAILQ_INSERT_TAIL(&batch, share, next);
    }
    memory_region_transaction_begin();
    QTAILQ_FOREACH(share, &batch, next) {
        memory_region_del_subregion(&share->state->window, &share->mr);
    }
    memory_region_transaction_commit();
    QTAILQ_FOREACH_SAFE(share, &batch, next, next) {
        struct memexpose_device *device = share->state->device;
        uint64_t id = share->id;

        QTAILQ_REMOVE(&batch, share, next);
        object_unparent(OBJECT(share));
        if (device) {
            memexpose_device_unmapped(device, id);
        }
        count++;
    }
    trace_memexpose_unmapped(count);
    return true;
}

bool memexpose_owns(MemoryRegion *mr)
{
    Object *owner = memory_region_owner(mr);

    return owner && (object_dynamic_cast(owner, TYPE_MEMEXPOSE_SHARE) ||
                     object_dynamic_cast(owner, TYPE_MEMEXPOSE_PCI) ||
                     object_dynamic_cast(owner, TYPE_MEMEXPOSE_MEMDEV));
}

static const TypeInfo memexpose_share_info = {
    .name = TYPE_MEMEXPOSE_SHARE,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(MemexposeShare),
    .instance_finalize = memexpose_share_finalize,
};

static void memexpose_share_register(void)
{
    qemu_mutex_init(&retired_lock);
    type_register_static(&memexpose_share_info);
}

type_init(memexpose_share_register)
