package merge

import (
	"encoding/binary"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ladle-dev/ladle/hardlink"
)

// ofMark is the extended attribute of the root of a directory that Diff.Make made: the
// numbers of the snapshots that it has inodes of. overlayfs does not know it, but hides
// it, since it has the prefix of overlayfs's attributes.
const ofMark = "ladle.of"

// ofFormat is the first byte of the value of ofMark, its version. The numbers follow in
// ascending order, each as an unsigned varint of the difference to the one before.
const ofFormat = 1

// maxOf is in bytes. ext4 stores at most 4 KiB of extended attributes for an inode; maxOf
// is sufficient for more than a thousand numbers.
const maxOf = 2 << 10

// encodeOf returns the value of ofMark, or false if it would exceed maxOf.
func encodeOf(ids []uint64) (string, bool) {
	b := []byte{ofFormat}
	var last uint64
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		b = binary.AppendUvarint(b, id-last)
		last = id
	}
	return string(b), len(b) <= maxOf
}

// Of returns the numbers in Diff.Of when the directory dir was made. known is false if
// they were not stored: an earlier version made dir, or Diff.Of was nil or too long. The
// error is an *os.PathError.
func Of(dir string, opts Options) (ids []uint64, known bool, err error) {
	key := hardlink.MarkKey(ofMark, opts.UserXattr)
	b, _, err := xattr(dir, key)
	if err != nil || len(b) == 0 || b[0] != ofFormat {
		return nil, false, err
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

// linkedFrom returns the source directories of the links below root. A link has the same
// path in its source directory as below root.
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
