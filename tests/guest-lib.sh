# shellcheck shell=sh
# SPDX-License-Identifier: BSD-3-Clause
#
# What the tests of memexpose-guest share; sourced, not run.
#
# The program finds its devices in a tree of files, where plain files stand for
# what the kernel maps: registers keep what is written to them, and the window
# is memory.  What takes a device that acts is tried in real guests.

set -u
LC_ALL=C
export LC_ALL
slow=${CK_TIMEOUT_MULTIPLIER:-1} # under valgrind everything takes longer
limit="timeout $((20 * slow))" # whatever hangs
guest="${CHECK_WRAPPER-} ${top_builddir:-.}/tools/guest/memexpose-guest"
guest="$limit ${MEMEXPOSE_GUEST:-$guest}"
directory=$(mktemp -d "${TMPDIR:-/tmp}/mx-XXXXXX") || exit 1
trap 'rm -rf "$directory"' EXIT
: > "$directory/out"
: > "$directory/err"
trap 'exit 1' HUP INT TERM
tree=$directory/tree
pci=$tree/sys/bus/pci
platform=$tree/sys/bus/platform
nodes=$tree/sys/firmware/devicetree/base
failures=0
cases=0
status=''

complain() {
    failures=$((failures + 1))
    echo "FAIL: $*"
    sed 's/^/    stdout: /' "$directory/out"
    sed 's/^/    stderr: /' "$directory/err"
}

# equal WHAT ACTUAL EXPECTED
equal() {
    cases=$((cases + 1))
    [ "$2" = "$3" ] || complain "$1: '$2' instead of '$3'"
}

conclude() {
    echo "$cases cases, $failures failures"
    [ $failures = 0 ]
    exit
}

# ---- The tree ---------------------------------------------------------------

