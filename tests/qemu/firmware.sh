#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Firmware turns the attributes of 0xc0000 to 0xfffff many times while it
# boots.  A peer that has this memory mapped, and reads it all the time, has to
# let go of it each time, and sees in the end what the guest sees.

# shellcheck source=tests/qemu/lib.sh
. "$(dirname "$0")/lib.sh"

# What the simulator does until the guest has booted: it reads, a hundred times
# a second.  How many rounds it were becomes the file rounds.
read_all_the_time() {
    local rounds=0

    until [ -e "$directory/booted" ]; do
        ask a "$(for address in 0xc0000 0xd0000 0xe0000 0xf0000; do
            printf 'dump %s 4K %s; ' $address /dev/null
        done) lread 0 1"
        [ "$reply" = 0x00 ] || break
        rounds=$((rounds + 1))
        sleep 0.01
    done
    echo $rounds "$reply" > "$directory/rounds"
}

boots() {
    local reader

    rm -f "$directory/booted"
    read_all_the_time &
    reader=$!
    monitor vm "$1" || complain "$1: $reply"
    booted vm
    : > "$directory/booted"
    wait $reader
    read -r rounds reply < "$directory/rounds"
    equal "the last that the simulator read" "$reply" 0x00
    holds "$rounds rounds of reading" "$rounds" -gt 20
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
