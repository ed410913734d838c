/* SPDX-License-Identifier: BSD-3-Clause */
#include "access.h"

#include <inttypes.h>

#include "command.h"
#include "numbers.h"
#include "output.h"

static int peer_read(struct sim *sim, uint64_t address, unsigned bytes,
                     uint64_t *value)
{
    return memexpose_read(sim->device, address, bytes, value);
}

static int peer_write(struct sim *sim, uint64_t address, unsigned bytes,
                      uint64_t value)
{
    return memexpose_write(sim->device, address, bytes, value);
}

static int peer_read_block(struct sim *sim, uint64_t address, void *buffer,
                           size_t bytes, size_t *done)
{
    return memexpose_read_block(sim->device, address, buffer, bytes, done);
}

static int peer_write_block(struct sim *sim, uint64_t address,
                            const void *buffer, size_t bytes, size_t *done)
{
    return memexpose_write_block(sim->device, address, buffer, bytes, done);
}

const struct target target_peer = {
    peer_read, peer_write, peer_read_block, peer_write_block,
    memexpose_strerror
};

static int own_read(struct sim *sim, uint64_t address, unsigned bytes,
                    uint64_t *value)
{
    return memexpose_space_read(sim->memory.space, address, bytes, value);
}

static int own_write(struct sim *sim, uint64_t address, unsigned bytes,
                     uint64_t value)
{
    return memexpose_space_write(sim->memory.space, address, bytes, value);
}

static int own_read_block(struct sim *sim, uint64_t address, void *buffer,
                          size_t bytes, size_t *done)
{
    return memexpose_space_read_block(sim->memory.space, address, buffer,
                                      bytes, done);
}

static int own_write_block(struct sim *sim, uint64_t address,
                           const void *buffer, size_t bytes, size_t *done)
{
    return memexpose_space_write_block(sim->memory.space, address, buffer,
                                       bytes, done);
}

static const char *own_strerror(int ret)
{
    if (ret > 0 && (ret & MEMEXPOSE_RESULT_DECODE)) {
        return "decode error: nothing at that address here";
    }
    if (ret > 0 && (ret & MEMEXPOSE_RESULT_DENIED)) {
        return "access denied: the memory is read-only";
    }
    return memexpose_strerror(ret);
}

const struct target target_own = {
    own_read, own_write, own_read_block, own_write_block, own_strerror
};

int access_print(struct sim *sim, const char *command, const char *name,
                 uint64_t address, unsigned bytes, uint64_t value)
{
    if (!sim->options.json) {
        return output_line(&sim->loop, &sim->failure, "0x%0*" PRIx64,
                           2 * (int)bytes, value);
    }
    return output_json(&sim->loop, &sim->failure,
                       json_pack("{s:s, s:o, s:i, s:o}", "command", command,
                                 name, output_hex(address, 1), "size",
                                 (int)bytes, "value",
                                 output_hex(value, 2 * bytes)));
}

/* ADDR and, if there is a word for it, the size of an access there. */
static int parse_place(struct sim *sim, const char *address_word,
                       const char *size_word, uint64_t *address,
                       unsigned *bytes)
{
    *bytes = 8;
    if (number_address(&sim->failure, "ADDR", address_word, address) < 0 ||
        (size_word &&
         number_access(&sim->failure, size_word, bytes) < 0)) {
        return -1;
    }
    return number_fits(&sim->failure, address_word, *address, *bytes);
}

COMMAND(read)
{
    const char *size_word = words->count > 2 ? words->word[2] : NULL;
    uint64_t address, value;
    unsigned bytes;
    int ret;

    if (parse_place(sim, words->word[1], size_word, &address, &bytes) < 0) {
        return fail_prefix(&sim->failure, "%s", command->name);
    }
    if (command_await_peer(sim, command) < 0) {
        return -1;
    }
    ret = command->target->read(sim, address, bytes, &value);
    if (ret != 0) {
        return fail(&sim->failure, "%s %s: %s", command->name,
                    words->word[1], command->target->strerror(ret));
    }
    return access_print(sim, command->name, "address", address, bytes,
                        value);
}

COMMAND(write)
{
    const char *size_word = words->count > 3 ? words->word[3] : NULL;
    uint64_t address, value;
    unsigned bytes;
    int ret;

    if (parse_place(sim, words->word[1], size_word, &address, &bytes) < 0 ||
        number_value(&sim->failure, words->word[2], bytes, &value) < 0) {
        return fail_prefix(&sim->failure, "%s", command->name);
    }
    if (command_await_peer(sim, command) < 0) {
        return -1;
    }
    ret = command->target->write(sim, address, bytes, value);
    return ret == 0 ? 0 : fail(&sim->failure, "%s %s: %s", command->name,
                               words->word[1],
                               command->target->strerror(ret));
}
