package index

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/internal/memtest"
	"github.com/ladle-dev/ladle/internal/treetest"
)

// plainForms are the ways in which a layer has no table of contents.
var plainForms = []form{
	{"plain", func(_ testing.TB, b []byte) *blob { return plainBlob(b, b) }},
	{"plain-gzip", func(t testing.TB, b []byte) *blob { return plainBlob(b, gzipMembers(t, b, len(b)+1)) }},
	{"plain-gzip-members", func(t testing.TB, b []byte) *blob { return plainBlob(b, gzipMembers(t, b, 1000)) }},
	{"plain-zstd", func(t testing.TB, b []byte) *blob { return plainBlob(b, zstdFrames(t, b, len(b)+1)) }},
	{"plain-zstd-frames", func(t testing.TB, b []byte) *blob { return plainBlob(b, zstdFrames(t, b, 5000)) }},
}

func plainBlob(tarball, data []byte) *blob {
	return &blob{data: data, diffID: digest.FromBytes(tarball)}
}

// gzipMembers compresses each n bytes as a member, with an empty one behind the first.
func gzipMembers(t testing.TB, p []byte, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	for first := true; len(p) > 0; first = false {
		w := gzip.NewWriter(&b)
		w.Write(p[:min(n, len(p))])
		p = p[min(n, len(p)):]
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if first {
			gzip.NewWriter(&b).Close()
		}
	}
	return b.Bytes()
}

func zstdFrames(t testing.TB, p []byte, n int) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	var b []byte
	for len(p) > 0 {
		b = w.EncodeAll(p[:min(n, len(p))], b)
		p = p[min(n, len(p)):]
	}
	return b
}

// dataBuffer is a data file in memory.
type dataBuffer []byte

func (d *dataBuffer) WriteAt(p []byte, off int64) (int, error) {
	if off != int64(len(*d)) {
		return 0, fmt.Errorf("write at %d of %d", off, len(*d))
	}
	*d = append(*d, p...)
	return len(p), nil
}

// importIt imports b, and compares the data file and the digests with what they have to be.
func (b *blob) importIt() (*Index, error) {
	var data dataBuffer
	got, err := Import(context.Background(), io.NopCloser(bytes.NewReader(b.data)), &data)
	if err != nil {
		return nil, err
	}
	if got.DiffID != b.diffID || got.Blob != digest.FromBytes(b.data) {
		return nil, fmt.Errorf("digests %s and %s", got.Blob, got.DiffID)
	}
	table, err := DecodeTable(EncodeTable(got.Index))
	if err != nil {
		return nil, err
	}
	if table.Len() != len(got.Chunks) || got.DataSize < int64(len(data)) {
		return nil, fmt.Errorf("%d chunks, data file of %d bytes, size %d", len(got.Chunks), len(data), got.DataSize)
	}
	zeros := bytes.Clone(data)
	for _, c := range got.Chunks {
		p := data[c.DataOffset:][:c.Size]
		if digest.SHA256.FromBytes(p).Encoded() != fmt.Sprintf("%x", c.Digest) {
			return nil, fmt.Errorf("chunk %+v has other bytes", c)
		}
		clear(zeros[c.DataOffset:][:c.Size])
	}
	if !isZero(zeros) && b.keepsAll() {
		return nil, errors.New("there are bytes outside of chunks")
	}
	return got.Index, nil
}

// keepsAll reports whether each name is in the tar once: of files that others replace the
// bytes stay.
func (b *blob) keepsAll() bool {
	u := newUnpacker(&counter{r: bytes.NewReader(b.data)})
	var tarball bytes.Buffer
	for p := make([]byte, 64<<10); ; {
		n, err := u.Read(p)
		tarball.Write(p[:n])
		if err != nil {
			break
		}
	}
	seen := map[string]bool{}
	for r := tar.NewReader(&tarball); ; {
		h, err := r.Next()
		if err != nil {
			return true
		}
		if seen[h.Name] || h.Typeflag == tar.TypeDir || h.Typeflag == tar.TypeSymlink {
			return false
		}
		seen[h.Name] = true
	}
}

// TestImportEqualsTOC compares the tree of a tar with that of its eStargz.
func TestImportEqualsTOC(t *testing.T) {
	tarball := tarOf(t, someMembers())
	want, _ := forms[0].compress(t, tarball).mustOpen(t)
	for _, form := range plainForms {
		got, _ := form.compress(t, tarball).mustOpen(t)
		if diffs := treetest.Diff(want.Root, got.Root); len(diffs) > 0 {
			t.Errorf("%s:%s", form.name, treetest.Lines(diffs, 20))
		}
	}
}

