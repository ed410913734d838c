/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The library's own transport: pairs of unix sockets, listened on or
 * connected to (protocol sections 1 and 5).  Called with the group's lock.
 */
#ifndef MX_SOCKET_H
#define MX_SOCKET_H

#include "group.h"

struct mx_socket;

/*
 * A pair of connected sockets is there.  Returns 0 and takes both over;
 * -EBUSY: a peer is connected; -EPERM: links are refused now; -EACCES: the
 * peer is not who may connect, and that has been logged.
 */
typedef int mx_socket_offer(void *opaque, int mem_fd, int intr_fd);

/* -errno as for memexpose_device_listen() and _connect(). */
int mx_socket_listen(struct memexpose_group *group, const char *mem_path,
                     const char *intr_path, const char *name,
                     mx_socket_offer *offer, void *opaque,
                     struct mx_socket **result);
int mx_socket_connect(struct memexpose_group *group, const char *mem_path,
                      const char *intr_path, const char *name, int64_t retry,
                      mx_socket_offer *offer, void *opaque,
                      struct mx_socket **result);

/* The links have ended: connect again before long, unless refused. */
void mx_socket_down(struct mx_socket *transport);

/* Links are wanted, or not. */
void mx_socket_open(struct mx_socket *transport);
void mx_socket_refuse(struct mx_socket *transport);

/* Close everything, remove the files. */
void mx_socket_destroy(struct mx_socket *transport);

#endif
