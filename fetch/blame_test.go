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
	body.Blame()
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
