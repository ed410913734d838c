/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands about memory: read, write, dump, load, sum, fill, and the same
 * with an l in front for this machine's own.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../sim/hexdump.h"
#include "../sim/numbers.h"
#include "target.h"

/* ---- Single accesses ---------------------------------------------------- */

static int parse_access(struct failure *failure, const char *address_word,
                        const char *size_word, uint64_t *address,
                        unsigned *bytes)
{
    *bytes = 8;
    if (number_address(failure, "ADDR", address_word, address) < 0 ||
        (size_word && number_access(failure, size_word, bytes) < 0)) {
        return -1;
    }
    return *address % *bytes == 0
        ? 0 : fail(failure, "'%s': not aligned, expected an ADDR that is a "
                   "multiple of %u", address_word, *bytes);
}

/* On some machines it is all that a failed read gives. */
static void warn_of_ones(const char *word, unsigned bytes, uint64_t value)
{
    if (value == UINT64_MAX >> (64 - 8 * bytes)) {
        fprintf(stderr, PROGRAM ": read %s: all ones: perhaps the peer has "
                "nothing there\n", word);
    }
}

COMMAND(read)
{
    struct target target;
    uint64_t address, value;
    unsigned bytes;
    int ret = FAILED;

    if (parse_access(&guest->failure, word[1], count > 1 ? word[2] : NULL,
                     &address, &bytes) < 0) {
        return command_refused(guest, command);
    }
    if (target_open(&target, guest, command->own) < 0 ||
        target_holds(&target, word[1], address, bytes) < 0 ||
        target_read(&target, address, bytes, &value) < 0) {
        command_failed(guest, command);
    } else {
        printf("0x%0*" PRIx64 "\n", (int)(2 * bytes), value);
        warn_of_ones(word[1], bytes, value);
        ret = DONE;
    }
    target_close(&target);
    return ret;
}

COMMAND(write)
{
    struct target target;
    uint64_t address, value;
    unsigned bytes;
    int ret = DONE;

    if (parse_access(&guest->failure, word[1], count > 2 ? word[3] : NULL,
                     &address, &bytes) < 0 ||
        number_value(&guest->failure, word[2], bytes, &value) < 0) {
        return command_refused(guest, command);
    }
    if (target_open(&target, guest, command->own) < 0 ||
        target_holds(&target, word[1], address, bytes) < 0 ||
        target_write(&target, address, bytes, value) < 0) {
        ret = command_failed(guest, command);
    }
    target_close(&target);
    return ret;
}

/* ---- Ranges ------------------------------------------------------------- */

/*
 * A range that is gone through piece by piece.  The first piece is small:
 * what goes wrong with all of it is found out soon.
 */
struct pass {
    struct target target;
    uint64_t address, left;
    uint8_t *bytes;             /* room for a piece */
    size_t most;                /* bytes in the next piece */
};

static int pass_begin(struct pass *pass, struct guest *guest, bool own,
                      uint64_t address)
{
    *pass = (struct pass){ .address = address, .most = 4096 };
    pass->target.physical.fd = -1;
    pass->bytes = malloc(TARGET_PIECE);
    if (!pass->bytes) {
        return fail(&guest->failure, "%s", strerror(ENOMEM));
    }
    return target_open(&pass->target, guest, own);
}

static void pass_end(struct pass *pass)
{
    target_close(&pass->target);
    free(pass->bytes);
}

static void pass_advance(struct pass *pass, size_t piece)
{
    pass->address += piece;
    pass->left -= piece;
    pass->most = TARGET_PIECE;
}

/* What is done with each piece after it was read, or before it is written. */
struct work {
    bool write;
    int (*each)(void *arg, uint8_t *bytes, size_t count);
    void *arg;
};

static int work_on_piece(struct pass *pass, const struct work *work,
                         size_t piece)
{
    int ret;

    if (work->write) {
        ret = work->each(work->arg, pass->bytes, piece);
        return ret < 0 ? ret : target_copy_to(&pass->target, pass->address,
                                              pass->bytes, piece);
    }
    ret = target_copy_from(&pass->target, pass->address, pass->bytes, piece);
    return ret < 0 ? ret : work->each(work->arg, pass->bytes, piece);
}

