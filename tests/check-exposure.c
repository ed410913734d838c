/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What others get to see and to do: sockets, the rights of descriptors that
 * are handed out, programs that are executed, floods (docs/SECURITY.md).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "os.h"
#include "rig.h"

enum { PAGE = 4096, AT = 0x100000, NOBODY = 65534 };

/* --- sockets ------------------------------------------------------------- */

static unsigned binds;
static mode_t modes;            /* bits that any socket had when it appeared */

int __real_bind(int fd, const struct sockaddr *address, socklen_t size);
int __wrap_bind(int fd, const struct sockaddr *address, socklen_t size);

/* The file is there from here on, and the library has not come back yet. */
int __wrap_bind(int fd, const struct sockaddr *address, socklen_t size)
{
    const struct sockaddr_un *name = (const struct sockaddr_un *)address;
    int ret = __real_bind(fd, address, size);
    struct stat status;

    ck_assert_int_eq(ret, 0);
    ck_assert_int_eq(lstat(name->sun_path, &status), 0);
    ck_assert(S_ISSOCK(status.st_mode));
    modes |= status.st_mode & 07777;
    binds++;
    return ret;
}

START_TEST(sockets_are_private_from_the_beginning)
{
    static const mode_t masks[] = { 0, 022, 0777 };
    char mem[HARNESS_PATH], intr[HARNESS_PATH];
    mode_t before;
    struct rig rig;

    harness_path(mem, "mem");
    harness_path(intr, "intr");
    rig_init(&rig, MEMEXPOSE_ROLE_LISTEN);
    rig_start(&rig);
    before = umask(masks[_i]);
    ck_assert_int_eq(memexpose_device_listen(rig.device, mem, intr), 0);
    umask(before);
    ck_assert_uint_eq(binds, 2);
    ck_assert_uint_eq(modes & 0177, 0);
    rig_end(&rig);
}
END_TEST

static int listen_raw(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    ck_assert_int_ge(fd, 0);
    strcpy(address.sun_path, path);
    ck_assert_int_eq(__real_bind(fd, (struct sockaddr *)&address,
                                 sizeof(address)), 0);
    ck_assert_int_eq(listen(fd, 4), 0);
    return fd;
}

static int accept_driven(struct rig *rig, int listener)
{
    int fd;

    do {
        rig_drive(rig);
        fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    } while (fd < 0 && errno == EAGAIN);
    ck_assert_int_ge(fd, 0);
    return fd;
}

/* Whoever can write the directory is the peer. */
START_TEST(a_path_leads_to_whoever_listens_there)
{
    static const char *const names[PEER_LINKS] = { "mem", "intr" };
    char path[PEER_LINKS][HARNESS_PATH];
    int listener[PEER_LINKS];
    struct rig rig;

    rig_init(&rig, MEMEXPOSE_ROLE_CONNECT);
    rig_start(&rig);
    for (int link = 0; link < PEER_LINKS; link++) {
        harness_path(path[link], names[link]);
        listener[link] = listen_raw(path[link]);
    }
    ck_assert_int_eq(memexpose_device_connect(rig.device, path[PEER_MEM],
                                              path[PEER_INTR]), 0);
    for (int link = 0; link < PEER_LINKS; link++) {
        rig.peer.fd[link] = accept_driven(&rig, listener[link]);
        close(listener[link]);
    }
    rig_expect_served(&rig);
    rig_end(&rig);
}
END_TEST

/* --- rights of descriptors ----------------------------------------------- */

static int new_file(const char *name, off_t size)
{
    char path[HARNESS_PATH];
    int fd;

    harness_path(path, name);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, size), 0);
    return fd;
}

/* The descriptor that a peer would get of what is exported at RIG_RAM. */
static int shared_fd(struct memexpose_space *space)
{
    struct memexpose_share share;

    ck_assert_int_eq(memexpose_space_resolve(space, RIG_RAM, &share), 1);
    return share.fd;
}

static struct memexpose_space *export(int fd, uint64_t size, unsigned flags)
{
    struct memexpose_space *space = memexpose_space_create();

    ck_assert_ptr_nonnull(space);
    ck_assert_int_eq(memexpose_space_add_ram(space, RIG_RAM, size, fd, 0,
                                             flags), 0);
    return space;
}

/*
 * What a peer that is not root gets when it opens @fd anew: 0 or the error.
 * It is another process, and its own user's if this one is not root.
 */
