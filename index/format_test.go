package index

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/containerd/stargz-snapshotter/estargz/zstdchunked"
	"github.com/klauspost/compress/zstd"
)

func someMembers() []member {
	return []member{dir("d"), reg("d/a", strings.Repeat("a", 10_000)), reg("b", "b"), symlink("s", "b"), reg("c", strings.Repeat("c", 100))}
}

func TestFooters(t *testing.T) {
	tarball := tarOf(t, someMembers())
	for _, form := range forms {
		b := form.compress(t, tarball)
		size := int64(len(b.data))
		_, f := b.mustOpen(t)
		want := Gzip
		if strings.HasPrefix(form.name, "zstd") || strings.HasPrefix(form.name, "containers") {
			want = Zstd
		}
		if f.Compression != want || f.PayloadSize <= 0 || f.PayloadSize >= size {
			t.Errorf("%s: %+v", form.name, f)
		}
		if (f.TOCOffset == -1) != (b.toc != nil) {
			t.Errorf("%s: %+v", form.name, f)
		}
		if whole, err := ParseFooter(b.data, size); err != nil || whole != f {
			t.Errorf("%s: %+v, %v from the whole blob", form.name, whole, err)
		}
		for n := range TailSize - 1 { // some tails are too short, none may panic
			ParseFooter(b.data[len(b.data)-n:], size)
		}
		// A blob that claims to be shorter than its TOC needs.
		if f.TOCOffset >= 0 {
			if _, err := ParseFooter(b.data[len(b.data)-TailSize:], f.TOCOffset); err == nil {
				t.Errorf("%s: no error for a blob cut at its TOC", form.name)
			}
		}
	}
}

// TestLegacyFooter has the footer of stargz, before eStargz.
func TestLegacyFooter(t *testing.T) {
	b := appendTar(t, tarOf(t, someMembers()), estargz.NewGzipCompressor(), 4096, 0)
	_, f := b.mustOpen(t)
	old := b.data[:len(b.data)-estargz.FooterSize]
	footer := gzipForms[2].FooterSize()
	b.data = append(old[:len(old):len(old)], legacyFooter(f.TOCOffset)...)
	if got := int64(len(b.data) - len(old)); got != footer {
		t.Fatalf("footer of %d bytes, want %d", got, footer)
	}
	if _, g := b.mustOpen(t); g != f {
		t.Errorf("%+v, want %+v", g, f)
	}
}

func legacyFooter(offset int64) []byte {
	const digits = "0123456789abcdef"
	extra := []byte("0000000000000000STARGZ")
	for i := 15; offset > 0; i-- {
		extra[i] = digits[offset%16]
		offset /= 16
	}
	return estargz.CreateGzipFooter(extra)
}

func TestHostileFooters(t *testing.T) {
	footer := func(extra string) []byte { return estargz.CreateGzipFooter([]byte(extra)) }
	chunked := func(numbers ...uint64) []byte {
		b := bytes.Repeat([]byte{0}, 100)
		var p []byte
		for _, n := range numbers {
			for i := range 8 {
				p = append(p, byte(n>>(8*i)))
			}
		}
		p = append(p, "GNUlInUx"...)
		b = append(b, skippableMagic...)
		b = append(b, byte(len(p)), 0, 0, 0)
		return append(b, p...)
	}
	const minus = ^uint64(0)
	for name, tail := range map[string][]byte{
		"negative offset":      footer("SG\x16\x00-000000000000001STARGZ"),
		"negative offset 2":    footer("SG\x16\x00-000000000000002STARGZ"),
		"offset behind":        footer("SG\x16\x00000000000000ffffSTARGZ"),
		"offset at footer":     footer("SG\x16\x000000000000000065STARGZ"),
		"huge offset":          footer("SG\x16\x007fffffffffffffffSTARGZ"),
		"no number":            footer("SG\x16\x00................STARGZ"),
		"legacy negative":      footer("-000000000000002STARGZ"),
		"no extra field":       append([]byte{0x1f, 0x8b, 8, 0}, make([]byte, 42)...),
		"short extra field":    append([]byte{0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 4, 0, 'S', 'G', 22, 0}, make([]byte, 35)...),
		"chunked TOC behind":   chunked(200, 10, 10, 1),
		"chunked huge":         chunked(50, 1<<40, 10, 1),
		"chunked type":         chunked(50, 10, 10, 2),
		"chunked at 0":         chunked(0, 10, 10, 1),
		"chunked negative":     chunked(minus, 10, 10, 1),
		"chunked length":       chunked(50, minus, 10, 1),
		"chunked overflow":     chunked(1<<63-1, 1<<63-1, 10, 1),
		"chunked empty":        chunked(50, 0, 10, 1),
		"long chunked type":    chunked(50, 10, 10, 0, 70, 10, 10),
		"long chunked behind":  chunked(190, 11, 10, 1, 70, 10, 10),
		"chunked wrong length": chunked(50, 10, 10, 1, 1),
	} {
		pad := append(make([]byte, 100), tail...)
		if f, err := ParseFooter(pad, int64(len(pad))); err == nil {
			t.Errorf("%s: %+v", name, f)
		}
	}
	if f, err := ParseFooter(make([]byte, 10), 9); err == nil {
		t.Errorf("tail larger than the blob: %+v", f)
	}
	for _, plain := range [][]byte{nil, gzipped([]byte("tar")), bytes.Repeat([]byte{0}, 1000)} {
		if _, err := ParseFooter(plain, int64(len(plain))); !errors.Is(err, ErrNoTOC) {
			t.Errorf("plain layer: %v", err)
		}
	}
	// The tar-split data may come first.
	tail := chunked(60, 10, 10, 1, 50, 2, 10)
	if f, err := ParseFooter(tail, int64(len(tail))); err != nil || f.PayloadSize != 42 {
		t.Errorf("%+v, %v", f, err)
	}
}

