/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hostile peers against a living process.  Nothing here is the library's: the
 * bytes are put together as the protocol says (section 2), so that a mistake
 * of the library's is not made twice.
 *
 * A case plays one peer, from the opening of the links to their end, and says
 * what has to become of it.  What must hold after every case (the process
 * lives, nothing of the peer is left, a good peer is served) is looked at in
 * one place, round.c.
 */
#ifndef HOSTILE_H
#define HOSTILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* --- bytes.c: messages --------------------------------------------------- */

enum { MEM, INTR, LINKS };

enum {
    READ, READ_RET, WRITE, WRITE_RET, INV, INV_RET, INTERRUPT,
    HELLO = 0x40, HELLO_RET,
    READ_BLOCK, READ_BLOCK_RET, WRITE_BLOCK, WRITE_BLOCK_RET, OFFER
};

enum { HEADER = 6, MESSAGE = 160 };

struct message {
    size_t count;
    uint8_t at[MESSAGE];
};

/* A share as it stands in a response (section 2). */
struct share {
    uint8_t kind;
    uint64_t start, mmap_start, size;
    uint8_t readonly, nonvolatile;
};

/* HELLO and HELLO_RET (section 6). */
struct greeting {
    uint32_t magic;
    uint16_t low, high;
    uint64_t features;
    uint8_t subpriority;
    uint64_t pair;
};

/* The size that the protocol gives a type, or 0. */
size_t size_of_type(uint8_t type);

struct message header(uint32_t size, uint8_t type, uint8_t priority);
void add(struct message *message, uint64_t value, unsigned bytes);

struct message say_read(uint8_t priority, uint64_t address, uint8_t size);
struct message say_write(uint8_t priority, uint64_t address, uint64_t value,
                         uint8_t size);
struct message say_read_ret(uint8_t priority, uint32_t result, uint64_t value,
                            const struct share *share);
struct message say_write_ret(uint8_t priority, uint32_t result,
                             const struct share *share);
struct message say_inv(uint8_t priority, uint64_t start, uint64_t size);
struct message say_inv_ret(uint8_t priority);
struct message say_interrupt(uint64_t type);
/* Blocks (section 8): what comes before their bytes; and OFFER (section 9),
 * NULL: the end of the offers. */
struct message say_read_block(uint8_t priority, uint64_t address,
                              uint32_t size);
struct message say_read_block_ret(uint8_t priority, uint32_t result,
                                  uint32_t done, const struct share *share);
struct message say_write_block(uint8_t priority, uint64_t address,
                               uint32_t count);
struct message say_write_block_ret(uint8_t priority, uint32_t result,
                                   uint32_t done, const struct share *share);
struct message say_offer(const struct share *share);
struct message say_hello(uint8_t type, const struct greeting *greeting);
struct greeting good_greeting(uint64_t pair);

/* The number of @bytes bytes that lies at @at. */
uint64_t number(const struct message *message, size_t at, unsigned bytes);

/* --- target.c: the process that is attacked ------------------------------ */

enum { WORDS = 24, LINE = 512, LINK_PATH = 108 };

struct target {
    const char *name;           /* for the reader */
    bool listens;               /* it does, the hostile peer connects */
    bool vm;                    /* a virtual machine with the device */
    pid_t pid;
    int terminal;               /* its prompt */
    int results;                /* its standard output */
    char line[LINE];            /* what came of the next result */
    size_t length;
    unsigned synced;
    unsigned unnamed;           /* violations that the log does not name */
    char path[LINKS][LINK_PATH];
    char log[LINK_PATH];        /* its standard error */
    int listener[LINKS];        /* of the hostile side */
};

/* What a process holds. */
struct holdings {
    unsigned descriptors;
    unsigned shared;            /* mappings of memory with others */
    uint64_t digest;            /* of which they are */
    uint64_t anonymous;         /* bytes of its own in memory */
    uint64_t addresses;         /* bytes of address space */
};

extern const char *directory;   /* of sockets and logs */

