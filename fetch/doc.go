// Package fetch reads ranges of blobs and manifests from registries.
//
// A host is one place that has an image's blobs: a mirror or the registry
// itself, as ladle's configuration says, or as those lend it who had an image
// read. A source is a blob as an image names it: reference and digest. Hosts
// are tried in order; what a host turned out to be unable to do more than once
// (byte ranges, suffix ranges), and where it redirected a blob, are remembered. A
// plan is which hosts remain to be tried for one object. An exchange is the
// requests to one host for one attempt: token, redirections and answer. A pace is
// how often a host that fails is asked: all readers share it, so that it gets no
// more requests from a hundred of them than from one. The link is what past
// requests tell of the way to a host.
//
// Nothing that fetch returns is verified, except manifests; what it promises
// is the right number of bytes or an error, within a bounded time: an attempt
// in which nothing moves is given up after Options.Timeout, after each failure the
// next host is asked, and each host at most Options.MaxRetries times more than
// once. Callers that have more time than that call again.
//
// How the first bytes of a blob are had, in serial round trips:
//
//	GET blob, 401      once for a host
//	GET token          once for a repository and its token's life
//	GET blob, 307      once for a blob, or 206 and done
//	GET elsewhere, 206
//
// Other servers than the host, to which it redirects, see neither its
// credentials nor its headers, but in a Referer header the address that the host
// was asked at. Errors hold neither credentials nor the query
// of any URL.
package fetch
