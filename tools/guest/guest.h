/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What commands share: the devices, and the one that is used.
 */
#ifndef GUEST_GUEST_H
#define GUEST_GUEST_H

#include "io.h"

#define PROGRAM "memexpose-guest"

/* What becomes of a command, and of the program. */
enum {
    DONE,
    FAILED,                     /* the reason is in the failure */
    USAGE                       /* likewise: words that make no sense */
};

struct guest {
    const char *wanted;         /* the device that -d names, or NULL */
    struct devices devices;
    struct io io;               /* the device once it is open */
    struct failure failure;
};

/*
 * A command.  Words are as given, the name first, and between the numbers of
 * them that the table allows.  What is wrong with them is told before
 * anything is touched.
 */
struct command {
    const char *name, *arguments, *help;
    int least, most;            /* words behind the name */
    bool own;                   /* about this machine's own memory */
    int (*run)(struct guest *guest, const struct command *command,
               int count, char **word);
};

#define COMMAND(name)                                                     \
    int command_##name(struct guest *guest, const struct command *command, \
                       int count, char **word)

COMMAND(bench);
COMMAND(disable);
COMMAND(dump);
COMMAND(enable);
COMMAND(fill);
COMMAND(intr);
COMMAND(list);
COMMAND(load);
COMMAND(read);
COMMAND(reg);
COMMAND(status);
COMMAND(sum);
COMMAND(write);

/* Find the devices, and open the one that is meant. */
int guest_open(struct guest *guest);

/* Put the name of the command in front of the reason. */
int command_failed(struct guest *guest, const struct command *command);
int command_refused(struct guest *guest, const struct command *command);

#endif
