/* SPDX-License-Identifier: BSD-3-Clause */
#include "clock.h"

#include <limits.h>
#include <time.h>

int64_t clock_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t clock_deadline(int64_t timeout)
{
    int64_t now = clock_now();

    return timeout > INT64_MAX - now ? INT64_MAX : now + timeout;
}

int clock_left(int64_t deadline)
{
    int64_t left;

    if (deadline < 0) {
        return -1;
    }
    left = deadline - clock_now();
    if (left <= 0) {
        return 0;
    }
    left = (left + 999999) / 1000000; /* not a bit too early */
    return left > INT_MAX ? INT_MAX : (int)left;
}

bool clock_tick(int64_t deadline)
{
    const struct timespec millisecond = { .tv_nsec = 1000000 };

    if (clock_left(deadline) == 0) {
        return false;
    }
    nanosleep(&millisecond, NULL);
    return true;
}
