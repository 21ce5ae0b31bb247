package index

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// framesOf compresses p as frames of up to most bytes, with levels, checksums and windows that
// r takes, some of them larger than usual, and frames to be skipped and empty ones between.
func framesOf(t testing.TB, r *rand.Rand, p []byte, most int) []byte {
	t.Helper()
	var encoders []*zstd.Encoder
	for n := range 4 {
		w, err := zstd.NewWriter(nil,
			zstd.WithEncoderConcurrency(1),
			zstd.WithEncoderLevel(zstd.EncoderLevel(1+r.IntN(3))),
			zstd.WithEncoderCRC(n%2 == 0),
			zstd.WithSingleSegment(r.IntN(2) == 0),
			zstd.WithWindowSize(1<<(20+n/2*4)))
		if err != nil {
			t.Fatal(err)
		}
		encoders = append(encoders, w)
	}
	var b bytes.Buffer
	for len(p) > 0 {
		switch r.IntN(4) {
		case 0:
			b.Write([]byte{0x50 + byte(r.IntN(16)), 0x2a, 0x4d, 0x18})
			skipped := noise(r, r.IntN(3)*50_000)
			binary.Write(&b, binary.LittleEndian, uint32(len(skipped)))
			b.Write(skipped)
		case 1:
			b.Write([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0}) // of nothing
		}
		n := min(len(p), 1+r.IntN(most))
		w := encoders[r.IntN(len(encoders))]
		if r.IntN(4) > 0 {
			b.Write(w.EncodeAll(p[:n], nil)) // says how long its content is
		} else {
			w.Reset(&b)
			w.Write(p[:n])
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		}
		p = p[n:]
	}
	return b.Bytes()
}

// TestChunksComeFromFrames imports zstd blobs of many kinds of frames, and reads each chunk from
// the bytes of its stream alone, in any order: they are those of the tar.
func TestChunksComeFromFrames(t *testing.T) {
	for seed := range uint64(9) {
		r := rand.New(rand.NewPCG(seed, 5))
		tarball := someTar(t, r)
		most := []int{10_000, 300_000, 9 << 20}[seed%3]
		b := plainBlob(tarball, framesOf(t, r, tarball, most))
		index, _ := b.mustOpen(t)
		if index.Compression != Zstd {
			t.Fatalf("compression %q", index.Compression)
		}
		table := tableOf(t, index)
		starts := map[int64]bool{}
		at := 0 // of the tar: the chunks are in its order
		for i := range table.Len() {
			c := table.At(i)
			starts[c.BlobOffset] = true
			got, err := readChunk(b, table, c)
			if err != nil {
				t.Fatalf("seed %d: chunk %+v: %v", seed, c, err)
			}
			n := bytes.Index(tarball[at:], got)
			if n < 0 {
				t.Fatalf("seed %d: chunk %+v is not in the tar behind %d", seed, c, at)
			}
			at += n
			if c.InnerOffset+c.Size > int64(most)+frameSpacing {
				t.Errorf("seed %d: a chunk ends at %d of its stream", seed, c.InnerOffset+c.Size)
			}
		}
		if want := len(tarball) / (most + frameSpacing) / 2; len(starts) < want {
			t.Errorf("seed %d: %d streams with chunks, want %d", seed, len(starts), want)
		}
	}
}

// TestFramesTakeBoundedMemory has frames of a few bytes that stand for many: the more there are,
// the farther the beginnings of streams are apart, and those with large windows are bounded.
func TestFramesTakeBoundedMemory(t *testing.T) {
	usual := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 13 << 3}
	large := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 15 << 3}
	u := newUnpacker(&counter{r: bytes.NewReader(usual)})
	for range int64(2 * maxFrames) {
		if err := u.addFrame(); err != nil {
			t.Fatal(err)
		}
		u.out += frameSpacing
	}
	if n := len(u.begins); n < moreFrames || n > 4*moreFrames {
		t.Errorf("%d streams", n)
	}
	u = newUnpacker(&counter{r: bytes.NewReader(large)})
	var err error
	for n := 0; err == nil && n <= maxFrames; n++ {
		err = u.addFrame()
	}
	if err == nil || len(u.begins) != maxFrames {
		t.Errorf("%d streams with large windows, %v", len(u.begins), err)
	}
}
