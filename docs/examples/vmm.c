/* SPDX-License-Identifier: BSD-3-Clause */
/* A "VMM": lends its RAM to a peer, writes to the peer's, rings and is rung.
 * Run "vmm listen MEM INTR" and "vmm connect MEM INTR" (paths of sockets). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <memexpose/memexpose.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
enum { START = 0x40000000, SIZE = 0x10000 };    /* of the RAM, a memfd */

/* The peer asks for what it has not mapped (yet).  Little-endian machines. */
static int ram_read(void *fd, uint64_t at, unsigned bytes, uint64_t *value)
{
    return pread(*(int *)fd, value, bytes, (off_t)(at - START)) ==
           (ssize_t)bytes ? MEMEXPOSE_RESULT_OK : MEMEXPOSE_RESULT_DECODE;
}
static int ram_write(void *fd, uint64_t at, unsigned bytes, uint64_t value)
{
    return pwrite(*(int *)fd, &value, bytes, (off_t)(at - START)) ==
           (ssize_t)bytes ? MEMEXPOSE_RESULT_OK : MEMEXPOSE_RESULT_DECODE;
}

/* That succeeded, so @at is in the RAM, and the peer may map all of it. */
static int ram_resolve(void *fd, uint64_t at, struct memexpose_share *share)
{
    *share = (struct memexpose_share) { .start = at - at % SIZE, .size = SIZE,
        .fd = fcntl(*(int *)fd, F_DUPFD_CLOEXEC, 0) };
    return share->fd >= 0;
}

/* Blocking calls serve the peer while they wait, and so does an event loop. */
static int talk(struct memexpose_group *group, struct memexpose_device *device,
                const char *me)
{
    struct memexpose_interrupt ring = { .type = 1 };
    int64_t until = memexpose_group_now(group) + 10000000000; /* 10 s */
    struct pollfd fds[32];
    int ret = memexpose_device_enable(device, until);

    if (ret == 0)
        ret = memexpose_write_block(device, START, me, strlen(me) + 1, NULL);
    if (ret == 0)
        ret = memexpose_device_send(device, &ring);
    while (ret == 0 && memexpose_device_receive(device, &ring) == -EAGAIN) {
        size_t count = memexpose_group_poll(group, fds, 32, &until, NULL);
        if (!(memexpose_device_link_state(device) & MEMEXPOSE_STATE_MEM_UP))
            ret = -ECONNRESET;
        else if (memexpose_wait(fds, count, until) >= 0)
            memexpose_group_process(group, fds, count);
    }
    return ret;
}

int main(int argc, char **argv)
{
    static const struct memexpose_device_ops ops = { .size = sizeof(ops),
        .read = ram_read, .write = ram_write, .resolve = ram_resolve };
    int ret, fd = memfd_create("ram", MFD_ALLOW_SEALING);
    struct memexpose_group *group = memexpose_group_create(NULL, NULL);
    struct memexpose_device *device = group ?
        memexpose_device_create(group, &ops, &fd, NULL) : NULL;
    char note[16] = "";

    if (argc != 4 || !device || ftruncate(fd, SIZE) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0)
        ret = argc != 4 ? -EINVAL : -errno;
    else
        ret = (argv[1][0] == 'l' ? memexpose_device_listen :
               memexpose_device_connect)(device, argv[2], argv[3]);
    ret = ret == 0 ? talk(group, device, argv[1]) : ret;
    if (pread(fd, note, sizeof(note) - 1, 0) < 0 || ret != 0)
        fprintf(stderr, "vmm: %s\n", memexpose_strerror(ret));
    else
        printf("%s: rung by the one who wrote \"%s\"\n", argv[1], note);
    memexpose_device_destroy(device);
    return memexpose_group_destroy(group) < 0 || close(fd) < 0 || ret != 0;
}
