#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# bench.sh guests KIND PUSH POLL_NS: two machines (pc or virtpci) measure each
# other from inside their guests, with memory that is mapped when it is touched, or before (push
# on), by waits that sleep, or poll before that.
#
# bench.sh maps: a change of a machine's memory map is timed from outside, with
# more and more memory of its peer mapped.
#
# What has to be true is looked at; how long it takes is only told.

# shellcheck source=tests/qemu/lib.sh
. "$(dirname "$0")/lib.sh"

piece=$((4 << 20))

# firmware KIND: where it is: not shared, hence never mapped, but can be read
firmware() {
    case $1 in
    pc) echo $((0xf0000)) ;;
    virtpci) echo 0 ;;
    esac
}

# all_ram KIND: the range of its memory, or most of it
# shellcheck disable=SC2317 # has_all_ram calls it
all_ram() {
    case $1 in
    pc) echo '"0x100000 0x1bf00000 rw"' ;;
    virtpci) echo '"0x40000000 0x1c000000 rw"' ;;
    esac
}

# tell_figure WHAT NAME [NAME...]: of what the guest has printed, in $reply
tell_figure() {
    local what=$1 name figures=''

    shift
    for name; do
        [[ $'\n'$reply =~ $'\n'$name\ ([0-9.]+) ]] || {
            complain "no figure $name: $reply"
            continue
        }
        figures+=" $name ${BASH_REMATCH[1]}"
    done
    echo "figure: $what:$figures"
}

# ---- Guests -----------------------------------------------------------------

# start_pair KIND PROPERTIES
start_pair() {
    start_peer one "$1" link listen "$2"
    start_peer two "$1" link connect "$2"
    booted one two
    does one 'memexpose-guest enable'
    does two 'memexpose-guest enable'
}

# shellcheck disable=SC2317 # until_true calls it
has_all_ram() {
    property "$1" ranges && [[ $reply == *"$(all_ram "$2")"* ]]
}

# all_is_mapped KIND: nobody has read or written anything so far
all_is_mapped() {
    local name

    for name in one two; do
        until_true "$name: all of the peer's RAM is mapped" \
            has_all_ram $name "$1"
        counter_of $name requests-sent
        equal "$name: requests before the first access" "$reply" 0
    done
}

# requests COMPARISON NUMBER
requests() {
    counter_of two requests-sent
    holds "$reply requests instead of $*" "$reply" "$@"
}

# Accesses to what is mapped as registers are QEMU looks at one by one on arm.
combine_on() {
    case $1 in
    pc) ;;
    virtpci) echo --combine ;;
    esac
}

# memory KIND WHAT: what is mapped, and then what is not
memory() {
    local kind=$1

    shift
    does two "memexpose-guest bench $(first_area one) $piece --write $(
        combine_on "$kind")"
    tell_figure "$1" clock_ns_median window_read_ns_median read_ratio \
        write_ratio read_bytes_per_second write_bytes_per_second
    guest two "memexpose-guest sum $(first_area one) $area" ||
        complain "two: sum: $reply"
    case $1 in
    *push=on*) requests -eq 0 ;;
    *) requests -gt 0 ;;
    esac
    does two "memexpose-guest bench $(first_area one) 8 $(
        )--unmapped $(firmware "$kind")"
    tell_figure "$1" unmapped_read_ns_min unmapped_read_ns_median \
        unmapped_read_ns_p99
    requests -gt 2000
}

# interrupts WHAT --poll|--irq
interrupts() {
    guest_begin one "memexpose-guest bench --answer 60000 $2"
    does two "memexpose-guest bench $(first_area one) 8 --interrupts $2"
    tell_figure "$1 $2" interrupt_round_trip_ns_min \
        interrupt_round_trip_ns_median interrupt_round_trip_ns_p99
    guest_end one || complain "one: $reply"
    equal "one: what it said" "$reply" ''
}

# measure_guests KIND PUSH POLL_NS
measure_guests() {
    local kind=$1 what="push=$2,poll-ns=$3"

    shift
    start_pair "$kind" "$what,prefetchable=on"
    [ "$1" = off ] || all_is_mapped "$kind"
    memory "$kind" "$what"
    interrupts "$what" --poll
    interrupts "$what" --irq
    counter_of two polls
    if [ "$2" = 0 ] || [ "$(nproc)" = 1 ]; then
        equal "two: polls" "$reply" 0
    else
        holds "two: no polls" "$reply" -gt 0
    fi
    counter_of one violations
    equal "one: violations" "$reply" 0
    counter_of two violations
    equal "two: violations" "$reply" 0
    stop_vm one two
}

