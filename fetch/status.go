package fetch

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxErrorBody bounds the bytes that are read of the body of an unused answer.
const maxErrorBody = 8 << 10

// refusal closes resp, an answer with another status than the requested one, and returns
// it as an error. ranged says that a range was requested. The error includes the text of
// the answer only if it came from the registry itself.
func refusal(resp *http.Response, ranged, registry bool) *Error {
	e := &Error{
		Op:     resp.Request.Method,
		Host:   resp.Request.URL.Host,
		Status: resp.StatusCode,
		Kind:   ErrUnavailable,
		final:  true,
	}
	switch resp.StatusCode {
	case http.StatusNotFound, http.StatusGone:
		e.Kind = ErrNotFound
	case http.StatusUnauthorized, http.StatusForbidden:
		e.Kind = ErrUnauthorized
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		e.final = false
		e.retryAfter = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	}
	if ranged && refusesRange(resp.StatusCode) {
		e.Kind = ErrNoRanges
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	resp.Body.Close()
	if registry {
		e.Message = registryMessage(body)
	}
	return e
}

// refusesRange reports whether the status may be that of a server that serves no ranges.
func refusesRange(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusRequestedRangeNotSatisfiable, http.StatusNotImplemented:
		return true
	}
	return false
}

// retryAfter parses the header of that name (RFC 9110 section 10.2.3): seconds or a date.
// It returns 0 for other values.
func retryAfter(s string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(s); err == nil {
		return max(0, t.Sub(now))
	}
	return 0
}

// registryMessage returns the first error of a registry's JSON (OCI
// distribution specification, "Error Codes"), at most 200 printable bytes.
func registryMessage(body []byte) string {
	var answer struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(body, &answer) != nil || len(answer.Errors) == 0 {
		return ""
	}
	text := strings.TrimSpace(answer.Errors[0].Code + " " + answer.Errors[0].Message)
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, text)
	return text[:min(len(text), 200)]
}
