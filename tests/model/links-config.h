/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configurations of links.pml: who is linked with whom, what the local
 * threads (slots 1, 2, ...) and the services do.
 */

#if defined(CONFIG_PAIR)
/* Two machines, one link; each accesses and changes its map. */
#define MACHINES 2
#define LINKS 1
#define GUESTS 2
#define SINGLE
#define GUEST_ACCESSES(slot) 2
#define GUEST_CHANGES(slot) 1
#define SERVICE_CHANGES(m) 1

#elif defined(CONFIG_NESTED)
/* The same; a service tries an access of its own or changes the map. */
#define MACHINES 2
#define LINKS 1
#define GUESTS 2
#define SINGLE
#define NESTED 1
#define CANCELS 1
#define GUEST_ACCESSES(slot) 2
#define GUEST_CHANGES(slot) 0
#define SERVICE_CHANGES(m) 1

#elif defined(CONFIG_THREADS)
/* Accesses and map changes run in threads of their own. */
#define MACHINES 2
#define LINKS 1
#define GUESTS 4
#define GUEST_MACHINE(slot) (((slot) - 1) & 1)
#define GUEST_ACCESSES(slot) ((slot) == 1 -> 2 : (slot) == 2)
#define GUEST_CHANGES(slot) ((slot) > 2)
#define SERVICE_CHANGES(m) 1

#elif defined(CONFIG_QUEUE)
/* Two threads of a machine access over one link. */
#define MACHINES 2
#define LINKS 1
#define GUESTS 3
#define CANCELS 1
#define NESTED 1
#define GUEST_MACHINE(slot) (((slot) - 1) & 1)
#define GUEST_ACCESSES(slot) 1
#define GUEST_CHANGES(slot) ((slot) == 2)
#define SERVICE_CHANGES(m) (m)

#elif defined(CONFIG_RANGES)
/* Map changes of two invalidations. */
#define MACHINES 2
#define LINKS 1
#define GUESTS 3
#define RANGES 2
#define GUEST_MACHINE(slot) (((slot) - 1) & 1)
#define GUEST_ACCESSES(slot) ((slot) == 1 -> 2 : 0)
#define GUEST_CHANGES(slot) ((slot) >= 2)
#define SERVICE_CHANGES(m) 0

#elif defined(CONFIG_DOUBLE)
/* Two devices in each of two processes. */
#define MACHINES 2
#define LINKS 2
#define GUESTS 2
#define SINGLE
#define OWNER(e) ((e) & 1)
#define GUEST_LINK(slot, l) true
#define GUEST_END(slot, l) (2 * (l) + (slot) - 1)
#define GUEST_ACCESSES(slot) 2
#define GUEST_CHANGES(slot) 1
#define SERVICE_CHANGES(m) 1

#elif defined(CONFIG_TRIANGLE)
/* Three processes, each linked with both others; one thread each. */
#define MACHINES 3
#define LINKS 3
#define GUESTS 3
#define SINGLE
#define OWNER(e) ((((e) + 1) >> 1) % 3)
#define FIRST_END(m) ((m) == 0 -> 0 : 2 * (m) - 1)
#define GUEST_LINK(slot, l) true
#define GUEST_END(slot, l) \
    ((l) == 0 -> 2 * ((slot) - 1) : \
     ((slot) == 1 -> 5 : 2 * ((slot) - 1) - 1))
#define GUEST_ACCESSES(slot) 1
#define GUEST_CHANGES(slot) ((slot) == 2)
#define SERVICE_CHANGES(m) ((m) == 0)

#elif defined(CONFIG_RECONNECT_TWO)
/* Both links of two devices end at any step, also at once, and come back. */
#define MACHINES 2
#define LINKS 2
#define GUESTS 2
#define SINGLE
#define OWNER(e) ((e) & 1)
#define BREAKS 2
#define RANGES 1
#define GUEST_LINK(slot, l) true
#define GUEST_END(slot, l) (2 * (l) + (slot) - 1)
#define GUEST_ACCESSES(slot) 1
#define GUEST_CHANGES(slot) ((slot) == 1)
#define SERVICE_CHANGES(m) 0

#elif defined(CONFIG_RECONNECT)
/* The link ends at any step and comes back. */
#define MACHINES 2
#define LINKS 1
#define GUESTS 2
#define BREAKS 1
#ifndef RANGES
#define RANGES 2
#endif
#define GUEST_ACCESSES(slot) 2
#define GUEST_CHANGES(slot) ((slot) == 1)
#define SERVICE_CHANGES(m) (m)

