/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ready-made space: accesses of every kind of range, piecewise (protocol
 * sections 2 to 4).  check-space-share has what may be shared.
 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>

#include "harness.h"
#include "os.h"
#include "random.h"
#include "space.h"

enum {
    OK = MEMEXPOSE_RESULT_OK,
    ERROR = MEMEXPOSE_RESULT_ERROR,
    DECODE = MEMEXPOSE_RESULT_DECODE,
    DENIED = MEMEXPOSE_RESULT_DENIED,
    RO = MEMEXPOSE_RAM_READONLY
};

static struct memexpose_space *space;

static void setup(void)
{
    space = memexpose_space_create();
    ck_assert_ptr_nonnull(space);
}

static void teardown(void)
{
    memexpose_space_destroy(space);
}

static void add_ram(uint64_t start, uint64_t size, unsigned flags)
{
    ck_assert_int_eq(memexpose_space_add_ram(space, start, size, -1, 0, flags),
                     0);
}

static void expect_read(uint64_t address, unsigned bytes, uint64_t expected)
{
    uint64_t value = 0x5555555555555555;

    ck_assert_int_eq(memexpose_space_read(space, address, bytes, &value), OK);
    ck_assert_uint_eq(value, expected);
}

static void expect_no_read(uint64_t address, unsigned bytes, int result)
{
    uint64_t value = 0x5555555555555555;

    ck_assert_int_eq(memexpose_space_read(space, address, bytes, &value),
                     result);
    ck_assert_uint_eq(value, 0);
}

static void expect_write(uint64_t address, unsigned bytes, uint64_t value,
                         int result)
{
    ck_assert_int_eq(memexpose_space_write(space, address, bytes, value),
                     result);
}

/* Registers that say what was done to them and hold what was written. */
struct registers {
    uint8_t bytes[256];
    unsigned calls;
    struct {
        uint64_t offset;
        unsigned bytes;
        uint64_t value;
    } call[16];
    int result;
};

static void note(struct registers *registers, uint64_t offset, unsigned bytes,
                 uint64_t value)
{
    unsigned i = registers->calls++ % 16;

    registers->call[i].offset = offset;
    registers->call[i].bytes = bytes;
    registers->call[i].value = value;
}

static int read_registers(void *opaque, uint64_t offset, unsigned bytes,
                          uint64_t *value)
{
    struct registers *registers = opaque;
    unsigned i;

    *value = 0;
    for (i = 0; i < bytes; i++) {
        *value |= (uint64_t)registers->bytes[offset + i] << (8 * i);
    }
    note(registers, offset, bytes, *value);
    return registers->result;
}

static int write_registers(void *opaque, uint64_t offset, unsigned bytes,
                           uint64_t value)
{
    struct registers *registers = opaque;
    unsigned i;

    note(registers, offset, bytes, value);
    for (i = 0; i < bytes && registers->result == OK; i++) {
        registers->bytes[offset + i] = (uint8_t)(value >> (8 * i));
    }
    return registers->result;
}

static const struct memexpose_mmio_ops register_ops = {
    .size = sizeof(register_ops),
    .read = read_registers,
    .write = write_registers,
};

static void add_registers(uint64_t start, uint64_t size,
                          struct registers *registers)
{
    memset(registers, 0, sizeof(*registers));
    ck_assert_int_eq(memexpose_space_add_mmio(space, start, size,
                                              &register_ops, registers), 0);
}

static void expect_call(const struct registers *registers, unsigned i,
                        uint64_t offset, unsigned bytes)
{
    ck_assert_uint_eq(registers->call[i].offset, offset);
    ck_assert_uint_eq(registers->call[i].bytes, bytes);
}

START_TEST(memory_holds_every_size_at_every_place)
{
    static const unsigned sizes[] = { 1, 2, 4, 8 };
    unsigned s, place, i;

    add_ram(0x1003, 64, 0);
    for (s = 0; s < 4; s++) {
        for (place = 0; place < 16; place++) {
            uint64_t address = 0x1003 + place;
            uint64_t mask = UINT64_MAX >> (64 - 8 * sizes[s]);
            uint64_t value = 0x8877665544332211u * (place + 1);

            expect_read(0x1003 + 40, 8, 0);
            expect_write(address, sizes[s], value, OK);
            expect_read(address, sizes[s], value & mask);
            for (i = 0; i < sizes[s]; i++) {
                expect_read(address + i, 1, value >> (8 * i) & 0xff);
            }
            expect_write(0x1003, 8, 0, OK);
            expect_write(0x100b, 8, 0, OK);
            expect_write(0x1013, 8, 0, OK);
        }
    }
}
END_TEST

