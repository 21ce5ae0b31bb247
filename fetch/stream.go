package fetch

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// If a host ignores a range and sends the whole blob, the bytes before the range are
// discarded: at most skipLimit bytes; rangelessSkip if the host counts as rangeless.
const (
	skipLimit     = 1 << 20
	rangelessSkip = 32 << 20
)

// wholeLimit returns how many bytes of a whole blob may be discarded before a range of
// it.
func (b *Blob) wholeLimit(h *host) int64 {
	if h.rangeless(b.client.now()).IsZero() {
		return skipLimit
	}
	return rangelessSkip
}

// errShort is the error of a body that ends before the requested bytes.
var errShort = errors.New("body ends early")

// stream is the body of one answer, which contains bytes from off on.
type stream struct {
	exchange *exchange
	body     io.ReadCloser
	server   string // "name:port" of the sender
	skip     int64  // bytes to discard first
	left     int64  // bytes to yield after that
	chunked  bool   // the answer has no Content-Length
	started  time.Time
	count    int64 // bytes read
}

// stream returns the n bytes at off of the blob from the body of resp; at is the offset
// of its first byte.
func (x *exchange) stream(resp *http.Response, at, off, n int64) *stream {
	x.dog.pause()
	return &stream{
		exchange: x, body: resp.Body, server: resp.Request.URL.Host,
		skip: off - at, left: n, chunked: resp.ContentLength < 0, started: time.Now(),
	}
}

// Read yields the bytes that the answer promised, and then io.EOF. Another end is an
// *Error.
func (s *stream) Read(p []byte) (int, error) {
	if s.skip > 0 {
		n, err := io.CopyN(io.Discard, watchedBody{s}, s.skip)
		s.skip -= n
		if err != nil {
			return 0, s.broken(err)
		}
	}
	if s.left == 0 {
		return 0, io.EOF
	}
	n, err := watchedBody{s}.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	if s.left == 0 || n > 0 || err == nil {
		return n, nil // the next call returns the error again
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

// close ends the request. The connection is reused if the body was read to its end.
func (s *stream) close() {
	if s.left == 0 {
		s.exchange.client.links.update(s.server, func(e *estimate) { e.transfer(s.count, time.Since(s.started)) })
	}
	if s.left > 0 || !s.chunked {
		s.exchange.dog.end()
		s.body.Close()
		return
	}
	go func() { // read the end-of-body marker, within Timeout
		var one [1]byte
		s.exchange.dog.feed()
		s.body.Read(one[:]) //nolint:errcheck // the connection is lost, then
		s.exchange.dog.end()
		s.body.Close()
	}()
}

// watchedBody reads a stream's body under its watchdog.
type watchedBody struct{ *stream }

func (f watchedBody) Read(p []byte) (int, error) {
	f.exchange.dog.feed()
	n, err := f.body.Read(p)
	f.exchange.dog.pause()
	f.count += int64(n)
	return n, err
}

// openAt requests the bytes [off, end) of the blob from x.host, and returns the bytes of
// the answer from off on. It discards at most skip bytes before them. If that is anyLength, it
// requests the whole blob where a range is not needed, or is refused.
func (b *Blob) openAt(x *exchange, off, end, skip int64) (*stream, error) {
	rng := fmt.Sprintf("bytes=%d-%d", off, end-1)
	if off == 0 && skip == anyLength {
		rng = ""
	}
	resp, err := b.get(x, rng)
	if err == nil && skip == anyLength && rng != "" && refusesRange(resp.StatusCode) {
		discard(resp.Body)
		rng = ""
		resp, err = b.get(x, rng)
	}
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPartialContent {
		return nil, refusal(resp, rng != "", x.host.owns(resp.Request.URL))
	}
	got, ok := bodySpan(resp)
	whole := resp.StatusCode == http.StatusOK
	switch {
	case encoded(resp, got):
		return nil, wrong(resp, fmt.Sprintf("Content-Encoding %.64q", resp.Header.Get("Content-Encoding")))
	case whole && got.size >= 0 && got.size < end:
		return nil, wrong(resp, fmt.Sprintf("blob has %d bytes", got.size))
	case whole && rng == "":
		return x.stream(resp, 0, off, end-off), nil
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

// encoded reports whether a server has compressed a range, which was not requested. Some
// set the header for compressed blobs without compressing the range; then the length is
// right.
func encoded(resp *http.Response, got span) bool {
	coding := resp.Header.Get("Content-Encoding")
	return coding != "" && coding != "identity" && resp.ContentLength != got.end-got.off
}

// wrong closes resp, a 200 or 206 with other content than requested, and returns it as an
// error.
func wrong(resp *http.Response, why string) *Error {
	resp.Body.Close()
	return &Error{
		Op: resp.Request.Method, Host: resp.Request.URL.Host, Status: resp.StatusCode,
		Kind: ErrNoRanges, Message: why, final: true,
	}
}
