/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dump and load: any number of bytes, in pieces between which the peer is
 * served.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access.h"
#include "command.h"
#include "hexdump.h"
#include "numbers.h"
#include "output.h"

enum {
    FILE_PIECE = 1 << 20,       /* at most, bytes at once from and to files */
    FIRST_PIECE = 1 << 16,      /* to find out how fast it goes */
    TEXT_PIECE = 4096           /* bytes at once in text and JSON */
};

/* What a long transfer shows on a terminal. */
struct progress {
    const char *name;
    uint64_t done, total;       /* bytes; total 0: unknown */
    int64_t began, last, next;  /* nanoseconds; next: when to show */
    bool terminal, shown;
};

static void progress_begin(struct progress *progress, const char *name,
                           uint64_t total, bool terminal)
{
    *progress = (struct progress){ .name = name, .total = total };
    progress->began = progress->last = loop_now();
    progress->next = progress->began + 500000000;
    progress->terminal = terminal && isatty(STDERR_FILENO);
}

static void progress_show(struct progress *progress, int64_t now)
{
    if (!progress->terminal || now < progress->next) {
        return;
    }
    fprintf(stderr, "\r%s: %" PRIu64 " MiB", progress->name,
            progress->done >> 20);
    if (progress->total > 0) {
        fprintf(stderr, " of %" PRIu64 " MiB", progress->total >> 20);
    }
    fprintf(stderr, ", %.1f MB/s\033[K", (double)progress->done * 1000 /
            (double)(now - progress->began));
    fflush(stderr);
    progress->next = now + 200000000;
    progress->shown = true;
}

static void progress_end(const struct progress *progress)
{
    if (progress->shown) {
        fprintf(stderr, "\r\033[K");
    }
}

/* One dump or load under way. */
struct transfer {
    struct sim *sim;
    const struct command *command;
    const char *path;           /* NULL: standard output */
    int fd;                     /* of @path, -1: not open yet */
    bool remove;                /* @path is a file we have begun to write */
    uint64_t address, size;     /* where, and of a dump how much */
    struct hexdump hex;
    uint8_t *bytes;             /* room for one piece */
    char *text;                 /* and for what it looks like */
    size_t piece, most;         /* bytes at once: the next time, ever */
    struct progress progress;
};

static int file_failure(struct transfer *transfer, int error)
{
    return fail(&transfer->sim->failure, "%s: '%s': %s",
                transfer->command->name, transfer->path, strerror(error));
}

static int access_failure(struct transfer *transfer, uint64_t address,
                          int ret)
{
    return fail(&transfer->sim->failure, "%s 0x%" PRIx64 ": %s",
                transfer->command->name, address,
                transfer->command->target->strerror(ret));
}

/* Room for one piece: no larger than the whole, if it is known. */
static int allocate(struct transfer *transfer)
{
    /* hexadecimal lines take more room than JSON and its digits */
    size_t text = transfer->path ? 1
        : transfer->most / HEXDUMP_BYTES * HEXDUMP_LINE + HEXDUMP_LINE;

    if (transfer->size > 0 && transfer->size < transfer->most) {
        transfer->most = (size_t)transfer->size;
    }
    if (transfer->piece > transfer->most) {
        transfer->piece = transfer->most;
    }
    transfer->bytes = malloc(transfer->most);
    transfer->text = malloc(text);
    return transfer->bytes && transfer->text
        ? 0 : fail(&transfer->sim->failure, "%s", strerror(ENOMEM));
}

/*
 * A piece is done.  What is mapped goes in large ones; what goes over the link
 * in such that progress shows and the loop has its turn a few times a second.
 * Returns -1 if it is time to stop.
 */
static int next_piece(struct transfer *transfer, size_t count)
{
    struct progress *progress = &transfer->progress;
    struct loop *loop = &transfer->sim->loop;
    int64_t now = loop_now();

    if (now - progress->last > 200000000 && transfer->piece > TEXT_PIECE) {
        transfer->piece /= 2;
    } else if (now - progress->last < 50000000) {
        transfer->piece = transfer->piece < transfer->most / 2
            ? 2 * transfer->piece : transfer->most;
    }
    progress->last = now;
    progress->done += count;
    progress_show(progress, now);
    loop_turn(loop);
    return loop_stopped() ? fail(&transfer->sim->failure, "stopped") : 0;
}

