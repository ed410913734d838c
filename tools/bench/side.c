/* SPDX-License-Identifier: BSD-3-Clause */
#include "side.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "cores.h"
#include "interpose.h"

enum { MAX_POLL_FDS = 512 };

#define PATIENCE INT64_C(30000000000)

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

int side_create_object(size_t size)
{
    int fd = memfd_create("memexpose-bench", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0) {
        return -errno;
    }
    if (ftruncate(fd, (off_t)size) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0) {
        int error = errno;

        close(fd);
        return -error;
    }
    return fd;
}

/* --- counting ------------------------------------------------------------ */

uint64_t side_resident(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    uint64_t kilobytes = 0;
    char line[128];

    while (file && fgets(line, sizeof(line), file)) {
        if (sscanf(line, "RssAnon: %" SCNu64, &kilobytes) == 1) {
            break;
        }
    }
    if (file) {
        fclose(file);
    }
    return kilobytes * 1024;
}

static uint64_t cpu_time(void)
{
    struct timespec used;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
}

static uint64_t arrived(const struct side *side)
{
    struct memexpose_stats stats;
    uint64_t sum = 0;
    size_t i;

    for (i = 0; i < side->device_count; i++) {
        memexpose_device_stats(side->devices[i], &stats, sizeof(stats));
        sum += stats.interrupts_received;
    }
    return sum;
}

void side_count(struct side *side, struct side_counts *counts)
{
    struct memexpose_group_stats stats = { 0 };
    struct interpose_counts calls;

    interpose_read(&calls);     /* before those of this function */
    memexpose_group_stats(side->group, &stats, sizeof(stats));
    memset(counts, 0, sizeof(*counts));
    counts->of[SIDE_CPU_TIME] = cpu_time();
    counts->of[SIDE_POLL_TIME] = stats.poll_time;
    counts->of[SIDE_POLLS] = stats.polls;
    counts->of[SIDE_ALLOCATIONS] = calls.allocations;
    counts->of[SIDE_SENDS] = calls.sends;
    counts->of[SIDE_RECEIVES] = calls.receives;
    counts->of[SIDE_WAITS] = calls.waits;
    counts->of[SIDE_OTHERS] = calls.others;
    counts->of[SIDE_INTERRUPTS] = side->interrupts;
    counts->of[SIDE_ARRIVED] = arrived(side);
}

/*
 * A thread that may run on one processor only does not poll, as the other end
 * could be waiting for just that one.  Here it is known to have its own.
 */
int side_set_polling(struct side *side, int64_t wait, int64_t serve)
{
    cpu_set_t before;
    int ret;

    cores_loosen(&before);
    ret = memexpose_group_set_polling(side->group, wait, serve);
    cores_tighten(&before);
    return ret;
}

/* --- what is exported ---------------------------------------------------- */

static uint64_t read_register(struct side *side, uint64_t number)
{
    switch (number) {
    case SIDE_WORD:
        return 0x0123456789abcdef;
    case SIDE_LATCH:
        side_count(side, &side->latched);
        return 0;
    case SIDE_RESIDENT:
        return side_resident();
    default:
        return number < SIDE_REGISTER_COUNT ? side->latched.of[number] : 0;
    }
}

static int write_register(struct side *side, uint64_t number, uint64_t value)
{
    side->latched.of[number] = value;
    switch (number) {
    case SIDE_POLL_SERVE:
        side_set_polling(side, (int64_t)side->latched.of[SIDE_POLL_WAIT],
                         (int64_t)value);
        break;
    case SIDE_TOUCH_FIRST:
        side->touch_first = value;
        break;
    case SIDE_TOUCH_COUNT:
        side->touch_count = value;
        break;
    case SIDE_ECHO:
        side->echo = value != 0;
        break;
    default:
        break;
    }
    return MEMEXPOSE_RESULT_OK;
}

static bool in(uint64_t address, uint64_t start, uint64_t size)
{
    return address >= start && address - start < size;
}

static uint64_t ranges_size(const struct side *side)
{
    return 2 * (uint64_t)side->config.pages * page_size();
}

/* Memory that is mapped after one access can have zeros in it until then. */
static bool is_shared(const struct side *side, uint64_t address)
{
    return (side->ram_fd >= 0 && in(address, SIDE_RAM, SIDE_RAM_SIZE)) ||
           (in(address, SIDE_RANGES, ranges_size(side)) &&
            (address - SIDE_RANGES) / page_size() % 2 == 0);
}

static int on_read(void *opaque, uint64_t address, unsigned bytes,
                   uint64_t *value)
{
    struct side *side = opaque;
    uint64_t offset;

    *value = 0;
    if (in(address, SIDE_REGISTERS, 8 * SIDE_REGISTER_COUNT)) {
        *value = read_register(side, (address - SIDE_REGISTERS) / 8);
        return MEMEXPOSE_RESULT_OK;
    }
    offset = address - SIDE_PRIVATE;
    if (offset <= SIDE_PRIVATE_SIZE - bytes) {
        memcpy(value, side->private_memory + offset, bytes);
        return MEMEXPOSE_RESULT_OK;
    }
    return is_shared(side, address) ? MEMEXPOSE_RESULT_OK
                                    : MEMEXPOSE_RESULT_DECODE;
}

