package index

import "math"

// fields reads from the start of rest. Once it has failed it returns nothing but zeros.
type fields struct {
	rest   string
	failed bool
}

func (f *fields) fail() { f.rest, f.failed = "", true }

// number reads a number that is at most limit.
func (f *fields) number(limit uint64) uint64 {
	var n uint64
	for shift := 0; shift < 64 && len(f.rest) > 0; shift += 7 {
		c := f.rest[0]
		f.rest = f.rest[1:]
		n |= uint64(c&0x7f) << shift
		if c < 0x80 {
			if n > limit {
				break
			}
			return n
		}
	}
	f.fail()
	return 0
}

func (f *fields) number32() uint32 { return uint32(f.number(math.MaxUint32)) }

func (f *fields) signed() int64 { return unzigzag(f.number(math.MaxUint64)) }

// bytes reads n bytes.
func (f *fields) bytes(n int) string {
	if n < 0 || n > len(f.rest) {
		f.fail()
		return ""
	}
	s := f.rest[:n]
	f.rest = f.rest[n:]
	return s
}

// text reads a text, which its length precedes.
func (f *fields) text() string {
	n := f.number(uint64(len(f.rest)))
	return f.bytes(int(n))
}
