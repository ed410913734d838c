/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The numbers of the memexpose protocol and device that a consumer meets:
 * results, registers, identities.  memexpose-protocol(7) explains them.
 */
#ifndef MEMEXPOSE_PROTOCOL_H
#define MEMEXPOSE_PROTOCOL_H

/*
 * Result of an access, a set of bits; 0 is success (protocol section 2).
 * The functions that access a peer's memory return these as positive numbers
 * and local failures as -errno; memexpose_result() turns the latter into
 * MEMEXPOSE_RESULT_ERROR, which is what a guest gets to see.
 */
#define MEMEXPOSE_RESULT_OK     0
#define MEMEXPOSE_RESULT_ERROR  1 /* the access failed */
#define MEMEXPOSE_RESULT_DECODE 2 /* there is nothing at that address */
#define MEMEXPOSE_RESULT_DENIED 4 /* a write to read-only memory */

/* Registers, offsets in bytes from the start of BAR0 (protocol section 5). */
#define MEMEXPOSE_REG_ENABLE       0x000 /* rw, 8 bytes: bit 0 enables */
#define MEMEXPOSE_REG_LINK         0x010 /* r,  8: MEMEXPOSE_STATE_* */
#define MEMEXPOSE_REG_SPAN_START   0x018 /* r,  8: span the peer exports */
#define MEMEXPOSE_REG_SPAN_SIZE    0x020 /* r,  8 */
#define MEMEXPOSE_REG_LINK_IRQ     0x028 /* rw, 8: bit 0, changes interrupt */
#define MEMEXPOSE_REG_LINK_CHANGED 0x030 /* r,  8: bit 0, cleared by reading */
#define MEMEXPOSE_REG_RX           0x400 /* r,  8: pops one interrupt */
#define MEMEXPOSE_REG_RX_TYPE      0x408 /* r,  8 */
#define MEMEXPOSE_REG_RX_DATA      0x410 /* r,  128 */
#define MEMEXPOSE_REG_TX           0x800 /* w,  8: any write sends */
#define MEMEXPOSE_REG_TX_TYPE      0x808 /* rw, 8 */
#define MEMEXPOSE_REG_TX_DATA      0x810 /* rw, 128 */
#define MEMEXPOSE_REGS_SIZE        0x1000

/* Bits of MEMEXPOSE_REG_LINK; bits 32 to 63 count the connects. */
#define MEMEXPOSE_STATE_MEM_UP    0x1u /* the memory link is up */
#define MEMEXPOSE_STATE_INTR_UP 0x2u /* the interrupt link is up */
#define MEMEXPOSE_STATE_SETTLED      0x4u /* hello settled, or not said */

/* Interrupts: bytes of data in each, and how many a receiver keeps. */
#define MEMEXPOSE_INTERRUPT_DATA  128
#define MEMEXPOSE_INTERRUPT_QUEUE 16

/* Bytes in one message of the feature block, at most. */
#define MEMEXPOSE_BLOCK_SIZE 65536

/* Bytes of a name, its terminating zero included. */
#define MEMEXPOSE_NAME_SIZE 33

/* Identity of the PCI device and of the device-tree node. */
#define MEMEXPOSE_PCI_VENDOR     0x1af4
#define MEMEXPOSE_PCI_DEVICE     0x1111
#define MEMEXPOSE_FDT_COMPATIBLE "memexpose-memregion"

#endif
