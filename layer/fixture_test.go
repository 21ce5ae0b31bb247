package layer_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/internal/registrytest"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
)

// file is a regular file of a layer that a test makes, or a symbolic link.
type file struct {
	name string
	data []byte
	link string
}

// someFiles returns n small files and one of several chunks. Their bytes do
// not compress, so that offsets in the blob follow those in the tar.
func someFiles(seed uint64, n int) []file {
	r := rand.New(rand.NewPCG(seed, 0))
	content := func(size int) []byte {
		b := make([]byte, size)
		for i := 0; i+8 <= size; i += 8 {
			binary.LittleEndian.PutUint64(b[i:], r.Uint64())
		}
		return b
	}
	var files []file
	for i := range n {
		files = append(files, file{name: "small/" + string(rune('a'+i%26)) + digest.FromString(string(rune(i))).Encoded()[:8], data: content(r.IntN(9000))})
	}
	return append(files, file{name: "large", data: content(3 << 20)})
}

func tarOf(t testing.TB, files []file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Size: int64(len(f.data)), Mode: 0o644, ModTime: time.Unix(1e9, 0)}
		if f.link != "" {
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.link
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// convert makes an eStargz layer of files.
func convert(t testing.TB, files []file, opts ...estargz.Option) (blob []byte, toc digest.Digest) {
	t.Helper()
	tarball := tarOf(t, files)
	sr := io.NewSectionReader(bytes.NewReader(tarball), 0, int64(len(tarball)))
	b, err := estargz.Build(sr, append([]estargz.Option{estargz.WithChunkSize(128 << 10), estargz.WithCompressionLevel(gzip.BestSpeed)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	blob, err = io.ReadAll(b)
	if err != nil {
		t.Fatal(err)
	}
	return blob, b.TOCDigest()
}

// bench is a registry with one layer in it, and a set that reads it.
type bench struct {
	*registrytest.Registry
	root   string
	blob   []byte
	files  []file
	req    layer.Request
	set    *layer.Set
	store  *store.Store
	opened []*layer.Layer
}

// steady is how requests are made to a registry that always answers, in its own time.
var steady = fetch.Options{Timeout: time.Minute, MaxRetries: 2, MinWait: time.Millisecond, MaxWait: 5 * time.Millisecond}

// quick is how they are made to one that at times does not answer: a busy machine may
// meet the timeout, too.
var quick = fetch.Options{Timeout: 600 * time.Millisecond, MaxRetries: 2, MinWait: time.Millisecond, MaxWait: 5 * time.Millisecond}

func newBench(t testing.TB, ropts registrytest.Options, files []file, opts ...estargz.Option) *bench {
	t.Helper()
	blob, toc := convert(t, files, opts...)
	return benchOf(t, ropts, files, blob, toc)
}

// benchOf is newBench for files that were converted.
func benchOf(t testing.TB, ropts registrytest.Options, files []file, blob []byte, toc digest.Digest) *bench {
	t.Helper()
	b := &bench{Registry: registrytest.New(t, ropts), files: files, root: filepath.Join(t.TempDir(), "store")}
	b.blob = blob
	d := b.AddBlob(blob)
	b.req = layer.Request{Source: fetch.Source{Ref: b.Ref("app:1"), Digest: d}, TOC: toc}
	b.start(t, layer.Options{NoFill: true, NoPrefetch: true, ReadTimeout: patient}, store.Options{})
	return b
}

// start opens store and set, as a new daemon would.
func (b *bench) start(t testing.TB, lopts layer.Options, sopts store.Options) {
	t.Helper()
	hosts := fetch.Hosts(context.Background(), fetch.HostsOptions{})
	b.startWith(t, fetch.New(hosts, steady), lopts, sopts)
}

// startQuick is start again with quick requests.
func (b *bench) startQuick(t testing.TB, lopts layer.Options) {
	t.Helper()
	b.stop(t)
	hosts := fetch.Hosts(context.Background(), fetch.HostsOptions{})
	b.startWith(t, fetch.New(hosts, quick), lopts, store.Options{})
}

// startPatient is start with requests that take as long as they take: for tests that
// hold them back.
func (b *bench) startPatient(t testing.TB, lopts layer.Options) {
	t.Helper()
	hosts := fetch.Hosts(context.Background(), fetch.HostsOptions{})
	b.startWith(t, fetch.New(hosts, fetch.Options{Timeout: time.Hour}), lopts, store.Options{})
}

func (b *bench) startWith(t testing.TB, client *fetch.Client, lopts layer.Options, sopts store.Options) {
	t.Helper()
	st, err := store.Open(t.Context(), b.root, sopts)
	if err != nil {
		t.Fatal(err)
	}
	b.store, b.set = st, layer.NewSet(st, client, lopts)
	t.Cleanup(func() { b.stop(t) })
}

// stop closes everything, as the daemon would.
func (b *bench) stop(t testing.TB) {
	t.Helper()
	if b.set == nil {
		return
	}
	for _, l := range b.opened {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	b.opened = nil
	if err := b.set.Close(); err != nil {
		t.Error(err)
	}
	if err := b.store.Close(); err != nil {
		t.Error(err)
	}
	b.set = nil
}

// open opens the bench's layer until the next stop.
func (b *bench) open(t testing.TB) *layer.Layer {
	t.Helper()
	id, err := b.set.Open(t.Context(), b.req)
	if err != nil {
		t.Fatal(err)
	}
	l, err := b.set.Layer(id)
	if err != nil {
		t.Fatal(err)
	}
	b.opened = append(b.opened, l)
	return l
}

// extents returns where the layer says that its regular files are.
func extents(t testing.TB, l *layer.Layer) map[string]int64 {
	t.Helper()
	root, err := l.Tree()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int64{}
	err = tree.Walk(root, func(path string, i *tree.Inode) error {
		if i.IsRegular() {
			found[path] = i.Data.Offset
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// checkAll reads every file of the bench in pieces and compares.
func (b *bench) checkAll(t testing.TB, l *layer.Layer) {
	t.Helper()
	at := extents(t, l)
	for _, f := range b.files {
		if got := readAll(t, l, at[f.name], len(f.data)); !bytes.Equal(got, f.data) {
			t.Fatalf("%s: wrong bytes", f.name)
		}
	}
}

func readAll(t testing.TB, l *layer.Layer, off int64, size int) []byte {
	t.Helper()
	got := make([]byte, size)
	for n := 0; n < size; n += 70_000 {
		piece := got[n:min(n+70_000, size)]
		if _, err := l.ReadAt(context.Background(), piece, off+int64(n)); err != nil {
			t.Fatal(err)
		}
	}
	return got
}
