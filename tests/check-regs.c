/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Registers, interrupt queue and interrupt line (protocol section 5).  Every
 * access that there can be is compared with a model that knows nothing but a
 * table of the registers and one byte of memory for each of theirs.
 */
#include <string.h>

#include "harness.h"
#include "random.h"
#include "regs.h"

enum { ENABLE, LINK, SPAN_START, SPAN_SIZE, LINK_IRQ, LINK_CHANGED, RX,
       RX_TYPE, RX_DATA, TX, TX_TYPE, TX_DATA, REGISTERS, NO_REGISTER = -1 };

static const struct {
    unsigned offset, size;
} table[REGISTERS] = {
    [ENABLE] = { 0x000, 8 },
    [LINK] = { 0x010, 8 },
    [SPAN_START] = { 0x018, 8 },
    [SPAN_SIZE] = { 0x020, 8 },
    [LINK_IRQ] = { 0x028, 8 },
    [LINK_CHANGED] = { 0x030, 8 },
    [RX] = { 0x400, 8 },
    [RX_TYPE] = { 0x408, 8 },
    [RX_DATA] = { 0x410, 128 },
    [TX] = { 0x800, 8 },
    [TX_TYPE] = { 0x808, 8 },
    [TX_DATA] = { 0x810, 128 }
};

/* The model. */
struct model {
    uint8_t memory[0x1000];     /* what each byte reads without an action */
    bool enabled, held;
    struct mx_interrupt queue[16];
    unsigned queued;
};

/* To which register a byte belongs. */
static int owner(unsigned offset)
{
    for (int i = 0; i < REGISTERS; i++) {
        if (offset >= table[i].offset &&
            offset < table[i].offset + table[i].size) {
            return i;
        }
    }
    return NO_REGISTER;
}

/*
 * The register whose action an access has: it covers the first byte, and every
 * other byte is of the same register.
 */
static int acts_on(unsigned offset, unsigned bytes)
{
    int reg = owner(offset);
    bool first = false;

    for (unsigned i = 0; i < bytes; i++) {
        if (owner(offset + i) != reg) {
            return NO_REGISTER;
        }
        first = first ||
                (reg != NO_REGISTER && offset + i == table[reg].offset);
    }
    return first ? reg : NO_REGISTER;
}

/* Keep 0x000 as it reads: enabled and both links up. */
static void model_update(struct model *model)
{
    bool up = (model->memory[0x010] & 3) == 3;

    model->memory[0x000] = model->enabled && up ? 1 : 0;
}

static uint64_t model_pop(struct model *model)
{
    if (model->held || model->queued == 0) {
        return 0;
    }
    for (unsigned i = 0; i < 8; i++) {
        model->memory[0x408 + i] = (uint8_t)(model->queue[0].type >> (8 * i));
    }
    memcpy(&model->memory[0x410], model->queue[0].data, 128);
    model->queued--;
    memmove(model->queue, model->queue + 1,
            model->queued * sizeof(model->queue[0]));
    return 1;
}

static uint64_t model_read(struct model *model, unsigned offset,
                           unsigned bytes)
{
    int action = acts_on(offset, bytes);
    uint64_t value = 0;

    if (action == RX) {
        return model_pop(model);
    }
    for (unsigned i = bytes; i > 0; i--) {
        value = value << 8 | model->memory[offset + i - 1];
    }
    if (action == LINK_CHANGED) {
        model->memory[0x030] = 0;
    }
    return value;
}

static enum mx_regs_action model_write(struct model *model, unsigned offset,
                                       unsigned bytes, uint64_t value)
{
    for (unsigned i = 0; i < bytes; i++) {
        uint8_t byte = (uint8_t)(value >> (8 * i));
        int reg = owner(offset + i);

        if (reg == TX_TYPE || reg == TX_DATA) {
            model->memory[offset + i] = byte;
        } else if (offset + i == 0x028) {
            model->memory[0x028] = byte & 1;
        }
    }
    switch (acts_on(offset, bytes)) {
    case ENABLE:
        model->enabled = value & 1;
        model_update(model);
        return value & 1 ? MX_REGS_ENABLE : MX_REGS_DISABLE;
    case TX:
        return MX_REGS_SEND;
    default:
        return MX_REGS_NOTHING;
    }
}

