// Package fetch reads ranges of blobs and manifests from registries.
//
// # Terms
//
// A host is a server that has an image's blobs: a mirror or the registry itself. Hosts come
// from ladle's configuration or from a lender (package auth). They are tried in order. A
// host that repeatedly fails to serve byte ranges or suffix ranges, and the address to
// which it redirects a blob, are cached.
//
// A source is a blob as an image refers to it: reference and digest. A plan is the list of
// hosts to try for one object. An exchange is the requests to one host for one attempt:
// token, redirections and answer. A pace limits the requests to a failing host: all readers
// share it, so that a hundred readers send no more of them than one. A link is the round
// trip time and bandwidth of the path to a host, estimated from past requests.
//
// # Guarantees
//
// Only manifests are verified. Of a range, fetch returns the requested number of bytes or
// an error within a bounded time: an attempt without progress ends after Options.Timeout;
// after a failure the next host is tried; and each host is tried at most
// 1 + Options.MaxRetries times. A caller with more time calls again.
//
// Whole reads a blob to its end by several ranges side by side, or by one request if no host
// serves ranges.
//
// The first bytes of a blob take these serial round trips:
//
//	GET blob, 401      once for a host
//	GET token          once for a repository and lifetime of the token
//	GET blob, 307      once for a blob; or 206 without a redirection
//	GET elsewhere, 206
//
// Each mutex is held alone, and for operations in memory only, except that configured.mu and
// lentHosts.mu are held while the configuration of a registry and its certificates are read.
//
// Servers to which a host redirects receive neither the host's credentials nor its headers,
// only a Referer header with the address at the host. Errors contain neither credentials nor
// the query of a URL.
package fetch
