package fetch

import (
	"bytes"
	"io"
	"testing"

	"github.com/ladle-dev/ladle/internal/registrytest"
)

// TestBlame: the host that sent wrong bytes is asked after all others, also
// for readers that are opened later, and again if it is the only one.
func TestBlame(t *testing.T) {
	data := random(1 << 20)
	r, m := registrytest.New(t, registrytest.Options{}), registrytest.New(t, registrytest.Options{Redirect: true})
	m.AddBlob(data)
	m.SetFault(registrytest.Always(registrytest.Storage, registrytest.Fault{Corrupt: true}))
	c := mirrored(t, r, m)
	b := blobOf(c, r, data)
	body, err := b.Range(within(t), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(body)
	if err != nil || bytes.Equal(got, data[:1000]) {
		t.Fatalf("the mirror does not lie: %v", err)
	}
	body.Blame(0, 1000)
	body.Close()
	m.Reset()
	wantRange(t, b, data, 0, 1000)
	wantTail(t, blobOf(c, r, data), data, 1000)
	if n := m.Count(); n != 0 {
		t.Errorf("the mirror was asked %d times more", n)
	}
	r.Close()
	m.SetFault(nil)
	wantRange(t, b, data, 0, 1000)
}

// TestBlameOfOneOfTwo: when one host's answer broke off and another's went on,
// the host is blamed that sent the bytes, also if the other one has ended the
// read.
func TestBlameOfOneOfTwo(t *testing.T) {
	const half, size = 300 << 10, 600 << 10
	data := random(size)
	for name, c := range map[string]struct {
		from, to         int64
		mirror, registry bool // are blamed
	}{
		"first part":  {1000, 2000, true, false},
		"last byte":   {half - 1, half, true, false},
		"second part": {half, half + 1, false, true},
		"both":        {half - 1, half + 1, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			r, m := registrytest.New(t, registrytest.Options{}), registrytest.New(t, registrytest.Options{})
			m.AddBlob(data)
			m.SetFault(registrytest.Always(registrytest.Blob, registrytest.Fault{Close: registrytest.After(half)}))
			b := blobOf(mirrored(t, r, m), r, data)
			body, err := b.Range(within(t), 0, size)
			if err != nil {
				t.Fatal(err)
			}
			defer body.Close()
			if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, data) {
				t.Fatal(len(got), err)
			}
			body.Blame(c.from, c.to)
			for _, h := range b.client.known.get(b.img.Locator).hosts {
				want := h.Host == m.Host() && c.mirror || h.Host == r.Host() && c.registry
				if got := !b.refused(h).IsZero(); got != want {
					t.Errorf("%s is blamed: %v, want %v", h.Host, got, want)
				}
			}
		})
	}
}
