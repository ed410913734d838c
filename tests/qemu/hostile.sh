#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The hostile peers of tests/hostile against a virtual machine, which has to
# live on, hold nothing of theirs, and serve a good peer after each of them.

set -u
here=$(cd "$(dirname "$0")" && pwd -P) || exit 1
work=$(mktemp -d "${TMPDIR:-/tmp}/mx-XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

"${CC:-cc}" -std=gnu11 -D_GNU_SOURCE -O2 -o "$work/hostile" \
    "$here"/../hostile/*.c || exit 1
case $QEMU_SERIES in
7.*) ;; # it cannot come back sooner than after a second
*) export QEMU_RECONNECT=reconnect-ms=250 ;;
esac
"$work/hostile" --vm "$here/target" "$@"
