package inflate_test

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"testing"

	"github.com/ladle-dev/ladle/inflate"
)

// bitWriter writes deflate streams by hand.
type bitWriter struct {
	out  []byte
	hold uint64
	n    uint
}

// put writes the low n bits of v, the lowest first.
func (w *bitWriter) put(v uint64, n uint) *bitWriter {
	w.hold |= v << w.n
	for w.n += n; w.n >= 8; w.n -= 8 {
		w.out = append(w.out, byte(w.hold))
		w.hold >>= 8
	}
	return w
}

// code writes a Huffman code of n bits, its highest first.
func (w *bitWriter) code(v uint64, n uint) *bitWriter {
	for i := range n {
		w.put(v>>(n-1-i)&1, 1)
	}
	return w
}

func (w *bitWriter) String() string {
	b := bytes.Clone(w.out)
	if w.n > 0 {
		b = append(b, byte(w.hold))
	}
	return string(b)
}

// dynamic begins a last block with dynamic codes. meta are the lengths of the code of code
// lengths in the order of RFC 1951, 3.2.7.
func dynamic(literals, dists int, meta ...uint64) *bitWriter {
	w := new(bitWriter).put(1, 1).put(2, 2)
	w.put(uint64(literals-257), 5).put(uint64(dists-1), 5).put(uint64(len(meta)-4), 4)
	for _, m := range meta {
		w.put(m, 3)
	}
	return w
}

// zeros writes n code lengths of 0 by symbol 18, which has the code v of size bits.
func (w *bitWriter) zeros(n int, v uint64, size uint) *bitWriter {
	for n > 0 {
		k := min(n, 138)
		if n-k > 0 && n-k < 11 {
			k = n - 11
		}
		w.code(v, size).put(uint64(k-11), 7)
		n -= k
	}
	return w
}

// onlyEnd declares codes in which the end of the block has 1 bit and dists distances have
// size bits each: meta codes are 0 for 18, 10 for 1, 11 for size.
func onlyEnd(dists int, size uint64) *bitWriter {
	meta := make([]uint64, 19)
	order := []int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
	for i, sym := range order {
		switch uint64(sym) {
		case 18:
			meta[i] = 1
		case 1, size:
			meta[i] = 2
		}
	}
	other := uint64(3)
	if size == 0 {
		other = 2
	}
	w := dynamic(257, dists, meta...)
	w.zeros(256, 0, 1)
	one := uint64(5) - other // the smaller of the two symbols has 10
	w.code(one, 2)
	for range dists {
		w.code(other, 2)
	}
	return w
}

// oneBit is onlyEnd for distances of 1 bit.
func oneBit(dists int) *bitWriter {
	meta := make([]uint64, 19)
	meta[2], meta[17] = 1, 1
	w := dynamic(257, dists, meta...).zeros(256, 1, 1)
	for range 1 + dists {
		w.code(0, 1)
	}
	return w
}

// hostile are streams that no compressor writes, by what is wrong, or odd, with them.
var hostile = map[string]string{
	"type 3":                       new(bitWriter).put(1, 1).put(3, 2).put(0, 29).String(),
	"stored, other length":         "\x01\x05\x00\xfb\xffhello",
	"stored":                       "\x01\x05\x00\xfa\xffhello",
	"stored, cut":                  "\x01\x05\x00\xfa\xffhell",
	"stored, empty":                "\x01\x00\x00\xff\xff",
	"fixed, empty":                 new(bitWriter).put(1, 1).put(1, 2).code(0, 7).String(),
	"fixed, distance too far":      new(bitWriter).put(1, 1).put(1, 2).code(0x30, 8).code(1, 7).code(1, 5).code(0, 7).String(),
	"fixed, distance 1":            new(bitWriter).put(1, 1).put(1, 2).code(0x30, 8).code(1, 7).code(0, 5).code(0, 7).String(),
	"fixed, distance symbol 30":    new(bitWriter).put(1, 1).put(1, 2).code(0x30, 8).code(1, 7).code(30, 5).code(0, 7).String(),
	"fixed, literal symbol 286":    new(bitWriter).put(1, 1).put(1, 2).code(0xc6, 8).code(0, 7).String(),
	"fixed, first byte is a match": new(bitWriter).put(1, 1).put(1, 2).code(1, 7).code(0, 5).code(0, 7).String(),
	"287 literals":                 dynamic(287, 1, 0, 0, 0, 0).String(),
	"31 distances":                 dynamic(257, 31, 0, 0, 0, 0).String(),
	"meta code empty":              dynamic(257, 1, 0, 0, 0, 0).put(0, 60).String(),
	"meta code of one symbol":      dynamic(257, 1, 0, 0, 1, 0).put(0, 60).String(),
	"meta code over-subscribed":    dynamic(257, 1, 1, 1, 1, 0).put(0, 60).String(),
	"meta code incomplete":         dynamic(257, 1, 2, 2, 2, 0).put(0, 60).String(),
	"repeat of nothing":            dynamic(257, 1, 1, 0, 0, 1).code(1, 1).put(0, 60).String(),
	"no end of block":              dynamic(257, 1, 0, 0, 1, 1).zeros(258, 1, 1).put(0, 60).String(),
	"zeros over the end":           dynamic(257, 1, 0, 0, 1, 1).zeros(300, 1, 1).put(0, 60).String(),
	"only end, no distance":        onlyEnd(1, 0).code(0, 1).String(),
	"only end, other code":         onlyEnd(1, 0).code(1, 1).put(0, 20).String(),
	"only end, one distance":       oneBit(1).code(0, 1).String(),
	"only end, two distances":      oneBit(2).code(0, 1).String(),
	"only end, three distances":    oneBit(3).code(0, 1).String(),
	"one distance of 2 bits":       onlyEnd(1, 2).code(0, 1).String(),
	"three distances of 2 bits":    onlyEnd(3, 2).code(0, 1).String(),
	"four distances of 2 bits":     onlyEnd(4, 2).code(0, 1).String(),
	"five distances of 2 bits":     onlyEnd(5, 2).code(0, 1).String(),
}

// TestHostileStreams compares what is made of them with compress/flate; the fuzz target
// goes on from here.
func TestHostileStreams(t *testing.T) {
	good := 0
	for name, s := range hostile {
		want, wantErr := io.ReadAll(flate.NewReader(bytes.NewReader([]byte(s))))
		got, err := io.ReadAll(inflate.NewRaw(bytes.NewReader([]byte(s))))
		if (err == nil) != (wantErr == nil) || err == nil && !bytes.Equal(got, want) {
			t.Errorf("%s: %q %v, want %q %v", name, got, err, want, wantErr)
		}
		if err == nil {
			good++
		} else if !errors.Is(err, inflate.ErrCorrupt) && err != io.ErrUnexpectedEOF {
			t.Errorf("%s: %v", name, err)
		}
	}
	if good != 8 {
		t.Errorf("%d of %d streams are good", good, len(hostile))
	}
}
