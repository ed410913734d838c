/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two devices, by the public interface alone: in one group, in two groups of
 * one process, and in two processes.  The near one is the test's; the far one
 * serves, sends interrupts back and changes its memory when it is told to.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memexpose/memexpose.h>

#include "harness.h"
#include "wire.h"

enum way { ONE_GROUP, TWO_GROUPS, TWO_PROCESSES, WAYS };

enum {
    RAM = 0x10000, RAM_SIZE = 0x8000,
    ROM = 0x20000, ROM_SIZE = 0x1000,
    REGS = 0x30000, REGS_SIZE = 0x1000,
    BELL = 0x31000, BELL_SIZE = 0x1000, /* writes: see ring_bell() */
    END = BELL + BELL_SIZE
};

enum { BELL_WITHDRAW = 1, BELL_ADD = 2, BELL_DISABLE = 3 };

#define MS INT64_C(1000000)

struct side {
    struct memexpose_group *group;
    struct memexpose_space *space;
    struct memexpose_device *device;
    uint8_t regs[REGS_SIZE];
    bool echoes;
    unsigned interrupts, maps, unmaps;
};

/* --- one side ------------------------------------------------------------ */

static int read_regs(void *opaque, uint64_t offset, unsigned bytes,
                     uint64_t *value)
{
    struct side *side = opaque;

    *value = mx_value_from_bytes(side->regs + offset, bytes);
    return MEMEXPOSE_RESULT_OK;
}

static int write_regs(void *opaque, uint64_t offset, unsigned bytes,
                      uint64_t value)
{
    struct side *side = opaque;
    uint8_t copy[8];

    mx_value_to_bytes(value, copy);
    memcpy(side->regs + offset, copy, bytes);
    return MEMEXPOSE_RESULT_OK;
}

static int ring_bell(void *opaque, uint64_t offset, unsigned bytes,
                     uint64_t value)
{
    struct side *side = opaque;
    int ret = 0;

    (void)offset;
    (void)bytes;
    switch (value) {
    case BELL_WITHDRAW:
        ret = memexpose_space_withdraw(side->space, side->group, RAM);
        break;
    case BELL_ADD:
        ret = memexpose_space_add_ram(side->space, RAM, RAM_SIZE, -1, 0, 0);
        break;
    case BELL_DISABLE:
        memexpose_device_disable(side->device);
        memexpose_device_enable(side->device, 0);
        break;
    }
    return ret < 0 ? MEMEXPOSE_RESULT_ERROR : MEMEXPOSE_RESULT_OK;
}

static const struct memexpose_mmio_ops regs_ops = {
    .size = sizeof(regs_ops), .read = read_regs, .write = write_regs,
};

static const struct memexpose_mmio_ops bell_ops = {
    .size = sizeof(bell_ops), .write = ring_bell,
};

static int op_read(void *opaque, uint64_t address, unsigned bytes,
                   uint64_t *value)
{
    return memexpose_space_read(((struct side *)opaque)->space, address, bytes,
                                value);
}

static int op_write(void *opaque, uint64_t address, unsigned bytes,
                    uint64_t value)
{
    return memexpose_space_write(((struct side *)opaque)->space, address,
                                 bytes, value);
}

static int op_resolve(void *opaque, uint64_t address,
                      struct memexpose_share *share)
{
    return memexpose_space_resolve(((struct side *)opaque)->space, address,
                                   share);
}

static int op_map(void *opaque, const struct memexpose_range *range)
{
    (void)range;
    ((struct side *)opaque)->maps++;
    return 0;
}

static int op_unmap(void *opaque, const struct memexpose_range *range)
{
    (void)range;
    ((struct side *)opaque)->unmaps++;
    return 0;
}

/* Send back what came, with the next number. */
static void op_interrupt(void *opaque, bool level, bool rise)
{
    struct memexpose_interrupt interrupt;
    struct side *side = opaque;

    (void)level;
    side->interrupts += rise;
    while (side->echoes &&
           memexpose_device_receive(side->device, &interrupt) == 0) {
        interrupt.type++;
        memexpose_device_send(side->device, &interrupt);
    }
}