/* What varies between the rounds over all accesses. */
struct variant {
    bool enabled, held, link_irq, link_changed;
    unsigned link, queued;
};

static const struct variant variants[] = {
    { .link = 0 },
    { .enabled = true, .link = 7, .queued = 1 },
    { .enabled = true, .link = 1, .queued = 2, .held = true },
    { .link = 3, .link_changed = true },
    { .enabled = true, .link = 2, .link_irq = true, .queued = 16 },
    { .enabled = true, .link = 3, .link_irq = true, .link_changed = true,
      .queued = 3 }
};

enum { VARIANTS = sizeof(variants) / sizeof(variants[0]) };

static void fill(struct random_source *source, uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bytes[i] = (uint8_t)(1 + random_below(source, 255));
    }
}

static void fill_interrupt(struct random_source *source,
                           struct mx_interrupt *interrupt)
{
    fill(source, (uint8_t *)&interrupt->type, 8);
    fill(source, interrupt->data, 128);
}

static void model_word(struct model *model, unsigned offset, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        model->memory[offset + i] = (uint8_t)(value >> (8 * i));
    }
}

/* Registers in which no byte that can be so is 0, and their model. */
static void set_up(struct random_source *source, const struct variant *variant,
                   struct mx_regs *regs, struct model *model)
{
    memset(regs, 0, sizeof(*regs));
    memset(model, 0, sizeof(*model));
    regs->enabled = model->enabled = variant->enabled;
    regs->held = model->held = variant->held;
    regs->link_irq = variant->link_irq;
    regs->link_changed = variant->link_changed;
    fill(source, (uint8_t *)&regs->link, 8);
    regs->link = (regs->link & ~7ull) | variant->link;
    fill(source, (uint8_t *)&regs->span_start, 8);
    fill(source, (uint8_t *)&regs->span_size, 8);
    fill_interrupt(source, &regs->rx);
    fill_interrupt(source, &regs->tx);
    regs->first = (unsigned)random_below(source, 16);
    model->queued = variant->queued;
    for (unsigned i = 0; i < variant->queued; i++) {
        fill_interrupt(source, &model->queue[i]);
        ck_assert(mx_regs_push(regs, model->queue[i].type,
                               model->queue[i].data));
    }
    model_word(model, 0x010, regs->link);
    model_word(model, 0x018, regs->span_start);
    model_word(model, 0x020, regs->span_size);
    model_word(model, 0x028, variant->link_irq);
    model_word(model, 0x030, variant->link_changed);
    model_word(model, 0x408, regs->rx.type);
    memcpy(&model->memory[0x410], regs->rx.data, 128);
    model_word(model, 0x808, regs->tx.type);
    memcpy(&model->memory[0x810], regs->tx.data, 128);
    model_update(model);
}

static bool same_word(const struct model *model, unsigned offset,
                      uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        if (model->memory[offset + i] != (uint8_t)(value >> (8 * i))) {
            return false;
        }
    }
    return true;
}

/* Is the state as the model has it?  Plain C: it is asked very often. */
static bool agrees(const struct mx_regs *regs, const struct model *model)
{
    if (regs->enabled != model->enabled || regs->held != model->held ||
        regs->count != model->queued ||
        !same_word(model, 0x010, regs->link) ||
        !same_word(model, 0x018, regs->span_start) ||
        !same_word(model, 0x020, regs->span_size) ||
        !same_word(model, 0x028, regs->link_irq) ||
        !same_word(model, 0x030, regs->link_changed) ||
        !same_word(model, 0x408, regs->rx.type) ||
        !same_word(model, 0x808, regs->tx.type) ||
        memcmp(&model->memory[0x410], regs->rx.data, 128) != 0 ||
        memcmp(&model->memory[0x810], regs->tx.data, 128) != 0) {
        return false;
    }
    for (unsigned i = 0; i < model->queued; i++) {
        const struct mx_interrupt *queued =
            &regs->queue[(regs->first + i) % 16];

        if (queued->type != model->queue[i].type ||
            memcmp(queued->data, model->queue[i].data, 128) != 0) {
            return false;
        }
    }
    return true;
}

