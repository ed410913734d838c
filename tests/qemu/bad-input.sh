#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Command lines that make no sense: one line each, which names the word and
# says what was expected, and no machine.

# shellcheck source=tests/qemu/lib.sh
. "$(dirname "$0")/lib.sh"

size=0x1000000

# refused WHAT WORDS ARGUMENT...: QEMU ends with status 1, and one line of its
# own that has these words in it; what it cites of the command line does not
# count.
refused() {
    local what=$1 wanted=$2 word status=0 said=$directory/refused

    shift 2
    timeout --kill-after=2 20 "$@" -display none -nodefaults -accel tcg -S \
        < /dev/null > /dev/null 2> "$said" || status=$?
    equal "$what: exit status" $status 1
    equal "$what: lines" "$(wc -l < "$said")" 1
    # behind "program: -option its words: "
    sed -i 's/^[^ ]*: \(-[a-z]* [^ ]*: \)\?//' "$said"
    rm -f "$directory"/*-mem "$directory"/*-intr # if it came that far
    for word in $wanted; do
        contains "$said" "$word"
    done
}

x86() {
    local what=$1 wanted=$2

    shift 2
    refused "$what" "$wanted" "$QEMU_X86_64" -L "$QEMU_FIRMWARE" -m 32M "$@"
}

arm() {
    local what=$1 wanted=$2 machine=$3

    shift 3
    refused "$what" "$wanted" "$QEMU_AARCH64" -L "$QEMU_FIRMWARE" -m 32M \
        -machine "virt,$machine" "$@"
}

# device WHAT WORDS PROPERTIES: with chardevs as they have to be
device() {
    x86 "$1" "$2" "${links[@]}" \
        -device "memexpose-pci,mem_chardev=x-mem,intr_chardev=x-intr,$3"
}

mapfile -t links < <(sockets_listen x)

# Chardevs.
x86 "no chardev" "mem_chardev" -device memexpose-pci,shm_size=$size
x86 "one chardev" "intr_chardev" "${links[@]}" \
    -device memexpose-pci,shm_size=$size,mem_chardev=x-mem
x86 "one chardev for two" "x-mem" "${links[@]}" \
    -device memexpose-pci,shm_size=$size,mem_chardev=x-mem,intr_chardev=x-mem
x86 "a chardev that is not there" "nobody" "${links[@]}" -device \
    memexpose-pci,shm_size=$size,mem_chardev=nobody,intr_chardev=x-intr
x86 "a chardev that is no socket" "mem_chardev socket" -chardev null,id=null \
    "${links[@]}" -device \
    memexpose-pci,shm_size=$size,mem_chardev=null,intr_chardev=x-intr
x86 "another that is no socket" "intr_chardev socket" "${links[@]}" \
    -chardev "file,id=file,path=$directory/file" -device \
    memexpose-pci,shm_size=$size,mem_chardev=x-mem,intr_chardev=file
x86 "websocket" "mem_chardev websocket" "${links[@]}" -chardev \
    socket,id=web,host=127.0.0.1,port=0,server=on,wait=off,websocket=on \
    -device memexpose-pci,shm_size=$size,mem_chardev=web,intr_chardev=x-intr
x86 "telnet" "intr_chardev telnet" "${links[@]}" -chardev \
    socket,id=tel,host=127.0.0.1,port=0,server=on,wait=off,telnet=on \
    -device memexpose-pci,shm_size=$size,mem_chardev=x-mem,intr_chardev=tel

# Sizes.
device "no size" "shm_size expected size" id=mx
device "size 0" "shm_size expected size" shm_size=0
device "not a power of two" "shm_size 0x1800000 power two" shm_size=0x1800000
device "less than a page" "shm_size 0x800" shm_size=0x800
device "no number" "shm_size" shm_size=much

# Values of properties.
device "hello" "hello maybe off on require" shm_size=$size,hello=maybe
device "sub-priority" "subpriority 2 0 1 auto" shm_size=$size,subpriority=2
device "seals" "seals wax require prefer ignore" shm_size=$size,seals=wax
device "address space" "address-space lunar system" \
    shm_size=$size,address-space=lunar
device "a secure one, on x86" "address-space secure" \
    shm_size=$size,address-space=secure
device "share" "share" shm_size=$size,share=perhaps
device "push" "push" shm_size=$size,push=hard
device "block" "block" shm_size=$size,block=65536
device "polling" "poll-ns expected 1000000000" \
    shm_size=$size,poll-ns=1000000001
device "polling for less than nothing" "poll-ns" shm_size=$size,poll-ns=-1
device "polling, in words" "poll-ns" shm_size=$size,poll-ns=long
device "wait" "wait" shm_size=$size,wait=long
device "a timeout" "request-timeout" shm_size=$size,request-timeout=soon
device "export beyond the end" "export-size" \
    shm_size=$size,export-base=0xfffffffffffff000,export-size=0x2000
device "a name too long" "name expected" \
    shm_size=$size,name=123456789012345678901234567890123
device "no such property" "colour" shm_size=$size,colour=red

# The platform device.
mapfile -t links < <(sockets_listen ep)
arm "no size" "memexpose-size" memexpose-ep=ep "${links[@]}"
arm "size 0" "memexpose-size" memexpose-ep=ep,memexpose-size=0 "${links[@]}"
arm "size not of whole pages" "memexpose-size 0x1234" \
    memexpose-ep=ep,memexpose-size=0x1234 "${links[@]}"
arm "no chardevs" "ep-mem" memexpose-ep=ep,memexpose-size=$size
arm "one chardev" "ep-intr" memexpose-ep=ep,memexpose-size=$size \
    "${links[@]:0:2}"
arm "a window that no CPU reaches" "memexpose-size 0x8000000000" \
    memexpose-ep=ep,memexpose-size=0x8000000000 "${links[@]}" -cpu cortex-a15
arm "a window on RAM" "memexpose-base 0x40000000" \
    memexpose-ep=ep,memexpose-base=0x40000000,memexpose-size=$size \
    "${links[@]}"
arm "a window beyond" "memexpose-base 0x1000000000000" \
    memexpose-ep=ep,memexpose-base=0x1000000000000,memexpose-size=$size \
    "${links[@]}"
arm "a window that does not begin at a page" "memexpose-base" \
    memexpose-ep=ep,memexpose-base=0x4020000010,memexpose-size=$size \
    "${links[@]}"
arm "a size without a device" "memexpose-ep" memexpose-size=$size

conclude
