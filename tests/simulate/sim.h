/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The deterministic simulation: whole devices, each in a process of its own,
 * in one thread of one real process.
 *
 * What the library asks of the system (lib/os.h), of threads and of malloc()
 * comes to the simulation.  Simulated threads are fibers; a fiber gives way
 * where a thread would block, in the consumer's callbacks, and before it takes
 * a lock.  A scheduler that a seed drives chooses every step: which fiber
 * runs, which bytes arrive, what fails, who dies.  Time is virtual and passes
 * when nobody can do anything, and while one polls: a look at the clock then
 * takes LOOK, with the group's lock held.
 */
#ifndef SIMULATE_SIM_H
#define SIMULATE_SIM_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <memexpose/memexpose.h>

#define MS INT64_C(1000000)
#define LOOK INT64_C(10000)     /* what polling until the next look takes */
#define FOREVER INT64_MAX

enum {
    PROCESSES = 3,
    DEVICES = 2,                /* of one process */
    SLOTS = 4,                  /* where a process may export something */
    CELLS = 3,                  /* words of a slot that are looked at */
    BULKS = 2,                  /* slots of bulk memory, side by side */
    PLACES = SLOTS + BULKS,
    BULK_SIZE = 0x9000,         /* of each; both are more than a block */
    BULK_ALL = BULKS * BULK_SIZE,
    BLOCK_MOST = 70000,         /* bytes that are accessed at once */
    FIBERS = 48,
    RETIRED = 1024
};

struct process;
struct sim_device;

/* --- one schedule, as its seed drew it ----------------------------------- */

struct plan {
    unsigned processes, links;
    unsigned operations;        /* of each thread */
    unsigned preempt;           /* per thousand, at a lock */
    unsigned linger;            /* per cent, in a callback */
    unsigned spurious;          /* per thousand: a wait ends for nothing */
    unsigned piece;             /* bytes that move at a time, at most */
    unsigned room;              /* bytes between two sockets */
    unsigned fault_rate;        /* one in so many; 0: nothing fails */
    unsigned kills, stalls;     /* left */
    unsigned block;             /* bytes of a block, at most; 0: no bulk */
    bool push;                  /* some devices have it */
    bool map_changes;
    bool resets;                /* disable, reset, cancel, destroy */
    bool calm;                  /* no faults, kills, stalls, resets */
};

/* Real counts of a run. */
struct totals {
    uint64_t schedules, steps, switches, deliveries, bytes;
    uint64_t requests, served, shares, mapped, invalidations;
    uint64_t interrupts, operations, direct, map_changes;
    uint64_t faults, kills, stalls, resets, deadlines, reads_checked;
    uint64_t remakes, transports;
    uint64_t blocks, offers;
    uint64_t polled, poll_hits, poll_misses, lock_waits;
};

struct world {
    uint64_t seed;
    uint64_t random;
    uint64_t tick;              /* counts events, orders what is compared */
    int64_t now;                /* virtual, ns */
    struct plan plan;
    bool tracing;
    bool failed;
    bool ending;                /* every thread has done its work */
    bool lossy;                 /* descriptors were lost: a fault that counts
                                 * as a violation */
    unsigned faults;            /* of this schedule */
    unsigned cancels;
    bool stalled;               /* something stood still: time may pass */
    bool polled;                /* somebody did, before sleeping */
    char failure[400];
    uint64_t digest;            /* of everything that happened */
};

extern struct world world;
extern struct totals totals;

uint64_t sim_random(void);
unsigned sim_below(unsigned limit);             /* 0 if limit is 0 */
bool sim_chance(unsigned of, unsigned in);
/* Shall this fail?  Counted and traced. */
bool sim_fault(const char *what);

void sim_trace(const char *format, ...)
    __attribute__((format(printf, 1, 2)));
