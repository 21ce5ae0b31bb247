#!/usr/bin/env bash
# Runs each fuzz target of all modules for the time given, 30s by default.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/modules.sh"

time=${1:-30s}
count=0
for module in "${modules[@]}"; do
  while read -r package target; do
    echo "fuzzing $package $target for $time"
    (cd "$module" && go test -run='^$' -fuzz="^$target\$" -fuzztime="$time" "$package")
    count=$((count + 1))
  done < <(cd "$module" && go test -list '^Fuzz' -json ./... |
    sed -n 's/.*"Package":"\([^"]*\)".*"Output":"\(Fuzz[A-Za-z0-9_]*\)\\n".*/\1 \2/p')
done
echo "$count fuzz targets"
((count > 0))
