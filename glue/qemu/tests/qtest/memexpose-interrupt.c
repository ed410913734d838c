/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Registers and interrupts: order, data, the queue, the line, messages.
 */
#include "qemu/osdep.h"
#include "hw/pci/pci_ids.h"
#include "hw/pci/pci_regs.h"
#include "memexpose-vm.h"

/* --- sending and receiving ----------------------------------------------- */

static uint8_t data_byte(uint64_t type, unsigned i)
{
    return type * 31 + i * 7 + (i >> 4) + 1;
}

static void send_interrupt(Port *port, uint64_t type)
{
    unsigned i;

    port_set_reg(port, REG_TX_TYPE, type);
    for (i = 0; i < INTR_DATA_SIZE; i++) {
        vm_write(port->vm, port->regs + REG_TX_DATA + i, 1,
                 data_byte(type, i));
    }
    port_set_reg(port, REG_TX, 1);
}

static uint64_t arrived(Port *port)
{
    return port_stat(port, "interrupts-received");
}

static void check_held(Port *port, uint64_t type)
{
    unsigned i;

    g_assert_cmphex(port_reg(port, REG_RX_TYPE), ==, type);
    for (i = 0; i < INTR_DATA_SIZE; i++) {
        g_assert_cmphex(vm_read(port->vm, port->regs + REG_RX_DATA + i, 1),
                        ==, data_byte(type, i));
    }
}

static void check_empty(Port *port)
{
    g_assert_cmpint(port_reg(port, REG_RX), ==, 0);
}

static void test_order(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, NULL, NULL);
    unsigned i, round, way;

    pair_start(pair);
    for (round = 0; round < 8; round++) {
        for (way = 0; way < 2; way++) {
            Port *from = pair->port[way], *to = pair->port[!way];
            uint64_t before = arrived(to);

            for (i = 0; i < 10; i++) {
                send_interrupt(from, (1ULL << 63) + 100 * round + i);
            }
            WAIT_FOR(arrived(to) == before + 10);
            for (i = 0; i < 10; i++) {
                g_assert_cmpint(port_reg(to, REG_RX), ==, 1);
                check_held(to, (1ULL << 63) + 100 * round + i);
            }
            check_empty(to);
        }
    }
    pair_free(pair);
}

#define SENT 26

static void test_overflow(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, NULL, NULL);
    Port *from = pair->port[1], *to = pair->port[0];
    unsigned i;

    pair_start(pair);
    for (i = 0; i < SENT; i++) {
        send_interrupt(from, i);
    }
    WAIT_FOR(arrived(to) == SENT);
    g_assert_cmpint(port_stat(to, "interrupts-dropped"), ==,
                    SENT - INTR_QUEUE_SIZE);
    for (i = 0; i < INTR_QUEUE_SIZE; i++) {
        g_assert_cmpint(port_reg(to, REG_RX), ==, 1);
        check_held(to, i);
    }
    check_empty(to);
    /* what was popped last stays there, and there is room again */
    check_held(to, INTR_QUEUE_SIZE - 1);
    send_interrupt(from, 1000);
    WAIT_FOR(arrived(to) == SENT + 1);
    g_assert_cmpint(port_reg(to, REG_RX), ==, 1);
    check_held(to, 1000);
    check_empty(to);
    pair_free(pair);
}

/* --- registers in parts -------------------------------------------------- */

static void write_halves(Port *port, unsigned reg, uint64_t value)
{
    vm_write(port->vm, port->regs + reg, 4, value);
    vm_write(port->vm, port->regs + reg + 4, 4, value >> 32);
}

static uint64_t read_half(Port *port, unsigned reg)
{
    return vm_read(port->vm, port->regs + reg, 4);
}

static void send_in_halves(Port *port, uint64_t type)
{
    unsigned i;

    write_halves(port, REG_TX_TYPE, type);
    for (i = 0; i < INTR_DATA_SIZE; i += 8) {
        uint64_t value = 0;
        unsigned j;

        for (j = 0; j < 8; j++) {
            value |= (uint64_t)data_byte(type, i + j) << (8 * j);
        }
        write_halves(port, REG_TX_DATA + i, value);
    }
    write_halves(port, REG_TX, 0);
}

