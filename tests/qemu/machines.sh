#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Machines that are made in other ways: for each of them a guest that reads and
# writes its peer, and gets an interrupt.

# shellcheck source=tests/qemu/lib.sh
. "$(dirname "$0")/lib.sh"

# use HOW: both ways, with a simulator as the peer; interrupts by --irq, --poll
use() {
    booted vm
    does vm 'memexpose-guest enable'
    does vm 'memory noise 3 65536 | memexpose-guest load 0x1000000 /dev/stdin'
    does vm 'memexpose-guest sum 0x1000000 65536' "$(noise 3 65536 | sum)"
    tell a "ldump 0x1000000 64K $directory/copy"
    sync_with a
    equal "what came" "$(sum < "$directory/copy")" "$(noise 3 65536 | sum)"
    ask a "write $(first_area vm) 0x66; read $(first_area vm)"
    equal "what the peer wrote" "$reply" 0x0000000000000066
    does vm "memory read $(first_area vm) 65536 | od -An -tx1 -N1" " 66"
    tell a 'intr 5 01; intr 6'
    guest vm "memexpose-guest intr recv 20000 $1"
    matches "an interrupt" "$reply" '^0x0{15}5 01'
    guest vm "memexpose-guest intr recv 20000 $1"
    matches "another" "$reply" '^0x0{15}6 00'
    stop_vm vm
    leave a
}

# peer_of_machine [OPTION...]
peer_of_machine() {
    launch a --connect "$directory/link" --connect-timeout=60000 \
        --ram 0x1000000:64K "$@"
    sync_with a
}

# virt OPTIONS [ARGUMENT...]: with the platform device
virt() {
    local words

    mapfile -t words < <(sockets_listen link)
    start_vm vm "virt,memexpose-ep=link,memexpose-size=$window$1" \
        "${words[@]}" "${@:2}"
    vm_device[vm]=$(platform_device vm)
    peer_of_machine
    use --poll
}

virt ,secure=on
virt ,virtualization=on,gic-version=2
virt ,secure=on,virtualization=on,gic-version=3
virt ,gic-version=3,memexpose-base=0x5000000000
virt '' -global memexpose-memdev.export-base=0x50000000 \
    -global memexpose-memdev.export-size=0x8000000

# Behind a port, far above 4 GiB.
mapfile -t words < <(sockets_listen link)
start_vm vm q35 "${words[@]}" \
    -device pcie-root-port,id=slot1,chassis=1,slot=1 -device \
    "memexpose-pci,id=mx,bus=slot1,mem_chardev=link-mem,$(
    )intr_chardev=link-intr,shm_size=$window,prefetchable=on"
vm_device[vm]=/machine/peripheral/mx
peer_of_machine
use --irq

# Nothing but base, nothing shared, nothing to be written.
start_peer vm pc link listen hello=off,share=off,msi=off
peer_of_machine --hello=off --share=off --window=2G
use --irq
start_peer vm virtpci link listen export-readonly=on
peer_of_machine
booted vm
does vm 'memexpose-guest enable'
expect a "read $(first_area vm)" 0x0000000000000000
fails a "write $(first_area vm) 1" 'denied'
stop_vm vm
conclude
