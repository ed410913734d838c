#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# memexpose-bench: the command line, what it prints, and what it leaves behind.
# How fast anything is, is not looked at.

set -u
LC_ALL=C
export LC_ALL
bench=${MEMEXPOSE_BENCH:-${top_builddir:-.}/tools/bench/memexpose-bench}
directory=$(mktemp -d "${TMPDIR:-/tmp}/mx-XXXXXX") || exit 1
TMPDIR=$directory/tmp
export TMPDIR
mkdir "$TMPDIR"
slow=${CK_TIMEOUT_MULTIPLIER:-1}
failures=0
cases=0
pid=''

trap 'rm -rf "$directory"' EXIT
trap '[ -z "$pid" ] || kill "$pid"; exit 1' HUP INT TERM

complain() {
    failures=$((failures + 1))
    echo "FAIL: $*"
}

# run ARGUMENT...: output in out and err, exit status in $status
run() {
    cases=$((cases + 1))
    # shellcheck disable=SC2086 # the wrapper has arguments
    $bench "$@" > "$directory/out" 2> "$directory/err" < /dev/null
    status=$?
}

# refused WORD EXPECTED ARGUMENT...: one line that names both, exit 2
refused() {
    word=$1 expected=$2
    shift 2
    run "$@"
    [ $status = 2 ] || complain "$*: exit $status"
    [ "$(wc -l < "$directory/err")" = 1 ] ||
        complain "$*: not one line: $(cat "$directory/err")"
    grep -q "^memexpose-bench: .*$word.*$expected" "$directory/err" ||
        complain "$*: $(cat "$directory/err")"
    [ ! -s "$directory/out" ] || complain "$*: something on stdout"
}

# nothing_left WHAT
nothing_left() {
    [ -z "$(ls "$TMPDIR")" ] || complain "$1: files are left in TMPDIR"
}

refused "'--nonsense'" 'expected' --nonsense
refused "'-x'" 'expected' -x
refused "'word'" 'expected options' --quick word
refused "'-1'" 'expected' -1
refused '--only' 'expected a PATTERN' --only
refused "'nothing-like-it'" 'expected a PATTERN' --only nothing-like-it
refused "''" 'expected a PATTERN' --only ''
refused '--quick=5' 'expected none' --quick=5

run --help
{ [ $status = 0 ] && [ ! -s "$directory/err" ]; } ||
    complain "--help: exit $status"
for option in only list quick check json help version; do
    grep -q -e "--$option" "$directory/out" ||
        complain "--help does not tell of --$option"
done
run --version
grep -q '^memexpose-bench [0-9]' "$directory/out" || complain "--version"

run --list
cp "$directory/out" "$directory/names"
{ [ $status = 0 ] && [ "$(wc -l < "$directory/names")" -gt 20 ] &&
    [ -z "$(sort "$directory/names" | uniq -d)" ]; } || complain "--list"
run --list --only 'bulk-*'
[ "$(tr '\n' ' ' < "$directory/out")" = 'bulk-read bulk-write ' ] ||
    complain "--list --only: $(cat "$directory/out")"
while read -r name; do
    grep -q "[ .]$name" "${top_srcdir:?}/docs/man/memexpose-bench.1" ||
        grep -q "${name%%-*}-" "$top_srcdir/docs/man/memexpose-bench.1" ||
        complain "the manual page does not tell of $name"
done < "$directory/names"

# Everything that there is; what takes many times as long, in part.
patterns='*'
[ "$slow" = 1 ] ||
    patterns='roundtrip-* bulk-* *-1 connect-* calls-* allocations-*'
: > "$directory/all"
set -f # the patterns are not for the shell
for pattern in $patterns; do
    run --quick --json --check --only "$pattern"
    cat "$directory/out" >> "$directory/all"
    missed=$(grep -c '"met":false' "$directory/out")
    if [ "$missed" = 0 ]; then
        [ $status = 0 ] || complain "$pattern: exit $status, nothing missed"
    else
        [ $status = 1 ] || complain "$pattern: exit $status, $missed missed"
    fi
    [ "$(wc -l < "$directory/err")" = "$missed" ] ||
        complain "$pattern: $(cat "$directory/err")"
    sed -n 's/.*"figure":"\([^"]*\)".*"met":false.*/\1/p' "$directory/out" |
        while read -r name; do
            grep -q "^memexpose-bench: $name: .*, expected at " \
                "$directory/err" || echo "$name"
        done > "$directory/unnamed"
    [ ! -s "$directory/unnamed" ] ||
        complain "missed, but not named: $(cat "$directory/unnamed")"
    nothing_left "$pattern"