# poke FILE OFFSET HEX: put bytes there, two digits each.
poke() {
    poke_left=$3
    poke_bytes=
    while [ -n "$poke_left" ]; do
        poke_rest=${poke_left#??}
        poke_bytes=$poke_bytes$(printf '\\0%03o' "0x${poke_left%"$poke_rest"}")
        poke_left=$poke_rest
    done
    printf %b "$poke_bytes" |
        dd of="$1" bs=1 seek=$(($2)) conv=notrunc 2> /dev/null
}

# peek FILE OFFSET COUNT: the bytes there, two digits each, become $reply.
peek() {
    reply=$(dd if="$1" bs=1 skip=$(($2)) count="$3" 2> /dev/null |
        od -An -v -tx1 | tr -d ' \n')
}

# little DIGITS VALUE: a number of so many digits, little-endian, is $reply.
little() {
    little_left=$(printf "%0$1x" "$2")
    reply=
    while [ -n "$little_left" ]; do
        reply=$reply${little_left#"${little_left%??}"}
        little_left=${little_left%??}
    done
}

# registers FILE [OFFSET]: of a device that is enabled and connected for the
# third time, to a peer that exports 0x1000 bytes at 0x40000000.
registers() {
    set -- "$1" "${2:-0}"
    poke "$1" "$2" 0100000000000000
    poke "$1" $(($2 + 0x010)) 0700000003000000
    poke "$1" $(($2 + 0x018)) 0000004000000000
    poke "$1" $(($2 + 0x020)) 0010000000000000
}

# new_tree: an empty machine with a PCI device of another make.
new_tree() {
    rm -rf "$tree"
    mkdir -p "$pci/devices/0000:00:00.0" "$pci/drivers" \
        "$platform/devices" "$platform/drivers" "$tree/dev" \
        "$tree/sys/class/uio"
    echo 0x8086 > "$pci/devices/0000:00:00.0/vendor"
    echo 0x1237 > "$pci/devices/0000:00:00.0/device"
}

# add_pci ADDRESS REGISTERS WINDOW SIZE
add_pci() {
    add_at=$pci/devices/$1
    mkdir -p "$add_at"
    echo 0x1af4 > "$add_at/vendor"
    echo 0x1111 > "$add_at/device"
    printf '0x%016x 0x%016x 0x%016x\n' $(($2)) $(($2 + 0xfff)) 0x40200 \
        $(($3)) $(($3 + $4 - 1)) 0x140204 0 0 0 > "$add_at/resource"
    truncate -s 4096 "$add_at/resource0"
    truncate -s $(($4)) "$add_at/resource1"
    truncate -s 64 "$add_at/config"
    echo 0 > "$add_at/enable"
    : > "$add_at/driver_override"
    registers "$add_at/resource0"
}

# add_driver BUS NAME
add_driver() {
    mkdir -p "$tree/sys/bus/$1/drivers/$2"
    : > "$tree/sys/bus/$1/drivers/$2/bind"
}

# bind BUS DEVICE DRIVER: as the kernel shows it.
bind() {
    add_driver "$1" "$3"
    ln -s "../../../../bus/$1/drivers/$3" \
        "$tree/sys/bus/$1/devices/$2/driver"
}

# cells FILE NUMBER...: a property of a node, 4 bytes each, big-endian.
cells() {
    cells_file=$1
    shift
    : > "$cells_file"
    for cell; do
        poke "$cells_file" "$(wc -c < "$cells_file")" \
            "$(printf %08x "$cell")"
    done
}

# add_node PATH REG-CELL...
add_node() {
    add_at=$nodes$1
    shift
    mkdir -p "$add_at"
    printf 'other\0memexpose-memregion\0' > "$add_at/compatible"
    cells "$add_at/reg" "$@"
}

# add_root: of a device tree with two cells for each number.
add_root() {
    mkdir -p "$nodes/chosen"
    cells "$nodes/#address-cells" 2
    cells "$nodes/#size-cells" 2
    printf 'linux,dummy-virt\0' > "$nodes/compatible"
}

# add_platform NODE: registers at 64K and a window of 64K at 128K, with a
# device that the kernel made of it.
add_platform() {
    add_root
    add_node "/$1" 0 0x10000 0 0x1000 0 0x20000 0 0x10000
    mkdir -p "$platform/devices/10000.memexpose" \
        "$platform/devices/9000000.pl011"
    printf 'DRIVER=uart\nOF_NAME=pl011\nOF_FULLNAME=/pl011@9000000\n' \
        > "$platform/devices/9000000.pl011/uevent"
    printf 'OF_NAME=memexpose\nOF_FULLNAME=/%s\nOF_COMPATIBLE_N=1\n' "$1" \
        > "$platform/devices/10000.memexpose/uevent"
    : > "$platform/devices/10000.memexpose/driver_override"
    truncate -s 192K "$tree/dev/mem"
    registers "$tree/dev/mem" 0x10000
}

# ---- The program ------------------------------------------------------------

call() {
    # shellcheck disable=SC2086 # the program may come with a wrapper
    $guest --root="$tree" "$@" > "$directory/out" 2> "$directory/err" \
        < /dev/null
    status=$?
}

# shows TEXT WORD...: that is what it prints, and nothing else.
shows() {
    shows_text=$1
    shift
    cases=$((cases + 1))
    call "$@"
    if [ $status != 0 ] || [ -s "$directory/err" ]; then
        complain "$*: exit $status instead of 0, without a word"
    elif [ "$(cat "$directory/out")" != "$shows_text" ]; then
        complain "$*: expected '$shows_text'"
    fi
}

# refused STATUS TEXT WORD...: one line that has TEXT in it, nothing on stdout.
refused() {
    refused_status=$1
    refused_text=$2
    shift 2
    cases=$((cases + 1))
    call "$@"
    if [ $status != "$refused_status" ]; then
        complain "$*: exit $status instead of $refused_status"
    elif [ "$(wc -l < "$directory/err")" != 1 ]; then
        complain "$*: not one line"
    elif ! grep -q '^memexpose-guest: ' "$directory/err" ||
        ! grep -qF -e "$refused_text" "$directory/err"; then
        complain "$*: expected '$refused_text'"
    elif [ -s "$directory/out" ]; then
        complain "$*: something on stdout"
    fi
}
