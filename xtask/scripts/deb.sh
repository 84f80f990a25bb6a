#!/bin/sh
# Makes a Debian package of what `cargo build --profile dist` has built: target/debian/earwitness_VERSION_ARCH.deb. Run by `make deb`.
set -eu
cd "$(dirname "$0")/../.."
bin=${CARGO_TARGET_DIR:-target}/dist/earwitness
[ -x "$bin" ] || { echo "$bin is missing: make deb builds it" >&2; exit 1; }
command -v dpkg-deb >/dev/null || { echo 'dpkg-deb is missing: apt-get install dpkg' >&2; exit 1; }

out=${CARGO_TARGET_DIR:-target}/debian
root=$out/root
version=$("$bin" --version | cut -d ' ' -f 2)
arch=$(dpkg --print-architecture)
rm -rf "$out"
doc=$root/usr/share/doc/earwitness
mkdir -p "$root/DEBIAN" "$root/usr/bin" "$root/lib/systemd/system" "$root/usr/lib/sysusers.d" \
    "$root/etc/earwitness" "$root/usr/share/man/man1" "$doc" "$root/usr/share/bash-completion/completions" \
    "$root/usr/share/zsh/vendor-completions" "$root/usr/share/fish/vendor_completions.d" "$root/usr/share/earwitness/announcements"

install -m 755 "$bin" "$root/usr/bin/earwitness"
strip --strip-unneeded "$root/usr/bin/earwitness" 2>/dev/null || true
install -m 644 packaging/earwitness.service "$root/lib/systemd/system/"
install -m 644 packaging/earwitness.sysusers "$root/usr/lib/sysusers.d/earwitness.conf"
# The commented file with every setting at its default; the archive is the service's own folder.
"$bin" config init "$root/etc/earwitness/earwitness.toml" >/dev/null
sed -i 's|^# dir = "/var/lib/earwitness"|dir = "/var/lib/earwitness"|' "$root/etc/earwitness/earwitness.toml"
grep -q '^dir = "/var/lib/earwitness"' "$root/etc/earwitness/earwitness.toml"
chmod 640 "$root/etc/earwitness/earwitness.toml"

pages=$out/pages
mkdir -p "$pages"
"$bin" manual "$pages"
for page in "$pages"/*.1; do gzip -9n <"$page" >"$root/usr/share/man/man1/$(basename "$page").gz"; done
install -m 644 "$pages/earwitness.bash" "$root/usr/share/bash-completion/completions/earwitness"
install -m 644 "$pages/_earwitness" "$root/usr/share/zsh/vendor-completions/"
install -m 644 "$pages/earwitness.fish" "$root/usr/share/fish/vendor_completions.d/"
install -m 644 packaging/grafana-dashboard.json "$root/usr/share/earwitness/"
install -m 644 packaging/announcements/*.wav "$root/usr/share/earwitness/announcements/"
install -m 644 docs/*.md README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE "$doc/"

for script in postinst prerm postrm; do install -m 755 "packaging/deb/$script" "$root/DEBIAN/"; done
echo /etc/earwitness/earwitness.toml >"$root/DEBIAN/conffiles"
cat >"$root/DEBIAN/control" <<CONTROL
Package: earwitness
Version: $version
Architecture: $arch
Maintainer: earwitness <packages@earwitness.invalid>
Section: comm
Priority: optional
Installed-Size: $(du -ks "$root" | cut -f 1)
Depends: libc6 (>= 2.36), libpcap0.8 (>= 1.10), systemd (>= 252), tzdata
Recommends: ffmpeg
Description: call recorder for telephone systems
 Records calls from a mirror port or from SIP agents into an encrypted,
 signed archive, by the site's rules, and serves search, playback and
 export. Every call that was seen is accounted for.
CONTROL
dpkg-deb --root-owner-group --build "$root" "$out/earwitness_${version}_$arch.deb" >/dev/null
echo "$out/earwitness_${version}_$arch.deb"
