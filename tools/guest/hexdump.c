/* SPDX-License-Identifier: BSD-3-Clause */
#include "hexdump.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { LINE = sizeof(((struct hexdump *)0)->last) };

void hexdump_begin(struct hexdump *dump, uint64_t start, uint64_t size)
{
    *dump = (struct hexdump){ .address = start };
    /* the same for all lines: that of the end */
    dump->digits = (start + size) >> 32 ? 16 : 8;
}

static void print_address(const struct hexdump *dump)
{
    printf("%0*" PRIx64, dump->digits, dump->address);
}

static void print_line(const struct hexdump *dump, const uint8_t *bytes,
                       size_t count)
{
    size_t i;

    print_address(dump);
    for (i = 0; i < LINE; i++) {
        fputs(i % (LINE / 2) == 0 ? "  " : " ", stdout);
        if (i < count) {
            hexdump_digits(bytes + i, 1);
        } else {
            fputs("  ", stdout);
        }
    }
    fputs("  |", stdout);
    for (i = 0; i < count; i++) {
        putchar(isprint(bytes[i]) ? bytes[i] : '.');
    }
    puts("|");
}

static bool repeats(const struct hexdump *dump, const uint8_t *bytes,
                    size_t count)
{
    return dump->any && count == LINE &&
           memcmp(bytes, dump->last, LINE) == 0;
}

void hexdump_show(struct hexdump *dump, const uint8_t *bytes, size_t count)
{
    size_t line;

    for (; count > 0; count -= line, bytes += line) {
        line = count < LINE ? count : LINE;
        if (!repeats(dump, bytes, line)) {
            print_line(dump, bytes, line);
            dump->starred = false;
            dump->any = true;
            memcpy(dump->last, bytes, line);
        } else if (!dump->starred) {
            puts("*");
            dump->starred = true;
        }
        dump->address += line;
    }
}

void hexdump_end(const struct hexdump *dump)
{
    print_address(dump);
    putchar('\n');
}

void hexdump_digits(const uint8_t *bytes, size_t count)
{
    while (count-- > 0) {
        printf("%02x", *bytes++);
    }
}
