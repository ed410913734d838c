/* SPDX-License-Identifier: BSD-3-Clause */
#include <memexpose/fdt.h>

#include <errno.h>
#include <inttypes.h>
#include <libfdt.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <memexpose/protocol.h>

enum {
    REG_ENTRIES = 2,            /* registers, window (section 5) */
    REG_CELLS_MAX = REG_ENTRIES * (2 + 2),
    HOPS_MAX = 256              /* a tree may name its parents in a circle */
};

/* How the children of a node write addresses and sizes. */
struct cells {
    int address;
    int size;
};

static int to_errno(int error)
{
    switch (error) {
    case -FDT_ERR_NOTFOUND:
    case -FDT_ERR_BADPATH:
    case -FDT_ERR_BADPHANDLE:
        return -ENOENT;
    case -FDT_ERR_EXISTS:
        return -EEXIST;
    case -FDT_ERR_NOSPACE:
        return -ENOSPC;
    case -FDT_ERR_BADOFFSET:
    case -FDT_ERR_BADNCELLS:
        return -EINVAL;
    default:
        return error < 0 ? -EBADMSG : error;
    }
}

/* Does what lies at @start reach into the reservations? */
static bool in_reservations(const void *fdt, uint64_t start, uint64_t size)
{
    uint64_t first = fdt_off_mem_rsvmap(fdt);
    uint64_t count = (uint64_t)fdt_num_mem_rsv(fdt) + 1; /* and their end */

    return start < first + count * sizeof(struct fdt_reserve_entry) &&
           first < start + (size ? size : 1);
}

/*
 * libfdt does not mind reservations that run on into the other blocks, and
 * takes what lies there for more of them: they would move with the nodes.
 */
static bool reservations_stand_alone(const void *fdt)
{
    /* before version 17 the structure block does not say how long it is */
    uint32_t size = fdt_version(fdt) < 17 ? 0 : fdt_size_dt_struct(fdt);

    return fdt_num_mem_rsv(fdt) >= 0 &&
           !in_reservations(fdt, fdt_off_dt_struct(fdt), size) &&
           !in_reservations(fdt, fdt_off_dt_strings(fdt),
                            fdt_size_dt_strings(fdt));
}

/* Everything that is looked at later lies inside a sound tree. */
static int check_tree(const void *fdt)
{
    if (fdt_check_header(fdt) < 0 ||
        fdt_check_full(fdt, fdt_totalsize(fdt)) < 0 ||
        !reservations_stand_alone(fdt)) {
        return -EBADMSG;
    }
    return 0;
}

/* A property of one cell: 1 if it is there, 0 if not. */
static int get_cell(const void *fdt, int offset, const char *name,
                    uint32_t *cell)
{
    int length;
    const fdt32_t *value = fdt_getprop(fdt, offset, name, &length);

    if (!value) {
        return length == -FDT_ERR_NOTFOUND ? 0 : to_errno(length);
    }
    if (length != sizeof(*value)) {
        return -EINVAL;
    }
    *cell = fdt32_ld(value);
    return 1;
}

static int get_cells(const void *fdt, int parent, struct cells *cells)
{
    cells->address = fdt_address_cells(fdt, parent);
    cells->size = fdt_size_cells(fdt, parent);
    if (cells->address < 1 || cells->address > 2 ||
        cells->size < 1 || cells->size > 2) {
        return -EINVAL;
    }
    return 0;
}

/* Where the interrupts of a node go that has no #interrupt-cells itself: to
 * the one it names, else to the one above it. */
static int next_interrupt_parent(const void *fdt, int offset)
{
    uint32_t phandle;
    int ret = get_cell(fdt, offset, "interrupt-parent", &phandle);

    if (ret < 0) {
        return ret;
    }
    return to_errno(ret ? fdt_node_offset_by_phandle(fdt, phandle) :
                          fdt_parent_offset(fdt, offset));
}

/* The #interrupt-cells that hold for children of @offset that name no
 * interrupt parent. */
static int inherited_interrupt_cells(const void *fdt, int offset,
                                     uint32_t *cells)
{
    int hop, ret;

    for (hop = 0; hop < HOPS_MAX; hop++) {
        ret = get_cell(fdt, offset, "#interrupt-cells", cells);
        if (ret != 0) {
            return ret < 0 ? ret : 0;
        }
        offset = next_interrupt_parent(fdt, offset);
        if (offset < 0) {
            return offset;
        }
    }
    return -ENOENT;
}