# ---- Changes of the memory map ----------------------------------------------

registers=$((0xe0000000))
bar=$((0xe1000000))
window_start=$((0xb0000000)) # 256 MiB from there

# qtest WORDS...: the machine does it at once
qtest() {
    local value

    printf '%s\n' "$*" >&"$qtest_to"
    IFS= read -r -t "$patience" value <&"$qtest_from" ||
        give_up "no answer to $*"
    [[ $value == OK* ]] || complain "$*: $value"
}

# set_config SLOT OFFSET WIDTH VALUE: of PCI's
set_config() {
    qtest outl 0xcf8 $((0x80000000 | $1 << 11 | ($2 & ~3)))
    qtest "out$3" $((0xcfc + ($2 & 3))) "$4"
}

# A machine without a guest, whose devices are set up from outside.
start_bare() {
    local file=$directory/bare words

    mapfile -t words < <(sockets_listen link)
    vm_kind[bare]=pc
    vm_events[bare]=
    mkfifo "$file".qtest.{in,out} || exit 1
    exec {qtest_to}<> "$file.qtest.in" {qtest_from}<> "$file.qtest.out"
    launch_vm bare "$QEMU_X86_64" -L "$QEMU_FIRMWARE" -accel qtest \
        -machine pc -m 32M -nodefaults -no-user-config -display none \
        -chardev "pipe,id=qtest,path=$file.qtest" -qtest chardev:qtest \
        -qtest-log none -chardev "pipe,id=monitor,path=$file.qmp" \
        -mon chardev=monitor,mode=control "${words[@]}" -device \
        "memexpose-pci,id=mx,addr=4,mem_chardev=link-mem,$(
            )intr_chardev=link-intr,shm_size=0x10000000,wait=off,push=on,$(
            )max-ranges=1024" \
        -device edu,addr=5
    vm_device[bare]=/machine/peripheral/mx
    await_monitor bare
    set_config 4 0x10 l $registers
    set_config 4 0x14 l $window_start
    set_config 4 0x18 l 0
    set_config 4 0x04 w 6
    set_config 5 0x10 l $bar
    set_config 5 0x04 w 6
    qtest writeq $registers 1
}

stop_bare() {
    stop_vm bare
    exec {qtest_to}>&- {qtest_from}<&-
    rm -f "$directory"/bare.qtest.{in,out}
}

# median COMMAND...: of so many rounds, each with its number; it becomes
# $spent, in microseconds
rounds=200
median() {
    local round began times=()

    for ((round = 1; round <= rounds; round++)); do
        began=${EPOCHREALTIME/./}
        "$@" $round
        times+=($((${EPOCHREALTIME/./} - began)))
    done
    spent=$(printf '%s\n' "${times[@]}" | sort -n |
        sed -n "$((rounds / 2))p")
}

# A device's registers move: they go from one place, and come to another.
# shellcheck disable=SC2317 # median calls it
move_bar() {
    set_config 5 0x10 l $((bar + $1 % 2 * 0x100000))
}

# The same without moving anything.
# shellcheck disable=SC2317
leave_bar() {
    set_config 5 0x3c b $(($1 % 2))
}

# map_changes COUNT: of ranges that the peer has
map_changes() {
    local count=$1 words=() number spent idle

    for ((number = 0; number < count; number++)); do
        words+=(--ram "$((number * 0x2000)):4K")
    done
    start_bare
    launch a --connect "$directory/link" --push=on "${words[@]}"
    sync_with a
    until_true "$count ranges are mapped" \
        is_counter bare mapped-ranges -eq "$count"
    counter_of bare requests-sent
    equal "$count ranges: requests" "$reply" 0
    median leave_bar
    idle=$spent
    median move_bar
    echo "figure: $count ranges mapped: moving a BAR takes" \
        "$((spent - idle)) us besides $idle us for the accesses"
    counter_of bare mapped-ranges
    equal "ranges that are mapped afterwards" "$reply" "$count"
    leave a
    stop_bare
}

case $1 in
guests) measure_guests "$2" "$3" "$4" ;;
maps)
    ulimit -n 4096 # each of the simulator's ranges is a file
    for ranges in 1 100 1000; do
        map_changes $ranges
    done
    ;;
esac
conclude
