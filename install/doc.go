// Package install sets ladle up on a host, checks it, and takes it away again, for the command
// `ladle install`.
//
// # Order
//
// An installation is a list of files, in two groups: those of the daemon (program,
// configuration, systemd unit, image verifier) and those of containerd (a drop-in, and the
// line of the main configuration that imports it). Containerd's are written only when the
// daemon answers calls on its socket and `containerd config dump` has accepted the new
// configuration, and containerd is restarted after that. An undo goes the other way round:
// containerd's files first. So at any time, also after a power cut, containerd starts with its
// old configuration, or with the new one and a daemon that is started before it.
//
// # Interruptions
//
// Before the first change, the content of all files that will be changed is kept in
// StateDir, and a list of them is written to its file state.json. Each file is replaced by a
// rename. A failure puts the kept files back. A run that was killed leaves its list: the
// next run takes it over, so that it still knows what was there before, makes the changes that
// are missing, and goes through all later steps again. When everything was checked, one write
// of state.json ends the list and makes it the record of the installation, which Undo reads.
//
// # Flavors
//
// Stock containerd and the nodes of kind read /etc/containerd/config.toml. k3s and rke2
// generate containerd's configuration at each start; from February 2026 on (k3s-io/k3s#13680)
// it imports the directory config-v3.toml.d, and before it is extended by a template.
package install
