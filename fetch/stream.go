package fetch

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// A host that serves no ranges is read from the start, and what comes before the
// range is thrown away: skipLimit bytes at most if it may be a whim of the host,
// rangelessSkip if it is known to serve none.
const (
	skipLimit     = 1 << 20
	rangelessSkip = 32 << 20
)

// wholeLimit returns how many bytes of a whole blob may be read and thrown away
// to get at a range of it.
func wholeLimit(h *host, now time.Time) int64 {
	if h.rangeless(now).IsZero() {
		return skipLimit
	}
	return rangelessSkip
}

// errShort is why a body is given up that ends before it should.
var errShort = errors.New("body ends early")

// stream is the body of one answer that has bytes from off on.
type stream struct {
	exchange *exchange
	body     io.ReadCloser
	server   string // where it comes from
	skip     int64  // bytes to throw away first
	left     int64  // bytes to yield after that
	chunked  bool   // the length of the body was not told
	started  time.Time
	count    int64 // bytes read
}

// stream returns the n bytes at off of the body of resp, whose first byte is
// the blob's at.
func (x *exchange) stream(resp *http.Response, at, off, n int64) *stream {
	x.dog.pause()
	return &stream{
		exchange: x, body: resp.Body, server: resp.Request.URL.Host,
		skip: off - at, left: n, chunked: resp.ContentLength < 0, started: time.Now(),
	}
}

// Read yields the bytes that the answer promised, and then io.EOF. Any other
// end is an *Error.
func (s *stream) Read(p []byte) (int, error) {
	if s.skip > 0 {
		n, err := io.CopyN(io.Discard, feeding{s}, s.skip)
		s.skip -= n
		if err != nil {
			return 0, s.broken(err)
		}
	}
	if s.left == 0 {
		return 0, io.EOF
	}
	n, err := feeding{s}.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	if s.left == 0 || n > 0 || err == nil {
		return n, nil // a break shows again at the next call
	}
	return n, s.broken(err)
}

func (s *stream) broken(err error) error {
	err = s.exchange.dog.explain(err)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errShort
	}
	return broken("GET", s.server, err)
}

// close ends the request. The connection is used again if the body was read to
// its end.
func (s *stream) close() {
	if s.left == 0 {
		s.exchange.client.links.update(s.server, func(e *estimate) { e.transfer(s.count, time.Since(s.started)) })
	}
	if s.left > 0 || !s.chunked {
		s.exchange.dog.end()
		s.body.Close()
		return
	}
	go func() { // the mark of the end follows the last byte; at most Timeout later
		var one [1]byte
		s.exchange.dog.feed()
		s.body.Read(one[:]) //nolint:errcheck // the connection is lost, then
		s.exchange.dog.end()
		s.body.Close()
	}()
}

// feeding reads a stream's body under the eyes of its watchdog.
type feeding struct{ *stream }

func (f feeding) Read(p []byte) (int, error) {
	f.exchange.dog.feed()
	n, err := f.body.Read(p)
	f.exchange.dog.pause()
	f.count += int64(n)
	return n, err
}

// openAt asks x.host for the bytes [off, end) of the blob and returns as many of
// them as the answer has, from off on. At most skip bytes that come before them
// are thrown away.
func (b *Blob) openAt(x *exchange, off, end, skip int64) (*stream, error) {
	resp, err := b.get(x, fmt.Sprintf("bytes=%d-%d", off, end-1))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPartialContent {
		return nil, refusal(resp, true, x.host.owns(resp.Request.URL))
	}
	got, ok := bodySpan(resp)
	whole := resp.StatusCode == http.StatusOK
	switch {
	case encoded(resp, got):
		return nil, wrong(resp, fmt.Sprintf("Content-Encoding %.64q", resp.Header.Get("Content-Encoding")))
	case whole && got.size >= 0 && got.size < end:
		return nil, wrong(resp, fmt.Sprintf("blob has %d bytes", got.size))
	case whole && (off > 0 || got.size != end):
		x.host.ignoredRange(b.client.now())
		if off > skip {
			return nil, wrong(resp, "range ignored")
		}
		return x.stream(resp, 0, off, end-off), nil
	case whole:
		return x.stream(resp, 0, 0, end), nil
	case !ok || got.off != off || got.end > end:
		return nil, wrong(resp, fmt.Sprintf("Content-Range %.64q for bytes %d-%d", resp.Header.Get("Content-Range"), off, end-1))
	}
	x.host.servedRange()
	return x.stream(resp, off, off, got.end-off), nil
}

// encoded reports whether a server has compressed a range, which was not asked
// for. Some say so of blobs only because those are compressed; then the length is
// right.
func encoded(resp *http.Response, got span) bool {
	coding := resp.Header.Get("Content-Encoding")
	return coding != "" && coding != "identity" && resp.ContentLength != got.end-got.off
}

// wrong closes resp, a 200 or 206 that is not what was asked for, and returns
// it as an error.
func wrong(resp *http.Response, why string) *Error {
	resp.Body.Close()
	return &Error{
		Op: resp.Request.Method, Host: resp.Request.URL.Host, Status: resp.StatusCode,
		Kind: ErrNoRanges, Message: why, final: true,
	}
}
