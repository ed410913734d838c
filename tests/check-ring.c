/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Processes that read each other at the same time, and accesses within
 * services: nothing may stall (protocol section 3).
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "rig.h"

enum {
    NODES = 4,                  /* at most */
    EDGES = 6,
    ROUNDS = 2000,
    RAM = 0x10000, RAM_SIZE = 0x2000,
    REGS = 0x20000, REGS_SIZE = 0x1000,
    CHANGE_EVERY = 25
};

/* --- a graph of processes ------------------------------------------------ */

/* A link between two nodes; who reads whom over it. */
struct edge {
    unsigned from, to;          /* from connects */
    bool forth, back;
};

struct graph {
    unsigned nodes, edges;
    struct edge edge[EDGES];
    bool changes;               /* memory is shared, and comes and goes */
    int fd[EDGES][2][PEER_LINKS];
    int done[2], stop[2];
    pid_t pid[NODES];
};

struct node {
    struct memexpose_group *group;
    struct memexpose_space *space;
    struct memexpose_device *device[EDGES];
    bool reads[EDGES];
};

static int give_offset(void *opaque, uint64_t offset, unsigned bytes,
                       uint64_t *value)
{
    (void)opaque;
    (void)bytes;
    *value = offset;
    return MEMEXPOSE_RESULT_OK;
}

static const struct memexpose_mmio_ops registers = {
    .size = sizeof(registers), .read = give_offset,
};

static int attach_node(struct node *node, const struct graph *graph,
                       unsigned number, unsigned at)
{
    const struct edge *edge = &graph->edge[at];
    struct memexpose_device_config config;
    struct memexpose_device_ops ops;
    bool connects = edge->from == number;
    const int *fd = graph->fd[at][connects ? 0 : 1];

    memexpose_device_config_init(&config);
    harness_stretch_deadlines(&config);
    config.role = connects ? MEMEXPOSE_ROLE_CONNECT : MEMEXPOSE_ROLE_LISTEN;
    memexpose_space_ops(&ops);
    node->device[at] = memexpose_device_create(node->group, &ops, node->space,
                                               &config);
    if (!node->device[at]) {
        return -ENOMEM;
    }
    memexpose_device_set_space(node->device[at], node->space);
    node->reads[at] = connects ? edge->forth : edge->back;
    for (int link = 0; link < PEER_LINKS; link++) {
        int ret = memexpose_device_attach(node->device[at],
                                          (enum memexpose_link)link, fd[link]);

        if (ret < 0) {
            return ret;
        }
    }
    return memexpose_device_enable(node->device[at], 0);
}

static int start_node(struct node *node, const struct graph *graph,
                      unsigned number)
{
    int ret = 0;

    memset(node, 0, sizeof(*node));
    node->group = memexpose_group_create(NULL, NULL);
    node->space = memexpose_space_create();
    memexpose_space_add_mmio(node->space, REGS, REGS_SIZE, &registers, NULL);
    memexpose_space_add_ram(node->space, RAM, RAM_SIZE, -1, 0, 0);
    for (unsigned at = 0; at < graph->edges && ret == 0; at++) {
        if (graph->edge[at].from == number || graph->edge[at].to == number) {
            ret = attach_node(node, graph, number, at);
        }
    }
    return ret;
}

/* One access through each window; the memory may be gone just now. */
static int read_round(struct node *node, const struct graph *graph,
                      unsigned round)
{
    uint64_t value;

    for (unsigned at = 0; at < graph->edges; at++) {
        uint64_t offset = 8 * (round % (REGS_SIZE / 8));
        int ret;

        if (!node->reads[at]) {
            continue;
        }
        ret = memexpose_read(node->device[at], REGS + offset, 8, &value);
        if (ret != 0 || value != offset) {
            return ret ? ret : -EIO;
        }
        if (graph->changes) {
            ret = memexpose_read(node->device[at], RAM + offset, 8, &value);
            if (ret != MEMEXPOSE_RESULT_OK && ret != MEMEXPOSE_RESULT_DECODE) {
                return ret;
            }
        }
    }
    return 0;
}

static int change_memory(struct node *node)
{
    int ret = memexpose_space_withdraw(node->space, node->group, RAM);

    return ret ? ret : memexpose_space_add_ram(node->space, RAM, RAM_SIZE, -1,
                                               0, 0);
}