static int work_on(struct guest *guest, bool own, const struct work *work,
                   const char *word, uint64_t address, uint64_t size)
{
    struct pass pass;
    size_t piece;
    int ret = pass_begin(&pass, guest, own, address);

    if (ret == 0) {
        ret = target_holds(&pass.target, word, address, size);
        pass.left = size;
    }
    while (ret == 0 && pass.left > 0) {
        piece = pass.left < pass.most ? (size_t)pass.left : pass.most;
        ret = work_on_piece(&pass, work, piece);
        pass_advance(&pass, piece);
    }
    pass_end(&pass);
    return ret;
}

/* "ADDR LEN" */
static int parse_range(struct failure *failure, char **word,
                       uint64_t *address, uint64_t *size)
{
    if (number_address(failure, "ADDR", word[1], address) < 0 ||
        number_size(failure, "LEN", word[2], size) < 0) {
        return -1;
    }
    return number_fits(failure, word[2], *address, *size);
}

/* ---- dump --------------------------------------------------------------- */

struct dump {
    struct failure *failure;
    struct hexdump text;
    const char *file;           /* NULL: text */
    int fd;                     /* -1: nothing is there to be written yet */
};

static int show_piece(void *arg, uint8_t *bytes, size_t count)
{
    struct dump *dump = arg;
    char text[2 * HEXDUMP_LINE];
    size_t line;

    for (; count > 0; count -= line, bytes += line) {
        line = count < HEXDUMP_BYTES ? count : HEXDUMP_BYTES;
        fwrite(text, 1, hexdump_show(&dump->text, bytes, line, text), stdout);
    }
    return 0;
}

static int store_piece(void *arg, uint8_t *bytes, size_t count)
{
    struct dump *dump = arg;
    size_t done = 0;
    ssize_t written = 0;

    if (dump->fd < 0) {
        dump->fd = open(dump->file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
                        0666);
    }
    while (dump->fd >= 0 && done < count && written >= 0) {
        written = write(dump->fd, bytes + done, count - done);
        done += written > 0 ? (size_t)written : 0;
    }
    return done == count ? 0 : fail(dump->failure, "'%s': %s, expected a "
                                    "FILE that can be written", dump->file,
                                    strerror(errno));
}

/* A part of what was asked for is not left behind. */
static int end_file(struct dump *dump, int ret)
{
    struct stat status;

    if (dump->fd < 0) {
        return ret;
    }
    if (ret < 0 && fstat(dump->fd, &status) == 0 &&
        S_ISREG(status.st_mode)) {
        unlink(dump->file);
    }
    if (close(dump->fd) < 0 && ret == 0) {
        ret = fail(dump->failure, "'%s': %s", dump->file, strerror(errno));
    }
    return ret;
}

COMMAND(dump)
{
    struct dump dump = { .failure = &guest->failure, .fd = -1 };
    struct work work = { .each = show_piece, .arg = &dump };
    char text[HEXDUMP_LINE];
    uint64_t address, size;
    int ret;

    if (parse_range(&guest->failure, word, &address, &size) < 0) {
        return command_refused(guest, command);
    }
    if (count > 3) {
        dump.file = word[3];
        work.each = store_piece;
    }
    hexdump_begin(&dump.text, address, size);
    ret = work_on(guest, command->own, &work, word[2], address, size);
    if (ret == 0 && !dump.file) {
        fwrite(text, 1, hexdump_end(&dump.text, text), stdout);
    }
    ret = end_file(&dump, ret);
    return ret < 0 ? command_failed(guest, command) : DONE;
}

/* ---- sum and fill ------------------------------------------------------- */

struct digest {
    SHA2_CTX state;
    uint64_t seed, word;        /* of what fill writes; number of the next */
};

static int digest_piece(void *arg, uint8_t *bytes, size_t count)
{
    struct digest *digest = arg;

    SHA256Update(&digest->state, bytes, count);
    return 0;
}

