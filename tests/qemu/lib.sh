# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What the tests with virtual machines share; sourced, not run, and by
# tests/qemu/run only, which sets the variables that are asked for here.
#
# A machine has a name.  Its guest takes commands by way of its console
# (guest), its monitor by way of QMP (monitor, property); what QEMU says is in
# $directory/NAME.err, and what went over the console in $directory/NAME.log.
# Simulators are started as in tests/sim-lib.sh, in its slots a, b and c.

: "${QEMU_X86_64:?}" "${QEMU_AARCH64:?}" "${QEMU_FIRMWARE:?}" "${GUESTS:?}"
export CK_TIMEOUT_MULTIPLIER=${CK_TIMEOUT_MULTIPLIER:-3}

# shellcheck source=tests/sim-lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../sim-lib.sh"

patience=$((40 * slow)) # seconds for what takes long, a boot for instance
machines=()
declare -A vm_pid vm_kind vm_to vm_from vm_monitor_to vm_monitor_from
declare -A vm_events vm_pending vm_device
reply=''

# ---- Failures ---------------------------------------------------------------

# Instead of that of sim-lib.sh, which does not know of machines.
complain() {
    local file

    failures=$((failures + 1))
    echo "FAIL: ${FUNCNAME[*]:1:3}, line ${BASH_LINENO[*]}: $*"
    [ $failures -le 2 ] || return 0
    for file in "$directory"/*.err "$directory"/*.log "$directory"/*.trace; do
        [ ! -s "$file" ] || tail -n 12 "$file" | tr -d '\r' |
            cut -c 1-200 | sed "s|^|    ${file##*/}: |"
    done
}

# Without what this was about the rest makes no sense.
give_up() {
    complain "$*"
    exit 1
}

# matches WHAT TEXT PATTERN, a regular expression
matches() {
    cases=$((cases + 1))
    [[ $2 =~ $3 ]] || complain "$1: '$2' does not match '$3'"
}

# ---- Bytes ------------------------------------------------------------------

# What guests write is made of a seed, and so is what is expected.
"${CC:-cc}" -std=gnu11 -O2 -o "$directory/memory" \
    "$(dirname "${BASH_SOURCE[0]}")/memory.c" || exit 1

# noise SEED LENGTH
noise() {
    "$directory/memory" noise "$1" "$2"
}

# sum: SHA-256 of standard input
sum() {
    sha256sum | cut -d ' ' -f 1
}

# ---- Machines ---------------------------------------------------------------

# Where the memory of a machine is that its guest's kernel leaves alone, two
# areas of 64 MiB each, as the machine addresses it.
area=$((64 << 20))
first_area() {
    case ${vm_kind[$1]} in
    virt*) echo $((0x50000000)) ;;
    *) echo $((0x10000000)) ;;
    esac
}

second_area() {
    echo $(($(first_area "$1") + area))
}

# The descriptor of the main memory is that of a memfd: what the machine's
# first byte of it is called by the machine itself.
memory_begins() {
    case ${vm_kind[$1]} in
    virt) echo $((0x40000000)) ;;
    *) echo 0 ;;
    esac
}

# sockets_listen LINK, sockets_connect LINK: arguments for the two
# chardevs LINK-mem and LINK-intr, on the sockets that a simulator calls
# $directory/LINK.
sockets_listen() {
    local part

    for part in mem intr; do
        printf '%s\n' -chardev "socket,id=$1-$part,server=on,wait=off,path=$(
            )$directory/$1-$part"
    done
}

# How a client tries again: the older option has gone from newer series.
case $QEMU_SERIES in
7.*) reconnect='reconnect=1' ;;
*) reconnect='reconnect-ms=1000' ;;
esac

sockets_connect() {
    local part

    for part in mem intr; do
        printf '%s\n' -chardev "socket,id=$1-$part,$reconnect,path=$(
            )$directory/$1-$part"
    done
}

# As a client that does not come back.
sockets_connect_once() {
    sockets_connect "$1" | sed "s/$reconnect,//"
}

# The window of every device: large enough for what any of the machines has.
window=0x80000000

# device KIND LINK [PROPERTIES [ID]]: arguments for a PCI device on these
# chardevs, or for the platform device, whose properties are global ones
device() {
    local property

    case $1 in
    virt)
        for property in ${3//,/ }; do
            printf '%s\n' -global "memexpose-memdev.$property"
        done
        ;;
    *)
        printf '%s\n' -device "memexpose-pci,id=${4-mx},mem_chardev=$2-mem,$(
            )intr_chardev=$2-intr,shm_size=$window${3:+,$3}"
        ;;
    esac
}

