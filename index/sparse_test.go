package index

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
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
				checkSparse(t, made, index, contents)
			})
		}
	}
}

// holeyFile writes a file of some MB with pieces of noise of any length between holes of any
// length, and returns what it contains.
func holeyFile(t *testing.T, r *rand.Rand, path string) []byte {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var size int64
	for range 1 + r.IntN(30) {
		if r.IntN(8) > 0 {
			size += 1 + r.Int64N(1<<(10+r.IntN(12)))
		}
		p := noise(r, 1+r.IntN(1<<(8+r.IntN(12))))
		if _, err := f.WriteAt(p, size); err != nil {
			t.Fatal(err)
		}
		size += int64(len(p))
	}
	size += r.Int64N(2) * r.Int64N(3<<20)
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(io.NewSectionReader(f, 0, size))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// TestChunksOfSparseFiles imports tars with files of many pieces and holes, of which streams of
// the blob begin at any byte: each chunk comes from its own stream, and has no hole at its ends.
func TestChunksOfSparseFiles(t *testing.T) {
	packed := map[string]func(r *rand.Rand, p []byte) []byte{
		"plain":  func(_ *rand.Rand, p []byte) []byte { return p },
		"gzip":   func(r *rand.Rand, p []byte) []byte { return gzipOf(t, r, p) },
		"frames": func(r *rand.Rand, p []byte) []byte { return framesOf(t, r, p, 300_000) },
	}
	for format := range treetest.SparseFormats {
		for name, pack := range packed {
			t.Run(format+", "+name, func(t *testing.T) {
				r := rand.New(rand.NewPCG(uint64(len(format)), uint64(len(name))))
				dir := t.TempDir()
				contents := map[string][]byte{}
				for n := range 4 {
					file := fmt.Sprint(n)
					contents[file] = holeyFile(t, r, filepath.Join(dir, file))
				}
				tarball := treetest.SparseTarOf(t, format, dir)
				made := plainBlob(tarball, pack(r, tarball))
				index, _ := made.mustOpen(t)
				checkSparse(t, made, index, contents) // from the streams of chunks alone
				var inChunks, inFiles int64
				for _, c := range index.Chunks {
					inChunks += c.Size
				}
				for _, content := range contents {
					inFiles += int64(len(content))
				}
				if inChunks > int64(len(tarball)) || inFiles <= int64(len(tarball)) {
					t.Errorf("%d bytes are in chunks, of a tar of %d, whose files have %d", inChunks, len(tarball), inFiles)
				}
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
