package hardlink

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// file is an open regular file of a member.
type file struct {
	*os.File
	at name
	st unix.Stat_t
}

// openFile opens the regular file n below dir for reading. It does not follow symbolic
// links.
func openFile(dir string, n name) (*file, error) {
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(root)
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOATIME | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	}
	fd, err := unix.Openat2(root, n.path, &how)
	if errors.Is(err, unix.EPERM) { // only the owner may use O_NOATIME
		how.Flags &^= unix.O_NOATIME
		fd, err = unix.Openat2(root, n.path, &how)
	}
	path := filepath.Join(dir, n.path)
	if err != nil {
		return nil, &os.PathError{Op: "openat2", Path: path, Err: err}
	}
	f := &file{File: os.NewFile(uintptr(fd), path), at: n}
	if err := unix.Fstat(fd, &f.st); err != nil {
		return nil, f.closeWith(&os.PathError{Op: "fstat", Path: path, Err: err})
	}
	if f.st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, f.closeWith(&os.PathError{Op: "open", Path: path, Err: unix.ENOTDIR})
	}
	return f, nil
}

// close closes a file that was open for reading only, which cannot lose data.
func (f *file) close() { _ = f.File.Close() }

func (f *file) closeWith(err error) error {
	f.close()
	return err
}

func (f *file) fd() int { return int(f.Fd()) }

func (f *file) changed() int64 { return unix.TimespecToNsec(f.st.Ctim) }

// groupOf returns the content key of f without the hash. The group is computed from the
// size, and, for hard links, from all attributes that must be equal.
func (p *Pool) groupOf(f *file) (contentKey, error) {
	var k contentKey
	if p.shares {
		binary.BigEndian.PutUint64(k[:], uint64(f.st.Size))
		return k, nil
	}
	xattrs, err := f.xattrs()
	if err != nil {
		return k, err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %o %d %d %d.%d\n%q", f.st.Size, f.st.Mode, f.st.Uid, f.st.Gid,
		f.st.Mtim.Sec, f.st.Mtim.Nsec, xattrs))
	copy(k[:half], sum[:])
	return k, nil
}

// xattrs returns the names and values of all extended attributes, sorted by name.
func (f *file) xattrs() ([]string, error) {
	list, err := sized(func(b []byte) (int, error) { return unix.Flistxattr(f.fd(), b) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, &os.PathError{Op: "flistxattr", Path: f.Name(), Err: err}
	}
	names := strings.FieldsFunc(string(list), func(r rune) bool { return r == 0 })
	slices.Sort(names)
	var all []string
	for _, name := range names {
		value, err := sized(func(b []byte) (int, error) { return unix.Fgetxattr(f.fd(), name, b) })
		if err != nil {
			return nil, &os.PathError{Op: "fgetxattr " + name, Path: f.Name(), Err: err}
		}
		all = append(all, name, string(value))
	}
	return all, nil
}

// sized calls get twice: for the size, and with a buffer of that size.
func sized(get func([]byte) (int, error)) ([]byte, error) {
	n, err := get(nil)
	if err != nil || n == 0 {
		return nil, err
	}
	b := make([]byte, n)
	n, err = get(b)
	return b[:max(n, 0)], err
}

// readSize is the number of bytes per read; the context is checked in between.
const readSize = 256 << 10

// sum returns the SHA-256 of f's bytes.
func (f *file) sum(ctx context.Context, pace *pace) ([]byte, error) {
	h := sha256.New()
	b := make([]byte, min(readSize, f.st.Size))
	for off := int64(0); off < f.st.Size; off += int64(len(b)) {
		if err := pace.rest(ctx); err != nil {
			return nil, err
		}
		b = b[:min(int64(len(b)), f.st.Size-off)]
		if _, err := f.ReadAt(b, off); err != nil {
			return nil, err
		}
		h.Write(b)
	}
	return h.Sum(nil), nil
}

// pair is a file of the member, and the equal file that is to replace it.
type pair struct {
	name, equal *file
	linked      bool
}

func (p *pair) close() {
	p.name.close()
	p.equal.close()
}

// compare reads both files and reports whether their bytes are equal.
func (p *pair) compare(ctx context.Context, pace *pace) (bool, error) {
	if p.name.st.Size != p.equal.st.Size {
		return false, nil
	}
	size := min(readSize, p.name.st.Size)
	a, b := make([]byte, size), make([]byte, size)
	for off := int64(0); off < p.name.st.Size; off += size {
		if err := pace.rest(ctx); err != nil {
			return false, err
		}
		size = min(size, p.name.st.Size-off)
		a, b = a[:size], b[:size]
		if _, err := io.ReadFull(io.NewSectionReader(p.name, off, size), a); err != nil {
			return false, err
		}
		if _, err := io.ReadFull(io.NewSectionReader(p.equal, off, size), b); err != nil {
			return false, err
		}
		if !bytes.Equal(a, b) {
			return false, nil
		}
	}
	return true, nil
}

// pace throttles Settle to at most half of the time.
type pace struct{ since time.Time }

// workTime is the time of work after which rest sleeps for the same time.
const workTime = 20 * time.Millisecond

// rest is called regularly between reads and files. It sleeps if workTime has passed, at
// most a second.
func (p *pace) rest(ctx context.Context) error {
	if p.since.IsZero() {
		p.since = time.Now()
	}
	worked := time.Since(p.since)
	if worked < workTime {
		return ctx.Err()
	}
	t := time.NewTimer(min(worked, time.Second))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		p.since = time.Now()
		return nil
	}
}
