/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device as exporter, seen by a raw peer: changes of its memory map and who
 * goes first (protocol sections 3 and 4).  Most tests run in both roles.
 */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "harness.h"
#include "rig.h"

/* --- changes of the memory map (sections 3 and 4) ------------------------ */

/* As the whole entry, and only once. */
START_TEST(invalidates_what_was_shared)
{
    struct change change;
    struct rig rig;
    uint8_t q;

    rig_up(&rig, ROLE(_i));
    q = rig_own(&rig, INVALIDATE);
    rig_take_share(&rig, RIG_RAM, &rig_whole_ram);
    rig_take_share(&rig, RIG_RAM + 0x2000, &rig_whole_ram);
    begin_change(&change, &rig, RIG_RAM + RIG_RAM_SIZE - 1, 1);
    peer_expect(&rig.peer, PEER_MEM, say_inv(q, RIG_RAM, RIG_RAM_SIZE));
    peer_send(&rig.peer, PEER_MEM, say_inv_ret(q));
    ck_assert_int_eq(end_change(&change), 0);

    begin_change(&change, &rig, 0, UINT64_MAX);
    ck_assert_int_eq(end_change(&change), 0);
    peer_expect_nothing(&rig.peer, PEER_MEM);
    ck_assert_uint_eq(rig_stats(&rig).invalidations_sent, 1);
    rig_end(&rig);
}
END_TEST

START_TEST(leaves_alone_what_does_not_change)
{
    struct change change;
    struct rig rig;

    rig_up(&rig, ROLE(_i));
    rig_take_share(&rig, RIG_RAM, &rig_whole_ram);
    begin_change(&change, &rig, 0, RIG_RAM);
    ck_assert_int_eq(end_change(&change), 0);
    begin_change(&change, &rig, RIG_RAM + RIG_RAM_SIZE, UINT64_MAX -
                 (RIG_RAM + RIG_RAM_SIZE) + 1);
    ck_assert_int_eq(end_change(&change), 0);
    begin_change(&change, &rig, RIG_RAM, 0);
    ck_assert_int_eq(end_change(&change), 0);
    peer_expect_nothing(&rig.peer, PEER_MEM);
    rig_end(&rig);
}
END_TEST

/* One at a time: the second goes out when the first is acknowledged. */
START_TEST(invalidates_one_after_the_other)
{
    const struct offer other = { .start = 0x20000, .size = 0x1000 };
    struct change change;
    struct rig rig;
    uint8_t q;

    rig_up(&rig, ROLE(_i));
    q = rig_own(&rig, INVALIDATE);
    memexpose_space_add_ram(rig.space, 0x20000, 0x1000, -1, 0, 0);
    rig_take_share(&rig, RIG_RAM, &rig_whole_ram);
    rig_take_share(&rig, 0x20000, &other);
    begin_change(&change, &rig, 0, UINT64_MAX);
    peer_expect(&rig.peer, PEER_MEM, say_inv(q, RIG_RAM, RIG_RAM_SIZE));
    peer_expect_nothing(&rig.peer, PEER_MEM);
    peer_send(&rig.peer, PEER_MEM, say_inv_ret(q));
    peer_expect(&rig.peer, PEER_MEM, say_inv(q, 0x20000, 0x1000));
    peer_send(&rig.peer, PEER_MEM, say_inv_ret(q));
    ck_assert_int_eq(end_change(&change), 0);
    rig_end(&rig);
}
END_TEST

/* Accesses are kept from begin to end, invalidations are not. */
START_TEST(keeps_accesses_during_a_change)
{
    struct rig rig;
    uint8_t p, q;

    rig_up(&rig, ROLE(_i));
    p = rig_peer(&rig, ACCESS);
    q = rig_peer(&rig, INVALIDATE);
    memexpose_map_change_begin(rig.group);
    memexpose_map_change_begin(rig.group);
    peer_send(&rig.peer, PEER_MEM, say_read(p, RIG_RAM, 1));
    peer_expect_nothing(&rig.peer, PEER_MEM);
    rig_ask(&rig, say_inv(q, 0, 0x1000), say_inv_ret(q));
    memexpose_map_change_end(rig.group);
    peer_expect_nothing(&rig.peer, PEER_MEM);
    ck_assert_uint_eq(rig.reads, 0);
    memexpose_map_change_end(rig.group);
    close(peer_expect_fd(&rig.peer, PEER_MEM,
                         say_read_ret(p, 0, 0, &rig_whole_ram)));
    rig_end(&rig);
}
END_TEST

