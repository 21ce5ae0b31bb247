package snapshot

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/ladle-dev/ladle/stack"
)

// checkDirs returns an ErrDataLoss if a directory that u has is not there: the metadata
// outlived it, after a reset of the machine or because it was deleted by hand. What is
// mounted without it would be another tree.
func (s *Snapshotter) checkDirs(u usable) error {
	var dirs []string
	if u.hasDir {
		dirs = append(dirs, s.upper(u.id))
	}
	for _, l := range u.lowers {
		if !l.IsTree() {
			dirs = append(dirs, s.dirs.Lower(l))
		}
	}
	for _, dir := range dirs {
		_, err := os.Lstat(dir)
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("snapshot %s has lost %s, and must be removed and made again: %w", s.ownerOf(u.id), dir, errdefs.ErrDataLoss)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// hasDirectories reports whether there are directories of snapshots or clean diffs, all of
// which a sweep would delete if the metadata knew of no snapshot.
func (s *Snapshotter) hasDirectories() (bool, error) {
	for _, dir := range []string{string(s.dirs), s.dirs.Diff("")} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return false, err
		}
		for _, e := range entries {
			id, _, _ := strings.Cut(e.Name(), "-")
			if _, err := parseNumber(id); err == nil && e.Name() != stack.Empty {
				return true, nil
			}
		}
	}
	return false, nil
}
