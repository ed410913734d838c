/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Why something could not be done, in one line for the user.
 */
#ifndef SIM_FAILURE_H
#define SIM_FAILURE_H

struct failure {
    char text[4608]; /* holds a whole path and a sentence around it */
};

/*
 * Say why: the offending word in quotes, then what was expected.  The last
 * caller wins, so that outer functions may say more.  Returns -1.
 */
int fail(struct failure *failure, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Put "format: " in front of what was said.  Returns -1. */
int fail_prefix(struct failure *failure, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
