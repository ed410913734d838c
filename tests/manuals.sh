#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Every function that is exported has its manual page, with a synopsis and its
# name where man(1) looks for it, and the pages name nothing else.

set -u
LC_ALL=C
export LC_ALL
directory=$(mktemp -d "${TMPDIR:-/tmp}/mx-XXXXXX") || exit 1
trap 'rm -rf "$directory"' EXIT
pages=${top_srcdir:?}/docs/man
status=0

fail() {
    echo "FAIL: $*"
    status=1
}

# compare WHAT: in the lists of symbols, and in the pages
compare() {
    sort -o "$directory/pages" "$directory/pages"
    [ -s "$directory/pages" ] || fail "nothing found in the pages"
    diff "$directory/symbols" "$directory/pages" > "$directory/diff" || {
        sed -n "s/^< /no $1 of /p; s/^> /$1 of what is not exported: /p" \
            "$directory/diff"
        status=1
    }
}

sed -n '/global:/,/local:/s/^ *\([^ ;:]*\);.*/\1/p' "$top_srcdir"/lib/*.map |
    sort > "$directory/symbols"
[ -s "$directory/symbols" ] || fail "no symbols found"

sed -n 's/^\.Nm \(memexpose_[a-z_]*\).*/\1/p' "$pages"/memexpose_*.3 \
    > "$directory/pages"
compare "name"

# the SYNOPSIS of each page: .Fn and .Fo, the type of a callback left out
for page in "$pages"/memexpose_*.3; do
    sed -n '/^\.Sh SYNOPSIS/,/^\.Sh DESCRIPTION/p' "$page"
done | sed -n 's/^\.F[no] \(memexpose_[a-z_]*\).*/\1/p' |
    grep -v '_fn$' > "$directory/pages"
compare "synopsis"

# One prototype is as good as another: the page's is the header's.
for page in "$pages"/memexpose_*.3; do
    sed -n '/^\.Sh SYNOPSIS/,/^\.Sh DESCRIPTION/p' "$page" |
        sed -n 's/^\.Fa "\(.*\)"$/\1/p; s/^\.Fn [a-z_]* "\(.*\)"$/\1/p' |
        sed 's/" "/\n/g'
done | sort -u > "$directory/parameters"
cat "$top_srcdir"/include/memexpose/*.h | tr -s ' \n' '  ' \
    > "$directory/headers"
while read -r parameter; do
    case $parameter in
    void) continue ;;
    esac
    grep -qF -e "($parameter," -e " $parameter," -e " $parameter)" \
        -e "($parameter)" "$directory/headers" ||
        fail "no header has the parameter '$parameter'"
done < "$directory/parameters"

if command -v mandoc > /dev/null 2>&1; then
    for page in "$pages"/*.[1-9]; do
        mandoc -T lint -W warning "$page" || fail "mandoc has warnings"
    done
else
    echo "mandoc is missing: the pages were not checked by it"
fi

[ $status != 0 ] || echo "$(wc -l < "$directory/symbols") functions"
exit $status
