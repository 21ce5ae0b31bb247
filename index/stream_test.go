package index

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// twoStreams returns two streams, one behind the other, and the length of the
// first.
func twoStreams(t *testing.T, c Compression) ([]byte, int) {
	t.Helper()
	var b bytes.Buffer
	var first int
	for _, text := range []string{"first", "second"} {
		var w io.WriteCloser = gzip.NewWriter(&b)
		if c == Zstd {
			w, _ = zstd.NewWriter(&b)
		}
		w.Write([]byte(text))
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if first == 0 {
			first = b.Len()
		}
	}
	return b.Bytes(), first
}

// gate fails the test when it is read behind its end.
type gate struct {
	t *testing.T
	r io.Reader
}

func (g gate) Read(p []byte) (int, error) {
	n, err := g.r.Read(p)
	if err == io.EOF {
		g.t.Error("read further than was asked for")
	}
	return n, err
}

// TestStreamStops reads what is wanted of a stream: the source is not waited
// for when the bytes are there.
func TestStreamStops(t *testing.T) {
	for _, c := range []Compression{Gzip, Zstd} {
		b, first := twoStreams(t, c)
		for range 3 { // the pool's
			r, err := c.NewReader(gate{t, bytes.NewReader(b[:first])})
			if err != nil {
				t.Fatal(err)
			}
			p := make([]byte, 5)
			if _, err := io.ReadFull(r, p); err != nil || string(p) != "first" {
				t.Fatalf("%s: %q, %v", c, p, err)
			}
			if err := errors.Join(r.Close(), r.Close()); err != nil {
				t.Fatal(err)
			}
			if n, err := r.Read(p); n != 0 || err != io.EOF {
				t.Errorf("%s: read of a closed stream: %d, %v", c, n, err)
			}
		}
	}
}

// TestStreamEnds reads a gzip stream with another one behind it.
func TestStreamEnds(t *testing.T) {
	b, _ := twoStreams(t, Gzip)
	r, err := Gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if p, err := io.ReadAll(r); err != nil || string(p) != "first" {
		t.Errorf("%q, %v", p, err)
	}
}

func TestStreamDamaged(t *testing.T) {
	for _, c := range []Compression{Gzip, Zstd} {
		b, first := twoStreams(t, c)
		for _, damaged := range [][]byte{nil, b[:1], b[:first-1], []byte("something else, quite long")} {
			r, err := c.NewReader(bytes.NewReader(damaged))
			if err == nil {
				_, err = io.ReadAll(r)
				r.Close()
			}
			// Zstd frames follow one another: none at all is no error.
			if err == nil && !(c == Zstd && len(damaged) == 0) {
				t.Errorf("%s: no error for %q", c, damaged)
			}
		}
	}
	if _, err := Compression("lzma").NewReader(bytes.NewReader(nil)); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}

// TestWindow has a zstd stream that wants its decoder to keep 1 GiB.
func TestWindow(t *testing.T) {
	frame := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 20 << 3, 1, 0, 0}
	r, err := Zstd.NewReader(bytes.NewReader(frame))
	if err == nil {
		_, err = io.ReadAll(r)
		r.Close()
	}
	if !errors.Is(err, zstd.ErrWindowSizeExceeded) {
		t.Error(err)
	}
}

func newBuffered(p []byte) *bufio.Reader { return bufio.NewReaderSize(bytes.NewReader(p), 32<<10) }
