#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Firmware turns the attributes of 0xc0000 to 0xfffff many times while it
# boots.  A peer that has this memory mapped, and reads it all the time, has to
# let go of it each time, and sees in the end what the guest sees.

# shellcheck source=tests/qemu/lib.sh
. "$(dirname "$0")/lib.sh"

boots() {
    local round

    # it goes on with these while the machine boots
    for round in {1..150}; do
        tell a "$(for address in 0xc0000 0xd0000 0xe0000 0xf0000; do
            printf 'dump %s 4K %s; ' $address /dev/null
        done) lread $round 1"
    done
    monitor vm "$1" || complain "$1: $reply"
    booted vm
    for round in {1..150}; do
        answer a
        equal "what the simulator does" "$reply" 0x00
    done
}

# The same bytes, for the guest, its peer and a debugger.
compare() {
    local sum

    tell a "dump 0xc0000 256K $directory/dumped"
    sync_with a
    sum=$(sha256sum < "$directory/dumped" | cut -d ' ' -f 1)
    guest vm 'dd if=/dev/mem bs=4096 skip=192 count=64 2> /dev/null |
        sha256sum'
    equal "shadowed memory, for guest and peer" "${reply%% *}" "$sum"
    monitor vm pmemsave "{\"val\":$((0xc0000)),\"size\":$((0x40000)),$(
        )\"filename\":\"$directory/saved\"}" || complain "pmemsave: $reply"
    equal "shadowed memory, from inside QEMU" \
        "$(sha256sum < "$directory/saved" | cut -d ' ' -f 1)" "$sum"
    counter a violations
    equal "violations" "$reply" 0
}

for kind in pc q35; do
    start_peer vm $kind link listen '' -S
    launch a --connect "$directory/link" --request-timeout=20000 --ram 0:4K
    expect a 'read 0xffff0 1' 0xea
    boots cont
    compare
    counter a invalidations_received
    first=$reply
    holds "$kind: $first invalidations at boot" "$first" -gt 0
    # and again, all of it, for a machine that begins anew
    boots system_reset
    compare
    counter a invalidations_received
    holds "$kind: $((reply - first)) invalidations at reset" \
        "$reply" -gt "$first"
    does vm 'memexpose-guest enable'
    leave a
    stop_vm vm
done
conclude
