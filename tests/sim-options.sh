#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The command line of memexpose-sim: what is bad in it is told in one line that
# names the offending word, with exit 2; sockets that cannot be had, exit 1.

set -u
LC_ALL=C
export LC_ALL
sim=${MEMEXPOSE_SIM:-${top_builddir:-.}/tools/sim/memexpose-sim}
directory=$(mktemp -d "${TMPDIR:-/tmp}/mx-XXXXXX") || exit 1
trap 'rm -rf "$directory"' EXIT
trap 'exit 1' HUP INT TERM
failures=0
cases=0
name=$directory/n

complain() {
    failures=$((failures + 1))
    echo "FAIL: $*"
    sed 's/^/    stdout: /' "$directory/out"
    sed 's/^/    stderr: /' "$directory/err"
}

simulate() {
    # shellcheck disable=SC2086 # the simulator may come with a wrapper
    $sim "$@" > "$directory/out" 2> "$directory/err" < /dev/null
}

# refused STATUS TEXT ARGUMENT...: one line that begins with the program's name
# and contains TEXT, nothing on stdout, no socket left.
refused() {
    expected=$1
    text=$2
    shift 2
    cases=$((cases + 1))
    simulate "$@"
    status=$?
    if [ "$status" != "$expected" ]; then
        complain "$*: exit $status instead of $expected"
    elif [ "$(wc -l < "$directory/err")" != 1 ]; then
        complain "$*: not one line"
    elif ! grep -q '^memexpose-sim: ' "$directory/err" ||
        ! grep -qF -e "$text" "$directory/err"; then
        complain "$*: expected '$text'"
    elif [ -s "$directory/out" ]; then
        complain "$*: something on stdout"
    elif [ -S "$name-mem" ] || [ -S "$name-intr" ]; then
        complain "$*: a socket is left"
    fi
}

# accepted ARGUMENT...: runs a script without a peer, silently.
accepted() {
    cases=$((cases + 1))
    simulate --listen "$name" "$@" -c 'quit'
    status=$?
    if [ $status != 0 ] || [ -s "$directory/out" ] ||
        [ -s "$directory/err" ]; then
        complain "$*: exit $status instead of 0, silently"
    fi
}

: > "$directory/empty"
echo small > "$directory/small"
dd if=/dev/zero of="$directory/file" bs=4096 count=4 2> /dev/null
long=$directory/$(printf '%0120d' 0)
bad() {
    refused 2 "$@"
}
bad_here() {
    text=$1
    shift
    refused 2 "$text" --listen "$name" "$@" -c quit
}

# What there is to be given.
bad "expected --listen NAME or --connect NAME"
bad "expected --listen NAME or --connect NAME" --json
bad "'$name'" --listen "$name" --connect "$name"
bad "only one of --listen and --connect" --connect "$name" --listen "$name"
bad "expected a NAME" --listen ''
bad "'--nonsense': unknown" --nonsense
bad "'--nonsense=1': unknown" --listen "$name" --nonsense=1
bad "'-x': unknown" --listen "$name" -x
bad "'--s': unknown or ambiguous" --listen "$name" --s
bad "'--json=yes': expected no value" --listen "$name" --json=yes
bad "'--listen': expected a value" --listen
bad "'-c': expected a value" --listen "$name" -c
bad "'more': unexpected" --listen "$name" more
bad "only one of -c and --script" --listen "$name" -c quit \
    --script "$directory/small"
bad "--script: '$directory/none': No such file" --listen "$name" \
    --script "$directory/none"
bad_here "--trace: '$directory/none/file': No such file" \
    --trace="$directory/none/file"

# Sockets.
bad "too long for a unix socket" --listen "$long" -c quit
bad "'$long-mem'" --connect "$long" -c quit
bad_here "'$long'" --mem-socket "$long"
bad_here "'$long'" --intr-socket "$long"
bad_here "expected a PATH" --mem-socket ''
bad_here "different paths" --mem-socket "$name-x" --intr-socket "$name-x"

# Memory.
for option in --ram --mmio; do
    bad_here "$option: '1M': expected START:SIZE" $option 1M
    bad_here "$option: 'x': expected START" $option x:4K
    bad_here "$option: 'y': expected SIZE" $option 0:y
    bad_here "$option: '': expected SIZE" $option 0:
    bad_here "$option: '-1': expected SIZE" $option 0:-1
    bad_here "$option: '4T': expected SIZE" $option 0:4T
    bad_here "$option: '0x': expected SIZE" $option 0:0x
    bad_here "$option: '0': size 0" $option 0:0
    bad_here "$option: '0x0K': size 0" $option 1M:0x0K
    bad_here "'18446744073709551617': past 2^64" \
        $option 0:18446744073709551617
    bad_here "'0x10000000000000000': past 2^64" $option 0x10000000000000000:1
    bad_here "'17179869185G': past 2^64" $option 0:17179869185G
    bad_here "'0xfffffffffffff000:8K': passes 2^64" \
        $option 0xfffffffffffff000:8K
    bad_here "overlaps 0x1000:0x1000" $option 4K:4K --ram 0x1fff:1
    bad_here "'0:8K': overlaps" --mmio 4K:4K $option 0:8K
done
bad_here "--ram: 'rw': expected file=PATH, ro or private" --ram 0:4K,rw
bad_here "--ram: 'file=': expected file=PATH" --ram 0:4K,file=
bad_here "--ram: '': expected file=PATH" --ram 0:4K,
bad_here "--mmio: 'model=x': expected model=scratch or model=counter" \
    --mmio 0:4K,model=x
