#!/bin/sh
# Runs when the files are removed. /var/lib/ladle stays, also after a purge: it has what
# containers wrote.
set -e

[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
