/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memexpose platform device on the virt machine: its place in the memory
 * map, its interrupt, its node in the device tree.
 */
#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "chardev/char.h"
#include "hw/boards.h"
#include "hw/misc/memexpose.h"
#include "hw/sysbus.h"
#include <memexpose/fdt.h>
#include "memexpose-internal.h"

/* The shared peripheral interrupt: behind all that virt gives out. */
#define MEMEXPOSE_SPI 240

#define REGS_ALIGN   (64 * KiB)         /* the largest page of a guest */
#define WINDOW_ALIGN (1 * GiB)          /* and its largest block, at most */

/* There is one machine in a process. */
static struct {
    char *ep;
    uint64_t size;
    uint64_t base;
    bool base_given;
    hwaddr window, regs;
} virt;

/* --- properties ---------------------------------------------------------- */

static char *get_ep(Object *obj, Error **errp)
{
    return g_strdup(virt.ep ? virt.ep : "");
}

static void set_ep(Object *obj, const char *value, Error **errp)
{
    g_free(virt.ep);
    virt.ep = g_strdup(value);
}

static void get_size(Object *obj, Visitor *v, const char *name, void *opaque,
                     Error **errp)
{
    visit_type_size(v, name, &virt.size, errp);
}

static void set_size(Object *obj, Visitor *v, const char *name, void *opaque,
                     Error **errp)
{
    visit_type_size(v, name, &virt.size, errp);
}

static void get_base(Object *obj, Visitor *v, const char *name, void *opaque,
                     Error **errp)
{
    visit_type_size(v, name, &virt.base, errp);
}

static void set_base(Object *obj, Visitor *v, const char *name, void *opaque,
                     Error **errp)
{
    virt.base_given = visit_type_size(v, name, &virt.base, errp);
}

void memexpose_virt_class_init(ObjectClass *oc)
{
    object_class_property_add_str(oc, "memexpose-ep", get_ep, set_ep);
    object_class_property_set_description(oc, "memexpose-ep",
        "Adds a memexpose device whose chardevs are NAME-mem and NAME-intr");
    object_class_property_add(oc, "memexpose-size", "size", get_size,
                              set_size, NULL, NULL);
    object_class_property_set_description(oc, "memexpose-size",
        "Size of the memexpose device's window, in bytes");
    object_class_property_add(oc, "memexpose-base", "size", get_base,
                              set_base, NULL, NULL);
    object_class_property_set_description(oc, "memexpose-base",
        "Address of that window; chosen if it is not given");
}

/* --- place --------------------------------------------------------------- */

static void G_NORETURN refuse(const char *why)
{
    error_report("memexpose-ep=%s: %s", virt.ep, why);
    exit(EXIT_FAILURE);
}

static uint64_t window_align(void)
{
    return MIN(pow2ceil(virt.size), WINDOW_ALIGN);
}

/* The registers come right behind the window. */
static uint64_t whole_size(void)
{
    return ROUND_UP(virt.size, REGS_ALIGN) + REGS_ALIGN;
}

static bool fits(uint64_t base, uint64_t end)
{
    return base < end && end - base >= whole_size();
}

/* Between the ranges of the high memory map, whether they are used or not. */
static bool find_gap(const VirtMachineState *vms, uint64_t limit,
                     uint64_t *base)
{
    unsigned i;

    for (i = VIRT_HIGH_GIC_REDIST2; i < VIRT_HIGH_PCIE_MMIO; i++) {
        const MemMapEntry *below = &vms->memmap[i];
        const MemMapEntry *above = &vms->memmap[i + 1];

        *base = ROUND_UP(below->base + below->size, window_align());
        if (fits(*base, MIN(above->base, limit))) {
            return true;
        }
    }
    return false;
}

/* Above everything that has a place. */
static uint64_t find_top(const VirtMachineState *vms)
{
    const MemMapEntry *last = &vms->memmap[VIRT_HIGH_PCIE_MMIO];
    uint64_t end = MAX(last->base + last->size, vms->highest_gpa + 1);

    return ROUND_UP(end, window_align());
}

static bool overlaps(uint64_t start, uint64_t size, uint64_t other,
                     uint64_t other_size)
{
    return other_size != 0 && start < other + other_size &&
           other < start + size;
}

/* Up to where RAM, and memory that may be plugged in, can reach. */
static uint64_t end_of_memory(const VirtMachineState *vms)
{
    const MachineState *ms = MACHINE(vms);

    return vms->memmap[VIRT_MEM].base + ms->maxram_size +
           (ms->ram_slots + 1) * GiB;
}

