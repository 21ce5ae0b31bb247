#!/bin/sh
# Runs before the files are removed: dpkg calls it with "remove", or with "upgrade"; rpm with
# the number of versions that will be left.
#
# An upgrade stops nothing: postinstall.sh restarts.
set -e

case "$1" in
  remove | 0) ;;
  *) exit 0 ;;
esac
[ -d /run/systemd/system ] || exit 0

# A clean stop: everything is unmounted.
systemctl disable --now ladle.service