done
set +f

# One object for each figure, with numbers where something was measured.
sed -n 's/^{.*"figure":"\([^"]*\)".*}$/\1/p' "$directory/all" \
    > "$directory/measured"
[ "$(wc -l < "$directory/all")" = "$(wc -l < "$directory/measured")" ] ||
    complain "--json: not an object a line"
[ "$slow" != 1 ] || cmp -s "$directory/names" "$directory/measured" ||
    complain "--json: not each figure once"
number='-*[0-9][-+.e0-9]*'
summary="{\"p50\":$number,\"p99\":$number,\"min\":$number}"
numbers="\"ours\":$summary,\"floor\":\(null\|$summary\)"
numbers="$numbers,\"value\":$number,\"best\":$number"
bad=$(grep '"measured":true' "$directory/all" | grep -v "$numbers")
[ -z "$bad" ] || complain "--json: $bad"
words='"unit":"[^"]*","compare":"\(floor/\)*ours\([-/]floor\)*"'
bad=$(grep -v "$words,\"measured\":\(true\|false\),\"note\":\"" \
    "$directory/all")
[ -z "$bad" ] || complain "--json: $bad"
grep -q '"measured":true' "$directory/all" || complain "nothing was measured"

# The table has a row with what was measured, and says what the floor is.
run --quick --only bulk-write
{ grep -q '^  floor: ' "$directory/out" &&
    grep -q '^bulk-write  *GB/s  *[0-9.]* .*|.*| .*>= 0.97x' \
        "$directory/out"; } || complain "table: $(cat "$directory/out")"

# With one processor that is said, and nothing polls.
core=$(taskset -cp $$ | sed 's/.*: \([0-9]*\).*/\1/')
bench="taskset -c $core $bench"
run --quick --only 'roundtrip-[bp][lo]*ing'
bench=${bench#taskset -c "$core" }
{ [ $status = 0 ] && grep -q 'only one processor' "$directory/out" &&
    grep -q '^roundtrip-blocking .*x$' "$directory/out" &&
    grep -q '^roundtrip-polling  *not measured' "$directory/out"; } ||
    complain "one processor: $(cat "$directory/out" "$directory/err")"

# A standard output that cannot be written.
if [ -c /dev/full ]; then
    cases=$((cases + 1))
    # shellcheck disable=SC2086
    $bench --quick --only bulk-read > /dev/full 2> "$directory/err"
    status=$?
    { [ $status = 1 ] && grep -q 'standard output' "$directory/err"; } ||
        complain "standard output: exit $status, $(cat "$directory/err")"
fi

# Ended by a signal while sockets and processes are there: nothing is left.
for signal in TERM HUP INT; do
    cases=$((cases + 1))
    # shellcheck disable=SC2086
    env --default-signal=INT $bench --only connect-ready \
        > "$directory/out" 2> "$directory/err" < /dev/null &
    pid=$!
    until [ -n "$(find "$TMPDIR" -name floor-intr)" ]; do
        kill -0 $pid 2> /dev/null || break
    done
    children=$(cat /proc/$pid/task/$pid/children)
    [ -n "$children" ] || complain "SIG$signal: no other process was there"
    kill -s $signal $pid
    wait $pid 2> /dev/null # that it was killed is no news
    status=$?
    pid=''
    [ "$(kill -l $status)" = $signal ] ||
        complain "SIG$signal: exit $status"
    nothing_left "SIG$signal"
    for child in $children; do
        # it was killed; whoever inherited it has to see that yet
        while grep -qs '^State:[[:space:]]*[^ZX]' "/proc/$child/status"; do
            :
        done
    done
done

echo "$cases runs, $failures failures"
[ $failures = 0 ]
