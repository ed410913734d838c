/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a device comes up and goes down: enabling, disabling, reset, plugging,
 * what it is called, where it lies.
 */
#include "qemu/osdep.h"
#include "memexpose-vm.h"

#define CONTENTS  0x600dc0ffee0ddf00ULL

/* --- helpers ------------------------------------------------------------- */

static void check_memory(Port *from, Vm *to)
{
    uint64_t address = to->ram + 3 * MiB;

    vm_write(to, address, 8, CONTENTS);
    g_assert_cmphex(port_read(from, address, 8), ==, CONTENTS);
    port_write(from, address, 8, ~CONTENTS);
    g_assert_cmphex(vm_read(to, address, 8), ==, ~CONTENTS);
}

static void check_both(Pair *pair)
{
    check_memory(pair->port[0], pair->vm[1]);
    check_memory(pair->port[1], pair->vm[0]);
}

static uint64_t connects(Port *port)
{
    return port_link_state(port) >> 32;
}

static void wait_connects(Port *port, uint64_t count)
{
    WAIT_FOR(connects(port) >= count && port_is_up(port));
}

/* --- enabling ------------------------------------------------------------ */

static gpointer enable_it(gpointer opaque)
{
    port_enable(opaque);
    return NULL;
}

/* The one that is @first waits for the other, which comes later. */
static void check_enable_order(const PairKind *kind, unsigned first)
{
    Pair *pair = pair_new(kind->first, kind->second, NULL, NULL);
    GThread *thread;

    vm_start(pair->vm[first]);
    thread = g_thread_new("enable", enable_it, pair->port[first]);
    vm_start(pair->vm[!first]);
    port_enable(pair->port[!first]);
    g_thread_join(thread);
    g_assert_cmpint(port_reg(pair->port[first], REG_ENABLE), ==, 1);
    check_both(pair);
    pair_free(pair);
}

static void test_enable_server_first(const PairKind *kind)
{
    check_enable_order(kind, 0);
}

/* At once, while its connection is under way. */
static void test_enable_client(const PairKind *kind)
{
    unsigned i;

    for (i = 0; i < 5; i++) {
        Pair *pair = pair_new(kind->first, kind->second, NULL, NULL);

        vm_start(pair->vm[0]);
        vm_start(pair->vm[1]);
        port_enable(pair->port[1]);
        port_enable(pair->port[0]);
        check_both(pair);
        pair_free(pair);
    }
    check_enable_order(kind, 1);
}

static void test_wait_off(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, "wait=off", "wait=off");

    vm_start(pair->vm[0]);
    port_set_reg(pair->port[0], REG_ENABLE, 1);
    g_assert_cmpint(port_reg(pair->port[0], REG_ENABLE), ==, 0);
    vm_start(pair->vm[1]);
    port_set_reg(pair->port[1], REG_ENABLE, 1);
    WAIT_FOR(port_reg(pair->port[0], REG_ENABLE) == 1);
    WAIT_FOR(port_reg(pair->port[1], REG_ENABLE) == 1);
    check_both(pair);
    pair_free(pair);
}

static void test_connect_timeout(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, "connect-timeout=200",
                          NULL);
    Port *port = pair->port[0];
    int64_t start;

    vm_start(pair->vm[0]);
    start = g_get_monotonic_time();
    port_set_reg(port, REG_ENABLE, 1);
    g_assert_cmpint(g_get_monotonic_time() - start, >=, 200 * 1000);
    g_assert_cmpint(port_reg(port, REG_ENABLE), ==, 0);
    g_assert_cmphex(port_read(port, 0, 8), ==, ALL_ONES);
    /* still wanted */
    vm_start(pair->vm[1]);
    WAIT_FOR(port_reg(port, REG_ENABLE) == 1);
    port_wait_up(pair->port[1]);
    port_enable(pair->port[1]);
    check_both(pair);
    pair_free(pair);
}

