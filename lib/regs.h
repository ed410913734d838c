/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The register file, the interrupt queue and the interrupt line (protocol
 * section 5).  Pure: what an access makes the device do comes back as actions.
 */
#ifndef MX_REGS_H
#define MX_REGS_H

#include <stdbool.h>
#include <stdint.h>

#include "wire.h"

enum { MX_QUEUE_SIZE = 16, MX_REGS_SIZE = 0x1000 };

/* What a register access asks the device to do. */
enum mx_regs_action {
    MX_REGS_NOTHING,
    MX_REGS_ENABLE,             /* bit 0 of 0x000 was written as 1 */
    MX_REGS_DISABLE,            /* bit 0 of 0x000 was written as 0 */
    MX_REGS_SEND                /* 0x800 was written */
};

struct mx_interrupt {
    uint64_t type;
    uint8_t data[MX_INTR_DATA];
};

struct mx_regs {
    bool enabled;               /* bit 0 of 0x000 as last written */
    bool held;                  /* interrupts are held: a removal is pending */
    uint64_t link;              /* 0x010 */
    uint64_t span_start;        /* 0x018 */
    uint64_t span_size;         /* 0x020 */
    bool link_irq;              /* 0x028 */
    bool link_changed;          /* 0x030 */
    bool signalled_queue;       /* the causes as mx_regs_line() saw them */
    bool signalled_link;
    struct mx_interrupt rx;     /* 0x408, 0x410 */
    struct mx_interrupt tx;     /* 0x808, 0x810 */
    struct mx_interrupt queue[MX_QUEUE_SIZE];
    unsigned first, count;
};

/* The reset values of all of it; link and span, which tell of the links, and
 * held stay as they are. */
void mx_regs_reset(struct mx_regs *regs);

/* Can there be such an access: 1, 2, 4 or 8 bytes inside the 0x1000? */
bool mx_regs_valid(uint64_t offset, unsigned bytes);

/*
 * A read of @bytes (1, 2, 4, 8) at @offset; the caller has asked
 * mx_regs_valid().  Pops the queue (0x400, unless held) and clears 0x030 where
 * section 5 says so.  0x000 reads 1 if enabled and bits 0 and 1 of link are.
 */
uint64_t mx_regs_read(struct mx_regs *regs, uint64_t offset, unsigned bytes);

/* A write; likewise.  Returns what the device has to do about it. */
enum mx_regs_action mx_regs_write(struct mx_regs *regs, uint64_t offset,
                                  unsigned bytes, uint64_t value);

/* Is there no room for another interrupt? */
bool mx_regs_full(const struct mx_regs *regs);

/* An interrupt came from the peer.  Returns false if it met a full queue. */
bool mx_regs_push(struct mx_regs *regs, uint64_t type, const uint8_t *data);

/* Take one without the registers.  Returns false if there is none or held. */
bool mx_regs_pop(struct mx_regs *regs, struct mx_interrupt *interrupt);

/* Set what 0x010 reads; a change of it sets 0x030. */
void mx_regs_set_link(struct mx_regs *regs, uint64_t link);

/*
 * The interrupt line: (queue not empty and not held) or (0x028 and 0x030).
 * *@rise: whether either cause rose since the last call.
 */
bool mx_regs_line(struct mx_regs *regs, bool *rise);

#endif
