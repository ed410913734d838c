#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# glue/qemu/install, build and lib.sh: what they do to trees of each series
# that has been built, and what they say to what they cannot do.  QEMU_X86_64
# is the path of a program that glue/qemu/build has made, of QEMU_SERIES; run,
# beside this file, sets both.

set -u -o pipefail
LC_ALL=C
export LC_ALL
: "${QEMU_X86_64:?}" "${QEMU_SERIES:?}"

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P) || exit 1
cache=${QEMU_X86_64%/qemu/*/build/*}
work=$(mktemp -d "${TMPDIR:-/tmp}/mx-XXXXXX") || exit 1
failures=0
cases=0
builder=

# shellcheck disable=SC2317 # the trap calls it
finish() {
    if [ -n "$builder" ]; then
        kill "$builder" 2> /dev/null
        wait "$builder" 2> /dev/null
    fi
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM

complain() {
    failures=$((failures + 1))
    echo "FAIL: $*"
}

# equal WHAT ACTUAL EXPECTED
equal() {
    cases=$((cases + 1))
    [ "$2" = "$3" ] || complain "$1: '$2' instead of '$3'"
}

# expect STATUS PATTERN COMMAND...: how it ends, and one line of what it says,
# which is the only one if the pattern begins with "only "
expect() {
    local status=0 wanted=$1 pattern=${2#only } lines

    cases=$((cases + 1))
    lines=$([ "$pattern" = "$2" ] || echo 1)
    shift 2
    "$@" > "$work/output" 2>&1 < /dev/null || status=$?
    if [ $status != "$wanted" ]; then
        complain "$*: status $status instead of $wanted:" \
            "$(tail -n 3 "$work/output")"
    elif ! grep -qE -e "$pattern" "$work/output"; then
        complain "$*: no '$pattern' in '$(tail -n 3 "$work/output")'"
    elif [ -n "$lines" ] && [ "$(wc -l < "$work/output")" != 1 ]; then
        complain "$*: more than one line: $(cat "$work/output")"
    fi
}

# same WHAT TREE TREE: with modes, and with directories
same() {
    equal "$1: content" "$(diff -r "$2" "$3" 2>&1 | head -n 5)" ""
    equal "$1: entries" "$(entries "$2" '%P %y %m\n')" \
        "$(entries "$3" '%P %y %m\n')"
}

entries() {
    find "$1" -mindepth 1 -printf "$2" | sort
}

# unchanged WHAT: nothing of $work/tree has been written since remembered
remember() {
    entries "$work/tree" '%P %y %m %T@ %i\n' > "$work/remembered"
}

unchanged() {
    equal "$1: nothing is written" "$(entries "$work/tree" \
        '%P %y %m %T@ %i\n' | diff "$work/remembered" -)" ""
}

# ---- Trees ------------------------------------------------------------------

hooked="hw/misc/Kconfig hw/misc/meson.build meson.build docs/specs/index.rst
    tests/qtest/meson.build hw/arm/virt.c"

# Of a tree only what install looks at, as it was before it was there.
plain_tree() {
    local file

    rm -rf "$work/tree" "$work/plain"
    for file in VERSION configure $hooked; do
        mkdir -p "$work/plain/$(dirname "$file")"
        grep -v memexpose "$1/$file" > "$work/plain/$file"
    done
    mkdir -p "$work/plain/include/hw/misc"
    chmod 755 "$work/plain/configure"
    chmod 600 "$work/plain/hw/arm/virt.c"
    again
}

again() {
    rm -rf "$work/tree"
    cp -a "$work/plain" "$work/tree"
}

# added FILE: the lines that it has got, each with the one before it, and
# removed ones, of which there are none
added() {
    diff -U 1 "$work/plain/$1" "$work/tree/$1" | sed 1,2d |
        awk '/^[-+]/ { print before; print } { before = $0 }'
}

check_hooks() {
    equal "Kconfig" "$(added hw/misc/Kconfig)" " source macio/Kconfig
+source memexpose/Kconfig"
    equal "hw/misc/meson.build" "$(added hw/misc/meson.build)" \
        " subdir('macio')
+subdir('memexpose')"
    equal "meson.build" "$(added meson.build)" "     'hw/misc/macio',
+    'hw/misc/memexpose',"
    equal "index.rst" "$(added docs/specs/index.rst)" "    fw_cfg
+   memexpose"
    equal "tests/qtest/meson.build" \
        "$(added tests/qtest/meson.build | tail -n 1)" "+subdir('memexpose')"
    equal "virt.c" "$(added hw/arm/virt.c | grep '^[-+]')" \
        '+#include "hw/misc/memexpose.h"
+    memexpose_virt_place(vms, pa_bits);
+    memexpose_virt_create(vms);
+    memexpose_virt_class_init(oc);'
    equal "ends of functions" "$(awk '
        /^[a-z].*\(/ { name = $0 }
        last ~ /memexpose_virt_(place|class)/ { print name; print }
        { last = $0 }' "$work/tree/hw/arm/virt.c" | cut -d'(' -f1)" \
        "static void virt_set_memmap
}
static void virt_machine_class_init
}"
}

check_copies() {
    local file

    (cd "$work/glue" && find hw include docs tests -type f) > "$work/files"
    while IFS= read -r file; do
        cmp -s "$work/glue/$file" "$work/tree/$file" ||
            complain "$file is not what it is in glue/qemu"
        cases=$((cases + 1))
    done < "$work/files"
    [ -s "$work/files" ] || complain "glue/qemu has no files"
}

# ---- install ----------------------------------------------------------------

check_round_trip() {
    expect 0 "only file\(s\) changed" "$work/glue/install" "$work/tree"
    check_hooks
    check_copies
    remember
    expect 0 "only 0 file\(s\) changed" "$work/glue/install" "$work/tree"
    unchanged "a second install"

    # what changes here, comes, and goes
    echo "/* more */" >> "$work/glue/include/hw/misc/memexpose.h"
    mkdir "$work/glue/hw/misc/memexpose/more"
    echo "/* new */" > "$work/glue/hw/misc/memexpose/more/new.c"
    expect 0 "only 2 file\(s\) changed" "$work/glue/install" "$work/tree"
    check_copies
    equal "what else was written" "$(entries "$work/tree" \
        '%P %y %m %T@ %i\n' | diff "$work/remembered" - |
        sed -n 's/^> \([^ ]*\) f .*/\1/p')" ".memexpose-installed
