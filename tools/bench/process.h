/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Child processes and the directory for sockets: whatever ends this process,
 * none of them is left.
 */
#ifndef BENCH_PROCESS_H
#define BENCH_PROCESS_H

#include <stddef.h>
#include <sys/types.h>

/* From now on SIGINT, SIGTERM and SIGHUP clean up before they end us. */
void process_init(void);

/*
 * As fork(): a child, which ends with its parent, runs on processor @core and
 * must leave by _exit().  Returns its number, 0 in the child, or -errno.
 */
pid_t process_fork(int core);

/* End a child at once and wait for it.  Nothing happens for 0 and below. */
void process_stop(pid_t child);

/* A path in a directory of ours, which is made with the first.  The file is
 * removed with the directory.  Returns 0 or -errno. */
int process_path(const char *name, char *path, size_t size);

/* End every child, remove the directory. */
void process_clear(void);

#endif
