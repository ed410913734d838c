/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Single accesses to memory that belongs to a device: aligned, in one piece,
 * little-endian.
 *
 * On aarch64 by instructions that a hypervisor can emulate: of those that
 * move their base register along, as compilers like to use in loops, the CPU
 * tells it too little.
 */
#ifndef GUEST_MMIO_H
#define GUEST_MMIO_H

#include <endian.h>
#include <stdint.h>

#ifdef __aarch64__
#define MMIO_READ(type, suffix, at, value)                              \
    __asm__ volatile("ldr" suffix " %" #type "0, %1"                    \
                     : "=r"(value) : "Q"(*(at)) : "memory")
#define MMIO_WRITE(type, suffix, at, value)                             \
    __asm__ volatile("str" suffix " %" #type "1, %0"                    \
                     : "=Q"(*(at)) : "r"(value) : "memory")
#else
#define MMIO_READ(type, suffix, at, value) ((value) = *(at))
#define MMIO_WRITE(type, suffix, at, value) (*(at) = (value))
#endif

/* The bytes as they are in memory. */
static inline uint64_t mmio_read_raw8(const volatile void *at)
{
    uint64_t value;

    MMIO_READ(x, "", (const volatile uint64_t *)at, value);
    return value;
}

static inline void mmio_write_raw8(volatile void *at, uint64_t value)
{
    MMIO_WRITE(x, "", (volatile uint64_t *)at, value);
}

static inline uint8_t mmio_read_raw1(const volatile void *at)
{
    uint8_t value;

    MMIO_READ(w, "b", (const volatile uint8_t *)at, value);
    return value;
}

static inline void mmio_write_raw1(volatile void *at, uint8_t value)
{
    MMIO_WRITE(w, "b", (volatile uint8_t *)at, value);
}

/* A number of @bytes bytes, 1, 2, 4 or 8, at a multiple of that. */
static inline uint64_t mmio_read(const volatile void *at, unsigned bytes)
{
    uint32_t four;
    uint16_t two;

    switch (bytes) {
    case 1:
        return mmio_read_raw1(at);
    case 2:
        MMIO_READ(w, "h", (const volatile uint16_t *)at, two);
        return le16toh(two);
    case 4:
        MMIO_READ(w, "", (const volatile uint32_t *)at, four);
        return le32toh(four);
    default:
        return le64toh(mmio_read_raw8(at));
    }
}

static inline void mmio_write(volatile void *at, unsigned bytes,
                              uint64_t value)
{
    switch (bytes) {
    case 1:
        mmio_write_raw1(at, (uint8_t)value);
        break;
    case 2:
        MMIO_WRITE(w, "h", (volatile uint16_t *)at,
                   htole16((uint16_t)value));
        break;
    case 4:
        MMIO_WRITE(w, "", (volatile uint32_t *)at, htole32((uint32_t)value));
        break;
    default:
        mmio_write_raw8(at, htole64(value));
    }
}

#endif
