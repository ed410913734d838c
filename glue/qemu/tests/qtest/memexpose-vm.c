/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Machines with memexpose devices, as the tests need them.
 */
#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include <sys/prctl.h>
#include "hw/pci/pci_regs.h"
#include "libqos/pci-pc.h"
#include "memexpose-vm.h"

#define PORT_SLOT       10              /* of the first device on PCI */
#define PORT_WINDOW     0x8000000000ULL /* where its window goes, ... */
#define PORT_DISTANCE   0x1000000000ULL /* ... and how far the next one */
#define REGS_DISTANCE   0x10000

/* --- files --------------------------------------------------------------- */

static char *directory;

uint8_t vm_rom_byte(unsigned offset)
{
    return (offset * 37 + (offset >> 8) * 11 + 5) | 0x10;
}

/* Nothing is executed: any contents will do. */
static void create_rom(void)
{
    g_autofree char *path = vm_path("rom.bin");
    g_autofree char *rom = g_malloc(VM_ROM_SIZE);
    GError *err = NULL;
    unsigned i;

    for (i = 0; i < VM_ROM_SIZE; i++) {
        rom[i] = vm_rom_byte(i);
    }
    g_file_set_contents(path, rom, VM_ROM_SIZE, &err);
    g_assert_no_error(err);
}

void vm_directory_create(void)
{
    GError *err = NULL;

    directory = g_dir_make_tmp("memexpose-XXXXXX", &err);
    g_assert_no_error(err);
    create_rom();
}

void vm_directory_remove(void)
{
    GDir *dir = g_dir_open(directory, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(directory, name, NULL);

        g_unlink(path);
    }
    g_dir_close(dir);
    g_rmdir(directory);
    g_free(directory);
}

char *vm_path(const char *fmt, ...)
{
    g_autofree char *name = NULL;
    va_list ap;

    va_start(ap, fmt);
    name = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    return g_build_filename(directory, name, NULL);
}

/* --- machines ------------------------------------------------------------ */

bool machine_is_x86(Machine machine)
{
    return machine == MACHINE_PC || machine == MACHINE_Q35;
}

const char *machine_name(Machine machine)
{
    static const char *const names[] = {
        [MACHINE_PC] = "pc",
        [MACHINE_Q35] = "q35",
        [MACHINE_VIRT] = "virt",
        [MACHINE_VIRT_PCI] = "virt-pci",
    };

    return names[machine];
}

bool machine_is_native(Machine machine)
{
    return machine_is_x86(machine) == g_str_equal(qtest_get_arch(), "x86_64");
}

/* The machine's own QEMU, or the one for the other architecture. */
static const char *binary_variable(Machine machine)
{
    return machine_is_native(machine) ? "QTEST_QEMU_BINARY" :
           "MEMEXPOSE_OTHER_QEMU_BINARY";
}

const char *machine_binary(Machine machine)
{
    return g_getenv(binary_variable(machine));
}

bool machine_available(Machine machine)
{
    return machine_binary(machine) != NULL;
}

/* --- starting ------------------------------------------------------------ */

Vm *vm_new(Machine machine)
{
    Vm *vm = g_new0(Vm, 1);

    vm->machine = machine;
    vm->ram = machine_is_x86(machine) ? 0 : 1 * GiB;
    vm->ram_size = 64 * MiB;
    vm->ram_shared = true;
    vm->reconnects = true;
    vm->window_size = 16 * GiB;
    vm->args = g_string_new("");
    vm->machine_args = g_string_new("");
    return vm;
}

static void G_GNUC_PRINTF(2, 0) append_args(GString *args, const char *fmt,
                                            va_list ap)
{
    g_string_append_vprintf(args, fmt, ap);
    g_string_append_c(args, ' ');
}

void vm_add_args(Vm *vm, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    append_args(vm->args, fmt, ap);
    va_end(ap);
}

void vm_add_machine_args(Vm *vm, const char *fmt, ...)
{
    va_list ap;

    g_string_append_c(vm->machine_args, ',');
    va_start(ap, fmt);
    g_string_append_vprintf(vm->machine_args, fmt, ap);
    va_end(ap);
}

