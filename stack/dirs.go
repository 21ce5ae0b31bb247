package stack

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
)

// Dirs is the path of the directory with the directories of all snapshots of an endpoint.
type Dirs string

// Names of entries of Dirs that are of no snapshot.
const (
	DiffsName = "d" // the directory of clean diffs
	TreesName = "l" // a symbolic link to the directory in which trees are mounted
)

// Empty is the name of an empty directory among the clean diffs.
const Empty = "0"

// Prefixes of the names of directories among the clean diffs that were made for one call;
// a number follows (diffs.next). Those that are made for a merge become its parts.
const (
	copyPrefix     = "c" // becomes the upper directory of a copy
	squashPrefix   = "s" // of links
	skeletonPrefix = "t" // of directories only
)

// Of returns the directory of the snapshot id.
func (d Dirs) Of(id uint64) string {
	return filepath.Join(string(d), strconv.FormatUint(id, 10))
}

// Upper returns the upper directory of the snapshot id.
func (d Dirs) Upper(id uint64) string { return filepath.Join(d.Of(id), "fs") }

// Diff returns the directory of the clean diff name.
func (d Dirs) Diff(name string) string { return filepath.Join(string(d), DiffsName, name) }

// Lower returns the directory of l, which is no tree.
func (d Dirs) Lower(l Lower) string {
	switch {
	case l.Diff != "":
		return d.Diff(l.Diff)
	case l.Part != "":
		return filepath.Join(d.Of(l.Snapshot), l.Part)
	default:
		return d.Upper(l.Snapshot)
	}
}

// Adopt moves the directories that were made for the merge with the stack s into the
// directory dir of its snapshot. It is called in the transaction that makes the snapshot.
func (d Dirs) Adopt(s *Stack, dir string) error {
	if s == nil {
		return nil
	}
	var errs []error
	for _, l := range s.Lowers {
		if l.Part != "" && l.Snapshot == 0 {
			errs = append(errs, os.Rename(d.Diff(l.Part), filepath.Join(dir, l.Part)))
		}
	}
	return errors.Join(errs...)
}

// lengthOf returns how many bytes of mount options lowers have, at most, with paths that
// are relative to d.
func lengthOf(lowers []Lower) (bytes int) {
	for _, l := range lowers {
		switch {
		case l.IsTree():
			bytes += len(":l/123456")
		case l.Diff != "":
			bytes += len(":d/") + len(l.Diff)
		case l.Snapshot == 0: // of a merge that has no number yet
			bytes += len(":123456/") + len(l.Part)
		default:
			bytes += len(":/") + len(strconv.FormatUint(l.Snapshot, 10)) + max(len(l.Part), len("fs"))
		}
	}
	return bytes
}
