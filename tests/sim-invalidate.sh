#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Two memexpose-sim: memory comes and goes while the peer is there.

# shellcheck source=tests/sim-lib.sh
. "$(dirname "$0")/sim-lib.sh"

# first_line SLOT TEXT: where it is in the trace becomes $reply.
first_line() {
    reply=$(grep -nF -e "$2" "$directory/$1.trace" | head -n 1 | cut -d : -f 1)
    holds "$1.trace: no '$2'" -n "$reply"
}

# in_order SLOT EARLIER LATER
in_order() {
    first_line "$1" "$2"
    earlier=${reply:-0}
    first_line "$1" "$3"
    holds "$1.trace: '$2' comes after '$3'" "$earlier" -lt "${reply:-0}"
}

dd if=/dev/urandom of="$directory/file" bs=65536 count=1 2> /dev/null

# Taken back while it is mapped: when unmap has returned the importer has let
# go of it, whether or not it was asked.  Both ways.
for exporter in a b; do
    [ "$exporter" = a ] && importer=b || importer=a
    launch a --listen "$name" --ram "1M:64K,file=$directory/file" --ram 2M:64K
    launch b --connect "$name" --ram "1M:64K,file=$directory/file" \
        --ram 2M:64K
    expect "$importer" 'read 1M 1; read 2M 1' \
        0x"$(od -An -tx1 -N1 "$directory/file" | tr -d ' ')" 0x00
    mapped "$importer" '0x100000 0x10000 rw;0x200000 0x10000 rw;'
    pid_of "$importer"
    # its own mapping of the same file is at other addresses
    held=$(grep -c "$directory/file" "/proc/$pid/maps")
    expect "$exporter" 'unmap 1M; reg 0x28 1' 0x00
    equal "$importer: mappings of the file after unmap" \
        "$(grep -c "$directory/file" "/proc/$pid/maps")" $((held - 1))
    in_order "$exporter" '-> mem REG_INV prio' '<- mem REG_INV_RET'
    in_order "$importer" '<- mem REG_INV prio' '-> mem REG_INV_RET'
    equal "$importer: what was taken back" \
        "$(sed -n 's/.*<- mem REG_INV prio . //p' \
            "$directory/$importer.trace")" 'start 0x100000 size 0x10000'
    mapped "$importer" '0x200000 0x10000 rw;'
    counted "$exporter" invalidations_sent 1
    counted "$importer" invalidations_received 1
    counted "$importer" mapped_bytes 65536
    fails "$importer" 'read 1M' 'read 1M: decode error'
    leave "$exporter"
done

# What was never shared is taken back without a word.
launch a --listen "$name" --ram 1M:64K --ram 2M:64K,private --mmio 3M:4K \
    --ram 4M:64K
launch b --connect "$name" --window 1G
expect b 'read 2M; read 3M' 0x0000000000000000 0x0000000000000000
expect a 'unmap 1M; unmap 2M; unmap 3M; reg 0x28 1' 0x00
counted a invalidations_sent 0
lacks "$directory/a.trace" REG_INV

# map, then read; taken back and mapped anew with other bytes; and again.
expect b 'read 4M' 0x0000000000000000
for round in 1 2 3; do
    expect a "map 8M:64K; lwrite 8M $round; reg 0x28 1" 0x00
    expect b 'read 8M; read 8M' "0x000000000000000$round" \
        "0x000000000000000$round"
    mapped b '0x400000 0x10000 rw;0x800000 0x10000 rw;'
    expect a 'unmap 8M; reg 0x28 1' 0x00
    mapped b '0x400000 0x10000 rw;'
    counted a invalidations_sent $round
done
expect a "map 8M:64K,file=$directory/file; reg 0x28 1" 0x00
expect b "dump 8M 64K $directory/copy; reg 0x28 1" 0x00
cmp -s "$directory/file" "$directory/copy" || complain "the file mapped later"
expect a 'unmap 8M; map 8M:64K,private; lwrite 8M 7; reg 0x28 1' 0x00
expect b 'read 8M' 0x0000000000000007
expect a 'unmap 8M; map 8M:64K,ro; reg 0x28 1' 0x00
expect b 'read 8M' 0x0000000000000000
mapped b '0x400000 0x10000 rw;0x800000 0x10000 ro;'
counted a violations 0
counted b violations 0

