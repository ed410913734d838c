/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sessions connected back to back by queues in memory, under random schedules
 * (protocol section 3): processes that read and write each other's memory,
 * invalidate, and change their memory maps, also from within a service.  Every
 * request is answered exactly once and nothing ever stands still.
 */
#include <string.h>

#include "harness.h"
#include "random.h"
#include "session.h"

enum { PROCESSES = 3, ENDS = 2, QUEUE = 8, WORK = 12, ROUNDS = 150 };

struct queue {
    struct mx_message message[QUEUE];
    unsigned count;
};

/* One end of a link. */
struct end {
    struct mx_session session;
    struct end *peer;
    struct process *process;
    struct queue out;           /* not yet in the socket */
    struct queue in;            /* in the socket, to this end */
    unsigned wanted[MX_CLASSES];        /* requests still to be made */
    unsigned sent[MX_CLASSES], completed[MX_CLASSES];
    unsigned served[MX_CLASSES];
    unsigned came[MX_CLASSES];  /* and are not yet serviced */
    uint64_t expected[MX_CLASSES];      /* echoed by the response */
};

/* What one process is doing: the gate for accesses is all its links'. */
struct process {
    struct end *end[ENDS];
    unsigned ends;
    struct end *service;        /* whose access is serviced */
    uint64_t echo;
    bool service_changes;       /* it has yet to change the memory map */
    bool changing;              /* a map change is in progress */
    bool change_in_service;
    unsigned changes;           /* still to be made outside of services */
};

struct world {
    struct process process[PROCESSES];
    struct end end[2 * PROCESSES];
    unsigned processes, ends;
    struct random_source random;
    uint64_t number;
};

static bool chance(struct world *world, unsigned percent)
{
    return random_below(&world->random, 100) < percent;
}

static void push(struct queue *queue, const struct mx_message *message)
{
    ck_assert_uint_lt(queue->count, QUEUE);
    queue->message[queue->count++] = *message;
}

static struct mx_message pop(struct queue *queue)
{
    struct mx_message first = queue->message[0];

    queue->count--;
    memmove(queue->message, queue->message + 1,
            queue->count * sizeof(first));
    return first;
}

/* --- the world ----------------------------------------------------------- */

static struct end *add_end(struct world *world, struct process *process,
                           uint8_t subpriority)
{
    struct mx_session_config config = {
        .hello = MX_HELLO_MODE_OFF, .wish = subpriority, .name = "test",
        .hello_wait = 1, .request_timeout = 1,
    };
    struct end *end = &world->end[world->ends++];

    mx_session_start(&end->session, &config, 0, 0);
    end->process = process;
    end->wanted[MX_CLASS_ACCESS] = WORK;
    process->end[process->ends++] = end;
    return end;
}

static void join(struct world *world, unsigned one, unsigned other)
{
    unsigned first = (unsigned)random_below(&world->random, 2);
    struct end *a = add_end(world, &world->process[one], (uint8_t)first);
    struct end *b = add_end(world, &world->process[other],
                            (uint8_t)(1 - first));

    a->peer = b;
    b->peer = a;
}

/* --- what may happen ----------------------------------------------------- */

static bool gate(const struct process *process)
{
    return !process->service && !process->changing;
}

static bool invalidating(const struct process *process)
{
    unsigned i;

    for (i = 0; i < process->ends; i++) {
        if (process->end[i]->wanted[MX_CLASS_INVALIDATE] ||
            process->end[i]->session.out[MX_CLASS_INVALIDATE].active) {
            return true;
        }
    }
    return false;
}

static bool deliver(struct world *world, struct end *end)
{
    struct mx_message message;
    enum mx_outcome outcome;
    unsigned class;

    (void)world;
    if (end->in.count == 0) {
        return false;
    }
    message = pop(&end->in);
    class = mx_wire_class(message.type);
    outcome = mx_session_receive(&end->session, &message, 0);
    if (mx_wire_is_request(message.type)) {
        ck_assert_msg(outcome == MX_GO_ON, "%s", end->session.reason);
        ck_assert_uint_eq(++end->came[class], 1);   /* at most one is kept */
    } else {
        ck_assert_msg(outcome == MX_COMPLETE, "%s", end->session.reason);
        ck_assert_uint_eq(message.value, end->expected[class]);
        end->completed[class]++;
    }
    return true;
}

static bool transmit(struct world *world, struct end *end)
{
    struct mx_message message;

    (void)world;
    if (end->out.count == 0 || end->peer->in.count == QUEUE) {
        return false;
    }
    message = pop(&end->out);
    push(&end->peer->in, &message);
    if (mx_wire_is_response(message.type)) {
        mx_session_response_sent(&end->session, mx_wire_class(message.type));
    }
    return true;
}

static void respond(struct end *end, unsigned class, uint64_t echo)
{
    struct mx_message response = { .value = echo };

    mx_session_responded(&end->session, class, &response);
    end->served[class]++;
    push(&end->out, &response);
}

static bool serve(struct world *world, struct end *end)
{
    struct process *process = end->process;
    struct mx_message request;
    int class = mx_session_serviceable(&end->session, gate(process));

    if (class < 0) {
        return false;
    }
    mx_session_serve(&end->session, (unsigned)class, &request);
    ck_assert_uint_eq(end->came[class]--, 1);
    if (class == MX_CLASS_INVALIDATE) {
        respond(end, MX_CLASS_INVALIDATE, request.offset);
        return true;
    }
    ck_assert_ptr_null(process->service);
    ck_assert(!process->changing);
    process->service = end;
    process->echo = request.offset;
    process->service_changes = chance(world, 20);
    return true;
}

