/* SPDX-License-Identifier: BSD-3-Clause */
#include "rig.h"

#include <string.h>
#include <unistd.h>

#include "harness.h"

/* --- callbacks ----------------------------------------------------------- */

static int op_read(void *opaque, uint64_t address, unsigned bytes,
                   uint64_t *value)
{
    struct rig *rig = opaque;

    rig->reads++;
    if (rig->on_read) {
        return rig->on_read(rig, address, bytes, value);
    }
    return memexpose_space_read(rig->space, address, bytes, value);
}

static int op_write(void *opaque, uint64_t address, unsigned bytes,
                    uint64_t value)
{
    struct rig *rig = opaque;

    rig->writes++;
    if (rig->on_write) {
        return rig->on_write(rig, address, bytes, value);
    }
    return memexpose_space_write(rig->space, address, bytes, value);
}

static int op_resolve(void *opaque, uint64_t address,
                      struct memexpose_share *share)
{
    struct rig *rig = opaque;

    rig->resolves++;
    if (rig->on_resolve) {
        return rig->on_resolve(rig, address, share);
    }
    return memexpose_space_resolve(rig->space, address, share);
}

static int op_read_block(void *opaque, uint64_t address, void *buffer,
                         size_t bytes, size_t *done)
{
    struct rig *rig = opaque;

    rig->block_reads++;
    if (rig->on_read_block) {
        return rig->on_read_block(rig, address, buffer, bytes, done);
    }
    return memexpose_space_read_block(rig->space, address, buffer, bytes,
                                      done);
}

static int op_write_block(void *opaque, uint64_t address, const void *buffer,
                          size_t bytes, size_t *done)
{
    struct rig *rig = opaque;

    rig->block_writes++;
    if (rig->on_write_block) {
        return rig->on_write_block(rig, address, buffer, bytes, done);
    }
    return memexpose_space_write_block(rig->space, address, buffer, bytes,
                                       done);
}

static int op_next_share(void *opaque, uint64_t address,
                         struct memexpose_share *share)
{
    struct rig *rig = opaque;

    rig->asked_shares++;
    if (rig->on_next_share) {
        return rig->on_next_share(rig, address, share);
    }
    return memexpose_space_next_share(rig->space, address, share);
}

static void op_update(void *opaque, bool begin)
{
    struct rig *rig = opaque;

    ck_assert(rig->updating != begin);
    rig->updating = begin;
    rig->updates += begin;
    if (rig->on_update) {
        rig->on_update(rig, begin);
    }
}

static void op_trace(void *opaque, enum memexpose_link link, bool sent,
                     const void *message, size_t bytes)
{
    struct rig *rig = opaque;

    if (rig->on_trace && link == MEMEXPOSE_LINK_MEM) {
        rig->on_trace(rig, sent, message, bytes);
    }
}

static int op_map(void *opaque, const struct memexpose_range *range)
{
    struct rig *rig = opaque;

    rig->mapped[rig->maps % RIG_KEPT] = *range;
    rig->maps++;                /* another thread may await it */
    return rig->on_map ? rig->on_map(rig, range) : 0;
}

static int op_unmap(void *opaque, const struct memexpose_range *range)
{
    struct rig *rig = opaque;

    rig->unmapped[rig->unmaps % RIG_KEPT] = *range;
    rig->unmaps++;
    return rig->on_unmap ? rig->on_unmap(rig, range) : 0;
}

static void op_interrupt(void *opaque, bool level, bool rise)
{
    struct rig *rig = opaque;

    rig->interrupts++;
    rig->rises += rise;
    rig->level = level;
    if (rig->on_interrupt) {
        rig->on_interrupt(rig, level, rise);
    }
}

static void op_link(void *opaque, uint64_t state)
{
    struct rig *rig = opaque;

    rig->state = state;
    if (rig->on_link) {
        rig->on_link(rig, state);
    }
}

static const struct memexpose_device_ops ops = {
    .size = sizeof(ops),
    .read = op_read,
    .write = op_write,
    .read_block = op_read_block,
    .write_block = op_write_block,
    .resolve = op_resolve,
    .next_share = op_next_share,
    .map = op_map,
    .unmap = op_unmap,
    .update = op_update,
    .trace = op_trace,
    .interrupt = op_interrupt,
    .link_changed = op_link,
};

