/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memexpose-bench: how fast it is, and how fast it could be.  See
 * memexpose-bench(1).
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <memexpose/memexpose.h>

#include "bench.h"
#include "options.h"
#include "output.h"
#include "process.h"

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "unknown"
#endif

#define PROGRAM "memexpose-bench"

enum {
    EXIT_OK,
    EXIT_FAILED,                /* a figure, or --check */
    EXIT_USAGE
};

/* Descriptors of ours must not become the standard ones. */
static void occupy_standard_descriptors(void)
{
    int fd;

    for (fd = 0; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
            open("/dev/null", fd == STDOUT_FILENO ? O_RDONLY : O_RDWR) < 0) {
            return;
        }
    }
}

static void report(const char *text)
{
    fprintf(stderr, PROGRAM ": %s\n", text);
}

static int cannot_print(void)
{
    fprintf(stderr, PROGRAM ": standard output: %s\n", strerror(errno));
    return EXIT_FAILED;
}

/* Peers that come and go are what is measured. */
static void on_log(void *opaque, enum memexpose_log_level level,
                   const char *line)
{
    (void)opaque;
    if (level == MEMEXPOSE_LOG_ERROR) {
        report(line);
    }
}

/* What is measured now, as long as somebody looks. */
static void show_progress(const char *name)
{
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r\033[K%s%s", name, *name ? " ..." : "");
        fflush(stderr);
    }
}

static void report_missed(const struct figure *figure,
                          const struct result *result)
{
    fprintf(stderr, PROGRAM ": %s: %s, expected at %s %s\n", figure->name,
            output_compared(figure, result_best(figure, result)).text,
            figure->at_least ? "least" : "most",
            output_compared(figure, figure->target).text);
}

static int run_figure(struct bench *bench, const struct options *options,
                      const struct figure *figure)
{
    struct result result;
    int ret;

    memset(&result, 0, sizeof(result));
    result.one_processor = !cores_are_two(&bench->cores);
    show_progress(figure->name);
    ret = figure->run(bench, figure, &result);
    show_progress("");
    if (ret < 0) {
        fprintf(stderr, PROGRAM ": %s: cannot be measured: %s\n",
                figure->name, bench->failure.text);
        return EXIT_FAILED;
    }
    ret = options->json ? output_json(figure, &result)
                        : output_row(figure, &result);
    if (ret < 0) {
        return cannot_print();
    }
    if (options->check && !result_meets_target(figure, &result)) {
        report_missed(figure, &result);
        return EXIT_FAILED;
    }
    return EXIT_OK;
}

static int run_figures(struct bench *bench, const struct options *options)
{
    size_t i;
    int ret = EXIT_OK;

    for (i = 0; i < figure_count && !ferror(stdout); i++) {
        if (options_choose(options, figures[i].name) &&
            run_figure(bench, options, &figures[i]) != EXIT_OK) {
            ret = EXIT_FAILED;
        }
    }
    return ret;
}

static int run(const struct options *options)
{
    static struct bench bench;
    int ret = cores_choose(&bench.cores);

    bench.quick = options->quick;
    if (ret == 0) {
        ret = cores_pin(bench.cores.ours);
    }
    if (ret < 0) {
        fprintf(stderr, PROGRAM ": cannot choose processors: %s\n",
                strerror(-ret));
        return EXIT_FAILED;
    }
    if (!options->json && output_head(&bench) < 0) {
        return cannot_print();
    }
    memexpose_set_log(on_log, NULL);
    process_init();
    ret = run_figures(&bench, options);
    process_clear();
    return ret;
}

static bool choose(void *arg, const char *name)
{
    return options_choose(arg, name);
}

static int print(const char *text)
{
    return fputs(text, stdout) < 0 || fflush(stdout) != 0 ? cannot_print()
                                                          : EXIT_OK;
}

int main(int argc, char **argv)
{
    static struct failure failure;
    struct options options;

    occupy_standard_descriptors();
    switch (options_parse(&options, argc, argv, &failure)) {
    case OPTIONS_HELP:
        return print(options_help);
    case OPTIONS_VERSION:
        return print(PROGRAM " " PACKAGE_VERSION "\n");
    case OPTIONS_BAD:
        report(failure.text);
        return EXIT_USAGE;
    default:
        break;
    }
    if (options.list) {
        return output_list(choose, &options) < 0 ? cannot_print() : EXIT_OK;
    }
    return run(&options);
}
