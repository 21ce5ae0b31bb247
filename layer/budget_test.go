package layer_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/internal/registrytest"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/tree"
)

// ofZeros makes a layer of n files of one chunk each, of about 64 MiB of zeros. No
// two are equally large, so that they are not recognised by their digests.
func ofZeros(t *testing.T, n int) (blob []byte, toc digest.Digest) {
	t.Helper()
	tarball, tarWriter := io.Pipe()
	go func() {
		w := tar.NewWriter(tarWriter)
		for i := range n {
			size := index.MaxChunkSize - int64(i)
			err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprint(i), Size: size, Mode: 0o644})
			if err == nil {
				_, err = io.CopyN(w, zeros{}, size)
			}
			if err != nil {
				tarWriter.CloseWithError(err)
				return
			}
		}
		tarWriter.CloseWithError(w.Close())
	}()
	var b bytes.Buffer
	w := estargz.NewWriterLevel(&b, gzip.BestSpeed)
	w.ChunkSize = index.MaxChunkSize
	if err := w.AppendTar(tarball); err != nil {
		t.Fatal(err)
	}
	toc, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), toc
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// residentMax returns the most bytes of memory that the process has had since
// resetResident.
func residentMax(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kb int64
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		t.Fatal(err)
	}
	return kb << 10
}

// resetResident lets residentMax start anew (proc(5), clear_refs).
func resetResident(t *testing.T) {
	t.Helper()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
}

// A small blob of large chunks takes no more memory than is set aside for chunks,
// however many are read at once, and of the disk it takes nothing for zeros.
func TestManyLargeChunks(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long, and is left out by -short")
	}
	const files = 16
	blob, toc := ofZeros(t, files)
	b := newBench(t, registrytest.Options{}, nil)
	b.req = layer.Request{Source: fetch.Source{Ref: b.Ref("app:1"), Digest: b.AddBlob(blob)}, TOC: toc}
	b.restart(t, layer.Options{NoFill: true, NoPrefetch: true})
	l := b.open(t)
	at := extents(t, l)
	resetResident(t)
	before := residentMax(t)
	var readers sync.WaitGroup
	for i := range files {
		readers.Go(func() {
			p := make([]byte, 4096)
			if _, err := l.ReadAt(context.Background(), p, at[fmt.Sprint(i)]+32<<20); err != nil {
				t.Error(err)
			}
		})
	}
	readers.Wait()
	more := residentMax(t) - before
	info, err := os.Stat(dataFile(t, b.root))
	if err != nil {
		t.Fatal(err)
	}
	disk := info.Sys().(*syscall.Stat_t).Blocks * 512
	t.Logf("blob of %d kB, data file of %d MB: %d MB of memory, %d kB of disk", len(blob)>>10, info.Size()>>20, more>>20, disk>>10)
	if limit := int64(128<<20 + 64<<20); more > limit {
		t.Errorf("%d bytes of memory, more than %d", more, limit)
	}
	if disk > files*tree.BlockSize { // the incomplete last block of each
		t.Errorf("%d bytes of disk", disk)
	}
}

// Whatever is set aside, everything is read: by many at once, of several layers,
// with prefetches and the filler in between.
func TestTinyBudget(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long, and is left out by -short")
	}
	for name, opts := range map[string][]estargz.Option{
		"gzip":           {estargz.WithChunkSize(64 << 10)},
		"shared streams": {estargz.WithMinChunkSize(64 << 10)},
		"zstd":           {zstdChunked(), estargz.WithChunkSize(1 << 20)},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, registrytest.Options{}, someFiles(60, 200), opts...)
			b.restart(t, layer.Options{PrefetchSize: 2 << 20, FillDelay: time.Millisecond, ChunkMemory: 1})
			layer.Starve(b.set)
			var readers sync.WaitGroup
			for range 3 {
				l := b.open(t)
				readers.Go(func() { b.checkAll(t, l) })
			}
			readers.Wait()
			b.checkAll(t, b.open(t))
		})
	}
}

// A reader does not wait for runs without a waiting reader: neither for their memory, nor
// for their turn when it joins one that waits for it.
func TestReadersGoFirst(t *testing.T) {
	b := newBench(t, registrytest.Options{}, someFiles(61, 5), estargz.WithChunkSize(2<<20))
	stalled, toc := convert(t, someFiles(62, 5), estargz.WithChunkSize(2<<20))
	other := b.req
	other.Source.Digest, other.TOC = b.AddBlob(stalled), toc
	b.stop(t)
	b.SetFault(func(q registrytest.Request) registrytest.Fault {
		if q.Digest == other.Source.Digest && !strings.HasPrefix(q.Range, "bytes=-") {
			return registrytest.Fault{Stall: registrytest.After(1 << 20)} // in the middle of its large file
		}
		return registrytest.Fault{}
	})
	b.startPatient(t, layer.Options{NoFill: true, PrefetchSize: 1 << 30, ChunkMemory: 1})
	layer.Starve(b.set)
	if _, err := b.set.Open(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	// The one run ahead that may be under way has all memory there is, for long.
	waitFor(t, func() bool { return b.Sent() >= 1<<20 })
	l := b.open(t)
	waitFor(t, func() bool { return layer.Runs(l) > 0 }) // its prefetch, which waits for its turn
	b.checkAll(t, l)
}
