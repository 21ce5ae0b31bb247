#!/usr/bin/env bash
# Makes what the demo needs (test/cmd/demo), and runs it. Arguments go to it. On a
# machine that has nothing the image is made while containerd is compiled.
# Needs root, Go and bin/ladle.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

script/components.sh demo-packages
script/components.sh demo &
components=$!
trap 'kill "$components" 2>/dev/null || true' EXIT
if [[ $* != *-image* ]]; then
  go run -C test ./cmd/image build -format estargz debian-python
fi
go build -C test -o ../.cache/bin/demo ./cmd/demo
wait "$components"
trap - EXIT
cd test
exec ../.cache/bin/demo "$@"
