package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ladle-dev/ladle/internal/registrytest"
)

// kinds are all kinds of registries that a client must cope with.
var kinds = map[string]registrytest.Options{
	"plain":               {},
	"redirecting":         {Redirect: true},
	"token":               {Token: true},
	"token for a user":    {Token: true, User: "u", Password: "p"},
	"token, redirecting":  {Token: true, Redirect: true},
	"short-lived token":   {Token: true, TokenTTL: 1},
	"basic":               {Basic: true, User: "u", Password: "p"},
	"basic, redirecting":  {Basic: true, User: "u", Password: "p", Redirect: true},
	"token and long life": {Token: true, TokenTTL: 3600, Redirect: true},
}

func TestEveryKindOfRegistryGivesTheSameBytes(t *testing.T) {
	data := random(3 << 20)
	for name, opts := range kinds {
		t.Run(name, func(t *testing.T) {
			r := registrytest.New(t, opts)
			b := blobOf(client(t), r, data)
			size := int64(len(data))
			for _, c := range [][2]int64{{0, size}, {0, 1}, {size - 1, 1}, {size, 0}, {100, 4096}, {2 << 20, 1 << 19}} {
				wantRange(t, b, data, c[0], c[1])
			}
			var all sync.WaitGroup
			for i := range 20 {
				all.Go(func() {
					off := rand.Int64N(size)
					n := rand.Int64N(min(1<<18, size-off) + 1)
					if got, err := read(within(t), b, off, n); err != nil || !bytes.Equal(got, data[off:off+n]) {
						t.Errorf("reader %d: range [%d,%d): %v", i, off, off+n, err)
					}
				})
			}
			all.Wait()
			wantTail(t, b, data, 5000)
		})
	}
}

// far is an offset that is too far to be skipped to.
const far = skipLimit + 1000

// faults is what goes wrong and what an answer to it is. kind is nil if the
// right bytes come in spite of it.
var faults = []struct {
	name string
	f    registrytest.Fault
	kind error
}{
	{"400", registrytest.Fault{Status: 400}, ErrNoRanges},
	{"401", registrytest.Fault{Status: 401}, ErrUnauthorized},
	{"403", registrytest.Fault{Status: 403}, ErrUnauthorized},
	{"404", registrytest.Fault{Status: 404}, ErrNotFound},
	{"410", registrytest.Fault{Status: 410}, ErrNotFound},
	{"416", registrytest.Fault{Status: 416}, ErrNoRanges},
	{"418", registrytest.Fault{Status: 418}, ErrUnavailable},
	{"429", registrytest.Fault{Status: 429}, ErrUnavailable},
	{"429 with date", registrytest.Fault{Status: 429, RetryAfter: "Fri, 31 Dec 9999 23:59:59 GMT"}, ErrUnavailable},
	{"500", registrytest.Fault{Status: 500}, ErrUnavailable},
	{"501", registrytest.Fault{Status: 501}, ErrNoRanges},
	{"503 with seconds", registrytest.Fault{Status: 503, RetryAfter: "3600"}, ErrUnavailable},
	{"304", registrytest.Fault{Status: 304}, ErrUnavailable},
	{"redirection to nowhere", registrytest.Fault{Status: 307}, ErrUnavailable},
	{"ranges ignored", registrytest.Fault{Status: 200}, ErrNoRanges},
	{"ranges ignored, no length", registrytest.Fault{Status: 200, NoLength: true}, ErrNoRanges},
	{"another range", registrytest.Fault{ContentRange: "bytes 0-99/5000000"}, ErrNoRanges},
	{"no Content-Range", registrytest.Fault{ContentRange: "-"}, ErrNoRanges},
	{"bad Content-Range", registrytest.Fault{ContentRange: "bytes 1-0/x"}, ErrNoRanges},
	{"unknown size", registrytest.Fault{ContentRange: fmt.Sprintf("bytes %d-%d/*", far, far+faultLength-1)}, nil},
	{"no length", registrytest.Fault{NoLength: true}, nil},
	{"closed at once", registrytest.Fault{Close: registrytest.After(-1)}, ErrUnavailable},
	{"closed before the body", registrytest.Fault{Close: registrytest.After(0)}, ErrUnavailable},
	{"closed in the body", registrytest.Fault{Close: registrytest.After(100)}, ErrUnavailable},
	{"closed in the body again and again", registrytest.Fault{Close: registrytest.After(refund + 1)}, nil},
	{"stalls at once", registrytest.Fault{Stall: registrytest.After(-1)}, ErrUnavailable},
	{"stalls in the body", registrytest.Fault{Stall: registrytest.After(100)}, ErrUnavailable},
	{"short body", registrytest.Fault{Truncate: registrytest.After(100)}, ErrUnavailable},
	{"empty body", registrytest.Fault{Truncate: registrytest.After(0)}, ErrUnavailable},
	{"slow", registrytest.Fault{Slow: 10 << 20}, nil},
}

