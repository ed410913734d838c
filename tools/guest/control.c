/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands about the device: list, enable, disable, status, reg.
 */
#include <inttypes.h>
#include <stdio.h>

#include <memexpose/protocol.h>

#include "../sim/numbers.h"
#include "clock.h"
#include "guest.h"

/* ---- list --------------------------------------------------------------- */

static const char *link_word(uint64_t state)
{
    const uint64_t both = MEMEXPOSE_STATE_MEM_UP | MEMEXPOSE_STATE_INTR_UP;

    return (state & both) == both ? "up" : (state & both) ? "half" : "down";
}

/* A device that cannot be mapped is there all the same. */
static const char *look_at_link(struct guest *guest,
                                const struct device *device)
{
    const char *word = "unknown";
    uint64_t state;

    if (io_open(&guest->io, device, &guest->failure) == 0 &&
        io_read_reg(&guest->io, MEMEXPOSE_REG_LINK, 8, &state,
                    &guest->failure) == 0) {
        word = link_word(state);
    } else {
        fprintf(stderr, PROGRAM ": list: %s: %s\n",
                device_title(device).text, guest->failure.text);
    }
    io_close(&guest->io);
    return word;
}

COMMAND(list)
{
    size_t i;

    (void)count;
    (void)word;
    if (devices_find(&guest->devices, &guest->failure) < 0 ||
        (guest->devices.count == 0 &&
         !devices_select(&guest->devices, NULL, &guest->failure))) {
        return command_failed(guest, command);
    }
    for (i = 0; i < guest->devices.count; i++) {
        const struct device *device = &guest->devices.device[i];
        const char *link = look_at_link(guest, device);
        char driver[NAME_MAX + 1];

        device_driver(device, driver, sizeof(driver));
        printf("%zu %s registers 0x%" PRIx64 " window 0x%" PRIx64 " 0x%"
               PRIx64 " link %s driver %s\n", i, device_title(device).text,
               device->regs.start, device->window.start, device->window.size,
               link, driver);
    }
    return DONE;
}

/* ---- enable, disable, status -------------------------------------------- */

static int enable(struct guest *guest, const char *timeout_word,
                  int64_t timeout)
{
    int64_t deadline = clock_deadline(timeout);
    bool up = false;

    if (guest_open(guest) < 0 ||
        io_write_reg(&guest->io, MEMEXPOSE_REG_ENABLE, 8, 1,
                     &guest->failure) < 0) {
        return -1;
    }
    do {
        if (io_is_up(&guest->io, &up, &guest->failure) < 0) {
            return -1;
        }
    } while (!up && clock_tick(deadline));
    return up ? 0 : fail(&guest->failure, "no peer came within %s ms; the "
                         "device stays enabled", timeout_word);
}

COMMAND(enable)
{
    const char *timeout_word = count > 1 ? word[1] : "10000";
    int64_t timeout;

    if (number_milliseconds(&guest->failure, "TIMEOUT_MS", timeout_word, 0,
                            &timeout) < 0) {
        return command_refused(guest, command);
    }
    return enable(guest, timeout_word, timeout) < 0
        ? command_failed(guest, command) : DONE;
}

COMMAND(disable)
{
    (void)count;
    (void)word;
    if (guest_open(guest) < 0 ||
        io_write_reg(&guest->io, MEMEXPOSE_REG_ENABLE, 8, 0,
                     &guest->failure) < 0) {
        return command_failed(guest, command);
    }
    return DONE;
}

COMMAND(status)
{
    struct io *io = &guest->io;
    struct failure *failure = &guest->failure;
    uint64_t state, start, size;
    bool up;

    (void)count;
    (void)word;
    if (guest_open(guest) < 0 || io_is_up(io, &up, failure) < 0 ||
        io_read_reg(io, MEMEXPOSE_REG_LINK, 8, &state, failure) < 0 ||
        io_read_reg(io, MEMEXPOSE_REG_SPAN_START, 8, &start, failure) < 0 ||
        io_read_reg(io, MEMEXPOSE_REG_SPAN_SIZE, 8, &size, failure) < 0) {
        return command_failed(guest, command);
    }
    printf("ready %s\n", up ? "yes" : "no");
    printf("memory_link %s\n",
           state & MEMEXPOSE_STATE_MEM_UP ? "up" : "down");
    printf("interrupt_link %s\n",
           state & MEMEXPOSE_STATE_INTR_UP ? "up" : "down");
    printf("hello %s\n",
           state & MEMEXPOSE_STATE_SETTLED ? "settled" : "open");
    printf("connects %" PRIu64 "\n", state >> 32);
    printf("span 0x%" PRIx64 " 0x%" PRIx64 "\n", start, size);
    return DONE;
}

/* ---- reg ---------------------------------------------------------------- */

static int parse_register(struct failure *failure, char **word,
                          uint64_t *offset, unsigned *bytes)
{
    if (number_address(failure, "OFFSET", word[1], offset) < 0 ||
        number_access(failure, word[2], bytes) < 0) {
        return -1;
    }
    if (*offset > MEMEXPOSE_REGS_SIZE - *bytes) {
        return fail(failure, "'%s': outside the registers, expected an "
                    "OFFSET of at most 0x%x", word[1],
                    MEMEXPOSE_REGS_SIZE - *bytes);
    }
    return *offset % *bytes == 0
        ? 0 : fail(failure, "'%s': not aligned, expected an OFFSET that is a "
                   "multiple of %u", word[1], *bytes);
}

COMMAND(reg)
{
    struct failure *failure = &guest->failure;
    uint64_t offset, value = 0;
    unsigned bytes;

    if (parse_register(failure, word, &offset, &bytes) < 0 ||
        (count > 3 && number_value(failure, word[3], bytes, &value) < 0)) {
        return command_refused(guest, command);
    }
    if (guest_open(guest) < 0 ||
        (count > 3
         ? io_write_reg(&guest->io, offset, bytes, value, failure)
         : io_read_reg(&guest->io, offset, bytes, &value, failure)) < 0) {
        return command_failed(guest, command);
    }
    if (count == 3) {
        printf("0x%0*" PRIx64 "\n", (int)(2 * bytes), value);
    }
    return DONE;
}
