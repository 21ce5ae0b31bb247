package layer_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/internal/registrytest"
	"github.com/ladle-dev/ladle/internal/ztoctest"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/metrics"
	"github.com/ladle-dev/ladle/store"
)

// textFiles returns files whose bytes compress, so that what follows a point refers to what is
// before it.
func textFiles() []file {
	r := rand.New(rand.NewPCG(1, 9))
	text := func(n int) []byte {
		var b strings.Builder
		for b.Len() < n {
			fmt.Fprintf(&b, "%x %d words of %x\n", r.IntN(1<<10), r.Uint32(), r.Uint64())
		}
		return []byte(b.String())
	}
	files := []file{{name: "first", data: text(200 << 10)}, {name: "large", data: text(1 << 20)}, {name: "zeros", data: make([]byte, 200<<10)}}
	for i := range 20 {
		files = append(files, file{name: fmt.Sprintf("small/%d", i), data: text(r.IntN(9000))})
	}
	return files
}

// sociBench is a bench with a gzip layer, whose image has a ztoc of spans of 192 KiB that is made
// of the right one by change: named by the manifest of the image, or attached to it.
func sociBench(t *testing.T, files []file, bound bool, change func(*ztoctest.Ztoc)) *bench {
	t.Helper()
	b := &bench{Registry: registrytest.New(t, registrytest.Options{Referrers: true}), files: files, root: t.TempDir() + "/store"}
	tarball := tarOf(t, files)
	b.blob = packers["gzip"](t, tarball)
	b.req = layer.Request{
		Source: fetch.Source{Ref: b.Ref("app:1"), Digest: b.AddBlob(b.blob)},
		Proves: provedBy(digest.FromBytes(tarball)),
	}
	z, err := ztoctest.Of(b.blob, 192<<10)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(z)
	}
	b.req.Manifest = b.manifest(t, nil)
	ztoc := z.Encode()
	if bound {
		index := b.sociIndex(t, "v2", nil, ztoc)
		b.req.Manifest = b.manifest(t, map[string]string{"com.amazon.soci.index-digest": index.String()})
	} else {
		b.sociIndex(t, "v1", &ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: b.req.Manifest, Size: 7}, ztoc)
	}
	b.Reset()
	return b
}

// sociIndex adds a SOCI index with the ztoc of the bench's layer.
func (b *bench) sociIndex(t *testing.T, version string, subject *ocispec.Descriptor, ztoc []byte) digest.Digest {
	t.Helper()
	m, err := ztoctest.Index(version, subject, ocispec.Descriptor{Digest: b.AddBlob(ztoc), Size: int64(len(ztoc))}, b.req.Source.Digest)
	if err != nil {
		t.Fatal(err)
	}
	return b.AddManifest("app:soci", ocispec.MediaTypeImageManifest, m)
}

// boundOnly trusts what images name, and works in the background.
var boundOnly = layer.Options{
	NoPrefetch: true, ReadTimeout: time.Minute, OpenTimeout: time.Minute, FillDelay: time.Millisecond,
	Importing: layer.Importing{Enable: true}, Trust: layer.TrustBound,
}

// TestSOCIIndex: a layer with a ztoc is lazy, with one that the image names, and with one that is
// attached if that is trusted; also after a restart.
func TestSOCIIndex(t *testing.T) {
	for _, c := range []struct {
		bound bool
		trust layer.Trust
		lazy  bool
	}{{true, layer.TrustBound, true}, {true, layer.TrustAttached, true}, {false, layer.TrustAttached, true}, {false, layer.TrustBound, false}} {
		t.Run(fmt.Sprint(c.bound, c.trust), func(t *testing.T) {
			for _, files := range [][]file{textFiles(), someFiles(1, 30)} {
				b := sociBench(t, files, c.bound, nil)
				metric := prometheus.NewRegistry()
				opts := trusting
				opts.Trust, opts.Chunks = c.trust, metrics.New(metric).Chunks
				b.start(t, opts, store.Options{})
				l := b.open(t)
				if !c.lazy {
					if l.ID().Imported() == "" {
						t.Errorf("the layer is %s", l.ID().TOC)
					}
					return
				}
				if l.Full() || l.ID().Indexed() == "" || b.Sent() > int64(len(b.blob))*2/3 {
					t.Errorf("%s: full %v, %d bytes of %d were fetched", l.ID().TOC, l.Full(), b.Sent(), len(b.blob))
				}
				b.stop(t)
				b.start(t, opts, store.Options{})
				b.wantFiles(t, b.open(t))
				for name, n := range sums(t, metric) {
					if strings.HasSuffix(name, "mismatch") && n > 0 {
						t.Errorf("%s: %v, and nothing was wrong", name, n)
					}
				}
			}
		})
	}
}

