/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PCI devices, found by way of sysfs.
 */
#include "pci.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <memexpose/protocol.h>

enum {
    BARS = 2,                   /* registers and window (section 5) */
    COMMAND = 0x04,             /* in configuration space, 2 bytes */
    COMMAND_MEMORY = 0x0002,
    COMMAND_INTX_OFF = 0x0400
};

/* The number in a file such as "vendor"; 0 if there is none. */
static unsigned long read_number(const struct device *device,
                                 const char *file)
{
    char line[32];

    if (files_line(device_path(device, file).text, line, sizeof(line)) < 0) {
        return 0;
    }
    return strtoul(line, NULL, 0);
}

static bool is_ours(const struct device *device)
{
    return read_number(device, "vendor") == MEMEXPOSE_PCI_VENDOR &&
           read_number(device, "device") == MEMEXPOSE_PCI_DEVICE;
}

/* A line of "resource": first and last address, flags. */
static struct place parse_place(const char *line)
{
    const unsigned long unset = 0x20000000; /* wanted, but nothing given */
    unsigned long long start, end;
    unsigned long flags;

    if (sscanf(line, "%llx %llx %lx", &start, &end, &flags) != 3 ||
        (flags & unset) || end <= start) {
        return (struct place){ 0, 0 };
    }
    return (struct place){ start, end - start + 1 };
}

static int read_places(struct device *device, struct failure *failure)
{
    struct place *places[BARS] = { &device->regs, &device->window };
    struct path path = device_path(device, "resource");
    char text[4096], *line = text;
    ssize_t got = files_read(path.text, text, sizeof(text) - 1);
    int i;

    if (got < 0) {
        return fail(failure, "cannot read '%s': %s", path.text,
                    strerror(errno));
    }
    text[got] = '\0';
    for (i = 0; i < BARS; i++) {
        *places[i] = parse_place(line);
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    return 0;
}

static int look_at(struct devices *devices, const char *name,
                   struct failure *failure)
{
    struct device device = { .kind = DEVICE_PCI };

    snprintf(device.name, sizeof(device.name), "%s", name);
    if (!is_ours(&device)) {
        return 0;
    }
    return read_places(&device, failure) < 0
        ? -1 : devices_add(devices, &device, failure);
}

int devices_find_pci(struct devices *devices, struct failure *failure)
{
    struct dirent **entries;
    int count = files_list("/sys/bus/pci/devices", &entries), i, ret = 0;

    if (count < 0) { /* a machine without PCI, or without sysfs */
        return errno == ENOENT
            ? 0 : fail(failure, "cannot read '/sys/bus/pci/devices': %s",
                       strerror(errno));
    }
    for (i = 0; i < count && ret == 0; i++) {
        ret = look_at(devices, entries[i]->d_name, failure);
    }
    files_free(entries, count);
    return ret;
}

/* Clear and set bits of the command register. */
static int update_command(const struct device *device, unsigned clear,
                          unsigned set, struct failure *failure)
{
    struct path path = device_path(device, "config");
    int fd = files_need(failure, path.text, O_RDWR), ret = 0;
    uint16_t before, after;

    if (fd < 0) {
        return -1;
    }
    if (pread(fd, &before, sizeof(before), COMMAND) != sizeof(before)) {
        ret = fail(failure, "cannot read '%s'", path.text);
    } else {
        after = htole16((uint16_t)((le16toh(before) & ~clear) | set));
        if (after != before &&
            pwrite(fd, &after, sizeof(after), COMMAND) != sizeof(after)) {
            ret = fail(failure, "cannot write '%s'", path.text);
        }
    }
    close(fd);
    return ret;
}

/*
 * The kernel does more for it than set a bit, and counts who has asked for
 * it; it refuses if the device has a driver, which has asked then.
 */
int pci_enable_memory(const struct device *device, struct failure *failure)
{
    char driver[NAME_MAX + 1];

    device_driver(device, driver, sizeof(driver));
    if (strcmp(driver, "none") == 0 && read_number(device, "enable") == 0 &&
        files_write(failure, device_path(device, "enable").text, "1") < 0) {
        return -1;
    }
    return update_command(device, 0, COMMAND_MEMORY, failure);
}

/*
 * Off and on: an emulated I/O APIC sees changes only, and would never see a
 * line that was up before a driver asked for the interrupt.
 */
int pci_unmask_interrupt(const struct device *device, struct failure *failure)
{
    if (update_command(device, 0, COMMAND_INTX_OFF, failure) < 0) {
        return -1;
    }
    return update_command(device, COMMAND_INTX_OFF, 0, failure);
}
