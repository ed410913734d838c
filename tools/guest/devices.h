/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memexpose devices of this machine, as the kernel shows them.
 *
 * Functions that return int return 0, or -1 with the reason in @failure.
 */
#ifndef GUEST_DEVICES_H
#define GUEST_DEVICES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "files.h"

enum device_kind {
    DEVICE_PCI,
    DEVICE_PLATFORM
};

/* A range of physical addresses; size 0: it has no place. */
struct place {
    uint64_t start, size;
};

struct device {
    enum device_kind kind;
    char name[NAME_MAX + 1];    /* in sysfs; "" if it is not there */
    struct place regs, window;
};

struct devices {
    struct device *device;      /* PCI first, each kind in its order */
    size_t count;
};

/* Find all of them. */
int devices_find(struct devices *devices, struct failure *failure);
void devices_clear(struct devices *devices);

/*
 * The one that the user means: by its index, by its PCI address, or by the
 * address of its registers; NULL: the only one.
 * Returns NULL with the reason in @failure.
 */
const struct device *devices_select(const struct devices *devices,
                                    const char *word,
                                    struct failure *failure);

/* Put one at the end. */
int devices_add(struct devices *devices, const struct device *device,
                struct failure *failure);

/* The two kinds, each by its own way. */
int devices_find_pci(struct devices *devices, struct failure *failure);
int devices_find_platform(struct devices *devices, struct failure *failure);

/* Its directory in sysfs, or a file in it. */
struct path device_path(const struct device *device, const char *file);

/* The driver it is bound to, or "none". */
void device_driver(const struct device *device, char *name, size_t room);

/* "pci 0000:00:04.0" or "platform", for lines that a user reads. */
struct device_title {
    char text[NAME_MAX + 16];
};
struct device_title device_title(const struct device *device);

#endif
