package registrytest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// serveBlob answers with b or the range of it that is asked for.
func (r *Registry) serveBlob(w http.ResponseWriter, req *http.Request, b []byte, f Fault) {
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Accept-Ranges", "bytes")
	rng := req.Header.Get("Range")
	if rng == "" || f.Status == http.StatusOK {
		r.body(w, req, b, f)
		return
	}
	off, end, ok := parseRange(rng, int64(len(b)))
	if !ok {
		h.Set("Content-Range", fmt.Sprintf("bytes */%d", len(b)))
		http.Error(w, "range not satisfiable", http.StatusRequestedRangeNotSatisfiable)
		return
	}
	h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", off, end-1, len(b)))
	switch f.ContentRange {
	case "":
	case "-":
		h.Del("Content-Range")
	default:
		h.Set("Content-Range", f.ContentRange)
	}
	f.Status = http.StatusPartialContent
	r.body(w, req, b[off:end], f)
}

// parseRange reads the header of one range (RFC 9110 section 14.1.2). It is
// not ok if the range cannot be satisfied or there are several.
func parseRange(s string, size int64) (off, end int64, ok bool) {
	s, ok = strings.CutPrefix(s, "bytes=")
	first, last, found := strings.Cut(s, "-")
	if !ok || !found || strings.Contains(s, ",") {
		return 0, 0, false
	}
	if first == "" {
		n, err := strconv.ParseInt(last, 10, 64)
		return max(0, size-n), size, err == nil && n > 0 && size > 0
	}
	off, err := strconv.ParseInt(first, 10, 64)
	if err != nil || off >= size {
		return 0, 0, false
	}
	if last == "" {
		return off, size, true
	}
	end, err = strconv.ParseInt(last, 10, 64)
	return off, min(end+1, size), err == nil && end >= off
}

// body sends the header and b, with what goes wrong after the header.
func (r *Registry) body(w http.ResponseWriter, req *http.Request, b []byte, f Fault) {
	if f.Gzip {
		b = compress(b)
		w.Header().Set("Content-Encoding", "gzip")
	}
	f.setHeader(w)
	if f.Truncate != nil {
		b = b[:clamp(*f.Truncate, b)]
	}
	if !f.NoLength {
		w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	}
	if f.Status != 0 {
		w.WriteHeader(f.Status)
	}
	if f.NoLength {
		http.NewResponseController(w).Flush()
	}
	if req.Method == http.MethodHead {
		return
	}
	if f.Corrupt {
		wrong := make([]byte, len(b))
		for i, c := range b {
			wrong[i] = c ^ 1
		}
		b = wrong
	}
	switch {
	case f.Close != nil:
		r.send(w, b[:clamp(*f.Close, b)], f.Slow)
		panic(http.ErrAbortHandler)
	case f.Stall != nil:
		r.send(w, b[:clamp(*f.Stall, b)], f.Slow)
		r.hang(req)
	default:
		r.send(w, b, f.Slow)
	}
}

func compress(b []byte) []byte {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write(b) //nolint:errcheck // into memory
	w.Close()
	return z.Bytes()
}

// send writes b, at most rate bytes per second if rate is not zero.
func (r *Registry) send(w io.Writer, b []byte, rate int64) {
	step := len(b)
	if rate > 0 {
		step = int(max(1, rate/50))
	}
	for len(b) > 0 {
		n, err := w.Write(b[:min(step, len(b))])
		r.mu.Lock()
		r.mu.sent += int64(n)
		r.mu.Unlock()
		if err != nil {
			return
		}
		b = b[n:]
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
		if rate > 0 {
			time.Sleep(20 * time.Millisecond)
		}
	}
}

func clamp(n int64, b []byte) int64 { return max(0, min(n, int64(len(b)))) }
