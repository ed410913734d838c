/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memory map changes while the peer has mapped what is in it, and while
 * it is reading.
 */
#include "qemu/osdep.h"
#include "hw/pci/pci_regs.h"
#include "memexpose-vm.h"

#define SHM_SLOT   5
#define SHM_SIZE   (1 * MiB)
#define SHM_BAR    2
#define CONTENTS   0x5ca1ab1e0ddba11ULL

/* --- a peer that goes on reading ----------------------------------------- */

typedef struct Reader {
    Port *port;
    uint64_t address;
    GThread *thread;
    gint stop;
    gint rounds;
    gint strange;               /* reads that found what never was there */
} Reader;

static gpointer read_on(gpointer opaque)
{
    Reader *reader = opaque;

    while (!g_atomic_int_get(&reader->stop)) {
        uint64_t value = port_read(reader->port, reader->address, 8);

        if (value != CONTENTS && value != 0 && value != ALL_ONES) {
            g_atomic_int_inc(&reader->strange);
        }
        g_atomic_int_inc(&reader->rounds);
    }
    return NULL;
}

static void reader_start(Reader *reader, Port *port, uint64_t address)
{
    *reader = (Reader) { .port = port, .address = address };
    reader->thread = g_thread_new("reader", read_on, reader);
}

static void reader_stop(Reader *reader)
{
    g_atomic_int_set(&reader->stop, 1);
    g_thread_join(reader->thread);
    g_assert_cmpint(reader->rounds, >, 0);
    g_assert_cmpint(reader->strange, ==, 0);
}

/* --- a BAR of memory ----------------------------------------------------- */

static void add_shm(Vm *vm)
{
    vm_add_args(vm, "-object memory-backend-memfd,id=shm,size=1M,share=on "
                "-device ivshmem-plain,memdev=shm,addr=%x", SHM_SLOT);
}

static Pair *pair_with_shm(const PairKind *kind, bool traced,
                           QPCIDevice **shm)
{
    Pair *pair = pair_new(kind->first, kind->second, NULL, NULL);

    add_shm(pair->vm[0]);
    pair->vm[1]->traced = traced;
    pair_start(pair);
    *shm = vm_map_pci(pair->vm[0], SHM_SLOT, SHM_BAR, true,
                      vm_low_pci(pair->vm[0]));
    vm_write(pair->vm[0], vm_low_pci(pair->vm[0]), 8, CONTENTS);
    return pair;
}

static void move_shm(QPCIDevice *shm, uint64_t address)
{
    qpci_config_writel(shm, PCI_BASE_ADDRESS_0 + 4 * SHM_BAR, address);
}

static void hide_shm(QPCIDevice *shm, bool hidden)
{
    qpci_config_writew(shm, PCI_COMMAND, hidden ? 0 : PCI_COMMAND_MEMORY);
}

/* The PCI host of virt answers for all of its window. */
static void expect_nothing(Pair *pair, uint64_t address)
{
    g_assert_cmphex(port_read(pair->port[1], address, 8), ==, ALL_ONES);
    g_assert_cmpint(port_last_result(pair->port[1]), ==,
                    machine_is_x86(pair->vm[0]->machine) ? RESULT_DECODE :
                    RESULT_OK);
}

static void test_bar_moved(const PairKind *kind)
{
    QPCIDevice *shm;
    Pair *pair = pair_with_shm(kind, true, &shm);
    Port *port = pair->port[1];
    uint64_t start = vm_low_pci(pair->vm[0]);
    unsigned i;

    for (i = 0; i < 20; i++) {
        uint64_t here = start + i * SHM_SIZE, next = here + SHM_SIZE;

        g_assert_cmphex(port_read(port, here, 8), ==, CONTENTS);
        g_assert(port_has_range(port, here, SHM_SIZE, "rw"));
        move_shm(shm, next);
        expect_nothing(pair, here);
        g_assert_false(port_has_range(port, here, SHM_SIZE, "rw"));
        port_write(port, next + 8, 8, i);
        g_assert_cmphex(vm_read(pair->vm[0], next + 8, 8), ==, i);
    }
    g_assert_cmpint(port_stat(port, "invalidations-received"), ==, 20);
    g_assert_cmpint(port_stat(pair->port[0], "invalidations-sent"), ==, 20);
    g_free(shm);
    pair_free(pair);
}

