/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What PCI and platform device have in common: the registers, the window,
 * and the wait of a guest that enables the device.
 */
#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/rcu.h"
#include "qapi/error.h"
#include "memexpose-internal.h"
#include "trace.h"

/* How often a thread that waits looks whether it is wanted elsewhere. */
#define ENABLE_SLICE_MS 20

/* --- the window ---------------------------------------------------------- */

static MemTxResult to_memtx(int ret)
{
    unsigned result = memexpose_result(ret);

    return (result & MEMEXPOSE_RESULT_DECODE ? MEMTX_DECODE_ERROR : 0) |
           (result & MEMEXPOSE_RESULT_DENIED ? MEMTX_ACCESS_ERROR : 0) |
           (result & ~(MEMEXPOSE_RESULT_DECODE | MEMEXPOSE_RESULT_DENIED) ?
            MEMTX_ERROR : 0);
}

/* KVM does not look at results: what fails reads as all ones. */
static MemTxResult window_read(void *opaque, hwaddr address, uint64_t *value,
                               unsigned size, MemTxAttrs attrs)
{
    MemexposeState *s = opaque;
    int ret = -ENODEV;

    *value = UINT64_MAX;
    if (s->device) {
        ret = memexpose_read(s->device, address, size, value);
    }
    if (ret != 0) {
        *value = UINT64_MAX;
    }
    trace_memexpose_window_read(s->log_name, address, size, *value, ret);
    return to_memtx(ret);
}

static MemTxResult window_write(void *opaque, hwaddr address, uint64_t value,
                                unsigned size, MemTxAttrs attrs)
{
    MemexposeState *s = opaque;
    int ret = -ENODEV;

    if (s->device) {
        ret = memexpose_write(s->device, address, size, value);
    }
    trace_memexpose_window_write(s->log_name, address, size, value, ret);
    return to_memtx(ret);
}

static const MemoryRegionOps window_ops = {
    .read_with_attrs = window_read,
    .write_with_attrs = window_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
    .impl = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
};

/* --- enabling ------------------------------------------------------------ */

static bool links_up(MemexposeState *s)
{
    uint64_t both = MEMEXPOSE_STATE_MEM_UP | MEMEXPOSE_STATE_INTR_UP;

    return (memexpose_device_link_state(s->device) & both) == both;
}

/* Under TCG who waits for a grace period gives virtual CPUs work. */
static bool grace_period_awaited(void)
{
    return kvm_enabled() && qatomic_read(&get_ptr_rcu_reader()->waiting);
}

/*
 * What else a virtual CPU is wanted for cannot wait without limit: it may be
 * to stop, another one may want to run alone, or have work for it.  If the
 * device is to be unplugged it is the guest that lets go of it, for which it
 * may need an interrupt on this very CPU.
 */
static bool wanted_elsewhere(const MemexposeState *s)
{
    return memexpose_must_stop() || grace_period_awaited() ||
           s->dev->pending_deleted_event ||
           (current_cpu && (current_cpu->stop || current_cpu->unplug ||
                            current_cpu->has_waiter ||
                            !QSIMPLEQ_EMPTY(&current_cpu->work_list)));
}

/*
 * Virtual CPUs leave it to the main loop to connect.  The main loop's own
 * thread, where qtest accesses registers, has to look itself.  It can accept a
 * client; a client's next attempt to connect is the main loop's alone.
 */
static void wait_a_little(MemexposeState *s)
{
    if (current_cpu) {
        qemu_cond_timedwait_bql(&s->link_cond, ENABLE_SLICE_MS);
    } else {
        memexpose_links_accept(s, ENABLE_SLICE_MS);
        memexpose_group_process(memexpose_group_get(NULL), NULL, 0);
    }
}

static bool is_enabled(MemexposeState *s)
{
    return s->device && memexpose_device_is_enabled(s->device);
}

static void wait_for_links(MemexposeState *s)
{
    int64_t start = g_get_monotonic_time();
    int64_t timeout = (int64_t)s->connect_timeout * 1000;

    if (!memexpose_links_possible(s)) {
        warn_report("%s: enabled, but there is no connection and none will "
                    "come: the chardev is a client without reconnect",
                    s->log_name);
        return;
    }
    if (!current_cpu && !memexpose_links_listen(s)) {
        trace_memexpose_enable_wait(s->log_name, "left to the main loop");
        return;
    }
    trace_memexpose_enable_wait(s->log_name, "waits");
    while (is_enabled(s) && !links_up(s)) {
        if (wanted_elsewhere(s)) {
            trace_memexpose_enable_wait(s->log_name, "wanted elsewhere");
            return;
        }
        if (timeout != 0 && g_get_monotonic_time() - start >= timeout) {
            warn_report("%s: enabled, but no peer came within %u ms",
                        s->log_name, s->connect_timeout);
            return;
        }
        wait_a_little(s);
    }
    trace_memexpose_enable_wait(s->log_name, "over");
}

/* --- the registers ------------------------------------------------------- */

