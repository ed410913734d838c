/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the peer's accesses do here: devices that it reaches, and devices that
 * it must not reach.
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "hw/pci/pci_regs.h"
#include "memexpose-vm.h"

#define DEVICE_SLOT  5

/* --- a device that counts ------------------------------------------------ */

#define TESTDEV_START   0               /* which test */
#define TESTDEV_COUNT   12
#define TESTDEV_DOOR    2048            /* what test 0 counts, with ... */
#define TESTDEV_DATA    0xfa            /* ... this, in one byte */

static uint32_t testdev_count(Vm *vm, uint64_t bar)
{
    uint32_t count = 0;
    unsigned i;

    for (i = 0; i < 4; i++) {
        count |= vm_read(vm, bar + TESTDEV_COUNT + i, 1) << (8 * i);
    }
    return count;
}

static void test_counted(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, NULL, NULL);
    uint64_t bar = vm_low_pci(pair->vm[0]);
    Port *port = pair->port[1];
    QPCIDevice *dev;
    uint64_t sent;
    unsigned i;

    vm_add_args(pair->vm[0], "-device pci-testdev,addr=%x", DEVICE_SLOT);
    pair->vm[1]->traced = true;
    pair_start(pair);
    dev = vm_map_pci(pair->vm[0], DEVICE_SLOT, 0, false, bar);
    port_write(port, bar + TESTDEV_START, 1, 0);
    g_assert_cmpint(testdev_count(pair->vm[0], bar), ==, 0);
    sent = port_stat(port, "requests-sent");
    for (i = 1; i <= 100; i++) {
        port_write(port, bar + TESTDEV_DOOR, 1, TESTDEV_DATA);
        g_assert_cmpint(port_last_result(port), ==, RESULT_OK);
        g_assert_cmpint(testdev_count(pair->vm[0], bar), ==, i);
    }
    g_assert_cmpint(port_stat(port, "requests-sent"), ==, sent + 100);
    g_assert_cmpint(port_read(port, bar + TESTDEV_COUNT, 1), ==, 100);
    g_assert_cmpint(port_stat(port, "mapped-ranges"), ==, 0);
    g_free(dev);
    pair_free(pair);
}

#define FW_CFG_DATA      0x09020000ULL  /* on virt: each read goes on */
#define FW_CFG_SELECT    0x09020008ULL
#define FW_CFG_DMA       0x09020010ULL

static void check_reads_once(Pair *pair)
{
    Port *port = pair->port[1];
    unsigned i, j;

    for (i = 0; i < 20; i++) {
        port_write(port, FW_CFG_SELECT, 2, 0);
        for (j = 0; j < 4; j++) {
            g_assert_cmpint(port_read(port, FW_CFG_DATA, 1), ==, "QEMU"[j]);
        }
    }
    port_write(port, FW_CFG_SELECT, 2, 0);
    g_assert_cmphex(port_read(port, FW_CFG_DATA, 4), ==, 0x554d4551);
}

static void test_reads_once(void)
{
    Pair *pair = pair_new(MACHINE_VIRT, MACHINE_VIRT_PCI, NULL, NULL);

    pair_start(pair);
    check_reads_once(pair);
    pair_free(pair);
}

/* --- memexpose devices are out of reach ---------------------------------- */

/* A pair whose second machine sees all that the first one has. */
static Pair *pair_with_wide_window(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, NULL, NULL);

    pair->vm[0]->window_size = 2 * GiB;
    pair->vm[1]->window_size = kind->first == MACHINE_VIRT_PCI ? 1 * TiB :
                               512 * GiB;
    pair->vm[1]->traced = true;
    pair_start(pair);
    if (machine_is_x86(kind->first)) {
        port_move_window(pair->port[0], 8 * GiB);
    }
    return pair;
}

static void expect_out_of_reach(Port *port, uint64_t address)
{
    unsigned size;

    for (size = 1; size <= 8; size *= 2) {
        g_assert_cmphex(port_read(port, address, size), ==,
                        size == 8 ? ALL_ONES : (1ULL << (8 * size)) - 1);
        g_assert_cmpint(port_last_result(port), ==, RESULT_DECODE);
        port_write(port, address, size, 0);
        g_assert_cmpint(port_last_result(port), ==, RESULT_DECODE);
    }
}

