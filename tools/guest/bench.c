/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench: how long accesses take.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <memexpose/protocol.h>

#include "../sim/numbers.h"
#include "bench.h"
#include "clock.h"
#include "fault.h"
#include "mmio.h"
#include "target.h"

enum {
    SAMPLES = 10000,
    UNMAPPED_SAMPLES = 2000,
    COPY_DEFAULT = 512 << 10,   /* bytes copied at once */
    COPY_LEAST = 4 << 20,       /* bytes copied in a round */
    COPY_UNTIMED = 64 << 10,    /* of them, before a look at the clock */
    COPY_ROUNDS = 15,
    COPY_TIME = 1000000000,     /* nanoseconds in all, but for one round */
    PAGE = 4096
};

/* What is asked for. */
struct wishes {
    const char *address_word;   /* NULL: where the peer's span begins */
    const char *size_word;
    const char *unmapped_word;  /* NULL: not asked for */
    const char *timeout_word;   /* NULL: for ever */
    const char *how;            /* --poll or --irq, if said */
    const char *end;            /* --interrupts or --answer, if said */
    uint64_t address, size, unmapped;
    int64_t timeout;
    bool writes, combines;
};

/* ---- Single accesses ---------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    const int64_t *left = a, *right = b;

    return (*left > *right) - (*left < *right);
}

void bench_print(const char *name, int64_t *samples, size_t count)
{
    qsort(samples, count, sizeof(*samples), by_size);
    printf("%s_ns_min %" PRId64 "\n", name, samples[0]);
    printf("%s_ns_median %" PRId64 "\n", name, samples[count / 2]);
    printf("%s_ns_p99 %" PRId64 "\n", name, samples[count - 1 - count / 100]);
}

struct sampling {
    const volatile uint8_t *at; /* 8 bytes there are read; NULL: nothing */
    int64_t *samples;           /* nanoseconds of each */
    size_t count;
};

static void take_samples(void *arg)
{
    struct sampling *sampling = arg;
    int64_t before;
    size_t i;

    for (i = 0; i < sampling->count; i++) {
        before = clock_now();
        if (sampling->at) {
            mmio_read(sampling->at, 8);
        }
        sampling->samples[i] = clock_now() - before;
    }
}

static int measure(struct target *target, const char *name,
                   const volatile uint8_t *at, size_t count)
{
    int64_t *samples = calloc(count, sizeof(*samples));
    struct sampling sampling = { at, samples, count };
    int ret = 0;

    if (!samples) {
        return fail(&target->guest->failure, "%s", strerror(ENOMEM));
    }
    if (fault_caught(take_samples, &sampling)) {
        ret = fail(&target->guest->failure, "%s: bus error", name);
    } else {
        bench_print(name, samples, count);
    }
    free(samples);
    return ret;
}

/* The first access may have to map what the peer shares: it does not count. */
static int measure_reads(struct target *target, const char *name,
                         uint64_t address, size_t count)
{
    struct slice slice;
    uint64_t value;
    int ret;

    if (target_read(target, address, 8, &value) < 0 ||
        region_map(target->region, address, 8, &slice,
                   &target->guest->failure) < 0) {
        return -1;
    }
    ret = measure(target, name, slice.at, count);
    slice_unmap(&slice);
    return ret;
}

static int measure_latencies(struct target *target,
                             const struct wishes *wishes)
{
    const volatile uint8_t *regs = target->guest->io.mapped.at;
    uint64_t value;

    if (target_read(target, wishes->address, 8, &value) < 0 ||
        measure(target, "clock", NULL, SAMPLES) < 0 ||
        measure(target, "register_read", regs + MEMEXPOSE_REG_LINK,
                SAMPLES) < 0 ||
        measure_reads(target, "window_read", wishes->address, SAMPLES) < 0) {
        return -1;
    }
    return !wishes->unmapped_word ? 0 :
        measure_reads(target, "unmapped_read", wishes->unmapped,
                      UNMAPPED_SAMPLES);
}

/* ---- Many bytes --------------------------------------------------------- */

/* Copies of the same bytes, in words, again and again. */
struct copying {
    volatile uint8_t *to;
    const volatile uint8_t *from;
    size_t size;
    volatile int64_t spent;     /* nanoseconds for COPY_LEAST */
};

static void copy_once(const struct copying *copying)
{
    volatile uint8_t *to = copying->to;
    const volatile uint8_t *from = copying->from;
    size_t size = copying->size, i;

    for (i = 0; i < size; i += 8) {
        mmio_write_raw8(to + i, mmio_read_raw8(from + i));
    }
}

/* The clock takes time: it is not looked at too often. */
static void copy_again(void *arg)
{
    struct copying *copying = arg;
    int64_t began = clock_now();
    size_t done = 0, next = 0;

    do {
        for (next += COPY_UNTIMED; done < next; done += copying->size) {
            copy_once(copying);
        }
        copying->spent = clock_now() - began;
    } while (done < COPY_LEAST && copying->spent < COPY_TIME);
    copying->spent = (int64_t)((double)copying->spent * COPY_LEAST /
                               (double)done);
}

