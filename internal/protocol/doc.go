// Package protocol has no code: its tests compare the three places that have the protocol
// of docs/protocol.md, which are that page, this module, which answers, and
// buildkit/daemon/ladle, a client in a module of its own, which repeats the names so that
// neither module depends on the other.
package protocol