START_TEST(test_every_read)
{
    struct random_source source;
    struct mx_regs start, regs;
    struct model model_start, model;
    unsigned accesses = 0;

    random_start(&source, "every read");
    set_up(&source, &variants[_i], &start, &model_start);
    for (unsigned bytes = 1; bytes <= 8; bytes *= 2) {
        for (unsigned offset = 0; offset + bytes <= 0x1000; offset++) {
            uint64_t value, expected;

            regs = start;
            model = model_start;
            value = mx_regs_read(&regs, offset, bytes);
            expected = model_read(&model, offset, bytes);
            if (value != expected || !agrees(&regs, &model)) {
                ck_abort_msg("read of %u at 0x%03x: 0x%llx, not 0x%llx",
                             bytes, offset, (unsigned long long)value,
                             (unsigned long long)expected);
            }
            accesses++;
        }
    }
    ck_assert_uint_eq(accesses, 4 * 0x1000 - 0 - 1 - 3 - 7);
}
END_TEST

START_TEST(test_every_write)
{
    struct random_source source;
    struct mx_regs start, regs;
    struct model model_start, model;
    unsigned actions = 0;

    random_start(&source, "every write");
    set_up(&source, &variants[_i], &start, &model_start);
    for (unsigned bytes = 1; bytes <= 8; bytes *= 2) {
        for (unsigned offset = 0; offset + bytes <= 0x1000; offset++) {
            uint64_t value = random_next(&source);
            enum mx_regs_action action, expected;

            regs = start;
            model = model_start;
            action = mx_regs_write(&regs, offset, bytes, value);
            expected = model_write(&model, offset, bytes, value);
            if (action != expected || !agrees(&regs, &model)) {
                ck_abort_msg("write of %u at 0x%03x, 0x%llx: %d, not %d",
                             bytes, offset, (unsigned long long)value,
                             (int)action, (int)expected);
            }
            actions += action != MX_REGS_NOTHING;
        }
    }
    ck_assert_uint_eq(actions, 8); /* 0x000 and 0x800, in four sizes */
}
END_TEST

/* The same without a fresh start each time. */
START_TEST(test_random_accesses)
{
    struct random_source source;
    struct mx_regs regs;
    struct model model;

    random_start(&source, "random accesses");
    set_up(&source, &variants[_i], &regs, &model);
    for (unsigned i = 0; i < 30000; i++) {
        unsigned bytes = 1u << random_below(&source, 4);
        unsigned reg = (unsigned)random_below(&source, REGISTERS);
        unsigned offset = table[reg].offset +
                          (unsigned)random_below(&source, 12);
        uint64_t value = random_next(&source);

        if (random_next(&source) & 1) {
            ck_assert_uint_eq(mx_regs_read(&regs, offset, bytes),
                              model_read(&model, offset, bytes));
        } else {
            ck_assert_int_eq(mx_regs_write(&regs, offset, bytes, value),
                             model_write(&model, offset, bytes, value));
        }
        if (i % 64 == 0) {      /* something to pop, something changed */
            struct mx_interrupt *next = &model.queue[model.queued];

            regs.held = model.held = i % 128 == 0;
            if (model.queued < 16) {
                fill_interrupt(&source, next);
                ck_assert(mx_regs_push(&regs, next->type, next->data));
                model.queued++;
            }
            mx_regs_set_link(&regs, regs.link ^ 1);
            model.memory[0x010] ^= 1;
            model.memory[0x030] = 1;
            model_update(&model);
        }
        ck_assert_msg(agrees(&regs, &model), "step %u: %u at 0x%03x", i,
                      bytes, offset);
    }
}
END_TEST

START_TEST(test_valid)
{
    for (unsigned bytes = 0; bytes < 300; bytes++) {
        bool possible = bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8;

        ck_assert_int_eq(mx_regs_valid(0, bytes), possible);
        ck_assert_int_eq(mx_regs_valid(0x1000 - 8, bytes), possible);
        ck_assert_int_eq(mx_regs_valid(0xfff, bytes), bytes == 1);
        ck_assert(!mx_regs_valid(0x1000, bytes));
        ck_assert(!mx_regs_valid(UINT64_MAX, bytes));
        ck_assert(!mx_regs_valid(UINT64_MAX - 7, bytes));
        ck_assert(!mx_regs_valid(0x100000000u, bytes));
    }
    ck_assert(mx_regs_valid(0xffe, 2));
    ck_assert(mx_regs_valid(0xffc, 4));
    ck_assert(!mx_regs_valid(0xffd, 4));
    ck_assert(mx_regs_valid(0xff8, 8));
    ck_assert(!mx_regs_valid(0xff9, 8));
}
END_TEST

