package merge

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/containerd/continuity/sysx"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/hardlink"
)

// ErrRedirect says that a layer has a directory that points elsewhere
// (overlayfs's redirect_dir=on), or a file without its contents (metacopy=on).
// No snapshot is mounted with such options.
var ErrRedirect = errors.New("a layer that needs redirect_dir or metacopy cannot be merged")

// marks is what overlayfs wrote at a directory.
type marks struct {
	opaque bool
	// xwhiteouts: empty files with a mark may be whiteouts (Linux 6.7,
	// overlay.opaque=x).
	xwhiteouts bool
	// attributed: it has extended attributes that are no marks.
	attributed bool
}

// marks reads the marks of a directory, once for each.
func (s *scan) marks(dir string) (marks, error) {
	if m, ok := s.marked[dir]; ok {
		return m, nil
	}
	names, err := attributes(dir)
	if err != nil {
		return marks{}, err
	}
	m := marks{attributed: slices.ContainsFunc(names, isOwn)}
	if slices.Contains(names, hardlink.MarkKey("opaque", s.opts.UserXattr)) {
		value, err := s.mark(dir, "opaque")
		if err != nil {
			return m, err
		}
		m.opaque, m.xwhiteouts = value == "y", value == "x"
	}
	if slices.Contains(names, hardlink.MarkKey("redirect", s.opts.UserXattr)) {
		return m, fmt.Errorf("%s: %w", dir, ErrRedirect)
	}
	s.marked[dir] = m
	return m, nil
}

// mark returns an attribute of overlayfs, in the namespace that its mounts use.
func (s *scan) mark(path, name string) (string, error) {
	key := hardlink.MarkKey(name, s.opts.UserXattr)
	value, err := sysx.LGetxattr(path, key)
	if err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.ENOTSUP) {
		return "", &os.PathError{Op: "getxattr " + key, Path: path, Err: err}
	}
	return string(value), nil
}

// isWhiteout reports whether e hides what has its name below: a character
// device 0:0, or an empty file that is marked, in a directory that is.
func (s *scan) isWhiteout(e *entry) (bool, error) {
	switch e.st.Mode & unix.S_IFMT {
	case unix.S_IFCHR:
		return e.st.Rdev == 0, nil
	case unix.S_IFREG:
		if e.st.Size > 0 {
			return false, s.checkMetacopy(e.path)
		}
		m, err := s.marks(filepath.Dir(e.path))
		if err != nil || !m.xwhiteouts {
			return false, err
		}
		return s.has(e.path, "whiteout")
	default:
		return false, nil
	}
}

func (s *scan) has(path, name string) (bool, error) {
	key := hardlink.MarkKey(name, s.opts.UserXattr)
	_, err := unix.Lgetxattr(path, key, nil)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
		return false, nil
	}
	if err != nil {
		return false, &os.PathError{Op: "getxattr " + key, Path: path, Err: err}
	}
	return true, nil
}

// checkMetacopy refuses a file whose contents are elsewhere, if there can be
// one: it asks the kernel for the default of overlay mounts once.
func (s *scan) checkMetacopy(path string) error {
	if !s.metacopy {
		return nil
	}
	there, err := s.has(path, "metacopy")
	if there {
		err = fmt.Errorf("%s: %w", path, ErrRedirect)
	}
	return err
}

// metacopyDefault reports whether overlay mounts without that option may make
// files that have no contents of their own.
func metacopyDefault() bool {
	b, err := os.ReadFile("/sys/module/overlay/parameters/metacopy")
	return err == nil && len(b) > 0 && b[0] == 'Y'
}
