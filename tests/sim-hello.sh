#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Two memexpose-sim: hello against base in every combination, whoever begins,
# sub-priorities, and both sides reading each other at the same time.

# shellcheck source=tests/sim-lib.sh
. "$(dirname "$0")/sim-lib.sh"

timeout=$((600 * slow))
value_a=0x00000000000000aa
value_b=0x00000000000000bb
value_c=neither
for slot in a b; do
    head -c 8192 /dev/zero > "$directory/memory_$slot"
done
printf '\252' | dd of="$directory/memory_a" conv=notrunc 2> /dev/null
printf '\273' | dd of="$directory/memory_b" conv=notrunc 2> /dev/null

# pair LISTENING-HELLO CONNECTING-HELLO [MS]: a listens, b connects, and tries
# as long as that.
pair() {
    launch a --listen "$name" --name=alpha --hello="$1" \
        --ram "0:4K,private,file=$directory/memory_a" \
        --request-timeout=$timeout --connect-timeout=$((5000 * slow))
    launch b --connect "$name" --name=beta --hello="$2" \
        --ram "0:8K,private,file=$directory/memory_b" \
        --request-timeout=$timeout --connect-timeout=$((${3:-10000} * slow))
}

# settled HELLO: what a pair has agreed upon, looked at from both sides.
# Registers: bit 2 of the link state, and the span.
settled() {
    if [ "$1" = hello ]; then
        expect a 'reg 0x10 1; reg 0x18 8; reg 0x20 8' 0x07 \
            0x0000000000000000 0x0000000000002000
        expect b 'reg 0x10 1; reg 0x18 8; reg 0x20 8' 0x07 \
            0x0000000000000000 0x0000000000001000
        contains "$directory/a.err" \
            "peer 'beta' said hello, sub-priority here 0"
        contains "$directory/b.err" \
            "peer 'alpha' said hello, sub-priority here 1"
    else
        expect a 'reg 0x10 1; reg 0x18 8; reg 0x20 8' 0x07 \
            0x0000000000000000 0x0000000000000000
        expect b 'reg 0x10 1; reg 0x18 8; reg 0x20 8' 0x07 \
            0x0000000000000000 0x0000000000000000
        contains "$directory/a.err" 'base protocol, sub-priority here 0'
        contains "$directory/b.err" 'base protocol, sub-priority here 1'
    fi
    counted a violations 0
    counted b violations 0
}

# works AGREEMENT LISTENING-HELLO CONNECTING-HELLO FIRST
works() {
    pair "$2" "$3"
    case $4 in
    a)
        expect a 'read 0' $value_b
        expect b 'read 0' $value_a
        ;;
    b)
        expect b 'read 0' $value_a
        expect a 'read 0' $value_b
        ;;
    *)
        halt a
        halt b
        tell a 'read 0'
        tell b 'read 0'
        resume a
        resume b
        answer a
        equal "hello $2, $3, both: a reads" "$reply" $value_b
        answer b
        equal "hello $2, $3, both: b reads" "$reply" $value_a
        ;;
    esac
    settled "$1"
    leave b
    leave a
}

# Whoever begins, both end with the same agreement, or both fail.
for first in a b both; do
    works hello on on $first
    works hello on require $first
    works hello require on $first
    works hello require require $first
    works base on off $first
    works base off off $first
done

# Listening with hello off: a HELLO is a violation there.
for hello in on require; do
    for first in a b both; do
        pair off $hello 700 # it tries again when a has left
        [ $first = a ] || tell b 'read 0'
        [ $first = b ] || tell a 'read 0'
        if [ $first = a ]; then
            gone a 1
            logged a 'violation'
        else
            gone b 1
            logged a 'violation'
        fi
        contains "$directory/a.err" 'HELLO'
        if [ $first = a ]; then
            send_signal TERM b
            gone b 0
        elif [ $first = b ]; then
            counter a violations
            holds "a: violations" "$reply" -gt 0
            leave a
        else
            gone a 1
        fi
    done
done

# Listening with hello required: a peer that speaks base is not served.
for first in a b both; do
    pair require off 700
    [ $first = a ] || tell b 'read 0'
    [ $first = b ] || tell a 'read 0'
    if [ $first != a ]; then
        gone b 1
    fi
    if [ $first != b ]; then
        gone a 1
    fi
    contains "$directory/a.err" \
        'the peer speaks only base, but hello is required here'
    lacks "$directory/a.trace" READ_RET
    if [ $first = a ]; then
        send_signal TERM b
        gone b 0
    elif [ $first = b ]; then
        leave a
    fi
