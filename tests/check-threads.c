/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What threads may do at the same time: readers look host addresses up inside
 * read-side sections of a consumer's RCU, which is liburcu's here, while the
 * peer shares and takes back; others access through the same device, with
 * changes of the exported memory map besides.
 */
#include <endian.h>
#include <fcntl.h>
#include <semaphore.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <urcu-bp.h>

#include "harness.h"
#include "rig.h"

#if defined(__SANITIZE_THREAD__)
#define WITH_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WITH_TSAN 1
#endif
#endif

enum {
    READERS = 4,
    ROUNDS = 300,               /* shares and invalidations */
    BLOCKERS = 20,              /* invalidations, while a reader is looked at */
    LOOKS = 100,                /* of it, within each call of retire */
    ACCESSES = 400,             /* each thread's */
    CHANGES = 100,              /* of the exported memory map */
    PAGE = 4096,
    PAGES = 4,
    MINE = 0x100000,            /* where the peer's memory lies */
    FAR = 0x800000              /* what it never shares */
};

#define WORD UINT64_C(0x1122334455667788)

static struct rig rig;
static const struct offer offer = { .start = MINE, .size = PAGES * PAGE };

/* --- the consumer's RCU -------------------------------------------------- */

/*
 * ThreadSanitizer does not see what orders a grace period behind the sections
 * before it, for liburcu is not instrumented: say it.
 */
static int grace;

#ifdef WITH_TSAN
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#else
static void __tsan_acquire(void *address)
{
    (void)address;
}

static void __tsan_release(void *address)
{
    (void)address;
}
#endif

static void section_begin(void)
{
    urcu_bp_read_lock();
}

static void section_end(void)
{
    __tsan_release(&grace);
    urcu_bp_read_unlock();
}

struct retired {
    struct rcu_head head;
    void (*fn)(void *arg);
    void *arg;
};

static atomic_uint retired_count, freed_count;

/* What a test does while the library calls, with its lock held. */
static void (*_Atomic in_retire)(void);

static void free_retired(struct rcu_head *head)
{
    struct retired *retired = (struct retired *)head;

    __tsan_acquire(&grace);
    retired->fn(retired->arg);
    free(retired);
    freed_count++;
}

static void op_retire(void *opaque, void (*fn)(void *arg), void *arg)
{
    struct retired *retired = malloc(sizeof(*retired));

    (void)opaque;
    ck_assert_ptr_nonnull(retired);
    *retired = (struct retired) { .fn = fn, .arg = arg };
    if (in_retire) {
        in_retire();
    }
    __tsan_release(&grace);     /* call_rcu orders, but is not instrumented */
    urcu_bp_call_rcu(&retired->head, free_retired);
    retired_count++;
}

/* --- a device and its peer ----------------------------------------------- */

static atomic_bool over;
static int object;

static int op_read(void *opaque, uint64_t address, unsigned bytes,
                   uint64_t *value)
{
    (void)opaque;
    return memexpose_space_read(rig.space, address, bytes, value);
}

static int op_resolve(void *opaque, uint64_t address,
                      struct memexpose_share *share)
{
    (void)opaque;
    return memexpose_space_resolve(rig.space, address, share);
}

static const struct memexpose_device_ops ops = {
    .size = sizeof(ops),
    .read = op_read,
    .resolve = op_resolve,
    .retire = op_retire,
};

static void *drive(void *opaque)
{
    (void)opaque;
    while (!over) {
        struct pollfd fds[8];
        size_t count = memexpose_group_poll(rig.group, fds, 8, NULL, NULL);

        ck_assert_uint_le(count, 8);
        poll(fds, count, 10);
        memexpose_group_process(rig.group, NULL, 0);
    }
    return NULL;
}