static int opened_anew(int fd, int flags)
{
    char path[64];
    int status = 0;
    pid_t child;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        if (geteuid() == 0 &&
            (setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
             setresuid(NOBODY, NOBODY, NOBODY) < 0 ||
             prctl(PR_SET_DUMPABLE, 1) < 0)) {
            _exit(255);         /* /proc/self would be root's for long */
        }
        _exit(open(path, flags) < 0 ? errno : 0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    ck_assert_int_ne(WEXITSTATUS(status), 255);
    return WEXITSTATUS(status);
}

/*
 * A file of a read-only range can be opened for writing by whom its
 * permissions let, whatever descriptor they got; a memfd cannot be written.
 */
START_TEST(permissions_of_a_file_decide_who_opens_it_anew)
{
    int file = new_file("file", PAGE);
    int only_read = mx_os_reopen_readonly(file);
    struct memexpose_space *space = export(only_read, PAGE,
                                           MEMEXPOSE_RAM_READONLY);
    int fd = shared_fd(space);

    ck_assert_int_eq(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    ck_assert_int_eq(write(fd, "x", 1), -1);
    ck_assert_int_eq(fchmod(file, 0666), 0);
    ck_assert_int_eq(opened_anew(fd, O_RDWR), 0);
    ck_assert_int_eq(fchmod(file, 0444), 0);
    ck_assert_int_eq(opened_anew(fd, O_RDWR), EACCES);
    ck_assert_int_eq(opened_anew(fd, O_RDONLY), 0);
    close(fd);
    close(file);
    memexpose_space_destroy(space);
}
END_TEST

START_TEST(a_memfd_that_is_opened_anew_is_not_written)
{
    struct memexpose_space *space = export(-1, PAGE, MEMEXPOSE_RAM_READONLY);
    int fd = shared_fd(space), again;
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    again = open(path, O_RDWR | O_CLOEXEC);
    if (again >= 0) {           /* by the owner */
        ck_assert_int_eq(pwrite(again, "x", 1, 0), -1);
        ck_assert_int_eq(errno, EPERM);
        ck_assert_ptr_eq(mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, again, 0),
                         MAP_FAILED);
        close(again);
    }
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), -1);
    close(fd);
    memexpose_space_destroy(space);
}
END_TEST

static uint64_t first_word(struct memexpose_space *space)
{
    uint64_t value;

    ck_assert_int_eq(memexpose_space_read(space, RIG_RAM, 8, &value), 0);
    return value;
}

/* Bytes, and holes in their place, and that is all. */
START_TEST(a_writable_memfd_allows_bytes_and_holes)
{
    struct memexpose_space *space = export(-1, 2 * PAGE, 0);
    int fd = shared_fd(space);

    ck_assert_int_eq(pwrite(fd, "\x11\x22\0\0\0\0\0\0", 8, 0), 8);
    ck_assert_uint_eq(first_word(space), 0x2211);
    ck_assert_int_eq(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                               0, PAGE), 0);
    ck_assert_uint_eq(first_word(space), 0);
    ck_assert_int_ne(ftruncate(fd, PAGE), 0);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_int_ne(ftruncate(fd, 3 * PAGE), 0);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    close(fd);
    memexpose_space_destroy(space);
}
END_TEST

/* What is not sealed can be changed by whoever got it. */
START_TEST(a_writable_object_of_the_consumers_allows_more)
{
    int file = new_file("file", PAGE);
    int memory = memfd_create("memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct memexpose_space *space = export(file, PAGE, 0), *other;
    struct stat status;
    int fd = shared_fd(space);

    ck_assert_int_eq(ftruncate(fd, 3 * PAGE), 0);
    ck_assert_int_eq(fstat(file, &status), 0);
    ck_assert_int_eq(status.st_size, 3 * PAGE);
    close(fd);
    memexpose_space_destroy(space);

    ck_assert_int_eq(ftruncate(memory, PAGE), 0);
    other = export(memory, PAGE, 0);
    fd = shared_fd(other);
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), 0);
    ck_assert_int_eq(ftruncate(memory, 2 * PAGE), -1);
    close(fd);
    memexpose_space_destroy(other);
}
END_TEST

/* --- programs that are executed ------------------------------------------ */

/* How many descriptors there are, but those of stdio and of @but. */
static unsigned open_for_programs(int but)
{
    DIR *directory = opendir("/proc/self/fd");
    struct dirent *entry;
    unsigned count = 0;

    ck_assert_ptr_nonnull(directory);
    while ((entry = readdir(directory))) {
        int fd = atoi(entry->d_name);

        count += entry->d_name[0] != '.' && fd > STDERR_FILENO && fd != but &&
                 !(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    }
    closedir(directory);
    return count;
}

/* A descriptor that programs would get, as a careless peer sends them. */
static int careless_memory(void)
{
    int fd = memfd_create("careless", MFD_ALLOW_SEALING);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, PAGE), 0);
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    return fd;
}

