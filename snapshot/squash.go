package snapshot

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/containerd/containerd/v2/core/snapshots"

	"github.com/ladle-dev/ladle/merge"
)

// A merge whose mounts would have more lowers than this, or more bytes of
// lowerdirs, has its own made fewer. The kernel takes 500 lowers and a page of
// options (Linux 6.18), and what is mounted over a merge adds to them.
const (
	maxLowers     = 200
	maxLowerBytes = 2000
)

// squash replaces each run of directories in st by one directory of links, if
// the mounts of a merge over parent would be too long. A tree stays what it
// is: its files cannot be linked.
func (s *Snapshotter) squash(ctx context.Context, parent string, st *stack, pin *pinned) error {
	var below []lower
	err := s.meta.WithTransaction(ctx, false, func(ctx context.Context) error {
		chain, err := readChain(ctx, parent)
		below = lowersOf(snapshots.KindView, chain)
		return err
	})
	if err != nil {
		return err
	}
	if !isLong(slices.Concat(below, st.lowers)) {
		return nil
	}
	pin.add(below) // the stack may show less of them
	var short []lower
	for rest := st.lowers; len(rest) > 0; {
		run := slices.IndexFunc(rest, lower.isTree)
		switch {
		case run < 0:
			run = len(rest)
		case run == 0:
			run = 1
		}
		if run == 1 {
			short = append(short, rest[0])
		} else {
			l, err := s.squashRun(ctx, rest[:run], len(short), pin)
			if err != nil {
				return err
			}
			short = append(short, l)
		}
		rest = rest[run:]
	}
	st.lowers = short
	return nil
}

// isLong reports whether a mount of lowers is near what the kernel takes.
func isLong(lowers []lower) bool {
	bytes := 0
	for _, l := range lowers {
		bytes += len(":123456/fs")
		if l.diff != "" {
			bytes += len(l.diff)
		}
	}
	return len(lowers) > maxLowers || bytes > maxLowerBytes
}

// squashRun makes one directory of a run of them. It is a clean diff of its own
// until the snapshot is made, and then the snapshot's.
func (s *Snapshotter) squashRun(ctx context.Context, run []lower, place int, pin *pinned) (lower, error) {
	var dirs []string
	for _, l := range slices.Backward(run) {
		dirs = append(dirs, s.lowerDir(l))
	}
	opts := merge.Options{UserXattr: slices.Contains(s.options, "userxattr")}
	diff, err := merge.Squash(ctx, dirs, opts)
	if err != nil {
		return lower{}, err
	}
	name := fmt.Sprint("s", s.merges.Add(1), "-", place)
	pin.addDiff(name)
	if err := os.RemoveAll(s.diffDir(name)); err != nil { // an earlier process's
		return lower{}, err
	}
	_, err = diff.Make(ctx, s.diffDir(name))
	return lower{part: name}, err
}

// adopt moves the directories that were made for a merge alone into its
// directory. It needs the write transaction that makes the snapshot.
func (s *Snapshotter) adopt(st *stack, dir string) error {
	if st == nil {
		return nil
	}
	for _, l := range st.lowers {
		if l.part == "" || l.id != "" {
			continue
		}
		if err := os.Rename(s.diffDir(l.part), filepath.Join(dir, l.part)); err != nil {
			return err
		}
	}
	return nil
}
