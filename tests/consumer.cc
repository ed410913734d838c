// SPDX-License-Identifier: BSD-3-Clause
//
// The headers suit C++, and its compiler finds the functions under their
// names.

#include <memexpose/memexpose.h>
#ifdef WITH_EVENT
#include <memexpose/event.h>
#endif
#ifdef WITH_FDT
#include <memexpose/fdt.h>
#endif

#include <cerrno>
#include <cstdint>
#include <cstdio>

namespace {

int read_five(void *, std::uint64_t address, unsigned, std::uint64_t *value)
{
    *value = 5;
    return address == 0 ? MEMEXPOSE_RESULT_OK : MEMEXPOSE_RESULT_DECODE;
}

bool expect(bool right, const char *what)
{
    if (!right) {
        std::fprintf(stderr, "%s\n", what);
    }
    return right;
}

} // namespace

int main()
{
    memexpose_device_ops ops = {};
    memexpose_device_config config;
    bool right = true;

    ops.size = sizeof(ops);
    ops.read = read_five;
    memexpose_device_config_init(&config);
    config.name = "C++";

    memexpose_group *group = memexpose_group_create(nullptr, nullptr);
    right &= expect(group != nullptr, "group");
    memexpose_device *device =
        memexpose_device_create(group, &ops, nullptr, &config);
    right &= expect(device != nullptr, "device");

    std::uint64_t value = 0;
    right &= expect(memexpose_read(device, 0, 8, &value) == -ENOTCONN,
                    "a read without a link");
    right &= expect(memexpose_group_destroy(group) == -EBUSY,
                    "a group with a device");
#ifdef WITH_EVENT
    memexpose_event_destroy(nullptr);
#endif
#ifdef WITH_FDT
    alignas(8) static char tree[64] = {};
    right &= expect(memexpose_fdt_find(tree, -1) == -EBADMSG,
                    "a tree that is none");
#endif
    memexpose_device_destroy(device);
    right &= expect(memexpose_group_destroy(group) == 0, "an empty group");
    if (right) {
        std::puts("ok");
    }
    return right ? 0 : 1;
}
