/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Numbers as users write them: 0x1f, decimal, with K, M or G behind.
 *
 * Every function returns 0, or -1 with the reason in @failure, which names
 * the word and says what was expected; @name is what the word stands for.
 */
#ifndef SIM_NUMBERS_H
#define SIM_NUMBERS_H

#include <stddef.h>
#include <stdint.h>

#include "failure.h"

/* 0 to 2^64 - 1. */
int number_address(struct failure *failure, const char *name,
                   const char *word, uint64_t *value);

/* 1 to 2^64 - 1. */
int number_size(struct failure *failure, const char *name, const char *word,
                uint64_t *value);

/* As number_size(), but 2^64 is accepted too and given as 2^64 - 1. */
int number_window(struct failure *failure, const char *name,
                  const char *word, uint64_t *value);

/* START:SIZE, a range that does not pass 2^64. */
int number_range(struct failure *failure, const char *word, uint64_t *start,
                 uint64_t *size);

/* Does [start, start + size) pass 2^64?  Then the reason names @word. */
int number_fits(struct failure *failure, const char *word, uint64_t start,
                uint64_t size);

/* Milliseconds, from @least on; out: nanoseconds. */
int number_milliseconds(struct failure *failure, const char *name,
                        const char *word, unsigned least, int64_t *value);

/* The size of an access: 1, 2, 4 or 8. */
int number_access(struct failure *failure, const char *word,
                  unsigned *bytes);

/* A value that fits in @bytes bytes. */
int number_value(struct failure *failure, const char *word, unsigned bytes,
                 uint64_t *value);

/* An even count of hexadecimal digits, for at most @max bytes. */
int number_hex(struct failure *failure, const char *word, uint8_t *bytes,
               size_t max);

#endif
