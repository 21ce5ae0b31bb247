# shellcheck shell=bash
# Sourced by scripts whose tests mount much and start daemons, which must be gone
# afterwards, also after an interrupt. It sets scratch, a new directory.
#
#   contain COMMAND...    runs it in the background, in a pid and a mount namespace
#                         of its own; pid is then the process to wait for
#
# At the end of the script, or at SIGINT and SIGTERM, all that runs there is
# killed, its mounts go with it, and scratch is removed.

pid=none
scratch=$(mktemp -d /var/tmp/ladle-bk-XXXXXX)

contain() {
  setsid unshare --mount --pid --fork --kill-child --mount-proc "$@" &
  pid=$!
}

# below PID: the processes that descend from it, the eldest first.
below() {
  local child
  for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do
    echo "$child"
    below "$child"
  done
}

# release kills the first process of the namespaces, and so all others, and removes
# the cgroups of the containers that this ended.
release() {
  local all=() each group
  if jobs -pr | grep -qx "$pid"; then
    mapfile -t all < <(below "$pid")
    for each in "${all[@]}"; do sed -n 's|^[^/]*/buildkit/||p' "/proc/$each/cgroup"; done 2>/dev/null | sort -u >"$scratch/groups" || true
    kill -KILL "${all[0]:-$pid}" 2>/dev/null && wait "$pid" 2>/dev/null || true
    while read -r group; do
      find /sys/fs/cgroup -maxdepth 4 -depth -path "*/buildkit/$group" -exec rmdir {} + 2>/dev/null || true
    done <"$scratch/groups"
  fi
  rm -rf "$scratch"
}
trap release EXIT
trap 'exit 130' INT TERM