// TestLyingZtoc: what a wrong ztoc says is found out, with spans that nobody has read. The layer is
// out of service then, and is imported.
func TestLyingZtoc(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	for name, lie := range map[string]func(z *ztoctest.Ztoc){
		"mode":   func(z *ztoctest.Ztoc) { z.Entries[1].Mode |= 0o4000 },
		"name":   func(z *ztoctest.Ztoc) { z.Entries[1].Name = "su" },
		"place":  func(z *ztoctest.Ztoc) { z.Entries[1].Offset++ },
		"size":   func(z *ztoctest.Ztoc) { z.Entries[1].Size-- },
		"window": func(z *ztoctest.Ztoc) { clear(z.Spans[3].Window) },
		"span":   func(z *ztoctest.Ztoc) { z.Spans[3].Digest = z.Spans[4].Digest },
		"output": func(z *ztoctest.Ztoc) { z.Spans[3].Out++ },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := sociBench(t, textFiles(), true, lie)
			b.start(t, boundOnly, store.Options{})
			l := b.open(t)
			id := l.ID()
			if id.Indexed() == "" {
				t.Fatalf("the layer is %s", id.TOC)
			}
			waitFor(t, func() bool { return b.store.Proof(id).Wrong != "" })
			if _, err := l.ReadAt(t.Context(), make([]byte, 10), 0); !errors.Is(err, layer.ErrWrong) {
				t.Errorf("a read ended with %v", err)
			}
			again := b.open(t)
			if again.ID().Imported() == "" {
				t.Errorf("it is opened again as %s", again.ID().TOC)
			}
			b.wantFiles(t, again)
		})
	}
}

// TestZtocIsConfirmed: a layer with the right ztoc is filled and confirmed by one pass, and needs no
// registry then; with NoFill when readers have filled it.
func TestZtocIsConfirmed(t *testing.T) {
	for _, noFill := range []bool{false, true} {
		b := sociBench(t, textFiles(), true, nil)
		opts := boundOnly
		opts.NoFill = noFill
		b.start(t, opts, store.Options{BootID: "a"})
		l := b.open(t)
		id := l.ID()
		if noFill {
			b.wantFiles(t, l)
		}
		waitFor(t, func() bool { return l.Full() && b.confirmed(id) })
		if diffID := b.store.Proof(id).DiffID; !b.req.Proves(diffID) {
			t.Errorf("it is said to be %s", diffID)
		}
		b.stop(t)
		b.start(t, opts, store.Options{BootID: "a"})
		b.Close() // the registry
		again, err := b.set.Layer(id)
		if err != nil {
			t.Fatal(err)
		}
		b.opened = append(b.opened, again)
		b.wantFiles(t, again)
	}
}

// TestZtocOfAnotherDiffID: a ztoc does not say the diffID. An image that claims another one is found
// out when the layer is confirmed.
func TestZtocOfAnotherDiffID(t *testing.T) {
	b := sociBench(t, textFiles(), true, nil)
	right := b.req.Proves
	b.req.Proves = provedBy(digest.FromString("another's tar"))
	b.start(t, boundOnly, store.Options{})
	id := b.open(t).ID()
	waitFor(t, func() bool { return b.store.Proof(id).DiffID != "" })
	if p := b.store.Proof(id); p.Wrong != "" || !right(p.DiffID) {
		t.Errorf("the proof is %+v", p)
	}
	if id, err := b.set.Open(t.Context(), b.req); err == nil {
		t.Errorf("it is opened again as %s", id.TOC)
	}
}

// TestZtocAfterReset: chunks that a ztoc has no digest of are fetched again after a reset of the
// machine.
func TestZtocAfterReset(t *testing.T) {
	b := sociBench(t, textFiles(), true, nil)
	opts := trusting
	opts.Trust = layer.TrustBound
	b.start(t, opts, store.Options{BootID: "a"})
	b.wantFiles(t, b.open(t))
	b.stop(t)
	b.start(t, opts, store.Options{BootID: "b"})
	b.Reset()
	b.wantFiles(t, b.open(t))
	if b.Sent() < int64(len(b.blob))/2 {
		t.Errorf("%d bytes of %d were fetched", b.Sent(), len(b.blob))
	}
}

// TestWrongBytesOfSpan: a registry that sends wrong bytes is asked again, and nothing wrong is read.
func TestWrongBytesOfSpan(t *testing.T) {
	b := sociBench(t, textFiles(), true, nil)
	n := 0
	b.SetFault(func(q registrytest.Request) registrytest.Fault {
		if q.Digest != b.req.Source.Digest || q.Kind != registrytest.Blob {
			return registrytest.Fault{}
		}
		n++
		return registrytest.Fault{Corrupt: n%3 == 2}
	})
	opts := trusting
	opts.Trust = layer.TrustBound
	b.start(t, opts, store.Options{})
	b.wantFiles(t, b.open(t))
	if n < 3 {
		t.Errorf("%d requests", n)
	}
}