static int call_raw(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    strcpy(address.sun_path, path);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address,
                             sizeof(address)), 0);
    return fd;
}

/* Of groups, sockets, halves of connections and links. */
START_TEST(programs_inherit_no_link)
{
    struct memexpose_device_config config;
    struct memexpose_device *caller;
    char mem[HARNESS_PATH], intr[HARNESS_PATH];
    unsigned before = open_for_programs(-1);
    size_t open;
    struct rig rig;
    int raw;

    harness_path(mem, "mem");
    harness_path(intr, "intr");
    rig_init(&rig, MEMEXPOSE_ROLE_LISTEN);
    rig_start(&rig);
    memexpose_device_config_init(&config);
    caller = memexpose_device_create(rig.group, NULL, NULL, &config);
    ck_assert_ptr_nonnull(caller);
    ck_assert_int_eq(memexpose_device_listen(rig.device, mem, intr), 0);
    open = harness_descriptors();
    raw = call_raw(mem);
    while (harness_descriptors() < open + 2) {
        rig_drive(&rig);        /* it has a half */
    }
    ck_assert_uint_eq(open_for_programs(-1), before);
    close(raw);
    while (harness_descriptors() > open) {
        rig_drive(&rig);
    }
    ck_assert_int_eq(memexpose_device_connect(caller, mem, intr), 0);
    while ((rig.state & MEMEXPOSE_STATE_INTR_UP) == 0) {
        rig_drive(&rig);
    }
    ck_assert_uint_ge(harness_descriptors(), open + 4);
    ck_assert_uint_eq(open_for_programs(-1), before);
    memexpose_device_destroy(caller);
    rig_end(&rig);
}
END_TEST

/* Of memory: what is exported, and what came and is queued or pending. */
START_TEST(programs_inherit_no_memory)
{
    const struct offer offer = { .start = AT, .size = PAGE };
    unsigned before = open_for_programs(-1);
    int fd = careless_memory(), shared;
    struct access access;
    struct bytes answer;
    size_t open;
    struct rig rig;
    uint8_t p;

    rig_up(&rig, ROLE(_i));
    p = rig_own(&rig, ACCESS);
    shared = shared_fd(rig.space);
    ck_assert_uint_eq(open_for_programs(fd), before);
    close(shared);
    memexpose_map_change_begin(rig.group);
    rig_offer(&rig, AT, &offer, fd);
    ck_assert_uint_eq(open_for_programs(fd), before);
    memexpose_map_change_end(rig.group);
    rig_drive(&rig);
    ck_assert_uint_eq(rig_ranges(&rig), 1);

    begin_read(&access, &rig, AT + PAGE, 1);
    peer_expect(&rig.peer, PEER_MEM, say_read(p, AT + PAGE, 1));
    open = harness_descriptors();
    answer = say_read_ret(p, 0, 1, &offer);
    peer_send_fds(&rig.peer, PEER_MEM, answer.at, 1, &fd, 1);
    while (harness_descriptors() == open) {
        rig_drive(&rig);        /* it has the descriptor and one byte */
    }
    ck_assert_uint_eq(open_for_programs(fd), before);
    peer_close(&rig.peer);
    ck_assert_int_lt(end_access(&access), 0);
    close(fd);
    rig_end(&rig);
}
END_TEST

/* --- memory that comes to be --------------------------------------------- */

static uint64_t blocks_of(int fd)
{
    struct stat status;

    ck_assert_int_eq(fstat(fd, &status), 0);
    return (uint64_t)status.st_blocks * 512;
}

