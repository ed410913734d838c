/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pairs of machines, and which of them each test is for.
 */
#include "qemu/osdep.h"
#include "memexpose-vm.h"

/* --- pairs --------------------------------------------------------------- */

/* Sockets of their own for each link: a late end does not meet a new one. */
static char *new_link(void)
{
    static unsigned count;

    return g_strdup_printf("link%u", count++);
}

Pair *pair_new(Machine first, Machine second, const char *first_options,
               const char *second_options)
{
    g_autofree char *link = new_link();
    Pair *pair = g_new0(Pair, 1);

    pair->vm[0] = vm_new(first);
    pair->vm[1] = vm_new(second);
    pair->port[0] = vm_add_port(pair->vm[0], link, true, first_options);
    pair->port[1] = vm_add_port(pair->vm[1], link, false, second_options);
    return pair;
}

void pair_start(Pair *pair)
{
    vm_start(pair->vm[0]);
    vm_start(pair->vm[1]);
    port_wait_up(pair->port[0]);
    port_wait_up(pair->port[1]);
    port_enable(pair->port[0]);
    port_enable(pair->port[1]);
}

void pair_free(Pair *pair)
{
    vm_free(pair->vm[1]);
    vm_free(pair->vm[0]);
    g_free(pair);
}

/* --- which tests --------------------------------------------------------- */

static const PairKind kinds[] = {
    { MACHINE_PC, MACHINE_Q35 },
    { MACHINE_Q35, MACHINE_PC },
    { MACHINE_PC, MACHINE_VIRT },
    { MACHINE_VIRT, MACHINE_PC },
    { MACHINE_VIRT, MACHINE_VIRT_PCI },
    { MACHINE_VIRT_PCI, MACHINE_VIRT },
};

typedef struct PairTest {
    void (*fn)(const PairKind *kind);
    const PairKind *kind;
} PairTest;

static void run_pair_test(const void *opaque)
{
    const PairTest *test = opaque;

    if (!machine_available(test->kind->first) ||
        !machine_available(test->kind->second)) {
        g_test_skip("no MEMEXPOSE_OTHER_QEMU_BINARY: the QEMU of the other "
                    "architecture");
        return;
    }
    test->fn(test->kind);
}

static void add_for(const char *name, void (*fn)(const PairKind *kind),
                    const PairKind *kind)
{
    g_autofree char *path = g_strdup_printf("memexpose/%s/%s-%s", name,
                                            machine_name(kind->first),
                                            machine_name(kind->second));
    PairTest *test = g_new(PairTest, 1);

    test->fn = fn;
    test->kind = kind;
    qtest_add_data_func_full(path, test, run_pair_test, g_free);
}

/* A mixed pair belongs to both architectures. */
void add_pair_test(const char *name, void (*fn)(const PairKind *kind))
{
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (machine_is_native(kinds[i].first) ||
            machine_is_native(kinds[i].second)) {
            add_for(name, fn, &kinds[i]);
        }
    }
}

void add_pc_pair_test(const char *name, void (*fn)(const PairKind *kind))
{
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (machine_is_native(kinds[i].first) &&
            machine_is_x86(kinds[i].first)) {
            add_for(name, fn, &kinds[i]);
        }
    }
}
