package layer_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/stargz-snapshotter/estargz"

	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/internal/registrytest"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/store"
)

// text returns n bytes that compress about as well as programs do.
func text(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	words := make([]string, 4096)
	for i := range words {
		words[i] = fmt.Sprintf("%x", r.Uint32()>>(r.IntN(20)))
	}
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(words[r.IntN(len(words))])
		b.WriteByte(' ')
	}
	return []byte(b.String()[:n])
}

// shapes are layers of 64 MiB.
var shapes = map[string]struct {
	fileSize int
	opts     []estargz.Option
}{
	"gzip/large": {64 << 20, []estargz.Option{estargz.WithChunkSize(4 << 20)}},
	"gzip/small": {8 << 10, nil},
	"zstd/large": {64 << 20, []estargz.Option{zstdChunked(), estargz.WithChunkSize(4 << 20)}},
	"zstd/small": {8 << 10, []estargz.Option{zstdChunked()}},
}

func benchLayer(b *testing.B, shape string) *bench {
	s := shapes[shape]
	all := text(1, 64<<20)
	var files []file
	for i := 0; i < len(all); i += s.fileSize {
		files = append(files, file{name: fmt.Sprintf("%08d", i), data: all[i : i+s.fileSize]})
	}
	return newBench(b, registrytest.Options{}, files, s.opts...)
}

// BenchmarkStream reads a layer of a registry on the same machine from its
// start to its end.
func BenchmarkStream(b *testing.B) {
	for shape := range shapes {
		b.Run(shape, func(b *testing.B) {
			bench := benchLayer(b, shape)
			p := make([]byte, 1<<20)
			b.SetBytes(64 << 20)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				b.StopTimer()
				bench.stop(b)
				bench.root = filepath.Join(b.TempDir(), fmt.Sprint("store", i))
				bench.start(b, layer.Options{NoFill: true, NoPrefetch: true}, store.Options{})
				l := bench.open(b)
				b.StartTimer()
				for off := int64(0); off < l.DataSize(); off += int64(len(p)) {
					n := min(int64(len(p)), l.DataSize()-off)
					if _, err := l.ReadAt(context.Background(), p[:n], off); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// BenchmarkDecompress is the part of BenchmarkStream that no daemon can do
// without.
func BenchmarkDecompress(b *testing.B) {
	for shape := range shapes {
		b.Run(shape, func(b *testing.B) {
			blob := benchLayer(b, shape).blob
			footer, err := index.ParseFooter(blob, int64(len(blob)))
			if err != nil {
				b.Fatal(err)
			}
			x, err := index.Parse(bytes.NewReader(blob[footer.TOCOffset:][:footer.TOCSize]), footer)
			if err != nil {
				b.Fatal(err)
			}
			p := make([]byte, 4<<20)
			b.SetBytes(64 << 20)
			b.ReportAllocs()
			for b.Loop() {
				for _, c := range x.Chunks {
					r, err := x.Compression.NewReader(bytes.NewReader(blob[c.BlobOffset:c.BlobEnd]))
					if err != nil {
						b.Fatal(err)
					}
					if _, err := io.ReadFull(r, p[:c.Size]); err != nil {
						b.Fatal(err)
					}
					r.Close()
				}
			}
		})
	}
}

// BenchmarkPresent reads what is there.
func BenchmarkPresent(b *testing.B) {
	for _, size := range []int{4 << 10, 128 << 10} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			bench := benchLayer(b, "gzip/small")
			l := bench.open(b)
			p := make([]byte, 1<<20)
			for off := int64(0); off+int64(len(p)) <= l.DataSize(); off += int64(len(p)) {
				if _, err := l.ReadAt(context.Background(), p, off); err != nil {
					b.Fatal(err)
				}
			}
			r := rand.New(rand.NewPCG(1, 2))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				off := r.Int64N((60<<20)/int64(size)) * int64(size)
				if _, err := l.ReadAt(context.Background(), p[:size], off); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
