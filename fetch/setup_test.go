package fetch

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/auth"
	"github.com/ladle-dev/ladle/internal/registrytest"
)

// quick are options under which retries come fast.
var quick = Options{
	Timeout:    20 * time.Second,
	MaxRetries: 2,
	MinWait:    time.Millisecond,
	MaxWait:    5 * time.Millisecond,
}

// under returns quick, with a timeout that a stall meets soon if f is one.
func under(f ...registrytest.Fault) Options {
	o := quick
	if len(f) > 0 && f[0].Stall != nil {
		o.Timeout = time.Second
	}
	return o
}

// within returns a context that ends long after every bound of quick: a test
// that meets its end hangs. It does not say when that is, as the contexts of
// what nobody waits for do not.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	timer := time.AfterFunc(2*time.Minute, cancel)
	t.Cleanup(func() { timer.Stop() })
	return ctx
}

// random returns n bytes that are the same at each call.
func random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)}).Read(b)
	return b
}

// credentials of registries that want User "u" and Password "p".
func credentials(context.Context, auth.Challenge) (auth.Login, error) {
	return auth.Login{User: "u", Secret: "p"}, nil
}

// client returns a client that asks each registry itself, for tests with the
// fault f if there is one.
func client(t *testing.T, f ...registrytest.Fault) *Client {
	return New(Hosts(t.Context(), HostsOptions{Credentials: credentials}), under(f...))
}

// mirrored returns a client that asks mirror before the registry, for tests
// with the fault f if there is one.
func mirrored(t *testing.T, registry, mirror *registrytest.Registry, f ...registrytest.Fault) *Client {
	opts := HostsOptions{Credentials: credentials, Mirrors: map[string][]Mirror{
		registry.Host(): {{Host: mirror.Host()}},
	}}
	return New(Hosts(t.Context(), opts), under(f...))
}

// blobOf adds data to r and returns a reader of it.
func blobOf(c *Client, r *registrytest.Registry, data []byte) *Blob {
	return c.Blob(Source{r.Ref("library/test:1"), r.AddBlob(data)})
}

// read reads all of a range.
func read(ctx context.Context, b *Blob, off, n int64) ([]byte, error) {
	r, err := b.Range(ctx, off, n)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// wantRange fails the test if the range is not that of data.
func wantRange(t *testing.T, b *Blob, data []byte, off, n int64) {
	t.Helper()
	got, err := read(within(t), b, off, n)
	if err != nil {
		t.Fatalf("range [%d,%d): %v", off, off+n, err)
	}
	if !bytes.Equal(got, data[off:off+n]) {
		t.Fatalf("range [%d,%d): %d wrong bytes", off, off+n, len(got))
	}
}

func wantTail(t *testing.T, b *Blob, data []byte, n int64) {
	t.Helper()
	tail, size, err := b.Tail(within(t), n)
	if err != nil {
		t.Fatalf("tail %d of %d: %v", n, len(data), err)
	}
	want := data[max(0, int64(len(data))-n):]
	if size != int64(len(data)) || !bytes.Equal(tail, want) {
		t.Fatalf("tail %d of %d: size %d, %d bytes", n, len(data), size, len(tail))
	}
}

func digestOf(b []byte) digest.Digest { return digest.FromBytes(b) }
