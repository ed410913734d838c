/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Blocks of up to 64 KiB that the peer reads and writes here.  Machines never
 * ask for one: the test itself is the peer.
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "hw/pci/pci_regs.h"
#include "memexpose-vm.h"

#define DEVICE_SLOT   5
#define SHM_BAR       2
#define SHM_SIZE      (1 * MiB)
#define LOW_END       0xc0000ULL        /* of a PC's RAM, behind it ROM */

typedef struct Rig {
    Vm *vm;
    Port *port;
    Raw raw;
} Rig;

/* A machine whose RAM cannot be shared, with arguments of its own. */
static Rig *rig_new(Machine machine, const char *options, const char *args)
{
    static unsigned count;
    g_autofree char *link = g_strdup_printf("raw%u", count++);
    Rig *rig = g_new0(Rig, 1);

    rig->vm = vm_new(machine);
    rig->vm->ram_shared = false;
    if (args) {
        vm_add_args(rig->vm, "%s", args);
    }
    rig->port = vm_add_port(rig->vm, link, true, options);
    vm_start(rig->vm);
    raw_connect(&rig->raw, rig->port, FEATURE_BLOCK);
    return rig;
}

static void rig_free(Rig *rig)
{
    raw_close(&rig->raw);
    vm_free(rig->vm);
    g_free(rig);
}

static uint8_t *noise(uint32_t size)
{
    uint8_t *bytes = g_malloc(size);
    uint32_t i;

    for (i = 0; i < size; i++) {
        bytes[i] = g_test_rand_int();
    }
    return bytes;
}

/* --- memory -------------------------------------------------------------- */

static void check_block(Rig *rig, uint64_t address, uint32_t size)
{
    g_autofree uint8_t *written = noise(size);
    g_autofree uint8_t *read = g_malloc(size);
    uint32_t done;

    g_assert_cmpint(raw_write(&rig->raw, address, written, size, &done), ==,
                    RESULT_OK);
    g_assert_cmpint(done, ==, size);
    qtest_bufread(rig->vm->qts, address, read, size);
    g_assert_cmpmem(read, size, written, size);
    written[size / 2] ^= 0xff;
    vm_write(rig->vm, address + size / 2, 1, written[size / 2]);
    g_assert_cmpint(raw_read(&rig->raw, address, read, size, &done), ==,
                    RESULT_OK);
    g_assert_cmpint(done, ==, size);
    g_assert_cmpmem(read, size, written, size);
}

static void test_memory(Machine machine)
{
    static const uint32_t sizes[] = { 1, 2, 7, 8, 9, 4095, 4096, 60000,
                                      BLOCK_SIZE };
    Rig *rig = rig_new(machine, NULL, NULL);
    unsigned i, j;

    g_assert_cmpint(rig->raw.features & FEATURE_BLOCK, ==, FEATURE_BLOCK);
    for (i = 0; i < ARRAY_SIZE(sizes); i++) {
        for (j = 0; j < 9; j += 4) {
            check_block(rig, rig->vm->ram + 1 * MiB + j, sizes[i]);
        }
    }
    check_block(rig, rig->vm->ram + rig->vm->ram_size - BLOCK_SIZE,
                BLOCK_SIZE);
    g_assert_cmpint(port_stat(rig->port, "blocks-served"), ==,
                    2 * (3 * ARRAY_SIZE(sizes) + 1));
    g_assert_cmpint(port_stat(rig->port, "requests-served"), ==,
                    port_stat(rig->port, "blocks-served"));
    g_assert_cmpint(port_stat(rig->port, "blocks-sent"), ==, 0);
    g_assert_cmpint(port_stat(rig->port, "violations"), ==, 0);
    rig_free(rig);
}

/* --- where it ends ------------------------------------------------------- */

/* Reading and writing end after @wanted bytes, which are there. */
static void expect_end(Rig *rig, uint64_t address, uint32_t size,
                       uint32_t wanted, uint32_t result)
{
    g_autofree uint8_t *bytes = noise(size);
    g_autofree uint8_t *read = g_malloc(size);
    uint32_t done;

    g_assert_cmpint(raw_write(&rig->raw, address, bytes, size, &done), ==,
                    result);
    g_assert_cmpint(done, ==, wanted);
    if (wanted > 0) {
        qtest_bufread(rig->vm->qts, address, read, wanted);
        g_assert_cmpmem(read, wanted, bytes, wanted);
    }
    g_assert_cmpint(raw_read(&rig->raw, address, read, size, &done), ==,
                    result);
    g_assert_cmpint(done, ==, wanted);
    g_assert_cmpmem(read, wanted, bytes, wanted);
}