static const char *const link_names[] = { "mem", "intr" };

/* A server on TCP takes any port that is free. */
static char *chardev_address(const Port *port, unsigned i)
{
    g_autofree char *path = NULL;

    if (port->vm->tcp) {
        return g_strdup_printf("host=127.0.0.1,port=%u", port->tcp_ports[i]);
    }
    path = vm_path("%s-%s", port->link, link_names[i]);
    return g_strdup_printf("path=%s", path);
}

static void add_chardevs(Vm *vm, const Port *port)
{
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(link_names); i++) {
        g_autofree char *address = chardev_address(port, i);

        vm_add_args(vm, "-chardev socket,id=%s-%s,%s,%s", port->id,
                    link_names[i], address,
                    port->listen ? "server=on,wait=off" :
                    vm->reconnects ? CHARDEV_RECONNECT : "server=off");
    }
}

Port *vm_add_port(Vm *vm, const char *link, bool listen, const char *options)
{
    Port *port = &vm->ports[vm->port_count];

    g_assert_cmpint(vm->port_count, <, ARRAY_SIZE(vm->ports));
    port->vm = vm;
    port->id = g_strdup_printf("port%u", vm->port_count);
    port->options = g_strdup(options ? options : "");
    port->platform = vm->machine == MACHINE_VIRT && vm->port_count == 0;
    port->slot = PORT_SLOT + vm->port_count;
    port->path = port->platform ? g_strdup("/machine/memexpose") :
                 g_strdup_printf("/machine/peripheral/%s", port->id);
    port->link = g_strdup(link);
    port->listen = listen;
    vm->port_count++;
    return port;
}

static void add_platform_args(Vm *vm, const Port *port)
{
    g_auto(GStrv) list = g_strsplit(port->options, ",", 0);
    unsigned i;

    vm_add_machine_args(vm, "memexpose-ep=%s,memexpose-size=0x%" PRIx64,
                        port->id, vm->window_size);
    for (i = 0; list[i]; i++) {
        vm_add_args(vm, "-global memexpose-memdev.%s", list[i]);
    }
}

static void add_pci_args(Vm *vm, const Port *port)
{
    vm_add_args(vm, "-device memexpose-pci,id=%s,addr=%x,"
                "mem_chardev=%s-mem,intr_chardev=%s-intr,"
                "shm_size=0x%" PRIx64 "%s%s", port->id, port->slot,
                port->id, port->id, vm->window_size, *port->options ? "," :
                "", port->options);
}

static void add_port_args(Vm *vm)
{
    unsigned i;

    for (i = 0; i < vm->port_count; i++) {
        const Port *port = &vm->ports[i];

        add_chardevs(vm, port);
        if (port->platform) {
            add_platform_args(vm, port);
        } else {
            add_pci_args(vm, port);
        }
    }
}

static char *ram_args(Vm *vm)
{
    if (!vm->ram_shared) {
        return g_strdup_printf("-m %" PRIu64 "M", vm->ram_size / MiB);
    }
    vm_add_machine_args(vm, "memory-backend=ram");
    return g_strdup_printf("-m %" PRIu64 "M -object memory-backend-memfd,"
                           "id=ram,size=%" PRIu64 "M,share=on",
                           vm->ram_size / MiB, vm->ram_size / MiB);
}

static char *trace_args(Vm *vm)
{
    if (!vm->traced) {
        return g_strdup("");
    }
    vm->log = vm_path("%s-%p.log", machine_name(vm->machine), vm);
    return g_strdup_printf("-trace memexpose_window_read "
                           "-trace memexpose_window_write -D %s", vm->log);
}

static char *machine_args(Vm *vm)
{
    if (machine_is_x86(vm->machine)) {
        g_autofree char *rom = vm_path("rom.bin");

        return g_strdup_printf("-machine %s%s -bios %s "
                               "-global apic-common.vapic=off",
                               machine_name(vm->machine),
                               vm->machine_args->str, rom);
    }
    return g_strdup_printf("-machine virt%s -cpu cortex-a57",
                           vm->machine_args->str);
}

