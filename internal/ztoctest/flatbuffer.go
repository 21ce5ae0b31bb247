package ztoctest

import "encoding/binary"

// table is the fields of a table of a FlatBuffer: int64, uint32, byte, string, table or []any, a
// vector of the last three.
type table []any

// writer writes a FlatBuffer, each thing behind what refers to it.
type writer struct{ b []byte }

func (w *writer) align() {
	for len(w.b)%8 != 0 {
		w.b = append(w.b, 0)
	}
}

// refer writes v, and at off of the buffer the offset that leads to it.
func (w *writer) refer(off int, v any) {
	at := 0
	switch v := v.(type) {
	case string:
		at = w.count(len(v))
		w.b = append(append(w.b, v...), 0)
	case []any:
		at = w.count(len(v))
		w.b = append(w.b, make([]byte, 4*len(v))...)
		for i, one := range v {
			w.refer(at+4+4*i, one)
		}
	case table:
		at = w.table(v)
	}
	binary.LittleEndian.PutUint32(w.b[off:], uint32(at-off))
}

// count begins a vector of n elements, and returns where it is.
func (w *writer) count(n int) int {
	w.align()
	at := len(w.b)
	w.b = binary.LittleEndian.AppendUint32(w.b, uint32(n))
	return at
}

// table writes a table, all fields of which have 8 bytes, and returns where it is.
func (w *writer) table(fields table) int {
	w.align()
	vtable := len(w.b)
	w.b = binary.LittleEndian.AppendUint16(w.b, uint16(4+2*len(fields)))
	w.b = binary.LittleEndian.AppendUint16(w.b, uint16(8+8*len(fields)))
	for i := range fields {
		w.b = binary.LittleEndian.AppendUint16(w.b, uint16(8+8*i))
	}
	w.align()
	at := len(w.b)
	w.b = binary.LittleEndian.AppendUint64(w.b, uint64(uint32(at-vtable)))
	w.b = append(w.b, make([]byte, 8*len(fields))...)
	for i, field := range fields {
		off := at + 8 + 8*i
		switch v := field.(type) {
		case int64:
			binary.LittleEndian.PutUint64(w.b[off:], uint64(v))
		case uint32:
			binary.LittleEndian.PutUint32(w.b[off:], v)
		case byte:
			w.b[off] = v
		default:
			w.refer(off, v)
		}
	}
	return at
}
