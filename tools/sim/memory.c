/* SPDX-License-Identifier: BSD-3-Clause */
#include "memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mmio.h"
#include "numbers.h"

/* One range of the space. */
struct exported {
    struct exported *next;
    uint64_t start, size;
    bool removable;             /* not the window */
    bool file;                  /* backed by the file @device, @inode */
    dev_t device;
    ino_t inode;
    struct mmio *mmio;
};

/* What a START:SIZE,... says, taken apart in a copy. */
struct spec {
    char *copy, *rest;
    uint64_t start, size;
    const char *file;
    bool readonly, private;
    enum mmio_model model;
};

int memory_init(struct memory *memory, struct failure *failure)
{
    memory->first = NULL;
    memory->space = memexpose_space_create();
    return memory->space ? 0 : fail(failure, "%s", strerror(errno));
}

static void free_exported(struct exported *exported)
{
    mmio_destroy(exported->mmio);
    free(exported);
}

void memory_clear(struct memory *memory)
{
    struct exported *exported;

    memexpose_space_destroy(memory->space);
    while ((exported = memory->first) != NULL) {
        memory->first = exported->next;
        free_exported(exported);
    }
}

static int spec_begin(struct spec *spec, const char *word,
                      struct failure *failure)
{
    memset(spec, 0, sizeof(*spec));
    spec->copy = strdup(word);
    if (!spec->copy) {
        return fail(failure, "%s", strerror(ENOMEM));
    }
    spec->rest = spec->copy;
    return number_range(failure, strsep(&spec->rest, ","), &spec->start,
                        &spec->size);
}

static int parse_ram(struct spec *spec, const char *word,
                     struct failure *failure)
{
    const char *option;

    if (spec_begin(spec, word, failure) < 0) {
        return -1;
    }
    while ((option = strsep(&spec->rest, ",")) != NULL) {
        if (strncmp(option, "file=", 5) == 0 && option[5] != '\0') {
            spec->file = option + 5;
        } else if (strcmp(option, "ro") == 0) {
            spec->readonly = true;
        } else if (strcmp(option, "private") == 0) {
            spec->private = true;
        } else {
            return fail(failure, "'%s': expected file=PATH, ro or private",
                        option);
        }
    }
    return 0;
}

static int parse_mmio(struct spec *spec, const char *word,
                      struct failure *failure)
{
    const char *option;

    if (spec_begin(spec, word, failure) < 0) {
        return -1;
    }
    while ((option = strsep(&spec->rest, ",")) != NULL) {
        if (strcmp(option, "model=scratch") == 0) {
            spec->model = MMIO_SCRATCH;
        } else if (strcmp(option, "model=counter") == 0) {
            spec->model = MMIO_COUNTER;
        } else {
            return fail(failure, "'%s': expected model=scratch or "
                        "model=counter", option);
        }
    }
    return 0;
}

/* Open what is to be exported and look whether it can be. */
static int open_file(const struct spec *spec, struct exported *exported,
                     struct failure *failure)
{
    const char *path = spec->file;
    struct stat status;
    int fd, error;

    /* a FIFO or a device must not make us wait */
    fd = open(path, (spec->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC |
              O_NONBLOCK | O_NOCTTY);
    error = errno;
    if (fd < 0 && error == EISDIR) {
        return fail(failure, "'%s': is a directory, expected a regular file",
                    path);
    }
    if (fd < 0) {
        return fail(failure, "'%s': %s, expected a file that can be %s",
                    path, strerror(error), spec->readonly ? "read"
                    : "read and written, or ',ro'");
    }
    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)) {
        close(fd);
        return fail(failure, "'%s': is %s, expected a regular file", path,
                    S_ISDIR(status.st_mode) ? "a directory"
                    : "not a regular file");
    }
    if (status.st_size == 0) {
        close(fd);
        return fail(failure, "'%s': the file is empty, expected at least "
                    "SIZE bytes", path);
    }
    if ((uint64_t)status.st_size < spec->size) {
        close(fd);
        return fail(failure, "'%s': has %lld bytes, expected at least SIZE, "
                    "%llu", path, (long long)status.st_size,
                    (unsigned long long)spec->size);
    }
    exported->file = true;
    exported->device = status.st_dev;
    exported->inode = status.st_ino;
    return fd;
}

static int overlap(const struct memory *memory, const char *word,
                   uint64_t start, uint64_t size, struct failure *failure)
{
    const struct exported *other;

    for (other = memory->first; other; other = other->next) {
        if (start <= other->start + (other->size - 1) &&
            other->start <= start + (size - 1)) {
            return fail(failure, "'%s': overlaps 0x%llx:0x%llx, expected "
                        "ranges apart", word,
                        (unsigned long long)other->start,
                        (unsigned long long)other->size);
        }
    }
    return 0;
}

