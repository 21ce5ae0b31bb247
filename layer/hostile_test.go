package layer_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"math"
	"os"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/internal/registrytest"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/store"
)

// A chunk table that lies about the blob costs its own readers an error. It
// makes no reader wait for ever, and nothing is written but the data file.
func TestHostileTables(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("content "), 1000)
	var blob bytes.Buffer
	for range 3 {
		w := gzip.NewWriter(&blob)
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	size := int64(blob.Len())
	stream := size / 3
	good := func() []index.Chunk {
		var all []index.Chunk
		for i := range int64(3) {
			all = append(all, index.Chunk{DataOffset: 8192 * i, Size: 8000, BlobOffset: i * stream, BlobEnd: (i + 1) * stream, Digest: sha256.Sum256(content)})
		}
		return all
	}
	const refused, wrong, right = "refused", "wrong", "right"
	for name, test := range map[string]struct {
		change func(c []index.Chunk)
		want   string // what comes of opening and reading it
	}{
		"none":                         {func([]index.Chunk) {}, right},
		"chunks overlap":               {func(c []index.Chunk) { c[1].DataOffset = 7999 }, refused},
		"chunks in no order":           {func(c []index.Chunk) { c[0], c[2] = c[2], c[0] }, refused},
		"streams overlap":              {func(c []index.Chunk) { c[1].BlobOffset-- }, refused},
		"the same stream twice":        {func(c []index.Chunk) { c[1].BlobOffset, c[1].BlobEnd = c[0].BlobOffset, c[0].BlobEnd }, refused},
		"negative offset":              {func(c []index.Chunk) { c[0].DataOffset = -1 }, refused},
		"negative size":                {func(c []index.Chunk) { c[0].Size = -1 }, refused},
		"huge chunk":                   {func(c []index.Chunk) { c[2].Size = math.MaxInt64 }, refused},
		"offsets that overflow":        {func(c []index.Chunk) { c[2].DataOffset = math.MaxInt64 - 1 }, refused},
		"inner offset that overflows":  {func(c []index.Chunk) { c[2].InnerOffset = math.MaxInt64 }, refused},
		"behind the data file":         {func(c []index.Chunk) { c[2].DataOffset = 8192*2 + 193 }, refused},
		"behind the blob":              {func(c []index.Chunk) { c[2].BlobOffset, c[2].BlobEnd = 10*size, 10*size+100 }, wrong},
		"end behind the blob":          {func(c []index.Chunk) { c[2].BlobEnd = math.MaxInt64 }, right},
		"behind the stream":            {func(c []index.Chunk) { c[1].InnerOffset = 1 }, wrong},
		"far behind the stream":        {func(c []index.Chunk) { c[1].InnerOffset = 1 << 40 }, wrong},
		"in the middle of a stream":    {func(c []index.Chunk) { c[1].BlobOffset++ }, wrong},
		"end before that of a stream":  {func(c []index.Chunk) { c[1].BlobEnd -= 20 }, right}, // it ends where it ends
		"end in the middle of another": {func(c []index.Chunk) { c[0].BlobEnd, c[1].BlobOffset = stream+10, stream+10 }, wrong},
		"digest":                       {func(c []index.Chunk) { c[1].Digest[0]++ }, wrong},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // who reads wrong bytes waits for right ones
			b := newBench(t, registrytest.Options{}, someFiles(80, 1)[:1])
			if test.want == wrong {
				b.restart(t, layer.Options{NoFill: true, NoPrefetch: true, ReadTimeout: 5 * time.Second})
			}
			x := &index.Index{DataSize: 3 * 8192, Compression: index.Gzip, Chunks: good()}
			test.change(x.Chunks)
			id := store.ID{Blob: b.AddBlob(blob.Bytes()), TOC: digest.FromString("toc")}
			data, err := b.store.Add(id, store.Content{
				DataSize: x.DataSize, Chunks: index.EncodeTable(x), NChunks: len(x.Chunks), Sources: []string{b.Ref("app:1")},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer data.Close()
			l, err := b.set.Layer(id)
			if (err != nil) != (test.want == refused) {
				t.Fatalf("opened with %v", err)
			}
			if err != nil {
				return
			}
			b.opened = append(b.opened, l)
			got := make([]byte, x.DataSize)
			_, err = l.ReadAt(context.Background(), got, 0)
			if (err == nil) != (test.want == right) {
				t.Errorf("read with %v", err)
			}
			info, err := os.Stat(dataFile(t, b.root))
			if err != nil || info.Size() != x.DataSize {
				t.Errorf("data file: %v, %v", info.Size(), err)
			}
			for i := range 2 {
				piece := got[8192*i:][:8000]
				if err == nil && test.want == right && !bytes.Equal(piece, content) {
					t.Errorf("wrong bytes in chunk %d", i)
				}
			}
		})
	}
}
