/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Results, on stdout: text, or JSON, an object a line.  Each is written at
 * once; the peer is served while stdout takes no more.
 *
 * All return 0, or -1 with the reason in @failure.
 */
#ifndef SIM_OUTPUT_H
#define SIM_OUTPUT_H

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "failure.h"
#include "loop.h"

int output_bytes(struct loop *loop, struct failure *failure,
                 const char *bytes, size_t count);

/* One line; the newline is added. */
int output_line(struct loop *loop, struct failure *failure,
                const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* One object, whose reference is taken over; NULL: there was no memory. */
int output_json(struct loop *loop, struct failure *failure, json_t *object);

/* "0x1f" with at least @digits digits: not every reader has 64 bits. */
json_t *output_hex(uint64_t value, unsigned digits);

#endif
