/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A side that libevent drives.
 */
#include <event2/event.h>

#include <memexpose/event.h>

#include "side.h"

void side_serve_from_event_loop(struct side *side)
{
    struct event_base *base = event_base_new();
    struct memexpose_event *event =
        base ? memexpose_event_create(base, side->group) : NULL;

    while (event && !side->left &&
           event_base_loop(base, EVLOOP_ONCE) >= 0) {
    }
    memexpose_event_destroy(event);
    if (base) {
        event_base_free(base);
    }
}
