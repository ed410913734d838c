/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The files by which the kernel shows its devices.  Paths begin with '/' and
 * lie below a root, "/" unless the user names another one.
 *
 * Functions that return int return 0, or -1 with the reason in @failure,
 * unless their comments say otherwise.
 */
#ifndef GUEST_FILES_H
#define GUEST_FILES_H

#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "../sim/failure.h"

struct path {
    char text[PATH_MAX];
};

/* Take the directory @name as the root from now on. */
int files_set_root(struct failure *failure, const char *name);

/* One that is too long is cut, and will not be found. */
struct path files_path(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

/* open(2), close-on-exec.  Returns a descriptor, or -1 with errno set. */
int files_open(const char *path, int flags);

/* files_open(), with the reason if it fails. */
int files_need(struct failure *failure, const char *path, int flags);

/*
 * Read at most @room bytes, and a zero more is put behind them if there is
 * room for it.  Returns the number of bytes, or -1 with errno set.
 */
ssize_t files_read(const char *path, void *bytes, size_t room);

/* One line of text, without its end.  Returns 0, or -1 with errno set. */
int files_line(const char *path, char *line, size_t room);

/* Write @text at once. */
int files_write(struct failure *failure, const char *path, const char *text);

bool files_exists(const char *path);

/* The last part of where a symbolic link leads; false if there is none. */
bool files_link(const char *path, char *name, size_t room);

/*
 * The names in a directory but for those that begin with '.', sorted.
 * Returns how many, or -1 with errno set; files_free() takes them back.
 */
int files_list(const char *path, struct dirent ***entries);
void files_free(struct dirent **entries, int count);

#endif