static int64_t at_least(int64_t time)
{
    return time > 0 ? time : 1;
}

static void print_rate(const char *prefix, const char *name, int64_t *spent,
                       size_t count)
{
    qsort(spent, count, sizeof(*spent), by_size);
    printf("%s%s_bytes_per_second %.0f\n", prefix, name,
           (double)COPY_LEAST * 1e9 / (double)at_least(spent[count / 2]));
}

/* In turns, so that what disturbs one disturbs the other. */
static int compare_copies(struct target *target, const char *name,
                          struct copying *window, struct copying *own)
{
    int64_t there[COPY_ROUNDS], here[COPY_ROUNDS], spent = 0;
    size_t count = 0;

    while (count < COPY_ROUNDS && spent < COPY_TIME) {
        if (fault_caught(copy_again, window) ||
            fault_caught(copy_again, own)) {
            return fail(&target->guest->failure, "%s: bus error", name);
        }
        there[count] = window->spent;
        here[count] = own->spent;
        spent += window->spent;
        count++;
    }
    print_rate("", name, there, count);
    print_rate("own_", name, here, count);
    /* of the fastest: what the host does meanwhile must not count */
    printf("%s_ratio %.3f\n", name,
           (double)at_least(here[0]) / (double)at_least(there[0]));
    return 0;
}

/* What is read from the window is what is written to it. */
static int compare_all(struct target *target, volatile uint8_t *window,
                       uint8_t *buffer, uint8_t *own, size_t size,
                       bool writes)
{
    struct copying from_window = { .to = buffer, .from = window,
                                   .size = size };
    struct copying from_own = { .to = buffer, .from = own, .size = size };
    struct copying to_own = { .to = own, .from = buffer, .size = size };
    struct copying to_window = { .to = window, .from = buffer,
                                 .size = size };

    if (compare_copies(target, "read", &from_window, &from_own) < 0) {
        return -1;
    }
    if (!writes) {
        return 0;
    }
    return fault_caught(copy_again, &from_window)
        ? fail(&target->guest->failure, "read: bus error")
        : compare_copies(target, "write", &to_window, &to_own);
}

/* Memory of this program, which is there. */
static uint8_t *own_memory(size_t size)
{
    size_t whole = (size + PAGE - 1) / PAGE * PAGE;
    uint8_t *bytes = aligned_alloc(PAGE, whole);

    if (bytes) {
        memset(bytes, 0x5a, whole);
    }
    return bytes;
}

static int measure_copies(struct target *target, const struct wishes *wishes)
{
    struct failure *failure = &target->guest->failure;
    size_t size = wishes->size < TARGET_PIECE ? (size_t)wishes->size
                                              : TARGET_PIECE;
    uint8_t *buffer, *own;
    struct slice slice = { NULL, 0, NULL };
    int ret = -1;

    size = size < 8 ? 8 : size & ~(size_t)7;
    buffer = own_memory(size);
    own = own_memory(size);
    if (!buffer || !own) {
        fail(failure, "%s", strerror(ENOMEM));
    } else if (region_map(target->region, wishes->address, size, &slice,
                          failure) == 0) {
        ret = compare_all(target, slice.at, buffer, own, size,
                          wishes->writes);
    }
    slice_unmap(&slice);
    free(buffer);
    free(own);
    return ret;
}

/* ---- What is asked for -------------------------------------------------- */

static int parse_option(struct failure *failure, struct wishes *wishes,
                        char **word, int *taken)
{
    *taken = 1;
    if (strcmp(word[0], "--write") == 0) {
        wishes->writes = true;
    } else if (strcmp(word[0], "--combine") == 0) {
        wishes->combines = true;
    } else if (strcmp(word[0], "--interrupts") == 0 ||
               strcmp(word[0], "--answer") == 0) {
        wishes->end = word[0];
    } else if (strcmp(word[0], "--poll") == 0 ||
               strcmp(word[0], "--irq") == 0) {
        wishes->how = word[0];
    } else if (strcmp(word[0], "--unmapped") != 0) {
        return fail(failure, "'%s': expected --write, --combine, "
                    "--unmapped ADDR, --interrupts, --answer, --poll or "
                    "--irq", word[0]);
    } else if (!word[1]) {
        return fail(failure, "'--unmapped': an ADDR is missing behind it");
    } else {
        wishes->unmapped_word = word[1];
        *taken = 2;
    }
    return 0;
}

static int too_many(struct failure *failure, const char *word)
{
    return fail(failure, "'%s': one word too many, expected 'bench [ADDR "
                "[LEN]] [OPTION]...'", word);
}

