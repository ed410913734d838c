/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device: one peer.  It exports memory of the consumer's to that peer,
 * imports the peer's through its window, and exchanges interrupts with it.
 *
 * Threads.  Unless said otherwise every function may be called from any
 * thread and from any callback.  Callbacks run in whatever thread is inside
 * the library (memexpose_group_process(), or any function that waits) with no
 * lock of the library held, unless said otherwise.  A callback may disable,
 * reset or destroy the device that it was called for.
 */
#ifndef MEMEXPOSE_DEVICE_H
#define MEMEXPOSE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <memexpose/group.h>
#include <memexpose/protocol.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The two links between peers (protocol section 1). */
enum memexpose_link {
    MEMEXPOSE_LINK_MEM,
    MEMEXPOSE_LINK_INTR
};

/* Which side says hello first (protocol sections 1 and 6). */
enum memexpose_role {
    MEMEXPOSE_ROLE_LISTEN,
    MEMEXPOSE_ROLE_CONNECT
};

enum memexpose_hello {
    MEMEXPOSE_HELLO_OFF,    /* speak base from the start */
    MEMEXPOSE_HELLO_ON,     /* say it, or recognise it; base is served too */
    MEMEXPOSE_HELLO_REQUIRE /* refuse peers that speak only base */
};

/* Which half of the arbitration this side takes (protocol section 3). */
enum memexpose_subpriority {
    MEMEXPOSE_SUBPRIORITY_0,
    MEMEXPOSE_SUBPRIORITY_1,
    MEMEXPOSE_SUBPRIORITY_AUTO
};

/* Must a shared object be sealed against shrinking? (protocol section 4) */
enum memexpose_seals {
    MEMEXPOSE_SEALS_IGNORE,  /* not looked at */
    MEMEXPOSE_SEALS_PREFER,  /* mapped all the same, with one warning */
    MEMEXPOSE_SEALS_REQUIRE  /* else it is not mapped */
};

/* Values of peer_uid besides a user's number. */
#define MEMEXPOSE_USER_ANY  (-1) /* whoever may connect to the socket */
#define MEMEXPOSE_USER_SELF (-2) /* the effective user of this process */

/**
 * struct memexpose_share - memory that the exporter offers to its peer
 *
 * The maximal flat range of the exporter's space that is backed by one object
 * and contains the first byte of the access (protocol sections 2 and 4).
 */
struct memexpose_share {
    uint64_t start;    /* its first address in the exporter's space */
    uint64_t size;     /* in bytes */
    uint64_t offset;   /* where @start lies in the object, in bytes */
    int fd;            /* the object; becomes the library's */
    bool readonly;     /* nothing in the exporter can write the object, @fd
                        * was opened read-only and, for a memfd, the object is
                        * sealed F_SEAL_FUTURE_WRITE: the library looks */
    bool nonvolatile;  /* told to the peer, without effect */
};

/**
 * struct memexpose_range - memory of the peer that is mapped here
 */
struct memexpose_range {
    uint64_t start;    /* first address, which is the offset in the window */
    uint64_t size;     /* bytes, whole pages */
    void *host;        /* where it lies in this process */
    bool readonly;     /* writes go over the link (and are denied there) */
    bool nonvolatile;  /* as the exporter said */
    uint64_t id;       /* unique among the ranges of the device, ever */
};

/* unmap's answer: memexpose_device_unmapped() will follow. */
#define MEMEXPOSE_UNMAP_LATER 1

/**
 * struct memexpose_device_ops - what a consumer supplies for a device
 *
 * Every member but @size may be NULL.  @opaque is what
 * memexpose_device_create() was given.
 */
struct memexpose_device_ops {
    /* sizeof(struct memexpose_device_ops) of the consumer's build */
    size_t size;

