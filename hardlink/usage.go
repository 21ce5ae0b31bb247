package hardlink

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Usage returns the bytes and inodes that the directory dir alone takes on
// disk: those of files that also have names elsewhere are not among them.
func Usage(ctx context.Context, dir string) (bytes, inodes int64, err error) {
	seen := map[inode]uint64{} // names of files with several
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return &os.PathError{Op: "lstat", Path: path, Err: err}
		}
		if !e.IsDir() && st.Nlink > 1 {
			seen[inodeOf(&st)]++
			if seen[inodeOf(&st)] < uint64(st.Nlink) {
				return nil
			}
		}
		bytes += st.Blocks * 512 // whatever st_blksize is: see stat(2)
		inodes++
		return nil
	})
	return bytes, inodes, err
}
