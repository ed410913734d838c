# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What the scripts that get and build things share; sourced, not run, by bash.
# The script that does so has a name for its messages in $program, and puts
# what it makes below $cache, by default memexpose in the user's cache
# directory.
#
# require_packages PACKAGE...
#     Debian packages that this machine has to have: those that are not there
#     are installed if that can be done, else named, and that is the end.
#
# fetch_packages ARCH DIR PACKAGE...
#     Debian packages of an architecture (amd64, arm64), unpacked in DIR and
#     not installed: DIR/usr/bin and so on.  Needs no root, and changes nothing
#     of this machine's apt and dpkg; mirror and keys are those that apt has
#     here (in $apt_directory, if set, not /etc/apt); the release is Debian 12,
#     whatever runs here, unless $fetch_suites says otherwise.  Dependencies
#     are not followed, but
#         - a package that only depends on the newest kernel is that kernel:
#           linux-image-amd64 gives what belongs to linux-image-6.1.0-N-amd64;
#         - a virtual package is one of those that provide it.
#     DIR has these packages and nothing else.  It is there when all of them
#     are in it, and not before: what was interrupted is done again.  If it is
#     there already, for the same ARCH and PACKAGEs, nothing is done, and no
#     network needed; remove it for newer versions.  DIR/.packages lists what
#     is in it, one "PACKAGE=VERSION" a line, after a line with the request.
#     Dies with a clear line if something cannot be had.
#
#         program=show
#         . "$top/glue/qemu/lib.sh"
#         fetch_packages arm64 "$cache/kernels/arm64" linux-image-arm64
#         ls "$cache"/kernels/arm64/boot/vmlinuz-6.1.*
#
# require_space DIR MEGABYTES WHAT
#     Dies unless that much is free where DIR is or will be.
#
# update_file FROM TO
#     Makes TO what FROM is, without touching it if it is that already.
#
# with_lock FILE WHAT
#     From here to the end of this shell, or until $lock_descriptor is closed,
#     nobody else does WHAT; waits for whoever does, and says so.

apt_config='' apt_problem=''
LC_ALL=C
export LC_ALL
[ -n "${HOME:-}" ] || HOME=$(getent passwd "$(id -u)" | cut -d: -f6)
: "${program:=$(basename "$0")}"
: "${cache:=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/memexpose}"

say() {
    printf '%s\n' "$*"
}

die() {
    printf '%s: %s\n' "$program" "$*" >&2
    exit 1
}

# ---- Packages of this machine -----------------------------------------------

# Does the compiler find a header?
has_header() {
    printf '#include <%s>\n' "$1" | ${CC:-cc} -E - > /dev/null 2>&1
}

has_library() {
    pkg-config --exists "$1" 2> /dev/null
}

has_command() {
    command -v "$1" > /dev/null 2>&1
}

has_python_module() {
    /usr/bin/python3 -c "import $1" > /dev/null 2>&1
}

# Is what a Debian package gives there?  By what it is needed for, so that it
# may also have come in another way, and on other systems.
has_package() {
    case $1 in
    build-essential) has_command cc && has_command g++ && has_command make &&
        has_header stdio.h ;;
    libtool) has_command libtoolize ;;
    pkg-config) has_command pkg-config ;;
    libevent-dev) has_library libevent_core ;;
    libfdt-dev) has_header libfdt.h ;;
    libmd-dev) has_library libmd ;;
    libedit-dev) has_library libedit ;;
    libjansson-dev) has_library jansson ;;
    libglib2.0-dev) has_library glib-2.0 ;;
    libpixman-1-dev) has_library pixman-1 ;;
    libslirp-dev) has_library slirp ;;
    zlib1g-dev) has_library zlib ;;
    check) has_library check ;;
    libclang-rt-dev) [ -e "$(clang "-print-file-name=libclang_rt.fuzzer-$(
        uname -m).a" 2> /dev/null)" ] ;;
    device-tree-compiler) has_command dtc ;;
    dpkg-dev) has_command dpkg-source ;;
    ninja-build) has_command ninja ;;
    python3-venv) has_python_module venv && has_python_module ensurepip ;;
    util-linux) has_command flock ;;
    xz-utils) has_command xz ;;
    *) has_command "$1" ;;
    esac
}