static void check_chosen_base(const VirtMachineState *vms, uint64_t limit)
{
    g_autofree char *where = NULL;
    unsigned i;

    if (!QEMU_IS_ALIGNED(virt.base, REGS_ALIGN)) {
        refuse("memexpose-base is no multiple of 64 KiB");
    }
    if (virt.base >= limit || !fits(virt.base, limit)) {
        where = g_strdup_printf("memexpose-size=0x%" PRIx64 " at "
                                "memexpose-base=0x%" PRIx64 " does not fit "
                                "below 0x%" PRIx64, virt.size, virt.base,
                                limit);
        refuse(where);
    }
    for (i = 0; i <= VIRT_HIGH_PCIE_MMIO; i++) {
        uint64_t size = i == VIRT_MEM ?
            end_of_memory(vms) - vms->memmap[i].base : vms->memmap[i].size;

        if (overlaps(virt.base, whole_size(), vms->memmap[i].base, size)) {
            where = g_strdup_printf("memexpose-base=0x%" PRIx64 ": something "
                                    "else lies at 0x%" PRIx64, virt.base,
                                    (uint64_t)vms->memmap[i].base);
            refuse(where);
        }
    }
}

static void choose_base(const VirtMachineState *vms, uint64_t limit)
{
    g_autofree char *why = NULL;

    if (find_gap(vms, limit, &virt.base)) {
        return;
    }
    virt.base = find_top(vms);
    if (!fits(virt.base, limit)) {
        why = g_strdup_printf("memexpose-size=0x%" PRIx64 " does not fit "
                              "into the 0x%" PRIx64 " bytes that this CPU "
                              "can address", virt.size, limit);
        refuse(why);
    }
}

void memexpose_virt_place(VirtMachineState *vms, int pa_bits)
{
    uint64_t limit = pa_bits >= 64 ? UINT64_MAX : BIT_ULL(pa_bits);
    uint64_t end;

    if (!virt.ep) {
        return;
    }
    if (virt.size == 0) {
        refuse("memexpose-size is missing: expected the size of the window");
    }
    if (!QEMU_IS_ALIGNED(virt.size, 4096) || virt.size > limit) {
        g_autofree char *why = g_strdup_printf(
            "memexpose-size=0x%" PRIx64 ": expected a multiple of 4096 of at "
            "most 0x%" PRIx64, virt.size, limit);

        refuse(why);
    }
    if (virt.base_given) {
        check_chosen_base(vms, limit);
    } else {
        choose_base(vms, limit);
    }
    virt.window = virt.base;
    virt.regs = virt.base + whole_size() - REGS_ALIGN;
    end = virt.base + whole_size();
    vms->highest_gpa = MAX(vms->highest_gpa, end - 1);
}

/* --- device -------------------------------------------------------------- */

static void set_chardev(DeviceState *dev, const char *property,
                        const char *suffix)
{
    g_autofree char *id = g_strconcat(virt.ep, suffix, NULL);
    Chardev *chr = qemu_chr_find(id);

    if (!chr) {
        error_report("memexpose-ep=%s: there is no chardev with id=%s",
                     virt.ep, id);
        exit(EXIT_FAILURE);
    }
    qdev_prop_set_chr(dev, property, chr);
}

static void add_node(VirtMachineState *vms)
{
    struct memexpose_fdt_node node = {
        .regs_start = virt.regs,
        .regs_size = MEMEXPOSE_REGS_SIZE,
        .window_start = virt.window,
        .window_size = virt.size,
        .interrupt_cells = 3,
        .interrupt = { 0, MEMEXPOSE_SPI, 4 },   /* SPI, level, active high */
    };
    int ret = memexpose_fdt_add(MACHINE(vms)->fdt, "/", &node);

    if (ret < 0) {
        error_report("memexpose-ep=%s: cannot add the device-tree node: %s",
                     virt.ep, strerror(-ret));
        exit(EXIT_FAILURE);
    }
}

void memexpose_virt_create(VirtMachineState *vms)
{
    DeviceState *dev;
    SysBusDevice *bus;

    if (!virt.ep) {
        if (virt.size != 0 || virt.base_given) {
            error_report("memexpose-size and memexpose-base need "
                         "memexpose-ep, the name of the device's chardevs");
            exit(EXIT_FAILURE);
        }
        return;
    }
    if (!object_class_by_name(TYPE_MEMEXPOSE_MEMDEV)) {
        refuse("this QEMU was built without " TYPE_MEMEXPOSE_MEMDEV);
    }
    dev = qdev_new(TYPE_MEMEXPOSE_MEMDEV);
    object_property_add_child(OBJECT(vms), "memexpose", OBJECT(dev));
    bus = SYS_BUS_DEVICE(dev);
    set_chardev(dev, "mem_chardev", "-mem");
    set_chardev(dev, "intr_chardev", "-intr");
    qdev_prop_set_uint64(dev, "shm_size", virt.size);
    sysbus_realize_and_unref(bus, &error_fatal);
    sysbus_mmio_map(bus, 0, virt.regs);
    sysbus_mmio_map(bus, 1, virt.window);
    sysbus_connect_irq(bus, 0, qdev_get_gpio_in(vms->gic, MEMEXPOSE_SPI));
    add_node(vms);
}
