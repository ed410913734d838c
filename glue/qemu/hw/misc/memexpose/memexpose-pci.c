/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memexpose device on a PCI bus: BAR0 holds the registers, BAR1 is the
 * window onto the peer's memory.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "hw/pci/msi.h"
#include "hw/pci/pci.h"
#include "migration/vmstate.h"
#include "qom/object.h"
#include "memexpose-internal.h"
#if QEMU_SINCE(10, 0)
#include "hw/pci/pci_device.h"
#endif

OBJECT_DECLARE_SIMPLE_TYPE(MemexposePCIState, MEMEXPOSE_PCI)

struct MemexposePCIState {
    PCIDevice parent;

    MemexposeState common;
    bool level;                 /* of the interrupt line */
    bool msi;
    bool prefetchable;
};

/* --- interrupts ---------------------------------------------------------- */

static void update_line(MemexposePCIState *s)
{
    PCIDevice *pci = PCI_DEVICE(s);

    pci_set_irq(pci, s->level && !msi_enabled(pci));
}

static void memexpose_pci_set_irq(DeviceState *dev, bool level, bool rise)
{
    MemexposePCIState *s = MEMEXPOSE_PCI(dev);
    PCIDevice *pci = PCI_DEVICE(dev);

    s->level = level;
    update_line(s);
    if (rise && msi_enabled(pci)) {
        msi_notify(pci, 0);
    }
}

static void memexpose_pci_write_config(PCIDevice *pci, uint32_t address,
                                       uint32_t value, int size)
{
    pci_default_write_config(pci, address, value, size);
    update_line(MEMEXPOSE_PCI(pci));
}

/* --- life ---------------------------------------------------------------- */

static bool check_window(MemexposePCIState *s, Error **errp)
{
    uint64_t size = s->common.window_size;

    if (size != 0 && !is_power_of_2(size)) {
        error_setg(errp, "shm_size=0x%" PRIx64 ": expected a power of two",
                   size);
        return false;
    }
    return true;
}

/* Not every interrupt controller takes messages; the line is always there. */
static bool offer_msi(MemexposePCIState *s, Error **errp)
{
    Error *err = NULL;
    int ret;

    if (!s->msi) {
        return true;
    }
    ret = msi_init(PCI_DEVICE(s), 0, 1, true, false, &err);
    if (ret == -ENOTSUP) {
        error_free(err);
        return true;
    }
    if (ret < 0) {
        error_propagate(errp, err);
        return false;
    }
    return true;
}

static void register_bars(MemexposePCIState *s)
{
    PCIDevice *pci = PCI_DEVICE(s);

    pci_register_bar(pci, 0, PCI_BASE_ADDRESS_SPACE_MEMORY, &s->common.regs);
    pci_register_bar(pci, 1, PCI_BASE_ADDRESS_SPACE_MEMORY |
                     PCI_BASE_ADDRESS_MEM_TYPE_64 |
                     (s->prefetchable ? PCI_BASE_ADDRESS_MEM_PREFETCH : 0),
                     &s->common.window);
}

static void memexpose_pci_realize(PCIDevice *pci, Error **errp)
{
    MemexposePCIState *s = MEMEXPOSE_PCI(pci);

    if (!check_window(s, errp)) {
        return;
    }
    s->common.set_irq = memexpose_pci_set_irq;
    s->level = false;
    pci_config_set_interrupt_pin(pci->config, 1);
    if (!offer_msi(s, errp)) {
        return;
    }
    if (!memexpose_realize(&s->common, DEVICE(pci), errp)) {
        msi_uninit(pci);
        return;
    }
    register_bars(s);
}

static void memexpose_pci_exit(PCIDevice *pci)
{
    MemexposePCIState *s = MEMEXPOSE_PCI(pci);

    memexpose_unrealize(&s->common);
    pci_set_irq(pci, false);
    msi_uninit(pci);
}

static void memexpose_pci_reset(DeviceState *dev)
{
    MemexposePCIState *s = MEMEXPOSE_PCI(dev);

    msi_reset(PCI_DEVICE(dev));
    memexpose_reset(&s->common);
}

static void memexpose_pci_init(Object *obj)
{
    memexpose_init(&MEMEXPOSE_PCI(obj)->common);
}

static void memexpose_pci_finalize(Object *obj)
{
    memexpose_finalize(&MEMEXPOSE_PCI(obj)->common);
}

/* What the peer has mapped and what is on its way cannot be moved. */
static const VMStateDescription memexpose_pci_vmstate = {
    .name = TYPE_MEMEXPOSE_PCI,
    .unmigratable = 1,
};

static MemexposeProperty memexpose_pci_properties[] = {
#define MEMEXPOSE_TYPE MemexposePCIState
#include "memexpose-properties.h.inc"
    DEFINE_PROP_BOOL("msi", MemexposePCIState, msi, true),
    DEFINE_PROP_BOOL("prefetchable", MemexposePCIState, prefetchable, false),
#if !QEMU_SINCE(10, 0)
    DEFINE_PROP_END_OF_LIST(),
#endif
};

static void memexpose_pci_class_init(ObjectClass *klass,
                                     MemexposeClassData *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    PCIDeviceClass *pc = PCI_DEVICE_CLASS(klass);

    pc->realize = memexpose_pci_realize;
    pc->exit = memexpose_pci_exit;
    pc->config_write = memexpose_pci_write_config;
    pc->vendor_id = MEMEXPOSE_PCI_VENDOR;
    pc->device_id = MEMEXPOSE_PCI_DEVICE;
    pc->class_id = PCI_CLASS_MEMORY_RAM;
    pc->revision = 0;
    device_class_set_legacy_reset(dc, memexpose_pci_reset);
    device_class_set_props(dc, memexpose_pci_properties);
    dc->vmsd = &memexpose_pci_vmstate;
    dc->desc = "Shares memory and interrupts with another machine";
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
    memexpose_class_add_properties(klass, offsetof(MemexposePCIState,
                                                   common));
}

static const TypeInfo memexpose_pci_info = {
    .name = TYPE_MEMEXPOSE_PCI,
    .parent = TYPE_PCI_DEVICE,
    .instance_size = sizeof(MemexposePCIState),
    .instance_init = memexpose_pci_init,
    .instance_finalize = memexpose_pci_finalize,
    .class_init = memexpose_pci_class_init,
    .interfaces = (InterfaceInfo[]) {
        { INTERFACE_CONVENTIONAL_PCI_DEVICE },
        { },
    },
};

static void memexpose_pci_register(void)
{
    type_register_static(&memexpose_pci_info);
}

type_init(memexpose_pci_register)