    /**
     * @read: the peer reads exported memory
     * @address: absolute, in the exported space
     * @bytes: 1, 2, 4 or 8; @address + @bytes does not pass 2^64
     * @value: out: the bytes in memory order, the first in the low 8 bits
     *
     * One at a time in the whole group.  It may begin a map change; an access
     * through any window from within it fails with MEMEXPOSE_RESULT_DECODE.
     * What would reach registers or the window of a memexpose device must
     * answer MEMEXPOSE_RESULT_DECODE (protocol section 3).
     *
     * An access may straddle ranges of the consumer's: it has to serve all of
     * it, piece by piece.
     *
     * Returns: MEMEXPOSE_RESULT_*; anything negative is sent as
     * MEMEXPOSE_RESULT_ERROR.  Default: MEMEXPOSE_RESULT_DECODE.
     */
    int (*read)(void *opaque, uint64_t address, unsigned bytes,
                uint64_t *value);

    /**
     * @write: the peer writes exported memory; as @read.
     */
    int (*write)(void *opaque, uint64_t address, unsigned bytes,
                 uint64_t value);

    /**
     * @resolve: may the memory at @address be shared?
     * @share: out: to be filled in if so; @share->fd becomes the library's if
     *         1 is returned
     *
     * Called right after a successful access to @address, so that it sees
     * what the access changed (protocol section 4).  An object is to be
     * offered only if all of it may be exported.
     *
     * Returns: 1 if @share is filled in; 0, or anything else, if the memory
     * stays on the link.  Default: 0.
     */
    int (*resolve)(void *opaque, uint64_t address,
                   struct memexpose_share *share);

    /**
     * @map: memory of the peer's can be reached directly from now on
     * @range: what and where, valid during the call
     *
     * The library has mapped it.  The memory at @range->host stays addressable
     * until it is retired (see @retire).
     *
     * Returns: 0, or -errno: then the range stays on the link.  Default: 0.
     */
    int (*map)(void *opaque, const struct memexpose_range *range);

    /**
     * @unmap: a range that was mapped goes
     * @range: as for @map; the peer's memory is unreachable through it
     *         already, zeros are there instead
     *
     * Returns: 0 if nothing of the consumer's uses the range any more, or
     * MEMEXPOSE_UNMAP_LATER: then memexpose_device_unmapped() must follow.
     * Until then the peer's later interrupts and responses are held back, so
     * neither this nor what it waits for may access the window over the link.
     * Default: 0.
     */
    int (*unmap)(void *opaque, const struct memexpose_range *range);

    /**
     * @retire: call @fn with @arg when no reader can be left
     *
     * For consumers that look up ranges without a lock (see
     * memexpose_device_translate()): @fn(@arg) frees what readers that began
     * before this call may still use.  It may be called from any thread, at
     * any time, also after the device's end.  This callback may come with a
     * lock of the library held and must not call into the library.
     * Default: @fn is called at once, and memexpose_device_translate() may
     * only be called where no other thread can be inside the library.
     */
    void (*retire)(void *opaque, void (*fn)(void *arg), void *arg);

    /**
     * @interrupt: the interrupt line (protocol section 5)
     * @level: the line, for a consumer with a wire
     * @rise: true if one of the causes rose, for a consumer that sends
     *        messages: send one
     *
     * Calls for one device never overlap and end with the current level.
     */
    void (*interrupt)(void *opaque, bool level, bool rise);

    /**
     * @link_changed: links went up or down, or hello was settled
     * @state: what MEMEXPOSE_REG_LINK reads, as memexpose_device_link_state()
     *
     * Calls for one device never overlap and end with the current state.
     */
    void (*link_changed)(void *opaque, uint64_t state);

    /**
     * @trace: a message was sent (queued for the socket) or received
     * @link: on which link
     * @sent: true if sent, false if received
     * @message: its bytes, header included; valid during the call.
     *           memexpose_describe() turns it into words.
     * @bytes: how many
     *
     * May come with a lock of the library held: it must not call into the
     * library, memexpose_describe() excepted.
     */
    void (*trace)(void *opaque, enum memexpose_link link, bool sent,
                  const void *message, size_t bytes);

