package snapshot

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/containerd/errdefs"

	"github.com/ladle-dev/ladle/hardlink"
	"github.com/ladle-dev/ladle/merge"
	"github.com/ladle-dev/ladle/stack"
)

// A merge whose mounts would have more lowers than this, or more bytes of
// lowerdirs, has its own made fewer. What is mounted over a merge adds to them.
const (
	maxLowers     = 200
	maxLowerBytes = 2000
)

// What the kernel takes (Linux 6.18): 500 lowers, and a page of options, of which
// this leaves some for other options and for snapshots above the merge.
const (
	mostLowers     = 480
	mostLowerBytes = 3600
)

// squash replaces each run of directories in a stack by one directory of links.
// A tree stays what it is: no file of it can be linked.
func (s *Snapshotter) squash(ctx context.Context, m planning, long []stack.Lower) ([]stack.Lower, error) {
	m.pin.add(m.below) // the stack may show less of them
	var short []stack.Lower
	for len(long) > 0 {
		run := slices.IndexFunc(long, stack.Lower.IsTree)
		switch {
		case run < 0:
			run = len(long)
		case run == 0:
			run = 1
		}
		if run == 1 {
			short = append(short, long[0])
		} else {
			l, err := s.squashRun(ctx, long[:run], m.pin)
			if err != nil {
				return nil, err
			}
			short = append(short, l)
		}
		long = long[run:]
	}
	if all := slices.Concat(m.below, short); isLong(all, mostLowers, mostLowerBytes) {
		return nil, fmt.Errorf("%w: %d layers are too many for a mount: lazy and local ones take turns, so that they cannot be fewer",
			errdefs.ErrNotImplemented, len(all))
	}
	return short, nil
}

// isLong reports whether a mount of lowers has more of them, or takes more bytes
// of options for them.
func isLong(lowers []stack.Lower, most, mostBytes int) bool {
	return len(lowers) > most || stack.Length(lowers) > mostBytes
}

// squashRun makes one directory of a run of them.
func (s *Snapshotter) squashRun(ctx context.Context, run []stack.Lower, pin *pinned) (stack.Lower, error) {
	var dirs []string
	for _, l := range slices.Backward(run) {
		dirs = append(dirs, s.dirs.Lower(l))
	}
	diff, err := merge.Squash(ctx, dirs, s.mergeOptions())
	if err != nil {
		return stack.Lower{}, err
	}
	l := stack.Lower{Of: linkedOf(diff, placesOf(run, dirs))}
	l.Part, err = s.makePart(ctx, "s", diff, l.Of, pin)
	return l, err
}

// makePart makes a directory for one merge alone, with inodes of the snapshots of,
// and returns its name, which begins with kind. It is a clean diff of its own until
// the snapshot is made, and then the snapshot's.
func (s *Snapshotter) makePart(ctx context.Context, kind string, diff *merge.Diff, of hardlink.Sources, pin *pinned) (string, error) {
	name := fmt.Sprint(kind, s.diffs.next())
	pin.addDiff(name)
	if err := os.RemoveAll(s.dirs.Diff(name)); err != nil { // an earlier process's
		return "", err
	}
	_, err := s.makeDiff(ctx, name, diff, of)
	return name, err
}

// adopt moves the directories that were made for a merge alone into its
// directory. It needs the write transaction that makes the snapshot.
func (s *Snapshotter) adopt(st *stack.Stack, dir string) error {
	if st == nil {
		return nil
	}
	for _, l := range st.Lowers {
		if l.Part == "" || l.Snapshot != 0 {
			continue
		}
		if err := os.Rename(s.dirs.Diff(l.Part), filepath.Join(dir, l.Part)); err != nil {
			return err
		}
	}
	return nil
}
