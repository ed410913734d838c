/* SPDX-License-Identifier: BSD-3-Clause */
#include "process.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cores.h"

enum { MAX_CHILDREN = 16, MAX_PATHS = 16, PATH_ROOM = 108 };

/* What a signal handler needs is the process's; it only reads. */
static struct {
    volatile pid_t children[MAX_CHILDREN];
    char directory[PATH_ROOM];
    char paths[MAX_PATHS][PATH_ROOM];
    volatile sig_atomic_t path_count;
} processes;

static const int deadly[] = { SIGINT, SIGTERM, SIGHUP };

/* Async-signal-safe. */
static void remove_everything(void)
{
    size_t i;

    for (i = 0; i < MAX_CHILDREN; i++) {
        if (processes.children[i] > 0) {
            kill(processes.children[i], SIGKILL);
        }
    }
    for (i = 0; i < (size_t)processes.path_count; i++) {
        unlink(processes.paths[i]);
    }
    if (processes.directory[0]) {
        rmdir(processes.directory);
    }
}

static void on_signal(int number)
{
    remove_everything();
    signal(number, SIG_DFL);
    raise(number);
}

void process_init(void)
{
    struct sigaction action, before;
    size_t i;

    memset(&action, 0, sizeof(action));
    action.sa_handler = on_signal;
    for (i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++) {
        if (sigaction(deadly[i], NULL, &before) == 0 &&
            before.sa_handler != SIG_IGN) {     /* as nohup(1) has it */
            sigaction(deadly[i], &action, NULL);
        }
    }
    signal(SIGPIPE, SIG_IGN);   /* a child that died shows as an error */
}

static void deadly_signals(sigset_t *set)
{
    size_t i;

    sigemptyset(set);
    for (i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++) {
        sigaddset(set, deadly[i]);
    }
}

/* The child owns nothing of what the parent has to clean up. */
static void begin_child(int core, pid_t parent, const sigset_t *before)
{
    size_t i;

    memset(&processes, 0, sizeof(processes));
    for (i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++) {
        signal(deadly[i], SIG_DFL);
    }
    sigprocmask(SIG_SETMASK, before, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || cores_pin(core) < 0) {
        _exit(1);
    }
}

static int free_place(void)
{
    int i;

    for (i = 0; i < MAX_CHILDREN; i++) {
        if (processes.children[i] == 0) {
            return i;
        }
    }
    return -1;
}

pid_t process_fork(int core)
{
    int place = free_place();
    pid_t parent = getpid(), child;
    sigset_t set, before;
    int error;

    if (place < 0) {
        return -EAGAIN;
    }
    fflush(NULL);
    deadly_signals(&set);       /* until the child is written down */
    sigprocmask(SIG_BLOCK, &set, &before);
    child = fork();
    if (child == 0) {
        begin_child(core, parent, &before);
        return 0;
    }
    error = errno;
    if (child > 0) {
        processes.children[place] = child;
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    return child > 0 ? child : -error;
}

void process_stop(pid_t child)
{
    int i;

    if (child <= 0) {
        return;
    }
    kill(child, SIGKILL);
    for (i = 0; i < MAX_CHILDREN; i++) {
        if (processes.children[i] == child) {
            processes.children[i] = 0;
        }
    }
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {
    }
}

/* It is made where the signal handler looks for it. */
static int make_directory(void)
{
    const char *parent = getenv("TMPDIR");
    int length;

    if (processes.directory[0]) {
        return 0;
    }
    /* room is left for the names in it */
    length = snprintf(processes.directory, PATH_ROOM, "%s/mxb-XXXXXX",
                      parent && *parent ? parent : "/tmp");
    if (length < 0 || length >= PATH_ROOM - 20) {
        processes.directory[0] = '\0';
        return -ENAMETOOLONG;
    }
    if (!mkdtemp(processes.directory)) {
        int error = errno;

        processes.directory[0] = '\0';
        return -error;
    }
    return 0;
}

/* So that it is removed in the end. */
static int remember_path(const char *path)
{
    int i;

    for (i = 0; i < processes.path_count; i++) {
        if (strcmp(processes.paths[i], path) == 0) {
            return 0;
        }
    }
    if (i == MAX_PATHS) {
        return -ENOSPC;
    }
    strcpy(processes.paths[i], path);
    processes.path_count++;
    return 0;
}

int process_path(const char *name, char *path, size_t size)
{
    int ret = make_directory();
    int length;

    if (ret < 0) {
        return ret;
    }
    length = snprintf(path, size, "%s/%s", processes.directory, name);
    if (length < 0 || (size_t)length >= size || length >= PATH_ROOM) {
        return -ENAMETOOLONG;
    }
    return remember_path(path);
}

void process_clear(void)
{
    int i;

    for (i = 0; i < MAX_CHILDREN; i++) {
        process_stop(processes.children[i]);
    }
    remove_everything();
    processes.path_count = 0;
    processes.directory[0] = '\0';
}
