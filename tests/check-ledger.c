/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The exporter's ledger (protocol section 4) against a model that notes for
 * each object and each page whether it was shared: an entry is a run of pages
 * with nothing shared before and behind it.
 */
#include <errno.h>
#include <string.h>

#include "harness.h"
#include "ledger.h"
#include "random.h"

#define TOP UINT64_MAX
#define HALF 0x8000000000000000u

enum { PAGE = 0x1000, PAGES = 48, PLACES = 3, OBJECTS = 4, STEPS = 8000 };

/* The first address of each place; the last place ends at 2^64. */
static const uint64_t places[PLACES] = {
    0, HALF - 20 * PAGE, 0 - (uint64_t)PAGES * PAGE
};

/* What tells entries apart; the last two differ in the place only. */
static const struct {
    uint64_t device, inode, shift;
} objects[OBJECTS] = {
    { 8, 1, 0 }, { 7, 2, 0 }, { 7, 1, 0 }, { 7, 1, PAGE }
};

struct model {
    bool shared[OBJECTS][PLACES][PAGES];
};

static struct mx_ledger_entry make(unsigned object, uint64_t start,
                                   uint64_t size)
{
    struct mx_ledger_entry entry = {
        .start = start,
        .size = size,
        .device = objects[object].device,
        .inode = objects[object].inode,
        .offset = start + objects[object].shift
    };

    return entry;
}

static unsigned object_of(const struct mx_ledger_entry *entry)
{
    for (unsigned i = 0; i < OBJECTS; i++) {
        if (entry->device == objects[i].device &&
            entry->inode == objects[i].inode &&
            entry->offset == entry->start + objects[i].shift) {
            return i;
        }
    }
    ck_abort_msg("an entry of no object");
    return 0;
}

/*
 * The length of the run that begins at this page of this place, 0 if none
 * does.
 */
static unsigned run_at(const bool *shared, unsigned page)
{
    unsigned length = 0;

    if (page > 0 && shared[page - 1]) {
        return 0;
    }
    while (page + length < PAGES && shared[page + length]) {
        length++;
    }
    return length;
}

static unsigned count_runs(const struct model *model)
{
    unsigned runs = 0;

    for (unsigned object = 0; object < OBJECTS; object++) {
        for (unsigned place = 0; place < PLACES; place++) {
            for (unsigned page = 0; page < PAGES; page++) {
                runs += run_at(model->shared[object][place], page) != 0;
            }
        }
    }
    return runs;
}

/* Is @entry one of the model's runs?  If so its pages are returned. */
static bool *find_run(struct model *model, const struct mx_ledger_entry *entry)
{
    unsigned object = object_of(entry);

    for (unsigned place = 0; place < PLACES; place++) {
        uint64_t page = (entry->start - places[place]) / PAGE;

        if (entry->start >= places[place] && page < PAGES &&
            entry->start % PAGE == 0) {
            bool *shared = model->shared[object][place];
            unsigned length = run_at(shared, (unsigned)page);

            return length > 0 && entry->size == (uint64_t)length * PAGE ?
                   &shared[page] : NULL;
        }
    }
    return NULL;
}

/* In ascending order through a tree. */
struct walk {
    struct model *model;        /* or NULL: only the tree is looked at */
    size_t count;
    uint64_t start;             /* of the entry before */
};

static uint32_t height(const struct mx_ledger *ledger, uint32_t node)
{
    return node != 0 ? ledger->nodes[node].height : 0;
}

/* Returns the highest address below @node. */
static uint64_t compare_below(const struct mx_ledger *ledger, uint32_t node,
                              struct walk *walk)
{
    const struct mx_ledger_node *at = &ledger->nodes[node];
    uint32_t left = height(ledger, at->left);
    uint32_t right = height(ledger, at->right);
    uint64_t last, below;

    last = at->entry.start + at->entry.size - 1;
    if (at->left != 0) {
        below = compare_below(ledger, at->left, walk);
        last = below > last ? below : last;
    }
    if ((walk->count > 0 && walk->start > at->entry.start) ||
        (walk->model && !find_run(walk->model, &at->entry))) {
        ck_abort_msg("entry %zu is wrong", walk->count);
    }
    walk->start = at->entry.start;
    walk->count++;
    if (at->right != 0) {
        below = compare_below(ledger, at->right, walk);
        last = below > last ? below : last;
    }
    if (at->last != last || at->height != 1 + (left > right ? left : right) ||
        left > right + 1 || right > left + 1) {
        ck_abort_msg("node %" PRIu32 " is wrong", node);
    }
    return last;
}

