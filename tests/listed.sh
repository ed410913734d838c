#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# A test that is not in the list is never run, and a page that is not in the
# list is never installed: look for files that were forgotten.

set -u
: "${listed_tests?}" "${listed_manuals?}" "${listed_sources?}"
status=0

# look_for LIST PATTERN...: paths as the lists have them
look_for() {
    list=$1
    shift
    for file in "$@"; do
        [ -e "$file" ] || continue
        name=${file#"$top_srcdir/"}
        case " $list " in
        *" $name "*) ;;
        *" ${name%.c} "*) ;;
        *)
            echo "FAIL: $name is not in its list"
            status=1
            ;;
        esac
        found=$((found + 1))
    done
}

found=0
look_for "$listed_tests" "${top_srcdir:?}"/tests/check-*.c \
    "$top_srcdir"/tests/*.sh "$top_srcdir"/docs/examples/*.c
look_for "$listed_manuals" "$top_srcdir"/docs/man/*.[1-9]
look_for "$listed_sources" "$top_srcdir"/lib/*.[ch] \
    "$top_srcdir"/tools/*/*.[ch] "$top_srcdir"/include/memexpose/*.h
echo "$found files"
[ $found != 0 ] || status=1
exit $status
