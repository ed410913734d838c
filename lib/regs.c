/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The register file, the interrupt queue and the interrupt line (protocol
 * section 5).
 *
 * Every access is served byte by byte.  Actions belong to four registers of 8
 * bytes, which lie at multiples of 8: as no access is longer, one that begins
 * at the first byte stays inside the register, and one that covers the first
 * byte without beginning there straddles two.  So there is an action exactly
 * where an access begins at the register's own offset.
 */
#include "regs.h"

#include <string.h>

#include <memexpose/protocol.h>

static bool queue_raises(const struct mx_regs *regs)
{
    return regs->count > 0 && !regs->held;
}

static bool link_raises(const struct mx_regs *regs)
{
    return regs->link_irq && regs->link_changed;
}

/*
 * A cause that falls and rises again between two looks at the line has risen:
 * the message that tells of it must not be lost.
 */
static void note_falls(struct mx_regs *regs)
{
    regs->signalled_queue = regs->signalled_queue && queue_raises(regs);
    regs->signalled_link = regs->signalled_link && link_raises(regs);
}

void mx_regs_reset(struct mx_regs *regs)
{
    regs->enabled = false;
    regs->link_irq = false;
    regs->link_changed = false;
    regs->signalled_queue = false;
    regs->signalled_link = false;
    memset(&regs->rx, 0, sizeof(regs->rx));
    memset(&regs->tx, 0, sizeof(regs->tx));
    memset(regs->queue, 0, sizeof(regs->queue));
    regs->first = 0;
    regs->count = 0;
}

bool mx_regs_valid(uint64_t offset, unsigned bytes)
{
    return (bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8) &&
           offset <= MX_REGS_SIZE - bytes;
}

bool mx_regs_full(const struct mx_regs *regs)
{
    return regs->count == MX_QUEUE_SIZE;
}

bool mx_regs_push(struct mx_regs *regs, uint64_t type, const uint8_t *data)
{
    struct mx_interrupt *last;

    if (mx_regs_full(regs)) {
        return false;
    }
    last = &regs->queue[(regs->first + regs->count) % MX_QUEUE_SIZE];
    last->type = type;
    memcpy(last->data, data, MX_INTR_DATA);
    regs->count++;
    return true;
}

bool mx_regs_pop(struct mx_regs *regs, struct mx_interrupt *interrupt)
{
    if (regs->count == 0 || regs->held) {
        return false;
    }
    *interrupt = regs->queue[regs->first];
    regs->first = (regs->first + 1) % MX_QUEUE_SIZE;
    regs->count--;
    note_falls(regs);
    return true;
}

void mx_regs_set_link(struct mx_regs *regs, uint64_t link)
{
    if (regs->link != link) {
        regs->link = link;
        regs->link_changed = true;
    }
}

bool mx_regs_line(struct mx_regs *regs, bool *rise)
{
    bool queue = queue_raises(regs);
    bool link = link_raises(regs);

    *rise = (queue && !regs->signalled_queue) ||
            (link && !regs->signalled_link);
    regs->signalled_queue = queue;
    regs->signalled_link = link;
    return queue || link;
}

static bool is_up(const struct mx_regs *regs)
{
    const uint64_t both = MEMEXPOSE_STATE_MEM_UP |
                          MEMEXPOSE_STATE_INTR_UP;

    return regs->enabled && (regs->link & both) == both;
}

/*
 * What the register of 8 bytes at @offset holds, without any action; 0 where
 * there is none.
 */
static uint64_t word_at(const struct mx_regs *regs, uint64_t offset)
{
    switch (offset) {
    case MEMEXPOSE_REG_ENABLE:
        return is_up(regs);
    case MEMEXPOSE_REG_LINK:
        return regs->link;
    case MEMEXPOSE_REG_SPAN_START:
        return regs->span_start;
    case MEMEXPOSE_REG_SPAN_SIZE:
        return regs->span_size;
    case MEMEXPOSE_REG_LINK_IRQ:
        return regs->link_irq;
    case MEMEXPOSE_REG_LINK_CHANGED:
        return regs->link_changed;
    case MEMEXPOSE_REG_RX_TYPE:
        return regs->rx.type;
    case MEMEXPOSE_REG_TX_TYPE:
        return regs->tx.type;
    default:
        return 0;
    }
}

static bool is_data(uint64_t offset, uint64_t area)
{
    return offset >= area && offset < area + MX_INTR_DATA;
}

static uint8_t byte_at(const struct mx_regs *regs, uint64_t offset)
{
    if (is_data(offset, MEMEXPOSE_REG_RX_DATA)) {
        return regs->rx.data[offset - MEMEXPOSE_REG_RX_DATA];
    }
    if (is_data(offset, MEMEXPOSE_REG_TX_DATA)) {
        return regs->tx.data[offset - MEMEXPOSE_REG_TX_DATA];
    }
    return (uint8_t)(word_at(regs, offset & ~7ull) >> (8 * (offset & 7)));
}

static void set_byte(struct mx_regs *regs, uint64_t offset, uint8_t byte)
{
    unsigned shift = 8 * (offset & 7);

    if (is_data(offset, MEMEXPOSE_REG_TX_DATA)) {
        regs->tx.data[offset - MEMEXPOSE_REG_TX_DATA] = byte;
    } else if ((offset & ~7ull) == MEMEXPOSE_REG_TX_TYPE) {
        regs->tx.type &= ~(0xffull << shift);
        regs->tx.type |= (uint64_t)byte << shift;
    } else if (offset == MEMEXPOSE_REG_LINK_IRQ) {
        regs->link_irq = byte & 1;
    }
}

uint64_t mx_regs_read(struct mx_regs *regs, uint64_t offset, unsigned bytes)
{
    uint64_t value = 0;

    if (offset == MEMEXPOSE_REG_RX) {
        return mx_regs_pop(regs, &regs->rx);
    }
    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint64_t)byte_at(regs, offset + i) << (8 * i);
    }
    if (offset == MEMEXPOSE_REG_LINK_CHANGED) {
        regs->link_changed = false;
        note_falls(regs);
    }
    return value;
}

enum mx_regs_action mx_regs_write(struct mx_regs *regs, uint64_t offset,
                                  unsigned bytes, uint64_t value)
{
    for (unsigned i = 0; i < bytes; i++) {
        set_byte(regs, offset + i, (uint8_t)(value >> (8 * i)));
    }
    note_falls(regs);
    if (offset == MEMEXPOSE_REG_ENABLE) {
        regs->enabled = value & 1;
        return regs->enabled ? MX_REGS_ENABLE : MX_REGS_DISABLE;
    }
    return offset == MEMEXPOSE_REG_TX ? MX_REGS_SEND : MX_REGS_NOTHING;
}
