/* SPDX-License-Identifier: BSD-3-Clause */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "numbers.h"

#define SECOND INT64_C(1000000000)

#define LONGEST_POLLING 1000000000

const char options_help[] =
"usage: memexpose-sim --listen NAME | --connect NAME [OPTION]...\n"
"\n"
"A peer that exports memory of its own and reaches another's.\n"
"\n"
"  --listen NAME              wait for a peer on NAME-mem and NAME-intr\n"
"  --connect NAME             connect to a peer there\n"
"  --mem-socket PATH          socket of the memory link\n"
"  --intr-socket PATH         socket of the interrupt link\n"
"  --ram START:SIZE[,file=PATH][,ro][,private]\n"
"                             export memory; may be repeated\n"
"  --mmio START:SIZE[,model=scratch|counter]\n"
"                             export registers; may be repeated\n"
"  --window SIZE[,at=ADDR]    size of the window; where it lies itself\n"
"  --hello=on|off|require     say hello? (on)\n"
"  --subpriority=0|1|auto     sub-priority in the arbitration (auto)\n"
"  --seals=require|prefer|ignore\n"
"                             must shared objects be sealed? (prefer)\n"
"  --peer-uid=UID|self        only a process of this user may be the peer\n"
"  --share=on|off             off keeps exported memory on the link (on)\n"
"  --push=on|off              share all that can be when a peer comes (off)\n"
"  --block=on|off             up to 64 KiB in a message (on)\n"
"  --name=NAME                what this peer calls itself\n"
"  --request-timeout=MS       for accesses (5000) and map changes (2000)\n"
"  --connect-timeout=MS       how long to wait for a peer (10000)\n"
"  --poll-ns=NS               how long to poll before sleeping (0)\n"
"  --json                     results as JSON, an object a line\n"
"  --trace[=FILE]             one line for each message\n"
"  --script FILE              run the commands in FILE\n"
"  -c 'CMD; CMD; ...'         run these commands\n"
"  --help, --version\n"
"\n"
"Without --script and -c commands come from a prompt or standard input;\n"
"'help' there, and memexpose-sim(1), explain them.\n"
"START, SIZE and ADDR are 0x..., or decimal; K, M or G may follow.\n";

enum {
    OPTION_LISTEN = 256,
    OPTION_CONNECT,
    OPTION_MEM_SOCKET,
    OPTION_INTR_SOCKET,
    OPTION_RAM,
    OPTION_MMIO,
    OPTION_WINDOW,
    OPTION_HELLO,
    OPTION_SUBPRIORITY,
    OPTION_SEALS,
    OPTION_PEER_UID,
    OPTION_SHARE,
    OPTION_PUSH,
    OPTION_BLOCK,
    OPTION_NAME,
    OPTION_REQUEST_TIMEOUT,
    OPTION_CONNECT_TIMEOUT,
    OPTION_POLL_NS,
    OPTION_JSON,
    OPTION_TRACE,
    OPTION_SCRIPT,
    OPTION_HELP,
    OPTION_VERSION
};

static const struct option long_options[] = {
    { "listen", required_argument, NULL, OPTION_LISTEN },
    { "connect", required_argument, NULL, OPTION_CONNECT },
    { "mem-socket", required_argument, NULL, OPTION_MEM_SOCKET },
    { "intr-socket", required_argument, NULL, OPTION_INTR_SOCKET },
    { "ram", required_argument, NULL, OPTION_RAM },
    { "mmio", required_argument, NULL, OPTION_MMIO },
    { "window", required_argument, NULL, OPTION_WINDOW },
    { "hello", required_argument, NULL, OPTION_HELLO },
    { "subpriority", required_argument, NULL, OPTION_SUBPRIORITY },
    { "seals", required_argument, NULL, OPTION_SEALS },
    { "peer-uid", required_argument, NULL, OPTION_PEER_UID },
    { "share", required_argument, NULL, OPTION_SHARE },
    { "push", required_argument, NULL, OPTION_PUSH },
    { "block", required_argument, NULL, OPTION_BLOCK },
    { "name", required_argument, NULL, OPTION_NAME },
    { "request-timeout", required_argument, NULL, OPTION_REQUEST_TIMEOUT },
    { "connect-timeout", required_argument, NULL, OPTION_CONNECT_TIMEOUT },
    { "poll-ns", required_argument, NULL, OPTION_POLL_NS },
    { "json", no_argument, NULL, OPTION_JSON },
    { "trace", optional_argument, NULL, OPTION_TRACE },
    { "script", required_argument, NULL, OPTION_SCRIPT },
    { "help", no_argument, NULL, OPTION_HELP },
    { "version", no_argument, NULL, OPTION_VERSION },
    { NULL, 0, NULL, 0 }
};

