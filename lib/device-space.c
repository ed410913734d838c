/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device that exports one of the library's spaces.
 */
#include "device.h"

#include <errno.h>

#include "space.h"

static int read_op(void *opaque, uint64_t address, unsigned bytes,
                   uint64_t *value)
{
    return memexpose_space_read(opaque, address, bytes, value);
}

static int write_op(void *opaque, uint64_t address, unsigned bytes,
                    uint64_t value)
{
    return memexpose_space_write(opaque, address, bytes, value);
}

static int read_block_op(void *opaque, uint64_t address, void *buffer,
                         size_t bytes, size_t *done)
{
    return memexpose_space_read_block(opaque, address, buffer, bytes, done);
}

static int write_block_op(void *opaque, uint64_t address, const void *buffer,
                          size_t bytes, size_t *done)
{
    return memexpose_space_write_block(opaque, address, buffer, bytes, done);
}

static int next_share_op(void *opaque, uint64_t address,
                         struct memexpose_share *share)
{
    return memexpose_space_next_share(opaque, address, share);
}

static int resolve_op(void *opaque, uint64_t address,
                      struct memexpose_share *share)
{
    return memexpose_space_resolve(opaque, address, share);
}

void memexpose_space_ops(struct memexpose_device_ops *ops)
{
    *ops = (struct memexpose_device_ops) {
        .size = sizeof(*ops),
        .read = read_op,
        .write = write_op,
        .read_block = read_block_op,
        .write_block = write_block_op,
        .resolve = resolve_op,
        .next_share = next_share_op,
    };
}

/* Are these callbacks the space's, and the opaque pointer a space? */
static bool has_space_ops(const struct memexpose_device_ops *ops)
{
    return ops->read == read_op && ops->write == write_op &&
           ops->resolve == resolve_op;
}

void memexpose_device_set_space(struct memexpose_device *device,
                                struct memexpose_space *space)
{
    struct memexpose_group *group = mx_device_group(device);

    mx_group_enter(group);
    device->space = space;
    mx_group_leave(group);
}

struct memexpose_space *
mx_export_space(const struct memexpose_device *device)
{
    if (device->space) {
        return device->space;
    }
    return has_space_ops(&device->ops) ? device->opaque : NULL;
}

void mx_export_span(struct memexpose_device *device, uint64_t *start,
                    uint64_t *size)
{
    struct memexpose_space *space = mx_export_space(device);

    if (device->config.span_size == 0 && space) {
        memexpose_space_span(space, start, size);
    } else {
        *start = device->config.span_start;
        *size = device->config.span_size;
    }
}

/* Everything of the group that exports @space. */
static void invalidate_space(struct memexpose_group *group,
                             struct memexpose_space *space, uint64_t start,
                             uint64_t size)
{
    struct mx_member *member;
    struct mx_call call;

    mx_group_enter(group);
    mx_group_change_begin(group, &call);
    TAILQ_FOREACH(member, &group->members, entry) {
        struct memexpose_device *device = mx_device_of(member);

        if (mx_export_space(device) == space) {
            mx_export_invalidate(device, start, size);
        }
    }
    mx_group_settle(group);
    mx_group_change_end(group, &call);
    mx_group_leave(group);
}

int memexpose_space_withdraw(struct memexpose_space *space,
                             struct memexpose_group *group, uint64_t start)
{
    uint64_t size;
    int ret;

    if (!mx_space_added(space, start, &size)) {
        return -ENOENT;
    }
    memexpose_map_change_begin(group);
    invalidate_space(group, space, start, size);
    ret = memexpose_map_change_wait(group);
    memexpose_space_remove(space, start);
    memexpose_map_change_end(group);
    return ret;
}
