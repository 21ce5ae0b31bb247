package snapshot

import (
	"context"
	"os"
	"strings"

	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/hardlink"
	"github.com/ladle-dev/ladle/merge"
	"github.com/ladle-dev/ladle/stack"
)

// placed is a lower and the directory at which it was looked at.
type placed struct {
	lower stack.Lower
	dir   string
}

// placesOf returns where lowers, the lowest first, are: dirs are theirs, the topmost
// first.
func placesOf(lowers []stack.Lower, dirs []string) (all []placed) {
	for i, dir := range dirs {
		all = append(all, placed{lowers[len(lowers)-1-i], dir})
	}
	return all
}

// linkedOf returns the snapshots of which a directory of diff will have inodes. It was
// found in the directories of places.
func linkedOf(diff *merge.Diff, places []placed) hardlink.Sources {
	all := hardlink.Sources{}
	for _, dir := range diff.From {
		of := hardlink.SourcesOf(hardlink.Unknown)
		for _, p := range places {
			if p.dir == dir {
				of = p.lower.Sources()
			}
		}
		all = all.With(of)
	}
	return all
}

// makeDiff makes the directory of diff, with inodes of the snapshots of, among the
// clean diffs. They are kept with it.
func (s *Snapshotter) makeDiff(ctx context.Context, name string, diff *merge.Diff, of hardlink.Sources) (hardlink.Made, error) {
	if of.Known() {
		diff.Of = append([]uint64{}, of.List()...)
	}
	return diff.Make(ctx, s.dirs.Diff(name))
}

// ofDiff returns the snapshots of which a clean diff has inodes. Of one that an earlier
// version made that can be any.
func (s *Snapshotter) ofDiff(name string) (hardlink.Sources, error) {
	ids, known, err := merge.Of(s.dirs.Diff(name), s.mergeOptions())
	if err != nil || known {
		return hardlink.SourcesOf(ids...), err
	}
	return hardlink.SourcesOf(hardlink.Unknown), nil
}

// readDiffs finds the clean diffs on disk that are apart, and deletes those that no
// merge has and that do not say of which snapshots they have inodes: an earlier version
// made them. They are made again when they are wanted.
func (s *Snapshotter) readDiffs(ctx context.Context) error {
	entries, err := os.ReadDir(s.dirs.Diff(""))
	if err != nil {
		return err
	}
	var used uses
	err = s.meta.WithTransaction(ctx, false, func(ctx context.Context) (err error) {
		used, err = readUses(ctx)
		return err
	})
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		s.diffs.skip(name)
		if !strings.Contains(name, "-") || strings.HasPrefix(name, hardlink.Prefix) {
			continue
		}
		of, err := s.ofDiff(name)
		if err != nil {
			log.G(ctx).WithError(err).Warn("which snapshots a clean diff has files of cannot be read")
			of = hardlink.SourcesOf(hardlink.Unknown)
		}
		if !of.Known() && used.diffs[name] == 0 {
			if err = os.RemoveAll(s.dirs.Diff(name)); err == nil {
				continue
			}
			log.G(ctx).WithError(err).Warn("a clean diff of an earlier version is not deleted")
		}
		if strings.HasSuffix(name, apartSuffix) {
			s.diffs.putApart(name, of)
		}
	}
	return nil
}
