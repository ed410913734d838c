/* SPDX-License-Identifier: BSD-3-Clause */
/* A server in a libevent loop: lends RAM and a counter to whoever connects,
 * and answers a ring with a note in the peer's memory and a ring.  Run
 * "loop MEM INTR" and, for instance, "vmm connect MEM INTR". */
#include <errno.h>
#include <event2/event.h>
#include <memexpose/event.h>
#include <memexpose/memexpose.h>
#include <stdio.h>

enum { RAM = 0x40000000, RAM_SIZE = 0x10000, COUNTER = 0x50000000 };

static struct event_base *base;
static struct memexpose_space *space;
static struct memexpose_device *device;
static uint64_t rings;
static int failure;

/* A register, which the peer can read but never map. */
static int counter_read(void *none, uint64_t offset, unsigned bytes,
                        uint64_t *value)
{
    (void)none;
    *value = rings >> 8 * offset;
    return offset + bytes <= 8 ? MEMEXPOSE_RESULT_OK : MEMEXPOSE_RESULT_DECODE;
}

/* Called from within the loop; what blocks here serves the peer meanwhile. */
static void on_interrupt(void *none, bool level, bool rise)
{
    struct memexpose_interrupt ring;
    char note[16] = "";

    (void)none, (void)rise;
    if (!level || memexpose_device_receive(device, &ring) < 0)
        return;
    rings++;
    failure = memexpose_space_read_block(space, RAM, note, 15, NULL);
    printf("loop: rung by the one who wrote \"%s\"\n", note);
    if (failure == 0)
        failure = memexpose_write_block(device, RAM, "loop", 5, NULL);
    if (failure == 0)
        failure = memexpose_device_send(device, &ring);
    if (failure != 0)
        event_base_loopbreak(base);
}

/* The peer has come or gone. */
static void on_link(void *none, uint64_t state)
{
    (void)none;
    if (state >> 32 && !(state & MEMEXPOSE_STATE_MEM_UP))
        event_base_loopbreak(base);
}

static int serve(const char *mem, const char *intr)
{
    struct memexpose_mmio_ops counter = { .size = sizeof(counter),
                                          .read = counter_read };
    int ret = memexpose_space_add_ram(space, RAM, RAM_SIZE, -1, 0, 0);

    if (ret == 0)
        ret = memexpose_space_add_mmio(space, COUNTER, 8, &counter, NULL);
    if (ret == 0)
        ret = memexpose_device_listen(device, mem, intr);
    if (ret == 0)
        ret = memexpose_device_enable(device, 0);   /* without waiting */
    if (ret == 0 || ret == -EINPROGRESS)
        ret = event_base_dispatch(base) < 0 ? -EIO : failure;
    return ret;
}

int main(int argc, char **argv)
{
    struct memexpose_group *group = memexpose_group_create(NULL, NULL);
    struct memexpose_event *event = NULL;
    struct memexpose_device_ops ops;
    int ret = -EINVAL;

    base = event_base_new();
    space = memexpose_space_create();
    memexpose_space_ops(&ops);
    ops.interrupt = on_interrupt;
    ops.link_changed = on_link;
    if (group && space)
        device = memexpose_device_create(group, &ops, space, NULL);
    if (base && device)
        event = memexpose_event_create(base, group);
    if (event && argc == 3)
        ret = serve(argv[1], argv[2]);
    if (ret != 0)
        fprintf(stderr, "loop: %s\n", memexpose_strerror(ret));
    memexpose_event_destroy(event);
    memexpose_device_destroy(device);
    memexpose_space_destroy(space);
    if (base)
        event_base_free(base);
    return memexpose_group_destroy(group) < 0 || ret != 0;
}