static void test_halves(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, NULL, NULL);
    Port *from = pair->port[0], *to = pair->port[1];
    uint64_t type = 0x123456789abcdef0ULL;

    vm_start(pair->vm[0]);
    vm_start(pair->vm[1]);
    port_wait_up(from);
    port_wait_up(to);
    write_halves(from, REG_ENABLE, 1);
    g_assert_cmpint(read_half(from, REG_ENABLE), ==, 1);
    g_assert_cmpint(read_half(from, REG_ENABLE + 4), ==, 0);
    write_halves(to, REG_ENABLE, 1);
    g_assert_cmpint(port_reg(to, REG_ENABLE), ==, 1);

    /* only the half with the first byte sends, ... */
    send_in_halves(from, type);
    vm_write(from->vm, from->regs + REG_TX + 4, 4, 1);
    vm_write(from->vm, from->regs + REG_TX + 1, 1, 1);
    send_in_halves(from, type + 1);
    WAIT_FOR(arrived(to) >= 2);
    /* what was sent reads back */
    g_assert_cmphex(read_half(from, REG_TX_TYPE + 4), ==, type >> 32);
    g_assert_cmphex(port_reg(from, REG_TX_TYPE), ==, type + 1);
    g_assert_cmphex(vm_read(from->vm, from->regs + REG_TX_DATA + 127, 1), ==,
                    data_byte(type + 1, 127));

    /* ... or pops */
    g_assert_cmpint(read_half(to, REG_RX + 4), ==, 0);
    g_assert_cmpint(read_half(to, REG_RX), ==, 1);
    g_assert_cmpint(read_half(to, REG_RX + 4), ==, 0);
    check_held(to, type);
    g_assert_cmphex(read_half(to, REG_RX_TYPE), ==, (uint32_t)type);
    g_assert_cmphex(read_half(to, REG_RX_TYPE + 4), ==, type >> 32);
    g_assert_cmphex(vm_read(to->vm, to->regs + REG_RX_TYPE + 2, 2), ==,
                    (uint16_t)(type >> 16));
    g_assert_cmpint(read_half(to, REG_RX), ==, 1);
    check_held(to, type + 1);
    g_assert_cmpint(read_half(to, REG_RX), ==, 0);
    g_assert_cmpint(arrived(to), ==, 2);

    /* the other half of enable does nothing, the first one does */
    vm_write(to->vm, to->regs + REG_ENABLE + 4, 4, 0);
    g_assert_cmpint(port_reg(to, REG_ENABLE), ==, 1);
    vm_write(to->vm, to->regs + REG_ENABLE, 4, 0);
    g_assert_cmpint(port_reg(to, REG_ENABLE), ==, 0);
    pair_free(pair);
}

static void test_registers(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, NULL, NULL);
    Port *port = pair->port[0];
    static const unsigned reserved[] = {
        0x008, 0x038, 0x3f8, 0x490, 0x7f8, 0x890, 0xff8
    };
    unsigned i;

    pair_start(pair);
    for (i = 0; i < ARRAY_SIZE(reserved); i++) {
        port_set_reg(port, reserved[i], ALL_ONES);
        g_assert_cmphex(port_reg(port, reserved[i]), ==, 0);
    }
    port_set_reg(port, REG_LINK_STATE, 0);
    g_assert_cmphex(port_reg(port, REG_LINK_STATE), ==,
                    port_link_state(port));
    port_set_reg(port, REG_RX_TYPE, 99);
    g_assert_cmphex(port_reg(port, REG_RX_TYPE), !=, 99);
    /* one that covers two registers acts on neither */
    vm_write(port->vm, port->regs + REG_TX - 4, 8, ALL_ONES);
    vm_write(port->vm, port->regs + REG_ENABLE + 4, 8, 0);
    g_assert_cmphex(port_reg(port, REG_ENABLE), ==, 1);
    send_interrupt(port, 5);
    WAIT_FOR(arrived(pair->port[1]) >= 1);
    g_assert_cmpint(port_reg(pair->port[1], REG_RX), ==, 1);
    check_held(pair->port[1], 5);
    check_empty(pair->port[1]);
    pair_free(pair);
}