/* An invariant is broken.  Does not return within a fiber. */
void sim_fail(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

#define SIM_CHECK(condition, ...) \
    do { if (!(condition)) { sim_fail(__VA_ARGS__); } } while (0)

/* Run one schedule.  Returns whether every invariant held. */
bool sim_run(uint64_t seed, bool tracing);

/* --- fibers (fiber.c) ---------------------------------------------------- */

enum fiber_state {
    FIBER_FREE,
    FIBER_READY,
    FIBER_POLL,                 /* until descriptors or the deadline */
    FIBER_COND,                 /* until signalled or the deadline */
    FIBER_LOCK,                 /* until nobody has the lock */
    FIBER_SLEEP
};

/* What a thread has polled since it began to wait, or to serve, or slept. */
struct polled {
    int64_t time;               /* no look but the first of a round counts */
    uint64_t round;
    bool serving;               /* an event loop */
    unsigned waits;             /* that may come one after the other */
    int64_t deadline;           /* of the wait */
    unsigned late;              /* looks behind it */
    unsigned rung;              /* looks since it was to be woken */
};

struct fiber {
    unsigned id;
    enum fiber_state state;
    struct process *process;
    const char *name;
    void (*entry)(struct fiber *fiber);
    void *argument;
    const struct pollfd *fds;
    size_t count;
    const void *cond;
    bool signalled;
    const void *lock;
    bool until_end;             /* ... or until the schedule ends */
    int64_t deadline;
    bool entering;              /* a call on a device: no other thread takes
                                 * that away before the library's lock */
    bool at_lock;               /* the same, and the lock was taken */
    unsigned depth;             /* of callbacks */
    unsigned inside[DEVICES];   /* of those of one device */
    unsigned services;          /* of those for a peer's access */
    uint64_t waits;             /* how often it gave way */
    uint64_t lock_waits;        /* of these, for a lock */
    struct polled polled;
    uint64_t reads_since;       /* tick when its operation began; 0: none */
    const struct sim_device *updating;  /* by a run of map and unmap */
};

extern struct fiber fibers[FIBERS];
extern struct fiber *fiber_current;     /* NULL: the scheduler */

/* How often it waited for something else than a lock. */
static inline uint64_t fiber_waits(const struct fiber *fiber)
{
    return fiber->waits - fiber->lock_waits;
}

struct fiber *fiber_spawn(struct process *process, const char *name,
                          void (*entry)(struct fiber *fiber), void *argument);
void fiber_resume(struct fiber *fiber);
void fiber_abandon(struct fiber *fiber);
void fiber_yield(void);                 /* ->state says until when */
void fiber_pause(void);                 /* let others run, if they want to */
void fiber_sleep(int64_t until);
/* poll(2) on the virtual clock. */
int fiber_poll(struct pollfd *fds, size_t count, int64_t deadline);
/* In a consumer's callback: as long as it may take. */
void fiber_linger(void);

/* --- memory (memory.c) --------------------------------------------------- */

/* What descriptors, mappings and messages under way refer to. */
struct object;

void memory_setup(void);
void memory_reset(void);
struct object *memory_object(struct process *owner, uint64_t size);
void memory_ref(struct object *object);
void memory_unref(struct object *object);
uint64_t memory_id(const struct object *object);
uint8_t *memory_bytes(struct object *object);
/* Nobody may reach it any more: tell which exporter has withdrawn it. */
void memory_retire(struct object *object);
bool memory_retired(const struct object *object);
void memory_place(struct object *object, uint64_t start);
void memory_release_process(struct process *process);
size_t memory_mappings(const struct process *process);
size_t memory_objects(void);
int memory_map(struct object *object, uint64_t size, uint64_t offset,
               bool readonly, unsigned stream, void **host);
void memory_unmap(void *host, uint64_t size);
/* What is mapped at this address. */
struct object *memory_at(const void *host);
/* The consumer has refused a mapping: nobody knows the address. */
void memory_refuse(void *host);
int memory_overlay(void *host, uint64_t size, bool readonly);
void memory_spoil(void *host);          /* it was to be, and failed */
/* Can anyone still reach retired memory, whose exporter has not ended the link
 * that it came by?  Fails then. */
void memory_check(void);
/* Who reaches @object over a link that is up?  Has any of them kept it? */
void memory_watch(struct object *object);
bool memory_watched(const struct object *object);
/* The same, of all that @exporter exports, retired or not. */
void memory_check_none(const struct process *exporter);
/* Does a mapping of @importer reach retired memory of @owner (allowed, the
 * link has ended at the exporter's end)? */
bool memory_stale(const struct process *importer, const struct process *owner);
/* Is something of [start, start + size) that came by @stream reachable? */
bool memory_reachable(const struct process *importer, unsigned stream,
                      uint64_t start, uint64_t size);

/* What of seals and rights the library looks at. */
struct object_facts {
    uint64_t size;
    bool sealed_shrink, sealed_write;
};
struct object_facts *memory_facts(struct object *object);

/* --- descriptors, streams (net.c) ---------------------------------------- */

void net_reset(void);
/* Something to deliver?  One step of it, chosen at random. */
bool net_can_deliver(void);
void net_deliver(void);
/* When will a stalled direction go on?  FOREVER: none is. */
int64_t net_deadline(void);
void net_stall(int64_t until);          /* one direction */
short net_poll(int fd, short events);
void net_release_process(struct process *process);
size_t net_descriptors(const struct process *process);
int net_object_fd(struct object *object, bool writable);
struct object *net_object_of(int fd);
/* Has the exporter ended the link, and not its peer? */
bool net_ended(unsigned stream);        /* by anyone */
unsigned net_stream_of(int fd);         /* 0: it is none */
bool net_ended_by(unsigned stream, const struct process *exporter);

/* --- what goes over the wire (monitor.c) --------------------------------- */

enum { MONITOR_STREAMS = 256 };

void monitor_open(unsigned stream, bool memory);
void monitor_sent(unsigned stream, unsigned end, const uint8_t *bytes,
                  size_t count);

/* --- what memory holds (oracle.c) ---------------------------------------- */

void oracle_reset(void);
uint64_t oracle_value(void);            /* one never used before */
/* A cell is going to hold @value, or nothing.  Returns a handle. */
unsigned oracle_begin(unsigned process, unsigned slot, unsigned cell,
                      uint64_t value, bool absent, bool readonly);
enum oracle_end { ORACLE_DONE, ORACLE_NOT, ORACLE_MAYBE };
void oracle_end(unsigned process, unsigned slot, unsigned cell,
                unsigned handle, enum oracle_end how);
/* The exporter itself saw it happen, between tick @began and now. */
void oracle_performed(unsigned process, unsigned slot, unsigned cell,
                      uint64_t value, uint64_t began);
void oracle_read(unsigned process, unsigned slot, unsigned cell,
                 uint64_t began, unsigned bytes, uint64_t value,
                 const char *how);
/* An access was refused: was there nothing, or read-only memory? */
void oracle_refused(unsigned process, unsigned slot, unsigned cell,
                    uint64_t began, int result, bool write);
void oracle_died(unsigned process);
/* Before this tick nothing is looked at any more. */
uint64_t oracle_horizon(void);

/* --- what bulk memory holds (bulk.c) ------------------------------------- */

/*
 * Offsets count from BULK.  Contents are told by the @tag that they were made
 * from, one of oracle_value().
 */
void bulk_reset(void);
void bulk_fill(uint8_t *bytes, uint64_t tag, uint64_t offset, size_t count);
unsigned bulk_begin(unsigned process, uint64_t tag, bool absent,
                    uint64_t offset, uint64_t size);
/* The first @done bytes have happened in any case. */
void bulk_end(unsigned process, unsigned handle, enum oracle_end how,
              uint64_t done);
/* The exporter is about to write these. */
void bulk_performed(unsigned process, uint64_t offset, const uint8_t *bytes,
                    size_t count);
void bulk_read(unsigned process, uint64_t offset, const uint8_t *bytes,
               size_t count, uint64_t began);
/* The access ended before this byte: was there nothing? */
void bulk_refused(unsigned process, uint64_t offset, uint64_t began);

/* --- push, blocks (push.c, block.c) -------------------------------------- */

void push_open(unsigned stream);
void push_message(struct sim_device *device, bool sent,
                  const uint8_t *message);

/* One block of the peer's, read or written; how long it may take at most. */
int block_run(struct sim_device *device, int64_t *limit);
void block_reset(void);
/* Has anybody touched what was given back? */
void block_check_buffers(void);

/* --- processes (process.c, operation.c) ---------------------------------- */

struct slot {
    struct object *object;      /* of what is exported there, or NULL */
    bool present;
    bool busy;                  /* a thread is changing it */
    bool readonly;
    bool mappable;              /* by peers, if all goes well */
    uint64_t settled;           /* the tick from which on it is offered */
    uint64_t size;
    uint8_t scratch[CELLS][8];  /* registers */
};

/* One of the consumer's own. */
struct transport {
    bool started, opened, over;
    bool wanted;                /* links are to come up */
    unsigned up[2];             /* handed over, and not closed: an old one is
                                 * told of when the next is there */
    int64_t pause;              /* no attempt to connect before */
    unsigned attempts;
    int waker;
    int listener[2], half[2];
    char path[2][16];
};

struct far_end {
    struct process *process;    /* the peer */
    unsigned device;            /* its device */
};

struct sim_device {
    struct process *process;
    unsigned index;
    struct memexpose_device *device;
    struct far_end peer;
    bool connects;
    unsigned link;              /* number, names the sockets */
    struct memexpose_device_config config;
    bool own_transport;
    bool pieces;                /* no callbacks for blocks */
    bool offers;                /* it has next_share */
    bool updates;               /* it has update */
    bool updating;
    uint64_t declined[PLACES];  /* the peer's objects that were not mapped */
    struct transport transport;
    bool going;                 /* it is being destroyed, and made anew */
    unsigned remakes;
    unsigned inside;            /* callbacks that threads are in */
    bool interrupting, changing;
    bool resolved;              /* before the access, by a mutant */
    bool resets;                /* it was reset: the queue is lost */
    uint64_t attempts, refused; /* interrupts that were to be sent */
    uint64_t popped, last_popped;
    uint64_t callbacks;         /* accesses performed for the peer */
    uint64_t maps;              /* ranges that came */
    unsigned later;             /* removals that the consumer delays */
    bool sharing;               /* several threads take interrupts */
};

struct retired {
    void (*fn)(void *arg);
    void *arg;
};

/* The streams by which devices are connected when something begins: only
 * their end excuses it. */
struct links {
    unsigned stream[2 * DEVICES];
    bool complete;              /* none is missing, all are enabled */
};

struct process {
    unsigned index;
    char name[4];
    bool alive;
    bool single;                /* one thread: it serves while it waits */
    bool own_clock;             /* the group has `now` and `wait` */
    unsigned processors;
    int64_t poll_wait, poll_serve;      /* 0: the group does not poll */
    int64_t looked;             /* time that passed in looks */
    unsigned greedy;            /* looks in vain since another thread wants
                                 * the group's lock */
    uint64_t hits;              /* when it looked last ... */
    const struct fiber *looker; /* ... in this thread */
    bool up;                    /* devices exist */
    int64_t stalled;            /* stopped until then */
    int64_t revive;
    unsigned life;              /* counts deaths */
    struct memexpose_group *group;
    struct memexpose_space *space;
    struct sim_device devices[DEVICES];
    unsigned device_count;
    struct slot slots[PLACES];
    unsigned changes;           /* map changes begun by the simulation */
    struct links change_links;  /* when the first of those under way began */
    unsigned in_service;
    int64_t callbacks;          /* time that its threads spent in them: one may
                                 * wait for what another does */
    unsigned threads;           /* that use the devices */
    unsigned workers;           /* threads that have work left */
    unsigned operations;        /* left, of each worker */
    bool remaking;              /* a device */
    unsigned readers;           /* sections that hold addresses */
    bool deferring;             /* it has a retire callback */
    struct retired retired[RETIRED];
    unsigned retired_count;
    uint64_t sequence;          /* of interrupts */
};

extern struct process processes[PROCESSES];

void process_reset(void);
void process_boot(struct process *process);
void process_kill(struct process *process);
bool process_working(void);             /* some thread has work left */
bool process_all_gone(void);
void process_changes_map(struct process *process);      /* from now on */
uint64_t slot_address(unsigned slot);
uint64_t cell_offset(unsigned cell);
/* How many slots there are in this schedule. */
unsigned slot_count(void);
#define BULK UINT64_C(0x800000)         /* where bulk memory is */
#define CONTROL UINT64_C(0x900000)      /* registers that make things happen */

/* --- polling before sleeping (os-sim.c) ---------------------------------- */

void polling_draw(struct process *process);
/* The bounds that were drawn, or none for a while. */
void polling_set(struct process *process);
/* The clock, at which who polls has to look. */
int64_t polling_clock(void);
/* Nothing has come: others may go on. */
void polling_in_vain(void);
void polling_check(struct process *process);

/* One wait, until @deadline at the latest. */
static inline struct polled polling_until(int64_t deadline)
{
    return (struct polled) { .waits = 1, .deadline = deadline };
}

/* The same wait goes on, or another one. */
static inline void polling_anew(struct fiber *fiber)
{
    fiber->polled.time = 0;
}

struct links links_of(struct process *process,
                      const struct sim_device *only);
bool links_may_have_ended(const struct links *links);

/* The device, for a call that begins now. */
static inline struct memexpose_device *device_enter(struct sim_device *device)
{
    fiber_current->entering = true;
    polling_anew(fiber_current);
    return device->device;
}

bool device_create(struct sim_device *device);
int transport_set(struct sim_device *device);
void transport_tell(struct sim_device *device);
void transport_release(struct sim_device *device);
void consumer_ops(const struct sim_device *device,
                  struct memexpose_device_ops *ops);
void process_run_retired(struct process *process);
bool slot_add(struct process *process, unsigned slot);
void slots_settle(struct process *process);
void slot_withdraw(struct process *process, unsigned slot);
void operation_run(struct process *process);
void operation_interrupt(struct sim_device *device);
void operation_disrupt(struct process *process, bool in_callback);
void operation_custom_change(struct process *process);

/* --- allocations (alloc.c) ----------------------------------------------- */

void alloc_release_process(struct process *process);
size_t alloc_count(const struct process *process);

/* --- threads (threads.c) ------------------------------------------------- */

void threads_reset(void);
void threads_release_process(const struct process *process);
bool threads_lock_is_free(const void *lock);
bool threads_holds(const void *lock);   /* this one? */
bool threads_holds_any(void);

#endif
