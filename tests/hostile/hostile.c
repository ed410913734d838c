/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hostile [--vm] TARGET [CASES]: hostile peers against real processes, one
 * that listens and one that connects, with each rule about seals.  CASES is a
 * part of the names of those to play.
 *
 * TARGET is memexpose-sim, or a command that takes the same options and, on
 * its standard input, the same commands: read, write, dump, reg, map, unmap,
 * regions, enable, disable, intr, recv.  It has memory at 0x10000 and 0x40000,
 * and some at 0xd0000 that map makes and unmap takes away.  Its own process is
 * what is looked at.  With --vm that is a virtual machine: it takes its time,
 * and its memory breathes.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "round.h"

/*
 * How often everything is done, and what may be more in the end.  A virtual
 * machine that connects takes a second for each time: not all is for it.
 */
enum { TURNS = 3, VM_TURNS = 2, PUSH_TURNS = 2 };
enum { VM_EVERY = 21, VM_PUSH_EVERY = 11 };
enum { GROWTH = 768 * 1024, VM_GROWTH = 8 * 1024 * 1024 };

struct setting {
    const char *name;
    bool listens;
    const char *seals;
    bool all;
    bool push;
};

static const struct setting settings[] = {
    { "listening, seals=prefer", true, "prefer", true, false },
    { "connecting, seals=prefer", false, "prefer", true, false },
    { "listening, seals=require", true, "require", false, false },
    { "connecting, seals=require", false, "require", false, false },
    { "listening, seals=ignore", true, "ignore", false, false },
    { "connecting, seals=ignore", false, "ignore", false, false },
    { "listening, push=on", true, "prefer", false, true },
    { "connecting, push=on", false, "prefer", false, true },
};

static const char *words[WORDS];

/* The simulator may come with a wrapper before it. */
static void split_words(char *simulator)
{
    unsigned count = 0;
    char *rest = simulator, *word;

    while ((word = strtok_r(rest, " ", &rest)) && count < WORDS - 10) {
        words[count++] = word;
    }
    words[count++] = "--ram=0x10000:0x4000";
    words[count++] = "--mmio=0x40000:0x1000";
    words[count++] = "--request-timeout=1000";
    words[count++] = "--name=target";
}

static void set_options(const char *seals, bool push)
{
    static char option[32];
    unsigned count = 0;

    snprintf(option, sizeof(option), "--seals=%s", seals);
    while (words[count] && strncmp(words[count], "--seals", 7) != 0) {
        count++;
    }
    words[count++] = option;
    words[count] = push ? "--push=on" : NULL;
}

/* What all settings come to. */
struct sums {
    unsigned cases, failures, blocks, offers, left_out;
};

static unsigned how_seldom(const struct setting *setting, bool vm)
{
    if (!vm || setting->listens) {
        return 1;
    }
    return setting->all ? VM_EVERY : setting->push ? VM_PUSH_EVERY : 1;
}

static void run_setting(const struct setting *setting, const char *only,
                        bool vm, struct sums *sums)
{
    struct round round = {
        .target = { .name = setting->name, .listens = setting->listens,
                    .vm = vm },
        .every = how_seldom(setting, vm),
        .seals = setting->seals, .only = only, .all = setting->all,
        .push = setting->push,
        .turns = setting->push ? PUSH_TURNS : vm ? VM_TURNS : TURNS,
        .growth = vm ? VM_GROWTH : GROWTH,
    };

    set_options(setting->seals, setting->push);
    round_run(&round, words);
    sums->cases += round.cases;
    sums->failures += round.failures;
    sums->blocks += round.blocks;
    sums->offers += round.offers;
    sums->left_out += round.left_out;
}

int main(int argc, char **argv)
{
    char path[] = "/tmp/mx-hostile-XXXXXX";
    struct sums sums = { 0 };
    int64_t began = now_ms();
    bool vm = argc > 1 && strcmp(argv[1], "--vm") == 0;

    argv += vm;
    argc -= vm;
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: hostile [--vm] TARGET [CASES]\n");
        return 2;
    }
    directory = mkdtemp(path);
    if (!directory) {
        fprintf(stderr, "hostile: %s: %s\n", path, strerror(errno));
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    split_words(argv[1]);
    for (unsigned i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        run_setting(&settings[i], argv[2], vm, &sums);
    }
    if (rmdir(directory) < 0) {
        printf("FAIL: something is left in %s\n", directory);
        sums.failures++;
    }
    printf("%u of blocks, %u of offers; %u left out\n", sums.blocks,
           sums.offers, sums.left_out);
    printf("%u hostile cases, %u failures, %.1f s\n", sums.cases,
           sums.failures, (double)(now_ms() - began) / 1000);
    return sums.failures > 0 || sums.cases == 0;
}
