/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libmemexpose-event: drive a group from a libevent event_base.
 */
#ifndef MEMEXPOSE_EVENT_H
#define MEMEXPOSE_EVENT_H

#include <memexpose/group.h>

#ifdef __cplusplus
extern "C" {
#endif

struct event_base;
struct memexpose_event;

/**
 * memexpose_event_create - serve a group from an event loop
 * @base: the loop; it must outlive what is returned
 * @group: the group; it must outlive what is returned
 *
 * From now on the loop reads, answers and connects for every device of the
 * group, in the thread that runs it.  Blocking accesses, by that thread or by
 * others, go beside it; the loop learns by itself what they changed.
 *
 * Returns: a handle, or NULL with errno ENOMEM.
 */
struct memexpose_event *memexpose_event_create(struct event_base *base,
                                               struct memexpose_group *group);

/**
 * memexpose_event_destroy - leave the loop
 * @event: the handle; NULL does nothing
 *
 * In the thread of the loop, not from within a callback of the library.
 */
void memexpose_event_destroy(struct memexpose_event *event);

#ifdef __cplusplus
}
#endif

#endif
