/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a guest does with its own memory, the physical one: pages that its
 * kernel was told to leave alone.
 *
 *      memory read ADDR LENGTH         to standard output
 *      memory write ADDR LENGTH        from standard input
 *      memory noise SEED LENGTH        bytes that SEED alone decides
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CHUNK = 65536, WORDS = CHUNK / 8 };

static int fail(const char *what)
{
    fprintf(stderr, "memory: %s: %s\n", what, strerror(errno));
    return 1;
}

/* To be used in aligned words of 8 bytes: the kernel maps it as a device. */
static volatile uint64_t *map(uint64_t address, uint64_t length, int rights)
{
    int fd = open("/dev/mem", O_RDWR | O_SYNC | O_CLOEXEC);
    void *memory = MAP_FAILED;

    if (fd >= 0) {
        memory = mmap(NULL, length, rights, MAP_SHARED, fd, (off_t)address);
        close(fd);
    }
    return memory == MAP_FAILED ? NULL : memory;
}

static int read_all(uint64_t address, uint64_t length)
{
    volatile uint64_t *memory = map(address, length, PROT_READ);
    static uint64_t words[WORDS];

    if (!memory) {
        return fail("/dev/mem");
    }
    for (uint64_t done = 0; done < length; done += CHUNK) {
        for (unsigned i = 0; i < WORDS; i++) {
            words[i] = memory[done / 8 + i];
        }
        if (fwrite(words, CHUNK, 1, stdout) != 1) {
            return fail("standard output");
        }
    }
    return 0;
}

static int write_all(uint64_t address, uint64_t length)
{
    volatile uint64_t *memory = map(address, length, PROT_READ | PROT_WRITE);
    static uint64_t words[WORDS];

    if (!memory) {
        return fail("/dev/mem");
    }
    for (uint64_t done = 0; done < length; done += CHUNK) {
        if (fread(words, CHUNK, 1, stdin) != 1) {
            return fail("standard input");
        }
        for (unsigned i = 0; i < WORDS; i++) {
            memory[done / 8 + i] = words[i];
        }
    }
    return 0;
}

/* Little-endian machines only, as all of those that are tested. */
static int noise(uint64_t seed, uint64_t length)
{
    static uint64_t words[WORDS];
    uint64_t state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;

    for (uint64_t done = 0; done < length; done += CHUNK) {
        for (unsigned i = 0; i < WORDS; i++) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            words[i] = state;
        }
        if (fwrite(words, CHUNK, 1, stdout) != 1) {
            return fail("standard output");
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    uint64_t first, length;

    if (argc != 4) {
        fprintf(stderr, "usage: memory read|write|noise ADDR|SEED LENGTH\n");
        return 2;
    }
    first = strtoull(argv[2], NULL, 0);
    length = strtoull(argv[3], NULL, 0);
    if (length == 0 || length % CHUNK != 0) {
        fprintf(stderr, "memory: '%s': expected whole pieces of %d bytes\n",
                argv[3], CHUNK);
        return 2;
    }
    if (strcmp(argv[1], "read") == 0) {
        return read_all(first, length) || fflush(stdout) != 0;
    }
    if (strcmp(argv[1], "write") == 0) {
        return write_all(first, length);
    }
    if (strcmp(argv[1], "noise") == 0) {
        return noise(first, length) || fflush(stdout) != 0;
    }
    fprintf(stderr, "memory: '%s': expected read, write or noise\n", argv[1]);
    return 2;
}
