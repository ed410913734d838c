#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# run.sh check SCHEDULES SIMULATE MUTANTS    the schedules, then each mutant
# run.sh soak SECONDS SIMULATE               seeds that nobody has seen
#
# Two processes run side by side, with seeds of their own.  What they counted
# is added up.

mode=$1 amount=${2:-60} simulate=$3 mutants=$4

dir=$(mktemp -d "${TMPDIR:-/tmp}/simulate.XXXXXX") || exit 1
pids=
trap 'for pid in $pids; do kill "$pid" 2>/dev/null; done; rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM

# The two outputs, added up; a failure is shown with its trace.  What never
# happened is not checked: that is a failure, too.
conclude()
{
    for number in 1 2; do
        if ! test -s "$dir/failed$number"; then
            continue
        fi
        cat "$dir/out$number"
        seed=$(sed -n 's/^seed \([0-9]*\):.*/\1/p' "$dir/out$number" | tail -1)
        if test -n "$seed"; then
            echo "the end of its trace:"
            "$simulate" --seed "$seed" --trace | tail -60
        fi
        exit 1
    done
    awk '{ if (!($1 in sum)) order[++n] = $1; sum[$1] += $2 }
         END { for (i = 1; i <= n; i++) {
                   printf "%-18s %d\n", order[i], sum[order[i]]
                   if (sum[order[i]] == 0)
                       never = never " " order[i]
               }
               if (never) {
                   print "it never came to:" never
                   exit 1
               } }' \
        "$dir/out1" "$dir/out2" || exit 1
}

start()
{
    number=$1
    shift
    { "$simulate" "$@" >"$dir/out$number" 2>&1 ||
        echo "$?" >"$dir/failed$number"; } &
    pids="$pids $!"
}

find_mutants()
{
    found=0
    echo "mutants, each found by the seed and the invariant named:"
    for mutant in $("$mutants" --list-mutants); do
        if "$mutants" --mutant "$mutant" --first 1 --count "$amount" \
            >"$dir/mutant"; then
            echo "$mutant: not found in $amount schedules"
            exit 1
        fi
        printf '  %-24s ' "$mutant"
        grep '^seed' "$dir/mutant" | cut -c 1-150
        found=$((found + 1))
    done
    echo "mutants_found      $found"
}

case $mode in
check)
    half=$(((amount + 1) / 2))
    start 1 --first 1 --count "$half"
    start 2 --first $((half + 1)) --count "$half"
    wait
    conclude
    find_mutants
    ;;
soak)
    first=$(($(date +%s) * 1000000000))
    echo "seeds from $first"
    start 1 --first "$first" --seconds "$amount"
    start 2 --first $((first + 500000000)) --seconds "$amount"
    wait
    conclude
    ;;
*)
    echo "usage: $0 check|soak ..." >&2
    exit 2
    ;;
esac
