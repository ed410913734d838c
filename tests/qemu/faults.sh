#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# faults.sh KIND: what can go wrong around a machine whose guest uses the
# device: its peer dies, comes back, is stopped; the device is taken out and
# put in again; memory that the peer has mapped is unplugged; somebody wants to
# migrate it.

# shellcheck source=tests/qemu/lib.sh
. "$(dirname "$0")/lib.sh"

kind=$1
properties=request-timeout=1000,map-change-timeout=1000
ram=$((0x1000000))
private=$((0x8000000))

start_simulator() {
    launch a --connect "$directory/link" --name=alpha \
        --connect-timeout=60000 --request-timeout=20000 --window 16G \
        --ram "$ram:1M" --ram "$private:4K,private"
    sync_with a
}

# lines_with TEXT: in the log of the machine
lines_with() {
    grep -cF -e "$1" "$directory/vm.err"
}

# link_is VALUE: both links are up (3), or neither (0)
# shellcheck disable=SC2317 # until_true calls it
link_is() {
    property vm link-state
    [ $((reply & 3)) = "$1" ]
}

# All of it works.
works() {
    does vm "memexpose-guest write $ram 0x$1$1$1$1 4"
    ask a "lread $ram 4"
    equal "what the guest wrote" "$reply" "0x$1$1$1$1"
    does vm "memexpose-guest read $private 1" 0x00
    ask a "write $(first_area vm) 0x$1 1; read $(first_area vm) 1"
    equal "what the peer wrote" "$reply" "0x$1"
    does vm "memory read $(first_area vm) 65536 | od -An -tx1 -N1" " $1"
    tell a 'intr 5'
    guest vm 'memexpose-guest intr recv 20000 --poll'
    matches "an interrupt" "$reply" '^0x0{15}5 '
}