bool target_start(struct target *target, const char *const *words);
void target_end(struct target *target);
bool target_lives(const struct target *target);
bool target_tell(struct target *target, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The next line that it prints: true if it came in time. */
bool target_answer(struct target *target, char line[LINE]);

/* What it was told has been done; lines that it printed are forgotten. */
bool target_sync(struct target *target);
bool target_holds(const struct target *target, struct holdings *holdings);

/* Where its log ends now, and whether it says something behind a place. */
off_t target_log_end(const struct target *target);
unsigned target_logged(const struct target *target, off_t from,
                       const char *text);
/* Of how many lines does it say that they were left out? */
unsigned target_left_out(const struct target *target);
void target_show_log(const struct target *target, off_t from);

/* --- play.c: a peer ------------------------------------------------------ */

struct play {
    struct target *target;
    int fd[LINKS];
    bool hello;                 /* say hello, or speak base */
    bool retries;               /* let the target connect by its own timer */
    uint8_t mine, theirs;       /* sub-priorities */
    uint64_t pair;
    uint64_t features;          /* that hello agrees on */
    uint64_t offered;           /* by the hello of the target */
    char why[LINE];             /* it failed */
};

bool failed(struct play *play, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

int64_t now_ms(void);
void pause_ms(int ms);
int patience(int ms);

/* How many ranges the target maps at most, unless it is told otherwise. */
unsigned most_ranges(const struct play *play);

/* Links without a word said; those that the target says are read. */
bool play_open(struct play *play);

/* Settled, by hello or as base, and served. */
bool play_settle(struct play *play);
void play_close(struct play *play);

bool send_bytes(struct play *play, int which, const void *at, size_t count,
                const int *fds, size_t fd_count);
bool send_message(struct play *play, int which, struct message message);
bool send_with(struct play *play, struct message message, int fd);

/* @count bytes; *@fd (may be NULL) becomes the descriptor, or -1. */
bool take(struct play *play, int which, size_t count, struct message *message,
          int *fd);
bool take_header(struct play *play, int which, size_t count, uint8_t type,
                 uint8_t priority);

/* Both links end, within @ms. */
bool closes_within(struct play *play, int ms);
bool closes(struct play *play);

/* An access is answered: the link is up. */
bool serves(struct play *play);

/* The target asks, and the question has come. */
bool asked_read(struct play *play, uint64_t address);
bool asked_write(struct play *play, uint64_t address);

/* It takes back what it shared: its REG_INV has come. */
bool asked_invalidate(struct play *play);

/* What it says to its user. */
bool answers(struct play *play, const char *line);
bool maps_ranges(struct play *play, unsigned count);

int shared_memory(size_t size, bool sealed);

/* What any peer may expect; @deep: interrupts too. */
bool good_peer(struct play *play);

uint8_t own(const struct play *play, unsigned class);
uint8_t peers(const struct play *play, unsigned class);

enum { INVALIDATION, ACCESS };  /* classes */
enum { BLOCKS = 1, PUSH = 2 };  /* features */

enum {
    RAM = 0x10000,              /* what the target exports */
    REGISTERS = 0x40000,
    BORROWED = 0xd0000,         /* memory that comes and goes */
    OURS = 0x200000             /* what the hostile peer exports */
};

enum { RAM_SIZE = 0x4000, PAGE = 4096, PATIENCE = 5000 };

/* What the request timeout of the target is. */
enum { REQUEST_MS = 1000 };

/* --- cases --------------------------------------------------------------- */

/*
 * Cases come from generators: each calls round_case() for every one.  Which of
 * them apply depends on the role and the seals of the target.
 */
struct round;
typedef bool case_function(struct play *play, const void *what);

void round_case(struct round *round, const char *group, const char *name,
                case_function *function, const void *what);

/* The case makes no sense with this target: it is counted, not played. */
void round_leave_out(struct round *round, const char *group,
                     const char *name);
bool round_listens(const struct round *round);
bool round_has_features(const struct round *round);
bool round_asks_blocks(const struct round *round);
const char *round_seals(const struct round *round);

/* Has the log named the violation, with the header of the message? */
bool is_named(struct play *play, const struct message *message, off_t log);

void cases_violations(struct round *round);
void cases_blocks(struct round *round);
void cases_offers(struct round *round);
void cases_responses(struct round *round);
void cases_greetings(struct round *round);
void cases_shares(struct round *round);
void cases_shrinking(struct round *round);
void cases_load(struct round *round);
void cases_cuts(struct round *round);

#endif
