/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device: both links, registers, region cache, ledger and the consumer's
 * callbacks.  device.c holds its life and links, device-regs.c what a guest
 * does to it (section 5), device-export.c what is exported, device-import.c
 * what is mapped of the peer's (section 4) and device-window.c accesses to it.
 */
#ifndef MX_DEVICE_H
#define MX_DEVICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <memexpose/device.h>

#include "fault.h"
#include "group.h"
#include "ledger.h"
#include "region-cache.h"
#include "regs.h"
#include "socket.h"

enum mx_mapping_state {
    MX_MAPPING_ACCEPTED,        /* to be announced to the consumer */
    MX_MAPPING_MAPPED,          /* in the region cache */
    MX_MAPPING_GOING,           /* unreachable; the consumer is to be told */
    MX_MAPPING_LATER            /* the consumer will say when it is gone */
};

/* Memory of the peer's in this process. */
struct mx_mapping {
    TAILQ_ENTRY(mx_mapping) entry;
    struct mx_region region;
    enum mx_mapping_state state;
    bool holds;                 /* accesses, until it is mapped */
    bool busy;                  /* a callback for it is running */
    bool announced;             /* the consumer has taken it */
    bool unmapped;              /* the consumer has let go of it */
    bool detached;              /* zeros are there instead */
    unsigned users;             /* copies under way */
    struct mx_fault *fault;     /* by which a SIGBUS handler finds it */
};

struct memexpose_device {
    struct mx_member member;
    struct memexpose_device_ops ops;
    void *opaque;
    struct memexpose_device_config config;
    char name[MEMEXPOSE_NAME_SIZE];
    struct memexpose_space *space;
    struct memexpose_stats stats;

    struct mx_regs regs;
    uint32_t connects;
    bool refuses;               /* disabled by 0: no links */
    atomic_bool destroyed;      /* no more links, mappings, waits */
    bool gone;                  /* no more callbacks */

    struct memexpose_transport_ops transport;
    void *transport_opaque;
    bool has_transport;
    long refused_uid;           /* said of last; -1: of nobody */
    struct mx_socket *socket;
    bool passes_descriptors;    /* does the memory link? */
    bool told_of_descriptors;   /* said that it does not */
    bool call_open, call_refuse;        /* the transport is to be called */
    unsigned call_closed[MX_LINKS];

    bool telling;               /* interrupt or link_changed is running */
    bool level_told, rise;
    uint64_t state_told;

    struct mx_region_cache cache;
    TAILQ_HEAD(mx_mappings, mx_mapping) mapped;
    struct mx_mappings moving;  /* every other state */
    unsigned removals;          /* going or later */
    unsigned ranges;            /* accepted or mapped */
    uint64_t last_id;
    struct mx_ledger accepted;  /* ranges that are to be announced */
    bool warned_seals;
    struct mx_faults faults;
    atomic_bool faulted;

    bool updating;              /* several mappings are told in a run, */
    pthread_t teller;           /* by this thread */

    struct mx_ledger ledger;
    bool offers_due;            /* to be offered, or said to be at an end */
    uint64_t offer_next;        /* from this address on */
    uint64_t generation;        /* counts the links' beginnings and ends */
};

static inline struct memexpose_device *
mx_device_of(struct mx_member *member)
{
    return (struct memexpose_device *)member;
}

static inline struct memexpose_group *
mx_device_group(const struct memexpose_device *device)
{
    return device->member.group;
}

/* --- device.c ------------------------------------------------------------ */

/* Close the links now; those who wait get @error. */
void mx_device_end_links(struct memexpose_device *device, int error);

/* Links are not to come up, or may again (section 5). */
void mx_device_refuse_links(struct memexpose_device *device);
void mx_device_want_links(struct memexpose_device *device);

/* Whoever waits on the device is to give up. */
void mx_device_cancel_waits(struct memexpose_device *device);

/* Bring the registers that tell of the links up to date (0x010 to 0x020). */
void mx_device_update_link(struct memexpose_device *device);

/* --- device-regs.c ------------------------------------------------------- */

/* The interrupt line; interrupts are held while a removal is pending. */
bool mx_device_line(struct memexpose_device *device);

/* --- device-import.c ----------------------------------------------------- */

void mx_import_init(struct memexpose_device *device);
void mx_import_free(struct memexpose_device *device);

/* A share came with a response (mx_link_ops.share). */
void mx_import_share(struct memexpose_device *device,
                     const struct mx_wire_share *share, int fd);

/* A share was pushed (mx_link_ops.offer). */
void mx_import_offer(struct memexpose_device *device,
                     const struct mx_wire_share *share, int fd);

/* REG_INV came (mx_link_ops.invalidate). */
int mx_import_invalidate(struct memexpose_device *device, uint64_t start,
                         uint64_t size);

/* The links have ended: everything goes. */
void mx_import_drop_all(struct memexpose_device *device);

/* One callback for a mapping that comes or goes (mx_member_ops.settle). */
bool mx_import_settle(struct memexpose_device *device);

/* Forget what the consumer has not let go of: the device is destroyed. */
void mx_import_abandon(struct memexpose_device *device);

/* A copy through the mapping, counted in its users, has ended. */
void mx_import_unpin(struct memexpose_device *device,
                     struct mx_mapping *mapping);

void mx_describe_range(const struct mx_region *region,
                       struct memexpose_range *range);

/* --- device-window.c ----------------------------------------------------- */

/* The last address that can be reached through the window. */
uint64_t mx_window_last(const struct memexpose_device *device);

/* Hello is settled: accesses that lie outside the window fail. */
void mx_window_settled(struct memexpose_device *device);

/* Something is mapped: accesses that wait to be sent may not have to be. */
void mx_window_mapped(struct memexpose_device *device);

/* --- device-export.c ----------------------------------------------------- */

/* Service the access that the link keeps (mx_member_ops.service). */
void mx_export_service(struct mx_member *member);

/* Is there something to offer, and may it be? (section 9; mx_member_ops) */
bool mx_export_may_offer(const struct mx_member *member);
void mx_export_offer(struct mx_member *member);

/* Everything is to be offered (anew). */
void mx_export_begin_offers(struct memexpose_device *device);

bool mx_span_valid(uint64_t start, uint64_t size);

/* REG_INV for every share that intersects; 0, or -ENOMEM: the link ends. */
int mx_export_invalidate(struct memexpose_device *device, uint64_t start,
                         uint64_t size);

/* 1, 2, 4 or 8? */
bool mx_access_size_valid(uint64_t bytes);

/* The size of the largest naturally aligned piece. */
unsigned mx_piece_size(uint64_t address, size_t bytes);

/* --- device-space.c ------------------------------------------------------ */

/* The space that the device exports, if it is the library's; else NULL. */
struct memexpose_space *
mx_export_space(const struct memexpose_device *device);

/* What to announce to the peer. */
void mx_export_span(struct memexpose_device *device, uint64_t *start,
                    uint64_t *size);

#endif
