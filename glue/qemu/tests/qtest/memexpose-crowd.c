/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Many at a time: both machines of a pair, several devices of one machine,
 * three machines in a ring.
 */
#include "qemu/osdep.h"
#include "memexpose-vm.h"

#define ROUNDS       10000
#define RING_ROUNDS  2000
#define RING_SIZE    3

/* --- one that works through a port --------------------------------------- */

/* A machine's accesses come one after the other: it has one worker. */
typedef struct Worker {
    Port *ports[2];             /* used in turn */
    uint64_t places[2];         /* in the memory of their peers */
    unsigned count;
    unsigned rounds;
    unsigned wrong;
    GThread *thread;
} Worker;

static bool one_round(Port *port, uint64_t place, unsigned round)
{
    uint64_t value = (round + 1) * 0x9e3779b97f4a7c15ULL;
    unsigned size = 1 << (round % 4);
    uint64_t address = place + (round % 256) * 8;
    uint64_t mask = size == 8 ? ALL_ONES : (1ULL << (8 * size)) - 1;

    port_write(port, address, size, value & mask);
    return port_read(port, address, size) == (value & mask);
}

static gpointer work(gpointer opaque)
{
    Worker *worker = opaque;
    unsigned round;

    for (round = 0; round < worker->rounds; round++) {
        unsigned i = round % worker->count;

        if (!one_round(worker->ports[i], worker->places[i], round)) {
            worker->wrong++;
        }
    }
    return NULL;
}

static void add_work(Worker *worker, Port *port, uint64_t place)
{
    worker->ports[worker->count] = port;
    worker->places[worker->count] = place;
    worker->count++;
}

static void run_workers(Worker *workers, unsigned count)
{
    unsigned i;

    for (i = 0; i < count; i++) {
        workers[i].thread = g_thread_new("worker", work, &workers[i]);
    }
    for (i = 0; i < count; i++) {
        g_thread_join(workers[i].thread);
    }
    for (i = 0; i < count; i++) {
        g_assert_cmpint(workers[i].wrong, ==, 0);
    }
}

static void expect_peace(Port *port)
{
    g_assert(port_is_up(port));
    g_assert_cmpint(port_stat(port, "violations"), ==, 0);
    g_assert_cmpint(port_link_state(port) >> 32, ==, 1);
}

/* --- a pair -------------------------------------------------------------- */

static void check_both_at_once(Pair *pair)
{
    Worker workers[2] = { 0 };
    unsigned i;

    for (i = 0; i < 2; i++) {
        add_work(&workers[i], pair->port[i], pair->vm[!i]->ram + 5 * MiB);
        workers[i].rounds = ROUNDS;
    }
    run_workers(workers, 2);
    for (i = 0; i < 2; i++) {
        expect_peace(pair->port[i]);
    }
}

static void test_both_direct(const PairKind *kind)
{
    Pair *pair = pair_new(kind->first, kind->second, NULL, NULL);

    pair_start(pair);
    check_both_at_once(pair);
    g_assert_cmpint(port_stat(pair->port[0], "mapped-ranges"), >, 0);
    g_assert_cmpint(port_stat(pair->port[1], "mapped-ranges"), >, 0);
    pair_free(pair);
}

static void check_both_link(const PairKind *kind, const char *first,
                            const char *second)
{
    Pair *pair = pair_new(kind->first, kind->second, first, second);
    unsigned i;

    pair_start(pair);
    check_both_at_once(pair);
    for (i = 0; i < 2; i++) {
        g_assert_cmpint(port_stat(pair->port[i], "requests-sent"), >=,
                        2 * ROUNDS);
    }
    pair_free(pair);
}

static void test_both_link(const PairKind *kind)
{
    check_both_link(kind, "share=off", "share=off");
}

/* Base protocol: sub-priorities go by who listens. */
static void test_both_base(const PairKind *kind)
{
    check_both_link(kind, "share=off,hello=off", "share=off,hello=off");
}

static void test_both_swapped(const PairKind *kind)
{
    check_both_link(kind, "share=off,subpriority=1",
                    "share=off,subpriority=0");
}

/* --- two devices of one machine ------------------------------------------ */