#elif defined(CONFIG_PUSH)
/* Two machines of one thread: one accesses, the other changes its map. */
#define MACHINES 2
#define LINKS 1
#define GUESTS 2
#define RANGES 2
#define SINGLE
#define PUSH
#define MAPPABLE_FIRST 1
#define TURNS 1
#define GUEST_ACCESSES(slot) (slot)
#define GUEST_CHANGES(slot) ((slot) == 1)
#define SERVICE_CHANGES(m) ((m) == 0)

#elif defined(CONFIG_PUSH_APPEARS)
/* Memory appears, is accessed, and is replaced from within the service. */
#define MACHINES 2
#define LINKS 1
#define GUESTS 2
#define SINGLE
#define PUSH
#define MAPPABLE_FIRST 0
#define TURNS 1
#define GUEST_ACCESSES(slot) ((slot) == 1 -> 0 : 2)
#define GUEST_CHANGES(slot) ((slot) == 1)
#define SERVICE_CHANGES(m) ((m) == 0)

#elif defined(CONFIG_PUSH_GROWS)
/* What is shared grows. */
#define MACHINES 2
#define LINKS 1
#define GUESTS 2
#define RANGES 2
#define SINGLE
#define PUSH
#define MAPPABLE_FIRST 1
#define TURNS 1
#define GROWS
#define GUEST_ACCESSES(slot) (slot)
#define GUEST_CHANGES(slot) ((slot) == 1)
#define SERVICE_CHANGES(m) 0

#elif defined(CONFIG_PUSH_THREADS)
/* A machine with two threads, whose changes may wait for nobody. */
#define MACHINES 2
#define LINKS 1
#define GUESTS 3
#define PUSH
#define TURNS 1
#define HURRIES(slot) true
#define GUEST_MACHINE(slot) (((slot) - 1) & 1)
#define GUEST_ACCESSES(slot) ((slot) == 2 -> 2 : (slot) == 1)
#define GUEST_CHANGES(slot) ((slot) == 3 -> 2 : 0)
#define SERVICE_CHANGES(m) (1 - (m))

#elif defined(CONFIG_PUSH_TRIANGLE)
/* Three processes, each linked with both others; one thread each. */
#define MACHINES 3
#define LINKS 3
#define GUESTS 3
#define SINGLE
#define PUSH
#define OFFERED_FIRST
#define RANGES 2
#define MAPPABLE_FIRST 1
#define GUEST_RANGES(slot) ((slot) == 3 -> ALL_RANGES : 2)
#define CHANGES_ALL false
#define SERVICE_RANGE 0
#define OWNER(e) ((((e) + 1) >> 1) % 3)
#define FIRST_END(m) ((m) == 0 -> 0 : 2 * (m) - 1)
#define GUEST_END(slot, l) (2 * ((slot) - 1))
#define GUEST_ACCESSES(slot) 1
#define GUEST_CHANGES(slot) 0
#define SERVICE_CHANGES(m) ((m) == 0)

#elif defined(CONFIG_PUSH_DOUBLE)
/* Two devices in each of two processes. */
#define MACHINES 2
#define LINKS 2
#define GUESTS 2
#define SINGLE
#define PUSH
#define OFFERED_FIRST
#define RANGES 2
#define MAPPABLE_FIRST 1
#define SERVICE_RANGE 0
#define OWNER(e) ((e) & 1)
#define GUEST_LINK(slot, l) true
#define GUEST_END(slot, l) (2 * (l) + (slot) - 1)
#define GUEST_ACCESSES(slot) 1
#define GUEST_CHANGES(slot) ((slot) == 2)
#define SERVICE_CHANGES(m) (m)

#elif defined(CONFIG_PUSH_RECONNECT)
/* The link ends at any step and comes back. */
#define MACHINES 2
#define LINKS 1
#define GUESTS 2
#define BREAKS 1
#define PUSH
#ifndef RANGES
#define RANGES 2
#endif
#define GUEST_ACCESSES(slot) (slot)
#define GUEST_CHANGES(slot) (RANGES == 1 && (slot) == 1)
#define SERVICE_CHANGES(m) 0

#endif

#ifndef OWNER
#define OWNER(e) (e)
#endif
#ifndef FIRST_END
#define FIRST_END(m) (m)
#endif
#ifndef GUEST_MACHINE
#define GUEST_MACHINE(slot) ((slot) - 1)
#endif
#ifndef GUEST_LINK
#define GUEST_LINK(slot, l) ((l) == 0)
#endif
#ifndef GUEST_END
#define GUEST_END(slot, l) GUEST_MACHINE(slot)
#endif
#ifndef GUEST_RANGES
#define GUEST_RANGES(slot) ALL_RANGES
#endif
#ifndef CHANGES_ALL
#define CHANGES_ALL true
#endif
#ifndef SERVICE_RANGE
#define SERVICE_RANGE wanted            /* it moves its own target */
#endif
