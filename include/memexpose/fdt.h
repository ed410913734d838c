/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libmemexpose-fdt: the device-tree node of the platform device
 * (protocol section 5).
 */
#ifndef MEMEXPOSE_FDT_H
#define MEMEXPOSE_FDT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Cells of an interrupt specifier that are kept. */
#define MEMEXPOSE_FDT_INTERRUPT_CELLS 8

/**
 * struct memexpose_fdt_node - what the node says
 */
struct memexpose_fdt_node {
    uint64_t regs_start;   /* address of the registers, as the CPU sees it */
    uint64_t regs_size;    /* MEMEXPOSE_REGS_SIZE */
    uint64_t window_start; /* address of the window, as the CPU sees it */
    uint64_t window_size;  /* in bytes */
    uint32_t interrupt_parent; /* phandle; 0: inherited from the parent node */
    unsigned interrupt_cells;  /* how many of @interrupt count */
    uint32_t interrupt[MEMEXPOSE_FDT_INTERRUPT_CELLS]; /* the specifier, in the
                            * form of the interrupt parent; for a GIC
                            * {0, SPI, 4}: level, active high */
};

/**
 * memexpose_fdt_add - add a node to a flattened tree
 * @fdt: the tree, with room enough (fdt_open_into(); 512 bytes will do)
 * @parent: path of the node below which it comes, "/" or a bus; its
 *          #address-cells and #size-cells, 1 or 2 each, are obeyed
 * @node: what to say.  The interrupt's number of cells must be what the
 *        interrupt parent's #interrupt-cells asks for.
 *
 * Addresses are written as they are: a bus that translates them by ranges
 * needs them translated by the caller.
 *
 * Returns: 0; -EINVAL (a value that the cells cannot hold, cells that are
 * neither 1 nor 2, sizes of 0, a number of interrupt cells that does not fit
 * the interrupt parent); -ENOENT (no such parent, no interrupt parent);
 * -EEXIST (a node for these registers is there); -ENOSPC (no room: the tree
 * is unchanged); -EBADMSG (not a sound tree).
 */
int memexpose_fdt_add(void *fdt, const char *parent,
                      const struct memexpose_fdt_node *node);

/**
 * memexpose_fdt_find - the next memexpose node of a tree
 * @fdt: the tree
 * @offset: of the node after which to look, -1 for the first
 *
 * Returns: the node's offset; -ENOENT if there is none; -EBADMSG if the tree
 * is not sound.
 */
int memexpose_fdt_find(const void *fdt, int offset);

/**
 * memexpose_fdt_parse - read a node back
 * @fdt: the tree
 * @offset: of the node, from memexpose_fdt_find()
 * @node: out
 *
 * Returns: 0; -EINVAL if a property is missing or has a size that cannot be;
 * -EBADMSG if the tree is not sound.
 */
int memexpose_fdt_parse(const void *fdt, int offset,
                        struct memexpose_fdt_node *node);

#ifdef __cplusplus
}
#endif

#endif
