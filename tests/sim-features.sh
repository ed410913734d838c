#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Two memexpose-sim: what they agree on beyond base, push and block.

# shellcheck source=tests/sim-lib.sh
. "$(dirname "$0")/sim-lib.sh"

dd if=/dev/urandom of="$directory/file" bs=1000 count=200 2> /dev/null

# digest_of FILE
digest_of() {
    sha256sum < "$1"
}

# pair A-OPTION B-OPTION: two of them, each with its option
pair() {
    launch a --listen "$name" --ram 1M:64K --ram 2M:64K,ro \
        --ram 4M:256K,private --mmio 8M:64K "$1"
    launch b --connect "$name" --ram 1M:64K --window 1G "$2"
}

both='0x100000 0x10000 rw;0x200000 0x10000 ro;'

# Pushed: all is there before the first access, which goes nowhere.
pair --push=on --push=on
expect b 'write 1M 7; read 1M 1; read 2M 1; reg 0x28 1' 0x07 0x00 0x00
mapped b "$both"
expect a 'lread 1M 1; read 1M 1' 0x07 0x00
mapped a '0x100000 0x10000 rw;'
counted b requests_sent 0
counted a requests_sent 0
counted a offers_sent 2
counted b offers_received 2
# More comes, less stays; neither is asked for.
expect a 'map 3M:64K; unmap 1M; reg 0x28 1' 0x00
expect b 'read 3M 1; read 2M 1' 0x00 0x00
mapped b '0x200000 0x10000 ro;0x300000 0x10000 rw;'
counted b requests_sent 0
# What cannot be mapped goes over the link as ever.
expect b 'write 8M 5; read 8M 1; reg 0x28 1' 0x05 0x00
counted b requests_sent 2
fails b 'read 1M' 'read 1M: decode error'
leave a

# With one side only, or none, as soon as it is touched.
for options in '--push=on --push=off' '--push=off --push=on' \
    '--share=on --share=on'
do
    # shellcheck disable=SC2086 # two words
    pair $options
    mapped b ''
    expect b 'read 1M 1' 0x00
    mapped b '0x100000 0x10000 rw;'
    counted b requests_sent 1
    counted a offers_sent 0
    leave a
done

# A peer that shares nothing says that it has no more.
pair --push=on --push=on
leave a
launch a --listen "$name" --ram 1M:64K --push=on --share=off
launch b --connect "$name" --push=on
expect b 'read 1M 1' 0x00
mapped b ''
counted b requests_sent 1
counted a offers_sent 0
leave a

# 200,000 bytes there and back: in blocks, or in words.
for block in on off; do
    for side in a b; do
        [ $block$side != ona ] || options='--block=on --block=on'
        [ $block$side != onb ] || options='--push=on --block=on'
        [ $block$side != offa ] || options='--block=off --block=on'
        [ $block$side != offb ] || options='--block=on --block=off'
        # shellcheck disable=SC2086 # two words
        pair $options
        rm -f "$directory/copy"
        expect b "load 0x400003 $directory/file; reg 0x28 1" 0x00
        expect b "dump 0x400003 200000 $directory/copy; reg 0x28 1" 0x00
        equal "$options: the file" "$(digest_of "$directory/copy")" \
            "$(digest_of "$directory/file")"
        counter b requests_sent
        if [ $block = on ]; then
            equal "$options: requests" "$reply" 8
            counted b blocks_sent 8
            counted a blocks_served 8
        else
            holds "$options: $reply requests" "$reply" -gt 50000
            counted b blocks_sent 0
        fi
        leave a
    done
done

# The end of what is there: all before it is written.
pair --block=on --block=on
fails b "load 0x430000 $directory/file" 'load 0x440000: decode error'
launch b --connect "$name" --window 1G
expect b 'read 0x43fff8' "0x$(od -An -v -tx1 -j65528 -N8 "$directory/file" |
    awk '{ for (i = NF; i; i--) printf "%s", $i }')"
fails b "dump 0x43fff0 32 $directory/copy" 'dump 0x440000: decode error'
leave a
conclude
