/* SPDX-License-Identifier: BSD-3-Clause */
#include "uio.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "pci.h"

const char *uio_driver(const struct device *device)
{
    return device->kind == DEVICE_PCI ? "uio_pci_generic" : "uio_pdrv_genirq";
}

bool uio_name(const struct device *device, char *name, size_t room)
{
    struct dirent **entries;
    int count;

    if (!device->name[0]) {
        return false;
    }
    count = files_list(device_path(device, "uio").text, &entries);
    if (count < 0) {
        return false;
    }
    if (count > 0) {
        snprintf(name, room, "%s", entries[0]->d_name);
    }
    files_free(entries, count);
    return count > 0;
}

/* By name, so that the driver takes this device and no other. */
static int bind(const struct device *device, struct failure *failure)
{
    const char *driver = uio_driver(device);
    struct path drivers = files_path("/sys/bus/%s/drivers/%s",
                                     device->kind == DEVICE_PCI
                                     ? "pci" : "platform", driver);

    if (!device->name[0]) {
        return fail(failure, "the kernel knows no platform device for this "
                    "node, expected one in '/sys/bus/platform/devices'");
    }
    if (!files_exists(drivers.text)) {
        return fail(failure, "driver '%s' is not there, expected 'modprobe "
                    "%s' before, or --poll", driver, driver);
    }
    if (files_write(failure, device_path(device, "driver_override").text,
                    driver) < 0) {
        return -1;
    }
    return files_write(failure, files_path("%s/bind", drivers.text).text,
                       device->name);
}

int uio_open(const struct device *device, int *fd, struct failure *failure)
{
    char driver[NAME_MAX + 1], name[NAME_MAX + 1];

    device_driver(device, driver, sizeof(driver));
    if (strcmp(driver, "none") == 0) {
        if (bind(device, failure) < 0) {
            return -1;
        }
    } else if (strcmp(driver, uio_driver(device)) != 0) {
        return fail(failure, "the device has the driver '%s', expected '%s' "
                    "or none", driver, uio_driver(device));
    }
    if (!uio_name(device, name, sizeof(name))) {
        return fail(failure, "'%s' gave no interrupt, expected a name in "
                    "'%s'", uio_driver(device),
                    device_path(device, "uio").text);
    }
    *fd = files_need(failure, files_path("/dev/%s", name).text, O_RDWR);
    return *fd < 0 ? -1 : 0;
}

/* uio_pci_generic masks it in the command register, and only there. */
int uio_arm(const struct device *device, int fd, struct failure *failure)
{
    const int32_t on = 1;

    if (device->kind == DEVICE_PCI) {
        return pci_unmask_interrupt(device, failure);
    }
    return write(fd, &on, sizeof(on)) == sizeof(on)
        ? 0 : fail(failure, "cannot enable the interrupt: %s",
                   strerror(errno));
}

int uio_wait(int fd, int64_t deadline, bool *came, struct failure *failure)
{
    struct pollfd wait = { .fd = fd, .events = POLLIN };
    int32_t count;
    int ret = poll(&wait, 1, clock_left(deadline));

    *came = ret > 0;
    if (ret < 0 ||
        (*came && read(fd, &count, sizeof(count)) != sizeof(count))) {
        return fail(failure, "cannot wait for the interrupt: %s",
                    strerror(errno));
    }
    return 0;
}

int uio_map_index(const char *name, uint64_t address)
{
    char line[32];
    int i;

    for (i = 0; files_line(files_path("/sys/class/uio/%s/maps/map%d/addr",
                                      name, i).text, line,
                           sizeof(line)) == 0; i++) {
        if (strtoull(line, NULL, 0) == address) {
            return i;
        }
    }
    return -1;
}