static const char *option_name(int option)
{
    const struct option *at;

    for (at = long_options; at->name; at++) {
        if (at->val == option) {
            return at->name;
        }
    }
    return "?";
}

/* One of several words, and what it stands for. */
struct choice {
    const char *word;
    int value;
};

static const struct choice hello_choices[] = {
    { "on", MEMEXPOSE_HELLO_ON },
    { "off", MEMEXPOSE_HELLO_OFF },
    { "require", MEMEXPOSE_HELLO_REQUIRE },
    { NULL, 0 }
};

static const struct choice subpriority_choices[] = {
    { "0", MEMEXPOSE_SUBPRIORITY_0 },
    { "1", MEMEXPOSE_SUBPRIORITY_1 },
    { "auto", MEMEXPOSE_SUBPRIORITY_AUTO },
    { NULL, 0 }
};

static const struct choice seals_choices[] = {
    { "require", MEMEXPOSE_SEALS_REQUIRE },
    { "prefer", MEMEXPOSE_SEALS_PREFER },
    { "ignore", MEMEXPOSE_SEALS_IGNORE },
    { NULL, 0 }
};

static const struct choice on_off_choices[] = {
    { "on", true },
    { "off", false },
    { NULL, 0 }
};

static int choose(struct failure *failure, const struct choice *choices,
                  const char *word, int *value)
{
    const struct choice *choice;
    char expected[64] = "";
    size_t used;

    for (choice = choices; choice->word; choice++) {
        if (strcmp(word, choice->word) == 0) {
            *value = choice->value;
            return 0;
        }
        used = strlen(expected);
        snprintf(expected + used, sizeof(expected) - used, "%s%s",
                 choice == choices ? "" : choice[1].word ? ", " : " or ",
                 choice->word);
    }
    return fail(failure, "'%s': expected %s", word, expected);
}

static int parse_name(struct options *options, const char *word,
                      struct failure *failure)
{
    const char *at;

    if (*word == '\0' || strlen(word) > MEMEXPOSE_NAME_SIZE - 1) {
        return fail(failure, "'%s': expected a name of 1 to %d bytes", word,
                    MEMEXPOSE_NAME_SIZE - 1);
    }
    for (at = word; *at; at++) {
        if ((unsigned char)*at < ' ' || *at == '\x7f') {
            return fail(failure, "'%s': expected a name without control "
                        "characters", word);
        }
    }
    options->config.name = word;
    return 0;
}

/* SIZE[,at=ADDR] */
static int parse_window(struct options *options, const char *word,
                        struct failure *failure)
{
    const char *comma = strchrnul(word, ',');
    char size[64];
    int ret;

    snprintf(size, sizeof(size), "%.*s", (int)(comma - word), word);
    ret = number_window(failure, "SIZE", size, &options->config.window_size);
    if (ret < 0) {
        return ret;
    }
    if (options->config.window_size < 8) {
        return fail(failure, "'%s': smaller than an access, expected a SIZE "
                    "of at least 8", size);
    }
    options->window_placed = *comma != '\0';
    if (!options->window_placed) {
        return 0;
    }
    if (strncmp(comma, ",at=", 4) != 0) {
        return fail(failure, "'%s': expected at=ADDR", comma + 1);
    }
    if (number_address(failure, "ADDR", comma + 4,
                       &options->window_start) < 0) {
        return -1;
    }
    return number_fits(failure, word, options->window_start,
                       options->config.window_size);
}

/* A user's number, or self. */
static int parse_peer_uid(struct options *options, const char *word,
                          struct failure *failure)
{
    uint64_t uid;

