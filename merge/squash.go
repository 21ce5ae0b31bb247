package merge

import (
	"context"

	"github.com/ladle-dev/ladle/hardlink"
)

// Squash makes one directory of several that are stacked, the topmost first:
// over anything it shows what they show. Their whiteouts stay, and a directory
// that stands where one of them has a file or a whiteout is opaque.
func Squash(ctx context.Context, dirs []string, opts Options) (*Diff, error) {
	s := newScan(ctx, opts)
	root, err := s.squash(dirs)
	if err != nil {
		return nil, err
	}
	return s.diff(root, false), nil
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
			below.Opaque = e.cut
			dir.Add(name, &hardlink.Node{From: e.path, Dir: below})
		}
	}
	return dir, nil
}