/* Open the file of a dump, when there is something to write. */
static int open_result(struct transfer *transfer)
{
    struct sim *sim = transfer->sim;
    struct stat status;

    if (stat(transfer->path, &status) == 0 &&
        memory_exports_file(&sim->memory, &status)) {
        return fail(&sim->failure, "%s: '%s': this peer exports that file, "
                    "expected another", transfer->command->name,
                    transfer->path);
    }
    transfer->fd = open(transfer->path, O_WRONLY | O_CREAT | O_TRUNC |
                        O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);
    if (transfer->fd < 0) {
        return file_failure(transfer, errno);
    }
    transfer->remove = fstat(transfer->fd, &status) == 0 &&
                       S_ISREG(status.st_mode);
    return 0;
}

static int put_in_file(struct transfer *transfer, size_t count)
{
    ssize_t ret;

    if (transfer->fd < 0 && open_result(transfer) < 0) {
        return -1;
    }
    ret = loop_write(&transfer->sim->loop, transfer->fd, transfer->bytes,
                     count);
    return ret < 0 ? file_failure(transfer, (int)-ret) : 0;
}

static int put_json(struct transfer *transfer, uint64_t address, size_t count)
{
    struct sim *sim = transfer->sim;

    hexdump_digits(transfer->bytes, count, transfer->text);
    return output_json(&sim->loop, &sim->failure,
                       json_pack("{s:s, s:o, s:I, s:s}", "command",
                                 transfer->command->name, "address",
                                 output_hex(address, 1), "size",
                                 (json_int_t)count, "data",
                                 transfer->text));
}

/* What was read goes where it is wanted. */
static int put(struct transfer *transfer, uint64_t address, size_t count)
{
    struct sim *sim = transfer->sim;

    if (count == 0) {
        return 0;
    }
    if (transfer->path) {
        return put_in_file(transfer, count);
    }
    if (sim->options.json) {
        return put_json(transfer, address, count);
    }
    return output_bytes(&sim->loop, &sim->failure, transfer->text,
                        hexdump_show(&transfer->hex, transfer->bytes, count,
                                     transfer->text));
}

static int dump_pieces(struct transfer *transfer)
{
    struct sim *sim = transfer->sim;
    uint64_t done, address;
    size_t count, got;
    int ret;

    for (done = 0; done < transfer->size; done += count) {
        address = transfer->address + done;
        count = transfer->size - done < transfer->piece
            ? (size_t)(transfer->size - done) : transfer->piece;
        ret = transfer->command->target->read_block(sim, address,
                                                    transfer->bytes, count,
                                                    &got);
        if (put(transfer, address, ret == 0 ? count : got) < 0) {
            return -1;
        }
        if (ret != 0) {
            return access_failure(transfer, address + got, ret);
        }
        if (next_piece(transfer, count) < 0) {
            return -1;
        }
    }
    return 0;
}

static int dump_end(struct transfer *transfer)
{
    struct sim *sim = transfer->sim;
    char line[HEXDUMP_LINE];

    if (transfer->path) {
        if (close(transfer->fd) < 0) {
            transfer->fd = -1;
            return file_failure(transfer, errno);
        }
        transfer->fd = -1;
        return 0;
    }
    return sim->options.json ? 0
        : output_bytes(&sim->loop, &sim->failure, line,
                       hexdump_end(&transfer->hex, line));
}

static int finish(struct transfer *transfer, int ret)
{
    progress_end(&transfer->progress);
    if (transfer->fd >= 0) {
        close(transfer->fd);
    }
    if (ret < 0 && transfer->remove) {
        unlink(transfer->path);
    }
    free(transfer->bytes);
    free(transfer->text);
    return ret;
}