hw/misc/memexpose/more/new.c
include/hw/misc/memexpose.h"
    rm -r "$work/glue/hw/misc/memexpose/more"
    expect 0 "only 0 file\(s\) changed" "$work/glue/install" "$work/tree"
    equal "a file that is gone" \
        "$(find "$work/tree/hw/misc/memexpose" -name more)" ""

    expect 0 "only as it was" "$work/glue/install" --undo "$work/tree"
    same undo "$work/plain" "$work/tree"
    remember
    expect 0 "only nothing to undo" "$work/glue/install" --undo "$work/tree"
    unchanged "a second undo"
}

# refused PATTERN: with one line, and without a change
refused() {
    remember
    expect 1 "only ^install: .*$1" "$work/glue/install" "$work/tree"
    unchanged "refused for $1"
}

# Without a line that it looks for, or with two of it.
check_anchors() {
    local file anchor

    while IFS='|' read -r file anchor; do
        again
        grep -vxF -e "$anchor" "$work/plain/$file" > "$work/tree/$file"
        cmp -s "$work/plain/$file" "$work/tree/$file" &&
            complain "$QEMU_SERIES: there is no '$anchor' in $file"
        refused "$file: there is no single place"
        again
        awk -v anchor="$anchor" '{ print } $0 == anchor { print }' \
            "$work/plain/$file" > "$work/tree/$file"
        refused "$file: there is no single place"
    done << 'END'
hw/misc/Kconfig|source macio/Kconfig
hw/misc/meson.build|subdir('macio')
meson.build|    'hw/misc/macio',
docs/specs/index.rst|   fw_cfg
tests/qtest/meson.build|qtest_executables = {}
hw/arm/virt.c|#include "hw/char/pl011.h"
hw/arm/virt.c|    create_platform_bus(vms);
END
    for anchor in virt_set_memmap virt_machine_class_init; do
        again
        sed -i "s/^static void $anchor(/static int $anchor(/" \
            "$work/tree/hw/arm/virt.c"
        refused "hw/arm/virt.c: there is no single place"
    done
}