static void compare(const struct mx_ledger *ledger, struct model *model)
{
    struct walk walk = { .model = model };

    ck_assert_uint_eq(ledger->count, count_runs(model));
    if (ledger->root != 0) {
        compare_below(ledger, ledger->root, &walk);
    }
    ck_assert_uint_eq(walk.count, ledger->count);
}

/* Are any pages of @place from @from up to @to shared? */
static bool any_shared(const struct model *model, unsigned place,
                       unsigned from, unsigned to)
{
    for (unsigned object = 0; object < OBJECTS; object++) {
        for (unsigned page = from; page < to; page++) {
            if (model->shared[object][place][page]) {
                return true;
            }
        }
    }
    return false;
}

/* Invalidate: take until there is none, each a whole run that is met. */
static unsigned take_all(struct mx_ledger *ledger, struct model *model,
                         unsigned place, unsigned from, unsigned to)
{
    uint64_t start = places[place] + (uint64_t)from * PAGE;
    uint64_t size = (uint64_t)(to - from) * PAGE;
    struct mx_ledger_entry entry;
    unsigned taken = 0;

    ck_assert_int_eq(mx_ledger_meets(ledger, start, size),
                     any_shared(model, place, from, to));
    while (mx_ledger_take(ledger, start, size, &entry)) {
        bool *run = find_run(model, &entry);

        ck_assert_ptr_nonnull(run);
        ck_assert(entry.start < places[place] + (uint64_t)to * PAGE ||
                  places[place] + (uint64_t)to * PAGE == 0);
        ck_assert(entry.start + entry.size - 1 >= start);
        memset(run, false, entry.size / PAGE * sizeof(*run));
        taken++;
    }
    ck_assert(!mx_ledger_meets(ledger, start, size));
    ck_assert(!any_shared(model, place, from, to));
    return taken;
}

START_TEST(test_random)
{
    static struct model model;
    struct random_source source;
    struct mx_ledger ledger;
    unsigned taken = 0;

    random_start(&source, "ledger");
    mx_ledger_init(&ledger);
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned object = (unsigned)random_below(&source, OBJECTS);
        unsigned place = (unsigned)random_below(&source, PLACES);
        unsigned from = (unsigned)random_below(&source, PAGES);
        unsigned to = from + 1 + (unsigned)random_below(&source, 4);
        struct mx_ledger_entry entry;

        to = to < PAGES ? to : PAGES;
        if (random_below(&source, 3) == 0) {
            taken += take_all(&ledger, &model, place, from, to);
        } else {
            entry = make(object, places[place] + (uint64_t)from * PAGE,
                         (uint64_t)(to - from) * PAGE);
            ck_assert_int_eq(mx_ledger_enter(&ledger, &entry), 0);
            memset(&model.shared[object][place][from], true,
                   (to - from) * sizeof(bool));
        }
        compare(&ledger, &model);
    }
    ck_assert_uint_gt(taken, 100);
    mx_ledger_clear(&ledger);
    ck_assert_uint_eq(ledger.count, 0);
}
END_TEST

static void enter(struct mx_ledger *ledger, unsigned object, uint64_t start,
                  uint64_t size)
{
    struct mx_ledger_entry entry = make(object, start, size);

    ck_assert_int_eq(mx_ledger_enter(ledger, &entry), 0);
}

/* The ledger has exactly one entry, of object 2, and loses it. */
static void expect_only(struct mx_ledger *ledger, uint64_t start,
                        uint64_t size)
{
    struct mx_ledger_entry entry;

    ck_assert_uint_eq(ledger->count, 1);
    ck_assert(mx_ledger_take(ledger, start, 1, &entry));
    ck_assert_uint_eq(entry.start, start);
    ck_assert_uint_eq(entry.size, size);
    ck_assert_uint_eq(entry.offset, start);
    ck_assert_uint_eq(entry.device, 7);
    ck_assert_uint_eq(entry.inode, 1);
    ck_assert_uint_eq(ledger->count, 0);
}