/* The others are not done yet: serve them until the parent says so. */
static void serve_until_stopped(struct node *node, int stop)
{
    struct pollfd fds[32];
    int64_t deadline;

    for (;;) {
        size_t count = memexpose_group_poll(node->group, fds, 31, &deadline,
                                            NULL);

        fds[count] = (struct pollfd) { .fd = stop, .events = POLLIN };
        memexpose_wait(fds, count + 1, deadline);
        if (fds[count].revents) {
            return;
        }
        memexpose_group_process(node->group, fds, count);
    }
}

static int run_node(struct graph *graph, unsigned number)
{
    struct node node;
    int ret = start_node(&node, graph, number);

    for (unsigned round = 0; round < ROUNDS && ret == 0; round++) {
        ret = read_round(&node, graph, round);
        if (ret == 0 && graph->changes && round % CHANGE_EVERY == number) {
            ret = change_memory(&node);
        }
    }
    if (ret != 0) {
        fprintf(stderr, "node %u: %s\n", number, memexpose_strerror(ret));
    }
    if (write(graph->done[1], ret ? "x" : ".", 1) != 1) {
        ret = -EPIPE;
    }
    serve_until_stopped(&node, graph->stop[0]);
    for (unsigned at = 0; at < graph->edges; at++) {
        memexpose_device_destroy(node.device[at]);
    }
    memexpose_group_destroy(node.group);
    memexpose_space_destroy(node.space);
    return ret;
}

static void make_links(struct graph *graph)
{
    for (unsigned at = 0; at < graph->edges; at++) {
        for (int link = 0; link < PEER_LINKS; link++) {
            int pair[2];

            ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC,
                                        0, pair), 0);
            graph->fd[at][0][link] = pair[0];
            graph->fd[at][1][link] = pair[1];
        }
    }
}

/* In a child only what it uses stays open: the end of a link must be seen. */
static void close_links(struct graph *graph, unsigned but)
{
    for (unsigned at = 0; at < graph->edges; at++) {
        for (int link = 0; link < PEER_LINKS; link++) {
            if (graph->edge[at].from != but) {
                close(graph->fd[at][0][link]);
            }
            if (graph->edge[at].to != but) {
                close(graph->fd[at][1][link]);
            }
        }
    }
}

static void fork_nodes(struct graph *graph)
{
    for (unsigned number = 0; number < graph->nodes; number++) {
        graph->pid[number] = fork();
        ck_assert_int_ge(graph->pid[number], 0);
        if (graph->pid[number] == 0) {
            close_links(graph, number);
            close(graph->stop[1]);
            _exit(run_node(graph, number) ? 1 : 0);
        }
    }
    close_links(graph, NODES);
}

static void run_graph(struct graph *graph)
{
    unsigned good = 0;

    ck_assert_int_eq(pipe(graph->done), 0);
    ck_assert_int_eq(pipe(graph->stop), 0);
    make_links(graph);
    fork_nodes(graph);
    for (unsigned i = 0; i < graph->nodes; i++) {
        struct pollfd fds = { .fd = graph->done[0], .events = POLLIN };
        char result = 0;

        if (poll(&fds, 1, harness_milliseconds(15000)) == 1 &&
            read(graph->done[0], &result, 1) == 1) {
            good += result == '.';
        }
    }
    close(graph->stop[1]);
    for (unsigned i = 0; i < graph->nodes; i++) {
        int status = 0;

        if (good < graph->nodes) {
            kill(graph->pid[i], SIGKILL);
        }
        ck_assert_int_eq(waitpid(graph->pid[i], &status, 0), graph->pid[i]);
        good -= status != 0;
    }
    close(graph->stop[0]);
    close(graph->done[0]);
    close(graph->done[1]);
    ck_assert_uint_eq(good, graph->nodes);
}

static const struct graph graphs[] = {
    { .nodes = 2, .edges = 1, .edge = { { 0, 1, true, true } } },
    { .nodes = 3, .edges = 3, .edge = { { 0, 1, true, false },
        { 1, 2, true, false }, { 2, 0, true, false } } },
    { .nodes = 3, .edges = 3, .edge = { { 0, 1, true, false },
        { 1, 2, true, false }, { 0, 2, false, true } } },
    { .nodes = 3, .edges = 3, .edge = { { 0, 1, true, true },
        { 1, 2, true, true }, { 2, 0, true, true } } },
    { .nodes = 4, .edges = 6, .edge = { { 0, 1, true, true },
        { 0, 2, true, true }, { 0, 3, true, true }, { 1, 2, true, true },
        { 1, 3, true, true }, { 2, 3, true, true } } },
};

