/* SPDX-License-Identifier: BSD-3-Clause */
#include "numbers.h"

#include <stdbool.h>
#include <string.h>

#define NUMBER_FORM "0x... or decimal, K, M or G may follow"

enum parsed {
    PARSED,
    PARSED_TWO_TO_64,           /* exactly one more than fits */
    PARSED_TOO_LARGE,
    PARSED_MALFORMED
};

/* A number that may grow by one bit beyond 64, so that 2^64 is told apart. */
struct wide {
    uint64_t low;
    bool two_to_64;
    bool too_large;
};

static void wide_multiply_add(struct wide *wide, uint64_t factor,
                              uint64_t addend)
{
    uint64_t product, sum;

    if (wide->two_to_64 && (factor > 1 || addend > 0)) {
        wide->too_large = true;
    }
    if (wide->two_to_64 || wide->too_large) {
        return;
    }
    if (__builtin_mul_overflow(wide->low, factor, &product)) {
        /* 2^64 itself: a power of two times a power of two */
        wide->two_to_64 = product == 0 && addend == 0 &&
                          UINT64_MAX / factor + 1 == wide->low;
        wide->too_large = !wide->two_to_64;
        return;
    }
    if (__builtin_add_overflow(product, addend, &sum)) {
        wide->two_to_64 = sum == 0;
        wide->too_large = sum != 0;
        return;
    }
    wide->low = sum;
}

static int digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return 16;
}

static uint64_t suffix(char c)
{
    switch (c) {
    case 'k':
    case 'K':
        return UINT64_C(1) << 10;
    case 'm':
    case 'M':
        return UINT64_C(1) << 20;
    case 'g':
    case 'G':
        return UINT64_C(1) << 30;
    default:
        return 0;
    }
}

static enum parsed parse(const char *word, size_t length, uint64_t *value)
{
    struct wide wide = { 0, false, false };
    int base = 10;
    size_t i = 0, first;

    if (length > 2 && word[0] == '0' && (word[1] == 'x' || word[1] == 'X')) {
        base = 16;
        i = 2;
    }
    for (first = i; i < length && digit(word[i]) < base; i++) {
        wide_multiply_add(&wide, (uint64_t)base, (uint64_t)digit(word[i]));
    }
    if (i == first || length - i > 1) {
        return PARSED_MALFORMED;
    }
    if (i < length) {
        if (suffix(word[i]) == 0) {
            return PARSED_MALFORMED;
        }
        wide_multiply_add(&wide, suffix(word[i]), 0);
    }
    *value = wide.low;
    return wide.too_large ? PARSED_TOO_LARGE
           : wide.two_to_64 ? PARSED_TWO_TO_64 : PARSED;
}

static int address(struct failure *failure, const char *name,
                   const char *word, size_t length, uint64_t *value)
{
    switch (parse(word, length, value)) {
    case PARSED:
        return 0;
    case PARSED_MALFORMED:
        return fail(failure, "'%.*s': expected %s, " NUMBER_FORM,
                    (int)length, word, name);
    default:
        return fail(failure, "'%.*s': past 2^64, expected %s of at most "
                    "0xffffffffffffffff", (int)length, word, name);
    }
}

int number_address(struct failure *failure, const char *name,
                   const char *word, uint64_t *value)
{
    return address(failure, name, word, strlen(word), value);
}

static int not_zero(struct failure *failure, const char *name,
                    const char *word, uint64_t value)
{
    return value > 0 ? 0 : fail(failure, "'%s': size 0, expected %s of at "
                                "least 1", word, name);
}

int number_size(struct failure *failure, const char *name, const char *word,
                uint64_t *value)
{
    if (number_address(failure, name, word, value) < 0) {
        return -1;
    }
    return not_zero(failure, name, word, *value);
}

int number_window(struct failure *failure, const char *name,
                  const char *word, uint64_t *value)
{
    if (parse(word, strlen(word), value) == PARSED_TWO_TO_64) {
        *value = UINT64_MAX;
        return 0;
    }
    return number_size(failure, name, word, value);
}

int number_fits(struct failure *failure, const char *word, uint64_t start,
                uint64_t size)
{
    if (size > 0 && size - 1 > UINT64_MAX - start) {
        return fail(failure, "'%s': passes 2^64, expected an end of at most "
                    "that", word);
    }
    return 0;
}

int number_range(struct failure *failure, const char *word, uint64_t *start,
                 uint64_t *size)
{
    const char *colon = strchr(word, ':');

    if (!colon) {
        return fail(failure, "'%s': expected START:SIZE", word);
    }
    if (address(failure, "START", word, (size_t)(colon - word), start) < 0 ||
        number_size(failure, "SIZE", colon + 1, size) < 0) {
        return -1;
    }
    return number_fits(failure, word, *start, *size);
}

int number_milliseconds(struct failure *failure, const char *name,
                        const char *word, unsigned least, int64_t *value)
{
    const uint64_t most = INT64_MAX / 2 / 1000000;
    uint64_t ms;

    if (parse(word, strlen(word), &ms) != PARSED || ms < least ||
        ms > most) {
        return fail(failure, "'%s': expected %s, a time in milliseconds of "
                    "%u to %llu", word, name, least,
                    (unsigned long long)most);
    }
    *value = (int64_t)ms * 1000000;
    return 0;
}

int number_access(struct failure *failure, const char *word, unsigned *bytes)
{
    if (strlen(word) != 1 || !strchr("1248", word[0])) {
        return fail(failure, "'%s': expected the size of an access: 1, 2, 4 "
                    "or 8", word);
    }
    *bytes = (unsigned)(word[0] - '0');
    return 0;
}

int number_value(struct failure *failure, const char *word, unsigned bytes,
                 uint64_t *value)
{
    enum parsed parsed = parse(word, strlen(word), value);

    if (parsed == PARSED_MALFORMED) {
        return fail(failure, "'%s': expected a VALUE, " NUMBER_FORM, word);
    }
    if (parsed != PARSED || (bytes < 8 && *value >> (8 * bytes))) {
        return fail(failure, "'%s': too large, expected a VALUE of %u "
                    "byte%s", word, bytes, bytes == 1 ? "" : "s");
    }
    return 0;
}

int number_hex(struct failure *failure, const char *word, uint8_t *bytes,
               size_t max)
{
    size_t length = strspn(word, "0123456789abcdefABCDEF"), i;

    if (word[length] != '\0' || length % 2 != 0) {
        return fail(failure, "'%s': expected HEXDATA, an even count of "
                    "hexadecimal digits", word);
    }
    if (length > 2 * max) {
        return fail(failure, "'%s': %zu digits, expected HEXDATA of at most "
                    "%zu", word, length, 2 * max);
    }
    for (i = 0; i < length / 2; i++) {
        bytes[i] = (uint8_t)(digit(word[2 * i]) << 4 |
                             digit(word[2 * i + 1]));
    }
    return 0;
}
