/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bytes for people: what hexdump -C shows.
 */
#ifndef GUEST_HEXDUMP_H
#define GUEST_HEXDUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hexdump {
    uint64_t address;           /* of the next byte */
    int digits;                 /* in an address */
    uint8_t last[16];           /* the line before, if there is one */
    bool any, starred;          /* '*' stands for lines like the last */
};

void hexdump_begin(struct hexdump *dump, uint64_t start, uint64_t size);

/* Whole lines of 16 bytes, but for the last call. */
void hexdump_show(struct hexdump *dump, const uint8_t *bytes, size_t count);
void hexdump_end(const struct hexdump *dump);

/* "0x" is not put in front; no end of line follows. */
void hexdump_digits(const uint8_t *bytes, size_t count);

#endif