START_TEST(test_merge)
{
    struct mx_ledger ledger;

    mx_ledger_init(&ledger);
    enter(&ledger, 2, 0x1000, 0x1000);  /* equal */
    enter(&ledger, 2, 0x1000, 0x1000);
    expect_only(&ledger, 0x1000, 0x1000);
    enter(&ledger, 2, 0x1000, 0x3000);  /* inside */
    enter(&ledger, 2, 0x2000, 0x1000);
    expect_only(&ledger, 0x1000, 0x3000);
    enter(&ledger, 2, 0x2000, 0x1000);  /* around */
    enter(&ledger, 2, 0x1000, 0x3000);
    expect_only(&ledger, 0x1000, 0x3000);
    enter(&ledger, 2, 0x1000, 0x2000);  /* across either end */
    enter(&ledger, 2, 0x2000, 0x2000);
    expect_only(&ledger, 0x1000, 0x3000);
    enter(&ledger, 2, 0x2000, 0x2000);
    enter(&ledger, 2, 0x1000, 0x2000);
    expect_only(&ledger, 0x1000, 0x3000);
    enter(&ledger, 2, 0x1000, 0x1000);  /* touching, either way */
    enter(&ledger, 2, 0x2000, 0x1000);
    expect_only(&ledger, 0x1000, 0x2000);
    enter(&ledger, 2, 0x2000, 0x1000);
    enter(&ledger, 2, 0x1000, 0x1000);
    expect_only(&ledger, 0x1000, 0x2000);
    enter(&ledger, 2, 0x1000, 1);       /* one that closes two gaps */
    enter(&ledger, 2, 0x1002, 1);
    enter(&ledger, 2, 0x1004, 1);
    ck_assert_uint_eq(ledger.count, 3);
    enter(&ledger, 2, 0x1001, 3);
    expect_only(&ledger, 0x1000, 5);
    enter(&ledger, 2, 0x1000, 0);       /* nothing */
    ck_assert_uint_eq(ledger.count, 0);
    mx_ledger_clear(&ledger);
}
END_TEST

START_TEST(test_not_merged)
{
    struct mx_ledger ledger;
    struct mx_ledger_entry entry;

    mx_ledger_init(&ledger);
    for (unsigned object = 0; object < OBJECTS; object++) {
        enter(&ledger, object, 0x10000, 0x1000);
    }
    enter(&ledger, 0, 0x11001, 0x1000); /* a gap of one byte */
    ck_assert_uint_eq(ledger.count, OBJECTS + 1);
    ck_assert(!mx_ledger_take(&ledger, 0x11000, 1, &entry));
    ck_assert(!mx_ledger_take(&ledger, 0, 0x10000, &entry));
    ck_assert(!mx_ledger_take(&ledger, 0x10800, 0, &entry));
    for (unsigned object = 0; object < OBJECTS; object++) {
        ck_assert(mx_ledger_take(&ledger, 0xffff, 2, &entry));
        ck_assert_uint_eq(entry.start, 0x10000);
        ck_assert_uint_eq(entry.size, 0x1000);
    }
    ck_assert(!mx_ledger_take(&ledger, 0xffff, 2, &entry));
    ck_assert(mx_ledger_take(&ledger, 0, TOP, &entry));
    ck_assert_uint_eq(entry.start, 0x11001);
    ck_assert(!mx_ledger_take(&ledger, 0, TOP, &entry));
    mx_ledger_clear(&ledger);
}
END_TEST

START_TEST(test_edges)
{
    struct mx_ledger ledger;
    struct mx_ledger_entry entry;

    mx_ledger_init(&ledger);
    enter(&ledger, 2, 0, 0x1000);
    enter(&ledger, 2, 0 - (uint64_t)PAGE, PAGE);
    ck_assert_uint_eq(ledger.count, 2); /* 2^64 and 0 do not touch */
    ck_assert(mx_ledger_take(&ledger, TOP, 1, &entry));
    ck_assert_uint_eq(entry.start, 0 - (uint64_t)PAGE);
    expect_only(&ledger, 0, 0x1000);
    enter(&ledger, 2, TOP, 1);
    enter(&ledger, 2, 1, TOP - 1);
    expect_only(&ledger, 1, TOP);
    /* all of the 2^64 cannot be one entry, but is never lost either */
    enter(&ledger, 2, HALF, HALF);
    enter(&ledger, 2, 0, HALF);
    ck_assert_uint_eq(ledger.count, 2);
    enter(&ledger, 2, 0x1000, 0x1000);
    enter(&ledger, 2, HALF - 0x1000, 0x2000);
    ck_assert(mx_ledger_take(&ledger, 0, 1, &entry));
    ck_assert(mx_ledger_take(&ledger, TOP, 1, &entry));
    while (mx_ledger_take(&ledger, 0, TOP, &entry)) {
    }
    ck_assert_uint_eq(ledger.count, 0);
    mx_ledger_clear(&ledger);
}
END_TEST

