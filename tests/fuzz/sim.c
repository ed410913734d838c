/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The language of memexpose-sim: its options, its scripts from a text and from
 * a descriptor, its commands and numbers.  What commands would do is left out:
 * the functions behind their table only parse their words.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "fuzz.h"
#include "numbers.h"
#include "options.h"
#include "output.h"
#include "script.h"

enum { TEXT = 4096, ARGUMENTS = 40 };

/* --- what the simulator would do ------------------------------------------ */

static struct fuzz_input reads; /* what loop_read() gives */
static unsigned piece;

ssize_t loop_read(struct loop *loop, int fd, void *bytes, size_t count)
{
    size_t room = piece < count ? piece : count;

    (void)loop;
    (void)fd;
    if (reads.left < room) {
        room = reads.left;
    }
    return (ssize_t)fuzz_take_bytes(&reads, bytes, room);
}

void loop_turn(struct loop *loop)
{
    (void)loop;
}

int loop_stopped(void)
{
    return 0;
}

int sim_await_first_peer(struct sim *sim)
{
    (void)sim;
    return 0;
}

int output_line(struct loop *loop, struct failure *failure,
                const char *format, ...)
{
    (void)loop;
    (void)failure;
    fuzz_check(*format);
    return 0;
}

const struct target { int unused; } target_peer, target_own;

/* --- numbers -------------------------------------------------------------- */

/* A number that is written out reads as the same. */
static void check_number(uint64_t value)
{
    struct failure failure;
    char text[32];
    uint64_t again;

    snprintf(text, sizeof(text), "0x%" PRIx64, value);
    fuzz_check(number_address(&failure, "X", text, &again) == 0);
    fuzz_check(again == value);
    snprintf(text, sizeof(text), "%" PRIu64, value);
    fuzz_check(number_address(&failure, "X", text, &again) == 0);
    fuzz_check(again == value);
}

static void check_hex(const char *word)
{
    struct failure failure;
    uint8_t *bytes = malloc(16);
    size_t count = strlen(word) / 2, i;
    char digits[3];

    fuzz_check(bytes);
    if (number_hex(&failure, word, bytes, 16) == 0) {
        fuzz_check(strlen(word) % 2 == 0 && count <= 16);
        for (i = 0; i < count; i++) {
            snprintf(digits, sizeof(digits), "%02x", bytes[i]);
            fuzz_check(strncasecmp(digits, word + 2 * i, 2) == 0);
        }
    }
    free(bytes);
}

/* Said why, in a text that ends. */
static void check_failure(const struct failure *failure)
{
    fuzz_check(memchr(failure->text, '\0', sizeof(failure->text)));
    fuzz_check(failure->text[0]);
}

static void check_word(const char *word)
{
    struct failure failure = { "" };
    uint64_t value, size;
    int64_t time;
    unsigned bytes;

    if (number_address(&failure, "ADDR", word, &value) == 0) {
        check_number(value);
    } else {
        check_failure(&failure);
    }
    fuzz_check(number_size(&failure, "SIZE", word, &size) < 0 || size > 0);
    fuzz_check(number_window(&failure, "SIZE", word, &size) < 0 || size > 0);
    if (number_range(&failure, word, &value, &size) == 0) {
        fuzz_check(size > 0 && size - 1 <= UINT64_MAX - value);
    }
    if (number_milliseconds(&failure, "MS", word, 1, &time) == 0) {
        fuzz_check(time >= 1000000 && time % 1000000 == 0);
    }
    if (number_access(&failure, word, &bytes) == 0) {
        fuzz_check(bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8);
        if (number_value(&failure, word, bytes, &value) == 0 && bytes < 8) {
            fuzz_check(value >> (8 * bytes) == 0);
        }
    }
    if (number_value(&failure, word, 2, &value) == 0) {
        fuzz_check(value <= 0xffff);
    }
    check_hex(word);
}

/* --- commands ------------------------------------------------------------- */

static unsigned commands_run;

/* Each command has as many words as its entry in the table allows. */
static int parse_command(const struct command *command,
                         const struct words *words)
{
    int count = words->count - 1;

    fuzz_check(strcmp(words->word[0], command->name) == 0);
    fuzz_check(count >= command->least && count <= command->most);
    commands_run++;
    for (int i = 1; i <= count; i++) {
        check_word(words->word[i]);
    }
    return strcmp(command->name, "quit") == 0 ? COMMAND_QUIT : 0;
}

#define PARSES(name) \
    COMMAND(name) \
    { \
        (void)sim; \
        return parse_command(command, words); \
    }

PARSES(read)
PARSES(write)
PARSES(dump)
PARSES(load)
PARSES(map)
PARSES(unmap)
PARSES(intr)
PARSES(recv)
PARSES(reg)
PARSES(regions)
PARSES(stats)
PARSES(enable)
PARSES(disable)
PARSES(sleep)
PARSES(serve)
PARSES(quit)

/* Quote a word so that it is one again: everything in one kind of quotes,
 * those quotes in the other. */
static void quote(char *out, size_t room, const char *word)
{
    size_t used = 0;

    for (; *word && used + 4 < room; word++) {
        char mark = *word == '\'' ? '"' : '\'';

        out[used++] = mark;
        out[used++] = *word;
        out[used++] = mark;
    }
    if (used == 0) {
        memcpy(out, "''", 2);
        used = 2;
    }
    out[used] = '\0';
}