check_unknown_trees() {
    local version

    for version in 7.1.0 7.2.50 7.20.1 8.2.2 9.0.0 10.0.50 10.1.2 10.20.0 \
        11.0.0 x; do
        again
        echo $version > "$work/tree/VERSION"
        refused "QEMU $version, .* 7.2 10.0 10.2"
    done
    again
    : > "$work/tree/VERSION"
    refused "QEMU of an unknown version"
    for version in VERSION configure hw/arm/virt.c docs/specs/index.rst; do
        again
        rm "$work/tree/$version"
        refused "not a QEMU source tree: it has no $version"
    done
    again
    echo "config MEMEXPOSE # memexpose of its own" >> \
        "$work/tree/hw/misc/Kconfig"
    refused "hw/misc/Kconfig has memexpose in it already"
    again
    echo "/* its own */" > "$work/tree/include/hw/misc/memexpose.h"
    refused "has a include/hw/misc/memexpose.h of its own"
}

check_install_usage() {
    expect 2 "^usage: " "$work/glue/install"
    expect 2 "^usage: " "$work/glue/install" ""
    expect 2 "^usage: " "$work/glue/install" --redo
    expect 2 "^usage: " "$work/glue/install" --undo
    expect 2 "^usage: " "$work/glue/install" "$work/tree" "$work/plain"
    expect 0 "^usage: " "$work/glue/install" --help
    expect 1 "only ^install: $work/none: not a directory" \
        "$work/glue/install" "$work/none"
    mkdir "$work/empty"
    expect 1 "only not a QEMU source tree" "$work/glue/install" "$work/empty"
    expect 1 "only not a QEMU source tree" \
        "$work/glue/install" --undo "$work/empty"
}