/* The #interrupt-cells of the interrupt parent with this phandle. */
static int named_interrupt_cells(const void *fdt, uint32_t phandle,
                                 uint32_t *cells)
{
    int offset = fdt_node_offset_by_phandle(fdt, phandle);
    int ret;

    if (offset < 0) {
        return to_errno(offset);
    }
    ret = get_cell(fdt, offset, "#interrupt-cells", cells);
    return ret > 0 ? 0 : ret < 0 ? ret : -ENOENT;
}

/* The #interrupt-cells that hold for a child of @parent. */
static int interrupt_cells(const void *fdt, int parent, uint32_t phandle,
                           uint32_t *cells)
{
    return phandle ? named_interrupt_cells(fdt, phandle, cells) :
                     inherited_interrupt_cells(fdt, parent, cells);
}

static int check_interrupt(const void *fdt, int parent,
                           const struct memexpose_fdt_node *node)
{
    uint32_t cells;
    int ret;

    if (node->interrupt_cells == 0 ||
        node->interrupt_cells > MEMEXPOSE_FDT_INTERRUPT_CELLS) {
        return -EINVAL;
    }
    ret = interrupt_cells(fdt, parent, node->interrupt_parent, &cells);
    if (ret < 0) {
        return ret;
    }
    return cells == node->interrupt_cells ? 0 : -EINVAL;
}

static bool fits(uint64_t value, int cells)
{
    return cells == 2 || value <= UINT32_MAX;
}

static bool range_fits(uint64_t start, uint64_t size, struct cells cells)
{
    return size > 0 && size - 1 <= UINT64_MAX - start &&
           fits(start, cells.address) && fits(size, cells.size);
}

static fdt32_t *put_number(fdt32_t *to, uint64_t value, int cells)
{
    if (cells == 2) {
        *to++ = cpu_to_fdt32((uint32_t)(value >> 32));
    }
    *to++ = cpu_to_fdt32((uint32_t)value);
    return to;
}

static const fdt32_t *get_number(const fdt32_t *from, uint64_t *value,
                                 int cells)
{
    *value = 0;
    for (; cells; cells--) {
        *value = *value << 32 | fdt32_ld(from++);
    }
    return from;
}

static int set_reg(void *fdt, int offset, struct cells cells,
                   const struct memexpose_fdt_node *node)
{
    fdt32_t reg[REG_CELLS_MAX], *end = reg;

    end = put_number(end, node->regs_start, cells.address);
    end = put_number(end, node->regs_size, cells.size);
    end = put_number(end, node->window_start, cells.address);
    end = put_number(end, node->window_size, cells.size);
    return fdt_setprop(fdt, offset, "reg", reg,
                       (int)((size_t)(end - reg) * sizeof(*reg)));
}

static int set_interrupts(void *fdt, int offset,
                          const struct memexpose_fdt_node *node)
{
    fdt32_t interrupt[MEMEXPOSE_FDT_INTERRUPT_CELLS];
    unsigned i;

    for (i = 0; i < node->interrupt_cells; i++) {
        interrupt[i] = cpu_to_fdt32(node->interrupt[i]);
    }
    return fdt_setprop(fdt, offset, "interrupts", interrupt,
                       (int)(i * sizeof(*interrupt)));
}

/* Each property comes to stand before those that are there. */
static int set_properties(void *fdt, int offset, struct cells cells,
                          const struct memexpose_fdt_node *node)
{
    int ret = set_interrupts(fdt, offset, node);

    if (ret == 0 && node->interrupt_parent) {
        ret = fdt_setprop_u32(fdt, offset, "interrupt-parent",
                              node->interrupt_parent);
    }
    if (ret == 0) {
        ret = set_reg(fdt, offset, cells, node);
    }
    if (ret == 0) {
        ret = fdt_setprop_string(fdt, offset, "compatible",
                                 MEMEXPOSE_FDT_COMPATIBLE);
    }
    return ret;
}

/* Add the node, or leave the tree as it was. */
static int add_node(void *fdt, int parent, struct cells cells,
                    const struct memexpose_fdt_node *node)
{
    uint32_t strings = fdt_size_dt_strings(fdt);
    char name[sizeof("memexpose@0123456789abcdef")];
    int offset, ret;

    snprintf(name, sizeof(name), "memexpose@%" PRIx64, node->regs_start);
    offset = fdt_add_subnode(fdt, parent, name);
    if (offset < 0) {
        return to_errno(offset);
    }
    ret = set_properties(fdt, offset, cells, node);
    if (ret < 0) {
        fdt_del_node(fdt, offset);
        /* names of properties were appended: without them nothing is left */
        fdt_set_size_dt_strings(fdt, strings);
    }
    return to_errno(ret);
}