static void check_two_devices(const PairKind *kind, const char *options)
{
    Vm *middle = vm_new(kind->first), *vm[2];
    Port *inner[2], *outer[2];
    Worker workers[3] = { 0 };
    unsigned i;

    for (i = 0; i < 2; i++) {
        g_autofree char *link = g_strdup_printf("two-%u", i);

        inner[i] = vm_add_port(middle, link, true, options);
        vm[i] = vm_new(i ? kind->first : kind->second);
        outer[i] = vm_add_port(vm[i], link, false, options);
    }
    vm_start(middle);
    for (i = 0; i < 2; i++) {
        vm_start(vm[i]);
        port_enable(inner[i]);
        port_enable(outer[i]);
        add_work(&workers[i], outer[i], middle->ram + (2 + i) * MiB);
        add_work(&workers[2], inner[i], vm[i]->ram + 7 * MiB);
    }
    for (i = 0; i < 3; i++) {
        workers[i].rounds = RING_ROUNDS;
    }
    run_workers(workers, 3);
    for (i = 0; i < 2; i++) {
        expect_peace(inner[i]);
        expect_peace(outer[i]);
        vm_free(vm[i]);
    }
    vm_free(middle);
}

static void test_two_devices(const PairKind *kind)
{
    check_two_devices(kind, NULL);
    check_two_devices(kind, "share=off");
}

/* --- a machine that is its own peer -------------------------------------- */

static void check_own_peer(Machine machine, const char *options)
{
    Vm *vm = vm_new(machine);
    Port *server = vm_add_port(vm, "own", true, options);
    Port *client = vm_add_port(vm, "own", false, options);
    Worker worker = { .rounds = RING_ROUNDS };

    vm_start(vm);
    port_wait_up(server);
    port_wait_up(client);
    port_enable(server);
    port_enable(client);
    add_work(&worker, server, vm->ram + 2 * MiB);
    add_work(&worker, client, vm->ram + 3 * MiB);
    run_workers(&worker, 1);
    expect_peace(server);
    expect_peace(client);
    /* what it wrote is there */
    port_write(server, vm->ram + 8 * MiB, 8, 0x1234567890abcdefULL);
    g_assert_cmphex(vm_read(vm, vm->ram + 8 * MiB, 8), ==,
                    0x1234567890abcdefULL);
    g_assert_cmphex(port_read(client, vm->ram + 8 * MiB, 8), ==,
                    0x1234567890abcdefULL);
    vm_free(vm);
}

static void test_own_peer(const PairKind *kind)
{
    check_own_peer(kind->first, NULL);
    check_own_peer(kind->first, "share=off");
}

/* --- a ring -------------------------------------------------------------- */

static void check_ring(const PairKind *kind, const char *options)
{
    Vm *vm[RING_SIZE];
    Port *next[RING_SIZE], *previous[RING_SIZE];
    Worker workers[RING_SIZE] = { 0 };
    unsigned i;

    for (i = 0; i < RING_SIZE; i++) {
        vm[i] = vm_new(i == 1 ? kind->second : kind->first);
    }
    for (i = 0; i < RING_SIZE; i++) {
        unsigned after = (i + 1) % RING_SIZE;
        g_autofree char *link = g_strdup_printf("ring-%u", i);

        next[i] = vm_add_port(vm[i], link, true, options);
        previous[after] = vm_add_port(vm[after], link, false, options);
    }
    for (i = 0; i < RING_SIZE; i++) {
        vm_start(vm[i]);
    }
    for (i = 0; i < RING_SIZE; i++) {
        unsigned after = (i + 1) % RING_SIZE;
        unsigned before = (i + RING_SIZE - 1) % RING_SIZE;

        port_wait_up(next[i]);
        port_wait_up(previous[i]);
        port_enable(next[i]);
        port_enable(previous[i]);
        add_work(&workers[i], next[i], vm[after]->ram + 2 * MiB);
        add_work(&workers[i], previous[i], vm[before]->ram + 3 * MiB);
        workers[i].rounds = RING_ROUNDS;
    }
    run_workers(workers, RING_SIZE);
    for (i = 0; i < RING_SIZE; i++) {
        expect_peace(next[i]);
        expect_peace(previous[i]);
    }
    for (i = 0; i < RING_SIZE; i++) {
        vm_free(vm[i]);
    }
}

static void test_ring(const PairKind *kind)
{
    check_ring(kind, NULL);
    check_ring(kind, "share=off");
}

void add_crowd_tests(void)
{
    add_pair_test("crowd/both-direct", test_both_direct);
    add_pair_test("crowd/both-link", test_both_link);
    add_pair_test("crowd/both-base", test_both_base);
    add_pair_test("crowd/both-swapped", test_both_swapped);
    add_pair_test("crowd/two-devices", test_two_devices);
    add_pair_test("crowd/own-peer", test_own_peer);
    add_pair_test("crowd/ring", test_ring);
}
