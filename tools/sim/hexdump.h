/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The canonical hexadecimal and character display of hexdump(1).
 */
#ifndef SIM_HEXDUMP_H
#define SIM_HEXDUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HEXDUMP_BYTES = 16,         /* bytes shown in a line */
    HEXDUMP_LINE = 96           /* room for one line of text */
};

struct hexdump {
    uint64_t address;           /* of the next byte */
    int digits;                 /* in an address */
    uint8_t last[HEXDUMP_BYTES];
    bool any;                   /* @last is the line shown before */
    bool starred;               /* a '*' stands for lines like it */
};

/* A display of [start, start + size). */
void hexdump_begin(struct hexdump *dump, uint64_t start, uint64_t size);

/*
 * Show @count bytes more, whole lines but for the last call.  @text has room
 * for HEXDUMP_LINE characters for each line begun.
 * Returns the number of characters.
 */
size_t hexdump_show(struct hexdump *dump, const uint8_t *bytes, size_t count,
                    char *text);

/* The line at the end: the address behind the last byte. */
size_t hexdump_end(const struct hexdump *dump, char *text);

/* The digits of @count bytes, two each, terminated. */
void hexdump_digits(const uint8_t *bytes, size_t count, char *digits);

#endif
