/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs commands.
 */
#ifndef SIM_COMMANDS_H
#define SIM_COMMANDS_H

#include "command.h"

/*
 * Run the commands of a line, which is modified, up to the first that fails.
 * Returns 0, COMMAND_QUIT, or -1 with the reason in @sim->failure.
 */
int commands_run_line(struct sim *sim, char *line);

/*
 * Run a whole script.  @name, which may be NULL, is told with the number of
 * the line when something fails.  Returns likewise.
 */
int commands_run_script(struct sim *sim, struct script *script,
                        const char *name);

/* The names of the commands, one by one from index 0 on, then NULL. */
const char *commands_name(size_t index);

#endif
