/* SPDX-License-Identifier: BSD-3-Clause */
#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <memexpose/device.h>
#include <memexpose/log.h>

#include "harness-count.h"

#ifdef __SANITIZE_THREAD__
/*
 * A copy out of mapped memory may race with the overlay by which that is taken
 * away, and finds zeros then (protocol section 4).  To the sanitizer an mmap()
 * over memory is a write to it.
 */
const char *__tsan_default_suppressions(void);

const char *__tsan_default_suppressions(void)
{
    return "race:mx_os_overlay\n";
}
#endif

/* A set of lines of text. */
struct lines {
    char **line;
    size_t count;
};

static struct {
    struct lines before;        /* descriptors and shared mappings */
    char report[4096];          /* what a failed test says */

    pthread_mutex_t log_mutex;
    struct lines log;

    char base[HARNESS_PATH];    /* directory of this run */
    char directory[HARNESS_PATH]; /* of this test, or empty */
} harness = { .log_mutex = PTHREAD_MUTEX_INITIALIZER };

static void lines_add(struct lines *lines, const char *text)
{
    char *copy = harness_uncounted_realloc(NULL, strlen(text) + 1);

    strcpy(copy, text);
    lines->line = harness_uncounted_realloc(lines->line, (lines->count + 1) *
                                            sizeof(*lines->line));
    lines->line[lines->count++] = copy;
}

static void lines_free(struct lines *lines)
{
    for (size_t i = 0; i < lines->count; i++) {
        harness_uncounted_free(lines->line[i]);
    }
    harness_uncounted_free(lines->line);
    *lines = (struct lines){ 0 };
}

static bool lines_have(const struct lines *lines, const char *text)
{
    for (size_t i = 0; i < lines->count; i++) {
        if (!strcmp(lines->line[i], text)) {
            return true;
        }
    }
    return false;
}

/* One line for each open descriptor. */
static void list_descriptors(struct lines *lines)
{
    char target[PATH_MAX], text[PATH_MAX + 512];
    DIR *directory = opendir("/proc/self/fd");
    struct dirent *entry;
    ssize_t length;

    if (!directory) {
        ck_abort_msg("/proc/self/fd: %s", strerror(errno));
    }
    while ((entry = readdir(directory))) {
        if (entry->d_name[0] == '.' ||
            atoi(entry->d_name) == dirfd(directory)) {
            continue;
        }
        length = readlinkat(dirfd(directory), entry->d_name, target,
                            sizeof(target) - 1);
        target[length < 0 ? 0 : length] = '\0';
        snprintf(text, sizeof(text), "descriptor %s, %s", entry->d_name,
                 target);
        lines_add(lines, text);
    }
    closedir(directory);
}

/* One line for each shared mapping, whoever made it. */
static void list_shared_mappings(struct lines *lines)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[PATH_MAX + 128], text[PATH_MAX + 256], rights[5];

    if (!maps) {
        ck_abort_msg("/proc/self/maps: %s", strerror(errno));
    }
    while (fgets(line, sizeof(line), maps)) {
        line[strcspn(line, "\n")] = '\0';
        if (sscanf(line, "%*s %4s", rights) == 1 && rights[3] == 's') {
            snprintf(text, sizeof(text), "shared mapping %s", line);
            lines_add(lines, text);
        }
    }
    fclose(maps);
}

static void complain(const char *how, const char *what)
{
    size_t used = strlen(harness.report);

    snprintf(harness.report + used, sizeof(harness.report) - used, "\n  %s %s",
             how, what);
}

static void complain_left(const char *what)
{
    complain("left:", what);
}

/* Complain of each line that only @more has. */
static void compare_lines(const struct lines *more, const struct lines *less,
                          const char *how)
{
    for (size_t i = 0; i < more->count; i++) {
        if (!lines_have(less, more->line[i])) {
            complain(how, more->line[i]);
        }
    }
}

static void complain_of_children(void)
{
    siginfo_t info = { 0 };
    char text[64];

    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0) {
        return;                 /* ECHILD: there is none */
    }
    if (info.si_pid) {
        snprintf(text, sizeof(text), "child %d, not waited for",
                 (int)info.si_pid);
    } else {
        snprintf(text, sizeof(text), "a child that runs");
    }
    complain("left:", text);
}

