package merge

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/hardlink"
)

// ErrRedirect is the error of a layer with a redirected directory (overlayfs's
// redirect_dir=on) or a file without contents (metacopy=on). Snapshots are not mounted
// with these options, but the kernel's defaults can set them.
var ErrRedirect = errors.New("a layer that needs redirect_dir or metacopy cannot be merged")

// marks are the extended attributes of overlayfs on a directory.
type marks struct {
	opaque bool
	// xwhiteouts: empty files with the attribute overlay.whiteout are whiteouts
	// (Linux 6.7, overlay.opaque=x).
	xwhiteouts bool
	// attributed: it has extended attributes that count for Accumulate.
	attributed bool
}

// marks returns the marks of a directory, from a cache after the first call.
func (s *scan) marks(dir string) (marks, error) {
	if m, ok := s.marked[dir]; ok {
		return m, nil
	}
	names, err := attributes(dir)
	if err != nil {
		return marks{}, err
	}
	m := marks{attributed: slices.ContainsFunc(names, isAccumulated)}
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

// mark returns the value of an extended attribute of overlayfs, or "" if there is none.
func (s *scan) mark(path, name string) (string, error) {
	value, _, err := xattr(path, hardlink.MarkKey(name, s.opts.UserXattr))
	return string(value), err
}

// isWhiteout reports whether e is a whiteout: a character device 0:0, or, in a directory
// with xwhiteouts, an empty file with the attribute overlay.whiteout.
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
		return s.hasMark(e.path, "whiteout")
	default:
		return false, nil
	}
}

func (s *scan) hasMark(path, name string) (bool, error) {
	_, found, err := xattr(path, hardlink.MarkKey(name, s.opts.UserXattr))
	return found, err
}

// checkMetacopy returns ErrRedirect for a file without contents. It looks only if the
// kernel's default for overlay mounts can make such files.
func (s *scan) checkMetacopy(path string) error {
	if !s.metacopy {
		return nil
	}
	found, err := s.hasMark(path, "metacopy")
	if found {
		err = fmt.Errorf("%s: %w", path, ErrRedirect)
	}
	return err
}

// metacopyDefault reports whether overlay mounts have metacopy=on by default.
func metacopyDefault() bool {
	b, err := os.ReadFile("/sys/module/overlay/parameters/metacopy")
	return err == nil && len(b) > 0 && b[0] == 'Y'
}