COMMAND(dump)
{
    struct transfer transfer = {
        .sim = sim,
        .command = command,
        .path = words->count > 3 ? words->word[3] : NULL,
        .fd = -1,
    };
    int ret;

    if (number_address(&sim->failure, "ADDR", words->word[1],
                       &transfer.address) < 0 ||
        number_size(&sim->failure, "LEN", words->word[2],
                    &transfer.size) < 0 ||
        number_fits(&sim->failure, words->word[2], transfer.address,
                    transfer.size) < 0) {
        return fail_prefix(&sim->failure, "%s", command->name);
    }
    if (command_await_peer(sim, command) < 0) {
        return -1;
    }
    transfer.piece = transfer.path ? FIRST_PIECE : TEXT_PIECE;
    transfer.most = transfer.path ? FILE_PIECE : TEXT_PIECE;
    hexdump_begin(&transfer.hex, transfer.address, transfer.size);
    progress_begin(&transfer.progress, command->name, transfer.size,
                   transfer.path || !isatty(STDOUT_FILENO));
    ret = allocate(&transfer);
    if (ret == 0) {
        ret = dump_pieces(&transfer);
    }
    if (ret == 0) {
        ret = dump_end(&transfer);
    }
    return finish(&transfer, ret);
}

/* Open what is to be loaded; of a file the size is looked at first. */
static int open_source(struct transfer *transfer)
{
    struct sim *sim = transfer->sim;
    const char *name = transfer->command->name;
    struct stat status;

    transfer->fd = open(transfer->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK |
                        O_NOCTTY);
    if (transfer->fd < 0 || fstat(transfer->fd, &status) < 0) {
        return file_failure(transfer, errno);
    }
    if (S_ISDIR(status.st_mode)) {
        return file_failure(transfer, EISDIR);
    }
    if (!S_ISREG(status.st_mode)) {
        return 0;
    }
    transfer->size = (uint64_t)status.st_size;
    if (number_fits(&sim->failure, transfer->path, transfer->address,
                    transfer->size) < 0) {
        return fail_prefix(&sim->failure, "%s", name);
    }
    return 0;
}

static int load_pieces(struct transfer *transfer)
{
    struct sim *sim = transfer->sim;
    uint64_t done, address;
    size_t put_count;
    ssize_t count;
    int ret;

    for (done = 0;; done += (uint64_t)count) {
        count = loop_read(&sim->loop, transfer->fd, transfer->bytes,
                          transfer->piece);
        if (count < 0) {
            return file_failure(transfer, (int)-count);
        }
        if (count == 0) {
            break;
        }
        address = transfer->address + done;
        if (address < transfer->address ||
            (uint64_t)count - 1 > UINT64_MAX - address) {
            return fail(&sim->failure, "%s: '%s': passes 2^64",
                        transfer->command->name, transfer->path);
        }
        ret = transfer->command->target->write_block(sim, address,
                                                     transfer->bytes,
                                                     (size_t)count,
                                                     &put_count);
        if (ret != 0) {
            return access_failure(transfer, address + put_count, ret);
        }
        if (next_piece(transfer, (size_t)count) < 0) {
            return -1;
        }
    }
    return done > 0 ? 0 : fail(&sim->failure, "%s: '%s': the file is empty, "
                               "expected at least one byte",
                               transfer->command->name, transfer->path);
}

COMMAND(load)
{
    struct transfer transfer = {
        .sim = sim,
        .command = command,
        .path = words->word[2],
        .fd = -1,
        .piece = FIRST_PIECE,
        .most = FILE_PIECE,
    };
    int ret;

    if (number_address(&sim->failure, "ADDR", words->word[1],
                       &transfer.address) < 0) {
        return fail_prefix(&sim->failure, "%s", command->name);
    }
    ret = open_source(&transfer);
    if (ret == 0) {
        ret = command_await_peer(sim, command);
    }
    progress_begin(&transfer.progress, command->name, transfer.size, true);
    if (ret == 0) {
        ret = allocate(&transfer);
    }
    if (ret == 0) {
        ret = load_pieces(&transfer);
    }
    return finish(&transfer, ret);
}