static void test_no_reconnect(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, NULL, NULL);
    Port *port = pair->port[1];

    pair->vm[1]->reconnects = false;
    pair_start(pair);
    check_both(pair);
    vm_free(pair->vm[0]);
    pair->vm[0] = NULL;
    port_wait_down(port);
    g_assert_cmpint(port_reg(port, REG_ENABLE), ==, 0);
    /* nobody will ever come: it says so, and does not wait */
    port_set_reg(port, REG_ENABLE, 0);
    port_set_reg(port, REG_ENABLE, 1);
    g_assert_cmpint(port_reg(port, REG_ENABLE), ==, 0);
    g_assert_cmphex(port_read(port, 0, 8), ==, ALL_ONES);
    pair_free(pair);
}

/* --- disabling ----------------------------------------------------------- */

static void check_disabled(Pair *pair, unsigned which)
{
    Port *port = pair->port[which], *peer = pair->port[!which];
    uint64_t place = pair->vm[!which]->ram + 4 * MiB;
    uint64_t there = pair->vm[which]->ram + 4 * MiB;
    uint64_t before = connects(port), peer_before = connects(peer);

    port_read(port, place, 8);
    port_read(peer, there, 8);
    port_set_reg(port, REG_ENABLE, 0);
    g_assert_cmpint(port_reg(port, REG_ENABLE), ==, 0);
    g_assert_cmpint(port_reg(port, REG_LINK_STATE) & LINKS_UP, ==, 0);
    g_assert_cmphex(port_read(port, place, 8), ==, ALL_ONES);
    g_assert_cmpint(port_stat(port, "mapped-ranges"), ==, 0);
    WAIT_FOR(port_reg(peer, REG_ENABLE) == 0);
    WAIT_FOR(port_stat(peer, "mapped-ranges") == 0);
    g_assert_cmphex(port_read(peer, there, 8), ==, ALL_ONES);
    port_write(peer, there, 8, 1);
    g_assert_cmpint(port_reg(peer, REG_CHANGED), ==, 1);

    port_set_reg(port, REG_ENABLE, 1);
    wait_connects(port, before + 1);
    wait_connects(peer, peer_before + 1);
    WAIT_FOR(port_reg(peer, REG_ENABLE) == 1);
    WAIT_FOR(port_reg(port, REG_ENABLE) == 1);
    check_both(pair);
}

static void test_disable(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, NULL, "wait=off");
    unsigned i;

    pair_start(pair);
    for (i = 0; i < 6; i++) {
        check_disabled(pair, i % 2);
    }
    g_assert_cmpint(port_stat(pair->port[0], "violations"), ==, 0);
    g_assert_cmpint(port_stat(pair->port[1], "violations"), ==, 0);
    pair_free(pair);
}

/* --- reset --------------------------------------------------------------- */

static void check_reset(Pair *pair, unsigned which)
{
    Port *port = pair->port[which], *peer = pair->port[!which];
    uint64_t before = connects(peer), received;

    check_both(pair);
    port_set_reg(port, REG_TX_TYPE, 5);
    port_set_reg(port, REG_TX_DATA, 6);
    port_set_reg(port, REG_CHANGE_ENABLE, 1);
    received = port_stat(port, "interrupts-received");
    port_set_reg(peer, REG_TX, 1);
    WAIT_FOR(port_stat(port, "interrupts-received") == received + 1);

    reset_machine(port->vm->qts);
    port_map(port);
    g_assert_cmpint(port_reg(port, REG_ENABLE), ==, 0);
    g_assert_cmpint(port_reg(port, REG_TX_TYPE), ==, 0);
    g_assert_cmpint(port_reg(port, REG_TX_DATA), ==, 0);
    g_assert_cmpint(port_reg(port, REG_CHANGE_ENABLE), ==, 0);
    g_assert_cmpint(port_reg(port, REG_RX), ==, 0);
    g_assert_cmphex(port_read(port, pair->vm[!which]->ram, 8), ==, ALL_ONES);

    /* the links come up anew, without being enabled */
    wait_connects(peer, before + 1);
    WAIT_FOR(port_reg(peer, REG_ENABLE) == 1);
    check_memory(peer, pair->vm[which]);
    port_wait_up(port);
    port_enable(port);
    check_both(pair);
}

static void test_reset(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, NULL, NULL);
    unsigned i;

    pair_start(pair);
    for (i = 0; i < 4; i++) {
        check_reset(pair, i % 2);
    }
    pair_free(pair);
}

