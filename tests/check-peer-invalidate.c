/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device as importer: REG_INV, what happens around it, and an exporter that
 * takes its memory away without (protocol section 4).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"
#include "rig.h"

enum { AT = 0x100000, SIZE = 0x4000 };

static const struct offer plain = { .start = AT, .size = SIZE };

/* A device with the range mapped; the object's descriptor is the test's. */
static int mapped(struct rig *rig, enum memexpose_role role)
{
    int fd = peer_memory(SIZE, 0x21, true);

    rig_up(rig, role);
    rig_offer(rig, AT, &plain, fd);
    ck_assert_uint_eq(rig_ranges(rig), 1);
    return fd;
}

static void invalidate(struct rig *rig, uint64_t start, uint64_t size)
{
    uint8_t q = rig_peer(rig, INVALIDATE);

    rig_ask(rig, say_inv(q, start, size), say_inv_ret(q));
}

static bool is_filled(const void *host, size_t size, uint8_t wanted)
{
    const volatile uint8_t *bytes = host;

    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != wanted) {
            return false;
        }
    }
    return true;
}

/* The pages behind a share are replaced before it is acknowledged. */
static int look_at_zeros(struct rig *rig, const struct memexpose_range *range)
{
    (void)rig;
    ck_assert(is_filled(range->host, range->size, 0));
    memset(range->host, 0x99, range->size);
    return 0;
}

START_TEST(takes_everything_that_intersects)
{
    static const struct {
        uint64_t start, size;
        bool hit;
    } cases[] = {
        { AT, SIZE, true }, { AT + SIZE - 1, 1, true }, { AT, 1, true },
        { 0, AT + 1, true }, { 0, UINT64_MAX, true },
        { AT + SIZE - 1, UINT64_MAX - (AT + SIZE - 1), true },
        { 1, UINT64_MAX, true },
        { 0, AT, false }, { AT + SIZE, 0x1000, false },
        { AT + SIZE, UINT64_MAX - (AT + SIZE) + 1, false },
        { AT, 0, false }, { UINT64_MAX, 0, false }, { UINT64_MAX, 1, false },
    };
    struct rig rig;
    uint8_t byte;
    int fd;

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fd = mapped(&rig, ROLE(_i));
        rig.on_unmap = look_at_zeros;
        invalidate(&rig, cases[i].start, cases[i].size);
        ck_assert_uint_eq(rig_ranges(&rig), !cases[i].hit);
        ck_assert_uint_eq(rig.unmaps, cases[i].hit);
        ck_assert_uint_eq(rig_stats(&rig).mapped_ranges, !cases[i].hit);
        ck_assert_uint_eq(rig_stats(&rig).invalidations_received, 1);
        if (cases[i].hit) {
            /* What the consumer wrote there has not reached the peer. */
            ck_assert_int_eq(pread(fd, &byte, 1, 0), 1);
            ck_assert_uint_eq(byte, 0x21);
            ck_assert_uint_eq(rig.unmapped[0].id, rig.mapped[0].id);
            rig_offer(&rig, AT, NULL, -1);
        }
        rig.on_unmap = NULL;
        rig_end(&rig);
        close(fd);
    }
}
END_TEST

START_TEST(takes_several_ranges_at_once)
{
    struct offer offer = { .size = 0x1000 };
    int fd = peer_memory(0x1000, 0x21, true);
    struct rig rig;

    rig_up(&rig, ROLE(_i));
    for (unsigned i = 0; i < 4; i++) {
        offer.start = AT + 0x2000 * i;
        rig_offer(&rig, offer.start, &offer, fd);
    }
    invalidate(&rig, AT + 0x2800, 0x2000);
    ck_assert_uint_eq(rig_ranges(&rig), 2);
    ck_assert_uint_eq(rig.unmaps, 2);
    close(fd);
    rig_end(&rig);
}
END_TEST

/* A share on its way when its range was invalidated is of no use. */
static void share_after_invalidation(enum memexpose_role role, uint64_t start,
                                     uint64_t size, bool wanted)
{
    struct access access;
    int fd = peer_memory(SIZE, 0x21, true);
    struct rig rig;
    uint8_t p;

    rig_up(&rig, role);
    p = rig_own(&rig, ACCESS);
    begin_read(&access, &rig, AT, 1);
    peer_expect(&rig.peer, PEER_MEM, say_read(p, AT, 1));
    invalidate(&rig, start, size);
    peer_send_fd(&rig.peer, PEER_MEM, say_read_ret(p, 0, 1, &plain), fd);
    ck_assert_int_eq(end_access(&access), 0);
    rig_drive(&rig);
    ck_assert_uint_eq(rig_ranges(&rig), wanted);
    if (!wanted) {
        rig_offer(&rig, AT, &plain, fd);
        ck_assert_uint_eq(rig_ranges(&rig), 1);
    }
    close(fd);
    rig_end(&rig);
}

