/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests rest on, tried by itself: does an emulator of system calls
 * do what Linux does?  Prints a line for each thing, and fails if one is
 * wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

static size_t page;
static sigjmp_buf after_fault;
static void *volatile fault_address;

static int sealed_memfd(int seals)
{
    int fd = memfd_create("probe", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0 || ftruncate(fd, (off_t)page) < 0 ||
        (seals && fcntl(fd, F_ADD_SEALS, seals) < 0)) {
        perror("memfd");
        exit(EXIT_FAILURE);
    }
    return fd;
}

static bool seals_are_kept(void)
{
    int fd = sealed_memfd(F_SEAL_SHRINK | F_SEAL_GROW);
    bool right = fcntl(fd, F_GET_SEALS) == (F_SEAL_SHRINK | F_SEAL_GROW) &&
                 ftruncate(fd, 0) < 0 && errno == EPERM;

    close(fd);
    return right;
}

static bool future_writes_are_sealed(void)
{
    int fd = sealed_memfd(0);
    char *before = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    bool right = fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE) == 0;

    if (before != MAP_FAILED) {
        *before = 'x';
        munmap(before, page);
    }
    right = right && before != MAP_FAILED &&
            write(fd, "y", 1) < 0 && errno == EPERM &&
            mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) ==
            MAP_FAILED;
    close(fd);
    return right;
}

static bool opens_anew(void)
{
    int fd = sealed_memfd(0), again;
    char path[64];
    bool right;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    again = open(path, O_RDONLY | O_CLOEXEC);
    right = again >= 0 && (fcntl(again, F_GETFL) & O_ACCMODE) == O_RDONLY &&
            write(again, "x", 1) < 0;
    close(again);
    close(fd);
    return right;
}

/* Send @passed, @count times. */
static bool sends(int socket, int passed, size_t count)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(2 * sizeof(int))];
    } control = { 0 };
    struct iovec bytes = { "x", 1 };
    struct msghdr message = {
        .msg_iov = &bytes, .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = CMSG_SPACE(count * sizeof(int)),
    };
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);

    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    for (size_t i = 0; i < count; i++) {
        memcpy(CMSG_DATA(header) + i * sizeof(int), &passed, sizeof(int));
    }
    return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == 1;
}

/*
 * There is room for one descriptor, which is the result; *@flags becomes the
 * message's.
 */
static int receives(int socket, int *flags)
{
    union {
        struct cmsghdr header;
        char space[CMSG_LEN(sizeof(int))];
    } control = { 0 };
    char byte;
    struct iovec bytes = { &byte, 1 };
    struct msghdr message = {
        .msg_iov = &bytes, .msg_iovlen = 1,
        .msg_control = &control, .msg_controllen = CMSG_LEN(sizeof(int)),
    };
    struct cmsghdr *header;
    int fd = -1;

    if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) != 1) {
        return -1;
    }
    *flags = message.msg_flags;
    header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_type == SCM_RIGHTS &&
        header->cmsg_len == CMSG_LEN(sizeof(int))) {
        memcpy(&fd, CMSG_DATA(header), sizeof(int));
    }
    return fd;
}

static bool descriptors_travel(void)
{
    int pair[2], flags = 0, fd = sealed_memfd(F_SEAL_SHRINK), got;
    bool right;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        return false;
    }
    right = sends(pair[0], fd, 1);
    got = receives(pair[1], &flags);
    right = right && got >= 0 && (fcntl(got, F_GETFD) & FD_CLOEXEC) &&
            fcntl(got, F_GET_SEALS) == F_SEAL_SHRINK && !(flags & MSG_CTRUNC);
    close(got);
    close(fd);
    close(pair[0]);
    close(pair[1]);
    return right;
}

/* The lowest descriptor that is free. */
static int lowest(void)
{
    int fd = dup(STDERR_FILENO);

    close(fd);
    return fd;
}

static bool lost_descriptors_are_told(void)
{
    int pair[2], flags = 0, fd = sealed_memfd(0), before, got;
    bool right;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        return false;
    }
    before = lowest();
    right = sends(pair[0], fd, 2);
    got = receives(pair[1], &flags);
    close(got);
    right = right && got >= 0 && (flags & MSG_CTRUNC) && lowest() == before;
    close(fd);
    close(pair[0]);
    close(pair[1]);
    return right;
}

static bool peers_are_known(void)
{
    struct ucred who = { 0 };
    socklen_t bytes = sizeof(who);
    int pair[2];
    bool right;

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0) {
        return false;
    }
    right = getsockopt(pair[0], SOL_SOCKET, SO_PEERCRED, &who, &bytes) == 0 &&
            bytes == sizeof(who) && who.uid == getuid() &&
            who.pid == getpid();
    close(pair[0]);
    close(pair[1]);
    return right;
}

