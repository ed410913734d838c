/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What every Check program uses.  Each test runs in a process and with a
 * timeout of its own, and fails if it leaves anything behind:
 *
 *  - an open descriptor, or one fewer than before;
 *  - a mapping: whatever the library or the test mapped, and anything shared;
 *  - an allocation that the library or the test made;
 *  - a child process.
 *
 * A program:
 *
 *     START_TEST(it_works)
 *     {
 *         ck_assert_int_eq(mx_thing(), 0);
 *     }
 *     END_TEST
 *
 *     int main(void)
 *     {
 *         Suite *suite = suite_create("thing");
 *         TCase *tcase = harness_tcase("simple");
 *
 *         tcase_add_test(tcase, it_works);
 *         suite_add_tcase(suite, tcase);
 *         return harness_main(suite);
 *     }
 *
 * Not counted is what libc allocates for itself, such as a FILE (its
 * descriptor is); a sanitizer or valgrind sees that.
 */
#ifndef MX_TESTS_HARNESS_H
#define MX_TESTS_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <check.h>

enum {
    HARNESS_TIMEOUT = 20,       /* seconds for one test */
    HARNESS_PATH = 108          /* bytes in the path of a unix socket */
};

/*
 * A test case whose tests are counted before and after, with the timeout.
 * Checked fixtures that are added to it run inside of the counting: what their
 * setup makes, their teardown has to release.
 */
TCase *harness_tcase(const char *name);

/*
 * Run the suite as the CK_* variables say.  Returns main()'s result:
 * EXIT_FAILURE too if there was no test to run.
 */
int harness_main(Suite *suite);

/*
 * A directory for this test, with a path short enough for sockets, removed
 * after the test however it ends.
 */
const char *harness_directory(void);

/* The path of @name in it. */
void harness_path(char path[HARNESS_PATH], const char *name);

/*
 * Call @step(@opaque) until it returns true; the test fails when that has not
 * come after @milliseconds.  @step does what is to be done meanwhile, such as
 * driving a group.  Use the macro, which names the place.
 */
#define harness_wait(step, opaque, milliseconds) \
    harness_wait_at(__FILE__, __LINE__, #step, (step), (opaque), \
                    (milliseconds))
void harness_wait_at(const char *file, int line, const char *what,
                     bool (*step)(void *opaque), void *opaque,
                     int milliseconds);

/* Milliseconds, stretched when the whole run is (CK_TIMEOUT_MULTIPLIER). */
int harness_milliseconds(int milliseconds);

/* The deadlines in @config, stretched likewise. */
struct memexpose_device_config;
void harness_stretch_deadlines(struct memexpose_device_config *config);

/*
 * The library's log is caught in every test of harness_tcase(), and shown on
 * stderr.  How many lines with @text in them came since the start or the last
 * harness_log_clear()?
 */
unsigned harness_logged(const char *text);
void harness_log_clear(void);

#define harness_assert_logged(text) \
    ck_assert_msg(harness_logged(text) > 0, \
                  "no line of the log contains \"%s\"", (text))
#define harness_assert_not_logged(text) \
    ck_assert_msg(harness_logged(text) == 0, \
                  "a line of the log contains \"%s\"", (text))

/*
 * Let one allocation of the library or the test fail with ENOMEM: the next if
 * @nth is 1, and so on; 0: none.  Ends with the test.
 */
void harness_fail_allocation(unsigned long nth);

/* Has the allocation that was to fail been asked for? */
bool harness_allocation_failed(void);

/* Allocations alive now, of the library and the test. */
size_t harness_allocations(void);

/* Open descriptors now. */
size_t harness_descriptors(void);

#endif