    /**
     * @read_block: the peer reads a block of exported memory (section 8)
     * @address: absolute, in the exported space
     * @buffer: out
     * @bytes: 1 to MEMEXPOSE_BLOCK_SIZE; @address + @bytes does not pass 2^64
     * @done: out: how many bytes were read before a failure; not looked at
     *        after success
     *
     * Otherwise as @read.  Default: @read, in the largest naturally aligned
     * pieces.
     *
     * Returns: as @read.
     */
    int (*read_block)(void *opaque, uint64_t address, void *buffer,
                      size_t bytes, size_t *done);

    /**
     * @write_block: the peer writes a block; as @read_block.
     */
    int (*write_block)(void *opaque, uint64_t address, const void *buffer,
                       size_t bytes, size_t *done);

    /**
     * @next_share: what can be shared, one range after the other (section 9)
     * @address: where to begin to look
     * @share: out: as for @resolve: the first range that may be shared and
     *         does not end at or below @address
     *
     * Asked for by the feature push: when a peer has come, and after each map
     * change.  Called as @resolve is: no access is serviced meanwhile.
     *
     * Returns: 1 if @share is filled in; 0, or anything else, if there is
     * none.  Default: 0.
     */
    int (*next_share)(void *opaque, uint64_t address,
                      struct memexpose_share *share);

    /**
     * @update: several calls of @map and @unmap follow, or have ended
     * @begin: true before the first, false behind the last
     *
     * For consumers who can change their own memory map in one step.  Only
     * calls of @map and @unmap for this device come in between, in one thread;
     * but in other threads everything else may.  Not called when there is only
     * one to come; and not for the end if a call in between has destroyed the
     * device.
     */
    void (*update)(void *opaque, bool begin);
};

/**
 * struct memexpose_device_config - how a device behaves
 *
 * memexpose_device_config_init() fills in the defaults, given in brackets.
 * Times are in nanoseconds.
 */
struct memexpose_device_config {
    size_t size;                  /* sizeof, set by ..._config_init() */
    const char *name;             /* told to the peer and used in the log;
                                   * UTF-8, at most 32 bytes ["memexpose"] */
    enum memexpose_role role;     /* set by memexpose_device_listen() and
                                   * _connect() too [listen] */
    enum memexpose_hello hello;   /* [on] */
    enum memexpose_subpriority subpriority; /* [auto] */
    enum memexpose_seals seals;   /* [prefer] */
    bool share;                   /* false keeps everything exported on the
                                   * link [true] */
    bool wait;                    /* does enabling wait for links? [true] */
    uint64_t window_size;         /* bytes; 2^64 is given as 2^64 - 1; 0: to
                                   * the end of the span that the peer
                                   * announces, 2^64 if it announces none
                                   * [0] */
    uint64_t span_start;          /* span exported, as told to a peer when it
                                   * connects: lowest address */
    uint64_t span_size;           /* and size; 2^64 is given as 2^64 - 1; 0:
                                   * that of the space, if the device exports
                                   * one of the library's [0, 0] */
    int64_t request_timeout;      /* an access [5 s] */
    int64_t map_change_timeout;   /* a map change in all; the smallest of the
                                   * group's devices counts [2 s] */
    int64_t hello_wait;           /* how long a listening side with a request
                                   * of its own waits for hello [1 s] */
    int64_t connect_timeout;      /* how long enabling waits for the links
                                   * [MEMEXPOSE_FOREVER] */
    int64_t retry;                /* between two attempts to connect, at most
                                   * [1 s] */
    unsigned max_ranges;          /* how many may be mapped [1024] */
    int64_t peer_uid;             /* only a process of this user may be the
                                   * peer, as SO_PEERCRED of its sockets says;
                                   * or MEMEXPOSE_USER_ANY, _SELF [any] */
    bool block;                   /* offer the feature block: up to 64 KiB in
                                   * one message [true] */
    bool push;                    /* offer the feature push: all that can be
                                   * shared is shared when a peer comes, and
                                   * after each map change [false] */
};

/**
 * struct memexpose_stats - what a device has counted since its creation
 */
