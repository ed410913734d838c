/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * intr: interrupts from and to the peer (section 5).
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <memexpose/protocol.h>

#include "../sim/hexdump.h"
#include "../sim/numbers.h"
#include "clock.h"
#include "guest.h"
#include "uio.h"

struct interrupt {
    uint64_t type;
    uint8_t data[MEMEXPOSE_INTERRUPT_DATA];
};

/* ---- send --------------------------------------------------------------- */

static int transmit(struct guest *guest, const struct interrupt *interrupt)
{
    struct io *io = &guest->io;
    struct failure *failure = &guest->failure;
    int ret = io_lock(io, failure);

    if (ret < 0) {
        return ret;
    }
    if (io_write_reg(io, MEMEXPOSE_REG_TX_TYPE, 8, interrupt->type,
                     failure) < 0 ||
        io_write_area(io, MEMEXPOSE_REG_TX_DATA, interrupt->data,
                      sizeof(interrupt->data), failure) < 0 ||
        io_write_reg(io, MEMEXPOSE_REG_TX, 8, 1, failure) < 0) {
        ret = -1;
    }
    io_unlock(io);
    return ret;
}

static int send_interrupt(struct guest *guest, const struct command *command,
                          int count, char **word)
{
    struct interrupt interrupt = { 0 };
    bool up;

    if (number_value(&guest->failure, word[0], 8, &interrupt.type) < 0 ||
        (count > 1 && number_hex(&guest->failure, word[1], interrupt.data,
                                 sizeof(interrupt.data)) < 0)) {
        return command_refused(guest, command);
    }
    if (guest_open(guest) < 0 ||
        io_is_up(&guest->io, &up, &guest->failure) < 0) {
        return command_failed(guest, command);
    }
    if (!up) {
        fail(&guest->failure, "the device is disabled or its peer not there, "
             "expected 'enable' before");
        return command_failed(guest, command);
    }
    return transmit(guest, &interrupt) < 0 ? command_failed(guest, command)
                                           : DONE;
}

/* ---- recv --------------------------------------------------------------- */

struct reception {
    const char *timeout_word;   /* NULL: for ever */
    int64_t timeout;            /* nanoseconds */
    bool by_irq;                /* else by polling */
};

/* Take one out of the queue.  Returns 1, 0 if it is empty, -1. */
static int pop(struct guest *guest, struct interrupt *interrupt)
{
    struct io *io = &guest->io;
    struct failure *failure = &guest->failure;
    uint64_t any = 0;
    int ret = io_lock(io, failure);

    if (ret < 0) {
        return ret;
    }
    ret = io_read_reg(io, MEMEXPOSE_REG_RX, 8, &any, failure);
    if (ret == 0 && any == 1 &&
        (io_read_reg(io, MEMEXPOSE_REG_RX_TYPE, 8, &interrupt->type,
                     failure) < 0 ||
         io_read_area(io, MEMEXPOSE_REG_RX_DATA, interrupt->data,
                      sizeof(interrupt->data), failure) < 0)) {
        ret = -1;
    }
    io_unlock(io);
    return ret < 0 ? ret : any == 1;
}

/* As pop(), but wait. */
static int poll_queue(struct guest *guest, struct interrupt *interrupt,
                      int64_t deadline)
{
    int ret;

    while ((ret = pop(guest, interrupt)) == 0 && clock_tick(deadline)) {
    }
    return ret;
}

/*
 * The line stays up while the queue has something, so one that was there
 * before comes as soon as it may.
 */
static int await_interrupts(struct guest *guest, int fd,
                            struct interrupt *interrupt, int64_t deadline)
{
    bool came = true;
    int ret = 0;

    while (ret == 0 && came) {
        if (uio_arm(guest->io.device, fd, &guest->failure) < 0 ||
            uio_wait(fd, deadline, &came, &guest->failure) < 0) {
            return -1;
        }
        ret = came ? pop(guest, interrupt) : 0;
    }
    return ret;
}

static int receive(struct guest *guest, const struct reception *reception,
                   struct interrupt *interrupt)
{
    int64_t deadline = CLOCK_FOREVER;
    int fd, ret;

    if (reception->timeout_word) {
        deadline = clock_deadline(reception->timeout);
    }
    if (!reception->by_irq) {
        return poll_queue(guest, interrupt, deadline);
    }
    if (uio_open(guest->io.device, &fd, &guest->failure) < 0) {
        return -1;
    }
    ret = await_interrupts(guest, fd, interrupt, deadline);
    close(fd);
    return ret;
}

/* "[TIMEOUT_MS] [--poll|--irq]", in any order */
static int parse_reception(struct guest *guest, struct reception *reception,
                           int count, char **word)
{
    int i;

    for (i = 0; i < count; i++) {
        if (strcmp(word[i], "--irq") == 0 ||
            strcmp(word[i], "--poll") == 0) {
            reception->by_irq = strcmp(word[i], "--irq") == 0;
        } else if (reception->timeout_word) {
            return fail(&guest->failure, "'%s': one word too many, expected "
                        "'recv [TIMEOUT_MS] [--poll|--irq]'", word[i]);
        } else if (number_milliseconds(&guest->failure, "TIMEOUT_MS",
                                       word[i], 0,
                                       &reception->timeout) < 0) {
            return -1;
        } else {
            reception->timeout_word = word[i];
        }
    }
    return 0;
}

static int receive_interrupt(struct guest *guest,
                             const struct command *command, int count,
                             char **word)
{
    struct reception reception = { NULL, 0, false };
    struct interrupt interrupt;
    char digits[2 * sizeof(interrupt.data) + 1];
    int ret;

    if (parse_reception(guest, &reception, count, word) < 0) {
        return command_refused(guest, command);
    }
    if (guest_open(guest) < 0) {
        return command_failed(guest, command);
    }
    ret = receive(guest, &reception, &interrupt);
    if (ret == 0) {
        ret = fail(&guest->failure, "no interrupt came within %s ms",
                   reception.timeout_word);
    }
    if (ret < 0) {
        return command_failed(guest, command);
    }
    hexdump_digits(interrupt.data, sizeof(interrupt.data), digits);
    printf("0x%016" PRIx64 " %s\n", interrupt.type, digits);
    return DONE;
}

COMMAND(intr)
{
    if (strcmp(word[1], "recv") == 0) {
        return receive_interrupt(guest, command, count - 2, word + 2);
    }
    if (strcmp(word[1], "send") != 0) {
        fail(&guest->failure, "'%s': expected 'send' or 'recv'", word[1]);
        return command_refused(guest, command);
    }
    if (count < 3 || count > 4) {
        fail(&guest->failure, "'%s': expected 'send TYPE [HEXDATA]'",
             count < 3 ? word[1] : word[4]);
        return command_refused(guest, command);
    }
    return send_interrupt(guest, command, count - 2, word + 2);
}
