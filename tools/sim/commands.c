/* SPDX-License-Identifier: BSD-3-Clause */
#include "commands.h"

#include <stdio.h>
#include <string.h>

#include "output.h"

static const struct command table[] = {
    { "read", "ADDR [1|2|4|8]", "read the peer's memory",
      1, 2, true, &target_peer, command_read },
    { "write", "ADDR VALUE [SIZE]", "write the peer's memory",
      2, 3, true, &target_peer, command_write },
    { "dump", "ADDR LEN [FILE]", "show the peer's memory, or store it",
      2, 3, true, &target_peer, command_dump },
    { "load", "ADDR FILE", "write a file into the peer's memory",
      2, 2, true, &target_peer, command_load },
    { "lread", "ADDR [1|2|4|8]", "read own exported memory",
      1, 2, false, &target_own, command_read },
    { "lwrite", "ADDR VALUE [SIZE]", "write own exported memory",
      2, 3, false, &target_own, command_write },
    { "ldump", "ADDR LEN [FILE]", "show own exported memory, or store it",
      2, 3, false, &target_own, command_dump },
    { "lload", "ADDR FILE", "write a file into own exported memory",
      2, 2, false, &target_own, command_load },
    { "map", "START:SIZE[,file=PATH][,ro][,private]", "export more memory",
      1, 1, false, NULL, command_map },
    { "unmap", "START", "take exported memory back",
      1, 1, false, NULL, command_unmap },
    { "intr", "TYPE [HEXDATA]", "send an interrupt",
      1, 2, true, NULL, command_intr },
    { "recv", "[TIMEOUT_MS]", "wait for an interrupt and show it",
      0, 1, false, NULL, command_recv },
    { "reg", "OFFSET SIZE [VALUE]", "read or write a register",
      2, 3, false, NULL, command_reg },
    { "regions", "", "show what is mapped of the peer's memory",
      0, 0, false, NULL, command_regions },
    { "stats", "", "show the counters",
      0, 0, false, NULL, command_stats },
    { "enable", "", "enable the device, wait for the peer",
      0, 0, false, NULL, command_enable },
    { "disable", "", "disable the device",
      0, 0, false, NULL, command_disable },
    { "sleep", "MS", "wait, serving the peer",
      1, 1, false, NULL, command_sleep },
    { "serve", "[MS]", "serve the peer until it leaves",
      0, 1, false, NULL, command_serve },
    { "help", "", "show this list",
      0, 0, false, NULL, command_help },
    { "quit", "", "leave",
      0, 0, false, NULL, command_quit },
};

enum { COMMANDS = sizeof(table) / sizeof(table[0]) };

const char *commands_name(size_t index)
{
    return index < COMMANDS ? table[index].name : NULL;
}

COMMAND(help)
{
    char synopsis[64];
    size_t i;
    int ret = 0;

    (void)command;
    (void)words;
    for (i = 0; i < COMMANDS && ret == 0; i++) {
        snprintf(synopsis, sizeof(synopsis), "%s %s", table[i].name,
                 table[i].arguments);
        ret = output_line(&sim->loop, &sim->failure, "%-44s %s", synopsis,
                          table[i].help);
    }
    return ret;
}

static const struct command *find(const char *name)
{
    size_t i;

    for (i = 0; i < COMMANDS; i++) {
        if (strcmp(table[i].name, name) == 0) {
            return &table[i];
        }
    }
    return NULL;
}

static int unknown(struct failure *failure, const char *word)
{
    char names[256] = "";
    size_t i, used;

    for (i = 0; i < COMMANDS; i++) {
        used = strlen(names);
        snprintf(names + used, sizeof(names) - used, "%s%s", i ? " " : "",
                 table[i].name);
    }
    return fail(failure, "'%s': unknown command, expected one of: %s", word,
                names);
}

static int check_count(struct failure *failure,
                       const struct command *command,
                       const struct words *words)
{
    int count = words->count - 1;
    const char *blank = *command->arguments ? " " : "";

    if (count > command->most) {
        return fail(failure, "%s: '%s': one word too many, expected "
                    "'%s%s%s'", command->name,
                    words->word[command->most + 1], command->name, blank,
                    command->arguments);
    }
    if (count < command->least) {
        return fail(failure, "'%s': a word is missing, expected '%s%s%s'",
                    words->word[count], command->name, blank,
                    command->arguments);
    }
    return 0;
}

int command_await_peer(struct sim *sim, const struct command *command)
{
    if (!command->needs_peer || sim_await_first_peer(sim) == 0) {
        return 0;
    }
    return fail_prefix(&sim->failure, "%s", command->name);
}

static int run(struct sim *sim, const struct words *words)
{
    const struct command *command = find(words->word[0]);

    if (!command) {
        return unknown(&sim->failure, words->word[0]);
    }
    if (check_count(&sim->failure, command, words) < 0) {
        return -1;
    }
    return command->run(sim, command, words);
}

int commands_run_line(struct sim *sim, char *line)
{
    struct words words;
    int ret;

    while ((ret = script_split(&line, &words, &sim->failure)) > 0) {
        ret = run(sim, &words);
        /* what came meanwhile is not left until something waits */
        loop_turn(&sim->loop);
        if (ret != 0) {
            return ret;
        }
        if (loop_stopped()) {
            return fail(&sim->failure, "stopped");
        }
    }
    return ret;
}

int commands_run_script(struct sim *sim, struct script *script,
                        const char *name)
{
    char *line;
    int ret;

    while ((ret = script_line(script, &line, &sim->failure)) > 0) {
        ret = commands_run_line(sim, line);
        if (ret < 0 && name) {
            fail_prefix(&sim->failure, "%s:%u", name, script->line);
        }
        if (ret != 0) {
            return ret;
        }
    }
    return ret;
}
