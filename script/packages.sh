# shellcheck shell=bash
# Sourced by the other scripts: the packages of Debian and Ubuntu whose programs
# the tests, the demo and the benchmarks run. A program that is not in one of
# them, in what they depend on or in an essential package is not found by the
# tests of CI (script/bare.sh).

# shellcheck disable=SC2034 # for the script that sources this
# package: what needs it
PACKAGES=(
  attr            # setfattr, getfattr: comparing trees
  btrfs-progs     # mkfs.btrfs: a filesystem whose files can share extents
  busybox-static  # the small images and pause
  ca-certificates # registries over https
  e2fsprogs       # loop-mounted scratch filesystems
  erofs-utils     # fsck.erofs, dump.erofs: checking tree images
  fuse3           # fusermount3: FUSE mounts without root
  gcc             # the race detector
  git             # builds whose context is a repository
  isal            # igzip: containerd inflates by it, in benchmarks
  libc6-dev       # the race detector
  libcap2-bin     # getcap: file capabilities
  mmdebstrap      # root filesystems from distribution packages
  patch           # ladle-buildkitd
  pigz            # unpigz: the same
  runc            # containers
  shellcheck      # script/lint.sh
  systemd         # systemd-analyze verify of the units
  uidmap          # newuidmap: rootless builds
  util-linux      # mount, losetup, unshare, nsenter
  xfsprogs        # a second filesystem for the state directory
)

# shellcheck disable=SC2034
# DEMO_PACKAGES are those that `make demo` needs.
DEMO_PACKAGES=(ca-certificates mmdebstrap runc util-linux)