static int parse_reg(const void *fdt, int offset, struct cells cells,
                     struct memexpose_fdt_node *node)
{
    int length;
    const fdt32_t *reg = fdt_getprop(fdt, offset, "reg", &length);

    if (!reg || (size_t)length != REG_ENTRIES * sizeof(*reg) *
                                  (size_t)(cells.address + cells.size)) {
        return -EINVAL;
    }
    reg = get_number(reg, &node->regs_start, cells.address);
    reg = get_number(reg, &node->regs_size, cells.size);
    reg = get_number(reg, &node->window_start, cells.address);
    get_number(reg, &node->window_size, cells.size);
    return 0;
}

static int parse_interrupts(const void *fdt, int offset,
                            struct memexpose_fdt_node *node)
{
    int length;
    const fdt32_t *interrupt = fdt_getprop(fdt, offset, "interrupts",
                                           &length);
    unsigned i;

    if (!interrupt || length == 0 || (size_t)length % sizeof(*interrupt) ||
        (size_t)length > sizeof(node->interrupt)) {
        return -EINVAL;
    }
    node->interrupt_cells = (unsigned)((size_t)length / sizeof(*interrupt));
    for (i = 0; i < node->interrupt_cells; i++) {
        node->interrupt[i] = fdt32_ld(&interrupt[i]);
    }
    return 0;
}

/* Is there one interrupt, as its parent writes it?  One that cannot be found
 * does not count: it may be added to the tree later. */
static int check_cells(const void *fdt, int parent,
                       const struct memexpose_fdt_node *node)
{
    uint32_t cells;
    int ret = interrupt_cells(fdt, parent, node->interrupt_parent, &cells);

    return ret == 0 && cells != node->interrupt_cells ? -EINVAL : 0;
}

/* The tree is sound. */
static int parse_node(const void *fdt, int offset,
                      struct memexpose_fdt_node *node)
{
    struct cells cells;
    int parent = fdt_parent_offset(fdt, offset);
    int ret;

    memset(node, 0, sizeof(*node));
    if (parent < 0) {
        return -EINVAL;
    }
    ret = get_cells(fdt, parent, &cells);
    if (ret == 0) {
        ret = parse_reg(fdt, offset, cells, node);
    }
    if (ret == 0) {
        ret = get_cell(fdt, offset, "interrupt-parent",
                       &node->interrupt_parent);
    }
    if (ret >= 0) {
        ret = parse_interrupts(fdt, offset, node);
    }
    return ret < 0 ? ret : check_cells(fdt, parent, node);
}

/* Does a child of @parent have its registers at @regs_start already? */
static bool is_there(const void *fdt, int parent, uint64_t regs_start)
{
    struct memexpose_fdt_node node;
    int offset;

    fdt_for_each_subnode(offset, fdt, parent) {
        if (fdt_node_check_compatible(fdt, offset,
                                      MEMEXPOSE_FDT_COMPATIBLE) == 0 &&
            parse_node(fdt, offset, &node) == 0 &&
            node.regs_start == regs_start) {
            return true;
        }
    }
    return false;
}

int memexpose_fdt_add(void *fdt, const char *parent,
                      const struct memexpose_fdt_node *node)
{
    struct cells cells;
    int above, ret;

    ret = check_tree(fdt);
    if (ret < 0) {
        return ret;
    }
    above = fdt_path_offset(fdt, parent);
    if (above < 0) {
        return to_errno(above);
    }
    ret = get_cells(fdt, above, &cells);
    if (ret < 0) {
        return ret;
    }
    if (!range_fits(node->regs_start, node->regs_size, cells) ||
        !range_fits(node->window_start, node->window_size, cells)) {
        return -EINVAL;
    }
    ret = check_interrupt(fdt, above, node);
    if (ret < 0) {
        return ret;
    }
    if (is_there(fdt, above, node->regs_start)) {
        return -EEXIST;
    }
    return add_node(fdt, above, cells, node);
}

int memexpose_fdt_find(const void *fdt, int offset)
{
    int ret = check_tree(fdt);

    return ret < 0 ? ret :
           to_errno(fdt_node_offset_by_compatible(fdt, offset,
                                                  MEMEXPOSE_FDT_COMPATIBLE));
}

int memexpose_fdt_parse(const void *fdt, int offset,
                        struct memexpose_fdt_node *node)
{
    int ret = check_tree(fdt);

    return ret < 0 ? ret : parse_node(fdt, offset, node);
}
