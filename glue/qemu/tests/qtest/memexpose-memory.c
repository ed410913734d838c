/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory of the peer: RAM that is shared and RAM that is not, ROM, holes,
 * and what lies at the borders between them.
 */
#include "qemu/osdep.h"
#include "memexpose-vm.h"

#define BULK_SIZE   (3 * MiB + 7)
#define ROM_BASE    (4 * GiB - VM_ROM_SIZE)
#define LOW_END     0xc0000ULL          /* of a PC's RAM, behind it ROM */
#define HIGH_START  0x100000ULL         /* where it goes on */

static uint64_t pattern(uint64_t address, unsigned size)
{
    uint64_t value = (address + 1) * 0x9e3779b97f4a7c15ULL;

    return size == 8 ? value : value & ((1ULL << (8 * size)) - 1);
}

/* --- both ways ----------------------------------------------------------- */

static void check_one(Port *from, Vm *to, uint64_t address, unsigned size)
{
    uint64_t value = pattern(address, size);

    port_write(from, address, size, value);
    g_assert_cmphex(vm_read(to, address, size), ==, value);
    value = pattern(address + 77, size);
    vm_write(to, address, size, value);
    g_assert_cmphex(port_read(from, address, size), ==, value);
}

static void check_places(Port *from, Vm *to)
{
    const uint64_t places[] = {
        0, 1, 8, 0x7fff8, 0x200000, 0x234567, 0x2ffffd, 0x3000ff9,
        to->ram_size / 2 - 3, to->ram_size - 8,
    };
    unsigned i, size;

    for (i = 0; i < ARRAY_SIZE(places); i++) {
        for (size = 1; size <= 8; size *= 2) {
            check_one(from, to, to->ram + places[i], size);
        }
    }
    for (size = 1; size <= 8; size *= 2) {
        check_one(from, to, to->ram + to->ram_size - size, size);
    }
}

static void check_bulk(Port *from, Vm *to, uint64_t address)
{
    g_autofree uint8_t *written = g_malloc(BULK_SIZE);
    g_autofree uint8_t *read = g_malloc(BULK_SIZE);
    unsigned i;

    for (i = 0; i < BULK_SIZE; i++) {
        written[i] = pattern(address + i, 1);
    }
    qtest_bufwrite(from->vm->qts, from->window + address, written, BULK_SIZE);
    qtest_bufread(to->qts, address, read, BULK_SIZE);
    g_assert_cmpmem(read, BULK_SIZE, written, BULK_SIZE);
    memset(read, 0, BULK_SIZE);
    qtest_bufread(from->vm->qts, from->window + address, read, BULK_SIZE);
    g_assert_cmpmem(read, BULK_SIZE, written, BULK_SIZE);
}

/* All of its RAM is in sight, and every other access is direct. */
static void check_mapped(Port *from, Vm *to)
{
    uint64_t sent;

    if (machine_is_x86(to->machine)) {
        g_assert(port_has_range(from, 0, LOW_END, "rw"));
        g_assert(port_has_range(from, HIGH_START, to->ram_size - HIGH_START,
                                "rw"));
    } else {
        g_assert(port_has_range(from, to->ram, to->ram_size, "rw"));
    }
    sent = port_stat(from, "requests-sent");
    check_places(from, to);
    g_assert_cmpint(port_stat(from, "requests-sent"), ==, sent);
}

static void check_never_mapped(Port *from, Vm *to)
{
    uint64_t sent = port_stat(from, "requests-sent");
    uint64_t served;
    Port *peer = &to->ports[0];

    g_assert_cmpint(port_stat(from, "mapped-ranges"), ==, 0);
    g_assert_cmpint(port_stat(from, "shares-received"), ==, 0);
    served = port_stat(peer, "requests-served");
    port_read(from, to->ram, 8);
    port_write(from, to->ram, 8, 1);
    g_assert_cmpint(port_stat(from, "requests-sent"), ==, sent + 2);
    g_assert_cmpint(port_stat(peer, "requests-served"), ==, served + 2);
}

static void test_both_ways(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, NULL, NULL);
    g_autofree char *tree = NULL;
    unsigned i;

    pair_start(pair);
    for (i = 0; i < 2; i++) {
        check_places(pair->port[i], pair->vm[!i]);
        check_mapped(pair->port[i], pair->vm[!i]);
        check_bulk(pair->port[i], pair->vm[!i],
                   pair->vm[!i]->ram + 1 * MiB + 4091);
    }
    tree = qtest_hmp(pair->vm[0]->qts, "info mtree");
    g_assert_nonnull(strstr(tree, "memexpose-share"));
    pair_free(pair);
}

