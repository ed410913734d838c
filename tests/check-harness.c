/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The harness is tested too: it has to find what a test leaves behind, and a
 * test that hangs.  This program runs itself with the name of a suite that
 * does something wrong, and looks at what comes out.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "log.h"
#include "os.h"

/* Volatile, lest the compiler sees that nothing comes of it. */
static void *volatile kept;

/* What is wrong, one test each. */

START_TEST(leave_descriptor)
{
    ck_assert_int_ge(open("/dev/null", O_RDONLY), 0);
}
END_TEST

START_TEST(lose_descriptor)
{
    close(STDIN_FILENO);
}
END_TEST

START_TEST(leave_library_descriptor)
{
    ck_assert_int_ge(mx_os_wake_create(), 0);
}
END_TEST

START_TEST(leave_mapping)
{
    kept = mmap(NULL, 5000, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(kept, MAP_FAILED);
}
END_TEST

START_TEST(leave_library_mapping)
{
    int fd = mx_os_memfd("harness", 8192);
    void *host;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(mx_os_map(fd, 8192, 0, false, &host), 0);
    mx_os_close(fd);
}
END_TEST

START_TEST(leave_half_a_mapping)
{
    char *memory = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS,
                        -1, 0);

    ck_assert_ptr_ne(memory, MAP_FAILED);
    munmap(memory + 4096, 4096);
    kept = memory;
}
END_TEST

START_TEST(leave_allocation)
{
    kept = malloc(77);
}
END_TEST

START_TEST(leave_grown_allocation)
{
    kept = realloc(malloc(3), 78);
}
END_TEST

START_TEST(leave_text)
{
    kept = strdup("text");
}
END_TEST

START_TEST(leave_child)
{
    pid_t child = fork();

    ck_assert_int_ge(child, 0);
    if (!child) {
        pause();
        _exit(0);
    }
}
END_TEST

START_TEST(hang)
{
    for (;;) {
        pause();
    }
}
END_TEST

START_TEST(leave_nothing)
{
    char *memory = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS,
                        -1, 0);
    char *text = strdup("text");

    ck_assert_ptr_ne(memory, MAP_FAILED);
    munmap(memory + 4096, 4096);
    munmap(memory, 4096);
    text = realloc(text, 100);
    free(text);
    close(open("/dev/null", O_RDONLY));
}
END_TEST

/* It writes its directory to descriptor 1, then dies as @_i says. */
START_TEST(make_files)
{
    char path[HARNESS_PATH];

    harness_path(path, "file");
    close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    ck_assert_int_eq(access(path, F_OK), 0);
    printf("directory=%s\n", harness_directory());
    fflush(stdout);
    if (_i == 1) {
        ck_abort_msg("on purpose");
    }
    if (_i == 2) {
        raise(SIGKILL);
    }
}
END_TEST

struct bad {
    const char *name;
    const TTest **test;
    const char *said;           /* how the failure is named */
};

static const struct bad bad[] = {
    { "descriptor", &leave_descriptor, "/dev/null" },
    { "lost descriptor", &lose_descriptor, "gone: descriptor 0" },
    { "library's descriptor", &leave_library_descriptor,
      "left: descriptor" },
    { "mapping", &leave_mapping, "mapping of 8192 bytes" },
    { "library's mapping", &leave_library_mapping,
      "mapping of 8192 bytes, made in mx_os_map()" },
    { "shared mapping", &leave_library_mapping, "memfd:harness" },
    { "half a mapping", &leave_half_a_mapping,
      "mapping of 4096 bytes" },
    { "allocation", &leave_allocation, "allocation of 77 bytes" },
    { "grown allocation", &leave_grown_allocation,
      "allocation of 78 bytes" },
    { "text", &leave_text, "allocation of 5 bytes" },
    { "child", &leave_child, "left: a child" },
    { "hang", &hang, "Test timeout expired" },
};

enum { BAD = sizeof(bad) / sizeof(bad[0]) };

static char self[4096];