enum { GRAPHS = sizeof(graphs) / sizeof(graphs[0]) };

/* Two that read each other, rings, and everybody with everybody. */
START_TEST(reads_in_circles)
{
    struct graph graph = graphs[_i];

    run_graph(&graph);
}
END_TEST

/* The same with memory that is shared, withdrawn and there again. */
START_TEST(reads_in_circles_what_changes)
{
    struct graph graph = graphs[_i];

    graph.changes = true;
    run_graph(&graph);
}
END_TEST

/* --- two devices of one process ------------------------------------------ */

/*
 * Peers A and B of the devices a and b in one group: while a waits for A, B
 * asks b, and has to be answered before A answers.
 */
START_TEST(serves_one_while_another_waits)
{
    struct rig one, other;
    struct access access;
    uint8_t p, q;

    rig_up(&one, ROLE(_i & 1));
    rig_init(&other, ROLE(_i >> 1));
    other.peer.drive = NULL;
    rig_join(&other, &one);
    p = rig_own(&one, ACCESS);
    q = rig_peer(&other, ACCESS);
    begin_read(&access, &one, 0x1000, 1);
    peer_expect(&one.peer, PEER_MEM, say_read(p, 0x1000, 1));
    /* Nobody drives now but the one that waits. */
    peer_send(&other.peer, PEER_MEM, say_read(q, RIG_MMIO + 4, 4));
    peer_expect(&other.peer, PEER_MEM, say_read_ret(q, 0, 4, NULL));
    q = rig_peer(&other, INVALIDATE);
    peer_send(&other.peer, PEER_MEM, say_inv(q, 0, 1));
    peer_expect(&other.peer, PEER_MEM, say_inv_ret(q));
    peer_send(&other.peer, PEER_INTR, say_intr(3, 3));
    while (rig_stats(&other).interrupts_received == 0) {
        poll(NULL, 0, 1);
    }
    peer_send(&one.peer, PEER_MEM, say_read_ret(p, 0, 9, NULL));
    ck_assert_int_eq(end_access(&access), 0);
    ck_assert_uint_eq(access.value, 9);
    rig_leave(&other);
    rig_end(&one);
}
END_TEST

/* --- accesses within services -------------------------------------------- */

static int read_window(struct rig *rig, uint64_t address, unsigned bytes,
                       uint64_t *value)
{
    struct rig *through = rig->arg;

    return memexpose_read(through->device, address, bytes, value);
}

static int write_window(struct rig *rig, uint64_t address, unsigned bytes,
                        uint64_t value)
{
    struct rig *through = rig->arg;
    uint8_t byte = 0;
    size_t done = 1;

    ck_assert_int_eq(memexpose_read_block(through->device, address, &byte, 1,
                                          &done), MEMEXPOSE_RESULT_DECODE);
    ck_assert_uint_eq(done, 0);
    return memexpose_write(through->device, address, bytes, value);
}

/* Through its own window and through another device's: nothing there. */
START_TEST(never_accesses_within_a_service)
{
    struct rig one, other;
    uint8_t p;

    rig_up(&one, ROLE(_i & 1));
    rig_init(&other, ROLE(_i & 1));
    rig_join(&other, &one);
    one.on_read = read_window;
    one.on_write = write_window;
    one.arg = _i & 2 ? &other : &one;
    p = rig_peer(&one, ACCESS);
    rig_ask(&one, say_read(p, 0x1000, 4), say_read_ret(p, 2, 0, NULL));
    rig_ask(&one, say_write(p, 0x1000, 1, 4), say_write_ret(p, 2, NULL));
    peer_expect_nothing(&one.peer, PEER_MEM);
    peer_expect_nothing(&other.peer, PEER_MEM);
    rig_leave(&other);
    rig_end(&one);
}
END_TEST

