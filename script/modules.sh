# shellcheck shell=bash
# Sourced by the other scripts: goes to the root of the repository and lists
# the directories of its Go modules, and the packages that have most goroutines. Modules
# below testdata are run by hand, and have no part in CI.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
# shellcheck disable=SC2034 # for the script that sources this
mapfile -t modules < <(find . -name go.mod -not -path './.cache/*' -not -path '*/testdata/*' -printf '%h\n' | sort)
# shellcheck disable=SC2034
race_packages=(./fs ./layer ./metastore ./settle ./snapshot ./stack ./store ./takeover)
