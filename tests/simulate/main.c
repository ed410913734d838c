/* SPDX-License-Identifier: BSD-3-Clause */
#include "sim.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mutants.h"

enum { HANG = 20 };             /* seconds without the end of a schedule */

struct options {
    uint64_t first, count;
    unsigned seconds;
    bool tracing;
    bool quiet;
    const char *mutant;
};

static const char *program;
static char signal_stack[64 * 1024];

static void say_replay(FILE *out)
{
    fprintf(out, "replay: %s --seed %" PRIu64 " --trace%s%s\n", program,
            world.seed, mx_mutant_name() ? " --mutant " : "",
            mx_mutant_name() ? mx_mutant_name() : "");
}

/* A crash, or a step that never ends. */
static void crashed(int signal)
{
    char text[200];
    int length = snprintf(text, sizeof(text), "\nseed %" PRIu64 ": %s\n"
                          "replay: %s --seed %" PRIu64 " --trace\n",
                          world.seed, signal == SIGALRM ?
                          "a step does not end" : "crash", program,
                          world.seed);
    ssize_t written = write(STDOUT_FILENO, text, (size_t)length);

    (void)written;
    _exit(3);
}

static void catch_crashes(void)
{
    stack_t stack = { .ss_sp = signal_stack, .ss_size = sizeof(signal_stack) };
    struct sigaction action = { .sa_handler = crashed,
                                .sa_flags = SA_ONSTACK };

    sigaltstack(&stack, NULL);
    sigaction(SIGALRM, &action, NULL);
#ifndef __SANITIZE_ADDRESS__
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    sigaction(SIGABRT, &action, NULL);
#endif
}

static void usage(void)
{
    fprintf(stderr, "usage: %s [--seed N [--trace]] [--first N] [--count N] "
            "[--seconds N] [--mutant NAME] [--list-mutants]\n", program);
    exit(2);
}

static uint64_t number(const char *text)
{
    char *end;
    uint64_t value;

    if (!text) {
        usage();
    }
    value = strtoull(text, &end, 0);
    if (*end || end == text) {
        usage();
    }
    return value;
}

static void list_mutants(void)
{
    unsigned i;

    for (i = 0; mx_mutant_list(i); i++) {
        puts(mx_mutant_list(i));
    }
    exit(0);
}

static void parse(struct options *options, char **arguments)
{
    for (; *arguments; arguments++) {
        if (strcmp(*arguments, "--trace") == 0) {
            options->tracing = true;
        } else if (strcmp(*arguments, "--list-mutants") == 0) {
            list_mutants();
        } else if (strcmp(*arguments, "--seed") == 0) {
            options->first = number(*++arguments);
            options->count = 1;
        } else if (strcmp(*arguments, "--first") == 0) {
            options->first = number(*++arguments);
        } else if (strcmp(*arguments, "--count") == 0) {
            options->count = number(*++arguments);
        } else if (strcmp(*arguments, "--seconds") == 0) {
            options->seconds = (unsigned)number(*++arguments);
            options->count = UINT64_MAX;
        } else if (strcmp(*arguments, "--mutant") == 0) {
            options->mutant = *++arguments;
        } else {
            usage();
        }
    }
    if (options->mutant && !mx_mutant_choose(options->mutant)) {
        fprintf(stderr, "%s: no such mutant here: %s\n", program,
                options->mutant);
        exit(2);
    }
}

/* "name value" lines, so that runs can be added up. */
static void print_totals(void)
{
    const struct {
        const char *name;
        uint64_t value;
    } lines[] = {
        { "schedules", totals.schedules },
        { "steps", totals.steps },
        { "switches", totals.switches },
        { "deliveries", totals.deliveries },
        { "bytes", totals.bytes },
        { "operations", totals.operations },
        { "requests", totals.requests },
        { "requests_served", totals.served },
        { "blocks", totals.blocks },
        { "shares", totals.shares },
        { "offers", totals.offers },
        { "mapped", totals.mapped },
        { "map_changes", totals.map_changes },
        { "invalidations", totals.invalidations },
        { "interrupts", totals.interrupts },
        { "reads_checked", totals.reads_checked },
        { "direct_reads", totals.direct },
        { "faults_injected", totals.faults },
        { "kills", totals.kills },
        { "stalls", totals.stalls },
        { "resets", totals.resets },
        { "devices_made_anew", totals.remakes },
        { "own_transports", totals.transports },
        { "deadlines_passed", totals.deadlines },
        { "schedules_polled", totals.polled },
        { "poll_hits", totals.poll_hits },
        { "poll_misses", totals.poll_misses },
        { "waits_for_a_lock", totals.lock_waits },
    };
    size_t i;

    for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        printf("%s %" PRIu64 "\n", lines[i].name, lines[i].value);
    }
}

int main(int argc, char **argv)
{
    struct options options = { .first = 1, .count = 1000 };
    time_t end;
    uint64_t i;

    (void)argc;
    program = argv[0];
    parse(&options, argv + 1);
    catch_crashes();
    if (options.tracing) {
        setvbuf(stdout, NULL, _IOLBF, 0);       /* all of it before a crash */
    }
    memory_setup();
    end = time(NULL) + options.seconds;
    for (i = 0; i < options.count; i++) {
        if (i % 64 == 0) {
            alarm(HANG);
            if (options.seconds && time(NULL) >= end) {
                break;
            }
        }
        if (!sim_run(options.first + i, options.tracing)) {
            printf("seed %" PRIu64 ": %s\n", world.seed, world.failure);
            say_replay(stdout);
            return 1;
        }
    }
    alarm(0);
    print_totals();
    return 0;
}
