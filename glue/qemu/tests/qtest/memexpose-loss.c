/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Peers that are killed, or stopped, at any time: the machine lives on.
 */
#include "qemu/osdep.h"
#include "hw/pci/pci_regs.h"
#include "memexpose-vm.h"

#define SHM_SLOT   5
#define CONTENTS   0x600dc0ffee0ddf00ULL

/* --- a machine that works on its own until it is killed ------------------ */

/* Where the device of such a machine is. */
#define VICTIM_BASE   UINT64_C(0x5000000000)    /* on the platform */
#define VICTIM_WINDOW UINT64_C(0x8000000000)    /* on PCI */
#define VIRT_CONFIG   UINT64_C(0x4010000000)
#define VICTIM_LINES  3000

static void config_write(GString *script, const Port *port, unsigned offset,
                         uint32_t value)
{
    unsigned devfn = QPCI_DEVFN(port->slot, 0);

    if (machine_is_x86(port->vm->machine)) {
        g_string_append_printf(script, "outl 0xcf8 0x%x\noutl 0xcfc 0x%x\n",
                               1u << 31 | devfn << 8 | offset, value);
    } else {
        g_string_append_printf(script, "writel 0x%" PRIx64 " 0x%x\n",
                               VIRT_CONFIG + (devfn << 12) + offset,
                               value);
    }
}

static void map_victim(GString *script, Port *port)
{
    if (port->platform) {
        port->window = VICTIM_BASE;
        port->regs = VICTIM_BASE + port->vm->window_size;
        return;
    }
    port->window = VICTIM_WINDOW;
    port->regs = machine_is_x86(port->vm->machine) ? 0xe0000000 : 0x10000000;
    config_write(script, port, PCI_BASE_ADDRESS_0, port->regs);
    config_write(script, port, PCI_BASE_ADDRESS_1, port->window);
    config_write(script, port, PCI_BASE_ADDRESS_2, port->window >> 32);
    config_write(script, port, PCI_COMMAND, PCI_COMMAND_MEMORY |
                 PCI_COMMAND_MASTER);
}

/* Accesses of all kinds, in the @ram of the survivor. */
static void fill_script(GString *script, const Port *port, uint64_t ram)
{
    unsigned i;

    g_string_append_printf(script, "writeq 0x%" PRIx64 " 0x1\n", port->regs);
    for (i = 0; i < VICTIM_LINES; i++) {
        uint64_t address = port->window + ram + 8 * MiB + 8 *
                           g_test_rand_int_range(0, 10000);

        switch (g_test_rand_int_range(0, 4)) {
        case 0:
            g_string_append_printf(script, "writeq 0x%" PRIx64 " 0x1\n",
                                   port->regs + REG_TX);
            break;
        case 1:
            g_string_append_printf(script, "writel 0x%" PRIx64 " 0x%x\n",
                                   address, i);
            break;
        default:
            g_string_append_printf(script, "readq 0x%" PRIx64 "\n", address);
            break;
        }
    }
}

static pid_t start_victim(Machine machine, const char *link, bool listen,
                          const char *options, uint64_t ram)
{
    g_autofree char *path = vm_path("victim-script");
    g_autofree char *errors = vm_path("victim-errors");
    GString *script = g_string_new("");
    Vm *vm = vm_new(machine);
    Port *port = vm_add_port(vm, link, listen, options);
    pid_t pid;

    vm->reconnects = false;     /* connected when the script begins */
    if (port->platform) {
        vm_add_machine_args(vm, "memexpose-base=0x%" PRIx64, VICTIM_BASE);
    }
    map_victim(script, port);
    fill_script(script, port, ram);
    g_assert(g_file_set_contents(path, script->str, script->len, NULL));
    pid = vm_spawn(vm, path, errors);
    g_string_free(script, true);
    vm_free(vm);
    return pid;
}

static void kill_victim(pid_t pid)
{
    int status;

    g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
    status = vm_wait_spawned(pid);
    g_assert(WIFSIGNALED(status));
}

/* --- one that survives --------------------------------------------------- */

static void access_peer(Port *port, uint64_t ram)
{
    uint64_t address = ram + 8 * MiB + 8 * g_test_rand_int_range(0, 10000);

    port_write(port, address, 8, CONTENTS);
    port_read(port, address, 8);
    port_read(port, address + 4, 2);
    port_set_reg(port, REG_TX, 1);
    port_reg(port, REG_RX);
}

