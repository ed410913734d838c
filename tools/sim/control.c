/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands about the device, its interrupts, and the time.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "access.h"
#include "command.h"
#include "hexdump.h"
#include "numbers.h"
#include "output.h"

/* As a change of the memory map, after which more may be pushed. */
COMMAND(map)
{
    int ret;

    memexpose_map_change_begin(sim->loop.group);
    ret = memory_add_ram(&sim->memory, words->word[1], &sim->failure);
    memexpose_map_change_end(sim->loop.group);
    return ret < 0 ? fail_prefix(&sim->failure, "%s", command->name) : 0;
}

COMMAND(unmap)
{
    if (memory_remove(&sim->memory, sim->loop.group, words->word[1],
                      &sim->failure) < 0) {
        return fail_prefix(&sim->failure, "%s", command->name);
    }
    return 0;
}

/* An interrupt that is dropped is counted; that is no failure. */
COMMAND(intr)
{
    struct memexpose_interrupt interrupt;

    memset(&interrupt, 0, sizeof(interrupt));
    if (number_value(&sim->failure, words->word[1], 8,
                     &interrupt.type) < 0 ||
        (words->count > 2 &&
         number_hex(&sim->failure, words->word[2], interrupt.data,
                    sizeof(interrupt.data)) < 0)) {
        return fail_prefix(&sim->failure, "%s", command->name);
    }
    if (command_await_peer(sim, command) < 0) {
        return -1;
    }
    memexpose_device_send(sim->device, &interrupt);
    return 0;
}

struct reception {
    struct sim *sim;
    struct memexpose_interrupt interrupt;
};

static bool receive(void *arg)
{
    struct reception *reception = arg;

    return memexpose_device_receive(reception->sim->device,
                                    &reception->interrupt) == 0;
}

static int print_interrupt(struct sim *sim,
                           const struct memexpose_interrupt *interrupt)
{
    char digits[2 * MEMEXPOSE_INTERRUPT_DATA + 1];

    hexdump_digits(interrupt->data, sizeof(interrupt->data), digits);
    if (!sim->options.json) {
        return output_line(&sim->loop, &sim->failure, "0x%016" PRIx64 " %s",
                           interrupt->type, digits);
    }
    return output_json(&sim->loop, &sim->failure,
                       json_pack("{s:s, s:o, s:s}", "command", "recv",
                                 "type", output_hex(interrupt->type, 16),
                                 "data", digits));
}

COMMAND(recv)
{
    struct reception reception = { .sim = sim };
    int64_t timeout = MEMEXPOSE_FOREVER;

    if (words->count > 1 &&
        number_milliseconds(&sim->failure, "TIMEOUT_MS", words->word[1], 0,
                            &timeout) < 0) {
        return fail_prefix(&sim->failure, "%s", command->name);
    }
    if (loop_until(&sim->loop, receive, &reception,
                   loop_deadline(timeout)) < 0) {
        return fail(&sim->failure, "%s: no interrupt came within %s ms",
                    command->name, words->count > 1 ? words->word[1] : "?");
    }
    return print_interrupt(sim, &reception.interrupt);
}

static int reg_write(struct sim *sim, uint64_t offset, unsigned bytes,
                     uint64_t value)
{
    int ret = memexpose_device_reg_write(sim->device, offset, bytes, value);

    if (offset == MEMEXPOSE_REG_ENABLE) {
        sim_note_enable(sim, value & 1);
    }
    return ret;
}

COMMAND(reg)
{
    uint64_t offset, value = 0;
    unsigned bytes;
    int ret;

    if (number_address(&sim->failure, "OFFSET", words->word[1],
                       &offset) < 0 ||
        number_access(&sim->failure, words->word[2], &bytes) < 0 ||
        (words->count > 3 && number_value(&sim->failure, words->word[3],
                                          bytes, &value) < 0)) {
        return fail_prefix(&sim->failure, "%s", command->name);
    }
    if (offset > MEMEXPOSE_REGS_SIZE - bytes) {
        return fail(&sim->failure, "%s: '%s': outside the registers, "
                    "expected an OFFSET of at most 0x%x", command->name,
                    words->word[1], MEMEXPOSE_REGS_SIZE - bytes);
    }
    if (words->count == 3) {
        value = memexpose_device_reg_read(sim->device, offset, bytes);
        return access_print(sim, command->name, "offset", offset, bytes,
                            value);
    }
    ret = reg_write(sim, offset, bytes, value);
    if (ret == -ETIMEDOUT) {
        return fail(&sim->failure, "%s %s: no peer came within the connect "
                    "timeout", command->name, words->word[1]);
    }
    return ret == 0 || ret == -EINPROGRESS
        ? 0 : fail(&sim->failure, "%s %s: %s", command->name, words->word[1],
                   memexpose_strerror(ret));
}

static int print_range(struct sim *sim, const struct memexpose_range *range)
{
    const char *access = range->readonly ? "ro" : "rw";

    if (!sim->options.json) {
        return output_line(&sim->loop, &sim->failure,
                           "0x%" PRIx64 " 0x%" PRIx64 " %s", range->start,
                           range->size, access);
    }
    return output_json(&sim->loop, &sim->failure,
                       json_pack("{s:s, s:o, s:o, s:s}", "command",
                                 "regions", "start",
                                 output_hex(range->start, 1), "size",
                                 output_hex(range->size, 1), "access",
                                 access));
}

