#!/usr/bin/env bash
# The short tests of the packages that have most goroutines, with the race detector.
# Arguments go to `go test`. Needs root, FUSE and a C compiler.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/modules.sh"

CGO_ENABLED=1 exec go test -race -short -count=1 -timeout=40m "$@" "${race_packages[@]}"
