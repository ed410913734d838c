# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Where the parts are that run and show put together; sourced by these two,
# which set $here, $top, $series and $cache ("" for that of glue/qemu/build).
# shellcheck disable=SC2154

# path WHAT: as glue/qemu/build prints it
path() {
    "$top/glue/qemu/build" --series "$series" ${cache:+--cache "$cache"} \
        --print "$1"
}

# find_simulator: MEMEXPOSE_SIM, or that of quickstart's build
find_simulator() {
    MEMEXPOSE_SIM=${MEMEXPOSE_SIM:-$top/build/tools/sim/memexpose-sim}
    export MEMEXPOSE_SIM
    [ ! -x "$MEMEXPOSE_SIM" ] || return 0
    echo "there is no simulator at '$MEMEXPOSE_SIM': expected" \
        "MEMEXPOSE_SIM to be the path of memexpose-sim" >&2
    return 1
}

# What lib.sh asks for.  A build that is missing is a failure, and told.
find_parts() {
    QEMU_X86_64=$(path x86_64) && QEMU_AARCH64=$(path aarch64) &&
        QEMU_FIRMWARE=$(path firmware) || return
    export QEMU_X86_64 QEMU_AARCH64 QEMU_FIRMWARE QEMU_SERIES=$series
    GUESTS=$("$here/guests" ${cache:+--cache "$cache"} | tail -n 1) || return
    export GUESTS
}