# start_peer NAME KIND LINK listen|connect|connect_once [PROPERTIES
# [ARGUMENT...]]: a machine with one device.  KIND may also be virtpci: virt,
# with a PCI device.
start_peer() {
    local name=$1 kind=$2 link=$3 role=$4 properties=${5-} machine=$2 words

    shift 4
    [ $# = 0 ] || shift
    case $kind in
    virt) machine=virt,memexpose-ep=$link,memexpose-size=$window ;;
    virtpci) machine=virt ;;
    esac
    mapfile -t words < <(
        "sockets_$role" "$link"
        device "$kind" "$link" "$properties"
    )
    start_vm "$name" "$machine" "${words[@]}" "$@"
    vm_device[$name]=/machine/peripheral/mx
    [ "$kind" != virt ] || vm_device[$name]=$(platform_device "$name")
}

# Where the platform device lies in the machine's tree of objects.
platform_device() {
    echo /machine/memexpose
}

# emulator KIND: arguments that every machine of that kind is started with
emulator() {
    case $1 in
    virt) printf '%s\n' "$QEMU_AARCH64" -cpu cortex-a57 ;;
    *) printf '%s\n' "$QEMU_X86_64" ;;
    esac
    printf '%s\n' -L "$QEMU_FIRMWARE" -accel tcg,thread=multi -smp 2 -m 448M \
        -object memory-backend-memfd,id=ram,size=448M,share=on \
        -nodefaults -display none -no-user-config
}

# console KIND
console() {
    case $1 in
    virt) echo ttyAMA0 ;;
    *) echo ttyS0 ;;
    esac
}

images() {
    case $1 in
    virt) echo "$GUESTS/arm64" ;;
    *) echo "$GUESTS/amd64" ;;
    esac
}

# Of 448 MiB the kernel gets 256; it does not measure how fast timers are, for
# which a host that has other things to do, too, is too slow.
kernel_words="quiet panic=-1 mem=256M no_timer_check"

# start_vm NAME KIND[,MACHINE-OPTIONS] ARGUMENT...: KIND is pc, q35 or virt.
# The guest boots meanwhile: see booted.
start_vm() {
    local name=$1 kind=${2%%,*} machine=$2 file=$directory/$1 words images

    shift 2
    vm_kind[$name]=$kind
    vm_events[$name]=
    vm_pending[$name]=
    images=$(images "$kind")
    mapfile -t words < <(emulator "$kind")
    # shellcheck disable=SC2054 # QEMU's commas
    words+=(-machine "$machine,memory-backend=ram"
        -kernel "$images/files/kernel" -initrd "$images/initramfs"
        -append "console=$(console "$kind") $kernel_words"
        -chardev stdio,id=console,signal=off -serial chardev:console
        -chardev "pipe,id=monitor,path=$file.qmp"
        -mon chardev=monitor,mode=control)
    launch_vm "$name" "${words[@]}" "$@"
    await_monitor "$name"
}

# launch_vm NAME WORD...: QEMU, with FIFOs for the console and the monitor
launch_vm() {
    local name=$1 file=$directory/$1 to from monitor_to monitor_from

    shift
    rm -f "$file".{in,out,qmp.in,qmp.out}
    mkfifo "$file".{in,out,qmp.in,qmp.out} || exit 1
    : > "$file.log"
    # QEMU opens those of the monitor for both directions, hence only an end
    # of its own tells of QEMU's: reopened below
    exec {monitor_to}<> "$file.qmp.in" {monitor_from}<> "$file.qmp.out"
    vm_monitor_to[$name]=$monitor_to
    vm_monitor_from[$name]=$monitor_from
    (
        trap - PIPE
        exec "$@"
    ) < "$file.in" > "$file.out" 2> "$file.err" 3>&- 4<&- 5>&- 6<&- 7>&- 8<&- &
    vm_pid[$name]=$!
    echo $! > "$directory/pid.vm-$name"
    machines+=("$name")
    exec {to}> "$file.in" {from}< "$file.out"
    vm_to[$name]=$to
    vm_from[$name]=$from
}

# has_ended NAME: its process is over, though it may not have been waited for
has_ended() {
    local state

    state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' \
        "/proc/${vm_pid[$1]}/status" 2> /dev/null)
    [ -z "$state" ] || [ "$state" = Z ]
}