/* Who was never enabled keeps its links. */
static void test_reset_disabled(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, NULL, NULL);

    vm_start(pair->vm[0]);
    vm_start(pair->vm[1]);
    port_wait_up(pair->port[0]);
    port_wait_up(pair->port[1]);
    port_enable(pair->port[1]);
    check_memory(pair->port[1], pair->vm[0]);
    reset_machine(pair->vm[0]->qts);
    port_map(pair->port[0]);
    check_memory(pair->port[1], pair->vm[0]);
    g_assert_cmpint(connects(pair->port[0]), ==, 1);
    g_assert_cmpint(connects(pair->port[1]), ==, 1);
    pair_free(pair);
}

/* --- plugging ------------------------------------------------------------ */

static void plug(Port *port)
{
    g_autofree char *mem = g_strdup_printf("%s-mem", port->id);
    g_autofree char *intr = g_strdup_printf("%s-intr", port->id);
    g_autofree char *slot = g_strdup_printf("%x", port->slot);

    qtest_qmp_device_add(port->vm->qts, "memexpose-pci", port->id,
                         "{ 'mem_chardev': %s, 'intr_chardev': %s,"
                         " 'shm_size': %" PRId64 ", 'addr': %s }", mem, intr,
                         (int64_t)port->vm->window_size, slot);
}

static bool reads(Port *from, Vm *to)
{
    return port_read(from, to->ram + 3 * MiB, 8) == CONTENTS;
}

/*
 * On a PC, whose ACPI ejects what is on its first bus.  A chardev that listens
 * goes on taking clients, who get no answer before the device is back.
 */
static void test_plug(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, "request-timeout=300",
                          "request-timeout=300");
    unsigned own = kind->first == MACHINE_PC ? 0 : 1, i;
    Port *port = pair->port[own], *peer = pair->port[!own];

    pair_start(pair);
    for (i = 0; i < 5; i++) {
        uint64_t before = connects(peer);

        check_both(pair);
        qpci_unplug_acpi_device_test(port->vm->qts, port->id, port->slot);
        WAIT_FOR(connects(peer) > before || !port_is_up(peer));
        g_assert_cmpint(port_stat(peer, "mapped-ranges"), ==, 0);
        g_assert_cmphex(port_read(peer, port->vm->ram, 8), ==, ALL_ONES);
        plug(port);
        port_map(port);
        g_assert_cmpint(port_reg(port, REG_ENABLE), ==, 0);
        port_enable(port);
        vm_write(port->vm, port->vm->ram + 3 * MiB, 8, CONTENTS);
        vm_write(peer->vm, peer->vm->ram + 3 * MiB, 8, CONTENTS);
        WAIT_FOR(reads(peer, port->vm) && reads(port, peer->vm));
    }
    check_both(pair);
    pair_free(pair);
}

/* --- what cannot be moved ------------------------------------------------ */

static void test_migration(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, NULL, NULL);
    g_autofree char *text = NULL;
    const char *reason;
    QDict *response;

    pair_start(pair);
    response = qtest_qmp(pair->vm[0]->qts, "{ 'execute': 'migrate',"
                         " 'arguments': { 'uri': 'exec:cat >/dev/null' } }");
    g_assert(qdict_haskey(response, "error"));
    reason = qdict_get_str(qdict_get_qdict(response, "error"), "desc");
    g_assert_nonnull(strstr(reason, "memexpose"));
    qobject_unref(response);
    text = qtest_hmp(pair->vm[1]->qts, "savevm x");
    g_assert_nonnull(strstr(text, "memexpose"));
    check_both(pair);
    pair_free(pair);
}

/* --- names and rules ----------------------------------------------------- */

static void expect_names(const char *first_options,
                         const char *second_options, const char *first,
                         const char *second)
{
    PairKind kind = { MACHINE_PC, MACHINE_Q35 };
    g_autofree char *seen_first = NULL, *seen_second = NULL;
    Pair *pair;

    if (g_str_equal(qtest_get_arch(), "aarch64")) {
        kind = (PairKind) { MACHINE_VIRT_PCI, MACHINE_VIRT };
    }
    pair = pair_new(kind.first, kind.second, first_options, second_options);
    pair_start(pair);
    check_both(pair);
    seen_first = port_peer_name(pair->port[1]);
    seen_second = port_peer_name(pair->port[0]);
    g_assert_cmpstr(seen_first, ==, first);
    g_assert_cmpstr(seen_second, ==, second);
    pair_free(pair);
}