static void test_end(Machine machine)
{
    Rig *rig = rig_new(machine, NULL, NULL);
    uint64_t end = rig->vm->ram + rig->vm->ram_size;

    expect_end(rig, end - 100, 300, 100, RESULT_DECODE);
    expect_end(rig, end - BLOCK_SIZE + 1, BLOCK_SIZE, BLOCK_SIZE - 1,
               RESULT_DECODE);
    expect_end(rig, end, 8, 0, RESULT_DECODE);
    expect_end(rig, end + 1 * GiB, BLOCK_SIZE, 0, RESULT_DECODE);
    /* the last byte of all, and one that is none */
    expect_end(rig, UINT64_MAX, 1, 0, RESULT_DECODE);
    expect_end(rig, UINT64_MAX, 2, 0, RESULT_DECODE);
    g_assert_cmpint(port_stat(rig->port, "violations"), ==, 0);
    rig_free(rig);
}

/* What is read-only can be read, and is not written. */
static void test_rom(Machine machine)
{
    uint64_t rom = 4 * GiB - VM_ROM_SIZE;
    g_autofree uint8_t *bytes = noise(BLOCK_SIZE);
    Rig *rig = rig_new(machine, NULL, NULL);
    uint32_t done;
    unsigned i;

    g_assert_cmpint(raw_write(&rig->raw, rom, bytes, BLOCK_SIZE, &done), ==,
                    RESULT_DENIED);
    g_assert_cmpint(done, ==, 0);
    g_assert_cmpint(raw_read(&rig->raw, rom, bytes, BLOCK_SIZE, &done), ==,
                    RESULT_OK);
    g_assert_cmpint(done, ==, BLOCK_SIZE);
    for (i = 0; i < VM_ROM_SIZE; i++) {
        g_assert_cmpint(bytes[i], ==, vm_rom_byte(i));
    }
    g_assert_cmpint(raw_write(&rig->raw, LOW_END - 16, bytes, 32, &done), !=,
                    RESULT_OK);
    g_assert_cmpint(done, ==, 16);
    rig_free(rig);
}

static void test_part(Machine machine)
{
    uint64_t ram = machine_is_x86(machine) ? 0 : 1 * GiB;
    g_autofree char *part = g_strdup_printf("export-base=%" PRIu64
                                            ",export-size=500000",
                                            ram + 4096);
    Rig *rig = rig_new(machine, part, NULL);
    uint64_t end = ram + 4096 + 500000;

    expect_end(rig, end - 10, 50, 10, RESULT_DECODE);
    expect_end(rig, end, 8, 0, RESULT_DECODE);
    expect_end(rig, ram + 4095, 8, 0, RESULT_DECODE);
    check_block(rig, ram + 4096, BLOCK_SIZE);
    check_block(rig, end - BLOCK_SIZE, BLOCK_SIZE);
    rig_free(rig);
}

static void test_read_only(Machine machine)
{
    g_autofree uint8_t *bytes = noise(100);
    Rig *rig = rig_new(machine, "export-readonly=on", NULL);
    uint64_t place = rig->vm->ram + 1 * MiB;
    uint32_t done;

    g_assert_cmpint(raw_write(&rig->raw, place, bytes, 100, &done), ==,
                    RESULT_DENIED);
    g_assert_cmpint(done, ==, 0);
    vm_write(rig->vm, place + 92, 8, 0x1122334455667788ULL);
    g_assert_cmpint(raw_read(&rig->raw, place, bytes, 100, &done), ==,
                    RESULT_OK);
    g_assert_cmpint(done, ==, 100);
    g_assert_cmphex(ldq_le_p(bytes + 92), ==, 0x1122334455667788ULL);
    rig_free(rig);
}

/* --- devices ------------------------------------------------------------- */

#define EDU_LIVENESS  4

/*
 * It takes accesses of 4 and 8 bytes: what cannot be divided into such ones
 * goes as far as it does.
 */
