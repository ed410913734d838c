#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Two memexpose-sim: memory of every kind through the window, what is shared
# and what stays on the link.

# shellcheck source=tests/sim-lib.sh
. "$(dirname "$0")/sim-lib.sh"

size=$((1024 * 1024 + 65536))
dd if=/dev/urandom of="$directory/file" bs=65536 count=17 2> /dev/null
dd if="$directory/file" of="$directory/larger" bs=65536 count=2 2> /dev/null
dd if="$directory/file" of="$directory/odd" bs=12345 count=1 2> /dev/null
dd if=/dev/zero of="$directory/ro" bs=4096 count=2 2> /dev/null
printf 'left alone' | dd of="$directory/ro" conv=notrunc 2> /dev/null

digest() {
    sha256sum < "$1"
}

# Kinds of memory, each at its own MiB.
launch a --listen "$name" --name=exporter \
    --ram "0:$size,file=$directory/file" \
    --ram 8M:64K,private \
    --ram "9M:64K,file=$directory/larger" \
    --ram 10M:64K \
    --ram 11M:64K,ro \
    --ram "12M:8K,ro,file=$directory/ro" \
    --ram "13M:12345,file=$directory/odd" \
    --mmio 14M:64K --mmio 15M:64,model=counter --window 4G,at=16G
launch b --connect "$name" --name=importer

# Lazy: nothing is mapped before it is touched, and once it is, no more
# request goes over the link.
mapped b ''
counted b requests_sent 0
expect b "dump 0 $size $directory/copy; reg 0x28 1" 0x00
equal "the file, through the window" "$(digest "$directory/copy")" \
    "$(digest "$directory/file")"
counted b requests_sent 1
counted b mapped_bytes $size
counted b mapped_ranges 1
mapped b '0x0 0x110000 rw;'
rm "$directory/copy"
expect b "dump 0 $size $directory/copy; reg 0x28 1" 0x00
equal "the file, once more" "$(digest "$directory/copy")" \
    "$(digest "$directory/file")"
counted b requests_sent 1
counted a requests_served 1
counted a shares_sent 1
counted b shares_received 1
equal "messages in the trace" \
    "$(grep -c ' mem READ' "$directory/b.trace")" 2
traced b 'READ_BLOCK_RET prio 3 result 0'
traced b 'share fd start 0x0 size 0x110000 offset 0x0 rw'
pid_of b
contains "/proc/$pid/maps" "$directory/file"

# Mapped, both see one memory; the file too.
expect b 'write 0x1000 0x1122334455667788; read 0x1004 2' 0x3344
expect a 'lread 0x1000' 0x1122334455667788
expect a 'lwrite 0x1fff 0xaa 1; lread 0x1ff8' \
    "0xaa$(od -An -v -tx1 -j8184 -N7 "$directory/file" |
        tr -d '\n' | awk '{ for (i = NF; i; i--) printf "%s", $i }')"
ask b 'read 0x1ff8'
equal "what the exporter wrote" "${reply%??????????????}" 0xaa
equal "what reached the file" \
    "$(od -An -tx1 -j4096 -N8 "$directory/file")" ' 88 77 66 55 44 33 22 11'
counted b requests_sent 1

# private, and a file larger than its range: on the link, and right.
expect b 'write 8M 0xfedc 2; read 8M' 0x000000000000fedc
expect a 'lread 8M 2; lwrite 0x800001 7 1; lread 0x800001 1' 0xfedc 0x07
expect b 'read 8M 2; read 8M 1' 0x07dc 0xdc
counted b requests_sent 5
traced b 'READ_RET prio 3 result 0 value 0x000000000000fedc share none'
expect b "dump 9M 64K $directory/copy; reg 0x28 1" 0x00
head -c 65536 "$directory/larger" | cmp -s - "$directory/copy" ||
    complain "the larger file, over the link"
counted b requests_sent $((5 + 1))
counted b blocks_sent 2 # and that of the first dump
mapped b '0x0 0x110000 rw;'
expect b 'write 9M 0x55 1; reg 0x28 1' 0x00
equal "the larger file" "$(od -An -tx1 -N1 "$directory/larger")" ' 55'

# Ragged: whole pages are mapped, the end stays on the link.
expect b "dump 13M 12345 $directory/copy; reg 0x28 1" 0x00
cmp -s "$directory/odd" "$directory/copy" || complain "the ragged file"
mapped b '0x0 0x110000 rw;0xd00000 0x3000 rw;'

# Registers: never mapped, each access counts exactly once.
counter b requests_sent
before=$reply
expect b 'read 15M; read 15M; read 15M 1; write 15M 9 4; read 15M 4' \
    0x0000000000000000 0x0000000000000001 0x02 0x00000004
expect a 'lread 15M 2; lread 15M 2' 0x0005 0x0006
expect b 'read 0xf00008 2; read 15M 1' 0x0007 0x08
counted b requests_sent $((before + 7))
expect b 'write 14M 0x0102030405060708; read 14M 1; read 0xe00002 2' \
    0x08 0x0506
