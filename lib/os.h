/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every system call of the library.  Descriptors are close-on-exec; int
 * results are 0 or a count, or -errno.
 */
#ifndef MX_OS_H
#define MX_OS_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#define MX_FOREVER INT64_MAX

/* CLOCK_MONOTONIC in nanoseconds. */
int64_t mx_os_now(void);

/* poll(2) until @deadline on that clock, or MX_FOREVER. */
int mx_os_poll(struct pollfd *fds, size_t count, int64_t deadline);

/* Close @fd unless it is -1; errno is left alone. */
void mx_os_close(int fd);

int mx_os_duplicate(int fd);
int mx_os_set_nonblocking(int fd);

/*
 * Send @count @parts without blocking, with descriptor @passed unless it is
 * -1.  Returns the number of bytes sent, -EAGAIN if none could be.
 */
ssize_t mx_os_send(int fd, const struct iovec *parts, size_t count,
                   int passed);

/* What one receive brought besides bytes. */
enum { MX_OS_FDS = 4 };

struct mx_received_fds {
    int fd[MX_OS_FDS];
    size_t count;
    bool truncated;             /* there were more, or none could be had */
};

/*
 * Receive into @count @parts without blocking.  Returns the number of bytes, 0
 * at the end of the stream, -EAGAIN if there is nothing.  Descriptors are the
 * caller's.
 */
ssize_t mx_os_receive(int fd, const struct iovec *parts, size_t count,
                      struct mx_received_fds *fds);

/*
 * Listen on a unix socket with mode 0600; a stale file is replaced.
 * *@device and *@inode identify the file.
 */
int mx_os_listen(const char *path, uint64_t *device, uint64_t *inode);

/* Remove the socket file if it still is the one that mx_os_listen() made. */
void mx_os_unlink(const char *path, uint64_t device, uint64_t inode);

/* Can it name a unix socket?  0, -EINVAL (empty) or -ENAMETOOLONG. */
int mx_os_check_path(const char *path);

int mx_os_accept(int fd);
int mx_os_connect(const char *path);

/* Has the other end of a stream been closed (bytes may still be there)? */
bool mx_os_hung_up(int fd);

/* Process and user at the other end of a unix socket; -1 if unknown. */
void mx_os_peer(int fd, long *pid, long *uid);

/* Can descriptors be passed through the socket? */
bool mx_os_passes_descriptors(int fd);

/* The effective user of this process. */
long mx_os_user(void);

/* A descriptor that wakes a poll: create, make readable, make unreadable. */
int mx_os_wake_create(void);
void mx_os_wake(int fd);
void mx_os_wake_clear(int fd);

/* A zeroed memfd of @size bytes, sealed against shrinking and growing. */
int mx_os_memfd(const char *name, uint64_t size);

/*
 * Seal against any further seal, before a peer can add one; if @readonly,
 * against any future write too (what is mapped stays writable).
 */
int mx_os_seal(int fd, bool readonly);

/* The same object opened anew, read-only. */
int mx_os_reopen_readonly(int fd);

/* What an object is and allows. */
struct mx_object {
    uint64_t device, inode, size;
    uint64_t page_size;         /* in which it can be mapped */
    bool regular;               /* a regular file or memfd */
    bool writable;              /* the descriptor was opened for writing */
    bool seals_known;           /* it can be sealed (memfd) */
    bool sealed_shrink;
    bool sealed_write;          /* F_SEAL_WRITE or F_SEAL_FUTURE_WRITE */
};

int mx_os_object(int fd, struct mx_object *object);

/* Map shared; *@host is the result. */
int mx_os_map(int fd, uint64_t size, uint64_t offset, bool readonly,
              void **host);
void mx_os_unmap(void *host, uint64_t size);

/* Put private zeros where something was mapped (protocol section 4). */
int mx_os_overlay(void *host, uint64_t size, bool readonly);

size_t mx_os_page_size(void);

/* How many processors this thread may run on. */
unsigned mx_os_processors(void);

/* Let another thread run. */
void mx_os_yield(void);

/* Random, never 0. */
uint64_t mx_os_random(void);

#endif
