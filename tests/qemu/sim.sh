#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# sim.sh KIND: a machine with a guest, and a simulator as its peer: memory both
# ways, ROM, registers, interrupts, memory that is taken back.

# shellcheck source=tests/qemu/lib.sh
. "$(dirname "$0")/lib.sh"

kind=$1
noise 5 $area > "$directory/noise"
sum=$(sum < "$directory/noise")
sum_of_file() {
    sum < "$directory/$1"
}

# What the simulator exports, and where.
ram=$((0x1000000))
private=$((0x8000000))
rom=$((0x9000000))
counter=$((0xa000000))

start_simulator() {
    launch a "--$1" "$directory/link" --name=alpha \
        --ram "$ram:$area,file=$directory/shared" \
        --ram "$private:1M,private" \
        --ram "$rom:64K,file=$directory/rom,ro" \
        --mmio "$counter:4K,model=counter"
    sync_with a
}

# The guest reads and writes what the simulator has.
guest_accesses() {
    does vm "memexpose-guest sum $ram $area" "$sum"
    does vm "memory noise 6 $area | memexpose-guest load $ram /dev/stdin"
    equal "what the guest wrote" "$(sum_of_file shared)" \
        "$(noise 6 $area | sum)"
    for bytes in 1 2 4 8; do
        does vm "memexpose-guest write $((private + 16 * bytes)) 0x5a $bytes"
        ask a "lread $((private + 16 * bytes)) $bytes"
        equal "private RAM, $bytes bytes" "$reply" \
            "0x$(printf "%0$((2 * bytes))x" 0x5a)"
        does vm "memexpose-guest read $((private + 16 * bytes)) $bytes" \
            "$reply"
    done
    does vm "memexpose-guest sum $rom 65536" "$(sum_of_file rom)"
    guest vm "memexpose-guest write $rom 1"
    equal "what was written to ROM" "$(sum_of_file rom)" \
        "$(head -c 65536 "$directory/noise" | sum)"
}

# Each access to a register counts once.
registers() {
    local before

    ask a "lread $counter 4"
    before=$reply
    does vm "memexpose-guest read $counter 4" \
        "$(printf '0x%08x' $((before + 1)))"
    does vm "memexpose-guest write $counter 9 4"
    does vm "memexpose-guest read $counter 4" \
        "$(printf '0x%08x' $((before + 3)))"
}

# Where there is nothing it is told, or reads as ones.
holes() {
    guest vm 'memexpose-guest read 0x70000000 4'
    matches "a hole" "$? $reply" '(^[1-9])|0xffffffff'
    does vm "memexpose-guest read $private 8"
}

# The simulator reads and writes what the machine has.
simulator_accesses() {
    local first second

    first=$(first_area vm)
    second=$(second_area vm)
    does vm "memory noise 7 $area | memory write $second $area"
    tell a "dump $second $area $directory/copy; load $first $directory/noise"
    sync_with a
    equal "what the simulator read" "$(sum_of_file copy)" \
        "$(noise 7 $area | sum)"
    guest vm "memory read $first $area | sha256sum"
    equal "what the simulator wrote" "${reply%% *}" "$sum"
    counter a requests_sent
    holds "the simulator: $reply requests" "$reply" -lt 100
    regions a
    matches "the simulator: regions" "$reply" '0x[0-9a-f]+ 0x[0-9a-f]+ rw;'
}

data=00112233445566778899aabbccddeeff
padded=$data$(printf '%0224d' 0)
interrupts() {
    local how=--irq number

    [ "$kind" != virt ] || how=--poll
    for number in 1 2 3; do
        tell a "intr $number $data"
    done
    for number in 1 2 3; do
        does vm "memexpose-guest intr recv 20000 $how" \
            "0x$(printf %016x $number) $padded"
    done
    for number in 4 5 6; do
        does vm "memexpose-guest intr send $number $data"
        ask a 'recv 20000'
        equal "the simulator: interrupt" "$reply" \
            "0x$(printf %016x $number) $padded"
    done
    begin_receiving vm $how
    tell a 'intr 9'
    guest_end vm || complain "vm: $reply"
    matches "vm: the interrupt it waited for" "$reply" '^0x0{15}9 0{256}$'
}

# Memory goes while the guest has it mapped, and others come in its place.
takes_back() {
    does vm "memexpose-guest sum $ram $area"
    property vm ranges
    matches "ranges before" "$reply" "0x$(printf %x $ram) 0x4000000 rw"
    tell a "unmap $ram"
    sync_with a
    property vm ranges
    holds "a range is left: $reply" "${reply/0x$(printf %x $ram) /}" = "$reply"
    human vm 'info mtree'
    ! guest vm "memexpose-guest sum $ram 65536" ||
        equal "what is gone" "$reply" "$(
        head -c 65536 /dev/zero | tr '\0' '\377' | sum)"
    tell a "map $ram:$area,file=$directory/noise"
    sync_with a
    does vm "memexpose-guest sum $ram $area" "$sum"
    counter_of vm violations
    equal "violations" "$reply" 0
    counter_of vm invalidations-received
    holds "$reply invalidations" "$reply" -ge 1
}

prepare() {
    cp "$directory/noise" "$directory/shared"
    head -c 65536 "$directory/noise" > "$directory/rom"
}

# Either side may listen.
prepare
start_peer vm "$kind" link listen name=machine
booted vm
start_simulator connect
does vm 'memexpose-guest enable'
property vm peer-name
equal "the peer's name" "$reply" '"alpha"'
logged a "machine"
guest_accesses
registers
holes
simulator_accesses
interrupts
takes_back
leave a
# the other way round, in the same machine: its chardevs are servers, so that
# another machine it is
stop_vm vm
prepare
start_simulator listen
start_peer vm "$kind" link connect
booted vm
does vm 'memexpose-guest enable'
guest_accesses
simulator_accesses
interrupts
stop_vm vm
leave a
conclude