# forget NAME: close what we have of it
forget() {
    local fd

    for fd in "${vm_to[$1]}" "${vm_from[$1]}" "${vm_monitor_to[$1]}" \
        "${vm_monitor_from[$1]}"; do
        exec {fd}>&-
    done
    rm -f "$directory/pid.vm-$1" "$directory/$1".{in,out,qmp.in,qmp.out}
    unset "vm_pid[$1]"
}

# ended NAME [STATUS]: it ends by itself, or has been told to
ended() {
    local status=0

    until_true "$1: it ends" has_ended "$1" ||
        kill -KILL "${vm_pid[$1]}"
    wait "${vm_pid[$1]}" 2> /dev/null
    status=$?
    equal "$1: exit status" "$status" "${2-0}"
    forget "$1"
}

# stop_vm NAME...: by its monitor
stop_vm() {
    local name

    for name; do
        monitor "$name" quit || complain "$name: quit: $reply"
        ended "$name"
    done
}

# kill_vm NAME: without a warning
kill_vm() {
    kill -KILL "${vm_pid[$1]}"
    ended "$1" 137
}

# ---- Monitor ----------------------------------------------------------------

# next_line FD SECONDS: it becomes $line
next_line() {
    IFS= read -r -t "$2" line <&"$1"
}

# await_monitor NAME: QEMU runs, its monitor takes commands
await_monitor() {
    local name=$1 file=$directory/$1 end=$((SECONDS + patience)) line='' fd

    until [[ $line == *QMP* ]]; do
        next_line "${vm_monitor_from[$name]}" 0.1
        if has_ended "$name"; then
            give_up "$name: QEMU ended: $(tail -n 1 "$file.err")"
        fi
        [ $SECONDS -lt $end ] || give_up "$name: no word from its monitor"
    done
    fd=${vm_monitor_from[$name]}
    exec {fd}<&-
    exec {fd}< "$file.qmp.out"
    vm_monitor_from[$name]=$fd
    monitor "$name" qmp_capabilities || give_up "$name: $reply"
}

# take_reply: $line is {"return": REPLY, "id": N} or an error, with its
# members in any order
take_reply() {
    case $line in
    *'"error": {'*)
        reply=${line##*'"desc": "'}
        reply=${reply%%'"}'*}
        return 1
        ;;
    esac
    reply=${line#*'"return": '}
    reply=${reply%'}'}
    reply=${reply%', "id": '*}
}

# monitor NAME COMMAND [ARGUMENTS]: what it returns becomes $reply, and if it
# fails the reason.  ARGUMENTS are JSON.
serial=0
monitor() {
    local name=$1 end=$((SECONDS + patience)) line arguments=''

    serial=$((serial + 1))
    [ $# = 2 ] || arguments=",\"arguments\":$3"
    {
        printf '{"execute":"%s"%s,"id":%d}\n' "$2" "$arguments" $serial \
            >&"${vm_monitor_to[$name]}"
    } 2> /dev/null
    while [ $SECONDS -lt $end ] &&
        next_line "${vm_monitor_from[$name]}" $((end - SECONDS)); do
        line=${line%$'\r'}
        case $line in
        *'"event":'*) vm_events[$name]+=$line$'\n' ;;
        *"\"id\": $serial"[,\}]*)
            take_reply
            return
            ;;
        esac
    done
    reply='(no answer)'
    return 1
}

# event NAME EVENT [TEXT]: it comes, or has come since this was asked last
event() {
    local name=$1 end=$((SECONDS + patience)) line pattern

    cases=$((cases + 1))
    pattern="\"event\": \"$2\"[^"$'\n'"]*${3-}"
    until [[ ${vm_events[$name]} =~ $pattern ]]; do
        if [ $SECONDS -ge $end ] ||
            ! next_line "${vm_monitor_from[$name]}" $((end - SECONDS)); then
            complain "$name: no event $2 ${3-}"
            return 1
        fi
        vm_events[$name]+=$line$'\n'
    done
    vm_events[$name]=
}

# property NAME PROPERTY [DEVICE]: of a memexpose device, becomes $reply
property() {
    monitor "$1" qom-get "{\"path\":\"${3-${vm_device[$1]}}\",$(
        )\"property\":\"$2\"}"
}

