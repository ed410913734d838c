/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command register in the configuration space of a PCI device.
 *
 * Functions return 0, or -1 with the reason in @failure.
 */
#ifndef GUEST_PCI_H
#define GUEST_PCI_H

#include "devices.h"

/* Make it answer to accesses to its memory. */
int pci_enable_memory(const struct device *device, struct failure *failure);

/* Let its interrupt line be raised. */
int pci_unmask_interrupt(const struct device *device,
                         struct failure *failure);

#endif