check_install() {
    local source trees=0

    for source in "$cache"/qemu/*/source; do
        [ -f "$source/VERSION" ] || continue
        echo "A tree of QEMU $(cat "$source/VERSION")"
        rm -rf "$work/glue"
        cp -a "$top/glue/qemu" "$work/glue"
        plain_tree "$source"
        check_round_trip
        check_anchors
        trees=$((trees + 1))
    done
    [ $trees != 0 ] || complain "there is no tree in $cache"
    check_unknown_trees
    check_install_usage
}

# ---- build ------------------------------------------------------------------

check_build_usage() {
    local build=$top/glue/qemu/build

    expect 0 "^usage: " "$build" --help
    expect 2 "^build: --frob: not an option" "$build" --frob
    expect 2 "^build: --series: a value is missing" "$build" --series
    expect 2 "^build: --jobs 0: not a positive number" "$build" --jobs 0
    expect 2 "^build: --jobs 2x: not a positive number" "$build" --jobs=2x
    expect 2 "^build: --print all: expected x86_64" "$build" --print all
    expect 1 "only --series 9.9: the series known here are 7.2, 10.0 and" \
        "$build" --series 9.9
    expect 1 "only with a space or a colon" "$build" --cache "$work/a b"
    expect 1 "only not built in .* run glue/qemu/build --series 7.2" \
        "$build" --series 7.2 --cache "$work/none" --print x86_64
    expect 0 "only get Debian's source .* MB of disk in $work/none" \
        "$build" --series 10.2 --cache "$work/none" --print plan
    equal "printing makes nothing" "$(find "$work/none" 2> /dev/null)" ""
    : > "$work/file"
    expect 1 "^build: cannot make $work/file" \
        "$build" --series 7.2 --cache "$work/file"
}

# Where apt knows no mirror, or one that does not answer.
check_no_source() {
    local build=$top/glue/qemu/build

    mkdir "$work/apt"
    expect 1 "^build: apt has no source here that is a Debian mirror" \
        env apt_directory="$work/apt" "$build" --series 7.2 --cache "$work/c"
    equal "no lines of apt's own" "$(grep -c '^[EW]:' "$work/output")" 0
    echo "deb http://127.0.0.1:9/debian bookworm main" > \
        "$work/apt/sources.list"
    expect 1 "^build: no source of QEMU 7.2 is to be had in .*127.0.0.1" \
        env apt_directory="$work/apt" "$build" --series 7.2 --cache "$work/c"
    equal "no source" "$(find "$work/c" -name source)" ""
}

# Two at the same time: the second waits for the lock of the first.
check_lock() {
    local line='' lock out

    mkdir -p "$work/l/qemu/7.2"
    mkfifo "$work/says"
    exec {lock}> "$work/l/qemu/7.2/lock"
    flock "$lock"
    apt_directory=$work/empty "$top/glue/qemu/build" --series 7.2 \
        --cache "$work/l" > "$work/says" 2>&1 < /dev/null {lock}>&- &
    builder=$!
    exec {out}< "$work/says"
    while [[ $line != Waiting:* ]] && IFS= read -r -t 60 line <&"$out"; do
        :
    done
    equal "the second" "$line" \
        "Waiting: somebody else does the build in $work/l/qemu/7.2"
    exec {lock}>&-
    while IFS= read -r -t 60 line <&"$out"; do
        [[ $line != build:* ]] || break
    done
    equal "it goes on" "${line%% that*}" "build: apt has no source here"
    exec {out}<&-
    wait "$builder"
    builder=
}

# A build of what is built already, and of one file that has changed.
check_again() {
    local directory=$cache/qemu/$QEMU_SERIES log before seconds file steps

    log=$directory/log
    expect 0 "^QEMU: $QEMU_SERIES" "$top/glue/qemu/build" \
        --series "$QEMU_SERIES" --cache "$cache"
    before=$(stat -L -c '%n %y %i' \
        "$directory"/build/qemu-system-{x86_64,aarch64} \
        "$directory"/library/prefix/lib/*.so.*)
    seconds=$SECONDS
    expect 0 "^QEMU: $QEMU_SERIES" "$top/glue/qemu/build" \
        --series "$QEMU_SERIES" --cache "$cache"
    [ $((SECONDS - seconds)) -lt 60 ] ||
        complain "a second build took $((SECONDS - seconds)) s"
    equal "what was built" "$(stat -L -c '%n %y %i' \
        "$directory"/build/qemu-system-{x86_64,aarch64} \
        "$directory"/library/prefix/lib/*.so.*)" "$before"
    equal "steps of a second build" \
        "$(grep -cE '^\[[0-9]+/[0-9]+\] (Compiling|Linking)' "$log")" 0
    equal "the library is found" "$(env -u LD_LIBRARY_PATH ldd \
        "$QEMU_X86_64" | sed -n 's/.* => \(.*\/libmemexpose.so\).*/\1/p')" \
        "$directory/library/prefix/lib/libmemexpose.so"

    # what somebody did to the tree is put right, and only that is built
    file=hw/misc/memexpose/memexpose-group.c
    echo "/* more */" >> "$directory/source/$file"
    expect 0 "^QEMU: $QEMU_SERIES" "$top/glue/qemu/build" \
        --series "$QEMU_SERIES" --cache "$cache"
    equal "the file" "$(cmp "$top/glue/qemu/$file" \
        "$directory/source/$file" 2>&1)" ""
    steps=$(grep -cE '^\[[0-9]+/[0-9]+\] Compiling' "$log")
    [[ $steps == [1-4] ]] ||
        complain "a change of one file: $steps files compiled"
}

# ---- lib.sh -----------------------------------------------------------------

# with_lib COMMAND: in a shell with the functions, and a cache of its own
with_lib() {
    # shellcheck disable=SC2016 # for that shell
    bash -u -c 'program=test; cache=$1; . "$2"; eval "$3"' \
        with_lib "$work/cache" "$top/glue/qemu/lib.sh" "$1"
}

