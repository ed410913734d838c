/* SPDX-License-Identifier: BSD-3-Clause */
#include "sim.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "report.h"

int sim_export(struct sim *sim)
{
    const struct options *options = &sim->options;
    const struct range_option *range;
    size_t i;
    int ret;

    for (i = 0; i < options->range_count; i++) {
        range = &options->ranges[i];
        ret = range->mmio
            ? memory_add_mmio(&sim->memory, range->word, &sim->failure)
            : memory_add_ram(&sim->memory, range->word, &sim->failure);
        if (ret < 0) {
            return fail_prefix(&sim->failure, "%s",
                               range->mmio ? "--mmio" : "--ram");
        }
    }
    if (options->window_placed &&
        memory_add_window(&sim->memory, options->window_start,
                          options->config.window_size, &sim->failure) < 0) {
        return fail_prefix(&sim->failure, "--window");
    }
    return 0;
}

static int create_device(struct sim *sim)
{
    struct memexpose_device_config *config = &sim->options.config;
    struct memexpose_device_ops ops;

    memexpose_space_ops(&ops);
    if (sim->options.trace) {
        ops.trace = report_message;
    }
    sim->device = memexpose_device_create(sim->loop.group, &ops,
                                          sim->memory.space, config);
    if (!sim->device) {
        return fail(&sim->failure, "cannot make the device: %s",
                    strerror(errno));
    }
    memexpose_device_set_space(sim->device, sim->memory.space);
    loop_set_sigbus(sim->device, sim->memory.space);
    return 0;
}

static int no_sockets(struct sim *sim, int error)
{
    const struct options *options = &sim->options;
    const char *why;

    switch (error) {
    case -EADDRINUSE:
        why = "a living peer listens there";
        break;
    case -EEXIST:
        why = "something other than a socket is there";
        break;
    case -EACCES:
    case -EPERM:
        why = "no permission";
        break;
    default:
        why = strerror(-error);
    }
    return fail(&sim->failure, "cannot %s '%s' and '%s': %s",
                options->connect ? "connect to" : "listen on",
                options->mem_socket, options->intr_socket, why);
}

int sim_open(struct sim *sim)
{
    const struct options *options = &sim->options;
    int ret;

    ret = loop_create_group(&sim->loop);
    if (ret == 0) {
        ret = memexpose_group_set_polling(sim->loop.group, options->poll_time,
                                          options->poll_time);
    }
    if (ret < 0) {
        return fail(&sim->failure, "%s", strerror(-ret));
    }
    if (create_device(sim) < 0) {
        return -1;
    }
    ret = options->connect
        ? memexpose_device_connect(sim->device, options->mem_socket,
                                   options->intr_socket)
        : memexpose_device_listen(sim->device, options->mem_socket,
                                  options->intr_socket);
    return ret == 0 ? 0 : no_sockets(sim, ret);
}

void sim_close(struct sim *sim)
{
    loop_set_sigbus(NULL, NULL);
    memexpose_device_destroy(sim->device);
    sim->device = NULL;
}

bool sim_connected(const struct sim *sim)
{
    const uint64_t both = MEMEXPOSE_STATE_MEM_UP |
                          MEMEXPOSE_STATE_INTR_UP;

    return (memexpose_device_link_state(sim->device) & both) == both;
}

uint32_t sim_connects(const struct sim *sim)
{
    return (uint32_t)(memexpose_device_link_state(sim->device) >> 32);
}

static bool peer_is_there(void *arg)
{
    return sim_connected(arg);
}

static bool peer_came(void *arg)
{
    const struct sim *sim = arg;

    return sim_connects(sim) != sim->connects_before;
}

/* What is wrong with a socket that nobody answers at. */
static const char *why_unreachable(const char *path)
{
    if (access(path, F_OK) < 0) {
        return strerror(errno);
    }
    return access(path, W_OK) < 0 ? "no permission" : "nobody answers";
}

static int no_peer(struct sim *sim)
{
    const struct options *options = &sim->options;
    long long ms = options->connect_timeout / 1000000;

    if (peer_came(sim)) {
        return fail(&sim->failure, "the peer at '%s' and '%s' closes the "
                    "link, it may have another peer or not take "
                    "hello; tried for %lld ms",
                    options->mem_socket, options->intr_socket, ms);
    }

    if (!options->connect) {
        return fail(&sim->failure, "no peer came to '%s' and '%s' within "
                    "%lld ms", options->mem_socket, options->intr_socket,
                    ms);
    }
    return fail(&sim->failure, "no peer to be reached at '%s' (%s) and '%s' "
                "(%s) within %lld ms", options->mem_socket,
                why_unreachable(options->mem_socket), options->intr_socket,
                why_unreachable(options->intr_socket), ms);
}

/* Like any guest's, this wait is for the links only, not for hello. */
static int await_peer(struct sim *sim, bool (*done)(void *arg))
{
    switch (loop_until(&sim->loop, done, sim,
                       loop_deadline(sim->options.connect_timeout))) {
    case 0:
        return 0;
    case -ETIMEDOUT:
        return no_peer(sim);
    default:
        return fail(&sim->failure, "the wait for a peer was ended");
    }
}

void sim_note_enable(struct sim *sim, bool enabled)
{
    sim->enabled = enabled;
    /* one that is there has come, even if it leaves before it is needed */
    sim->connects_before = sim_connects(sim) - sim_connected(sim);
}

int sim_enable(struct sim *sim, bool wait)
{
    int ret = memexpose_device_enable(sim->device, 0);

    if (ret < 0 && ret != -EINPROGRESS) {
        return fail(&sim->failure, "%s", memexpose_strerror(ret));
    }
    sim_note_enable(sim, true);
    return wait ? await_peer(sim, peer_is_there) : 0;
}

void sim_disable(struct sim *sim)
{
    memexpose_device_disable(sim->device);
    sim->enabled = false;
}

int sim_await_first_peer(struct sim *sim)
{
    if (!sim->enabled || peer_came(sim)) {
        return 0;
    }
    return await_peer(sim, peer_came);
}
