package fetch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/ladle-dev/ladle/internal/registrytest"
)

// withRange is a fault of requests with a range only.
func withRange(f registrytest.Fault) func(registrytest.Request) registrytest.Fault {
	return func(q registrytest.Request) registrytest.Fault {
		if q.Kind == registrytest.Blob && q.Range != "" {
			return f
		}
		return registrytest.Fault{}
	}
}

func readWhole(t *testing.T, b *Blob, size int) ([]byte, error) {
	w := b.Whole(within(t), int64(size))
	defer w.Close()
	return io.ReadAll(w)
}

// TestWholeWithoutRanges has a host that serves no ranges, in each way: the blob comes with
// few requests. If the host ignores them, the next blob comes with one.
func TestWholeWithoutRanges(t *testing.T) {
	for name, f := range map[string]registrytest.Fault{
		"ignored":            {Status: 200},
		"ignored, no length": {Status: 200, NoLength: true},
		"400":                {Status: 400},
		"416":                {Status: 416},
		"501":                {Status: 501},
	} {
		for _, size := range []int{1, minWhole, 3*minWhole + 1, 5*maxWhole + 12345} {
			t.Run(fmt.Sprint(name, " ", size), func(t *testing.T) {
				t.Parallel()
				r := registrytest.New(t, registrytest.Options{})
				r.SetFault(withRange(f))
				c := client(t)
				data := random(size)
				got, err := readWhole(t, blobOf(c, r, data), size)
				if err != nil || !bytes.Equal(got, data) {
					t.Fatalf("%d bytes: %v", len(got), err)
				}
				if n, most := r.Count(registrytest.Blob), wholeRanges*2+2; n > most {
					t.Errorf("%d requests, want at most %d", n, most)
				}
				if f.Status != 200 || size < 3*minWhole {
					return
				}
				r.Reset()
				data = random(size + 1)
				got, err = readWhole(t, blobOf(c, r, data), size+1)
				if err != nil || !bytes.Equal(got, data) {
					t.Errorf("the next blob: %d bytes, %v", len(got), err)
				}
				if log := r.Log(); len(log) != 1 || log[0].Range != "" {
					t.Errorf("the next blob: %d requests, %+v", len(log), log)
				}
			})
		}
	}
}

// TestWholeWithoutRangesFails has a host that serves no ranges, and fails in the middle of the
// blob: with a fault that passes, the bytes are right.
func TestWholeWithoutRangesFails(t *testing.T) {
	data := random(8*minWhole + 7)
	for _, c := range faults {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := registrytest.New(t, registrytest.Options{})
			failing := func(times int) func(registrytest.Request) registrytest.Fault {
				return func(q registrytest.Request) registrytest.Fault {
					if q.Nth < wholeRanges || q.Nth >= wholeRanges+times {
						return registrytest.Fault{Status: 200}
					}
					f := c.f
					for _, at := range []**int64{&f.Close, &f.Truncate, &f.Stall} {
						if *at != nil && **at >= 0 { // with bytes behind those that are there
							*at = registrytest.After(**at + 6*minWhole)
						}
					}
					return f
				}
			}
			for times, always := range map[int]bool{1: false, 1 << 20: true} {
				r.Reset()
				r.SetFault(failing(times))
				b := blobOf(client(t, c.f), r, data)
				got, err := readWhole(t, b, len(data))
				if err == nil && !bytes.Equal(got, data) {
					t.Error("wrong bytes")
				}
				passes := c.kind == nil || errors.Is(c.kind, ErrUnavailable) && c.f.Status == 0
				if err != nil && passes && !always {
					t.Errorf("once: %v", err)
				}
				if err != nil && c.f.ContentRange == "" && !errors.Is(err, ErrUnavailable) && !errors.Is(err, c.kind) {
					t.Errorf("error %v, want %v", err, c.kind)
				}
			}
		})
	}
}

// TestWholeOfSeveralHosts has a mirror without ranges before a registry with them: the
// registry is asked for them.
func TestWholeOfSeveralHosts(t *testing.T) {
	data := random(8 * minWhole)
	r, m := registrytest.New(t, registrytest.Options{}), registrytest.New(t, registrytest.Options{})
	m.AddBlob(data)
	m.SetFault(withRange(registrytest.Fault{Status: 200}))
	got, err := readWhole(t, blobOf(mirrored(t, r, m), r, data), len(data))
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("%d bytes: %v", len(got), err)
	}
	for _, q := range append(r.Log(), m.Log()...) {
		if q.Range == "" {
			t.Errorf("the whole blob was requested: %+v", q)
		}
	}
	if n := m.Count(registrytest.Blob); n > wholeRanges+1 {
		t.Errorf("the mirror was asked %d times", n)
	}
}

// TestRestWithoutRanges has a host that serves no ranges, and a reader that has the beginning of
// the blob: the rest comes, of a host that is known to be one without ranges by one request.
func TestRestWithoutRanges(t *testing.T) {
	data := random(8 * minWhole)
	for _, f := range []registrytest.Fault{{Status: 200}, {Status: 501}} {
		r := registrytest.New(t, registrytest.Options{})
		r.SetFault(withRange(f))
		c := client(t)
		for n, off := range []int{5 * minWhole, 1, len(data) - 1, len(data)} {
			r.Reset()
			w := blobOf(c, r, data).WholeFrom(within(t), int64(off), int64(len(data)))
			got, err := io.ReadAll(w)
			w.Close()
			if err != nil || !bytes.Equal(got, data[off:]) {
				t.Errorf("%d: from %d: %d bytes, %v", f.Status, off, len(got), err)
			}
			if requests := r.Count(registrytest.Blob); n > 1 && f.Status == 200 && requests > 1 {
				t.Errorf("from %d: %d requests", off, requests)
			}
		}
	}
}

// TestSizeWithoutRanges: the last bytes of a blob cannot be had, but its size is known.
func TestSizeWithoutRanges(t *testing.T) {
	data := random(2 * skipLimit)
	r := registrytest.New(t, registrytest.Options{})
	for f, want := range map[registrytest.Fault]int64{{Status: 200}: int64(len(data)), {Status: 200, NoLength: true}: 0, {Status: 501}: 0} {
		r.SetFault(registrytest.Always(registrytest.Blob, f))
		_, size, err := blobOf(client(t), r, data).Tail(within(t), 1000)
		if !errors.Is(err, ErrNoRanges) || size != want {
			t.Errorf("%+v: size %d, %v", f, size, err)
		}
	}
}
