#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# More than a pair: several devices in one machine, each with a peer of its
# own; three machines in a ring; peers that do not agree; links that cannot
# pass descriptors.

# shellcheck source=tests/qemu/lib.sh
. "$(dirname "$0")/lib.sh"

part=$((16 << 20))
sum_of() {
    noise "$1" $part | sum
}

# three_devices: the slots of the simulators are the names of the links.
three_devices() {
    local slot number words

    mapfile -t words < <(for slot in a b c; do
        sockets_listen $slot
        device pc $slot '' dev$slot
    done)
    start_vm vm pc "${words[@]}"
    booted vm
    number=0
    for slot in a b c; do
        noise 3$number $part > "$directory/$slot.file"
        launch $slot --connect "$directory/$slot" --name=$slot \
            --connect-timeout=60000 \
            --ram "$((0x1000000)):$part,file=$directory/$slot.file" \
            --ram 0x8000000:4K,private
        sync_with $slot
        does vm "memexpose-guest -d $number enable"
        number=$((number + 1))
    done
    # all of them at the same time
    guest vm "for number in 0 1 2; do
        (memexpose-guest -d \$number sum 0x1000000 $part > /tmp/\$number) &
        done; wait; cat /tmp/0 /tmp/1 /tmp/2"
    equal "three sums" "$reply" \
        "$(sum_of 30)"$'\n'"$(sum_of 31)"$'\n'"$(sum_of 32)"
    number=0
    for slot in a b c; do
        property vm peer-name /machine/peripheral/dev$slot
        equal "$slot: peer-name" "$reply" "\"$slot\""
        counter_of vm mapped-ranges /machine/peripheral/dev$slot
        equal "$slot: mapped ranges" "$reply" 1
        does vm "memexpose-guest -d $number write 0x8000000 0x4$number 1"
        ask $slot 'lread 0x8000000 1'
        equal "$slot: its own memory" "$reply" "0x4$number"
        tell $slot "intr 5$number"
        guest vm "memexpose-guest -d $number intr recv 20000 --irq"
        matches "$slot: interrupt" "$reply" "^0x0{14}$(printf %02x 5$number) "
        number=$((number + 1))
    done
    # each of them has this machine's memory, not that of another peer
    ask a "write $(first_area vm) 0x61 1; read $(first_area vm) 1"
    ask b "read $(first_area vm) 1"
    equal "what a wrote, for b" "$reply" 0x61
    # one goes, the others do not care
    destroyed b
    does vm "memexpose-guest -d 0 sum 0x1000000 $part" "$(sum_of 30)"
    does vm "memexpose-guest -d 2 sum 0x1000000 $part" "$(sum_of 32)"
    property vm ranges /machine/peripheral/devb
    equal "b: ranges" "$reply" '[]'
    leave a
    leave c
    stop_vm vm
}

# ring NAME FROM TO: listens on the link FROM, connects to TO
ring() {
    local words

    mapfile -t words < <(
        sockets_listen "$2"
        sockets_connect "$3"
        device virtpci "$2" '' listens
        device virtpci "$3" '' connects
    )
    start_vm "$1" virt "${words[@]}"
}

# As the guests number them, by their places on the bus.
back=0
forth=1
three_machines() {
    local name number=0

    ring one r1 r2
    ring two r2 r3
    ring three r3 r1
    booted one two three
    for name in one two three; do
        guest_begin $name "memexpose-guest -d $back enable &&
            memexpose-guest -d $forth enable"
    done
    for name in one two three; do
        guest_end $name || complain "$name: enable: $reply"
    done
    # each writes to the next, and then reads what has come to the one before
    for name in one two three; do
        number=$((number + 1))
        guest_begin $name "memory noise 6$number $part |
            memexpose-guest -d $forth load $(first_area one) /dev/stdin &&
            memexpose-guest -d $forth sum $(first_area one) $part &&
            for round in 1 2 3 4 5 6 7 8 9 10; do
            memexpose-guest -d $forth intr send \$round || exit 1; done"
    done
    number=0
    for name in one two three; do
        number=$((number + 1))
        guest_end $name || complain "$name: $reply"
        equal "$name: what it wrote" "$reply" "$(sum_of 6$number)"
    done
    number=0
    for name in two three one; do
        number=$((number + 1))
        does $name "memory read $(first_area one) $part | sha256sum" \
            "$(sum_of 6$number)  -"
        guest $name "for round in 1 2 3 4 5 6 7 8 9 10; do
            memexpose-guest -d $back intr recv 20000 | cut -d ' ' -f 1; done"
        equal "$name: interrupts" "$reply" \
            "$(printf '0x%016x\n' 1 2 3 4 5 6 7 8 9 10)"
        counter_of $name violations /machine/peripheral/listens
        equal "$name: violations" "$reply" 0
    done
    stop_vm one two three
}

# Both insist.
one_sub_priority() {
    start_peer vm virt link listen subpriority=0
    launch a --connect "$directory/link" --name=alpha --subpriority=0 \
        --connect-timeout=60000
    logged vm "sub-priority"
    equal "lines that name the peer" \
        "$(grep -c "alpha.*sub-priority" "$directory/vm.err")" 1
    tell a 'read 0x40000000'
    gone a 1
    stop_vm vm
}

# TCP passes no descriptors: all goes over the link, which is told once.
over_tcp() {
    local ports options words part_name address label

    options=host=127.0.0.1,port=0,server=on,wait=off
    start_vm one virt,memexpose-ep=tcp,memexpose-size=$window \
        -chardev socket,id=tcp-mem,$options \
        -chardev socket,id=tcp-intr,$options
    words=()
    for part_name in mem intr; do
        monitor one query-chardev
        address='tcp:127.0.0.1:([0-9]+)'
        label="\"label\": \"tcp-$part_name\""
        [[ $reply =~ ${address}[^{}]*${label} ||
            $reply =~ ${label}[^{}]*${address} ]] ||
            give_up "query-chardev: $reply"
        ports=${BASH_REMATCH[1]}
        words+=(-chardev
            "socket,id=tcp-$part_name,host=127.0.0.1,port=$ports,$reconnect")
    done
    start_vm two virt,memexpose-ep=tcp,memexpose-size=$window "${words[@]}"
    vm_device[one]=$(platform_device one)
    vm_device[two]=$(platform_device two)
    booted one two
    does one 'memexpose-guest enable'
    does two 'memexpose-guest enable'
    does two "memory noise 8 65536 | memory write $(first_area two) 65536"
    guest_begin one "memexpose-guest sum $(first_area two) 65536"
    guest_begin two "memory noise 9 65536 |
        memexpose-guest load $(first_area one) /dev/stdin"
    guest_end two || complain "two: $reply"
    guest_end one || complain "one: $reply"
    equal "one: what it read" "$reply" \
        "$(noise 8 65536 | sum)"
    does one "memory read $(first_area one) 65536 | sha256sum" \
        "$(noise 9 65536 | sha256sum)"
    does one 'memexpose-guest intr send 3'
    guest two 'memexpose-guest intr recv 20000'
    matches "two: interrupt" "$reply" '^0x0{15}3 '
    for name in one two; do
        counter_of $name mapped-ranges
        equal "$name: mapped ranges" "$reply" 0
        equal "$name: lines about it" \
            "$(grep -c 'descriptor' "$directory/$name.err")" 1
    done
    stop_vm one two
}

three_devices
three_machines
one_sub_priority
over_tcp
conclude
