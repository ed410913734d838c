#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# docs/SECURITY.md names tests that show what it says: they are there, and each
# statement has one.

set -u
LC_ALL=C
export LC_ALL
top=${top_srcdir:-$(dirname "$0")/..}
document=$top/docs/SECURITY.md
cited=0
stated=0
wrong=0

complain() {
    wrong=$((wrong + 1))
    echo "FAIL: $*"
}

# Text in backquotes with the name of a file, a colon and a test.
# shellcheck disable=SC2016 # no shell is to look at it
citation='`(check-[a-z-]+|sim-[a-z]+\.sh|hostile): [^`]*`'

# One citation a line.
citations() {
    tr '\n' ' ' < "$document" | tr -s ' ' | grep -oE "$citation" |
        sed 's/`//g'
}

# One statement a line: what begins with a dash, and what a table says that has
# a column for tests.  The first sections sum up what comes below.
statements() {
    awk '
        function flush() {
            if (text != "") {
                print text
            }
            text = ""
        }
        /^#/ { flush(); shown = 0 }
        /^## / { counts = !/In short|Who is who|Reporting/ }
        !counts { next }
        /^[|]/ {
            flush()
            if (/[|] shown by [|]$/) {
                shown = 1
            } else if (shown && !/^[|] ---/) {
                print
            }
            next
        }
        { shown = 0 }
        /^$/ { flush() }
        /^- / { flush(); text = $0; next }
        text != "" { sub(/^ */, ""); text = text " " $0 }
        END { flush() }' "$document"
}

list=$(mktemp "${TMPDIR:-/tmp}/mx-XXXXXX") || exit 1
trap 'rm -f "$list"' EXIT
citations > "$list"
while IFS= read -r line; do
    cited=$((cited + 1))
    file=${line%%: *}
    test=${line#*: }
    case $file in
    check-*)
        where=$top/tests/$file.c
        wanted="START_TEST($test)"
        ;;
    hostile)
        where=$top/tests/hostile
        wanted="static bool $test(struct play *play, const void *what)"
        ;;
    *)
        where=$top/tests/$file
        wanted=${test#\"}
        wanted=${wanted%\"}
        ;;
    esac
    if [ ! -e "$where" ]; then
        complain "$line: there is no ${where##*/}"
    elif ! grep -rqF -e "$wanted" "$where"; then
        complain "$line: not in ${where##*/}"
    fi
done < "$list"

statements > "$list"
while IFS= read -r line; do
    stated=$((stated + 1))
    printf '%s\n' "$line" | grep -qE "$citation" ||
        complain "no test is named for: $line"
done < "$list"
grep -niE '\<no test\>' "$document" && complain "a statement has no test"

echo "$cited citations, $stated statements, $wrong wrong"
[ $wrong = 0 ] && [ $cited != 0 ] && [ $stated != 0 ]
