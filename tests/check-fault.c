/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a SIGBUS is mended (protocol section 4): many ranges come and go, in
 * one thread and in several, and only those that are there are patched.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "fault.h"
#include "harness.h"
#include "os.h"

enum { PAGES = 2000, ROUNDS = 20000 };

static struct mx_faults faults;
static struct mx_fault *added[PAGES];
static uint8_t *memory;
static size_t page;

/* All ones, which a patched page has not. */
static void begin(void)
{
    page = mx_os_page_size();
    memory = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(memory, MAP_FAILED);
    for (size_t i = 0; i < PAGES; i++) {
        memory[i * page] = 1;
    }
    mx_faults_init(&faults);
}

static void end(void)
{
    mx_faults_free(&faults);
    munmap(memory, PAGES * page);
}

static void add(size_t i)
{
    added[i] = mx_faults_add(&faults, memory + i * page, page);
    ck_assert_ptr_nonnull(added[i]);
}

static void expect_patched(size_t i, bool wanted)
{
    uint8_t *at = memory + i * page;

    ck_assert(mx_faults_patch(&faults, at + page - 1) == wanted);
    ck_assert_uint_eq(*at, !wanted);
    *at = 1;
}

START_TEST(only_what_is_there)
{
    begin();
    expect_patched(0, false);
    for (size_t i = 0; i < PAGES; i += 2) {
        add(i);
    }
    for (size_t i = 0; i < PAGES; i += 97) {
        expect_patched(i, i % 2 == 0);
    }
    for (size_t i = 0; i < PAGES; i += 4) {
        mx_faults_remove(added[i]);
    }
    for (size_t i = 0; i < PAGES; i += 97) {
        expect_patched(i, i % 4 == 2);
    }
    end();
}
END_TEST

/* Room that was given back is used again, however much comes and goes. */
START_TEST(room_comes_back)
{
    size_t allocations;

    begin();
    for (size_t i = 0; i < PAGES; i++) {
        add(i);
    }
    allocations = harness_allocations();
    for (size_t i = 0; i < ROUNDS; i++) {
        mx_faults_remove(added[i % PAGES]);
        if (i % 3 == 0) {
            mx_faults_remove(added[(i + 1) % PAGES]);
            add((i + 1) % PAGES);
        }
        add(i % PAGES);
    }
    ck_assert_uint_eq(harness_allocations(), allocations);
    expect_patched(PAGES - 1, true);
    end();
}
END_TEST

START_TEST(no_memory)
{
    bool failed = false;
    size_t count;

    begin();
    harness_fail_allocation(1);
    ck_assert_ptr_null(mx_faults_add(&faults, memory, page));
    ck_assert(harness_allocation_failed());
    for (count = 0; harness_allocations() < 2; count++) {
        add(count);
    }
    for (size_t i = 0; i + 1 < count; i++) {
        mx_faults_remove(added[i]);
    }
    /* nothing is asserted meanwhile, as that may allocate */
    harness_fail_allocation(1);
    for (size_t i = 0; i + 1 < count; i++) {
        added[i] = mx_faults_add(&faults, memory + i * page, page);
        failed = failed || !added[i];
    }
    failed = failed || harness_allocation_failed();
    harness_fail_allocation(0);
    ck_assert(!failed);
    expect_patched(0, true);
    expect_patched(count - 1, true);
    end();
}
END_TEST

/* Removing needs no lock, nor does looking up. */
struct remover {
    pthread_t thread;
    _Atomic(struct mx_fault *) next;
    atomic_bool stop;
};

static void *remove_along(void *opaque)
{
    struct remover *remover = opaque;

    while (!atomic_load(&remover->stop)) {
        struct mx_fault *fault = atomic_exchange(&remover->next, NULL);

        if (fault) {
            mx_faults_remove(fault);
        }
        if (mx_faults_patch(&faults, memory + (PAGES - 1) * page)) {
            ck_abort_msg("patched what is not there");
        }
    }
    return NULL;
}

START_TEST(removed_in_threads)
{
    static struct remover removers[2];
    size_t rounds = 0, kept = 0;

    begin();
    for (size_t i = 0; i < 2; i++) {
        ck_assert_int_eq(pthread_create(&removers[i].thread, NULL,
                                        remove_along, &removers[i]), 0);
    }
    while (rounds < ROUNDS) {
        struct mx_fault *fault = mx_faults_add(&faults, memory, page);
        struct remover *remover = &removers[rounds++ % 2];

        ck_assert_ptr_nonnull(fault);
        fault = atomic_exchange(&remover->next, fault);
        if (fault) {            /* it has not taken the one before */
            mx_faults_remove(fault);
        }
    }
    for (size_t i = 0; i < 2; i++) {
        atomic_store(&removers[i].stop, true);
        pthread_join(removers[i].thread, NULL);
        kept += atomic_load(&removers[i].next) != NULL;
    }
    /* nothing was lost: one chunk has been enough */
    ck_assert_uint_le(kept, 2);
    ck_assert_uint_eq(harness_allocations(), 1);
    end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fault");
    TCase *tcase = harness_tcase("ranges");

    tcase_add_test(tcase, only_what_is_there);
    tcase_add_test(tcase, room_comes_back);
    tcase_add_test(tcase, no_memory);
    tcase_add_test(tcase, removed_in_threads);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
