package hardlink

import (
	"encoding/binary"
	"slices"
)

// contentKey is equal for files that may share storage. The first half, the
// group, is what costs nothing to find out; the second is the first half of the
// SHA-256 of the bytes, or zero as long as the file is alone in its group.
type contentKey [2 * half]byte

const half = 16

func (k *contentKey) group() []byte { return k[:half] }
func (k *contentKey) hashed() bool  { return [half]byte(k[half:]) != [half]byte{} }

// record is what the index knows of an inode. It is believed only while the
// inode's time of change is the same.
type record struct {
	changed int64 // ctime in nanoseconds
	content contentKey
	names   []name // of the inode, in members
}

// name is a path below the directory of a member.
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

// with returns a record that has n, too.
func (r *record) with(n name) *record {
	to := *r
	if !slices.Contains(r.names, n) {
		to.names = append(slices.Clone(r.names), n)
	}
	return &to
}

// without returns a record without names in a member.
func (r *record) without(member uint64) *record {
	if r == nil {
		return &record{}
	}
	to := *r
	to.names = slices.DeleteFunc(slices.Clone(r.names), func(n name) bool { return n.member == member })
	return &to
}

// marshal is without the names, which are keys of the index.
func (r *record) marshal() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(r.changed))
	return append(b, r.content[:]...)
}

// parseRecord returns nil for what is no record. It has no names yet.
func parseRecord(b []byte) *record {
	var r record
	if len(b) != 8+len(r.content) {
		return nil
	}
	r.changed = int64(binary.BigEndian.Uint64(b))
	copy(r.content[:], b[8:])
	return &r
}