START_TEST(sizes_and_addresses_that_cannot_be)
{
    static const unsigned sizes[] = { 0, 3, 5, 6, 7, 9, 16, UINT32_MAX };
    unsigned i;

    add_ram(0x1000, 0x1000, 0);
    add_ram(UINT64_MAX - 0xfff, 0x1000, 0);
    add_ram(0, 0x1000, 0);
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        expect_no_read(0x1000, sizes[i], ERROR);
        expect_write(0x1000, sizes[i], 0, ERROR);
    }
    expect_write(UINT64_MAX - 7, 8, 0x1122334455667788, OK);
    expect_read(UINT64_MAX, 1, 0x11);
    expect_no_read(UINT64_MAX - 6, 8, DECODE);
    expect_write(UINT64_MAX, 2, 0xffff, DECODE);
    expect_read(UINT64_MAX, 1, 0x11);
    expect_read(0, 8, 0);
}
END_TEST

START_TEST(an_access_is_served_piecewise)
{
    struct registers first, second;

    add_ram(0x1000, 0x1000, 0);
    add_ram(0x2000, 3, 0);
    add_registers(0x2003, 2, &first);
    add_registers(0x2005, 0x10, &second);
    expect_write(0x1fff, 8, 0x8877665544332211, OK);
    ck_assert_uint_eq(first.calls, 2);      /* 3 and 4: each aligned alone */
    expect_call(&first, 0, 0, 1);
    expect_call(&first, 1, 1, 1);
    ck_assert_uint_eq(second.calls, 2);     /* 5; 6 of an even address */
    expect_call(&second, 0, 0, 1);
    expect_call(&second, 1, 1, 1);
    expect_read(0x1fff, 1, 0x11);
    expect_read(0x2000, 2, 0x3322);
    expect_read(0x1fff, 8, 0x8877665544332211);
    ck_assert_uint_eq(first.bytes[0], 0x55);
    ck_assert_uint_eq(second.bytes[1], 0x88);
}
END_TEST

START_TEST(nothing_is_there_in_holes_and_windows)
{
    struct registers registers;

    add_ram(0x1000, 0x1000, 0);
    ck_assert_int_eq(memexpose_space_add_window(space, 0x2000, 0x1000), 0);
    add_registers(0x4000, 0x10, &registers);
    expect_no_read(0x3000, 8, DECODE);
    expect_no_read(0x2800, 1, DECODE);
    expect_no_read(0x1ffc, 8, DECODE);
    expect_write(0x1ffc, 8, UINT64_MAX, DECODE);
    expect_write(0x3ffc, 8, UINT64_MAX, DECODE);
    expect_write(0x400c, 8, UINT64_MAX, DECODE);
    expect_no_read(0x400c, 8, DECODE);
    expect_read(0x1ff8, 8, 0);
    ck_assert_uint_eq(registers.calls, 0);
}
END_TEST

START_TEST(a_write_that_is_denied_writes_nothing)
{
    static const struct memexpose_mmio_ops none = { .size = sizeof(none) };
    struct registers registers;

    add_ram(0x1000, 0x1000, 0);
    add_ram(0x2000, 0x1000, RO);
    add_registers(0x3000, 0x10, &registers);
    ck_assert_int_eq(memexpose_space_add_mmio(space, 0x3010, 0x10, &none,
                                              NULL), 0);
    expect_write(0x2000, 8, UINT64_MAX, DENIED);
    expect_write(0x1ffc, 8, UINT64_MAX, DENIED);
    expect_write(0x2ffc, 8, UINT64_MAX, DENIED);
    expect_write(0x1fff, 2, UINT64_MAX, DENIED);
    expect_write(0x300c, 8, UINT64_MAX, DENIED);
    expect_write(0x3010, 1, UINT64_MAX, DENIED);
    expect_no_read(0x3010, 1, DENIED);
    expect_no_read(0x300c, 8, DENIED);
    expect_read(0x1ff8, 8, 0);
    expect_read(0x2000, 8, 0);
    ck_assert_uint_eq(registers.calls, 0);
    ck_assert_int_eq(memexpose_space_remove(space, 0x3000), 0);
    expect_write(0x2ffc, 8, UINT64_MAX, DENIED);
    expect_no_read(0x2ffc, 8, DECODE);
}
END_TEST

