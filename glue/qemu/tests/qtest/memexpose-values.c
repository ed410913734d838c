/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bad values: QEMU ends with status 1 and one line that names them.
 */
#include "qemu/osdep.h"
#include "memexpose-vm.h"

#define CHARDEVS                                                        \
    "-chardev socket,id=x-mem,path=@/mem,server=on,wait=off "           \
    "-chardev socket,id=x-intr,path=@/intr,server=on,wait=off "
#define PCI            CHARDEVS "-device memexpose-pci,mem_chardev=x-mem,"  \
                   "intr_chardev=x-intr,shm_size=64M"

typedef struct BadValue {
    const char *name;
    const char *args;           /* "@" is a directory */
    const char *expected[2];    /* words of the line */
} BadValue;

/* What both kinds of device have; they follow "PROPERTY=". */
static const BadValue both[] = {
    { "hello", "maybe", { "hello=maybe", "expected one of on, off" } },
    { "hello", "", { "hello=", "expected one of on, off" } },
    { "subpriority", "2", { "subpriority=2", "expected one of auto, 0, 1" } },
    { "seals", "no", { "seals=no", "expected one of prefer, require" } },
    { "share", "maybe", { "share", "'on' or 'off'" } },
    { "push", "maybe", { "push", "'on' or 'off'" } },
    { "block", "64K", { "block", "'on' or 'off'" } },
    { "poll-ns", "1000000001", { "poll-ns=1000000001",
      "expected at most 1000000000" } },
    { "poll-ns", "4294967296", { "poll-ns" } },
    { "poll-ns", "-1", { "poll-ns" } },
    { "poll-ns", "50us", { "poll-ns" } },
    { "wait", "2", { "wait", "'on' or 'off'" } },
    { "export-readonly", "x", { "export-readonly", "'on' or 'off'" } },
    { "request-timeout", "0", { "request-timeout=0", "expected" } },
    { "request-timeout", "-1", { "request-timeout" } },
    { "request-timeout", "5s", { "request-timeout" } },
    { "map-change-timeout", "0", { "map-change-timeout=0", "expected" } },
    { "map-change-timeout", "x", { "map-change-timeout" } },
    { "connect-timeout", "4294967296", { "connect-timeout" } },
    { "connect-timeout", "never", { "connect-timeout" } },
    { "max-ranges", "many", { "max-ranges" } },
    { "export-base", "low", { "export-base" } },
    { "export-size", "big", { "export-size" } },
    { "address-space", "other", { "address-space=other",
      "expected system or secure" } },
    { "address-space", "secure", { "address-space=secure",
      "no secure memory" } },
    { "name", "012345678901234567890123456789012", { "name=0123",
      "at most 32" } },
    { "colour", "red", { "colour" } },
};