/* --- the line ------------------------------------------------------------ */

#define GICD_ISPENDR   0x08000200ULL
#define MEMEXPOSE_SPI  240
#define FIRST_SPI      32

static bool gic_pending(Vm *vm)
{
    unsigned id = FIRST_SPI + MEMEXPOSE_SPI;

    return vm_read(vm, GICD_ISPENDR + id / 32 * 4, 4) & (1u << (id % 32));
}

/* The level of the interrupt line, as its guest can see it. */
static bool line(Port *port)
{
    if (port->platform) {
        return gic_pending(port->vm);
    }
    return qpci_config_readw(port->pci, PCI_STATUS) & PCI_STATUS_INTERRUPT;
}

static void test_line(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, NULL, NULL);
    Port *from = pair->port[1], *to = pair->port[0];

    pair_start(pair);
    g_assert_false(line(to));
    send_interrupt(from, 1);
    send_interrupt(from, 2);
    WAIT_FOR(arrived(to) == 2);
    g_assert_true(line(to));
    g_assert_cmpint(port_reg(to, REG_RX), ==, 1);
    g_assert_true(line(to));
    g_assert_cmpint(port_reg(to, REG_RX), ==, 1);
    g_assert_false(line(to));
    check_empty(to);

    /* a link that goes is a cause, too, if it was asked for */
    g_assert_cmpint(port_reg(to, REG_CHANGED), ==, 1);
    g_assert_cmpint(port_reg(to, REG_CHANGED), ==, 0);
    port_set_reg(to, REG_CHANGE_ENABLE, 1);
    g_assert_false(line(to));
    port_set_reg(from, REG_ENABLE, 0);
    WAIT_FOR(line(to));
    g_assert_cmpint(port_reg(to, REG_ENABLE), ==, 0);
    g_assert_cmpint(port_reg(to, REG_LINK_STATE) & LINKS_UP, ==, 0);
    g_assert_cmpint(read_half(to, REG_CHANGED + 4), ==, 0);
    g_assert_true(line(to));
    g_assert_cmpint(read_half(to, REG_CHANGED), ==, 1);
    g_assert_false(line(to));
    pair_free(pair);
}

/* INTA reaches the interrupt controller of a PC. */
static void test_pc_irq(void)
{
    Pair *pair = pair_new(MACHINE_PC, MACHINE_Q35, NULL, NULL);
    Vm *vm = pair->vm[0];
    QPCIDevice *isa;
    unsigned i;

    pair_start(pair);
    isa = qpci_device_find(vm->bus, QPCI_DEVFN(1, 0));
    g_assert_nonnull(isa);
    for (i = 0x60; i < 0x64; i++) {
        qpci_config_writeb(isa, i, 11);
    }
    g_free(isa);
    qtest_irq_intercept_in(vm->qts, "ioapic");
    g_assert_false(qtest_get_irq(vm->qts, 11));
    send_interrupt(pair->port[1], 3);
    WAIT_FOR(arrived(pair->port[0]) == 1);
    g_assert_true(qtest_get_irq(vm->qts, 11));
    g_assert_cmpint(port_reg(pair->port[0], REG_RX), ==, 1);
    g_assert_false(qtest_get_irq(vm->qts, 11));
    pair_free(pair);
}

/* --- messages ------------------------------------------------------------ */

static void enable_msi(Port *port, uint64_t address, uint16_t data)
{
    uint8_t msi = qpci_find_capability(port->pci, PCI_CAP_ID_MSI, 0);

    g_assert_cmpint(msi, !=, 0);
    g_assert(qpci_config_readw(port->pci, msi + PCI_MSI_FLAGS) &
             PCI_MSI_FLAGS_64BIT);
    qpci_config_writel(port->pci, msi + PCI_MSI_ADDRESS_LO, address);
    qpci_config_writel(port->pci, msi + PCI_MSI_ADDRESS_HI, address >> 32);
    qpci_config_writew(port->pci, msi + PCI_MSI_DATA_64, data);
    qpci_config_writew(port->pci, msi + PCI_MSI_FLAGS,
                       PCI_MSI_FLAGS_64BIT | PCI_MSI_FLAGS_ENABLE);
}

