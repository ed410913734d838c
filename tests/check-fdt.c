/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The node in the device tree (protocol section 5): written into trees with
 * any cells and interrupt parents, read back, and refused without a trace.
 */
#include <errno.h>
#include <libfdt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <memexpose/fdt.h>
#include <memexpose/protocol.h>

#include "harness.h"
#include "random.h"

enum { ROOM = 4096 };

static const struct memexpose_fdt_node example = {
    .regs_start = 0x0a000000,
    .regs_size = MEMEXPOSE_REGS_SIZE,
    .window_start = 0x40000000,
    .window_size = 0x10000000,
    .interrupt_parent = 1,
    .interrupt_cells = 3,
    .interrupt = { 0, 17, 4 },
};

/*
 * A tree with an interrupt controller of phandle 1, and a property for each
 * number that is not -1.  It is freed by the caller.
 */
static void *new_tree(int address_cells, int size_cells, int interrupt_cells)
{
    void *fdt = calloc(1, ROOM);
    int controller;

    ck_assert_int_eq(fdt_create_empty_tree(fdt, ROOM), 0);
    controller = fdt_add_subnode(fdt, 0, "intc@8000000");
    ck_assert_int_gt(controller, 0);
    fdt_setprop_u32(fdt, controller, "phandle", 1);
    fdt_setprop_empty(fdt, controller, "interrupt-controller");
    if (interrupt_cells != -1) {
        fdt_setprop_u32(fdt, controller, "#interrupt-cells",
                        (uint32_t)interrupt_cells);
    }
    if (address_cells != -1) {
        fdt_setprop_u32(fdt, 0, "#address-cells", (uint32_t)address_cells);
    }
    if (size_cells != -1) {
        fdt_setprop_u32(fdt, 0, "#size-cells", (uint32_t)size_cells);
    }
    return fdt;
}

/* Add a node to the root or to a child of it. */
static int new_node(void *fdt, const char *parent, const char *name)
{
    int offset = fdt_add_subnode(fdt, fdt_path_offset(fdt, parent), name);

    ck_assert_int_gt(offset, 0);
    return offset;
}

static int find_only(const void *fdt)
{
    int offset = memexpose_fdt_find(fdt, -1);

    ck_assert_int_gt(offset, 0);
    ck_assert_int_eq(memexpose_fdt_find(fdt, offset), -ENOENT);
    return offset;
}

static void expect_node(const void *fdt, int offset,
                        const struct memexpose_fdt_node *expected)
{
    struct memexpose_fdt_node node;

    memset(&node, 0x55, sizeof(node));
    ck_assert_int_eq(memexpose_fdt_parse(fdt, offset, &node), 0);
    ck_assert_uint_eq(node.regs_start, expected->regs_start);
    ck_assert_uint_eq(node.regs_size, expected->regs_size);
    ck_assert_uint_eq(node.window_start, expected->window_start);
    ck_assert_uint_eq(node.window_size, expected->window_size);
    ck_assert_uint_eq(node.interrupt_parent, expected->interrupt_parent);
    ck_assert_uint_eq(node.interrupt_cells, expected->interrupt_cells);
    ck_assert_mem_eq(node.interrupt, expected->interrupt,
                     expected->interrupt_cells * sizeof(uint32_t));
}

static void expect_cells(const void *fdt, int offset, const char *name,
                         const uint32_t *cells, int count)
{
    int length, i;
    const fdt32_t *value = fdt_getprop(fdt, offset, name, &length);

    ck_assert_ptr_nonnull(value);
    ck_assert_int_eq(length, count * 4);
    for (i = 0; i < count; i++) {
        ck_assert_uint_eq(fdt32_to_cpu(value[i]), cells[i]);
    }
}

static const struct {
    int address, size, count;
    uint32_t reg[8];
} reg_forms[] = {
    { 1, 1, 4, { 0x0a000000, 0x1000, 0x40000000, 0x10000000 } },
    { 1, 2, 6, { 0x0a000000, 0, 0x1000, 0x40000000, 0, 0x10000000 } },
    { 2, 1, 6, { 0, 0x0a000000, 0x1000, 0, 0x40000000, 0x10000000 } },
    { 2, 2, 8, { 0, 0x0a000000, 0, 0x1000, 0, 0x40000000, 0, 0x10000000 } },
    { -1, -1, 6, { 0, 0x0a000000, 0x1000, 0, 0x40000000, 0x10000000 } }
};