check_apt_sources() {
    rm -rf "$work/apt"
    mkdir -p "$work/apt/sources.list.d"
    export apt_directory=$work/apt
    cat > "$work/apt/sources.list" << 'END'
# deb http://example.org/commented bookworm main
deb [arch=amd64 signed-by=/k/other.gpg] http://example.org/sury/ bookworm main
deb http://example.org/debian/ bookworm main contrib # a remark
deb http://example.org/other bookworm contrib
deb-src http://example.org/debian/ bookworm-updates contrib main
END
    printf '%s\n' "Types: deb" "URIs: http://example.org/nodistro" \
        "Suites: nodistro" "Components: main" > \
        "$work/apt/sources.list.d/a.sources"
    cat > "$work/apt/sources.list.d/b.sources" << 'END'
# the security of it
types: deb deb-src
URIs: http://example.org/debian-security
Suites: bookworm-security
Components: main
 contrib
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 -----END PGP PUBLIC KEY BLOCK-----

Enabled: no
Types: deb
URIs: http://example.org/debian
Suites: trixie
Components: main
Signed-By: /k/debian-archive-keyring.gpg
END
    equal "sources" "$(with_lib apt_sources)" \
        "http://example.org/sury/ bookworm /k/other.gpg
http://example.org/debian/ bookworm -
http://example.org/debian/ bookworm-updates -
http://example.org/nodistro nodistro -
http://example.org/debian-security bookworm-security -"
    equal "mirror" "$(with_lib "debian_mirror ''")" \
        "http://example.org/debian/ -"
    equal "mirror of security" "$(with_lib 'debian_mirror -security')" \
        "http://example.org/debian-security -"
    sed -i 's/^Enabled: no/Enabled: yes/' "$work/apt/sources.list.d/b.sources"
    equal "mirror with Debian's keys" "$(with_lib "debian_mirror ''")" \
        "http://example.org/debian /k/debian-archive-keyring.gpg"
    rm -r "$work/apt/sources.list.d" "$work/apt/sources.list"
}

check_fetch() {
    local directory=$work/packages

    expect 1 "only ^test: apt has no source here" with_lib \
        "fetch_packages amd64 '$directory' hello > /dev/null"
    echo "deb http://127.0.0.1:9/debian bookworm main" > \
        "$work/apt/sources.list"
    expect 1 "only ^test: there is no package hello .*127.0.0.1" \
        with_lib "fetch_packages amd64 '$directory' hello > /dev/null"
    equal "nothing is there" "$(find "$directory" 2> /dev/null)" ""
    mkdir "$directory"
    expect 1 "only ^test: $directory: is in the way" with_lib \
        "fetch_packages amd64 '$directory' hello > /dev/null"
    # what is there already takes no network
    echo "amd64 a b: hello" > "$directory/.packages"
    expect 0 "only there" with_lib \
        "fetch_suites='a b'
            fetch_packages amd64 '$directory' hello; echo there"
    expect 1 "only there is no package other" with_lib \
        "fetch_suites='a b'
            fetch_packages amd64 '$directory' other > /dev/null"
    equal "what was there stays" "$(cat "$directory/.packages")" \
        "amd64 a b: hello"
    unset apt_directory
}

check_files() {
    local before

    echo one > "$work/one"
    with_lib "update_file '$work/one' '$work/x/y/two'" ||
        complain "update_file makes no file"
    before=$(stat -c '%y %i' "$work/x/y/two")
    with_lib "update_file '$work/one' '$work/x/y/two'"
    equal "the same file" "$(stat -c '%y %i' "$work/x/y/two")" "$before"
    echo two > "$work/one"
    with_lib "update_file '$work/one' '$work/x/y/two'"
    equal "another file" "$(cat "$work/x/y/two")" two
    equal "files" "$(ls "$work/x/y")" two
    expect 1 "^test: $work/one/two: cannot be written" with_lib \
        "update_file '$work/file' '$work/one/two'"
    expect 0 "only fits" with_lib \
        "require_space '$work/a/b' 1 'a file'; echo fits"
    expect 1 "only $work/a/b: no space for a file: it takes 9999999999 MB," \
        with_lib "require_space '$work/a/b' 9999999999 'a file'"
}

check_packages() {
    expect 0 "only fine" with_lib "require_packages bash; echo fine"
    expect 1 "only this is neither Debian nor Ubuntu.*: no-such-package" \
        with_lib "os_release() { echo other; }
            require_packages bash no-such-package"
    expect 1 "only please let root install: apt-get install no-such-package" \
        with_lib "os_release() { echo debian; }
            id() { echo 1000; }
            has_command() { [ \$1 != sudo ] && command -v \$1 > /dev/null; }
            require_packages no-such-package"
}

check_install
check_build_usage
check_no_source
check_lock
check_apt_sources
check_fetch
check_files
check_packages
check_again
echo "$cases cases, $failures failures"
[ $failures = 0 ]
