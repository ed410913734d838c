/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Machines with memexpose devices, as the tests need them.
 */
#ifndef TESTS_QTEST_MEMEXPOSE_VM_H
#define TESTS_QTEST_MEMEXPOSE_VM_H

#include "qemu/units.h"
#include "libqos/generic-pcihost.h"
#include "libqos/pci.h"
#include "memexpose-libqtest.h"

/* Registers, as docs/specs/memexpose.rst has them. */
#define REG_ENABLE         0x000
#define REG_LINK_STATE     0x010
#define REG_SPAN_START     0x018
#define REG_SPAN_SIZE      0x020
#define REG_CHANGE_ENABLE  0x028
#define REG_CHANGED        0x030
#define REG_RX             0x400
#define REG_RX_TYPE        0x408
#define REG_RX_DATA        0x410
#define REG_TX             0x800
#define REG_TX_TYPE        0x808
#define REG_TX_DATA        0x810

#define LINKS_UP           3u           /* of REG_LINK_STATE */
#define INTR_DATA_SIZE     128
#define INTR_QUEUE_SIZE    16

/* Results of an access, a set of bits. */
#define RESULT_OK          0
#define RESULT_ERROR       1
#define RESULT_DECODE      2
#define RESULT_DENIED      4

#define ALL_ONES           UINT64_MAX

typedef enum Machine {
    MACHINE_PC,
    MACHINE_Q35,
    MACHINE_VIRT,               /* its first device: the platform's */
    MACHINE_VIRT_PCI,           /* the same, but on PCI */
} Machine;

typedef struct Vm Vm;

/* One memexpose device. */
typedef struct Port {
    Vm *vm;
    char *id;
    char *path;                 /* in QOM */
    char *options;
    char *link;
    bool listen;
    uint16_t tcp_ports[2];      /* on this host, instead of sockets in files */
    bool platform;
    int slot;
    QPCIDevice *pci;
    uint64_t regs, window;
} Port;

struct Vm {
    Machine machine;
    QTestState *qts;
    QPCIBus *bus;
    QGenericPCIBus generic_bus;
    Port ports[4];
    unsigned port_count;
    GString *args;
    GString *machine_args;
    char *log;                  /* of traced accesses through windows */
    char *pid_file;

    /* May be changed before the start. */
    uint64_t ram;
    uint64_t ram_size;
    uint64_t window_size;
    bool ram_shared;
    bool tcp;
    bool reconnects;            /* as a client */
    bool traced;
};

/* A directory for sockets and files, which goes at the end. */
void vm_directory_create(void);
void vm_directory_remove(void);
char *vm_path(const char *fmt, ...) G_GNUC_PRINTF(1, 2);

/* What a PC has as its firmware, right below 4 GiB. */
#define VM_ROM_SIZE        (64 * KiB)
uint8_t vm_rom_byte(unsigned offset);

/* Is there a QEMU for this machine? */
bool machine_available(Machine machine);
bool machine_is_x86(Machine machine);
bool machine_is_native(Machine machine);        /* to the test as a whole */
const char *machine_name(Machine machine);
const char *machine_binary(Machine machine);

