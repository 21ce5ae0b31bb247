// Package host tests `ladle install` on a host of its own: a mount namespace in which /etc, /opt,
// /run, /usr/local and /var/lib are empty or copies, with a containerd that is started from its
// files there. What is not real is systemd: a goroutine of the test starts, restarts and stops
// the processes as the unit files say, and keeps their descriptors; the program systemctl,
// which is the test itself by another name, asks it.
package host
