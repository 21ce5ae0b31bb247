#!/usr/bin/env bash
# gofmt, go vet and staticcheck over all modules; shell scripts are parsed.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/modules.sh"

STATICCHECK=honnef.co/go/tools/cmd/staticcheck@v0.8.2

unformatted=$(find . -name '*.go' -not -path './.cache/*' -print0 | xargs -0 gofmt -l)
if [[ -n $unformatted ]]; then
  printf 'not formatted by gofmt:\n%s\n' "$unformatted" >&2
  exit 1
fi
mkdir -p .cache/bin
GOBIN=$PWD/.cache/bin go install "$STATICCHECK"
staticcheck=$PWD/.cache/bin/staticcheck
for module in "${modules[@]}"; do
  (cd "$module" && go vet ./... && "$staticcheck" ./...)
done
for script in script/*.sh .ci/run; do
  bash -n "$script"
done
echo "lint: ${#modules[@]} modules clean"
