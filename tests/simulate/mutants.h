/* SPDX-License-Identifier: BSD-3-Clause */
/* The rules that can be broken, for lib/mutant.h and for the simulation. */
#ifndef SIMULATE_MUTANTS_H
#define SIMULATE_MUTANTS_H

#include <stdbool.h>

/* X(name, what the mutant does) */
#define MX_MUTANT_LIST(X) \
    X(LOWER_BEATS, "the comparison of priorities is reversed") \
    X(SUBPRIORITIES_DIFFER, "both sides take sub-priority 0") \
    X(WAIT_ON_EVERY_LINK, "who waits reads its own link only") \
    X(RELOOK_OUTSTANDING, "no second look when less is outstanding") \
    X(RELOOK_SERVICE, "no second look when a service ends") \
    X(RELOOK_MAP_CHANGE, "no second look when a map change ends") \
    X(KEEP_IN_MAP_CHANGE, "accesses are serviced in a map change") \
    X(KEEP_IN_SERVICE, "accesses are serviced within a service") \
    X(RESOLVE_AFTERWARDS, "the share is resolved before the access") \
    X(NO_SHARE_IN_MAP_CHANGE, "a share goes out during a map change") \
    X(DROP_ACCEPTED, "REG_INV leaves accepted shares alone") \
    X(GENERATIONS, "an answer goes out by a later link") \
    X(NO_NESTED_ACCESS, "a service may make an access") \
    X(OVERLAY_FIRST, "REG_INV_RET is sent before the overlay") \
    X(HOLD_ANSWERS, "answers do not wait for removals") \
    X(HOLD_FOR_OFFERS, "accesses go out between REG_INV and offers") \
    X(HOLD_UNTIL_MAPPED, "accesses go out before what was offered is mapped") \
    X(WAITING_MAPPED, "what waits goes out although it is mapped") \
    X(OFFER_IN_LEDGER, "what is offered is not in the ledger") \
    X(NO_OFFER_IN_MAP_CHANGE, "offers are made during a map change") \
    X(KEEP_BLOCK, "a block is sent from where something else is by now") \
    X(LEAVE_BUFFER, "a block is received into a buffer that was given back") \
    X(WHOLE_BLOCKS, "half a block is taken for the whole")

#define MX_MUTANT_ENUM(name, text) MX_MUTANT_##name,
enum mx_mutant { MX_MUTANT_NONE, MX_MUTANT_LIST(MX_MUTANT_ENUM) };

extern enum mx_mutant mx_mutant_broken;

struct memexpose_group;
struct mx_incoming;
struct mx_member;

void mx_mutant_looked(enum mx_mutant rule, const struct mx_incoming *in);
void mx_mutant_looked_all(struct memexpose_group *group);
void mx_mutant_waits(struct memexpose_group *group, struct mx_member *member);
bool mx_mutant_polls(const struct mx_member *member);

/* The name of the one that is broken; NULL if none is. */
const char *mx_mutant_name(void);
/* Break a rule.  Returns false if there is no such rule in this build. */
bool mx_mutant_choose(const char *name);
/* The n-th that can be broken, and what then happens; NULL at the end. */
const char *mx_mutant_list(unsigned index);
const char *mx_mutant_text(unsigned index);

void mx_mutant_reset(void);

#endif
