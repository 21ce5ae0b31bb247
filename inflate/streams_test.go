package inflate_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"testing"

	fastflate "github.com/klauspost/compress/flate"
)

// deflater is what both deflate packages return.
type deflater interface {
	io.WriteCloser
	Flush() error
}

// member returns a gzip member of plain, deflated by what open returns and flushed every
// so many bytes, or never for 0.
func member(t testing.TB, plain []byte, flush int, open func(io.Writer) (deflater, error)) []byte {
	t.Helper()
	b := bytes.NewBuffer([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255})
	w, err := open(b)
	if err != nil {
		t.Fatal(err)
	}
	for rest := plain; ; {
		part := rest
		if flush > 0 {
			part = rest[:min(len(rest), flush)]
		}
		rest = rest[len(part):]
		if _, err := w.Write(part); err != nil {
			t.Fatal(err)
		}
		if len(rest) == 0 {
			break
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return trailer(b.Bytes(), plain)
}

// trailer returns member with the CRC32 and the size of its contents appended.
func trailer(member, plain []byte) []byte {
	member = binary.LittleEndian.AppendUint32(member, crc32.ChecksumIEEE(plain))
	return binary.LittleEndian.AppendUint32(member, uint32(len(plain)))
}

func standard(level int) func(io.Writer) (deflater, error) {
	return func(w io.Writer) (deflater, error) { return flate.NewWriter(w, level) }
}

func fast(level int) func(io.Writer) (deflater, error) {
	return func(w io.Writer) (deflater, error) { return fastflate.NewWriter(w, level) }
}

// parallel returns a gzip member as pigz makes it: parts of 128 KiB are deflated side by
// side, each with the 32 KiB before it as dictionary, or independently of all others, and
// end in an empty stored block.
func parallel(t testing.TB, plain []byte, independent bool) []byte {
	t.Helper()
	b := bytes.NewBuffer([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255})
	for off := 0; ; off += 128 << 10 {
		var dict []byte
		if !independent {
			dict = plain[max(0, off-32<<10):off]
		}
		w, err := flate.NewWriterDict(b, 6, dict)
		if err != nil {
			t.Fatal(err)
		}
		end := min(len(plain), off+128<<10)
		if _, err := w.Write(plain[off:end]); err != nil {
			t.Fatal(err)
		}
		if end == len(plain) {
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			return trailer(b.Bytes(), plain)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
}

// stream is a gzip file and its contents.
type stream struct {
	blob, plain []byte
}

// cached is what streams returns.
var cached map[string]stream

// streams returns gzip files of the samples, by all compressors.
func streams(t testing.TB) map[string]stream {
	t.Helper()
	if cached != nil {
		return cached
	}
	all := map[string]stream{}
	add := func(name string, blob, plain []byte) { all[name] = stream{blob, plain} }
	for name, plain := range samples() {
		for _, level := range []int{gzip.HuffmanOnly, gzip.NoCompression, 1, 4, 6, 9} {
			add(fmt.Sprintf("%s/standard %d", name, level), member(t, plain, 0, standard(level)), plain)
			add(fmt.Sprintf("%s/fast %d", name, level), member(t, plain, 0, fast(level)), plain)
		}
		add(name+"/flushed", member(t, plain, 7000, standard(1)), plain)
		add(name+"/pieces", member(t, plain[:min(len(plain), 5000)], 9, standard(9)), plain[:min(len(plain), 5000)])
		add(name+"/dictionaries", parallel(t, plain, false), plain)
		add(name+"/independent", parallel(t, plain, true), plain)
		add(name+"/members", members(t, plain, 100<<10), plain)
		add(name+"/small members", members(t, plain, 9000), plain)
	}
	var blob, plain []byte
	for name, s := range all {
		if len(plain) < 8<<20 && len(name)%3 == 0 {
			blob, plain = append(blob, s.blob...), append(plain, s.plain...)
		}
	}
	add("all sorts", blob, plain)
	cached = all
	return all
}

// members returns plain in members of size bytes, with an empty one after each.
func members(t testing.TB, plain []byte, size int) (blob []byte) {
	t.Helper()
	for {
		part := plain[:min(len(plain), size)]
		blob = append(blob, member(t, part, 0, standard(5))...)
		blob = append(blob, member(t, nil, 0, standard(5))...)
		if plain = plain[len(part):]; len(plain) == 0 {
			return blob
		}
	}
}
