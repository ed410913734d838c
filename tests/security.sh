#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# docs/SECURITY.md names tests that show what it says: they are there.

set -u
LC_ALL=C
export LC_ALL
top=${top_srcdir:-$(dirname "$0")/..}
document=$top/docs/SECURITY.md
cited=0
missing=0

complain() {
    missing=$((missing + 1))
    echo "FAIL: $*"
}

# One citation a line: those of `...` with a name, a colon and a test.
citations() {
    # shellcheck disable=SC2016 # backquotes are what it looks for
    tr '\n' ' ' < "$document" | tr -s ' ' | grep -oE '`[^`]*`' |
        sed 's/`//g' | grep -E '^(check-[a-z-]+|sim-[a-z]+\.sh): '
}

list=$(mktemp "${TMPDIR:-/tmp}/mx-XXXXXX") || exit 1
trap 'rm -f "$list"' EXIT
citations > "$list"
while IFS= read -r citation; do
    cited=$((cited + 1))
    file=${citation%%: *}
    test=${citation#*: }
    case $file in
    check-*)
        file=$top/tests/$file.c
        wanted="START_TEST($test)"
        ;;
    *)
        file=$top/tests/$file
        wanted=${test#\"}
        wanted=${wanted%\"}
        ;;
    esac
    if [ ! -f "$file" ]; then
        complain "$citation: there is no ${file##*/}"
    elif ! grep -qF -e "$wanted" "$file"; then
        complain "$citation: not in ${file##*/}"
    fi
done < "$list"

echo "$cited citations, $missing of something that is not there"
[ $missing = 0 ] && [ $cited != 0 ]