/* Nor where the memory is mapped. */
START_TEST(never_reads_mapped_memory_within_a_service)
{
    const struct offer offer = { .start = 0x100000, .size = 0x1000 };
    int fd = peer_memory(0x1000, 0x21, true);
    struct rig rig;
    uint8_t p;

    rig_up(&rig, ROLE(_i));
    rig_offer(&rig, offer.start, &offer, fd);
    rig.on_read = read_window;
    rig.arg = &rig;
    p = rig_peer(&rig, ACCESS);
    rig_ask(&rig, say_read(p, offer.start, 4), say_read_ret(p, 2, 0, NULL));
    close(fd);
    rig_end(&rig);
}
END_TEST

struct doorbell {
    struct access access;
    struct rig *rig;
};

static int ring_doorbell(struct rig *rig, uint64_t address, unsigned bytes,
                         uint64_t value)
{
    struct doorbell *doorbell = rig->arg;

    (void)address;
    (void)bytes;
    (void)value;
    begin_read(&doorbell->access, rig, 0x1000, 1);
    return MEMEXPOSE_RESULT_OK;
}

/* One by another thread goes its normal way. */
START_TEST(another_thread_may_access)
{
    struct doorbell doorbell;
    struct rig rig;
    uint8_t p, q;

    rig_up(&rig, ROLE(_i));
    rig.on_write = ring_doorbell;
    rig.arg = &doorbell;
    p = rig_peer(&rig, ACCESS);
    q = rig_own(&rig, ACCESS);
    peer_send(&rig.peer, PEER_MEM, say_write(p, RIG_MMIO, 1, 4));
    while (rig.writes == 0) {
        rig_drive(&rig);
    }
    rig_take_two(&rig, say_write_ret(p, 0, NULL), say_read(q, 0x1000, 1));
    peer_send(&rig.peer, PEER_MEM, say_read_ret(q, 0, 5, NULL));
    ck_assert_int_eq(end_access(&doorbell.access), 0);
    ck_assert_uint_eq(doorbell.access.value, 5);
    rig_end(&rig);
}
END_TEST

/* --- a write that moves its own target ----------------------------------- */

static int move_memory(struct rig *rig, uint64_t address, unsigned bytes,
                       uint64_t value)
{
    (void)address;
    (void)bytes;
    (void)value;
    *(int *)rig->arg = memexpose_space_withdraw(rig->space, rig->group,
                                                RIG_RAM);
    return MEMEXPOSE_RESULT_OK;
}

/* The peer awaits WRITE_RET and gets REG_INV first, which it answers. */
START_TEST(moves_its_own_target)
{
    struct rig rig;
    uint8_t p, q;
    int ret = 1;

    rig_up(&rig, ROLE(_i));
    p = rig_peer(&rig, ACCESS);
    q = rig_own(&rig, INVALIDATE);
    rig_take_share(&rig, RIG_RAM, &rig_whole_ram);
    rig.on_write = move_memory;
    rig.arg = &ret;
    rig.peer.drive = NULL;
    peer_send(&rig.peer, PEER_MEM, say_write(p, RIG_RAM, 1, 1));
    rig_drive_beside(&rig);
    peer_expect(&rig.peer, PEER_MEM, say_inv(q, RIG_RAM, RIG_RAM_SIZE));
    peer_send(&rig.peer, PEER_MEM, say_inv_ret(q));
    peer_expect(&rig.peer, PEER_MEM, say_write_ret(p, 0, NULL));
    rig_driven(&rig);
    ck_assert_int_eq(ret, 0);
    rig.peer.drive = rig_drive;
    rig_ask(&rig, say_read(p, RIG_RAM, 1), say_read_ret(p, 2, 0, NULL));
    rig_end(&rig);
}
END_TEST

/* --- main ---------------------------------------------------------------- */

int main(void)
{
    Suite *suite = suite_create("ring");
    TCase *tcase = harness_tcase("circles");

    tcase_add_loop_test(tcase, reads_in_circles, 0, GRAPHS);
    tcase_add_loop_test(tcase, reads_in_circles_what_changes, 0, GRAPHS);
    suite_add_tcase(suite, tcase);
    tcase = harness_tcase("within one process");
    tcase_add_loop_test(tcase, serves_one_while_another_waits, 0, 4);
    tcase_add_loop_test(tcase, never_accesses_within_a_service, 0, 4);
    tcase_add_loop_test(tcase, never_reads_mapped_memory_within_a_service, 0,
                        2);
    tcase_add_loop_test(tcase, another_thread_may_access, 0, 2);
    tcase_add_loop_test(tcase, moves_its_own_target, 0, 2);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
