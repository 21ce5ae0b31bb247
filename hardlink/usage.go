package hardlink

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Usage returns the bytes and inodes on disk that would be freed with the directory dir:
// files that have further names outside of dir are not counted.
func Usage(ctx context.Context, dir string) (bytes, inodes int64, err error) {
	seen := map[inode]uint64{} // number of names found, of files with several links
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
		bytes += st.Blocks * 512 // st_blocks is in units of 512 bytes: stat(2)
		inodes++
		return nil
	})
	return bytes, inodes, err
}
