/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory that is mapped before anybody touches it, and polling.
 */
#include "qemu/osdep.h"
#include <sched.h>
#include "memexpose-vm.h"

#define LOW_END      0xc0000ULL         /* of a PC's RAM, behind it ROM */
#define HIGH_START   0x100000ULL        /* where it goes on */
#define CONTENTS     0x600dc0ffee0ddf00ULL

/* --- at the beginning ---------------------------------------------------- */

/* All of the RAM of the machine @to. */
static bool has_all_ram(Port *from, Vm *to)
{
    if (machine_is_x86(to->machine)) {
        return port_has_range(from, 0, LOW_END, "rw") &&
               port_has_range(from, HIGH_START, to->ram_size - HIGH_START,
                              "rw");
    }
    return port_has_range(from, to->ram, to->ram_size, "rw");
}

static void check_untouched(Port *from, Vm *to)
{
    WAIT_FOR(has_all_ram(from, to));
    g_assert_cmpint(port_stat(from, "offers-received"), >, 0);
    g_assert_cmpint(port_stat(from, "offers-received"), ==,
                    port_stat(from, "shares-received"));
    g_assert_cmpint(port_stat(&to->ports[0], "offers-sent"), ==,
                    port_stat(from, "offers-received"));
    g_assert_cmpint(port_stat(from, "requests-sent"), ==, 0);
}

static void check_access(Port *from, Vm *to)
{
    uint64_t address;

    for (address = to->ram + 2 * MiB; address < to->ram + to->ram_size;
         address += 7 * MiB) {
        port_write(from, address, 8, CONTENTS + address);
        g_assert_cmphex(vm_read(to, address, 8), ==, CONTENTS + address);
        g_assert_cmphex(port_read(from, address, 8), ==, CONTENTS + address);
    }
    g_assert_cmpint(port_stat(from, "requests-sent"), ==, 0);
}

static void test_before_access(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, "push=on", "push=on");
    unsigned i;

    pair_start(pair);
    for (i = 0; i < 2; i++) {
        check_untouched(pair->port[i], pair->vm[!i]);
    }
    for (i = 0; i < 2; i++) {
        check_access(pair->port[i], pair->vm[!i]);
        g_assert_cmpint(port_stat(pair->port[i], "violations"), ==, 0);
    }
    pair_free(pair);
}

/* Before the guest of the importing machine enables its device, as well. */
static void test_not_enabled(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, "push=on", "push=on");

    vm_start(pair->vm[0]);
    vm_start(pair->vm[1]);
    check_untouched(pair->port[0], pair->vm[1]);
    check_untouched(pair->port[1], pair->vm[0]);
    pair_free(pair);
}

/* --- in one step --------------------------------------------------------- */

/* The line behind @line that has @word in it. */
static const char *find_line(const char *line, const char *word)
{
    const char *found = strstr(line, word);

    if (!found) {
        g_error("'%s' is not in: %s", word, line);
    }
    return found;
}

/* Both ranges of a PC's RAM, and no commit between them. */
static void test_one_step(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, "push=on", "push=on");
    g_autofree char *text = NULL;
    char *begin, *end;

    pair->vm[1]->traced = true;
    vm_add_args(pair->vm[1], "-trace memexpose_map "
                "-trace memexpose_map_change -trace memexpose_update");
    pair_start(pair);
    WAIT_FOR(has_all_ram(pair->port[1], pair->vm[0]));
    g_assert(g_file_get_contents(pair->vm[1]->log, &text, NULL, NULL));
    begin = (char *)find_line(text, "memexpose_update ");
    end = (char *)find_line(begin + 1, "memexpose_update ");
    find_line(end, "memexpose_map_change begin");
    *end = '\0';
    g_assert_null(strstr(begin, "memexpose_map_change "));
    find_line(begin, ": begin 1\n");
    find_line(begin, ": 0x0 size 0xc0000 ");
    find_line(begin, ": 0x100000 size ");
    pair_free(pair);
}

/* --- what is not pushed -------------------------------------------------- */

/* Nothing comes by itself; as soon as it does, all of it has come. */
static void check_nothing(Pair *pair, unsigned importer, bool shared)
{
    Port *port = pair->port[importer];
    Vm *peer = pair->vm[!importer];

    port_write(port, peer->ram + 2 * MiB, 8, CONTENTS);
    g_assert_cmphex(vm_read(peer, peer->ram + 2 * MiB, 8), ==, CONTENTS);
    g_assert_cmpint(port_stat(port, "requests-sent"), ==, 1);
    g_assert_cmpint(port_stat(port, "offers-received"), ==, 0);
    g_assert_cmpint(port_stat(port, "shares-received"), ==, shared);
    g_assert_cmpint(port_stat(port, "mapped-ranges"), ==, shared);
}