/* Some victims die before their links are up. */
static void lose_one(Port *port, Machine machine, const char *link,
                     const char *options, unsigned round)
{
    uint64_t ram = machine_is_x86(machine) ? 0 : 1 * GiB;
    pid_t pid = start_victim(machine, link, !port->listen, options,
                             port->vm->ram);
    int64_t end;

    if (round % 4) {
        port_wait_up(port);
        end = g_get_monotonic_time() + g_test_rand_int_range(0, 30000);
    } else {
        end = g_get_monotonic_time() + g_test_rand_int_range(0, 200000);
    }
    while (g_get_monotonic_time() < end) {
        access_peer(port, ram);
    }
    kill_victim(pid);
    end = g_get_monotonic_time();
    access_peer(port, ram);
    g_assert_cmpint(g_get_monotonic_time() - end, <,
                    4 * G_TIME_SPAN_SECOND);
    port_wait_down(port);
    g_assert_cmphex(port_read(port, ram, 8), ==, ALL_ONES);
    /* one that died before it was accepted comes and goes now */
    WAIT_FOR(port_reg(port, REG_ENABLE) == 0);
    WAIT_FOR(port_stat(port, "mapped-ranges") == 0);
}

/* The next peer finds all in order. */
static void check_survivor(Port *port, Machine machine, const char *link)
{
    Vm *vm = vm_new(machine);
    Port *peer = vm_add_port(vm, link, !port->listen, NULL);

    vm_start(vm);
    port_wait_up(peer);
    port_wait_up(port);
    port_enable(peer);
    WAIT_FOR(port_reg(port, REG_ENABLE) == 1);
    vm_write(vm, vm->ram + 2 * MiB, 8, CONTENTS);
    WAIT_FOR(port_read(port, vm->ram + 2 * MiB, 8) == CONTENTS);
    port_write(peer, port->vm->ram + 2 * MiB, 8, ~CONTENTS);
    g_assert_cmphex(vm_read(port->vm, port->vm->ram + 2 * MiB, 8), ==,
                    ~CONTENTS);
    vm_free(vm);
}

static void check_killed(Machine machine, Machine victim, bool listen,
                         const char *options, unsigned rounds)
{
    static unsigned count;
    g_autofree char *link = g_strdup_printf("killed%u", count++);
    Vm *vm = vm_new(machine);
    Port *port = vm_add_port(vm, link, listen, "wait=off");
    unsigned descriptors = 0, mappings, i;

    vm_start(vm);
    port_set_reg(port, REG_ENABLE, 1);
    mappings = vm_count_mappings(vm);
    for (i = 0; i < rounds; i++) {
        lose_one(port, victim, link, options, i);
        if (i == 0) {
            descriptors = vm_count_descriptors(vm);
        }
    }
    /* a client may be about to try again */
    WAIT_FOR(vm_count_descriptors(vm) <= descriptors);
    WAIT_FOR(vm_count_mappings(vm) == mappings);
    check_survivor(port, victim, link);
    /* they have not been idle */
    g_assert_cmpint(port_stat(port, "requests-served"), >, rounds / 4);
    g_assert_cmpint(port_stat(port, "interrupts-received"), >, rounds / 4);
    g_assert_cmpint(port_stat(port, "requests-sent"), >, rounds / 4);
    vm_free(vm);
}

static void test_client_killed(const PairKind *kind)
{
    check_killed(kind->first, kind->second, true, NULL, 50);
}

static void test_link_client_killed(const PairKind *kind)
{
    check_killed(kind->first, kind->second, true, "share=off", 50);
}

static void test_server_killed(const PairKind *kind)
{
    check_killed(kind->first, kind->second, false, NULL,
                 QEMU_VERSION_MAJOR >= 10 ? 30 : 5);
}

/* --- stopped ------------------------------------------------------------- */

static void stop_process(Vm *vm)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/stat",
                                            (int)vm_pid(vm));
    const char *state;

    g_assert_cmpint(kill(vm_pid(vm), SIGSTOP), ==, 0);
    do {
        g_autofree char *text = NULL;

        g_assert(g_file_get_contents(path, &text, NULL, NULL));
        state = strrchr(text, ')');
        g_assert_nonnull(state);
        if (state[2] == 'T') {
            return;
        }
        g_usleep(500);
    } while (true);
}

