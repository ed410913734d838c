/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What push promises (protocol section 9): from hello, and from each
 * invalidation, to the next end of the peer's offers no access goes out; and
 * then none to what could be mapped.
 *
 * A device tells of its messages as they are queued and taken, which is when
 * it decides.
 */
#include "sim.h"

#include "device.h"
#include "os.h"

enum {
    READ = 0, READ_RET, WRITE, WRITE_RET, REG_INV,
    HELLO_RET = 0x41, READ_BLOCK, READ_BLOCK_RET, WRITE_BLOCK,
    WRITE_BLOCK_RET, OFFER,
    HEADER = 6, PUSH = 2,
    ENDS = 64                   /* of offers, that are under way */
};

/* One side of a link. */
struct side {
    bool push;                  /* was agreed on */
    bool awaits;                /* the end of the other's offers */
    uint64_t offered;           /* when the other had offered all that this
                                 * side knows of */
    uint64_t ends[ENDS];        /* when it said that it had, as a ring */
    unsigned said, heard;       /* heard: by the other side */
};

static struct side sides[MONITOR_STREAMS][2];

void push_open(unsigned stream)
{
    sides[stream][0] = sides[stream][1] = (struct side) { .push = false };
}

static uint64_t number_at(const uint8_t *bytes, unsigned count)
{
    uint64_t value = 0;

    while (count-- > 0) {
        value = value << 8 | bytes[count];
    }
    return value;
}

static void agree(struct side *side, const uint8_t *hello)
{
    side->push = number_at(hello + HEADER + 8, 8) & PUSH;
    side->awaits = side->push;
}

static void say_end(struct side *side)
{
    SIM_CHECK(side->said - side->heard < ENDS, "the simulation has too few "
              "ends of offers");
    side->ends[side->said++ % ENDS] = ++world.tick;
}

static void hear_end(struct side *side, struct side *other)
{
    SIM_CHECK(other->heard < other->said, "an end of offers that nobody said");
    side->offered = other->ends[other->heard++ % ENDS];
    side->awaits = false;
}

/* --- what could be mapped ------------------------------------------------ */

static bool is_write(uint8_t type)
{
    return type == WRITE || type == WRITE_BLOCK;
}

/* How much of an access must be mapped: the first byte of a block. */
static uint64_t extent(const uint8_t *message)
{
    return message[4] == READ || message[4] == WRITE ?
           message[HEADER + 8] : 1;
}

/* Does the exporter offer it, and did so in time? */
static bool was_offered(const struct sim_device *exporter,
                        const struct slot *slot, const struct side *side)
{
    return exporter->config.share && exporter->offers &&
           exporter->process->group->map_changes == 0 && slot->present &&
           !slot->busy && slot->mappable && slot->settled < side->offered;
}

/* Does the importer take it, and is nothing in its way? */
static bool is_taken(const struct sim_device *importer,
                     const struct slot *slot, unsigned index)
{
    const struct memexpose_device *device = importer->device;

    return importer->declined[index] != memory_id(slot->object) &&
           importer->config.max_ranges >= PLACES && device->removals == 0 &&
           importer->process->group->map_changes == 0 &&
           (importer->config.seals != MEMEXPOSE_SEALS_REQUIRE ||
            memory_facts(slot->object)->sealed_shrink);
}

/* Only whole pages are mapped. */
static bool within_pages(const struct slot *slot, uint64_t offset,
                         uint64_t size)
{
    uint64_t pages = slot->size & ~(uint64_t)(mx_os_page_size() - 1);

    return offset < pages && size <= pages - offset;
}

static void check_access(const struct sim_device *device,
                         const struct side *side, const uint8_t *message)
{
    const struct process *peer = device->peer.process;
    const struct sim_device *exporter = &peer->devices[device->peer.device];
    uint64_t address = number_at(message + HEADER, 8);
    unsigned index;

    SIM_CHECK(!side->awaits, "%s sends an access before the peer's offers "
              "have ended", device->process->name);
    if (world.faults > 0 || !peer->up || exporter->going) {
        return;
    }
    for (index = 0; index < slot_count(); index++) {
        const struct slot *slot = &peer->slots[index];

        SIM_CHECK(address < slot_address(index) ||
                  !within_pages(slot, address - slot_address(index),
                                extent(message)) ||
                  (slot->readonly && is_write(message[4])) ||
                  !was_offered(exporter, slot, side) ||
                  !is_taken(device, slot, index),
                  "%s sends an access to 0x%llx, which %s has offered",
                  device->process->name, (unsigned long long)address,
                  peer->name);
    }
}

/* Where the share of a response is, or 0. */
static unsigned share_at(uint8_t type)
{
    switch (type) {
    case READ_RET:
        return HEADER + 12;
    case WRITE_RET:
        return HEADER + 4;
    case READ_BLOCK_RET:
    case WRITE_BLOCK_RET:
        return HEADER + 8;
    default:
        return 0;
    }
}

/* A share for which nobody waits any more is not used (section 4). */
static void note_unused(struct sim_device *device, const uint8_t *message)
{
    unsigned at = share_at(message[4]), i;

    if (at == 0 || message[at] == 0 || device->device->member.link.sent) {
        return;
    }
    for (i = 0; i < slot_count(); i++) {
        const struct slot *slot = &device->peer.process->slots[i];

        if (slot_address(i) == number_at(message + at + 1, 8) &&
            slot->object) {
            device->declined[i] = memory_id(slot->object);
        }
    }
}

/* --- what a device tells ------------------------------------------------- */

static void take_received(struct side *side, struct side *other,
                          const uint8_t *message)
{
    switch (message[4]) {
    case HELLO_RET:
        agree(side, message);
        break;
    case REG_INV:
        side->awaits = side->push;
        break;
    case OFFER:
        if (message[HEADER] == 0) {
            hear_end(side, other);
        }
        break;
    default:
        break;
    }
}

static void take_sent(const struct sim_device *device, struct side *side,
                      const uint8_t *message)
{
    switch (message[4]) {
    case HELLO_RET:
        agree(side, message);
        break;
    case OFFER:
        if (message[HEADER] == 0) {
            say_end(side);
        }
        break;
    case READ:
    case WRITE:
    case READ_BLOCK:
    case WRITE_BLOCK:
        if (side->push) {
            check_access(device, side, message);
        }
        break;
    default:
        break;
    }
}

/* A message on the memory link was queued, or taken. */
void push_message(struct sim_device *device, bool sent,
                  const uint8_t *message)
{
    unsigned stream =
        net_stream_of(device->device->member.link.conn[MX_MEM].fd);
    unsigned end = device->connects ? 0 : 1;

    if (sent) {
        take_sent(device, &sides[stream][end], message);
    } else {
        note_unused(device, message);
        take_received(&sides[stream][end], &sides[stream][1 - end], message);
    }
}
