package merge

import (
	"errors"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// union is a directory as overlayfs shows it: the directories of one path in several
// lowerdirs, the topmost first. If it is empty, there is no directory.
type union []string

// entry is an entry of a union.
type entry struct {
	path     string // in the topmost lowerdir that has it
	st       unix.Stat_t
	dirs     union // of a directory
	whiteout bool  // the topmost lowerdir that has the name has a whiteout
	opaque   bool  // of a directory: hides the lowerdirs below dirs
}

func (e *entry) isDir() bool { return e.st.Mode&unix.S_IFMT == unix.S_IFDIR }

// isAnew reports whether e is a pipe or a socket, which are created anew: see
// hardlink.Node.
func (e *entry) isAnew() bool {
	t := e.st.Mode & unix.S_IFMT
	return t == unix.S_IFIFO || t == unix.S_IFSOCK
}

// lookup returns the entry of that name, which can be a whiteout, or nil.
func (s *scan) lookup(u union, name string) (*entry, error) {
	var found *entry
	for _, dir := range u {
		path := filepath.Join(dir, name)
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); errors.Is(err, unix.ENOENT) {
			continue
		} else if err != nil {
			return nil, &os.PathError{Op: "lstat", Path: path, Err: err}
		}
		e := &entry{path: path, st: st}
		var err error
		if e.whiteout, err = s.isWhiteout(e); err != nil {
			return nil, err
		}
		if !e.isDir() {
			if found == nil {
				return e, nil
			}
			found.opaque = true
			return found, nil
		}
		if found == nil {
			found = e
		}
		found.dirs = append(found.dirs, path)
		m, err := s.marks(path)
		if err != nil {
			return nil, err
		}
		if m.opaque {
			found.opaque = true
			return found, nil
		}
	}
	return found, nil
}

// entries returns all entries of u, whiteouts included.
func (s *scan) entries(u union) (map[string]*entry, error) {
	all := map[string]*entry{}
	for _, dir := range u {
		list, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			if all[e.Name()] != nil {
				continue
			}
			if all[e.Name()], err = s.lookup(u, e.Name()); err != nil {
				return nil, err
			}
			if all[e.Name()] == nil {
				return nil, &os.PathError{Op: "lstat", Path: filepath.Join(dir, e.Name()), Err: unix.ESTALE}
			}
		}
	}
	return all, nil
}

func (u union) equal(v union) bool { return slices.Equal(u, v) }
