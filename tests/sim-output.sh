#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Two memexpose-sim: results as JSON, the trace, and progress on a terminal.

# shellcheck source=tests/sim-lib.sh
. "$(dirname "$0")/sim-lib.sh"

zeros=$(printf '%0256d' 0)

# Every kind of result as JSON, an object a line.
launch a --listen "$name" --ram 0:64K --ram 1M:64K,ro
launch b --connect "$name" --json
expect b 'write 0 0x1234; read 0; read 0 2; read 0x1000 1' \
    "{\"command\":\"read\",\"address\":\"0x0\",\"size\":8,\
\"value\":\"0x0000000000001234\"}" \
    '{"command":"read","address":"0x0","size":2,"value":"0x1234"}' \
    '{"command":"read","address":"0x1000","size":1,"value":"0x00"}'
expect b 'dump 0 3; dump 0x1 1' \
    '{"command":"dump","address":"0x0","size":3,"data":"341200"}' \
    '{"command":"dump","address":"0x1","size":1,"data":"12"}'
expect b 'read 1M 1; regions' \
    '{"command":"read","address":"0x100000","size":1,"value":"0x00"}' \
    '{"command":"regions","start":"0x0","size":"0x10000","access":"rw"}' \
    '{"command":"regions","start":"0x100000","size":"0x10000","access":"ro"}'
expect b 'reg 0x10 1; reg 0x10 4' \
    '{"command":"reg","offset":"0x10","size":1,"value":"0x07"}' \
    '{"command":"reg","offset":"0x10","size":4,"value":"0x00000007"}'
tell a 'intr 9 c0ffee'
expect b recv "{\"command\":\"recv\",\"type\":\"0x0000000000000009\",\
\"data\":\"c0ffee$(printf '%s' "$zeros" | cut -c 7-)\"}"
ask b stats
counters=$reply
for pair in '"command":"stats"' '"requests_sent":2' '"shares_received":2' \
    '"interrupts_received":1' '"mapped_ranges":2' '"mapped_bytes":131072' \
    '"violations":0'; do
    case $counters in
    *"$pair"*) cases=$((cases + 1)) ;;
    *) complain "--json stats lacks $pair: $counters" ;;
    esac
done
# and a program that reads JSON takes all of it
tell b "dump 0 10000; stats; regions; read 0; reg 0 8; write 0 1; sleep 1
    lread 0"
exec 5>&-
cat <&6 > "$directory/json"
gone b 1
contains "$directory/b.err" 'memexpose-sim: lread 0: decode error'
equal "objects" "$(wc -l < "$directory/json")" 8
if command -v jq > /dev/null; then
    equal "objects that jq knows" \
        "$(jq -r 'select(type == "object") | .command' "$directory/json" |
            tr '\n' ' ')" 'dump dump dump stats regions regions read reg '
    equal "bytes in the dumps" \
        "$(jq -s 'map(.data // "" | length / 2) | add' "$directory/json")" \
        10000
    equal "counters in stats" \
        "$(jq -r 'select(.command == "stats") | map(numbers) | length' \
            "$directory/json")" 20
elif command -v python3 > /dev/null; then
    equal "objects that python3 knows" "$(python3 -c '
import json, sys
print(*[json.loads(line)["command"] for line in sys.stdin])
' < "$directory/json")" 'dump dump dump stats regions regions read reg'
else
    equal "objects" "$(grep -c '^{"command":".*}$' "$directory/json")" 8
fi
leave a

# The trace: every message, from both sides the same.
launch a --listen "$name" --name=alpha --ram 0:64K
launch b --connect "$name" --name=beta
expect b 'write 0x10 0x55 2; read 0x20 4; read 0x1fff8' 0x00000000
gone b 1
logged a 'the peer has left'
equal "the first message" "$(sed -n '1s/^[0-9.]* //p' "$directory/b.trace" |
    cut -d ' ' -f 1-3)" '-> mem HELLO'
equal "lines without a time" \
    "$(grep -c -v '^[0-9]*\.[0-9]\{6\} \(->\|<-\|--\) ' \
        "$directory/b.trace")" 0
contains "$directory/b.trace" \
    '-> mem WRITE prio 3 offset 0x10 size 2 value 0x0000000000000055'
lacks "$directory/b.trace" '-> mem READ'
contains "$directory/a.trace" 'name "beta"'
contains "$directory/b.trace" 'name "alpha"'
leave a
for slot in a b; do
    grep -e ' -> ' -e ' <- ' "$directory/$slot.trace" |
        sed 's/^[0-9.]* //' > "$directory/messages_$slot"
done
sed -e 's/^->/X/; s/^<-/->/; s/^X/<-/' "$directory/messages_a" | sort \
    > "$directory/turned_a"
sort "$directory/messages_b" > "$directory/sorted_b"
cases=$((cases + 1))
cmp -s "$directory/turned_a" "$directory/sorted_b" ||
    complain "the traces of both sides differ"
# without a name it goes to stderr
launch a --listen "$name" --ram 0:4K
launch b --connect "$name" --trace -c 'read 0 1'
answer b
equal "with --trace" "$reply" 0x00
gone b 0
contains "$directory/b.err" '-> mem READ prio 3 offset 0x0 size 1'
leave a

# Progress is shown on a terminal, and nowhere else.  A FIFO that is fed until
# something shows makes a transfer as long as it has to be.
shows() {
    printf '%4096s' '' >&7
    grep -q 'load: .* MiB' "$directory/screen"
}
mkfifo "$directory/pipe"
launch a --listen "$name" --ram 0:256M
if script -qec true /dev/null < /dev/null > /dev/null 2>&1; then
    TERM=dumb script -qfec "exec $sim --connect $name \
        -c 'load 0 $directory/pipe; read 0 1'" /dev/null < /dev/null \
        > "$directory/screen" 2>&1 3>&- 4<&- &
    echo $! > "$directory/pid.c"
    exec 7> "$directory/pipe"
    until_true "progress on a terminal" shows
    fed=$((until_tries))
    exec 7>&-
    wait "$(cat "$directory/pid.c")"
    equal "exit status on a terminal" $? 0
    rm "$directory/pid.c"
    contains "$directory/screen" 0x20
    # as long, but not on a terminal
    launch b --connect "$name" -c "load 0 $directory/pipe; read 0 1"
    exec 7> "$directory/pipe"
    while [ "$fed" -lt $((500 * slow)) ]; do
        printf '%4096s' '' >&7
        fed=$((fed + 1))
        sleep 0.02
    done
    exec 7>&-
    answer b
    equal "after the load" "$reply" 0x20
    gone b 0
    lacks "$directory/b.err" MiB
else
    echo "script(1) is not there to make a terminal"
fi
leave a

conclude