static void test_private(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, NULL, NULL);
    unsigned i;

    pair->vm[0]->ram_shared = false;
    pair->vm[1]->ram_shared = false;
    pair_start(pair);
    for (i = 0; i < 2; i++) {
        check_places(pair->port[i], pair->vm[!i]);
        check_never_mapped(pair->port[i], pair->vm[!i]);
    }
    pair_free(pair);
}

/* What is shareable stays at home if it is told to. */
static void test_share_off(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, "share=off", NULL);

    pair_start(pair);
    check_places(pair->port[1], pair->vm[0]);
    check_never_mapped(pair->port[1], pair->vm[0]);
    check_places(pair->port[0], pair->vm[1]);
    check_mapped(pair->port[0], pair->vm[1]);
    pair_free(pair);
}

/* No descriptors there: all goes over the link. */
static void test_tcp(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, NULL, NULL);
    unsigned i;

    pair->vm[0]->tcp = true;
    pair->vm[1]->tcp = true;
    vm_start(pair->vm[0]);
    port_connect_tcp(pair->port[1], pair->port[0]);
    vm_start(pair->vm[1]);
    for (i = 0; i < 2; i++) {
        port_wait_up(pair->port[i]);
        port_enable(pair->port[i]);
    }
    for (i = 0; i < 2; i++) {
        check_places(pair->port[i], pair->vm[!i]);
        check_never_mapped(pair->port[i], pair->vm[!i]);
    }
    pair_free(pair);
}

/* --- what may be reached ------------------------------------------------- */

static void expect(Port *port, int result)
{
    g_assert_cmpint(port_last_result(port), ==, result);
}

static void test_part(const PairKind *kind)
{
    uint64_t base = (machine_is_x86(kind->first) ? 0 : 1 * GiB) + 16 * MiB;
    uint64_t end = base + 8 * MiB;
    g_autofree char *options = g_strdup_printf("export-base=0x%" PRIx64
                                               ",export-size=8M", base);
    Pair *pair = pair_new(kind->first, kind->second, options, NULL);
    Port *port = pair->port[1];

    pair->vm[1]->traced = true;
    pair_start(pair);
    check_one(port, pair->vm[0], base, 8);
    check_one(port, pair->vm[0], end - 8, 8);
    expect(port, RESULT_OK);
    g_assert_cmphex(port_read(port, base - 8, 8), ==, ALL_ONES);
    expect(port, RESULT_DECODE);
    port_write(port, end, 8, 1);
    expect(port, RESULT_DECODE);
    g_assert_cmphex(vm_read(pair->vm[0], end, 8), ==, 0);
    port_write(port, end - 4, 8, 1);
    expect(port, RESULT_DECODE);
    g_assert_cmphex(vm_read(pair->vm[0], end, 8), ==, 0);
    /* the descriptor would give all of it */
    check_never_mapped(port, pair->vm[0]);
    /* the peer is told where it is */
    WAIT_FOR(port_reg(port, REG_SPAN_START) == base);
    g_assert_cmphex(port_reg(port, REG_SPAN_SIZE), ==, 8 * MiB);
    pair_free(pair);
}

static void test_read_only(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, "export-readonly=on",
                          NULL);
    uint64_t address = pair->vm[0]->ram + 5 * MiB;
    Port *port = pair->port[1];

    pair->vm[1]->traced = true;
    pair_start(pair);
    vm_write(pair->vm[0], address, 8, 0x1234567890abcdefULL);
    port_write(port, address, 4, 1);
    expect(port, RESULT_DENIED);
    g_assert_cmphex(port_read(port, address, 8), ==, 0x1234567890abcdefULL);
    expect(port, RESULT_OK);
    g_assert_cmpint(port_stat(port, "mapped-ranges"), ==, 0);
    pair_free(pair);
}

/* --- the PC's memory map ------------------------------------------------- */

static uint32_t rom_word(uint64_t address)
{
    uint32_t word = 0;
    unsigned i;

    for (i = 0; i < 4; i++) {
        word |= (uint32_t)vm_rom_byte(address - ROM_BASE + i) << (8 * i);
    }
    return word;
}

