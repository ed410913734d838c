#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# memexpose-guest finds its devices, selects one, and uses their registers.

# shellcheck source=tests/guest-lib.sh
. "$(dirname "$0")/guest-lib.sh"

none="no device found"

# Machines without a device, and without buses.
new_tree
refused 1 "list: $none" list
refused 1 "status: $none" status
rm -rf "$pci" "$platform"
refused 1 "$none" list
mkdir -p "$nodes"
refused 1 "$none" list

# One, on PCI.
new_tree
add_pci 0000:00:04.0 0xfebd1000 0xc000000000 0x100000
pci_line="pci 0000:00:04.0 registers 0xfebd1000 window 0xc000000000 0x100000"
shows "0 $pci_line link up driver none" list
shows "ready yes
memory_link up
interrupt_link up
hello settled
connects 3
span 0x40000000 0x1000" status
for word in 0 0xfebd1000 0000:00:04.0 00:04.0; do
    shows 0x0000000000000001 -d $word reg 0 8
done
for word in 1 0xfebd2000 00:04.1 0000:00:04 04.0 first ''; do
    refused 1 "-d: '$word': no such device, expected one of 0 (pci \
0000:00:04.0 0xfebd1000)" -d "$word" reg 0 8
done

# Its memory was off, and has been turned on through the kernel.
equal "enable" "$(cat "$pci/devices/0000:00:04.0/enable")" 1
peek "$pci/devices/0000:00:04.0/config" 4 2
equal "command register" "$reply" 0200

# With a driver the kernel does not let it: the bit is set, the others stay.
bind pci 0000:00:04.0 uio_pci_generic
echo 0 > "$pci/devices/0000:00:04.0/enable"
poke "$pci/devices/0000:00:04.0/config" 4 0504
shows "0 $pci_line link up driver uio_pci_generic" list
equal "enable with a driver" "$(cat "$pci/devices/0000:00:04.0/enable")" 0
peek "$pci/devices/0000:00:04.0/config" 4 2
equal "command register with a driver" "$reply" 0704

# The state of the links.
file=$pci/devices/0000:00:04.0/resource0
poke "$file" 0x010 01
shows "0 $pci_line link half driver uio_pci_generic" list
poke "$file" 0x010 00
shows "0 $pci_line link down driver uio_pci_generic" list
poke "$file" 0 00
shows "ready no
memory_link down
interrupt_link down
hello open
connects 3
span 0x40000000 0x1000" status

# Enabling and disabling.  Here 0x000 reads what was written.
poke "$file" 0 0000000000000000
shows '' enable
peek "$file" 0 8
equal "0x000 after enable" "$reply" 0100000000000000
shows '' disable
peek "$file" 0 8
equal "0x000 after disable" "$reply" 0000000000000000
shows '' enable 0

# Registers of every size, and beside them nothing changes.
poke "$file" 0x808 1122334455667788
shows 0x8877665544332211 reg 0x808 8
shows 0x44332211 reg 0x808 4
shows 0x8877 reg 0x80e 2
shows 0x22 reg 0x809 1
shows '' reg 0x80a 2 0xaabb
shows '' reg 0x80c 1 255
peek "$file" 0x800 24
equal "registers written" "$reply" \
    00000000000000001122bbaaff6677880000000000000000
shows '' reg 0x810 4 0x12345678
shows 0x0000000012345678 reg 0x810 8
shows 0x00000000 reg 4092 4
shows '' reg 2056 8 0xffffffffffffffff
shows 0xffffffffffffffff reg 0x808 8

# A register that cannot be reached.
truncate -s 0 "$file"
refused 1 "reg: the access to register 0x800 failed (bus error)" reg 0x800 8
refused 1 "enable: the access to register 0x000 failed" enable
refused 1 "status: the access to register 0x000 failed" status
rm "$file"
refused 1 "reg: cannot open '/sys/bus/pci/devices/0000:00:04.0/resource0'" \
    reg 0x800 8
cases=$((cases + 1))
call list # it is there all the same
if [ $status != 0 ] ||
    ! grep -qF "0 $pci_line link unknown" "$directory/out" ||
    ! grep -q '^memexpose-guest: list: pci 0000:00:04.0: ' "$directory/err"
then
    complain "list without registers"
fi

# BARs that got no address.
new_tree
add_pci 0000:00:05.0 0x1000 0x100000 0x10000
printf '0x0 0x0 0x0\n0x0 0x0 0x0\n' > "$pci/devices/0000:00:05.0/resource"
refused 1 "the registers (BAR 0) have no address" status
printf '0x1000 0x1fff 0x40200\n0x0 0xffff 0x20140204\n' \
    > "$pci/devices/0000:00:05.0/resource"