static int mmio_read(void *opaque, uint64_t offset, unsigned bytes,
                     uint64_t *value)
{
    (void)opaque;
    (void)bytes;
    *value = offset;
    return MEMEXPOSE_RESULT_OK;
}

static int mmio_write(void *opaque, uint64_t offset, unsigned bytes,
                      uint64_t value)
{
    (void)opaque;
    (void)offset;
    (void)bytes;
    (void)value;
    return MEMEXPOSE_RESULT_OK;
}

static const struct memexpose_mmio_ops mmio = {
    .size = sizeof(mmio),
    .read = mmio_read,
    .write = mmio_write,
};

/* --- life ---------------------------------------------------------------- */

void rig_init(struct rig *rig, enum memexpose_role role)
{
    memset(rig, 0, sizeof(*rig));
    rig->peer.fd[PEER_MEM] = -1;
    rig->peer.fd[PEER_INTR] = -1;
    rig->peer.drive = rig_drive;
    rig->peer.opaque = rig;
    rig->ours = role == MEMEXPOSE_ROLE_CONNECT;
    memexpose_device_config_init(&rig->config);
    harness_stretch_deadlines(&rig->config);
    rig->config.role = role;
    rig->config.hello = MEMEXPOSE_HELLO_OFF;
    rig->config.name = "rig";
}

static void fill_space(struct memexpose_space *space)
{
    ck_assert_ptr_nonnull(space);
    ck_assert_int_eq(memexpose_space_add_ram(space, RIG_RAM, RIG_RAM_SIZE, -1,
                                             0, 0), 0);
    ck_assert_int_eq(memexpose_space_add_mmio(space, RIG_MMIO, RIG_MMIO_SIZE,
                                              &mmio, NULL), 0);
    ck_assert_int_eq(memexpose_space_add_window(space, RIG_WINDOW,
                                                RIG_WINDOW_SIZE), 0);
}

static void start_in(struct rig *rig, struct memexpose_group *group)
{
    struct memexpose_device_ops chosen = ops;

    if (!rig->blocks) {
        chosen.read_block = NULL;
        chosen.write_block = NULL;
    }
    rig->group = group;
    rig->space = memexpose_space_create();
    fill_space(rig->space);
    rig->device = memexpose_device_create(rig->group, &chosen, rig,
                                          &rig->config);
    ck_assert_ptr_nonnull(rig->device);
    memexpose_device_set_space(rig->device, rig->space);
}

void rig_start(struct rig *rig)
{
    struct memexpose_group *group = memexpose_group_create(NULL, NULL);

    ck_assert_ptr_nonnull(group);
    start_in(rig, group);
}

void rig_connect(struct rig *rig)
{
    int theirs[PEER_LINKS];

    peer_close(&rig->peer);
    peer_open(&rig->peer, theirs);
    ck_assert_int_eq(memexpose_device_attach(rig->device, MEMEXPOSE_LINK_MEM,
                                             theirs[PEER_MEM]), 0);
    ck_assert_int_eq(memexpose_device_attach(rig->device, MEMEXPOSE_LINK_INTR,
                                             theirs[PEER_INTR]), 0);
}

void rig_up(struct rig *rig, enum memexpose_role role)
{
    rig_init(rig, role);
    rig_start(rig);
    rig_connect(rig);
    ck_assert_int_eq(memexpose_device_enable(rig->device, 0), 0);
}

/* The peer connects, and has sub-priority 1. */
static void greet_listener(struct rig *rig, struct hello hello)
{
    struct bytes answer;
    char name[33];

    peer_send(&rig->peer, PEER_MEM, say_hello(&hello));
    answer = peer_take(&rig->peer, PEER_MEM, 86);
    parse_hello(&answer, &hello, name);
    ck_assert_uint_eq(hello.subpriority, 0);
}

