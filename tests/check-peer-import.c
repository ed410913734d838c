/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device as importer, seen by a raw peer: which shares it maps (protocol
 * sections 2 and 4).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness.h"
#include "rig.h"

enum { AT = 0x100000, SIZE = 0x4000 };

static const struct offer plain = { .start = AT, .size = SIZE };

/* Started, connected and enabled, with what the test has configured. */
static void bring_up(struct rig *rig)
{
    rig_start(rig);
    rig_connect(rig);
    ck_assert_int_eq(memexpose_device_enable(rig->device, 0), 0);
}

/* The next read of @address goes over the link. */
static void expect_link(struct rig *rig, uint64_t address)
{
    rig_offer(rig, address, NULL, -1);
}

/* It does not. */
static void expect_direct(struct rig *rig, uint64_t address, uint64_t wanted)
{
    uint64_t value;

    ck_assert_int_eq(memexpose_read(rig->device, address, 1, &value), 0);
    ck_assert_uint_eq(value, wanted);
    peer_expect_nothing(&rig->peer, PEER_MEM);
}

static void offer_memory(struct rig *rig, const struct offer *offer,
                         size_t size, uint8_t fill)
{
    int fd = peer_memory(size, fill, true);

    rig_offer(rig, offer->start, offer, fd);
    close(fd);
}

/* A descriptor may come together with the bytes of earlier messages. */
START_TEST(takes_a_descriptor_behind_another_message)
{
    struct access access;
    struct bytes inv, answer;
    int fd = peer_memory(SIZE, 0x21, true);
    struct rig rig;
    uint8_t p, q;

    rig_up(&rig, MEMEXPOSE_ROLE_LISTEN);
    p = rig_own(&rig, ACCESS);
    q = rig_peer(&rig, INVALIDATE);
    begin_read(&access, &rig, AT, 1);
    peer_expect(&rig.peer, PEER_MEM, say_read(p, AT, 1));
    inv = say_inv(q, 0, 0x1000);
    answer = say_read_ret(p, 0, 5, &plain);
    memcpy(inv.at + inv.count, answer.at, answer.count);
    inv.count += answer.count;
    peer_send_fd(&rig.peer, PEER_MEM, inv, fd);
    close(fd);
    peer_expect(&rig.peer, PEER_MEM, say_inv_ret(q));
    ck_assert_int_eq(end_access(&access), 0);
    rig_drive(&rig);
    expect_direct(&rig, AT, 0x21);
    rig_end(&rig);
}
END_TEST

/* --- what is mapped (section 4) ------------------------------------------ */

START_TEST(maps_a_share)
{
    struct memexpose_range range;
    struct memexpose_stats stats;
    struct rig rig;
    uint8_t byte;
    int fd = peer_memory(SIZE, 0x21, true);

    rig_up(&rig, ROLE(_i));
    rig_offer(&rig, AT + 5, &plain, fd);
    stats = rig_stats(&rig);
    ck_assert_uint_eq(stats.shares_received, 1);
    ck_assert_uint_eq(stats.mapped_ranges, 1);
    ck_assert_uint_eq(stats.mapped_bytes, SIZE);
    ck_assert_uint_eq(memexpose_device_ranges(rig.device, &range, 1), 1);
    ck_assert_uint_eq(range.start, AT);
    ck_assert_uint_eq(range.size, SIZE);
    ck_assert(!range.readonly && !range.nonvolatile);
    ck_assert_ptr_eq(memexpose_device_translate(rig.device, AT + 7, &range),
                     (uint8_t *)range.host + 7);
    ck_assert_uint_eq(rig.maps, 1);
    ck_assert_uint_eq(rig.mapped[0].id, range.id);

    expect_direct(&rig, AT, 0x21);
    expect_direct(&rig, AT + SIZE - 1, 0x21);
    ck_assert_int_eq(memexpose_write(rig.device, AT + 0x1001, 1, 0x42), 0);
    ck_assert_int_eq(pread(fd, &byte, 1, 0x1001), 1);
    ck_assert_uint_eq(byte, 0x42);
    ck_assert_uint_eq(rig_stats(&rig).requests_sent, 1);
    expect_link(&rig, AT - 1);
    expect_link(&rig, AT + SIZE);
    close(fd);
    rig_end(&rig);
}
END_TEST

