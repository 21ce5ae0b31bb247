package layer_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/internal/registrytest"
	"github.com/ladle-dev/ladle/internal/treetest"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/store"
)

var importing = layer.Options{NoFill: true, NoPrefetch: true, ReadTimeout: time.Minute, Importing: layer.Importing{Enable: true}}

// packers make plain layers of tars.
var packers = map[string]func(t testing.TB, tarball []byte) []byte{
	"uncompressed": func(_ testing.TB, b []byte) []byte { return b },
	"gzip":         func(t testing.TB, b []byte) []byte { return packed(t, b, len(b)) },
	"members":      func(t testing.TB, b []byte) []byte { return packed(t, b, 300_000) },
	"zstd": func(t testing.TB, b []byte) []byte {
		w, err := zstd.NewWriter(nil)
		if err != nil {
			t.Fatal(err)
		}
		return w.EncodeAll(b, nil)
	},
	"frames": func(t testing.TB, b []byte) []byte {
		w, err := zstd.NewWriter(nil)
		if err != nil {
			t.Fatal(err)
		}
		skipped := []byte{0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4} // a frame of zstd, too
		packed := bytes.Clone(skipped)
		for n := 300_000; len(b) > 0; b = b[min(n, len(b)):] {
			packed = append(w.EncodeAll(b[:min(n, len(b))], packed), skipped...)
		}
		return packed
	},
}

func packed(t testing.TB, p []byte, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	for len(p) > 0 {
		w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(p[:min(n, len(p))])
		w.Close()
		p = p[min(n, len(p)):]
	}
	return b.Bytes()
}

// provedBy returns a Proves for one diffID.
func provedBy(diffID digest.Digest) func(digest.Digest) bool {
	return func(d digest.Digest) bool { return d == diffID }
}

// plainBench is a bench with a layer that has no index.
func plainBench(t *testing.T, files []file, pack func(testing.TB, []byte) []byte) *bench {
	t.Helper()
	tarball := tarOf(t, files)
	b := &bench{Registry: registrytest.New(t, registrytest.Options{}), files: files, root: filepath.Join(t.TempDir(), "store")}
	b.blob = pack(t, tarball)
	b.req = layer.Request{
		Source: fetch.Source{Ref: b.Ref("app:1"), Digest: b.AddBlob(b.blob)},
		Proves: provedBy(digest.FromBytes(tarball)),
	}
	return b
}

// wantFiles reads all files of a layer.
func (b *bench) wantFiles(t *testing.T, l *layer.Layer) {
	t.Helper()
	at := extents(t, l)
	for _, f := range b.files {
		got := make([]byte, len(f.data))
		if _, err := l.ReadAt(t.Context(), got, at[f.name]); err != nil || !bytes.Equal(got, f.data) {
			t.Errorf("%s: %v", f.name, err)
		}
	}
}

// wantNoDrafts waits until nothing is left of imports that ended.
func (b *bench) wantNoDrafts(t *testing.T) {
	t.Helper()
	waitFor(t, func() bool {
		left, err := os.ReadDir(filepath.Join(b.root, "tmp"))
		return err == nil && len(left) == 0
	})
}

func TestImport(t *testing.T) {
	for name, pack := range packers {
		t.Run(name, func(t *testing.T) {
			b := plainBench(t, someFiles(1, 30), pack)
			b.start(t, importing, store.Options{BootID: "a"})
			l := b.open(t)
			if !l.Full() {
				t.Error("not full")
			}
			b.Close() // the registry
			b.wantFiles(t, l)
			b.wantNoDrafts(t)
			if again := b.open(t); again != l {
				t.Error("it is opened again as another layer")
			}
			b.stop(t)
			b.start(t, importing, store.Options{BootID: "a"})
			b.wantFiles(t, b.open(t))
		})
	}
}

// TestImportedChunksAreFetchedAgain has a data file that a reset of the machine has
// emptied.
func TestImportedChunksAreFetchedAgain(t *testing.T) {
	for name, pack := range packers {
		t.Run(name, func(t *testing.T) {
			b := plainBench(t, someFiles(1, 30), pack)
			b.start(t, importing, store.Options{BootID: "a"})
			n, size := b.open(t).Number(), b.opened[0].DataSize()
			b.stop(t)
			if err := os.WriteFile(filepath.Join(b.root, "layers", strconv.FormatUint(n, 10), "data"), make([]byte, size), 0o600); err != nil {
				t.Fatal(err)
			}
			b.start(t, importing, store.Options{BootID: "b"})
			b.wantFiles(t, b.open(t))
		})
	}
}

