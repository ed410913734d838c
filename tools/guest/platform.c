/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Platform devices, found by their nodes in the device tree: compatible
 * "memexpose-memregion", reg = <registers window> (section 5).
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <memexpose/protocol.h>

#include "devices.h"

enum {
    DEPTH_MAX = 32,             /* of nodes in each other */
    CELLS_MAX = 2,              /* in one number: 64 bits */
    RANGES_MAX = 4096           /* bytes of one property "ranges" */
};

/* A node whose children have addresses. */
struct bus {
    const struct bus *parent;   /* NULL: this is the root */
    uint32_t address_cells, size_cells;
    uint32_t ranges[RANGES_MAX / sizeof(uint32_t)];
    size_t range_cells;         /* 0: addresses are those of the parent */
    bool mapped;                /* children can be reached by the CPU */
};

struct search {
    struct devices *devices;
    struct failure *failure;
    size_t root_length;         /* of the path of the root node */
};

/* The number of cells read; 0 if there is no such property. */
static size_t read_cells(const char *node, const char *property,
                         uint32_t *cells, size_t room)
{
    struct path path = files_path("%s/%s", node, property);
    ssize_t got = files_read(path.text, cells, room * sizeof(*cells));
    size_t count = got > 0 ? (size_t)got / sizeof(*cells) : 0, i;

    for (i = 0; i < count; i++) {
        cells[i] = be32toh(cells[i]);
    }
    return count;
}

static uint32_t read_cell(const char *node, const char *property,
                          uint32_t otherwise)
{
    uint32_t cell;

    return read_cells(node, property, &cell, 1) == 1 ? cell : otherwise;
}

static uint64_t join(const uint32_t *cells, uint32_t count)
{
    uint64_t value = 0;

    while (count-- > 0) {
        value = value << 32 | *cells++;
    }
    return value;
}

