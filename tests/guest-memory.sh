#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# memexpose-guest and memory: the window, and this machine's own.

# shellcheck source=tests/guest-lib.sh
. "$(dirname "$0")/guest-lib.sh"

new_tree
add_pci 0000:00:04.0 0xfebd1000 0xc000000000 0x1000000
window=$pci/devices/0000:00:04.0/resource1
regs=$pci/devices/0000:00:04.0/resource0
file=$directory/file
noise=$directory/noise

sum_of() {
    reply=$(sha256sum < "$1")
    reply=${reply%% *}
}

# Accesses of each size.
poke "$window" 0x1000 0102030405060708090a0b0c0d0e0f10
shows 0x0807060504030201 read 0x1000
shows 0x100f0e0d0c0b0a09 read 4104 8
shows 0x08070605 read 0x1004 4
shows 0x0201 read 4K 2
shows 0x03 read 0x1002 1
shows '' write 0x1000 0xa1a2a3a4a5a6a7a8
shows '' write 0x100c 0xb1b2b3b4 4
shows '' write 0x100a 0xc1c2 2
shows '' write 0x1009 0xd1 1
peek "$window" 0xff8 32
equal "written" "$reply" \
    0000000000000000a8a7a6a5a4a3a2a109d1c2c1b4b3b2b10000000000000000
shows 0x0000000000000000 read 0xfffff8
shows 0x00 read 0xffffff 1
refused 1 "read: '16M': passes the end of the window, expected at most \
0x1000000" read 16M
refused 1 "write: '0xffffffffffffffff': passes the end of the window" \
    write 0xffffffffffffffff 0 1
poke "$window" 0xfffff8 a1
shows 0x00000000000000a1 read 0xfffff8

# All ones may be an answer, and may be none.
shows '' write 0 0xffffffff 4
cases=$((cases + 1))
call read 0 4
if [ "$status" != 0 ] || [ "$(cat "$directory/out")" != 0xffffffff ] ||
    ! grep -q '^memexpose-guest: read 0: all ones: ' "$directory/err"; then
    complain "read of all ones"
fi
shows 0x00000000ffffffff read 0

# Ranges, at any address and of any size.
dd if=/dev/urandom of="$noise" bs=64K count=144 2> /dev/null # 9 MiB
shows '' load 0x2000 "$noise"
sum_of "$noise"
shows "$reply" sum 0x2000 9M
shows '' dump 0x2000 9M "$file"
cmp -s "$noise" "$file"
equal "dumped as loaded" $? 0
cmp -s -i 0:8192 -n 9437184 "$noise" "$window"
equal "loaded" $? 0
dd if="$noise" of="$file" bs=1 skip=3 count=5000 2> /dev/null
sum_of "$file"
shows "$reply" sum 0x2003 5000
shows '' load 0xa00005 "$file"
shows "$reply" sum 0xa00005 5000
peek "$window" 0xa00000 5
equal "before what was loaded" "$reply" 0000000000
peek "$window" $((0xa00005 + 5000)) 8
equal "behind what was loaded" "$reply" 0000000000000000
for length in 1 2 7 8 9 15 17; do
    dd if="$noise" of="$file" bs=1 skip=6 count=$length 2> /dev/null
    sum_of "$file"
    shows "$reply" sum 0x2006 $length
done
: > "$file"
shows '' load 0 "$file"

# Text as hexdump -C has it.
printf 'a memory, and its end\n' > "$file"
shows '' load 0x20 "$file"
shows '00000020  61 20 6d 65 6d 6f 72 79  2c 20 61 6e 64 20 69 74  |a memory, and it|
00000030  73 20 65 6e 64 0a                                 |s end.|
00000036' dump 0x20 22
shows '00b00000  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
*
00b00040  00                                                |.|
00b00041' dump 0xb00000 65

