#!/usr/bin/env bash
# Checks the alert rules and the dashboard of deploy/helm/ladle/monitoring with promtool:
# the rules, their unit tests, and that each expression of the dashboard is one. promtool is
# the one of PATH, or that of Debian's package prometheus, which is unpacked in .cache/bin
# (LADLE_CACHE/bin) and not installed: it would start a daemon. Needs jq.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${LADLE_CACHE:-$root/.cache}
cd "$root/deploy"
export PATH=$PATH:$cache/bin
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

if ! command -v promtool >/dev/null; then
  echo "unpacking promtool of the package prometheus" >&2
  mkdir -p "$cache/bin"
  # apt downloads as a user of its own, who has to be able to write here.
  chmod 755 "$scratch"
  (cd "$scratch" && apt-get -qq -o APT::Sandbox::User=root download prometheus && dpkg-deb --extract prometheus_*.deb . &&
    install usr/bin/promtool "$cache/bin")
fi

# The dashboard's expressions, as rules: Grafana puts values in the place of variables.
jq '{groups: [{name: "dashboard", rules: [
      .panels[] | .title as $panel | (.targets // [])[] | {
        record: "dashboard:panel",
        labels: {panel: "\($panel) \(.refId)"},
        expr: (.expr | gsub("\\$__rate_interval"; "5m") | gsub("\\$__range"; "6h"))
      }]}]}' helm/ladle/monitoring/dashboard.json >"$scratch/dashboard.json"
promtool check rules "$scratch/dashboard.json"
promtool check rules helm/ladle/monitoring/alerts.yaml
promtool test rules testdata/alerts.test.yaml
