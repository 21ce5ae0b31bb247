#!/usr/bin/env bash
# Puts the daemon, its configuration and its systemd units in place.
#
#   script/install.sh DESTDIR PREFIX
#
# A configuration that is there already is kept. Nothing is enabled or started.
set -euo pipefail

destdir=$1 prefix=$2
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
unit=$destdir/etc/systemd/system/ladle.service
config=$destdir/etc/ladle/config.toml

install -D -m 755 "$root/bin/ladle" "$destdir$prefix/bin/ladle"
mkdir -p "$(dirname "$unit")"
sed "s|/usr/local/bin/ladle|$prefix/bin/ladle|" "$root/script/ladle.service" >"$unit"
chmod 644 "$unit"
if [[ -e $config ]]; then
  echo "kept $config"
else
  install -D -m 644 "$root/config.toml.example" "$config"
fi
# The directory is containerd's default for image verifiers.
verifiers=$destdir/opt/containerd/image-verifier/bin
mkdir -p "$verifiers"
ln -sfn "$prefix/bin/ladle" "$verifiers/ladle-verify-pull"
install -D -m 644 "$root/script/containerd-ladle.toml" "$destdir$prefix/share/ladle/containerd-ladle.toml"

for name in ladle-rootless buildkitd-rootless; do
  mkdir -p "$destdir$prefix/lib/systemd/user"
  sed "s|/usr/local/bin/ladle|$prefix/bin/ladle|" "$root/script/$name.service" >"$destdir$prefix/lib/systemd/user/$name.service"
  chmod 644 "$destdir$prefix/lib/systemd/user/$name.service"
done

[[ -z $destdir ]] || exit 0
cat <<EOF
Installed. What is left to do (docs/install.md):
  systemctl daemon-reload && systemctl enable --now ladle
  cp $prefix/share/ladle/containerd-ladle.toml /etc/containerd/conf.d/ladle.toml
  systemctl restart containerd
EOF