/* An access that leaves the range goes over the link as a whole. */
START_TEST(does_not_split_accesses)
{
    struct access access;
    struct rig rig;
    uint8_t p;

    rig_up(&rig, ROLE(_i));
    p = rig_own(&rig, ACCESS);
    offer_memory(&rig, &plain, SIZE, 1);
    begin_read(&access, &rig, AT + SIZE - 4, 8);
    peer_expect(&rig.peer, PEER_MEM, say_read(p, AT + SIZE - 4, 8));
    peer_send(&rig.peer, PEER_MEM, say_read_ret(p, 0, 9, NULL));
    ck_assert_int_eq(end_access(&access), 0);
    ck_assert_uint_eq(access.value, 9);
    rig_end(&rig);
}
END_TEST

START_TEST(writes_read_only_memory_by_link)
{
    const struct offer rom = { .start = AT, .size = SIZE, .readonly = 1,
                               .nonvolatile = 1 };
    struct access access;
    struct rig rig;
    uint8_t p;

    rig_up(&rig, ROLE(_i));
    p = rig_own(&rig, ACCESS);
    offer_memory(&rig, &rom, SIZE, 0x31);
    ck_assert(rig.mapped[0].readonly && rig.mapped[0].nonvolatile);
    expect_direct(&rig, AT, 0x31);
    begin_write(&access, &rig, AT, 1, 1);
    peer_expect(&rig.peer, PEER_MEM, say_write(p, AT, 1, 1));
    peer_send(&rig.peer, PEER_MEM, say_write_ret(p, 4, NULL));
    ck_assert_int_eq(end_access(&access), MEMEXPOSE_RESULT_DENIED);
    rig_end(&rig);
}
END_TEST

/* Only whole pages are mapped, ragged ends stay on the link. */
START_TEST(maps_whole_pages)
{
    const struct offer ragged = { .start = AT + 0x800, .mmap_start = 0x800,
                                  .size = 0x3000 };
    struct rig rig;

    rig_up(&rig, ROLE(_i));
    offer_memory(&rig, &ragged, SIZE, 0x21);
    ck_assert_uint_eq(rig.maps, 1);
    ck_assert_uint_eq(rig.mapped[0].start, AT + 0x1000);
    ck_assert_uint_eq(rig.mapped[0].size, 0x2000);
    expect_direct(&rig, AT + 0x1000, 0x21);
    expect_direct(&rig, AT + 0x2fff, 0x21);
    expect_link(&rig, AT + 0xfff);
    expect_link(&rig, AT + 0x3000);
    rig_end(&rig);
}
END_TEST

START_TEST(clips_to_the_window)
{
    struct rig rig;
    uint64_t value;

    rig_init(&rig, ROLE(_i));
    rig.config.window_size = AT + 0x1800;
    bring_up(&rig);
    offer_memory(&rig, &plain, SIZE, 0x21);
    ck_assert_uint_eq(rig.maps, 1);
    ck_assert_uint_eq(rig.mapped[0].size, 0x1000);
    expect_link(&rig, AT + 0x17ff);
    ck_assert_int_eq(memexpose_read(rig.device, AT + 0x1800, 1, &value),
                     -ERANGE);
    ck_assert_int_eq(memexpose_read(rig.device, AT + 0x17fe, 4, &value),
                     -ERANGE);
    ck_assert_uint_eq(value, UINT64_MAX);
    peer_expect_nothing(&rig.peer, PEER_MEM);
    rig_end(&rig);
}
END_TEST

/* --- what is declined ---------------------------------------------------- */