/* What was split, quoted and joined, splits in the same way. */
static void check_split(const struct words *words)
{
    static char line[WORDS_MAX * (3 * TEXT + 4)];
    struct failure failure;
    struct words again;
    char *rest = line;
    size_t used = 0;

    for (int i = 0; i < words->count; i++) {
        quote(line + used, sizeof(line) - used - 2, words->word[i]);
        used += strlen(line + used);
        line[used++] = ' ';
        line[used] = '\0';
    }
    fuzz_check(script_split(&rest, &again, &failure) == 1);
    fuzz_check(again.count == words->count);
    for (int i = 0; i < words->count; i++) {
        fuzz_check(strcmp(again.word[i], words->word[i]) == 0);
    }
}

static void split_line(char *line)
{
    char *rest = line, *end = line + strlen(line);
    struct failure failure = { "" };
    struct words words;
    int ret;

    while ((ret = script_split(&rest, &words, &failure)) > 0) {
        fuzz_check(words.count > 0 && words.count <= WORDS_MAX);
        fuzz_check(rest >= line && rest <= end);
        for (int i = 0; i < words.count; i++) {
            fuzz_check(words.word[i] >= line && words.word[i] <= end);
        }
        check_split(&words);
    }
    if (ret < 0) {
        check_failure(&failure);
    }
}

static void run_script(struct script *script, struct sim *sim)
{
    int ret = commands_run_script(sim, script, "fuzz");

    fuzz_check(ret == 0 || ret == COMMAND_QUIT || ret == -1);
    if (ret < 0) {
        check_failure(&sim->failure);
    }
    script_clear(script);
}

/* --- options -------------------------------------------------------------- */

/* The lines of the text are the arguments. */
static void parse_options(char *text)
{
    char name[] = "sim", *argv[ARGUMENTS + 1] = { name };
    struct failure failure = { "" };
    struct options options;
    enum options_result result;
    int argc = 1;
    char *line;

    while (argc < ARGUMENTS && (line = strsep(&text, "\n")) != NULL) {
        argv[argc++] = line;
    }
    optind = 0;
    result = options_parse(&options, argc, argv, &failure);
    if (result == OPTIONS_BAD) {
        check_failure(&failure);
    } else if (result == OPTIONS_RUN) {
        fuzz_check(options.config.name && *options.mem_socket &&
                   *options.intr_socket);
        fuzz_check(strlen(options.config.name) < MEMEXPOSE_NAME_SIZE);
        fuzz_check(strcmp(options.mem_socket, options.intr_socket) != 0);
        fuzz_check(options.range_count < (size_t)argc);
        fuzz_check(options.poll_time >= 0 && options.poll_time <= 1000000000);
    }
    options_clear(&options);
}

int fuzz_sim(const uint8_t *data, size_t size)
{
    static struct sim sim;
    struct fuzz_input input = { data, size };
    unsigned mode = (unsigned)fuzz_take(&input, 1);
    size_t length = input.left < TEXT - 1 ? input.left : TEXT - 1;
    struct script script;
    char *text;

    fuzz_begin();
    memset(&sim, 0, sizeof(sim));
    text = malloc(length + 1);
    fuzz_check(text);
    reads = (struct fuzz_input) { input.at, input.left };
    piece = mode / 4 + 1;
    fuzz_take_bytes(&input, text, length);
    text[length] = '\0';
    switch (mode % 4) {
    case 0:
        split_line(text);
        break;
    case 1:
        script_init_text(&script, text);
        run_script(&script, &sim);
        break;
    case 2:
        script_init_fd(&script, 0, NULL);
        run_script(&script, &sim);
        break;
    default:
        parse_options(text);
        break;
    }
    free(text);
    fuzz_end();
    return 0;
}

/* --- seeds ---------------------------------------------------------------- */

void fuzz_seeds_sim(fuzz_seed_fn *fn, void *opaque)
{
    static const char *const texts[] = {
        "\x00read 0x1000 4; write 4096 'a b' # comment",
        "\x01read 0x1000 4\nwrite 0x1000 0xff 1; dump 0 1K \"file\"\n"
        "load 0 file; lread 8 8; lwrite 8 1; ldump 0 2M; lload 0 x\n"
        "map 0x1000:4K,ro,private; unmap 0x1000; intr 1 0aFf; recv 10\n"
        "reg 0 8 1; regions; stats; enable; disable; sleep 1; serve 1; "
        "help\nquit\n",
        "\x0eread 0x1000 4\nhelp; stats # all\n\nquit",
        "\x03--listen\n/tmp/x\n--ram\n0x1000:4K,ro\n--mmio=1M:4K,"
        "model=counter\n--window\n16777216T,at=4G\n--hello=off\n"
        "--subpriority=auto\n--seals=require\n--share=off\n--name=n",
        "\x03--connect=/tmp/x\n--mem-socket=a\n--intr-socket=b\n"
        "--request-timeout=5000\n--connect-timeout\n10\n--json\n--trace=f\n"
        "--window=18446744073709551616\n-c\nquit",
        "\x03--connect=/tmp/x\n--push=on\n--block=off\n--poll-ns\n50000",
        "\x03--listen=/tmp/x\n--push=off\n--block=on\n--poll-ns=1000000001",
        "\x03--help", "\x03--version", "\x03--script\nf\n-cquit",
    };
    char name[16];

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        snprintf(name, sizeof(name), "text-%zu", i);
        fn(opaque, "sim", name, (const uint8_t *)texts[i],
           1 + strlen(texts[i] + 1));
    }
}
