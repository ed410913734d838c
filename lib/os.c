/* SPDX-License-Identifier: BSD-3-Clause */
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

#define SECOND 1000000000

int64_t mx_os_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * SECOND + now.tv_nsec;
}

int mx_os_poll(struct pollfd *fds, size_t count, int64_t deadline)
{
    struct timespec left = { 0, 0 };
    int64_t wait;
    int ret;

    if (deadline != MX_FOREVER) {
        wait = deadline - mx_os_now();
        if (wait > 0) {
            left.tv_sec = wait / SECOND;
            left.tv_nsec = wait % SECOND;
        }
    }
    ret = ppoll(fds, count, deadline == MX_FOREVER ? NULL : &left, NULL);
    return ret < 0 ? -errno : ret;
}

void mx_os_close(int fd)
{
    int saved = errno;

    if (fd >= 0) {
        close(fd);
    }
    errno = saved;
}

int mx_os_duplicate(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

    return copy < 0 ? -errno : copy;
}

int mx_os_set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
        return -errno;
    }
    return 0;
}

/* Room for one control message with descriptors, aligned as it must be. */
union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int) * MX_OS_FDS)];
};

ssize_t mx_os_send(int fd, const struct iovec *parts, size_t count,
                   int passed)
{
    struct msghdr message = { .msg_iov = (struct iovec *)parts,
                              .msg_iovlen = count };
    union control control;
    struct cmsghdr *head;
    ssize_t sent;

    if (passed >= 0) {
        memset(&control, 0, sizeof(control));
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int));
        head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(head), &passed, sizeof(int));
    }
    do {
        sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) {
        return errno == EWOULDBLOCK ? -EAGAIN : -errno;
    }
    return sent;
}

/* Keep the descriptors of one control message; close what is too many. */
static void take_descriptors(const struct cmsghdr *head,
                             struct mx_received_fds *fds)
{
    size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    const unsigned char *data = CMSG_DATA(head);
    size_t i;

    for (i = 0; i < count; i++) {
        int fd;

        memcpy(&fd, data + i * sizeof(int), sizeof(int));
        if (fds->count < MX_OS_FDS) {
            fds->fd[fds->count++] = fd;
        } else {
            mx_os_close(fd);
            fds->truncated = true;
        }
    }
}

ssize_t mx_os_receive(int fd, const struct iovec *parts, size_t count,
                      struct mx_received_fds *fds)
{
    union control control;
    struct msghdr message = {
        .msg_iov = (struct iovec *)parts,
        .msg_iovlen = count,
        .msg_control = control.bytes,
        .msg_controllen = sizeof(control.bytes),
    };
    struct cmsghdr *head;
    ssize_t got;

    fds->count = 0;
    fds->truncated = false;
    do {
        got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return errno == EWOULDBLOCK ? -EAGAIN : -errno;
    }
    for (head = CMSG_FIRSTHDR(&message); head;
         head = CMSG_NXTHDR(&message, head)) {
        if (head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS) {
            take_descriptors(head, fds);
        }
    }
    if (message.msg_flags & MSG_CTRUNC) {
        fds->truncated = true;
    }
    return got;
}

static int unix_address(const char *path, struct sockaddr_un *address)
{
    size_t length = strlen(path);

    if (length == 0) {
        return -EINVAL;
    }
    if (length >= sizeof(address->sun_path)) {
        return -ENAMETOOLONG;
    }
    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, length);
    return 0;
}

int mx_os_check_path(const char *path)
{
    struct sockaddr_un address;

    return unix_address(path, &address);
}

static int unix_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return fd < 0 ? -errno : fd;
}

static int connect_to(const struct sockaddr_un *address)
{
    int fd = unix_socket();
    int ret;

    if (fd < 0) {
        return fd;
    }
    do {
        ret = connect(fd, (const struct sockaddr *)address, sizeof(*address));
    } while (ret < 0 && errno == EINTR);
    if (ret < 0) {
        ret = -errno;
        mx_os_close(fd);
        return ret;
    }
    return fd;
}

int mx_os_connect(const char *path)
{
    struct sockaddr_un address;
    int ret = unix_address(path, &address);

    return ret < 0 ? ret : connect_to(&address);
}

/* Remove a socket file on which nobody listens; say what else is there. */
static int remove_stale(const struct sockaddr_un *address)
{
    struct stat status;
    int fd;

    if (lstat(address->sun_path, &status) < 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    if (!S_ISSOCK(status.st_mode)) {
        return -EEXIST;
    }
    fd = connect_to(address);
    if (fd >= 0 || fd == -EAGAIN) {
        mx_os_close(fd);
        return -EADDRINUSE;
    }
    if (fd != -ECONNREFUSED) {
        return fd;
    }
    return unlink(address->sun_path) < 0 && errno != ENOENT ? -errno : 0;
}

int mx_os_listen(const char *path, uint64_t *device, uint64_t *inode)
{
    struct sockaddr_un address;
    struct stat status;
    int fd, ret;

    ret = unix_address(path, &address);
    if (ret == 0) {
        ret = remove_stale(&address);
    }
    if (ret < 0) {
        return ret;
    }
    fd = unix_socket();
    if (fd < 0) {
        return fd;
    }
    /* The file takes its mode from the socket: nobody else ever gets in. */
    if (fchmod(fd, 0600) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        ret = -errno;
        mx_os_close(fd);
        return ret;
    }
    if (listen(fd, 16) < 0 || lstat(path, &status) < 0) {
        ret = -errno;
        unlink(path);
        mx_os_close(fd);
        return ret;
    }
    *device = status.st_dev;
    *inode = status.st_ino;
    return fd;
}

void mx_os_unlink(const char *path, uint64_t device, uint64_t inode)
{
    struct stat status;

    if (lstat(path, &status) == 0 && status.st_dev == device &&
        status.st_ino == inode) {
        unlink(path);
    }
}

int mx_os_accept(int fd)
{
    int connection;

    do {
        connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    } while (connection < 0 && (errno == EINTR || errno == ECONNABORTED));
    return connection < 0 ? -errno : connection;
}

bool mx_os_hung_up(int fd)
{
    struct pollfd poll = { .fd = fd, .events = POLLRDHUP };

    return mx_os_poll(&poll, 1, 0) > 0 &&
           (poll.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL));
}