static void fill_object(void)
{
    uint64_t words[PAGE / 8];

    for (unsigned i = 0; i < PAGE / 8; i++) {
        words[i] = WORD;
    }
    object = memfd_create("threads", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    ck_assert_int_ge(object, 0);
    for (unsigned i = 0; i < PAGES; i++) {
        ck_assert_int_eq(pwrite(object, words, PAGE, (off_t)i * PAGE), PAGE);
    }
    ck_assert_int_eq(fcntl(object, F_ADD_SEALS, F_SEAL_SHRINK), 0);
}

static pthread_t driver;

static void begin(void)
{
    rig_init(&rig, MEMEXPOSE_ROLE_LISTEN);
    rig_start(&rig);
    memexpose_device_destroy(rig.device);
    rig.device = memexpose_device_create(rig.group, &ops, &rig, &rig.config);
    ck_assert_ptr_nonnull(rig.device);
    rig_connect(&rig);
    rig.peer.drive = NULL;      /* a thread does */
    ck_assert_int_eq(memexpose_device_enable(rig.device, 0), 0);
    over = false;
    fill_object();
    ck_assert_int_eq(pthread_create(&driver, NULL, drive, NULL), 0);
}

static bool all_is_freed(void *opaque)
{
    (void)opaque;
    return freed_count == retired_count;
}

/* Everything that was retired is freed, also behind the device's end. */
static void end(void)
{
    over = true;
    pthread_join(driver, NULL);
    rig_end(&rig);
    close(object);
    harness_wait(all_is_freed, NULL, 5000);
    ck_assert_uint_gt(retired_count, 0);
}

/* --- readers ------------------------------------------------------------- */

struct reader {
    pthread_t thread;
    atomic_bool let_go;
    atomic_uint looks, zeros, words, wrong;
};

/*
 * The memory of another process, which is no data of this one's: what is
 * there may change at any time, and is no race.
 */
__attribute__((no_sanitize("thread")))
static uint64_t look(const void *host)
{
    return *(const volatile uint64_t *)host;
}

static void count_value(struct reader *reader, uint64_t value)
{
    if (value == 0) {
        reader->zeros++;
    } else if (value == WORD) {
        reader->words++;
    } else {
        reader->wrong++;
    }
}

static void *run_reader(void *opaque)
{
    struct reader *reader = opaque;
    struct memexpose_range range;
    uint64_t at = 0;

    while (!reader->let_go) {
        const void *host;

        reader->looks++;
        section_begin();
        host = memexpose_device_translate(rig.device, MINE + at, &range);
        if (host) {
            reader->wrong += range.start != MINE ||
                             range.size != PAGES * PAGE ||
                             (const char *)range.host + at != host;
            count_value(reader, look(host));
            count_value(reader, look(host));
        }
        section_end();
        at = (at + 8 * 37) % (PAGES * PAGE);
    }
    return NULL;
}

static void share_once(void)
{
    struct access access;

    begin_read(&access, &rig, MINE, 8);
    peer_expect(&rig.peer, PEER_MEM, say_read(rig_own(&rig, ACCESS), MINE,
                                              8));
    peer_send_fd(&rig.peer, PEER_MEM,
                 say_read_ret(rig_own(&rig, ACCESS), 0, 1, &offer),
                 object);
    ck_assert_int_eq(end_access(&access), 0);
}

static void take_back(void)
{
    peer_send(&rig.peer, PEER_MEM, say_inv(rig_peer(&rig, INVALIDATE), MINE,
                                           PAGES * PAGE));
    peer_expect(&rig.peer, PEER_MEM, say_inv_ret(rig_peer(&rig,
                                                          INVALIDATE)));
}

static bool is_mapped(void *opaque)
{
    (void)opaque;
    return rig_ranges(&rig) == 1;
}

/* Fewer where everything takes longer. */
static unsigned rounds(void)
{
    return (unsigned)(ROUNDS / harness_milliseconds(1));
}

START_TEST(readers_meet_invalidations)
{
    struct reader readers[READERS] = { { .looks = 0 } };
    unsigned words = 0;

    begin();
    for (unsigned i = 0; i < READERS; i++) {
        ck_assert_int_eq(pthread_create(&readers[i].thread, NULL, run_reader,
                                        &readers[i]), 0);
    }
    for (unsigned i = 0; i < rounds(); i++) {
        share_once();
        harness_wait(is_mapped, NULL, 5000);
        take_back();
        ck_assert_uint_eq(rig_ranges(&rig), 0);
    }
    for (unsigned i = 0; i < READERS; i++) {
        readers[i].let_go = true;
        pthread_join(readers[i].thread, NULL);
        words += readers[i].words;
        ck_assert_uint_eq(readers[i].wrong, 0);
    }
    ck_assert_uint_gt(words, 0);
    end();
    ck_assert_uint_ge(retired_count, 2 * rounds());
}
END_TEST

/* --- a reader that stays ------------------------------------------------- */

struct sleeper {
    pthread_t thread;
    sem_t found, go_on;
    uint64_t before, after;
};

static void *run_sleeper(void *opaque)
{
    struct sleeper *sleeper = opaque;
    struct memexpose_range range;
    const void *host;

    section_begin();
    host = memexpose_device_translate(rig.device, MINE + PAGE, &range);
    ck_assert_ptr_nonnull(host);
    sleeper->before = look(host);
    sem_post(&sleeper->found);
    sem_wait(&sleeper->go_on);
    sleeper->after = look(host);
    ck_assert_uint_eq(look((const char *)range.host), 0);
    ck_assert_uint_eq(look((const char *)range.host + range.size - 8), 0);
    section_end();
    return NULL;
}

static void begin_sleeper(struct sleeper *sleeper)
{
    sem_init(&sleeper->found, 0, 0);
    sem_init(&sleeper->go_on, 0, 0);
    ck_assert_int_eq(pthread_create(&sleeper->thread, NULL, run_sleeper,
                                    sleeper), 0);
    sem_wait(&sleeper->found);
}

static void end_sleeper(struct sleeper *sleeper)
{
    sem_post(&sleeper->go_on);
    pthread_join(sleeper->thread, NULL);
    ck_assert_uint_eq(sleeper->before, WORD);
    ck_assert_uint_eq(sleeper->after, 0);
}

/* Whether the peer takes it back, leaves, or the device ends. */
static void range_goes(int how)
{
    switch (how) {
    case 0:
        take_back();
        break;
    case 1:
        peer_close(&rig.peer);
        break;
    case 2:
        memexpose_device_disable(rig.device);
        break;
    default:
        memexpose_device_reset(rig.device);
    }
}

static bool is_gone(void *opaque)
{
    (void)opaque;
    return rig_ranges(&rig) == 0 && retired_count >= 2;
}

/* The acknowledgement waits for no reader, and nothing is freed before. */
START_TEST(reader_holds_what_is_gone)
{
    struct sleeper sleeper;

    begin();
    share_once();
    harness_wait(is_mapped, NULL, 5000);
    begin_sleeper(&sleeper);
    range_goes(_i);
    harness_wait(is_gone, NULL, 5000);
    ck_assert_uint_eq(freed_count, 0);
    end_sleeper(&sleeper);
    end();
}
END_TEST

/* The same, and the device is no more. */
START_TEST(reader_outlives_the_device)
{
    struct sleeper sleeper;

    begin();
    share_once();
    harness_wait(is_mapped, NULL, 5000);
    begin_sleeper(&sleeper);
    over = true;
    pthread_join(driver, NULL);
    memexpose_device_destroy(rig.device);
    ck_assert_uint_ge(retired_count, 2);
    ck_assert_uint_eq(freed_count, 0);
    end_sleeper(&sleeper);
    memexpose_space_destroy(rig.space);
    peer_close(&rig.peer);
    ck_assert_int_eq(memexpose_group_destroy(rig.group), 0);
    close(object);
    harness_wait(all_is_freed, NULL, 5000);
}
END_TEST

/* --- no reader blocks ---------------------------------------------------- */

static struct reader busy;

static bool has_looked(void *opaque)
{
    return busy.looks >= *(const unsigned *)opaque;
}

/* The library is in the middle of a removal, and its lock is held. */
static void let_reader_look(void)
{
    unsigned wanted = busy.looks + LOOKS;

    harness_wait(has_looked, &wanted, 5000);
}

/* The list without the range, and the range. */
static bool all_is_retired(void *opaque)
{
    return retired_count == *(const unsigned *)opaque;
}

START_TEST(reader_never_blocks)
{
    unsigned expected = 2 * BLOCKERS;

    begin();
    busy = (struct reader) { .looks = 0 };
    ck_assert_int_eq(pthread_create(&busy.thread, NULL, run_reader, &busy),
                     0);
    in_retire = let_reader_look;
    for (unsigned i = 0; i < BLOCKERS; i++) {
        share_once();
        harness_wait(is_mapped, NULL, 5000);
        take_back();
    }
    harness_wait(all_is_retired, &expected, 5000);
    in_retire = NULL;
    busy.let_go = true;
    pthread_join(busy.thread, NULL);
    ck_assert_uint_ge(busy.looks, expected * LOOKS);
    ck_assert_uint_eq(busy.wrong, 0);
    end();
}
END_TEST

/* --- accesses by several threads ----------------------------------------- */

/* Exactly @count bytes; descriptors that come are closed. */
static bool get(uint8_t *at, size_t count)
{
    while (count > 0) {
        struct iovec part = { .iov_base = at, .iov_len = count };
        union {
            struct cmsghdr align;
            char bytes[CMSG_SPACE(sizeof(int))];
        } control;
        struct msghdr message = {
            .msg_iov = &part, .msg_iovlen = 1,
            .msg_control = control.bytes, .msg_controllen = sizeof(control),
        };
        ssize_t got = recvmsg(rig.peer.fd[PEER_MEM], &message, 0);
        struct cmsghdr *head = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;
        int fd;

        if (got <= 0) {
            return false;
        }
        if (head) {
            memcpy(&fd, CMSG_DATA(head), sizeof(fd));
            close(fd);
        }
        at += got;
        count -= (size_t)got;
    }
    return true;
}

static bool unanswered_inv, unanswered_read;
static atomic_uint invalidations;

/* A read of what it may share brings the share along. */
static void answer_read(uint64_t address)
{
    uint8_t priority = rig_own(&rig, ACCESS);

    if (address >= MINE && address < MINE + PAGES * PAGE) {
        peer_send_fd(&rig.peer, PEER_MEM,
                     say_read_ret(priority, 0, WORD, &offer), object);
    } else {
        peer_send(&rig.peer, PEER_MEM, say_read_ret(priority, 0, address,
                                                    NULL));
    }
}

/* What it wants itself, one of each class at a time. */
static void ask(unsigned turn)
{
    if (!unanswered_inv && turn % 8 == 0) {
        unanswered_inv = true;
        peer_send(&rig.peer, PEER_MEM,
                  say_inv(rig_peer(&rig, INVALIDATE), MINE, PAGES * PAGE));
    }
    if (!unanswered_read && turn % 2 == 0) {
        unanswered_read = true;
        peer_send(&rig.peer, PEER_MEM, say_read(rig_peer(&rig, ACCESS),
                                                RIG_RAM, 8));
    }
}

/*
 * Until the links end.  Answers come last: once everything is answered, nothing
 * more is sent, and the device may go.
 */
static void *run_peer(void *opaque)
{
    uint8_t message[64];
    uint64_t address;
    unsigned turn = 0;

    (void)opaque;
    while (get(message, 6) && message[0] <= sizeof(message) &&
           get(message + 6, message[0] - 6u)) {
        memcpy(&address, message + 6, sizeof(address));
        address = le64toh(address);
        switch (message[4]) {
        case 0:
            ask(turn++);
            answer_read(address);
            break;
        case 2:
            peer_send(&rig.peer, PEER_MEM,
                      say_write_ret(rig_own(&rig, ACCESS), 0, NULL));
            break;
        case 4:
            invalidations++;
            peer_send(&rig.peer, PEER_MEM,
                      say_inv_ret(rig_own(&rig, INVALIDATE)));
            break;
        case 1:
            unanswered_read = false;
            break;
        default:
            unanswered_inv = false;
        }
    }
    return NULL;
}

/* What the peer shares, has taken back, or answers. */
static bool is_shared_word(uint64_t value)
{
    return value == 0 || value == WORD;
}

/* Returns what it was not to get, or NULL. */
static const char *access_all(uint64_t far, uint64_t near)
{
    uint64_t words[8] = { 1 }, value;
    size_t done;

    if (memexpose_read(rig.device, far, 8, &value) != 0 || value != far) {
        return "read over the link";
    }
    if (memexpose_write(rig.device, far, 4, value) != 0) {
        return "write over the link";
    }
    if (memexpose_read(rig.device, near, 8, &value) != 0 ||
        !is_shared_word(value)) {
        return "read of what is shared";
    }
    if (memexpose_write(rig.device, near, 8, WORD) != 0) {
        return "write of what is shared";
    }
    if (memexpose_read_block(rig.device, MINE + PAGE, words, sizeof(words),
                             &done) != 0 || done != sizeof(words) ||
        !is_shared_word(words[0]) || !is_shared_word(words[7])) {
        return "read of a block";
    }
    return NULL;
}

static void *run_accesses(void *opaque)
{
    uint64_t base = *(const uint64_t *)opaque;
    const char *wrong = NULL;

    for (uint64_t i = 0; i < ACCESSES && !wrong; i++) {
        wrong = access_all(base + 8 * i, MINE + i * 8 % PAGE);
    }
    return (void *)(uintptr_t)wrong;
}

static void change_map(void)
{
    memexpose_map_change_begin(rig.group);
    ck_assert_int_eq(memexpose_map_change_invalidate(rig.device, RIG_RAM, 1),
                     0);
    ck_assert_int_eq(memexpose_map_change_wait(rig.group), 0);
    memexpose_map_change_end(rig.group);
}

START_TEST(accesses_by_many)
{
    pthread_t threads[READERS], peer;
    uint64_t bases[READERS];
    struct reader reader = { .looks = 0 };

    begin();
    ck_assert_int_eq(pthread_create(&peer, NULL, run_peer, NULL), 0);
    ck_assert_int_eq(pthread_create(&reader.thread, NULL, run_reader,
                                    &reader), 0);
    for (unsigned i = 0; i < READERS; i++) {
        bases[i] = FAR + i * 0x10000;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, run_accesses,
                                        &bases[i]), 0);
    }
    for (unsigned i = 0; i < CHANGES; i++) {
        change_map();
    }
    for (unsigned i = 0; i < READERS; i++) {
        void *wrong;

        pthread_join(threads[i], &wrong);
        ck_assert_msg(!wrong, "%s", (const char *)wrong);
    }
    reader.let_go = true;
    pthread_join(reader.thread, NULL);
    ck_assert_uint_eq(reader.wrong, 0);
    memexpose_device_disable(rig.device);
    pthread_join(peer, NULL);
    ck_assert_uint_gt(rig_stats(&rig).invalidations_received, 0);
    ck_assert_uint_eq(rig_stats(&rig).violations, 0);
    end();
}
END_TEST

/* valgrind runs one thread at a time: those that spin would keep it for hours.
 * ASan and TSan run this one. */
static bool one_thread_at_a_time(void)
{
    const char *wrapper = getenv("CHECK_WRAPPER");

    return wrapper && strstr(wrapper, "valgrind");
}

int main(void)
{
    Suite *suite = suite_create("threads");
    TCase *tcase = harness_tcase("readers");

    suite_add_tcase(suite, tcase);
    if (one_thread_at_a_time()) {
        srunner_free(srunner_create(suite));
        return 77;              /* skipped, as Automake counts it */
    }
    tcase_add_test(tcase, readers_meet_invalidations);
    tcase_add_loop_test(tcase, reader_holds_what_is_gone, 0, 4);
    tcase_add_test(tcase, reader_outlives_the_device);
    tcase_add_test(tcase, reader_never_blocks);
    tcase = harness_tcase("accesses");
    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, accesses_by_many);
    return harness_main(suite);
}