static int write_and_begin(struct rig *rig, uint64_t address, unsigned bytes,
                           uint64_t value)
{
    (void)address;
    (void)bytes;
    (void)value;
    memexpose_map_change_begin(rig->group);
    return MEMEXPOSE_RESULT_OK;
}

/* A response queued while a change is in progress carries no share. */
START_TEST(shares_nothing_during_a_change)
{
    struct rig rig;
    uint8_t p;

    rig_up(&rig, ROLE(_i));
    p = rig_peer(&rig, ACCESS);
    rig.on_write = write_and_begin;
    rig_ask(&rig, say_write(p, RIG_RAM, 1, 1), say_write_ret(p, 0, NULL));
    memexpose_map_change_end(rig.group);
    rig_take_share(&rig, RIG_RAM, &rig_whole_ram);
    rig_end(&rig);
}
END_TEST

static int move_target(struct rig *rig, uint64_t address, unsigned bytes,
                       uint64_t value)
{
    (void)address;
    (void)bytes;
    (void)value;
    memexpose_map_change_begin(rig->group);
    ck_assert_int_eq(memexpose_space_remove(rig->space, RIG_RAM), 0);
    ck_assert_int_eq(memexpose_space_add_ram(rig->space, RIG_RAM - 0x1000,
                                             0x3000, -1, 0, 0), 0);
    memexpose_map_change_end(rig->group);
    return MEMEXPOSE_RESULT_OK;
}

/* What is offered is what lies there after the access. */
START_TEST(resolves_after_the_access)
{
    const struct offer moved = { .start = RIG_RAM - 0x1000, .size = 0x3000 };
    struct rig rig;
    uint8_t p;

    rig_up(&rig, ROLE(_i));
    p = rig_peer(&rig, ACCESS);
    rig.on_write = move_target;
    close(rig_ask_fd(&rig, say_write(p, RIG_RAM, 1, 1),
                 say_write_ret(p, 0, &moved)));
    rig_end(&rig);
}
END_TEST

START_TEST(closes_when_a_change_is_not_acknowledged)
{
    struct change change;
    struct rig rig;
    uint8_t q;

    rig_init(&rig, ROLE(_i));
    rig.config.map_change_timeout = harness_milliseconds(150) * MS;
    rig_start(&rig);
    rig_connect(&rig);
    q = rig_own(&rig, INVALIDATE);
    rig_take_share(&rig, RIG_RAM, &rig_whole_ram);
    begin_change(&change, &rig, RIG_RAM, 1);
    peer_expect(&rig.peer, PEER_MEM, say_inv(q, RIG_RAM, RIG_RAM_SIZE));
    ck_assert_int_eq(end_change(&change), -ETIMEDOUT);
    peer_expect_end(&rig.peer, PEER_MEM);
    peer_expect_end(&rig.peer, PEER_INTR);
    ck_assert_uint_eq(harness_logged("link closed"), 1);
    rig_connect(&rig);
    rig_expect_served(&rig);
    rig_end(&rig);
}
END_TEST