// TestLostChunksOfSparseFiles has layers with sparse files, and a data file that a reset of the
// machine has emptied: their chunks are fetched again.
func TestLostChunksOfSparseFiles(t *testing.T) {
	for format := range treetest.SparseFormats {
		tarball, contents := treetest.SparseTar(t, format)
		for name, pack := range packers {
			t.Run(format+", "+name, func(t *testing.T) {
				b := plainBench(t, nil, func(t testing.TB, _ []byte) []byte { return pack(t, tarball) })
				b.req.Proves = provedBy(digest.FromBytes(tarball))
				for name, data := range contents {
					b.files = append(b.files, file{name: name, data: data})
				}
				b.start(t, importing, store.Options{BootID: "a"})
				b.lose(t, b.open(t), true)
				b.start(t, importing, store.Options{BootID: "b"})
				l := b.open(t)
				b.Reset()
				b.wantFiles(t, l)
				b.wantFiles(t, l)
				if n := b.Count(registrytest.Blob); n == 0 || n > layer.Chunks(l) {
					t.Errorf("%d requests for %d chunks", n, layer.Chunks(l))
				}
			})
		}
	}
}

// TestUnfetchableChunks has a chunk table of an earlier version with chunks that cannot be fetched
// one by one, and none of its bytes: reads fail, until the layer is opened again.
func TestUnfetchableChunks(t *testing.T) {
	b := plainBench(t, someFiles(1, 5), packers["uncompressed"])
	b.damagedTable(t, func(table []byte) []byte {
		copy(table[24:32], "whole\x00\x00\x00")
		return layer.ResumChunks(table)
	})
	l := b.open(t)
	for name, off := range extents(t, l) {
		if _, err := l.ReadAt(t.Context(), make([]byte, 1), off); err == nil {
			t.Errorf("%s could be read", name)
		}
	}
	again := b.open(t)
	if again == l || !again.Full() {
		t.Error("it was not imported again")
	}
	b.wantFiles(t, again)
}

// TestImportIsProved has images that claim another's diffID, and blobs that are others.
func TestImportIsProved(t *testing.T) {
	b := plainBench(t, someFiles(1, 5), packers["gzip"])
	b.start(t, importing, store.Options{})
	right := b.req.Proves
	b.req.Proves = provedBy(digest.FromString("another tar"))
	wantRefused := func(want error) {
		t.Helper()
		if _, err := b.set.Open(t.Context(), b.req); !errors.Is(err, want) {
			t.Errorf("error %v, want %v", err, want)
		}
		if n := len(b.store.Layers()); n > 0 {
			t.Errorf("%d layers are stored", n)
		}
		b.wantNoDrafts(t)
	}
	wantRefused(layer.ErrUnverified)
	b.req.Proves = nil
	wantRefused(layer.ErrNotLazy)
	b.req.Proves = right
	b.SetFault(registrytest.Always(registrytest.Blob, registrytest.Fault{Corrupt: true}))
	wantRefused(layer.ErrInvalid)
	b.SetFault(nil)
	b.wantFiles(t, b.open(t))
}

// TestImportOfOtherBytes: a blob that is whole, and another one, is not taken for the one
// that was asked for.
func TestImportOfOtherBytes(t *testing.T) {
	b := plainBench(t, someFiles(1, 5), packers["uncompressed"])
	b.start(t, importing, store.Options{})
	b.blob[600] ^= 1 // the registry has it as it is now
	if _, err := b.set.Open(t.Context(), b.req); !errors.Is(err, layer.ErrInvalid) {
		t.Error(err)
	}
	b.wantNoDrafts(t)
}

