// Package registrytest is a registry in memory for tests of what reads from
// registries. It serves real HTTP or HTTPS on a loopback port.
//
// A blob or manifest that was added is served under every repository name,
// with byte ranges as in RFC 9110 section 14. A registry may demand bearer
// tokens, and it may redirect blobs to its storage, a second server that
// wants a signature in the query instead.
//
// A fault is what the registry does wrong with one request; a test decides
// about it for each request. Every request is logged with its generation: how
// many answers, one after the other, a client must have read before it could
// send that request. The highest generation is the number of serial round
// trips that the data forced; what a client does one after the other although
// it need not is found by a fault function that blocks until all have come.
package registrytest