/* An access straddling into a register with an action has none. */
START_TEST(test_straddling)
{
    static const struct mx_interrupt one = { .type = 1 };
    struct mx_regs regs = { .link_changed = true };

    ck_assert(mx_regs_push(&regs, one.type, one.data));
    ck_assert_uint_eq(mx_regs_read(&regs, 0x3ff, 2), 0);
    ck_assert_uint_eq(mx_regs_read(&regs, 0x3fc, 8), 0);
    ck_assert_uint_eq(mx_regs_read(&regs, 0x404, 8), 0);
    ck_assert_uint_eq(regs.count, 1);
    ck_assert_uint_eq(mx_regs_read(&regs, 0x02f, 2), 0x100);
    ck_assert_uint_eq(mx_regs_read(&regs, 0x02c, 8), 1ull << 32);
    ck_assert(regs.link_changed);
    ck_assert_int_eq(mx_regs_write(&regs, 0x7ff, 2, ~0ull), MX_REGS_NOTHING);
    ck_assert_int_eq(mx_regs_write(&regs, 0x7fc, 8, ~0ull), MX_REGS_NOTHING);
    ck_assert_int_eq(mx_regs_write(&regs, 0x004, 8, ~0ull), MX_REGS_NOTHING);
    ck_assert_int_eq(mx_regs_write(&regs, 0x804, 8, ~0ull), MX_REGS_NOTHING);
    ck_assert_uint_eq(regs.tx.type, 0xffffffffu);
    ck_assert_int_eq(mx_regs_write(&regs, 0x80f, 2, 0x2211), MX_REGS_NOTHING);
    ck_assert_uint_eq(regs.tx.type, 0x11000000ffffffffu);
    ck_assert_uint_eq(regs.tx.data[0], 0x22);
    ck_assert_uint_eq(mx_regs_read(&regs, 0x80e, 4), 0x00221100u);
    ck_assert_int_eq(mx_regs_write(&regs, 0x021, 8, ~0ull), MX_REGS_NOTHING);
    ck_assert(regs.link_irq);
    ck_assert_uint_eq(regs.span_size, 0);
}
END_TEST

START_TEST(test_halves)
{
    struct mx_interrupt one = { .type = 0x1122334455667788u };
    struct mx_regs regs = { .link = 3, .link_changed = true };

    one.data[127] = 0x7f;
    ck_assert(mx_regs_push(&regs, one.type, one.data));
    ck_assert_int_eq(mx_regs_write(&regs, 0x004, 4, 1), MX_REGS_NOTHING);
    ck_assert(!regs.enabled);
    ck_assert_int_eq(mx_regs_write(&regs, 0x000, 4, 1), MX_REGS_ENABLE);
    ck_assert_uint_eq(mx_regs_read(&regs, 0x004, 4), 0);
    ck_assert_uint_eq(mx_regs_read(&regs, 0x000, 4), 1);
    ck_assert_uint_eq(mx_regs_read(&regs, 0x404, 4), 0);
    ck_assert_uint_eq(regs.count, 1);
    ck_assert_uint_eq(mx_regs_read(&regs, 0x400, 4), 1);
    ck_assert_uint_eq(regs.count, 0);
    ck_assert_uint_eq(mx_regs_read(&regs, 0x408, 4), 0x55667788u);
    ck_assert_uint_eq(mx_regs_read(&regs, 0x40c, 4), 0x11223344u);
    ck_assert_uint_eq(mx_regs_read(&regs, 0x48f, 1), 0x7f);
    ck_assert_uint_eq(mx_regs_read(&regs, 0x490, 1), 0);
    ck_assert_uint_eq(mx_regs_read(&regs, 0x034, 4), 0);
    ck_assert(regs.link_changed);
    ck_assert_uint_eq(mx_regs_read(&regs, 0x030, 1), 1);
    ck_assert(!regs.link_changed);
    ck_assert_uint_eq(mx_regs_read(&regs, 0x030, 8), 0);
    ck_assert_int_eq(mx_regs_write(&regs, 0x804, 4, 1), MX_REGS_NOTHING);
    ck_assert_int_eq(mx_regs_write(&regs, 0x800, 4, 0), MX_REGS_SEND);
    ck_assert_int_eq(mx_regs_write(&regs, 0x800, 1, 7), MX_REGS_SEND);
    ck_assert_uint_eq(mx_regs_read(&regs, 0x800, 8), 0);
    /* bit 0 alone counts */
    ck_assert_int_eq(mx_regs_write(&regs, 0x000, 8, ~1ull), MX_REGS_DISABLE);
    ck_assert_int_eq(mx_regs_write(&regs, 0x000, 8, ~0ull), MX_REGS_ENABLE);
    ck_assert_int_eq(mx_regs_write(&regs, 0x028, 8, ~1ull), MX_REGS_NOTHING);
    ck_assert_uint_eq(mx_regs_read(&regs, 0x028, 8), 0);
    ck_assert_int_eq(mx_regs_write(&regs, 0x028, 8, ~0ull), MX_REGS_NOTHING);
    ck_assert_uint_eq(mx_regs_read(&regs, 0x028, 8), 1);
}
END_TEST