const faultLength = 600 << 10

func faultData() []byte { return random(far + faultLength + 1000) }

// TestFaults: with a fault that stays, a read ends in the right error, or in
// the right bytes if it can.
func TestFaults(t *testing.T) {
	t.Parallel()
	data := faultData()
	for _, c := range faults {
		for kind, opts := range map[registrytest.Kind]registrytest.Options{
			registrytest.Blob: {}, registrytest.Storage: {Redirect: true},
		} {
			t.Run(c.name+" from "+string(kind), func(t *testing.T) {
				t.Parallel()
				r := registrytest.New(t, opts)
				r.SetFault(registrytest.Always(kind, c.f))
				b := blobOf(client(t, c.f), r, data)
				got, err := read(within(t), b, far, faultLength)
				if !errors.Is(err, c.kind) {
					t.Fatalf("error %v, want %v", err, c.kind)
				}
				if err == nil && !bytes.Equal(got, data[far:far+faultLength]) {
					t.Fatal("wrong bytes")
				}
				if n, most := r.Count(kind), 1+quick.MaxRetries; c.kind != nil && n > most {
					t.Errorf("%d requests, want at most %d", n, most)
				}
			})
		}
	}
}

// TestFaultOnce: with a fault that may pass, a read gets the right bytes from
// the same host. What is definite is for the caller to read again.
func TestFaultOnce(t *testing.T) {
	t.Parallel()
	data := faultData()
	for _, c := range faults {
		if c.kind == ErrNotFound || c.kind == ErrUnauthorized {
			continue
		}
		n := quick.MaxRetries
		if s := c.f.Status; c.kind == ErrNoRanges || s == 418 || s == 304 || s == 307 || c.f.RetryAfter != "" {
			n = 1
		}
		if c.f.RetryAfter != "" {
			c.f.RetryAfter = "1"
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := registrytest.New(t, registrytest.Options{})
			r.SetFault(registrytest.First(n, registrytest.Blob, c.f))
			ctx, cancel := context.WithTimeout(within(t), time.Minute) // time enough for Retry-After
			defer cancel()
			got, err := read(ctx, blobOf(client(t, c.f), r, data), far, faultLength)
			if err != nil || !bytes.Equal(got, data[far:far+faultLength]) {
				t.Error(len(got), err)
			}
		})
	}
}

// TestFaultAtMirror: whatever a mirror does wrong, the registry makes good for
// it, also in the middle of a read; a second read asks the registry first.
func TestFaultAtMirror(t *testing.T) {
	t.Parallel()
	data := faultData()
	for _, c := range faults {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, m := registrytest.New(t, registrytest.Options{}), registrytest.New(t, registrytest.Options{})
			m.AddBlob(data)
			m.SetFault(registrytest.Always(registrytest.Blob, c.f))
			b := blobOf(mirrored(t, r, m, c.f), r, data)
			wantRange(t, b, data, far, faultLength)
			if c.kind == nil {
				return
			}
			before := m.Count()
			if before == 0 {
				t.Fatal("the mirror was not asked")
			}
			wantRange(t, b, data, far, faultLength)
			if n := m.Count() - before; n > 0 {
				t.Errorf("the mirror was asked %d times more", n)
			}
		})
	}
}