static void test_bar_hidden(const PairKind *kind)
{
    QPCIDevice *shm;
    Pair *pair = pair_with_shm(kind, true, &shm);
    uint64_t start = vm_low_pci(pair->vm[0]);
    unsigned i;

    for (i = 0; i < 10; i++) {
        g_assert_cmphex(port_read(pair->port[1], start, 8), ==, CONTENTS);
        hide_shm(shm, true);
        expect_nothing(pair, start);
        hide_shm(shm, false);
    }
    g_free(shm);
    pair_free(pair);
}

static void test_bar_moved_under_reader(const PairKind *kind)
{
    QPCIDevice *shm;
    Pair *pair = pair_with_shm(kind, false, &shm);
    uint64_t start = vm_low_pci(pair->vm[0]);
    Reader reader;
    unsigned i;

    reader_start(&reader, pair->port[1], start);
    for (i = 0; i < 300; i++) {
        int rounds = g_atomic_int_get(&reader.rounds);

        move_shm(shm, start + SHM_SIZE);
        move_shm(shm, start);
        WAIT_FOR(g_atomic_int_get(&reader.rounds) > rounds + 1);
    }
    reader_stop(&reader);
    g_assert_cmphex(port_read(pair->port[1], start, 8), ==, CONTENTS);
    g_assert_cmpint(port_stat(pair->port[1], "violations"), ==, 0);
    g_assert(port_is_up(pair->port[0]));
    g_free(shm);
    pair_free(pair);
}

/* --- a memory device that is unplugged ----------------------------------- */

#define DIMM_ADDRESS   0x140000000ULL
#define DIMM_SIZE      (16 * MiB)
#define HOTPLUG_PORT   0x0a00
#define HOTPLUG_EJECT  0x08

static void qmp_ok(QDict *response)
{
    g_assert(qdict_haskey(response, "return"));
    qobject_unref(response);
}

/* QEMU 10.0 gives a backend of the same name the same memory again. */
static void plug_memory(Vm *vm, unsigned round)
{
    g_autofree char *backend = g_strdup_printf("more%u", round);

    qmp_ok(qtest_qmp(vm->qts, "{ 'execute': 'object-add', 'arguments': {"
                     " 'qom-type': 'memory-backend-memfd', 'id': %s,"
                     " 'size': 16777216, 'share': true } }", backend));
    qtest_qmp_device_add(vm->qts, "pc-dimm", "dimm", "{ 'memdev': %s,"
                         " 'addr': %" PRId64 " }", backend,
                         (int64_t)DIMM_ADDRESS);
}

/* As the guest's ACPI does it. */
static void unplug_memory(Vm *vm, unsigned round)
{
    g_autofree char *backend = g_strdup_printf("more%u", round);

    qtest_qmp_device_del_send(vm->qts, "dimm");
    qtest_outl(vm->qts, HOTPLUG_PORT, 0);
    qtest_outb(vm->qts, HOTPLUG_PORT + 0x14, HOTPLUG_EJECT);
    qtest_qmp_eventwait(vm->qts, "DEVICE_DELETED");
    qmp_ok(qtest_qmp(vm->qts, "{ 'execute': 'object-del', 'arguments': {"
                     " 'id': %s } }", backend));
}

static Pair *pair_with_slots(const PairKind *kind, bool traced)
{
    Pair *pair = pair_new(kind->first, kind->second, NULL, NULL);

    vm_add_args(pair->vm[0], "-m slots=2,maxmem=1G");
    pair->vm[1]->traced = traced;
    pair_start(pair);
    return pair;
}

