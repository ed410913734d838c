/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memexpose/memexpose.h>

#include "floors.h"
#include "process.h"

/* Ours and the floor take turns so often in a repetition: what disturbs one
 * disturbs the other. */
enum { TURNS = 10 };

size_t bench_rounds(const struct bench *bench, size_t full, size_t quick)
{
    return bench->quick ? quick : full;
}

bool bench_cannot_poll(const struct bench *bench, struct result *result)
{
    if (cores_are_two(&bench->cores)) {
        return false;
    }
    result->skipped = true;
    snprintf(result->note, sizeof(result->note),
             "polling takes two processors, and there is one");
    return true;
}

int bench_fail(struct bench *bench, int ret)
{
    return fail(&bench->failure, "%s", memexpose_strerror(ret));
}

static int repeat(struct repetition *repetition, take_fn *ours,
                  take_fn *floor, void *arg, struct samples *samples,
                  size_t rounds)
{
    size_t turn, some = (rounds + TURNS - 1) / TURNS;
    int ret = 0;

    samples[0].count = 0;
    samples[1].count = 0;
    for (turn = 0; turn * some < rounds && ret == 0; turn++) {
        ret = ours(arg, &samples[0], some);
        if (ret == 0 && floor) {
            ret = floor(arg, &samples[1], some);
        }
    }
    if (ret == 0) {
        samples_summarise(&samples[0], &repetition->ours);
    }
    if (ret == 0 && floor) {
        samples_summarise(&samples[1], &repetition->floor);
    }
    return ret;
}

static int compare(struct result *result, take_fn *ours, take_fn *floor,
                   void *arg, struct samples *samples, size_t rounds)
{
    struct repetition warm_up;
    int ret = repeat(&warm_up, ours, floor, arg, samples,
                     (rounds + 9) / 10);

    result->has_floor = floor != NULL;
    for (result->count = 0; result->count < REPETITIONS && ret == 0;
         result->count++) {
        ret = repeat(&result->repetitions[result->count], ours, floor, arg,
                     samples, rounds);
    }
    return ret;
}

int bench_compare(struct result *result, take_fn *ours, take_fn *floor,
                  void *arg, size_t rounds)
{
    struct samples samples[2] = { { 0 }, { 0 } };
    int ret = samples_init(&samples[0], rounds + TURNS);

    if (ret == 0) {
        ret = samples_init(&samples[1], rounds + TURNS);
    }
    if (ret == 0) {
        ret = compare(result, ours, floor, arg, samples, rounds);
    }
    samples_clear(&samples[1]);
    samples_clear(&samples[0]);
    return ret;
}

/* --- what results say ---------------------------------------------------- */

static double shown(const struct figure *figure, double sample)
{
    return figure->rate ? figure->scale / sample : sample / figure->scale;
}

static double value_of(const struct figure *figure,
                       const struct repetition *repetition)
{
    double ours = repetition->ours.p50, floor = repetition->floor.p50;

    switch (figure->compare) {
    case COMPARE_RATIO:
        return ours / floor;
    case COMPARE_SPEED:
        return floor / ours;
    case COMPARE_EXTRA:
        return shown(figure, ours) - shown(figure, floor);
    default:
        return shown(figure, ours);
    }
}

double result_value(const struct figure *figure, const struct result *result)
{
    double values[REPETITIONS];
    size_t i;

    for (i = 0; i < result->count; i++) {
        values[i] = value_of(figure, &result->repetitions[i]);
    }
    return measure_median(values, result->count);
}

double result_best(const struct figure *figure, const struct result *result)
{
    double best = value_of(figure, &result->repetitions[0]);
    size_t i;

    for (i = 1; i < result->count; i++) {
        double value = value_of(figure, &result->repetitions[i]);

        if (figure->at_least ? value > best : value < best) {
            best = value;
        }
    }
    return best;
}

bool result_has_target(const struct figure *figure,
                       const struct result *result)
{
    return figure->target != NO_TARGET && !result->skipped &&
           !(result->has_floor && result->one_processor);
}

bool result_meets_target(const struct figure *figure,
                         const struct result *result)
{
    double best;

    if (!result_has_target(figure, result)) {
        return true;
    }
    best = result_best(figure, result);
    return figure->at_least ? best >= figure->target : best <= figure->target;
}

static double median_of(const struct result *result, size_t offset)
{
    double values[REPETITIONS];
    size_t i;

    for (i = 0; i < result->count; i++) {
        memcpy(&values[i], (const char *)&result->repetitions[i] + offset,
               sizeof(values[i]));
    }
    return measure_median(values, result->count);
}

void result_summary(const struct result *result, struct summary *ours,
                    struct summary *floor)
{
    ours->p50 = median_of(result, offsetof(struct repetition, ours.p50));
    ours->p99 = median_of(result, offsetof(struct repetition, ours.p99));
    ours->min = median_of(result, offsetof(struct repetition, ours.min));
    floor->p50 = median_of(result, offsetof(struct repetition, floor.p50));
    floor->p99 = median_of(result, offsetof(struct repetition, floor.p99));
    floor->min = median_of(result, offsetof(struct repetition, floor.min));
}

/* --- the other end of a floor -------------------------------------------- */

int pong_start(struct pong *pong, int core, size_t there, size_t back)
{
    int fds[2];

    pong->fd = -1;
    pong->child = 0;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
        return -errno;
    }
    pong->child = process_fork(core);
    if (pong->child == 0) {
        close(fds[0]);
        _exit(floor_pong(fds[1], there, back) < 0);
    }
    close(fds[1]);
    if (pong->child < 0) {
        close(fds[0]);
        return (int)pong->child;
    }
    pong->fd = fds[0];
    return 0;
}

void pong_stop(struct pong *pong)
{
    if (pong->fd >= 0) {
        close(pong->fd);
    }
    process_stop(pong->child);
    pong->fd = -1;
    pong->child = 0;
}