static uint64_t regs_read(void *opaque, hwaddr offset, unsigned size)
{
    MemexposeState *s = opaque;
    uint64_t value = UINT64_MAX;

    if (s->device) {
        value = memexpose_device_reg_read(s->device, offset, size);
    }
    trace_memexpose_reg_read(s->log_name, offset, size, value);
    return value;
}

static void regs_write(void *opaque, hwaddr offset, uint64_t value,
                       unsigned size)
{
    MemexposeState *s = opaque;
    int ret = -ENODEV;

    if (s->device) {
        ret = memexpose_device_reg_write(s->device, offset, size, value);
    }
    trace_memexpose_reg_write(s->log_name, offset, size, value, ret);
    if (ret == -EINPROGRESS && s->wait) {
        wait_for_links(s);
    }
}

static const MemoryRegionOps regs_ops = {
    .read = regs_read,
    .write = regs_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
    .impl = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
};

/* --- callbacks of the library -------------------------------------------- */

static void interrupt(void *opaque, bool level, bool rise)
{
    MemexposeState *s = opaque;

    trace_memexpose_interrupt(s->log_name, level, rise);
    s->set_irq(s->dev, level, rise);
}

static void link_changed(void *opaque, uint64_t state)
{
    MemexposeState *s = opaque;

    trace_memexpose_link_changed(s->log_name, state);
    qemu_cond_broadcast(&s->link_cond);
}

static void trace_message(void *opaque, enum memexpose_link link, bool sent,
                          const void *message, size_t bytes)
{
    MemexposeState *s = opaque;
    char text[256];

    if (trace_event_get_state_backends(TRACE_MEMEXPOSE_MESSAGE)) {
        memexpose_describe(message, bytes, text, sizeof(text));
        trace_memexpose_message(s->log_name, link == MEMEXPOSE_LINK_MEM ?
                                "memory" : "interrupt", sent ? "sent" :
                                "received", text);
    }
}

static const struct memexpose_device_ops device_ops = {
    .size = sizeof(device_ops),
    .read = memexpose_export_read,
    .write = memexpose_export_write,
    .read_block = memexpose_export_read_block,
    .write_block = memexpose_export_write_block,
    .resolve = memexpose_export_resolve,
    .next_share = memexpose_export_next_share,
    .update = memexpose_import_update,
    .map = memexpose_import_map,
    .unmap = memexpose_import_unmap,
    .retire = memexpose_import_retire,
    .interrupt = interrupt,
    .link_changed = link_changed,
    .trace = trace_message,
};

/* --- life ---------------------------------------------------------------- */

static void init_regions(MemexposeState *s)
{
    Object *owner = OBJECT(s->dev);

    memory_region_init_io(&s->regs, owner, &regs_ops, s, "memexpose-regs",
                          MEMEXPOSE_REGS_SIZE);
    memory_region_init_io(&s->window, owner, &window_ops, s,
                          "memexpose-window", s->window_size);
    /* a peer's access to this machine may end here again: the library copes */
    s->regs.disable_reentrancy_guard = true;
    s->window.disable_reentrancy_guard = true;
}

static bool create_device(MemexposeState *s, Error **errp)
{
    struct memexpose_group *group = memexpose_group_get(errp);
    struct memexpose_device_config config;

    if (!group || !memexpose_configure(s, &config, errp)) {
        return false;
    }
    s->device = memexpose_device_create(group, &device_ops, s, &config);
    if (!s->device) {
        error_setg_errno(errp, errno, "cannot make the device");
        return false;
    }
    memexpose_group_join(s);
    memexpose_faults_watch(s);
    return true;
}

static void destroy_device(MemexposeState *s)
{
    struct memexpose_device *device = s->device;

    s->device = NULL;
    memexpose_faults_forget(s);
    memexpose_group_leave(s);
    memexpose_device_destroy(device);
    memexpose_import_remove();
}

void memexpose_init(MemexposeState *s)
{
    qemu_cond_init(&s->link_cond);
}

/* A thread that waited for links may look at it as long as the object is. */
void memexpose_finalize(MemexposeState *s)
{
    qemu_cond_destroy(&s->link_cond);
    g_free(s->log_name);
}

bool memexpose_realize(MemexposeState *s, DeviceState *dev, Error **errp)
{
    s->dev = dev;
    s->mem.state = s;
    s->mem.which = MEMEXPOSE_LINK_MEM;
    s->intr.state = s;
    s->intr.which = MEMEXPOSE_LINK_INTR;
    if (!memexpose_link_check(&s->mem, errp) ||
        !memexpose_link_check(&s->intr, errp) || !create_device(s, errp)) {
        return false;
    }
    init_regions(s);
    if (memexpose_export_start(s, errp)) {
        if (memexpose_links_start(s, errp)) {
            return true;
        }
        memexpose_export_stop(s);
    }
    destroy_device(s);
    return false;
}

void memexpose_unrealize(MemexposeState *s)
{
    destroy_device(s);
    memexpose_links_stop(s);
    memexpose_export_stop(s);
    qemu_cond_broadcast(&s->link_cond);
}

void memexpose_reset(MemexposeState *s)
{
    memexpose_device_reset(s->device);
    qemu_cond_broadcast(&s->link_cond);
}
