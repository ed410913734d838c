#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The command line of memexpose-guest: what is bad in it is told in one line
# that names the offending word, with exit 2, and before anything is touched.

# shellcheck source=tests/guest-lib.sh
. "$(dirname "$0")/guest-lib.sh"

new_tree
add_pci 0000:00:04.0 0xfebd1000 0xc000000000 0x10000
sums() {
    reply=$(cat "$pci"/devices/0000:00:04.0/* 2> /dev/null | cksum)
}
sums
before=$reply

bad() {
    refused 2 "$@"
}

# Options and commands.
bad "a command is missing, see --help"
bad "a command is missing, see --help" -d 0
bad "'-x': unknown option, see --help" -x
bad "'--what': unknown or ambiguous option, see --help" --what list
bad "'-d': a word is missing behind it" -d
bad "'--root': a word is missing behind it" --root
bad "--root: '$directory/none': No such file or directory, expected a \
directory" --root "$directory/none" list
: > "$directory/file"
bad "--root: '$directory/file': Not a directory" --root="$directory/file" list
bad "'peek': unknown command, expected one of: list enable" peek 0
bad "'List': unknown command" List
bad "'': unknown command" ''

# Too many words, too few.
for name in list disable status; do
    bad "$name: 'more': one word too many, expected '$name'" $name more
done
for name in read write dump load sum fill reg intr lread lwrite ldump lload \
    lsum lfill; do
    bad "'$name': a word is missing, expected '$name " $name
done
bad "enable: '2': one word too many" enable 1 2
bad "read: 'x': one word too many, expected 'read ADDR [SIZE]'" read 0 8 x
bad "write: '9': one word too many" write 0 1 8 9
bad "'0': a word is missing, expected 'write ADDR VALUE [SIZE]'" write 0
bad "'0': a word is missing, expected 'dump ADDR LEN [FILE]'" dump 0
bad "'0': a word is missing, expected 'load ADDR FILE'" load 0
bad "'0': a word is missing, expected 'sum ADDR LEN'" sum 0
bad "'0': a word is missing, expected 'reg OFFSET SIZE [VALUE]'" reg 0
bad "dump: '3': one word too many" dump 0 1 2 3
bad "bench: '3': one word too many" bench 0 8 3
bad "bench: '9': one word too many" bench 0 8 1 2 3 4 5 6 7 9
bad "bench: '--unmapped': an ADDR is missing behind it" bench 0 --unmapped
bad "bench: '--fast': expected --write, --combine, --unmapped ADDR, \
--interrupts, --answer, --poll or --irq" bench --fast
bad "bench: '--write': expected an ADDR where it may write" bench --write
for name in --poll --irq; do
    bad "bench: '$name': expected --interrupts or --answer with it" \
        bench 0 $name
done
for name in --write --combine "--unmapped 0" "8"; do
    # shellcheck disable=SC2086 # words
    bad "bench: '--answer': expected 'bench --answer [TIMEOUT_MS] \
[--poll|--irq]'" bench 0 $name --answer
done
bad "bench: 'soon': expected TIMEOUT_MS" bench --answer soon
bad "intr: 'send': expected 'send TYPE [HEXDATA]'" intr send
bad "intr: '00': expected 'send TYPE [HEXDATA]'" intr send 1 00 00
bad "intr: '2': one word too many, expected 'recv [TIMEOUT_MS] " intr recv 1 2
bad "intr: '4': one word too many, expected 'intr send" intr recv 1 2 3 4

# Numbers.
number="expected ADDR, 0x... or decimal, K, M or G may follow"
for word in '' x 0x -8 ' 8' '8 ' 8KB 1.5M 0b1; do
    bad "read: '$word': $number" read "$word"
done
bad "sum: 'x': $number" sum x 1
bad "load: 'x': $number" load x "$directory/file"
bad "bench: 'x': $number" bench x
bad "bench: 'x': $number" bench 0 --unmapped x
bad "read: '16E': $number" read 16E
bad "read: '0x10000000000000000': past 2^64" read 0x10000000000000000
bad "read: '17179869184G': past 2^64" read 17179869184G
bad "sum: '0': size 0, expected LEN of at least 1" sum 0 0
bad "dump: 'all': expected LEN" dump 0 all
bad "fill: '0': size 0" fill 0 0
bad "fill: 'x': expected a VALUE" fill 0 8 x
bad "bench: '0': size 0" bench 0 0
bad "dump: '2': passes 2^64" dump 0xffffffffffffffff 2
for word in 0 3 16 -1 0x8 ''; do
    bad "read: '$word': expected the size of an access: 1, 2, 4 or 8" \
        read 0 "$word"
    bad "reg: '$word': expected the size of an access" reg 0 "$word"
    bad "write: '$word': expected the size of an access" write 0 0 "$word"
done
bad "write: '256': too large, expected a VALUE of 1 byte" write 0 256 1
bad "write: '0x10000': too large, expected a VALUE of 2 bytes" \
    write 0 0x10000 2
bad "write: 'x': expected a VALUE" write 0 x
bad "reg: '4G': too large, expected a VALUE of 4 bytes" reg 0 4 4G
bad "enable: 'soon': expected TIMEOUT_MS, a time in milliseconds" enable soon
bad "enable: '-1': expected TIMEOUT_MS" enable -1
bad "intr: 'now': expected TIMEOUT_MS" intr recv now
bad "intr: '--IRQ': expected TIMEOUT_MS" intr recv --IRQ

# Alignment, and the end of the registers.
bad "read: '4': not aligned, expected an ADDR that is a multiple of 8" read 4
bad "read: '0x1': not aligned, expected an ADDR that is a multiple of 2" \
    read 0x1 2
bad "write: '0x102': not aligned" write 0x102 0 4
bad "lread: '1': not aligned" lread 1
bad "bench: '4': not aligned" bench 4
bad "bench: '12': not aligned, expected an ADDR that is a multiple of 8" \
    bench 0 --unmapped 12
bad "reg: '0x404': not aligned, expected an OFFSET that is a multiple of 8" \
    reg 0x404 8
bad "reg: '4K': outside the registers, expected an OFFSET of at most 0xfff" \
    reg 4K 1
bad "reg: '0xffc': outside the registers, expected an OFFSET of at most \
0xff8" reg 0xffc 8
bad "reg: '0xffffffffffffffff': outside the registers" \
    reg 0xffffffffffffffff 1

# Interrupts.
bad "intr: 'wait': expected 'send' or 'recv'" intr wait
bad "intr: 'x': expected a VALUE" intr send x
bad "intr: '123': expected HEXDATA, an even count of hexadecimal digits" \
    intr send 1 123
bad "intr: '0x12': expected HEXDATA" intr send 1 0x12
bad "258 digits, expected HEXDATA of at most 256" \
    intr send 1 "$(printf '%0258d' 0)"

sums
equal "nothing was touched" "$reply" "$before"

# Help names each command, and none of its lines is too long.
cases=$((cases + 1))
call --help
if [ "$status" != 0 ] || [ -s "$directory/err" ]; then
    complain "--help"
fi
for name in list enable disable status read write dump load sum fill lread \
    lwrite ldump lload lsum lfill reg intr bench; do
    grep -q "^  $name " "$directory/out" || complain "--help: no '$name'"
done
grep -E '^.{80}' "$directory/out" && complain "--help: a line is too long"
version=${package_version:-$(sed -n 's/^AC_INIT(.*\[\(.*\)\])$/\1/p' \
    "${top_srcdir:-$(dirname "$0")/..}/configure.ac")}
shows "memexpose-guest $version" --version

conclude
