/* SPDX-License-Identifier: BSD-3-Clause */
#include "hexdump.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void hexdump_digits(const uint8_t *bytes, size_t count, char *digits)
{
    static const char figures[] = "0123456789abcdef";
    size_t i;

    for (i = 0; i < count; i++) {
        *digits++ = figures[bytes[i] >> 4];
        *digits++ = figures[bytes[i] & 15];
    }
    *digits = '\0';
}

void hexdump_begin(struct hexdump *dump, uint64_t start, uint64_t size)
{
    memset(dump, 0, sizeof(*dump));
    dump->address = start;
    /* one width throughout, that of the address at the end */
    dump->digits = start > UINT32_MAX || size > UINT32_MAX - start ? 16 : 8;
}

static char *put_address(const struct hexdump *dump, char *text)
{
    return text + snprintf(text, HEXDUMP_LINE, "%0*" PRIx64, dump->digits,
                           dump->address);
}

static char *show_line(const struct hexdump *dump, const uint8_t *bytes,
                       size_t count, char *text)
{
    char digits[2 * HEXDUMP_BYTES + 1];
    size_t i;

    hexdump_digits(bytes, count, digits);
    text = put_address(dump, text);
    for (i = 0; i < HEXDUMP_BYTES; i++) {
        *text++ = ' ';
        if (i % 8 == 0) {
            *text++ = ' ';
        }
        *text++ = i < count ? digits[2 * i] : ' ';
        *text++ = i < count ? digits[2 * i + 1] : ' ';
    }
    *text++ = ' ';
    *text++ = ' ';
    *text++ = '|';
    for (i = 0; i < count; i++) {
        *text++ = bytes[i] >= ' ' && bytes[i] <= '~' ? (char)bytes[i] : '.';
    }
    *text++ = '|';
    *text++ = '\n';
    return text;
}

size_t hexdump_show(struct hexdump *dump, const uint8_t *bytes, size_t count,
                    char *text)
{
    char *at = text;
    size_t piece;

    for (; count > 0; count -= piece, bytes += piece) {
        piece = count < HEXDUMP_BYTES ? count : HEXDUMP_BYTES;
        /* a short line is shown even if it repeats the one before */
        if (dump->any && piece == HEXDUMP_BYTES &&
            memcmp(dump->last, bytes, HEXDUMP_BYTES) == 0) {
            if (!dump->starred) {
                *at++ = '*';
                *at++ = '\n';
            }
            dump->starred = true;
        } else {
            at = show_line(dump, bytes, piece, at);
            dump->any = true;
            dump->starred = false;
            memcpy(dump->last, bytes, piece);
        }
        dump->address += piece;
    }
    return (size_t)(at - text);
}

size_t hexdump_end(const struct hexdump *dump, char *text)
{
    char *at = text;

    if (dump->address == 0) { /* the end is 2^64 */
        *at++ = '1';
    }
    at = put_address(dump, at);
    *at++ = '\n';
    return (size_t)(at - text);
}