void mx_os_peer(int fd, long *pid, long *uid)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);

    *pid = -1;
    *uid = -1;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
        size == sizeof(peer)) {
        *pid = peer.pid;
        *uid = (long)peer.uid;
    }
}

bool mx_os_passes_descriptors(int fd)
{
    int domain;
    socklen_t size = sizeof(domain);

    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
           domain == AF_UNIX;
}

long mx_os_user(void)
{
    return (long)geteuid();
}

int mx_os_wake_create(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    return fd < 0 ? -errno : fd;
}

void mx_os_wake(int fd)
{
    uint64_t one = 1;
    int saved = errno;
    ssize_t written;

    /* It can only fail by being readable to the utmost already. */
    written = write(fd, &one, sizeof(one));
    (void)written;
    errno = saved;
}

void mx_os_wake_clear(int fd)
{
    uint64_t count;
    ssize_t got;

    /* It can only fail by not having been readable. */
    got = read(fd, &count, sizeof(count));
    (void)got;
}

int mx_os_memfd(const char *name, uint64_t size)
{
    int fd, ret;

    if (size > INT64_MAX) {
        return -ENOMEM;
    }
    fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        return -errno;
    }
    if (ftruncate(fd, (off_t)size) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0) {
        ret = -errno;
        mx_os_close(fd);
        return ret;
    }
    return fd;
}

int mx_os_seal(int fd, bool readonly)
{
    int seals = readonly ? F_SEAL_FUTURE_WRITE | F_SEAL_SEAL : F_SEAL_SEAL;

    return fcntl(fd, F_ADD_SEALS, seals) < 0 ? -errno : 0;
}

int mx_os_reopen_readonly(int fd)
{
    char path[40];
    int copy;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    copy = open(path, O_RDONLY | O_CLOEXEC);
    return copy < 0 ? -errno : copy;
}

/* Huge pages are mapped whole or not at all. */
static uint64_t object_page_size(int fd)
{
    struct statfs system;

    if (fstatfs(fd, &system) == 0 && system.f_type == HUGETLBFS_MAGIC) {
        return (uint64_t)system.f_bsize;
    }
    return mx_os_page_size();
}

int mx_os_object(int fd, struct mx_object *object)
{
    struct stat status;
    int flags, seals;

    flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fstat(fd, &status) < 0) {
        return -errno;
    }
    seals = fcntl(fd, F_GET_SEALS);
    *object = (struct mx_object) {
        .device = status.st_dev,
        .inode = status.st_ino,
        .size = (uint64_t)status.st_size,
        .page_size = object_page_size(fd),
        .regular = S_ISREG(status.st_mode),
        .writable = (flags & O_ACCMODE) != O_RDONLY,
        /* a named file of a tmpfs answers too, but can never be sealed */
        .seals_known = seals >= 0 && status.st_nlink == 0,
        .sealed_shrink = seals >= 0 && (seals & F_SEAL_SHRINK),
        .sealed_write = seals >= 0 &&
                        (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)),
    };
    return 0;
}

static int protection(bool readonly)
{
    return readonly ? PROT_READ : PROT_READ | PROT_WRITE;
}

int mx_os_map(int fd, uint64_t size, uint64_t offset, bool readonly,
              void **host)
{
    void *address;

    if (size > SIZE_MAX || offset > INT64_MAX) {
        return -EOVERFLOW;
    }
    address = mmap(NULL, (size_t)size, protection(readonly), MAP_SHARED, fd,
                   (off_t)offset);
    if (address == MAP_FAILED) {
        return -errno;
    }
    *host = address;
    return 0;
}

void mx_os_unmap(void *host, uint64_t size)
{
    munmap(host, (size_t)size);
}

int mx_os_overlay(void *host, uint64_t size, bool readonly)
{
    void *address = mmap(host, (size_t)size, protection(readonly),
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED |
                         MAP_NORESERVE, -1, 0);

    return address == MAP_FAILED ? -errno : 0;
}

size_t mx_os_page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

unsigned mx_os_processors(void)
{
    cpu_set_t processors;

    /* it fails where there are more than the set has room for */
    return sched_getaffinity(0, sizeof(processors), &processors) < 0 ?
           CPU_SETSIZE : (unsigned)CPU_COUNT(&processors);
}

void mx_os_yield(void)
{
    sched_yield();
}

uint64_t mx_os_random(void)
{
    uint64_t number = 0;

    if (getrandom(&number, sizeof(number), GRND_NONBLOCK) !=
        (ssize_t)sizeof(number) || number == 0) {
        number = (uint64_t)mx_os_now() << 20 | ((uint64_t)getpid() & 0xfffff);
    }
    return number;
}
