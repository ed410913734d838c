/* SPDX-License-Identifier: BSD-3-Clause */
#include "prompt.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include <histedit.h>

#include "commands.h"
#include "report.h"

enum { HISTORY_LINES = 500 };

struct prompt {
    struct sim *sim;
    EditLine *editor;
    History *history;
    mbstate_t character;        /* what was read of one so far */
};

static char *prompt_text(EditLine *editor)
{
    static char text[] = "memexpose> ";

    (void)editor;
    return text;
}

static void redraw(void *opaque)
{
    struct prompt *prompt = opaque;

    el_set(prompt->editor, EL_REFRESH);
}

static void terminal_changed(void *opaque)
{
    struct prompt *prompt = opaque;

    el_resize(prompt->editor);
    el_set(prompt->editor, EL_REFRESH);
}

/* Instead of libedit's own: the peer is served until a key is pressed. */
static int read_key(EditLine *editor, wchar_t *key)
{
    struct prompt *prompt;
    ssize_t count;
    char byte;

    el_get(editor, EL_CLIENTDATA, &prompt);
    for (;;) {
        count = loop_read(&prompt->sim->loop, STDIN_FILENO, &byte, 1);
        if (count <= 0) {
            errno = (int)-count;
            return (int)(count < 0 ? -1 : 0);
        }
        /*
         * A control-D that was typed before libedit had the terminal comes
         * as a zero, and libedit may take that for the key that quotes.
         */
        if (byte == '\0') {
            continue;
        }
        switch (mbrtowc(key, &byte, 1, &prompt->character)) {
        case (size_t)-1: /* not a character: nothing was typed */
            memset(&prompt->character, 0, sizeof(prompt->character));
            break;
        case (size_t)-2: /* more bytes belong to it */
            break;
        default:
            return 1;
        }
    }
}

static int prompt_init(struct prompt *prompt)
{
    HistEvent event;

    prompt->editor = el_init(PROGRAM, stdin, isatty(STDOUT_FILENO) ? stdout
                             : stderr, stderr);
    prompt->history = history_init();
    if (!prompt->editor || !prompt->history) {
        return -1;
    }
    history(prompt->history, &event, H_SETSIZE, HISTORY_LINES);
    history(prompt->history, &event, H_SETUNIQUE, 1);
    el_set(prompt->editor, EL_CLIENTDATA, prompt);
    el_set(prompt->editor, EL_HIST, history, prompt->history);
    el_set(prompt->editor, EL_PROMPT, prompt_text);
    el_set(prompt->editor, EL_EDITOR, "emacs");
    el_set(prompt->editor, EL_GETCFN, read_key);
    el_source(prompt->editor, NULL);
    return 0;
}

static void prompt_clear(struct prompt *prompt)
{
    if (prompt->editor) {
        el_end(prompt->editor);
    }
    if (prompt->history) {
        history_end(prompt->history);
    }
}

/*
 * Read a line into *@line, which is the caller's to free.
 * Returns 1, 0 at the end of the input or SIGTERM.
 */
static int read_line(struct prompt *prompt, char **line)
{
    struct loop *loop = &prompt->sim->loop;
    HistEvent event;
    const char *text;
    int count;

    for (;;) {
        loop->opaque = prompt;
        loop->terminal_changed = terminal_changed;
        report_set_prompt(redraw, prompt);
        text = el_gets(prompt->editor, &count);
        report_set_prompt(NULL, NULL);
        loop->terminal_changed = NULL;
        if (text && count > 0) {
            break;
        }
        fprintf(stderr, "\n");
        if (loop_stopped() != SIGINT) {
            return 0;
        }
        loop_forget_interrupt();
    }
    if (text[strspn(text, " \t\n")] != '\0') {
        history(prompt->history, &event, H_ENTER, text);
    }
    *line = strndup(text, strcspn(text, "\n"));
    return *line != NULL;
}

int prompt_run(struct sim *sim)
{
    struct prompt prompt = { .sim = sim };
    bool failed = false;
    char *line;
    int ret = 0;

    if (prompt_init(&prompt) < 0) {
        prompt_clear(&prompt);
        report("cannot make a prompt: %s", strerror(ENOMEM));
        return -1;
    }
    while (ret != COMMAND_QUIT && loop_stopped() != SIGTERM &&
           read_line(&prompt, &line) > 0) {
        ret = commands_run_line(sim, line);
        free(line);
        if (ret < 0 && loop_stopped() == 0) {
            report("%s", sim->failure.text);
            failed = true;
        }
        loop_forget_interrupt();
    }
    prompt_clear(&prompt);
    return failed ? -1 : 0;
}
