package merge

import (
	"bytes"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// same reports whether the differs of BuildKit and containerd take a and b for unchanged
// (buildkit util/overlay, sameDirent; continuity fs, sameFile): type, permissions, owner,
// device number and capabilities are equal, and, except for directories, size and time of
// modification. If that time has no fraction of a second, an archive may have truncated
// it, and contents are compared, too. Times and further extended attributes of
// directories are not compared.
func same(a, b *entry) (bool, error) {
	if a.st.Dev == b.st.Dev && a.st.Ino == b.st.Ino {
		return true, nil
	}
	if a.st.Mode != b.st.Mode || a.st.Uid != b.st.Uid || a.st.Gid != b.st.Gid || a.st.Rdev != b.st.Rdev {
		return false, nil
	}
	if !a.isDir() && (a.st.Size != b.st.Size || a.st.Mtim != b.st.Mtim) {
		return false, nil
	}
	if equal, err := sameCapabilities(a.path, b.path); err != nil || !equal {
		return false, err
	}
	if a.isDir() || a.st.Mtim.Nsec != 0 {
		return true, nil
	}
	switch a.st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		return sameTarget(a.path, b.path)
	case unix.S_IFREG:
		return sameContent(a.path, b.path, a.st.Size)
	default:
		return true, nil
	}
}

func sameCapabilities(a, b string) (bool, error) {
	const key = "security.capability"
	var values [2][]byte
	for i, path := range []string{a, b} {
		var err error
		if values[i], _, err = xattr(path, key); err != nil {
			return false, err
		}
	}
	return bytes.Equal(values[0], values[1]), nil
}

func sameTarget(a, b string) (bool, error) {
	x, err := os.Readlink(a)
	if err != nil {
		return false, err
	}
	y, err := os.Readlink(b)
	return x == y, err
}

// compareSize is in bytes.
const compareSize = 128 << 10

// sameContent compares two files of size bytes.
func sameContent(a, b string, size int64) (bool, error) {
	if size == 0 {
		return true, nil
	}
	x, err := os.Open(a)
	if err != nil {
		return false, err
	}
	defer x.Close()
	y, err := os.Open(b)
	if err != nil {
		return false, err
	}
	defer y.Close()
	p, q := make([]byte, min(size, compareSize)), make([]byte, min(size, compareSize))
	for size > 0 {
		n := min(size, compareSize)
		if _, err := io.ReadFull(x, p[:n]); err != nil {
			return false, &os.PathError{Op: "read", Path: a, Err: err}
		}
		if _, err := io.ReadFull(y, q[:n]); err != nil {
			return false, &os.PathError{Op: "read", Path: b, Err: err}
		}
		if !bytes.Equal(p[:n], q[:n]) {
			return false, nil
		}
		size -= n
	}
	return true, nil
}