static int on_write(void *opaque, uint64_t address, unsigned bytes,
                    uint64_t value)
{
    struct side *side = opaque;
    uint64_t offset = address - SIDE_PRIVATE;

    if (in(address, SIDE_REGISTERS, 8 * SIDE_REGISTER_COUNT)) {
        return write_register(side, (address - SIDE_REGISTERS) / 8, value);
    }
    if (offset <= SIDE_PRIVATE_SIZE - bytes) {
        memcpy(side->private_memory + offset, &value, bytes);
        return MEMEXPOSE_RESULT_OK;
    }
    return MEMEXPOSE_RESULT_DENIED;
}

static int on_read_block(void *opaque, uint64_t address, void *buffer,
                         size_t bytes, size_t *done)
{
    struct side *side = opaque;
    uint64_t offset = address - SIDE_PRIVATE;

    *done = 0;
    if (offset > SIDE_PRIVATE_SIZE - bytes) {
        return MEMEXPOSE_RESULT_DECODE;
    }
    memcpy(buffer, side->private_memory + offset, bytes);
    return MEMEXPOSE_RESULT_OK;
}

static int on_write_block(void *opaque, uint64_t address, const void *buffer,
                          size_t bytes, size_t *done)
{
    struct side *side = opaque;
    uint64_t offset = address - SIDE_PRIVATE;

    *done = 0;
    if (offset > SIDE_PRIVATE_SIZE - bytes) {
        return MEMEXPOSE_RESULT_DECODE;
    }
    memcpy(side->private_memory + offset, buffer, bytes);
    return MEMEXPOSE_RESULT_OK;
}

static int offer(struct memexpose_share *share, uint64_t start, uint64_t size,
                 uint64_t offset, int fd)
{
    *share = (struct memexpose_share) {
        .start = start, .size = size, .offset = offset,
        .fd = fcntl(fd, F_DUPFD_CLOEXEC, 0),
    };
    return share->fd >= 0;
}

static int on_resolve(void *opaque, uint64_t address,
                      struct memexpose_share *share)
{
    struct side *side = opaque;
    uint64_t index = (address - SIDE_RANGES) / (2 * page_size());

    if (!is_shared(side, address)) {
        return 0;
    }
    if (address < SIDE_RANGES) {
        return offer(share, SIDE_RAM, SIDE_RAM_SIZE, 0, side->ram_fd);
    }
    return offer(share, side_range_address(index, page_size()), page_size(),
                 index * page_size(), side->pages_fd);
}

static int on_next_share(void *opaque, uint64_t address,
                         struct memexpose_share *share)
{
    struct side *side = opaque;

    if (side->ram_fd >= 0 && address < SIDE_RAM + SIDE_RAM_SIZE) {
        return on_resolve(side, SIDE_RAM, share);
    }
    if (address < SIDE_RANGES) {
        address = SIDE_RANGES;
    } else if ((address - SIDE_RANGES) / page_size() % 2 == 1) {
        address = (address / page_size() + 1) * page_size();
    }
    return on_resolve(side, address, share);
}

/* --- interrupts ---------------------------------------------------------- */

/* The time from sending one to the answer, which is answered at once. */
static void rally(struct side *side, struct memexpose_device *device,
                  const struct memexpose_interrupt *interrupt)
{
    int64_t now = measure_now();

    samples_add(side->rally, (double)(now - side->rally_last));
    side->rally_last = now;
    side->rally_left--;
    if (side->rally_left > 0) {
        memexpose_device_send(device, interrupt);
    }
}

static void take_interrupts(struct side *side, struct memexpose_device *device)
{
    struct memexpose_interrupt interrupt;

    while (memexpose_device_receive(device, &interrupt) == 0) {
        side->interrupts++;
        if (side->echo) {
            memexpose_device_send(device, &interrupt);
        } else if (side->rally_left > 0) {
            rally(side, device, &interrupt);
        }
    }
    if (side->news) {
        side->news->last = measure_now();
        side->news->taken = side->interrupts;
    }
}

static void on_interrupt(void *opaque, bool level, bool rise)
{
    struct side *side = opaque;
    size_t i;

    (void)rise;
    for (i = 0; level && i < side->device_count; i++) {
        take_interrupts(side, side->devices[i]);
    }
}

static void on_link_changed(void *opaque, uint64_t state)
{
    struct side *side = opaque;

    if (state >> 32 != 0 && !(state & MEMEXPOSE_STATE_MEM_UP)) {
        side->left = true;
    }
}

/* Nothing that another thread looks up goes while it may be doing so. */
static void on_retire(void *opaque, void (*fn)(void *arg), void *arg)
{
    (void)opaque;
    fn(arg);
}

/* --- making and ending --------------------------------------------------- */

