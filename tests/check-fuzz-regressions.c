/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every fuzz target with every seed, and with every input that it failed with
 * once: those are the files fuzz/regressions/TARGET-NAME.  Needs no fuzzer.
 * Each input has a process of its own, and five seconds.
 *
 * With arguments: run only these, TARGET FILE...
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuzz/fuzz.h"

enum { PATIENCE = 5, INPUT = 1 << 16 };

static const struct target {
    const char *name;
    fuzz_target_fn *run;
} targets[] = {
    { "codec", fuzz_codec },
    { "conn", fuzz_conn },
    { "device", fuzz_device },
#ifdef FUZZ_FDT
    { "fdt", fuzz_fdt },
#endif
#ifdef FUZZ_SIM
    { "sim", fuzz_sim },
#endif
};

enum { TARGETS = sizeof(targets) / sizeof(targets[0]) };

static unsigned run, failed;
static unsigned count[TARGETS];

static unsigned patience(void)
{
    const char *multiplier = getenv("CK_TIMEOUT_MULTIPLIER");
    int times = multiplier ? atoi(multiplier) : 1;

    return PATIENCE * (times > 0 ? (unsigned)times : 1);
}

/* The target of a name TARGET or TARGET-...; NULL if it is not built. */
static const struct target *find(const char *name)
{
    size_t length = strcspn(name, "-");

    for (size_t i = 0; i < TARGETS; i++) {
        if (strlen(targets[i].name) == length &&
            strncmp(name, targets[i].name, length) == 0) {
            return &targets[i];
        }
    }
    return NULL;
}

static void try(const struct target *target, const char *name,
                const uint8_t *data, size_t size)
{
    int status = 0;
    pid_t child;

    fflush(stdout);
    child = fork();
    if (child == 0) {
        alarm(patience());
        target->run(data, size);
        exit(EXIT_SUCCESS);
    }
    run++;
    count[target - targets]++;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
        failed++;
        printf("FAIL: %s: %s: ", target->name, name);
        if (WIFSIGNALED(status)) {
            printf("%s\n", strsignal(WTERMSIG(status)));
        } else {
            printf("exit status %d\n", WEXITSTATUS(status));
        }
    }
}

static void try_seed(void *opaque, const char *target, const char *name,
                     const uint8_t *data, size_t size)
{
    const struct target *found = find(target);
    uint8_t *copy = malloc(size ? size : 1);

    (void)opaque;
    if (!found || !copy) {
        abort();
    }
    memcpy(copy, data, size);   /* without a byte to spare */
    try(found, name, copy, size);
    free(copy);
}

static void try_file(const struct target *target, const char *path)
{
    static uint8_t data[INPUT];
    FILE *file = fopen(path, "rb");
    size_t size;

    if (!file) {
        perror(path);
        failed++;
        return;
    }
    size = fread(data, 1, sizeof(data), file);
    fclose(file);
    try_seed(NULL, target->name, path, data, size);
}

static void try_regressions(void)
{
    const char *top = getenv("top_srcdir");
    char directory[4096], path[8192];
    struct dirent *entry;
    DIR *files;

    snprintf(directory, sizeof(directory), "%s/tests/fuzz/regressions",
             top ? top : ".");
    files = opendir(directory);
    if (!files) {
        perror(directory);
        failed++;
        return;
    }
    while ((entry = readdir(files))) {
        const struct target *target = find(entry->d_name);

        if (target && strchr(entry->d_name, '-')) {
            snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
            try_file(target, path);
        }
    }
    closedir(files);
}

static int try_given(int argc, char **argv)
{
    const struct target *target = find(argv[1]);

    if (!target) {
        fprintf(stderr, "%s: no such target\n", argv[1]);
        return EXIT_FAILURE;
    }
    for (int i = 2; i < argc; i++) {
        try_file(target, argv[i]);
    }
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        return try_given(argc, argv);
    }
    fuzz_seeds(try_seed, NULL);
#ifdef FUZZ_FDT
    fuzz_seeds_fdt(try_seed, NULL);
#endif
#ifdef FUZZ_SIM
    fuzz_seeds_sim(try_seed, NULL);
#endif
    try_regressions();
    for (size_t i = 0; i < TARGETS; i++) {
        printf("%s: %u inputs\n", targets[i].name, count[i]);
        failed += count[i] == 0;
    }
    printf("%u run, %u failed\n", run, failed);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
