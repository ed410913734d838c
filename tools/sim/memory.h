/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the simulator exports: a space, and a list of what was put into it.
 *
 * Functions that return int return 0, or -1 with the reason in @failure.
 */
#ifndef SIM_MEMORY_H
#define SIM_MEMORY_H

#include <stdint.h>
#include <sys/stat.h>

#include <memexpose/memexpose.h>

#include "failure.h"

struct exported;

struct memory {
    struct memexpose_space *space;
    struct exported *first;     /* ascending by address */
};

int memory_init(struct memory *memory, struct failure *failure);
void memory_clear(struct memory *memory);

/* START:SIZE[,file=PATH][,ro][,private] */
int memory_add_ram(struct memory *memory, const char *word,
                   struct failure *failure);

/* START:SIZE[,model=scratch|counter] */
int memory_add_mmio(struct memory *memory, const char *word,
                    struct failure *failure);

/* Where the window lies in the exported memory. */
int memory_add_window(struct memory *memory, uint64_t start, uint64_t size,
                      struct failure *failure);

/*
 * Remove the range that starts where @word says, and tell the peers.  If it
 * fails for any other reason than that there is none, the range is gone too.
 */
int memory_remove(struct memory *memory, struct memexpose_group *group,
                  const char *word, struct failure *failure);

/* Is this the status of a file that is exported? */
bool memory_exports_file(const struct memory *memory,
                         const struct stat *status);

#endif