bad_here "--mmio: 'ro': expected model=" --mmio 0:4K,ro
bad_here "'$directory/none': No such file" --ram "0:4K,file=$directory/none"
bad_here "'$directory/empty': the file is empty" \
    --ram "0:4K,file=$directory/empty"
bad_here "'$directory/small': has 6 bytes" \
    --ram "0:4K,file=$directory/small"
bad_here "'$directory': is a directory" --ram "0:4K,file=$directory"
bad_here "'$directory': is a directory" --ram "0:4K,ro,file=$directory"
bad_here "'/dev/zero': is not a regular file" --ram 0:4K,file=/dev/zero
bad_here "there is not as much memory" --ram 0:0x7fffffffffffffff
bad_here "there is not as much memory" --mmio 0:0xffffffffffffffff
if [ "$(id -u)" != 0 ]; then
    chmod 400 "$directory/file"
    bad_here "'$directory/file': Permission denied" \
        --ram "0:4K,file=$directory/file"
    accepted --ram "0:4K,ro,file=$directory/file"
    chmod 600 "$directory/file"
fi

# The window.
bad_here "--window: '7': smaller than an access" --window 7
bad_here "--window: '0': size 0" --window 0
bad_here "'0x10000000000000001': past 2^64" --window 0x10000000000000001
bad_here "--window: 'x': expected SIZE" --window x
bad_here "--window: 'there': expected at=ADDR" --window 4K,there
bad_here "--window: 'x': expected ADDR" --window 4K,at=x
bad_here "'8K,at=0xfffffffffffff000': passes 2^64" \
    --window 8K,at=0xfffffffffffff000
bad_here "--window: 'at=': overlaps 0x0:0x1000" --window 8K,at=0 --ram 0:4K

# One of several words.
bad_here "--hello: 'maybe': expected on, off or require" --hello=maybe
bad_here "--hello: '': expected on, off or require" --hello=
bad_here "--subpriority: '2': expected 0, 1 or auto" --subpriority=2
bad_here "--seals: 'no': expected require, prefer or ignore" --seals=no
bad_here "--peer-uid: 'me': expected the number of a user, or self" \
    --peer-uid=me
bad_here "--peer-uid: '-1': expected the number of a user, or self" \
    --peer-uid=-1
bad_here "--share: 'yes': expected on or off" --share=yes
bad_here "--name: '': expected a name of 1 to 32 bytes" --name=
bad_here "expected a name of 1 to 32 bytes" --name="$(printf '%033d' 0)"
bad_here "--name: 'a?b': expected a name without control characters" \
    --name="$(printf 'a\nb')"
for option in --request-timeout --connect-timeout; do
    for time in 0 -1 x 1s '' 9223372036854775807 99999999999999999999; do
        bad_here "$option: '$time': expected MS, a time in milliseconds" \
            $option=$time
    done
done

for time in -1 x 1s 1K 0x10 ' 1' '' 1000000001 99999999999999999999999; do
    bad_here "--poll-ns: '$time': expected NS, a time in nanoseconds" \
        --poll-ns="$time"
done

# What is good.
accepted --ram 0:4K --ram 4K:1 --ram 1M:0x1001,ro --ram 2M:4k,private \
    --mmio 0xfffffffffffffffe:2 --mmio 8K:4K,model=counter
accepted --ram "0:16K,file=$directory/file" --ram 1G:1g,ro,private
accepted --ram "0:4097,ro,file=$directory/file"
accepted --window 8
accepted --window 0x10000000000000000
accepted --window 17179869184G
accepted --window 4G,at=8G --ram 0:1M
accepted --hello=off --subpriority=1 --seals=require --share=off \
    --name=somebody --request-timeout=1 --connect-timeout=1
accepted --name="$(printf '%032d' 0)" --hello require
accepted --poll-ns=0
accepted --poll-ns 1000000000
accepted --mem-socket "$directory/a" --intr-socket "$directory/b"

# Sockets that cannot be had.
refused 1 "within 30 ms" --connect "$name" --connect-timeout=30 -c quit
grep -qF -e "'$name-mem' (No such file or directory) and '$name-intr'" \
    "$directory/err" || complain "both sockets should be named"
refused 1 "'$directory/none/n-mem'" --listen "$directory/none/n" -c quit
refused 1 "something other than a socket" --listen "$name" \
    --mem-socket "$directory/file" -c quit
[ -f "$directory/file" ] || complain "a file was replaced by a socket"

# What tells of the program, wherever it stands.
for option in --help --version; do
    cases=$((cases + 1))
    simulate $option || complain "$option: exit $?"
    if [ ! -s "$directory/out" ] || [ -s "$directory/err" ]; then
        complain "$option: expected something on stdout only"
    fi
done
simulate --version
grep -q '^memexpose-sim [0-9]' "$directory/out" || complain "--version"
simulate --listen "$name" --help
for option in listen connect mem-socket intr-socket ram mmio window hello \
    subpriority seals peer-uid share name request-timeout connect-timeout \
    poll-ns json trace script help version; do
    grep -q -e "--$option" "$directory/out" ||
        complain "--help does not tell of --$option"
done

echo "$cases command lines, $failures failures"
[ $failures = 0 ]