static bool events_are_counted(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    uint64_t value = 3;
    bool right = write(fd, &value, sizeof(value)) == sizeof(value) &&
                 write(fd, &value, sizeof(value)) == sizeof(value) &&
                 read(fd, &value, sizeof(value)) == sizeof(value) &&
                 value == 6 && read(fd, &value, sizeof(value)) < 0 &&
                 errno == EAGAIN;

    close(fd);
    return right;
}

static bool signals_are_read(void)
{
    struct signalfd_siginfo info = { 0 };
    sigset_t set, old;
    bool right;
    int fd;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, &old);
    fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    right = fd >= 0 && kill(getpid(), SIGUSR1) == 0 &&
            read(fd, &info, sizeof(info)) == sizeof(info) &&
            info.ssi_signo == SIGUSR1 && info.ssi_pid == (uint32_t)getpid();
    close(fd);
    sigprocmask(SIG_SETMASK, &old, NULL);
    return right;
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    fault_address = info->si_addr;
    siglongjmp(after_fault, 1);
}

static bool faults_tell_where(void)
{
    struct sigaction action = {
        .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO,
    };
    int fd = sealed_memfd(0);
    volatile char *host = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED,
                               fd, 0);
    bool right = host != MAP_FAILED && ftruncate(fd, 0) == 0 &&
                 sigaction(SIGBUS, &action, NULL) == 0;

    if (right && sigsetjmp(after_fault, 1) == 0) {
        host[8] = 1;
        right = false;          /* there was no fault */
    }
    right = right && fault_address == (const void *)(uintptr_t)&host[8];
    signal(SIGBUS, SIG_DFL);
    munmap((void *)(uintptr_t)host, page);
    close(fd);
    return right;
}

static bool mappings_are_listed(void)
{
    int fd = sealed_memfd(0);
    void *host = mmap(NULL, page, PROT_READ, MAP_SHARED, fd, 0);
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512], rights[5];
    unsigned long long start;
    bool right = false;

    while (maps && fgets(line, sizeof(line), maps)) {
        if (sscanf(line, "%llx-%*x %4s", &start, rights) == 2 &&
            start == (uintptr_t)host && strcmp(rights, "r--s") == 0) {
            right = true;
        }
    }
    if (maps) {
        fclose(maps);
    }
    munmap(host, page);
    close(fd);
    return right;
}

/* Without a binfmt handler no program of another machine can be executed. */
static bool programs_are_executed(void)
{
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        execl("/proc/self/exe", "probe", "executed", (char *)NULL);
        _exit(127);
    }
    return child > 0 && waitpid(child, &status, 0) == child &&
           WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static const struct {
    const char *name;
    const char *what;
    bool (*is_right)(void);
} things[] = {
    { "seals", "memfd that cannot shrink", seals_are_kept },
    { "future-write", "memfd with F_SEAL_FUTURE_WRITE",
      future_writes_are_sealed },
    { "reopen", "memfd opened anew through /proc", opens_anew },
    { "rights", "SCM_RIGHTS, a descriptor with its seals",
      descriptors_travel },
    { "lost-rights", "SCM_RIGHTS, one too many: MSG_CTRUNC, and closed",
      lost_descriptors_are_told },
    { "peer", "SO_PEERCRED", peers_are_known },
    { "eventfd", "eventfd", events_are_counted },
    { "signalfd", "signalfd", signals_are_read },
    { "sigbus", "SIGBUS with its address", faults_tell_where },
    { "maps", "/proc/self/maps", mappings_are_listed },
    { "exec", "a program executes itself", programs_are_executed },
};

int main(int count, char **arguments)
{
    const uint16_t one = 1;
    unsigned wrong = 0;

    (void)arguments;
    if (count > 1) {
        return EXIT_SUCCESS;
    }
    page = (size_t)sysconf(_SC_PAGESIZE);
    printf("%zu-bit, %s-endian, pages of %zu bytes\n", 8 * sizeof(void *),
           *(const uint8_t *)&one ? "little" : "big", page);
    fflush(stdout);
    for (size_t i = 0; i < sizeof(things) / sizeof(things[0]); i++) {
        bool right = things[i].is_right();

        printf("%s %s: %s\n", right ? "works" : "WRONG", things[i].name,
               things[i].what);
        fflush(stdout);
        wrong += !right;
    }
    return wrong ? EXIT_FAILURE : EXIT_SUCCESS;
}
