#!/bin/sh
# Runs when the files are in place. dpkg calls it with "configure" and the version of before,
# if there was one; rpm with the number of versions that are installed now.
#
# containerd is left alone: `ladle install` does its part, when somebody says so.
set -e

upgrade=no
case "$1" in
  configure) [ -z "$2" ] || upgrade=yes ;;
  1) ;;
  [2-9]) upgrade=yes ;;
  *) exit 0 ;; # dpkg's ways back after an error
esac
[ -d /run/systemd/system ] || exit 0

systemctl daemon-reload
if [ "$upgrade" = yes ]; then
  # The next process takes over what this one has mounted: containers go on.
  systemctl try-restart ladle.service
else
  # Enabled or not: as the distribution has it. It is not in use before containerd knows it.
  systemctl preset ladle.service
  if systemctl is-enabled --quiet ladle.service; then systemctl start ladle.service; fi
  echo "The package of ladle is installed. To set containerd up: ladle install --dry-run, ladle install"
fi