START_TEST(the_node_is_written_in_the_cells_of_its_parent)
{
    static const uint32_t one = 1, interrupt[] = { 0, 17, 4 };
    void *fdt = new_tree(reg_forms[_i].address, reg_forms[_i].size, 3);
    int offset;

    ck_assert_int_eq(memexpose_fdt_find(fdt, -1), -ENOENT);
    ck_assert_int_eq(memexpose_fdt_add(fdt, "/", &example), 0);
    offset = find_only(fdt);
    ck_assert_str_eq(fdt_get_name(fdt, offset, NULL), "memexpose@a000000");
    ck_assert_str_eq(fdt_getprop(fdt, offset, "compatible", NULL),
                     "memexpose-memregion");
    expect_cells(fdt, offset, "reg", reg_forms[_i].reg, reg_forms[_i].count);
    expect_cells(fdt, offset, "interrupt-parent", &one, 1);
    expect_cells(fdt, offset, "interrupts", interrupt, 3);
    expect_node(fdt, offset, &example);
    free(fdt);
}
END_TEST

START_TEST(values_must_fit_the_cells)
{
    uint64_t big = (uint64_t)1 << 32;
    struct {
        uint64_t regs_start, regs_size, window_start, window_size;
        int ret[4];             /* with 1/1, 1/2, 2/1, 2/2 cells */
    } tries[] = {
        { big, 1, 1, 1, { -EINVAL, -EINVAL, 0, 0 } },
        { 1, big, 1, 1, { -EINVAL, 0, -EINVAL, 0 } },
        { 1, 1, big, 1, { -EINVAL, -EINVAL, 0, 0 } },
        { 1, 1, 1, big, { -EINVAL, 0, -EINVAL, 0 } },
        { big - 1, big - 1, big - 1, big - 1, { 0, 0, 0, 0 } },
        { 0, 1, UINT64_MAX, 1, { -EINVAL, -EINVAL, 0, 0 } },
        { 0, 1, UINT64_MAX, 2, { -EINVAL, -EINVAL, -EINVAL, -EINVAL } },
        { 2, UINT64_MAX, 0, 1, { -EINVAL, -EINVAL, -EINVAL, -EINVAL } },
        { 1, 0, 1, 1, { -EINVAL, -EINVAL, -EINVAL, -EINVAL } },
        { 1, 1, 1, 0, { -EINVAL, -EINVAL, -EINVAL, -EINVAL } },
        { big * 0x1234567, 1, 0, UINT64_MAX, { -EINVAL, -EINVAL, -EINVAL, 0 } }
    };
    struct memexpose_fdt_node node = example;
    unsigned t, form;

    for (t = 0; t < sizeof(tries) / sizeof(tries[0]); t++) {
        node.regs_start = tries[t].regs_start;
        node.regs_size = tries[t].regs_size;
        node.window_start = tries[t].window_start;
        node.window_size = tries[t].window_size;
        for (form = 0; form < 4; form++) {
            void *fdt = new_tree(1 + (int)form / 2, 1 + (int)form % 2, 3);

            ck_assert_int_eq(memexpose_fdt_add(fdt, "/", &node),
                             tries[t].ret[form]);
            if (tries[t].ret[form] == 0) {
                expect_node(fdt, find_only(fdt), &node);
            } else {
                ck_assert_int_eq(memexpose_fdt_find(fdt, -1), -ENOENT);
            }
            free(fdt);
        }
    }
}
END_TEST

