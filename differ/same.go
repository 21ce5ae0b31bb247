package differ

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/ladle-dev/ladle/tree"
)

// capability is the one extended attribute that is compared.
const capability = "security.capability"

// same reports whether a path counts as unchanged (continuity v0.5, fs/path.go, sameFile).
func (w *walk) same(path string, lower, upper fs.FileInfo) (bool, error) {
	lowerPath, upperPath := filepath.Join(w.sides.lower, path), filepath.Join(w.sides.upper, path)
	if !sameAttributes(lower, upper) {
		return false, nil
	}
	if same, err := sameXattr(lowerPath, upperPath, capability); err != nil || !same {
		return false, err
	}
	if upper.IsDir() {
		return true, nil
	}
	if lower.Size() != upper.Size() || !lower.ModTime().Equal(upper.ModTime()) {
		return false, nil
	}
	switch {
	case upper.ModTime().Nanosecond() != 0:
		return true, nil
	case upper.Mode()&fs.ModeSymlink != 0:
		return sameTarget(lowerPath, upperPath)
	case upper.Size() == 0:
		return true, nil
	}
	return w.sameContent(path, lower)
}

func sameAttributes(lower, upper fs.FileInfo) bool {
	a, aOK := lower.Sys().(*syscall.Stat_t)
	b, bOK := upper.Sys().(*syscall.Stat_t)
	return aOK && bOK && a.Mode == b.Mode && a.Uid == b.Uid && a.Gid == b.Gid && a.Rdev == b.Rdev
}

func sameXattr(lower, upper, name string) (bool, error) {
	a, _, err := tree.Xattr(lower, name)
	if err != nil {
		return false, err
	}
	b, _, err := tree.Xattr(upper, name)
	return bytes.Equal(a, b), err
}

func sameTarget(lower, upper string) (bool, error) {
	a, err := os.Readlink(lower)
	if err != nil {
		return false, err
	}
	b, err := os.Readlink(upper)
	return a == b, err
}

// sameContent compares the contents of regular files of one size.
func (w *walk) sameContent(path string, lower fs.FileInfo) (same bool, err error) {
	upper, err := os.Open(filepath.Join(w.sides.upper, path))
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, upper.Close()) }()
	same, known, err := w.contents.same(w.ctx, path, lower, upper)
	if known || err != nil {
		return same, err
	}
	file, err := os.Open(filepath.Join(w.sides.lower, path))
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return sameBytes(file, upper)
}

// sameBytes reports whether two readers return the same until they end.
func sameBytes(a, b io.Reader) (bool, error) {
	const size = 1 << 18
	p, q := make([]byte, size), make([]byte, size)
	for {
		n, errA := io.ReadFull(a, p)
		m, errB := io.ReadFull(b, q)
		for _, err := range []error{errA, errB} {
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return false, err
			}
		}
		if !bytes.Equal(p[:n], q[:m]) {
			return false, nil
		}
		if errA != nil || errB != nil {
			return true, nil
		}
	}
}
