#!/usr/bin/env bash
# Makes a release of the last commit twice, here and in a clone in another directory, and
# compares: each file has to be the same. Then it looks into the packages: what is in them,
# and what their scripts tell systemd, a stand-in for which is called. Needs root (a mount
# namespace), Go, dpkg, and bsdtar (package libarchive-tools), which reads .rpm.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
export LADLE_CACHE=${LADLE_CACHE:-$root/.cache}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

die() { echo "error: $*" >&2; exit 1; }
# same WHAT WANTED GOT
same() { diff --unified <(printf '%s\n' "$2") <(printf '%s\n' "$3") || die "$1 is not as it should be"; }

for program in dpkg-deb bsdtar unshare; do
  command -v "$program" >/dev/null || die "there is no $program"
done
[[ -z $(git -c "safe.directory=$root" status --porcelain --untracked-files=no) ]] || die "there are changes that are not committed"

script/release.sh amd64
git -c "safe.directory=$root" -c "safe.directory=$root/.git" clone --quiet "file://$root" "$scratch/clone"
mkdir -p "$scratch/clone/bin"
cp bin/ladle "$scratch/clone/bin"
(cd "$scratch/clone" && umask 077 && TZ=Asia/Tokyo script/release.sh amd64 >/dev/null)
same "the second release" "$(<dist/SHA256SUMS)" "$(<"$scratch/clone/dist/SHA256SUMS")"
(cd dist && sha256sum --check --quiet SHA256SUMS)
echo "two releases are equal"

# The packages.
deb=$(echo dist/*.deb) rpm=$(echo dist/*.rpm)
files='./etc/ladle/config.toml
./opt/containerd/image-verifier/bin/ladle-verify-pull
./usr/bin/ladle
./usr/lib/systemd/system/ladle.service
./usr/lib/systemd/user/buildkitd-rootless.service
./usr/lib/systemd/user/ladle-rootless.service
./usr/share/doc/ladle/CHANGELOG.md
./usr/share/doc/ladle/copyright
./usr/share/ladle/containerd-ladle.toml'
dpkg -x "$deb" "$scratch/deb"
same "what is in the .deb" "$files" "$(cd "$scratch/deb" && find . -not -type d | sort)"
mkdir "$scratch/rpm"
bsdtar -x -f "$rpm" -C "$scratch/rpm"
same "what is in the .rpm" "$files" "$(cd "$scratch/rpm" && find . -not -type d | sort)"
diff --recursive --no-dereference "$scratch/deb" "$scratch/rpm" || die "the packages are not of the same files"
same "the configuration files of the .deb" /etc/ladle/config.toml "$(dpkg-deb --info "$deb" conffiles)"
same "the program of the unit" "ExecStart=/usr/bin/ladle serve --config /etc/ladle/config.toml" \
  "$(grep '^ExecStart=' "$scratch/deb/usr/lib/systemd/system/ladle.service")"
version=$("$scratch/deb/usr/bin/ladle" version)
[[ $version == "ladle v$(basename "$deb" | cut -d_ -f2 | tr '~' '-') "* ]] || die "the version is $version, of $deb"
[[ $(readlink "$scratch/deb/opt/containerd/image-verifier/bin/ladle-verify-pull") == /usr/bin/ladle ]] || die "the verifier is another program"
tar -xzf dist/ladle-*-linux-amd64.tar.gz -C "$scratch"
cmp "$scratch"/ladle-*-linux-amd64/ladle "$scratch/deb/usr/bin/ladle"
echo "the packages have what they should"

# Their scripts, where there is a systemd that writes down what it is told.
dpkg-deb --control "$deb" "$scratch/scripts"
mkdir "$scratch/bin"
cat >"$scratch/bin/systemctl" <<'STUB'
#!/bin/sh
echo "$@" >>"$CALLS"
STUB
chmod 755 "$scratch/bin/systemctl"
# told SCRIPT ARGUMENT...: the calls of systemctl, one a line.
told() {
  : >"$scratch/calls"
  # shellcheck disable=SC2016 # the inner shell expands it
  CALLS=$scratch/calls PATH=$scratch/bin:$PATH unshare --mount --propagation private sh -ec '
    mount -t tmpfs none /run
    mkdir -p /run/systemd/system
    exec sh -e "$@"' sh "$scratch/scripts/$1" "${@:2}" >/dev/null
  cat "$scratch/calls"
}
fresh='daemon-reload
preset ladle.service
is-enabled --quiet ladle.service
start ladle.service'
upgraded='daemon-reload
try-restart ladle.service'
same "a first installation by dpkg" "$fresh" "$(told postinst configure '')"
same "a first installation by rpm" "$fresh" "$(told postinst 1)"
same "an upgrade by dpkg" "$upgraded" "$(told prerm upgrade 2; told postinst configure 1)"
same "an upgrade by rpm" "$upgraded" "$(told postinst 2; told prerm 1)"
same "a removal by dpkg" 'disable --now ladle.service' "$(told prerm remove)"
same "a removal by rpm" 'disable --now ladle.service' "$(told prerm 0)"
same "the end of a removal" daemon-reload "$(told postrm remove)"
echo "the scripts of the packages restart ladle, and leave containerd alone"
