// Command ladle is the snapshotter daemon: containerd's layers, readable
// before they are there.
//
// Usage:
//
//	ladle serve [--config FILE] [--root DIR] [--address SOCKET] [--log-level LEVEL]
//	ladle check-config [FILE]
//	ladle version
//
// Serve runs the daemon until SIGTERM or SIGINT. Then it takes no more calls,
// lets those under way finish, unmounts everything and exits with 0. A second
// signal ends it at once. It exits with 1 when it could not start or a part of
// it failed, and with 2 when it was called wrongly.
//
// Under systemd, in a unit that has room for descriptors
// (FileDescriptorStoreMax=), nothing but SIGINT unmounts anything. However else
// the process ends, by SIGTERM, an error or SIGKILL, the next process of the
// unit takes its mounts over, and containers see no more of it than a pause.
// See package takeover.
//
// Flags override the configuration file; --config defaults to
// /etc/ladle/config.toml, which need not be there. Check-config reads a file
// as serve would and says what is wrong with it.
//
// Under systemd, serve also reports when it is ready and that it stops
// (Type=notify units), feeds the watchdog if the unit has one, and takes over
// listening sockets whose path is an endpoint's address.
//
// Limitations: it must be root, if only that of a user namespace, for mounts; one
// process at a time can have a root directory; and mounts are taken over from
// Linux 6.9 on.
package main