static void test_device(Machine machine)
{
    Rig *rig = rig_new(machine, NULL, "-device edu,addr=5");
    uint64_t bar = vm_low_pci(rig->vm);
    QPCIDevice *edu = vm_map_pci(rig->vm, DEVICE_SLOT, 0, false, bar);
    uint32_t word = cpu_to_le32(0x12345678), done;
    uint8_t bytes[16];

    g_assert_cmpint(raw_write(&rig->raw, bar + EDU_LIVENESS, &word, 4,
                              &done), ==, RESULT_OK);
    g_assert_cmpint(done, ==, 4);
    g_assert_cmphex(vm_read(rig->vm, bar + EDU_LIVENESS, 4), ==,
                    0xedcba987);
    g_assert_cmpint(raw_read(&rig->raw, bar + EDU_LIVENESS, bytes, 4,
                             &done), ==, RESULT_OK);
    g_assert_cmphex((uint32_t)ldl_le_p(bytes), ==, 0xedcba987);
    g_assert_cmpint(raw_read(&rig->raw, bar, bytes, 10, &done), ==,
                    RESULT_DECODE);
    g_assert_cmpint(done, ==, 8);
    g_assert_cmpint(raw_read(&rig->raw, bar + EDU_LIVENESS, bytes, 13,
                             &done), ==, RESULT_DECODE);
    g_assert_cmpint(done, ==, 12);
    g_assert_cmpint(raw_read(&rig->raw, bar + 1, bytes, 8, &done), ==,
                    RESULT_DECODE);
    g_assert_cmpint(done, ==, 0);
    g_free(edu);
    rig_free(rig);
}

/* Never through one window into another, nor into registers. */
static void test_window(Machine machine)
{
    Rig *rig = rig_new(machine, NULL, "-object memory-backend-ram,id=shm,"
                       "size=1M,share=on "
                       "-device ivshmem-plain,memdev=shm,addr=5");
    uint64_t bar = vm_low_pci(rig->vm), behind = bar + SHM_SIZE;
    QPCIDevice *shm = vm_map_pci(rig->vm, DEVICE_SLOT, SHM_BAR, true, bar);
    Port *port = rig->port;

    expect_end(rig, port->regs, 4096, 0, RESULT_DECODE);
    expect_end(rig, port->window, BLOCK_SIZE, 0, RESULT_DECODE);
    expect_end(rig, port->window + port->vm->window_size - 100, 100, 0,
               RESULT_DECODE);
    if (!port->platform) {
        /* memory, and right behind it the registers */
        qpci_config_writel(port->pci, PCI_BASE_ADDRESS_0, behind);
        expect_end(rig, behind - 64, 128, 64, RESULT_DECODE);
        expect_end(rig, behind - 1, BLOCK_SIZE, 1, RESULT_DECODE);
        port->regs = behind;
    }
    g_assert_cmpint(port_reg(port, REG_TX_TYPE), ==, 0);
    g_assert_cmpint(port_stat(port, "violations"), ==, 0);
    g_free(shm);
    rig_free(rig);
}

/* --- not agreed upon ----------------------------------------------------- */

static void test_off(Machine machine)
{
    Rig *rig = rig_new(machine, "block=off", NULL);

    g_assert_cmpint(rig->raw.features & FEATURE_BLOCK, ==, 0);
    raw_ask(&rig->raw, rig->vm->ram, 64);
    g_assert(raw_is_closed(&rig->raw));
    WAIT_FOR(port_stat(rig->port, "violations") == 1);
    g_assert_cmpint(port_stat(rig->port, "blocks-served"), ==, 0);
    rig_free(rig);
}

/* --- all of them --------------------------------------------------------- */

typedef void BlockTest(Machine machine);

typedef struct BlockCase {
    BlockTest *fn;
    Machine machine;
} BlockCase;

static void run_case(const void *opaque)
{
    const BlockCase *test = opaque;

    test->fn(test->machine);
}

static void add_block_test(const char *name, BlockTest *fn, Machine machine)
{
    g_autofree char *path = g_strdup_printf("memexpose/block/%s/%s", name,
                                            machine_name(machine));
    BlockCase *test = g_new(BlockCase, 1);

    test->fn = fn;
    test->machine = machine;
    qtest_add_data_func_full(path, test, run_case, g_free);
}

void add_block_tests(void)
{
    static const struct {
        const char *name;
        BlockTest *fn;
        bool pc;                /* only there */
    } tests[] = {
        { "memory", test_memory },
        { "end", test_end },
        { "rom", test_rom, true },
        { "part", test_part },
        { "read-only", test_read_only },
        { "device", test_device },
        { "window", test_window },
        { "off", test_off },
    };
    static const Machine machines[] = {
        MACHINE_PC, MACHINE_Q35, MACHINE_VIRT, MACHINE_VIRT_PCI,
    };
    unsigned i, j;

    for (i = 0; i < ARRAY_SIZE(tests); i++) {
        for (j = 0; j < ARRAY_SIZE(machines); j++) {
            if (machine_is_native(machines[j]) &&
                (machine_is_x86(machines[j]) || !tests[i].pc)) {
                add_block_test(tests[i].name, tests[i].fn, machines[j]);
            }
        }
    }
}