START_TEST(does_not_map_what_was_invalidated)
{
    share_after_invalidation(ROLE(_i), AT + SIZE - 1, 1, false);
    share_after_invalidation(ROLE(_i), AT + SIZE, 0x1000, true);
    share_after_invalidation(ROLE(_i), AT, 0, true);
}
END_TEST

/* More invalidations than are remembered: all count. */
START_TEST(remembers_many_invalidations)
{
    struct access access;
    int fd = peer_memory(SIZE, 0x21, true);
    struct rig rig;
    uint8_t p;

    rig_up(&rig, ROLE(_i));
    p = rig_own(&rig, ACCESS);
    begin_read(&access, &rig, AT, 1);
    peer_expect(&rig.peer, PEER_MEM, say_read(p, AT, 1));
    invalidate(&rig, AT, 1);
    for (unsigned i = 0; i < 100; i++) {
        invalidate(&rig, 0x1000 * i, 0x1000);
    }
    peer_send_fd(&rig.peer, PEER_MEM, say_read_ret(p, 0, 1, &plain), fd);
    ck_assert_int_eq(end_access(&access), 0);
    rig_drive(&rig);
    ck_assert_uint_eq(rig_ranges(&rig), 0);
    close(fd);
    rig_end(&rig);
}
END_TEST

/* --- during a map change of its own -------------------------------------- */

START_TEST(maps_after_its_own_change)
{
    int fd = peer_memory(SIZE, 0x21, true);
    struct rig rig;

    rig_up(&rig, ROLE(_i));
    memexpose_map_change_begin(rig.group);
    rig_offer(&rig, AT, &plain, fd);
    rig_offer(&rig, AT, &plain, fd);
    ck_assert_uint_eq(rig.maps, 0);
    ck_assert_uint_eq(rig_ranges(&rig), 0);
    memexpose_map_change_end(rig.group);
    rig_drive(&rig);
    ck_assert_uint_eq(rig.maps, 1);
    ck_assert_uint_eq(rig_ranges(&rig), 1);
    close(fd);
    rig_end(&rig);
}
END_TEST

/* What is accepted and not yet mapped goes as well. */
START_TEST(drops_what_it_has_not_mapped_yet)
{
    int fd = peer_memory(SIZE, 0x21, true);
    struct rig rig;

    rig_up(&rig, ROLE(_i));
    memexpose_map_change_begin(rig.group);
    rig_offer(&rig, AT, &plain, fd);
    invalidate(&rig, AT + 8, 1);
    memexpose_map_change_end(rig.group);
    rig_drive(&rig);
    ck_assert_uint_eq(rig.maps, 0);
    ck_assert_uint_eq(rig.unmaps, 0);
    ck_assert_uint_eq(rig_ranges(&rig), 0);
    close(fd);
    rig_end(&rig);
}
END_TEST

START_TEST(drops_it_with_the_links)
{
    int fd = peer_memory(SIZE, 0x21, true);
    struct rig rig;

    rig_up(&rig, ROLE(_i));
    memexpose_map_change_begin(rig.group);
    rig_offer(&rig, AT, &plain, fd);
    peer_close(&rig.peer);
    rig_drive(&rig);
    memexpose_map_change_end(rig.group);
    rig_drive(&rig);
    ck_assert_uint_eq(rig.maps, 0);
    ck_assert_uint_eq(rig_ranges(&rig), 0);
    close(fd);
    rig_end(&rig);
}
END_TEST

/* --- removals that last -------------------------------------------------- */

static int unmap_later(struct rig *rig, const struct memexpose_range *range)
{
    ck_assert(is_filled(range->host, range->size, 0));
    (void)rig;
    return MEMEXPOSE_UNMAP_LATER;
}