START_TEST(cells_that_cannot_be)
{
    static const int cells[][2] = {
        { 0, 1 }, { 3, 1 }, { 4, 1 }, { 5, 1 }, { 1, 0 }, { 2, 3 }, { 2, 4 },
        { 0x7fffffff, 1 }, { 1, 0x7fffffff }
    };
    unsigned i;
    void *fdt;

    for (i = 0; i < sizeof(cells) / sizeof(cells[0]); i++) {
        fdt = new_tree(cells[i][0], cells[i][1], 3);
        ck_assert_int_eq(memexpose_fdt_add(fdt, "/", &example), -EINVAL);
        free(fdt);
    }
    fdt = new_tree(1, 1, 3);
    fdt_setprop_u64(fdt, 0, "#address-cells", 1);
    ck_assert_int_eq(memexpose_fdt_add(fdt, "/", &example), -EINVAL);
    free(fdt);
}
END_TEST

START_TEST(the_interrupt_must_suit_its_parent)
{
    static const struct {
        int has;
        unsigned gives;
        int ret;
    } tries[] = {
        { 3, 3, 0 }, { 1, 1, 0 }, { 8, 8, 0 }, { 3, 2, -EINVAL },
        { 2, 3, -EINVAL }, { 0, 0, -EINVAL }, { 9, 9, -EINVAL },
        { 3, 0, -EINVAL }, { 3, UINT32_MAX, -EINVAL }, { -1, 3, -ENOENT }
    };
    struct memexpose_fdt_node node = example;
    unsigned i;
    void *fdt;

    for (i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
        fdt = new_tree(2, 2, tries[i].has);
        node.interrupt_cells = tries[i].gives;
        node.interrupt[7] = 0xfedcba98;
        ck_assert_int_eq(memexpose_fdt_add(fdt, "/", &node), tries[i].ret);
        if (tries[i].ret == 0) {
            expect_node(fdt, find_only(fdt), &node);
        }
        free(fdt);
    }
    node = example;
    fdt = new_tree(2, 2, 3);
    node.interrupt_parent = 2;
    ck_assert_int_eq(memexpose_fdt_add(fdt, "/", &node), -ENOENT);
    node.interrupt_parent = UINT32_MAX;
    ck_assert_int_eq(memexpose_fdt_add(fdt, "/", &node), -ENOENT);
    fdt_setprop_u64(fdt, fdt_path_offset(fdt, "/intc"), "#interrupt-cells", 3);
    node.interrupt_parent = 1;
    ck_assert_int_eq(memexpose_fdt_add(fdt, "/", &node), -EINVAL);
    free(fdt);
}
END_TEST

START_TEST(the_interrupt_parent_is_inherited)
{
    struct memexpose_fdt_node node = example;
    void *fdt = new_tree(2, 2, 3);
    int bus = new_node(fdt, "/", "bus");

    node.interrupt_parent = 0;
    ck_assert_int_eq(memexpose_fdt_add(fdt, "/bus", &node), -ENOENT);
    fdt_setprop_u32(fdt, 0, "interrupt-parent", 9);
    ck_assert_int_eq(memexpose_fdt_add(fdt, "/bus", &node), -ENOENT);
    fdt_setprop_u32(fdt, 0, "interrupt-parent", 1);
    ck_assert_int_eq(memexpose_fdt_add(fdt, "/bus", &node), 0);
    ck_assert_ptr_null(fdt_getprop(fdt, find_only(fdt), "interrupt-parent",
                                   NULL));
    expect_node(fdt, find_only(fdt), &node);

    /* a bus that translates interrupts is their parent itself */
    bus = fdt_path_offset(fdt, "/bus");
    fdt_setprop_u32(fdt, bus, "#interrupt-cells", 2);
    node.regs_start++;
    ck_assert_int_eq(memexpose_fdt_add(fdt, "/bus", &node), -EINVAL);
    node.interrupt_cells = 2;
    ck_assert_int_eq(memexpose_fdt_add(fdt, "/bus", &node), 0);
    fdt_delprop(fdt, fdt_path_offset(fdt, "/bus"), "#interrupt-cells");

    /* a bus that is its own interrupt parent, without being one */
    bus = fdt_path_offset(fdt, "/bus");
    fdt_setprop_u32(fdt, bus, "phandle", 7);
    fdt_setprop_u32(fdt, bus, "interrupt-parent", 7);
    node.regs_start++;
    ck_assert_int_eq(memexpose_fdt_add(fdt, "/bus", &node), -ENOENT);
    free(fdt);
}
END_TEST