# Its descriptors, when nothing is under way, become $reply.
descriptors_of_vm() {
    set -- "/proc/${vm_pid[vm]}/fd"/*
    reply=$#
}

introspection() {
    property vm peer-name
    equal "peer-name" "$reply" '"alpha"'
    property vm ranges
    equal "ranges" "$reply" "[\"0x$(printf %x $ram) 0x100000 rw\"]"
    human vm 'info mtree'
    matches "info mtree" "$reply" '00000000000fffff|memexpose'
    property vm stats
    for word in requests-sent requests-served shares-sent shares-received \
        invalidations-sent invalidations-received interrupts-sent \
        interrupts-received interrupts-dropped mapped-ranges mapped-bytes \
        violations; do
        matches "stats" "$reply" "\"$word\": [0-9]+"
    done
    counter_of vm mapped-bytes
    equal "mapped bytes" "$reply" 1048576
}

# It dies: the guest is told, nothing of it is left, and the next one is as
# good as it was.
peer_dies() {
    local round before lines

    descriptors_of_vm
    before=$reply
    for round in 1 2 3; do
        lines=$(lines_with 'link closed')
        does vm 'memexpose-guest reg 0x30 8 > /dev/null'
        destroyed a
        until_true "the machine knows" link_is 0
        property vm ranges
        equal "ranges of a dead peer" "$reply" '[]'
        does vm 'memexpose-guest reg 0x30 8' 0x0000000000000001
        does vm 'memexpose-guest reg 0x30 8' 0x0000000000000000
        does vm 'memexpose-guest reg 0 8' 0x0000000000000000
        guest vm "memexpose-guest read $private 4"
        matches "a read without a peer" "$? $reply" '^[1-9]|0xffffffff'
        equal "lines in the log" "$(lines_with 'link closed')" \
            $((lines + 1))
        start_simulator
        until_true "the links are back" link_is 3
        does vm 'memexpose-guest reg 0 8' 0x0000000000000001
        works "$round$round"
        descriptors_of_vm
        equal "descriptors of the machine" "$reply" "$before"
    done
}

# Stopped, while the guest reads what is not mapped: it gets an error in time,
# and meanwhile the monitor answers.
peer_is_stopped() {
    local lines

    lines=$(lines_with 'link closed')
    halt a
    guest_begin vm "memexpose-guest read $private 4"
    monitor vm query-status
    matches "the monitor, meanwhile" "$reply" '"running": true'
    guest_end vm
    matches "a read from one that is stopped" "$? $reply" '^[1-9]|0xffffffff'
    equal "lines in the log" "$(lines_with 'link closed')" $((lines + 1))
    resume a
    until_true "the links are back" link_is 3
    works 44
}

# Stopped, while the machine begins anew: that does not wait for it.
reset_without_answer() {
    ask a 'read 0xf0000 1; read 0xc0000 1'
    answer a
    halt a
    monitor vm system_reset
    booted vm
    resume a
    until_true "the links are back" link_is 3
    does vm 'memexpose-guest enable'
    works 55
}

# Out and in again, by the guest's own hot-plug.
replug() {
    local round before

    descriptors_of_vm
    before=$reply
    for round in 6 7 8; do
        monitor vm device_del '{"id":"mx"}' || complain "device_del: $reply"
        event vm DEVICE_DELETED '"device": "mx"'
        guest vm 'memexpose-guest list'
        matches "the guest's list" "$reply" 'no device found'
        monitor vm device_add "{\"driver\":\"memexpose-pci\",\"id\":\"mx\",$(
            )\"mem_chardev\":\"link-mem\",\"intr_chardev\":\"link-intr\",$(
            )\"shm_size\":$((window)),\"request-timeout\":1000,$(
            )\"map-change-timeout\":1000}" || complain "device_add: $reply"
        until_true "the links are back" link_is 3
        until_guest 'memexpose-guest list'
        does vm 'memexpose-guest enable'
        works "$round$round"
        descriptors_of_vm
        equal "descriptors of the machine" "$reply" "$before"
    done
}

# A memory device that the peer has mapped goes when the guest ejects it; once
# more with a peer that is stopped and cannot let go of it.
unplug_memory() {
    local address=$((0x100000000)) round lines

    for round in 1 2; do
        monitor vm object-add '{"qom-type":"memory-backend-memfd",
            "id":"more","size":134217728,"share":true}' ||
            complain "object-add: $reply"
        monitor vm device_add \
            '{"driver":"pc-dimm","id":"dimm","memdev":"more"}' ||
            complain "device_add: $reply"
        monitor vm query-memory-devices
        [[ $reply =~ \"addr\":\ ([0-9]+) ]] && address=${BASH_REMATCH[1]}
        until_guest 'ls /sys/bus/acpi/devices/PNP0C80:00/physical_node'
        expect a "write $address 0x77 1; read $address 1" 0x77
        regions a
        matches "the dimm is mapped" "$reply" "0x$(
            printf %x "$address") 0x8000000 rw;"
        lines=$(lines_with 'link closed')
        [ $round = 1 ] || halt a
        monitor vm device_del '{"id":"dimm"}' || complain "device_del: $reply"
        event vm DEVICE_DELETED '"device": "dimm"'
        monitor vm object-del '{"id":"more"}' || complain "object-del: $reply"
        if [ $round = 1 ]; then
            equal "lines in the log" "$(lines_with 'link closed')" "$lines"
        else
            # it was waited for, but not for ever
            equal "lines in the log" "$(lines_with 'link closed')" \
                $((lines + 1))
            resume a
            until_true "the links are back" link_is 3
        fi
        regions a
        lacks_text "the dimm has gone" "$reply" "0x$(printf %x "$address") "
        works "9$round"
    done
}

# lacks_text WHAT TEXT PART
lacks_text() {
    cases=$((cases + 1))
    [[ $2 != *"$3"* ]] || complain "$1: '$2' has '$3' in it"
}

# A peer is no state that could be taken along.
no_migration() {
    ! monitor vm migrate '{"uri":"exec:cat > /dev/null"}' ||
        complain "migrate: not refused"
    matches "migrate" "$reply" 'memexpose'
    human vm 'savevm one'
    matches "savevm" "$reply" 'memexpose'
    works aa
}

extra=()
[ "$kind" = virt ] || extra=(-m '448M,slots=2,maxmem=2G')
start_peer vm "$kind" link listen $properties "${extra[@]}"
start_simulator
booted vm
does vm 'memexpose-guest enable'
works 11
introspection
peer_dies
peer_is_stopped
no_migration
if [ "$kind" != virt ]; then
    reset_without_answer
    replug
    unplug_memory
fi
leave a
stop_vm vm
conclude
