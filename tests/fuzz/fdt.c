/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Device trees: any bytes as a tree, and a sound tree whose nodes and
 * properties are then changed one by one.
 */
#include <errno.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <memexpose/fdt.h>

#include "fuzz.h"

enum { ROOM = 4096, TREE = 3072, NODES = 64 };

static void check_parsed(const struct memexpose_fdt_node *node)
{
    fuzz_check(node->interrupt_cells >= 1);
    fuzz_check(node->interrupt_cells <= MEMEXPOSE_FDT_INTERRUPT_CELLS);
}

/* Each memexpose node once, in order, and an end. */
static void find_all(const void *fdt)
{
    struct memexpose_fdt_node node;
    int offset = -1, before;

    for (int i = 0; i < NODES; i++) {
        before = offset;
        offset = memexpose_fdt_find(fdt, offset);
        if (offset < 0) {
            fuzz_check(offset == -ENOENT || offset == -EBADMSG ||
                       offset == -EINVAL);
            return;
        }
        fuzz_check(offset > before);
        if (memexpose_fdt_parse(fdt, offset, &node) == 0) {
            check_parsed(&node);
        }
    }
}

static bool same(const struct memexpose_fdt_node *one,
                 const struct memexpose_fdt_node *other)
{
    return one->regs_start == other->regs_start &&
           one->regs_size == other->regs_size &&
           one->window_start == other->window_start &&
           one->window_size == other->window_size &&
           one->interrupt_parent == other->interrupt_parent &&
           one->interrupt_cells == other->interrupt_cells &&
           memcmp(one->interrupt, other->interrupt,
                  one->interrupt_cells * sizeof(one->interrupt[0])) == 0;
}

/* Is the one that was added there? */
static bool is_found(const void *fdt, const struct memexpose_fdt_node *node)
{
    struct memexpose_fdt_node found;
    int offset = memexpose_fdt_find(fdt, -1);

    for (; offset >= 0; offset = memexpose_fdt_find(fdt, offset)) {
        if (memexpose_fdt_parse(fdt, offset, &found) == 0 &&
            same(node, &found)) {
            return true;
        }
    }
    return false;
}

static void add(void *fdt, const char *parent,
                const struct memexpose_fdt_node *node)
{
    uint32_t size = fdt_check_header(fdt) == 0 ? fdt_totalsize(fdt) : 0;
    void *before = malloc(ROOM);
    int ret;

    fuzz_check(before);
    memcpy(before, fdt, size);
    ret = memexpose_fdt_add(fdt, parent, node);
    if (ret == 0) {
        fuzz_check(is_found(fdt, node));
        fuzz_check(memexpose_fdt_add(fdt, parent, node) == -EEXIST);
    } else {
        fuzz_check(ret == -EINVAL || ret == -ENOENT || ret == -EEXIST ||
                   ret == -ENOSPC || ret == -EBADMSG);
    }
    /* with -ENOSPC the tree says what it said */
    if (ret == -ENOSPC) {
        fuzz_check(fdt_size_dt_struct(fdt) == fdt_size_dt_struct(before));
        fuzz_check(fdt_size_dt_strings(fdt) == fdt_size_dt_strings(before));
        fuzz_check(fdt_check_full(fdt, fdt_totalsize(fdt)) == 0);
    }
    free(before);
}

static void take_node(struct fuzz_input *input,
                      struct memexpose_fdt_node *node)
{
    memset(node, 0, sizeof(*node));
    node->regs_start = fuzz_take(input, 8);
    node->regs_size = fuzz_take(input, 8);
    node->window_start = fuzz_take(input, 8);
    node->window_size = fuzz_take(input, 8);
    node->interrupt_parent = (uint32_t)fuzz_take(input, 1);
    node->interrupt_cells = (unsigned)fuzz_take(input, 1) % 10;
    for (unsigned i = 0; i < MEMEXPOSE_FDT_INTERRUPT_CELLS; i++) {
        node->interrupt[i] = (uint32_t)fuzz_take(input, 1);
    }
}

static const char *const paths[] = { "/", "/soc", "/soc/bus", "/intc", "/x",
                                     "", "soc" };
static const char *const properties[] = {
    "#address-cells", "#size-cells", "#interrupt-cells", "interrupt-parent",
    "phandle", "compatible", "reg", "interrupts",
};

static const struct memexpose_fdt_node example = {
    .regs_start = 0x0a000000, .regs_size = 0x1000,
    .window_start = 0x40000000, .window_size = 0x10000000,
    .interrupt_cells = 3, .interrupt = { 0, 17, 4 },
};

/* A machine with a controller and a bus below a bus. */
static void build(void *fdt, int room)
{
    int node;

    fuzz_check(fdt_create_empty_tree(fdt, room) == 0);
    fdt_setprop_u32(fdt, 0, "interrupt-parent", 1);
    node = fdt_add_subnode(fdt, 0, "soc");
    fdt_setprop_u32(fdt, node, "#address-cells", 2);
    fdt_setprop_u32(fdt, node, "#size-cells", 2);
    node = fdt_add_subnode(fdt, node, "bus");
    fdt_setprop_u32(fdt, node, "#address-cells", 1);
    fdt_setprop_u32(fdt, node, "#size-cells", 1);
    node = fdt_add_subnode(fdt, 0, "intc");
    fdt_setprop_u32(fdt, node, "phandle", 1);
    fdt_setprop_u32(fdt, node, "#interrupt-cells", 3);
    fuzz_check(memexpose_fdt_add(fdt, "/soc", &example) == 0);
}

