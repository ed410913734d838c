#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Each library exports what its list (lib/*.map) says, and the list says what
# its headers declare.

set -u
LC_ALL=C
export LC_ALL
if [ "${have_shared:-yes}" != yes ]; then
    echo "SKIP: no shared libraries in this build"
    exit 77
fi

directory=$(mktemp -d "${TMPDIR:-/tmp}/mx-XXXXXX") || exit 1
trap 'rm -rf "$directory"' EXIT
status=0

# The functions that headers declare, those of other headers left out.
declared() {
    for header in "$@"; do
        # shellcheck disable=SC2086 # CC may have arguments
        $CC -E -P -I"$top_srcdir/include" \
            "$top_srcdir/include/memexpose/$header" || exit 1
    done | tr '\n' ' ' | tr ';' '\n' | grep -v '^ *typedef ' |
        grep -oE '(^|[^A-Za-z0-9_])memexpose_[a-z0-9_]+ *\(' |
        grep -oE 'memexpose_[a-z0-9_]+' | sort -u
}

# The names in a version script, and a complaint about patterns.
listed() {
    sed -n '/global:/,/local:/s/^ *\([^ ;:]*\);.*/\1/p' \
        "$top_srcdir/lib/$1.map" | sort
}

exported() {
    $NM -D --defined-only "$top_builddir/lib/.libs/$1.so" |
        awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort
}

compare() {
    if ! diff "$directory/$1" "$directory/$2" > "$directory/diff"; then
        status=1
        sed -n -e "s/^< /FAIL: $3: in the $1 only: /p" \
            -e "s/^> /FAIL: $3: in the $2 only: /p" "$directory/diff"
    fi
}

look_at() {
    library=$1
    shift
    "$@" > "$directory/headers"
    listed "$library" > "$directory/list"
    exported "$library" > "$directory/library"
    if [ ! -s "$directory/headers" ] || [ ! -s "$directory/library" ]; then
        echo "FAIL: $library: nothing found"
        status=1
    fi
    compare headers list "$library"
    compare list library "$library"
    echo "$library: $(wc -l < "$directory/library") names"
}

own() {
    declared "$1" | grep "$2"
}

look_at libmemexpose declared memexpose.h
if [ "$have_event" = yes ]; then
    look_at libmemexpose-event own event.h '^memexpose_event_'
fi
if [ "$have_fdt" = yes ]; then
    look_at libmemexpose-fdt own fdt.h '^memexpose_fdt_'
fi
exit $status
