// Package stack runs the real components around a snapshotter: a registry, a
// simulated link to it, containerd with runc, and the snapshotter daemons.
//
// A registry is a distribution registry on a loopback port with an empty store.
// A node is one containerd with its daemons, all state in a directory of its
// own. A stack is a registry, a link to it, and a node that knows the registry
// by the link's address only: what the node fetches passes the link.
//
// Everything is a child process, started here, stopped by its process id, and
// killed by the kernel if this process dies. Closing a node removes its
// containers and its directory; a mount that a daemon left behind is undone and
// reported as an error. Root is required.
//
// Tests use it through package stacktest, which ends the test on every error.
package stack