static char *all_args(Vm *vm)
{
    g_autofree char *machine = NULL;
    g_autofree char *ram = ram_args(vm);
    g_autofree char *trace = trace_args(vm);

    add_port_args(vm);
    machine = machine_args(vm);
    return g_strdup_printf("-nodefaults -vga none %s %s %s %s", machine, ram,
                           trace, vm->args->str);
}

static void find_buses(Vm *vm)
{
    if (machine_is_x86(vm->machine)) {
        vm->bus = qpci_new_pc(vm->qts, NULL);
    } else {
        qpci_init_generic(&vm->generic_bus, vm->qts, NULL, false);
        vm->bus = &vm->generic_bus.bus;
    }
}

void vm_start(Vm *vm)
{
    g_autofree char *args = NULL;
    unsigned i;

    vm->pid_file = vm_path("%p.pid", vm);
    vm_add_args(vm, "-pidfile %s", vm->pid_file);
    args = all_args(vm);
    vm->qts = start_qemu(binary_variable(vm->machine), args);
    find_buses(vm);
    for (i = 0; i < vm->port_count; i++) {
        port_map(&vm->ports[i]);
    }
}

void vm_free(Vm *vm)
{
    unsigned i;

    if (!vm) {
        return;
    }
    if (vm->qts) {
        qtest_quit(vm->qts);
    }
    for (i = 0; i < vm->port_count; i++) {
        g_free(vm->ports[i].pci);
        g_free(vm->ports[i].id);
        g_free(vm->ports[i].path);
        g_free(vm->ports[i].options);
        g_free(vm->ports[i].link);
    }
    if (vm->bus && vm->bus != &vm->generic_bus.bus) {
        qpci_free_pc(vm->bus);
    }
    if (vm->log) {
        g_unlink(vm->log);
    }
    g_string_free(vm->args, true);
    g_string_free(vm->machine_args, true);
    g_free(vm->pid_file);
    g_free(vm->log);
    g_free(vm);
}

pid_t vm_pid(Vm *vm)
{
    g_autofree char *text = NULL;

    g_assert(g_file_get_contents(vm->pid_file, &text, NULL, NULL));
    return g_ascii_strtoll(text, NULL, 10);
}

unsigned vm_count_descriptors(Vm *vm)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", (int)vm_pid(vm));
    GDir *dir = g_dir_open(path, 0, NULL);
    unsigned count = 0;

    g_assert_nonnull(dir);
    while (g_dir_read_name(dir)) {
        count++;
    }
    g_dir_close(dir);
    return count;
}

unsigned vm_count_mappings(Vm *vm)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/maps",
                                            (int)vm_pid(vm));
    g_autofree char *text = NULL;
    unsigned count = 0;
    char *at;

    g_assert(g_file_get_contents(path, &text, NULL, NULL));
    for (at = text; (at = strstr(at, "/memfd:")); at++) {
        count++;
    }
    return count;
}

/* --- without libqtest ---------------------------------------------------- */

static void redirect(int fd, const char *path, int flags)
{
    int file = open(path, flags, 0600);

    if (file < 0 || dup2(file, fd) < 0) {
        _exit(99);
    }
    close(file);
}

pid_t vm_spawn(Vm *vm, const char *script, const char *errors)
{
    g_autofree char *args = all_args(vm);
    g_autofree char *command = g_strdup_printf(
        "exec %s -qtest stdio -qtest-log /dev/null -display none %s "
        "-accel qtest", machine_binary(vm->machine), args);
    pid_t parent = getpid(), pid = fork();

    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) {
            _exit(99);
        }
        redirect(0, script ? script : "/dev/null", O_RDONLY);
        redirect(1, "/dev/null", O_WRONLY);
        redirect(2, errors, O_WRONLY | O_CREAT | O_TRUNC);
        execlp("/bin/sh", "sh", "-c", command, NULL);
        _exit(99);
    }
    return pid;
}

int vm_wait_spawned(pid_t pid)
{
    int64_t end = g_get_monotonic_time() + WAIT_SECONDS * G_TIME_SPAN_SECOND;
    int status;

    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (g_get_monotonic_time() >= end) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            break;
        }
        g_usleep(1000);
    }
    return status;
}

/* --- accesses ------------------------------------------------------------ */

