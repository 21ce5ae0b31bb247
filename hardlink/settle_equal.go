package hardlink

import (
	"context"
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"
)

// findEqual returns a file of another member that f may share storage with, or nil. It
// first hashes the files of f's group that were not hashed before.
func (b *batch) findEqual(ctx context.Context, f *file, r *record) (*file, error) {
	if equal, decided, err := b.soleCandidate(f, r); decided || err != nil {
		return equal, err
	}
	r, err := b.hash(ctx, f, r)
	if err != nil {
		return nil, err
	}
	var unread contentKey
	copy(unread[:], r.content.group())
	for _, ino := range b.inodes(unread[:], 0) {
		other, known, err := b.open(ino)
		if err != nil || other == nil {
			if err != nil {
				return nil, err
			}
			continue
		}
		_, err = b.hash(ctx, other, known)
		if err := other.closeWith(err); err != nil {
			return nil, err
		}
	}
	for _, ino := range b.inodes(r.content[:], b.last[r.content]) {
		if ino == f.st.Ino {
			continue
		}
		equal, known, err := b.open(ino)
		if err != nil {
			return nil, err
		}
		if equal == nil {
			continue
		}
		if !b.shares {
			b.last[r.content] = ino
		}
		if known, err = b.hash(ctx, equal, known); err != nil {
			return nil, equal.closeWith(err)
		}
		if b.mayShare(equal, known, r) {
			return equal, nil
		}
		equal.close()
	}
	return nil, nil
}

// soleCandidate avoids hashing: if exactly one other file is in f's group and neither was
// hashed, it returns that file, since comparing the two reads less than hashing both.
// equal is nil if f may not share storage with it. decided is false if there are more
// candidates or a hash is known.
func (b *batch) soleCandidate(f *file, r *record) (equal *file, decided bool, err error) {
	if r.content.hashed() {
		return nil, false, nil
	}
	var others []uint64
	for ino := range b.equals(r.content.group(), 0) {
		if ino != f.st.Ino {
			others = append(others, ino)
		}
		if len(others) > 1 {
			return nil, false, nil
		}
	}
	if len(others) == 0 {
		return nil, false, nil
	}
	other, known, err := b.open(others[0])
	if err != nil || other == nil {
		return nil, false, err
	}
	if known.content != r.content {
		return nil, false, other.closeWith(nil)
	}
	if !b.mayShare(other, known, r) {
		return nil, true, other.closeWith(nil)
	}
	return other, true, nil
}

// maxEquals bounds the inodes of equal content that are tried for one file.
const maxEquals = 64

// inodes returns at most maxEquals inodes of equals. It collects them before the caller
// writes records.
func (b *batch) inodes(prefix []byte, last uint64) (all []uint64) {
	for ino := range b.equals(prefix, last) {
		if all = append(all, ino); len(all) == maxEquals {
			break
		}
	}
	return all
}

// open opens an inode by one of its names, and brings its record up to date. If no name
// refers to the inode any more, it deletes the record and returns nil.
func (b *batch) open(ino uint64) (*file, *record, error) {
	old := b.file(ino)
	if old == nil {
		return nil, nil, nil
	}
	for _, n := range old.names {
		f, err := openFile(b.opts.Members.Dir(n.member), n)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		if f.st.Ino != ino {
			f.close()
			continue
		}
		r, err := b.refresh(f)
		if err != nil {
			return nil, nil, f.closeWith(err)
		}
		return f, r, nil
	}
	return nil, nil, b.drop(ino, old)
}

// mayShare reports whether a file of this member may share storage with equal. An inode
// may be shared only if all of its names are known and no view shows two members that
// have it.
func (b *batch) mayShare(equal *file, known, want *record) bool {
	if known.content != want.content {
		return false // the record was out of date
	}
	if b.shares {
		return true
	}
	if int(equal.st.Nlink) != len(known.names) || known.in(b.id) {
		return false
	}
	for _, n := range known.names {
		if !b.opts.Members.Apart(b.id, n.member) {
			return false
		}
	}
	free := true
	for _, n := range known.names {
		if !b.opts.Members.Free(n.member) {
			b.blocked[n.member] = true
			free = false
		}
	}
	return free
}

// hash adds the hash of the bytes to f's record, unless it has one.
func (b *batch) hash(ctx context.Context, f *file, r *record) (*record, error) {
	if r.content.hashed() {
		return r, nil
	}
	sum, err := f.sum(ctx, &b.pace)
	if err != nil {
		return nil, err
	}
	to := *r
	copy(to.content[half:], sum)
	return &to, b.put(f.st.Ino, r, &to)
}