static int remove_entry(const char *path, const struct stat *status, int type,
                        struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

static void remove_tree(char *path)
{
    if (path[0]) {
        nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
        path[0] = '\0';
    }
}

static void log_line(void *opaque, enum memexpose_log_level level,
                     const char *line)
{
    (void)opaque;
    pthread_mutex_lock(&harness.log_mutex);
    fprintf(stderr, "log %d: %s\n", (int)level, line);
    lines_add(&harness.log, line);
    pthread_mutex_unlock(&harness.log_mutex);
}

unsigned harness_logged(const char *text)
{
    unsigned count = 0;

    pthread_mutex_lock(&harness.log_mutex);
    for (size_t i = 0; i < harness.log.count; i++) {
        count += strstr(harness.log.line[i], text) != NULL;
    }
    pthread_mutex_unlock(&harness.log_mutex);
    return count;
}

void harness_log_clear(void)
{
    pthread_mutex_lock(&harness.log_mutex);
    lines_free(&harness.log);
    pthread_mutex_unlock(&harness.log_mutex);
}

static void begin(void)
{
    memexpose_set_log(log_line, NULL);
    list_descriptors(&harness.before);
    list_shared_mappings(&harness.before);
    harness_count_begin();
}

static void end(void)
{
    struct lines after = { 0 };

    harness_count_fail(0);
    harness.report[0] = '\0';
    harness_count_end(complain_left);
    list_descriptors(&after);
    list_shared_mappings(&after);
    compare_lines(&after, &harness.before, "left:");
    compare_lines(&harness.before, &after, "gone:");
    complain_of_children();

    lines_free(&after);
    lines_free(&harness.before);
    harness_log_clear();
    remove_tree(harness.directory);
    if (harness.report[0]) {
        ck_abort_msg("the test does not leave things as they were:%s",
                     harness.report);
    }
}

TCase *harness_tcase(const char *name)
{
    TCase *tcase = tcase_create(name);

    tcase_add_checked_fixture(tcase, begin, end);
    tcase_set_timeout(tcase, HARNESS_TIMEOUT);
    return tcase;
}

/*
 * The directories of all tests are below one, which the parent removes: a test
 * that is killed cannot.
 */
static void make_base(void)
{
    const char *top = getenv("TMPDIR");

    if (!top || !top[0] || strlen(top) > HARNESS_PATH - 64) {
        top = "/tmp";
    }
    snprintf(harness.base, sizeof(harness.base), "%s/mx-XXXXXX", top);
    if (!mkdtemp(harness.base)) {
        fprintf(stderr, "%s: %s\n", harness.base, strerror(errno));
        exit(EXIT_FAILURE);
    }
}

const char *harness_directory(void)
{
    if (!harness.directory[0]) {
        int length = snprintf(harness.directory, sizeof(harness.directory),
                              "%s/XXXXXX", harness.base);

        ck_assert_int_lt(length, HARNESS_PATH);
        ck_assert_ptr_nonnull(mkdtemp(harness.directory));
    }
    return harness.directory;
}

void harness_path(char path[HARNESS_PATH], const char *name)
{
    int length = snprintf(path, HARNESS_PATH, "%s/%s", harness_directory(),
                          name);

    ck_assert_int_lt(length, HARNESS_PATH);
}

int harness_main(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    int run, bad;

    make_base();
    srunner_run_all(runner, CK_ENV);
    run = srunner_ntests_run(runner);
    bad = srunner_ntests_failed(runner);
    srunner_free(runner);
    remove_tree(harness.base);

    if (!run) {
        fputs("no test was run\n", stderr);
    }
    return run && !bad ? EXIT_SUCCESS : EXIT_FAILURE;
}

int harness_milliseconds(int milliseconds)
{
    const char *text = getenv("CK_TIMEOUT_MULTIPLIER");
    double factor = text ? strtod(text, NULL) : 1;

    return (int)(milliseconds * (factor > 1 ? factor : 1));
}

void harness_stretch_deadlines(struct memexpose_device_config *config)
{
    int factor = harness_milliseconds(1);

    config->request_timeout *= factor;
    config->map_change_timeout *= factor;
    config->hello_wait *= factor;
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void harness_wait_at(const char *file, int line, const char *what,
                     bool (*step)(void *opaque), void *opaque,
                     int milliseconds)
{
    int64_t deadline = now_ms() + harness_milliseconds(milliseconds);

    while (!step(opaque)) {
        if (now_ms() >= deadline) {
            ck_abort_msg("%s:%d: %s has not come after %d ms", file, line,
                         what, milliseconds);
        }
        poll(NULL, 0, 1);
    }
}

void harness_fail_allocation(unsigned long nth)
{
    harness_count_fail(nth);
}

bool harness_allocation_failed(void)
{
    return harness_count_failed();
}

size_t harness_allocations(void)
{
    return harness_count_allocations();
}

size_t harness_descriptors(void)
{
    struct lines lines = { 0 };
    size_t count;

    list_descriptors(&lines);
    count = lines.count;
    lines_free(&lines);
    return count;
}