// TestLandmarks has stargz-snapshotter's library sort files that are to be
// fetched first.
func TestLandmarks(t *testing.T) {
	tarball := tarOf(t, someMembers())
	for _, opt := range []estargz.Option{

		estargz.WithCompression(zstdCompression{new(zstdchunked.Decompressor), &zstdchunked.Compressor{CompressionLevel: zstd.SpeedDefault}}),
		estargz.WithCompressionLevel(1),
		estargz.WithMinChunkSize(50_000),
	} {
		first := build(t, tarball, opt, estargz.WithPrioritizedFiles([]string{"b"}))
		index, _ := first.mustOpen(t)
		var inside, outside int
		for _, c := range index.Chunks {
			if c.BlobOffset < index.PrefetchSize {
				inside++
			} else {
				outside++
			}
		}
		if inside != 1 || outside != 2 {
			t.Errorf("%d chunks before the landmark, %d behind", inside, outside)
		}
		if n := index.Root.Dir.Len(); n != 4 {
			t.Errorf("%d names in the root", n)
		}
		none, _ := build(t, tarball, opt).mustOpen(t)
		if none.PrefetchSize != 0 || none.Root.Dir.Len() != 4 {
			t.Errorf("prefetch %d, %d names without a landmark", none.PrefetchSize, none.Root.Dir.Len())
		}
	}
}

type zstdCompression struct {
	*zstdchunked.Decompressor
	*zstdchunked.Compressor
}

// TestSparse has files of zeros, which must cost as good as nothing: one that
// stargz-snapshotter's library wrote, and one of 5 GiB.
func TestSparse(t *testing.T) {
	const size = 100 << 20
	var b bytes.Buffer
	w := estargz.NewWriterLevel(&b, 1)
	h := reg("sparse", "").Header
	h.Size = size
	if err := w.AppendTar(io.MultiReader(bytes.NewReader(tarHeader(t, h)), io.LimitReader(zeros{}, size+1024))); err != nil {
		t.Fatal(err)
	}
	d, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	made := &blob{data: b.Bytes(), tocDigest: d}
	index, _ := made.mustOpen(t)
	if len(index.Chunks) != 0 || index.DataSize != size {
		t.Errorf("%d chunks, %d bytes", len(index.Chunks), index.DataSize)
	}

	const large, chunk = 5<<30 + 5, 4 << 20
	zeroSum := "sha256:" + hex.EncodeToString(sumOf(make([]byte, chunk)))
	var entries strings.Builder
	for off := 0; off < large; off += chunk {
		if off == 0 {
			fmt.Fprintf(&entries, `{"name":"f","type":"reg","size":%d,"offset":1,"chunkSize":%d,"chunkDigest":%q}`, large, chunk, zeroSum)
			continue
		}
		fmt.Fprintf(&entries, `,{"name":"f","type":"chunk","offset":%d,"chunkOffset":%d,"chunkSize":%d,"chunkDigest":%q}`,
			off/chunk*10, off, min(chunk, large-off), zeroSum)
	}
	f := hostileFooter
	f.PayloadSize = 100_000
	index, err = Parse(bytes.NewReader(tocOf(t, entries.String())), f)
	if err != nil {
		t.Fatal(err)
	}
	if len(index.Chunks) != 1 || index.Chunks[0].DataOffset != 5<<30 || index.DataSize != 5<<30+4096 {
		t.Errorf("%d chunks, %d bytes", len(index.Chunks), index.DataSize)
	}
	if got := index.Root.Dir.Lookup("f").Size; got != large {
		t.Errorf("file of %d bytes", got)
	}
}

// TestZeroDigest has a digest that is all zeros, which is not that of zeros.
func TestZeroDigest(t *testing.T) {
	sum := "sha256:" + strings.Repeat("0", 64)
	index, err := Parse(bytes.NewReader(tocOf(t, `{"name":"a","type":"reg","size":100000,"offset":1,"digest":"`+sum+`"}`)), hostileFooter)
	if err != nil {
		t.Fatal(err)
	}
	if len(index.Chunks) != 1 {
		t.Errorf("%d chunks", len(index.Chunks))
	}
}

func sumOf(p []byte) []byte {
	sum := sha256.Sum256(p)
	return sum[:]
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
