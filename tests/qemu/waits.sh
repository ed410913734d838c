#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# waits.sh KIND: a guest writes 1 to the enable register, and nobody is there.
# It waits; its machine does not: the monitor answers, stop, cont, reset and
# quit work, and the guest goes on when a peer comes.

# shellcheck source=tests/qemu/lib.sh
. "$(dirname "$0")/lib.sh"

kind=$1
start_simulator() {
    launch a --connect "$directory/link" --connect-timeout=60000 --ram 0:4K
    sync_with a
}

# start_vm_that_waits [PROPERTIES [ARGUMENT...]]: the trace tells of waits
start_vm_that_waits() {
    start_peer vm "$kind" link listen "${1-}" -trace memexpose_enable_wait \
        -D "$directory/vm.trace" "${@:2}"
}

# waits: how often it has begun to wait in the register
waits() {
    grep -c 'waits$' "$directory/vm.trace"
}

waits_again() {
    [ "$(waits)" -gt "$1" ]
}

begin_waiting() {
    local before

    before=$(waits)
    guest_begin vm 'memexpose-guest enable'
    until_true "the guest waits" waits_again "$before"
}

status_is() {
    monitor vm query-status || complain "query-status: $reply"
    matches "status" "$reply" "\"status\": \"$1\""
}

# wait_and_meet ARGUMENT...: the peer comes in the middle of it
wait_and_meet() {
    start_vm_that_waits '' "$@"
    booted vm
    begin_waiting
    status_is running
    property vm link-state
    equal "link state without a peer" "$reply" 0
    monitor vm stop
    event vm STOP
    status_is paused
    monitor vm cont
    event vm RESUME
    status_is running
    start_simulator
    guest_end vm || complain "enable: $reply"
    does vm 'memexpose-guest write 0 0x12345678 4'
    expect a 'lread 0 4' 0x12345678
    # stopped while the peer comes
    leave a
    does vm 'memexpose-guest disable'
    begin_waiting
    monitor vm stop
    event vm STOP
    start_simulator
    monitor vm cont
    guest_end vm || complain "enable: $reply"
    does vm 'memexpose-guest read 0 4' 0x00000000
    leave a
}

wait_and_reset() {
    does vm 'memexpose-guest disable'
    begin_waiting
    monitor vm system_reset
    event vm RESET
    booted vm
    does vm 'memexpose-guest reg 0 8' 0x0000000000000000
    begin_waiting
    start_simulator
    guest_end vm || complain "enable: $reply"
    leave a
}

# The guest lets go of the device by an interrupt, for which the virtual CPU that
# waits may be the only one.
wait_and_unplug() {
    stop_vm vm
    start_vm_that_waits '' -smp 1
    booted vm
    begin_waiting
    monitor vm device_del '{"id":"mx"}' || complain "device_del: $reply"
    event vm DEVICE_DELETED '"device": "mx"'
    guest_end vm
    holds "enable without a device: status $?" $? != 0
    monitor vm device_add "{\"driver\":\"memexpose-pci\",\"id\":\"mx\",$(
        )\"mem_chardev\":\"link-mem\",\"intr_chardev\":\"link-intr\",$(
        )\"shm_size\":$((window))}" || complain "device_add: $reply"
    until_guest 'memexpose-guest list'
    does vm 'memexpose-guest reg 0 8' 0x0000000000000000
}

wait_and_quit() {
    begin_waiting
    stop_vm vm
}

# wait=off, connect-timeout=, a client that cannot come back: enabling returns.
no_wait() {
    start_peer vm "$kind" link listen wait=off
    booted vm
    does vm 'memexpose-guest reg 0 8 1'
    does vm 'memexpose-guest reg 0 8' 0x0000000000000000
    start_simulator
    guest vm 'memexpose-guest enable'
    does vm 'memexpose-guest reg 0 8' 0x0000000000000001
    leave a
    stop_vm vm
}

short_wait() {
    start_peer vm "$kind" link listen connect-timeout=300
    booted vm
    does vm 'memexpose-guest reg 0 8 1'
    does vm 'memexpose-guest reg 0 8' 0x0000000000000000
    equal "lines in the log" "$(grep -c '300 ms' "$directory/vm.err")" 1
    stop_vm vm
}

client_without_reconnect() {
    launch a --listen "$directory/link" --ram 0:4K
    sync_with a
    start_peer vm "$kind" link connect_once
    booted vm
    does vm 'memexpose-guest enable'
    destroyed a
    does vm 'memexpose-guest disable'
    does vm 'memexpose-guest reg 0 8 1'
    does vm 'memexpose-guest reg 0 8' 0x0000000000000000
    equal "lines in the log" "$(grep -c reconnect "$directory/vm.err")" 1
    stop_vm vm
    rm -f "$directory"/link-* # one that is killed leaves them
}

wait_and_meet
wait_and_reset
[ "$kind" = virt ] || wait_and_unplug
wait_and_quit
# what is the same for both, where it takes less time
if [ "$kind" = virt ]; then
    # the only virtual CPU is the one that waits
    wait_and_meet -smp 1
    wait_and_reset
    wait_and_quit
    no_wait
    short_wait
    client_without_reconnect
fi
conclude