static void test_unplug(const PairKind *kind)
{
    Pair *pair = pair_with_slots(kind, true);
    uint64_t last = DIMM_ADDRESS + DIMM_SIZE - 8;
    Port *port = pair->port[1];
    unsigned i;

    for (i = 0; i < 5; i++) {
        expect_nothing(pair, DIMM_ADDRESS);
        plug_memory(pair->vm[0], i);
        /* new memory each time */
        g_assert_cmphex(vm_read(pair->vm[0], last, 8), ==, 0);
        g_assert_cmphex(port_read(port, last, 8), ==, 0);
        port_write(port, last, 8, CONTENTS);
        g_assert_cmphex(vm_read(pair->vm[0], last, 8), ==, CONTENTS);
        g_assert(port_has_range(port, DIMM_ADDRESS, DIMM_SIZE, "rw"));
        unplug_memory(pair->vm[0], i);
        g_assert_false(port_has_range(port, DIMM_ADDRESS, DIMM_SIZE, "rw"));
        g_assert_cmphex(vm_read(pair->vm[0], last, 8), !=, CONTENTS);
        expect_nothing(pair, last);
        port_write(port, last, 8, CONTENTS);
        g_assert_cmpint(port_last_result(port), ==, RESULT_DECODE);
    }
    g_assert_cmpint(port_stat(port, "invalidations-received"), ==, 5);
    pair_free(pair);
}

static void test_unplug_under_reader(const PairKind *kind)
{
    Pair *pair = pair_with_slots(kind, false);
    Reader reader;
    unsigned i;

    reader_start(&reader, pair->port[1], DIMM_ADDRESS + 0x1000);
    for (i = 0; i < 30; i++) {
        int rounds = g_atomic_int_get(&reader.rounds);

        plug_memory(pair->vm[0], i);
        vm_write(pair->vm[0], DIMM_ADDRESS + 0x1000, 8, CONTENTS);
        WAIT_FOR(g_atomic_int_get(&reader.rounds) > rounds + 2);
        unplug_memory(pair->vm[0], i);
    }
    reader_stop(&reader);
    g_assert(port_is_up(pair->port[0]));
    g_assert_cmpint(port_stat(pair->port[1], "violations"), ==, 0);
    pair_free(pair);
}

/* --- shadow RAM ---------------------------------------------------------- */

#define PAM_COUNT   7
#define PAM_READ    0x11
#define PAM_BOTH    0x33
#define SHADOW      0xd0000ULL

/* Attributes of 0xc0000 to 0xfffff. */
static void set_shadow(Vm *vm, uint8_t attributes)
{
    QPCIDevice *bridge = qpci_device_find(vm->bus, 0);
    unsigned first = vm->machine == MACHINE_PC ? 0x59 : 0x90, i;

    for (i = 0; i < PAM_COUNT; i++) {
        qpci_config_writeb(bridge, first + i, attributes);
    }
    g_free(bridge);
}

static void check_shadow(Vm *vm, Port *port, uint64_t value)
{
    set_shadow(vm, PAM_BOTH);
    port_write(port, SHADOW, 8, value);
    g_assert_cmphex(vm_read(vm, SHADOW, 8), ==, value);
    vm_write(vm, SHADOW + 0x1000, 8, value);
    g_assert_cmphex(port_read(port, SHADOW + 0x1000, 8), ==, value);
    g_assert_cmpint(port_stat(port, "mapped-ranges"), >, 0);
    g_assert(port_has_range(port, 0, vm->ram_size, "rw"));

    set_shadow(vm, PAM_READ);
    g_assert_cmphex(port_read(port, SHADOW, 8), ==, value);
    port_write(port, SHADOW, 8, 0);
    g_assert_cmpint(port_last_result(port), ==, RESULT_DENIED);
    g_assert_cmphex(vm_read(vm, SHADOW, 8), ==, value);
    g_assert_cmphex(port_read(port, SHADOW, 8), ==, value);

    set_shadow(vm, 0);
    g_assert_cmphex(port_read(port, SHADOW, 8), ==, vm_read(vm, SHADOW, 8));
    g_assert_cmphex(port_read(port, SHADOW, 8), !=, value);
    port_write(port, SHADOW, 8, 0);
    g_assert_cmpint(port_last_result(port), !=, RESULT_OK);
    /* RAM has the same neighbour again */
    port_write(port, 0x100000, 8, value);
    g_assert_cmphex(vm_read(vm, 0x100000, 8), ==, value);
}

