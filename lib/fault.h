/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Host ranges in which a SIGBUS is the library's to mend: somebody has
 * shortened the object that is mapped there (protocol section 4).  A signal
 * handler looks them up, so they are in a table that only grows until it is
 * freed.  Adding and removing is serialised by the caller.
 */
#ifndef MX_FAULT_H
#define MX_FAULT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct mx_fault {
    _Atomic(uintptr_t) host;    /* 0: free */
    _Atomic(uint64_t) size;
};

struct mx_fault_chunk;

struct mx_faults {
    _Atomic(struct mx_fault_chunk *) chunks;
};

void mx_faults_init(struct mx_faults *faults);

/* No handler can be looking any more. */
void mx_faults_free(struct mx_faults *faults);

/* NULL if there is no memory. */
struct mx_fault *mx_faults_add(struct mx_faults *faults, const void *host,
                               uint64_t size);

void mx_faults_remove(struct mx_fault *fault);

/*
 * Put a page of private zeros where the fault lies, if it lies in one of the
 * ranges.  Returns whether it did.  Async-signal-safe.
 */
bool mx_faults_patch(const struct mx_faults *faults, const void *address);

#endif
