/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memexpose/log.h>

#include "harness-count.h"
#include "wire.h"

/* More than an input can have open. */
enum { DESCRIPTORS = 256, SENT_FDS = 16 };

/* --- checks --------------------------------------------------------------- */

void fuzz_failed(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
    fflush(stderr);
    __builtin_trap();
}

int fuzz_poll(struct pollfd *fds, size_t count)
{
    int ready;

    do {
        ready = poll(fds, count, 0);
    } while (ready < 0 && errno == EINTR);
    fuzz_check(ready >= 0);
    return ready;
}

/* One system call tells which numbers are in use. */
static unsigned descriptors(void)
{
    struct pollfd fds[DESCRIPTORS];
    unsigned open = 0;

    for (int i = 0; i < DESCRIPTORS; i++) {
        fds[i] = (struct pollfd) { .fd = i };
    }
    fuzz_poll(fds, DESCRIPTORS);
    for (int i = 0; i < DESCRIPTORS; i++) {
        open += !(fds[i].revents & POLLNVAL);
    }
    return open;
}

static unsigned descriptors_before;

/* Reports are made all the same, so that they are fuzzed as well. */
static void no_log(void *opaque, enum memexpose_log_level level,
                   const char *line)
{
    (void)opaque;
    (void)level;
    fuzz_check(strlen(line) < 512);
}

static void left(const char *text)
{
    fprintf(stderr, "left behind: %s\n", text);
    fuzz_failed(__FILE__, __LINE__, "nothing is left behind");
}

void fuzz_begin(void)
{
    memexpose_set_log(no_log, NULL);
    fuzz_object(FUZZ_SEALED);
    fuzz_resize_object(FUZZ_OBJECT_SIZE);
    descriptors_before = descriptors();
    harness_count_begin();
}

void fuzz_end(void)
{
    harness_count_fail(0);
    harness_count_end(left);
    fuzz_check(descriptors() == descriptors_before);
}

/* --- what an input is made of --------------------------------------------- */

size_t fuzz_take_bytes(struct fuzz_input *input, void *to, size_t bytes)
{
    size_t taken = bytes < input->left ? bytes : input->left;

    memset(to, 0, bytes);
    if (taken > 0) {
        memcpy(to, input->at, taken);
    }
    input->at += taken;
    input->left -= taken;
    return taken;
}

uint64_t fuzz_take(struct fuzz_input *input, unsigned bytes)
{
    uint8_t value[8];

    fuzz_take_bytes(input, value, bytes);
    return mx_value_from_bytes(value, bytes);
}

bool fuzz_take_step(struct fuzz_input *input, struct fuzz_step *step)
{
    if (input->left == 0) {
        return false;
    }
    step->op = (uint8_t)fuzz_take(input, 1);
    step->flags = (uint8_t)fuzz_take(input, 1);
    step->type = (uint8_t)fuzz_take(input, 1);
    step->priority = (uint8_t)fuzz_take(input, 1);
    step->size = (uint8_t)fuzz_take(input, 1);
    step->result = (uint8_t)fuzz_take(input, 1);
    step->share = (uint8_t)fuzz_take(input, 1);
    step->fd = (uint8_t)fuzz_take(input, 1);
    step->a = fuzz_take(input, 8);
    step->b = fuzz_take(input, 8);
    return true;
}

void fuzz_put_step(uint8_t bytes[FUZZ_STEP], const struct fuzz_step *step)
{
    bytes[0] = step->op;
    bytes[1] = step->flags;
    bytes[2] = step->type;
    bytes[3] = step->priority;
    bytes[4] = step->size;
    bytes[5] = step->result;
    bytes[6] = step->share;
    bytes[7] = step->fd;
    mx_value_to_bytes(step->a, bytes + 8);
    mx_value_to_bytes(step->b, bytes + 16);
}

static const uint8_t types[] = {
    MX_READ, MX_READ_RET, MX_WRITE, MX_WRITE_RET, MX_REG_INV, MX_REG_INV_RET,
    MX_INTR, MX_HELLO, MX_HELLO_RET, MX_READ_BLOCK, MX_READ_BLOCK_RET,
    MX_WRITE_BLOCK, MX_WRITE_BLOCK_RET, MX_OFFER,
};

uint8_t fuzz_type(uint8_t byte)
{
    return types[byte % sizeof(types)];
}

