#!/usr/bin/env bash
# Runs a command with the programs of a bare machine: PATH is a directory of links
# to the programs of the essential packages, of script/packages.sh with what they
# depend on, of apt and make, and to Go's. What was installed by hand is not found,
# so that a package which the tests need and no script installs shows at once.
#
#   script/bare.sh make test
#
# Needs Debian or Ubuntu, and the packages installed (script/components.sh).
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/script/packages.sh"
PACKAGES+=(apt make mawk) # base-files depends on some awk: Debian installs mawk

(($#)) || { echo "usage: $0 COMMAND..." >&2; exit 2; }

# packages prints the packages that are there of those named, of the essential ones
# and of all that they depend on: `apt-cache depends` begins a line for each with
# its name, and indents those that provide a virtual one by four spaces.
packages() {
  local essential
  mapfile -t essential < <(dpkg-query -W -f '${Essential} ${Package}\n' | sed -n 's/^yes //p')
  apt-cache depends --recurse --installed --important "${PACKAGES[@]}" "${essential[@]}" |
    sed -nE 's/^(    )?([a-z0-9][^ :]*).*/\2/p' | sort -u
}

# programs prints the paths of the programs of packages, and of those names which
# Debian's alternatives (awk, which) lead to one of them.
programs() {
  local owned=()
  # dpkg fails for the names of virtual packages, and lists the others.
  mapfile -t owned < <({ packages | xargs dpkg -L 2>/dev/null || true; } | grep -E '^(/usr)?/s?bin/[^/]+$')
  printf '%s\n' "${owned[@]}"
  find /usr/bin /usr/sbin -lname '/etc/alternatives/*' | while read -r name; do
    printf '%s %s\n' "$(realpath -m "$name")" "$name"
  done | grep -Ff <(printf '%s \n' "${owned[@]}") | cut -d ' ' -f 2
}

path=$(mktemp -d)
chmod 755 "$path" # some tests run programs as other users
trap 'rm -rf "$path"' EXIT
programs | xargs ln -sft "$path"
for program in go gofmt; do ln -sf "$(command -v "$program")" "$path/$program"; done
PATH=$path "$@"