/*
 * Enter without an allocation.  Nothing is asserted meanwhile, as that may
 * allocate.
 */
static void enter_without_memory(struct mx_ledger *ledger, uint64_t start,
                                 uint64_t size)
{
    struct mx_ledger_entry entry = make(2, start, size);
    bool asked;
    int result;

    harness_fail_allocation(1);
    result = mx_ledger_enter(ledger, &entry);
    asked = harness_allocation_failed();
    harness_fail_allocation(0);
    ck_assert_int_eq(result, 0);
    ck_assert(!asked);
}

START_TEST(test_steady_allocates_nothing)
{
    struct mx_ledger ledger;
    struct mx_ledger_entry entry;

    mx_ledger_init(&ledger);
    for (uint64_t i = 0; i < 100; i++) {
        enter(&ledger, 2, i * 0x10000, 0x2000);
    }
    for (uint64_t i = 0; i < 100; i++) {
        enter_without_memory(&ledger, i * 0x10000, 0x2000);
        enter_without_memory(&ledger, i * 0x10000 + 0x1000, 0x1000);
    }
    /* what was taken leaves its room */
    ck_assert(mx_ledger_take(&ledger, 0x10000, 1, &entry));
    enter_without_memory(&ledger, 0x10000, 0x2000);
    ck_assert_uint_eq(ledger.count, 100);
    mx_ledger_clear(&ledger);
}
END_TEST

START_TEST(test_no_memory)
{
    struct mx_ledger ledger;
    struct mx_ledger_entry entry = make(2, 0x1000, 0x1000);

    mx_ledger_init(&ledger);
    harness_fail_allocation(1);
    ck_assert_int_eq(mx_ledger_enter(&ledger, &entry), -ENOMEM);
    ck_assert_uint_eq(ledger.count, 0);
    ck_assert_int_eq(mx_ledger_enter(&ledger, &entry), 0);
    for (uint64_t i = 2; ledger.count < ledger.room; i++) {
        enter(&ledger, 2, i * 0x10000, 0x1000);
    }
    entry = make(2, HALF, 0x1000);
    harness_fail_allocation(1);
    ck_assert_int_eq(mx_ledger_enter(&ledger, &entry), -ENOMEM);
    ck_assert(harness_allocation_failed());
    ck_assert_uint_eq(ledger.count, ledger.room);
    ck_assert(!mx_ledger_take(&ledger, HALF, 1, &entry));
    /* one that only makes another larger needs none */
    enter_without_memory(&ledger, 0x2000, 0x1000);
    ck_assert(mx_ledger_take(&ledger, 0x2000, 1, &entry));
    ck_assert_uint_eq(entry.start, 0x1000);
    ck_assert_uint_eq(entry.size, 0x2000);
    mx_ledger_clear(&ledger);
}
END_TEST

START_TEST(test_clear)
{
    struct mx_ledger ledger;
    struct mx_ledger_entry entry;

    mx_ledger_init(&ledger);
    mx_ledger_clear(&ledger);
    for (unsigned round = 0; round < 3; round++) {
        enter(&ledger, 2, 0x1000, 0x1000);
        mx_ledger_clear(&ledger);
        ck_assert_uint_eq(ledger.count, 0);
        ck_assert_ptr_null(ledger.nodes);
        ck_assert(!mx_ledger_take(&ledger, 0, TOP, &entry));
    }
}
END_TEST

/* --- many ---------------------------------------------------------------- */

enum { MANY = 20000, STRIDE = 2 * PAGE };

static void compare_tree(const struct mx_ledger *ledger, size_t count)
{
    struct walk walk = { .model = NULL };

    ck_assert_uint_eq(ledger->count, count);
    if (count > 0) {
        compare_below(ledger, ledger->root, &walk);
    }
    ck_assert_uint_eq(walk.count, count);
}

/* Each number below MANY once, in one order or another. */
static uint64_t ordered(unsigned order, uint64_t i)
{
    switch (order) {
    case 0:
        return i;
    case 1:
        return MANY - 1 - i;
    default:
        return i * 7919 % MANY;
    }
}

/* Every fourth lies in the way of all objects. */
static unsigned layers(uint64_t slot)
{
    return slot % 4 == 0 ? OBJECTS : 1;
}

static void enter_layers(struct mx_ledger *ledger, uint64_t slot)
{
    for (unsigned object = 0; object < layers(slot); object++) {
        enter(ledger, object, slot * STRIDE, PAGE);
    }
}

