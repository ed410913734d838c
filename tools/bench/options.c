/* SPDX-License-Identifier: BSD-3-Clause */
#include "options.h"

#include <fnmatch.h>
#include <getopt.h>
#include <stddef.h>
#include <string.h>

#include "bench.h"

const char options_help[] =
"usage: memexpose-bench [OPTION]...\n"
"\n"
"Measures memexpose, and beside each figure what the machine does at best.\n"
"\n"
"  --only PATTERN    only figures whose names match, as file names would\n"
"  --list            print the names of the figures and leave\n"
"  --quick           fewer rounds: all figures in less than a minute\n"
"  --check           fail if a figure misses its target\n"
"  --json            results as JSON, an object a line\n"
"  --help, --version\n"
"\n"
"memexpose-bench(1) explains the figures.\n";

enum {
    OPTION_ONLY = 256,
    OPTION_LIST,
    OPTION_QUICK,
    OPTION_CHECK,
    OPTION_JSON,
    OPTION_HELP,
    OPTION_VERSION
};

static const struct option long_options[] = {
    { "only", required_argument, NULL, OPTION_ONLY },
    { "list", no_argument, NULL, OPTION_LIST },
    { "quick", no_argument, NULL, OPTION_QUICK },
    { "check", no_argument, NULL, OPTION_CHECK },
    { "json", no_argument, NULL, OPTION_JSON },
    { "help", no_argument, NULL, OPTION_HELP },
    { "version", no_argument, NULL, OPTION_VERSION },
    { NULL, 0, NULL, 0 }
};

bool options_choose(const struct options *options, const char *name)
{
    return !options->only || fnmatch(options->only, name, 0) == 0;
}

static enum options_result bad_option(struct failure *failure, int option,
                                      char **argv)
{
    const char *word = argv[optind - 1];

    if (option == ':') {
        fail(failure, "%s: expected a PATTERN behind it", word);
    } else if (optopt >= 256) {
        fail(failure, "%s: unexpected value, expected none", word);
    } else {
        fail(failure, "'%s': unknown option, expected one of those of --help",
             word);
    }
    return OPTIONS_BAD;
}

static enum options_result complete(const struct options *options,
                                    struct failure *failure)
{
    size_t i;

    for (i = 0; i < figure_count; i++) {
        if (options_choose(options, figures[i].name)) {
            return OPTIONS_RUN;
        }
    }
    fail(failure, "--only: '%s': no figure has such a name, expected a "
         "PATTERN of those of --list", options->only);
    return OPTIONS_BAD;
}

enum options_result options_parse(struct options *options, int argc,
                                  char **argv, struct failure *failure)
{
    int option;

    memset(options, 0, sizeof(*options));
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":", long_options,
                                 NULL)) != -1) {
        switch (option) {
        case OPTION_ONLY:
            options->only = optarg;
            break;
        case OPTION_LIST:
            options->list = true;
            break;
        case OPTION_QUICK:
            options->quick = true;
            break;
        case OPTION_CHECK:
            options->check = true;
            break;
        case OPTION_JSON:
            options->json = true;
            break;
        case OPTION_HELP:
            return OPTIONS_HELP;
        case OPTION_VERSION:
            return OPTIONS_VERSION;
        default:
            return bad_option(failure, option, argv);
        }
    }
    if (optind < argc) {
        fail(failure, "'%s': unexpected, expected options only, see --help",
             argv[optind]);
        return OPTIONS_BAD;
    }
    return complete(options, failure);
}