// TestImportOnce has many that open one layer at once, of two images.
func TestImportOnce(t *testing.T) {
	b := plainBench(t, someFiles(1, 5), packers["gzip"])
	b.start(t, importing, store.Options{})
	other := b.req
	other.Source.Ref = b.Ref("other:1")
	ids := make([]store.ID, 10)
	var all sync.WaitGroup
	for n := range ids {
		all.Go(func() {
			var err error
			if ids[n], err = b.set.Open(t.Context(), []layer.Request{b.req, other}[n%2]); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Errorf("%v and %v", id, ids[0])
		}
	}
	if n := len(b.store.Layers()); n != 1 {
		t.Errorf("%d layers", n)
	}
	if sent := b.Sent(); sent > int64(len(b.blob))*3/2+256<<10 {
		t.Errorf("%d bytes were sent of a blob of %d", sent, len(b.blob))
	}
	b.wantNoDrafts(t)
}

// TestImportOfAnotherImageFails: who waits for an import whose registry refuses goes on
// with its own.
func TestImportOfAnotherImageFails(t *testing.T) {
	b := plainBench(t, someFiles(1, 5), packers["gzip"])
	b.start(t, importing, store.Options{})
	gone := registrytest.New(t, registrytest.Options{})
	gone.AddBlob(b.blob)
	bad := b.req
	bad.Source.Ref = gone.Ref("gone:1")
	reached, release := make(chan struct{}, 100), make(chan struct{})
	gone.SetFault(func(q registrytest.Request) registrytest.Fault {
		if q.Kind != registrytest.Blob || gone.Count(registrytest.Blob) <= 1 {
			return registrytest.Fault{}
		}
		reached <- struct{}{}
		<-release
		return registrytest.Fault{Status: 404}
	})
	failed := make(chan error, 1)
	go func() { _, err := b.set.Open(context.Background(), bad); failed <- err }()
	<-reached
	waits := make(chan struct{})
	good := b.req
	good.Importing = func() { close(waits) }
	done := make(chan error, 1)
	go func() { _, err := b.set.Open(context.Background(), good); done <- err }()
	<-waits
	close(release)
	if err := <-failed; !errors.Is(err, fetch.ErrNotFound) {
		t.Errorf("of the image that is gone: %v", err)
	}
	if err := <-done; err != nil {
		t.Errorf("of the other image: %v", err)
	}
}

// held is a registry that sends no more than the first answer of a blob until release.
func (b *bench) hold() (reached <-chan struct{}, release func()) {
	at, open := make(chan struct{}, 100), make(chan struct{})
	b.SetFault(func(q registrytest.Request) registrytest.Fault {
		if q.Kind == registrytest.Blob && b.Count(registrytest.Blob) > 1 {
			at <- struct{}{}
			<-open
		}
		return registrytest.Fault{}
	})
	return at, sync.OnceFunc(func() { close(open) })
}

func TestImportIsCancelled(t *testing.T) {
	b := plainBench(t, someFiles(1, 5), packers["gzip"])
	b.startPatient(t, importing)
	reached, release := b.hold()
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := b.set.Open(ctx, b.req); done <- err }()
	<-reached
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	b.wantNoDrafts(t)
	release()
	b.wantFiles(t, b.open(t))
}

// TestImportAhead has an image of several layers: all are imported from the first Open on,
// and what nobody asks for any more goes when the pull is cancelled.
func TestImportAhead(t *testing.T) {
	b := plainBench(t, someFiles(1, 5), packers["gzip"])
	b.start(t, importing, store.Options{})
	requests := []layer.Request{b.req}
	for n := range 4 {
		tarball := tarOf(t, someFiles(uint64(n+2), 5))
		req := layer.Request{Source: fetch.Source{Ref: b.req.Source.Ref, Digest: b.AddBlob(packed(t, tarball, len(tarball)))}, Proves: provedBy(digest.FromBytes(tarball))}
		requests = append(requests, req)
		requests[0].Siblings = append(requests[0].Siblings, req.Source.Digest)
	}
	if _, err := b.set.Open(t.Context(), requests[0]); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return layer.ImportsMade(b.set) == 4 })
	sent := b.Sent()
	if _, err := b.set.Open(t.Context(), requests[1]); err != nil {
		t.Fatal(err)
	}
	if b.Sent() != sent {
		t.Errorf("a layer was fetched that had been imported ahead")
	}
	if n := len(b.store.Layers()); n != 2 {
		t.Errorf("%d layers are stored", n)
	}
	// The pull of the next layer, of which the registry does not answer, is cancelled.
	gone := requests[2]
	gone.Source.Digest = b.AddBlob(packed(t, tarOf(t, someFiles(9, 5)), 1<<20))
	reached, release := b.hold()
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := b.set.Open(ctx, gone); done <- err }()
	<-reached
	cancel()
	<-done
	b.wantNoDrafts(t)
	if n := layer.ImportsMade(b.set); n != 0 {
		t.Errorf("%d imports are kept", n)
	}
}

// TestImportSlots: imports that an Open waits for are before those that run ahead.
func TestImportSlots(t *testing.T) {
	if got := layer.SlotOrder([]int{0, 0, 1, 0, 2}); got != "2 4 0 1 3" {
		t.Error(got)
	}
}