START_TEST(a_node_comes_below_its_parent_once)
{
    struct memexpose_fdt_node node = example;
    void *fdt = new_tree(2, 2, 3);
    int offset, again;

    fdt_setprop_u32(fdt, new_node(fdt, "/", "bus@0"), "#address-cells", 1);
    ck_assert_int_eq(memexpose_fdt_add(fdt, "/none", &node), -ENOENT);
    ck_assert_int_eq(memexpose_fdt_add(fdt, "/bus/none", &node), -ENOENT);
    ck_assert_int_eq(memexpose_fdt_add(fdt, "", &node), -ENOENT);
    ck_assert_int_eq(memexpose_fdt_add(fdt, "/bus@0", &node), 0);
    ck_assert_int_eq(memexpose_fdt_add(fdt, "/bus", &node), -EEXIST);
    offset = find_only(fdt);
    ck_assert_int_eq(fdt_parent_offset(fdt, offset),
                     fdt_path_offset(fdt, "/bus@0"));
    expect_node(fdt, offset, &node);

    /* by any name; but another bus has addresses of its own */
    ck_assert_int_eq(fdt_set_name(fdt, offset, "sharer@a000000"), 0);
    ck_assert_int_eq(memexpose_fdt_add(fdt, "/bus", &node), -EEXIST);
    fdt_setprop_string(fdt, offset, "compatible", "another");
    ck_assert_int_eq(memexpose_fdt_add(fdt, "/bus", &node), 0);
    node.window_start = (uint64_t)1 << 40;
    ck_assert_int_eq(memexpose_fdt_add(fdt, "/", &node), 0);
    ck_assert_int_eq(memexpose_fdt_add(fdt, "/", &node), -EEXIST);
    offset = memexpose_fdt_find(fdt, -1);
    again = memexpose_fdt_find(fdt, offset);
    ck_assert_int_gt(again, offset);
    ck_assert_int_eq(memexpose_fdt_find(fdt, again), -ENOENT);

    /* something else has the name */
    node.regs_start = 0xb000000;
    new_node(fdt, "/", "memexpose@b000000");
    ck_assert_int_eq(memexpose_fdt_add(fdt, "/", &node), -EEXIST);
    free(fdt);
}
END_TEST

/* The part of a tree that says something. */
static void expect_same_tree(const void *fdt, const void *before)
{
    ck_assert_mem_eq(fdt, before, sizeof(struct fdt_header));
    ck_assert_mem_eq((const char *)fdt + fdt_off_dt_struct(fdt),
                     (const char *)before + fdt_off_dt_struct(fdt),
                     fdt_size_dt_struct(fdt));
    ck_assert_mem_eq((const char *)fdt + fdt_off_dt_strings(fdt),
                     (const char *)before + fdt_off_dt_strings(fdt),
                     fdt_size_dt_strings(fdt));
}

START_TEST(without_room_the_tree_stays_as_it_was)
{
    void *fdt = new_tree(2, 2, 3), *before = calloc(1, ROOM), *room;
    unsigned failed = 0;
    int size, ret = -1;

    ck_assert_int_eq(fdt_pack(fdt), 0);
    for (size = (int)fdt_totalsize(fdt); ret != 0; size++) {
        room = malloc((size_t)size);    /* so that one byte more is seen */
        ck_assert_int_eq(fdt_open_into(fdt, room, size), 0);
        memcpy(before, room, (size_t)size);
        ret = memexpose_fdt_add(room, "/", &example);
        if (ret != 0) {
            ck_assert_int_eq(ret, -ENOSPC);
            expect_same_tree(room, before);
            failed++;
        } else {
            expect_node(room, find_only(room), &example);
        }
        free(room);
    }
    ck_assert_uint_gt(failed, 100);
    ck_assert_int_le(size, (int)fdt_totalsize(fdt) + 512);
    free(fdt);
    free(before);
}
END_TEST