START_TEST(test_enable_reads)
{
    for (unsigned link = 0; link < 8; link++) {
        struct mx_regs regs = { .link = link | 0x500000000u };

        ck_assert_uint_eq(mx_regs_read(&regs, 0, 8), 0);
        ck_assert_int_eq(mx_regs_write(&regs, 0, 8, 1), MX_REGS_ENABLE);
        ck_assert_uint_eq(mx_regs_read(&regs, 0, 8), (link & 3) == 3);
        ck_assert_uint_eq(mx_regs_read(&regs, 0x010, 8), regs.link);
        /* every write counts, not only a change */
        ck_assert_int_eq(mx_regs_write(&regs, 0, 8, 1), MX_REGS_ENABLE);
        ck_assert_int_eq(mx_regs_write(&regs, 0, 8, 0), MX_REGS_DISABLE);
        ck_assert_uint_eq(mx_regs_read(&regs, 0, 8), 0);
        ck_assert_int_eq(mx_regs_write(&regs, 0, 8, 0), MX_REGS_DISABLE);
    }
}
END_TEST

/* The @number-th of a series of interrupts. */
static struct mx_interrupt numbered(unsigned number)
{
    struct mx_interrupt interrupt = { .type = 0xabc0000000000000u + number };

    for (unsigned i = 0; i < 128; i++) {
        interrupt.data[i] = (uint8_t)(number * 7 + i);
    }
    return interrupt;
}

static bool push_numbered(struct mx_regs *regs, unsigned number)
{
    struct mx_interrupt interrupt = numbered(number);

    return mx_regs_push(regs, interrupt.type, interrupt.data);
}

static void expect_rx(struct mx_regs *regs, unsigned number)
{
    struct mx_interrupt expected = numbered(number);

    ck_assert_uint_eq(mx_regs_read(regs, 0x408, 8), expected.type);
    for (unsigned i = 0; i < 128; i++) {
        ck_assert_uint_eq(mx_regs_read(regs, 0x410 + i, 1), expected.data[i]);
    }
}

START_TEST(test_overflow)
{
    struct mx_regs regs = { 0 };
    unsigned sent = 0, kept = 0;

    /* begin anywhere in the ring */
    for (int i = 0; i < _i; i++) {
        ck_assert(push_numbered(&regs, 100));
        ck_assert_uint_eq(mx_regs_read(&regs, 0x400, 8), 1);
    }
    for (; sent < 26; sent++) {
        kept += push_numbered(&regs, sent);
    }
    ck_assert_uint_eq(kept, 16);
    for (unsigned i = 0; i < 16; i++) { /* the first 16, in order */
        ck_assert_uint_eq(mx_regs_read(&regs, 0x400, 8), 1);
        expect_rx(&regs, i);
    }
    for (unsigned i = 0; i < 3; i++) {  /* an empty queue changes nothing */
        ck_assert_uint_eq(mx_regs_read(&regs, 0x400, 8), 0);
        expect_rx(&regs, 15);
    }
    ck_assert(push_numbered(&regs, 77));
    expect_rx(&regs, 15);
    ck_assert_uint_eq(mx_regs_read(&regs, 0x400, 8), 1);
    expect_rx(&regs, 77);
}
END_TEST