shows 0x0000000000000001 reg 0 8
shows "0 pci 0000:00:05.0 registers 0x1000 window 0x0 0x0 link up \
driver none" list
refused 1 "read: the window (BAR 1) has no address" read 0
printf '0x1000 0x10ff 0x40200\n' > "$pci/devices/0000:00:05.0/resource"
refused 1 "the registers have 256 bytes, expected 4096" reg 0 8
rm "$pci/devices/0000:00:05.0/resource"
refused 1 "cannot read '/sys/bus/pci/devices/0000:00:05.0/resource'" reg 0 8

# One in the device tree, by /dev/mem.
new_tree
add_platform memexpose@10000
platform_line="platform registers 0x10000 window 0x20000 0x10000"
shows "0 $platform_line link up driver none" list
shows 0x0000000300000007 reg 0x10 8
shows 0x0000000000000001 -d 0x10000 reg 0 8
shows '' write 0x18 0x1122334455667788
peek "$tree/dev/mem" 0x20018 8
equal "the window in /dev/mem" "$reply" 8877665544332211
bind platform 10000.memexpose uio_pdrv_genirq
shows "0 $platform_line link up driver uio_pdrv_genirq" list

# /dev/mem is not there: by uio, whose maps begin at the page of their number.
mkdir -p "$platform/devices/10000.memexpose/uio/uio3" \
    "$tree/sys/class/uio/uio3/maps/map0" "$tree/sys/class/uio/uio3/maps/map1"
echo 0x0000000000010000 > "$tree/sys/class/uio/uio3/maps/map0/addr"
echo 0x0000000000020000 > "$tree/sys/class/uio/uio3/maps/map1/addr"
dd if="$tree/dev/mem" of="$tree/dev/uio3" bs=64K skip=1 2> /dev/null
rm "$tree/dev/mem"
page=$(getconf PAGESIZE)
shows 0x0000000300000007 reg 0x10 8
shows '' write 0x1008 0xab 1
peek "$tree/dev/uio3" $((page + 0x1008)) 1
equal "the window by uio" "$reply" ab
echo 0x0000000000030000 > "$tree/sys/class/uio/uio3/maps/map1/addr"
refused 1 "'/sys/class/uio/uio3/maps': no map at 0x20000" reg 0x10 8
rm -r "$platform/devices/10000.memexpose/uio"
refused 1 "'/dev/mem' refuses the device" reg 0x10 8

# Below buses, some of which translate; one cell for a number, or two.
new_tree
add_root
truncate -s 192K "$tree/dev/mem"
registers "$tree/dev/mem" 0x10000
mkdir -p "$nodes/soc/bus@8000"
cells "$nodes/soc/#address-cells" 1
cells "$nodes/soc/#size-cells" 1
: > "$nodes/soc/ranges"
cells "$nodes/soc/bus@8000/#address-cells" 2
cells "$nodes/soc/bus@8000/#size-cells" 1
cells "$nodes/soc/bus@8000/ranges" 0 0 0x70000 0x1000 1 0 0x8000 0x20000
add_node /soc/bus@8000/memexpose@8000 1 0x8000 0x1000 1 0x18000 0x8000
shows "0 platform registers 0x10000 window 0x20000 0x8000 link up \
driver none" list
cells "$nodes/soc/bus@8000/ranges" 1 0 0x8000 0x10000
refused 1 "/soc/bus@8000/memexpose@8000': expected a property 'reg'" list
rm "$nodes/soc/bus@8000/ranges"
refused 1 "/soc/bus@8000/memexpose@8000': expected a property 'reg'" list
printf 'disabled\0' > "$nodes/soc/bus@8000/memexpose@8000/status"
refused 1 "$none" list
add_node /memexpose@10000 0 0x10000 0 0x1000 0 0x20000 0
refused 1 "/memexpose@10000': expected a property 'reg'" list
rm -r "$nodes"
mkdir -p "$tree/proc/device-tree" # where older kernels have it
nodes=$tree/proc/device-tree
add_platform memexpose@10000
shows "0 $platform_line link up driver none" list

# Several: PCI first, and one has to be said.
add_pci 0000:00:04.0 0xfebd1000 0xc000000000 0x100000
add_pci 0001:02:00.0 0xfebd3000 0xd000000000 0x10000
shows "0 $pci_line link up driver none
1 pci 0001:02:00.0 registers 0xfebd3000 window 0xd000000000 0x10000 \
link up driver none
2 $platform_line link up driver none" list
all="0 (pci 0000:00:04.0 0xfebd1000), 1 (pci 0001:02:00.0 0xfebd3000), \
2 (platform 0x10000)"
refused 1 "read: several devices, expected -d with one of $all" read 0
refused 1 "-d: '02:00.0': no such device, expected one of $all" \
    -d 02:00.0 read 0
refused 1 "-d: '3': no such device, expected one of $all" -d 3 read 0
shows '' -d 1 reg 0x808 8 1
shows '' --device=0x10000 reg 0x808 8 2
shows '' --device 00:04.0 reg 0x808 8 3
shows 0x0000000000000003 -d 0 reg 0x808 8
shows 0x0000000000000001 -d 0001:02:00.0 reg 0x808 8
shows 0x0000000000000002 -d 2 reg 0x808 8

conclude
