#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Two memexpose-sim, and a third: how links come and go, and how the program
# ends.

# shellcheck source=tests/sim-lib.sh
. "$(dirname "$0")/sim-lib.sh"

lost_peer() {
    ask "$1" 'reg 0x10 1'
    [ "$reply" = 0x00 ]
}

# Either side is killed and comes back, the other goes on.
launch a --listen "$name" --name=alpha --ram 0:64K --ram 1M:64K,private
launch b --connect "$name" --name=beta --ram 0:64K --ram 1M:64K,private
expect b 'write 0 0x11; write 1M 0x22; read 0 1' 0x11
expect a 'write 0 0x33; write 1M 0x44; read 0 1' 0x33
descriptors a
before=$reply
for round in 1 2 3; do
    destroyed b
    until_true "a: b has left" lost_peer a
    mapped a ''
    contains "$directory/a.err" 'link closed: the peer has left'
    launch b --connect "$name" --name=beta --ram 0:64K
    expect b 'read 0 1; read 1M 1' 0x11 0x22
    expect a "write 0 $round; read 0 1; regions" 0x0$round '0x0 0x10000 rw'
    descriptors a
    equal "a: descriptors in round $round" "$reply" "$before"
done
descriptors b
before=$reply
for round in 1 2 3; do
    destroyed a
    holds "the sockets of a peer that was killed" -S "$name-mem"
    until_true "b: a has left" lost_peer b
    mapped b ''
    contains "$directory/b.err" 'link closed: the peer has left'
    launch a --listen "$name" --name=alpha --ram 0:64K
    sync_with a
    lacks "$directory/a.err" 'memexpose-sim: cannot'
    expect b "enable; write 0 $round; read 0 1; regions" 0x0$round \
        '0x0 0x10000 rw'
    expect a 'read 0 1; lread 0 1' 0x03 0x0$round
    descriptors b
    equal "b: descriptors in round $round" "$reply" "$before"
done
counted b violations 0
# the connects are counted in the link state
expect b 'reg 0x14 4' 0x00000004

# One dies while the other waits for it: no deadline is waited for.
leave b
launch b --connect "$name" --request-timeout=$((60000 * slow)) --window 1G
expect b 'read 0 1' 0x03
halt a
tell b 'read 4K 1; read 2M 1; lread 0 1'
answer b
equal "what is mapped is there even so" "$reply" 0x00
traced b 'READ prio 3 offset 0x200000'
destroyed a
gone b 1
contains "$directory/b.err" 'read 2M: '
# the other way round, while it unmaps
launch a --listen "$name" --ram 0:64K --request-timeout=$((60000 * slow))
launch b --connect "$name"
expect b 'read 0 1' 0x00
halt b
tell a 'unmap 0; reg 0x28 1'
traced a 'REG_INV'
destroyed b
answer a
equal "a: unmap, when the peer has died" "$reply" 0x00
leave a

# The connecting side may come first.
launch b --connect "$name" --connect-timeout=$((30000 * slow))
traced_file() {
    [ -e "$directory/b.trace" ]
}
until_true "b has begun" traced_file
launch a --listen "$name" --ram 0:4K
expect b 'read 0 1' 0x00
leave b

# Sockets in use are left to the one that lives.
launch c --listen "$name"
gone c 1
contains "$directory/c.err" 'a living peer listens there'
equal "one line" "$(wc -l < "$directory/c.err")" 1
holds "the sockets of the one that lives" -S "$name-mem" -a -S "$name-intr"

# A second peer is refused and named; the first goes on.
launch b --connect "$name" --name=beta
expect b 'write 0 5; read 0 1' 0x05
launch c --connect "$name" --name=gamma --connect-timeout=$((300 * slow))
pid_of c
tell c 'read 0 1'
logged a "refused process $pid of user $(id -u): another peer is connected"
expect b 'write 0 6; read 0 1' 0x06
gone c 1
# it has been connected for a moment, and may have tried to read in that
holds "c: why" "$(tail -n 1 "$directory/c.err" | grep -c \
    -e 'it may have another peer' -e '^memexpose-sim: read 0: ')" = 1
lacks "$directory/c.trace" READ_RET
expect b 'write 0 7; read 0 1; regions; reg 0x14 4' 0x07 '0x0 0x1000 rw' \
    0x00000001
counted a violations 0
# It gets its turn when the first has left, of itself or by force.
launch c --connect "$name" --name=gamma --connect-timeout=$((30000 * slow))
pid_of c
logged a "refused process $pid "
destroyed b
expect c 'enable; read 0 1' 0x07
leave c
leave a

# Each socket may have a path of its own.  One that finds only one of the two
# does not come into the way of the next.
launch a --listen "$name" --mem-socket "$directory/m" \
    --intr-socket "$directory/i" --ram 0:4K
sync_with a
holds "only the sockets that were named" -S "$directory/m" -a \
    -S "$directory/i" -a ! -e "$name-mem" -a ! -e "$name-intr"
launch c --connect "$name" --mem-socket "$directory/m" \
    --connect-timeout=$((100 * slow))
gone c 1
contains "$directory/c.err" \
    "'$directory/m' (nobody answers) and '$name-intr' (No such file"
launch b --connect elsewhere --mem-socket "$directory/m" \
    --intr-socket "$directory/i"
expect b 'read 0 1' 0x00
leave b
leave a
holds "the sockets are taken along" ! -e "$directory/m" -a ! -e "$directory/i"
launch a --listen "$name" --intr-socket "$directory/i" --ram 0:4K
launch b --connect "$name" --intr-socket "$directory/i"
expect b 'read 0 1' 0x00
leave b
leave a