expect b 'write 0xe0000f 0xff 1; write 0xe0000d 0x99 1; read 0xe00008' \
    0xff00990000000000
expect a 'lread 0xe00004 4; lwrite 14M 1 1; lread 14M 1' 0x01020304 0x01
expect b 'read 14M 4' 0x05060701
mapped b '0x0 0x110000 rw;0xd00000 0x3000 rw;'

# Read-only: mapped so, and a write is refused.
expect b 'read 11M; read 12M' 0x0000000000000000 0x6f6c61207466656c
mapped b "0x0 0x110000 rw;0xb00000 0x10000 ro;0xc00000 0x2000 ro;\
0xd00000 0x3000 rw;"
traced b 'share fd start 0xb00000 size 0x10000 offset 0x0 ro'
traced b 'share fd start 0xc00000 size 0x2000 offset 0x0 ro'
pid_of b
contains "/proc/$pid/maps" "$directory/ro"
equal "rights of the mapped read-only file" \
    "$(awk -v file="$directory/ro" '$6 == file { print $2 }' \
        "/proc/$pid/maps")" r--s
equal "rights of the mapped memfd" \
    "$(grep memfd: "/proc/$pid/maps" | awk '{ print $2 }')" r--s
fails b 'write 11M 1' "write 11M: access denied"
equal "result on the wire" \
    "$(grep -c '<- mem WRITE_RET prio 3 result 4 share none' \
        "$directory/b.trace")" 1
launch b --connect "$name" --name=importer
fails b 'write 0xc00008 1 4' "write 0xc00008: access denied"
launch b --connect "$name" --name=importer
fails b "load 12M $directory/odd" "load 0xc00000: access denied"
expect a 'lread 11M; lread 0xc00008 1' 0x0000000000000000 0x6e
equal "the read-only file" "$(head -c 10 "$directory/ro")" 'left alone'

