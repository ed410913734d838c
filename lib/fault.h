/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Host ranges in which a SIGBUS is the library's to mend: somebody has
 * shortened the object that is mapped there (protocol section 4).  A signal
 * handler looks them up, so they are in a table that only grows until it is
 * freed.  Adding is serialised by the caller.  Adding and removing take the
 * same time however many there are; looking one up goes through all of them.
 */
#ifndef MX_FAULT_H
#define MX_FAULT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct mx_fault {
    _Atomic(uintptr_t) host;    /* 0: free */
    _Atomic(uint64_t) size;
    struct mx_faults *faults;   /* no handler looks at this */
    struct mx_fault *next;      /* nor at this: the next free one */
};

struct mx_fault_chunk;

struct mx_faults {
    _Atomic(struct mx_fault_chunk *) chunks;
    struct mx_fault *free;      /* a list, for mx_faults_add() alone */
    _Atomic(struct mx_fault *) removed; /* another, which is added to free */
};

void mx_faults_init(struct mx_faults *faults);

/* No handler can be looking any more. */
void mx_faults_free(struct mx_faults *faults);

/* NULL if there is no memory.  @faults stays where it is as long as it is. */
struct mx_fault *mx_faults_add(struct mx_faults *faults, const void *host,
                               uint64_t size);

void mx_faults_remove(struct mx_fault *fault);

/*
 * Put a page of private zeros where the fault lies, if it lies in one of the
 * ranges.  Returns whether it did.  Async-signal-safe.
 */
bool mx_faults_patch(const struct mx_faults *faults, const void *address);

#endif