done

# A connecting side whose hello is not answered says what may be wrong.
launch a --listen "$name"
sync_with a
halt a
launch b --connect "$name" --request-timeout=$((200 * slow))
fails b 'read 0' 'read 0: '
contains "$directory/b.err" 'the peer may speak only base'
contains "$directory/b.err" 'hello=off'
resume a
leave a

# Sub-priorities: agreed upon, whatever is wished; or clashing.
# agree LISTENING CONNECTING A B: those that a and b get, of peers with hello.
agree() {
    launch a --listen "$name" --name=alpha --subpriority="$1" \
        --ram 0:4K,private --hello="$5"
    launch b --connect "$name" --name=beta --subpriority="$2" \
        --ram 0:4K,private --hello="$5"
    expect b 'read 0 1' 0x00
    expect a 'read 0 1' 0x00
    contains "$directory/a.err" "sub-priority here $3"
    contains "$directory/b.err" "sub-priority here $4"
    contains "$directory/a.trace" "-> mem READ prio $((2 + $3)) "
    contains "$directory/b.trace" "-> mem READ prio $((2 + $4)) "
    leave b
    leave a
}
agree auto auto 0 1 on
agree auto 0 1 0 on
agree auto 1 0 1 on
agree 0 auto 0 1 on
agree 1 auto 1 0 on
agree 0 1 0 1 on
agree 1 0 1 0 on
agree auto auto 0 1 off
agree 1 0 1 0 off

for both in 0 1; do
    launch a --listen "$name" --name=alpha --subpriority=$both --ram 0:4K
    launch b --connect "$name" --name=beta --subpriority=$both --ram 0:4K
    tell b 'read 0'
    gone b 1
    contains "$directory/b.err" \
        "peer 'alpha' and this side both insist on sub-priority $both"
    logged a "peer 'beta' and this side both insist on sub-priority $both"
    contains "$directory/b.trace" 'HELLO_RET versions 1-1'
    contains "$directory/b.trace" 'sub-priority none'
    lacks "$directory/a.trace" ' READ'
    counted a violations 0
    # whoever comes next and agrees is served
    launch c --connect "$name" --name=gamma
    expect c 'read 0 1' 0x00
    leave c
    leave a
done

# Base, and both the same: the first request tells.
launch a --listen "$name" --subpriority=0 --hello=off --ram 0:4K
launch b --connect "$name" --subpriority=0 --hello=off
fails b 'read 0' 'read 0: '
logged a 'violation'
contains "$directory/a.err" 'our own sub-priority'
counted a violations 1
leave a

# Both read each other at the same time, 10,000 times each.  How many requests
# cross is up to the scheduler; tests/check-crossing.c makes them.
for hello in on off; do
    seq 1 10000 | sed 's/.*/read 0/' > "$directory/script"
    echo 'intr 1; recv; lread 0' >> "$directory/script"
    {
        seq 1 10000 | sed "s/.*/$value_b/"
        printf '0x%016x %0256d\n' 1 0
        echo $value_a
    } > "$directory/expected_a"
    sed "s/$value_b/$value_c/; s/$value_a/$value_b/; s/$value_c/$value_a/" \
        "$directory/expected_a" > "$directory/expected_b"
    launch a --listen "$name" --hello=$hello \
        --ram "0:4K,private,file=$directory/memory_a"
    launch b --connect "$name" --hello=$hello \
        --ram "0:4K,private,file=$directory/memory_b"
    sync_with a
    sync_with b
    cat <&4 > "$directory/got_a" 3>&- 5>&- &
    reader_a=$!
    cat <&6 > "$directory/got_b" 3>&- 5>&- &
    reader_b=$!
    cat "$directory/script" >&3 5>&- &
    feeder=$!
    cat "$directory/script" >&5 3>&-
    wait $feeder
    exec 3>&- 5>&-
    wait $reader_a $reader_b
    gone a 0
    gone b 0
    for slot in a b; do
        cases=$((cases + 1))
        cmp -s "$directory/got_$slot" "$directory/expected_$slot" ||
            complain "$slot: what it read is wrong"
        equal "$slot: requests" \
            "$(grep -c -e '-> mem READ prio' "$directory/$slot.trace")" 10000
    done
done

conclude
