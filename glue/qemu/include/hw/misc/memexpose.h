/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memexpose platform device on the virt machine.
 */
#ifndef HW_MISC_MEMEXPOSE_H
#define HW_MISC_MEMEXPOSE_H

#include "hw/arm/virt.h"

/* Add the machine's properties: memexpose-ep, memexpose-size, -base. */
void memexpose_virt_class_init(ObjectClass *oc);

/*
 * Find a place for the device, when the memory map is complete.  @pa_bits: of
 * the addresses that the machine can have.  Exits if there is none.
 */
void memexpose_virt_place(VirtMachineState *vms, int pa_bits);

/* Make the device and its device-tree node, if one was asked for. */
void memexpose_virt_create(VirtMachineState *vms);

#endif