# --request-timeout, with a peer that is stopped.
launch a --listen "$name" --ram 0:4K,private
launch b --connect "$name" --request-timeout=$((200 * slow))
expect b 'read 0 1' 0x00
halt a
fails b 'read 8' 'read 8: '
contains "$directory/b.err" 'in time'
resume a
until_true "a: b has left" lost_peer a
counted a violations 0
launch b --connect "$name" --request-timeout=$((200 * slow))
expect b 'read 0 1' 0x00
leave b

# disable and enable: the links are closed, refused, and come back.
launch b --connect "$name" --connect-timeout=$((30000 * slow))
expect b 'read 0 1; reg 0 1' 0x00 0x01
expect a 'disable; reg 0 1; reg 0x10 1' 0x00 0x00
until_true "b: a has left" lost_peer b
tell b 'enable; read 0 1'
expect a 'reg 0 8 1; reg 0 1' 0x01
answer b
equal "b: after a was enabled again" "$reply" 0x00
expect b 'disable; reg 0 1; enable; read 0 1' 0x00 0x00
expect b 'reg 0 8 0; reg 0x10 1' 0x00
fails b 'read 0' 'read 0: '
leave a

# serve: until the peer leaves, the time is over, or SIGTERM comes; with no
# peer there it waits for the next one.
launch a --listen "$name" --ram 0:4K
tell a 'serve; lread 0 1; serve; lread 0 1; serve 1; lread 0 1'
for value in 1 2; do
    launch b --connect "$name"
    expect b "write 0 $value; read 0 1" 0x0$value
    leave b
    answer a
    equal "a: after serving $value" "$reply" 0x0$value
done
answer a
equal "a: serve 1, without a peer" "$reply" 0x02
launch b --connect "$name"
expect b 'read 0 1' 0x02
expect a 'serve 1; lread 0 1' 0x02
expect b 'write 0 3; read 0 1' 0x03
tell a serve
sync_with b
send_signal TERM a
gone a 0
until_true "b: a has left" lost_peer b
leave b

# Both serve, nobody leaves: each of them ends with SIGTERM.
launch a --listen "$name" --name=alpha -c serve
launch b --connect "$name" --name=beta -c 'serve; lread 0 1'
logged a "said hello"
logged b "said hello"
send_signal TERM a
gone a 0
gone b 1 # its serve has ended by itself
contains "$directory/b.err" 'lread 0: decode error'

# SIGTERM ends any command, with success, whatever it waits for.
mkfifo "$directory/pipe"
head -c 100000 /dev/zero > "$directory/zeros"
for command in 'sleep 1000000' serve 'serve 1000000' recv 'recv 1000000' \
    'read 0' 'write 0 1' 'dump 0 1M' "dump 0 1M $directory/never" \
    "load 0 $directory/zeros" "load 0 $directory/pipe" 'unmap 0'
do
    launch a --listen "$name" --ram 0:1M,private
    launch b --connect "$name" --ram 0:64K \
        --request-timeout=$((60000 * slow))
    expect a 'read 0 1' 0x00 # so that there is something to take back
    expect b 'read 0 1' 0x00
    case $command in
    read* | write* | dump* | *zeros | unmap*) halt a ;;
    esac
    tell b "reg 0x28 1; $command; reg 0x14 4; foo"
    answer b
    equal "before $command" "$reply" 0x00
    case $command in
    read*) traced b '-> mem READ prio 3 offset 0x0 size 8' ;;
    dump*) traced b '-> mem READ_BLOCK prio 3 offset 0x0 size ' ;;
    write*) traced b '-> mem WRITE prio 3 offset 0x0 size 8' ;;
    *zeros) traced b '-> mem WRITE_BLOCK prio 3 offset 0x0 size 65536' ;;
    unmap*) traced b '-> mem REG_INV prio 1' ;;
    esac
    send_signal TERM b
    gone b 0
    equal "$command: stderr" "$(grep -c -v \
        -e connected -e 'said hello' -e 'link closed' "$directory/b.err")" 0
    resume a
    leave a
done
holds "a partial file was left" ! -e "$directory/never"

# A dump that is under way, and a peer that leaves in the middle of it.
for end in TERM KILL; do
    launch a --listen "$name" --ram 0:256M,private
    launch b --connect "$name" --block=off
    tell b "dump 0 256M $directory/never"
    traced b 'offset 0x1000 '
    if [ $end = TERM ]; then
        send_signal TERM b
        gone b 0
        leave a
    else
        destroyed a
        gone b 1
        contains "$directory/b.err" 'dump 0x'
    fi
    holds "a partial file was left" ! -e "$directory/never"
done
rm -f "$name-mem" "$name-intr"

# Exit codes; the rest of a script is not run after a failure.
launch a --listen "$name" --ram 0:4K
printf 'write 0 1\nread 0 1; read 1G 1; write 0 2\nwrite 0 3\n' \
    > "$directory/script"
launch b --connect "$name" --script "$directory/script" --window 4G
answer b
equal "script" "$reply" 0x01
gone b 1
contains "$directory/b.err" "$directory/script:2: read 1G: decode error"
expect a 'lread 0 1' 0x01
launch b --connect "$name" -c 'write 0 4; nonsense; write 0 5'
gone b 1
expect a 'lread 0 1' 0x04
launch b --connect "$name" -c 'write 0 6; quit; write 0 7'
gone b 0
expect a 'lread 0 1' 0x06
launch b --connect "$name" --hello=maybe -c 'write 0 8'
gone b 2
launch b --connect "$name" --ram 0:4K --ram 0:4K -c 'write 0 8'
gone b 2
expect a 'lread 0 1' 0x06
counted a violations 0
leave a

conclude
