#!/usr/bin/env bash
# gofmt, go vet and staticcheck over all modules, shellcheck over all scripts; and no
# file of the repository is a program that was built.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/modules.sh"

STATICCHECK=honnef.co/go/tools/cmd/staticcheck@v0.8.2

command -v shellcheck >/dev/null || { echo "error: there is no shellcheck (script/components.sh packages installs it)" >&2; exit 1; }
unformatted=$(find . -name '*.go' -not -path './.cache/*' -print0 | xargs -0 gofmt -l)
if [[ -n $unformatted ]]; then
  printf 'not formatted by gofmt:\n%s\n' "$unformatted" >&2
  exit 1
fi
tracked=$(git -c safe.directory='*' ls-files)
large=$(xargs -d '\n' stat --format='%s %n' <<<"$tracked" 2>/dev/null | awk '$1 > 1048576' || true) # some may be deleted
if [[ -n $large ]]; then
  printf 'tracked by git, and larger than 1 MiB:\n%s\n' "$large" >&2
  exit 1
fi
mkdir -p .cache/bin
GOBIN=$PWD/.cache/bin go install "$STATICCHECK"
staticcheck=$PWD/.cache/bin/staticcheck
for module in "${modules[@]}"; do
  (cd "$module" && go vet ./... && "$staticcheck" ./...)
done
shellcheck script/*.sh deploy/packages/*.sh .ci/run
echo "lint: ${#modules[@]} modules and all scripts clean"
