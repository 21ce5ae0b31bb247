package registrytest

import (
	"net/http"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// Kind is what a request is for.
type Kind string

// The kinds of requests.
const (
	Blob     Kind = "blob"     // a blob, at the registry
	Storage  Kind = "storage"  // a blob, at the storage
	Manifest Kind = "manifest" // a manifest
	Token    Kind = "token"    // a bearer token
	Referrer Kind = "referrer" // the list of what refers to a manifest
	Other    Kind = "other"
)

// Request is one request that came.
type Request struct {
	Kind       Kind
	Nth        int // among the requests of its kind, from 0, since the last Reset
	Generation int // answers that its sender had to read first, plus one
	Method     string
	Path       string
	Query      string
	Digest     digest.Digest // of the blob; empty for other kinds
	Range      string        // the header, such as "bytes=0-99"
	Header     http.Header
	Remote     string // the client's address: one for each connection
}

// Fault is what goes wrong with a request. The zero value is that nothing does.
type Fault struct {
	Status       int           // answer this and nothing else; with 200, ignore the range
	RetryAfter   string        // header for Status
	Delay        time.Duration // before the answer
	ContentRange string        // header in place of the right one; "-" for none
	Header       string        // "Name: value", in place of what the answer has
	NoLength     bool          // chunked coding, no Content-Length
	Gzip         bool          // compress the body, and say so
	Corrupt      bool          // flip a bit in every byte of the body

	// At most one of these is set. Each says after how many bytes of the body
	// it happens; a negative number means before the header is sent.
	Truncate *int64 // the body ends, and Content-Length says so
	Close    *int64 // the connection is closed, and Content-Length promised more
	Stall    *int64 // nothing more comes, and the connection stays open
	Slow     int64  // bytes per second; 0 means no limit
}

// After returns a pointer to n, for the fields of Fault.
func After(n int64) *int64 { return &n }

func (f Fault) setHeader(w http.ResponseWriter) {
	if name, value, ok := strings.Cut(f.Header, ": "); ok {
		w.Header().Set(name, value)
	}
}

// Always returns a function for SetFault with the same fault for all requests
// of kind.
func Always(kind Kind, f Fault) func(Request) Fault {
	return func(q Request) Fault {
		if q.Kind == kind {
			return f
		}
		return Fault{}
	}
}

// First returns a function for SetFault that meets the first n requests of
// kind.
func First(n int, kind Kind, f Fault) func(Request) Fault {
	return func(q Request) Fault {
		if q.Kind == kind && q.Nth < n {
			return f
		}
		return Fault{}
	}
}
