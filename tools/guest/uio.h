/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupts in user space: uio_pci_generic, uio_pdrv_genirq.
 *
 * Functions that return int return 0, or -1 with the reason in @failure.
 */
#ifndef GUEST_UIO_H
#define GUEST_UIO_H

#include "devices.h"

/* The driver for this kind of device. */
const char *uio_driver(const struct device *device);

/* "uio0", if the device is bound to its driver. */
bool uio_name(const struct device *device, char *name, size_t room);

/* Bind the device to its driver unless it is, and open it: *@fd. */
int uio_open(const struct device *device, int *fd, struct failure *failure);

/* Let the interrupt come: once, then it is masked again. */
int uio_arm(const struct device *device, int fd, struct failure *failure);

/*
 * Wait for it until @deadline (CLOCK_MONOTONIC, in nanoseconds; negative: for
 * ever).  *@came: did it come?
 */
int uio_wait(int fd, int64_t deadline, bool *came, struct failure *failure);

/* Which of the device's maps begins at this address; -1: none. */
int uio_map_index(const char *name, uint64_t address);

#endif
