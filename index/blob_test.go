package index

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/containerd/stargz-snapshotter/estargz/externaltoc"
	"github.com/containerd/stargz-snapshotter/estargz/zstdchunked"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/tree"
)

// member is a member of a tar.
type member struct {
	tar.Header
	data []byte
}

func tarOf(t testing.TB, members []member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := m.Header
		h.Size = int64(len(m.data))
		h.Format = tar.FormatPAX
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(m.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tarHeader returns the header of a member whose bytes are still to come.
func tarHeader(t testing.TB, h tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(&h); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// blob is a layer in a lazily readable format.
type blob struct {
	data      []byte
	toc       []byte // if it is external
	tocDigest digest.Digest
	diffID    digest.Digest // of a blob without a TOC
}

// open finds and parses the TOC of b.
func (b *blob) open() (*Index, Footer, error) {
	if b.diffID != "" {
		index, err := b.importIt()
		return index, Footer{}, err
	}
	f, err := ParseFooter(b.data[max(0, len(b.data)-TailSize):], int64(len(b.data)))
	if err != nil {
		return nil, f, err
	}
	toc := b.toc
	if f.TOCOffset >= 0 {
		toc = b.data[f.TOCOffset:][:f.TOCSize]
	}
	index, err := Parse(bytes.NewReader(toc), f)
	return index, f, err
}

// mustOpen is open of a good blob.
func (b *blob) mustOpen(t testing.TB) (*Index, Footer) {
	t.Helper()
	index, f, err := b.open()
	if err != nil {
		t.Fatal(err)
	}
	if index.TOCDigest != b.tocDigest {
		t.Fatalf("TOC digest %s, want %s", index.TOCDigest, b.tocDigest)
	}
	return index, f
}

// form is a way to make a blob from a tar.
type form struct {
	name     string
	compress func(t testing.TB, tarball []byte) *blob
}

var forms = []form{
	{"estargz", func(t testing.TB, b []byte) *blob { return appendTar(t, b, estargz.NewGzipCompressor(), 4096, 0) }},
	{"estargz-big-chunks", func(t testing.TB, b []byte) *blob { return appendTar(t, b, estargz.NewGzipCompressor(), 0, 0) }},
	{"estargz-min-chunk", func(t testing.TB, b []byte) *blob {
		return appendTar(t, b, estargz.NewGzipCompressor(), 4096, 30_000)
	}},
	{"zstdchunked", func(t testing.TB, b []byte) *blob {
		return appendTar(t, b, &zstdchunked.Compressor{CompressionLevel: zstd.SpeedDefault}, 4096, 0)
	}},
	{"zstdchunked-min-chunk", func(t testing.TB, b []byte) *blob {
		return appendTar(t, b, &zstdchunked.Compressor{CompressionLevel: zstd.SpeedDefault}, 4096, 30_000)
	}},
	{"external", func(t testing.TB, b []byte) *blob {
		c := externaltoc.NewGzipCompressor()
		made := appendTar(t, b, c, 4096, 0)
		var toc bytes.Buffer
		if _, err := c.WriteTOCTo(&toc); err != nil {
			t.Fatal(err)
		}
		made.toc = toc.Bytes()
		return made
	}},
	{"containers-storage", storageBlob},
}

// appendTar has stargz-snapshotter's library write a blob.
func appendTar(t testing.TB, tarball []byte, c estargz.Compressor, chunk, minChunk int) *blob {
	t.Helper()
	var b bytes.Buffer
	w := estargz.NewWriterWithCompressor(&b, c)
	w.ChunkSize, w.MinChunkSize = chunk, minChunk
	if err := w.AppendTar(bytes.NewReader(tarball)); err != nil {
		t.Fatal(err)
	}
	d, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return &blob{data: b.Bytes(), tocDigest: d}
}

// build has stargz-snapshotter's library convert a tar as its tools do.
func build(t testing.TB, tarball []byte, opts ...estargz.Option) *blob {
	t.Helper()
	made, err := estargz.Build(io.NewSectionReader(bytes.NewReader(tarball), 0, int64(len(tarball))), opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer made.Close()
	data, err := io.ReadAll(made)
	if err != nil {
		t.Fatal(err)
	}
	return &blob{data: data, tocDigest: made.TOCDigest()}
}

// storageWriter writes a blob as containers/storage does: a frame ends before
// and behind every chunk, chunks of zeros are marked, and a file of one chunk
// has no digest but its own.
type storageWriter struct {
	out     bytes.Buffer
	frame   *zstd.Encoder
	entries []map[string]any
}

func storageBlob(t testing.TB, tarball []byte) *blob {
	t.Helper()
	w := &storageWriter{}
	w.frame, _ = zstd.NewWriter(&w.out)
	for r := tar.NewReader(bytes.NewReader(tarball)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		w.add(t, h, data)
	}
	w.frame.Write(make([]byte, 1024)) // the end of the tar
	w.restart()
	return w.finish(t)
}

func (w *storageWriter) restart() int64 {
	w.frame.Close()
	w.frame.Reset(&w.out)
	return int64(w.out.Len())
}

func (w *storageWriter) add(t testing.TB, h *tar.Header, data []byte) {
	types := map[byte]string{
		tar.TypeReg: "reg", tar.TypeLink: "hardlink", tar.TypeChar: "char", tar.TypeBlock: "block",
		tar.TypeDir: "dir", tar.TypeFifo: "fifo", tar.TypeSymlink: "symlink",
	}
	e := map[string]any{
		"type": types[h.Typeflag], "name": h.Name, "linkName": h.Linkname, "mode": h.Mode, "size": h.Size,
		"uid": h.Uid, "gid": h.Gid, "modtime": h.ModTime, "devMajor": h.Devmajor, "devMinor": h.Devminor,
	}
	xattrs := map[string][]byte{}
	for key, value := range h.PAXRecords {
		if name, ok := bytes.CutPrefix([]byte(key), []byte("SCHILY.xattr.")); ok {
			xattrs[string(name)] = []byte(value)
		}
	}
	e["xattrs"] = xattrs
	w.entries = append(w.entries, e)
	w.frame.Write(tarHeader(t, *h))
	if len(data) > 0 {
		w.file(e, data)
	}
	w.frame.Write(make([]byte, -len(data)&511))
}

func (w *storageWriter) file(e map[string]any, data []byte) {
	const chunkSize = 5000
	at := w.restart()
	e["digest"], e["offset"] = digest.FromBytes(data).String(), at
	for off := 0; off < len(data); off += chunkSize {
		chunk := data[off:min(len(data), off+chunkSize)]
		w.frame.Write(chunk)
		c := e
		if off > 0 {
			c = map[string]any{"type": "chunk", "name": e["name"], "chunkOffset": off, "offset": at}
			w.entries = append(w.entries, c)
		}
		if len(data) > chunkSize {
			c["chunkSize"], c["chunkDigest"] = len(chunk), digest.FromBytes(chunk).String()
			if len(bytes.Trim(chunk, "\x00")) == 0 {
				c["chunkType"] = "zeros"
			}
		}
		at = w.restart()
	}
	e["endOffset"] = at
}

func (w *storageWriter) finish(t testing.TB) *blob {
	toc, err := json.Marshal(map[string]any{"version": 1, "entries": w.entries, "tarSplitDigest": "sha256:x"})
	if err != nil {
		t.Fatal(err)
	}
	compressed := w.frame.EncodeAll(toc, nil)
	at := w.out.Len() + skippableHeader
	w.skippable(compressed)
	split := w.out.Len() + skippableHeader
	w.skippable([]byte("tar-split"))
	var footer []byte
	for _, n := range []int{at, len(compressed), len(toc), 1, split, 9, 100} {
		footer = binary.LittleEndian.AppendUint64(footer, uint64(n))
	}
	w.skippable(append(footer, "GNUlInUx"...))
	return &blob{data: w.out.Bytes(), tocDigest: digest.FromBytes(toc)}
}

func (w *storageWriter) skippable(p []byte) {
	w.out.Write(skippableMagic)
	binary.Write(&w.out, binary.LittleEndian, uint32(len(p)))
	w.out.Write(p)
}

// dataFile makes the data file of a layer from its blob, chunk by chunk.
func dataFile(t testing.TB, b *blob, index *Index) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "data")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(index.DataSize); err != nil {
		t.Fatal(err)
	}
	table := tableOf(t, index)
	for _, c := range index.Chunks {
		p, err := readChunk(b, table, c)
		if err != nil {
			t.Fatalf("chunk %+v: %v", c, err)
		}
		if _, err := f.WriteAt(p, c.DataOffset); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// tableOf returns the table of index.
func tableOf(t testing.TB, index *Index) Table {
	t.Helper()
	table, err := DecodeTable(EncodeTable(index))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func readChunk(b *blob, table Table, c Chunk) ([]byte, error) {
	r, err := table.NewReader(bufio.NewReader(bytes.NewReader(b.data[c.BlobOffset:c.BlobEnd])), c)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if _, err := io.CopyN(io.Discard, r, c.InnerOffset); err != nil {
		return nil, err
	}
	p := make([]byte, c.Size)
	if _, err := io.ReadFull(r, p); err != nil {
		return nil, err
	}
	if sha256.Sum256(p) != c.Digest {
		return nil, fmt.Errorf("wrong digest")
	}
	return p, nil
}

// tocOf returns a compressed TOC with the entries, JSON objects.
func tocOf(t testing.TB, entries string) []byte {
	t.Helper()
	return packTOC(t, []byte(`{"version":1,"entries":[`+entries+`]}`))
}

func packTOC(t testing.TB, document []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	zw, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	tw := tar.NewWriter(zw)
	tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: estargz.TOCTarName, Size: int64(len(document))})
	tw.Write(document)
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// lookupIn returns the inode at path, or nil.
func lookupIn(root *tree.Inode, path string) *tree.Inode {
	for name := range strings.SplitSeq(path, "/") {
		if path == "" {
			break
		}
		if root = root.Dir.Lookup(name); root == nil {
			return nil
		}
	}
	return root
}