static void test_shadow(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, NULL, NULL);
    unsigned i;

    pair->vm[1]->traced = true;
    pair_start(pair);
    for (i = 1; i <= 20; i++) {
        check_shadow(pair->vm[0], pair->port[1], i * CONTENTS | 1);
    }
    g_assert_cmpint(port_stat(pair->port[1], "violations"), ==, 0);
    pair_free(pair);
}

static void test_shadow_under_reader(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, NULL, NULL);
    Reader reader;
    unsigned i;

    pair_start(pair);
    set_shadow(pair->vm[0], PAM_BOTH);
    vm_write(pair->vm[0], SHADOW, 8, CONTENTS);
    reader_start(&reader, pair->port[1], SHADOW);
    for (i = 0; i < 100; i++) {
        set_shadow(pair->vm[0], i % 2 ? PAM_READ : 0);
        set_shadow(pair->vm[0], PAM_BOTH);
    }
    reader_stop(&reader);
    g_assert_cmphex(port_read(pair->port[1], SHADOW, 8), ==, CONTENTS);
    g_assert_cmpint(port_stat(pair->port[1], "violations"), ==, 0);
    pair_free(pair);
}

/* --- the importer's own map ---------------------------------------------- */

static void test_window_moved(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, NULL, NULL);
    unsigned own = pair->port[0]->platform, i;
    Port *port = pair->port[own];
    Vm *peer = pair->vm[!own];
    uint64_t here, sent;

    pair_start(pair);
    here = port->window;
    port_write(port, peer->ram + 1 * MiB, 8, CONTENTS);
    sent = port_stat(port, "requests-sent");
    for (i = 1; i <= 10; i++) {
        port_move_window(port, here + i * 16 * GiB);
        g_assert_cmphex(port_read(port, peer->ram + 1 * MiB, 8), ==,
                        CONTENTS);
        port_write(port, peer->ram + 1 * MiB + 8, 8, i);
        g_assert_cmphex(vm_read(peer, peer->ram + 1 * MiB + 8, 8), ==, i);
        g_assert_cmphex(vm_read(port->vm, here + peer->ram + 1 * MiB, 8), !=,
                        CONTENTS);
    }
    /* it moves with all that is mapped in it, and the peer hears nothing */
    g_assert_cmpint(port_stat(port, "requests-sent"), ==, sent);
    g_assert_cmpint(port_stat(port, "invalidations-sent"), ==, 0);
    g_assert_cmpint(port_stat(port, "invalidations-received"), ==, 0);
    pair_free(pair);
}

/* --- the new state is there without an access ---------------------------- */

/* Everything is mapped again; nobody has asked for it. */
static void expect_pushed(Port *port, uint64_t start, uint64_t size)
{
    WAIT_FOR(port_has_range(port, start, size, "rw"));
    g_assert_cmpint(port_stat(port, "requests-sent"), ==, 0);
    g_assert_cmpint(port_stat(port, "violations"), ==, 0);
}

static void test_pushed_bar(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, "push=on", "push=on");
    uint64_t start = vm_low_pci(pair->vm[0]);
    Port *port = pair->port[1];
    QPCIDevice *shm;
    unsigned i;

    add_shm(pair->vm[0]);
    pair_start(pair);
    shm = vm_map_pci(pair->vm[0], SHM_SLOT, SHM_BAR, true, start);
    vm_write(pair->vm[0], start, 8, CONTENTS);
    expect_pushed(port, start, SHM_SIZE);
    for (i = 1; i <= 10; i++) {
        uint64_t here = start + i * SHM_SIZE;

        move_shm(shm, here);
        expect_pushed(port, here, SHM_SIZE);
        g_assert_false(port_has_range(port, here - SHM_SIZE, SHM_SIZE, "rw"));
        g_assert_cmphex(port_read(port, here, 8), ==, CONTENTS);
        port_write(port, here + 8, 8, i);
        g_assert_cmphex(vm_read(pair->vm[0], here + 8, 8), ==, i);
        g_assert_cmpint(port_stat(port, "requests-sent"), ==, 0);
    }
    g_free(shm);
    pair_free(pair);
}