START_TEST(nodes_that_cannot_be_read)
{
    static const char *const names[] = { "reg", "interrupts" };
    static const char zeros[64];
    struct memexpose_fdt_node node;
    void *fdt = new_tree(2, 2, 3);
    int offset, length;
    unsigned i;

    ck_assert_int_eq(memexpose_fdt_add(fdt, "/", &example), 0);
    offset = find_only(fdt);
    for (i = 0; i < 2; i++) {
        for (length = 0; length < 64; length++) {
            fdt_setprop(fdt, offset, names[i], zeros, length);
            ck_assert_int_eq(memexpose_fdt_parse(fdt, offset, &node),
                             length == (i ? 12 : 32) ? 0 : -EINVAL);
        }
        fdt_delprop(fdt, offset, names[i]);
        ck_assert_int_eq(memexpose_fdt_parse(fdt, offset, &node), -EINVAL);
        fdt_setprop(fdt, offset, names[i], zeros, i ? 12 : 32);
    }
    fdt_setprop_u64(fdt, offset, "interrupt-parent", 1);
    ck_assert_int_eq(memexpose_fdt_parse(fdt, offset, &node), -EINVAL);
    fdt_delprop(fdt, offset, "interrupt-parent");
    ck_assert_int_eq(memexpose_fdt_parse(fdt, 0, &node), -EINVAL);
    ck_assert_int_eq(memexpose_fdt_parse(fdt, 1, &node), -EINVAL);
    ck_assert_int_eq(memexpose_fdt_parse(fdt, -1, &node), -EINVAL);
    /* an interrupt parent that nobody knows is not looked at */
    ck_assert_int_eq(memexpose_fdt_parse(fdt, offset, &node), 0);
    free(fdt);
}
END_TEST

static void expect_unsound(void *fdt)
{
    struct memexpose_fdt_node node;

    ck_assert_int_eq(memexpose_fdt_find(fdt, -1), -EBADMSG);
    ck_assert_int_eq(memexpose_fdt_parse(fdt, 0, &node), -EBADMSG);
    ck_assert_int_eq(memexpose_fdt_add(fdt, "/", &example), -EBADMSG);
}

START_TEST(trees_that_are_cut_off)
{
    void *fdt = new_tree(2, 2, 3);
    uint32_t size, whole;

    ck_assert_int_eq(memexpose_fdt_add(fdt, "/", &example), 0);
    fdt_pack(fdt);
    whole = fdt_totalsize(fdt);
    for (size = sizeof(struct fdt_header); size < whole; size++) {
        void *cut = malloc(size);

        memcpy(cut, fdt, size);
        fdt_set_totalsize(cut, size);
        expect_unsound(cut);
        free(cut);
    }
    free(fdt);
}
END_TEST

START_TEST(trees_that_are_damaged)
{
    void *fdt = new_tree(2, 2, 3);
    char *end;

    /* behind everything that would have to be looked at */
    ck_assert_int_eq(memexpose_fdt_add(fdt, "/", &example), 0);
    end = (char *)fdt + fdt_off_dt_struct(fdt) + fdt_size_dt_struct(fdt);
    end[-1] = 0x77;
    expect_unsound(fdt);
    end[-1] = FDT_END;
    find_only(fdt);
    fdt_set_magic(fdt, 0x12345678);
    expect_unsound(fdt);
    free(fdt);
}
END_TEST

