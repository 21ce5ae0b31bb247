package fetch

import (
	"net/http"
	"strconv"
	"strings"
)

// span is the range of an answer's body: the bytes [off, end) of size; size is negative
// if it is unknown.
type span struct{ off, end, size int64 }

// parseContentRange parses the header of a 206 (RFC 9110 section 14.4), such as "bytes
// 0-99/1000" or "bytes 0-99/*".
func parseContentRange(s string) (span, bool) {
	positions, size, ok := cutContentRange(s)
	if !ok {
		return span{}, false
	}
	first, last, ok := strings.Cut(positions, "-")
	off, ok1 := position(first)
	end, ok2 := position(last)
	if !ok || !ok1 || !ok2 || end < off || size >= 0 && end >= size {
		return span{}, false
	}
	return span{off, end + 1, size}, true
}

// unsatisfied parses the header of a 416, such as "bytes */1000", and returns the size.
func unsatisfied(s string) (size int64, ok bool) {
	positions, size, ok := cutContentRange(s)
	return size, ok && positions == "*" && size >= 0
}

func cutContentRange(s string) (positions string, size int64, ok bool) {
	s, ok = strings.CutPrefix(s, "bytes ")
	positions, total, found := strings.Cut(strings.TrimSpace(s), "/")
	if !ok || !found {
		return "", 0, false
	}
	if total == "*" {
		return positions, -1, true
	}
	size, ok = position(total)
	return positions, size, ok
}

// position parses a number of bytes, at most 2^62, so that sums cannot overflow.
func position(s string) (int64, bool) {
	n, err := strconv.ParseUint(s, 10, 62)
	return int64(n), err == nil
}

// bodySpan returns the range of the body of resp, a 200 or 206.
func bodySpan(resp *http.Response) (span, bool) {
	if resp.StatusCode == http.StatusOK {
		return span{0, resp.ContentLength, resp.ContentLength}, true
	}
	return parseContentRange(resp.Header.Get("Content-Range"))
}