struct decline {
    const char *what;
    struct offer offer;
    size_t size;                /* of the object */
    int (*object)(size_t size);
    const char *reason;         /* in the log */
    uint64_t window;
};

static int sealed(size_t size)
{
    return peer_memory(size, 1, true);
}

static int a_pipe(size_t size)
{
    int pipes[2];

    (void)size;
    ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
    close(pipes[1]);
    return pipes[0];
}

static int a_socket(size_t size)
{
    (void)size;
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int a_device(size_t size)
{
    (void)size;
    return open("/dev/zero", O_RDWR | O_CLOEXEC);
}

static int a_directory(size_t size)
{
    (void)size;
    return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int a_path(size_t size)
{
    char path[HARNESS_PATH];
    int fd;

    harness_path(path, "object");
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
    close(fd);
    return open(path, O_PATH | O_CLOEXEC);
}

/* Mapping it for writing fails. */
static int read_only(size_t size)
{
    int fd = peer_memory(size, 1, true);
    char path[64];
    int again;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    again = open(path, O_RDONLY | O_CLOEXEC);
    close(fd);
    return again;
}

static const struct decline declines[] = {
    { "empty", { .start = AT, .size = 0 }, SIZE, sealed, "empty", 0 },
    { "empty elsewhere", { .start = 5, .size = 0 }, SIZE, sealed, "empty", 0 },
    { "offset wraps", { .start = AT, .mmap_start = UINT64_MAX - 0xfff,
      .size = SIZE }, SIZE, sealed, "wraps", 0 },
    { "pages differ", { .start = AT, .mmap_start = 0x800, .size = 0x1000 },
      SIZE, sealed, "differ", 0 },
    { "too short", { .start = AT, .size = SIZE + 1 }, SIZE, sealed,
      "too short", 0 },
    { "too short behind the offset", { .start = AT, .mmap_start = 0x1000,
      .size = SIZE }, SIZE, sealed, "too short", 0 },
    { "offset behind the end", { .start = AT, .mmap_start = SIZE + 0x1000,
      .size = 0x1000 }, SIZE, sealed, "too short", 0 },
    { "pipe", { .start = AT, .size = SIZE }, 0, a_pipe, "neither", 0 },
    { "socket", { .start = AT, .size = SIZE }, 0, a_socket, "neither", 0 },
    { "device", { .start = AT, .size = SIZE }, 0, a_device, "neither", 0 },
    { "directory", { .start = AT, .size = 8 }, 0, a_directory, "neither", 0 },
    { "no whole page", { .start = AT, .mmap_start = 0, .size = 0xfff }, SIZE,
      sealed, "no whole page", 0 },
    { "no whole page at the end", { .start = AT + 1, .mmap_start = 1,
      .size = 0x1ffe }, SIZE, sealed, "no whole page", 0 },
    { "outside the window", { .start = AT, .size = SIZE }, SIZE, sealed,
      "no whole page", AT + 0x10 },
    { "read-only descriptor", { .start = AT, .size = SIZE }, SIZE, read_only,
      "declined", 0 },
    { "path only", { .start = AT, .size = SIZE }, SIZE, a_path, "declined",
      0 },
};

enum { DECLINES = sizeof(declines) / sizeof(declines[0]) };

/* The access succeeds, the descriptor is closed, nothing is mapped. */
static void expect_declined(struct rig *rig, uint64_t address,
                            const struct offer *offer, int fd,
                            const char *reason)
{
    size_t ranges = rig_ranges(rig);
    unsigned maps = rig->maps;
    size_t descriptors = harness_descriptors();

    harness_log_clear();
    rig_offer(rig, address, offer, fd);
    ck_assert_uint_eq(harness_descriptors(), descriptors);
    ck_assert_uint_eq(rig_ranges(rig), ranges);
    ck_assert_uint_eq(rig->maps, maps);
    harness_assert_logged(reason);
    harness_assert_not_logged("link closed");
}

START_TEST(declines_a_share)
{
    const struct decline *decline = &declines[_i / 2];
    struct rig rig;
    int fd = decline->object(decline->size);

    ck_assert_int_ge(fd, 0);
    fprintf(stderr, "%s\n", decline->what);
    rig_init(&rig, ROLE(_i % 2));
    rig.config.window_size = decline->window;
    bring_up(&rig);
    expect_declined(&rig, AT + 1, &decline->offer, fd, decline->reason);
    expect_declined(&rig, AT + 1, &decline->offer, fd, decline->reason);
    rig_expect_served(&rig);
    close(fd);
    rig_end(&rig);
}
END_TEST

START_TEST(declines_what_overlaps)
{
    const struct offer shifted = { .start = AT + 0x1000, .size = SIZE };
    const struct offer moved = { .start = AT - 0x1000, .mmap_start = 0x1000,
                                 .size = SIZE };
    int first = peer_memory(2 * SIZE, 0x21, true);
    int other = peer_memory(2 * SIZE, 0x22, true);
    struct rig rig;

    rig_up(&rig, ROLE(_i));
    rig_offer(&rig, AT, &plain, first);
    /* Another object, and the same one at another place. */
    expect_declined(&rig, AT + SIZE, &shifted, other, "overlaps");
    expect_declined(&rig, AT + SIZE, &shifted, first, "overlaps");
    expect_declined(&rig, AT - 1, &moved, first, "overlaps");
    expect_direct(&rig, AT + 0x1000, 0x21);
    close(first);
    close(other);
    rig_end(&rig);
}
END_TEST

/* The same object at the same place, more of it. */
START_TEST(replaces_a_part)
{
    const struct offer more = { .start = AT - 0x1000, .size = SIZE + 0x2000 };
    const struct offer part = { .start = AT, .mmap_start = 0x1000,
                                .size = SIZE };
    int fd = peer_memory(SIZE + 0x2000, 0x21, true);
    struct rig rig;

    rig_up(&rig, ROLE(_i));
    rig_offer(&rig, AT, &part, fd);
    rig_offer(&rig, AT - 1, &more, fd);
    ck_assert_uint_eq(rig_ranges(&rig), 1);
    ck_assert_uint_eq(rig.maps, 2);
    ck_assert_uint_eq(rig.unmaps, 1);
    ck_assert_uint_eq(rig.unmapped[0].id, rig.mapped[0].id);
    ck_assert_uint_ne(rig.mapped[0].id, rig.mapped[1].id);
    ck_assert_uint_eq(rig_stats(&rig).mapped_bytes, SIZE + 0x2000);
    expect_direct(&rig, AT - 0x1000, 0x21);
    expect_direct(&rig, AT + SIZE, 0x21);
    close(fd);
    rig_end(&rig);
}
END_TEST

/* What is mapped already changes nothing: a write to read-only memory. */
START_TEST(keeps_what_is_the_same)
{
    const struct offer rom = { .start = AT, .size = SIZE, .readonly = 1 };
    struct access access;
    int fd = peer_memory(SIZE, 0x21, true);
    size_t descriptors;
    struct rig rig;
    uint8_t p;

    rig_up(&rig, ROLE(_i));
    p = rig_own(&rig, ACCESS);
    rig_offer(&rig, AT, &rom, fd);
    descriptors = harness_descriptors();
    begin_write(&access, &rig, AT, 1, 1);
    peer_expect(&rig.peer, PEER_MEM, say_write(p, AT, 1, 1));
    peer_send_fd(&rig.peer, PEER_MEM, say_write_ret(p, 0, &rom), fd);
    ck_assert_int_eq(end_access(&access), 0);
    rig_drive(&rig);
    ck_assert_uint_eq(harness_descriptors(), descriptors);
    ck_assert_uint_eq(rig.maps, 1);
    ck_assert_uint_eq(rig.unmaps, 0);
    ck_assert_uint_eq(rig_stats(&rig).shares_received, 2);
    close(fd);
    rig_end(&rig);
}
END_TEST

/* More rights replace fewer; fewer are there already. */
START_TEST(replaces_by_other_rights)
{
    const struct offer rom = { .start = AT, .size = SIZE, .readonly = 1 };
    struct access access;
    int fd = peer_memory(SIZE, 0x21, true);
    struct rig rig;
    uint8_t p;

    rig_up(&rig, ROLE(_i));
    p = rig_own(&rig, ACCESS);
    rig_offer(&rig, AT, &rom, fd);
    begin_write(&access, &rig, AT, 1, 0x42);
    peer_expect(&rig.peer, PEER_MEM, say_write(p, AT, 0x42, 1));
    peer_send_fd(&rig.peer, PEER_MEM, say_write_ret(p, 0, &plain), fd);
    ck_assert_int_eq(end_access(&access), 0);
    rig_drive(&rig);
    ck_assert_uint_eq(rig.maps, 2);
    ck_assert_uint_eq(rig.unmaps, 1);
    ck_assert(!rig.mapped[1].readonly);
    ck_assert_int_eq(memexpose_write(rig.device, AT, 1, 0x43), 0);
    expect_direct(&rig, AT, 0x43);
    /* One that leaves the range goes over the link and brings fewer. */
    begin_read(&access, &rig, AT + SIZE - 1, 2);
    peer_expect(&rig.peer, PEER_MEM, say_read(p, AT + SIZE - 1, 2));
    peer_send_fd(&rig.peer, PEER_MEM, say_read_ret(p, 0, 1, &rom), fd);
    ck_assert_int_eq(end_access(&access), 0);
    rig_drive(&rig);
    ck_assert_uint_eq(rig.maps, 2);
    ck_assert_int_eq(memexpose_write(rig.device, AT, 1, 0x44), 0);
    expect_direct(&rig, AT, 0x44);
    close(fd);
    rig_end(&rig);
}
END_TEST

START_TEST(maps_so_many_and_no_more)
{
    struct offer offer = { .size = 0x1000 };
    int fd = peer_memory(0x1000, 0x21, true);
    struct rig rig;

    rig_init(&rig, ROLE(_i));
    rig.config.max_ranges = 3;
    bring_up(&rig);
    for (unsigned i = 0; i < 3; i++) {
        offer.start = AT + 0x2000 * i;
        rig_offer(&rig, offer.start, &offer, fd);
    }
    ck_assert_uint_eq(rig_ranges(&rig), 3);
    offer.start = AT + 0x10000;
    expect_declined(&rig, offer.start, &offer, fd, "too many");
    rig_ask(&rig, say_inv(rig_peer(&rig, INVALIDATE), AT, 1),
            say_inv_ret(rig_peer(&rig, INVALIDATE)));
    rig_offer(&rig, offer.start, &offer, fd);
    ck_assert_uint_eq(rig_ranges(&rig), 3);
    close(fd);
    rig_end(&rig);
}
END_TEST

static int refuse_map(struct rig *rig, const struct memexpose_range *range)
{
    (void)rig;
    (void)range;
    return -ENOSPC;
}

/* The consumer's map fails: the range stays on the link. */
START_TEST(the_consumer_may_decline)
{
    int fd = peer_memory(SIZE, 0x21, true);
    struct rig rig;

    rig_up(&rig, ROLE(_i));
    rig.on_map = refuse_map;
    rig_offer(&rig, AT, &plain, fd);
    ck_assert_uint_eq(rig.maps, 1);
    ck_assert_uint_eq(rig_ranges(&rig), 0);
    ck_assert_uint_eq(rig_stats(&rig).mapped_bytes, 0);
    rig.on_map = NULL;
    rig_offer(&rig, AT, &plain, fd);
    ck_assert_uint_eq(rig_ranges(&rig), 1);
    ck_assert_uint_eq(rig.unmaps, 0);
    close(fd);
    rig_end(&rig);
}
END_TEST

/* --- seals --------------------------------------------------------------- */

START_TEST(seals_required)
{
    int fd = peer_memory(SIZE, 0x21, false);
    struct rig rig;

    rig_init(&rig, ROLE(_i));
    rig.config.seals = MEMEXPOSE_SEALS_REQUIRE;
    bring_up(&rig);
    expect_declined(&rig, AT, &plain, fd, "not sealed");
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    rig_offer(&rig, AT, &plain, fd);
    ck_assert_uint_eq(rig_ranges(&rig), 1);
    close(fd);
    rig_end(&rig);
}
END_TEST

/* Missed once, for however many. */
START_TEST(seals_preferred)
{
    struct offer offer = { .size = 0x1000 };
    int fd = peer_memory(SIZE, 0x21, false);
    struct rig rig;

    rig_up(&rig, ROLE(_i));
    for (unsigned i = 0; i < 3; i++) {
        offer.start = AT + 0x2000 * i;
        rig_offer(&rig, offer.start, &offer, fd);
    }
    ck_assert_uint_eq(rig_ranges(&rig), 3);
    ck_assert_uint_eq(harness_logged("not sealed against shrinking"), 1);
    close(fd);
    rig_end(&rig);
}
END_TEST

START_TEST(seals_ignored)
{
    int fd = peer_memory(SIZE, 0x21, false);
    struct rig rig;

    rig_init(&rig, ROLE(_i));
    rig.config.seals = MEMEXPOSE_SEALS_IGNORE;
    bring_up(&rig);
    rig_offer(&rig, AT, &plain, fd);
    ck_assert_uint_eq(rig_ranges(&rig), 1);
    harness_assert_not_logged("sealed");
    close(fd);
    rig_end(&rig);
}
END_TEST

/* --- shares of no use ---------------------------------------------------- */

START_TEST(closes_the_share_of_a_failure)
{
    struct access access;
    int fd = peer_memory(SIZE, 0x21, true);
    size_t descriptors;
    struct rig rig;
    uint8_t p;

    rig_up(&rig, ROLE(_i));
    p = rig_own(&rig, ACCESS);
    descriptors = harness_descriptors();
    begin_read(&access, &rig, AT, 1);
    peer_expect(&rig.peer, PEER_MEM, say_read(p, AT, 1));
    peer_send_fd(&rig.peer, PEER_MEM, say_read_ret(p, 1, 0, &plain), fd);
    ck_assert_int_eq(end_access(&access), 1);
    rig_drive(&rig);
    ck_assert_uint_eq(harness_descriptors(), descriptors);
    ck_assert_uint_eq(rig_ranges(&rig), 0);
    close(fd);
    rig_end(&rig);
}
END_TEST

/* --- main ---------------------------------------------------------------- */

static void both_roles(TCase *tcase, const TTest *test)
{
    tcase_add_loop_test(tcase, test, 0, 2);
}

static TCase *mapping(void)
{
    TCase *tcase = harness_tcase("mapping");

    tcase_add_test(tcase, takes_a_descriptor_behind_another_message);
    both_roles(tcase, maps_a_share);
    both_roles(tcase, replaces_by_other_rights);
    both_roles(tcase, does_not_split_accesses);
    both_roles(tcase, writes_read_only_memory_by_link);
    both_roles(tcase, maps_whole_pages);
    both_roles(tcase, clips_to_the_window);
    tcase_add_loop_test(tcase, declines_a_share, 0, 2 * DECLINES);
    both_roles(tcase, declines_what_overlaps);
    both_roles(tcase, replaces_a_part);
    both_roles(tcase, keeps_what_is_the_same);
    both_roles(tcase, maps_so_many_and_no_more);
    both_roles(tcase, the_consumer_may_decline);
    both_roles(tcase, seals_required);
    both_roles(tcase, seals_preferred);
    both_roles(tcase, seals_ignored);
    both_roles(tcase, closes_the_share_of_a_failure);
    return tcase;
}

int main(void)
{
    Suite *suite = suite_create("peer-import");

    suite_add_tcase(suite, mapping());
    return harness_main(suite);
}