static void test_window_on_window(const PairKind *kind)
{
    Pair *pair = pair_with_wide_window(kind);
    Port *port = pair->port[1];
    uint64_t place = pair->vm[1]->ram + 2 * MiB;
    uint64_t through = pair->port[0]->window + place;

    expect_out_of_reach(port, through);
    expect_out_of_reach(port, pair->port[0]->window);
    /* not even what is mapped there */
    port_write(pair->port[0], place, 8, 0x1234567890abcdefULL);
    g_assert_cmphex(vm_read(pair->vm[1], place, 8), ==,
                    0x1234567890abcdefULL);
    g_assert_cmpint(port_stat(pair->port[0], "mapped-ranges"), >, 0);
    expect_out_of_reach(port, through);
    g_assert_cmphex(vm_read(pair->vm[1], place, 8), ==,
                    0x1234567890abcdefULL);
    g_assert_cmpint(port_stat(port, "mapped-ranges"), ==, 0);
    pair_free(pair);
}

static void test_own_registers(const PairKind *kind)
{
    Pair *pair = pair_with_wide_window(kind);
    Port *port = pair->port[1], *peer = pair->port[0];
    static const unsigned regs[] = {
        REG_ENABLE, REG_LINK_STATE, REG_CHANGE_ENABLE, REG_CHANGED, REG_RX,
        REG_RX_TYPE, REG_TX, REG_TX_TYPE, REG_TX_DATA,
    };
    unsigned i;

    /* one is waiting there */
    port_set_reg(port, REG_TX_TYPE, 7);
    port_set_reg(port, REG_TX, 1);
    WAIT_FOR(port_stat(peer, "interrupts-received") == 1);
    port_set_reg(peer, REG_TX_TYPE, 11);
    for (i = 0; i < ARRAY_SIZE(regs); i++) {
        expect_out_of_reach(port, peer->regs + regs[i]);
        port_write(port, peer->regs + regs[i], 8, ALL_ONES);
        g_assert_cmpint(port_last_result(port), ==, RESULT_DECODE);
    }
    g_assert_cmpint(port_reg(peer, REG_ENABLE), ==, 1);
    g_assert_cmpint(port_reg(peer, REG_CHANGE_ENABLE), ==, 0);
    g_assert_cmpint(port_reg(peer, REG_TX_TYPE), ==, 11);
    g_assert_cmpint(port_reg(peer, REG_TX_DATA), ==, 0);
    g_assert_cmpint(port_stat(peer, "interrupts-sent"), ==, 0);
    g_assert_cmpint(port_reg(peer, REG_RX), ==, 1);
    g_assert_cmpint(port_reg(peer, REG_RX_TYPE), ==, 7);
    g_assert(port_is_up(port));
    pair_free(pair);
}

/* --- DMA from within a service ------------------------------------------- */

#define EDU_RAISE  0x60

static void set_message(QPCIDevice *dev, uint64_t address)
{
    uint8_t msi = qpci_find_capability(dev, PCI_CAP_ID_MSI, 0);

    g_assert_cmpint(msi, !=, 0);
    qpci_config_writel(dev, msi + PCI_MSI_ADDRESS_LO, address);
    qpci_config_writel(dev, msi + PCI_MSI_ADDRESS_HI, address >> 32);
    qpci_config_writew(dev, msi + PCI_MSI_DATA_64, 0x7777);
    qpci_config_writew(dev, msi + PCI_MSI_FLAGS,
                       PCI_MSI_FLAGS_64BIT | PCI_MSI_FLAGS_ENABLE);
}