/* Run this program with @argument; return its exit status. */
static int run_self(const char *argument, char *output, size_t size)
{
    size_t used = 0;
    ssize_t count;
    int ends[2], status;
    pid_t child;

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    child = fork();
    ck_assert_int_ge(child, 0);
    if (!child) {
        dup2(ends[1], STDOUT_FILENO);
        unsetenv("CK_RUN_CASE");
        unsetenv("CK_RUN_SUITE");
        setenv("CK_FORK", "yes", 1);
        setenv("CK_VERBOSITY", "normal", 1);
        /* what is left on purpose is not a sanitizer's to find */
        setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
        execl(self, self, argument, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    while ((count = read(ends[0], output + used, size - 1 - used)) > 0) {
        used += (size_t)count;
    }
    output[used] = '\0';
    close(ends[0]);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* The suite that @argument names. */
static Suite *wrong_suite(const char *argument)
{
    Suite *suite = suite_create("wrong");
    TCase *tcase = harness_tcase("wrong");

    for (int i = 0; i < BAD; i++) {
        if (!strcmp(argument, bad[i].name)) {
            tcase_add_test(tcase, *bad[i].test);
        }
    }
    if (!strcmp(argument, "nothing")) {
        tcase_add_test(tcase, leave_nothing);
    }
    if (!strcmp(argument, "files")) {
        tcase_add_loop_test(tcase, make_files, 0, 3);
    }
    suite_add_tcase(suite, tcase);
    return suite;
}

/* The tests proper. */

START_TEST(finds_what_is_left)
{
    char output[8192];
    int status;

    if (!strcmp(bad[_i].name, "hang")) {
        setenv("CK_TIMEOUT_MULTIPLIER", "0.05", 1);
    }
    status = run_self(bad[_i].name, output, sizeof(output));
    ck_assert_int_eq(status, EXIT_FAILURE);
    ck_assert_msg(strstr(output, "0%: Checks: 1, Failures: ") != NULL,
                  "not one failure: %s", output);
    ck_assert_msg(strstr(output, bad[_i].said) != NULL,
                  "\"%s\" is not named: %s", bad[_i].said, output);
}
END_TEST

START_TEST(finds_nothing)
{
    char output[8192];
    int status = run_self("nothing", output, sizeof(output));

    ck_assert_msg(status == EXIT_SUCCESS, "%s", output);
    ck_assert_ptr_nonnull(strstr(output, "100%: Checks: 1, Failures: 0"));
}
END_TEST

START_TEST(needs_a_test)
{
    char output[8192];

    ck_assert_int_eq(run_self("no such suite", output, sizeof(output)),
                     EXIT_FAILURE);
}
END_TEST

START_TEST(removes_directories)
{
    char output[8192], directory[HARNESS_PATH];
    const char *at = output;
    int count = 0;

    ck_assert_int_eq(run_self("files", output, sizeof(output)),
                     EXIT_FAILURE);
    while ((at = strstr(at, "directory=")) != NULL) {
        ck_assert_int_eq(sscanf(at, "directory=%107s", directory), 1);
        ck_assert_int_eq(access(directory, F_OK), -1);
        *strrchr(directory, '/') = '\0';
        ck_assert_int_eq(access(directory, F_OK), -1);
        at++;
        count++;
    }
    ck_assert_int_eq(count, 3);
}
END_TEST

START_TEST(catches_the_log)
{
    mx_log(MEMEXPOSE_LOG_WARNING, "one %d three", 2);
    harness_assert_logged("one 2");
    harness_assert_not_logged("four");
    mx_log(MEMEXPOSE_LOG_DEBUG, "one again");
    ck_assert_uint_eq(harness_logged("one"), 2);
    harness_log_clear();
    ck_assert_uint_eq(harness_logged("one"), 0);
}
END_TEST

static bool third_time(void *opaque)
{
    int *count = opaque;

    return ++*count == 3;
}

START_TEST(waits_until_it_is_so)
{
    int count = 0;

    harness_wait(third_time, &count, 5000);
    ck_assert_int_eq(count, 3);
}
END_TEST

static bool never(void *opaque)
{
    (void)opaque;
    return false;
}

START_TEST(waits_no_longer)
{
    harness_wait(never, NULL, 10);
}
END_TEST

START_TEST(lets_an_allocation_fail)
{
    void *one, *two, *three;

    harness_fail_allocation(2);
    one = malloc(10);
    two = calloc(2, 10);
    ck_assert_int_eq(errno, ENOMEM);
    three = malloc(10);
    ck_assert_ptr_nonnull(one);
    ck_assert_ptr_null(two);
    ck_assert_ptr_nonnull(three);
    ck_assert(harness_allocation_failed());
    ck_assert_uint_eq(harness_allocations(), 2);
    free(one);
    free(three);
    ck_assert_uint_eq(harness_allocations(), 0);

    harness_fail_allocation(5);
    ck_assert(!harness_allocation_failed());
}
END_TEST

/* Against a table that forgets or mixes up, in an order that is its own. */
START_TEST(counts_many)
{
    enum { MANY = 5000 };
    static void *block[MANY];
    size_t live = 0;
    uint32_t random = 1;

    for (int i = 0; i < 20 * MANY; i++) {
        random = random * 1664525u + 1013904223u;
        void **at = &block[(random >> 8) % MANY];

        if (*at) {
            free(*at);
            *at = NULL;
            live--;
        } else {
            *at = malloc(1 + random % 64);
            live++;
        }
        if (i % 997 == 0) {
            ck_assert_uint_eq(harness_allocations(), live);
        }
    }
    for (int i = 0; i < MANY; i++) {
        free(block[i]);
    }
    ck_assert_uint_eq(harness_allocations(), 0);
}
END_TEST

START_TEST(counts_descriptors)
{
    size_t before = harness_descriptors();
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    ck_assert_uint_eq(harness_descriptors(), before + 1);
    close(fd);
    ck_assert_uint_eq(harness_descriptors(), before);
}
END_TEST

static Suite *harness_suite(void)
{
    Suite *suite = suite_create("harness");
    TCase *tcase = harness_tcase("counting");

    tcase_add_loop_test(tcase, finds_what_is_left, 0, BAD);
    tcase_add_test(tcase, finds_nothing);
    tcase_add_test(tcase, needs_a_test);
    tcase_add_test(tcase, counts_many);
    tcase_add_test(tcase, counts_descriptors);
    tcase_add_test(tcase, lets_an_allocation_fail);
    suite_add_tcase(suite, tcase);

    tcase = harness_tcase("helpers");
    tcase_add_test(tcase, removes_directories);
    tcase_add_test(tcase, catches_the_log);
    tcase_add_test(tcase, waits_until_it_is_so);
    tcase_add_exit_test(tcase, waits_no_longer, EXIT_FAILURE);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(int argc, char **argv)
{
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (length < 0) {
        perror("/proc/self/exe");
        return EXIT_FAILURE;
    }
    self[length] = '\0';
    return harness_main(argc > 1 ? wrong_suite(argv[1]) : harness_suite());
}
