package fetch

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ladle-dev/ladle/internal/registrytest"
)

// onSuffix is a fault of requests for suffix ranges only.
func onSuffix(f registrytest.Fault) func(registrytest.Request) registrytest.Fault {
	return func(q registrytest.Request) registrytest.Fault {
		if strings.HasPrefix(q.Range, "bytes=-") {
			return f
		}
		return registrytest.Fault{}
	}
}

func TestTail(t *testing.T) {
	const n = 5000
	for name, f := range map[string]registrytest.Fault{
		"served":              {},
		"no length":           {NoLength: true},
		"ignored":             {Status: 200},
		"ignored, no length":  {Status: 200, NoLength: true},
		"400":                 {Status: 400},
		"405":                 {Status: 405},
		"416 without size":    {Status: 416},
		"501":                 {Status: 501},
		"no Content-Range":    {ContentRange: "-"},
		"bad Content-Range":   {ContentRange: "bytes 5-1/9"},
		"size not told":       {ContentRange: "bytes 0-1/*"},
		"closed in the body":  {Close: registrytest.After(1000)},
		"stalls in the body":  {Stall: registrytest.After(1000)},
		"body ends too early": {Truncate: registrytest.After(1000)},
	} {
		for _, size := range []int{0, 1, n - 1, n, n + 1, skipLimit + n, skipLimit + n + 1} {
			t.Run(fmt.Sprint(name, " of ", size), func(t *testing.T) {
				t.Parallel()
				data := random(size)
				r := registrytest.New(t, registrytest.Options{})
				r.SetFault(onSuffix(f))
				b := blobOf(client(t, f), r, data)
				wantTail(t, b, data, n)
				if f == (registrytest.Fault{}) && size > 0 && r.Count() != 1 {
					t.Errorf("%d requests, want 1", r.Count())
				}
			})
		}
	}
}

// TestTailMistakenForPrefix: there are servers that take "-n" for "0-n".
func TestTailMistakenForPrefix(t *testing.T) {
	data := random(2 << 20)
	r := registrytest.New(t, registrytest.Options{})
	r.SetFault(onSuffix(registrytest.Fault{ContentRange: fmt.Sprintf("bytes 0-99/%d", len(data)), Truncate: registrytest.After(100)}))
	wantTail(t, blobOf(client(t), r, data), data, 99)
}

// TestTailOfSmallBlobIn416: some servers find a suffix that is longer than the
// blob not satisfiable, against RFC 9110 section 14.1.2.
func TestTailOfSmallBlobIn416(t *testing.T) {
	data := random(100)
	r := registrytest.New(t, registrytest.Options{})
	r.SetFault(onSuffix(registrytest.Fault{Status: 416, ContentRange: "bytes */100"}))
	wantTail(t, blobOf(client(t), r, data), data, 5000)
}

func TestTailFaults(t *testing.T) {
	t.Parallel()
	data := faultData()
	for _, c := range faults {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := registrytest.New(t, registrytest.Options{})
			r.SetFault(registrytest.Always(registrytest.Blob, c.f))
			_, _, err := blobOf(client(t, c.f), r, data).Tail(within(t), 5000)
			switch {
			case err == nil && c.kind == nil:
			case c.f.Close != nil || c.f.Truncate != nil || c.f.ContentRange != "":
				if err == nil { // 5000 bytes come through, or the size is known
					return
				}
				fallthrough
			default:
				if !errors.Is(err, ErrNoRanges) && !errors.Is(err, c.kind) {
					t.Errorf("error %v, want %v", err, c.kind)
				}
			}
			if n := r.Count(); n > 3*(1+quick.MaxRetries) {
				t.Errorf("%d requests", n)
			}
		})
	}
}

func TestTailAtSecondHost(t *testing.T) {
	t.Parallel()
	data := faultData()
	for _, c := range faults {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, m := registrytest.New(t, registrytest.Options{}), registrytest.New(t, registrytest.Options{})
			m.AddBlob(data)
			m.SetFault(registrytest.Always(registrytest.Blob, c.f))
			wantTail(t, blobOf(mirrored(t, r, m, c.f), r, data), data, 300<<10)
		})
	}
}

// TestNoSuffixIsRemembered: after some blobs of which a host did not serve the
// end by its length, the next one is asked for in the way that worked. A host that
// serves others is not taken for such a one.
func TestNoSuffixIsRemembered(t *testing.T) {
	r := registrytest.New(t, registrytest.Options{})
	refuse := onSuffix(registrytest.Fault{Status: 501})
	c := client(t)
	tail := func(size int) {
		data := random(size)
		wantTail(t, blobOf(c, r, data), data, 1000)
	}
	for i := range rangelessAfter {
		r.SetFault(refuse)
		tail(2<<20 + i)
		if i < rangelessAfter-1 {
			r.SetFault(nil)
			tail(3<<20 + i)
		}
	}
	r.SetFault(refuse)
	for i := range rangelessAfter - 1 {
		r.Reset()
		tail(4<<20 + i)
		if n := r.Count(); n != 3 {
			t.Errorf("%d requests, want 3", n)
		}
	}
	r.Reset()
	tail(5 << 20)
	for _, q := range r.Log() {
		if strings.HasPrefix(q.Range, "bytes=-") {
			t.Errorf("asked for %q again", q.Range)
		}
	}
	if n := r.Count(); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
}
