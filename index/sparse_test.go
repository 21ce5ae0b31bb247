package index

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/pkg/archive"
	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/containerd/stargz-snapshotter/estargz/zstdchunked"
	"github.com/klauspost/compress/zstd"

	"github.com/ladle-dev/ladle/internal/treetest"
)

// asBuildKit converts a layer as BuildKit does: with the bytes of the tar as they
// are, but for contents, which the library's tar reader expands.
func asBuildKit(c estargz.Compressor, chunk, minChunk int) func(testing.TB, []byte) (*blob, error) {
	return func(_ testing.TB, tarball []byte) (*blob, error) {
		var b bytes.Buffer
		w := estargz.NewWriterWithCompressor(&b, c)
		w.ChunkSize, w.MinChunkSize = chunk, minChunk
		if err := w.AppendTarLossLess(bytes.NewReader(tarball)); err != nil {
			return nil, err
		}
		d, err := w.Close()
		return &blob{data: b.Bytes(), tocDigest: d}, err
	}
}

// converters make lazily readable layers of tars.
var converters = map[string]func(testing.TB, []byte) (*blob, error){
	"BuildKit, gzip":           asBuildKit(estargz.NewGzipCompressor(), 0, 0),
	"BuildKit, small chunks":   asBuildKit(estargz.NewGzipCompressor(), 4096, 0),
	"BuildKit, shared streams": asBuildKit(estargz.NewGzipCompressor(), 4096, 30_000),
	"BuildKit, zstd":           asBuildKit(&zstdchunked.Compressor{CompressionLevel: zstd.SpeedDefault}, 50_000, 0),
	"containers/storage":       func(t testing.TB, tarball []byte) (*blob, error) { return storageBlob(t, tarball), nil },
	plainWriter: func(t testing.TB, tarball []byte) (*blob, error) {
		var b bytes.Buffer
		w := estargz.NewWriter(&b)
		if err := w.AppendTar(bytes.NewReader(tarball)); err != nil {
			return nil, err
		}
		d, err := w.Close()
		return &blob{data: b.Bytes(), tocDigest: d}, err
	},
}

// plainWriter writes files as others are, without holes.
const plainWriter = "stargz-snapshotter's writer"

// TestSparseTars has layers of tars with sparse files in each format that there
// is. Where a converter takes such a tar all files have the bytes that they had
// before it was made; where it makes no regular file of one, the layer is refused,
// and pulled whole.
//
// An ordinary pull of what BuildKit makes ends with an error, or without some of
// the files: the headers, which it leaves as they are, do not fit the contents.
func TestSparseTars(t *testing.T) {
	for format := range treetest.SparseFormats {
		tarball, contents := treetest.SparseTar(t, format)
		for converter, convert := range converters {
			t.Run(format+", "+converter, func(t *testing.T) {
				made, err := convert(t, tarball)
				if format == "GNU" && err != nil {
					return // nobody has such a layer
				}
				if err != nil {
					t.Fatal(err)
				}
				index, _, err := made.open()
				if format == "GNU" {
					if err == nil {
						t.Error("an entry without a type was taken")
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				checkSparse(t, made, index, contents)
				if converter == plainWriter {
					checkApplied(t, made, contents)
				}
			})
		}
	}
}

func checkSparse(t *testing.T, made *blob, index *Index, contents map[string][]byte) {
	t.Helper()
	data := dataFile(t, made, index)
	for name, want := range contents {
		inode := index.Root.Dir.Lookup(name)
		if inode == nil || inode.Size != int64(len(want)) {
			t.Errorf("%s: %+v", name, inode)
			continue
		}
		got := make([]byte, inode.Size)
		if _, err := data.ReadAt(got, inode.Data.Offset); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: other bytes than before", name)
		}
	}
	if n := index.Root.Dir.Len(); n != len(contents) {
		t.Errorf("%d names, want %d", n, len(contents))
	}
}

// checkApplied has containerd unpack a blob.
func checkApplied(t *testing.T, made *blob, contents map[string][]byte) {
	t.Helper()
	plain, err := gzip.NewReader(bytes.NewReader(made.data))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := archive.Apply(t.Context(), dir, plain); err != nil {
		t.Fatal(err)
	}
	for name, want := range contents {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: an ordinary pull has other bytes, %v", name, err)
		}
	}
}

// TestSparseTarsImported has the same tars as they are.
func TestSparseTarsImported(t *testing.T) {
	for format := range treetest.SparseFormats {
		tarball, contents := treetest.SparseTar(t, format)
		for _, form := range plainForms {
			t.Run(format+", "+form.name, func(t *testing.T) {
				made := form.compress(t, tarball)
				index, _ := made.mustOpen(t)
				if index.Compression != Whole {
					t.Errorf("compression %q", index.Compression)
				}
				checkSparse(t, made, index, contents)
			})
		}
	}
}

// TestLargeFileOfZeros has a file of zeros as containers/storage describes it: as
// one chunk, which is no more than a hole however large.
func TestLargeFileOfZeros(t *testing.T) {
	for size, ok := range map[int64]bool{MaxChunkSize: true, MaxChunkSize + 1: true, 3 * MaxChunkSize: true, 5 * MaxChunkSize: false} {
		sum := sumZeros(size, make([]byte, 1<<20))
		index, err := Parse(bytes.NewReader(tocOf(t, fmt.Sprintf(`{"name":"f","type":"reg","size":%d,"offset":1,"endOffset":99,"digest":"sha256:%x"}`, size, sum))), hostileFooter)
		if (err == nil) != ok {
			t.Errorf("%d bytes: %v", size, err)
		} else if ok && (index.DataSize != align(size) || size > MaxChunkSize && len(index.Chunks) != 0) {
			t.Errorf("%d bytes: %d chunks, %d bytes of data", size, len(index.Chunks), index.DataSize)
		}
	}
}
