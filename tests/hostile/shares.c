/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shares that lie in each of their fields, and descriptors that are no memory
 * (section 4); peers that make shorter what they have shared.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hostile.h"

enum { PAGES = 2, SIZE = PAGES * PAGE };

/* What becomes of it. */
enum fate { DECLINED, MAPPED, VIOLATION };

struct lie {
    const char *name;
    struct share share;
    enum fate fate;
};

#define BIG UINT64_MAX

/* The access is to OURS, the object has two pages. */
static const struct lie lies[] = {
    { "the truth", { 1, OURS, 0, SIZE, 0, 0 }, MAPPED },
    { "volatile memory that is not", { 1, OURS, 0, SIZE, 0, 255 }, MAPPED },
    { "read-only by 255", { 1, OURS, 0, SIZE, 255, 0 }, MAPPED },
    { "second page of the object", { 1, OURS, PAGE, PAGE, 0, 0 }, MAPPED },
    { "begins before the access", { 1, OURS - PAGE, 0, SIZE, 0, 0 }, MAPPED },
    { "begins behind the access", { 1, OURS + 8, 0, PAGE, 0, 0 }, VIOLATION },
    { "begins a page behind", { 1, OURS + PAGE, 0, PAGE, 0, 0 }, VIOLATION },
    { "ends before the access", { 1, OURS - PAGE, 0, PAGE, 0, 0 },
      VIOLATION },
    { "start of all ones", { 1, BIG, 0, 1, 0, 0 }, VIOLATION },
    { "passes 2^64", { 1, OURS, 0, BIG, 0, 0 }, VIOLATION },
    { "passes 2^64 by one", { 1, OURS, 0, BIG - OURS + 2, 0, 0 }, VIOLATION },
    { "ends at 2^64", { 1, OURS, 0, BIG - OURS + 1, 0, 0 }, DECLINED },
    { "wraps around to the access", { 1, BIG - PAGE + 1, 0, OURS + SIZE, 0,
      0 }, VIOLATION },
    { "everything", { 1, 0, 0, BIG, 0, 0 }, DECLINED },
    { "of size 0", { 1, OURS, 0, 0, 0, 0 }, DECLINED },
    { "of one byte", { 1, OURS, 0, 1, 0, 0 }, DECLINED },
    { "less than a page", { 1, OURS, 0, PAGE - 1, 0, 0 }, DECLINED },
    { "more than the object", { 1, OURS, 0, SIZE + 1, 0, 0 }, DECLINED },
    { "one page more than the object", { 1, OURS, 0, SIZE + PAGE, 0, 0 },
      DECLINED },
    { "offset beyond the object", { 1, OURS, SIZE, PAGE, 0, 0 }, DECLINED },
    { "offset that wraps", { 1, OURS, BIG - PAGE + 1, SIZE, 0, 0 },
      DECLINED },
    { "offset above 2^63", { 1, OURS, UINT64_C(1) << 63, PAGE, 0, 0 },
      DECLINED },
    { "offset within a page", { 1, OURS, 8, PAGE, 0, 0 }, DECLINED },
    { "address within a page", { 1, OURS - 8, 0, PAGE, 0, 0 }, DECLINED },
};

static bool maps(const struct play *play, enum fate fate)
{
    (void)play;
    return fate == MAPPED;
}

/* Offered for a read, the target's command ends as @fate says. */
static bool offer(struct play *play, const struct share *share, int fd,
                  enum fate fate)
{
    if (!asked_read(play, OURS) ||
        !send_with(play, say_read_ret(peers(play, ACCESS), 0, 7, share),
                   fd)) {
        return false;
    }
    if (fate == VIOLATION) {
        return closes(play);
    }
    return answers(play, "0x0000000000000007") &&
           maps_ranges(play, maps(play, fate)) && serves(play);
}

static bool lie_in_read(struct play *play, const void *what)
{
    const struct lie *lie = what;

    return play_settle(play) &&
           offer(play, &lie->share, shared_memory(SIZE, true), lie->fate);
}

static bool lie_in_write(struct play *play, const void *what)
{
    const struct lie *lie = what;

    if (!play_settle(play) || !asked_write(play, OURS) ||
        !send_with(play, say_write_ret(peers(play, ACCESS), 0, &lie->share),
                   shared_memory(SIZE, true))) {
        return false;
    }
    if (lie->fate == VIOLATION) {
        return closes(play);
    }
    return maps_ranges(play, maps(play, lie->fate)) && serves(play);
}

/* In a response that says no it is closed unused. */
static bool lie_in_failure(struct play *play, const void *what)
{
    const struct lie *lie = what;

    return play_settle(play) && asked_read(play, OURS) &&
           send_with(play, say_read_ret(peers(play, ACCESS), 2, 7,
                                        &lie->share),
                     shared_memory(SIZE, true)) &&
           maps_ranges(play, 0) && serves(play);
}

