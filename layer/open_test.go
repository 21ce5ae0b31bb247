package layer_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/containerd/stargz-snapshotter/estargz/externaltoc"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/internal/registrytest"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/store"
)

// convertExternal makes a layer of files with its TOC in a blob of its own.
func convertExternal(t testing.TB, files []file) (blob, toc []byte, dgst digest.Digest) {
	t.Helper()
	c := externaltoc.NewGzipCompressor()
	var b, tocBlob bytes.Buffer
	w := estargz.NewWriterWithCompressor(&b, c)
	w.ChunkSize = 128 << 10
	if err := w.AppendTar(bytes.NewReader(tarOf(t, files))); err != nil {
		t.Fatal(err)
	}
	dgst, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.WriteTOCTo(&tocBlob); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), tocBlob.Bytes(), dgst
}

// newExternal returns a bench of a layer with an external TOC; its TOC image says that
// toc is the TOC of layer.
func newExternal(t testing.TB, toc func(real []byte) []byte, layer func(real digest.Digest) digest.Digest) *bench {
	t.Helper()
	b := newBench(t, registrytest.Options{Token: true}, someFiles(50, 30)[:30])
	blob, real, dgst := convertExternal(t, b.files)
	b.blob, b.req.TOC, b.req.Source.Digest = blob, dgst, b.AddBlob(blob)
	tocBlob := toc(real)
	m, err := json.Marshal(ocispec.Manifest{Layers: []ocispec.Descriptor{{
		Digest: b.AddBlob(tocBlob), Size: int64(len(tocBlob)),
		Annotations: map[string]string{"containerd.io/snapshot/stargz/layer.digest": layer(b.req.Source.Digest).String()},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	b.AddManifest("app:1-esgztoc", ocispec.MediaTypeImageManifest, m)
	return b
}

func same[T any](v T) T { return v }

func TestExternalTOC(t *testing.T) {
	b := newExternal(t, same, same)
	b.checkAll(t, b.open(t))
	b.restart(t, layer.Options{NoFill: true})
	b.SetFault(registrytest.Always(registrytest.Manifest, registrytest.Fault{Status: http.StatusInternalServerError}))
	b.checkAll(t, b.open(t))
}

func TestExternalTOCErrors(t *testing.T) {
	other := func(digest.Digest) digest.Digest { return digest.FromString("other") }
	damaged := func(b []byte) []byte { return append(slices.Clone(b[:len(b)/2]), 'x') }
	for name, test := range map[string]struct {
		b    *bench
		ref  string
		want error
	}{
		"none":        {newExternal(t, same, same), "app:2", fetch.ErrNotFound},
		"no tag":      {newExternal(t, same, same), "app@" + digest.FromString("x").String(), layer.ErrNotLazy},
		"of no layer": {newExternal(t, same, other), "app:1", layer.ErrNotLazy},
		"damaged":     {newExternal(t, damaged, same), "app:1", layer.ErrInvalid},
		"of another":  {newExternal(t, func([]byte) []byte { _, toc, _ := convertExternal(t, someFiles(51, 2)[:2]); return toc }, same), "app:1", layer.ErrUnverified},
	} {
		test.b.req.Source.Ref = test.b.Ref(test.ref)
		if _, err := test.b.set.Open(t.Context(), test.b.req); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

// Each reason why a layer cannot be opened has its error.
func TestOpenErrors(t *testing.T) {
	fault := func(f registrytest.Fault) func(*testing.T, *bench) {
		return func(_ *testing.T, b *bench) { b.SetFault(registrytest.Always(registrytest.Blob, f)) }
	}
	for name, test := range map[string]struct {
		spoil func(*testing.T, *bench)
		want  error
	}{
		"404":     {fault(registrytest.Fault{Status: http.StatusNotFound}), fetch.ErrNotFound},
		"401":     {fault(registrytest.Fault{Status: http.StatusUnauthorized}), fetch.ErrUnauthorized},
		"500":     {fault(registrytest.Fault{Status: http.StatusInternalServerError}), fetch.ErrUnavailable},
		"stalled": {fault(registrytest.Fault{Stall: registrytest.After(-1)}), fetch.ErrUnavailable},
		"plain layer": {func(t *testing.T, b *bench) {
			b.req.Source.Digest = b.AddBlob(tarOf(t, b.files))
		}, layer.ErrNotLazy},
		"plain layer, nothing known": {func(t *testing.T, b *bench) {
			b.req.Source.Digest, b.req.TOC = b.AddBlob(tarOf(t, b.files)), ""
		}, layer.ErrNotLazy},
		"damaged TOC": {func(t *testing.T, b *bench) {
			footer, err := index.ParseFooter(b.blob, int64(len(b.blob)))
			if err != nil {
				t.Fatal(err)
			}
			damaged := slices.Clone(b.blob)
			damaged[footer.TOCOffset+footer.TOCSize/2] ^= 1
			b.req.Source.Digest = b.AddBlob(damaged)
		}, layer.ErrInvalid},
		"another TOC": {func(_ *testing.T, b *bench) { b.req.TOC = digest.FromString("another") }, layer.ErrUnverified},
		"no TOC and no manifest": {func(_ *testing.T, b *bench) {
			b.req.TOC = ""
		}, layer.ErrUnverified},
		"a manifest without TOC": {func(_ *testing.T, b *bench) {
			b.req.TOC = ""
			b.req.Manifest = b.AddManifest("app:1", ocispec.MediaTypeImageManifest,
				[]byte(`{"layers":[{"digest":"`+b.req.Source.Digest.String()+`"}]}`))
		}, layer.ErrUnverified},
		"a manifest without the layer": {func(_ *testing.T, b *bench) {
			b.req.TOC, b.req.Manifest = "", b.AddManifest("app:1", ocispec.MediaTypeImageManifest, []byte(`{}`))
		}, layer.ErrUnverified},
		"no manifest": {func(_ *testing.T, b *bench) {
			b.req.TOC, b.req.Manifest = "", digest.FromString("none")
		}, fetch.ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, registrytest.Options{}, someFiles(52, 5)[:5])
			if name == "stalled" {
				b.startQuick(t, layer.Options{NoFill: true, NoPrefetch: true})
			}
			test.spoil(t, b)
			id, err := b.set.Open(t.Context(), b.req)
			if !errors.Is(err, test.want) || id != (store.ID{}) {
				t.Errorf("%v, %v, want %v", id, err, test.want)
			}
			if n := len(b.store.Layers()); n > 0 {
				t.Errorf("%d layers in the store", n)
			}
		})
	}
}

// However many open a layer at about the same time, its index is fetched once.
func TestOpenAtOnce(t *testing.T) {
	var files []file
	for i := range 4000 { // so that it takes a while to store the index
		files = append(files, file{name: fmt.Sprint("d/", i), data: []byte{byte(i), byte(i >> 8)}})
	}
	b := newBench(t, registrytest.Options{}, files)
	var opens sync.WaitGroup
	for i := range 400 {
		opens.Go(func() {
			time.Sleep(time.Duration(i) * 200 * time.Microsecond)
			if _, err := b.set.Open(t.Context(), b.req); err != nil {
				t.Error(err)
			}
		})
	}
	opens.Wait()
	if n := b.Count(registrytest.Blob); n > 2 { // the end of the blob, the rest of the table of contents
		t.Errorf("%d requests", n)
	}
}

func TestUsage(t *testing.T) {
	b := newBench(t, registrytest.Options{}, someFiles(53, 10))
	l := b.open(t)
	b.checkAll(t, l)
	bytes, inodes, err := b.set.Usage(l.ID())
	if err != nil || bytes < 3<<20 || inodes == 0 {
		t.Errorf("%d bytes, %d inodes, %v", bytes, inodes, err)
	}
	if _, _, err := b.set.Usage(store.ID{Blob: "sha256:no", TOC: "sha256:no"}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v, want ErrNotFound", err)
	}
}

// A layer that could not be opened ahead of being asked for is opened when it is:
// what was wrong may be over.
func TestSiblingFails(t *testing.T) {
	for name, fault := range map[string]registrytest.Fault{
		"404":     {Status: http.StatusNotFound},
		"500":     {Status: http.StatusInternalServerError},
		"damaged": {Corrupt: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, registrytest.Options{}, someFiles(54, 5)[:5])
			blob, toc := convert(t, someFiles(55, 5)[:5])
			above := b.req
			above.Source.Digest, above.TOC = b.AddBlob(blob), toc
			b.req.Siblings = []digest.Digest{above.Source.Digest}
			b.SetFault(func(q registrytest.Request) registrytest.Fault {
				if q.Digest == above.Source.Digest {
					return fault
				}
				return registrytest.Fault{}
			})
			b.open(t)
			waitFor(t, func() bool { return !layer.IsOpening(b.set, above.Source) })
			b.SetFault(nil)
			if _, err := b.set.Open(t.Context(), above); err != nil {
				t.Error(err)
			}
		})
	}
}

// Who asks for a layer while it is being opened ahead, in vain, has it opened once
// more.
func TestSiblingFailsMeanwhile(t *testing.T) {
	b := newBench(t, registrytest.Options{}, someFiles(56, 5)[:5])
	blob, toc := convert(t, someFiles(57, 5)[:5])
	above := b.req
	above.Source.Digest, above.TOC = b.AddBlob(blob), ""
	manifest, err := json.Marshal(ocispec.Manifest{Layers: []ocispec.Descriptor{{
		Digest: above.Source.Digest, Annotations: map[string]string{estargz.TOCJSONDigestAnnotation: toc.String()},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	above.Manifest = b.AddManifest("app:1", ocispec.MediaTypeImageManifest, manifest)
	b.req.Siblings = []digest.Digest{above.Source.Digest}
	asked := make(chan struct{}) // closed when Open looks at the manifest, and so has found what is under way
	var failed atomic.Bool
	b.SetFault(func(q registrytest.Request) registrytest.Fault {
		switch {
		case q.Kind == registrytest.Manifest:
			close(asked)
		case q.Digest == above.Source.Digest && failed.CompareAndSwap(false, true):
			<-asked
			return registrytest.Fault{Status: http.StatusNotFound}
		}
		return registrytest.Fault{}
	})
	b.open(t)
	waitFor(t, failed.Load)
	if _, err := b.set.Open(t.Context(), above); err != nil {
		t.Error(err)
	}
}

// That a sibling is no layer that can be lazy is found out once.
func TestSiblingNotLazy(t *testing.T) {
	b := newBench(t, registrytest.Options{}, someFiles(58, 5)[:5])
	plain := b.req
	plain.Source.Digest, plain.TOC = b.AddBlob(tarOf(t, b.files)), ""
	b.req.Siblings = []digest.Digest{plain.Source.Digest}
	b.open(t)
	if _, err := b.set.Open(t.Context(), plain); !errors.Is(err, layer.ErrNotLazy) {
		t.Errorf("%v, want ErrNotLazy", err)
	}
	if n := b.Count(registrytest.Blob); n != 2 {
		t.Errorf("%d requests for two layers", n)
	}
}

// A layer that was collected and is pulled again is prefetched again.
func TestPrefetchedAgain(t *testing.T) {
	b := newBench(t, registrytest.Options{}, someFiles(59, 10), estargz.WithPrioritizedFiles([]string{"large"}))
	b.restart(t, layer.Options{NoFill: true})
	prefetched := func() {
		t.Helper()
		l := b.open(t)
		at := extents(t, l)["large"]
		waitFor(t, func() bool { return l.IsPresent(at, 3<<20) })
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		b.opened = nil
	}
	prefetched()
	waitFor(t, func() bool { // what is under way has the layer open
		_, err := b.store.Remove(t.Context(), func(store.ID) bool { return false })
		if err != nil {
			t.Fatal(err)
		}
		return len(b.store.Layers()) == 0
	})
	prefetched()
}