# No descriptor is left of all this.
descriptors a
before=$reply
descriptors b
before_b=$reply
for round in 1 2 3 4 5 6 7 8; do
    expect a 'map 16M:64K; map 17M:64K; reg 0x28 1' 0x00
    expect b 'write 16M 1; read 16M; read 17M' 0x0000000000000001 \
        0x0000000000000000
    expect a 'unmap 17M; unmap 16M; reg 0x28 1' 0x00
done
descriptors a
equal "a: descriptors" "$reply" "$before"
descriptors b
equal "b: descriptors" "$reply" "$before_b"

# The default window ends where the span ended that was announced when the
# peer connected.
leave b
launch b --connect "$name"
expect b 'read 8M' 0x0000000000000000
expect a 'map 16M:64K; reg 0x28 1' 0x00
fails b 'read 16M' 'read 16M: outside the window'
leave a

# Both take back at the same time, while both read.
launch a --listen "$name" --ram 1M:64K,private --ram 32M:4K --window 1G
launch b --connect "$name" --ram 1M:64K,private --ram 32M:4K --window 1G
ranges='16 17 18 19 20 21 22 23 24 25'
for start in $ranges; do
    for slot in a b; do
        expect $slot "map ${start}M:64K; reg 0x28 1" 0x00
    done
done
commands=
for start in $ranges; do
    expect a "read ${start}M 1" 0x00
    expect b "read ${start}M 1" 0x00
    commands="$commands read 1M 1; unmap ${start}M; read 32M 1;"
done
tell a "$commands"
tell b "$commands"
for start in $ranges $ranges; do
    answer a
    equal "a: what it reads meanwhile" "$reply" 0x00
    answer b
    equal "b: what it reads meanwhile" "$reply" 0x00
done
sync_with a
sync_with b
for slot in a b; do
    mapped $slot '0x2000000 0x1000 rw;'
    counted $slot invalidations_sent 10
    counted $slot invalidations_received 10
done
leave b
leave a

# A peer that does not acknowledge: unmap fails at its deadline, the range is
# gone all the same, and the link is closed.
timeout=$((300 * slow))
launch a --listen "$name" --ram 1M:64K --request-timeout=$timeout
launch b --connect "$name"
expect b 'write 1M 5; read 1M' 0x0000000000000005
halt b
fails a 'unmap 1M' "unmap: '1M': the peer did not acknowledge in time"
contains "$directory/a.err" 'no answer to REG_INV in time'
contains "$directory/a.trace" '-> mem REG_INV'
lacks "$directory/a.trace" REG_INV_RET
resume b
until_true "b: the link has ended" grep -q 'link closed' "$directory/b.err"
mapped b ''
leave b

# The exporter lives on: at the prompt a command that fails ends nothing.
if script -qec true /dev/null < /dev/null > /dev/null 2>&1; then
    mkfifo "$directory/keys"
    # shellcheck disable=SC2086,SC2016
    TERM=dumb script -qfec "exec $sim --listen $name --ram 1M:64K \
        --ram 2M:64K --request-timeout=$timeout" /dev/null \
        < "$directory/keys" > "$directory/screen" 2>&1 3>&- &
    echo $! > "$directory/pid.a"
    exec 3> "$directory/keys"
    launch b --connect "$name"
    expect b 'write 1M 5; read 1M' 0x0000000000000005
    halt b
    echo 'unmap 1M' >&3
    until_true "unmap at the prompt" grep -q 'did not acknowledge' \
        "$directory/screen"
    echo 'lread 1M' >&3
    until_true "the range is gone" grep -q \
        'lread 1M: decode error' "$directory/screen"
    resume b
    until_true "b: the link has ended" grep -q 'link closed' \
        "$directory/b.err"
    expect b 'enable; read 2M 1' 0x00
    mapped b '0x200000 0x10000 rw;'
    leave b
    echo quit >&3
    wait "$(cat "$directory/pid.a")"
    equal "exit status at the prompt: a command failed" $? 1
    exec 3>&-
    rm "$directory/pid.a" "$directory/keys"
else
    echo "script(1) is not there to make a terminal"
fi

conclude
