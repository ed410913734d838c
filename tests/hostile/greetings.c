/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lies in hello (section 6): malformed, twice, out of place, outside of what
 * was offered.
 */
#include <stdio.h>

#include "hostile.h"

/* A field that lies, in HELLO and in HELLO_RET. */
struct lie {
    const char *name;
    struct greeting greeting;
};

/* What comes first may be enough: the link has ended then. */
static bool ends_with(struct play *play, const struct greeting *greeting)
{
    if (!send_message(play, MEM, say_hello(HELLO, greeting))) {
        play->why[0] = '\0';
    }
    return closes(play);
}

static bool says(struct play *play, uint8_t type, int which,
                 const struct greeting *greeting)
{
    return send_message(play, which, say_hello(type, greeting));
}

/* A liar connects. */
static bool lies_in_hello(struct play *play, const void *what)
{
    struct greeting greeting = *(const struct greeting *)what;

    if (!play_open(play)) {
        return false;
    }
    greeting.pair = play->pair;
    return says(play, HELLO, INTR, &greeting) && ends_with(play, &greeting);
}

/* A liar answers. */
static bool lies_in_answer(struct play *play, const void *what)
{
    struct greeting greeting = *(const struct greeting *)what;

    if (!play_open(play)) {
        return false;
    }
    greeting.pair ^= play->pair;
    return says(play, HELLO_RET, MEM, &greeting) && closes(play);
}

static bool twice(struct play *play, const void *what)
{
    struct greeting greeting;

    (void)what;
    play->hello = true;
    if (!play_settle(play)) {
        return false;
    }
    greeting = good_greeting(play->pair);
    greeting.subpriority = 0;
    return says(play, play->target->listens ? HELLO : HELLO_RET, MEM,
                &greeting) && closes(play);
}

static bool twice_on_interrupts(struct play *play, const void *what)
{
    struct greeting greeting;

    (void)what;
    play->hello = true;
    if (!play_settle(play)) {
        return false;
    }
    greeting = good_greeting(play->pair);
    return says(play, HELLO, INTR, &greeting) && closes(play);
}

/* The one that the other side has to say. */
static bool other_side(struct play *play, const void *what)
{
    struct greeting greeting;

    (void)what;
    if (!play_open(play)) {
        return false;
    }
    greeting = good_greeting(play->pair);
    greeting.subpriority = 0;
    return says(play, play->target->listens ? HELLO_RET : HELLO, MEM,
                &greeting) && closes(play);
}

static bool after_read(struct play *play, const void *what)
{
    struct greeting greeting;

    (void)what;
    play->hello = false;
    if (!play_settle(play)) {
        return false;
    }
    greeting = good_greeting(play->pair);
    greeting.subpriority = 0;
    return says(play, play->target->listens ? HELLO : HELLO_RET, MEM,
                &greeting) && closes(play);
}

static bool with_descriptor(struct play *play, const void *what)
{
    struct greeting greeting;

    (void)what;
    if (!play_open(play)) {
        return false;
    }
    greeting = good_greeting(play->pair);
    greeting.subpriority = 0;
    return send_with(play, say_hello(play->target->listens ? HELLO
                                     : HELLO_RET, &greeting),
                     shared_memory(PAGE, true)) && closes(play);
}

static bool pair_differs(struct play *play, const void *what)
{
    struct greeting greeting;

    (void)what;
    if (!play_open(play)) {
        return false;
    }
    greeting = good_greeting(play->pair + 1);
    if (!says(play, HELLO, INTR, &greeting)) {
        return false;
    }
    greeting.pair = play->pair;
    return ends_with(play, &greeting);
}

/* Its other half never speaks: the hello wait ends it. */
static bool one_half_is_silent(struct play *play, const void *what)
{
    struct greeting greeting;
    int which = *(const int *)what;

    if (!play_open(play)) {
        return false;
    }
    greeting = good_greeting(play->pair);
    return says(play, HELLO, which, &greeting) &&
           closes_within(play, 2 * PATIENCE);
}

static bool interrupt_comes_first(struct play *play, const void *what)
{
    struct greeting greeting;

    (void)what;
    if (!play_open(play)) {
        return false;
    }
    greeting = good_greeting(play->pair);
    return send_message(play, INTR, say_interrupt(1)) &&
           ends_with(play, &greeting);
}

static const struct lie lies[] = {
    { "magic 0", { 0, 1, 1, 0, 0, 0 } },
    { "magic reversed", { 0x4d585031, 1, 1, 0, 0, 0 } },
    { "versions 2 to 1", { 0x3150584d, 2, 1, 0, 0, 0 } },
    { "versions 2 to 9", { 0x3150584d, 2, 9, 0, 0, 0 } },
    { "sub-priority 3", { 0x3150584d, 1, 1, 0, 3, 0 } },
    { "sub-priority 0xfe", { 0x3150584d, 1, 1, 0, 0xfe, 0 } },
};

static const struct lie answer_lies[] = {
    { "versions 0", { 0x3150584d, 0, 0, 0, 0, 0 } },
    { "versions 0 and 1", { 0x3150584d, 0, 1, 0, 0, 0 } },
    { "versions 1 and 2", { 0x3150584d, 1, 2, 0, 0, 0 } },
    { "a feature never offered", { 0x3150584d, 1, 1, 1ull << 5, 0, 0 } },
    { "every feature", { 0x3150584d, 1, 1, UINT64_MAX, 0, 0 } },
    { "sub-priority any", { 0x3150584d, 1, 1, 0, 2, 0 } },
    { "sub-priority 0xff", { 0x3150584d, 1, 1, 0, 0xff, 0 } },
    { "another pair id", { 0x3150584d, 1, 1, 0, 0, 1 } },
    { "the inverted pair id", { 0x3150584d, 1, 1, 0, 0, UINT64_MAX } },
};

static void to_listening(struct round *round)
{
    static const int halves[] = { MEM, INTR };

    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        round_case(round, "HELLO: ", lies[i].name, lies_in_hello,
                   &lies[i].greeting);
    }
    round_case(round, "HELLO: ", "twice on interrupts", twice_on_interrupts,
               NULL);
    round_case(round, "HELLO: ", "another pair id on interrupts",
               pair_differs, NULL);
    round_case(round, "HELLO: ", "an interrupt comes first",
               interrupt_comes_first, NULL);
    round_case(round, "HELLO: ", "not on interrupts", one_half_is_silent,
               &halves[MEM]);
}

static void to_connecting(struct round *round)
{
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        round_case(round, "HELLO_RET: ", lies[i].name, lies_in_answer,
                   &lies[i].greeting);
    }
    for (size_t i = 0; i < sizeof(answer_lies) / sizeof(answer_lies[0]);
         i++) {
        round_case(round, "HELLO_RET: ", answer_lies[i].name, lies_in_answer,
                   &answer_lies[i].greeting);
    }
}

void cases_greetings(struct round *round)
{
    if (round_listens(round)) {
        to_listening(round);
    } else {
        to_connecting(round);
    }
    round_case(round, "hello: ", "twice", twice, NULL);
    round_case(round, "hello: ", "from the wrong side", other_side, NULL);
    round_case(round, "hello: ", "after an access", after_read, NULL);
    round_case(round, "hello: ", "with a descriptor", with_descriptor, NULL);
}
