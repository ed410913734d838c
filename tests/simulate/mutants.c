/* SPDX-License-Identifier: BSD-3-Clause */
#include "mutants.h"

#include <stddef.h>
#include <string.h>

#include "group.h"

enum mx_mutant mx_mutant_broken;

#ifdef MX_MUTANTS

enum { GROUPS = 8 };

static const char *const names[] = {
#define NAME(name, text) #name,
    MX_MUTANT_LIST(NAME)
};

static const char *const texts[] = {
#define TEXT(name, text) text,
    MX_MUTANT_LIST(TEXT)
};

enum { COUNT = sizeof(names) / sizeof(names[0]) };

/* No state that is ever serviced. */
static void overlook(const struct mx_incoming *in)
{
    ((struct mx_incoming *)in)->state = (enum mx_incoming_state)99;
}

void mx_mutant_looked(enum mx_mutant rule, const struct mx_incoming *in)
{
    if (mx_mutant_broken == rule) {
        overlook(in);
    }
}

void mx_mutant_looked_all(struct memexpose_group *group)
{
    enum mx_mutant rule = group->in_service ? MX_MUTANT_RELOOK_SERVICE :
                          MX_MUTANT_RELOOK_MAP_CHANGE;
    struct mx_member *member;

    TAILQ_FOREACH(member, &group->members, entry) {
        struct mx_incoming *in =
            &member->link.session.in[MX_CLASS_ACCESS];

        if (mx_mutant_broken == rule && in->state == MX_IN_KEPT) {
            overlook(in);
        }
    }
}

static struct {
    struct memexpose_group *group;
    struct mx_member *member;
} waits[GROUPS];

void mx_mutant_waits(struct memexpose_group *group, struct mx_member *member)
{
    unsigned i = 0;

    while (i < GROUPS && waits[i].group && waits[i].group != group) {
        i++;
    }
    if (i < GROUPS) {
        waits[i].group = group;
        waits[i].member = member;
    }
}

bool mx_mutant_polls(const struct mx_member *member)
{
    unsigned i;

    for (i = 0; i < GROUPS; i++) {
        if (waits[i].group == member->group && waits[i].member) {
            return mx_mutant_broken != MX_MUTANT_WAIT_ON_EVERY_LINK ||
                   waits[i].member == member;
        }
    }
    return true;
}

void mx_mutant_reset(void)
{
    memset(waits, 0, sizeof(waits));
}

const char *mx_mutant_name(void)
{
    return mx_mutant_broken ? names[mx_mutant_broken - 1] : NULL;
}

bool mx_mutant_choose(const char *name)
{
    unsigned i;

    for (i = 0; i < COUNT; i++) {
        if (strcmp(names[i], name) == 0) {
            mx_mutant_broken = (enum mx_mutant)(i + 1);
            return true;
        }
    }
    return false;
}

const char *mx_mutant_list(unsigned index)
{
    return index < COUNT ? names[index] : NULL;
}

const char *mx_mutant_text(unsigned index)
{
    return index < COUNT ? texts[index] : NULL;
}

#else

void mx_mutant_reset(void)
{
}

const char *mx_mutant_name(void)
{
    return NULL;
}

bool mx_mutant_choose(const char *name)
{
    (void)name;
    return false;
}

const char *mx_mutant_list(unsigned index)
{
    (void)index;
    return NULL;
}

const char *mx_mutant_text(unsigned index)
{
    (void)index;
    return NULL;
}

#endif