uint64_t vm_read(Vm *vm, uint64_t address, unsigned size)
{
    switch (size) {
    case 1:
        return qtest_readb(vm->qts, address);
    case 2:
        return qtest_readw(vm->qts, address);
    case 4:
        return qtest_readl(vm->qts, address);
    default:
        return qtest_readq(vm->qts, address);
    }
}

void vm_write(Vm *vm, uint64_t address, unsigned size, uint64_t value)
{
    switch (size) {
    case 1:
        qtest_writeb(vm->qts, address, value);
        break;
    case 2:
        qtest_writew(vm->qts, address, value);
        break;
    case 4:
        qtest_writel(vm->qts, address, value);
        break;
    default:
        qtest_writeq(vm->qts, address, value);
        break;
    }
}

uint64_t port_read(Port *port, uint64_t address, unsigned size)
{
    return vm_read(port->vm, port->window + address, size);
}

void port_write(Port *port, uint64_t address, unsigned size, uint64_t value)
{
    vm_write(port->vm, port->window + address, size, value);
}

uint64_t port_reg(Port *port, unsigned reg)
{
    return vm_read(port->vm, port->regs + reg, 8);
}

void port_set_reg(Port *port, unsigned reg, uint64_t value)
{
    vm_write(port->vm, port->regs + reg, 8, value);
}

int port_last_result(Port *port)
{
    g_autofree char *text = NULL;
    const char *last;
    int ret;

    g_assert_nonnull(port->vm->log);
    g_assert(g_file_get_contents(port->vm->log, &text, NULL, NULL));
    last = g_strrstr(text, " ret ");
    g_assert_nonnull(last);
    ret = atoi(last + strlen(" ret "));
    return ret < 0 ? RESULT_ERROR : ret;
}

/* --- PCI ----------------------------------------------------------------- */

uint64_t vm_low_pci(Vm *vm)
{
    return machine_is_x86(vm->machine) ? 0xe8000000 : 0x18000000;
}

static void set_bar(QPCIDevice *dev, int bar, bool wide, uint64_t address)
{
    qpci_config_writel(dev, PCI_BASE_ADDRESS_0 + 4 * bar, address);
    if (wide) {
        qpci_config_writel(dev, PCI_BASE_ADDRESS_0 + 4 * bar + 4,
                           address >> 32);
    }
}

static void enable_pci(QPCIDevice *dev)
{
    qpci_config_writew(dev, PCI_COMMAND, PCI_COMMAND_MEMORY |
                       PCI_COMMAND_MASTER);
}

static QPCIDevice *find_pci(Vm *vm, int slot)
{
    QPCIDevice *dev = qpci_device_find(vm->bus, QPCI_DEVFN(slot, 0));

    g_assert_nonnull(dev);
    return dev;
}

QPCIDevice *vm_map_pci(Vm *vm, int slot, int bar, bool wide, uint64_t address)
{
    QPCIDevice *dev = find_pci(vm, slot);

    set_bar(dev, bar, wide, address);
    enable_pci(dev);
    return dev;
}

/* --- ports --------------------------------------------------------------- */

static QObject *qom_get(QTestState *qts, const char *path,
                        const char *property)
{
    QDict *response = qtest_qmp(qts, "{ 'execute': 'qom-get', 'arguments': {"
                                " 'path': %s, 'property': %s } }", path,
                                property);
    QObject *value = qdict_get(response, "return");

    if (!value) {
        g_error("%s has no %s", path, property);
    }
    qobject_ref(value);
    qobject_unref(response);
    return value;
}

static uint64_t qom_get_number(QTestState *qts, const char *path,
                               const char *property)
{
    QObject *value = qom_get(qts, path, property);
    uint64_t number = qnum_get_uint(qobject_to(QNum, value));

    qobject_unref(value);
    return number;
}

static void find_platform(Port *port)
{
    QTestState *qts = port->vm->qts;

    port->regs = qom_get_number(qts, "/machine/memexpose/memexpose-regs[0]",
                                "addr");
    port->window = qom_get_number(qts,
                                  "/machine/memexpose/memexpose-window[0]",
                                  "addr");
}