    if (strcmp(word, "self") == 0) {
        options->config.peer_uid = MEMEXPOSE_USER_SELF;
        return 0;
    }
    if (number_value(failure, word, 4, &uid) < 0) {
        return fail(failure, "'%s': expected the number of a user, or self",
                    word);
    }
    options->config.peer_uid = (int64_t)uid;
    return 0;
}

static int parse_request_timeout(struct options *options, const char *word,
                                 struct failure *failure)
{
    int64_t time;

    if (number_milliseconds(failure, "MS", word, 1, &time) < 0) {
        return -1;
    }
    options->config.request_timeout = time;
    options->config.map_change_timeout = time;
    return 0;
}

/* Decimal digits and nothing else. */
static int parse_poll_ns(struct options *options, const char *word,
                         struct failure *failure)
{
    bool digits = *word && word[strspn(word, "0123456789")] == '\0';
    unsigned long long time = strtoull(word, NULL, 10);

    if (!digits || time > LONGEST_POLLING) {
        return fail(failure, "'%s': expected NS, a time in nanoseconds of 0 "
                    "to %d", word, LONGEST_POLLING);
    }
    options->poll_time = (int64_t)time;
    return 0;
}

static int parse_side(struct options *options, bool connect, const char *word,
                      struct failure *failure)
{
    if (options->peer && options->connect != connect) {
        return fail(failure, "'%s': expected only one of --listen and "
                    "--connect", word);
    }
    if (*word == '\0') {
        return fail(failure, "'': expected a NAME");
    }
    options->connect = connect;
    options->peer = word;
    return 0;
}

static int copy_path(char path[SOCKET_PATH_MAX + 1], const char *word,
                     const char *suffix, struct failure *failure)
{
    size_t length = strlen(word) + strlen(suffix);

    if (length > SOCKET_PATH_MAX) {
        return fail(failure, "'%s%s': %zu bytes, too long for a unix socket, "
                    "expected at most %d", word, suffix, length,
                    SOCKET_PATH_MAX);
    }
    if (*word == '\0') {
        return fail(failure, "'': expected a PATH");
    }
    strcpy(stpcpy(path, word), suffix);
    return 0;
}

static int parse_option(struct options *options, int option, char *word,
                        struct failure *failure)
{
    struct memexpose_device_config *config = &options->config;
    int value = 0, ret = 0;

    switch (option) {
    case OPTION_LISTEN:
    case OPTION_CONNECT:
        return parse_side(options, option == OPTION_CONNECT, word, failure);
    case OPTION_MEM_SOCKET:
        return copy_path(options->mem_socket, word, "", failure);
    case OPTION_INTR_SOCKET:
        return copy_path(options->intr_socket, word, "", failure);
    case OPTION_RAM:
    case OPTION_MMIO:
        options->ranges[options->range_count++] =
            (struct range_option){ word, option == OPTION_MMIO };
        return 0;
    case OPTION_WINDOW:
        return parse_window(options, word, failure);
    case OPTION_HELLO:
        ret = choose(failure, hello_choices, word, &value);
        config->hello = (enum memexpose_hello)value;
        return ret;
    case OPTION_SUBPRIORITY:
        ret = choose(failure, subpriority_choices, word, &value);
        config->subpriority = (enum memexpose_subpriority)value;
        return ret;
    case OPTION_SEALS:
        ret = choose(failure, seals_choices, word, &value);
        config->seals = (enum memexpose_seals)value;
        return ret;
    case OPTION_PEER_UID:
        return parse_peer_uid(options, word, failure);
    case OPTION_SHARE:
        ret = choose(failure, on_off_choices, word, &value);
        config->share = value;
        return ret;
    case OPTION_PUSH:
        ret = choose(failure, on_off_choices, word, &value);
        config->push = value;
        return ret;
    case OPTION_BLOCK:
        ret = choose(failure, on_off_choices, word, &value);
        config->block = value;
        return ret;
    case OPTION_NAME:
        return parse_name(options, word, failure);
    case OPTION_REQUEST_TIMEOUT:
        return parse_request_timeout(options, word, failure);
    case OPTION_CONNECT_TIMEOUT:
        return number_milliseconds(failure, "MS", word, 1,
                                   &options->connect_timeout);
    case OPTION_POLL_NS:
        return parse_poll_ns(options, word, failure);
    case OPTION_JSON:
        options->json = true;
        return 0;
    case OPTION_TRACE:
        options->trace = true;
        options->trace_file = word;
        return word && *word == '\0'
            ? fail(failure, "'': expected a FILE") : 0;
    case OPTION_SCRIPT:
        options->script_file = word;
        return 0;
    default: /* 'c' */
        options->commands = word;
        return 0;
    }
}

