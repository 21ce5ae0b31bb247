package store

import (
	"errors"
	"fmt"
	"io/fs"
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

// Usage returns the bytes and inodes that a layer takes on disk, or
// ErrNotFound. It does not open the layer.
func (s *Store) Usage(id ID) (bytes, inodes int64, err error) {
	s.mu.Lock()
	sl := s.mu.layers[id]
	s.mu.Unlock()
	if sl == nil {
		return 0, 0, fmt.Errorf("store: layer %s: %w", id.Blob, ErrNotFound)
	}
	bytes, inodes, err = usage(s.layerDir(sl.number))
	if errors.Is(err, fs.ErrNotExist) { // removed meanwhile
		err = ErrNotFound
	}
	if err != nil {
		return 0, 0, fmt.Errorf("store: layer %s: %w", id.Blob, err)
	}
	return bytes, inodes, nil
}