static const BadValue pci[] = {
    { "no-mem", CHARDEVS "-device memexpose-pci,intr_chardev=x-intr,"
      "shm_size=64M", { "mem_chardev is missing", "expected" } },
    { "no-intr", CHARDEVS "-device memexpose-pci,mem_chardev=x-mem,"
      "shm_size=64M", { "intr_chardev is missing", "expected" } },
    { "unknown-chardev", CHARDEVS "-device memexpose-pci,mem_chardev=y,"
      "intr_chardev=x-intr,shm_size=64M", { "mem_chardev", "'y'" } },
    { "one-chardev", CHARDEVS "-device memexpose-pci,mem_chardev=x-mem,"
      "intr_chardev=x-mem,shm_size=64M", { "intr_chardev", "x-mem" } },
    { "null-chardev", CHARDEVS "-chardev null,id=n -device memexpose-pci,"
      "mem_chardev=n,intr_chardev=x-intr,shm_size=64M",
      { "mem_chardev=n", "expected a socket" } },
    { "file-chardev", CHARDEVS "-chardev file,id=n,path=@/file "
      "-device memexpose-pci,mem_chardev=x-mem,intr_chardev=n,shm_size=64M",
      { "intr_chardev=n", "expected a socket" } },
    { "telnet", CHARDEVS "-chardev socket,id=n,host=127.0.0.1,port=0,"
      "telnet=on,server=on,wait=off -device memexpose-pci,mem_chardev=n,"
      "intr_chardev=x-intr,shm_size=64M", { "mem_chardev=n", "telnet" } },
    { "websocket", CHARDEVS "-chardev socket,id=n,host=127.0.0.1,port=0,"
      "websocket=on,server=on,wait=off -device memexpose-pci,mem_chardev=n,"
      "intr_chardev=x-intr,shm_size=64M", { "mem_chardev=n", "websocket" } },
    { "no-size", CHARDEVS "-device memexpose-pci,mem_chardev=x-mem,"
      "intr_chardev=x-intr", { "shm_size is missing", "expected" } },
    { "size-0", PCI ",shm_size=0", { "shm_size", "expected" } },
    { "size-3m", PCI ",shm_size=3M", { "shm_size=0x300000",
      "expected a power of two" } },
    { "size-2k", PCI ",shm_size=2048", { "shm_size=0x800",
      "expected a multiple of 4096" } },
    { "size-word", PCI ",shm_size=big", { "shm_size" } },
    { "span", PCI ",export-base=0xffffffffffff0000,export-size=0x20000",
      { "export-base=0xffffffffffff0000", "below 2^64" } },
    { "msi", PCI ",msi=some", { "msi", "'on' or 'off'" } },
    { "prefetchable", PCI ",prefetchable=x", { "prefetchable",
      "'on' or 'off'" } },
};

#define PLATFORM   CHARDEVS "-machine memexpose-ep=x"

static const BadValue platform[] = {
    { "no-chardev", "-machine memexpose-ep=y,memexpose-size=64M",
      { "memexpose-ep=y", "y-mem" } },
    { "no-intr", "-chardev socket,id=z-mem,path=@/mem,server=on,wait=off "
      "-machine memexpose-ep=z,memexpose-size=64M",
      { "memexpose-ep=z", "z-intr" } },
    { "no-ep", "-machine memexpose-size=64M", { "memexpose-ep" } },
    { "no-size", PLATFORM, { "memexpose-size is missing", "expected" } },
    { "size-odd", PLATFORM ",memexpose-size=0x1801",
      { "memexpose-size=0x1801", "expected a multiple of 4096" } },
    { "size-word", PLATFORM ",memexpose-size=big", { "memexpose-size" } },
    { "size-32t", PLATFORM ",memexpose-size=32T",
      { "memexpose-size=0x200000000000" } },
    { "size-15t", PLATFORM ",memexpose-size=0xff000000000",
      { "memexpose-size=0xff000000000", "does not fit" } },
    { "small-cpu", "-cpu cortex-a53 " PLATFORM ",memexpose-size=512G",
      { "memexpose-size=0x8000000000", "does not fit" } },
    { "base-odd", PLATFORM ",memexpose-size=64M,memexpose-base=0x5000001000",
      { "memexpose-base", "64 KiB" } },
    { "base-ram", PLATFORM ",memexpose-size=64M,memexpose-base=0x40000000",
      { "memexpose-base=0x40000000", "lies at" } },
    { "base-pci", PLATFORM ",memexpose-size=64M,"
      "memexpose-base=0x8000000000", { "memexpose-base=0x8000000000",
      "lies at" } },
    { "base-high", PLATFORM ",memexpose-size=64M,"
      "memexpose-base=0x100000000000", { "memexpose-base=0x100000000000",
      "does not fit" } },
    { "base-word", PLATFORM ",memexpose-size=64M,memexpose-base=low",
      { "memexpose-base" } },
};

/* --- running ------------------------------------------------------------- */

static char *with_directory(const char *args)
{
    g_autofree char *directory = vm_path("%s", "");
    g_auto(GStrv) parts = g_strsplit(args, "@", 0);

    return g_strjoinv(directory, parts);
}

