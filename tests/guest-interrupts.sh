#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# memexpose-guest sends and receives interrupts.  A FIFO stands for the device
# by which the kernel tells of them: four bytes in it are an interrupt.

# shellcheck source=tests/guest-lib.sh
. "$(dirname "$0")/guest-lib.sh"

new_tree
add_pci 0000:00:04.0 0xfebd1000 0xc000000000 0x100000
device=$pci/devices/0000:00:04.0
regs=$device/resource0
zeros=$(printf '%0256d' 0)
data=
for byte in 0 1 2 3 4 5 6 7; do
    for digit in 0 1 2 3 4 5 6 7 8 9 a b c d e f; do
        data=$data$byte$digit
    done
done

# Sending: type, all of the data, then the register that sends.
shows '' intr send 0x1122334455667788 "$data"
peek "$regs" 0x800 144
equal "the transmit area" "$reply" "01000000000000008877665544332211$data"
shows '' intr send 17 CAfe
peek "$regs" 0x800 144
equal "zeros follow" "$(echo "$reply" | cut -c 17-)" \
    "1100000000000000cafe$(echo "$zeros" | cut -c 5-)"
shows '' intr send 0xffffffffffffffff
peek "$regs" 0x808 136
equal "no data" "$reply" "ffffffffffffffff$zeros"
poke "$regs" 0 00
refused 1 "intr: the device is disabled or its peer not there" intr send 1
peek "$regs" 0x808 136
equal "nothing was touched" "$reply" "ffffffffffffffff$zeros"
poke "$regs" 0 01

# Several processes: one waits until the other is done with the registers.
waits() {
    waits_inode=$(stat -c %i "$regs")
    waits_tries=$((500 * slow))
    until grep -q -e "-> FLOCK.*:$waits_inode " /proc/locks; do
        waits_tries=$((waits_tries - 1))
        [ $waits_tries != 0 ] || return 1
        sleep 0.02
    done
}
poke "$regs" 0x400 "0100000000000000efcdab8967452301$data"
for words in "send 1" "recv 10000"; do
    exec 4< "$regs"
    flock 4
    # shellcheck disable=SC2086 # words, and perhaps a wrapper
    $guest --root="$tree" intr $words > "$directory/out" \
        2> "$directory/err" 4<&- &
    pid=$!
    waits
    equal "intr $words waits for others" $? 0
    peek "$regs" 0x808 8
    equal "intr $words has not begun" "$reply" ffffffffffffffff
    [ ! -s "$directory/out" ]
    equal "intr $words has read nothing" $? 0
    exec 4<&-
    wait $pid
    equal "exit status of intr $words" $? 0
    poke "$regs" 0x808 ffffffffffffffff
done

# Receiving by polling.  This queue never becomes empty, or always is.
poke "$regs" 0x400 "0100000000000000efcdab8967452301$data"
for words in "" 0 1000 --poll "--poll 0" "0 --poll" "--irq --poll"; do
    # shellcheck disable=SC2086 # words
    shows "0x0123456789abcdef $data" intr recv $words
done
poke "$regs" 0x400 00
refused 1 "intr: no interrupt came within 0 ms" intr recv 0
refused 1 "intr: no interrupt came within 30 ms" intr recv 30 --poll
poke "$regs" 0x400 ffffffffffffffff # a device that was taken out
refused 1 "intr: no interrupt came within 0 ms" intr recv 0
poke "$regs" 0x400 0000000000000000

# There and back: files answer nothing, but tell what was asked and answered.
asked=64656b73612d786d
answered=796c7065722d786d
finished=21656e6f642d786d
poke "$regs" 0x400 "0100000000000000$finished"
shows '' bench --answer
shows '' bench --answer 0 --poll
poke "$regs" 0x400 "0100000000000000$asked" # and never an end
poke "$regs" 0x410 1122334455667788
poke "$regs" 0x800 0000000000000000
# shellcheck disable=SC2086 # the program may come with a wrapper
$guest --root="$tree" bench --answer > "$directory/out" 2> "$directory/err" &
pid=$!
answers() {
    answers_tries=$((500 * slow))
    until peek "$regs" 0x800 24 &&
        [ "$reply" = "0100000000000000${answered}1122334455667788" ]; do
        answers_tries=$((answers_tries - 1))
        [ $answers_tries != 0 ] || return 1
        sleep 0.02
    done
}
answers
equal "bench --answer answers" $? 0
poke "$regs" 0x408 "$finished"
wait $pid
equal "bench --answer ends" $? 0
poke "$regs" 0x400 0000000000000000
refused 1 "bench: nobody has asked in time, expected 'bench --interrupts' in \
the other machine" bench --answer 30
poke "$regs" 0 00
refused 1 "bench: the device is disabled or its peer not there" bench --answer
poke "$regs" 0 01
poke "$regs" 0x408 "efcdab8967452301$data"

