#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The hostile peers of tests/hostile against a virtual machine, which has to
# live on, hold nothing of theirs, and serve a good peer after each of them.

set -u -o pipefail
here=$(cd "$(dirname "$0")" && pwd -P) || exit 1
work=$(mktemp -d "${TMPDIR:-/tmp}/mx-XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# at_least NUMBER WORDS: so many cases have been played, as the output says
at_least() {
    local played

    played=$(sed -n "s/^\(.*[ ;]\)\{0,1\}\([0-9][0-9]*\) $2.*/\2/p" \
        "$work/output" | tail -n 1)
    [ "${played:-0}" -ge "$1" ] || {
        echo "FAIL: ${played:-0} $2 instead of at least $1"
        return 1
    }
}

"${CC:-cc}" -std=gnu11 -D_GNU_SOURCE -O2 -o "$work/hostile" \
    "$here"/../hostile/*.c || exit 1
case $QEMU_SERIES in
7.*) ;; # it cannot come back sooner than after a second
*) export QEMU_RECONNECT=reconnect-ms=250 ;;
esac
status=0
"$work/hostile" --vm "$here/target" "$@" | tee "$work/output" || status=1
if [ $# = 0 ]; then
    at_least 3200 'hostile cases' || status=1
    at_least 440 'of blocks' || status=1
    at_least 115 'of offers' || status=1
    tail -n 2 "$work/output" | sed 's/^/figure: /'
fi
exit $status
