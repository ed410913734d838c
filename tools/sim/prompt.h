/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The prompt on a terminal.
 */
#ifndef SIM_PROMPT_H
#define SIM_PROMPT_H

#include "sim.h"

/*
 * Read commands and run them until the end of the input, 'quit' or SIGTERM.
 * What fails is reported and the next command read.
 * Returns 0 if none failed, else -1 with nothing more to be reported.
 */
int prompt_run(struct sim *sim);

#endif