/* Acknowledging one of two is not enough: one deadline for all. */
START_TEST(has_one_deadline_for_a_change)
{
    const struct offer other = { .start = 0x20000, .size = 0x1000 };
    struct change change;
    struct rig rig;
    int64_t begun, half = harness_milliseconds(250) * MS;
    uint8_t q;

    rig_init(&rig, ROLE(_i));
    rig.config.map_change_timeout = 2 * half;
    rig_start(&rig);
    rig_connect(&rig);
    q = rig_own(&rig, INVALIDATE);
    memexpose_space_add_ram(rig.space, 0x20000, 0x1000, -1, 0, 0);
    rig_take_share(&rig, RIG_RAM, &rig_whole_ram);
    rig_take_share(&rig, 0x20000, &other);
    begun = memexpose_group_now(rig.group);
    begin_change(&change, &rig, 0, UINT64_MAX);
    peer_expect(&rig.peer, PEER_MEM, say_inv(q, RIG_RAM, RIG_RAM_SIZE));
    while (memexpose_group_now(rig.group) < begun + half) {
        rig_drive(&rig);
    }
    peer_send(&rig.peer, PEER_MEM, say_inv_ret(q));
    peer_expect(&rig.peer, PEER_MEM, say_inv(q, 0x20000, 0x1000));
    ck_assert_int_eq(end_change(&change), -ETIMEDOUT);
    ck_assert_int_lt(memexpose_group_now(rig.group), begun + 3 * half);
    peer_expect_end(&rig.peer, PEER_MEM);
    rig_end(&rig);
}
END_TEST

START_TEST(proceeds_when_a_change_is_cancelled)
{
    struct change change;
    struct rig rig;
    uint8_t q;

    rig_up(&rig, ROLE(_i));
    q = rig_own(&rig, INVALIDATE);
    rig_take_share(&rig, RIG_RAM, &rig_whole_ram);
    begin_change(&change, &rig, RIG_RAM, 1);
    peer_expect(&rig.peer, PEER_MEM, say_inv(q, RIG_RAM, RIG_RAM_SIZE));
    /* It may not wait yet: what it sends goes out before. */
    while (!change.done) {
        memexpose_group_cancel(rig.group);
        rig_drive(&rig);
        poll(NULL, 0, 1);       /* the other thread's turn */
    }
    ck_assert_int_eq(end_change(&change), -ECANCELED);
    peer_expect_end(&rig.peer, PEER_MEM);
    rig_end(&rig);
}
END_TEST

/* The end of the links acknowledges. */
START_TEST(a_peer_that_leaves_has_let_go)
{
    struct change change;
    struct rig rig;
    uint8_t q;

    rig_up(&rig, ROLE(_i));
    q = rig_own(&rig, INVALIDATE);
    rig_take_share(&rig, RIG_RAM, &rig_whole_ram);
    begin_change(&change, &rig, RIG_RAM, 1);
    peer_expect(&rig.peer, PEER_MEM, say_inv(q, RIG_RAM, RIG_RAM_SIZE));
    peer_close(&rig.peer);
    ck_assert_int_eq(end_change(&change), 0);
    rig_end(&rig);
}
END_TEST

/* Changes that overlap: each hears that something was not acknowledged. */
START_TEST(all_hear_of_a_loss)
{
    struct change change;
    struct rig rig;
    uint8_t q;

    rig_up(&rig, ROLE(_i));
    q = rig_own(&rig, INVALIDATE);
    rig_take_share(&rig, RIG_RAM, &rig_whole_ram);
    memexpose_map_change_begin(rig.group);
    ck_assert_int_eq(memexpose_map_change_wait(rig.group), 0);
    begin_change(&change, &rig, RIG_RAM, 1);
    peer_expect(&rig.peer, PEER_MEM, say_inv(q, RIG_RAM, RIG_RAM_SIZE));
    memexpose_device_disable(rig.device);
    ck_assert_int_eq(end_change(&change), -ECONNRESET);
    ck_assert_int_eq(memexpose_map_change_wait(rig.group), -ECONNRESET);
    ck_assert_int_eq(memexpose_map_change_wait(rig.group), -ECONNRESET);
    memexpose_map_change_end(rig.group);
    memexpose_map_change_begin(rig.group);
    ck_assert_int_eq(memexpose_map_change_wait(rig.group), 0);
    memexpose_map_change_end(rig.group);
    rig_end(&rig);
}
END_TEST

/* The ledger does not outlive the links. */
START_TEST(forgets_shares_with_the_links)
{
    struct change change;
    struct rig rig;

    rig_up(&rig, ROLE(_i));
    rig_take_share(&rig, RIG_RAM, &rig_whole_ram);
    rig_connect(&rig);
    begin_change(&change, &rig, RIG_RAM, 1);
    ck_assert_int_eq(end_change(&change), 0);
    peer_expect_nothing(&rig.peer, PEER_MEM);
    rig_expect_served(&rig);
    rig_end(&rig);
}
END_TEST

