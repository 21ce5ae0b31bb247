// Package link simulates a network link between a client and one server, by
// relaying TCP connections on the loopback device, and counts what passes.
//
// A link is a delay and a bandwidth, the same in both directions. All
// connections share the bandwidth of a direction; each segment leaves when the
// link has had the time to carry what came before it, and arrives half a round
// trip later. Nothing ever sleeps per request: what a client sends while earlier
// bytes are under way is under way too, so pipelined and parallel requests gain
// what they would gain on a real link. A new connection costs one round trip
// more, for its handshake. TCP's own slow start and loss are not simulated, so
// a single connection is as fast as a long-lived one.
//
// A request is one HTTP/1 request seen on the way to the server; it is in
// flight until the last byte of its response has reached the client. Bytes are
// those of the TCP streams, HTTP headers among them.
package link