/* Reservations without an end: the next blocks look like more of them. */
START_TEST(reservations_that_run_into_other_blocks)
{
    void *fdt = new_tree(2, 2, 3);
    static const char zeros[64];
    struct fdt_reserve_entry *entry;
    uint32_t room;

    /* zeros at its beginning end the list before the strings */
    ck_assert_int_eq(fdt_add_mem_rsv(fdt, 0x1000, 0x1000), 0);
    ck_assert_int_eq(memexpose_fdt_add(fdt, "/", &example), 0);
    ck_assert_int_eq(fdt_setprop(fdt, 0, "zeros", zeros, sizeof(zeros)), 0);
    room = fdt_off_dt_struct(fdt) - fdt_off_mem_rsvmap(fdt);
    ck_assert_uint_eq(room, 2 * sizeof(*entry));
    entry = (struct fdt_reserve_entry *)((char *)fdt +
                                         fdt_off_mem_rsvmap(fdt)) + 1;
    entry->size = cpu_to_fdt64(1);
    ck_assert_int_eq(fdt_check_full(fdt, fdt_totalsize(fdt)), 0);
    ck_assert_int_eq(fdt_num_mem_rsv(fdt), 3);
    expect_unsound(fdt);
    entry->size = 0;
    find_only(fdt);

    /* none, where the last of the strings are and what is free behind them */
    fdt_set_off_mem_rsvmap(fdt, (fdt_off_dt_strings(fdt) +
                                 fdt_size_dt_strings(fdt) - 1) & ~7u);
    ck_assert_int_eq(fdt_num_mem_rsv(fdt), 0);
    expect_unsound(fdt);
    free(fdt);
}
END_TEST

/* Is it one of the errors that the header tells of? */
static bool is_told(int ret)
{
    return ret == 0 || ret == -EINVAL || ret == -ENOENT || ret == -EEXIST ||
           ret == -ENOSPC || ret == -EBADMSG;
}

START_TEST(trees_with_random_bytes)
{
    struct random_source source;
    void *fdt = new_tree(2, 2, 3), *broken;
    struct memexpose_fdt_node node = example;
    unsigned i, sound = 0;

    random_start(&source, "check-fdt");
    ck_assert_int_eq(memexpose_fdt_add(fdt, "/", &example), 0);
    fdt_pack(fdt);
    for (i = 0; i < 20000; i++) {
        uint32_t size = fdt_totalsize(fdt) + 300;
        unsigned changes = 1 + (unsigned)random_below(&source, 8);
        int offset;

        broken = calloc(1, size);
        fdt_open_into(fdt, broken, (int)size);
        while (changes--) {
            size_t at = 8 + random_below(&source, size - 8);

            ((uint8_t *)broken)[at] = (uint8_t)random_next(&source);
        }
        offset = memexpose_fdt_find(broken, -1);
        sound += offset >= 0;
        ck_assert(offset >= 0 || is_told(offset));
        ck_assert(is_told(memexpose_fdt_parse(broken, offset, &node)));
        node = example;
        node.regs_start += random_below(&source, 2);
        ck_assert(is_told(memexpose_fdt_add(broken, "/", &node)));
        free(broken);
    }
    ck_assert_uint_gt(sound, 100);
    ck_assert_uint_lt(sound, 19900);
    free(fdt);
}
END_TEST

/* Trees as people write them, checked by their compiler before and after. */
static const struct {
    const char *parent;
    const char *source;
} sources[] = {
    { "/",
      "/dts-v1/; / { #address-cells = <2>; #size-cells = <2>;"
      " interrupt-parent = <&gic>;"
      " gic: interrupt-controller@8000000 { compatible = \"arm,gic-400\";"
      "  interrupt-controller; #interrupt-cells = <3>;"
      "  #address-cells = <0>; reg = <0 0x8000000 0 0x10000>; }; };" },
    { "/soc",
      "/dts-v1/; / { #address-cells = <1>; #size-cells = <1>;"
      " soc { compatible = \"simple-bus\"; ranges; interrupt-parent = <&pic>;"
      "  #address-cells = <1>; #size-cells = <1>;"
      "  pic: interrupt-controller@8000000 { compatible = \"x,pic\";"
      "   interrupt-controller; #interrupt-cells = <3>;"
      "   #address-cells = <0>; reg = <0x8000000 0x1000>; }; }; };" },
    { "/soc@0/bus@1000000",
      "/dts-v1/; / { #address-cells = <2>; #size-cells = <1>;"
      " interrupt-parent = <&gic>;"
      " gic: interrupt-controller@8000000 { compatible = \"arm,gic-v3\";"
      "  interrupt-controller; #interrupt-cells = <3>;"
      "  #address-cells = <0>; reg = <0 0x8000000 0x10000>; };"
      " soc@0 { compatible = \"simple-bus\"; reg = <0 0 0x40000000>;"
      "  #address-cells = <2>; #size-cells = <2>;"
      "  ranges = <0 0 0 0 0 0x80000000>;"
      "  bus@1000000 { compatible = \"simple-bus\";"
      "   ranges = <0 0 0 0 0x80000000>;"
      "   reg = <0 0x1000000 0 0x40000000>;"
      "   #address-cells = <1>; #size-cells = <2>; }; }; };" }
};