/* --- what is no memory --------------------------------------------------- */

static int pipe_end(void)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0) {
        return -1;
    }
    close(fds[1]);
    return fds[0];
}

static int socket_end(void)
{
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
        return -1;
    }
    close(fds[1]);
    return fds[0];
}

static int event_count(void)
{
    return eventfd(0, EFD_CLOEXEC);
}

static int event_poll(void)
{
    return epoll_create1(EPOLL_CLOEXEC);
}

static int null_device(void)
{
    return open("/dev/null", O_RDWR | O_CLOEXEC);
}

static int zero_device(void)
{
    return open("/dev/zero", O_RDWR | O_CLOEXEC);
}

static int a_directory(void)
{
    return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int only_a_path(void)
{
    return open("/proc/self/exe", O_PATH | O_CLOEXEC);
}

static int a_process_file(void)
{
    return open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
}

static int process_memory(void)
{
    return open("/proc/self/mem", O_RDWR | O_CLOEXEC);
}

static int empty_memory(void)
{
    return shared_memory(0, true);
}

/* Opened anew, which the sealed original does not forbid. */
static int reopened(int flags)
{
    char path[64];
    int fd = shared_memory(SIZE, true), other;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    other = open(path, flags | O_CLOEXEC);
    close(fd);
    return other;
}

static int only_written(void)
{
    return reopened(O_WRONLY);
}

static int only_read(void)
{
    return reopened(O_RDONLY);
}

struct thing {
    const char *name;
    int (*make)(void);
};

static const struct thing things[] = {
    { "a pipe", pipe_end }, { "a socket", socket_end },
    { "an eventfd", event_count }, { "an epoll set", event_poll },
    { "/dev/null", null_device }, { "/dev/zero", zero_device },
    { "a directory", a_directory }, { "a path", only_a_path },
    { "a file of /proc", a_process_file },
    { "the memory of a process", process_memory },
    { "a memfd of no size", empty_memory },
    { "a memfd to be written only", only_written },
    { "a memfd to be read only", only_read },
};

static bool no_memory(struct play *play, const void *what)
{
    const struct share share = { 1, OURS, 0, SIZE, 0, 0 };
    const struct thing *thing = what;

    return play_settle(play) &&
           offer(play, &share, thing->make(), DECLINED);
}

/* --- what is mapped already ---------------------------------------------- */

static bool asked_elsewhere(struct play *play, const struct share *share,
                            int fd)
{
    return asked_read(play, OURS + PAGES * PAGE) &&
           send_with(play, say_read_ret(peers(play, ACCESS), 0, 7, share),
                     fd) &&
           answers(play, "0x0000000000000007");
}

/* Another object over what is mapped is declined. */
static bool overlaps(struct play *play, const void *what)
{
    const struct share share = { 1, OURS, 0, SIZE, 0, 0 };
    const struct share larger = { 1, OURS, 0, 2 * SIZE, 0, 0 };

    (void)what;
    return play_settle(play) &&
           offer(play, &share, shared_memory(SIZE, true), MAPPED) &&
           asked_elsewhere(play, &larger, shared_memory(2 * SIZE, true)) &&
           maps_ranges(play, 1) && serves(play);
}

/* The same object, larger: it replaces; and again, which changes nothing. */
static bool grows(struct play *play, const void *what)
{
    const struct share share = { 1, OURS, 0, SIZE, 0, 0 };
    const struct share larger = { 1, OURS, 0, 2 * SIZE, 0, 0 };
    int fd = shared_memory(2 * SIZE, true);
    bool ok;

    (void)what;
    ok = play_settle(play) && offer(play, &share, dup(fd), MAPPED) &&
         asked_elsewhere(play, &larger, dup(fd)) && maps_ranges(play, 1) &&
         send_message(play, MEM, say_inv(own(play, INVALIDATION), OURS, 1)) &&
         take_header(play, MEM, 6, INV_RET, own(play, INVALIDATION)) &&
         maps_ranges(play, 0) && serves(play);
    close(fd);
    return ok;
}

/* Every page another range, until it is too much. */
static bool too_many_ranges(struct play *play, const void *what)
{
    unsigned more = most_ranges(play) + 76;
    int fd = shared_memory((uint64_t)more * PAGE, true);
    bool ok = play_settle(play);

    (void)what;
    for (unsigned i = 0; ok && i < more; i++) {
        uint64_t at = OURS + (uint64_t)i * PAGE;
        const struct share share = { 1, at, (uint64_t)i * PAGE, PAGE, 0, 0 };

        ok = asked_read(play, at) &&
             send_with(play, say_read_ret(peers(play, ACCESS), 0, 7, &share),
                       dup(fd)) &&
             answers(play, "0x0000000000000007");
    }
    ok = ok && maps_ranges(play, most_ranges(play)) &&
         send_message(play, MEM, say_inv(own(play, INVALIDATION), 0,
                                         UINT64_MAX)) &&
         take_header(play, MEM, 6, INV_RET, own(play, INVALIDATION)) &&
         maps_ranges(play, 0);
    close(fd);
    return ok;
}

void cases_shares(struct round *round)
{
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        round_case(round, "share in READ_RET: ", lies[i].name, lie_in_read,
                   &lies[i]);
        round_case(round, "share in WRITE_RET: ", lies[i].name, lie_in_write,
                   &lies[i]);
        if (lies[i].fate != VIOLATION) {
            round_case(round, "share in a failure: ", lies[i].name,
                       lie_in_failure, &lies[i]);
        }
    }
    for (size_t i = 0; i < sizeof(things) / sizeof(things[0]); i++) {
        round_case(round, "share that is ", things[i].name, no_memory,
                   &things[i]);
    }
    round_case(round, "share: ", "over another object", overlaps, NULL);
    round_case(round, "share: ", "of the same object, larger", grows, NULL);
    round_case(round, "share: ", "one for each page", too_many_ranges, NULL);
}

