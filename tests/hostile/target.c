/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The process that is attacked: a simulator with a terminal, at whose prompt a
 * command that fails does not end it; and what the kernel says of it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "hostile.h"

const char *directory;

/* --- life ---------------------------------------------------------------- */

static int open_terminal(int *theirs)
{
    int ours = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct termios modes;

    if (ours < 0 || grantpt(ours) < 0 || unlockpt(ours) < 0) {
        return -1;
    }
    *theirs = open(ptsname(ours), O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (*theirs < 0 || tcgetattr(*theirs, &modes) < 0) {
        return -1;
    }
    modes.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
    modes.c_oflag &= ~(tcflag_t)OPOST;
    tcsetattr(*theirs, TCSANOW, &modes);
    fcntl(ours, F_SETFL, O_NONBLOCK);
    return ours;
}

static void become(const struct target *target, int terminal, int results,
                   const char *const *words)
{
    int log = open(target->log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND,
                   0600);

    setenv("TERM", "dumb", 1);
    setenv("HOME", directory, 1);       /* nobody's .editrc */
    if (dup2(terminal, 0) < 0 || dup2(results, 1) < 0 || dup2(log, 2) < 0) {
        _exit(126);
    }
    closefrom(3);
    execvp(words[0], (char *const *)(uintptr_t)words);
    _exit(127);
}

static bool listen_for(struct target *target)
{
    for (int which = 0; which < LINKS; which++) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX,
                        SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        strcpy(address.sun_path, target->path[which]);
        unlink(target->path[which]);
        if (fd < 0 || bind(fd, (struct sockaddr *)&address,
                           sizeof(address)) < 0 || listen(fd, 64) < 0) {
            return false;
        }
        target->listener[which] = fd;
    }
    return true;
}

static void name_files(struct target *target)
{
    static unsigned started;

    started++;
    snprintf(target->path[MEM], LINK_PATH, "%s/%u-mem", directory, started);
    snprintf(target->path[INTR], LINK_PATH, "%s/%u-intr", directory, started);
    snprintf(target->log, LINK_PATH, "%s/%u.log", directory, started);
}

bool target_start(struct target *target, const char *const *words)
{
    const char *full[WORDS + 8] = { NULL };
    int terminal, results[2], count = 0;

    name_files(target);
    while (words[count]) {
        full[count] = words[count];
        count++;
    }
    full[count++] = target->listens ? "--listen=x" : "--connect=x";
    full[count++] = "--mem-socket";
    full[count++] = target->path[MEM];
    full[count++] = "--intr-socket";
    full[count++] = target->path[INTR];
    target->listener[MEM] = target->listener[INTR] = -1;
    target->length = 0;
    target->pid = -1;
    if ((!target->listens && !listen_for(target)) ||
        pipe2(results, O_CLOEXEC) < 0) {
        return false;
    }
    target->terminal = open_terminal(&terminal);
    if (target->terminal < 0) {
        return false;
    }
    target->pid = fork();
    if (target->pid == 0) {
        become(target, terminal, results[1], full);
    }
    close(terminal);
    close(results[1]);
    target->results = results[0];
    fcntl(target->results, F_SETFL, O_NONBLOCK);
    return target->pid > 0;
}

