#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Two memexpose-sim on machines that need not be the same: $sim_a and $sim_b
# are the commands that run them.  Everything is done in both directions.
#
# shellcheck disable=SC2086,SC2154 # slots have no blanks, sim-lib.sh sets some

# shellcheck source=tests/sim-lib.sh
. "$(dirname "$0")/../sim-lib.sh"
: "${sim_a:=$sim}" "${sim_b:=$sim}"

# begin SLOT ARGUMENT...
begin() {
    case $1 in
    a) sim=$sim_a ;;
    b) sim=$sim_b ;;
    esac
    launch "$@"
}

# bytes FILE OFFSET COUNT: in memory order, as digits, become $reply.
bytes() {
    reply=$(od -An -v -tx1 -j"$2" -N"$3" "$1" | tr -d ' \n')
}

# swapped DIGITS: bytes in memory order as the value that they make.
swapped() {
    reply=0x$(printf '%s' "$1" |
        awk '{ for (i = length($0) - 1; i > 0; i -= 2)
            printf "%s", substr($0, i, 2) }')
}

zeros=$(printf '%0256d' 0)
size=$((256 * 1024))

for exporter in a b; do
    [ $exporter = a ] && importer=b || importer=a
    file=$directory/file-$exporter
    dd if=/dev/urandom of="$file" bs=$size count=1 2> /dev/null

    set -- --name=$exporter --ram "0:$size,file=$file" --ram 2M:64K \
        --ram 4M:64K,private --ram 6M:64K,ro --mmio 8M:64K \
        --mmio 9M:64,model=counter
    if [ $exporter = a ]; then
        begin a --listen "$name" "$@"
        begin b --connect "$name" --name=b
    else
        begin a --listen "$name" --name=a
        begin b --connect "$name" "$@"
    fi

    # Lazy: the first access goes over the link, what follows is direct, and
    # the bytes are the file's.
    mapped $importer ''
    counted $importer requests_sent 0
    rm -f "$directory/copy"
    expect $importer "dump 0 $size $directory/copy; reg 0x28 1" 0x00
    cases=$((cases + 1))
    cmp -s "$file" "$directory/copy" ||
        complain "$importer: not what is in the file of $exporter"
    counted $importer requests_sent 1
    counted $importer mapped_bytes $size
    mapped $importer '0x0 0x40000 rw;'

    # A value is its bytes in memory order, of every size, at every place.
    for offset in 0 1 6 13 4095; do
        for count in 1 2 4 8; do
            bytes "$file" $offset $count
            swapped "$reply"
            expect $importer "read $offset $count" "$reply"
            expect $exporter "lread $offset $count" "$reply"
        done
    done
    expect $importer 'write 0x100 0x1122334455667788; read 0x103 4' 0x22334455
    expect $exporter 'lread 0x100; lread 0x102 2' 0x1122334455667788 0x5566
    bytes "$file" 256 8
    equal "what $importer wrote, in the file" "$reply" 8877665544332211
    expect $exporter 'lwrite 0x201 0xa1b2c3d4 4; lread 0x200 1' \
        "0x$(od -An -tx1 -j512 -N1 "$file" | tr -d ' ')"
    expect $importer 'read 0x201 4; read 0x202 2' 0xa1b2c3d4 0xb2c3
    counted $importer requests_sent 1

    # A memfd, sealed, mapped by both; then taken back.
    expect $importer 'write 2M 0x0102030405060708; read 2M 2' 0x0708
    expect $exporter 'lread 2M 1; lread 0x200004 4' 0x08 0x01020304
    mapped $importer '0x0 0x40000 rw;0x200000 0x10000 rw;'
    expect $exporter 'unmap 2M; map 2M:64K; lwrite 2M 0xcafe 2; reg 0x28 1' \
        0x00
    mapped $importer '0x0 0x40000 rw;'
    expect $importer 'read 2M; read 2M 1' 0x000000000000cafe 0xfe
    mapped $importer '0x0 0x40000 rw;0x200000 0x10000 rw;'
    counted $importer invalidations_received 1

    # What stays on the link gives the same values, each by a request.
    counter $importer requests_sent
    before=$reply
    expect $importer 'write 4M 0x1122334455667788; read 4M; read 0x400001 4
        read 0x400006 2; read 0x400007 1; write 0x400003 0xaabb 2; read 4M' \
        0x1122334455667788 0x44556677 0x1122 0x11 0x112233aabb667788
    expect $exporter 'lread 4M; lread 0x400003 2; lwrite 4M 0x99 1
        lread 4M 1' 0x112233aabb667788 0xaabb 0x99
    expect $importer 'read 4M 4' 0xbb667799
    counted $importer requests_sent $((before + 8))
    head -c 3001 "$file" > "$directory/part"
    rm -f "$directory/copy"
    expect $importer "load 0x400005 $directory/part
        dump 0x400005 3001 $directory/copy; reg 0x28 1" 0x00
    cases=$((cases + 1))
    cmp -s "$directory/part" "$directory/copy" ||
        complain "$importer: not what it loaded over the link"

    # Registers, each access once; read-only memory.
    expect $importer 'write 8M 0x0102030405060708; read 8M 1
        read 0x800002 2' 0x08 0x0506
    expect $exporter 'lread 0x800004 4' 0x01020304
    expect $importer 'read 9M; read 9M 2; read 9M 1' 0x0000000000000000 \
        0x0001 0x02
    expect $importer 'read 6M' 0x0000000000000000
    mapped $importer "0x0 0x40000 rw;0x200000 0x10000 rw;0x600000 0x10000 ro;"

    # Interrupts with data, from both, by command and by register.
    data=00ff0123456789abcdef
    tell $exporter "intr 0x123456789abcdef0 $data; intr 1"
    expect $importer 'recv; recv' \
        "0x123456789abcdef0 $data$(printf '%s' "$zeros" | cut -c 21-)" \
        "0x0000000000000001 $zeros"
    expect $importer 'reg 0x808 8 0x42; reg 0x810 8 0x1122334455667788
        reg 0x88f 1 0x99; reg 0x800 8 1; reg 0x812 2' 0x5566
    tell $exporter recv
    answer $exporter
    equal "$exporter: an interrupt" "$reply" "0x0000000000000042 \
8877665544332211$(printf '%s' "$zeros" | cut -c 17-254)99"
    tell $importer 'intr 0xfffffffffffffffe 0102'
    expect $exporter 'recv' "0xfffffffffffffffe \
0102$(printf '%s' "$zeros" | cut -c 5-)"

    # What each says of the other, and no word of a violation.
    expect $importer 'reg 0x10 4; reg 0x18 8; reg 0x20 8' 0x00000007 \
        0x0000000000000000 0x0000000000900040
    counted a violations 0
    counted b violations 0
    fails $importer 'write 6M 1' 'write 6M: access denied'
    leave $exporter
done

conclude
