# shellcheck shell=sh
# SPDX-License-Identifier: BSD-3-Clause
#
# What the tests with several memexpose-sim share; sourced, not run.
#
# A peer is started in one of the slots a, b and c.  Its commands come from a
# FIFO and its results go to one, so that a test knows when a command has been
# done: by the line that it printed.  Its diagnostics are in
# $directory/SLOT.err and its trace in $directory/SLOT.trace.

set -u
LC_ALL=C
export LC_ALL
sim=${MEMEXPOSE_SIM:-${top_builddir:-.}/tools/sim/memexpose-sim}
directory=$(mktemp -d "${TMPDIR:-/tmp}/mx-XXXXXX") || exit 1
name=$directory/n
slow=${CK_TIMEOUT_MULTIPLIER:-1} # under valgrind everything takes longer
failures=0
cases=0
pid_a='' pid_b='' pid_c=''
reply='' status=''

# Whatever hangs: end what was started, by its id, and then this script.
(
    trap 'kill $!; exit' TERM
    sleep $((100 * slow)) &
    wait $!
    for file in "$directory"/pid.*; do
        [ -e "$file" ] && kill -KILL "$(cat "$file")" 2> /dev/null
    done
    kill -TERM $$
) > /dev/null 2>&1 &
watchdog=$!

finish() {
    kill -TERM "$watchdog" 2> /dev/null
    for file in "$directory"/pid.*; do
        [ -e "$file" ] && kill -KILL "$(cat "$file")" 2> /dev/null
    done
    wait 2> /dev/null # that they were killed is no news
    rm -rf "$directory"
}
trap finish EXIT
trap 'echo "FAIL: ended by a signal, or by the time it took"; exit 1' \
    HUP INT TERM
trap '' PIPE # a peer that died must not take the test along

complain() {
    failures=$((failures + 1))
    echo "FAIL: $*"
    [ $failures -le 5 ] || return 0
    for complain_slot in a b c; do
        for complain_kind in err trace; do
            complain_file=$directory/$complain_slot.$complain_kind
            [ -s "$complain_file" ] && tail -n 8 "$complain_file" |
                sed "s/^/    $complain_slot.$complain_kind: /"
        done
    done
}

# equal WHAT ACTUAL EXPECTED
equal() {
    cases=$((cases + 1))
    [ "$2" = "$3" ] || complain "$1: '$2' instead of '$3'"
}

# holds WHAT TEST-ARGUMENT...
holds() {
    cases=$((cases + 1))
    holds_what=$1
    shift
    [ "$@" ] || complain "$holds_what"
}

# contains FILE TEXT, now
contains() {
    cases=$((cases + 1))
    grep -qF -e "$2" "$1" || complain "${1##*/} does not contain '$2'"
}

# lacks FILE TEXT, now
lacks() {
    cases=$((cases + 1))
    grep -qF -e "$2" "$1" && complain "${1##*/} contains '$2'"
}

# until_true WHAT COMMAND...: wait for it, up to some time.
until_true() {
    cases=$((cases + 1))
    until_what=$1
    shift
    until_tries=$((500 * slow))
    until "$@" > /dev/null 2>&1; do
        until_tries=$((until_tries - 1))
        if [ $until_tries = 0 ]; then
            complain "$until_what: this did not come"
            return 1
        fi
        sleep 0.02
    done
}

# logged SLOT TEXT, traced SLOT TEXT: wait until it is there.
logged() {
    until_true "$1.err: '$2'" grep -qF -e "$2" "$directory/$1.err"
}

traced() {
    until_true "$1.trace: '$2'" grep -qF -e "$2" "$directory/$1.trace"
}

# launch SLOT ARGUMENT...: start a peer.
launch() {
    launch_slot=$1
    shift
    launch_in=$directory/$launch_slot.in
    launch_out=$directory/$launch_slot.out
    rm -f "$launch_in" "$launch_out" "$directory/$launch_slot.trace"
    mkfifo "$launch_in" "$launch_out"
    # shellcheck disable=SC2086 # the simulator may come with a wrapper
    $sim --trace="$directory/$launch_slot.trace" "$@" < "$launch_in" \
        > "$launch_out" 2> "$directory/$launch_slot.err" \
        3>&- 4<&- 5>&- 6<&- 7>&- 8<&- &
    eval "pid_$launch_slot=$!"
    echo $! > "$directory/pid.$launch_slot"
    case $launch_slot in
    a) exec 3> "$launch_in" 4< "$launch_out" ;;
    b) exec 5> "$launch_in" 6< "$launch_out" ;;
    c) exec 7> "$launch_in" 8< "$launch_out" ;;
    esac
}

