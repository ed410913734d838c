/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What every fuzz target uses.  A target is a function that is given any
 * bytes, does with them what a peer, a user or a machine could do, and has to
 * come back with nothing left behind.  The same functions are driven by
 * libFuzzer (make fuzz) and by tests/check-fuzz-regressions (make check).
 */
#ifndef MX_TESTS_FUZZ_H
#define MX_TESTS_FUZZ_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int fuzz_target_fn(const uint8_t *data, size_t size);

/* One message at a time: decode, encode, describe; ranges. */
int fuzz_codec(const uint8_t *data, size_t size);

/* Streams with descriptors through lib/conn.c. */
int fuzz_conn(const uint8_t *data, size_t size);

/* A whole device and a hostile peer that follows a script. */
int fuzz_device(const uint8_t *data, size_t size);

/* Options, commands and numbers of memexpose-sim. */
int fuzz_sim(const uint8_t *data, size_t size);

/* Device trees. */
int fuzz_fdt(const uint8_t *data, size_t size);

/* How libFuzzer calls the one it is linked with. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- checks --------------------------------------------------------------- */

#define fuzz_check(condition) \
    ((condition) ? (void)0 : fuzz_failed(__FILE__, __LINE__, #condition))
_Noreturn void fuzz_failed(const char *file, int line, const char *what);

/*
 * Around the work on one input: what it opens, maps and allocates has to be
 * gone at the end.
 */
void fuzz_begin(void);
void fuzz_end(void);

/* --- what an input is made of --------------------------------------------- */

/* Bytes that are taken from the front; zeros follow the last one. */
struct fuzz_input {
    const uint8_t *at;
    size_t left;
};

uint64_t fuzz_take(struct fuzz_input *input, unsigned bytes);
size_t fuzz_take_bytes(struct fuzz_input *input, void *to, size_t bytes);

/*
 * Targets that follow a script are given a list of steps, all of one size, so
 * that the mutator can insert, move and drop whole ones.  The first is the
 * configuration.
 */
enum { FUZZ_STEP = 24 };

struct fuzz_step {
    uint8_t op;
    uint8_t flags;
    uint8_t type;               /* of a message */
    uint8_t priority;
    uint8_t size;               /* of an access, or bytes to be sent */
    uint8_t result;
    uint8_t share;
    uint8_t fd;
    uint64_t a, b;
};

/* Take the next step.  Returns false at the end. */
bool fuzz_take_step(struct fuzz_input *input, struct fuzz_step *step);
void fuzz_put_step(uint8_t bytes[FUZZ_STEP], const struct fuzz_step *step);

/* The type of a message that a byte stands for; every type there is. */
uint8_t fuzz_type(uint8_t byte);
uint8_t fuzz_type_byte(uint8_t type);

/* --- objects to be sent --------------------------------------------------- */

enum fuzz_object {
    FUZZ_NONE,
    FUZZ_SEALED,                /* memfds of FUZZ_OBJECT bytes */
    FUZZ_UNSEALED,
    FUZZ_READONLY,              /* the sealed one, opened for reading */
    FUZZ_SHORT,                 /* a memfd of one page */
    FUZZ_DIRECTORY,
    FUZZ_SOCKET,
    FUZZ_OBJECTS
};

enum { FUZZ_OBJECT_SIZE = 0x10000 };

/* Descriptors that stay open from the first input to the last. */
int fuzz_object(enum fuzz_object object);

/* Make the unsealed one as long as it is said to be, or shorter. */
void fuzz_resize_object(size_t size);

/* Write @mark to the first byte of each page of those that can be mapped. */
void fuzz_mark_objects(uint8_t mark);

/* poll(2) without waiting; signals of the fuzzer's clock do not count. */
int fuzz_poll(struct pollfd *fds, size_t count);

/* A stream socket pair without blocking. */
void fuzz_socket_pair(int ends[2]);

/* Send with descriptors, without blocking.  Returns how many bytes went. */
size_t fuzz_send(int fd, const uint8_t *bytes, size_t count, const int *fds,
                 size_t fd_count);

/*
 * Receive without blocking.  Returns the bytes, 0 if there are none or no more
 * will come.  Descriptors are closed and counted.
 */
size_t fuzz_receive(int fd, uint8_t *bytes, size_t room, unsigned *fd_count);

/* --- seeds ---------------------------------------------------------------- */

/* Inputs taken from sessions that go well, made anew in each run. */
typedef void fuzz_seed_fn(void *opaque, const char *target, const char *name,
                          const uint8_t *data, size_t size);
void fuzz_seeds(fuzz_seed_fn *fn, void *opaque);
void fuzz_seeds_fdt(fuzz_seed_fn *fn, void *opaque);
void fuzz_seeds_sim(fuzz_seed_fn *fn, void *opaque);

#endif