struct memexpose_stats {
    uint64_t requests_sent;          /* accesses sent over the link */
    uint64_t requests_served;        /* the peer's accesses performed */
    uint64_t shares_sent;
    uint64_t shares_received;
    uint64_t invalidations_sent;
    uint64_t invalidations_received;
    uint64_t interrupts_sent;
    uint64_t interrupts_received;    /* arrived, those dropped included */
    uint64_t interrupts_dropped;     /* met a full queue, or were not sent */
    uint64_t mapped_ranges;          /* now */
    uint64_t mapped_bytes;           /* now */
    uint64_t violations;             /* for which a link was closed */
    uint64_t blocks_sent;            /* of requests_sent those for blocks */
    uint64_t blocks_served;          /* of requests_served, likewise */
    uint64_t offers_sent;            /* of shares_sent those pushed */
    uint64_t offers_received;        /* of shares_received, likewise */
};

/**
 * struct memexpose_interrupt - one interrupt with its data
 */
struct memexpose_interrupt {
    uint64_t type;
    uint8_t data[MEMEXPOSE_INTERRUPT_DATA];
};

/**
 * struct memexpose_transport_ops - how links come to be, if not by the
 * library's own sockets
 *
 * A transport connects and closes; all bytes go through the library.  It hands
 * each connected stream socket to memexpose_device_attach().  Members other
 * than @size may be NULL.  Calls may come from any thread in the library.
 */
struct memexpose_transport_ops {
    /* sizeof(struct memexpose_transport_ops) of the consumer's build */
    size_t size;

    /**
     * @open: links are wanted from now on (again)
     *
     * Called when the transport is set and when a device that refused links
     * is enabled or reset.
     */
    void (*open)(void *opaque);

    /**
     * @refuse: no link is wanted until @open is called
     */
    void (*refuse)(void *opaque);

    /**
     * @closed: the library has closed a descriptor that it was handed
     */
    void (*closed)(void *opaque, enum memexpose_link link);
};

/**
 * memexpose_device_config_init - fill in the defaults
 * @config: written whole
 */
void memexpose_device_config_init(struct memexpose_device_config *config);

/**
 * memexpose_device_create - make a device without links
 * @group: to which it belongs; it must outlive the device
 * @ops: callbacks, copied; NULL for none
 * @opaque: handed to each callback
 * @config: copied with its name; NULL for the defaults
 *
 * Returns: the device, or NULL with errno set: ENOMEM; EINVAL for a size of
 * @ops or @config that is too small, a name over 32 bytes, a value out of
 * range, a span or window that passes 2^64.
 */
struct memexpose_device *
memexpose_device_create(struct memexpose_group *group,
                        const struct memexpose_device_ops *ops, void *opaque,
                        const struct memexpose_device_config *config);

/**
 * memexpose_device_destroy - close the links and free the device
 * @device: NULL does nothing
 *
 * Its waits end with -ECANCELED, its mappings are unmapped by way of the unmap
 * callback, whose MEMEXPOSE_UNMAP_LATER then means nothing.  Callbacks that
 * other threads are running for it are waited for; when this returns, none
 * follows (but one that called this is still running) and @device is invalid.
 */
void memexpose_device_destroy(struct memexpose_device *device);

/**
 * memexpose_device_listen - take links from unix sockets
 * @device: without a transport so far
 * @mem_path: where to listen for the memory link
 * @intr_path: where to listen for the interrupt link
 *
 * The sockets are created with mode 0600.  A stale socket file, on which
 * nobody listens, is replaced; the files are removed with the device.  The
 * n-th connection to one belongs to the n-th to the other; a half whose peer
 * has closed is discarded.  While a peer is connected a second one is closed
 * and named in the log (protocol section 5).
 *
 * Returns: 0 or -errno: -EADDRINUSE (a living process listens there), -EINVAL
 * (an empty path), -ENAMETOOLONG (over 107 bytes), -EEXIST (there is a
 * transport already, or the path is something other than a socket), -EACCES
 * and whatever socket(2) and bind(2) give.
 */
int memexpose_device_listen(struct memexpose_device *device,
                            const char *mem_path, const char *intr_path);

