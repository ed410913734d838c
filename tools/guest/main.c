/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memexpose-guest: the device as a program in a virtual machine sees it.  See
 * memexpose-guest(1).
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fault.h"
#include "guest.h"

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "unknown"
#endif

static const struct command table[] = {
    { "list", "", "show the devices",
      0, 0, false, command_list },
    { "enable", "[TIMEOUT_MS]", "enable the device, wait for the peer",
      0, 1, false, command_enable },
    { "disable", "", "disable the device",
      0, 0, false, command_disable },
    { "status", "", "show the state of the links",
      0, 0, false, command_status },
    { "read", "ADDR [SIZE]", "read the peer's memory",
      1, 2, false, command_read },
    { "write", "ADDR VALUE [SIZE]", "write the peer's memory",
      2, 3, false, command_write },
    { "dump", "ADDR LEN [FILE]", "show the peer's memory, or store it",
      2, 3, false, command_dump },
    { "load", "ADDR FILE", "write a file into the peer's memory",
      2, 2, false, command_load },
    { "sum", "ADDR LEN", "show the SHA-256 of the peer's memory",
      2, 2, false, command_sum },
    { "fill", "ADDR LEN [SEED]", "write noise, and show its SHA-256",
      2, 3, false, command_fill },
    { "lread", "ADDR [SIZE]", "read this machine's physical memory",
      1, 2, true, command_read },
    { "lwrite", "ADDR VALUE [SIZE]", "write it",
      2, 3, true, command_write },
    { "ldump", "ADDR LEN [FILE]", "show it, or store it",
      2, 3, true, command_dump },
    { "lload", "ADDR FILE", "write a file into it",
      2, 2, true, command_load },
    { "lsum", "ADDR LEN", "show its SHA-256",
      2, 2, true, command_sum },
    { "lfill", "ADDR LEN [SEED]", "write noise into it",
      2, 3, true, command_fill },
    { "reg", "OFFSET SIZE [VALUE]", "read or write a register",
      2, 3, false, command_reg },
    { "intr", "send TYPE [HEXDATA] | recv [TIMEOUT_MS] [--poll|--irq]",
      "interrupts", 1, 4, false, command_intr },
    { "bench", "[ADDR [LEN]] [OPTION]...", "measure accesses",
      0, 9, false, command_bench },
};

enum { COMMANDS = sizeof(table) / sizeof(table[0]) };

/* ---- What commands share ------------------------------------------------ */

int guest_open(struct guest *guest)
{
    const struct device *device;

    if (devices_find(&guest->devices, &guest->failure) < 0) {
        return -1;
    }
    device = devices_select(&guest->devices, guest->wanted, &guest->failure);
    return device ? io_open(&guest->io, device, &guest->failure) : -1;
}

int command_failed(struct guest *guest, const struct command *command)
{
    fail_prefix(&guest->failure, "%s", command->name);
    return FAILED;
}

int command_refused(struct guest *guest, const struct command *command)
{
    command_failed(guest, command);
    return USAGE;
}

/* ---- The command line --------------------------------------------------- */

static void print_synopsis(const struct command *command)
{
    const int column = 25;
    int length = printf("  %s %s", command->name, command->arguments);

    printf("%*s%s\n", length < column + 2 ? column + 2 - length : 1, "",
           command->help);
}

static void print_help(void)
{
    size_t i;

    puts("usage: " PROGRAM " [OPTION]... COMMAND [WORD]...\n"
         "Use a memexpose device from inside the machine that has it.\n"
         "\n"
         "  -d, --device=N|ADDRESS  the device, by its number in 'list', its "
         "PCI address,\n"
         "                          or the address of its registers\n"
         "      --root=DIR          where /sys, /proc and /dev are\n"
         "      --help, --version   show this, or the version, and leave\n");
    for (i = 0; i < COMMANDS; i++) {
        print_synopsis(&table[i]);
    }
}

static int unknown(struct failure *failure, const char *word)
{
    char names[256] = "";
    size_t i, used;

    for (i = 0; i < COMMANDS; i++) {
        used = strlen(names);
        snprintf(names + used, sizeof(names) - used, " %s", table[i].name);
    }
    fail(failure, "'%s': unknown command, expected one of:%s", word, names);
    return USAGE;
}

static int run(struct guest *guest, int count, char **word)
{
    const struct command *command = table;

    if (count == 0) {
        fail(&guest->failure, "a command is missing, see --help");
        return USAGE;
    }
    while (strcmp(command->name, word[0]) != 0) {
        if (++command == table + COMMANDS) {
            return unknown(&guest->failure, word[0]);
        }
    }
    if (count - 1 > command->most) {
        fail(&guest->failure, "%s: '%s': one word too many, expected '%s%s%s'",
             command->name, word[command->most + 1], command->name,
             *command->arguments ? " " : "", command->arguments);
        return USAGE;
    }
    if (count - 1 < command->least) {
        fail(&guest->failure, "'%s': a word is missing, expected '%s %s'",
             word[count - 1], command->name, command->arguments);
        return USAGE;
    }
    return command->run(guest, command, count, word);
}

enum { OPTION_ROOT = 256, OPTION_HELP, OPTION_VERSION };

static const struct option long_options[] = {
    { "device", required_argument, NULL, 'd' },
    { "root", required_argument, NULL, OPTION_ROOT },
    { "help", no_argument, NULL, OPTION_HELP },
    { "version", no_argument, NULL, OPTION_VERSION },
    { NULL, 0, NULL, 0 }
};

static int bad_option(struct guest *guest, int option, char **argv)
{
    const char *word = argv[optind - 1];

    if (option == ':') {
        fail(&guest->failure, "'%s': a word is missing behind it", word);
    } else if (optopt > 0 && optopt < OPTION_ROOT) {
        fail(&guest->failure, "'-%c': unknown option, see --help", optopt);
    } else {
        fail(&guest->failure, "'%s': unknown or ambiguous option, see --help",
             word);
    }
    return USAGE;
}

/* Options end at the command: its words may look like some. */
static int parse_and_run(struct guest *guest, int argc, char **argv)
{
    int option;

    opterr = 0;
    while ((option = getopt_long(argc, argv, "+:d:", long_options,
                                 NULL)) != -1) {
        switch (option) {
        case 'd':
            guest->wanted = optarg;
            break;
        case OPTION_ROOT:
            if (files_set_root(&guest->failure, optarg) < 0) {
                fail_prefix(&guest->failure, "--root");
                return USAGE;
            }
            break;
        case OPTION_HELP:
            print_help();
            return DONE;
        case OPTION_VERSION:
            puts(PROGRAM " " PACKAGE_VERSION);
            return DONE;
        default:
            return bad_option(guest, option, argv);
        }
    }
    return run(guest, argc - optind, argv + optind);
}

/* A file that is opened must not take the place of a standard one. */
static void occupy_standard_descriptors(void)
{
    int fd;

    for (fd = 0; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
            open("/dev/null", fd == STDOUT_FILENO ? O_RDONLY : O_RDWR) < 0) {
            return;
        }
    }
}

int main(int argc, char **argv)
{
    static struct guest guest;
    int ret;

    occupy_standard_descriptors();
    fault_init();
    ret = parse_and_run(&guest, argc, argv);
    io_close(&guest.io);
    devices_clear(&guest.devices);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        if (ret == DONE) {
            fail(&guest.failure, "standard output: %s", strerror(errno));
            ret = FAILED;
        }
    }
    if (ret != DONE) {
        fprintf(stderr, PROGRAM ": %s\n", guest.failure.text);
    }
    return ret;
}