bool target_lives(const struct target *target)
{
    siginfo_t info = { .si_pid = 0 };

    return target->pid > 0 &&
           waitid(P_PID, (id_t)target->pid, &info,
                  WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

void target_end(struct target *target)
{
    if (target->pid > 0) {
        kill(target->pid, SIGKILL);
        waitpid(target->pid, NULL, 0);
    }
    close(target->terminal);
    close(target->results);
    for (int which = 0; which < LINKS; which++) {
        if (target->listener[which] >= 0) {
            close(target->listener[which]);
        }
        unlink(target->path[which]);
    }
    unlink(target->log);
    target->pid = -1;
}

/* --- talking to its user's side ------------------------------------------ */

static void drain_terminal(struct target *target)
{
    char bytes[1024];

    while (read(target->terminal, bytes, sizeof(bytes)) > 0) {
    }
}

bool target_tell(struct target *target, const char *format, ...)
{
    char text[LINE];
    va_list args;
    size_t count, done = 0;
    int64_t deadline = now_ms() + patience(PATIENCE);

    va_start(args, format);
    vsnprintf(text, sizeof(text) - 1, format, args);
    va_end(args);
    strcat(text, "\n");
    count = strlen(text);
    while (done < count && now_ms() < deadline) {
        struct pollfd ready = { .fd = target->terminal, .events = POLLOUT };
        ssize_t ret;

        drain_terminal(target);
        ret = write(target->terminal, text + done, count - done);
        if (ret > 0) {
            done += (size_t)ret;
        } else if (errno == EAGAIN) {
            poll(&ready, 1, 10);
        } else {
            return false;
        }
    }
    return done == count;
}

/* A whole line of what is there goes to @line. */
static bool cut_line(struct target *target, char line[LINE])
{
    char *end = memchr(target->line, '\n', target->length);
    size_t count;

    if (!end) {
        return false;
    }
    count = (size_t)(end - target->line);
    memcpy(line, target->line, count);
    line[count] = '\0';
    target->length -= count + 1;
    memmove(target->line, end + 1, target->length);
    return true;
}

bool target_answer(struct target *target, char line[LINE])
{
    int64_t deadline = now_ms() + patience(PATIENCE);

    while (!cut_line(target, line)) {
        struct pollfd ready = { .fd = target->results, .events = POLLIN };
        ssize_t ret;

        drain_terminal(target);
        if (target->length == LINE) {
            target->length = 0;
        }
        ret = read(target->results, target->line + target->length,
                   LINE - target->length);
        if (ret > 0) {
            target->length += (size_t)ret;
        } else if (ret == 0 || now_ms() > deadline) {
            return false;
        } else {
            poll(&ready, 1, 100);
        }
    }
    return true;
}

/* By a number that no other command prints. */
bool target_sync(struct target *target)
{
    char line[LINE], wanted[LINE];

    target->synced++;
    snprintf(wanted, sizeof(wanted), "0x%08x", 0xa5000000 | target->synced);
    if (!target_tell(target, "reg 0x810 4 %s; reg 0x810 4", wanted)) {
        return false;
    }
    do {
        if (!target_answer(target, line)) {
            return false;
        }
    } while (strcmp(line, wanted) != 0);
    return true;
}

/* --- what the kernel says of it ------------------------------------------ */

static unsigned count_descriptors(pid_t pid)
{
    char path[LINK_PATH];
    struct dirent *entry;
    unsigned count = 0;
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    dir = opendir(path);
    while (dir && (entry = readdir(dir))) {
        count += entry->d_name[0] != '.';
    }
    if (dir) {
        closedir(dir);
    }
    return count;
}

static uint64_t digest(uint64_t sum, const char *text)
{
    while (*text) {
        sum = (sum ^ (uint8_t)*text++) * UINT64_C(0x100000001b3);
    }
    return sum;
}

/* Shared mappings, and files that nobody executes or links. */
static void look_at_mappings(pid_t pid, struct holdings *holdings)
{
    char path[LINK_PATH], line[4 * LINE], access[8];
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
    file = fopen(path, "re");
    holdings->digest = UINT64_C(0xcbf29ce484222325);
    while (file && fgets(line, sizeof(line), file)) {
        if (sscanf(line, "%*s %7s", access) == 1 &&
            (access[3] == 's' || strstr(line, "memfd:"))) {
            holdings->shared++;
            holdings->digest = digest(holdings->digest, line);
        }
    }
    if (file) {
        fclose(file);
    }
}

static void look_at_memory(pid_t pid, struct holdings *holdings)
{
    char path[LINK_PATH], line[LINE];
    unsigned long long amount;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file)) {
        if (sscanf(line, "RssAnon: %llu kB", &amount) == 1) {
            holdings->anonymous = amount * 1024;
        } else if (sscanf(line, "VmSize: %llu kB", &amount) == 1) {
            holdings->addresses = amount * 1024;
        }
    }
    if (file) {
        fclose(file);
    }
}

bool target_holds(const struct target *target, struct holdings *holdings)
{
    memset(holdings, 0, sizeof(*holdings));
    holdings->descriptors = count_descriptors(target->pid);
    look_at_mappings(target->pid, holdings);
    look_at_memory(target->pid, holdings);
    return holdings->descriptors > 0 && holdings->addresses > 0;
}

/* --- its log ------------------------------------------------------------- */

off_t target_log_end(const struct target *target)
{
    struct stat file;

    return stat(target->log, &file) == 0 ? file.st_size : 0;
}

unsigned target_logged(const struct target *target, off_t from,
                       const char *text)
{
    char line[4 * LINE];
    unsigned count = 0;
    FILE *file = fopen(target->log, "re");

    if (!file) {
        return 0;
    }
    fseeko(file, from, SEEK_SET);
    while (fgets(line, sizeof(line), file)) {
        count += strstr(line, text) != NULL;
    }
    fclose(file);
    return count;
}

unsigned target_left_out(const struct target *target)
{
    char line[4 * LINE];
    unsigned sum = 0;
    FILE *file = fopen(target->log, "re");

    while (file && fgets(line, sizeof(line), file)) {
        const char *words = strstr(line, " lines about the peer were left");

        while (words && words > line && words[-1] != ' ') {
            words--;
        }
        sum += words ? (unsigned)atoi(words) : 0;
    }
    if (file) {
        fclose(file);
    }
    return sum;
}

void target_show_log(const struct target *target, off_t from)
{
    char line[4 * LINE];
    FILE *file = fopen(target->log, "re");

    if (!file) {
        return;
    }
    fseeko(file, from, SEEK_SET);
    while (fgets(line, sizeof(line), file)) {
        printf("    log: %s%s", line, strchr(line, '\n') ? "" : "\n");
    }
    fclose(file);
}
