/* SPDX-License-Identifier: BSD-3-Clause */
#include "interpose.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* The run-time library of a sanitizer calls these before it is ready. */
#define PLAIN __attribute__((no_sanitize("thread")))

static struct {
    _Atomic uint64_t allocations, sends, receives, waits, others;
} counts;

/* No locked instruction: what is measured must not be slowed down. */
PLAIN static void count(_Atomic uint64_t *counter)
{
    atomic_store_explicit(counter,
                          atomic_load_explicit(counter,
                                               memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

void interpose_read(struct interpose_counts *out)
{
    *out = (struct interpose_counts) {
        .allocations = atomic_load(&counts.allocations),
        .sends = atomic_load(&counts.sends),
        .receives = atomic_load(&counts.receives),
        .waits = atomic_load(&counts.waits),
        .others = atomic_load(&counts.others),
    };
}

bool interpose_counts_allocations(void)
{
    return !SANITIZED;
}

/* The next definition of a function, found once. */
#define NEXT(function) __extension__({                                      \
    static _Atomic(void *) next_;                                           \
    void *found_ = atomic_load_explicit(&next_, memory_order_relaxed);      \
    if (!found_) {                                                          \
        found_ = dlsym(RTLD_NEXT, #function);                               \
        atomic_store_explicit(&next_, found_, memory_order_relaxed);        \
    }                                                                       \
    (__typeof__(&function))found_;                                          \
})

/* --- allocations --------------------------------------------------------- */

#if !SANITIZED
void *malloc(size_t size)
{
    count(&counts.allocations);
    return NEXT(malloc)(size);
}

void *calloc(size_t members, size_t size)
{
    count(&counts.allocations);
    return NEXT(calloc)(members, size);
}

void *realloc(void *memory, size_t size)
{
    count(&counts.allocations);
    return NEXT(realloc)(memory, size);
}

void *reallocarray(void *memory, size_t members, size_t size)
{
    count(&counts.allocations);
    return NEXT(reallocarray)(memory, members, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    count(&counts.allocations);
    return NEXT(aligned_alloc)(alignment, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size)
{
    count(&counts.allocations);
    return NEXT(posix_memalign)(memory, alignment, size);
}
#endif

/* --- system calls -------------------------------------------------------- */

PLAIN ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    count(&counts.sends);
    return NEXT(sendmsg)(fd, message, flags);
}

PLAIN ssize_t send(int fd, const void *bytes, size_t size, int flags)
{
    count(&counts.sends);
    return NEXT(send)(fd, bytes, size, flags);
}

PLAIN ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    count(&counts.receives);
    return NEXT(recvmsg)(fd, message, flags);
}

PLAIN ssize_t recv(int fd, void *bytes, size_t size, int flags)
{
    count(&counts.receives);
    return NEXT(recv)(fd, bytes, size, flags);
}

PLAIN int poll(struct pollfd *fds, nfds_t nfds, int timeout)
{
    count(&counts.waits);
    return NEXT(poll)(fds, nfds, timeout);
}

PLAIN int ppoll(struct pollfd *fds, nfds_t nfds,
                const struct timespec *timeout, const sigset_t *mask)
{
    count(&counts.waits);
    return NEXT(ppoll)(fds, nfds, timeout, mask);
}

PLAIN int epoll_wait(int fd, struct epoll_event *events, int max,
                     int timeout)
{
    count(&counts.waits);
    return NEXT(epoll_wait)(fd, events, max, timeout);
}

PLAIN int epoll_ctl(int fd, int operation, int which,
                    struct epoll_event *event)
{
    count(&counts.others);
    return NEXT(epoll_ctl)(fd, operation, which, event);
}

PLAIN ssize_t read(int fd, void *bytes, size_t size)
{
    count(&counts.others);
    return NEXT(read)(fd, bytes, size);
}

PLAIN ssize_t write(int fd, const void *bytes, size_t size)
{
    count(&counts.others);
    return NEXT(write)(fd, bytes, size);
}

PLAIN int close(int fd)
{
    count(&counts.others);
    return NEXT(close)(fd);
}

PLAIN int getsockopt(int fd, int level, int name, void *value,
                     socklen_t *size)
{
    count(&counts.others);
    return NEXT(getsockopt)(fd, level, name, value, size);
}

PLAIN int fcntl(int fd, int command, ...)
{
    va_list arguments;
    void *argument;

    count(&counts.others);
    va_start(arguments, command);
    argument = va_arg(arguments, void *);
    va_end(arguments);
    return NEXT(fcntl)(fd, command, argument);
}

/* --- mappings ------------------------------------------------------------ */

/* Pages to hand out, which one mapping holds. */
static struct {
    unsigned char *start;
    size_t pages, used, page_size;
} stub;

int interpose_stub_mappings(size_t pages)
{
    if (stub.start) {
        NEXT(munmap)(stub.start, stub.pages * stub.page_size);
        stub.start = NULL;
    }
    if (pages == 0) {
        return 0;
    }
    stub.page_size = (size_t)sysconf(_SC_PAGESIZE);
    stub.pages = pages;
    stub.used = 0;
    stub.start = NEXT(mmap)(NULL, pages * stub.page_size,
                            PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                            0);
    if (stub.start == MAP_FAILED) {
        stub.start = NULL;
        return -errno;
    }
    /* pages, as the ranges would be: a huge one would be found sooner */
    madvise(stub.start, pages * stub.page_size, MADV_NOHUGEPAGE);
    return 0;
}

PLAIN static bool is_stub(const void *address)
{
    const unsigned char *at = address;

    return stub.start && at >= stub.start &&
           at < stub.start + stub.pages * stub.page_size;
}

PLAIN void *mmap(void *address, size_t size, int protection, int flags,
                 int fd, off_t offset)
{
    count(&counts.others);
    if (is_stub(address)) {
        return address;         /* zeros over zeros */
    }
    if (stub.start && fd >= 0 && (flags & MAP_SHARED) &&
        size == stub.page_size && stub.used < stub.pages) {
        return stub.start + stub.page_size * stub.used++;
    }
    return NEXT(mmap)(address, size, protection, flags, fd, offset);
}

PLAIN int munmap(void *address, size_t size)
{
    count(&counts.others);
    return is_stub(address) ? 0 : NEXT(munmap)(address, size);
}