/* --- peers that shrink --------------------------------------------------- */

/* An access to what is gone, and what it prints. */
struct fault {
    const char *name;
    const char *command;
    const char *printed;
    size_t left;                /* bytes of the object */
};

static const struct fault faults[] = {
    { "read", "read 0x200100", "0x0000000000000000", 0 },
    { "write", "write 0x200100 0x55", NULL, 0 },
    { "read of the second page", "read 0x201000", "0x0000000000000000",
      PAGE },
    { "dump", "dump 0x200000 0x2000 /dev/null", NULL, 0 },
    { "dump of a half", "dump 0x200000 0x2000 /dev/null", NULL, PAGE },
};

static bool shares_and_shrinks(struct play *play, const struct fault *fault,
                               enum fate fate)
{
    const struct share share = { 1, OURS, 0, SIZE, 0, 0 };
    int fd = shared_memory(SIZE, false);
    bool ok = play_settle(play) && offer(play, &share, dup(fd), fate) &&
              (ftruncate(fd, (off_t)fault->left) == 0 ||
               failed(play, "cannot shrink")) &&
              target_tell(play->target, "%s", fault->command);

    close(fd);
    return ok;
}

/* The target lives on, with zeros, and has closed the link. */
static bool faults_are_patched(struct play *play, const void *what)
{
    const struct fault *fault = what;

    return shares_and_shrinks(play, fault, MAPPED) &&
           (!fault->printed || answers(play, fault->printed)) &&
           closes(play);
}

/* It was never mapped: the access goes over the link. */
static bool never_mapped(struct play *play, const void *what)
{
    struct message message;

    return shares_and_shrinks(play, what, DECLINED) &&
           take(play, MEM, HEADER, &message, NULL) &&
           (message.at[4] == READ || message.at[4] == WRITE ||
            failed(play, "no access came"));
}

/* Shorter already when the share comes. */
static bool shrunk_before(struct play *play, const void *what)
{
    const struct share share = { 1, OURS, 0, SIZE, 0, 0 };
    int fd = shared_memory(SIZE, false);
    bool ok = ftruncate(fd, PAGE) == 0 && play_settle(play) &&
              offer(play, &share, dup(fd), DECLINED);

    (void)what;
    close(fd);
    return ok;
}

/* Grown, shrunk and grown again, while it is read. */
static bool flickers(struct play *play, const void *what)
{
    const struct share share = { 1, OURS, 0, SIZE, 0, 0 };
    int fd = shared_memory(SIZE, false);
    bool ok = play_settle(play) && offer(play, &share, dup(fd), MAPPED) &&
              target_tell(play->target, "dump 0x200000 0x2000 /dev/null; "
                          "dump 0x200000 0x2000 /dev/null; "
                          "dump 0x200000 0x2000 /dev/null");

    (void)what;
    for (unsigned i = 0; ok && i < 200; i++) {
        ok = ftruncate(fd, i % 2 ? SIZE : 0) == 0;
    }
    close(fd);
    return ok && (target_sync(play->target) ||
                  failed(play, "the target obeys no more"));
}

/* After a fault the link is closed, and what it patched is gone with it. */
void cases_shrinking(struct round *round)
{
    bool required = strcmp(round_seals(round), "require") == 0;

    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        round_case(round, "shrinks: ", faults[i].name,
                   required ? never_mapped : faults_are_patched, &faults[i]);
    }
    round_case(round, "shrinks: ", "before it is mapped", shrunk_before,
               NULL);
    if (!required) {
        round_case(round, "shrinks: ", "and grows, all the time", flickers,
                   NULL);
    }
}