static void test_names(void)
{
    expect_names("name=alpha", "name=beta", "alpha", "beta");
    expect_names("name=01234567890123456789012345678901", "name=b",
                 "01234567890123456789012345678901", "b");
    /* base peers have none */
    expect_names("name=alpha", "name=beta,hello=off", "", "");
    expect_names("name=alpha,hello=off", "name=beta,hello=off", "", "");
    expect_names("name=a,subpriority=1", "name=b,subpriority=0", "a", "b");
    expect_names("name=a,subpriority=1", "name=b,subpriority=auto", "a", "b");
    expect_names("name=a,hello=require", "name=b,hello=require", "a", "b");
    expect_names("name=a,seals=ignore", "name=b,seals=prefer", "a", "b");
}

static void test_disagree(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, "subpriority=0,wait=off",
                          "subpriority=0,wait=off");
    unsigned i;

    vm_start(pair->vm[0]);
    vm_start(pair->vm[1]);
    for (i = 0; i < 2; i++) {
        port_set_reg(pair->port[i], REG_ENABLE, 1);
    }
    WAIT_FOR(connects(pair->port[0]) >= 2 && connects(pair->port[1]) >= 2);
    for (i = 0; i < 2; i++) {
        g_assert_cmphex(port_read(pair->port[i], pair->vm[!i]->ram, 8), ==,
                        ALL_ONES);
        g_assert_cmpint(port_stat(pair->port[i], "requests-served"), ==, 0);
    }
    pair_free(pair);
}

/* --- virt ---------------------------------------------------------------- */

static bool contains(const char *bytes, size_t size, const char *text)
{
    return memmem(bytes, size, text, strlen(text) + 1) != NULL;
}

static void check_place(const char *base, uint64_t expected)
{
    Pair *pair = pair_new(MACHINE_VIRT, MACHINE_VIRT_PCI, NULL, NULL);
    g_autofree char *tree = g_malloc(2 * MiB);
    g_autofree char *node = NULL;
    Port *port = pair->port[0];

    if (base) {
        vm_add_machine_args(pair->vm[0], "memexpose-base=%s", base);
    }
    pair_start(pair);
    g_assert_cmphex(port->window, ==, expected);
    g_assert_cmphex(port->regs, ==, expected + pair->vm[0]->window_size);
    check_both(pair);

    /* without a kernel, the device tree lies at the start of RAM */
    qtest_bufread(pair->vm[0]->qts, pair->vm[0]->ram, tree, 2 * MiB);
    node = g_strdup_printf("memexpose@%" PRIx64, port->regs);
    g_assert(contains(tree, 2 * MiB, node));
    g_assert(contains(tree, 2 * MiB, "memexpose-memregion"));
    pair_free(pair);
}

static void test_place(void)
{
    check_place(NULL, 0x4040000000ULL);
    check_place("0x6000000000", 0x6000000000ULL);
    check_place("0x4020010000", 0x4020010000ULL);
}

void add_life_tests(void)
{
    add_pair_test("life/enable-server-first", test_enable_server_first);
    add_pair_test("life/enable-client", test_enable_client);
    add_pair_test("life/wait-off", test_wait_off);
    add_pair_test("life/connect-timeout", test_connect_timeout);
    add_pair_test("life/no-reconnect", test_no_reconnect);
    add_pair_test("life/disable", test_disable);
    add_pair_test("life/reset", test_reset);
    add_pair_test("life/reset-disabled", test_reset_disabled);
    add_pair_test("life/migration", test_migration);
    add_pair_test("life/disagree", test_disagree);
    qtest_add_func("memexpose/life/names", test_names);
    if (g_str_equal(qtest_get_arch(), "x86_64")) {
        add_pc_pair_test("life/plug", test_plug);
    } else {
        qtest_add_func("memexpose/life/place", test_place);
    }
}
