/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is called differently in the QEMU series that memexpose is built for:
 * 7.2, 10.0 and 10.2.  Everything else is the same source for all of them.
 */
#ifndef HW_MISC_MEMEXPOSE_COMPAT_H
#define HW_MISC_MEMEXPOSE_COMPAT_H

#define QEMU_SINCE(major, minor)                                        \
    (QEMU_VERSION_MAJOR > (major) ||                                    \
     (QEMU_VERSION_MAJOR == (major) && QEMU_VERSION_MINOR >= (minor)))

#if QEMU_SINCE(10, 1)
#include "system/memory.h"
#include "system/address-spaces.h"
#include "system/ramblock.h"
#else
#include "exec/memory.h"
#include "exec/address-spaces.h"
#include "exec/ramblock.h"
#endif

#if QEMU_SINCE(10, 0)
#include "system/kvm.h"
#include "system/runstate.h"
#include "system/system.h"
#else
#include "sysemu/kvm.h"
#include "sysemu/runstate.h"
#include "sysemu/sysemu.h"
#endif

#include "chardev/char-fe.h"
#include "chardev/char-socket.h"
#include "hw/core/cpu.h"
#include "hw/qdev-core.h"
#include "hw/qdev-properties.h"
#include "hw/qdev-properties-system.h"
#include "io/net-listener.h"
#include "qemu/main-loop.h"

#if QEMU_SINCE(10, 2)
typedef CharFrontend MemexposeChardev;
#else
typedef CharBackend MemexposeChardev;
#endif

/* The last argument of class_init and the type of property arrays. */
#if QEMU_SINCE(10, 1)
typedef const void MemexposeClassData;
#else
typedef void MemexposeClassData;
#endif

#if QEMU_SINCE(10, 0)
typedef const Property MemexposeProperty;
#else
typedef Property MemexposeProperty;
#define device_class_set_legacy_reset memexpose_class_set_reset
static inline void memexpose_class_set_reset(DeviceClass *dc,
                                             void (*reset)(DeviceState *))
{
    dc->reset = reset;
}
#endif

#if !QEMU_SINCE(9, 0)
#define bql_lock qemu_mutex_lock_iothread
#define bql_unlock qemu_mutex_unlock_iothread
#define bql_locked qemu_mutex_iothread_locked
#define qemu_cond_timedwait_bql qemu_cond_timedwait_iothread
#endif

/* Where a block lies in its file; 7.2 always begins at the start. */
static inline uint64_t memexpose_block_offset(const RAMBlock *block)
{
#if QEMU_SINCE(10, 0)
    return block->fd_offset;
#else
    return 0;
#endif
}

/* The first of the sockets that a listener has. */
static inline int memexpose_listener_fd(QIONetListener *listener)
{
#if QEMU_SINCE(10, 2)
    return qio_net_listener_sioc(listener, 0)->fd;
#else
    return listener->sioc[0]->fd;
#endif
}

/* Does a client chardev connect again by itself? */
static inline bool memexpose_chardev_reconnects(const SocketChardev *socket)
{
#if QEMU_SINCE(10, 0)
    return socket->reconnect_time_ms != 0;
#else
    return socket->reconnect_time != 0;
#endif
}

#endif