func TestMirrorThatIsGone(t *testing.T) {
	data := faultData()
	r, m := registrytest.New(t, registrytest.Options{}), registrytest.New(t, registrytest.Options{})
	m.Close()
	b := blobOf(mirrored(t, r, m), r, data)
	wantRange(t, b, data, far, faultLength)
	wantTail(t, b, data, 100)
}

// TestOnlyTheMirrorIsThere: a mirror that fails once is asked again when the
// registry does not answer at all.
func TestOnlyTheMirrorIsThere(t *testing.T) {
	data := faultData()
	r, m := registrytest.New(t, registrytest.Options{}), registrytest.New(t, registrytest.Options{})
	m.AddBlob(data)
	b := blobOf(mirrored(t, r, m), r, data)
	r.Close()
	m.SetFault(registrytest.First(2, registrytest.Blob, registrytest.Fault{Close: registrytest.After(-1)}))
	wantRange(t, b, data, far, faultLength)
}

func TestErrorOfSeveralHosts(t *testing.T) {
	r, m := registrytest.New(t, registrytest.Options{}), registrytest.New(t, registrytest.Options{})
	m.SetFault(registrytest.Always(registrytest.Blob, registrytest.Fault{Status: 403}))
	b := mirrored(t, r, m).Blob(Source{r.Ref("library/test:1"), digestOf([]byte("absent"))})
	_, err := b.Range(within(t), 0, 10)
	if !errors.Is(err, ErrUnauthorized) || !errors.Is(err, ErrNotFound) || errors.Is(err, ErrUnavailable) {
		t.Fatalf("error: %v", err)
	}
	for _, want := range []string{r.Host(), m.Host(), "[0,10)", "blob unknown", string(b.src.Digest[:19])} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not mention %q", err, want)
		}
	}
	var e *Error
	if !errors.As(err, &e) || e.Status != http.StatusForbidden || e.Host != m.Host() {
		t.Errorf("first error is %+v", e)
	}
}

func TestSmallBlobWithoutRanges(t *testing.T) {
	data := random(skipLimit)
	r := registrytest.New(t, registrytest.Options{})
	r.SetFault(registrytest.Always(registrytest.Blob, registrytest.Fault{Status: 200}))
	b := blobOf(client(t), r, data)
	wantRange(t, b, data, 0, 10)
	wantRange(t, b, data, skipLimit-10, 10)
	wantTail(t, b, data, 1000)
}

// TestRangelessHostOnce: one answer with the whole blob says nothing of the next.
func TestRangelessHostOnce(t *testing.T) {
	data := faultData()
	r := registrytest.New(t, registrytest.Options{})
	b := blobOf(client(t), r, data)
	r.SetFault(registrytest.First(rangelessAfter-1, registrytest.Blob, registrytest.Fault{Status: 200}))
	for range rangelessAfter {
		read(within(t), b, far, 10) //nolint:errcheck // the last one succeeds
	}
	wantRange(t, b, data, far, 10)
	if h := b.client.known.get(b.img.Locator).hosts[0]; !h.rangeless(time.Now()).IsZero() {
		t.Error("the host counts as one without ranges")
	}
}

// TestRangelessHost: a host that ignores ranges again and again is asked after
// all others, for any blob, and for a while; what only it has is read from the
// start of the blob if that is not too far, and else not at all.
func TestRangelessHost(t *testing.T) {
	data := random(rangelessSkip + 2000)
	r, m := registrytest.New(t, registrytest.Options{}), registrytest.New(t, registrytest.Options{})
	m.SetFault(registrytest.Always(registrytest.Blob, registrytest.Fault{Status: 200}))
	c := mirrored(t, r, m)
	later := time.Duration(0)
	c.now = func() time.Time { return time.Now().Add(later) }
	for i := range rangelessAfter {
		d := random(far + i + 1)
		m.AddBlob(d)
		wantRange(t, blobOf(c, r, d), d, far, 1)
	}
	m.Reset()
	m.AddBlob(data)
	b := blobOf(c, r, data)
	wantRange(t, b, data, far, 10)
	if n := m.Count(); n != 0 {
		t.Errorf("the mirror was asked %d times", n)
	}
	r.SetFault(registrytest.Always(registrytest.Blob, registrytest.Fault{Status: 404}))
	wantRange(t, b, data, rangelessSkip, 10)
	if _, err := read(within(t), b, rangelessSkip+1, 10); !errors.Is(err, ErrNoRanges) {
		t.Errorf("too far: %v", err)
	}
	later = max(rangelessFor, refusedFor)
	r.SetFault(nil)
	m.SetFault(nil)
	m.Reset()
	wantRange(t, b, data, far, 10)
	if n := m.Count(); n != 1 {
		t.Errorf("the mirror was asked %d times, want 1", n)
	}
}

