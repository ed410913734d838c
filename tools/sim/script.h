/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Splits lines into commands and commands into words.
 *
 * Commands are separated by ';' or the end of the line.  A '#' at the
 * beginning of a word begins a comment.  Quotes, single or double, keep
 * blanks, ';' and '#' in a word.
 */
#ifndef SIM_SCRIPT_H
#define SIM_SCRIPT_H

#include <stddef.h>

#include "failure.h"
#include "loop.h"

enum { WORDS_MAX = 16 };

/* One command, split.  Words point into the line. */
struct words {
    int count;
    char *word[WORDS_MAX];
};

/*
 * Take the next command from *@rest, which is modified and moves on.  Empty
 * commands are passed over.
 * Returns 1, 0 at the end of the line, -1 with the reason in @failure.
 */
int script_split(char **rest, struct words *words, struct failure *failure);

/* Where lines come from: a text, or a descriptor. */
struct script {
    const char *text;           /* what is left of it; NULL: read @fd */
    int fd;
    struct loop *loop;          /* serves the peer while @fd has nothing */
    unsigned line;              /* number of the line read last */
    char *buffer;               /* bytes read and not used yet; the line */
    size_t start, end, room;
};

void script_init_text(struct script *script, const char *text);
void script_init_fd(struct script *script, int fd, struct loop *loop);
void script_clear(struct script *script);

/*
 * Read the next line.  *@line is valid until the next call and may be
 * modified.
 * Returns 1, 0 at the end, -1 with the reason in @failure.
 */
int script_line(struct script *script, char **line, struct failure *failure);

#endif