/**
 * memexpose_device_connect - connect to unix sockets, now and after each loss
 * @device: without a transport so far
 * @mem_path: of the memory link
 * @intr_path: of the interrupt link
 *
 * Tries at once, then with growing pauses up to the configured retry.
 *
 * Returns: 0, whether a peer is there or not; -EINVAL (an empty path),
 * -ENAMETOOLONG, -EEXIST, -ENOMEM.
 */
int memexpose_device_connect(struct memexpose_device *device,
                             const char *mem_path, const char *intr_path);

/**
 * memexpose_device_set_transport - supply links in the consumer's own way
 * @device: without a transport so far
 * @ops: copied
 * @opaque: handed to each callback of @ops
 *
 * Returns: 0, -EEXIST, -EINVAL (@ops->size too small).
 */
int memexpose_device_set_transport(struct memexpose_device *device,
                                   const struct memexpose_transport_ops *ops,
                                   void *opaque);

/**
 * memexpose_device_attach - hand over a connected stream socket
 * @device: the device
 * @link: which link it is to be
 * @fd: the socket, made non-blocking here; the library's on success, the
 *      caller's on failure
 *
 * The peer is served as soon as both links are there.  A memory link that is
 * no unix socket, such as TCP, cannot pass descriptors: nothing is shared over
 * it, which the log says once, and every access goes over the link.
 *
 * Returns: 0; -EBUSY if that link is up (and its end was looked for); -EPERM
 * if links are refused at the moment; -EACCES if the peer is not the user that
 * the configuration asks for; -EBADF or what else fcntl(2) gives.
 */
int memexpose_device_attach(struct memexpose_device *device,
                            enum memexpose_link link, int fd);

/**
 * memexpose_device_enable - enable, as a write of 1 to 0x000 does
 * @device: the device
 * @deadline: how long to wait for both links, on the group's clock in
 *            nanoseconds; MEMEXPOSE_FOREVER; 0 does not wait
 *
 * From within a callback it does not wait either.
 *
 * Returns: 0 when both links are up; -EINPROGRESS when it did not wait and
 * they are not; -ETIMEDOUT; -ECANCELED.  The device stays enabled with each.
 */
int memexpose_device_enable(struct memexpose_device *device, int64_t deadline);

/**
 * memexpose_device_disable - as a write of 0 to 0x000 does
 * @device: the device
 *
 * Closes both links, ends an enable-wait, and refuses links until enabled or
 * reset (protocol section 5).
 */
void memexpose_device_disable(struct memexpose_device *device);

/**
 * memexpose_device_is_enabled - is the device enabled?
 * @device: the device
 *
 * Unlike register 0x000, which reads 1 only while both links are up, too: for
 * a consumer that waits for the links in its own way.
 *
 * Returns: true from when it was enabled until it is disabled or reset.
 */
bool memexpose_device_is_enabled(struct memexpose_device *device);

/**
 * memexpose_device_reset - what the reset of the machine does
 * @device: the device
 *
 * Clears registers, interrupt queue and what was to be sent; ends waits.  If
 * the device was enabled its links are closed and may come up anew.
 */
void memexpose_device_reset(struct memexpose_device *device);

/**
 * memexpose_device_set_span - change what peers are told of what is exported
 * @device: the device
 * @start: lowest address
 * @size: in bytes, as in the configuration
 *
 * Told to the next peer that connects; nothing is sent now.
 *
 * Returns: 0, or -EINVAL if it passes 2^64.
 */
int memexpose_device_set_span(struct memexpose_device *device, uint64_t start,
                              uint64_t size);

/**
 * memexpose_device_cancel - end the waits that are under way on one device
 * @device: the device
 *
 * As memexpose_group_cancel(), which see; map changes are not the device's and
 * go on.  Async-signal-safe.
 */
void memexpose_device_cancel(struct memexpose_device *device);

/**
 * memexpose_device_link_state - what MEMEXPOSE_REG_LINK reads
 * @device: the device
 *
 * Returns: MEMEXPOSE_STATE_* bits, and the number of connects in bits 32 to
 * 63.
 */
