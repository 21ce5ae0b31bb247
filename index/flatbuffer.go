package index

import (
	"encoding/binary"
	"errors"
)

// flatBuffer reads a FlatBuffer (flatbuffers.dev, "FlatBuffer Internals"): tables that refer to
// others, and to vectors and strings, by offsets. Offsets may lead anywhere within it, and also to
// the same bytes again and again: so no more bytes are read of it than it has. Once it has failed,
// nothing but zeros is read.
type flatBuffer struct {
	b      []byte
	left   int // bytes of tables, vectors and strings that may be read
	failed bool
}

var errFlatBuffer = errors.New("offsets that lead nowhere, or to the same bytes several times")

func newFlatBuffer(b []byte) *flatBuffer { return &flatBuffer{b: b, left: len(b)} }

// err returns an error if something could not be read.
func (f *flatBuffer) err() error {
	if f.failed {
		return errFlatBuffer
	}
	return nil
}

// at returns the n bytes at off, or nil.
func (f *flatBuffer) at(off, n int) []byte {
	if f.failed || off < 0 || n < 0 || off > len(f.b) || n > len(f.b)-off {
		f.failed = true
		return nil
	}
	return f.b[off : off+n]
}

// take is at for bytes that are taken once.
func (f *flatBuffer) take(off, n int) []byte {
	b := f.at(off, n)
	if f.left -= len(b); f.left < 0 {
		f.failed = true
		return nil
	}
	return b
}

func (f *flatBuffer) number16(off int) int {
	if b := f.at(off, 2); b != nil {
		return int(binary.LittleEndian.Uint16(b))
	}
	return 0
}

func (f *flatBuffer) number32(off int) uint32 {
	if b := f.at(off, 4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// follow returns where the offset at off leads.
func (f *flatBuffer) follow(off int) int { return off + int(f.number32(off)) }

// flatTable is a table of a FlatBuffer; nil if there is none.
type flatTable struct {
	f      *flatBuffer
	off    int // of the table
	fields int // offset of the places of its fields, each 16 bits from off on
	n      int // of fields that have a place
}

func (f *flatBuffer) root() *flatTable { return f.table(f.follow(0)) }

// table returns the table at off. In front of its fields it has the distance to its vtable: the
// size of that, its own size, and the places of fields.
func (f *flatBuffer) table(off int) *flatTable {
	vtable := off - int(int32(f.number32(off)))
	size := f.number16(vtable)
	f.at(vtable, size)
	f.take(off, f.number16(vtable+2))
	if f.failed || size < 4 {
		f.failed = true
		return nil
	}
	return &flatTable{f, off, vtable + 4, size/2 - 2}
}

// place returns where the n-th field of the table is; ok is false if it has its default value.
func (t *flatTable) place(n int) (off int, ok bool) {
	if t == nil || n >= t.n {
		return 0, false
	}
	at := t.f.number16(t.fields + 2*n)
	return t.off + at, at != 0
}

func (t *flatTable) int64(n int) int64 {
	if off, ok := t.place(n); ok {
		if b := t.f.at(off, 8); b != nil {
			return int64(binary.LittleEndian.Uint64(b))
		}
	}
	return 0
}

func (t *flatTable) uint32(n int) uint32 {
	if off, ok := t.place(n); ok {
		return t.f.number32(off)
	}
	return 0
}

// byte returns a field of one byte, which is usual by default.
func (t *flatTable) byte(n int, usual byte) byte {
	if off, ok := t.place(n); ok {
		if b := t.f.at(off, 1); b != nil {
			return b[0]
		}
	}
	return usual
}

// vector returns the bytes of a vector with elements of size bytes.
func (t *flatTable) vector(n, size int) (off int, b []byte) {
	at, ok := t.place(n)
	if !ok {
		return 0, nil
	}
	off = t.f.follow(at)
	return off + 4, t.f.take(off+4, int(t.f.number32(off))*size)
}

func (t *flatTable) bytes(n int) []byte {
	_, b := t.vector(n, 1)
	return b
}

func (t *flatTable) text(n int) string { return string(t.bytes(n)) }

func (t *flatTable) table(n int) *flatTable {
	if at, ok := t.place(n); ok {
		return t.f.table(t.f.follow(at))
	}
	return nil
}

// each calls do with the places of the tables or strings of a vector, as long as nothing fails.
func (t *flatTable) each(n int, do func(off int) error) error {
	off, b := t.vector(n, 4)
	for i := 0; i < len(b) && !t.f.failed; i += 4 {
		if err := do(t.f.follow(off + i)); err != nil {
			return err
		}
	}
	return nil
}

// textAt returns the string at off.
func (f *flatBuffer) textAt(off int) string {
	return string(f.take(off+4, int(f.number32(off))))
}
