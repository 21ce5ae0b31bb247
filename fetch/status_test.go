package fetch

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ladle-dev/ladle/internal/memtest"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2025, 1, 1, 12, 0, 0, 0, time.UTC)
	for s, want := range map[string]time.Duration{
		"":                              0,
		"0":                             0,
		"7":                             7 * time.Second,
		" 7 ":                           7 * time.Second,
		"-7":                            0,
		"99999999999999999999":          0,
		"soon":                          0,
		"Wed, 01 Jan 2025 12:00:30 GMT": 30 * time.Second,
		"Wed, 01 Jan 2025 11:00:00 GMT": 0,
	} {
		if got := retryAfter(s, now); got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	}
}

func TestRegistryMessage(t *testing.T) {
	for body, want := range map[string]string{
		"":              "",
		"<html>":        "",
		`{"errors":[]}`: "",
		`{"errors":[{"code":"TOOMANYREQUESTS","message":"slow\u0007 down"}]}`:                  "TOOMANYREQUESTS slow down",
		`{"errors":[{"message":"` + strings.Repeat("x", 500) + `"}]}`:                          strings.Repeat("x", 200),
		`{"errors":[{"code":"A","message":"b","detail":{"token":"secret"}},{"code":"Other"}]}`: "A b",
	} {
		if got := registryMessage([]byte(body)); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

func TestContentRange(t *testing.T) {
	for s, want := range map[string]span{
		"bytes 0-99/1000":  {0, 100, 1000},
		"bytes 5-5/6":      {5, 6, 6},
		"bytes 0-99/*":     {0, 100, -1},
		"bytes  0-99/1000": {0, 100, 1000},
	} {
		if got, ok := parseContentRange(s); !ok || got != want {
			t.Errorf("%q: %v %v", s, got, ok)
		}
	}
	for _, s := range []string{
		"", "bytes", "bytes 0-99", "0-99/100", "bytes */100", "bytes 9-5/100", "bytes 0-100/100", "bytes -5/100",
		"bytes 5-/100", "bytes 0-9/-100", "bytes 0-9/1e3", "bytes 0-99999999999999999999/*", "items 0-9/100", "bytes 0-+9/100",
	} {
		if got, ok := parseContentRange(s); ok {
			t.Errorf("%q: %v", s, got)
		}
	}
	if size, ok := unsatisfied("bytes */47"); !ok || size != 47 {
		t.Errorf("size of unsatisfied range: %d %v", size, ok)
	}
	for _, s := range []string{"", "bytes */*", "bytes 0-1/47", "*/47"} {
		if _, ok := unsatisfied(s); ok {
			t.Errorf("%q tells a size", s)
		}
	}
}

func FuzzContentRange(f *testing.F) {
	f.Add("bytes 0-99/1000")
	f.Add("bytes 0-99/*")
	f.Add("bytes */1000")
	f.Fuzz(func(t *testing.T, s string) {
		if size, ok := unsatisfied(s); ok && size < 0 {
			t.Errorf("size %d", size)
		}
		var got span
		var ok bool
		memtest.BoundSmall(t, len(s), 16, func() { got, ok = parseContentRange(s) })
		if !ok {
			return
		}
		if got.off < 0 || got.end <= got.off || got.size >= 0 && got.end > got.size {
			t.Fatalf("%q: %+v", s, got)
		}
		size := "*"
		if got.size >= 0 {
			size = fmt.Sprint(got.size)
		}
		if again, ok := parseContentRange(fmt.Sprintf("bytes %d-%d/%s", got.off, got.end-1, size)); !ok || again != got {
			t.Fatalf("%q: %+v, again %+v", s, got, again)
		}
	})
}

func FuzzRegistryMessage(f *testing.F) {
	f.Add([]byte(`{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var s string
		memtest.BoundSmall(t, len(body), 64, func() { s = registryMessage(body) })
		if len(s) > 200 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("message %q", s)
		}
	})
}