// TestImportKeepsNames has names that a TOC cannot carry.
func TestImportKeepsNames(t *testing.T) {
	m := reg("caf\xe9", "x")
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	m.Size, m.Format = 1, tar.FormatGNU
	if err := w.WriteHeader(&m.Header); err != nil {
		t.Fatal(err)
	}
	w.Write(m.data)
	w.Close()
	index, _ := plainForms[1].compress(t, b.Bytes()).mustOpen(t)
	if index.Root.Dir.Lookup("caf\xe9") == nil {
		t.Error("it has another name")
	}
}

// TestImportLargeFiles has files of several chunks, whose parts come from several members.
func TestImportLargeFiles(t *testing.T) {
	var text strings.Builder
	for n := 0; text.Len() < 5*importChunk/2; n++ {
		fmt.Fprintln(&text, n)
	}
	tarball := tarOf(t, []member{reg("a", text.String()), reg("b", "b"), reg("c", text.String()[:importChunk]), reg("d", strings.Repeat("\x00", 3*importChunk)+"d")})
	for name, data := range map[string][]byte{
		"plain":     tarball,
		"gzip":      gzipMembers(t, tarball, len(tarball)),
		"members":   gzipMembers(t, tarball, importChunk/3*2),
		"small":     gzipMembers(t, tarball, 70_000),
		"zstd":      zstdFrames(t, tarball, 300_000),
		"two times": gzipMembers(t, tarball, 2*importChunk),
	} {
		b := plainBlob(tarball, data)
		index, _ := b.mustOpen(t)
		f := dataFile(t, b, index)
		for name, want := range map[string]string{"a": text.String(), "b": "b", "c": text.String()[:importChunk]} {
			got := make([]byte, len(want))
			if _, err := f.ReadAt(got, index.Root.Dir.Lookup(name).Data.Offset); err != nil || string(got) != want {
				t.Errorf("%s: %s has other bytes: %v", name, name, err)
			}
		}
		if n := len(index.Chunks); n < 6 || n > 200 {
			t.Errorf("%s: %d chunks", name, n)
		}
	}
}

// TestImportRefuses has blobs that are no layer, or not all of one.
func TestImportRefuses(t *testing.T) {
	tarball := tarOf(t, someMembers())
	packed := gzipMembers(t, tarball, 5000)
	for name, data := range map[string][]byte{
		"text":              []byte(strings.Repeat("no layer ", 1000)),
		"cut":               packed[:len(packed)-10],
		"cut zstd":          zstdFrames(t, tarball, 1<<20)[:100],
		"cut tar":           tarball[:len(tarball)-5000],
		"garbage behind it": append(bytes.Clone(packed), "garbage"...),
		"flipped bit":       append(append(bytes.Clone(packed[:100]), packed[100]^4), packed[101:]...),
	} {
		var file dataBuffer
		if got, err := Import(context.Background(), io.NopCloser(bytes.NewReader(data)), &file); err == nil && got.DiffID == digest.FromBytes(tarball) {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := Import(context.Background(), io.NopCloser(bytes.NewReader(packed)), fullDisk{}); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("full disk: %v", err)
	}
}

type fullDisk struct{}

func (fullDisk) WriteAt([]byte, int64) (int, error) { return 0, os.ErrInvalid }

// importBuffers is what an import allocates for any blob, the window of a zstd frame among
// it.
const importBuffers = 160 << 20

// FuzzImport has tars. What is taken has an index that can be stored, and whose chunks are
// what was written.
func FuzzImport(f *testing.F) {
	f.Add(tarOf(f, someMembers()))
	for _, form := range plainForms[1:] {
		f.Add(form.compress(f, tarOf(f, someMembers()[:3])).data)
	}
	for format := range treetest.SparseFormats {
		tarball, _ := treetest.SparseTar(f, format)
		f.Add(tarball)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<20 {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // holes can be large
		defer cancel()
		out := &cappedData{}
		var got *Imported
		var err error
		memtest.Bound(t, importBuffers+int64(len(data))*256, func() { got, err = Import(ctx, io.NopCloser(bytes.NewReader(data)), out) })
		if err != nil {
			return
		}
		if _, err := DecodeTable(EncodeTable(got.Index)); err != nil {
			t.Error(err)
		}
		if _, err := DecodeTree(EncodeTree(got.Root)); err != nil {
			t.Error(err)
		}
	})
}

// cappedData takes no more than some bytes, as a sparse tar stands for any number.
type cappedData struct{ n int }

func (c *cappedData) WriteAt(p []byte, _ int64) (int, error) {
	if c.n += len(p); c.n > 64<<20 {
		return 0, os.ErrInvalid
	}
	return len(p), nil
}