uint64_t memexpose_device_link_state(struct memexpose_device *device);

/**
 * memexpose_device_peer_name - what the peer calls itself
 * @device: the device
 * @name: out; empty if no hello was said; printable (other characters are
 *        shown as '?')
 */
void memexpose_device_peer_name(struct memexpose_device *device,
                                char name[MEMEXPOSE_NAME_SIZE]);

/**
 * memexpose_read - read the peer's memory
 * @device: enabled and connected
 * @address: in the peer's space; the whole access must lie in the window
 * @bytes: 1, 2, 4 or 8
 * @value: out: the bytes in memory order, the first in the low 8 bits;
 *         all ones if the access fails
 *
 * Direct where the memory is mapped.  Otherwise the request goes over the link
 * and the calling thread waits, at most for the request timeout, serving the
 * whole group meanwhile (protocol section 3).  If the time passes, the link is
 * closed.  Without a retire callback a direct access takes the group's lock.
 *
 * Returns: 0; a positive MEMEXPOSE_RESULT_* from the peer, and
 * MEMEXPOSE_RESULT_DECODE for an access from within the service of another or
 * from a callback within the thread's own memexpose_map_change_invalidate() or
 * _wait();
 * -EINVAL (size), -ERANGE (outside the window), -ENOTCONN (not enabled or no
 * link), -ECONNRESET (the link ended meanwhile), -ETIMEDOUT, -ECANCELED,
 * -ENOMEM or -EMFILE (nothing to wait with), or what the wait callback failed
 * with.
 */
int memexpose_read(struct memexpose_device *device, uint64_t address,
                   unsigned bytes, uint64_t *value);

/**
 * memexpose_write - write the peer's memory; as memexpose_read()
 * @device: enabled and connected
 * @address: in the peer's space
 * @bytes: 1, 2, 4 or 8
 * @value: the bytes in memory order, the first in the low 8 bits
 *
 * Returns: as memexpose_read().
 */
int memexpose_write(struct memexpose_device *device, uint64_t address,
                    unsigned bytes, uint64_t value);

/**
 * memexpose_read_block - read any number of bytes
 * @device: enabled and connected
 * @address: in the peer's space, any alignment
 * @buffer: out
 * @bytes: how many
 * @done: out, may be NULL: how many were read before a failure
 *
 * Copies where memory is mapped.  Where it is not, up to MEMEXPOSE_BLOCK_SIZE
 * bytes go in one message if the peer has the feature block (protocol section
 * 8), else the largest naturally aligned pieces of up to 8 bytes.  Not atomic
 * as a whole.
 *
 * Returns: as memexpose_read(), for the first piece that failed.
 */
int memexpose_read_block(struct memexpose_device *device, uint64_t address,
                         void *buffer, size_t bytes, size_t *done);

/**
 * memexpose_write_block - write any number of bytes; as memexpose_read_block()
 * @device: enabled and connected
 * @address: in the peer's space
 * @buffer: what to write
 * @bytes: how many
 * @done: out, may be NULL: how many were written before a failure
 *
 * Returns: as memexpose_write(), for the first piece that failed.
 */
int memexpose_write_block(struct memexpose_device *device, uint64_t address,
                          const void *buffer, size_t bytes, size_t *done);

/**
 * memexpose_device_translate - the host address of mapped memory
 * @device: the device
 * @address: in the peer's space
 * @range: out: the range that contains @address
 *
 * Takes no lock.  With a retire callback, any thread may call it inside a
 * read-side section of the consumer's, and use @range->host as long as that
 * section lasts; after an invalidation zeros are found there.
 *
 * Returns: the host address of @address, or NULL if it is not mapped.
 */
void *memexpose_device_translate(struct memexpose_device *device,
                                 uint64_t address,
                                 struct memexpose_range *range);

/**
 * memexpose_device_ranges - what is mapped
 * @device: the device
 * @ranges: where to write them, in ascending order; may be NULL if @max is 0
 * @max: entries in @ranges
 *
 * Returns: how many there are, which may be more than @max.
 */