/* It listens, and has 0. */
static void answer_connector(struct rig *rig, struct hello hello)
{
    struct bytes greeting = peer_take(&rig->peer, PEER_MEM, 86);
    uint64_t features = hello.features;
    char name[33];

    peer_expect(&rig->peer, PEER_INTR, greeting);
    parse_hello(&greeting, &hello, name);
    hello.features &= features;
    hello.subpriority = 0;
    hello.span_start = 0;
    hello.span_size = 0;
    peer_send(&rig->peer, PEER_MEM, say_hello_ret(&hello));
}

void rig_greet(struct rig *rig, uint64_t features)
{
    struct hello hello = hello_default();

    hello.features = features;
    rig_connect(rig);
    ck_assert_int_eq(memexpose_device_enable(rig->device, 0), 0);
    if (rig->ours == 0) {
        greet_listener(rig, hello);
    } else {
        answer_connector(rig, hello);
    }
    rig_drive(rig);
}

void rig_start_in(struct rig *rig, struct rig *other)
{
    start_in(rig, other->group);
}

void rig_join(struct rig *rig, struct rig *other)
{
    start_in(rig, other->group);
    rig_connect(rig);
    ck_assert_int_eq(memexpose_device_enable(rig->device, 0), 0);
}

void rig_leave(struct rig *rig)
{
    memexpose_device_destroy(rig->device);
    memexpose_space_destroy(rig->space);
    peer_close(&rig->peer);
}

void rig_end(struct rig *rig)
{
    rig_leave(rig);
    ck_assert_int_eq(memexpose_group_destroy(rig->group), 0);
}

static void *drive_once(void *opaque)
{
    rig_drive(opaque);
    return NULL;
}

void rig_drive_beside(struct rig *rig)
{
    ck_assert_int_eq(pthread_create(&rig->driver, NULL, drive_once, rig), 0);
}

void rig_driven(struct rig *rig)
{
    ck_assert_int_eq(pthread_join(rig->driver, NULL), 0);
}

void rig_drive(void *opaque)
{
    struct rig *rig = opaque;

    memexpose_group_process(rig->group, NULL, 0);
}

struct memexpose_stats rig_stats(struct rig *rig)
{
    struct memexpose_stats stats;

    memexpose_device_stats(rig->device, &stats, sizeof(stats));
    return stats;
}

uint8_t rig_own(const struct rig *rig, unsigned class)
{
    return (uint8_t)(2 * class + rig->ours);
}

uint8_t rig_peer(const struct rig *rig, unsigned class)
{
    return (uint8_t)(2 * class + (1u - rig->ours));
}

void rig_expect_served_at(const char *file, int line, struct rig *rig)
{
    uint8_t priority = rig_peer(rig, ACCESS);

    peer_send(&rig->peer, PEER_MEM, say_read(priority, RIG_MMIO + 0x124, 2));
    peer_expect_at(file, line, &rig->peer, PEER_MEM,
                   say_read_ret(priority, 0, 0x124, NULL));
}

/* --- what the peer does -------------------------------------------------- */

const struct offer rig_whole_ram = {
    .start = RIG_RAM, .mmap_start = 0, .size = RIG_RAM_SIZE,
};

void rig_ask(struct rig *rig, struct bytes question, struct bytes answer)
{
    peer_send(&rig->peer, PEER_MEM, question);
    peer_expect(&rig->peer, PEER_MEM, answer);
}

int rig_ask_fd(struct rig *rig, struct bytes question, struct bytes answer)
{
    peer_send(&rig->peer, PEER_MEM, question);
    return peer_expect_fd(&rig->peer, PEER_MEM, answer);
}

void rig_take_two(struct rig *rig, struct bytes one, struct bytes other)
{
    struct bytes both = peer_take(&rig->peer, PEER_MEM,
                                  one.count + other.count);

    if (memcmp(both.at, one.at, one.count) != 0) {
        struct bytes swap = one;

        one = other;
        other = swap;
    }
    ck_assert_mem_eq(both.at, one.at, one.count);
    ck_assert_mem_eq(both.at + one.count, other.at, other.count);
}

void rig_take_share(struct rig *rig, uint64_t address,
                    const struct offer *offer)
{
    uint8_t priority = rig_peer(rig, ACCESS);

    close(rig_ask_fd(rig, say_read(priority, address, 1),
                     say_read_ret(priority, 0, 0, offer)));
}