/* Is one of the strings of a property this one? */
static bool has_string(const char *node, const char *property,
                       const char *wanted)
{
    char text[1024];
    ssize_t got = files_read(files_path("%s/%s", node, property).text, text,
                             sizeof(text) - 1);
    const char *at;

    if (got <= 0) {
        return false;
    }
    text[got] = '\0';
    for (at = text; at < text + got; at += strlen(at) + 1) {
        if (strcmp(at, wanted) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_in_use(const char *node)
{
    return !files_exists(files_path("%s/status", node).text) ||
           has_string(node, "status", "okay") ||
           has_string(node, "status", "ok");
}

static void enter_bus(struct bus *bus, const struct bus *parent,
                      const char *node)
{
    bus->parent = parent;
    bus->address_cells = read_cell(node, "#address-cells", 2);
    bus->size_cells = read_cell(node, "#size-cells", 1);
    bus->range_cells = read_cells(node, "ranges", bus->ranges,
                                  RANGES_MAX / sizeof(uint32_t));
    bus->mapped = bus->address_cells >= 1 && bus->size_cells >= 1 &&
        bus->address_cells <= CELLS_MAX && bus->size_cells <= CELLS_MAX &&
        (!parent || (parent->mapped &&
                     files_exists(files_path("%s/ranges", node).text)));
}

/* An address on @bus becomes one on its parent. */
static bool translate_once(const struct bus *bus, uint64_t *address)
{
    uint32_t above = bus->parent->address_cells;
    size_t entry = bus->address_cells + above + bus->size_cells, i;

    if (bus->range_cells == 0) {
        return true;
    }
    for (i = 0; i + entry <= bus->range_cells; i += entry) {
        const uint32_t *cells = bus->ranges + i;
        uint64_t from = join(cells, bus->address_cells);
        uint64_t to = join(cells + bus->address_cells, above);
        uint64_t size = join(cells + bus->address_cells + above,
                             bus->size_cells);

        if (*address >= from && *address - from < size) {
            *address = *address - from + to;
            return true;
        }
    }
    return false;
}

static bool translate(const struct bus *bus, uint64_t *address)
{
    for (; bus->parent; bus = bus->parent) {
        if (!translate_once(bus, address)) {
            return false;
        }
    }
    return true;
}

static bool read_places(struct device *device, const struct bus *bus,
                        const char *node)
{
    uint32_t cells[2 * 2 * CELLS_MAX];
    uint32_t address = bus->address_cells, size = bus->size_cells;

    if (!bus->mapped ||
        read_cells(node, "reg", cells, sizeof(cells) / sizeof(cells[0])) <
        2 * (address + size)) {
        return false;
    }
    device->regs.start = join(cells, address);
    device->regs.size = join(cells + address, size);
    device->window.start = join(cells + address + size, address);
    device->window.size = join(cells + 2 * address + size, size);
    return translate(bus, &device->regs.start) &&
           translate(bus, &device->window.start);
}

/* Does the line "OF_FULLNAME=..." of a uevent file name this node? */
static bool is_device_of(const char *name, const char *full_name)
{
    const char key[] = "\nOF_FULLNAME=";
    char text[4096] = "\n", *found;
    ssize_t got = files_read(
        files_path("/sys/bus/platform/devices/%s/uevent", name).text,
        text + 1, sizeof(text) - 2);

    if (got < 0) {
        return false;
    }
    text[got + 1] = '\0';
    found = strstr(text, key);
    if (!found) {
        return false;
    }
    found += sizeof(key) - 1;
    found[strcspn(found, "\n")] = '\0';
    return strcmp(found, full_name) == 0;
}

/* What the kernel calls the device that it made of the node. */
static void find_name(struct device *device, const char *full_name)
{
    struct dirent **entries;
    int count = files_list("/sys/bus/platform/devices", &entries), i;

    for (i = 0; i < count && !device->name[0]; i++) {
        if (is_device_of(entries[i]->d_name, full_name)) {
            snprintf(device->name, sizeof(device->name), "%s",
                     entries[i]->d_name);
        }
    }
    if (count >= 0) {
        files_free(entries, count);
    }
}

static int add_node(const struct search *search, const struct bus *bus,
                    const char *node)
{
    struct device device = { .kind = DEVICE_PLATFORM };

    if (!read_places(&device, bus, node)) {
        return fail(search->failure, "'%s': expected a property 'reg' with "
                    "the registers and the window, on buses that can be "
                    "reached", node);
    }
    find_name(&device, node + search->root_length);
    return devices_add(search->devices, &device, search->failure);
}

static int walk(const struct search *search, const struct bus *above,
                const char *node, unsigned depth);

/* What lies below a node, on the bus that it is. */
static int walk_children(const struct search *search, const struct bus *above,
                         const char *node, unsigned depth,
                         struct dirent **entries, int count)
{
    struct bus *bus = malloc(sizeof(*bus));
    int i, ret = 0;

    if (!bus) {
        return fail(search->failure, "%s", strerror(ENOMEM));
    }
    enter_bus(bus, above, node);
    for (i = 0; i < count && ret == 0; i++) {
        if (entries[i]->d_type == DT_DIR ||
            entries[i]->d_type == DT_UNKNOWN) {
            ret = walk(search, bus, files_path("%s/%s", node,
                                               entries[i]->d_name).text,
                       depth + 1);
        }
    }
    free(bus);
    return ret;
}

static int walk(const struct search *search, const struct bus *above,
                const char *node, unsigned depth)
{
    struct dirent **entries;
    int count, ret;

    if (above && is_in_use(node) &&
        has_string(node, "compatible", MEMEXPOSE_FDT_COMPATIBLE)) {
        return add_node(search, above, node);
    }
    count = depth < DEPTH_MAX ? files_list(node, &entries) : -1;
    if (count < 0) {
        return 0;
    }
    ret = walk_children(search, above, node, depth, entries, count);
    files_free(entries, count);
    return ret;
}

int devices_find_platform(struct devices *devices, struct failure *failure)
{
    static const char *const roots[] = {
        "/sys/firmware/devicetree/base", "/proc/device-tree"
    };
    struct search search = { .devices = devices, .failure = failure };
    size_t i;

    for (i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
        if (files_exists(roots[i])) {
            search.root_length = strlen(roots[i]);
            return walk(&search, NULL, roots[i], 0);
        }
    }
    return 0; /* a machine without a device tree */
}