START_TEST(withdraws_from_a_space)
{
    struct rig rig;
    uint8_t p, q;
    struct change change;

    rig_up(&rig, ROLE(_i));
    p = rig_peer(&rig, ACCESS);
    q = rig_own(&rig, INVALIDATE);
    rig_take_share(&rig, RIG_RAM, &rig_whole_ram);
    begin_change(&change, &rig, RIG_RAM, RIG_RAM_SIZE);
    peer_expect(&rig.peer, PEER_MEM, say_inv(q, RIG_RAM, RIG_RAM_SIZE));
    peer_send(&rig.peer, PEER_MEM, say_inv_ret(q));
    ck_assert_int_eq(end_change(&change), 0);
    ck_assert_int_eq(memexpose_space_withdraw(rig.space, rig.group, RIG_RAM),
                     0);
    rig_ask(&rig, say_read(p, RIG_RAM, 1), say_read_ret(p, 2, 0, NULL));
    ck_assert_int_eq(memexpose_space_withdraw(rig.space, rig.group, RIG_RAM),
                     -ENOENT);
    rig_end(&rig);
}
END_TEST

/* --- arbitration (section 3) --------------------------------------------- */

/*
 * Each of our requests against each of the peer's: the lower number is
 * serviced at once, the other is kept until ours is answered.  Our READ is
 * out, or our REG_INV, or both.
 */
enum { OUR_READ = 1, OUR_INV = 2 };

static bool beats_all(const struct rig *rig, int ours, uint8_t number)
{
    return !((ours & OUR_READ && rig_own(rig, ACCESS) < number) ||
             (ours & OUR_INV && rig_own(rig, INVALIDATE) < number));
}

static void answer_ours(struct rig *rig, struct access *access,
                        struct change *change, int what)
{
    if (what == OUR_READ) {
        peer_send(&rig->peer, PEER_MEM,
                  say_read_ret(rig_own(rig, ACCESS), 0, 0x77, NULL));
        ck_assert_int_eq(end_access(access), 0);
        ck_assert_uint_eq(access->value, 0x77);
    } else {
        peer_send(&rig->peer, PEER_MEM,
                  say_inv_ret(rig_own(rig, INVALIDATE)));
        ck_assert_int_eq(end_change(change), 0);
    }
}

static void check_arbitration(enum memexpose_role role, int ours,
                              unsigned class)
{
    struct access access;
    struct change change;
    struct bytes question, answer;
    struct rig rig;
    uint8_t number;
    bool changing = ours & OUR_INV;
    bool at_once;

    rig_up(&rig, role);
    number = rig_peer(&rig, class);
    question = class == ACCESS ? say_read(number, RIG_MMIO + 9, 1) :
               say_inv(number, 0, 0x1000);
    answer = class == ACCESS ? say_read_ret(number, 0, 9, NULL) :
             say_inv_ret(number);
    if (ours & OUR_INV) {
        rig_take_share(&rig, RIG_RAM, &rig_whole_ram);
    }
    if (ours & OUR_READ) {
        begin_read(&access, &rig, 0x1000, 1);
        peer_expect(&rig.peer, PEER_MEM,
                    say_read(rig_own(&rig, ACCESS), 0x1000, 1));
    }
    if (ours & OUR_INV) {
        begin_change(&change, &rig, RIG_RAM, 1);
        peer_expect(&rig.peer, PEER_MEM, say_inv(rig_own(&rig, INVALIDATE),
                                                 RIG_RAM, RIG_RAM_SIZE));
    }
    at_once = beats_all(&rig, ours, number) && !(changing && class == ACCESS);
    peer_send(&rig.peer, PEER_MEM, question);
    if (at_once) {
        peer_expect(&rig.peer, PEER_MEM, answer);
    } else {
        peer_expect_nothing(&rig.peer, PEER_MEM);
    }
    if (ours & OUR_INV) {
        answer_ours(&rig, &access, &change, OUR_INV);
        ours &= ~OUR_INV;
    }
    if (!at_once && beats_all(&rig, ours, number)) {
        peer_expect(&rig.peer, PEER_MEM, answer);
        at_once = true;
    } else {
        peer_expect_nothing(&rig.peer, PEER_MEM);
    }
    if (ours & OUR_READ) {
        answer_ours(&rig, &access, &change, OUR_READ);
    }
    if (!at_once) {
        peer_expect(&rig.peer, PEER_MEM, answer);
    }
    rig_expect_served(&rig);
    rig_end(&rig);
}