missing_packages() {
    local package status

    for package in "$@"; do
        status=
        if has_command dpkg-query; then
            status=$(dpkg-query -W -f='${db:Status-Status}' "$package" \
                2> /dev/null)
        fi
        [ "$status" = installed ] || has_package "$package" ||
            printf '%s ' "$package"
    done
}

# apt-get as whom it takes.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif [ -t 0 ]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

install_packages() {
    local packages=$1 log ok=no

    if [ "$(id -u)" != 0 ] && ! has_command sudo; then
        die "please let root install: apt-get install $packages"
    fi
    log=$(mktemp) || exit 1
    say "Installing: $packages"
    # shellcheck disable=SC2086 # a list
    for attempt in 1 2; do
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y \
            --no-install-recommends $packages > "$log" 2>&1 < /dev/null &&
            ok=yes && break
        # the lists may be old, or not be there at all
        [ $attempt = 2 ] ||
            as_root apt-get update > "$log" 2>&1 < /dev/null || break
    done
    [ $ok = yes ] || tail -n 5 "$log" >&2
    rm -f "$log"
    [ $ok = yes ] ||
        die "cannot install packages; please install: $packages"
}

# os_release NAME: as /etc/os-release has it
os_release() {
    [ -r /etc/os-release ] || return 0
    # shellcheck source=/dev/null
    (. /etc/os-release && printf %s "${!1-}")
}

require_packages() {
    local missing

    missing=$(missing_packages "$@")
    missing=${missing% }
    if [ -z "$missing" ]; then
        return
    fi
    case " $(os_release ID) $(os_release ID_LIKE) " in
    *' debian '* | *' ubuntu '*) install_packages "$missing" ;;
    *) die "this is neither Debian nor Ubuntu; please install what they" \
        "call: $missing" ;;
    esac
}

# ---- Files ------------------------------------------------------------------

# The nearest directory that is there.
existing_directory() {
    local directory=$1

    while [ ! -d "$directory" ]; do
        directory=$(dirname "$directory")
    done
    say "$directory"
}

free_megabytes() {
    df -Pm "$(existing_directory "$1")" 2> /dev/null |
        awk 'NR == 2 { print $4 }'
}

require_space() {
    local free

    free=$(free_megabytes "$1")
    [ "${free:-0}" -ge "$2" ] ||
        die "$1: no space for $3: it takes $2 MB, and ${free:-0} MB are free"
}

update_file() {
    cmp -s "$1" "$2" && return
    if ! { mkdir -p "$(dirname "$2")" && cp "$1" "$2.$$" &&
        mv -f "$2.$$" "$2"; }; then
        rm -f "$2.$$"
        die "$2: cannot be written"
    fi
}

with_lock() {
    mkdir -p "$(dirname "$1")" || die "cannot make $(dirname "$1")"
    { exec {lock_descriptor}> "$1"; } 2> /dev/null ||
        die "$1: cannot be written"
    if ! flock -n "$lock_descriptor"; then
        say "Waiting: somebody else does $2"
        flock "$lock_descriptor" || die "$1: cannot be locked"
    fi
}

# ---- Packages from elsewhere ------------------------------------------------

