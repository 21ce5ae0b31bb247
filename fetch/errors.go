package fetch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// Kinds of errors, for errors.Is. If several hosts were tried, an error matches the kinds of
// all of them.
var (
	// ErrNotFound: the host does not have the object (404, 410).
	ErrNotFound = errors.New("not found")

	// ErrUnauthorized: the credentials, or their absence, are not accepted
	// (401, 403).
	ErrUnauthorized = errors.New("not authorized")

	// ErrUnavailable: the host cannot be reached, the connection broke or stalled,
	// or the status is 408, 429, 5xx or one without a kind of its own. A later
	// request may succeed.
	ErrUnavailable = errors.New("unavailable")

	// ErrNoRanges: the answer to a request for a range is the whole blob, another
	// range, or a refusal (400, 416, 501).
	ErrNoRanges = errors.New("range not served")
)

// Error is one failed request to one host.
type Error struct {
	Op      string // "GET", or "token" for the request of a bearer token
	Host    string // "name:port" of the server, after redirections
	Status  int    // of the answer; 0 if there was none
	Message string // of the registry or of this package; may be empty
	Kind    error  // ErrNotFound, ErrUnauthorized, ErrUnavailable or ErrNoRanges
	Cause   error  // error below HTTP; may be nil

	retryAfter time.Duration // requested by the host; 0: none
	final      bool          // a refusal: the same request will probably fail again
	unanswered bool          // no answer, or an answer that stalled
}

// general reports whether the server would fail in the same way for any other object.
func (e *Error) general() bool {
	return e.unanswered || e.Status == http.StatusTooManyRequests || e.Status == http.StatusServiceUnavailable
}

// definite reports whether the same request would most likely fail again: the object does
// not exist, or may not be read.
func (e *Error) definite() bool {
	return errors.Is(e.Kind, ErrNotFound) || errors.Is(e.Kind, ErrUnauthorized)
}

// Error does not contain the URL, since the query of a redirected one is a credential.
func (e *Error) Error() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s %s: ", e.Op, e.Host)
	if e.Status != 0 {
		fmt.Fprintf(&s, "%d %s: ", e.Status, http.StatusText(e.Status))
	}
	s.WriteString(e.Kind.Error())
	if e.Message != "" {
		fmt.Fprintf(&s, " (%s)", e.Message)
	}
	if e.Cause != nil {
		fmt.Fprintf(&s, ": %v", e.Cause)
	}
	return s.String()
}

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// broken returns the error of an exchange with a server that failed below HTTP.
func broken(op, server string, cause error) *Error {
	var known *Error
	if errors.As(cause, &known) {
		return known
	}
	var u *url.Error
	if errors.As(cause, &u) {
		cause = u.Err // without the URL
	}
	return &Error{
		Op: op, Host: server, Kind: ErrUnavailable, Cause: cause,
		unanswered: errors.Is(cause, errStalled),
	}
}

// hostErrors are the errors of several hosts.
type hostErrors []error

func (e hostErrors) Error() string {
	all := make([]string, len(e))
	for i, err := range e {
		all[i] = err.Error()
	}
	return strings.Join(all, "; ")
}

func (e hostErrors) Unwrap() []error { return e }

// stopped is the error of a read with a ctx that ended. Its text includes the latest
// failure, last, which may be nil.
func stopped(ctx context.Context, last error) error {
	if last == nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("%w after %v", context.Cause(ctx), last)
}

// blobError wraps err at the edge of the package.
func blobError(d digest.Digest, span string, err error) error {
	return fmt.Errorf("fetch %s %s: %w", short(d), span, err)
}

// short returns the first twelve hexadecimal digits of d with its algorithm.
func short(d digest.Digest) string {
	algorithm, hex, _ := strings.Cut(string(d), ":")
	if len(hex) <= 12 {
		return string(d)
	}
	return algorithm + ":" + hex[:12] + "…"
}