static int cannot_add(struct failure *failure, const char *word, int error)
{
    switch (error) {
    case -EEXIST:
        return fail(failure, "'%s': overlaps another range", word);
    case -ENODATA:
        return fail(failure, "'%s': the file is smaller than SIZE", word);
    case -EFBIG:
    case -EINVAL: /* of mmap(2), as the range was looked at */
    case -ENOMEM:
        return fail(failure, "'%s': there is not as much memory", word);
    default:
        return fail(failure, "'%s': %s", word, memexpose_strerror(error));
    }
}

/* A new entry for [start, start + size), not yet in the list. */
static struct exported *new_exported(const struct memory *memory,
                                     const char *word, uint64_t start,
                                     uint64_t size,
                                     struct failure *failure)
{
    struct exported *exported;

    if (overlap(memory, word, start, size, failure) < 0) {
        return NULL;
    }
    exported = calloc(1, sizeof(*exported));
    if (!exported) {
        fail(failure, "%s", strerror(ENOMEM));
        return NULL;
    }
    exported->start = start;
    exported->size = size;
    exported->removable = true;
    return exported;
}

/* Into the list if it could be added to the space, else gone. */
static int enter(struct memory *memory, struct exported *exported, int ret,
                 const char *word, struct failure *failure)
{
    struct exported **at = &memory->first;

    if (ret < 0) {
        free_exported(exported);
        return cannot_add(failure, word, ret);
    }
    while (*at && (*at)->start < exported->start) {
        at = &(*at)->next;
    }
    exported->next = *at;
    *at = exported;
    return 0;
}

static int add_ram(struct memory *memory, const struct spec *spec,
                   const char *word, struct failure *failure)
{
    unsigned flags = (spec->readonly ? MEMEXPOSE_RAM_READONLY : 0) |
                     (spec->private ? MEMEXPOSE_RAM_PRIVATE : 0);
    struct exported *exported = new_exported(memory, word, spec->start,
                                             spec->size, failure);
    int fd = -1, ret;

    if (!exported) {
        return -1;
    }
    if (spec->file) {
        fd = open_file(spec, exported, failure);
        if (fd < 0) {
            free_exported(exported);
            return -1;
        }
    }
    ret = memexpose_space_add_ram(memory->space, spec->start, spec->size, fd,
                                  0, flags);
    if (ret < 0 && fd >= 0) {
        close(fd);
    }
    return enter(memory, exported, ret, word, failure);
}

static int add_mmio(struct memory *memory, const struct spec *spec,
                    const char *word, struct failure *failure)
{
    struct exported *exported = new_exported(memory, word, spec->start,
                                             spec->size, failure);
    int ret = -ENOMEM;

    if (!exported) {
        return -1;
    }
    exported->mmio = mmio_create(spec->model, spec->size);
    if (exported->mmio) {
        ret = memexpose_space_add_mmio(memory->space, spec->start, spec->size,
                                       &mmio_ops, exported->mmio);
    }
    return enter(memory, exported, ret, word, failure);
}

int memory_add_ram(struct memory *memory, const char *word,
                   struct failure *failure)
{
    struct spec spec;
    int ret = parse_ram(&spec, word, failure);

    if (ret == 0) {
        ret = add_ram(memory, &spec, word, failure);
    }
    free(spec.copy);
    return ret;
}

int memory_add_mmio(struct memory *memory, const char *word,
                    struct failure *failure)
{
    struct spec spec;
    int ret = parse_mmio(&spec, word, failure);

    if (ret == 0) {
        ret = add_mmio(memory, &spec, word, failure);
    }
    free(spec.copy);
    return ret;
}

int memory_add_window(struct memory *memory, uint64_t start, uint64_t size,
                      struct failure *failure)
{
    const char *word = "at=";
    struct exported *exported = new_exported(memory, word, start, size,
                                             failure);
    int ret;

    if (!exported) {
        return -1;
    }
    exported->removable = false;
    ret = memexpose_space_add_window(memory->space, start, size);
    return enter(memory, exported, ret, word, failure);
}

int memory_remove(struct memory *memory, struct memexpose_group *group,
                  const char *word, struct failure *failure)
{
    struct exported **at, *exported;
    uint64_t start;
    int ret;

    if (number_address(failure, "START", word, &start) < 0) {
        return -1;
    }
    for (at = &memory->first; *at; at = &(*at)->next) {
        if ((*at)->start == start && (*at)->removable) {
            break;
        }
    }
    exported = *at;
    if (!exported) {
        return fail(failure, "'%s': no range starts there, expected the "
                    "START of one", word);
    }
    ret = memexpose_space_withdraw(memory->space, group, start);
    *at = exported->next;
    free_exported(exported);
    if (ret == -ETIMEDOUT) {
        return fail(failure, "'%s': the peer did not acknowledge in time; "
                    "the range is gone, the link is closed", word);
    }
    return ret == 0 ? 0 : fail(failure, "'%s': %s; the range is gone", word,
                               memexpose_strerror(ret));
}

bool memory_exports_file(const struct memory *memory,
                         const struct stat *status)
{
    const struct exported *exported;

    for (exported = memory->first; exported; exported = exported->next) {
        if (exported->file && exported->device == status->st_dev &&
            exported->inode == status->st_ino) {
            return true;
        }
    }
    return false;
}