static void take_layers(struct mx_ledger *ledger, uint64_t slot)
{
    struct mx_ledger_entry entry;

    for (unsigned i = 0; i < layers(slot); i++) {
        ck_assert(mx_ledger_take(ledger, slot * STRIDE + 5, 1, &entry));
        if (entry.start != slot * STRIDE || entry.size != PAGE) {
            ck_abort_msg("slot %" PRIu64, slot);
        }
    }
    ck_assert(!mx_ledger_take(ledger, slot * STRIDE, STRIDE, &entry));
}

START_TEST(test_many)
{
    struct mx_ledger ledger;
    size_t all = MANY + MANY / 4 * (OBJECTS - 1), count;

    mx_ledger_init(&ledger);
    for (uint64_t i = 0; i < MANY; i++) {
        enter_layers(&ledger, ordered((unsigned)_i / 3, i));
    }
    compare_tree(&ledger, all);
    for (uint64_t i = 0; i < MANY; i += 100) {
        enter_without_memory(&ledger, i * STRIDE, PAGE);
    }
    ck_assert_uint_eq(ledger.count, all);
    count = all;
    for (uint64_t i = 0; i < MANY; i++) {
        uint64_t slot = ordered((unsigned)_i % 3, i);

        take_layers(&ledger, slot);
        count -= layers(slot);
        if (i % 1000 == 0) {
            compare_tree(&ledger, count);
        }
    }
    compare_tree(&ledger, 0);
    ck_assert_uint_le(ledger.room, 2 * all);
    mx_ledger_clear(&ledger);
}
END_TEST

/* One entry comes that spans thousands of its object, and none of others. */
START_TEST(test_absorbs_many)
{
    struct mx_ledger ledger;
    struct mx_ledger_entry entry;
    size_t others = MANY / 4 * (OBJECTS - 1);

    mx_ledger_init(&ledger);
    for (uint64_t i = 0; i < MANY; i++) {
        enter_layers(&ledger, i);
    }
    enter(&ledger, 0, PAGE, (uint64_t)MANY * STRIDE);
    compare_tree(&ledger, others + 1);
    ck_assert(mx_ledger_take(&ledger, STRIDE + 1, 1, &entry));
    ck_assert_uint_eq(entry.start, 0);
    ck_assert_uint_eq(entry.size, (uint64_t)MANY * STRIDE + PAGE);
    ck_assert_uint_eq(entry.inode, 1);
    compare_tree(&ledger, others);
    mx_ledger_clear(&ledger);
}
END_TEST

START_TEST(test_holds)
{
    struct mx_ledger ledger;
    struct mx_ledger_entry entry = make(2, 0x1000, 0x1000);

    mx_ledger_init(&ledger);
    ck_assert(!mx_ledger_holds(&ledger, &entry));
    enter(&ledger, 2, 0x1000, 0x2000);
    enter(&ledger, 3, 0x4000, 0x1000);
    ck_assert(mx_ledger_holds(&ledger, &entry));
    entry = make(2, 0x1000, 0x2000);
    ck_assert(mx_ledger_holds(&ledger, &entry));
    entry = make(2, 0x1000, 0x2001);
    ck_assert(!mx_ledger_holds(&ledger, &entry));
    entry = make(2, 0xfff, 0x1000);
    ck_assert(!mx_ledger_holds(&ledger, &entry));
    entry = make(3, 0x1000, 0x1000);    /* another place */
    ck_assert(!mx_ledger_holds(&ledger, &entry));
    entry = make(3, 0x4000, 0x1000);
    ck_assert(mx_ledger_holds(&ledger, &entry));
    mx_ledger_clear(&ledger);
}
END_TEST

static Suite *ledger_suite(void)
{
    Suite *suite = suite_create("ledger");
    TCase *simple = harness_tcase("simple");
    TCase *model = harness_tcase("model");

    tcase_add_test(simple, test_merge);
    tcase_add_test(simple, test_not_merged);
    tcase_add_test(simple, test_edges);
    tcase_add_test(simple, test_steady_allocates_nothing);
    tcase_add_test(simple, test_no_memory);
    tcase_add_test(simple, test_clear);
    tcase_add_test(simple, test_holds);
    tcase_add_test(model, test_random);
    tcase_add_loop_test(model, test_many, 0, 9);
    tcase_add_test(model, test_absorbs_many);
    suite_add_tcase(suite, simple);
    suite_add_tcase(suite, model);
    return suite;
}

int main(void)
{
    return harness_main(ledger_suite());
}