START_TEST(registers_are_called_once)
{
    static const unsigned sizes[] = { 1, 2, 4, 8 };
    struct registers registers;
    unsigned s, place;

    add_registers(0x1000, 0x40, &registers);
    for (s = 0; s < 4; s++) {
        for (place = 0; place < 0x40; place += sizes[s]) {
            uint64_t value = 0x1020304050607080u + place;
            uint64_t mask = UINT64_MAX >> (64 - 8 * sizes[s]);

            registers.calls = 0;
            expect_write(0x1000 + place, sizes[s], value, OK);
            ck_assert_uint_eq(registers.calls, 1);
            expect_call(&registers, 0, place, sizes[s]);
            ck_assert_uint_eq(registers.call[0].value, value & mask);
            expect_read(0x1000 + place, sizes[s], value & mask);
            ck_assert_uint_eq(registers.calls, 2);
            expect_call(&registers, 1, place, sizes[s]);
        }
    }
}
END_TEST

START_TEST(registers_get_aligned_parts)
{
    struct registers registers;

    add_registers(0x1000, 0x40, &registers);
    expect_write(0x1001, 8, 0x8877665544332211, OK);
    ck_assert_uint_eq(registers.calls, 4);
    expect_call(&registers, 0, 1, 1);
    expect_call(&registers, 1, 2, 2);
    expect_call(&registers, 2, 4, 4);
    expect_call(&registers, 3, 8, 1);
    ck_assert_uint_eq(registers.call[2].value, 0x77665544);
    expect_read(0x1001, 8, 0x8877665544332211);

    registers.calls = 0;
    registers.result = DENIED | ERROR;
    expect_write(0x1001, 8, 0, DENIED | ERROR);
    ck_assert_uint_eq(registers.calls, 1);
    expect_no_read(0x1001, 8, DENIED | ERROR);
    ck_assert_uint_eq(registers.calls, 2);
    registers.result = -EIO;
    expect_no_read(0x1000, 8, ERROR);
    expect_write(0x1000, 8, 0, ERROR);
}
END_TEST

/* Registers by which the space can be reached again. */
static int read_through(void *opaque, uint64_t offset, unsigned bytes,
                        uint64_t *value)
{
    (void)opaque;
    return memexpose_space_read(space, 0x2000 + offset, bytes, value);
}

static int write_through(void *opaque, uint64_t offset, unsigned bytes,
                         uint64_t value)
{
    (void)opaque;
    return memexpose_space_write(space, 0x2000 + offset, bytes, value);
}

START_TEST(a_callback_may_access_the_space)
{
    static const struct memexpose_mmio_ops ops = {
        .size = sizeof(ops),
        .read = read_through,
        .write = write_through,
    };

    add_ram(0x2000, 0x1000, 0);
    ck_assert_int_eq(memexpose_space_add_mmio(space, 0x1000, 0x1000, &ops,
                                              NULL), 0);
    expect_write(0x1010, 4, 0xabcd, OK);
    expect_read(0x1010, 4, 0xabcd);
    expect_read(0x2010, 4, 0xabcd);
}
END_TEST

static sem_t entered, leave;

static int read_slowly(void *opaque, uint64_t offset, unsigned bytes,
                       uint64_t *value)
{
    (void)opaque;
    (void)offset;
    (void)bytes;
    sem_post(&entered);
    sem_wait(&leave);
    *value = 0x33;
    return OK;
}

static void *read_in_thread(void *result)
{
    uint64_t value;

    *(int *)result = memexpose_space_read(space, 0x1fff, 2, &value);
    return NULL;
}

/* Remove @start, behind which a callback is running, and add others. */
static int remove_during_callback(uint64_t start)
{
    pthread_t thread;
    int result = -1;

    ck_assert_int_eq(pthread_create(&thread, NULL, read_in_thread, &result),
                     0);
    sem_wait(&entered);
    expect_write(0x1000, 8, 1, OK);
    ck_assert_int_eq(memexpose_space_remove(space, start), 0);
    for (unsigned i = 0; i < 20; i++) {
        add_ram(0x10000 + i * 0x1000, 0x1000, 0);
    }
    sem_post(&leave);
    pthread_join(thread, NULL);
    return result;
}