static void begin_change(struct world *world, struct process *process)
{
    unsigned i;

    process->changing = true;
    process->change_in_service = process->service != NULL;
    for (i = 0; i < process->ends; i++) {
        process->end[i]->wanted[MX_CLASS_INVALIDATE] +=
            (unsigned)random_below(&world->random, 3);
    }
}

static bool change(struct world *world, struct process *process)
{
    if (process->changing) {
        if (invalidating(process)) {
            return false;
        }
        process->changing = false;
        return true;
    }
    if (process->service && process->service_changes) {
        process->service_changes = false;
        begin_change(world, process);
        return true;
    }
    if (process->changes == 0) {
        return false;
    }
    process->changes--;
    begin_change(world, process);
    return true;
}

/* The service of a change made from within it waits for that change. */
static bool finish(struct world *world, struct process *process)
{
    struct end *end = process->service;

    (void)world;
    if (!end || process->service_changes ||
        (process->changing && process->change_in_service)) {
        return false;
    }
    process->service = NULL;
    respond(end, MX_CLASS_ACCESS, process->echo);
    return true;
}

/* Kept requests come before the next local one. */
static bool send(struct world *world, struct end *end, unsigned class)
{
    struct mx_message request = { .size = 8 };

    if (end->wanted[class] == 0 ||
        mx_session_serviceable(&end->session, gate(end->process)) >= 0 ||
        !mx_session_may_send(&end->session, class)) {
        return false;
    }
    request.type = class == MX_CLASS_INVALIDATE ? MX_REG_INV :
                   chance(world, 50) ? MX_READ : MX_WRITE;
    request.offset = ++world->number;
    end->expected[class] = request.offset;
    mx_session_send(&end->session, &request, INT64_MAX);
    push(&end->out, &request);
    end->wanted[class]--;
    end->sent[class]++;
    return true;
}

/* --- schedules ----------------------------------------------------------- */

static bool happen(struct world *world, unsigned what)
{
    struct end *end;

    if (what < 2 * world->processes) {
        struct process *process = &world->process[what / 2];

        return what % 2 ? change(world, process) : finish(world, process);
    }
    what -= 2 * world->processes;
    end = &world->end[what / 5];
    switch (what % 5) {
    case 0:
        return deliver(world, end);
    case 1:
        return transmit(world, end);
    case 2:
        return serve(world, end);
    case 3:
        return send(world, end, MX_CLASS_INVALIDATE);
    default:
        return send(world, end, MX_CLASS_ACCESS);
    }
}

/* One of what can happen, at random.  False: nothing can. */
static bool step(struct world *world)
{
    unsigned count = 2 * world->processes + 5 * world->ends;
    unsigned first = (unsigned)random_below(&world->random, count);
    unsigned i;

    for (i = 0; i < count; i++) {
        if (happen(world, (first + i) % count)) {
            return true;
        }
    }
    return false;
}

static void assert_done(const struct world *world)
{
    unsigned i, class;

    for (i = 0; i < world->ends; i++) {
        const struct end *end = &world->end[i];

        for (class = 0; class < MX_CLASSES; class++) {
            ck_assert_msg(end->wanted[class] == 0 &&
                          end->sent[class] == end->completed[class] &&
                          end->peer->served[class] == end->sent[class],
                          "stands still: end %u, class %u: %u wanted, %u "
                          "sent, %u served, %u completed", i, class,
                          end->wanted[class], end->sent[class],
                          end->peer->served[class], end->completed[class]);
        }
        ck_assert_uint_eq(end->sent[MX_CLASS_ACCESS], WORK);
    }
    for (i = 0; i < world->processes; i++) {
        ck_assert_uint_eq(world->process[i].changes, 0);
        ck_assert(!world->process[i].changing);
        ck_assert_ptr_null(world->process[i].service);
    }
}

static void run(const char *name, unsigned processes, unsigned links,
                const unsigned joined[][2])
{
    struct random_source random;
    unsigned round, i;

    random_start(&random, name);
    for (round = 0; round < ROUNDS; round++) {
        struct world world = { .processes = processes, .random = random };

        for (i = 0; i < links; i++) {
            join(&world, joined[i][0], joined[i][1]);
        }
        for (i = 0; i < processes; i++) {
            world.process[i].changes = 4;
        }
        while (step(&world)) {
        }
        assert_done(&world);
        random = world.random;
    }
}

START_TEST(two_processes)
{
    static const unsigned joined[][2] = { { 0, 1 } };

    run("two processes", 2, 1, joined);
}
END_TEST

START_TEST(two_links_in_each_process)
{
    static const unsigned joined[][2] = { { 0, 1 }, { 0, 1 } };

    run("two links", 2, 2, joined);
}
END_TEST

START_TEST(two_devices_of_one_process)
{
    static const unsigned joined[][2] = { { 0, 0 } };

    run("one process", 1, 1, joined);
}
END_TEST

START_TEST(a_ring_of_three)
{
    static const unsigned joined[][2] = { { 0, 1 }, { 1, 2 }, { 2, 0 } };

    run("ring", 3, 3, joined);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("schedules");
    TCase *tcase = harness_tcase("random");

    tcase_add_test(tcase, two_processes);
    tcase_add_test(tcase, two_links_in_each_process);
    tcase_add_test(tcase, two_devices_of_one_process);
    tcase_add_test(tcase, a_ring_of_three);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