static int parse_words(struct failure *failure, struct wishes *wishes,
                       int count, char **word)
{
    int i, taken;

    for (i = 1; i < count; i += taken) {
        taken = 1;
        if (strncmp(word[i], "--", 2) == 0) {
            if (parse_option(failure, wishes, word + i, &taken) < 0) {
                return -1;
            }
        } else if (!wishes->address_word) {
            wishes->address_word = word[i];
        } else if (!wishes->size_word) {
            wishes->size_word = word[i];
        } else {
            return too_many(failure, word[i]);
        }
    }
    return 0;
}

static int parse_address(struct failure *failure, const char *name,
                         const char *word, uint64_t *address)
{
    if (number_address(failure, name, word, address) < 0) {
        return -1;
    }
    return *address % 8 == 0 ? 0 :
        fail(failure, "'%s': not aligned, expected an ADDR that is a "
             "multiple of 8", word);
}

/* The end that answers has nothing else to do. */
static int check_answer(struct failure *failure, struct wishes *wishes)
{
    if (wishes->size_word || wishes->unmapped_word || wishes->writes ||
        wishes->combines) {
        return fail(failure, "'--answer': expected 'bench --answer "
                    "[TIMEOUT_MS] [--poll|--irq]'");
    }
    wishes->timeout_word = wishes->address_word;
    wishes->timeout = -1;
    return !wishes->timeout_word ? 0 :
        number_milliseconds(failure, "TIMEOUT_MS", wishes->timeout_word, 0,
                            &wishes->timeout);
}

static int check_wishes(struct failure *failure, struct wishes *wishes)
{
    if (wishes->end && strcmp(wishes->end, "--answer") == 0) {
        return check_answer(failure, wishes);
    }
    if (wishes->how && !wishes->end) {
        return fail(failure, "'%s': expected --interrupts or --answer with "
                    "it", wishes->how);
    }
    if (wishes->writes && !wishes->address_word) {
        return fail(failure, "'--write': expected an ADDR where it may write");
    }
    if ((wishes->address_word &&
         parse_address(failure, "ADDR", wishes->address_word,
                       &wishes->address) < 0) ||
        (wishes->size_word &&
         number_size(failure, "LEN", wishes->size_word, &wishes->size) < 0) ||
        (wishes->unmapped_word &&
         parse_address(failure, "ADDR", wishes->unmapped_word,
                       &wishes->unmapped) < 0)) {
        return -1;
    }
    return 0;
}

/* What is not said: the beginning of what the peer exports, if it told. */
static int choose(struct target *target, struct wishes *wishes)
{
    struct io *io = &target->guest->io;
    uint64_t room;

    if (!wishes->address_word &&
        io_read_reg(io, MEMEXPOSE_REG_SPAN_START, 8, &wishes->address,
                    &target->guest->failure) < 0) {
        return -1;
    }
    room = wishes->address < io->window.size ?
        io->window.size - wishes->address : 0;
    if (!wishes->size_word) {
        wishes->size = room < COPY_DEFAULT ? room : COPY_DEFAULT;
    }
    return 0;
}

/* Does all of it lie in the window? */
static int check_places(struct target *target, const struct wishes *wishes)
{
    const char *word = wishes->size_word ? wishes->size_word :
        wishes->address_word ? wishes->address_word : "bench";

    if (target_holds(target, word, wishes->address,
                     wishes->size < 8 ? 8 : wishes->size) < 0) {
        return -1;
    }
    return !wishes->unmapped_word ? 0 :
        target_holds(target, wishes->unmapped_word, wishes->unmapped, 8);
}

/* Were the links up all the time? */
static int check_links(struct target *target, uint64_t address)
{
    uint64_t value;

    return target_read(target, address, 8, &value);
}

static int measure_memory(struct guest *guest, struct wishes *wishes)
{
    struct target target;
    int ret = target_open(&target, guest, false);

    if (ret == 0 && wishes->combines) {
        ret = io_combine(&guest->io, &guest->failure);
    }
    if (ret == 0) {
        ret = choose(&target, wishes) < 0 ||
            check_places(&target, wishes) < 0 ||
            measure_latencies(&target, wishes) < 0 ||
            measure_copies(&target, wishes) < 0 ||
            check_links(&target, wishes->address) < 0 ? -1 : 0;
    }
    target_close(&target);
    return ret;
}

COMMAND(bench)
{
    struct wishes wishes = { 0 };
    bool by_irq, answers;
    int ret;

    if (parse_words(&guest->failure, &wishes, count, word) < 0 ||
        check_wishes(&guest->failure, &wishes) < 0) {
        return command_refused(guest, command);
    }
    by_irq = wishes.how && strcmp(wishes.how, "--irq") == 0;
    answers = wishes.end && strcmp(wishes.end, "--answer") == 0;
    if (answers) {
        ret = guest_open(guest) < 0 ? -1
            : bench_answer(guest, by_irq, wishes.timeout);
    } else {
        ret = measure_memory(guest, &wishes);
        if (ret == 0 && wishes.end) {
            ret = bench_ask(guest, by_irq);
        }
    }
    return ret < 0 ? command_failed(guest, command) : DONE;
}
