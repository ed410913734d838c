/* SPDX-License-Identifier: BSD-3-Clause */
#include "output.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include <jansson.h>

static int done(int printed)
{
    return printed < 0 || fflush(stdout) != 0 ? -1 : 0;
}

static double shown(const struct figure *figure, double sample)
{
    return figure->rate ? figure->scale / sample : sample / figure->scale;
}

/* Three digits that count, or all of those in front of the point. */
static struct number number_of(double value)
{
    struct number number;
    double size = fabs(value);

    snprintf(number.text, sizeof(number.text), "%.*f",
             size < 10 ? 2 : size < 100 ? 1 : 0, value);
    return number;
}

struct number output_compared(const struct figure *figure, double value)
{
    struct number plain = number_of(value), number;

    switch (figure->compare) {
    case COMPARE_RATIO:
    case COMPARE_SPEED:
        snprintf(number.text, sizeof(number.text), "%.10sx", plain.text);
        return number;
    case COMPARE_EXTRA:
        snprintf(number.text, sizeof(number.text), "%s%.10s %s",
                 value < 0 ? "" : "+", plain.text, figure->unit);
        return number;
    default:
        snprintf(number.text, sizeof(number.text), "%.10s%s%s", plain.text,
                 *figure->unit ? " " : "", figure->unit);
        return number;
    }
}

/* --- the table ----------------------------------------------------------- */

static int describe_cores(const struct bench *bench)
{
    if (cores_are_two(&bench->cores)) {
        return printf("This process on processor %d, the other on processor "
                      "%d", bench->cores.ours, bench->cores.peers);
    }
    return printf("There is only one processor, %d, for both processes, which "
                  "wait for each other:\nwhat has a floor has no target; "
                  "nothing polls", bench->cores.ours);
}

int output_head(const struct bench *bench)
{
    struct utsname system;
    int ret = describe_cores(bench);

    if (ret >= 0 && uname(&system) == 0) {
        ret = printf("; %s %s, %s", system.sysname, system.release,
                     system.machine);
    }
    if (ret >= 0) {
        ret = printf(".\nMedians of %d repetitions in which ours and the "
                     "floor take turns%s.  best: the\nrepetition that is held "
                     "against the target.\n\n%-30s %-23s | %-23s |\n%-25s "
                     "%4s %7s %7s %7s | %7s %7s %7s | %9s %9s  %s\n",
                     REPETITIONS,
                     bench->quick ? " (quick: few rounds)" : "", "",
                     "memexpose", "floor", "figure", "unit", "p50", "p99",
                     "min", "p50", "p99", "min", "compared", "best",
                     "target");
    }
    return done(ret);
}

/* The first of figures that belong together says what they are. */
static const struct figure *group_of(const struct figure *figure)
{
    while (!figure->what) {
        figure--;
    }
    return figure;
}

static int print_group(const struct figure *group)
{
    static const struct figure *printed;

    if (group == printed) {
        return 0;
    }
    printed = group;
    return group->floor ? printf("\n%s\n  floor: %s\n", group->what,
                                 group->floor)
                        : printf("\n%s\n", group->what);
}

static int print_summary(const struct figure *figure,
                         const struct summary *summary)
{
    return printf(" %7s %7s %7s |",
                  number_of(shown(figure, summary->p50)).text,
                  number_of(shown(figure, summary->p99)).text,
                  number_of(shown(figure, summary->min)).text);
}

static int print_target(const struct figure *figure,
                        const struct result *result)
{
    if (!result_has_target(figure, result)) {
        return printf("\n");
    }
    return printf("  %s %s%s\n", figure->at_least ? ">=" : "<=",
                  output_compared(figure, figure->target).text,
                  result_meets_target(figure, result) ? "" : "  MISSED");
}

static int print_numbers(const struct figure *figure,
                         const struct result *result)
{
    struct summary ours, floor;
    int ret;

    result_summary(result, &ours, &floor);
    ret = printf("%-25s %4s", figure->name, figure->unit);
    if (ret >= 0) {
        ret = print_summary(figure, &ours);
    }
    if (ret >= 0) {
        ret = result->has_floor ? print_summary(figure, &floor)
                                : printf(" %25s |", "");
    }
    if (ret >= 0) {
        ret = printf(" %9s %9s", result->has_floor ? output_compared(figure,
                     result_value(figure, result)).text : "",
                     output_compared(figure,
                                     result_best(figure, result)).text);
    }
    return ret < 0 ? ret : print_target(figure, result);
}

int output_row(const struct figure *figure, const struct result *result)
{
    int ret = print_group(group_of(figure));

    if (ret >= 0 && result->skipped) {
        return done(printf("%-25s not measured: %s\n", figure->name,
                           result->note));
    }
    if (ret >= 0) {
        ret = print_numbers(figure, result);
    }
    if (ret >= 0 && result->note[0]) {
        ret = printf("  note: %s\n", result->note);
    }
    return done(ret);
}

int output_list(bool (*choose)(void *arg, const char *name), void *arg)
{
    size_t i;
    int ret = 0;

    for (i = 0; i < figure_count && ret >= 0; i++) {
        if (choose(arg, figures[i].name)) {
            ret = printf("%s\n", figures[i].name);
        }
    }
    return done(ret);
}

/* --- JSON ---------------------------------------------------------------- */

static json_t *json_summary(const struct figure *figure,
                            const struct summary *summary)
{
    return json_pack("{s:f, s:f, s:f}", "p50", shown(figure, summary->p50),
                     "p99", shown(figure, summary->p99), "min",
                     shown(figure, summary->min));
}

static const char *compare_name(enum compare compare)
{
    static const char *const names[] = {
        [COMPARE_RATIO] = "ours/floor", [COMPARE_SPEED] = "floor/ours",
        [COMPARE_EXTRA] = "ours-floor", [COMPARE_NOTHING] = "ours",
    };

    return names[compare];
}

static json_t *json_measured(const struct figure *figure,
                             const struct result *result)
{
    struct summary ours, floor;

    result_summary(result, &ours, &floor);
    return json_pack("{s:o, s:o, s:f, s:f}",
                     "ours", json_summary(figure, &ours),
                     "floor", result->has_floor
                         ? json_summary(figure, &floor) : json_null(),
                     "value", result_value(figure, result),
                     "best", result_best(figure, result));
}

static json_t *json_result(const struct figure *figure,
                           const struct result *result)
{
    json_t *object = json_pack("{s:s, s:s, s:s, s:b, s:s}",
                               "figure", figure->name, "unit", figure->unit,
                               "compare", compare_name(figure->compare),
                               "measured", !result->skipped,
                               "note", result->note);

    if (object && !result->skipped) {
        json_object_update_new(object, json_measured(figure, result));
    }
    if (object && result_has_target(figure, result)) {
        json_object_set_new(object, figure->at_least ? "at_least" : "at_most",
                            json_real(figure->target));
        json_object_set_new(object, "met", json_boolean(
                            result_meets_target(figure, result)));
    }
    return object;
}

int output_json(const struct figure *figure, const struct result *result)
{
    json_t *object = json_result(figure, result);
    char *line = object ? json_dumps(object, JSON_COMPACT |
                                     JSON_REAL_PRECISION(6)) : NULL;
    int ret = -1;

    json_decref(object);
    if (line) {
        ret = done(puts(line));
    } else {
        errno = ENOMEM;
    }
    free(line);
    return ret;
}
