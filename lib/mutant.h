/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rules of the protocol that a test can break, one at a time: the simulation
 * has to find out (tests/simulate).  Anywhere else each rule is the constant 1
 * and the rest is nothing.
 */
#ifndef MX_MUTANT_H
#define MX_MUTANT_H

#ifdef MX_MUTANTS

#include "mutants.h"

/* Is the rule in force? */
#define MX_RULE(name) (mx_mutant_broken != MX_MUTANT_##name)
/* A kept request was looked at in vain: is it ever looked at again? */
#define MX_LOOKED(name, in) mx_mutant_looked(MX_MUTANT_##name, (in))
#define MX_LOOKED_ALL(group) mx_mutant_looked_all(group)
/* A thread waits for the member's link; with NULL, no longer. */
#define MX_WAITS(group, member) mx_mutant_waits((group), (member))
#define MX_POLLS(member) mx_mutant_polls(member)

#else

#define MX_RULE(name) 1
#define MX_LOOKED(name, in) ((void)0)
#define MX_LOOKED_ALL(group) ((void)0)
#define MX_WAITS(group, member) ((void)0)
#define MX_POLLS(member) 1

#endif

#endif