# What apt is told here about the packages of Debian: lines "URI SUITE KEYRING"
# of each source with the component main; KEYRING is - if none is named.
apt_sources() {
    local directory=${apt_directory:-/etc/apt}

    cat "$directory/sources.list" "$directory"/sources.list.d/*.list \
        2> /dev/null |
        awk '
        { sub(/#.*/, "") }
        $1 == "deb" || $1 == "deb-src" {
            keyring = "-"
            $1 = ""
            if (match($0, /\[[^]]*\]/)) {
                options = substr($0, RSTART + 1, RLENGTH - 2)
                sub(/\[[^]]*\]/, "")
                count = split(options, option, /[ \t]+/)
                for (i = 1; i <= count; i++)
                    if (sub(/^signed-by=/, "", option[i]))
                        keyring = option[i]
            }
            $0 = $0
            for (i = 3; i <= NF; i++)
                if ($i == "main")
                    print $1, $2, keyring
        }'
    # an empty line after each file ends its last paragraph
    awk 'FNR == 1 { print "" } { print }' \
        "$directory"/sources.list.d/*.sources 2> /dev/null |
        awk '
        function flush(    i, j, uris, suites, uri, suite) {
            if (field["enabled"] !~ /no|false/ &&
                " " field["components"] " " ~ / main /) {
                uris = split(field["uris"], uri, " ")
                suites = split(field["suites"], suite, " ")
                keyring = field["signed-by"]
                if (keyring !~ /^ *\/[^ ]+ *$/)
                    keyring = "-"
                for (i = 1; i <= uris; i++)
                    for (j = 1; j <= suites; j++)
                        print uri[i], suite[j], keyring
            }
            split("", field)
        }
        { gsub(/\t/, " ") }
        /^#/ { next }
        /^ *$/ { flush(); next }
        /^[^ ]+:/ {
            name = tolower(substr($0, 1, index($0, ":") - 1))
            field[name] = substr($0, index($0, ":") + 1) " "
            next
        }
        /^ / { field[name] = field[name] $0 " " }
        END { flush() }'
}

# debian_mirror '' or debian_mirror -security: its "URI KEYRING".  Others offer
# packages for the same releases, but are not signed by Debian.
debian_mirror() {
    apt_sources | awk -v kind="$1" '
        BEGIN {
            count = split("bookworm trixie forky duke sid unstable testing " \
                "stable oldstable", names, " ")
            for (i = 1; i <= count; i++)
                known[names[i] kind] = 1
            best = 0
        }
        $2 in known {
            score = 1
            if ($1 ~ /\/debian(-security)?\/?$/)
                score = 2
            if ($3 ~ /debian-archive/)
                score = 3
            if (score > best) {
                best = score
                found = $1 " " $3
            }
        }
        END { if (best > 1) print found }'
}

# debian_suites TYPE SUITE...: a sources file for apt
debian_suites() {
    local type=$1 suite kind mirror keyring

    shift
    for suite in "$@"; do
        kind=
        [ "$suite" = "${suite%-security}" ] || kind=-security
        mirror=$(debian_mirror "$kind")
        [ -n "$mirror" ] || continue
        keyring=${mirror#* }
        if [ "$keyring" = - ]; then
            keyring=/usr/share/keyrings/debian-archive-keyring.gpg
            [ -r $keyring ] || keyring=
        fi
        say "Types: $type"
        say "URIs: ${mirror%% *}"
        say "Suites: $suite"
        say "Components: main"
        [ -z "$keyring" ] || say "Signed-By: $keyring"
        say
    done
}

# make_apt DIR ARCH TYPE SUITE...: an apt of its own below DIR, with lists of
# those suites.  After it, apt_problem has what went wrong, if anything did.
make_apt() {
    local directory=$1 arch=$2 type=$3 sources

    shift 3
    has_command apt-get || die "there is no apt-get here to get Debian's" \
        "packages with"
    sources=$(debian_suites "$type" "$@")
    [ -n "$sources" ] ||
        die "apt has no source here that is a Debian mirror," \
            "as bookworm main would be in /etc/apt/sources.list"
    mkdir -p "$directory/lists/partial" "$directory/cache/archives/partial" \
        "$directory/sources.d" "$directory/none" ||
        die "cannot make $directory"
    : > "$directory/status"
    printf '%s\n' "$sources" > "$directory/sources.d/debian.sources"
    cat > "$directory/apt.conf" << END || die "cannot write $directory"
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Architectures;
APT::Architecture "$arch";
APT::Architectures { "$arch"; };
APT::Sandbox::User "$(id -un)";
APT::Default-Release "";
Acquire::Languages "none";
Acquire::Retries "2";
Dir::Cache "$directory/cache";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "$directory/none";
Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "$directory/sources.d";
Dir::State::Lists "$directory/lists";
Dir::State::Status "$directory/status";
END
    apt_config=$directory/apt.conf
    apt_problem=
    apt-get -c "$apt_config" -qq update > "$directory/log" 2>&1 \
        < /dev/null || true
    # apt-get succeeds with old lists, too
    apt_problem=$(grep -E '^(E|W): ' "$directory/log" | head -n 1)
}

# The kernel that a package without one stands for, or what provides a package
# that there is not; else the package itself.
resolve_package() {
    local found

    found=$(apt-cache -c "$apt_config" depends --no-recommends \
        --no-suggests --no-conflicts --no-breaks --no-replaces \
        --no-enhances "$1" 2> /dev/null |
        awk '$1 == "Depends:" && $2 ~ /^linux-image-[0-9]/ { print $2 }' |
        head -n 1)
    if [ -z "$found" ] && ! apt-cache -c "$apt_config" show "$1" \
        > /dev/null 2>&1; then
        found=$(apt-cache -c "$apt_config" showpkg "$1" 2> /dev/null |
            awk 'list && NF { print $1 } /^Reverse Provides:/ { list = 1 }' |
            sort | head -n 1)
        [ -n "$found" ] || return
    fi
    say "${found:-$1}"
}

# Into the directory we are in; one at a time, as apt says which failed.
download_package() {
    local package

    package=$(resolve_package "$1") ||
        die "there is no package $1 for $2" \
            "in $3${apt_problem:+ ($apt_problem)}"
    apt-get -c "$apt_config" -qq download "$package" > ../log 2>&1 \
        < /dev/null ||
        die "cannot download $package for $2: $(grep '^E: ' ../log |
            head -n 1)"
}

fetch_packages() {
    local arch=$1 directory=$2 suites package file request
    local lock_descriptor work

    shift 2
    suites=${fetch_suites:-bookworm bookworm-updates bookworm-security}
    request="$arch $suites: $*"
    [ "$(head -n 1 "$directory/.packages" 2> /dev/null)" != "$request" ] ||
        return 0
    [ ! -e "$directory" ] || [ -e "$directory/.packages" ] ||
        die "$directory: is in the way, and has no packages in it"

    work=$cache/apt/$arch-${suites%% *}
    with_lock "$work.lock" "downloads for $arch"
    # somebody else may have done it meanwhile
    if [ "$(head -n 1 "$directory/.packages" 2> /dev/null)" = "$request" ]
    then
        exec {lock_descriptor}>&-
        return 0
    fi
    say "Packages: getting $* for $arch"
    # shellcheck disable=SC2086 # a list
    make_apt "$work" "$arch" deb $suites
    rm -rf "$work/debs" "$directory.new"
    mkdir -p "$work/debs" "$directory.new" || die "cannot make $directory.new"
    for package in "$@"; do
        (cd "$work/debs" && download_package "$package" "$arch" "$suites") ||
            exit 1
    done
    say "$request" > "$directory.new/.packages"
    for file in "$work"/debs/*.deb; do
        dpkg-deb -x "$file" "$directory.new" 2> "$work/log" ||
            die "cannot unpack $(basename "$file") in $directory.new:" \
                "$(head -n 1 "$work/log")"
        # shellcheck disable=SC2016 # for dpkg-deb
        dpkg-deb -W --showformat '${Package}=${Version}\n' "$file"
    done >> "$directory.new/.packages" || exit 1
    rm -rf "$work/debs" "$directory"
    mv "$directory.new" "$directory" || die "cannot make $directory"
    exec {lock_descriptor}>&-
}
