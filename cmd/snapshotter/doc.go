// Command ladle is the snapshotter daemon: it makes layers readable before they are
// downloaded. It also has commands for images, and one that asks the daemon.
//
// Usage (docs/command-line.md, and --help of each command):
//
//	ladle serve [--config FILE] [--root DIR] [--address SOCKET] [--log-level LEVEL]
//	ladle check-config [FILE]
//	ladle status [--json] [--all] [--control SOCKET]
//	ladle inspect [--json] REF
//	ladle convert [--format FORMAT] [--prefetch-list FILE] SRC DST
//	ladle version
//	ladle completion SHELL
//
// The exit code is 0, 1 after a failure, and 2 after a wrong command line.
//
// Serve runs the daemon until SIGTERM or SIGINT. Then it accepts no more calls, waits for
// the calls in progress, unmounts everything and exits with 0. A second signal ends it at
// once.
//
// Under systemd, in a unit that can store descriptors (FileDescriptorStoreMax=), only SIGINT
// unmounts. After any other end of the process, by SIGTERM, an error or SIGKILL, the next
// process of the unit takes its mounts over, and containers see no more of it than a pause.
// See package takeover.
//
// Flags override the configuration file; --config defaults to
// /etc/ladle/config.toml, which need not exist. Check-config reads a file as serve does and
// reports its errors.
//
// Under systemd, serve also notifies systemd when it is ready and when it stops
// (Type=notify units), feeds the watchdog if the unit has one, and uses the listening
// sockets of socket units that have the path of an endpoint's address.
//
// Limitations of serve: mounts need root, at least of a user namespace; a root directory has one
// process at a time; and mounts are taken over from Linux 6.9 on.
package main
