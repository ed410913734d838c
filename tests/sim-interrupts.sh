#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Two memexpose-sim: interrupts in both directions.

# shellcheck source=tests/sim-lib.sh
. "$(dirname "$0")/sim-lib.sh"

zeros=$(printf '%0256d' 0)
full=$(printf '%0256d' 0 | sed 's/00/a5/g')

# padded DIGITS: with the zeros that follow becomes $reply.
padded() {
    reply=$1$(printf '%s' "$zeros" | cut -c $((${#1} + 1))-)
}

# has_interrupts SLOT COUNT
has_interrupts() {
    [ "$(grep -c '<- intr INTR' "$directory/$1.trace")" = "$2" ]
}

has_said_hello() {
    grep -q '<- mem HELLO_RET' "$directory/$1.trace"
}

launch a --listen "$name" --ram 0:4K
launch b --connect "$name" --ram 0:4K

# One each way, with data of every length that there is.
padded 0123456789abcdef
tell a 'intr 0x123456789abcdef0 0123456789ABCDEF; intr 1; intr 0 00ff'
expect b 'recv; recv 10000; recv' "0x123456789abcdef0 $reply" \
    "0x0000000000000001 $zeros" \
    "0x0000000000000000 00ff$(printf '%s' "$zeros" | cut -c 5-)"
tell b "intr 0xffffffffffffffff $full; intr 1K"
expect a 'recv; recv' "0xffffffffffffffff $full" "0x0000000000000400 $zeros"
counted a interrupts_sent 3
counted b interrupts_received 3
counted b interrupts_sent 2
counted a interrupts_received 2
contains "$directory/b.trace" '<- intr INTR type 0x1 data 0'

# By way of the registers, as a guest does it.
expect a 'reg 0x808 8 0x42; reg 0x810 8 0x1122334455667788; reg 0x88f 1 0x99
    reg 0x800 8 1; reg 0x808 8' 0x0000000000000042
until_true "b: the interrupt" has_interrupts b 4
expect b 'reg 0x408 8; reg 0x400 8; reg 0x408 8; reg 0x410 8; reg 0x48f 1
    reg 0x400 8' 0x0000000000000000 0x0000000000000001 0x0000000000000042 \
    0x1122334455667788 0x99 0x0000000000000000

# Overflow: of 26 the first 16 are kept and 10 are counted.
tell a 'intr 1; intr 2; intr 3; intr 4; intr 5; intr 6; intr 7; intr 8
    intr 9; intr 10; intr 11; intr 12; intr 13; intr 14; intr 15; intr 16
    intr 17; intr 18; intr 19; intr 20; intr 21; intr 22; intr 23; intr 24
    intr 25; intr 26'
sync_with a
counted a interrupts_sent 30
counted a interrupts_dropped 0
until_true "b: 30 interrupts" has_interrupts b 30
counted b interrupts_received 30
counted b interrupts_dropped 10
for type in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do
    expect b 'recv 0' "$(printf '0x%016x %s' $type "$zeros")"
done
tell a 'intr 27'
expect b 'recv' "0x000000000000001b $zeros"

# None comes in time.
fails b 'recv 30' 'recv: no interrupt came within 30 ms'
launch b --connect "$name"
fails b 'recv 0' 'recv: no interrupt came within 0 ms'

# The last word: one that was sent right before the peer left.
launch b --connect "$name"
sync_with b
tell b 'intr 0x99 aabb; quit; lread 0'
padded aabb
expect a 'recv 10000' "0x0000000000000099 $reply"
gone b 0
halt a
launch b --connect "$name"
resume a
sync_with b
until_true "a: hello" has_said_hello b
halt a
tell b 'intr 0x97; quit'
gone b 0
resume a
expect a 'recv 10000' "0x0000000000000097 $zeros"
counted a violations 0

# To a peer that does not look: nobody waits, what is too much is dropped.
launch b --connect "$name"
sync_with b
counter a interrupts_sent
sent_before=$reply
halt b
commands=$(printf '%5000s' '' | sed 's/ /intr 5;/g')
tell a "$commands"
sync_with a
counter a interrupts_dropped
dropped=$reply
counter a interrupts_sent
sent=$((reply - sent_before))
holds "none was dropped" "$dropped" -gt 0
holds "none was sent" "$sent" -gt 0
equal "interrupts sent and dropped" $((sent + dropped)) 5000
resume b
until_true "b: what was sent" has_interrupts b "$sent"
counted b interrupts_received "$sent"
counted b interrupts_dropped $((sent - 16))
counted b violations 0
tell a 'intr 6'
until_true "b: one more" has_interrupts b $((sent + 1))
leave b

# No peer: dropped, counted, no failure.
logged a 'the peer has left'
expect a 'reg 0x10 1' 0x00
tell a 'intr 1; intr 2'
sync_with a
counted a interrupts_dropped $((dropped + 2))
leave a

# The same over base.
launch a --listen "$name" --hello=off
launch b --connect "$name" --hello=off
tell a 'intr 5 55'
tell b 'intr 6'
padded 55
expect b recv "0x0000000000000005 $reply"
expect a recv "0x0000000000000006 $zeros"
leave a
leave b

# A peer that has come, sent and left before anybody looked.
launch a --listen "$name"
sync_with a
halt a
launch b --connect "$name" -c 'intr 0x98'
gone b 0
resume a
tell a 'recv 3000'
exec 3>&-
answer a
equal "an interrupt of a peer that has left" "$reply" \
    "0x0000000000000098 $zeros"
gone a 0

conclude