/* Bits of _i: role, the peer's class, ours minus 1 (0 to 2). */
START_TEST(arbitrates)
{
    check_arbitration(ROLE(_i & 1), (_i >> 2) + 1,
                      _i & 2 ? ACCESS : INVALIDATE);
}
END_TEST

/* A kept request comes before the next local one. */
START_TEST(services_kept_before_sending)
{
    const struct offer other = { .start = 0x20000, .size = 0x1000 };
    struct rig rig;
    uint8_t own, q;

    rig_up(&rig, MEMEXPOSE_ROLE_LISTEN);
    own = rig_own(&rig, INVALIDATE);
    q = rig_peer(&rig, INVALIDATE);
    memexpose_space_add_ram(rig.space, 0x20000, 0x1000, -1, 0, 0);
    rig_take_share(&rig, RIG_RAM, &rig_whole_ram);
    rig_take_share(&rig, 0x20000, &other);
    memexpose_map_change_begin(rig.group);
    ck_assert_int_eq(memexpose_map_change_invalidate(rig.device, 0,
                                                     UINT64_MAX), 0);
    peer_expect(&rig.peer, PEER_MEM, say_inv(own, RIG_RAM, RIG_RAM_SIZE));
    peer_send(&rig.peer, PEER_MEM, say_inv(q, 0, 1));
    peer_expect_nothing(&rig.peer, PEER_MEM);
    peer_send(&rig.peer, PEER_MEM, say_inv_ret(own));
    peer_expect(&rig.peer, PEER_MEM, say_inv_ret(q));
    peer_expect(&rig.peer, PEER_MEM, say_inv(own, 0x20000, 0x1000));
    peer_send(&rig.peer, PEER_MEM, say_inv_ret(own));
    ck_assert_int_eq(memexpose_map_change_wait(rig.group), 0);
    memexpose_map_change_end(rig.group);
    rig_end(&rig);
}
END_TEST

/* --- services that last -------------------------------------------------- */

struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool entered, open;
};

static int read_at_gate(struct rig *rig, uint64_t address, unsigned bytes,
                        uint64_t *value)
{
    struct gate *gate = rig->arg;

    (void)address;
    (void)bytes;
    pthread_mutex_lock(&gate->mutex);
    gate->entered = true;
    pthread_cond_broadcast(&gate->changed);
    while (!gate->open) {
        pthread_cond_wait(&gate->changed, &gate->mutex);
    }
    pthread_mutex_unlock(&gate->mutex);
    *value = 0x33;
    return MEMEXPOSE_RESULT_OK;
}

static void *process_once(void *opaque)
{
    rig_drive(opaque);
    return NULL;
}

static void await_entry(struct gate *gate)
{
    pthread_mutex_lock(&gate->mutex);
    while (!gate->entered) {
        pthread_cond_wait(&gate->changed, &gate->mutex);
    }
    pthread_mutex_unlock(&gate->mutex);
}

static void open_gate(struct gate *gate)
{
    pthread_mutex_lock(&gate->mutex);
    gate->open = true;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->mutex);
}

static void begin_service(struct rig *rig, struct gate *gate,
                          pthread_t *thread)
{
    rig->on_read = read_at_gate;
    rig->arg = gate;
    peer_send(&rig->peer, PEER_MEM, say_read(rig_peer(rig, ACCESS), RIG_RAM,
                                             1));
    ck_assert_int_eq(pthread_create(thread, NULL, process_once, rig), 0);
    await_entry(gate);
}

