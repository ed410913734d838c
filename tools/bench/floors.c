/* SPDX-License-Identifier: BSD-3-Clause */
#include "floors.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static unsigned char message[FLOOR_MESSAGE];

static int send_with(int fd, size_t size, int flags)
{
    size_t sent = 0;

    while (sent < size) {
        ssize_t ret = send(fd, message + sent, size - sent,
                           MSG_NOSIGNAL | flags);

        if (ret > 0) {
            sent += (size_t)ret;
        } else if (errno != EAGAIN) {
            return -errno;
        }
    }
    return 0;
}

static int send_all(int fd, size_t size)
{
    return send_with(fd, size, 0);
}

static int receive_all(int fd, size_t size, enum floor_wait how)
{
    struct pollfd ready = { .fd = fd, .events = POLLIN };
    size_t received = 0;
    ssize_t ret;

    while (received < size) {
        if (how == FLOOR_SLEEP_IN_POLL) {
            poll(&ready, 1, -1);
        }
        ret = recv(fd, message + received, size - received,
                   how == FLOOR_SLEEP ? 0 : MSG_DONTWAIT);
        if (ret == 0) {
            return -ECONNRESET;
        }
        if (ret > 0) {
            received += (size_t)ret;
        } else if (errno != EAGAIN) {
            return -errno;
        }
    }
    return 0;
}

int floor_ping(int fd, size_t there, size_t back, enum floor_wait how,
               bool last)
{
    int ret;

    message[0] = last && how == FLOOR_POLL ? FLOOR_SLEEP : how;
    ret = send_all(fd, there);
    return ret < 0 ? ret : receive_all(fd, back, how);
}

int floor_pong(int fd, size_t there, size_t back)
{
    enum floor_wait how = FLOOR_SLEEP;
    int ret;

    do {
        ret = receive_all(fd, there, how);
        if (ret == 0) {
            how = (enum floor_wait)message[0];
            ret = send_all(fd, back);
        }
    } while (ret == 0);
    return ret == -ECONNRESET || ret == -EPIPE ? 0 : ret;
}

int floor_stream(int fd, size_t size, size_t count)
{
    size_t i;
    int ret = 0;

    for (i = 0; i < count && ret == 0; i++) {
        ret = send_with(fd, size, MSG_DONTWAIT);
    }
    return ret;
}

int floor_drain(int fd, size_t size, volatile uint64_t *received)
{
    uint64_t bytes = 0;
    ssize_t ret;

    while ((ret = recv(fd, message, 4096, 0)) > 0) {
        bytes += (uint64_t)ret;
        *received = bytes / size;
    }
    return ret < 0 && errno != ECONNRESET ? -errno : 0;
}

/* --- connecting ---------------------------------------------------------- */

static int unix_socket(const char *path, struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    strncpy(address->sun_path, path, sizeof(address->sun_path) - 1);
    return fd < 0 ? -errno : fd;
}

int floor_listen(const char *path)
{
    struct sockaddr_un address;
    int fd = unix_socket(path, &address);

    if (fd >= 0 && (bind(fd, (struct sockaddr *)&address,
                         sizeof(address)) < 0 || listen(fd, 16) < 0)) {
        int error = errno;

        close(fd);
        return -error;
    }
    return fd;
}

static int connect_to(const char *path)
{
    struct sockaddr_un address;
    int fd = unix_socket(path, &address);

    if (fd >= 0 && connect(fd, (struct sockaddr *)&address,
                           sizeof(address)) < 0) {
        int error = errno;

        close(fd);
        return -error;
    }
    return fd;
}

/* A message of 45 bytes with a descriptor. */
static ssize_t pass(int fd, int object)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = { .bytes = { 0 } };
    struct iovec part = { message, 45 };
    struct msghdr head = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes,
        .msg_controllen = sizeof(control.bytes),
    };
    struct cmsghdr *with = CMSG_FIRSTHDR(&head);

    with->cmsg_level = SOL_SOCKET;
    with->cmsg_type = SCM_RIGHTS;
    with->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(with), &object, sizeof(int));
    return sendmsg(fd, &head, MSG_NOSIGNAL);
}

static int take(int fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = { message, 45 };
    struct msghdr head = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes,
        .msg_controllen = sizeof(control.bytes),
    };
    struct cmsghdr *with;
    int object;

    if (recvmsg(fd, &head, MSG_CMSG_CLOEXEC) != 45) {
        return -ECONNRESET;
    }
    with = CMSG_FIRSTHDR(&head);
    if (!with || with->cmsg_len != CMSG_LEN(sizeof(int))) {
        return -EPROTO;
    }
    memcpy(&object, CMSG_DATA(with), sizeof(int));
    return object;
}

static int map_and_load(int fd)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    int object, ret;
    void *memory;

    ret = send_all(fd, 15);
    if (ret < 0) {
        return ret;
    }
    object = take(fd);
    if (object < 0) {
        return object;
    }
    memory = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, object, 0);
    close(object);
    if (memory == MAP_FAILED) {
        return -errno;
    }
    (void)*(volatile uint64_t *)memory;
    munmap(memory, page);
    return 0;
}

int floor_connect(const char *first, const char *second, bool map)
{
    int fds[2], ret;

    fds[0] = connect_to(first);
    fds[1] = fds[0] < 0 ? -1 : connect_to(second);
    ret = fds[0] < 0 ? fds[0] : fds[1];
    if (ret >= 0) {
        ret = floor_ping(fds[0], 64, 64, FLOOR_SLEEP, true);
    }
    if (ret >= 0 && map) {
        ret = map_and_load(fds[0]);
    }
    if (fds[1] >= 0) {
        close(fds[1]);
    }
    if (fds[0] >= 0) {
        close(fds[0]);
    }
    return ret < 0 ? ret : 0;
}

static int serve_connection(int fd, int object)
{
    int ret = receive_all(fd, 64, FLOOR_SLEEP);

    if (ret == 0) {
        ret = send_all(fd, 64);
    }
    if (ret == 0 && receive_all(fd, 15, FLOOR_SLEEP) == 0 &&
        pass(fd, object) < 0) {
        ret = -errno;
    }
    return ret;
}

int floor_accept(int first_listener, int second_listener, int object)
{
    int ret = 0;

    while (ret == 0) {
        int first = accept4(first_listener, NULL, NULL, SOCK_CLOEXEC);
        int second = accept4(second_listener, NULL, NULL, SOCK_CLOEXEC);

        ret = first < 0 || second < 0 ? -errno
                                      : serve_connection(first, object);
        if (second >= 0) {
            close(second);
        }
        if (first >= 0) {
            close(first);
        }
    }
    return ret;
}

/* --- memory -------------------------------------------------------------- */

uint64_t floor_chase(uint64_t *const *pointers, size_t count)
{
    uint64_t value = 0;
    size_t i;

    for (i = 0; i < count; i++) {
        value = *(const volatile uint64_t *)
            ((const char *)pointers[i] + value);
    }
    return value;
}

void floor_copy(void *to, const void *from, size_t size)
{
    memcpy(to, from, size);
}