START_TEST(test_pop)
{
    struct mx_interrupt interrupt, expected = numbered(1);
    struct mx_regs regs = { 0 };

    ck_assert(!mx_regs_pop(&regs, &interrupt));
    push_numbered(&regs, 0);
    ck_assert_uint_eq(mx_regs_read(&regs, 0x400, 8), 1);
    push_numbered(&regs, 1);
    push_numbered(&regs, 2);
    ck_assert(mx_regs_pop(&regs, &interrupt));
    ck_assert_uint_eq(interrupt.type, expected.type);
    ck_assert_mem_eq(interrupt.data, expected.data, 128);
    expect_rx(&regs, 0);        /* the registers know nothing of it */
    regs.held = true;
    ck_assert(!mx_regs_pop(&regs, &interrupt));
    regs.held = false;
    ck_assert_uint_eq(mx_regs_read(&regs, 0x400, 8), 1);
    expect_rx(&regs, 2);
}
END_TEST

static void expect_line(struct mx_regs *regs, bool level, bool rise)
{
    bool rose = !rise;

    ck_assert_int_eq(mx_regs_line(regs, &rose), level);
    ck_assert_int_eq(rose, rise);
}

START_TEST(test_line_of_queue)
{
    struct mx_regs regs = { 0 };

    expect_line(&regs, false, false);
    push_numbered(&regs, 0);
    expect_line(&regs, true, true);
    expect_line(&regs, true, false);
    push_numbered(&regs, 1);    /* it is up already */
    expect_line(&regs, true, false);
    mx_regs_read(&regs, 0x400, 8);
    expect_line(&regs, true, false);
    mx_regs_read(&regs, 0x400, 8);
    expect_line(&regs, false, false);
    mx_regs_read(&regs, 0x400, 8);
    expect_line(&regs, false, false);
    push_numbered(&regs, 2);
    expect_line(&regs, true, true);
    /* it falls and rises unseen */
    mx_regs_read(&regs, 0x400, 8);
    push_numbered(&regs, 3);
    expect_line(&regs, true, true);
    expect_line(&regs, true, false);
}
END_TEST

START_TEST(test_hold)
{
    struct mx_regs regs = { 0 };

    regs.held = true;
    push_numbered(&regs, 0);
    push_numbered(&regs, 1);
    expect_line(&regs, false, false);
    ck_assert_uint_eq(mx_regs_read(&regs, 0x400, 8), 0);
    ck_assert_uint_eq(mx_regs_read(&regs, 0x408, 8), 0);
    regs.held = false;
    expect_line(&regs, true, true);
    ck_assert_uint_eq(mx_regs_read(&regs, 0x400, 8), 1);
    expect_rx(&regs, 0);
    regs.held = true;           /* the line goes down, then up again */
    expect_line(&regs, false, false);
    regs.held = false;
    expect_line(&regs, true, true);
    ck_assert_uint_eq(mx_regs_read(&regs, 0x400, 8), 1);
    expect_rx(&regs, 1);
    /* the link cause is not held */
    regs.held = true;
    mx_regs_write(&regs, 0x028, 8, 1);
    mx_regs_set_link(&regs, 1);
    expect_line(&regs, true, true);
}
END_TEST

START_TEST(test_line_of_link)
{
    struct mx_regs regs = { 0 };

    mx_regs_set_link(&regs, 0); /* no change */
    ck_assert_uint_eq(mx_regs_read(&regs, 0x030, 8), 0);
    mx_regs_set_link(&regs, 0x100000001u);
    expect_line(&regs, false, false);   /* not asked for */
    mx_regs_write(&regs, 0x028, 1, 1);
    expect_line(&regs, true, true);
    expect_line(&regs, true, false);
    mx_regs_set_link(&regs, 0x100000003u);
    expect_line(&regs, true, false);
    ck_assert_uint_eq(mx_regs_read(&regs, 0x010, 8), 0x100000003u);
    expect_line(&regs, true, false);    /* reading 0x010 clears nothing */
    ck_assert_uint_eq(mx_regs_read(&regs, 0x030, 8), 1);
    expect_line(&regs, false, false);
    ck_assert_uint_eq(mx_regs_read(&regs, 0x030, 8), 0);
    mx_regs_set_link(&regs, 0x100000003u);
    expect_line(&regs, false, false);
    mx_regs_set_link(&regs, 0x200000003u);
    expect_line(&regs, true, true);
    mx_regs_write(&regs, 0x028, 8, 0);
    expect_line(&regs, false, false);
    mx_regs_write(&regs, 0x028, 8, 1);
    expect_line(&regs, true, true);
    /* it falls and rises unseen, in both ways */
    mx_regs_read(&regs, 0x030, 8);
    mx_regs_set_link(&regs, 0);
    expect_line(&regs, true, true);
    mx_regs_write(&regs, 0x028, 8, 0);
    mx_regs_write(&regs, 0x028, 8, 1);
    expect_line(&regs, true, true);
    expect_line(&regs, true, false);
}
END_TEST