size_t memexpose_device_ranges(struct memexpose_device *device,
                               struct memexpose_range *ranges, size_t max);

/**
 * memexpose_device_unmapped - an unmap that was to come later is done
 * @device: the device
 * @id: of the range for which unmap answered MEMEXPOSE_UNMAP_LATER
 *
 * Returns: 0, or -ENOENT if no such removal is pending.
 */
int memexpose_device_unmapped(struct memexpose_device *device, uint64_t id);

/**
 * memexpose_device_handle_sigbus - a fault may lie in a share
 * @device: the device
 * @address: si_addr of the SIGBUS
 *
 * For the consumer's signal handler; async-signal-safe.  If @address lies in a
 * range mapped from the peer, whose object then is shorter than it was, a page
 * of zeros is put there and the link is closed as soon as the group is driven.
 *
 * Returns: true if the page was patched and the handler can return; false if
 * the fault is none of the device's.
 */
bool memexpose_device_handle_sigbus(struct memexpose_device *device,
                                    const void *address);

/**
 * memexpose_device_reg_read - a guest reads the registers
 * @device: the device
 * @offset: from the start of BAR0
 * @bytes: 1, 2, 4 or 8
 *
 * Returns: the value, the first byte in the low 8 bits (protocol section 5);
 * all ones for a size or offset that cannot be.
 */
uint64_t memexpose_device_reg_read(struct memexpose_device *device,
                                   uint64_t offset, unsigned bytes);

/**
 * memexpose_device_reg_write - a guest writes the registers
 * @device: the device
 * @offset: from the start of BAR0
 * @bytes: 1, 2, 4 or 8
 * @value: the first byte in the low 8 bits
 *
 * A write that enables waits as the configuration says (wait,
 * connect_timeout), but not within a callback.
 *
 * Returns: 0; -EINVAL for a size or offset that cannot be; for one that
 * enables, as memexpose_device_enable().
 */
int memexpose_device_reg_write(struct memexpose_device *device,
                               uint64_t offset, unsigned bytes,
                               uint64_t value);

/**
 * memexpose_device_send - send an interrupt, without the registers
 * @device: the device
 * @interrupt: type and data
 *
 * Never waits.
 *
 * Returns: 0 if it is on its way; -ENOTCONN or -EAGAIN (the link is full) if
 * it was dropped and counted.
 */
int memexpose_device_send(struct memexpose_device *device,
                          const struct memexpose_interrupt *interrupt);

/**
 * memexpose_device_receive - take an interrupt, without the registers
 * @device: the device
 * @interrupt: out
 *
 * Never waits.
 *
 * Returns: 0, or -EAGAIN if none is there.
 */
int memexpose_device_receive(struct memexpose_device *device,
                             struct memexpose_interrupt *interrupt);

/**
 * memexpose_device_stats - the counters
 * @device: the device
 * @stats: out
 * @size: sizeof(*@stats) of the consumer's build; only as much is written
 */
void memexpose_device_stats(struct memexpose_device *device,
                            struct memexpose_stats *stats, size_t size);

/**
 * memexpose_result - what a guest gets to see of a return value
 * @ret: from memexpose_read() or memexpose_write()
 *
 * Returns: the MEMEXPOSE_RESULT_* bits: @ret itself, or
 * MEMEXPOSE_RESULT_ERROR for -errno.
 */
unsigned memexpose_result(int ret);

/**
 * memexpose_strerror - a return value in words
 * @ret: from a function of the library
 *
 * Returns: a static text.  Thread-safe.
 */
const char *memexpose_strerror(int ret);

/**
 * memexpose_describe - a message in words
 * @message: its bytes, as the trace callback gets them
 * @bytes: how many
 * @text: out, terminated
 * @size: bytes in @text; 256 are enough
 */
void memexpose_describe(const void *message, size_t bytes, char *text,
                        size_t size);

#ifdef __cplusplus
}
#endif

#include <memexpose/cursor.h>

#endif