static const struct memexpose_mmio_ops slow_ops = {
    .size = sizeof(slow_ops),
    .read = read_slowly,
};

START_TEST(a_range_may_go_during_its_callback)
{
    ck_assert_int_eq(sem_init(&entered, 0, 0), 0);
    ck_assert_int_eq(sem_init(&leave, 0, 0), 0);
    add_ram(0x1000, 0xfff, 0);
    ck_assert_int_eq(memexpose_space_add_mmio(space, 0x1fff, 1, &slow_ops,
                                              NULL), 0);
    add_ram(0x2000, 0x1000, 0);
    if (_i == 0) {
        ck_assert_int_eq(remove_during_callback(0x1fff), OK);
        expect_no_read(0x1fff, 1, DECODE);
    } else {
        /* the memory behind it, of which a byte was still to be read */
        ck_assert_int_eq(remove_during_callback(0x2000), DECODE);
    }
}
END_TEST

/* A word in memory that another thread changes by itself. */
struct changing {
    volatile uint64_t *word;
    atomic_bool stop;
};

static void *change_word(void *opaque)
{
    struct changing *changing = opaque;

    while (!changing->stop) {
        *changing->word = 0;
        *changing->word = UINT64_MAX;
    }
    return NULL;
}

START_TEST(aligned_words_are_never_torn)
{
    struct changing changing = { .stop = false };
    struct memexpose_share share;
    unsigned i, failed = 0, whole[2] = { 0, 0 };
    pthread_t thread;
    uint64_t value;
    void *host;

    add_ram(0x1000, 0x1000, 0);
    ck_assert_int_eq(memexpose_space_resolve(space, 0x1000, &share), 1);
    ck_assert_int_eq(mx_os_map(share.fd, 0x1000, 0, false, &host), 0);
    mx_os_close(share.fd);
    changing.word = (uint64_t *)host + 1;
    ck_assert_int_eq(pthread_create(&thread, NULL, change_word, &changing), 0);
    for (i = 0; i < 400000; i++) {
        failed += memexpose_space_read(space, 0x1008, 8, &value) != OK;
        whole[0] += value == 0;
        whole[1] += value == UINT64_MAX;
    }
    changing.stop = true;
    pthread_join(thread, NULL);
    printf("check-space: %u zeros, %u ones\n", whole[0], whole[1]);
    ck_assert_uint_eq(failed, 0);
    ck_assert_uint_eq(whole[0] + whole[1], i);
    mx_os_unmap(host, 0x1000);
}
END_TEST

START_TEST(blocks_of_any_size)
{
    enum { SIZE = 0x30000 };
    uint8_t *data = malloc(SIZE), *back = calloc(1, SIZE);
    struct registers registers;
    size_t done = 0, i;

    for (i = 0; i < SIZE; i++) {
        data[i] = (uint8_t)(i * 7 + i / 256);
    }
    add_ram(0x10001, 0x18000, 0);
    add_registers(0x28001, 0x7f, &registers);
    add_ram(0x28080, SIZE - 0x1807f, 0);
    ck_assert_int_eq(memexpose_space_write_block(space, 0x10001, data, SIZE,
                                                 &done), OK);
    ck_assert_uint_eq(done, SIZE);
    ck_assert_uint_eq(registers.calls, 3 + 15);
    expect_call(&registers, 3, 7, 8);
    ck_assert_int_eq(memexpose_space_read_block(space, 0x10001, back, SIZE,
                                                NULL), OK);
    ck_assert_mem_eq(data, back, SIZE);
    ck_assert_mem_eq(registers.bytes, data + 0x18000, 0x7f);

    ck_assert_int_eq(memexpose_space_read_block(space, 0x10000, back, 1,
                                                &done), DECODE);
    ck_assert_uint_eq(done, 0);
    registers.result = ERROR;
    ck_assert_int_eq(memexpose_space_write_block(space, 0x10001, data, SIZE,
                                                 &done), ERROR);
    ck_assert_uint_eq(done, 0x18000);
    ck_assert_int_eq(memexpose_space_read_block(space, 0x28080, back, SIZE,
                                                &done), DECODE);
    ck_assert_uint_eq(done, SIZE - 0x1807f);
    ck_assert_int_eq(memexpose_space_read_block(space, 0, back, 0, &done), OK);
    ck_assert_uint_eq(done, 0);
    free(data);
    free(back);
}
END_TEST