/* Each cause sends its own message while the other has the line up. */
START_TEST(test_rise_of_each)
{
    struct mx_regs regs = { 0 };

    mx_regs_write(&regs, 0x028, 8, 1);
    push_numbered(&regs, 0);
    expect_line(&regs, true, true);
    mx_regs_set_link(&regs, 1);
    expect_line(&regs, true, true);
    mx_regs_read(&regs, 0x400, 8);
    expect_line(&regs, true, false);
    push_numbered(&regs, 1);
    expect_line(&regs, true, true);
    mx_regs_read(&regs, 0x030, 8);
    expect_line(&regs, true, false);
    mx_regs_set_link(&regs, 2);
    expect_line(&regs, true, true);
}
END_TEST

START_TEST(test_reset)
{
    struct random_source source;
    struct mx_regs regs, before;
    struct model model;

    random_start(&source, "reset");
    set_up(&source, &variants[5], &regs, &model);
    regs.held = _i;
    expect_line(&regs, true, true);
    before = regs;
    mx_regs_reset(&regs);
    ck_assert_uint_eq(regs.link, before.link);
    ck_assert_uint_eq(regs.span_start, before.span_start);
    ck_assert_uint_eq(regs.span_size, before.span_size);
    ck_assert_int_eq(regs.held, _i);
    for (unsigned offset = 0; offset < 0x1000; offset += 8) {
        uint64_t expected = offset == 0x010 ? before.link :
                            offset == 0x018 ? before.span_start :
                            offset == 0x020 ? before.span_size : 0;

        ck_assert_uint_eq(mx_regs_read(&regs, offset, 8), expected);
    }
    expect_line(&regs, false, false);
    regs.held = false;
    expect_line(&regs, false, false);   /* nor is anything queued */
    push_numbered(&regs, 3);
    expect_line(&regs, true, true);
    mx_regs_reset(&regs);               /* a line that was up rises anew */
    push_numbered(&regs, 4);
    expect_line(&regs, true, true);
    ck_assert_uint_eq(mx_regs_read(&regs, 0x400, 8), 1);
    expect_rx(&regs, 4);
    for (uint64_t link = 1; link < 3; link++) { /* that of the link, too */
        mx_regs_set_link(&regs, link);
        mx_regs_write(&regs, 0x028, 8, 1);
        expect_line(&regs, true, true);
        mx_regs_reset(&regs);
    }
}
END_TEST

static Suite *regs_suite(void)
{
    Suite *suite = suite_create("regs");
    TCase *accesses = harness_tcase("accesses");
    TCase *interrupts = harness_tcase("interrupts");

    tcase_add_loop_test(accesses, test_every_read, 0, VARIANTS);
    tcase_add_loop_test(accesses, test_every_write, 0, VARIANTS);
    tcase_add_loop_test(accesses, test_random_accesses, 0, VARIANTS);
    tcase_add_test(accesses, test_valid);
    tcase_add_test(accesses, test_straddling);
    tcase_add_test(accesses, test_halves);
    tcase_add_test(accesses, test_enable_reads);
    tcase_add_loop_test(interrupts, test_overflow, 0, 16);
    tcase_add_test(interrupts, test_pop);
    tcase_add_test(interrupts, test_line_of_queue);
    tcase_add_test(interrupts, test_hold);
    tcase_add_test(interrupts, test_line_of_link);
    tcase_add_test(interrupts, test_rise_of_each);
    tcase_add_loop_test(interrupts, test_reset, 0, 2);
    suite_add_tcase(suite, accesses);
    suite_add_tcase(suite, interrupts);
    return suite;
}

int main(void)
{
    return harness_main(regs_suite());
}
