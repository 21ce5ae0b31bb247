package fs

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/stargz-snapshotter/estargz"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/internal/treetest"
)

// TestSparseFiles mounts what BuildKit makes of a tar with sparse files.
func TestSparseFiles(t *testing.T) {
	tarball, contents := treetest.SparseTar(t, "PAX 1.0")
	x, data := converted(t, tarball)
	onEachDriver(t, func(t *testing.T, l *lab) {
		dir := l.mount("o", l.add(t, "sparse", x.Root, bytes.NewReader(data)))
		for name, want := range contents {
			path := filepath.Join(dir, name)
			got, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: %d bytes, of %d that are others, %v", name, len(got), len(want), err)
			}
			checkSeek(t, path, want)
		}
	})
}

// converted converts a tar as BuildKit does, and returns the index and the data
// file of the layer.
func converted(t *testing.T, tarball []byte) (*index.Index, []byte) {
	t.Helper()
	var blob bytes.Buffer
	w := estargz.NewWriter(&blob)
	w.ChunkSize = 50_000
	if err := w.AppendTarLossLess(bytes.NewReader(tarball)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b := blob.Bytes()
	footer, err := index.ParseFooter(b, int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	x, err := index.Parse(bytes.NewReader(b[footer.TOCOffset:][:footer.TOCSize]), footer)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, x.DataSize)
	for _, c := range x.Chunks {
		r, err := gzip.NewReader(bytes.NewReader(b[c.BlobOffset:]))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(r, data[c.DataOffset:][:c.Size]); err != nil {
			t.Fatal(err)
		}
	}
	return x, data
}

// checkSeek makes sure that what a file has between its data, as lseek(2) tells,
// is zeros.
func checkSeek(t *testing.T, path string, want []byte) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	end := int64(0)
	for off := int64(0); off < int64(len(want)); off = end {
		data, err := f.Seek(off, unix.SEEK_DATA)
		if err != nil {
			data = int64(len(want)) // no more of it
		}
		if n := bytes.TrimLeft(want[off:data], "\x00"); len(n) > 0 {
			t.Errorf("%s: a hole from %d to %d has %d bytes", path, off, data, len(n))
		}
		if end = data; end < int64(len(want)) {
			if end, err = f.Seek(data, unix.SEEK_HOLE); err != nil {
				t.Fatal(err)
			}
		}
	}
}
