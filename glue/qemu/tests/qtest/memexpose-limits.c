/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is not mapped although it is shared, and what happens if the peer takes
 * back what is mapped.
 */
#include "qemu/osdep.h"
#include "memexpose-vm.h"

#define FIRST_SLOT   5
#define SHM_BAR      2
#define SHM_SIZE     (1 * MiB)
#define SHM_COUNT    3
#define CONTENTS     0x600dc0ffee0ddf00ULL

static void add_shm(Vm *vm, unsigned i, const char *backend)
{
    vm_add_args(vm, "-object %s,id=shm%u,size=1M,share=on "
                "-device ivshmem-plain,memdev=shm%u,addr=%x", backend, i, i,
                FIRST_SLOT + i);
}

/* Returns where it is. */
static uint64_t map_shm(Vm *vm, unsigned i)
{
    uint64_t address = vm_low_pci(vm) + 2 * i * SHM_SIZE;

    g_free(vm_map_pci(vm, FIRST_SLOT + i, SHM_BAR, true, address));
    return address;
}

/* --- how many ------------------------------------------------------------ */

static void check_max_ranges(const PairKind *kind, unsigned max)
{
    g_autofree char *options = g_strdup_printf("max-ranges=%u", max);
    Pair *pair = pair_new(kind->first, kind->second, NULL, options);
    Port *port = pair->port[1];
    unsigned i;

    for (i = 0; i < SHM_COUNT; i++) {
        add_shm(pair->vm[0], i, "memory-backend-memfd");
    }
    pair_start(pair);
    for (i = 0; i < SHM_COUNT; i++) {
        uint64_t address = map_shm(pair->vm[0], i);

        port_write(port, address, 8, CONTENTS + i);
        g_assert_cmphex(vm_read(pair->vm[0], address, 8), ==, CONTENTS + i);
        g_assert_cmphex(port_read(port, address, 8), ==, CONTENTS + i);
        g_assert_cmpint(port_stat(port, "mapped-ranges"), ==,
                        MIN(i + 1, max));
        g_assert_cmpint(port_stat(port, "mapped-bytes"), ==,
                        MIN(i + 1, max) * SHM_SIZE);
    }
    g_assert_cmpint(port_stat(port, "violations"), ==, 0);
    pair_free(pair);
}

static void test_max_ranges(const PairKind *kind)
{
    check_max_ranges(kind, 1);
    check_max_ranges(kind, 2);
    check_max_ranges(kind, 100);
}

/* --- memory that could be shrunk ----------------------------------------- */

static void check_seals(const PairKind *kind, const char *options,
                        const char *backend, bool mapped)
{
    Pair *pair = pair_new(kind->first, kind->second, NULL, options);
    Port *port = pair->port[1];
    uint64_t address;

    add_shm(pair->vm[0], 0, backend);
    pair_start(pair);
    address = map_shm(pair->vm[0], 0);
    port_write(port, address, 8, CONTENTS);
    g_assert_cmphex(vm_read(pair->vm[0], address, 8), ==, CONTENTS);
    g_assert_cmphex(port_read(port, address, 8), ==, CONTENTS);
    g_assert(port_has_range(port, address, SHM_SIZE, "rw") == mapped);
    pair_free(pair);
}

static void test_seals(const PairKind *kind)
{
    static const char sealed[] = "memory-backend-memfd";
    static const char unsealed[] = "memory-backend-memfd,seal=off";

    check_seals(kind, "seals=require", sealed, true);
    check_seals(kind, "seals=require", unsealed, false);
    check_seals(kind, "seals=prefer", unsealed, true);
    check_seals(kind, "seals=ignore", unsealed, true);
}

/* --- memory that is shrunk ----------------------------------------------- */

static bool reads(Port *port, uint64_t address)
{
    return port_read(port, address, 8) == CONTENTS;
}

/* Whoever touches the rest lives on, without that peer. */
static void test_shrunk(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, NULL, NULL);
    g_autofree char *path = vm_path("shrunk-%s",
                                    machine_name(kind->first));
    g_autofree char *backend = g_strdup_printf("memory-backend-file,"
                                               "mem-path=%s", path);
    Port *port = pair->port[1];
    uint64_t address, ram = pair->vm[0]->ram + 2 * MiB;
    unsigned i;

    add_shm(pair->vm[0], 0, backend);
    pair_start(pair);
    address = map_shm(pair->vm[0], 0);
    for (i = 0; i < 5; i++) {
        uint64_t place = address + SHM_SIZE / 2 + 0x1000 * i, value;

        g_assert_cmpint(truncate(path, SHM_SIZE), ==, 0);
        WAIT_FOR(port_is_up(port) && port_is_up(pair->port[0]));
        vm_write(pair->vm[0], place, 8, CONTENTS);
        WAIT_FOR(reads(port, place));
        g_assert(port_has_range(port, address, SHM_SIZE, "rw"));
        g_assert_cmpint(truncate(path, 0x1000), ==, 0);
        value = port_read(port, place, 8);
        g_assert(value == 0 || value == ALL_ONES);
        port_write(port, place + 0x2000, 8, 1);
        WAIT_FOR(port_link_state(port) >> 32 > i + 1);
    }
    g_assert_cmpint(truncate(path, SHM_SIZE), ==, 0);
    vm_write(pair->vm[0], ram, 8, CONTENTS);
    WAIT_FOR(reads(port, ram));
    pair_free(pair);
    unlink(path);
}

void add_limit_tests(void)
{
    add_pair_test("limits/max-ranges", test_max_ranges);
    add_pair_test("limits/seals", test_seals);
    add_pair_test("limits/shrunk", test_shrunk);
}