# One comes while it is awaited.
# shellcheck disable=SC2086 # the program may come with a wrapper
$guest --root="$tree" intr recv > "$directory/out" 2> "$directory/err" &
pid=$!
poke "$regs" 0x400 01
wait $pid
equal "exit status when one has come" $? 0
equal "one has come" "$(cat "$directory/out")" "0x0123456789abcdef $data"

# By interrupts, the driver has to be there.
refused 1 "intr: driver 'uio_pci_generic' is not there, expected 'modprobe \
uio_pci_generic' before, or --poll" intr recv 0 --irq
add_driver pci uio_pci_generic
refused 1 "intr: 'uio_pci_generic' gave no interrupt" intr recv 0 --irq
equal "driver_override" "$(cat "$device/driver_override")" uio_pci_generic
equal "bind" "$(cat "$pci/drivers/uio_pci_generic/bind")" 0000:00:04.0
bind pci 0000:00:04.0 other
refused 1 "intr: the device has the driver 'other', expected \
'uio_pci_generic' or none" intr recv 0 --irq

# It has the driver, and masks the interrupt until it is awaited.
rm "$device/driver"
bind pci 0000:00:04.0 uio_pci_generic
: > "$pci/drivers/uio_pci_generic/bind"
mkdir -p "$device/uio/uio0"
refused 1 "intr: cannot open '/dev/uio0': No such file" intr recv 0 --irq
mkfifo "$tree/dev/uio0"
exec 3<> "$tree/dev/uio0"
poke "$device/config" 4 0704
refused 1 "intr: no interrupt came within 20 ms" intr recv 20 --irq
equal "no bind if it is bound" "$(cat "$pci/drivers/uio_pci_generic/bind")" ''
peek "$device/config" 4 2
equal "unmasked" "$reply" 0700

# Something in the queue is not enough: an interrupt has to come.
poke "$regs" 0x400 01
refused 1 "intr: no interrupt came within 20 ms" intr recv --irq 20
poke "$device/config" 4 0704
printf '\001\000\000\000' >&3
shows "0x0123456789abcdef $data" intr recv --irq 10000
peek "$device/config" 4 2
equal "unmasked before" "$reply" 0700

# An interrupt is not enough either: it may be for another reason.
poke "$regs" 0x400 00
printf '\002\000\000\000\003\000\000\000' >&3
refused 1 "intr: no interrupt came within 50 ms" intr recv 50 --irq
# shellcheck disable=SC2086 # the program may come with a wrapper
$guest --root="$tree" intr recv --irq > "$directory/out" \
    2> "$directory/err" &
pid=$!
printf '\004\000\000\000' >&3
poke "$regs" 0x400 01
printf '\005\000\000\000' >&3
wait $pid
equal "exit status when the second was it" $? 0
equal "the second was it" "$(cat "$directory/out")" \
    "0x0123456789abcdef $data"
exec 3>&-

# The platform device: its driver is told by the file.
new_tree
add_platform memexpose@10000
refused 1 "intr: driver 'uio_pdrv_genirq' is not there" intr recv 0 --irq
add_driver platform uio_pdrv_genirq
refused 1 "intr: 'uio_pdrv_genirq' gave no interrupt" intr recv 0 --irq
equal "driver_override of the platform device" \
    "$(cat "$platform/devices/10000.memexpose/driver_override")" \
    uio_pdrv_genirq
equal "bind of the platform device" \
    "$(cat "$platform/drivers/uio_pdrv_genirq/bind")" 10000.memexpose
bind platform 10000.memexpose uio_pdrv_genirq
mkdir -p "$platform/devices/10000.memexpose/uio/uio1"
mkfifo "$tree/dev/uio1"
exec 3<> "$tree/dev/uio1"
# here what the program writes to enable it comes back as an interrupt
poke "$tree/dev/mem" 0x10400 "0100000000000000efcdab8967452301$data"
shows "0x0123456789abcdef $data" intr recv --irq
exec 3>&-
rm -r "$platform/devices/10000.memexpose"
refused 1 "intr: the kernel knows no platform device for this node" \
    intr recv 0 --irq

conclude
