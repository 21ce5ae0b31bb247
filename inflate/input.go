package inflate

import (
	"encoding/binary"
	"io"
)

const (
	inputSize = 128 << 10 // a power of two

	// margin is how many bytes the fast loop wants to have after its position: an
	// iteration loads 8 bytes at three places that are at most 7 bytes apart.
	margin = 24
)

// input is the compressed bytes, and the bit buffer before them.
//
// hold has the next n bits, the first of them in bit 0. Its bits from n on are
// either zero or already those of buf[pos:], since the fast loop loads words and
// counts only the bytes that fit.
type input struct {
	src  io.Reader
	buf  [inputSize + 8]byte // buf[pos:end] is not yet in hold
	pos  int
	end  int
	hold uint64
	n    uint
	off  int64 // of buf[0] in the compressed bytes
	err  error // of src, which is not read any more
}

func (in *input) reset(src io.Reader, off int64) {
	in.src, in.err = src, nil
	in.pos, in.end, in.off = 0, 0, off
	in.hold, in.n = 0, 0
}

// word returns the 8 bytes at i, which is less than inputSize. The mask spares the check
// of bounds.
func (in *input) word(i int) uint64 {
	i &= inputSize - 1
	return binary.LittleEndian.Uint64(in.buf[i : i+8])
}

// byteOffset returns the offset of the first byte of which no bit was consumed.
func (in *input) byteOffset() int64 { return in.off + int64(in.pos) - int64(in.n/8) }

// fill reads until there are margin bytes, or all that there are before an error.
func (in *input) fill() {
	if in.end-in.pos >= margin || in.err != nil {
		return
	}
	in.giveBack()
	in.off += int64(in.pos)
	in.end = copy(in.buf[:], in.buf[in.pos:in.end])
	in.pos = 0
	for empty := 0; in.end < margin && in.err == nil; {
		n, err := in.src.Read(in.buf[in.end:inputSize])
		in.end += n
		in.err = err
		if n > 0 {
			empty = 0
		} else if empty++; empty == 100 && err == nil {
			in.err = io.ErrNoProgress
		}
	}
}

// short returns the error of input that has too few bytes.
func (in *input) short() error {
	if in.err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return in.err
}

// top puts as many whole bytes into hold as fit and are in the buffer.
func (in *input) top() {
	if in.pos+8 <= in.end {
		in.hold |= in.word(in.pos) << in.n
		in.pos += int(63-in.n) >> 3
		in.n |= 56
		return
	}
	for in.n < 56 && in.pos < in.end {
		in.hold |= uint64(in.buf[in.pos]) << in.n
		in.pos++
		in.n += 8
	}
}

// want makes sure that hold has n bits, at most 56.
func (in *input) want(n uint) error {
	if in.n >= n {
		return nil
	}
	in.fill()
	if in.top(); in.n < n {
		return in.short()
	}
	return nil
}

// drop consumes n bits, which are in hold.
func (in *input) drop(n uint) {
	in.hold >>= n
	in.n -= n
}

// bits consumes n bits, at most 56.
func (in *input) bits(n uint) (uint64, error) {
	if err := in.want(n); err != nil {
		return 0, err
	}
	v := in.hold & (1<<n - 1)
	in.drop(n)
	return v, nil
}

// giveBack leaves less than a byte in hold.
func (in *input) giveBack() {
	in.pos -= int(in.n / 8)
	in.n %= 8
	in.hold &= 1<<in.n - 1
}

// align drops what is left of a byte that was consumed in part, and empties hold.
func (in *input) align() {
	in.giveBack()
	in.hold, in.n = 0, 0
}

// next returns the bytes that are there, at least one; hold is empty. The error is that
// of the source.
func (in *input) next() ([]byte, error) {
	if in.fill(); in.pos == in.end {
		return nil, in.err
	}
	return in.buf[in.pos:in.end], nil
}

// copyTo consumes bytes and fills p as far as it can in one step; hold is empty.
func (in *input) copyTo(p []byte) (int, error) {
	b, err := in.next()
	if err != nil {
		return 0, in.short()
	}
	n := copy(p, b)
	in.pos += n
	return n, nil
}