/* A doorbell whose message goes back to where the ring came from. */
static void test_doorbell(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, NULL, NULL);
    uint64_t bar = vm_low_pci(pair->vm[0]);
    uint64_t target = pair->vm[1]->ram + 1 * MiB;
    Port *port = pair->port[1], *peer = pair->port[0];
    QPCIDevice *edu;
    unsigned i;

    vm_add_args(pair->vm[0], "-device edu,addr=%x", DEVICE_SLOT);
    pair->vm[0]->traced = true;
    pair->vm[1]->traced = true;
    pair->vm[1]->ram_shared = false;
    pair_start(pair);
    edu = vm_map_pci(pair->vm[0], DEVICE_SLOT, 0, false, bar);

    /* rung at home, it arrives */
    set_message(edu, peer->window + target);
    vm_write(pair->vm[0], bar + EDU_RAISE, 4, 1);
    g_assert_cmphex(vm_read(pair->vm[1], target, 4), ==, 0x7777);
    g_assert_cmpint(port_last_result(peer), ==, RESULT_OK);
    vm_write(pair->vm[1], target, 4, 0);

    for (i = 0; i < 10; i++) {
        port_write(port, bar + EDU_RAISE, 4, 1);
        g_assert_cmpint(port_last_result(port), ==, RESULT_OK);
        g_assert_cmpint(port_last_result(peer), ==, RESULT_DECODE);
    }
    g_assert_cmphex(vm_read(pair->vm[1], target, 4), ==, 0);
    g_assert(port_is_up(port));
    g_assert_cmpint(port_stat(peer, "violations"), ==, 0);
    /* a message into its own RAM does arrive */
    set_message(edu, pair->vm[0]->ram + 1 * MiB);
    port_write(port, bar + EDU_RAISE, 4, 1);
    g_assert_cmphex(vm_read(pair->vm[0], pair->vm[0]->ram + 1 * MiB, 4), ==,
                    0x7777);
    g_free(edu);
    pair_free(pair);
}

#define DMA_ERROR   0x01
#define DMA_READ    0x02
#define DMA_SELECT  0x08

typedef struct DmaAccess {
    uint32_t control;
    uint32_t length;
    uint64_t address;
} DmaAccess;

/* Returns what the device has left in the control word. */
static uint32_t run_dma(Port *by, Vm *vm, uint64_t buffer)
{
    DmaAccess access = {
        .control = cpu_to_be32(DMA_SELECT | DMA_READ),
        .length = cpu_to_be32(4),
        .address = cpu_to_be64(buffer),
    };
    uint64_t place = vm->ram + 3 * MiB;

    qtest_memwrite(vm->qts, place, &access, sizeof(access));
    port_write(by, FW_CFG_DMA, 8, bswap64(place));
    g_assert_cmpint(port_last_result(by), ==, RESULT_OK);
    return bswap32(vm_read(vm, place, 4));
}

static void test_dma(void)
{
    Pair *pair = pair_new(MACHINE_VIRT, MACHINE_VIRT_PCI, NULL, NULL);
    Vm *vm = pair->vm[0];
    uint64_t target = pair->vm[1]->ram + 4 * MiB;
    unsigned i;

    vm->ram_shared = false;
    pair->vm[1]->ram_shared = false;
    pair->vm[1]->traced = true;
    pair_start(pair);
    g_assert_cmphex(run_dma(pair->port[1], vm, vm->ram + 4 * MiB), ==, 0);
    g_assert_cmphex(vm_read(vm, vm->ram + 4 * MiB, 4), ==, 0x554d4551);
    for (i = 0; i < 10; i++) {
        g_assert_cmphex(run_dma(pair->port[1], vm,
                                pair->port[0]->window + target), ==,
                        DMA_ERROR);
    }
    g_assert_cmphex(vm_read(pair->vm[1], target, 4), ==, 0);
    g_assert(port_is_up(pair->port[1]));
    pair_free(pair);
}

void add_service_tests(void)
{
    add_pair_test("service/counted", test_counted);
    add_pair_test("service/window-on-window", test_window_on_window);
    add_pair_test("service/own-registers", test_own_registers);
    add_pair_test("service/doorbell", test_doorbell);
    if (g_str_equal(qtest_get_arch(), "aarch64")) {
        qtest_add_func("memexpose/service/reads-once", test_reads_once);
        qtest_add_func("memexpose/service/dma", test_dma);
    }
}