# counter_of NAME COUNTER [DEVICE]: becomes $reply
counter_of() {
    property "$1" stats ${3+"$3"} || give_up "$1: stats: $reply"
    [[ $reply =~ \"$2\":\ ([0-9]+) ]] || give_up "$1: no counter $2: $reply"
    reply=${BASH_REMATCH[1]}
}

# is_counter NAME COUNTER -eq|-gt|... VALUE
is_counter() {
    counter_of "$1" "$2" && test "$reply" "$3" "$4"
}

# human NAME COMMAND: what the monitor for people prints becomes $reply
human() {
    monitor "$1" human-monitor-command "{\"command-line\":\"$2\"}" || return
    reply=${reply#\"}
    reply=${reply%\"}
    printf -v reply '%b' "$reply"
    reply=${reply//$'\r'/}
    reply=${reply//\\\"/\"}
}

# ---- Guests -----------------------------------------------------------------

# guest_line NAME SECONDS: a line of its console becomes $line
guest_line() {
    next_line "${vm_from[$1]}" "$2" || return
    line=${line%$'\r'}
    printf '%s\n' "$line" >> "$directory/$1.log"
}

# booted NAME...: their guests take commands
booted() {
    local name end=$((SECONDS + patience)) line

    for name; do
        line=
        until [[ $line == *@ready* ]]; do
            if [ $SECONDS -ge $end ] ||
                ! guest_line "$name" $((end - SECONDS)); then
                give_up "$name: its guest does not come up"
            fi
        done
        vm_pending[$name]=
    done
}

# guest_begin NAME COMMAND: without waiting for the end of it
guest_begin() {
    serial=$((serial + 1))
    vm_pending[$1]=$serial
    printf '# %s\n' "$2" >> "$directory/$1.log"
    {
        printf '%d %s\n' $serial "${2//$'\n'/ }" >&"${vm_to[$1]}"
    } 2> /dev/null
}

# guest_end NAME [SECONDS]: what it printed becomes $reply; its exit status
guest_end() {
    local id=${vm_pending[$1]} end=$((SECONDS + ${2-$patience})) line

    reply=
    while [ $SECONDS -lt $end ] && guest_line "$1" $((end - SECONDS)); do
        case $line in
        *"@$id:"*) reply+=${reply:+$'\n'}${line#*"@$id:"} ;;
        *"@$id="*)
            vm_pending[$1]=
            return "${line#*"@$id="}"
            ;;
        esac
    done
    complain "$1: no end of command $id"
    return 255
}

# guest NAME COMMAND: both
guest() {
    guest_begin "$1" "$2"
    guest_end "$1"
}

# guest_says NAME TEXT: a line of what it is doing is that
guest_says() {
    local id=${vm_pending[$1]} end=$((SECONDS + patience)) line=''

    cases=$((cases + 1))
    until [[ $line == *"@$id:$2" ]]; do
        if [ $SECONDS -ge $end ] || [[ $line == *"@$id="* ]] ||
            ! guest_line "$1" $((end - SECONDS)); then
            complain "$1: it does not say '$2'"
            return 1
        fi
    done
}

# begin_receiving NAME --irq|--poll: when this returns, it sleeps until an
# interrupt comes; guest_end tells which.
begin_receiving() {
    guest_begin "$1" "memexpose-guest intr recv 20000 $2 > /tmp/came 2>&1 &
        pid=\$!;
        until grep -qE 'poll|nanosleep' /proc/\$pid/wchan; do
        [ -d /proc/\$pid ] || break; usleep 1000; done 2> /dev/null;
        echo asleep; wait \$pid; status=\$?; cat /tmp/came; exit \$status"
    guest_says "$1" asleep
}

# does NAME COMMAND [TEXT]: it succeeds, and prints that
does() {
    cases=$((cases + 1))
    guest "$1" "$2" || complain "$1: $2: status $?: $reply"
    [ $# = 2 ] || equal "$1: $2" "$reply" "$3"
}

# until_guest COMMAND: what the guest does of itself is done
until_guest() {
    does vm "tries=200; until $1 > /dev/null; do tries=\$((tries - 1));
        [ \$tries != 0 ] || exit 1; usleep 50000; done"
}

# ---- Memory of a machine, from outside --------------------------------------

# memory_of NAME: the path of its main memory
memory_of() {
    local fd

    for fd in "/proc/${vm_pid[$1]}/fd"/*; do
        case $(readlink "$fd") in
        /memfd:memory-backend-memfd*)
            echo "$fd"
            return
            ;;
        esac
    done
    return 1
}

# sum_outside NAME ADDRESS LENGTH: SHA-256 of its memory, as the host sees it
sum_outside() {
    dd if="$(memory_of "$1")" bs=1M iflag=skip_bytes,count_bytes \
        skip=$(($2 - $(memory_begins "$1"))) count="$3" 2> /dev/null |
        sum
}
