#!/usr/bin/env bash
# Runs the tests of one package, of whichever module, as root, and makes first what the
# tests of that module need, and no more.
#
#   script/test-package.sh PACKAGE [REGEXP]
#
# PACKAGE is a directory below the root of the repository, such as ./snapshot,
# ./test/e2e or ./buildkit/...; REGEXP says which tests (go test -run).
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

die() { echo "error: $*" >&2; exit 1; }
(($# == 1 || $# == 2)) || die "usage: script/test-package.sh PACKAGE [REGEXP]"
((EUID == 0)) || die "the tests need root: they mount filesystems and run containers"

below=
dir=${1%/}
if [[ $dir == */... || $dir == ... ]]; then
  below=/...
  dir=${dir%...}
fi
dir=$(cd "${dir:-.}" 2>/dev/null && pwd) || die "there is no directory $1"
module=$dir
until [[ -e $module/go.mod ]]; do
  [[ $module == "$root"/* ]] || die "$1 is not in this repository"
  module=${module%/*}
done

case ${module#"$root"} in
  '' | /buildkit/merge | /buildkit/daemon | /buildkit/oldest) script/components.sh packages ;;
  /test | /bench)
    make --no-print-directory build
    script/components.sh
    ;;
  /buildkit)
    make --no-print-directory build
    script/components.sh
    script/buildkit.sh
    ;;
  *) die "nothing is known of what the tests of ${module#"$root/"} need" ;;
esac
cd "$module"
exec go test -count=1 -p=1 -timeout=40m -v ${2:+-run "$2"} ".${dir#"$module"}$below"