# tell SLOT COMMANDS
tell() {
    case $1 in
    a) printf '%s\n' "$2" >&3 ;;
    b) printf '%s\n' "$2" >&5 ;;
    c) printf '%s\n' "$2" >&7 ;;
    esac 2> /dev/null
}

# answer SLOT: the next line that it prints becomes $reply.
answer() {
    case $1 in
    a) IFS= read -r reply <&4 ;;
    b) IFS= read -r reply <&6 ;;
    c) IFS= read -r reply <&8 ;;
    esac || reply='(no more)'
}

# ask SLOT COMMANDS: the one line that they print becomes $reply.
ask() {
    tell "$1" "$2"
    answer "$1"
}

# expect SLOT COMMANDS LINE...: that is what they print.
expect() {
    expect_slot=$1
    expect_commands=$2
    shift 2
    tell "$expect_slot" "$expect_commands"
    for expect_line; do
        answer "$expect_slot"
        equal "$expect_slot: $expect_commands" "$reply" "$expect_line"
        [ "$reply" != '(no more)' ] || return 1
    done
}

# sync_with SLOT: what it was told before has been done.
sync_with() {
    expect "$1" 'reg 0x28 1' 0x00
}

# regions SLOT: what it has mapped becomes $reply, with ';' behind each range.
regions() {
    tell "$1" 'regions; reg 0x28 1'
    regions_list=
    while answer "$1"; [ "$reply" != 0x00 ] && [ "$reply" != '(no more)' ]; do
        regions_list="$regions_list$reply;"
    done
    reply=$regions_list
}

# mapped SLOT RANGES: what it has mapped, as regions() tells it.
mapped() {
    regions "$1"
    equal "$1: regions" "$reply" "$2"
}

# counter SLOT NAME: one of its counters becomes $reply.
counter() {
    counter_value=
    tell "$1" 'stats; reg 0x28 1'
    while answer "$1"; [ "$reply" != 0x00 ] && [ "$reply" != '(no more)' ]; do
        [ "${reply% *}" != "$2" ] || counter_value=${reply#* }
    done
    reply=$counter_value
}

# counted SLOT NAME VALUE
counted() {
    counter "$1" "$2"
    equal "$1: $2" "$reply" "$3"
}

# pid SLOT: its id becomes $pid.
pid_of() {
    eval "pid=\$pid_$1"
}

send_signal() {
    pid_of "$2"
    kill -"$1" "$pid"
}

# A stop takes effect some time after the signal was sent.
is_stopped() {
    grep -q '^State:[[:space:]]*T' "/proc/$1/status"
}

halt() {
    send_signal STOP "$1"
    until_true "$1: stopped" is_stopped "$pid"
}

resume() {
    send_signal CONT "$1"
}

# gone SLOT STATUS: it ends, without printing more.
gone() {
    case $1 in
    a) reply=$(cat <&4) ;;
    b) reply=$(cat <&6) ;;
    c) reply=$(cat <&8) ;;
    esac
    pid_of "$1"
    wait "$pid"
    status=$?
    rm -f "$directory/pid.$1"
    eval "pid_$1="
    case $1 in
    a) exec 3>&- 4<&- ;;
    b) exec 5>&- 6<&- ;;
    c) exec 7>&- 8<&- ;;
    esac
    equal "$1: exit status" "$status" "$2"
    equal "$1: the rest of what it prints" "$reply" ''
}

# leave SLOT: no more commands come, hence it ends.
leave() {
    case $1 in
    a) exec 3>&- ;;
    b) exec 5>&- ;;
    c) exec 7>&- ;;
    esac
    gone "$1" 0
}

# destroyed SLOT: it dies at once, and shells say no word about it.
destroyed() {
    send_signal KILL "$1"
    gone "$1" 137 2> /dev/null
}

# fails SLOT COMMANDS TEXT: the last one fails, with that on stderr, and the
# peer ends; what is behind it is not run.
fails() {
    tell "$1" "$2; lread 0 1"
    gone "$1" 1
    contains "$directory/$1.err" "$3"
    equal "$1: $2: last line on stderr" \
        "$(tail -n 1 "$directory/$1.err" | cut -d : -f 1)" memexpose-sim
}

# descriptors SLOT: how many it has open becomes $reply.  It may still have to
# close one when the peer has got what it waited for, hence the sync.
descriptors() {
    sync_with "$1"
    pid_of "$1"
    set -- /proc/"$pid"/fd/*
    reply=$#
}

# conclude: nothing may be left.
conclude() {
    for file in "$directory"/pid.*; do
        [ -e "$file" ] && complain "${file##*.}: the process is left"
    done
    [ -z "$(find "$directory" -type s)" ] || complain "a socket is left"
    echo "$cases cases, $failures failures"
    [ $failures = 0 ]
    exit
}
