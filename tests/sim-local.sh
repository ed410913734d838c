#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# memexpose-sim without a peer: how commands are read, what is bad in them (one
# line that names the offending word, exit 1), and those that need no peer.

set -u
LC_ALL=C
export LC_ALL
sim=${MEMEXPOSE_SIM:-${top_builddir:-.}/tools/sim/memexpose-sim}
directory=$(mktemp -d "${TMPDIR:-/tmp}/mx-XXXXXX") || exit 1
pid=
finish() {
    if [ -n "$pid" ]; then
        kill -KILL "$pid" 2> /dev/null
    fi
    rm -rf "$directory"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM
failures=0
cases=0
name=$directory/n
out=$directory/out
err=$directory/err

complain() {
    failures=$((failures + 1))
    echo "FAIL: $*"
    head -n 20 "$out" | cut -c 1-200 | sed 's/^/    stdout: /'
    head -n 20 "$err" | sed 's/^/    stderr: /'
}

# simulate ARGUMENT...: a listening peer with some memory.
simulate() {
    # shellcheck disable=SC2086 # the simulator may come with a wrapper
    $sim --listen "$name" --connect-timeout=30 --ram 0:64K \
        --ram 1M:64K,ro --mmio 2M:16 --mmio 3M:16,model=counter "$@" \
        > "$out" 2> "$err"
}

# fails TEXT COMMANDS: nothing after what fails is run.
fails() {
    cases=$((cases + 1))
    simulate -c "$2; stats" < /dev/null
    status=$?
    if [ $status != 1 ]; then
        complain "$2: exit $status instead of 1"
    elif [ "$(wc -l < "$err")" != 1 ]; then
        complain "$2: not one line"
    elif ! grep -q '^memexpose-sim: ' "$err" ||
        ! grep -qF -e "$1" "$err"; then
        complain "$2: expected '$1'"
    elif grep -q requests_sent "$out"; then
        complain "$2: the rest was run"
    fi
}

# prints EXPECTED COMMANDS
prints() {
    cases=$((cases + 1))
    # shellcheck disable=SC2059 # it has \n in it
    printf "$1" > "$directory/expected"
    simulate -c "$2" < /dev/null
    status=$?
    if [ $status != 0 ] || [ -s "$err" ]; then
        complain "$2: exit $status instead of 0, silently"
    elif ! cmp -s "$out" "$directory/expected"; then
        complain "$2: expected '$1'"
    fi
}

# How commands are read.
fails "'foo': unknown command, expected one of: read write dump" foo
fails "'Read': unknown command" 'Read 0'
fails "'lread': a word is missing, expected 'lread ADDR [1|2|4|8]'" lread
fails "lread: 'extra': one word too many, expected 'lread" 'lread 0 8 extra'
fails "'stop': one word too many" 'quit stop'
fails "expected a closing '" "lread '0"
fails 'expected a closing "' 'lread "0 8'
fails "too many words" 'a b c d e f g h i j k l m n o p q r'
prints '' ' ; ;; # lread x; foo'
prints '0x0000000000000000\n' "lread '0'x\"10\""
prints '0x00\n0x0000\n' 'lread 0 1;lread 2	2;# lread 4 4
quit; foo'

cases=$((cases + 1))
cat > "$directory/script" <<'END'
# what a script may have

lwrite 0x10 0x1122334455667788 ; lread 16
	lread 0x10 4   # with a tab
lread 0x10 2; lread 0x10 1
lread nonsense
lread 0
END
simulate --script "$directory/script" < /dev/null
status=$?
printf '0x1122334455667788\n0x55667788\n0x7788\n0x88\n' |
    cmp -s - "$out" || complain "script: what was read is wrong"
[ $status = 1 ] || complain "script: exit $status"
grep -qF "$directory/script:6: lread: 'nonsense'" "$err" ||
    complain "script: the line should be named"

cases=$((cases + 1))
printf 'lread 0 1\r\nlread 0 2' | simulate || complain "stdin: exit $?"
printf '0x00\n0x0000\n' | cmp -s - "$out" || complain "stdin"
cases=$((cases + 1))
printf 'lread 0 1\0\n' | simulate && complain "a zero byte was accepted"
grep -q "a zero byte" "$err" || complain "a zero byte was not named"

# Words of commands.
fails "lread: 'zz': expected ADDR" 'lread zz'
fails "lread: '3': expected the size of an access: 1, 2, 4 or 8" 'lread 0 3'
fails "lread: '16': expected the size" 'lread 0 16'
fails "'18446744073709551616': past 2^64" 'lread 18446744073709551616'
fails "'0xfffffffffffffff9': passes 2^64" 'lread 0xfffffffffffffff9'
fails "lwrite: '256': too large, expected a VALUE of 1 byte" 'lwrite 0 256 1'
fails "'0x10000': too large, expected a VALUE of 2" 'lwrite 0 0x10000 2'
fails "'4G': too large, expected a VALUE of 4" 'lwrite 0 4G 4'
fails "'0x10000000000000000': too large" 'lwrite 0 0x10000000000000000'
fails "lwrite: '-1': expected a VALUE" 'lwrite 0 -1'
fails "ldump: '0': size 0" 'ldump 0 0'
fails "ldump: 'all': expected LEN" 'ldump 0 all'
fails "ldump: '0xffffffffffffffff': passes 2^64" 'ldump 2 0xffffffffffffffff'
fails "intr: 'x': expected a VALUE" 'intr x'
fails "intr: '123': expected HEXDATA, an even count" 'intr 1 123'
fails "intr: '12g4': expected HEXDATA" 'intr 1 12g4'
fails "258 digits, expected HEXDATA of at most 256" \
    "intr 1 $(printf '%0258d' 0)"
fails "recv: 'soon': expected TIMEOUT_MS" 'recv soon'
fails "sleep: '1s': expected MS" 'sleep 1s'
fails "serve: '-5': expected MS" 'serve -5'
fails "reg: '3': expected the size" 'reg 0 3'
fails "reg: '0x1000': outside the registers" 'reg 0x1000 1'
fails "reg: '0xff9': outside the registers" 'reg 0xff9 8'
fails "reg: '256': too large" 'reg 0x28 1 256'
fails "map: '8M': expected START:SIZE" 'map 8M'
fails "map: '0': size 0" 'map 8M:0'

# Memory of its own.
fails "lread 0x10000: decode error" 'lread 0x10000'
fails "lread 0xfffc: decode error" 'lread 0xfffc'
fails "lwrite 0x10000: decode error" 'lwrite 0x10000 1'
fails "lwrite 1M: access denied: the memory is read-only" 'lwrite 1M 1'
fails "ldump 0x10000: decode error" 'ldump 0xfff0 32'
prints '0xfedc\n0x00000000000000fe\n' \
    'lwrite 0 0xfedc 2; lread 0 2; lread 1'
prints '0x1f\n' 'lwrite 0x1001 31 1; lread 4097 1'
prints '0x0000000000000000\n0x0000000000000001\n0x04\n' \
    'lread 3M; lread 3145728; lwrite 3M 9; lwrite 3M 9 1; lread 3M 1'
prints '0x0000000000000000\n0x0000000000000007\n' \
    'lread 2M; lwrite 2M 7; lread 2M'
prints '0x0000000000000000\n' 'map 8M:1M; lread 8M; unmap 8M'
fails "lread 8M: decode error" 'map 8M:1M; unmap 8M; lread 8M'
fails "unmap: '8M': no range starts there" 'map 8M:1M; unmap 8M; unmap 8M'
fails "unmap: '4K': no range starts there" 'unmap 4K'
fails "map: '32K:4K': overlaps 0x0:0x10000" 'map 32K:4K'
fails "map: 'model=counter': expected file=PATH, ro or private" \
    'map 8M:4K,model=counter'
fails "map: '$directory/none': No such file" \
    "map 8M:4K,file=$directory/none"
fails "lwrite 8M: access denied" 'map 8M:4K,ro; lwrite 8M 1'

fails "lread 1G: decode error" 'lread 1G'
cases=$((cases + 1))
simulate --window 1M,at=1G -c 'lread 0x40000000' < /dev/null &&
    complain "what lies in the window was read"

# Files.
random=$directory/random
dd if=/dev/urandom of="$random" bs=1000 count=65 2> /dev/null
cases=$((cases + 1))
simulate -c "lload 0 $random; ldump 0 65000 $directory/copy" < /dev/null ||
    complain "lload, ldump: exit $?"
if [ -s "$out" ] || [ -s "$err" ] || ! cmp -s "$random" "$directory/copy"
then
    complain "lload, ldump: the copy is wrong, or something was printed"
fi
: > "$directory/empty"
mkdir "$directory/a b"
cases=$((cases + 1))
simulate -c "lload 1 '$random'; ldump 1 65000 \"$directory/a b/;#\"" \
    < /dev/null || complain "quoted names: exit $?"
cmp -s "$random" "$directory/a b/;#" || complain "quoted names"
fails "lload: '$directory/empty': the file is empty" \
    "lload 0 $directory/empty"
fails "lload: '$directory/none': No such file" "lload 0 $directory/none"
fails "lload: '$directory': Is a directory" "lload 0 $directory"
fails "lload 0x10000: decode error" "lload 0x8000 $random"
fails "lload 0x100000: access denied" "lload 1M $random"
fails "ldump: '$directory/none/x': No such file" \
    "ldump 0 16 $directory/none/x"
fails "ldump: '$directory': Is a directory" "ldump 0 16 $directory"
fails "ldump 0x10000: decode error" "ldump 0 2M $directory/partial"
[ ! -e "$directory/partial" ] || complain "a partial file was left"
echo old > "$directory/old"
fails "ldump 0x400000: decode error" "ldump 4M 16 $directory/old"
[ "$(cat "$directory/old")" = old ] || complain "a file was lost for nothing"
dd if="$random" of="$directory/exported" bs=4096 count=1 2> /dev/null
fails "this peer exports that file" \
    "map 8M:4K,file=$directory/exported; ldump 0 16 $directory/exported"
cases=$((cases + 1))
simulate -c "map 8M:4K,file=$directory/exported; lwrite 8M 0 1
    lwrite 0x800fff 0xff 1" < /dev/null || complain "file=: exit $?"
if [ "$(od -An -tx1 -N1 "$directory/exported")" != ' 00' ] ||
    [ "$(od -An -tx1 -j4095 "$directory/exported")" != ' ff' ]; then
    complain "what was written did not reach the file"
fi

# The display.
cat > "$directory/golden" <<'END'
00000ff8  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
*
00001018  48 65 6c 6c 6f 20 7e 7f  ff 1f 20 00 00 00 00 00  |Hello ~... .....|
00001028  00 00 00 00 00 00 00 00                           |........|
00001030
END
cases=$((cases + 1))
simulate -c 'lwrite 0x1018 0x7f7e206f6c6c6548; lwrite 0x1020 0x201fff
    ldump 0xff8 0x38' < /dev/null || complain "ldump: exit $?"
cmp -s "$out" "$directory/golden" || complain "ldump: not as expected"
cat > "$directory/golden" <<'END'
fffffffffffffff0  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
10000000000000000
END
cases=$((cases + 1))
simulate -c 'map 0xffffffffffffff00:256; ldump 0xfffffffffffffff0 16' \
    < /dev/null || complain "ldump: exit $?"
cmp -s "$out" "$directory/golden" || complain "ldump up to 2^64"

# display OFFSET LENGTH: as hexdump shows it.
display() {
    cases=$((cases + 1))
    simulate -c "lload 0 $directory/pattern; ldump $1 $2" < /dev/null ||
        complain "ldump $1 $2: exit $?"
    hexdump -C -s "$1" -n "$2" "$directory/pattern" > "$directory/shown"
    cmp -s "$out" "$directory/shown" ||
        complain "ldump $1 $2 is not what hexdump -C shows"
}
if command -v hexdump > /dev/null; then
    {
        dd if="$random" bs=100 count=1
        dd if=/dev/zero bs=1000 count=10
        dd if="$random" bs=5000 count=1
        dd if=/dev/zero bs=4096 count=2
    } > "$directory/pattern" 2> /dev/null
    display 0 23292
    display 0 1
    display 3 16
    display 112 64
    display 112 72
    display 4090 9001
    display 15100 8192
else
    echo "hexdump is not there to compare with"
fi

# JSON.
json() {
    cases=$((cases + 1))
    simulate --json -c "$2" < /dev/null || complain "$2: exit $?"
    printf '%s\n' "$1" > "$directory/expected"
    cmp -s "$out" "$directory/expected" || complain "$2: expected $1"
}
json '{"command":"lread","address":"0x10","size":2,"value":"0x0102"}' \
    'lwrite 0x10 0x102; lread 16 2'
json '{"command":"reg","offset":"0x0","size":1,"value":"0x00"}' 'reg 0 1'
json '{"command":"ldump","address":"0xff","size":3,"data":"004100"}' \
    'lwrite 0x100 0x41; ldump 255 3'
cases=$((cases + 1))
simulate --json -c 'ldump 0 0x1001; stats; regions' < /dev/null
[ "$(wc -l < "$out")" = 3 ] || complain "--json: expected 3 objects"
grep -q '^{"command":"stats","requests_sent":0,.*,"violations":0,.*}$' "$out" ||
    complain "--json stats"

# The device without a peer.
prints '0x0000000000000000\n0x00000000\n0x00\n' \
    'reg 0 8; reg 0x400 4; reg 0x10 1'
prints '0x5566778800000000\n' 'reg 0x808 8 0x1122334455667788
    reg 0x804 8'
prints '' 'regions; sleep 1; serve 1; disable; reg 0x800 8 1'
fails "recv: no interrupt came within 1 ms" 'recv 1'
fails "read: no peer came to '$name-mem' and '$name-intr' within 30 ms" \
    'read 0'
fails "intr: no peer came" 'intr 1'
fails "enable: no peer came" 'disable; enable'
fails "read 0: not connected" 'disable; read 0'
fails "reg 0: no peer came" 'reg 0 8 1'
fails "serve: the device is disabled" 'disable; serve'
cases=$((cases + 1))
simulate -c stats < /dev/null
for counter in requests_sent requests_served shares_sent shares_received \
    invalidations_sent invalidations_received interrupts_sent \
    interrupts_received interrupts_dropped mapped_ranges mapped_bytes \
    violations blocks_sent blocks_served offers_sent offers_received polls \
    poll_hits poll_misses poll_time; do
    grep -qx "$counter 0" "$out" || complain "stats: $counter"
done
[ "$(wc -l < "$out")" = 20 ] || complain "stats: expected 20 lines"

# Standard output that takes nothing.
cases=$((cases + 2))
# shellcheck disable=SC2086
$sim --listen "$name" -c 'reg 0 8' < /dev/null 2> "$err" >&- &&
    complain "a closed stdout was no error"
grep -q '^memexpose-sim: standard output: ' "$err" ||
    complain "a closed stdout was not named"
if [ -c /dev/full ]; then
    # shellcheck disable=SC2086
    $sim --listen "$name" -c 'reg 0 8' < /dev/null 2> "$err" > /dev/full &&
        complain "a full stdout was no error"
    grep -q 'standard output: No space left' "$err" ||
        complain "a full stdout was not named"
fi

# SIGTERM ends any command, with exit 0, and takes the sockets along.  The
# line that is printed before tells when the command has been reached.
# terminate COMMAND...
mkfifo "$directory/fifo"
exec 3<> "$directory/fifo"
terminate() {
    cases=$((cases + 1))
    # shellcheck disable=SC2086
    $sim --listen "$name" --ram 0:4K "$@" < "$directory/fifo" \
        > "$directory/fifo2" 2> "$err" &
    pid=$!
    read -r line < "$directory/fifo2" || line=
    [ "$line" = 0x00 ] || complain "$*: '$line' before the signal"
    kill -TERM $pid
    wait $pid
    status=$?
    pid=
    if [ $status != 0 ] || [ -s "$err" ]; then
        complain "$*: exit $status after SIGTERM instead of 0, silently"
    fi
    if [ -e "$name-mem" ] || [ -e "$name-intr" ]; then
        complain "$*: a socket is left"
    fi
}
mkfifo "$directory/fifo2"
: > "$out"
for command in 'sleep 1000000' serve 'serve 1000000' recv 'recv 1000000' \
    enable 'read 0' 'intr 1' "lload 0 $directory/fifo"; do
    terminate --connect-timeout=1000000 -c "lread 0 1; $command; foo"
done
echo 'lread 0 1' >&3
terminate

cases=$((cases + 1))
# shellcheck disable=SC2086
(
    trap - INT
    exec $sim --connect "$name" --connect-timeout=1000000 -c quit \
        < /dev/null > "$out" 2> "$err" --trace="$directory/trace"
) &
pid=$!
while [ ! -e "$directory/trace" ]; do
    kill -0 $pid 2> /dev/null || break
done
kill -TERM $pid
wait $pid || complain "SIGTERM before there was a peer: exit $?"
pid=

echo "$cases cases, $failures failures"
[ $failures = 0 ]
