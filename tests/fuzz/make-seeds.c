/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * make-seeds DIRECTORY: write the seeds of each target to a folder of its own
 * there.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "fuzz.h"

static void write_seed(void *opaque, const char *target, const char *name,
                       const uint8_t *data, size_t size)
{
    const char *directory = opaque;
    char path[4096];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", directory, target);
    if (mkdir(path, 0777) < 0 && errno != EEXIST) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    snprintf(path, sizeof(path), "%s/%s/%s", directory, target, name);
    file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0) {
        perror(path);
        exit(EXIT_FAILURE);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
        return EXIT_FAILURE;
    }
    fuzz_seeds(write_seed, argv[1]);
#ifdef FUZZ_FDT
    fuzz_seeds_fdt(write_seed, argv[1]);
#endif
#ifdef FUZZ_SIM
    fuzz_seeds_sim(write_seed, argv[1]);
#endif
    return EXIT_SUCCESS;
}
