package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// errDamaged is returned for a file that is not what was written.
var errDamaged = errors.New("damaged")

// isDamage reports whether err means that files on disk are bad for good. Other
// errors, such as a lack of file descriptors, are no reason to remove them.
func isDamage(err error) bool {
	for _, e := range []error{
		errDamaged,
		fs.ErrNotExist,
		unix.EIO,
		unix.EUCLEAN, // how ext4 and XFS report a corrupted filesystem
		unix.EBADMSG, // and a bad checksum
		unix.ENOTDIR,
		unix.EISDIR,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// discard removes a layer that was found damaged. Who has it open keeps the
// files, without their names.
func (s *Store) discard(sl *slot) error {
	s.mu.Lock()
	ours := s.mu.layers[sl.id] == sl
	if ours {
		delete(s.mu.layers, sl.id)
	}
	s.mu.Unlock()
	if !ours {
		return nil
	}
	return s.removeDir(s.layerDir(sl.number))
}

// removeDir removes the directory of a layer or tree image. It is gone as a
// whole first, so that no part of it is ever taken for a whole.
func (s *Store) removeDir(path string) error {
	kind := filepath.Base(filepath.Dir(path))
	gone := filepath.Join(s.tempDir(), kind+"-"+filepath.Base(path))
	if err := os.RemoveAll(gone); err != nil {
		return err
	}
	if err := os.Rename(path, gone); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(gone)
}

// checkSize returns errDamaged unless path is a regular file of size bytes.
func checkSize(path string, size int64) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() != size {
		return fmt.Errorf("%s: %w: %v of %d bytes, want a file of %d",
			filepath.Base(path), errDamaged, info.Mode().Type(), info.Size(), size)
	}
	return nil
}