static void test_rom(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, NULL, NULL);
    Port *port = pair->port[1];
    uint64_t address;

    pair->vm[1]->traced = true;
    pair_start(pair);
    for (address = ROM_BASE; address < 4 * GiB; address += 0x3ffc) {
        g_assert_cmphex(port_read(port, address, 4), ==, rom_word(address));
        expect(port, RESULT_OK);
        port_write(port, address, 4, 0);
        expect(port, RESULT_DENIED);
        g_assert_cmphex(vm_read(pair->vm[0], address, 4), ==,
                        rom_word(address));
        g_assert_cmphex(port_read(port, address, 4), ==, rom_word(address));
    }
    g_assert_cmpint(port_stat(port, "mapped-ranges"), ==, 0);
    pair_free(pair);
}

/* RAM begins at 4 GiB, right behind the ROM. */
static Pair *pair_with_high_ram(const PairKind *kind, const char *options)
{
    Pair *pair = pair_new(kind->first, kind->second, options, NULL);

    vm_add_machine_args(pair->vm[0], "max-ram-below-4g=32M");
    pair->vm[1]->traced = true;
    pair_start(pair);
    return pair;
}

static void check_border(Vm *vm, Port *port)
{
    uint64_t start = 4 * GiB;
    unsigned i;

    vm_write(vm, start, 8, 0x1122334455667788ULL);
    for (i = 1; i < 4; i++) {
        uint64_t expected = (0x1122334455667788ULL << (8 * i)) |
            (rom_word(start - i) & ((1ULL << (8 * i)) - 1));

        g_assert_cmphex(port_read(port, start - i, 8), ==, expected);
    }
    g_assert_cmphex(port_read(port, start - 4, 8), ==,
                    (0x55667788ULL << 32) | rom_word(start - 4));
    check_one(port, vm, start, 8);
    check_one(port, vm, start + 32 * MiB - 8, 8);
    check_one(port, vm, 32 * MiB - 8, 8);
}

static void test_4g_direct(const PairKind *kind)
{
    Pair *pair = pair_with_high_ram(kind, NULL);
    Port *port = pair->port[1];

    check_border(pair->vm[0], port);
    g_assert(port_has_range(port, 4 * GiB, 32 * MiB, "rw"));
    g_assert(port_has_range(port, HIGH_START, 31 * MiB, "rw"));
    /* both ranges are of one object, and each is at its place in it */
    check_bulk(port, pair->vm[0], 4 * GiB + 123);
    check_bulk(port, pair->vm[0], 16 * MiB + 123);
    check_border(pair->vm[0], port);
    pair_free(pair);
}

static void test_4g_link(const PairKind *kind)
{
    Pair *pair = pair_with_high_ram(kind, "share=off");
    Port *port = pair->port[1];
    uint64_t start = 4 * GiB;

    check_border(pair->vm[0], port);
    /* denied where it begins, and nothing is done behind that */
    vm_write(pair->vm[0], start, 8, 0x1122334455667788ULL);
    port_write(port, start - 4, 8, 0);
    expect(port, RESULT_DENIED);
    g_assert_cmphex(vm_read(pair->vm[0], start, 8), ==,
                    0x1122334455667788ULL);
    /* RAM with nothing behind it */
    g_assert_cmphex(port_read(port, 32 * MiB - 4, 8), ==, ALL_ONES);
    expect(port, RESULT_DECODE);
    g_assert_cmphex(port_read(port, 32 * MiB, 4), ==, ALL_ONES >> 32);
    expect(port, RESULT_DECODE);
    pair_free(pair);
}

static void check_hole(Vm *vm, Port *port)
{
    uint64_t address;

    for (address = vm->ram_size; address < 2 * GiB; address += 0xffffff8) {
        g_assert_cmphex(port_read(port, address, 8), ==, ALL_ONES);
        expect(port, RESULT_DECODE);
        port_write(port, address, 8, 0);
        expect(port, RESULT_DECODE);
    }
    /* far above everything */
    g_assert_cmphex(port_read(port, port->vm->window_size - 8, 8), ==,
                    ALL_ONES);
    expect(port, RESULT_DECODE);
}

