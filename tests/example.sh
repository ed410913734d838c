#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The programs in docs/examples do what they are there to show.

set -u
directory=$(mktemp -d "${TMPDIR:-/tmp}/mx-XXXXXX") || exit 1
trap 'rm -rf "$directory"' EXIT
examples=${top_builddir:?}/docs/examples
status=0

# expect WHAT WANTED FOUND
expect() {
    if [ "$2" != "$3" ]; then
        echo "FAIL: $1: expected '$2', found '$3'"
        status=1
    fi
}

# run NAME ARGUMENT...: its words and its end are kept
run() {
    name=$1
    shift
    # shellcheck disable=SC2086 # the wrapper has arguments
    ${CHECK_WRAPPER-} "$@" > "$directory/$name.out" 2> "$directory/$name.err"
    echo $? > "$directory/$name.status"
}

# ended NAME STATUS OUTPUT ERRORS
ended() {
    expect "status of $1" "$2" "$(cat "$directory/$1.status")"
    expect "output of $1" "$3" "$(cat "$directory/$1.out")"
    expect "errors of $1" "$4" "$(cat "$directory/$1.err")"
}

# pair PROGRAM [ROLE]: it and a "vmm connect", with the same sockets
pair() {
    run one "$1" ${2:+"$2"} "$directory/mem" "$directory/intr" &
    run two "$examples/vmm" connect "$directory/mem" "$directory/intr"
    wait
    for file in mem intr; do
        [ ! -e "$directory/$file" ] || expect "$file socket" gone left
    done
}

pair "$examples/vmm" listen
ended one 0 'listen: rung by the one who wrote "connect"' ''
ended two 0 'connect: rung by the one who wrote "listen"' ''

if [ "${have_event:?}" = yes ]; then
    pair "$examples/loop" ''
    ended one 0 'loop: rung by the one who wrote "connect"' ''
    ended two 0 'connect: rung by the one who wrote "loop"' ''
fi

# What cannot be is said in words.
run one "$examples/vmm" listen
ended one 1 '' 'vmm: Invalid argument'
run one "$examples/vmm" listen "$directory/none/mem" "$directory/none/intr"
ended one 1 '' 'vmm: No such file or directory'
: > "$directory/file"
run one "$examples/vmm" listen "$directory/file" "$directory/intr"
ended one 1 '' 'vmm: File exists'

[ $status != 0 ] || echo "ok"
exit $status
