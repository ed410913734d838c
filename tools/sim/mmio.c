/* SPDX-License-Identifier: BSD-3-Clause */
#include "mmio.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

struct mmio {
    enum mmio_model model;
    uint64_t size;
    uint64_t accesses;
    uint8_t *bytes;             /* of a scratch */
};

struct mmio *mmio_create(enum mmio_model model, uint64_t size)
{
    struct mmio *mmio = calloc(1, sizeof(*mmio));

    if (!mmio) {
        return NULL;
    }
    mmio->model = model;
    mmio->size = size;
    if (model == MMIO_SCRATCH) {
        if (size > SIZE_MAX / 2) {
            free(mmio);
            errno = ENOMEM;
            return NULL;
        }
        /* large ranges cost only the pages that are written */
        mmio->bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE |
                           MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (mmio->bytes == MAP_FAILED) {
            free(mmio);
            return NULL;
        }
    }
    return mmio;
}

void mmio_destroy(struct mmio *mmio)
{
    if (!mmio) {
        return;
    }
    if (mmio->bytes) {
        munmap(mmio->bytes, mmio->size);
    }
    free(mmio);
}

static uint64_t low_bytes(uint64_t value, unsigned bytes)
{
    return bytes < 8 ? value & ((UINT64_C(1) << (8 * bytes)) - 1) : value;
}

static int read_mmio(void *opaque, uint64_t offset, unsigned bytes,
                     uint64_t *value)
{
    struct mmio *mmio = opaque;
    unsigned i;

    *value = low_bytes(mmio->accesses, bytes);
    mmio->accesses++;
    if (mmio->model == MMIO_SCRATCH) {
        *value = 0;
        for (i = 0; i < bytes; i++) {
            *value |= (uint64_t)mmio->bytes[offset + i] << (8 * i);
        }
    }
    return MEMEXPOSE_RESULT_OK;
}

static int write_mmio(void *opaque, uint64_t offset, unsigned bytes,
                      uint64_t value)
{
    struct mmio *mmio = opaque;
    unsigned i;

    mmio->accesses++;
    if (mmio->model == MMIO_SCRATCH) {
        for (i = 0; i < bytes; i++) {
            mmio->bytes[offset + i] = (uint8_t)(value >> (8 * i));
        }
    }
    return MEMEXPOSE_RESULT_OK;
}

const struct memexpose_mmio_ops mmio_ops = {
    .size = sizeof(mmio_ops),
    .read = read_mmio,
    .write = write_mmio,
};