uint8_t fuzz_type_byte(uint8_t type)
{
    uint8_t i = 0;

    while (types[i] != type) {
        i++;
    }
    return i;
}

/* --- objects to be sent --------------------------------------------------- */

static int objects[FUZZ_OBJECTS];
static bool objects_made;

static int new_memfd(size_t size, bool sealed)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    fuzz_check(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
    if (sealed) {
        fuzz_check(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
    }
    return fd;
}

static void make_objects(void)
{
    char path[40];

    objects[FUZZ_NONE] = -1;
    objects[FUZZ_SEALED] = new_memfd(FUZZ_OBJECT_SIZE, true);
    objects[FUZZ_UNSEALED] = new_memfd(FUZZ_OBJECT_SIZE, false);
    objects[FUZZ_SHORT] = new_memfd(0x1000, true);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", objects[FUZZ_SEALED]);
    objects[FUZZ_READONLY] = open(path, O_RDONLY | O_CLOEXEC);
    objects[FUZZ_DIRECTORY] = open("/", O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    objects[FUZZ_SOCKET] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    for (int i = FUZZ_SEALED; i < FUZZ_OBJECTS; i++) {
        fuzz_check(objects[i] >= 0);
    }
    objects_made = true;
}

int fuzz_object(enum fuzz_object object)
{
    if (!objects_made) {
        make_objects();
    }
    return objects[object % FUZZ_OBJECTS];
}

void fuzz_resize_object(size_t size)
{
    static size_t now = FUZZ_OBJECT_SIZE;

    if (size != now) {
        fuzz_check(ftruncate(fuzz_object(FUZZ_UNSEALED), (off_t)size) == 0);
        now = size;
    }
}

void fuzz_mark_objects(uint8_t mark)
{
    for (off_t at = 0; at < FUZZ_OBJECT_SIZE; at += 0x1000) {
        fuzz_check(pwrite(objects[FUZZ_SEALED], &mark, 1, at) == 1);
        if (at < lseek(objects[FUZZ_UNSEALED], 0, SEEK_END)) {
            fuzz_check(pwrite(objects[FUZZ_UNSEALED], &mark, 1, at) == 1);
        }
    }
    fuzz_check(pwrite(objects[FUZZ_SHORT], &mark, 1, 0) == 1);
}

void fuzz_socket_pair(int ends[2])
{
    fuzz_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
                          0, ends) == 0);
}

size_t fuzz_send(int fd, const uint8_t *bytes, size_t count, const int *fds,
                 size_t fd_count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(SENT_FDS * sizeof(int))];
    } control;
    struct iovec piece = { .iov_base = (void *)(uintptr_t)bytes,
                           .iov_len = count };
    struct msghdr message = { .msg_iov = &piece, .msg_iovlen = 1 };
    ssize_t sent;

    fuzz_check(fd_count <= SENT_FDS);
    if (fd_count > 0) {
        memset(&control, 0, sizeof(control));
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        control.align.cmsg_level = SOL_SOCKET;
        control.align.cmsg_type = SCM_RIGHTS;
        control.align.cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        memcpy(CMSG_DATA(&control.align), fds, fd_count * sizeof(int));
    }
    sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent > 0 ? (size_t)sent : 0;
}

/* Close what came. */
static unsigned discard(struct msghdr *message)
{
    unsigned count = 0;

    for (struct cmsghdr *head = CMSG_FIRSTHDR(message); head;
         head = CMSG_NXTHDR(message, head)) {
        size_t bytes = head->cmsg_len - CMSG_LEN(0);

        for (size_t i = 0; i < bytes / sizeof(int); i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(head) + i * sizeof(int), sizeof(fd));
            close(fd);
            count++;
        }
    }
    return count;
}

size_t fuzz_receive(int fd, uint8_t *bytes, size_t room, unsigned *fd_count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(SENT_FDS * sizeof(int))];
    } control;
    struct iovec piece = { .iov_base = bytes, .iov_len = room };
    struct msghdr message = {
        .msg_iov = &piece, .msg_iovlen = 1,
        .msg_control = control.bytes, .msg_controllen = sizeof(control),
    };
    ssize_t got = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    *fd_count = got >= 0 ? discard(&message) : 0;
    return got > 0 ? (size_t)got : 0;
}
