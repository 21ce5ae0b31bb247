package hardlink

import (
	"context"
	"io/fs"
	"path/filepath"

	"github.com/ladle-dev/ladle/tree"
)

// Usage returns the bytes and inodes on disk that would be freed with the directory dir:
// files that have further names outside of dir are not counted.
func Usage(ctx context.Context, dir string) (bytes, inodes int64, err error) {
	seen := map[tree.FileID]uint64{} // number of names found, of files with several links
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		st, err := tree.Lstat(path)
		if err != nil {
			return err
		}
		if !e.IsDir() && st.Nlink > 1 {
			id := tree.FileIDOf(st)
			seen[id]++
			if seen[id] < uint64(st.Nlink) {
				return nil
			}
		}
		bytes += tree.DiskBytes(st)
		inodes++
		return nil
	})
	return bytes, inodes, err
}
