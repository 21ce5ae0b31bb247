package inflate

import (
	"fmt"
	"hash/crc32"
)

// Flags of a member's header (RFC 1952, 2.3.1).
const (
	hasHeaderCRC = 1 << 1
	hasExtra     = 1 << 2
	hasName      = 1 << 3
	hasComment   = 1 << 4
	reserved     = 0xe0
)

// member is what is known of the bytes of the current member.
type member struct {
	crc    uint32
	size   uint32
	summed int  // the position in the output up to which crc and size are
	whole  bool // crc and size count from the member's start
}

// sum takes the bytes up to out.pos into the checksum.
func (m *member) sum(out *output) {
	if p := out.buf[m.summed:out.pos]; m.whole && len(p) > 0 {
		m.crc = crc32.Update(m.crc, crc32.IEEETable, p)
		m.size += uint32(len(p))
	}
	m.summed = out.pos
}

// readTrailer compares the checksum with that at the end of a member (RFC 1952, 2.3.1).
func (m *member) readTrailer(in *input) error {
	crc, err := in.bits(32)
	if err != nil {
		return err
	}
	size, err := in.bits(32)
	if err != nil {
		return err
	}
	if m.whole && (uint32(crc) != m.crc || uint32(size) != m.size) {
		return fmt.Errorf("%w: crc32 %08x of %d bytes (modulo 2^32), want %08x of %d", ErrChecksum, m.crc, m.size, crc, size)
	}
	return nil
}

// header reads that of a member.
type header struct {
	in  *input
	crc uint32
}

// readHeader reads the header of a member. The error is io.EOF if there is none: the
// input ends, or has only zero bytes up to its end.
func readHeader(in *input, first bool) error {
	b, err := in.next()
	if err != nil {
		return err
	}
	if b[0] == 0 && !first {
		return skipZeros(in)
	}
	h := header{in: in}
	if err := h.read(); err != nil {
		return err
	}
	in.align()
	return nil
}

// skipZeros reads the padding that some archivers write behind the last member.
func skipZeros(in *input) error {
	for {
		b, err := in.next()
		if err != nil {
			return err
		}
		for i, c := range b {
			if c != 0 {
				return fmt.Errorf("%w: byte %#02x behind zeros at byte %d", ErrHeader, c, in.byteOffset()+int64(i))
			}
		}
		in.pos = in.end
	}
}

// number reads n bytes.
func (h *header) number(n uint) (uint, error) {
	v, err := h.in.bits(8 * n)
	for i := range n {
		h.crc = crc32.Update(h.crc, crc32.IEEETable, []byte{byte(v >> (8 * i))})
	}
	return uint(v), err
}

func (h *header) read() error {
	// ID1, ID2, CM, FLG; MTIME, XFL and OS
	v, err := h.number(4)
	if err != nil {
		return err
	}
	flags := v >> 24
	if v&0xffffff != 0x088b1f || flags&reserved != 0 {
		return fmt.Errorf("%w: %08x before byte %d", ErrHeader, v, h.in.byteOffset())
	}
	if _, err := h.number(6); err != nil {
		return err
	}
	if flags&hasExtra != 0 {
		n, err := h.number(2)
		if err != nil {
			return err
		}
		for range n {
			if _, err := h.number(1); err != nil {
				return err
			}
		}
	}
	for _, flag := range []uint{hasName, hasComment} {
		for c := flags & flag; c != 0; {
			if c, err = h.number(1); err != nil {
				return err
			}
		}
	}
	if flags&hasHeaderCRC != 0 {
		want := h.crc & 0xffff
		if got, err := h.number(2); err != nil {
			return err
		} else if uint32(got) != want {
			return fmt.Errorf("%w: crc16 of the header %04x, want %04x", ErrHeader, want, got)
		}
	}
	return nil
}
