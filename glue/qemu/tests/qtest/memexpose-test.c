/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QTest of the memexpose devices: pairs and rings of machines that reach into
 * each other's memory.
 *
 * Pairs of an x86_64 and an aarch64 machine are among them, if the environment
 * has the QEMU for the other architecture in MEMEXPOSE_OTHER_QEMU_BINARY.
 */
#include "qemu/osdep.h"
#include "memexpose-vm.h"

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    vm_directory_create();
    add_memory_tests();
    add_limit_tests();
    add_change_tests();
    add_service_tests();
    add_interrupt_tests();
    add_life_tests();
    add_loss_tests();
    add_crowd_tests();
    add_value_tests();
    add_push_tests();
    add_block_tests();
    ret = g_test_run();
    vm_directory_remove();
    return ret;
}
