/* SPDX-License-Identifier: BSD-3-Clause */
#include "target.h"

#include <inttypes.h>
#include <string.h>

#include <memexpose/protocol.h>

#include "fault.h"
#include "mmio.h"

static int read_connects(struct target *target, uint32_t *connects)
{
    uint64_t state;

    if (io_read_reg(&target->guest->io, MEMEXPOSE_REG_LINK, 8, &state,
                    &target->guest->failure) < 0) {
        return -1;
    }
    *connects = (uint32_t)(state >> 32);
    return 0;
}

int target_open(struct target *target, struct guest *guest, bool own)
{
    *target = (struct target){ .guest = guest, .own = own };
    target->physical.fd = -1;
    if (own) {
        target->region = &target->physical;
        return region_open_physical(&target->physical, &guest->failure);
    }
    if (guest_open(guest) < 0) {
        return -1;
    }
    target->region = &guest->io.window;
    if (target->region->fd < 0) {
        return fail(&guest->failure, "the window (BAR 1) has no address: is "
                    "there room for its size?");
    }
    return read_connects(target, &target->connects);
}

void target_close(struct target *target)
{
    region_close(&target->physical);
}

int target_holds(struct target *target, const char *word, uint64_t address,
                 uint64_t size)
{
    uint64_t room = target->region->size;

    if (size <= room && address <= room - size) {
        return 0;
    }
    return fail(&target->guest->failure, "'%s': passes the end of the %s, "
                "expected at most 0x%" PRIx64, word,
                target->own ? "physical addresses" : "window", room);
}

/*
 * Without a link x86 reads all ones and loses what it writes; so it does if
 * another peer came meanwhile.
 */
static int check_link(struct target *target)
{
    struct failure *failure = &target->guest->failure;
    uint32_t connects;
    bool up;

    if (target->own) {
        return 0;
    }
    if (io_is_up(&target->guest->io, &up, failure) < 0 ||
        read_connects(target, &connects) < 0) {
        return -1;
    }
    if (!up) {
        return fail(failure, "the device is disabled or its peer not there, "
                    "expected 'enable' before");
    }
    if (connects != target->connects) {
        return fail(failure, "the peer left meanwhile, and came again");
    }
    return 0;
}

static int access_failed(struct target *target, uint64_t address)
{
    struct failure *failure = &target->guest->failure;

    if (check_link(target) < 0) {
        return fail_prefix(failure, "bus error at 0x%" PRIx64, address);
    }
    return fail(failure, "bus error at 0x%" PRIx64 ": %s", address,
                target->own ? "nothing there"
                : "the peer has nothing there, or refused the access");
}

/* ---- Single accesses ---------------------------------------------------- */

struct access {
    volatile uint8_t *at;
    unsigned bytes;
    bool write;
    volatile uint64_t value;
};

static void perform(void *arg)
{
    struct access *access = arg;

    if (access->write) {
        mmio_write(access->at, access->bytes, access->value);
    } else {
        access->value = mmio_read(access->at, access->bytes);
    }
}

static int access_target(struct target *target, uint64_t address,
                         struct access *access)
{
    struct slice slice;
    int ret;

    if (region_map(target->region, address, access->bytes, &slice,
                   &target->guest->failure) < 0) {
        return -1;
    }
    access->at = slice.at;
    ret = fault_caught(perform, access) ? access_failed(target, address)
                                        : check_link(target);
    slice_unmap(&slice);
    return ret;
}

int target_read(struct target *target, uint64_t address, unsigned bytes,
                uint64_t *value)
{
    struct access access = { NULL, bytes, false, 0 };
    int ret = access_target(target, address, &access);

    *value = access.value;
    return ret;
}

int target_write(struct target *target, uint64_t address, unsigned bytes,
                 uint64_t value)
{
    struct access access = { NULL, bytes, true, value };

    return access_target(target, address, &access);
}

/* ---- Many bytes --------------------------------------------------------- */

struct copy {
    volatile uint8_t *at;
    uint8_t *into;              /* read, if this is not NULL */
    const uint8_t *from;        /* else write */
    size_t count;
    volatile size_t done;
};

/* How many bytes the next access has. */
static size_t step(const struct copy *copy, size_t done)
{
    return ((uintptr_t)copy->at + done) % sizeof(uint64_t) == 0 &&
           copy->count - done >= sizeof(uint64_t) ? sizeof(uint64_t) : 1;
}

static void read_all(void *arg)
{
    struct copy *copy = arg;
    size_t done, piece;
    uint64_t value;

    for (done = 0; done < copy->count; copy->done = done += piece) {
        piece = step(copy, done);
        if (piece == 1) {
            copy->into[done] = mmio_read_raw1(copy->at + done);
        } else {
            value = mmio_read_raw8(copy->at + done);
            memcpy(copy->into + done, &value, sizeof(value));
        }
    }
}

static void write_all(void *arg)
{
    struct copy *copy = arg;
    size_t done, piece;
    uint64_t value;

    for (done = 0; done < copy->count; copy->done = done += piece) {
        piece = step(copy, done);
        if (piece == 1) {
            mmio_write_raw1(copy->at + done, copy->from[done]);
        } else {
            memcpy(&value, copy->from + done, sizeof(value));
            mmio_write_raw8(copy->at + done, value);
        }
    }
}

static int run_copy(struct target *target, uint64_t address,
                    struct copy *copy)
{
    struct slice slice;
    int ret;

    if (region_map(target->region, address, copy->count, &slice,
                   &target->guest->failure) < 0) {
        return -1;
    }
    copy->at = slice.at;
    ret = fault_caught(copy->into ? read_all : write_all, copy)
        ? access_failed(target, address + copy->done) : check_link(target);
    slice_unmap(&slice);
    return ret;
}

int target_copy_from(struct target *target, uint64_t address,
                     uint8_t *bytes, size_t count)
{
    struct copy copy = { .into = bytes, .count = count };

    return run_copy(target, address, &copy);
}

int target_copy_to(struct target *target, uint64_t address,
                   const uint8_t *bytes, size_t count)
{
    struct copy copy = { .from = bytes, .count = count };

    return run_copy(target, address, &copy);
}
