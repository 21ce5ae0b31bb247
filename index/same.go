package index

import (
	"fmt"
	"maps"
	"path"

	"github.com/ladle-dev/ladle/tree"
)

// comparison compares the tree of a tar with the one that an index shows.
type comparison struct {
	*replay
	table Table
	shown map[*tree.Inode]*tree.Inode // by inodes of the tar, that are no directories
}

// inodes compares an inode of the tar, and what is below it, with the one that is shown at
// the same path.
func (c *comparison) inodes(at string, tarred, shown *tree.Inode) error {
	if !tarred.IsDir() {
		if known := c.shown[tarred]; known != nil {
			if known != shown {
				return fmt.Errorf("%.300q is another hard link", at)
			}
			return nil
		}
		c.shown[tarred] = shown
	}
	if !sameAttributes(tarred, shown) {
		return fmt.Errorf("%.300q has other attributes", at)
	}
	if tarred.IsDir() {
		return c.dirs(at, tarred.Dir, shown.Dir)
	}
	if tarred.IsRegular() && tarred.Size > 0 && !c.sameContents(tarred, shown) {
		return fmt.Errorf("%.300q has other contents", at)
	}
	return nil
}

func (c *comparison) dirs(at string, tarred, shown *tree.Dir) error {
	if tarred.Opaque != shown.Opaque || tarred.Implied != shown.Implied || tarred.Len() != shown.Len() {
		return fmt.Errorf("%.300q has %d entries, shown are %d, or it is not opaque as shown", at, tarred.Len(), shown.Len())
	}
	for _, e := range tarred.Entries() {
		other := shown.Lookup(e.Name)
		if other == nil {
			return fmt.Errorf("%.300q is not shown", path.Join(at, e.Name))
		}
		if err := c.inodes(path.Join(at, e.Name), e.Inode, other); err != nil {
			return err
		}
	}
	return nil
}

// sameAttributes compares all but contents. The numbers of links are equal in equal trees,
// if no two names of the tar are one inode of shown: those are counted.
func sameAttributes(tarred, shown *tree.Inode) bool {
	return tarred.Mode == shown.Mode && tarred.UID == shown.UID && tarred.GID == shown.GID &&
		tarred.Size == shown.Size && tarred.Target == shown.Target && tarred.Device == shown.Device &&
		tarred.IsDir() == shown.IsDir() && (tarred.IsDir() || tarred.Nlink == shown.Nlink) &&
		sameTime(tarred.Mtime, shown.Mtime) && maps.Equal(tarred.Xattrs, shown.Xattrs)
}

// sameTime compares modification times. Those of eStargz are rounded to seconds
// (estargz v0.18, formatModtime), and those that come out as zero are left out.
func sameTime(tarred, shown tree.Time) bool {
	if tarred == shown {
		return true
	}
	return shown.Nsec == 0 && (shown.Sec == tarred.Sec || shown.Sec == tarred.Sec+1 && tarred.Nsec >= 5e8)
}

// sameContents reports whether the chunks of a file that is shown are where its contents are
// in the tar, and these have no other bytes but zeros.
func (c *comparison) sameContents(tarred, shown *tree.Inode) bool {
	got := c.contents[tarred]
	start, end := shown.Data.Offset, shown.Data.Offset+shown.Size
	for n := c.table.Search(start); n < c.table.Len(); n++ {
		chunk := c.table.At(n)
		if chunk.DataOffset >= end {
			break
		}
		if chunk.DataOffset < start || chunk.DataOffset+chunk.Size > end {
			return false
		}
		if c.rebuilt.placed[n] != tarred.Data.Offset+chunk.DataOffset-start {
			return false
		}
		got.inChunks -= chunk.Size
	}
	return !got.loose && got.inChunks == 0
}