/* --- changes ------------------------------------------------------------- */

static void *run_change(void *opaque)
{
    struct change *change = opaque;

    memexpose_map_change_begin(change->rig->group);
    change->ret = memexpose_map_change_invalidate(change->rig->device,
                                                  change->start, change->size);
    if (change->ret == 0) {
        change->ret = memexpose_map_change_wait(change->rig->group);
    }
    memexpose_map_change_end(change->rig->group);
    change->done = true;
    return NULL;
}

void begin_change(struct change *change, struct rig *rig, uint64_t start,
                  uint64_t size)
{
    change->rig = rig;
    change->start = start;
    change->size = size;
    change->ret = 1234;
    change->done = false;
    ck_assert_int_eq(pthread_create(&change->thread, NULL, run_change,
                                    change), 0);
}

int end_change(struct change *change)
{
    ck_assert_int_eq(pthread_join(change->thread, NULL), 0);
    return change->ret;
}

/* --- accesses ------------------------------------------------------------ */

static void *run_access(void *opaque)
{
    struct access *access = opaque;

    access->ret = access->write ?
        memexpose_write(access->device, access->address, access->bytes,
                        access->value) :
        memexpose_read(access->device, access->address, access->bytes,
                       &access->value);
    return NULL;
}

static void begin(struct access *access, struct rig *rig)
{
    access->device = rig->device;
    access->ret = 1234;
    ck_assert_int_eq(pthread_create(&access->thread, NULL, run_access,
                                    access), 0);
}

void begin_read(struct access *access, struct rig *rig, uint64_t address,
                unsigned bytes)
{
    *access = (struct access) { .address = address, .bytes = bytes };
    begin(access, rig);
}

void begin_write(struct access *access, struct rig *rig, uint64_t address,
                 unsigned bytes, uint64_t value)
{
    *access = (struct access) { .write = true, .address = address,
                                .bytes = bytes, .value = value };
    begin(access, rig);
}

int end_access(struct access *access)
{
    ck_assert_int_eq(pthread_join(access->thread, NULL), 0);
    return access->ret;
}

static void *run_transfer(void *opaque)
{
    struct transfer *transfer = opaque;

    transfer->ret = transfer->write ?
        memexpose_write_block(transfer->device, transfer->address,
                              transfer->buffer, transfer->bytes,
                              &transfer->done) :
        memexpose_read_block(transfer->device, transfer->address,
                             transfer->buffer, transfer->bytes,
                             &transfer->done);
    return NULL;
}

void begin_transfer(struct transfer *transfer, struct rig *rig, bool write,
                    uint64_t address, uint8_t *buffer, size_t bytes)
{
    *transfer = (struct transfer) {
        .device = rig->device, .write = write, .address = address,
        .buffer = buffer, .bytes = bytes, .done = SIZE_MAX, .ret = 1234,
    };
    ck_assert_int_eq(pthread_create(&transfer->thread, NULL, run_transfer,
                                    transfer), 0);
}

int end_transfer(struct transfer *transfer)
{
    ck_assert_int_eq(pthread_join(transfer->thread, NULL), 0);
    return transfer->ret;
}

void rig_offer(struct rig *rig, uint64_t address, const struct offer *offer,
               int fd)
{
    struct access access;
    uint8_t priority = rig_own(rig, ACCESS);
    struct bytes answer = say_read_ret(priority, 0, 0x55, offer);

    begin_read(&access, rig, address, 1);
    peer_expect(&rig->peer, PEER_MEM, say_read(priority, address, 1));
    if (fd >= 0) {
        peer_send_fd(&rig->peer, PEER_MEM, answer, fd);
    } else {
        peer_send(&rig->peer, PEER_MEM, answer);
    }
    ck_assert_int_eq(end_access(&access), 0);
    ck_assert_uint_eq(access.value, 0x55);
    rig_drive(rig);
}

size_t rig_ranges(struct rig *rig)
{
    return memexpose_device_ranges(rig->device, NULL, 0);
}