static void test_holes(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, NULL, NULL);
    uint64_t end = pair->vm[0]->ram_size;
    Port *port = pair->port[1];

    pair->vm[1]->traced = true;
    pair_start(pair);
    check_hole(pair->vm[0], port);
    /* beginning in RAM that is mapped, ending where nothing or ROM is */
    vm_write(pair->vm[0], end - 8, 8, 0x1122334455667788ULL);
    g_assert_cmphex(port_read(port, end - 8, 8), ==, 0x1122334455667788ULL);
    g_assert_cmphex(port_read(port, end - 4, 8), ==, 0xffffffff11223344ULL);
    vm_write(pair->vm[0], LOW_END - 8, 8, 0x1122334455667788ULL);
    g_assert_cmphex(port_read(port, LOW_END - 8, 8), ==,
                    0x1122334455667788ULL);
    g_assert_cmphex(port_read(port, LOW_END - 4, 8), ==,
                    vm_read(pair->vm[0], LOW_END - 4, 8));
    check_hole(pair->vm[0], port);
    pair_free(pair);
}

/* --- ROM that can be shared ---------------------------------------------- */

static void add_nvdimm(Vm *vm, const char *path)
{
    g_autofree char *contents = g_malloc(4 * MiB);
    unsigned i;

    for (i = 0; i < 4 * MiB; i += 8) {
        uint64_t value = pattern(i, 8);

        memcpy(contents + i, &value, 8);
    }
    g_assert(g_file_set_contents(path, contents, 4 * MiB, NULL));
    vm_add_machine_args(vm, "nvdimm=on");
    vm_add_args(vm, "-m slots=2,maxmem=1G -object memory-backend-file,id=rom,"
                "mem-path=%s,size=4M,share=on,readonly=on "
                "-device nvdimm,memdev=rom,unarmed=on,addr=0x140000000",
                path);
}

/* Read-only to the machine, opened read-only: it goes by descriptor. */
static void test_shared_rom(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, NULL, NULL);
    g_autofree char *path = vm_path("nvdimm.bin");
    uint64_t start = 0x140000000ULL, address;
    Port *port = pair->port[1];

    add_nvdimm(pair->vm[0], path);
    pair->vm[1]->traced = true;
    pair_start(pair);
    for (address = 0; address < 4 * MiB; address += 0xfff8) {
        g_assert_cmphex(port_read(port, start + address, 8), ==,
                        pattern(address, 8));
    }
    g_assert(port_has_range(port, start, 4 * MiB, "ro"));
    port_write(port, start, 8, 1);
    g_assert_cmphex(port_read(port, start, 8), ==, pattern(0, 8));
    g_assert_cmphex(vm_read(pair->vm[0], start, 8), ==, pattern(0, 8));
    pair_free(pair);
}

/* --- the secure world ---------------------------------------------------- */

#define SECURE_RAM 0x0e000000ULL

static void check_secure(const char *space, int result)
{
    g_autofree char *options = g_strdup_printf("address-space=%s", space);
    Pair *pair = pair_new(MACHINE_VIRT, MACHINE_VIRT_PCI, options, NULL);
    Port *port = pair->port[1];

    vm_add_machine_args(pair->vm[0], "secure=on");
    pair->vm[1]->traced = true;
    pair_start(pair);
    port_write(port, SECURE_RAM + 8, 8, 0x1234567890abcdefULL);
    expect(port, result);
    g_assert_cmphex(port_read(port, SECURE_RAM + 8, 8), ==,
                    result == RESULT_OK ? 0x1234567890abcdefULL : ALL_ONES);
    expect(port, result);
    check_places(port, pair->vm[0]);
    check_mapped(port, pair->vm[0]);
    pair_free(pair);
}

static void test_secure(void)
{
    check_secure("secure", RESULT_OK);
    check_secure("system", RESULT_DECODE);
}

void add_memory_tests(void)
{
    add_pair_test("memory/both-ways", test_both_ways);
    add_pair_test("memory/private", test_private);
    add_pair_test("memory/share-off", test_share_off);
    add_pair_test("memory/tcp", test_tcp);
    add_pair_test("memory/part", test_part);
    add_pair_test("memory/read-only", test_read_only);
    add_pc_pair_test("memory/rom", test_rom);
    add_pc_pair_test("memory/4g-direct", test_4g_direct);
    add_pc_pair_test("memory/4g-link", test_4g_link);
    add_pc_pair_test("memory/holes", test_holes);
    add_pc_pair_test("memory/shared-rom", test_shared_rom);
    if (g_str_equal(qtest_get_arch(), "aarch64")) {
        qtest_add_func("memexpose/memory/secure", test_secure);
    }
}