static const struct memexpose_device_ops device_ops = {
    .size = sizeof(device_ops),
    .read = op_read,
    .write = op_write,
    .resolve = op_resolve,
    .map = op_map,
    .unmap = op_unmap,
    .interrupt = op_interrupt,
};

static void start_side(struct side *side, struct memexpose_group *group,
                       const char *name)
{
    struct memexpose_device_config config;

    memset(side, 0, sizeof(*side));
    side->group = group;
    side->space = memexpose_space_create();
    memexpose_space_add_ram(side->space, RAM, RAM_SIZE, -1, 0, 0);
    memexpose_space_add_ram(side->space, ROM, ROM_SIZE, -1, 0,
                            MEMEXPOSE_RAM_READONLY);
    memexpose_space_add_mmio(side->space, REGS, REGS_SIZE, &regs_ops, side);
    memexpose_space_add_mmio(side->space, BELL, BELL_SIZE, &bell_ops, side);
    memexpose_device_config_init(&config);
    harness_stretch_deadlines(&config);
    config.name = name;
    config.retry = 20 * MS;
    memexpose_space_span(side->space, &config.span_start, &config.span_size);
    side->device = memexpose_device_create(group, &device_ops, side, &config);
    memexpose_device_set_space(side->device, side->space);
}

static void end_side(struct side *side)
{
    memexpose_device_destroy(side->device);
    memexpose_space_destroy(side->space);
}

/* --- both ---------------------------------------------------------------- */

struct duo {
    enum way way;
    bool near_connects;
    char mem[HARNESS_PATH], intr[HARNESS_PATH];
    struct side near, far;
    int ready[2], stop[2];
    pthread_t thread;
    pid_t pid;
};

static int open_links(const struct duo *duo, struct side *side, bool connects)
{
    int ret = connects ?
        memexpose_device_connect(side->device, duo->mem, duo->intr) :
        memexpose_device_listen(side->device, duo->mem, duo->intr);

    return ret;
}

static void start_far(struct duo *duo)
{
    start_side(&duo->far, duo->way == ONE_GROUP ? duo->near.group :
               memexpose_group_create(NULL, NULL), "far");
    duo->far.echoes = true;
    if (open_links(duo, &duo->far, !duo->near_connects) == 0) {
        memexpose_device_enable(duo->far.device, 0);
    }
}

static void serve(struct side *side, int stop)
{
    struct pollfd fds[32];
    int64_t deadline;

    for (;;) {
        size_t count = memexpose_group_poll(side->group, fds, 31, &deadline,
                                            NULL);

        fds[count] = (struct pollfd) { .fd = stop, .events = POLLIN };
        memexpose_wait(fds, count + 1, deadline);
        if (fds[count].revents) {
            return;
        }
        memexpose_group_process(side->group, fds, count);
    }
}

static void *run_far(void *opaque)
{
    struct duo *duo = opaque;

    start_far(duo);
    if (write(duo->ready[1], "", 1) != 1) {
        return NULL;
    }
    serve(&duo->far, duo->stop[0]);
    end_side(&duo->far);
    memexpose_group_destroy(duo->far.group);
    return NULL;
}

static void fork_far(struct duo *duo)
{
    duo->pid = fork();
    ck_assert_int_ge(duo->pid, 0);
    if (duo->pid == 0) {
        close(duo->stop[1]);
        run_far(duo);
        _exit(0);
    }
}

static void begin_far(struct duo *duo)
{
    char byte;

    if (duo->way == ONE_GROUP) {
        start_far(duo);
        return;
    }
    ck_assert_int_eq(pipe(duo->ready), 0);
    ck_assert_int_eq(pipe(duo->stop), 0);
    if (duo->way == TWO_GROUPS) {
        ck_assert_int_eq(pthread_create(&duo->thread, NULL, run_far, duo), 0);
    } else {
        fork_far(duo);
    }
    ck_assert_int_eq(read(duo->ready[0], &byte, 1), 1);
}

static void end_far(struct duo *duo)
{
    int status;

    if (duo->way == ONE_GROUP) {
        end_side(&duo->far);
        return;
    }
    close(duo->stop[1]);
    if (duo->way == TWO_GROUPS) {
        pthread_join(duo->thread, NULL);
    } else {
        ck_assert_int_eq(waitpid(duo->pid, &status, 0), duo->pid);
        ck_assert_int_eq(status, 0);
    }
    close(duo->stop[0]);
    close(duo->ready[0]);
    close(duo->ready[1]);
}

