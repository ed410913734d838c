/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libmemexpose: share memory and interrupts between two virtual machines.
 * libmemexpose(3) introduces it; docs/examples holds a complete program.
 *
 * <memexpose/event.h> and <memexpose/fdt.h> belong to libraries of their own.
 */
#ifndef MEMEXPOSE_MEMEXPOSE_H
#define MEMEXPOSE_MEMEXPOSE_H

#include <memexpose/device.h>
#include <memexpose/group.h>
#include <memexpose/log.h>
#include <memexpose/protocol.h>
#include <memexpose/space.h>

#endif