# What a memfd's descriptor that is given away is good for: nobody can open
# it anew to write it if it is read-only.  The other one shows that the way
# to try this is right.
pid_of a
writable=0 denied=0
for link in "/proc/$pid/fd"/*; do
    case $(readlink "$link") in
    /memfd:*)
        if printf x 2> /dev/null | dd of="$link" bs=1 seek=4096 \
            conv=notrunc 2> /dev/null; then
            writable=$((writable + 1))
        else
            denied=$((denied + 1))
        fi
        ;;
    esac
done
holds "descriptors of the read-only memory: none" $denied != 0
holds "descriptors of writable memory: none" $writable != 0
expect a 'lread 0xb01000; lread 0xa01000' \
    0x0000000000000000 0x0000000000000078

# A window is answered there, with a decode error; also if both have one.
launch b --connect "$name" --name=importer --window 32G,at=1G
sync_with b
expect b 'read 14M 4' 0x05060701
fails b 'read 16G' 'read 16G: decode error'
traced b 'READ_RET prio 3 result 2 value 0x0000000000000000 share none'
launch b --connect "$name" --name=importer --window 32G,at=1G
sync_with b
fails a 'read 1G' 'read 1G: decode error'
equal "result on the wire" \
    "$(grep -c '<- mem READ_RET prio 2 result 2 ' "$directory/a.trace")" 1
send_signal TERM b
gone b 0

# A descriptor that somebody here can write is not shared read-only.
cp "$directory/ro" "$directory/both"
launch a --listen "$name" --name=exporter \
    --ram "0:8K,file=$directory/both" --ram "1M:8K,ro,file=$directory/both"
launch b --connect "$name" --name=importer
expect b 'read 1M; read 1M' 0x6f6c61207466656c 0x6f6c61207466656c
lacks "$directory/b.trace" 'share fd start 0x100000'
mapped b ''
expect b 'read 0; read 1M 1' 0x6f6c61207466656c 0x6c
mapped b '0x0 0x2000 rw;'
fails b 'write 1M 1' 'access denied'
leave a

# read-only memory that stays on the link; --share=off
launch a --listen "$name" --name=exporter --share=off --ram 0:64K \
    --ram 1M:64K,ro --ram 2M:64K,ro,private
launch b --connect "$name" --name=importer
expect b 'write 0 0x1234; read 0; read 0; read 1M; read 2M' \
    0x0000000000001234 0x0000000000001234 0x0000000000000000 \
    0x0000000000000000
counted b requests_sent 5
counted a shares_sent 0
mapped b ''
lacks "$directory/b.trace" 'share fd'
fails b 'write 1M 1' 'write 1M: access denied'
launch b --connect "$name"
fails b 'write 2M 1' 'write 2M: access denied'
fails a 'lwrite 2M 1' 'lwrite 2M: access denied'

# Own read-only memory, while a peer is there.
for command in 'lwrite 11M 1' "lload 11M $directory/odd" 'lwrite 12M 1'; do
    launch a --listen "$name" --ram 11M:64K,ro \
        --ram "12M:8K,ro,file=$directory/ro"
    launch b --connect "$name"
    expect b 'read 11M 1; read 12M 1' 0x00 0x6c
    fails a "$command" ': access denied'
    fails b 'read 11M 1' 'read 11M: not connected'
done
equal "the read-only file" "$(head -c 10 "$directory/ro")" 'left alone'

# --seals: of a file, which has none, and a memfd, which has.
for seals in require prefer ignore; do
    launch a --listen "$name" --ram "0:8K,file=$directory/both" --ram 1M:64K
    launch b --connect "$name" --seals=$seals
    expect b 'read 0; read 1M; read 0; read 1M' 0x6f6c61207466656c \
        0x0000000000000000 0x6f6c61207466656c 0x0000000000000000
    case $seals in
    require)
        mapped b '0x100000 0x10000 rw;'
        counted b requests_sent 3
        contains "$directory/b.trace" 'not sealed against shrinking'
        ;;
    *)
        mapped b '0x0 0x2000 rw;0x100000 0x10000 rw;'
        counted b requests_sent 2
        ;;
    esac
    expect a 'unmap 0; map 4M:64K; reg 0x28 1' 0x00
    leave b
    equal "--seals=$seals: warnings" \
        "$(grep -c 'not sealed against shrinking' "$directory/b.err")" \
        "$([ $seals = prefer ] && echo 1 || echo 0)"
    leave a
done

# A file that somebody shortens: the importer lives.
cp "$directory/file" "$directory/short"
launch a --listen "$name" --ram "0:$size,file=$directory/short"
launch b --connect "$name" --seals=ignore
ask b 'read 0x100000'
: > "$directory/short"
tell b 'read 0x100000; enable; reg 0x28 1'
answer b
answer b
equal "after the fault" "$reply" 0x00
counted b violations 0
leave b
leave a

# Random data through the window and back, all kinds of memory, odd places.
head -c 30001 "$directory/file" > "$directory/random"
launch a --listen "$name" --ram 1M:64K --ram 2M:64K,private --mmio 3M:64K
launch b --connect "$name"
for start in 1 2 3; do
    address=$((start * 1048576 + 4093))
    rm -f "$directory/copy" "$directory/own"
    expect b "load $address $directory/random
        dump $address 30001 $directory/copy; reg 0x28 1" 0x00
    expect a "ldump $address 30001 $directory/own; reg 0x28 1" 0x00
    cases=$((cases + 2))
    cmp -s "$directory/random" "$directory/copy" ||
        complain "load, then dump at $start MiB"
    cmp -s "$directory/random" "$directory/own" ||
        complain "load, then ldump at $start MiB"
done
expect a "lload 2M $directory/random; reg 0x28 1" 0x00
expect b "dump 2M 30001 $directory/copy; reg 0x28 1" 0x00
cmp -s "$directory/random" "$directory/copy" || complain "lload, then dump"
mapped b '0x100000 0x10000 rw;'

# As text: what hexdump -C shows of as many bytes, at their addresses.
head -c 1000 "$directory/random" > "$directory/text"
dd if=/dev/zero bs=100 count=1 2> /dev/null >> "$directory/text"
echo end >> "$directory/text"
expect b "load 1M $directory/text; load 2M $directory/text; reg 0x28 1" 0x00
tell b 'dump 1M 1104; dump 2M 1104; dump 0x200003 40'
leave_b() {
    exec 5>&-
    cat <&6 > "$directory/shown"
    gone b 0
}
leave_b
if command -v hexdump > /dev/null; then
    for start in 1 2; do
        head -c $((start * 1048576)) /dev/zero |
            cat - "$directory/text" > "$directory/padded"
        hexdump -C -s $((start * 1048576)) "$directory/padded"
    done > "$directory/expected"
    hexdump -C -s $((0x200003)) -n 40 "$directory/padded" \
        >> "$directory/expected"
    cmp -s "$directory/shown" "$directory/expected" ||
        complain "dump is not what hexdump -C shows"
fi
holds "dumps show something" -s "$directory/shown"
leave a

# The window: up to the end of the announced span, to 2^64 without hello.
launch a --listen "$name" --ram 1M:64K --ram 3M:64K
launch b --connect "$name"
expect b 'read 0x30fff8' 0x0000000000000000
counted b requests_sent 1
fails b 'read 0x30fff9' 'read 0x30fff9: '
lacks "$directory/b.trace" 'offset 0x30fff9'
equal "beyond the window" "$(grep -c 'outside.*window' "$directory/b.err")" 1
launch b --connect "$name"
fails b 'read 2M' 'decode error'
traced b 'READ prio 3 offset 0x200000'
launch b --connect "$name" --window 0x100008
expect b 'read 1M' 0x0000000000000000
fails b 'read 0x100001' 'outside'
launch b --connect "$name" --hello=off
expect b 'read 1M' 0x0000000000000000
fails b 'read 0xfffffffffffffff8' 'decode error'
traced b 'READ prio 3 offset 0xfffffffffffffff8'
leave a
launch a --listen "$name" --ram 0xfffffffffffffff0:16
launch b --connect "$name"
expect b 'write 0xfffffffffffffff8 9; read 0xfffffffffffffff8' \
    0x0000000000000009
leave b
leave a

conclude