/* Later interrupts and responses of the peer are held until it is done. */
START_TEST(holds_until_it_is_unmapped)
{
    struct memexpose_interrupt interrupt;
    struct access access;
    struct rig rig;
    uint8_t p;
    int fd;

    fd = mapped(&rig, ROLE(_i));
    p = rig_own(&rig, ACCESS);
    rig.on_unmap = unmap_later;
    invalidate(&rig, AT, 1);
    ck_assert_uint_eq(rig_ranges(&rig), 0);
    peer_send(&rig.peer, PEER_INTR, say_intr(7, 7));
    rig_drive(&rig);
    ck_assert(!rig.level);
    ck_assert_uint_eq(memexpose_device_reg_read(rig.device, MEMEXPOSE_REG_RX,
                                                8), 0);
    ck_assert_int_eq(memexpose_device_receive(rig.device, &interrupt),
                     -EAGAIN);
    begin_read(&access, &rig, 0x1000, 1);
    peer_expect(&rig.peer, PEER_MEM, say_read(p, 0x1000, 1));
    peer_send(&rig.peer, PEER_MEM, say_read_ret(p, 0, 3, NULL));
    rig_expect_served(&rig);    /* the response has been taken before that */
    ck_assert_int_eq(pthread_tryjoin_np(access.thread, NULL), EBUSY);

    ck_assert_int_eq(memexpose_device_unmapped(rig.device,
                                               rig.unmapped[0].id + 1),
                     -ENOENT);
    ck_assert_int_eq(memexpose_device_unmapped(rig.device,
                                               rig.unmapped[0].id), 0);
    ck_assert_int_eq(memexpose_device_unmapped(rig.device,
                                               rig.unmapped[0].id), -ENOENT);
    ck_assert_int_eq(end_access(&access), 0);
    ck_assert_uint_eq(access.value, 3);
    rig_drive(&rig);
    ck_assert(rig.level);
    ck_assert_uint_eq(rig.rises, 1);
    ck_assert_uint_eq(memexpose_device_reg_read(rig.device, MEMEXPOSE_REG_RX,
                                                8), 1);
    close(fd);
    rig_end(&rig);
}
END_TEST

/* What comes to the same place waits until the old has gone. */
START_TEST(maps_anew_when_the_old_has_gone)
{
    struct access access;
    struct rig rig;
    uint8_t p;
    int fd;

    fd = mapped(&rig, ROLE(_i));
    p = rig_own(&rig, ACCESS);
    rig.on_unmap = unmap_later;
    invalidate(&rig, AT, 1);
    begin_read(&access, &rig, AT, 1);
    peer_expect(&rig.peer, PEER_MEM, say_read(p, AT, 1));
    peer_send_fd(&rig.peer, PEER_MEM, say_read_ret(p, 0, 3, &plain), fd);
    while (rig_stats(&rig).shares_received < 2) {
        rig_drive(&rig);
    }
    rig_drive(&rig);
    ck_assert_uint_eq(rig.maps, 1);
    ck_assert_int_eq(memexpose_device_unmapped(rig.device,
                                               rig.unmapped[0].id), 0);
    ck_assert_int_eq(end_access(&access), 0);
    rig_drive(&rig);
    ck_assert_uint_eq(rig.maps, 2);
    ck_assert_uint_eq(rig_ranges(&rig), 1);
    close(fd);
    rig.on_unmap = NULL;
    rig_end(&rig);
}
END_TEST

static int unmap_slowly(struct rig *rig, const struct memexpose_range *range)
{
    (void)rig;
    (void)range;
    return MEMEXPOSE_UNMAP_LATER;
}

/*
 * A larger share takes the place of a part whose consumer lets go of it later:
 * an invalidation meanwhile reaches the part, too.
 */
START_TEST(reaches_a_part_that_is_being_replaced)
{
    const struct offer part = { .start = AT, .size = 0x1000 };
    int fd = peer_memory(SIZE, 0x21, true);
    const volatile uint8_t *host;
    struct access access;
    struct rig rig;
    uint8_t p;

    rig_up(&rig, ROLE(_i));
    p = rig_own(&rig, ACCESS);
    rig_offer(&rig, AT, &part, fd);
    host = rig.mapped[0].host;
    ck_assert_uint_eq(*host, 0x21);
    rig.on_unmap = unmap_slowly;
    begin_read(&access, &rig, AT + SIZE - 1, 1);
    peer_expect(&rig.peer, PEER_MEM, say_read(p, AT + SIZE - 1, 1));
    peer_send_fd(&rig.peer, PEER_MEM, say_read_ret(p, 0, 3, &plain), fd);
    while (rig.unmaps == 0) {
        rig_drive(&rig);
    }
    invalidate(&rig, AT, SIZE);
    ck_assert_uint_eq(*host, 0);    /* acknowledged: not the peer's any more */
    ck_assert_int_eq(memexpose_device_unmapped(rig.device,
                                               rig.unmapped[0].id), 0);
    end_access(&access);
    rig.on_unmap = NULL;
    close(fd);
    rig_end(&rig);
}
END_TEST