/* During a service invalidations are served and nothing else. */
START_TEST(services_invalidations_during_a_service)
{
    struct gate gate = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER,
                         false, false };
    struct rig rig;
    pthread_t thread;
    uint8_t q;

    rig_up(&rig, ROLE(_i));
    q = rig_peer(&rig, INVALIDATE);
    begin_service(&rig, &gate, &thread);
    rig_ask(&rig, say_inv(q, 0, 0x1000), say_inv_ret(q));
    open_gate(&gate);
    pthread_join(thread, NULL);
    close(peer_expect_fd(&rig.peer, PEER_MEM,
                         say_read_ret(rig_peer(&rig, ACCESS), 0, 0x33,
                                      &rig_whole_ram)));
    rig_end(&rig);
}
END_TEST

/* Its response is discarded; what comes by the new link is kept till then. */
START_TEST(a_service_outlives_its_link)
{
    struct gate gate = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER,
                         false, false };
    struct rig rig;
    pthread_t thread;
    uint8_t p;

    rig_up(&rig, ROLE(_i));
    p = rig_peer(&rig, ACCESS);
    begin_service(&rig, &gate, &thread);
    rig_connect(&rig);
    peer_send(&rig.peer, PEER_MEM, say_read(p, RIG_MMIO, 2));
    peer_expect_nothing(&rig.peer, PEER_MEM);
    ck_assert_uint_eq(rig.reads, 1);
    open_gate(&gate);
    pthread_join(thread, NULL);
    peer_expect(&rig.peer, PEER_MEM, say_read_ret(p, 0, 0x33, NULL));
    ck_assert_uint_eq(rig.reads, 2);
    rig_end(&rig);
}
END_TEST

/* Beginning does not wait for the service; its response has no share. */
START_TEST(a_change_begins_during_a_service)
{
    struct gate gate = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER,
                         false, false };
    struct rig rig;
    pthread_t thread;

    rig_up(&rig, ROLE(_i));
    begin_service(&rig, &gate, &thread);
    memexpose_map_change_begin(rig.group);
    open_gate(&gate);
    pthread_join(thread, NULL);
    peer_expect(&rig.peer, PEER_MEM,
                say_read_ret(rig_peer(&rig, ACCESS), 0, 0x33, NULL));
    memexpose_map_change_end(rig.group);
    rig_end(&rig);
}
END_TEST

/* --- main ---------------------------------------------------------------- */

static void both_roles(TCase *tcase, const TTest *test)
{
    tcase_add_loop_test(tcase, test, 0, 2);
}

static TCase *changes(void)
{
    TCase *tcase = harness_tcase("map changes");

    both_roles(tcase, invalidates_what_was_shared);
    both_roles(tcase, leaves_alone_what_does_not_change);
    both_roles(tcase, invalidates_one_after_the_other);
    both_roles(tcase, keeps_accesses_during_a_change);
    both_roles(tcase, shares_nothing_during_a_change);
    both_roles(tcase, resolves_after_the_access);
    both_roles(tcase, closes_when_a_change_is_not_acknowledged);
    both_roles(tcase, has_one_deadline_for_a_change);
    both_roles(tcase, proceeds_when_a_change_is_cancelled);
    both_roles(tcase, a_peer_that_leaves_has_let_go);
    both_roles(tcase, all_hear_of_a_loss);
    both_roles(tcase, forgets_shares_with_the_links);
    both_roles(tcase, withdraws_from_a_space);
    return tcase;
}

static TCase *arbitration(void)
{
    TCase *tcase = harness_tcase("arbitration");

    tcase_add_loop_test(tcase, arbitrates, 0, 12);
    tcase_add_test(tcase, services_kept_before_sending);
    both_roles(tcase, services_invalidations_during_a_service);
    both_roles(tcase, a_service_outlives_its_link);
    both_roles(tcase, a_change_begins_during_a_service);
    return tcase;
}

int main(void)
{
    Suite *suite = suite_create("peer-change");

    suite_add_tcase(suite, changes());
    suite_add_tcase(suite, arbitration());
    return harness_main(suite);
}
