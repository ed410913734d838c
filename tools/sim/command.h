/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a command is, and the functions behind the table of commands.
 */
#ifndef SIM_COMMAND_H
#define SIM_COMMAND_H

#include <stdbool.h>

#include "script.h"
#include "sim.h"

/* From a command: stop here, successfully. */
enum { COMMAND_QUIT = 1 };

struct target;

struct command {
    const char *name;
    const char *arguments;      /* as in a synopsis */
    const char *help;
    int least, most;            /* words behind the name */
    bool needs_peer;
    const struct target *target; /* of an access */
    /* Returns 0, COMMAND_QUIT, or -1 with the reason in @sim->failure. */
    int (*run)(struct sim *sim, const struct command *command,
               const struct words *words);
};

#define COMMAND(name) \
    int command_##name(struct sim *sim, const struct command *command, \
                       const struct words *words)

/*
 * Wait for the peer, if the command needs one, when its words were found good.
 * Returns 0, or -1 with the reason in @sim->failure.
 */
int command_await_peer(struct sim *sim, const struct command *command);

/* Whose memory an access is for. */
extern const struct target target_peer;
extern const struct target target_own;

/* access.c */
COMMAND(read);
COMMAND(write);

/* transfer.c */
COMMAND(dump);
COMMAND(load);

/* control.c */
COMMAND(map);
COMMAND(unmap);
COMMAND(intr);
COMMAND(recv);
COMMAND(reg);
COMMAND(regions);
COMMAND(stats);
COMMAND(enable);
COMMAND(disable);
COMMAND(sleep);
COMMAND(serve);
COMMAND(quit);

/* commands.c */
COMMAND(help);

#endif