/* @i: the way, and in its lowest bit who connects. */
static void begin_duo(struct duo *duo, int i)
{
    memset(duo, 0, sizeof(*duo));
    duo->way = (enum way)(i / 2);
    duo->near_connects = i % 2;
    harness_path(duo->mem, "mem");
    harness_path(duo->intr, "intr");
    if (duo->way == TWO_PROCESSES) {
        begin_far(duo);         /* before this one has anything of its own */
    }
    start_side(&duo->near, memexpose_group_create(NULL, NULL), "near");
    if (duo->way != TWO_PROCESSES) {
        begin_far(duo);
    }
    ck_assert_int_eq(open_links(duo, &duo->near, duo->near_connects), 0);
    ck_assert_int_eq(memexpose_device_enable(
        duo->near.device, memexpose_group_now(duo->near.group) +
        harness_milliseconds(5000) * MS), 0);
}

static void end_duo(struct duo *duo)
{
    if (duo->way == ONE_GROUP) {
        end_far(duo);
    }
    end_side(&duo->near);
    ck_assert_int_eq(memexpose_group_destroy(duo->near.group), 0);
    if (duo->way != ONE_GROUP) {
        end_far(duo);
    }
}

static struct memexpose_stats stats_of(const struct side *side)
{
    struct memexpose_stats stats;

    memexpose_device_stats(side->device, &stats, sizeof(stats));
    return stats;
}

static uint64_t read_ok(struct duo *duo, uint64_t address, unsigned bytes)
{
    uint64_t value;

    ck_assert_int_eq(memexpose_read(duo->near.device, address, bytes, &value),
                     0);
    return value;
}

static void write_ok(struct duo *duo, uint64_t address, unsigned bytes,
                     uint64_t value)
{
    ck_assert_int_eq(memexpose_write(duo->near.device, address, bytes, value),
                     0);
}

/* --- memory -------------------------------------------------------------- */

START_TEST(reads_and_writes)
{
    struct memexpose_range ranges[4];
    struct duo duo;

    begin_duo(&duo, _i);
    write_ok(&duo, RAM + 8, 8, 0x1122334455667788);
    ck_assert_uint_eq(read_ok(&duo, RAM + 8, 8), 0x1122334455667788);
    ck_assert_uint_eq(read_ok(&duo, RAM + 9, 4), 0x44556677);
    ck_assert_uint_eq(read_ok(&duo, RAM + 15, 1), 0x11);
    /* The first went over the link, the others directly. */
    ck_assert_uint_eq(stats_of(&duo.near).requests_sent, 1);
    ck_assert_uint_eq(stats_of(&duo.near).shares_received, 1);
    ck_assert_uint_eq(stats_of(&duo.near).mapped_bytes, RAM_SIZE);
    ck_assert_uint_eq(duo.near.maps, 1);

    write_ok(&duo, REGS + 4, 4, 0xcafe);
    ck_assert_uint_eq(read_ok(&duo, REGS + 4, 2), 0xcafe);
    ck_assert_uint_eq(read_ok(&duo, ROM, 8), 0);
    ck_assert_uint_eq(read_ok(&duo, ROM, 8), 0);
    ck_assert_int_eq(memexpose_write(duo.near.device, ROM, 1, 1),
                     MEMEXPOSE_RESULT_DENIED);
    ck_assert_uint_eq(stats_of(&duo.near).requests_sent, 5);
    ck_assert_uint_eq(memexpose_device_ranges(duo.near.device, ranges, 4), 2);
    ck_assert_uint_eq(ranges[0].start, RAM);
    ck_assert(!ranges[0].readonly);
    ck_assert_uint_eq(ranges[1].start, ROM);
    ck_assert(ranges[1].readonly);
    ck_assert_uint_eq(memexpose_device_ranges(duo.near.device, ranges, 1), 2);
    end_duo(&duo);
}
END_TEST