func TestEndOfContext(t *testing.T) {
	data := faultData()
	for name, f := range map[string]registrytest.Fault{
		"in the header":  {Stall: registrytest.After(-1)},
		"in the body":    {Stall: registrytest.After(10)},
		"between trials": {Status: 503, RetryAfter: "3600"},
	} {
		t.Run(name, func(t *testing.T) {
			r := registrytest.New(t, registrytest.Options{})
			ctx, cancel := context.WithCancel(within(t))
			r.SetFault(func(registrytest.Request) registrytest.Fault {
				go cancel()
				return f
			})
			slow := quick
			slow.Timeout, slow.MinWait = 1<<40, 1<<40
			b := blobOf(New(Hosts(ctx, HostsOptions{}), slow), r, data)
			_, err := read(ctx, b, far, faultLength)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error: %v", err)
			}
		})
	}
}

func TestImpossibleRanges(t *testing.T) {
	data := random(1000)
	r := registrytest.New(t, registrytest.Options{})
	c := client(t)
	b := blobOf(c, r, data)
	for _, o := range [][2]int64{{-1, 10}, {0, -1}, {1, 1<<63 - 1}} {
		if _, err := b.Range(within(t), o[0], o[1]); err == nil {
			t.Errorf("range %v: no error", o)
		}
	}
	if _, _, err := b.Tail(within(t), 0); err == nil {
		t.Error("tail of 0: no error")
	}
	if r.Count() != 0 {
		t.Errorf("%d requests for what cannot be", r.Count())
	}
	for name, src := range map[string]Source{
		"reference": {"://", b.src.Digest}, "digest": {b.src.Ref, "sha256:short"}, "no host": {"", b.src.Digest},
	} {
		if _, err := c.Blob(src).Range(within(t), 0, 1); err == nil {
			t.Errorf("bad %s: no error", name)
		}
		c.Blob(src).Link()
	}
	for _, o := range [][2]int64{{990, 20}, {1000, 1}, {5000, 1}} { // beyond the end
		if _, err := read(within(t), b, o[0], o[1]); err == nil {
			t.Errorf("range %v of 1000 bytes: no error", o)
		}
	}
}

func TestReaderAfterItsEnd(t *testing.T) {
	data := random(1000)
	r := registrytest.New(t, registrytest.Options{})
	s, err := blobOf(client(t), r, data).Range(within(t), 0, 500)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(s); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("read after the end: %d %v", n, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if n, err := s.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("read after close: %d %v", n, err)
	}
}

func TestConnectionsAreKept(t *testing.T) {
	data := random(1 << 20)
	for name, f := range map[string]registrytest.Fault{"length": {}, "no length": {NoLength: true}} {
		t.Run(name, func(t *testing.T) {
			r := registrytest.New(t, registrytest.Options{Redirect: true})
			r.SetFault(registrytest.Always(registrytest.Storage, f))
			b := blobOf(client(t), r, data)
			for i := range int64(30) {
				wantRange(t, b, data, i*1000, 5000)
			}
			seen := map[string]bool{}
			for _, q := range r.Log() {
				seen[string(q.Kind)+q.Remote] = true
			}
			if len(seen) > 8 { // 2 in theory; the end of a chunked body is read in the background
				t.Errorf("%d connections for 30 reads one after the other", len(seen))
			}
		})
	}
}
