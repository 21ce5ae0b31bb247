package differ

import (
	"io/fs"
	"syscall"

	"github.com/ladle-dev/ladle/tree"
)

// numbers gives files with several names inode numbers that no other one has. The code that
// writes the tar takes two names with one inode number for links, but an overlay mount over
// several filesystems may show one number twice, with different devices.
type numbers map[tree.FileID]uint64

// of returns info with a number of its own, the same for all names of a file.
func (n numbers) of(info fs.FileInfo) fs.FileInfo {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return info
	}
	id := tree.FileID{Dev: stat.Dev, Ino: stat.Ino}
	if n[id] == 0 {
		n[id] = uint64(len(n) + 1)
	}
	numbered := *stat
	numbered.Ino = n[id]
	return numberedFile{info, &numbered}
}

type numberedFile struct {
	fs.FileInfo
	stat *syscall.Stat_t
}

// Sys implements fs.FileInfo.
func (f numberedFile) Sys() any { return f.stat }