START_TEST(finds_nothing_between)
{
    struct duo duo;
    uint64_t value;

    begin_duo(&duo, _i);
    ck_assert_int_eq(memexpose_read(duo.near.device, 0, 8, &value),
                     MEMEXPOSE_RESULT_DECODE);
    ck_assert_uint_eq(value, UINT64_MAX);
    ck_assert_int_eq(memexpose_write(duo.near.device, RAM + RAM_SIZE, 8, 0),
                     MEMEXPOSE_RESULT_DECODE);
    /* What the peer says of its span is the window's end. */
    ck_assert_int_eq(memexpose_read(duo.near.device, END, 1, &value),
                     -ERANGE);
    ck_assert_int_eq(memexpose_read(duo.near.device, END - 1, 2, &value),
                     -ERANGE);
    ck_assert_int_eq(memexpose_read(duo.near.device, UINT64_MAX, 8, &value),
                     -ERANGE);
    end_duo(&duo);
}
END_TEST

START_TEST(transfers_blocks)
{
    static uint8_t out[RAM_SIZE + 0x100], in[RAM_SIZE + 0x100];
    struct duo duo;
    size_t done;

    begin_duo(&duo, _i);
    for (size_t i = 0; i < sizeof(out); i++) {
        out[i] = (uint8_t)(i * 7 + i / 256);
    }
    ck_assert_int_eq(memexpose_write_block(duo.near.device, RAM + 3, out,
                                           RAM_SIZE - 5, &done), 0);
    ck_assert_uint_eq(done, RAM_SIZE - 5);
    ck_assert_int_eq(memexpose_read_block(duo.near.device, RAM + 3, in,
                                          RAM_SIZE - 5, &done), 0);
    ck_assert_mem_eq(in, out, RAM_SIZE - 5);
    /* Registers, at any alignment. */
    ck_assert_int_eq(memexpose_write_block(duo.near.device, REGS + 5, out, 30,
                                           NULL), 0);
    ck_assert_int_eq(memexpose_read_block(duo.near.device, REGS + 6, in, 29,
                                          NULL), 0);
    ck_assert_mem_eq(in, out + 1, 29);
    /* Up to where it ends. */
    ck_assert_int_eq(memexpose_read_block(duo.near.device, RAM + 5, in,
                                          RAM_SIZE, &done),
                     MEMEXPOSE_RESULT_DECODE);
    ck_assert_uint_eq(done, RAM_SIZE - 5);
    ck_assert_int_eq(memexpose_read_block(duo.near.device, END, in, 1, &done),
                     -ERANGE);
    ck_assert_int_eq(memexpose_read_block(duo.near.device, UINT64_MAX, in, 2,
                                          &done), -ERANGE);
    ck_assert_uint_eq(done, 0);
    ck_assert_int_eq(memexpose_read_block(duo.near.device, RAM, in, 0, &done),
                     0);
    end_duo(&duo);
}
END_TEST

/* The write that withdraws is answered after this side has let go. */
START_TEST(follows_changes)
{
    struct duo duo;
    uint64_t value;

    begin_duo(&duo, _i);
    for (unsigned i = 1; i <= 20; i++) {
        write_ok(&duo, RAM, 8, i);
        ck_assert_uint_eq(read_ok(&duo, RAM, 8), i);
        ck_assert_uint_eq(memexpose_device_ranges(duo.near.device, NULL, 0),
                          1);
        write_ok(&duo, BELL, 4, BELL_WITHDRAW);
        ck_assert_uint_eq(duo.near.unmaps, i);
        ck_assert_uint_eq(memexpose_device_ranges(duo.near.device, NULL, 0),
                          0);
        ck_assert_int_eq(memexpose_read(duo.near.device, RAM, 8, &value),
                         MEMEXPOSE_RESULT_DECODE);
        write_ok(&duo, BELL, 4, BELL_ADD);
        ck_assert_uint_eq(read_ok(&duo, RAM, 8), 0);
    }
    ck_assert_uint_eq(stats_of(&duo.near).invalidations_received, 20);
    end_duo(&duo);
}
END_TEST

/* --- interrupts ---------------------------------------------------------- */

static bool something_came(void *opaque)
{
    struct duo *duo = opaque;

    memexpose_group_process(duo->near.group, NULL, 0);
    return duo->near.interrupts > 0;
}