/* A peer's memory of which there is none yet: the window is the limit. */
START_TEST(pages_come_to_be_when_they_are_touched)
{
    const struct offer offer = { .start = AT, .size = 64 * PAGE };
    int fd = memfd_create("sparse", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct rig rig;

    ck_assert_int_eq(ftruncate(fd, 64 * PAGE), 0);
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    rig_init(&rig, ROLE(_i));
    rig.config.window_size = AT + 16 * PAGE;
    rig_start(&rig);
    rig_connect(&rig);
    ck_assert_int_eq(memexpose_device_enable(rig.device, 0), 0);
    rig_offer(&rig, AT, &offer, fd);
    ck_assert_uint_eq(rig_stats(&rig).mapped_bytes, 16 * PAGE);
    ck_assert_uint_eq(blocks_of(fd), 0);
    ck_assert_int_eq(memexpose_write(rig.device, AT + PAGE, 8, 1), 0);
    ck_assert_uint_gt(blocks_of(fd), 0);
    ck_assert_int_eq(memexpose_write(rig.device, AT + 16 * PAGE, 8, 1),
                     -ERANGE);
    close(fd);
    rig_end(&rig);
}
END_TEST

/* --- floods -------------------------------------------------------------- */

/* As much as goes into the socket; how many messages. */
static unsigned flood(struct rig *rig, int which, struct bytes message)
{
    unsigned sent = 0;

    while (send(rig->peer.fd[which], message.at, message.count,
                MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)message.count) {
        sent++;
    }
    return sent;
}

/*
 * Each turn of the loop takes at most what the buffer of a link holds, and
 * serves the others: the loop goes on, however much waits in a socket.
 */
START_TEST(a_flood_leaves_others_their_turn)
{
    enum { BUFFER = 4096 };
    struct bytes message = say_intr(1, 1);
    uint64_t seen = 0, in_one_turn = BUFFER / message.count + 1;
    struct rig rig, other;
    unsigned sent, turns;

    rig_up(&rig, ROLE(_i));
    rig_init(&other, ROLE(_i));
    rig_join(&other, &rig);
    sent = flood(&rig, PEER_INTR, message);
    ck_assert_uint_gt(sent, 4 * in_one_turn);
    for (turns = 0; seen < sent; turns++) {
        uint8_t priority = rig_peer(&other, ACCESS);
        uint64_t now;

        peer_send(&other.peer, PEER_MEM, say_read(priority, RIG_MMIO + 8, 4));
        rig_drive(&rig);
        now = rig_stats(&rig).interrupts_received;
        ck_assert_uint_gt(now, seen);
        ck_assert_uint_le(now - seen, in_one_turn);
        seen = now;
        peer_expect(&other.peer, PEER_MEM,
                    say_read_ret(priority, 0, 8, NULL));
        seen = rig_stats(&rig).interrupts_received;
    }
    ck_assert_uint_gt(turns, 2);
    rig_leave(&other);
    rig_end(&rig);
}
END_TEST

/* A wait ends in spite of a flood on another link. */
START_TEST(a_flood_does_not_hold_up_a_wait)
{
    struct rig rig, other;
    struct access access;
    unsigned sent;

    rig_up(&rig, ROLE(_i));
    rig_init(&other, ROLE(_i));
    rig_join(&other, &rig);
    sent = flood(&rig, PEER_INTR, say_intr(1, 1));
    begin_read(&access, &other, AT, 1);
    other.peer.drive = NULL;    /* who waits does it */
    peer_expect(&other.peer, PEER_MEM, say_read(rig_own(&other, ACCESS), AT,
                                                1));
    sent += flood(&rig, PEER_INTR, say_intr(1, 1));
    peer_send(&other.peer, PEER_MEM, say_read_ret(rig_own(&other, ACCESS), 0,
                                                  5, NULL));
    ck_assert_int_eq(end_access(&access), 0);
    ck_assert_uint_eq(access.value, 5);
    ck_assert_uint_gt(sent, 0);
    rig_leave(&other);
    rig_end(&rig);
}
END_TEST

/* What a flood brings is not kept: the queue for the guest has its size. */
START_TEST(a_flood_does_not_take_memory)
{
    struct rig rig;
    size_t before;

    rig_up(&rig, ROLE(_i));
    rig_expect_served(&rig);
    before = harness_allocations();
    for (unsigned i = 0; i < 5; i++) {
        ck_assert_uint_gt(flood(&rig, PEER_INTR, say_intr(i, 1)), 0);
        rig_expect_served(&rig);
        ck_assert_uint_eq(harness_allocations(), before);
    }
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
    Suite *suite = suite_create("exposure");
    TCase *tcase = harness_tcase("sockets");

    tcase_add_loop_test(tcase, sockets_are_private_from_the_beginning, 0, 3);
    tcase_add_test(tcase, a_path_leads_to_whoever_listens_there);
    suite_add_tcase(suite, tcase);
    tcase = harness_tcase("descriptors");
    tcase_add_test(tcase, permissions_of_a_file_decide_who_opens_it_anew);
    tcase_add_test(tcase, a_memfd_that_is_opened_anew_is_not_written);
    tcase_add_test(tcase, a_writable_memfd_allows_bytes_and_holes);
    tcase_add_test(tcase, a_writable_object_of_the_consumers_allows_more);
    tcase_add_test(tcase, programs_inherit_no_link);
    both_roles(tcase, programs_inherit_no_memory);
    suite_add_tcase(suite, tcase);
    tcase = harness_tcase("floods");
    both_roles(tcase, pages_come_to_be_when_they_are_touched);
    both_roles(tcase, a_flood_leaves_others_their_turn);
    both_roles(tcase, a_flood_does_not_hold_up_a_wait);
    both_roles(tcase, a_flood_does_not_take_memory);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