static int any_node(struct fuzz_input *input, const void *fdt)
{
    unsigned which = (unsigned)fuzz_take(input, 1);
    int offset = 0;

    if (which & 0x80) {
        return memexpose_fdt_find(fdt, -1);
    }
    offset = fdt_path_offset(fdt, paths[which % 4]);
    return offset;
}

static void set_property(struct fuzz_input *input, void *fdt)
{
    const char *name = properties[fuzz_take(input, 1) % 8];
    unsigned count = (unsigned)fuzz_take(input, 1) % 40;
    int offset = any_node(input, fdt);
    uint8_t value[40];

    fuzz_take_bytes(input, value, count);
    if (offset >= 0) {
        fdt_setprop(fdt, offset, name, value, (int)count);
    }
}

static void change(struct fuzz_input *input, void *fdt)
{
    struct memexpose_fdt_node node;
    int offset;
    size_t at;

    switch (fuzz_take(input, 1) % 6) {
    case 0:
    case 1:
        set_property(input, fdt);
        break;
    case 2:
        offset = any_node(input, fdt);
        if (offset >= 0) {
            fdt_delprop(fdt, offset, properties[fuzz_take(input, 1) % 8]);
        }
        break;
    case 3:
        offset = any_node(input, fdt);
        if (offset > 0) {
            fdt_del_node(fdt, offset);
        }
        break;
    case 4:
        take_node(input, &node);
        add(fdt, paths[fuzz_take(input, 1) % 7], &node);
        break;
    default:
        at = fuzz_take(input, 2) % TREE;
        /* its size says how much of it may be looked at */
        if (at < 4 || at >= 8) {
            ((uint8_t *)fdt)[at] ^= (uint8_t)fuzz_take(input, 1);
        }
        break;
    }
}

static void changed_tree(struct fuzz_input *input)
{
    int room = 512 + (int)(fuzz_take(input, 1) * 10);
    void *fdt = calloc(1, TREE);

    fuzz_check(fdt && room <= TREE + 8);
    build(fdt, room < TREE ? room : TREE);
    for (int i = 0; i < 32 && input->left > 0; i++) {
        if (fdt_check_header(fdt) != 0 ||
            fdt_check_full(fdt, fdt_totalsize(fdt)) != 0) {
            break;              /* the library is not to be asked to edit it */
        }
        change(input, fdt);
        find_all(fdt);
    }
    free(fdt);
}

/* A tree is as long as it says: that much the caller has to vouch for. */
static void any_tree(struct fuzz_input *input)
{
    struct memexpose_fdt_node node;
    uint64_t parent = fuzz_take(input, 1);
    size_t size = input->left;
    uint8_t *fdt;

    if (size < sizeof(struct fdt_header) || size > TREE) {
        return;
    }
    fdt = calloc(1, size);
    fuzz_check(fdt);
    fuzz_take_bytes(input, fdt, size);
    fdt_set_totalsize(fdt, (uint32_t)size);
    find_all(fdt);
    for (int offset = -8; offset < (int)size + 8; offset += 4) {
        if (memexpose_fdt_parse(fdt, offset, &node) == 0) {
            check_parsed(&node);
        }
    }
    add(fdt, paths[parent % 7], &example);
    free(fdt);
}

int fuzz_fdt(const uint8_t *data, size_t size)
{
    struct fuzz_input input = { data, size };

    fuzz_begin();
    if (fuzz_take(&input, 1) & 1) {
        changed_tree(&input);
    } else {
        any_tree(&input);
    }
    fuzz_end();
    return 0;
}

/* --- seeds ---------------------------------------------------------------- */

void fuzz_seeds_fdt(fuzz_seed_fn *fn, void *opaque)
{
    static const uint8_t edits[] = {
        1, 200,
        0, 2, 4, 3, 0, 0, 0, 3,         /* the controller's #interrupt-cells */
        4, 0, 0, 0, 11, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 80, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0,
        1, 3, 0, 18, 4, 0, 0, 0, 0, 0, 2,
        2, 0x80, 7,                     /* its interrupts go */
        3, 0x80,                        /* it goes itself */
    };
    uint64_t tree[128];         /* aligned, as libfdt wants it */
    uint8_t bytes[2 + sizeof(tree)] = { 0, 0 };

    build(tree, sizeof(tree));
    memcpy(bytes + 2, tree, sizeof(tree));
    fn(opaque, "fdt", "roomy", bytes, sizeof(bytes));
    fuzz_check(fdt_pack(tree) == 0);
    memcpy(bytes + 2, tree, fdt_totalsize(tree));
    fn(opaque, "fdt", "machine", bytes, 2 + fdt_totalsize(tree));
    fn(opaque, "fdt", "edits", edits, sizeof(edits));
}
