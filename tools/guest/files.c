/* SPDX-License-Identifier: BSD-3-Clause */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where paths begin, like the working directory a matter of the process. */
static int root = AT_FDCWD;

int files_set_root(struct failure *failure, const char *name)
{
    int fd = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        return fail(failure, "'%s': %s, expected a directory", name,
                    strerror(errno));
    }
    root = fd;
    return 0;
}

/* As openat(2) and the like want it. */
static const char *below_root(const char *path)
{
    return root == AT_FDCWD ? path : path + 1;
}

struct path files_path(const char *format, ...)
{
    struct path path;
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(path.text, sizeof(path.text), format, arguments);
    va_end(arguments);
    return path;
}

int files_open(const char *path, int flags)
{
    return openat(root, below_root(path), flags | O_CLOEXEC | O_NOCTTY);
}

int files_need(struct failure *failure, const char *path, int flags)
{
    int fd = files_open(path, flags);

    return fd >= 0 ? fd : fail(failure, "cannot open '%s': %s", path,
                               strerror(errno));
}

ssize_t files_read(const char *path, void *bytes, size_t room)
{
    int fd = files_open(path, O_RDONLY), saved;
    size_t done = 0;
    ssize_t got = 1;

    if (fd < 0) {
        return -1;
    }
    while (done < room && got > 0) {
        got = read(fd, (char *)bytes + done, room - done);
        if (got > 0) {
            done += (size_t)got;
        }
    }
    saved = errno;
    close(fd);
    errno = saved;
    if (done < room) {
        ((char *)bytes)[done] = '\0';
    }
    return got < 0 ? -1 : (ssize_t)done;
}

int files_line(const char *path, char *line, size_t room)
{
    if (files_read(path, line, room) < 0) {
        return -1;
    }
    line[room - 1] = '\0';
    line[strcspn(line, "\n")] = '\0';
    return 0;
}

int files_write(struct failure *failure, const char *path, const char *text)
{
    int fd = files_need(failure, path, O_WRONLY);
    ssize_t written;

    if (fd < 0) {
        return -1;
    }
    written = write(fd, text, strlen(text));
    if (written < 0) {
        fail(failure, "cannot write '%s' to '%s': %s", text, path,
             strerror(errno));
    }
    close(fd);
    return written < 0 ? -1 : 0;
}

bool files_exists(const char *path)
{
    struct stat status;

    return fstatat(root, below_root(path), &status, 0) == 0;
}

bool files_link(const char *path, char *name, size_t room)
{
    char target[PATH_MAX];
    ssize_t length = readlinkat(root, below_root(path), target,
                                sizeof(target) - 1);
    const char *slash;

    if (length < 0) {
        return false;
    }
    target[length] = '\0';
    slash = strrchr(target, '/');
    snprintf(name, room, "%s", slash ? slash + 1 : target);
    return true;
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

int files_list(const char *path, struct dirent ***entries)
{
    return scandirat(root, below_root(path), entries, is_visible, alphasort);
}

void files_free(struct dirent **entries, int count)
{
    int i;

    for (i = 0; i < count; i++) {
        free(entries[i]);
    }
    free(entries);
}
