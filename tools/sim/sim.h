/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The peer itself: a device that exports the memory, in the event loop.
 *
 * Functions that return int return 0, or -1 with the reason in @sim->failure.
 */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "failure.h"
#include "loop.h"
#include "memory.h"
#include "options.h"

struct sim {
    struct options options;
    struct loop loop;
    struct memory memory;
    struct memexpose_device *device;
    struct failure failure;
    bool enabled;
    uint32_t connects_before;   /* number of connects when it was enabled */
};

/* Put what the options say into the exported memory. */
int sim_export(struct sim *sim);

/* Make the device and its sockets. */
int sim_open(struct sim *sim);
void sim_close(struct sim *sim);

/* Are both links up? */
bool sim_connected(const struct sim *sim);

/* The number of connects so far. */
uint32_t sim_connects(const struct sim *sim);

/* Enable, and wait for a peer if @wait, at most for the connect timeout. */
int sim_enable(struct sim *sim, bool wait);
void sim_disable(struct sim *sim);

/* A register write may have enabled or disabled the device. */
void sim_note_enable(struct sim *sim, bool enabled);

/*
 * Wait for the first peer since the device was enabled.  One that came and
 * left is not waited for: whatever needs it will say that it is not there.
 */
int sim_await_first_peer(struct sim *sim);

#endif