static void test_pushed_memory(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, "push=on", "push=on");
    uint64_t last = DIMM_ADDRESS + DIMM_SIZE - 8;
    Port *port = pair->port[1];
    unsigned i;

    vm_add_args(pair->vm[0], "-m slots=2,maxmem=1G");
    pair_start(pair);
    for (i = 0; i < 5; i++) {
        plug_memory(pair->vm[0], i);
        expect_pushed(port, DIMM_ADDRESS, DIMM_SIZE);
        port_write(port, last, 8, CONTENTS);
        g_assert_cmphex(vm_read(pair->vm[0], last, 8), ==, CONTENTS);
        g_assert_cmpint(port_stat(port, "requests-sent"), ==, 0);
        unplug_memory(pair->vm[0], i);
        g_assert_false(port_has_range(port, DIMM_ADDRESS, DIMM_SIZE, "rw"));
    }
    g_assert_cmpint(port_stat(port, "invalidations-received"), ==, 5);
    pair_free(pair);
}

static void test_pushed_shadow(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, "push=on", "push=on");
    Vm *vm = pair->vm[0];
    unsigned i;

    pair_start(pair);
    for (i = 0; i < 20; i++) {
        set_shadow(vm, PAM_BOTH);
        expect_pushed(pair->port[1], 0, vm->ram_size);
        set_shadow(vm, 0);
        expect_pushed(pair->port[1], 0, SHADOW - 0x10000);
    }
    pair_free(pair);
}

/* Offers under way, and what they offer changes again and again. */
static void test_pushed_under_reader(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, "push=on", "push=on");
    uint64_t start = vm_low_pci(pair->vm[0]);
    QPCIDevice *shm;
    Reader reader;
    unsigned i;

    add_shm(pair->vm[0]);
    pair_start(pair);
    shm = vm_map_pci(pair->vm[0], SHM_SLOT, SHM_BAR, true, start);
    vm_write(pair->vm[0], start, 8, CONTENTS);
    reader_start(&reader, pair->port[1], start);
    for (i = 0; i < 100; i++) {
        move_shm(shm, start + SHM_SIZE);
        move_shm(shm, start);
    }
    reader_stop(&reader);
    WAIT_FOR(port_has_range(pair->port[1], start, SHM_SIZE, "rw"));
    g_assert_cmphex(port_read(pair->port[1], start, 8), ==, CONTENTS);
    g_assert_cmpint(port_stat(pair->port[1], "violations"), ==, 0);
    g_assert_cmpint(port_stat(pair->port[0], "violations"), ==, 0);
    g_assert(port_is_up(pair->port[0]));
    g_free(shm);
    pair_free(pair);
}

void add_change_tests(void)
{
    add_pair_test("change/bar-moved", test_bar_moved);
    add_pair_test("change/bar-hidden", test_bar_hidden);
    add_pair_test("change/bar-moved-under-reader",
                  test_bar_moved_under_reader);
    add_pc_pair_test("change/unplug", test_unplug);
    add_pc_pair_test("change/unplug-under-reader", test_unplug_under_reader);
    add_pc_pair_test("change/shadow", test_shadow);
    add_pc_pair_test("change/shadow-under-reader", test_shadow_under_reader);
    add_pair_test("change/window-moved", test_window_moved);
    add_pair_test("change/pushed-bar", test_pushed_bar);
    add_pc_pair_test("change/pushed-memory", test_pushed_memory);
    add_pc_pair_test("change/pushed-shadow", test_pushed_shadow);
    add_pair_test("change/pushed-under-reader", test_pushed_under_reader);
}