START_TEST(interrupts_there_and_back)
{
    struct memexpose_interrupt interrupt = { .data = { 1, 2, 3 } }, back;
    struct duo duo;

    begin_duo(&duo, _i);
    for (unsigned i = 0; i < 50; i++) {
        duo.near.interrupts = 0;
        interrupt.type = 2 * i;
        interrupt.data[127] = (uint8_t)i;
        ck_assert_int_eq(memexpose_device_send(duo.near.device, &interrupt),
                         0);
        harness_wait(something_came, &duo, 5000);
        ck_assert_int_eq(memexpose_device_receive(duo.near.device, &back), 0);
        ck_assert_uint_eq(back.type, 2 * i + 1);
        ck_assert_mem_eq(back.data, interrupt.data, sizeof(back.data));
    }
    ck_assert_uint_eq(stats_of(&duo.near).interrupts_sent, 50);
    ck_assert_uint_eq(stats_of(&duo.near).interrupts_received, 50);
    ck_assert_uint_eq(stats_of(&duo.near).interrupts_dropped, 0);
    end_duo(&duo);
}
END_TEST

/* --- links --------------------------------------------------------------- */

START_TEST(knows_its_peer)
{
    char name[MEMEXPOSE_NAME_SIZE];
    struct duo duo;

    begin_duo(&duo, _i);
    read_ok(&duo, REGS, 1);
    memexpose_device_peer_name(duo.near.device, name);
    ck_assert_str_eq(name, "far");
    ck_assert_uint_eq(memexpose_device_reg_read(duo.near.device, 0x018, 8),
                      RAM);
    ck_assert_uint_eq(memexpose_device_reg_read(duo.near.device, 0x020, 8),
                      END - RAM);
    ck_assert_uint_eq(memexpose_device_link_state(duo.near.device),
                      UINT64_C(1) << 32 | 7);
    end_duo(&duo);
}
END_TEST

static int enable_near(struct duo *duo)
{
    return memexpose_device_enable(duo->near.device,
                                   memexpose_group_now(duo->near.group) +
                                   harness_milliseconds(5000) * MS);
}

/* Disabled and enabled here, and there: each time they meet again. */
START_TEST(meets_again)
{
    struct duo duo;
    uint64_t value;

    begin_duo(&duo, _i);
    for (unsigned i = 0; i < 3; i++) {
        write_ok(&duo, RAM, 8, 5 + i);
        memexpose_device_disable(duo.near.device);
        ck_assert_int_eq(memexpose_read(duo.near.device, RAM, 8, &value),
                         -ENOTCONN);
        ck_assert_uint_eq(memexpose_device_ranges(duo.near.device, NULL, 0),
                          0);
        ck_assert_int_eq(enable_near(&duo), 0);
        ck_assert_uint_eq(read_ok(&duo, RAM, 8), 5 + i);
        memexpose_device_reset(duo.near.device);
        ck_assert_int_eq(enable_near(&duo), 0);
        ck_assert_uint_eq(read_ok(&duo, RAM, 8), 5 + i);
        ck_assert_int_lt(memexpose_write(duo.near.device, BELL, 4,
                                         BELL_DISABLE), 0);
        ck_assert_int_eq(enable_near(&duo), 0);
        ck_assert_uint_eq(read_ok(&duo, RAM, 8), 5 + i);
    }
    end_duo(&duo);
}
END_TEST

/* --- main ---------------------------------------------------------------- */

int main(void)
{
    Suite *suite = suite_create("device");
    TCase *tcase = harness_tcase("two devices");

    tcase_add_loop_test(tcase, reads_and_writes, 0, 2 * WAYS);
    tcase_add_loop_test(tcase, finds_nothing_between, 0, 2 * WAYS);
    tcase_add_loop_test(tcase, transfers_blocks, 0, 2 * WAYS);
    tcase_add_loop_test(tcase, follows_changes, 0, 2 * WAYS);
    tcase_add_loop_test(tcase, interrupts_there_and_back, 0, 2 * WAYS);
    tcase_add_loop_test(tcase, knows_its_peer, 0, 2 * WAYS);
    tcase_add_loop_test(tcase, meets_again, 0, 2 * WAYS);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