/* And so does the end of the links. */
START_TEST(the_end_reaches_a_part_that_is_being_replaced)
{
    const struct offer part = { .start = AT, .size = 0x1000 };
    int fd = peer_memory(SIZE, 0x21, true);
    const volatile uint8_t *host;
    struct access access;
    struct rig rig;
    uint8_t p;

    rig_up(&rig, ROLE(_i));
    p = rig_own(&rig, ACCESS);
    rig_offer(&rig, AT, &part, fd);
    host = rig.mapped[0].host;
    rig.on_unmap = unmap_slowly;
    begin_read(&access, &rig, AT + SIZE - 1, 1);
    peer_expect(&rig.peer, PEER_MEM, say_read(p, AT + SIZE - 1, 1));
    peer_send_fd(&rig.peer, PEER_MEM, say_read_ret(p, 0, 3, &plain), fd);
    while (rig.unmaps == 0) {
        rig_drive(&rig);
    }
    peer_close(&rig.peer);
    rig_drive(&rig);
    ck_assert_uint_eq(memexpose_device_link_state(rig.device) & 7, 0);
    ck_assert_uint_eq(*host, 0);
    ck_assert_int_eq(memexpose_device_unmapped(rig.device,
                                               rig.unmapped[0].id), 0);
    end_access(&access);
    rig.on_unmap = NULL;
    close(fd);
    rig_end(&rig);
}
END_TEST

/* An answer within unmap itself counts. */
static int unmap_at_once(struct rig *rig, const struct memexpose_range *range)
{
    ck_assert_int_eq(memexpose_device_unmapped(rig->device, range->id), 0);
    return MEMEXPOSE_UNMAP_LATER;
}

START_TEST(may_be_unmapped_within_unmap)
{
    struct rig rig;
    int fd = mapped(&rig, ROLE(_i));

    rig.on_unmap = unmap_at_once;
    invalidate(&rig, AT, 1);
    ck_assert_int_eq(memexpose_device_unmapped(rig.device,
                                               rig.unmapped[0].id), -ENOENT);
    rig_offer(&rig, 0x1000, NULL, -1);
    close(fd);
    rig_end(&rig);
}
END_TEST

/* A device that is destroyed does not wait. */
START_TEST(is_destroyed_with_a_removal_pending)
{
    struct rig rig;
    int fd = mapped(&rig, ROLE(_i));

    rig.on_unmap = unmap_slowly;
    invalidate(&rig, AT, 1);
    close(fd);
    rig_end(&rig);
}
END_TEST

START_TEST(is_destroyed_with_memory_mapped)
{
    struct rig rig;
    int fd = mapped(&rig, ROLE(_i));

    rig.on_unmap = unmap_slowly;
    close(fd);
    rig_end(&rig);
    ck_assert_uint_eq(rig.unmaps, 1);
}
END_TEST

/* --- an object that shrinks ---------------------------------------------- */

static struct rig *faulting;
static volatile sig_atomic_t faults, strangers;

static void on_fault(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    faults++;
    if (!memexpose_device_handle_sigbus(faulting->device, info->si_addr)) {
        strangers++;
        _exit(3);
    }
}

static void catch_faults(struct rig *rig)
{
    struct sigaction action = { .sa_sigaction = on_fault,
                                .sa_flags = SA_SIGINFO };

    faulting = rig;
    sigemptyset(&action.sa_mask);
    ck_assert_int_eq(sigaction(SIGBUS, &action, NULL), 0);
}

