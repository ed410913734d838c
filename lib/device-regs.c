/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a guest does to the device: enabling, registers, interrupts (protocol
 * section 5).
 */
#include "device.h"

#include <errno.h>
#include <string.h>

#include "os.h"

bool mx_device_line(struct memexpose_device *device)
{
    bool rise, level;

    device->regs.held = device->removals > 0;   /* section 4 */
    level = mx_regs_line(&device->regs, &rise);
    device->rise |= rise;
    return level;
}

/* --- enabling (section 5) ------------------------------------------------ */

static bool enable_decided(void *arg)
{
    const struct memexpose_device *device = arg;

    return device->member.link.up || !device->regs.enabled ||
           device->destroyed;
}

static int wait_for_links(struct memexpose_device *device, int64_t deadline)
{
    struct memexpose_group *group = mx_device_group(device);
    int ret;

    if (enable_decided(device)) {
        return 0;
    }
    if (deadline == 0 || mx_group_in_callback(group)) {
        return -EINPROGRESS;
    }
    ret = mx_group_wait(group, &(struct mx_wait) {
        .member = &device->member,
        .done = enable_decided,
        .arg = device,
        .deadline = deadline,
        .mark = mx_group_cancel_mark(group, &device->member),
    });
    if (ret == 0 && !device->member.link.up) {
        ret = -ECANCELED;       /* disabled, reset or destroyed meanwhile */
    }
    return ret;
}

static int enable(struct memexpose_device *device, int64_t deadline)
{
    int ret;

    mx_member_ref(&device->member);
    device->regs.enabled = true;
    mx_device_want_links(device);
    mx_group_settle(mx_device_group(device));
    ret = wait_for_links(device, deadline);
    mx_member_unref(&device->member);
    return ret;
}

static void disable(struct memexpose_device *device)
{
    device->regs.enabled = false;
    mx_group_news(mx_device_group(device));
    mx_device_refuse_links(device);
    mx_device_end_links(device, -ECONNRESET);
    mx_group_settle(mx_device_group(device));
}

int memexpose_device_enable(struct memexpose_device *device, int64_t deadline)
{
    struct memexpose_group *group = mx_device_group(device);
    int ret;

    mx_group_enter(group);
    ret = enable(device, deadline);
    mx_group_leave(group);
    return ret;
}

void memexpose_device_disable(struct memexpose_device *device)
{
    struct memexpose_group *group = mx_device_group(device);

    mx_group_enter(group);
    disable(device);
    mx_group_leave(group);
}

bool memexpose_device_is_enabled(struct memexpose_device *device)
{
    struct memexpose_group *group = mx_device_group(device);
    bool enabled;

    mx_group_enter(group);
    enabled = device->regs.enabled;
    mx_group_leave(group);
    return enabled;
}

void memexpose_device_reset(struct memexpose_device *device)
{
    struct memexpose_group *group = mx_device_group(device);

    mx_group_enter(group);
    if (device->regs.enabled) {
        mx_device_end_links(device, -ECONNRESET);
        mx_device_update_link(device);  /* 0x030 is cleared with the rest */
    }
    mx_regs_reset(&device->regs);
    mx_device_cancel_waits(device);
    mx_device_want_links(device);
    mx_group_news(group);
    mx_group_settle(group);
    mx_group_leave(group);
}

void memexpose_device_cancel(struct memexpose_device *device)
{
    struct memexpose_group *group = mx_device_group(device);

    mx_device_cancel_waits(device);
    mx_group_wake_all(group);
}

/* --- registers and interrupts -------------------------------------------- */

/* There is something to settle only if that showed the end of the links. */
static int send_interrupt(struct memexpose_device *device, uint64_t type,
                          const uint8_t *data)
{
    int ret = mx_link_interrupt(&device->member.link, type, data);

    if (ret == 0) {
        device->stats.interrupts_sent++;
    } else {
        device->stats.interrupts_dropped++;
    }
    if (device->member.link.end.set) {
        mx_group_settle(mx_device_group(device));
    }
    return ret;
}

uint64_t memexpose_device_reg_read(struct memexpose_device *device,
                                   uint64_t offset, unsigned bytes)
{
    struct memexpose_group *group = mx_device_group(device);
    uint64_t value;

    if (!mx_regs_valid(offset, bytes)) {
        return UINT64_MAX;
    }
    mx_group_enter(group);
    mx_device_update_link(device);
    mx_device_line(device);
    value = mx_regs_read(&device->regs, offset, bytes);
    mx_group_settle(group);
    mx_group_leave(group);
    return value;
}

static int64_t enable_deadline(const struct memexpose_device *device)
{
    int64_t now = mx_group_now(mx_device_group(device));

    if (!device->config.wait) {
        return 0;
    }
    return device->config.connect_timeout > MEMEXPOSE_FOREVER - now ?
           MEMEXPOSE_FOREVER : now + device->config.connect_timeout;
}

int memexpose_device_reg_write(struct memexpose_device *device,
                               uint64_t offset, unsigned bytes, uint64_t value)
{
    struct memexpose_group *group = mx_device_group(device);
    int ret = 0;

    if (!mx_regs_valid(offset, bytes)) {
        return -EINVAL;
    }
    mx_group_enter(group);
    switch (mx_regs_write(&device->regs, offset, bytes, value)) {
    case MX_REGS_ENABLE:
        ret = enable(device, enable_deadline(device));
        break;
    case MX_REGS_DISABLE:
        disable(device);
        break;
    case MX_REGS_SEND:
        send_interrupt(device, device->regs.tx.type, device->regs.tx.data);
        break;
    case MX_REGS_NOTHING:
        mx_group_settle(group);
        break;
    }
    mx_group_leave(group);
    return ret;
}

int memexpose_device_send(struct memexpose_device *device,
                          const struct memexpose_interrupt *interrupt)
{
    struct memexpose_group *group = mx_device_group(device);
    int ret;

    mx_group_enter(group);
    ret = send_interrupt(device, interrupt->type, interrupt->data);
    mx_group_leave(group);
    return ret;
}

int memexpose_device_receive(struct memexpose_device *device,
                             struct memexpose_interrupt *interrupt)
{
    struct memexpose_group *group = mx_device_group(device);
    struct mx_interrupt next;
    bool there;

    mx_group_enter(group);
    mx_device_line(device);
    there = mx_regs_pop(&device->regs, &next);
    /* before the last is taken the line stays, and no more are let in */
    if (device->regs.count == 0 || device->rise) {
        mx_group_settle(group);
    }
    mx_group_leave(group);
    if (!there) {
        return -EAGAIN;
    }
    interrupt->type = next.type;
    memcpy(interrupt->data, next.data, sizeof(interrupt->data));
    return 0;
}
