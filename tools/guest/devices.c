/* SPDX-License-Identifier: BSD-3-Clause */
#include "devices.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../sim/numbers.h"

int devices_add(struct devices *devices, const struct device *device,
                struct failure *failure)
{
    struct device *more = realloc(devices->device, (devices->count + 1) *
                                  sizeof(*more));

    if (!more) {
        return fail(failure, "%s", strerror(ENOMEM));
    }
    more[devices->count++] = *device;
    devices->device = more;
    return 0;
}

int devices_find(struct devices *devices, struct failure *failure)
{
    return devices_find_pci(devices, failure) < 0
        ? -1 : devices_find_platform(devices, failure);
}

void devices_clear(struct devices *devices)
{
    free(devices->device);
    *devices = (struct devices){ NULL, 0 };
}

struct path device_path(const struct device *device, const char *file)
{
    return files_path("/sys/bus/%s/devices/%s%s%s",
                      device->kind == DEVICE_PCI ? "pci" : "platform",
                      device->name, *file ? "/" : "", file);
}

void device_driver(const struct device *device, char *name, size_t room)
{
    if (!device->name[0] ||
        !files_link(device_path(device, "driver").text, name, room)) {
        snprintf(name, room, "none");
    }
}

struct device_title device_title(const struct device *device)
{
    struct device_title title;

    snprintf(title.text, sizeof(title.text), "%s%s",
             device->kind == DEVICE_PCI ? "pci " : "platform",
             device->kind == DEVICE_PCI ? device->name : "");
    return title;
}

/* "0000:00:04.0", of which lspci(8) leaves out "0000:". */
static bool has_pci_address(const struct device *device, const char *word)
{
    return device->kind == DEVICE_PCI &&
           (strcmp(word, device->name) == 0 ||
            (strncmp(device->name, "0000:", 5) == 0 &&
             strcmp(word, device->name + 5) == 0));
}

static bool is_meant(const struct devices *devices, size_t index,
                     const char *word)
{
    const struct device *device = &devices->device[index];
    struct failure ignored;
    uint64_t number;

    if (strchr(word, ':')) {
        return has_pci_address(device, word);
    }
    if (number_address(&ignored, "N", word, &number) < 0) {
        return false;
    }
    return strncmp(word, "0x", 2) == 0 ? number == device->regs.start
                                       : number == index;
}

/* "0 (pci 0000:00:04.0), 1 (platform 0x4020000000)" */
static void name_all(const struct devices *devices, char *text, size_t room)
{
    size_t i, used = 0;

    for (i = 0; i < devices->count && used < room; i++) {
        const struct device *device = &devices->device[i];
        int more = snprintf(text + used, room - used, "%s%zu (%s 0x%" PRIx64
                            ")", i > 0 ? ", " : "", i,
                            device_title(device).text, device->regs.start);

        used += more > 0 ? (size_t)more : 0;
    }
}

const struct device *devices_select(const struct devices *devices,
                                    const char *word,
                                    struct failure *failure)
{
    char names[2048] = "";
    size_t i;

    if (devices->count == 0) {
        fail(failure, "no device found, expected PCI 1af4:1111 or a node of "
             "the device tree compatible with 'memexpose-memregion'");
        return NULL;
    }
    if (!word && devices->count == 1) {
        return &devices->device[0];
    }
    for (i = 0; word && i < devices->count; i++) {
        if (is_meant(devices, i, word)) {
            return &devices->device[i];
        }
    }
    name_all(devices, names, sizeof(names));
    if (word) {
        fail(failure, "-d: '%s': no such device, expected one of %s", word,
             names);
    } else {
        fail(failure, "several devices, expected -d with one of %s", names);
    }
    return NULL;
}
