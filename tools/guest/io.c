/* SPDX-License-Identifier: BSD-3-Clause */
#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include <memexpose/protocol.h>

#include "fault.h"
#include "mmio.h"
#include "pci.h"
#include "uio.h"

/* ---- Mapping ------------------------------------------------------------ */

int region_map(const struct region *region, uint64_t offset, size_t size,
               struct slice *slice, struct failure *failure)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t first = region->undivided ? 0 : region->offset + offset;
    uint64_t skip = region->undivided ? offset : first % page;
    uint64_t from = region->undivided ? region->offset : first - skip;

    slice->length = (size_t)(skip + size);
    slice->base = mmap(NULL, slice->length, PROT_READ | PROT_WRITE,
                       MAP_SHARED, region->fd, (off_t)from);
    if (slice->base == MAP_FAILED) {
        slice->base = NULL;
        return fail(failure, "cannot map %zu bytes at 0x%" PRIx64 ": %s",
                    size, offset, strerror(errno));
    }
    slice->at = (volatile uint8_t *)slice->base + skip;
    return 0;
}

void slice_unmap(struct slice *slice)
{
    if (slice->base) {
        munmap(slice->base, slice->length);
        slice->base = NULL;
    }
}

void region_close(struct region *region)
{
    if (region->fd >= 0) {
        close(region->fd);
        region->fd = -1;
    }
}

/* O_SYNC: the kernel maps what is no RAM as a device, not through a cache. */
static int open_region(struct region *region, const char *path,
                       uint64_t offset, uint64_t size,
                       struct failure *failure)
{
    region->fd = files_need(failure, path, O_RDWR | O_SYNC);
    region->offset = offset;
    region->size = size;
    region->undivided = false;
    return region->fd < 0 ? -1 : 0;
}

int region_open_physical(struct region *region, struct failure *failure)
{
    return open_region(region, "/dev/mem", 0, INT64_MAX, failure);
}

/* ---- The two kinds of devices ------------------------------------------- */

static int map_registers(struct io *io, struct failure *failure)
{
    if (io->regs.size < MEMEXPOSE_REGS_SIZE) {
        return fail(failure, "the registers have %" PRIu64 " bytes, expected "
                    "%d", io->regs.size, MEMEXPOSE_REGS_SIZE);
    }
    return region_map(&io->regs, 0, MEMEXPOSE_REGS_SIZE, &io->mapped,
                      failure);
}

static int open_pci(struct io *io, struct failure *failure)
{
    const struct device *device = io->device;

    if (device->regs.size == 0) {
        return fail(failure, "the registers (BAR 0) have no address, "
                    "expected one in '%s'",
                    device_path(device, "resource").text);
    }
    if (pci_enable_memory(device, failure) < 0 ||
        open_region(&io->regs, device_path(device, "resource0").text, 0,
                    device->regs.size, failure) < 0 ||
        (device->window.size > 0 &&
         open_region(&io->window, device_path(device, "resource1").text, 0,
                     device->window.size, failure) < 0)) {
        return -1;
    }
    return map_registers(io, failure);
}

static int open_memory(struct io *io, struct failure *failure)
{
    const struct device *device = io->device;

    if (open_region(&io->regs, "/dev/mem", device->regs.start,
                    device->regs.size, failure) < 0 ||
        open_region(&io->window, "/dev/mem", device->window.start,
                    device->window.size, failure) < 0) {
        return -1;
    }
    return map_registers(io, failure);
}

/* Each map of a uio device is mapped at the page of its number. */
static int open_uio_map(struct region *region, const char *name,
                        const struct place *place, struct failure *failure)
{
    int index = uio_map_index(name, place->start);

    if (index < 0) {
        return fail(failure, "'/sys/class/uio/%s/maps': no map at 0x%"
                    PRIx64, name, place->start);
    }
    if (open_region(region, files_path("/dev/%s", name).text,
                    (uint64_t)index * (uint64_t)sysconf(_SC_PAGESIZE),
                    place->size, failure) < 0) {
        return -1;
    }
    region->undivided = true;
    return 0;
}

static int open_uio(struct io *io, const char *name, struct failure *failure)
{
    region_close(&io->regs);
    region_close(&io->window);
    if (open_uio_map(&io->regs, name, &io->device->regs, failure) < 0 ||
        open_uio_map(&io->window, name, &io->device->window, failure) < 0) {
        return -1;
    }
    return map_registers(io, failure);
}