# Noise is the same for the same seed, wherever it is, and it is what its sum
# says.
call fill 0xb00001 70001 7
seven=$(cat "$directory/out")
equal "digits of a sum" ${#seven} 64
shows "$seven" sum 0xb00001 70001
shows "$seven" fill 0xb80000 70001 0x7
call fill 0xb80000 70001
zero=$(cat "$directory/out")
[ "$zero" != "$seven" ]
equal "another seed, another sum" $? 0
shows "$zero" fill 0xb00000 70001 0
dd if="$window" of="$file" bs=1 skip=$((0xb00000)) count=70001 2> /dev/null
sum_of "$file"
equal "sum of noise" "$reply" "$zero"
[ "$(gzip -c "$file" | wc -c)" -gt 70000 ]
equal "noise cannot be packed" $? 0

# What does not fit is refused before anything is written.
printf 12345678 > "$file"
refused 1 "load: '$file': passes the end of the window" load 0xfffff9 "$file"
peek "$window" 0xfffff8 8
equal "the end of the window" "$reply" a100000000000000
refused 1 "load: '$noise': passes the end of the window" load 15M "$noise"
peek "$window" 0xf00000 8
equal "where what does not fit would begin" "$reply" 0000000000000000
shows '' load 0xfffff8 "$file"
peek "$window" 0xfffff8 8
equal "the end of the window, loaded" "$reply" 3132333435363738
refused 1 "sum: '16M': passes the end of the window" sum 1 16M
refused 1 "dump: '0x1000001': passes the end" dump 0 0x1000001
refused 1 "fill: '17M': passes the end" fill 0 17M
mkfifo "$directory/fifo"
cat "$noise" "$noise" > "$directory/twice"
$limit dd if="$directory/twice" of="$directory/fifo" 2> /dev/null &
refused 1 "load: '$directory/fifo': passes the end of the window" \
    load 0x100 "$directory/fifo"
wait

# Files.
refused 1 "load: '$directory/none': No such file" load 0 "$directory/none"
refused 1 "load: '$directory': Is a directory" load 0 "$directory"
refused 1 "dump: '$directory/none/x': No such file" \
    dump 0 8 "$directory/none/x"
refused 1 "dump: '/dev/full': No space left" dump 0 8 /dev/full
cases=$((cases + 1))
# shellcheck disable=SC2086 # the program may come with a wrapper
$guest --root="$tree" dump 0 8 > /dev/full 2> "$directory/err"
equal "standard output is full" $? 1
grep -q '^memexpose-guest: standard output: ' "$directory/err" ||
    complain "standard output is full: not said"

# Memory that is not there: a bus error, and what is left of a file goes.
truncate -s 4K "$window"
refused 1 "read: bus error at 0x1000: the peer has nothing there" read 0x1000
refused 1 "write: bus error at 0x1004: the peer has nothing there" \
    write 0x1004 1 4
refused 1 "sum: bus error at 0x1000: " sum 0xff3 100
refused 1 "load: bus error at 0x1000: " load 0xffa "$file"
peek "$window" 0xffa 6
equal "before the bus error" "$reply" 313233343536
refused 1 "fill: bus error at 0x1000: " fill 0x1000 8
refused 1 "bench: bus error at 0x2000: " bench 0x2000 8
rm "$file"
refused 1 "dump: bus error at 0x2000: " dump 0x2000 10000 "$file"
[ ! -e "$file" ]
equal "no file if there is nothing" $? 0
truncate -s 64K "$window"
refused 1 "dump: bus error at 0x10000: " dump 0xe000 16K "$file"
[ ! -e "$file" ]
equal "no file if there is but a part" $? 0

# A device without a peer: whatever it gave, it counts for nothing.
poke "$regs" 0 00
down="the device is disabled or its peer not there, expected 'enable' before"
refused 1 "read: $down" read 0
refused 1 "write: $down" write 0 1
refused 1 "sum: $down" sum 0 100
refused 1 "fill: $down" fill 0 100
refused 1 "dump: $down" dump 0 100
refused 1 "read: bus error at 0x20000: $down" read 0x20000
poke "$regs" 0 ff # a device that was taken out
refused 1 "read: $down" read 0
poke "$regs" 0 01

# Another peer comes in the middle of a transfer: the first 4 MiB are there
# when the rest is written to the FIFO.
truncate -s 16M "$window"
cases=$((cases + 1))
# shellcheck disable=SC2086 # the program may come with a wrapper
$guest --root="$tree" load 0 "$directory/fifo" 2> "$directory/err" &
pid=$!
{
    dd if="$noise" bs=64K count=64 2> /dev/null
    poke "$regs" 0x14 04
    cat "$noise"
} | $limit dd of="$directory/fifo" bs=64K 2> /dev/null
wait $pid
equal "another peer came: exit status" $? 1
grep -qF "load: the peer left meanwhile, and came again" "$directory/err" ||
    complain "another peer came: not said"

# Measuring.
# figures NAME...: min, median and p99 of each, in nanoseconds
figures() {
    for figure; do
        printf '%s_ns_min,%s_ns_median,%s_ns_p99,' "$figure" "$figure" \
            "$figure"
    done
}

# rates NAME...: of the window, of own memory, and the one by the other
rates() {
    for figure; do
        printf '%s_bytes_per_second,own_%s_bytes_per_second,%s_ratio,' \
            "$figure" "$figure" "$figure"
    done
}

# measures FIGURES WORD...: it prints these, each with a number
measures() {
    measures_figures=$1
    shift
    cases=$((cases + 1))
    call bench "$@"
    if [ "$status" != 0 ] ||
        [ "$(cut -d ' ' -f 1 "$directory/out" | tr '\n' ,)" != \
            "$measures_figures" ] ||
        grep -qvE '^[a-z0-9_]+ [0-9]+(\.[0-9]{3})?$' "$directory/out"; then
        complain "bench $*"
    fi
}
latencies=$(figures clock register_read window_read)
for words in "0" "0x1000 16" "8 5M" "0xfffff8"; do
    # shellcheck disable=SC2086 # words
    measures "$latencies$(rates read)" $words
done
measures "$latencies$(figures unmapped_read)$(rates read)" \
    0 4K --unmapped 0x8000

# Combined, it is another file.
refused 1 "bench: '--combine': expected '/sys/bus/pci/devices/0000:00:04.0/\
resource1_wc', as for a device with prefetchable=on" bench 0 --combine
cp "$window" "${window}_wc"
truncate -s 0 "$window"
measures "$latencies$(rates read)" 0 --combine
mv "${window}_wc" "$window"

# What is written is what was there, and only on request.
poke "$window" 0x1ff8 1111111111111111222222222222222233
sum_of "$window"
whole=$reply
measures "$latencies$(rates read)" 0x2000 16
measures "$latencies$(rates read write)" 0x2000 16 --write
measures "$latencies$(rates read write)" --write 0x1000 64K
sum_of "$window"
equal "the window after writing" "$reply" "$whole"
refused 1 "bench: 'bench': passes the end of the window" bench # of the span
poke "$regs" 0x18 0000100000000000
cases=$((cases + 1))
call bench
equal "bench where the peer's memory begins" "$status" 0
refused 1 "bench: '16M': passes the end of the window" bench 8 16M
refused 1 "bench: '16M': passes the end of the window" bench --unmapped 16M
refused 1 "bench: '0x1000000': passes the end of the window" bench 0x1000000
poke "$regs" 0 00
cases=$((cases + 1))
call bench 0 1K
[ "$status:$(cat "$directory/err")" = "1:memexpose-guest: bench: $down" ] ||
    complain "bench without a peer"
poke "$regs" 0 01

# This machine's own memory needs no device.
new_tree
refused 1 "lread: cannot open '/dev/mem': No such file" lread 0
truncate -s 1M "$tree/dev/mem"
poke "$tree/dev/mem" 0x3000 1122334455667788
shows 0x8877665544332211 lread 0x3000
shows 0x6655 lread 0x3004 2
shows '' lwrite 0x3008 0x99 1
peek "$tree/dev/mem" 0x3000 10
equal "own memory" "$reply" 11223344556677889900
call lfill 0x4000 64K 1
reply=$(cat "$directory/out")
shows "$reply" lsum 0x4000 64K
shows '' ldump 0x4000 64K "$file"
shows '' lload 0x20000 "$file"
shows "$reply" lsum 128K 64K
refused 1 "lread: bus error at 0x100000: nothing there" lread 1M
refused 1 "lsum: bus error at 0x100000: nothing there" lsum 0xff000 8K

conclude
