/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ways in which a wait is cancelled, for tests that include side.h.
 */
#ifndef MX_TESTS_CANCELS_H
#define MX_TESTS_CANCELS_H

#include <pthread.h>
#include <signal.h>

#include "side.h"

static void cancel_group(struct worker *worker)
{
    (void)worker;
    memexpose_group_cancel(group);
}

static void cancel_device(struct worker *worker)
{
    memexpose_device_cancel(worker->device);
}

static void on_signal(int number)
{
    (void)number;
    memexpose_group_cancel(group);
}

static void cancel_by_signal(struct worker *worker)
{
    struct sigaction action = { .sa_handler = on_signal };

    ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
    ck_assert_int_eq(pthread_kill(worker->thread, SIGUSR1), 0);
}

static void (*const cancels[])(struct worker *worker) = {
    cancel_group, cancel_device, cancel_by_signal,
};

#endif
