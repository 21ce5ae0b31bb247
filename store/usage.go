package store

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// usage returns the bytes and inodes that the directory at path takes with the
// files in it.
func usage(path string) (bytes, inodes int64, err error) {
	files, err := os.ReadDir(path)
	if err != nil {
		return 0, 0, err
	}
	paths := []string{path}
	for _, f := range files {
		paths = append(paths, filepath.Join(path, f.Name()))
	}
	for _, p := range paths {
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return 0, 0, &os.PathError{Op: "lstat", Path: p, Err: err}
		}
		bytes += st.Blocks * 512 // stat(2): whatever the filesystem's block size
	}
	return bytes, int64(len(paths)), nil
}
