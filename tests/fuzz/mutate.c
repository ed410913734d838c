/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libFuzzer's mutator for inputs that are lists of steps: whole steps are
 * inserted, moved and dropped, fields get values that mean something, and now
 * and then libFuzzer has its own way with the bytes of one.
 */
#include <string.h>

#include "fuzz.h"
#include "wire.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *one, size_t one_size,
                                 const uint8_t *other, size_t other_size,
                                 uint8_t *out, size_t max_size,
                                 unsigned seed);

/* Addresses, sizes and offsets around which something changes. */
static const uint64_t values[] = {
    0, 1, 8, 0xfff, 0x1000, 0x4000, 0x10000, 0x10ffc, 0x13ffe, 0x14000,
    0x20000, 0x40000, 0x50000, 0x100000, 0x101000, 0x200000, 0x400, 0x800,
    0x808, 0x28, 0x30, UINT64_C(1) << 32, UINT64_C(1) << 63,
    UINT64_MAX - 0xfff, UINT64_MAX - 7, UINT64_MAX,
};

static const uint8_t sizes[] = { 0, 1, 2, 3, 4, 8, 5, 16, 255 };

static uint32_t next(unsigned *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static uint64_t any_value(unsigned *seed)
{
    uint64_t value = values[next(seed) % (sizeof(values) /
                                          sizeof(values[0]))];

    switch (next(seed) % 4) {
    case 0:
        return value + next(seed) % 9 - 4;
    case 1:
        return value + (uint64_t)(next(seed) % 32) * 0x1000;
    default:
        return value;
    }
}

static void any_step(uint8_t *bytes, unsigned *seed)
{
    struct fuzz_step step = {
        .op = (uint8_t)next(seed),
        .flags = (uint8_t)(2 | (next(seed) % 4 ? 0 : next(seed))),
        .type = (uint8_t)next(seed),
        .priority = (uint8_t)(next(seed) % 5),
        .size = sizes[next(seed) % sizeof(sizes)],
        .result = (uint8_t)(next(seed) % 3 ? 0 : next(seed)),
        .share = (uint8_t)next(seed),
        .fd = (uint8_t)next(seed),
        .a = any_value(seed),
        .b = any_value(seed),
    };

    fuzz_put_step(bytes, &step);
}

static void change_field(uint8_t *step, unsigned *seed)
{
    unsigned field = next(seed) % 12;

    if (field >= 8) {
        mx_value_to_bytes(any_value(seed), step + (field % 2 ? 8 : 16));
    } else if (field == 4) {
        step[4] = sizes[next(seed) % sizeof(sizes)];
    } else if (field == 1) {
        step[1] ^= (uint8_t)(1u << next(seed) % 8);
    } else {
        step[field] = (uint8_t)next(seed);
    }
}

static size_t insert(uint8_t *data, size_t size, size_t max_size, size_t at,
                     const uint8_t *step)
{
    if (size + FUZZ_STEP > max_size) {
        return size;
    }
    memmove(data + at + FUZZ_STEP, data + at, size - at);
    memcpy(data + at, step, FUZZ_STEP);
    return size + FUZZ_STEP;
}

static size_t drop(uint8_t *data, size_t size, size_t at)
{
    memmove(data + at, data + at + FUZZ_STEP, size - at - FUZZ_STEP);
    return size - FUZZ_STEP;
}

static size_t mutate_steps(uint8_t *data, size_t size, size_t max_size,
                           unsigned *seed)
{
    size_t count = size / FUZZ_STEP;
    uint8_t *step = data + next(seed) % count * FUZZ_STEP;
    uint8_t copy[FUZZ_STEP];
    size_t at = (next(seed) % count + 1) * FUZZ_STEP;

    switch (next(seed) % 8) {
    case 0:
    case 1:
        any_step(copy, seed);
        return insert(data, size, max_size, at, copy);
    case 2:
        memcpy(copy, step, sizeof(copy));
        return insert(data, size, max_size, at, copy);
    case 3:
        return count > 2 ? drop(data, size, (size_t)(step - data)) : size;
    case 4:
        LLVMFuzzerMutate(step, FUZZ_STEP, FUZZ_STEP);
        return size;
    default:
        change_field(step, seed);
        return size;
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed)
{
    unsigned times;

    size -= size % FUZZ_STEP;
    if (max_size < 2 * FUZZ_STEP) {
        return LLVMFuzzerMutate(data, size, max_size);
    }
    while (size < 2 * FUZZ_STEP) {
        any_step(data + size, &seed);
        size += FUZZ_STEP;
    }
    for (times = 1 + next(&seed) % 4; times > 0; times--) {
        size = mutate_steps(data, size, max_size, &seed);
    }
    return size;
}

/* The beginning of one, then the end of the other. */
size_t LLVMFuzzerCustomCrossOver(const uint8_t *one, size_t one_size,
                                 const uint8_t *other, size_t other_size,
                                 uint8_t *out, size_t max_size, unsigned seed)
{
    size_t head = one_size / FUZZ_STEP, tail = other_size / FUZZ_STEP;
    size_t room = max_size / FUZZ_STEP, from;

    head = head ? next(&seed) % head + 1 : 0;
    head = head < room ? head : room;
    from = tail ? next(&seed) % tail : 0;
    tail -= from;
    tail = tail < room - head ? tail : room - head;
    memcpy(out, one, head * FUZZ_STEP);
    memcpy(out + head * FUZZ_STEP, other + from * FUZZ_STEP,
           tail * FUZZ_STEP);
    return (head + tail) * FUZZ_STEP;
}
