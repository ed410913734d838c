#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# pair.sh KIND KIND: two machines, each with a guest.  KIND is pc, q35, virt
# (with the platform device) or virtpci (with the PCI device).

# shellcheck source=tests/qemu/lib.sh
. "$(dirname "$0")/lib.sh"

kind_one=$1
kind_two=$2
seed_of() {
    case $1 in
    one) echo 11 ;;
    two) echo 22 ;;
    esac
}


sum_of() {
    noise "$1" $area | sum
}

# Both enable, one after the other: neither write waits for the other guest.
enable_both() {
    does one 'memexpose-guest enable'
    does two 'memexpose-guest enable'
    property one link-state
    equal "one: link state" $((reply & 3)) 3
    property two link-state
    equal "two: link state" $((reply & 3)) 3
}

# fill_own NAME: its second area, for the other one to read.
fill_own() {
    guest_begin "$1" "memory noise $(seed_of "$1") $area |
        memory write $(second_area "$1") $area"
}

# write_and_read NAME PEER: all of the peer's first area is written, and then
# its second area read, by way of the window.
write_and_read() {
    guest_begin "$1" "memory noise 1$(seed_of "$1") $area |
        memexpose-guest load $(first_area "$2") /dev/stdin &&
        memexpose-guest sum $(second_area "$2") $area"
}

# holds_what_came NAME PEER: in its first area is what the peer has written,
# seen by its own guest and by the host.
holds_what_came() {
    local wanted

    wanted=$(sum_of "1$(seed_of "$2")")
    guest "$1" "memory read $(first_area "$1") $area | sha256sum"
    equal "$1: what $2 wrote, seen by its guest" "${reply%% *}" "$wanted"
    equal "$1: what $2 wrote, seen from outside" \
        "$(sum_outside "$1" "$(first_area "$1")" $area)" "$wanted"
}

# 64 MiB by no more than some requests: it was mapped.
was_mapped() {
    counter_of "$1" requests-sent
    holds "$1: $reply requests for all of it" "$reply" -gt 0 -a \
        "$reply" -lt 200
    counter_of "$1" mapped-bytes
    holds "$1: $reply bytes are mapped" "$reply" -ge $((2 * area))
    property "$1" ranges
    matches "$1: ranges" "$reply" '"0x[0-9a-f]+ 0x[0-9a-f]+ rw"'
    human "$1" 'info mtree'
    matches "$1: info mtree" "$reply" 'memexpose'
    counter_of "$1" violations
    equal "$1: violations" "$reply" 0
}

transfer() {
    local name other

    fill_own one
    fill_own two
    guest_end one || complain "one: $reply"
    guest_end two || complain "two: $reply"
    write_and_read one two
    write_and_read two one
    for name in one two; do
        other=two
        [ $name = one ] || other=one
        guest_end $name $((3 * patience)) || complain "$name: $reply"
        equal "$name: what it read of $other" "$reply" \
            "$(sum_of "$(seed_of $other)")"
    done
    holds_what_came one two
    holds_what_came two one
    was_mapped one
    was_mapped two
}

# data_of WORD: 128 bytes in hexadecimal that begin with it
data_of() {
    local data

    data=$(printf %s "$1" | od -An -v -tx1 | tr -d ' \n')$(printf '%0256d' 0)
    echo "${data:0:256}"
}

# interrupts FROM TO HOW: three of them, in order, with data
interrupts() {
    local from=$1 to=$2 how=$3 number

    for number in 1 2 3; do
        does "$from" "memexpose-guest intr send $((16 * number)) $(
            )$(data_of "$number from $from")"
    done
    for number in 1 2 3; do
        does "$to" "memexpose-guest intr recv 20000 $how" \
            "0x$(printf %016x $((16 * number))) $(
            )$(data_of "$number from $from")"
    done
}

# The receiver is there first, and sleeps.
awaited_interrupt() {
    local from=$1 to=$2

    begin_receiving "$to" --irq
    does "$from" "memexpose-guest intr send 7 $(data_of ring)"
    guest_end "$to" || complain "$to: $reply"
    equal "$to: the interrupt it waited for" "$reply" \
        "0x0000000000000007 $(data_of ring)"
}

all_interrupts() {
    interrupts one two --poll
    interrupts two one --poll
    # the kernel has no driver for interrupts of a platform device
    if [ "$kind_two" != virt ]; then
        interrupts one two --irq
        awaited_interrupt one two
    fi
    interrupts two one --irq
    awaited_interrupt two one
}

# One begins anew while the other reads its memory, again and again.  It reads
# to the end or is told that the peer has left; then all works as before.
reboot_one() {
    guest_begin two "for round in 1 2 3 4 5 6 7 8 9; do
        memexpose-guest sum $(second_area one) $area || break; done"
    # it is under way
    until_true "two: it reads" is_counter two mapped-bytes -gt 0
    guest_line two "$patience" || complain "two: it does not read"
    monitor one system_reset || complain "one: $reply"
    event one RESET
    guest_end two $((3 * patience))
    matches "two: the end of it" "$reply" 'peer|link|gone|left|all ones'
    booted one
    does two 'echo alive' alive
    enable_both
    fill_own one
    guest_end one || complain "one: $reply"
    does two "memexpose-guest sum $(second_area one) $area" \
        "$(sum_of "$(seed_of one)")"
    does one "memexpose-guest sum $(second_area two) $area" \
        "$(sum_of "$(seed_of two)")"
    interrupts one two --poll
    interrupts two one --poll
}

start_peer one "$kind_one" link listen
start_peer two "$kind_two" link connect
booted one two
does one 'memexpose-guest list'
does two 'memexpose-guest list'
enable_both
transfer
all_interrupts
reboot_one
stop_vm one two
lacks "$directory/one.err" violat
lacks "$directory/two.err" violat
conclude
