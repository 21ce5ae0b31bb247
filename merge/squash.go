package merge

import (
	"context"
	"slices"

	"github.com/ladle-dev/ladle/hardlink"
)

// Squash makes one diff of several stacked directories, the topmost first: over any
// lowerdir it shows what they show. It has their whiteouts; a directory above a file,
// whiteout or opaque directory of the same name is opaque. A directory that several of
// them have gets the extended attributes of all: see Accumulate. The conditions and
// errors are those of Scan.
func Squash(ctx context.Context, dirs []string, opts Options) (*Diff, error) {
	s := newScan(ctx, opts)
	root, err := s.squash(dirs)
	if err != nil {
		return nil, err
	}
	return s.diff(root, false)
}

func (s *scan) squash(u union) (*hardlink.Dir, error) {
	if err := s.ctx.Err(); err != nil {
		return nil, err
	}
	all, err := s.entries(u)
	if err != nil {
		return nil, err
	}
	dir := &hardlink.Dir{}
	for name, e := range all {
		switch {
		case e.whiteout:
			s.whiteouts = true
			dir.Add(name, hardlink.Whiteout())
		case !e.isDir():
			dir.Add(name, &hardlink.Node{From: e.path, Anew: e.isAnew()})
		default:
			below, err := s.squash(e.dirs)
			if err != nil {
				return nil, err
			}
			below.Opaque = e.opaque
			under, err := s.under(e.dirs)
			if err != nil {
				return nil, err
			}
			dir.Add(name, &hardlink.Node{From: e.path, Dir: below, Under: under})
		}
	}
	return dir, nil
}

// under returns dirs without the topmost, the first, as the Under of a node: the lowest
// first. It returns nil if none of them has an extended attribute that the topmost does
// not have.
func (s *scan) under(dirs union) ([]string, error) {
	for _, dir := range dirs[1:] {
		m, err := s.marks(dir)
		if err != nil {
			return nil, err
		}
		if !m.attributed {
			continue
		}
		under := slices.Clone(dirs[1:])
		slices.Reverse(under)
		more, err := hasMore(under, dirs[0])
		if err != nil || !more {
			return nil, err
		}
		return under, nil
	}
	return nil, nil
}