/* Every bit of @number counts for every bit of the result. */
static uint64_t scramble(uint64_t number)
{
    number ^= number >> 32;
    number *= 0xd6e8feb86659fd93u;
    number ^= number >> 32;
    number *= 0xd6e8feb86659fd93u;
    return number ^ number >> 32;
}

/* All pieces but the last are made of whole words. */
static int make_piece(void *arg, uint8_t *bytes, size_t count)
{
    struct digest *digest = arg;
    uint64_t value;
    size_t done, piece;

    for (done = 0; done < count; done += piece) {
        piece = count - done < sizeof(value) ? count - done : sizeof(value);
        value = htole64(scramble(scramble(digest->seed) + ++digest->word));
        memcpy(bytes + done, &value, piece);
    }
    return digest_piece(digest, bytes, count);
}

/* Both print the sum of the bytes that they have met. */
static int digest_range(struct guest *guest, const struct command *command,
                        bool write, char **word, uint64_t seed)
{
    struct digest digest = { .seed = seed };
    struct work work = { write, write ? make_piece : digest_piece, &digest };
    uint8_t sum[SHA256_DIGEST_LENGTH];
    char digits[2 * sizeof(sum) + 1];
    uint64_t address, size;

    if (parse_range(&guest->failure, word, &address, &size) < 0) {
        return command_refused(guest, command);
    }
    SHA256Init(&digest.state);
    if (work_on(guest, command->own, &work, word[2], address, size) < 0) {
        return command_failed(guest, command);
    }
    SHA256Final(sum, &digest.state);
    hexdump_digits(sum, sizeof(sum), digits);
    puts(digits);
    return DONE;
}

COMMAND(sum)
{
    (void)count;
    return digest_range(guest, command, false, word, 0);
}

COMMAND(fill)
{
    uint64_t seed = 0;

    if (count > 3 &&
        number_value(&guest->failure, word[3], 8, &seed) < 0) {
        return command_refused(guest, command);
    }
    return digest_range(guest, command, true, word, seed);
}

/* ---- load --------------------------------------------------------------- */

/* Bytes up to a whole piece, or the end.  Returns their number, or -1. */
static ssize_t read_piece(int fd, uint8_t *bytes, size_t room)
{
    size_t done = 0;
    ssize_t got = 1;

    while (done < room && got > 0) {
        got = read(fd, bytes + done, room - done);
        done += got > 0 ? (size_t)got : 0;
    }
    return got < 0 ? -1 : (ssize_t)done;
}

static int load_all(struct pass *pass, int fd, const char *file)
{
    struct failure *failure = &pass->target.guest->failure;
    ssize_t got;

    while ((got = read_piece(fd, pass->bytes, pass->most)) > 0) {
        pass->left = (uint64_t)got;
        if (target_holds(&pass->target, file, pass->address,
                         pass->left) < 0 ||
            target_copy_to(&pass->target, pass->address, pass->bytes,
                           (size_t)got) < 0) {
            return -1;
        }
        pass_advance(pass, (size_t)got);
    }
    return got == 0 ? 0 : fail(failure, "'%s': %s, expected a FILE that can "
                               "be read", file, strerror(errno));
}

/* What does not fit is refused before anything is written, if it can be. */
static int check_size(struct pass *pass, int fd, const char *file)
{
    struct stat status;

    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)) {
        return 0;
    }
    return target_holds(&pass->target, file, pass->address,
                        (uint64_t)status.st_size);
}

COMMAND(load)
{
    struct pass pass;
    uint64_t address;
    int fd, ret;

    (void)count;
    if (number_address(&guest->failure, "ADDR", word[1], &address) < 0) {
        return command_refused(guest, command);
    }
    fd = open(word[2], O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        fail(&guest->failure, "'%s': %s, expected a FILE that can be read",
             word[2], strerror(errno));
        return command_failed(guest, command);
    }
    ret = pass_begin(&pass, guest, command->own, address);
    if (ret == 0) {
        ret = check_size(&pass, fd, word[2]);
    }
    if (ret == 0) {
        ret = load_all(&pass, fd, word[2]);
    }
    pass_end(&pass);
    close(fd);
    return ret < 0 ? command_failed(guest, command) : DONE;
}
