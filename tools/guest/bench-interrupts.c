/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench: how long interrupts take (section 5), there and back: the time of one
 * machine is not that of another.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <memexpose/protocol.h>

#include "bench.h"
#include "clock.h"
#include "uio.h"

/* Types of interrupts; the first bytes of their data are a number. */
#define ASKED    UINT64_C(0x6d782d61736b6564)
#define ANSWERED UINT64_C(0x6d782d7265706c79)
#define FINISHED UINT64_C(0x6d782d646f6e6521)

enum {
    WARM_UP = 50,               /* rounds that do not count */
    ROUNDS = 1000,
    LOOKS = 64,                 /* at the queue, for one at the clock */
    PATIENCE = 10000            /* milliseconds, for an answer */
};

/* One end of it. */
struct bell {
    struct guest *guest;
    int fd;                     /* of the interrupt; -1: look at the queue */
    uint64_t type, number;      /* what came last */
};

static int open_bell(struct bell *bell, struct guest *guest, bool by_irq)
{
    *bell = (struct bell){ .guest = guest, .fd = -1 };
    if (io_lock(&guest->io, &guest->failure) < 0) {
        return -1;
    }
    return by_irq ? uio_open(guest->io.device, &bell->fd, &guest->failure)
                  : 0;
}

static void close_bell(struct bell *bell)
{
    if (bell->fd >= 0) {
        close(bell->fd);
    }
    io_unlock(&bell->guest->io);
}

/* ---- One interrupt ------------------------------------------------------ */

static int ring(struct bell *bell, uint64_t type, uint64_t number)
{
    struct io *io = &bell->guest->io;
    struct failure *failure = &bell->guest->failure;

    return io_write_reg(io, MEMEXPOSE_REG_TX_TYPE, 8, type, failure) < 0 ||
        io_write_reg(io, MEMEXPOSE_REG_TX_DATA, 8, number, failure) < 0 ||
        io_write_reg(io, MEMEXPOSE_REG_TX, 8, 1, failure) < 0 ? -1 : 0;
}

/* Returns 1, 0 if there is none, -1. */
static int take(struct bell *bell)
{
    struct io *io = &bell->guest->io;
    struct failure *failure = &bell->guest->failure;
    uint64_t any = 0;

    if (io_read_reg(io, MEMEXPOSE_REG_RX, 8, &any, failure) < 0) {
        return -1;
    }
    if (any != 1) {
        return 0;
    }
    return io_read_reg(io, MEMEXPOSE_REG_RX_TYPE, 8, &bell->type,
                       failure) < 0 ||
        io_read_reg(io, MEMEXPOSE_REG_RX_DATA, 8, &bell->number,
                    failure) < 0 ? -1 : 1;
}

static int look_for_one(struct bell *bell, int64_t deadline)
{
    int looks, ret = 0;

    do {
        for (looks = 0; ret == 0 && looks < LOOKS; looks++) {
            ret = take(bell);
        }
    } while (ret == 0 && clock_left(deadline) != 0);
    return ret;
}

static int sleep_for_one(struct bell *bell, int64_t deadline)
{
    struct failure *failure = &bell->guest->failure;
    bool came = true;
    int ret = 0;

    while (ret == 0 && came) {
        if (uio_arm(bell->guest->io.device, bell->fd, failure) < 0 ||
            uio_wait(bell->fd, deadline, &came, failure) < 0) {
            return -1;
        }
        ret = came ? take(bell) : 0;
    }
    return ret;
}

/* The next one.  Returns as take(), 0 if the time is over. */
static int await_one(struct bell *bell, int64_t deadline)
{
    return bell->fd < 0 ? look_for_one(bell, deadline)
                        : sleep_for_one(bell, deadline);
}

static int check_link(struct guest *guest)
{
    bool up;

    if (io_is_up(&guest->io, &up, &guest->failure) < 0) {
        return -1;
    }
    return up ? 0 : fail(&guest->failure, "the device is disabled or its peer "
                         "not there, expected 'enable' before");
}

/* ---- The end that asks -------------------------------------------------- */

/* What others have sent before does not count. */
static int ask_once(struct bell *bell, uint64_t number)
{
    int64_t deadline = clock_deadline((int64_t)PATIENCE * 1000000);
    int ret = ring(bell, ASKED, number);

    while (ret == 0) {
        ret = await_one(bell, deadline);
        if (ret == 0) {
            return check_link(bell->guest) < 0 ? -1 :
                fail(&bell->guest->failure, "no answer came within %d ms, "
                     "expected 'bench --answer' in the other machine",
                     PATIENCE);
        }
        if (ret == 1 && bell->type == ANSWERED && bell->number == number) {
            return 0;
        }
        ret = ret < 0 ? ret : 0;
    }
    return ret;
}

static int ask_again(struct bell *bell, int64_t *samples)
{
    int64_t before;
    int i, ret = 0;

    for (i = -WARM_UP; ret == 0 && i < ROUNDS; i++) {
        before = clock_now();
        ret = ask_once(bell, (uint64_t)(i + WARM_UP + 1));
        if (i >= 0) {
            samples[i] = clock_now() - before;
        }
    }
    return ret;
}

int bench_ask(struct guest *guest, bool by_irq)
{
    int64_t *samples = calloc(ROUNDS, sizeof(*samples));
    struct bell bell;
    int ret;

    if (!samples) {
        return fail(&guest->failure, "no memory");
    }
    ret = check_link(guest) < 0 ? -1 : open_bell(&bell, guest, by_irq);
    if (ret == 0) {
        ret = ask_again(&bell, samples);
        if (ret == 0) {
            ret = ring(&bell, FINISHED, 0);
        }
        close_bell(&bell);
    }
    if (ret == 0) {
        bench_print("interrupt_round_trip", samples, ROUNDS);
    }
    free(samples);
    return ret;
}

/* ---- The end that answers ----------------------------------------------- */

static int answer_all(struct bell *bell, int64_t timeout)
{
    int64_t deadline = timeout < 0 ? CLOCK_FOREVER : clock_deadline(timeout);
    int ret;

    for (;;) {
        ret = await_one(bell, deadline);
        if (ret < 0 || (ret == 1 && bell->type == FINISHED)) {
            return ret < 0 ? ret : 0;
        }
        if (ret == 0) {
            return fail(&bell->guest->failure, "nobody has asked in time, "
                        "expected 'bench --interrupts' in the other machine");
        }
        if (bell->type == ASKED) {
            if (ring(bell, ANSWERED, bell->number) < 0) {
                return -1;
            }
            deadline = clock_deadline((int64_t)PATIENCE * 1000000);
        }
    }
}

int bench_answer(struct guest *guest, bool by_irq, int64_t timeout)
{
    struct bell bell;
    int ret = check_link(guest) < 0 ? -1 : open_bell(&bell, guest, by_irq);

    if (ret == 0) {
        ret = answer_all(&bell, timeout);
        close_bell(&bell);
    }
    return ret;
}