static void check_options(const PairKind *kind, const char *first,
                          const char *second, bool ram_shared, bool shared)
{
    Pair *pair = pair_new(kind->first, kind->second, first, second);

    pair->vm[0]->ram_shared = ram_shared;
    pair_start(pair);
    check_nothing(pair, 1, shared);
    pair_free(pair);
}

static void test_not_pushed(const PairKind *kind)
{
    check_options(kind, NULL, NULL, true, true);
    check_options(kind, "push=on", "push=off", true, true);
    check_options(kind, "push=off", "push=on", true, true);
    check_options(kind, "push=on,hello=off", "push=on,hello=off", true, true);
    check_options(kind, "push=on,share=off", "push=on", true, false);
    check_options(kind, "push=on", "push=on", false, false);
}

/* Of an object that is exported in part nothing is. */
static void test_part(const PairKind *kind)
{
    uint64_t ram = machine_is_x86(kind->first) ? 0 : 1 * GiB;
    g_autofree char *half = g_strdup_printf("push=on,export-base=%" PRIu64
                                            ",export-size=32M", ram);
    g_autofree char *all = g_strdup_printf("push=on,export-base=%" PRIu64
                                           ",export-size=64M", ram);
    Pair *pair;

    check_options(kind, half, "push=on", true, false);
    if (!machine_is_x86(kind->first)) {
        /* on a PC ROM hides some of it */
        pair = pair_new(kind->first, kind->second, all, "push=on");
        pair_start(pair);
        check_untouched(pair->port[1], pair->vm[0]);
        pair_free(pair);
    }
}

/* --- polling ------------------------------------------------------------- */

/* With only one, nobody polls. */
static bool has_processors(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof(set), &set) != 0 ||
           CPU_COUNT(&set) > 1;
}

static void check_polling(const PairKind *kind, const char *options,
                          bool polls)
{
    Pair *pair = pair_new(kind->first, kind->second, "share=off", options);
    Port *port = pair->port[1];
    uint64_t place = pair->vm[0]->ram + 2 * MiB;
    unsigned i;

    pair_start(pair);
    for (i = 0; i < 1000; i++) {
        port_write(port, place, 8, CONTENTS + i);
        g_assert_cmphex(port_read(port, place, 8), ==, CONTENTS + i);
    }
    g_assert_cmpint(port_stat(port, "requests-sent"), ==, 2000);
    g_assert(polls == (port_stat(port, "polls") > 0));
    g_assert(polls == (port_stat(port, "poll-time") > 0));
    g_assert(polls == (port_stat(port, "poll-hits") +
                       port_stat(port, "poll-misses") > 0));
    g_assert_cmpint(port_stat(pair->port[0], "polls"), ==, 0);
    pair_free(pair);
}

static void test_polling(const PairKind *kind)
{
    bool can = has_processors();

    check_polling(kind, "poll-ns=0", false);
    check_polling(kind, "poll-ns=50000", can);
    check_polling(kind, "poll-ns=1000000000", can);
}

/* The largest of a machine's devices counts, as long as it is there. */
static void test_largest(void)
{
    static const char *const options[] = {
        "poll-ns=100", "poll-ns=300", "poll-ns=200",
    };
    Vm *vm = vm_new(MACHINE_PC);
    g_autofree char *text = NULL;
    const char *at;
    unsigned i;

    vm->traced = true;
    vm_add_args(vm, "-trace memexpose_polling");
    for (i = 0; i < ARRAY_SIZE(options); i++) {
        g_autofree char *link = g_strdup_printf("largest%u", i);

        vm_add_port(vm, link, true, options[i]);
    }
    vm_start(vm);
    qpci_unplug_acpi_device_test(vm->qts, vm->ports[1].id, vm->ports[1].slot);
    g_assert(g_file_get_contents(vm->log, &text, NULL, NULL));
    at = find_line(text, "memexpose_polling 100 ns");
    at = find_line(at, "memexpose_polling 300 ns");
    at = find_line(at + 1, "memexpose_polling 300 ns");
    find_line(at, "memexpose_polling 200 ns");
    vm_free(vm);
}

void add_push_tests(void)
{
    add_pair_test("push/before-access", test_before_access);
    add_pair_test("push/not-enabled", test_not_enabled);
    add_pc_pair_test("push/one-step", test_one_step);
    add_pair_test("push/not-pushed", test_not_pushed);
    add_pair_test("push/part", test_part);
    add_pair_test("polling/off-and-on", test_polling);
    if (g_str_equal(qtest_get_arch(), "x86_64")) {
        qtest_add_func("memexpose/polling/largest", test_largest);
    }
}
