/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The part of a memexpose device that is the same for PCI and for the
 * platform.  What goes over the links, and by which rules, is libmemexpose's;
 * here it is joined to memory regions, chardevs, interrupts and locks.
 *
 * Everything is called with the big lock held unless said otherwise.  It is
 * let go of while a thread waits, but in the commit of a memory transaction.
 */
#ifndef HW_MISC_MEMEXPOSE_INTERNAL_H
#define HW_MISC_MEMEXPOSE_INTERNAL_H

#include <memexpose/memexpose.h>

#include "memexpose-compat.h"

#define TYPE_MEMEXPOSE_PCI    "memexpose-pci"
#define TYPE_MEMEXPOSE_MEMDEV "memexpose-memdev"

typedef struct MemexposeState MemexposeState;

/* One of the two links and the chardev that connects it. */
typedef struct MemexposeLink {
    MemexposeState *state;
    enum memexpose_link which;
    MemexposeChardev chr;
    unsigned opened;            /* counts the connections of the chardev */
    unsigned attached;          /* which of them the library was given */
    unsigned ended;             /* which of them is to be closed */
} MemexposeLink;

struct MemexposeState {
    DeviceState *dev;           /* whose part this is */
    void (*set_irq)(DeviceState *dev, bool level, bool rise);
    char *log_name;

    MemoryRegion regs;
    MemoryRegion window;        /* shares become its subregions */

    struct memexpose_device *device;
    MemexposeLink mem, intr;
    QEMUBH *ended_bh;
    QemuCond link_cond;         /* signalled when the links change */

    AddressSpace *as;           /* what is exported */
    AddressSpace own_as;        /* that, if it is not the system's */
    MemTxAttrs attrs;           /* with which peers access it */
    MemoryListener listener;

    struct memexpose_device *watched;   /* for faults in its shares */
    MemexposeState *next_watched;
    QLIST_ENTRY(MemexposeState) next_member;    /* of the group */
    bool updating;              /* shares come in one transaction, soon */

    /* Properties. */
    uint64_t window_size;
    char *name;
    char *hello;
    char *subpriority;
    char *seals;
    char *address_space;
    bool share;
    bool push;
    bool block;
    bool wait;
    bool export_readonly;
    uint64_t export_base;
    uint64_t export_size;
    uint32_t request_timeout;
    uint32_t map_change_timeout;
    uint32_t connect_timeout;
    uint32_t max_ranges;
    uint32_t poll_ns;
};

/* memexpose-device.c */

/* What both devices do when they are made, ... */
void memexpose_init(MemexposeState *s);
void memexpose_finalize(MemexposeState *s);

/* ... and in realize, unrealize and reset. */
bool memexpose_realize(MemexposeState *s, DeviceState *dev, Error **errp);
void memexpose_unrealize(MemexposeState *s);
void memexpose_reset(MemexposeState *s);

/* memexpose-properties.c, with memexpose-properties.h.inc */

/* Describe them, and add those that only tell; @common: its offset. */
void memexpose_class_add_properties(ObjectClass *klass, size_t common);

/* Turn them into the library's configuration. */
bool memexpose_configure(MemexposeState *s,
                         struct memexpose_device_config *config, Error **errp);

/* memexpose-group.c: what all devices of the process share */

struct memexpose_group *memexpose_group_get(Error **errp);

/* A device belongs to it from when it is made to when it goes. */
void memexpose_group_join(MemexposeState *s);
void memexpose_group_leave(MemexposeState *s);

/* Is this within a memory transaction's commit? */
bool memexpose_in_commit(void);

/* What was put off is to be done soon. */
void memexpose_schedule(void);

/* Has somebody asked the machine to end, or to begin anew? */
bool memexpose_must_stop(void);

/* memexpose-link.c: chardevs */

bool memexpose_link_check(MemexposeLink *link, Error **errp);
bool memexpose_links_listen(MemexposeState *s);
bool memexpose_links_start(MemexposeState *s, Error **errp);
void memexpose_links_stop(MemexposeState *s);

/* May a connection that is missing still come? */
bool memexpose_links_possible(MemexposeState *s);

/* Wait for a client without the main loop, at most @ms. */
void memexpose_links_accept(MemexposeState *s, int ms);

/* memexpose-export.c: what the peer reaches of this machine */

bool memexpose_export_start(MemexposeState *s, Error **errp);
void memexpose_export_stop(MemexposeState *s);
int memexpose_export_read(void *opaque, uint64_t address, unsigned bytes,
                          uint64_t *value);
int memexpose_export_write(void *opaque, uint64_t address, unsigned bytes,
                           uint64_t value);
int memexpose_export_read_block(void *opaque, uint64_t address, void *buffer,
                                size_t bytes, size_t *done);
int memexpose_export_write_block(void *opaque, uint64_t address,
                                 const void *buffer, size_t bytes,
                                 size_t *done);
int memexpose_export_resolve(void *opaque, uint64_t address,
                             struct memexpose_share *share);
int memexpose_export_next_share(void *opaque, uint64_t address,
                                struct memexpose_share *share);

/* memexpose-fault.c: memory that the peer has taken away */

void memexpose_faults_watch(MemexposeState *s);
void memexpose_faults_forget(MemexposeState *s);
void memexpose_faults_expect(void);

/* memexpose-import.c: what is mapped of the peer's memory */

int memexpose_import_map(void *opaque, const struct memexpose_range *range);
int memexpose_import_unmap(void *opaque, const struct memexpose_range *range);
void memexpose_import_update(void *opaque, bool begin);
void memexpose_import_retire(void *opaque, void (*fn)(void *arg), void *arg);

/* Remove what was unmapped from the memory map, if there is anything. */
bool memexpose_import_remove(void);

/* Is the region a part of a memexpose device? */
bool memexpose_owns(MemoryRegion *mr);

#endif
