#!/usr/bin/env bash
# Checks the Helm chart: `helm lint`, then what `helm template` makes of each file in
# deploy/testdata/values is compared with the types of Kubernetes (deploy/testdata), and each file in
# deploy/testdata/refused is refused with the words of its first line. deploy/daemonset.yaml has to
# be what the chart makes of its defaults; `script/chart-tests.sh update` writes it anew.
#
# helm is built in .cache/bin (LADLE_CACHE/bin), which takes some minutes the first time.
set -euo pipefail

HELM=helm.sh/helm/v4/cmd/helm@v4.3.2
KUBERNETES=1.36.0 # of which the chart thinks that it is installed there

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${LADLE_CACHE:-$root/.cache}
cd "$root/deploy"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# No settings of whoever runs this.
export HELM_CONFIG_HOME=$scratch HELM_CACHE_HOME=$scratch HELM_DATA_HOME=$scratch KUBECONFIG=/dev/null

die() { echo "error: $*" >&2; exit 1; }
mkdir -p "$cache/bin"
GOBIN=$cache/bin go install "$HELM"
helm() { "$cache/bin/helm" "$@"; }
render() { helm template ladle helm/ladle --namespace kube-system --kube-version "$KUBERNETES" "$@"; }
plain() {
  echo "# What the Helm chart makes of its defaults, for clusters without Helm: put the image that"
  echo "# deploy/Dockerfile makes in the place of registry.example/ladle:0.0.0, and apply it."
  render --values testdata/values/least.yaml
}

if [[ ${1:-} == update ]]; then
  plain >daemonset.yaml
  exit
fi

(cd testdata && go vet ./... && go build -o "$scratch/check" .)
for values in testdata/values/*.yaml; do
  echo "$values"
  helm lint --strict --quiet --kube-version "$KUBERNETES" --values "$values" helm/ladle
  render --values "$values" >"$scratch/objects"
  "$scratch/check" <"$scratch/objects"
done
for values in testdata/refused/*.yaml; do
  if render --values "$values" >/dev/null 2>"$scratch/said"; then die "$values is not refused"; fi
  grep -qF -- "$(sed -n '1s/^# //p' "$values")" "$scratch/said" || { cat "$scratch/said" >&2; die "$values is refused in other words"; }
done
# The check itself finds what is wrong.
for wrong in 's/hostPID: true/hostPid: true/' 's/- --enter=1/- serve/' 's/privileged: true/privileged: false/' 's/maxUnavailable: 1/maxUnavailable: [1]/'; do
  sed "$wrong" daemonset.yaml >"$scratch/wrong"
  if "$scratch/check" <"$scratch/wrong" >/dev/null 2>&1; then die "not found: $wrong"; fi
done
plain | diff --unified daemonset.yaml - || die "deploy/daemonset.yaml is another one: script/chart-tests.sh update"
echo "chart: lint, objects and refusals are right"
