/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Someone else's program: built against what was installed, in strict C11.
 * Two devices in one process, joined by sockets; one reads the other's memory.
 */
#include <memexpose/memexpose.h>
#ifdef WITH_EVENT
#include <memexpose/event.h>
#include <event2/event.h>
#endif
#ifdef WITH_FDT
#include <memexpose/fdt.h>
#include <libfdt.h>
#endif

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define EXPECT(what) \
    do { \
        if (!(what)) { \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what); \
            exit(EXIT_FAILURE); \
        } \
    } while (0)

/* One end of the pair, listening or connecting. */
static struct memexpose_device *make(struct memexpose_group *group,
                                     struct memexpose_space *space)
{
    struct memexpose_device_config config;
    struct memexpose_device_ops ops;
    struct memexpose_device *device;

    memexpose_device_config_init(&config);
    memexpose_space_span(space, &config.span_start, &config.span_size);
    memexpose_space_ops(&ops);
    device = memexpose_device_create(group, &ops, space, &config);
    EXPECT(device != NULL);
    return device;
}

static void share(const char *mem, const char *intr)
{
    struct memexpose_group *group = memexpose_group_create(NULL, NULL);
    struct memexpose_space *space = memexpose_space_create();
    struct memexpose_device *exporter, *importer;
    uint64_t value = 0;
    int ret;

    EXPECT(group && space);
    EXPECT(memexpose_space_add_ram(space, 0x10000, 0x2000, -1, 0, 0) == 0);
    EXPECT(memexpose_space_write(space, 0x10008, 8, 0x1122334455667788) == 0);
    exporter = make(group, space);
    importer = make(group, space);
    EXPECT(memexpose_device_listen(exporter, mem, intr) == 0);
    EXPECT(memexpose_device_connect(importer, mem, intr) == 0);
    ret = memexpose_device_enable(exporter, 0);
    EXPECT(ret == 0 || ret == -EINPROGRESS);
    EXPECT(memexpose_device_enable(importer, memexpose_group_now(group) +
                                   10000000000) == 0);

    EXPECT(memexpose_read(importer, 0x10008, 8, &value) == 0);
    EXPECT(value == 0x1122334455667788);
    EXPECT(memexpose_write(importer, 0x10010, 4, 0xabcd) == 0);
    EXPECT(memexpose_space_read(space, 0x10010, 4, &value) == 0);
    EXPECT(value == 0xabcd);

    memexpose_device_destroy(importer);
    memexpose_device_destroy(exporter);
    memexpose_space_destroy(space);
    EXPECT(memexpose_group_destroy(group) == 0);
}

#ifdef WITH_EVENT
static void drive(void)
{
    struct event_base *base = event_base_new();
    struct memexpose_group *group = memexpose_group_create(NULL, NULL);
    struct memexpose_event *event = memexpose_event_create(base, group);

    EXPECT(event != NULL);
    EXPECT(event_base_loop(base, EVLOOP_NONBLOCK) >= 0);
    memexpose_event_destroy(event);
    EXPECT(memexpose_group_destroy(group) == 0);
    event_base_free(base);
}
#endif

#ifdef WITH_FDT
static void describe(void)
{
    static char tree[4096];

    EXPECT(fdt_create_empty_tree(tree, sizeof(tree)) == 0);
    EXPECT(memexpose_fdt_find(tree, -1) == -ENOENT);
}
#endif

int main(int argc, char **argv)
{
    EXPECT(argc == 3);
    share(argv[1], argv[2]);
#ifdef WITH_EVENT
    drive();
#endif
#ifdef WITH_FDT
    describe();
#endif
    puts("ok");
    return EXIT_SUCCESS;
}
