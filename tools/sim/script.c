/* SPDX-License-Identifier: BSD-3-Clause */
#include "script.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_LIMIT = 1 << 20 };

static const char blanks[] = " \t\r\v\f";

static int is_blank(char c)
{
    return c != '\0' && strchr(blanks, c) != NULL;
}

/*
 * Copy one word over itself without its quotes.  *@rest is at its first
 * character and moves behind it.
 */
static int take_word(char **rest, char **word, char *separator,
                     struct failure *failure)
{
    char *in = *rest, *out = *rest, *close;

    *word = in;
    while (*in && *in != ';' && !is_blank(*in)) {
        if (*in != '\'' && *in != '"') {
            *out++ = *in++;
            continue;
        }
        close = strchr(in + 1, *in);
        if (!close) {
            return fail(failure, "'%s': expected a closing %c", in, *in);
        }
        memmove(out, in + 1, (size_t)(close - in - 1));
        out += close - in - 1;
        in = close + 1;
    }
    /* the character that ended the word may be where its zero goes */
    *separator = *in;
    *rest = *in ? in + 1 : in;
    *out = '\0';
    return 0;
}

int script_split(char **rest, struct words *words, struct failure *failure)
{
    char separator = '\0', *word;

    words->count = 0;
    for (;;) {
        *rest += strspn(*rest, blanks);
        if (**rest == '#') {
            *rest += strlen(*rest);
        }
        if (**rest == '\0') {
            return words->count > 0;
        }
        if (**rest == ';') {
            (*rest)++;
            separator = ';';
        } else {
            if (take_word(rest, &word, &separator, failure) < 0) {
                return -1;
            }
            if (words->count == WORDS_MAX) {
                return fail(failure, "'%s': too many words, expected at most "
                            "%d in one command", word, (int)WORDS_MAX);
            }
            words->word[words->count++] = word;
        }
        if (separator == ';' && words->count > 0) {
            return 1;
        }
    }
}

void script_init_text(struct script *script, const char *text)
{
    *script = (struct script){ .text = text, .fd = -1 };
}

void script_init_fd(struct script *script, int fd, struct loop *loop)
{
    *script = (struct script){ .fd = fd, .loop = loop };
}

void script_clear(struct script *script)
{
    free(script->buffer);
    script->buffer = NULL;
}

static int make_room(struct script *script, size_t room,
                     struct failure *failure)
{
    char *buffer;

    if (room <= script->room) {
        return 0;
    }
    buffer = realloc(script->buffer, room);
    if (!buffer) {
        return fail(failure, "%s", strerror(ENOMEM));
    }
    script->buffer = buffer;
    script->room = room;
    return 0;
}

static int line_of_text(struct script *script, char **line,
                        struct failure *failure)
{
    size_t length = strcspn(script->text, "\n");

    if (*script->text == '\0') {
        return 0;
    }
    if (make_room(script, length + 1, failure) < 0) {
        return -1;
    }
    memcpy(script->buffer, script->text, length);
    script->buffer[length] = '\0';
    script->text += length + (script->text[length] == '\n');
    *line = script->buffer;
    return 1;
}

/* Read more bytes.  Returns 1, 0 at the end, -1. */
static int read_more(struct script *script, struct failure *failure)
{
    ssize_t count;

    if (script->start > 0) {
        memmove(script->buffer, script->buffer + script->start,
                script->end - script->start);
        script->end -= script->start;
        script->start = 0;
    }
    if (script->end >= LINE_LIMIT) {
        return fail(failure, "line %u: expected less than 1 MiB in one line",
                    script->line + 1);
    }
    /* one byte is kept for the zero behind the last line */
    if (make_room(script, script->end + 4097, failure) < 0) {
        return -1;
    }
    count = loop_read(script->loop, script->fd, script->buffer + script->end,
                      4096);
    if (count < 0) {
        return fail(failure, "commands: %s", strerror((int)-count));
    }
    script->end += (size_t)count;
    return count > 0;
}

static int line_of_fd(struct script *script, char **line,
                      struct failure *failure)
{
    size_t looked_at = 0, length, next;
    char *newline;
    int ret;

    for (;;) {
        newline = script->end > script->start + looked_at
            ? memchr(script->buffer + script->start + looked_at, '\n',
                     script->end - script->start - looked_at) : NULL;
        looked_at = script->end - script->start;
        if (newline) {
            length = (size_t)(newline - (script->buffer + script->start));
            next = script->start + length + 1;
            break;
        }
        ret = read_more(script, failure);
        if (ret < 0 || (ret == 0 && script->end == script->start)) {
            return ret;
        }
        if (ret == 0) { /* the last line, without a newline */
            length = script->end - script->start;
            next = script->end;
            break;
        }
    }
    *line = script->buffer + script->start;
    (*line)[length] = '\0';
    script->start = next;
    if (strlen(*line) != length) {
        return fail(failure, "line %u: a zero byte, expected text",
                    script->line + 1);
    }
    return 1;
}

int script_line(struct script *script, char **line, struct failure *failure)
{
    int ret = script->text ? line_of_text(script, line, failure)
                           : line_of_fd(script, line, failure);

    script->line += ret > 0;
    return ret;
}
