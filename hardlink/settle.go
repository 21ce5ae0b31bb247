package hardlink

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/ladle-dev/ladle/tree"
)

// chunkFiles is the number of files that are settled within one transaction of the index.
// Two file descriptors are open for each of them that is to be linked.
const chunkFiles = 256

// settling is one run of Settle.
type settling struct {
	*Pool
	id      uint64
	root    string
	pace    pace
	reached Reached
	// last maps a content to the last inode that was tried for it. Inodes with
	// smaller numbers were tried before, and are skipped.
	last    map[contentKey]uint64
	blocked map[uint64]bool
}

func (s *settling) run(ctx context.Context) error {
	if err := s.update(func(x index) error { return x.putMember(s.id, false) }); err != nil {
		return err
	}
	var chunk []string
	err := filepath.WalkDir(s.root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		path, err = filepath.Rel(s.root, path)
		if err != nil || s.excluded(path) {
			return err
		}
		if chunk = append(chunk, path); len(chunk) < chunkFiles {
			return nil
		}
		err = s.chunk(ctx, chunk)
		chunk = chunk[:0]
		return err
	})
	if err == nil {
		err = s.chunk(ctx, chunk)
	}
	if err != nil {
		return err
	}
	return s.update(func(x index) error { return x.putMember(s.id, len(s.blocked) == 0) })
}

func (s *settling) excluded(path string) bool {
	return !s.shares && s.opts.Single != nil && s.opts.Single(path)
}

// chunk settles the files at paths. Records that were written to the index before an
// error are committed.
func (s *settling) chunk(ctx context.Context, paths []string) (err error) {
	committed := s.update(func(x index) error {
		b := batch{settling: s, index: x}
		defer b.close()
		err = b.settle(ctx, paths)
		return nil
	})
	return errors.Join(err, committed)
}

// batch settles the files of one chunk.
type batch struct {
	*settling
	index
	links []*pair // to be created, ordered by directory
}

func (b *batch) settle(ctx context.Context, paths []string) error {
	for _, path := range paths {
		if err := b.pace.rest(ctx); err != nil {
			return err
		}
		if err := b.settleFile(ctx, path); err != nil {
			return err
		}
	}
	return b.link()
}

// settleFile searches an equal of the file at path in other members. It shares the
// extents of the equal file, or adds the pair to b.links.
func (b *batch) settleFile(ctx context.Context, path string) error {
	f, err := openFile(b.root, name{b.id, path})
	if err != nil {
		return err
	}
	mine, err := b.candidate(f)
	if err != nil || mine == nil {
		return f.closeWith(err)
	}
	if b.soleInGroup(f, mine) || f.st.Nlink > 1 && !b.shares {
		return f.closeWith(nil) // its names must go on to share one inode
	}
	equal, err := b.findEqual(ctx, f, mine)
	if err != nil || equal == nil {
		return f.closeWith(err)
	}
	if b.shares {
		return b.share(ctx, f, equal)
	}
	p := &pair{name: f, equal: equal}
	same, err := p.compare(ctx, &b.pace)
	if err != nil || !same {
		p.close()
		return err
	}
	b.links = append(b.links, p)
	return nil
}

// candidate returns the record of f after bringing it up to date. It returns nil for a
// file that need not be settled: it is empty, or shares its inode with another member.
func (b *batch) candidate(f *file) (*record, error) {
	if f.st.Size == 0 {
		return nil, nil
	}
	r, err := b.refresh(f)
	if err != nil {
		return nil, err
	}
	for _, n := range r.names {
		if !b.shares && n.member != b.id {
			return nil, nil
		}
	}
	return r, nil
}

// refresh brings the record of the inode of f up to date and returns it.
func (b *batch) refresh(f *file) (*record, error) {
	old := b.file(f.st.Ino)
	if old != nil && old.changed == f.changed() {
		r := old.with(f.at)
		if len(r.names) == len(old.names) {
			return r, nil
		}
		return r, b.put(f.st.Ino, old, r)
	}
	content, err := b.groupOf(f)
	if err != nil {
		return nil, err
	}
	r := &record{changed: f.changed(), content: content, names: []name{f.at}}
	if old != nil {
		for _, n := range old.names {
			if n != f.at && b.isNameOf(n, f.st.Ino) {
				r.names = append(r.names, n)
			}
		}
	}
	return r, b.put(f.st.Ino, old, r)
}

// isNameOf reports whether n still refers to the inode.
func (b *batch) isNameOf(n name, ino uint64) bool {
	st, err := tree.Lstat(filepath.Join(b.opts.Members.Dir(n.member), n.path))
	return err == nil && st.Ino == ino
}

// soleInGroup reports whether no other file is in the group of f.
func (b *batch) soleInGroup(f *file, r *record) bool {
	for ino := range b.equals(r.content.group(), 0) {
		if ino != f.st.Ino {
			return false
		}
	}
	return true
}
