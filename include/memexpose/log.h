/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the library reports in words.
 */
#ifndef MEMEXPOSE_LOG_H
#define MEMEXPOSE_LOG_H

#ifdef __cplusplus
extern "C" {
#endif

enum memexpose_log_level {
    MEMEXPOSE_LOG_ERROR,   /* something asked for did not happen */
    MEMEXPOSE_LOG_WARNING, /* with less than was asked for, or a
                            * link was closed */
    MEMEXPOSE_LOG_INFO,    /* links that come and go */
    MEMEXPOSE_LOG_DEBUG    /* decisions, such as a share declined and why */
};

/**
 * memexpose_log_fn - receives one line of the log
 * @opaque: as given to memexpose_set_log()
 * @level: how much it matters
 * @line: the text, without newline; valid during the call only.  What a peer
 *        named itself is printable in it.
 *
 * Called from any thread that is inside the library, possibly with a lock of
 * the library's held: it must not call back into the library.
 */
typedef void memexpose_log_fn(void *opaque, enum memexpose_log_level level,
                              const char *line);

/**
 * memexpose_set_log - choose where the log of this process goes
 * @fn: the sink, or NULL for the default: errors and warnings to stderr
 * @opaque: handed to @fn
 *
 * The sink is the library's only global state.  Call it before other threads
 * use the library.
 */
void memexpose_set_log(memexpose_log_fn *fn, void *opaque);

#ifdef __cplusplus
}
#endif

#endif
