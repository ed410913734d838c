/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memexpose device as a platform device: two memory ranges, first the
 * registers, then the window onto the peer's memory, and one level interrupt.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "hw/irq.h"
#include "hw/sysbus.h"
#include "migration/vmstate.h"
#include "qom/object.h"
#include "memexpose-internal.h"

OBJECT_DECLARE_SIMPLE_TYPE(MemexposeMemdevState, MEMEXPOSE_MEMDEV)

struct MemexposeMemdevState {
    SysBusDevice parent;

    MemexposeState common;
    qemu_irq irq;
};

static void memexpose_memdev_set_irq(DeviceState *dev, bool level, bool rise)
{
    qemu_set_irq(MEMEXPOSE_MEMDEV(dev)->irq, level);
}

static void memexpose_memdev_realize(DeviceState *dev, Error **errp)
{
    MemexposeMemdevState *s = MEMEXPOSE_MEMDEV(dev);
    SysBusDevice *bus = SYS_BUS_DEVICE(dev);

    s->common.set_irq = memexpose_memdev_set_irq;
    if (!memexpose_realize(&s->common, dev, errp)) {
        return;
    }
    sysbus_init_mmio(bus, &s->common.regs);
    sysbus_init_mmio(bus, &s->common.window);
    sysbus_init_irq(bus, &s->irq);
}

static void memexpose_memdev_unrealize(DeviceState *dev)
{
    memexpose_unrealize(&MEMEXPOSE_MEMDEV(dev)->common);
}

static void memexpose_memdev_reset(DeviceState *dev)
{
    memexpose_reset(&MEMEXPOSE_MEMDEV(dev)->common);
}

static void memexpose_memdev_init(Object *obj)
{
    memexpose_init(&MEMEXPOSE_MEMDEV(obj)->common);
}

static void memexpose_memdev_finalize(Object *obj)
{
    memexpose_finalize(&MEMEXPOSE_MEMDEV(obj)->common);
}

/* What the peer has mapped and what is on its way cannot be moved. */
static const VMStateDescription memexpose_memdev_vmstate = {
    .name = TYPE_MEMEXPOSE_MEMDEV,
    .unmigratable = 1,
};

static MemexposeProperty memexpose_memdev_properties[] = {
#define MEMEXPOSE_TYPE MemexposeMemdevState
#include "memexpose-properties.h.inc"
#if !QEMU_SINCE(10, 0)
    DEFINE_PROP_END_OF_LIST(),
#endif
};

static void memexpose_memdev_class_init(ObjectClass *klass,
                                        MemexposeClassData *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);

    dc->realize = memexpose_memdev_realize;
    dc->unrealize = memexpose_memdev_unrealize;
    device_class_set_legacy_reset(dc, memexpose_memdev_reset);
    device_class_set_props(dc, memexpose_memdev_properties);
    dc->vmsd = &memexpose_memdev_vmstate;
    dc->desc = "Shares memory and interrupts with another machine";
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
    memexpose_class_add_properties(klass, offsetof(MemexposeMemdevState,
                                                   common));
}

static const TypeInfo memexpose_memdev_info = {
    .name = TYPE_MEMEXPOSE_MEMDEV,
    .parent = TYPE_SYS_BUS_DEVICE,
    .instance_size = sizeof(MemexposeMemdevState),
    .instance_init = memexpose_memdev_init,
    .instance_finalize = memexpose_memdev_finalize,
    .class_init = memexpose_memdev_class_init,
};

static void memexpose_memdev_register(void)
{
    type_register_static(&memexpose_memdev_info);
}

type_init(memexpose_memdev_register)