static void expect_message(Vm *vm, uint64_t address, bool expected)
{
    g_assert_cmphex(vm_read(vm, address, 4), ==, expected ? 0x5a5a : 0);
    vm_write(vm, address, 4, 0);
}

static void test_msi(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, NULL, NULL);
    Port *to = pair->port[pair->port[0]->platform];
    Port *from = pair->port[!pair->port[0]->platform];
    uint64_t address = to->vm->ram + 2 * MiB;

    pair_start(pair);
    enable_msi(to, address, 0x5a5a);
    expect_message(to->vm, address, false);
    send_interrupt(from, 1);
    WAIT_FOR(arrived(to) == 1);
    expect_message(to->vm, address, true);
    g_assert_false(line(to));
    /* one for each rise */
    send_interrupt(from, 2);
    WAIT_FOR(arrived(to) == 2);
    expect_message(to->vm, address, false);
    g_assert_cmpint(port_reg(to, REG_RX), ==, 1);
    g_assert_cmpint(port_reg(to, REG_RX), ==, 1);
    check_empty(to);
    expect_message(to->vm, address, false);
    send_interrupt(from, 3);
    WAIT_FOR(arrived(to) == 3);
    expect_message(to->vm, address, true);
    /* and for a change of the links */
    port_reg(to, REG_CHANGED);
    port_set_reg(to, REG_CHANGE_ENABLE, 1);
    expect_message(to->vm, address, false);
    port_set_reg(from, REG_ENABLE, 0);
    port_wait_down(to);
    expect_message(to->vm, address, true);
    pair_free(pair);
}

/* --- what the configuration space says ----------------------------------- */

static void check_identity(const PairKind *kind, const char *options,
                           bool msi, bool prefetchable)
{
    unsigned own = kind->first == MACHINE_VIRT;
    Pair *pair = pair_new(kind->first, kind->second, own ? NULL : options,
                          own ? options : NULL);
    QPCIDevice *pci;
    uint32_t bar;

    pair_start(pair);
    pci = pair->port[own]->pci;
    g_assert_cmphex(qpci_config_readw(pci, PCI_VENDOR_ID), ==, 0x1af4);
    g_assert_cmphex(qpci_config_readw(pci, PCI_DEVICE_ID), ==, 0x1111);
    g_assert_cmphex(qpci_config_readw(pci, PCI_CLASS_DEVICE), ==,
                    PCI_CLASS_MEMORY_RAM);
    g_assert_cmphex(qpci_config_readb(pci, PCI_REVISION_ID), ==, 0);
    g_assert_cmphex(qpci_config_readb(pci, PCI_INTERRUPT_PIN), ==, 1);
    g_assert((qpci_find_capability(pci, PCI_CAP_ID_MSI, 0) != 0) == msi);
    bar = qpci_config_readl(pci, PCI_BASE_ADDRESS_0);
    g_assert_cmphex(bar & ~PCI_BASE_ADDRESS_MEM_MASK, ==, 0);
    bar = qpci_config_readl(pci, PCI_BASE_ADDRESS_1);
    g_assert_cmphex(bar & ~PCI_BASE_ADDRESS_MEM_MASK, ==,
                    PCI_BASE_ADDRESS_MEM_TYPE_64 |
                    (prefetchable ? PCI_BASE_ADDRESS_MEM_PREFETCH : 0));
    pair_free(pair);
}

static void test_identity(const PairKind *kind)
{
    check_identity(kind, NULL, true, false);
    check_identity(kind, "msi=off", false, false);
    check_identity(kind, "prefetchable=on", true, true);
}

void add_interrupt_tests(void)
{
    add_pair_test("interrupt/order", test_order);
    add_pair_test("interrupt/overflow", test_overflow);
    add_pair_test("interrupt/halves", test_halves);
    add_pair_test("interrupt/registers", test_registers);
    add_pair_test("interrupt/line", test_line);
    add_pair_test("interrupt/msi", test_msi);
    add_pair_test("interrupt/identity", test_identity);
    if (g_str_equal(qtest_get_arch(), "x86_64")) {
        qtest_add_func("memexpose/interrupt/pc-irq", test_pc_irq);
    }
}
