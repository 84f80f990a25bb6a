#!/bin/sh
# setup.sh [COMPONENT…]: what it takes to build: a Rust toolchain, a C compiler and linker, libpcap's headers. With components,
# which tests need, also ffmpeg, which decodes for playback and is what decoders are tested against, ip, and SIPp, which plays the PBX,
# and Chromium where there is npm: the pages are tested in it.
# Says nothing when all is there. Installs Debian packages by itself, with sudo when not root; never installs Rust.
set -eu

if ! command -v cargo >/dev/null; then
    echo 'cargo is missing. Install Rust from https://rustup.rs, then run make again.' >&2
    exit 1
fi
for component in "$@"; do
    case $component in rustfmt) tool=fmt ;; *) tool=$component ;; esac
    cargo "$tool" --version >/dev/null 2>&1 && continue
    if command -v rustup >/dev/null; then
        rustup component add "$component"
    else
        echo "cargo $tool is missing: install $component for this toolchain." >&2
        exit 1
    fi
done

missing=
command -v cc >/dev/null || missing="$missing build-essential"
command -v pkg-config >/dev/null || missing="$missing pkg-config"
# The header and the library to link with come in one package.
if ! { [ -e /usr/include/pcap/pcap.h ] || pkg-config --exists libpcap 2>/dev/null; }; then
    missing="$missing libpcap-dev"
fi
if [ $# -gt 0 ] && ! command -v ffmpeg >/dev/null; then
    missing="$missing ffmpeg"
fi
# Tests make networks of their own with it, where they may.
if [ $# -gt 0 ] && ! command -v ip >/dev/null; then
    missing="$missing iproute2"
fi
if [ $# -gt 0 ] && ! command -v sipp >/dev/null; then
    missing="$missing sip-tester"
fi
if [ $# -gt 0 ] && command -v npm >/dev/null && ! command -v chromium >/dev/null; then
    missing="$missing chromium"
fi
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "Missing to build:$missing (these are Debian's names)." >&2
    echo 'Please install a C compiler with its linker, pkg-config, and libpcap with its headers.' >&2
    exit 1
fi
as_root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "Please run as root: apt-get install$missing" >&2; exit 1; }
    as_root=sudo
fi
echo "Installing$missing"
install() {
    # shellcheck disable=SC2086 # a list of words
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}
# A fresh machine has no package lists, or old ones.
install 2>/dev/null || { $as_root apt-get update -qq && install; }