void port_unmap(Port *port)
{
    g_free(port->pci);
    port->pci = NULL;
}

void port_map(Port *port)
{
    unsigned i = port - port->vm->ports;

    if (port->platform) {
        find_platform(port);
        return;
    }
    port_unmap(port);
    port->pci = find_pci(port->vm, port->slot);
    port->regs = (machine_is_x86(port->vm->machine) ? 0xe0000000 :
                  0x10000000) + i * REGS_DISTANCE;
    port->window = PORT_WINDOW + i * PORT_DISTANCE;
    set_bar(port->pci, 0, false, port->regs);
    set_bar(port->pci, 1, true, port->window);
    enable_pci(port->pci);
}

void port_move_window(Port *port, uint64_t address)
{
    port->window = address;
    set_bar(port->pci, 1, true, address);
}

bool port_is_up(Port *port)
{
    return (port_link_state(port) & LINKS_UP) == LINKS_UP;
}

void port_wait_up(Port *port)
{
    WAIT_FOR(port_is_up(port));
}

void port_wait_down(Port *port)
{
    WAIT_FOR((port_link_state(port) & LINKS_UP) == 0);
}

/* The main loop alone can connect: under QTest a client does not wait. */
void port_enable(Port *port)
{
    port_set_reg(port, REG_ENABLE, 1);
    if (!port->listen) {
        WAIT_FOR(port_reg(port, REG_ENABLE) == 1);
    }
    g_assert_cmpint(port_reg(port, REG_ENABLE), ==, 1);
}

/* "disconnected:tcp:127.0.0.1:PORT,server=on" */
static uint16_t chardev_port(const QDict *chardev)
{
    const char *text = g_strrstr(qdict_get_str(chardev, "filename"), ":");

    g_assert_nonnull(text);
    return g_ascii_strtoull(text + 1, NULL, 10);
}

void port_connect_tcp(Port *port, Port *peer)
{
    QDict *response = qtest_qmp(peer->vm->qts,
                                "{ 'execute': 'query-chardev' }");
    const QListEntry *entry;
    unsigned i;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(response, "return"), entry) {
        QDict *chardev = qobject_to(QDict, qlist_entry_obj(entry));

        for (i = 0; i < ARRAY_SIZE(link_names); i++) {
            g_autofree char *id = g_strdup_printf("%s-%s", peer->id,
                                                  link_names[i]);

            if (g_str_equal(qdict_get_str(chardev, "label"), id)) {
                port->tcp_ports[i] = chardev_port(chardev);
            }
        }
    }
    qobject_unref(response);
    g_assert_cmpint(port->tcp_ports[0], !=, 0);
    g_assert_cmpint(port->tcp_ports[1], !=, 0);
}

/* --- what the device tells ----------------------------------------------- */

uint64_t port_link_state(Port *port)
{
    return qom_get_number(port->vm->qts, port->path, "link-state");
}

uint64_t port_stat(Port *port, const char *name)
{
    QObject *stats = qom_get(port->vm->qts, port->path, "stats");
    QDict *counters = qobject_to(QDict, stats);
    uint64_t value;

    g_assert(qdict_haskey(counters, name));
    value = qnum_get_uint(qobject_to(QNum, qdict_get(counters, name)));
    qobject_unref(stats);
    return value;
}

char *port_peer_name(Port *port)
{
    QObject *name = qom_get(port->vm->qts, port->path, "peer-name");
    char *text = g_strdup(qstring_get_str(qobject_to(QString, name)));

    qobject_unref(name);
    return text;
}

bool port_has_range(Port *port, uint64_t start, uint64_t size,
                    const char *rights)
{
    g_autofree char *wanted = g_strdup_printf("0x%" PRIx64 " 0x%" PRIx64
                                              " %s", start, size, rights);
    QObject *ranges = qom_get(port->vm->qts, port->path, "ranges");
    const QListEntry *entry;
    bool found = false;

    QLIST_FOREACH_ENTRY(qobject_to(QList, ranges), entry) {
        QString *range = qobject_to(QString, qlist_entry_obj(entry));

        found = found || g_str_equal(qstring_get_str(range), wanted);
    }
    qobject_unref(ranges);
    return found;
}