START_TEST(survives_an_object_that_shrinks)
{
    struct rig rig;
    uint64_t value;
    int fd = peer_memory(SIZE, 0x21, false);

    rig_up(&rig, ROLE(_i));
    catch_faults(&rig);
    rig_offer(&rig, AT, &plain, fd);
    ck_assert_uint_eq(rig_ranges(&rig), 1);
    ck_assert_int_eq(ftruncate(fd, 0x1000), 0);
    ck_assert_int_eq(memexpose_read(rig.device, AT, 1, &value), 0);
    ck_assert_uint_eq(value, 0x21);
    ck_assert_int_eq(memexpose_read(rig.device, AT + 0x1008, 8, &value), 0);
    ck_assert_uint_eq(value, 0);
    ck_assert_int_eq(faults, 1);
    peer_expect_end(&rig.peer, PEER_MEM);
    ck_assert_uint_eq(harness_logged("link closed"), 1);
    harness_assert_logged("shrunk");
    ck_assert_uint_eq(rig_ranges(&rig), 0);
    ck_assert_uint_eq(rig.unmaps, 1);
    rig_connect(&rig);
    rig_expect_served(&rig);
    close(fd);
    rig_end(&rig);
}
END_TEST

/* The part that is being replaced may still be in use. */
START_TEST(survives_a_part_that_shrinks)
{
    const struct offer part = { .start = AT, .size = 0x2000 };
    int fd = peer_memory(SIZE, 0x21, false);
    const volatile uint8_t *host;
    struct access access;
    struct rig rig;
    uint8_t p;

    rig_up(&rig, ROLE(_i));
    p = rig_own(&rig, ACCESS);
    catch_faults(&rig);
    rig_offer(&rig, AT, &part, fd);
    host = rig.mapped[0].host;
    rig.on_unmap = unmap_slowly;
    begin_read(&access, &rig, AT + SIZE - 1, 1);
    peer_expect(&rig.peer, PEER_MEM, say_read(p, AT + SIZE - 1, 1));
    peer_send_fd(&rig.peer, PEER_MEM, say_read_ret(p, 0, 3, &plain), fd);
    while (rig.unmaps == 0) {
        rig_drive(&rig);
    }
    ck_assert_int_eq(ftruncate(fd, 0), 0);
    ck_assert_uint_eq(host[0x1000], 0);
    ck_assert_int_eq(faults, 1);
    ck_assert_int_eq(memexpose_device_unmapped(rig.device,
                                               rig.unmapped[0].id), 0);
    end_access(&access);
    rig.on_unmap = NULL;
    close(fd);
    rig_end(&rig);
}
END_TEST

START_TEST(knows_strangers)
{
    struct rig rig;
    int here;
    int fd = mapped(&rig, ROLE(_i));
    uint8_t *host = rig.mapped[0].host;

    ck_assert(!memexpose_device_handle_sigbus(rig.device, &here));
    ck_assert(!memexpose_device_handle_sigbus(rig.device, NULL));
    ck_assert(!memexpose_device_handle_sigbus(rig.device, host - 1));
    ck_assert(!memexpose_device_handle_sigbus(rig.device, host + SIZE));
    invalidate(&rig, AT, 1);
    ck_assert(!memexpose_device_handle_sigbus(rig.device, host));
    rig_drive(&rig);
    harness_assert_not_logged("link closed");
    close(fd);
    rig_end(&rig);
}
END_TEST

/* --- main ---------------------------------------------------------------- */

static void both_roles(TCase *tcase, const TTest *test)
{
    tcase_add_loop_test(tcase, test, 0, 2);
}

int main(void)
{
    Suite *suite = suite_create("peer-invalidate");
    TCase *tcase = harness_tcase("invalidation");

    both_roles(tcase, takes_everything_that_intersects);
    both_roles(tcase, takes_several_ranges_at_once);
    both_roles(tcase, does_not_map_what_was_invalidated);
    both_roles(tcase, remembers_many_invalidations);
    both_roles(tcase, maps_after_its_own_change);
    both_roles(tcase, drops_what_it_has_not_mapped_yet);
    both_roles(tcase, drops_it_with_the_links);
    suite_add_tcase(suite, tcase);
    tcase = harness_tcase("removal");
    both_roles(tcase, holds_until_it_is_unmapped);
    both_roles(tcase, maps_anew_when_the_old_has_gone);
    both_roles(tcase, reaches_a_part_that_is_being_replaced);
    both_roles(tcase, the_end_reaches_a_part_that_is_being_replaced);
    both_roles(tcase, may_be_unmapped_within_unmap);
    both_roles(tcase, is_destroyed_with_a_removal_pending);
    both_roles(tcase, is_destroyed_with_memory_mapped);
    suite_add_tcase(suite, tcase);
    tcase = harness_tcase("faults");
    both_roles(tcase, survives_an_object_that_shrinks);
    both_roles(tcase, survives_a_part_that_shrinks);
    both_roles(tcase, knows_strangers);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
