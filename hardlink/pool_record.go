package hardlink

import (
	"encoding/binary"
	"slices"
)

// contentKey is equal for files that may share storage. The first half, the group, is
// computed from attributes; the second half is the first half of the SHA-256 of the
// bytes, or zero before they are hashed.
type contentKey [2 * half]byte

const half = 16

func (k *contentKey) group() []byte { return k[:half] }
func (k *contentKey) hashed() bool  { return [half]byte(k[half:]) != [half]byte{} }

// record is the index's entry of an inode. It is valid only while the inode's ctime
// equals changed.
type record struct {
	changed int64 // ctime in nanoseconds
	content contentKey
	names   []name // of the inode, in members
}

// name is a path, relative to the directory of a member.
type name struct {
	member uint64
	path   string
}

// in reports whether the inode has a name in a member.
func (r *record) in(member uint64) bool {
	return slices.ContainsFunc(r.names, func(n name) bool { return n.member == member })
}

// members returns the members in which the inode has names, sorted.
func (r *record) members() []uint64 {
	var all []uint64
	for _, n := range r.names {
		all = append(all, n.member)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// with returns a copy of the record that has the name n.
func (r *record) with(n name) *record {
	to := *r
	if !slices.Contains(r.names, n) {
		to.names = append(slices.Clone(r.names), n)
	}
	return &to
}

// without returns a copy of the record without its names in a member.
func (r *record) without(member uint64) *record {
	if r == nil {
		return &record{}
	}
	to := *r
	to.names = slices.DeleteFunc(slices.Clone(r.names), func(n name) bool { return n.member == member })
	return &to
}

// marshal encodes the record without the names, which are keys of the index.
func (r *record) marshal() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(r.changed))
	return append(b, r.content[:]...)
}

// parseRecord decodes what marshal returns, without names. It returns nil for other
// input.
func parseRecord(b []byte) *record {
	var r record
	if len(b) != 8+len(r.content) {
		return nil
	}
	r.changed = int64(binary.BigEndian.Uint64(b))
	copy(r.content[:], b[8:])
	return &r
}