static void fill_ops(struct memexpose_device_ops *ops)
{
    *ops = (struct memexpose_device_ops) {
        .size = sizeof(*ops),
        .read = on_read,
        .write = on_write,
        .read_block = on_read_block,
        .write_block = on_write_block,
        .resolve = on_resolve,
        .next_share = on_next_share,
        .interrupt = on_interrupt,
        .link_changed = on_link_changed,
        .retire = on_retire,
    };
}

static int create_device(struct side *side, enum memexpose_role role)
{
    struct memexpose_device_config config;
    struct memexpose_device_ops ops;
    struct memexpose_device *device;

    memexpose_device_config_init(&config);
    config.name = "bench";
    config.role = role;
    config.max_ranges = 1000000;
    config.push = side->config.push;
    config.block = !side->config.no_block;
    config.request_timeout = PATIENCE;
    config.map_change_timeout = PATIENCE;
    fill_ops(&ops);
    device = memexpose_device_create(side->group, &ops, side, &config);
    if (!device) {
        return -errno;
    }
    side->devices[side->device_count++] = device;
    return 0;
}

/* What is exported besides the object of the RAM. */
static int create_memory(struct side *side)
{
    side->private_memory = malloc(SIDE_PRIVATE_SIZE);
    if (!side->private_memory) {
        return -ENOMEM;
    }
    memset(side->private_memory, 0x5a, SIDE_PRIVATE_SIZE);
    if (side->config.pages > 0) {
        side->pages_fd = side_create_object(side->config.pages * page_size());
    }
    return side->pages_fd < -1 ? side->pages_fd : 0;
}

int side_create(struct side *side, const struct side_config *config,
                enum memexpose_role role, int ram_fd)
{
    size_t i, count = config->devices ? config->devices : 1;
    int ret;

    memset(side, 0, sizeof(*side));
    side->config = *config;
    side->pages_fd = -1;
    side->ram_fd = ram_fd;
    ret = create_memory(side);
    if (ret < 0) {
        return ret;
    }
    side->devices = calloc(count, sizeof(*side->devices));
    side->group = memexpose_group_create(NULL, NULL);
    if (!side->devices || !side->group) {
        return -ENOMEM;
    }
    for (i = 0; i < count && ret == 0; i++) {
        ret = create_device(side, role);
    }
    return ret;
}

void side_destroy(struct side *side)
{
    while (side->device_count > 0) {
        memexpose_device_destroy(side->devices[--side->device_count]);
    }
    memexpose_group_destroy(side->group);
    free(side->devices);
    free(side->private_memory);
    if (side->pages_fd > 0) {
        close(side->pages_fd);
    }
    memset(side, 0, sizeof(*side));
}

/* --- driving ------------------------------------------------------------- */

static int drive_once(struct side *side, int64_t until)
{
    struct pollfd fds[MAX_POLL_FDS];
    int64_t deadline;
    size_t count;
    int ret;

    count = memexpose_group_poll(side->group, fds, MAX_POLL_FDS, &deadline,
                                 NULL);
    if (count > MAX_POLL_FDS) {
        return -ENOBUFS;
    }
    ret = memexpose_wait(fds, count, deadline < until ? deadline : until);
    if (ret < 0 && ret != -EINTR) {
        return ret;
    }
    memexpose_group_process(side->group, fds, count);
    return 0;
}

bool side_is_settled(void *arg)
{
    const struct side *side = arg;
    size_t i;

    for (i = 0; i < side->device_count; i++) {
        if (!(memexpose_device_link_state(side->devices[i]) &
              MEMEXPOSE_STATE_SETTLED)) {
            return false;
        }
    }
    return true;
}

int side_drive(struct side *side, bool (*done)(void *arg), void *arg,
               int64_t nanoseconds)
{
    int64_t until = measure_now() + nanoseconds;
    int ret = 0;

    while (ret == 0 && !done(arg)) {
        if (side->left) {
            return -ECONNRESET;
        }
        if (measure_now() >= until) {
            return -ETIMEDOUT;
        }
        ret = drive_once(side, until);
    }
    return ret;
}

/* The peer wanted that ranges of its are touched; it is told when they are. */
static void touch(struct side *side)
{
    struct memexpose_interrupt done = { .type = 1 };
    uint64_t i, value, count = side->touch_count;
    int ret = 0;

    side->touch_count = 0;
    for (i = 0; i < count && ret == 0; i++) {
        ret = memexpose_read(side_device(side),
                             side_range_address(side->touch_first + i,
                                                page_size()), 8, &value);
    }
    if (ret == 0) {
        memexpose_device_send(side_device(side), &done);
    }
}

static bool has_something_to_do(void *arg)
{
    const struct side *side = arg;

    return side->left || side->touch_count > 0;
}

void side_serve(struct side *side)
{
    while (!side->left &&
           side_drive(side, has_something_to_do, side,
                      MEMEXPOSE_FOREVER / 2) == 0) {
        if (side->touch_count > 0) {
            touch(side);
        }
    }
}
