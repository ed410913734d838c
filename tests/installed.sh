#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Install into a directory of its own, then build programs against that and
# nothing else, as a consumer would.

set -u
directory=$(mktemp -d "${TMPDIR:-/tmp}/mx-XXXXXX") || exit 1
trap 'rm -rf "$directory"' EXIT
root=$directory/root
failed=0

fail() {
    echo "FAIL: $*"
    failed=1
}

# The make that runs this test has handed down flags that are not for us.
unset MAKEFLAGS MFLAGS MAKELEVEL
if ! (cd "$top_builddir" && $MAKE install DESTDIR="$root") \
    > "$directory/log" 2>&1; then
    cat "$directory/log"
    echo "FAIL: make install"
    exit 1
fi

PKG_CONFIG_SYSROOT_DIR=$root
PKG_CONFIG_PATH=$root$pkgconfigdir${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
LD_LIBRARY_PATH=$root$libdir${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export PKG_CONFIG_SYSROOT_DIR PKG_CONFIG_PATH LD_LIBRARY_PATH

# What each program is made with: memexpose alone, then with each other
# library, then with all that there are.
packages=memexpose
defines=

# build NAME COMPILER SOURCE [pkg-config's options]: compile and run
build() {
    name=$1 compiler=$2 source=$3
    shift 3
    # shellcheck disable=SC2086 # packages and defines are lists
    if ! flags=$($PKG_CONFIG "$@" --cflags --libs $packages); then
        fail "$name: pkg-config $* $packages"
        return
    fi
    # shellcheck disable=SC2086 # and so are the compiler and the flags
    if ! $compiler $CFLAGS $defines -o "$directory/program" \
        "$top_srcdir/tests/$source" $flags $extra; then
        fail "$name: does not compile or link"
        return
    fi
    # shellcheck disable=SC2086 # the wrapper has arguments
    if ! $CHECK_WRAPPER "$directory/program" "$directory/m" "$directory/i" \
        > "$directory/out" || [ "$(cat "$directory/out")" != ok ]; then
        fail "$name: does not run"
        return
    fi
    rm -f "$directory/program"
    echo "ok: $name"
}

strict_c="$CC -std=c11 -Wall -Wextra -pedantic -Werror"
strict_cxx="$CXX -std=c++17 -Wall -Wextra -Werror"

build_all() {
    build "C11 $packages" "$strict_c" consumer.c "$@"
    if [ -n "$CXX" ]; then
        build "C++17 $packages" "$strict_cxx" consumer.cc "$@"
    fi
}

extra=
link_options=
if [ "$have_shared" != yes ]; then
    link_options=--static
fi

# libevent and libfdt are the system's: consumer.c calls them itself.
# shellcheck disable=SC2086 # the option may be missing
{
    build_all $link_options
    if [ "$have_event" = yes ]; then
        packages="memexpose memexpose-event libevent_core"
        defines=-DWITH_EVENT
        build_all $link_options
    fi
    if [ "$have_fdt" = yes ]; then
        packages="memexpose memexpose-fdt"
        defines=-DWITH_FDT
        extra=-lfdt
        build_all $link_options
        extra=
    fi
}

# A library that says which version it is.
for package in memexpose memexpose-event memexpose-fdt; do
    [ -f "$root$pkgconfigdir/$package.pc" ] || continue
    version=$($PKG_CONFIG --modversion $package)
    [ "$version" = "$package_version" ] ||
        fail "$package.pc says version $version"
done

if [ "$have_shared" = yes ]; then
    needed=$(readelf -d "$root$libdir/libmemexpose.so" |
        sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' |
        grep -v '^libc\.so' | grep -v '^ld-linux')
    case $CFLAGS in
    *-fsanitize*) ;;
    *)
        [ -z "$needed" ] || fail "libmemexpose.so needs more than libc:" \
            "$needed"
        echo "ok: libmemexpose.so needs libc only"
        ;;
    esac
fi

# Wholly static programs, where the compiler can make them.  They bring a
# malloc() of their own, which a wrapper such as valgrind does not know.
CHECK_WRAPPER=
case $CFLAGS in
*-fsanitize*) have_static=no ;;
esac
if [ "$have_static" = yes ]; then
    strict_c="$strict_c -static"
    strict_cxx="$strict_cxx -static"
    packages=memexpose
    defines=
    build_all --static
    if [ "$have_event" = yes ]; then
        packages="memexpose memexpose-event libevent_core"
        defines=-DWITH_EVENT
        build_all --static
    fi
    if [ "$have_fdt" = yes ]; then
        packages="memexpose memexpose-fdt"
        defines=-DWITH_FDT
        build_all --static
    fi
fi

# What was installed goes again without a trace.
(cd "$top_builddir" && $MAKE uninstall DESTDIR="$root") > "$directory/log" 2>&1
left=$(find "$root" ! -type d)
[ -z "$left" ] || fail "make uninstall leaves $left"

exit $failed
