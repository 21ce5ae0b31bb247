package merge

import (
	"encoding/binary"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/continuity/sysx"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/hardlink"
)

// ofMark is an extended attribute of the root of a directory that Make made: of
// which snapshots it has inodes. It is none of overlayfs's, but has a name of those
// that overlay mounts do not show.
const ofMark = "ladle.of"

// ofFormat begins each value of ofMark. The numbers follow, sorted, each as an
// unsigned varint of what it is above the one before.
const ofFormat = 1

// maxOf is in bytes. The extended attributes of an inode have 4 KiB on ext4, where
// this is more than a thousand numbers.
const maxOf = 2 << 10

// encodeOf returns the value of the mark, or false if there is none for so many.
func encodeOf(ids []uint64) (string, bool) {
	b := []byte{ofFormat}
	var last uint64
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		b = binary.AppendUvarint(b, id-last)
		last = id
	}
	return string(b), len(b) <= maxOf
}

// Of returns the numbers that were in Diff.Of when the directory dir was made, and
// whether they are known: an earlier version kept none. The error is an
// *os.PathError.
func Of(dir string, opts Options) (ids []uint64, known bool, err error) {
	key := hardlink.MarkKey(ofMark, opts.UserXattr)
	b, err := sysx.LGetxattr(dir, key)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) || err == nil && (len(b) == 0 || b[0] != ofFormat) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, &os.PathError{Op: "getxattr " + key, Path: dir, Err: err}
	}
	ids = []uint64{}
	for last, rest := uint64(0), b[1:]; len(rest) > 0; {
		more, n := binary.Uvarint(rest)
		if n <= 0 {
			return nil, false, nil
		}
		last, rest = last+more, rest[n:]
		ids = append(ids, last)
	}
	return ids, true, nil
}

// linkedFrom returns the directories in which the nodes below root are found that
// are made as links. Whatever has a path there has the same path in its directory.
func linkedFrom(root *hardlink.Dir) []string {
	found := map[string]bool{}
	addLinkedFrom(root, "", found)
	return slices.Sorted(maps.Keys(found))
}

func addLinkedFrom(dir *hardlink.Dir, at string, found map[string]bool) {
	for name, n := range dir.All() {
		path := filepath.Join(at, name)
		switch {
		case n.Dir != nil:
			addLinkedFrom(n.Dir, path, found)
		case n.From != "" && !n.Anew:
			found[strings.TrimSuffix(n.From, "/"+path)] = true
		}
	}
}
