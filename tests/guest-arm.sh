#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# memexpose-guest for aarch64, as guests get it: one static file, which passes
# the same tests by way of qemu-user.  Not passed, but skipped, if this machine
# cannot build or run it.

set -u
directory=$(mktemp -d "${TMPDIR:-/tmp}/mx-XXXXXX") || exit 1
trap 'rm -rf "$directory"' EXIT
trap 'exit 1' HUP INT TERM
top=${top_srcdir:-$(dirname "$0")/..}
program=$directory/memexpose-guest

skip() {
    echo "SKIP: memexpose-guest for aarch64 was not tested: $*"
    exit 77
}

command -v qemu-aarch64 > /dev/null 2>&1 ||
    skip "qemu-aarch64 is missing (Debian: qemu-user)"
"$top/tools/guest/build" aarch64 "$program" 2> "$directory/err"
case $? in
0) ;;
3) skip "$(tail -n 1 "$directory/err")" ;;
*)
    cat "$directory/err"
    echo "FAIL: it cannot be built"
    exit 1
    ;;
esac

failures=0
case $(od -An -tx1 -j 18 -N 2 "$program" | tr -d ' ') in
b700) ;;
*)
    echo "FAIL: not a program for aarch64"
    failures=1
    ;;
esac
for test in devices memory interrupts usage; do
    echo "guest-$test.sh:"
    MEMEXPOSE_GUEST="qemu-aarch64 $program" \
        "$top/tests/guest-$test.sh" || failures=$((failures + 1))
done
[ $failures = 0 ]
