/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the device room needs to know of a space besides <memexpose/space.h>.
 */
#ifndef MX_SPACE_H
#define MX_SPACE_H

#include <stdbool.h>
#include <stdint.h>

#include <memexpose/space.h>

/* Was a range added at @start?  *@size is its size then. */
bool mx_space_range(struct memexpose_space *space, uint64_t start,
                    uint64_t *size);

#endif