/* A machine, not yet started, with 64 MiB of RAM that can be shared. */
Vm *vm_new(Machine machine);
void vm_add_args(Vm *vm, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
void vm_add_machine_args(Vm *vm, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

/* A device, and chardevs for the sockets of @link. */
Port *vm_add_port(Vm *vm, const char *link, bool listen, const char *options);
void vm_start(Vm *vm);
void vm_free(Vm *vm);
pid_t vm_pid(Vm *vm);

/* Open descriptors, and mappings of memory that can be shared. */
unsigned vm_count_descriptors(Vm *vm);
unsigned vm_count_mappings(Vm *vm);

/*
 * A machine that is not libqtest's: it ends before it begins, or is killed.
 * It executes the QTest commands in the file @script, if that is not NULL, and
 * writes what it has to say to the file @errors.
 */
pid_t vm_spawn(Vm *vm, const char *script, const char *errors);

/* Wait for it, or end it after a while; returns what waitpid() tells. */
int vm_wait_spawned(pid_t pid);

uint64_t vm_read(Vm *vm, uint64_t address, unsigned size);
void vm_write(Vm *vm, uint64_t address, unsigned size, uint64_t value);

/* Another PCI device, with BAR @bar (of 64 bits, or 32) at @address. */
QPCIDevice *vm_map_pci(Vm *vm, int slot, int bar, bool wide,
                       uint64_t address);

/* A place for BARs below 4 GiB. */
uint64_t vm_low_pci(Vm *vm);

/* PCI devices have to be mapped again after a reset. */
void port_map(Port *port);
void port_unmap(Port *port);
void port_move_window(Port *port, uint64_t address);

/* Let the client @port connect to the server @peer, which is running. */
void port_connect_tcp(Port *port, Port *peer);

uint64_t port_reg(Port *port, unsigned reg);
void port_set_reg(Port *port, unsigned reg, uint64_t value);
void port_enable(Port *port);
void port_wait_up(Port *port);
void port_wait_down(Port *port);
bool port_is_up(Port *port);

/* The peer's memory. */
uint64_t port_read(Port *port, uint64_t address, unsigned size);
void port_write(Port *port, uint64_t address, unsigned size, uint64_t value);

/* What became of the last one that was not direct, on a traced machine. */
int port_last_result(Port *port);

/* QOM properties: a counter, the name, and a range of those mapped. */
uint64_t port_stat(Port *port, const char *name);
uint64_t port_link_state(Port *port);
char *port_peer_name(Port *port);
bool port_has_range(Port *port, uint64_t start, uint64_t size,
                    const char *rights);

/* Ports of two machines, joined. */
typedef struct Pair {
    Vm *vm[2];
    Port *port[2];              /* of these */
} Pair;

/* Two machines, not started: 0 listens, 1 connects. */
Pair *pair_new(Machine first, Machine second, const char *first_options,
               const char *second_options);
void pair_start(Pair *pair);    /* and enable */
void pair_free(Pair *pair);

#define WAIT_SECONDS 30

/* Until it holds; it never holds is a failure. */
#define WAIT_FOR(condition)                                             \
    do {                                                                \
        int64_t wait_end_ = g_get_monotonic_time() +                    \
                            WAIT_SECONDS * G_TIME_SPAN_SECOND;          \
        while (!(condition)) {                                          \
            if (g_get_monotonic_time() >= wait_end_) {                  \
                g_error("%s:%d: waited in vain for: %s", __FILE__,      \
                        __LINE__, #condition);                          \
            }                                                           \
            g_usleep(500);                                              \
        }                                                               \
    } while (0)

/*
 * A peer that is this test itself, and says what it is told to: the client of
 * a port that listens.
 */
typedef struct Raw {
    int mem, intr;
    uint64_t features;          /* those that the port has accepted */
} Raw;

#define FEATURE_BLOCK  1u
#define FEATURE_PUSH   2u
#define BLOCK_SIZE     65536u

/* With a hello that offers these features. */
void raw_connect(Raw *raw, Port *port, uint64_t features);
void raw_close(Raw *raw);

/* Has the port closed the link? */
bool raw_is_closed(Raw *raw);

/* A block: returns the result, and how many bytes were @done. */
uint32_t raw_read(Raw *raw, uint64_t address, void *bytes, uint32_t size,
                  uint32_t *done);
uint32_t raw_write(Raw *raw, uint64_t address, const void *bytes,
                   uint32_t size, uint32_t *done);

/* Without looking for an answer. */
void raw_ask(Raw *raw, uint64_t address, uint32_t size);

/* A test for one pair of machines. */
typedef struct PairKind {
    Machine first, second;
} PairKind;

/* Add @fn for each pair of machines that this binary is for. */
void add_pair_test(const char *name, void (*fn)(const PairKind *kind));

/* The same for those pairs whose first machine is a PC. */
void add_pc_pair_test(const char *name, void (*fn)(const PairKind *kind));

/* Each file of tests. */
void add_memory_tests(void);
void add_limit_tests(void);
void add_change_tests(void);
void add_service_tests(void);
void add_interrupt_tests(void);
void add_life_tests(void);
void add_loss_tests(void);
void add_crowd_tests(void);
void add_value_tests(void);
void add_push_tests(void);
void add_block_tests(void);

#endif