COMMAND(regions)
{
    struct memexpose_range *ranges;
    size_t count, got, i;
    int ret = 0;

    (void)command;
    (void)words;
    count = memexpose_device_ranges(sim->device, NULL, 0);
    ranges = calloc(count + 1, sizeof(*ranges));
    if (!ranges) {
        return fail(&sim->failure, "%s", strerror(ENOMEM));
    }
    got = memexpose_device_ranges(sim->device, ranges, count);
    count = got < count ? got : count;
    for (i = 0; i < count && ret == 0; i++) {
        ret = print_range(sim, &ranges[i]);
    }
    free(ranges);
    return ret;
}

/* What is counted for the device, and for the group. */
struct all_stats {
    struct memexpose_stats device;
    struct memexpose_group_stats group;
};

/* One number of the statistics. */
struct counter {
    const char *name;
    size_t offset;
};

#define COUNTER(of, name) { #name, offsetof(struct all_stats, of.name) }

static const struct counter counters[] = {
    COUNTER(device, requests_sent),
    COUNTER(device, requests_served),
    COUNTER(device, shares_sent),
    COUNTER(device, shares_received),
    COUNTER(device, invalidations_sent),
    COUNTER(device, invalidations_received),
    COUNTER(device, interrupts_sent),
    COUNTER(device, interrupts_received),
    COUNTER(device, interrupts_dropped),
    COUNTER(device, mapped_ranges),
    COUNTER(device, mapped_bytes),
    COUNTER(device, violations),
    COUNTER(device, blocks_sent),
    COUNTER(device, blocks_served),
    COUNTER(device, offers_sent),
    COUNTER(device, offers_received),
    COUNTER(group, polls),
    COUNTER(group, poll_hits),
    COUNTER(group, poll_misses),
    COUNTER(group, poll_time),
};

enum { COUNTERS = sizeof(counters) / sizeof(counters[0]) };

static uint64_t counter_value(const struct all_stats *stats,
                              const struct counter *counter)
{
    uint64_t value;

    memcpy(&value, (const char *)stats + counter->offset, sizeof(value));
    return value;
}

static int print_json_stats(struct sim *sim, const struct all_stats *stats)
{
    json_t *object = json_pack("{s:s}", "command", "stats");
    size_t i;

    for (i = 0; object && i < COUNTERS; i++) {
        if (json_object_set_new(object, counters[i].name,
                                json_integer((json_int_t)counter_value(
                                    stats, &counters[i]))) < 0) {
            json_decref(object);
            object = NULL;
        }
    }
    return output_json(&sim->loop, &sim->failure, object);
}

COMMAND(stats)
{
    struct all_stats stats;
    size_t i;
    int ret = 0;

    (void)command;
    (void)words;
    memset(&stats, 0, sizeof(stats));
    memexpose_device_stats(sim->device, &stats.device, sizeof(stats.device));
    memexpose_group_stats(sim->loop.group, &stats.group, sizeof(stats.group));
    if (sim->options.json) {
        return print_json_stats(sim, &stats);
    }
    for (i = 0; i < COUNTERS && ret == 0; i++) {
        ret = output_line(&sim->loop, &sim->failure, "%s %" PRIu64,
                          counters[i].name,
                          counter_value(&stats, &counters[i]));
    }
    return ret;
}

COMMAND(enable)
{
    (void)words;
    return sim_enable(sim, true) == 0
        ? 0 : fail_prefix(&sim->failure, "%s", command->name);
}

COMMAND(disable)
{
    (void)command;
    (void)words;
    sim_disable(sim);
    return 0;
}

COMMAND(sleep)
{
    int64_t time;

    if (number_milliseconds(&sim->failure, "MS", words->word[1], 0,
                            &time) < 0) {
        return fail_prefix(&sim->failure, "%s", command->name);
    }
    loop_until(&sim->loop, NULL, NULL, loop_deadline(time));
    return 0;
}

struct service {
    const struct sim *sim;
    uint32_t connects;          /* number of connects, with the peer served */
};

static bool peer_is_there(void *arg)
{
    return sim_connected(arg);
}

/* The next one may be there already; it is another one then. */
static bool peer_left(void *arg)
{
    const struct service *service = arg;

    return !sim_connected(service->sim) ||
           sim_connects(service->sim) != service->connects;
}

COMMAND(serve)
{
    struct service service = { .sim = sim };
    int64_t time = MEMEXPOSE_FOREVER, deadline;

    if (words->count > 1 &&
        number_milliseconds(&sim->failure, "MS", words->word[1], 0,
                            &time) < 0) {
        return fail_prefix(&sim->failure, "%s", command->name);
    }
    if (!sim->enabled) {
        return fail(&sim->failure, "%s: the device is disabled, expected "
                    "'enable' before", command->name);
    }
    deadline = loop_deadline(time);
    if (loop_until(&sim->loop, peer_is_there, sim, deadline) == 0) {
        service.connects = sim_connects(sim);
        loop_until(&sim->loop, peer_left, &service, deadline);
    }
    return 0;
}

COMMAND(quit)
{
    (void)sim;
    (void)command;
    (void)words;
    return COMMAND_QUIT;
}
