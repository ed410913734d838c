/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memexpose-sim: a peer without a virtual machine.  See memexpose-sim(1).
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "prompt.h"
#include "report.h"

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "unknown"
#endif

enum {
    EXIT_OK,
    EXIT_FAILED,                /* a command, or a socket */
    EXIT_USAGE
};

/*
 * A socket must not become the standard output that nobody gave us.  What is
 * put there instead cannot be written, so that results fail as they should.
 */
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

/* --help and --version, before there is a loop. */
static int print(const char *text)
{
    if (fputs(text, stdout) < 0 || fflush(stdout) != 0) {
        report("standard output: %s", strerror(errno));
        return EXIT_FAILED;
    }
    return EXIT_OK;
}

static int bad_usage(const struct sim *sim)
{
    report("%s", sim->failure.text);
    return EXIT_USAGE;
}

/* SIGTERM is how a script is meant to end; SIGINT is somebody's impatience. */
static int failed(const struct sim *sim)
{
    switch (loop_stopped()) {
    case SIGTERM:
        return EXIT_OK;
    case SIGINT:
        return EXIT_FAILED;
    default:
        report("%s", sim->failure.text);
        return EXIT_FAILED;
    }
}

/* Run the commands, wherever they come from. */
static int run_commands(struct sim *sim, int script_fd)
{
    const struct options *options = &sim->options;
    struct script script;
    int ret;

    if (!options->commands && !options->script_file &&
        isatty(STDIN_FILENO)) {
        ret = prompt_run(sim);
        return ret < 0 && loop_stopped() != SIGTERM ? EXIT_FAILED : EXIT_OK;
    }
    if (options->commands) {
        script_init_text(&script, options->commands);
    } else {
        script_init_fd(&script, script_fd, &sim->loop);
    }
    ret = commands_run_script(sim, &script, options->script_file);
    script_clear(&script);
    return ret < 0 ? failed(sim) : EXIT_OK;
}

static int run_peer(struct sim *sim, int script_fd)
{
    int ret;

    if (sim_open(sim) < 0 || sim_enable(sim, sim->options.connect) < 0) {
        ret = failed(sim);
    } else {
        ret = run_commands(sim, script_fd);
    }
    sim_close(sim);
    return ret;
}

/* What is bad in the values of the options comes out here at the latest. */
static int prepare(struct sim *sim, int *script_fd)
{
    const struct options *options = &sim->options;

    *script_fd = STDIN_FILENO;
    if (options->script_file) {
        *script_fd = open(options->script_file, O_RDONLY | O_CLOEXEC |
                          O_NONBLOCK | O_NOCTTY);
        if (*script_fd < 0) {
            return fail(&sim->failure, "--script: '%s': %s, expected a FILE "
                        "that can be read", options->script_file,
                        strerror(errno));
        }
    }
    report_log();
    if (options->trace &&
        report_trace(options->trace_file, &sim->failure) < 0) {
        return fail_prefix(&sim->failure, "--trace");
    }
    return sim_export(sim);
}

static int run(struct sim *sim)
{
    int ret, script_fd;

    ret = loop_init(&sim->loop);
    if (ret < 0) {
        report("cannot make an event loop: %s", strerror(-ret));
        return EXIT_FAILED;
    }
    if (memory_init(&sim->memory, &sim->failure) < 0) {
        return failed(sim);
    }
    ret = prepare(sim, &script_fd) < 0 ? bad_usage(sim)
                                       : run_peer(sim, script_fd);
    if (script_fd > STDERR_FILENO) {
        close(script_fd);
    }
    return ret;
}

int main(int argc, char **argv)
{
    static struct sim sim;
    int ret;

    setlocale(LC_CTYPE, "");
    setvbuf(stderr, NULL, _IOLBF, 0); /* no line of ours is torn */
    occupy_standard_descriptors();
    switch (options_parse(&sim.options, argc, argv, &sim.failure)) {
    case OPTIONS_HELP:
        ret = print(options_help);
        break;
    case OPTIONS_VERSION:
        ret = print(PROGRAM " " PACKAGE_VERSION "\n");
        break;
    case OPTIONS_BAD:
        ret = bad_usage(&sim);
        break;
    default:
        ret = run(&sim);
        loop_clear(&sim.loop);
        memory_clear(&sim.memory);
    }
    options_clear(&sim.options);
    report_close_trace();
    return ret;
}