/* Run the compiler over @from; what it says counts as a failure. */
static void compile(const char *options, const char *from, const char *to)
{
    char input[HARNESS_PATH], output[HARNESS_PATH], said[HARNESS_PATH];
    char command[512];
    struct stat status;

    harness_path(input, from);
    harness_path(output, to);
    harness_path(said, "said");
    snprintf(command, sizeof(command), "dtc %s -o '%s' '%s' 2>'%s'", options,
             output, input, said);
    ck_assert_msg(system(command) == 0, "%s", command);
    ck_assert_int_eq(stat(said, &status), 0);
    ck_assert_msg(status.st_size == 0, "%s has something to say", command);
}

static void write_file(const char *name, const void *bytes, size_t size)
{
    char path[HARNESS_PATH];
    FILE *file;

    harness_path(path, name);
    file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, size, file), size);
    ck_assert_int_eq(fclose(file), 0);
}

static size_t read_file(const char *name, void *bytes, size_t room)
{
    char path[HARNESS_PATH];
    FILE *file;
    size_t size;

    harness_path(path, name);
    file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    size = fread(bytes, 1, room, file);
    fclose(file);
    return size;
}

START_TEST(the_compiler_has_nothing_against_it)
{
    struct memexpose_fdt_node node = example;
    char *tree = calloc(1, ROOM), *text = calloc(1, ROOM);

    node.interrupt_parent = 0;
    write_file("before.dts", sources[_i].source, strlen(sources[_i].source));
    compile("-I dts -O dtb", "before.dts", "before.dtb");
    read_file("before.dtb", tree, ROOM);
    ck_assert_int_eq(memexpose_fdt_add(tree, sources[_i].parent, &node),
                     -ENOSPC);
    ck_assert_int_eq(fdt_open_into(tree, tree, ROOM), 0);
    ck_assert_int_eq(memexpose_fdt_add(tree, sources[_i].parent, &node), 0);
    expect_node(tree, find_only(tree), &node);
    write_file("after.dtb", tree, ROOM);
    compile("-I dtb -O dts", "after.dtb", "after.dts");
    ck_assert_uint_lt(read_file("after.dts", text, ROOM - 1), ROOM - 1);
    ck_assert_ptr_nonnull(strstr(text, "memexpose@a000000 {\n"));
    ck_assert_ptr_nonnull(strstr(text, "interrupts = <0x00 0x11 0x04>;"));
    free(tree);
    free(text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fdt");
    TCase *tcase = harness_tcase("node");

    tcase_add_loop_test(tcase, the_node_is_written_in_the_cells_of_its_parent,
                        0, 5);
    tcase_add_test(tcase, values_must_fit_the_cells);
    tcase_add_test(tcase, cells_that_cannot_be);
    tcase_add_test(tcase, the_interrupt_must_suit_its_parent);
    tcase_add_test(tcase, the_interrupt_parent_is_inherited);
    tcase_add_test(tcase, a_node_comes_below_its_parent_once);
    tcase_add_test(tcase, without_room_the_tree_stays_as_it_was);
    tcase_add_test(tcase, nodes_that_cannot_be_read);
    tcase_add_test(tcase, trees_that_are_cut_off);
    tcase_add_test(tcase, trees_that_are_damaged);
    tcase_add_test(tcase, reservations_that_run_into_other_blocks);
    tcase_add_test(tcase, trees_with_random_bytes);
    if (system("dtc --version >/dev/null 2>&1") == 0) {
        tcase_add_loop_test(tcase, the_compiler_has_nothing_against_it, 0, 3);
    } else {
        puts("check-fdt: no dtc here, nothing is compiled");
    }
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