/* /dev/mem maps any piece of a large window, uio only from its beginning. */
static int open_platform(struct io *io, struct failure *failure)
{
    char name[NAME_MAX + 1];

    if (open_memory(io, failure) == 0) {
        return 0;
    }
    if (uio_name(io->device, name, sizeof(name))) {
        return open_uio(io, name, failure);
    }
    return fail_prefix(failure, "'/dev/mem' refuses the device, expected a "
                       "kernel that lets root map it, or the driver "
                       "'uio_pdrv_genirq'");
}

int io_open(struct io *io, const struct device *device,
            struct failure *failure)
{
    int ret;

    *io = (struct io){ .device = device };
    io->regs.fd = io->window.fd = -1;
    ret = device->kind == DEVICE_PCI ? open_pci(io, failure)
                                     : open_platform(io, failure);
    if (ret < 0) {
        io_close(io);
    }
    return ret;
}

/* The kernel offers it for the memory of a PCI device that is prefetchable. */
int io_combine(struct io *io, struct failure *failure)
{
    const struct device *device = io->device;
    struct path path = device_path(device, "resource1_wc");
    struct region region;

    if (device->kind != DEVICE_PCI || device->window.size == 0) {
        return fail(failure, "'--combine': expected a PCI device with a "
                    "window");
    }
    if (!files_exists(path.text)) {
        return fail(failure, "'--combine': expected '%s', as for a device "
                    "with prefetchable=on", path.text);
    }
    if (open_region(&region, path.text, 0, device->window.size, failure) < 0) {
        return -1;
    }
    region_close(&io->window);
    io->window = region;
    return 0;
}

void io_close(struct io *io)
{
    if (io->device) {
        slice_unmap(&io->mapped);
        region_close(&io->regs);
        region_close(&io->window);
        io->device = NULL;
    }
}

/* ---- Registers ---------------------------------------------------------- */

/* One access, for fault_caught(). */
struct access {
    volatile uint8_t *at;
    unsigned bytes;
    volatile uint64_t value;
};

static void read_access(void *arg)
{
    struct access *access = arg;

    access->value = mmio_read(access->at, access->bytes);
}

static void write_access(void *arg)
{
    struct access *access = arg;

    mmio_write(access->at, access->bytes, access->value);
}

static int register_failed(uint64_t offset, struct failure *failure)
{
    return fail(failure, "the access to register 0x%03" PRIx64 " failed "
                "(bus error): is the device still there?", offset);
}

int io_read_reg(struct io *io, uint64_t offset, unsigned bytes,
                uint64_t *value, struct failure *failure)
{
    struct access access = { io->mapped.at + offset, bytes, 0 };

    if (fault_caught(read_access, &access)) {
        return register_failed(offset, failure);
    }
    *value = access.value;
    return 0;
}

/* What was written to the window before is there first. */
int io_write_reg(struct io *io, uint64_t offset, unsigned bytes,
                 uint64_t value, struct failure *failure)
{
    struct access access = { io->mapped.at + offset, bytes, value };

    __sync_synchronize();
    if (fault_caught(write_access, &access)) {
        return register_failed(offset, failure);
    }
    return 0;
}

int io_read_area(struct io *io, uint64_t offset, uint8_t *bytes,
                 size_t count, struct failure *failure)
{
    uint64_t value = 0;
    size_t i;

    for (i = 0; i < count; i += sizeof(value)) {
        if (io_read_reg(io, offset + i, sizeof(value), &value,
                        failure) < 0) {
            return -1;
        }
        value = htole64(value);
        memcpy(bytes + i, &value, sizeof(value));
    }
    return 0;
}

int io_write_area(struct io *io, uint64_t offset, const uint8_t *bytes,
                  size_t count, struct failure *failure)
{
    uint64_t value;
    size_t i;

    for (i = 0; i < count; i += sizeof(value)) {
        memcpy(&value, bytes + i, sizeof(value));
        if (io_write_reg(io, offset + i, sizeof(value), le64toh(value),
                         failure) < 0) {
            return -1;
        }
    }
    return 0;
}

/* A device that is gone reads as all ones, which is not up either. */
int io_is_up(struct io *io, bool *up, struct failure *failure)
{
    uint64_t value = 0;

    if (io_read_reg(io, MEMEXPOSE_REG_ENABLE, 8, &value, failure) < 0) {
        return -1;
    }
    *up = value == 1;
    return 0;
}

int io_lock(struct io *io, struct failure *failure)
{
    return flock(io->regs.fd, LOCK_EX) == 0
        ? 0 : fail(failure, "cannot lock the registers: %s",
                   strerror(errno));
}

void io_unlock(struct io *io)
{
    flock(io->regs.fd, LOCK_UN);
}