/* QEMU itself explains what a size is, behind some of its messages. */
static void check_line(const BadValue *bad, const char *text)
{
    const char *end = strchr(text, '\n');
    unsigned i;

    if (!end || (end[1] && !g_str_has_prefix(end, "\nOptional suffix"))) {
        g_error("%s: expected one line, but got: '%s'", bad->args, text);
    }
    for (i = 0; i < ARRAY_SIZE(bad->expected) && bad->expected[i]; i++) {
        if (!strstr(text, bad->expected[i])) {
            g_error("%s: expected a line with '%s', but got: %s", bad->args,
                    bad->expected[i], text);
        }
    }
}

static void check_bad(Machine machine, const BadValue *bad)
{
    g_autofree char *errors = vm_path("bad-value-errors");
    g_autofree char *args = with_directory(bad->args);
    g_autofree char *text = NULL;
    Vm *vm = vm_new(machine);
    int status;

    vm_add_args(vm, "%s", args);
    status = vm_wait_spawned(vm_spawn(vm, NULL, errors));
    vm_free(vm);
    g_assert(g_file_get_contents(errors, &text, NULL, NULL));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 1) {
        g_error("%s: expected exit status 1, but got 0x%x and: %s", args,
                status, text);
    }
    check_line(bad, text);
}

static void check_all(Machine machine, const BadValue *values, unsigned count)
{
    unsigned i;

    for (i = 0; i < count; i++) {
        check_bad(machine, &values[i]);
    }
}

/* Each property that both have, in the words of one of them. */
static void check_both(Machine machine, const char *before)
{
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(both); i++) {
        BadValue bad = both[i];
        g_autofree char *args = g_strdup_printf("%s%s=%s", before, bad.name,
                                                bad.args);

        bad.args = args;
        check_bad(machine, &bad);
    }
}

static void test_pc(void)
{
    check_all(MACHINE_PC, pci, ARRAY_SIZE(pci));
    check_both(MACHINE_PC, PCI ",");
}

static void test_virt(void)
{
    check_all(MACHINE_VIRT_PCI, pci, ARRAY_SIZE(pci));
    check_both(MACHINE_VIRT_PCI, PCI ",");
}

static void test_platform(void)
{
    check_all(MACHINE_VIRT, platform, ARRAY_SIZE(platform));
    check_both(MACHINE_VIRT, PLATFORM ",memexpose-size=64M "
               "-global memexpose-memdev.");
}

/* Each property is explained. */
static void check_help(Machine machine)
{
    static const char *const properties[] = {
        "mem_chardev", "intr_chardev", "shm_size", "name", "hello",
        "subpriority", "seals", "share", "push", "block", "poll-ns", "wait",
        "request-timeout", "map-change-timeout", "connect-timeout",
        "max-ranges", "export-base", "export-size", "export-readonly",
        "address-space", "msi", "prefetchable",
    };
    g_autofree char *command = g_strdup_printf("%s -device memexpose-pci,help",
                                               machine_binary(machine));
    g_autofree char *text = NULL;
    unsigned i;
    int status;

    g_assert(g_spawn_command_line_sync(command, &text, NULL, &status, NULL));
    g_assert_cmpint(status, ==, 0);
    for (i = 0; i < ARRAY_SIZE(properties); i++) {
        g_autofree char *pattern = g_strdup_printf("  %s=<[^>]*> +- [a-z]",
                                                   properties[i]);

        if (!g_regex_match_simple(pattern, text, 0, 0)) {
            g_error("%s is not explained in: %s", properties[i], text);
        }
    }
}

static void test_help(void)
{
    check_help(g_str_equal(qtest_get_arch(), "x86_64") ? MACHINE_PC :
               MACHINE_VIRT);
}

void add_value_tests(void)
{
    if (g_str_equal(qtest_get_arch(), "x86_64")) {
        qtest_add_func("memexpose/values/pc", test_pc);
    } else {
        qtest_add_func("memexpose/values/virt", test_virt);
        qtest_add_func("memexpose/values/platform", test_platform);
    }
    qtest_add_func("memexpose/values/help", test_help);
}