static void check_monitor(Vm *vm)
{
    static const char *const commands[] = { "stop", "cont", "query-status" };
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(commands); i++) {
        QDict *response = qtest_qmp(vm->qts, "{ 'execute': %s }",
                                    commands[i]);

        g_assert(qdict_haskey(response, "return"));
        qobject_unref(response);
    }
}

/* Goes on, and comes back. */
static void continue_process(Pair *pair)
{
    uint64_t place = pair->vm[1]->ram + 2 * MiB;

    g_assert_cmpint(kill(vm_pid(pair->vm[1]), SIGCONT), ==, 0);
    vm_write(pair->vm[1], place, 8, CONTENTS);
    WAIT_FOR(port_read(pair->port[0], place, 8) == CONTENTS);
    WAIT_FOR(port_reg(pair->port[1], REG_ENABLE) == 1);
    place = pair->vm[0]->ram + 2 * MiB;
    vm_write(pair->vm[0], place, 8, ~CONTENTS);
    WAIT_FOR(port_read(pair->port[1], place, 8) == ~CONTENTS);
}

/* The deadline of an access, and what came after it. */
static void test_stopped(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, "request-timeout=300",
                          "share=off");
    uint64_t place = pair->vm[1]->ram + 2 * MiB;
    int64_t start;

    pair_start(pair);
    port_write(pair->port[0], place, 8, CONTENTS);
    stop_process(pair->vm[1]);
    start = g_get_monotonic_time();
    g_assert_cmphex(port_read(pair->port[0], place, 8), ==, ALL_ONES);
    start = g_get_monotonic_time() - start;
    g_assert_cmpint(start, >=, 300 * 1000);
    g_assert_cmpint(start, <, 5 * G_TIME_SPAN_SECOND);
    g_assert_false(port_is_up(pair->port[0]));
    /* the next one does not wait for it again */
    start = g_get_monotonic_time();
    g_assert_cmphex(port_read(pair->port[0], place, 8), ==, ALL_ONES);
    g_assert_cmpint(g_get_monotonic_time() - start, <, 250 * 1000);
    check_monitor(pair->vm[0]);
    continue_process(pair);
    pair_free(pair);
}

/* A change of the memory map goes on without the peer. */
static void test_stopped_in_change(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, "map-change-timeout=300",
                          NULL);
    uint64_t bar = vm_low_pci(pair->vm[0]);
    QPCIDevice *shm;
    int64_t start;

    vm_add_args(pair->vm[0], "-object memory-backend-memfd,id=shm,size=1M,"
                "share=on -device ivshmem-plain,memdev=shm,addr=%x",
                SHM_SLOT);
    pair_start(pair);
    shm = vm_map_pci(pair->vm[0], SHM_SLOT, 2, true, bar);
    port_write(pair->port[1], bar, 8, CONTENTS);
    g_assert(port_has_range(pair->port[1], bar, 1 * MiB, "rw"));
    stop_process(pair->vm[1]);
    start = g_get_monotonic_time();
    qpci_config_writew(shm, PCI_COMMAND, 0);
    start = g_get_monotonic_time() - start;
    g_assert_cmpint(start, >=, 300 * 1000);
    g_assert_cmpint(start, <, 5 * G_TIME_SPAN_SECOND);
    g_assert_cmphex(vm_read(pair->vm[0], bar, 8), !=, CONTENTS);
    WAIT_FOR(!port_is_up(pair->port[0]));
    check_monitor(pair->vm[0]);
    continue_process(pair);
    g_assert_cmphex(port_read(pair->port[1], bar, 8), ==, ALL_ONES);
    g_free(shm);
    pair_free(pair);
}

void add_loss_tests(void)
{
    add_pair_test("loss/client-killed", test_client_killed);
    add_pair_test("loss/link-client-killed", test_link_client_killed);
    add_pair_test("loss/server-killed", test_server_killed);
    add_pair_test("loss/stopped", test_stopped);
    add_pair_test("loss/stopped-in-change", test_stopped_in_change);
}
