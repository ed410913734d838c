/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Callbacks that end the links, or the device, while they are told of what a
 * raw peer has offered (protocol section 9).
 */
#include "push.h"

static void end_disable(struct rig *rig)
{
    memexpose_device_disable(rig->device);
}

static void end_reset(struct rig *rig)
{
    memexpose_device_reset(rig->device);
}

static void end_destroy(struct rig *rig)
{
    struct memexpose_device *device = rig->device;

    rig->device = NULL;
    memexpose_device_destroy(device);
}

static void (*const enders[])(struct rig *rig) = { end_disable, end_reset,
                                                   end_destroy };
static void (*ender)(struct rig *rig);
static unsigned end_at;         /* which callback of all */
static unsigned calls;
static bool gone;               /* the device was destroyed: no more calls */

static void count_call(struct rig *rig)
{
    ck_assert(!gone);
    calls++;
    if (ender && calls == end_at) {
        void (*end)(struct rig *rig) = ender;

        ender = NULL;
        end(rig);
        gone = !rig->device;
    }
}

static int counted_map(struct rig *rig, const struct memexpose_range *range)
{
    (void)range;
    count_call(rig);
    return 0;
}

static void counted_update(struct rig *rig, bool begin)
{
    (void)begin;
    count_call(rig);
}

/* In update(true), each map, update(false), and each of those of the end. */
START_TEST(ends_in_a_callback)
{
    size_t mappings = 3;
    struct rig rig;

    ender = enders[_i % 3];
    end_at = 1 + (unsigned)_i / 3;
    calls = 0;
    gone = false;
    prepare(&rig, 0);
    rig.on_map = counted_map;
    rig.on_unmap = counted_map;
    rig.on_update = counted_update;
    rig_start(&rig);
    settle(&rig);
    for (unsigned i = 0; i < mappings; i++) {
        offer_range(&rig, i);
    }
    end_offers(&rig);
    peer_close(&rig.peer);
    rig_drive(&rig);
    rig_drive(&rig);
    ck_assert(!ender);          /* it was called */
    /* all but the one whose callback destroyed the device */
    ck_assert_uint_eq(rig.unmaps, !rig.device && end_at > 1 && end_at < 5 ?
                      rig.maps - 1 : rig.maps);
    if (rig.device) {
        ck_assert(!rig.updating);
        ck_assert_uint_eq(rig_ranges(&rig), 0);
        memexpose_device_enable(rig.device, 0);
        settle(&rig);
        offer_range(&rig, 0);
        end_offers(&rig);
        ck_assert_uint_eq(rig_ranges(&rig), 1);
    }
    rig_end(&rig);
}
END_TEST

enum { CALLBACKS = 10 };        /* two runs of three */

int main(void)
{
    Suite *suite = suite_create("push-callbacks");
    TCase *tcase = harness_tcase("ending");

    tcase_add_loop_test(tcase, ends_in_a_callback, 0, 3 * CALLBACKS);
    suite_add_tcase(suite, tcase);
    return harness_main(suite);
}