/* What getopt_long() could not make sense of. */
static int bad_option(struct failure *failure, int result, char **argv)
{
    const char *word = argv[optind - 1];

    if (result == ':') {
        return fail(failure, "'%s': expected a value behind it", word);
    }
    if (optopt >= 256) {
        return fail(failure, "'%s': expected no value with --%s", word,
                    option_name(optopt));
    }
    if (optopt > 0) { /* a letter, maybe inside of a word */
        return fail(failure, "'-%c': unknown option, see --help", optopt);
    }
    return fail(failure, "'%s': unknown or ambiguous option, see --help",
                word);
}

/* The last part of the sockets' NAME, as far as whole characters fit. */
static void default_name(struct options *options)
{
    const char *slash = strrchr(options->peer, '/');
    const char *name = slash && slash[1] ? slash + 1 : options->peer;
    size_t length = strnlen(name, MEMEXPOSE_NAME_SIZE - 1);

    while (length > 0 && ((unsigned char)name[length] & 0xc0) == 0x80) {
        length--;
    }
    memcpy(options->own_name, name, length);
    options->own_name[length] = '\0';
    options->config.name = options->own_name;
}

/* The sockets, and what has to go together. */
static int complete(struct options *options, struct failure *failure)
{
    if (!options->peer) {
        return fail(failure, "expected --listen NAME or --connect NAME, see "
                    "--help");
    }
    if (options->commands && options->script_file) {
        return fail(failure, "'%s': expected only one of -c and --script",
                    options->script_file);
    }
    if (!*options->mem_socket &&
        copy_path(options->mem_socket, options->peer, "-mem", failure) < 0) {
        return -1;
    }
    if (!*options->intr_socket &&
        copy_path(options->intr_socket, options->peer, "-intr",
                  failure) < 0) {
        return -1;
    }
    if (strcmp(options->mem_socket, options->intr_socket) == 0) {
        return fail(failure, "'%s': expected different paths for both "
                    "sockets", options->mem_socket);
    }
    if (!options->config.name) {
        default_name(options);
    }
    options->config.role = options->connect ? MEMEXPOSE_ROLE_CONNECT
                                            : MEMEXPOSE_ROLE_LISTEN;
    options->config.connect_timeout = options->connect_timeout;
    return 0;
}

static int init(struct options *options, int argc, struct failure *failure)
{
    memset(options, 0, sizeof(*options));
    options->connect_timeout = 10 * SECOND;
    memexpose_device_config_init(&options->config);
    options->config.name = NULL;
    options->ranges = calloc((size_t)argc, sizeof(*options->ranges));
    return options->ranges ? 0 : fail(failure, "%s", strerror(ENOMEM));
}

enum options_result options_parse(struct options *options, int argc,
                                  char **argv, struct failure *failure)
{
    int option;

    if (init(options, argc, failure) < 0) {
        return OPTIONS_BAD;
    }
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":c:", long_options,
                                 NULL)) != -1) {
        switch (option) {
        case ':':
        case '?':
            bad_option(failure, option, argv);
            return OPTIONS_BAD;
        case OPTION_HELP:
            return OPTIONS_HELP;
        case OPTION_VERSION:
            return OPTIONS_VERSION;
        default:
            if (parse_option(options, option, optarg, failure) < 0) {
                fail_prefix(failure, "%s%s", option < 256 ? "-" : "--",
                            option < 256 ? "c" : option_name(option));
                return OPTIONS_BAD;
            }
        }
    }
    if (optind < argc) {
        fail(failure, "'%s': unexpected, expected options only, see --help",
             argv[optind]);
        return OPTIONS_BAD;
    }
    return complete(options, failure) < 0 ? OPTIONS_BAD : OPTIONS_RUN;
}

void options_clear(struct options *options)
{
    free(options->ranges);
    options->ranges = NULL;
}