START_TEST(blocks_end_at_the_end_and_at_read_only_memory)
{
    uint8_t data[32] = { 1, 2, 3 };
    size_t done = 0;

    add_ram(0, 0x1000, 0);
    add_ram(UINT64_MAX - 0xfff, 0x1000, 0);
    add_ram(0x1000, 0x1000, RO);
    ck_assert_int_eq(memexpose_space_write_block(space, UINT64_MAX - 15, data,
                                                 32, &done), DECODE);
    ck_assert_uint_eq(done, 16);
    expect_read(0, 8, 0);
    ck_assert_int_eq(memexpose_space_write_block(space, 0xff8, data, 32,
                                                 &done), DENIED);
    ck_assert_uint_eq(done, 8);
    expect_read(0xff8, 4, 0x030201);
    expect_read(0x1000, 8, 0);
}
END_TEST

/* Every byte of a small space, as it should be. */
struct model {
    enum { HOLE, PLAIN, FIXED, REGISTERS } kind[512];
    uint8_t byte[512];
    struct registers registers[64];
};

static void random_layout(struct model *model, struct random_source *source)
{
    unsigned at = 0, ranges = 0;

    while (at < 480 && ranges < 64) {
        unsigned size = 1 + (unsigned)random_below(source, 14), i;
        unsigned kind = (unsigned)random_below(source, 7) + 1;

        kind = kind == 4 ? HOLE : kind > 4 ? PLAIN : kind;
        for (i = 0; i < size; i++) {
            model->kind[at + i] = kind;
        }
        if (kind == REGISTERS) {
            add_registers(at, size, &model->registers[ranges]);
        } else if (kind != HOLE) {
            add_ram(at, size, kind == FIXED ? RO : 0);
        }
        ranges++;
        at += size;
    }
}

/* What an access of the model gives; done to the model if it succeeds. */
static int access_model(struct model *model, bool write, uint64_t address,
                        unsigned bytes, uint64_t *value)
{
    int result = OK;
    unsigned i;

    for (i = 0; i < bytes; i++) {
        if (write && model->kind[address + i] == FIXED) {
            return DENIED;
        }
        if (model->kind[address + i] == HOLE) {
            result = DECODE;
        }
    }
    for (i = 0; i < bytes && result == OK; i++) {
        if (write) {
            model->byte[address + i] = (uint8_t)(*value >> (8 * i));
        } else {
            *value |= (uint64_t)model->byte[address + i] << (8 * i);
        }
    }
    return result;
}

START_TEST(random_accesses_agree_with_a_model)
{
    struct model *model = calloc(1, sizeof(*model));
    struct random_source source;
    unsigned i;

    random_start(&source, "check-space");
    random_layout(model, &source);
    for (i = 0; i < 20000; i++) {
        uint64_t address = random_below(&source, 500);
        unsigned bytes = 1u << random_below(&source, 4);
        uint64_t value = random_next(&source), expected = 0;
        int result;

        if (random_below(&source, 2)) {
            result = access_model(model, true, address, bytes, &value);
            expect_write(address, bytes, value, result);
            continue;
        }
        result = access_model(model, false, address, bytes, &expected);
        if (result == OK) {
            expect_read(address, bytes, expected);
        } else {
            expect_no_read(address, bytes, result);
        }
    }
    for (i = 0; i < 500; i++) {     /* while the registers are still there */
        memexpose_space_remove(space, i);
    }
    free(model);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("space");
    TCase *tcase = harness_tcase("access");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, memory_holds_every_size_at_every_place);
    tcase_add_test(tcase, sizes_and_addresses_that_cannot_be);
    tcase_add_test(tcase, an_access_is_served_piecewise);
    tcase_add_test(tcase, nothing_is_there_in_holes_and_windows);
    tcase_add_test(tcase, a_write_that_is_denied_writes_nothing);
    tcase_add_test(tcase, registers_are_called_once);
    tcase_add_test(tcase, registers_get_aligned_parts);
    tcase_add_test(tcase, a_callback_may_access_the_space);
    tcase_add_loop_test(tcase, a_range_may_go_during_its_callback, 0, 2);
    tcase_add_test(tcase, aligned_words_are_never_torn);
    tcase_add_test(tcase, blocks_of_any_size);
    tcase_add_test(tcase, blocks_end_at_the_end_and_at_read_only_memory);
    tcase_add_test(tcase, random_accesses_agree_with_a_model);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
