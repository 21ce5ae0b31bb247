package hardlink

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// sharePiece is how much is shared at a time; btrfs takes no more (Linux
// fs/btrfs/reflink.c, BTRFS_MAX_DEDUPE_LEN).
const sharePiece = 16 << 20

// share lets f share the extents of equal, and closes both. The kernel compares
// the bytes and shares them in one step, and what can be seen of the files does
// not change (ioctl_fideduperange(2)), so that it is no matter who uses them.
func (b *batch) share(ctx context.Context, f, equal *file) error {
	p := &pair{name: f, equal: equal}
	defer p.close()
	for off := int64(0); off < f.st.Size; off += sharePiece {
		if err := b.pace.rest(ctx); err != nil {
			return err
		}
		same, err := dedupe(equal, f, off, min(sharePiece, f.st.Size-off))
		if err != nil || !same {
			return err
		}
	}
	b.reached.Shared.add(f.st.Size)
	return nil
}

// dedupe lets to share with from what both have at off. It reports false if
// that is not the same, or cannot be shared: btrfs keeps short files with their
// inodes.
func dedupe(from, to *file, off, length int64) (bool, error) {
	r := unix.FileDedupeRange{
		Src_offset: uint64(off), Src_length: uint64(length),
		Info: []unix.FileDedupeRangeInfo{{Dest_fd: int64(to.fd()), Dest_offset: uint64(off)}},
	}
	err := unix.IoctlFileDedupeRange(from.fd(), &r)
	if err == nil && r.Info[0].Status < 0 {
		err = unix.Errno(-r.Info[0].Status)
	}
	switch {
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EPERM), errors.Is(err, unix.ETXTBSY):
		return false, nil
	case err != nil:
		return false, &os.PathError{Op: "FIDEDUPERANGE", Path: to.Name(), Err: err}
	}
	return r.Info[0].Status == unix.FILE_DEDUPE_RANGE_SAME && int64(r.Info[0].Bytes_deduped) == length, nil
}

// sharesExtents tries whether files below dir can share extents.
func sharesExtents(dir string) (bool, error) {
	var files []*file
	defer func() {
		for _, f := range files {
			f.close()
			os.Remove(f.Name())
		}
	}()
	for _, n := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(dir, n), make([]byte, 64<<10), 0o600); err != nil {
			return false, err
		}
		f, err := openFile(dir, name{path: n})
		if err != nil {
			return false, err
		}
		files = append(files, f)
	}
	same, err := dedupe(files[0], files[1], 0, 64<<10)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOTTY) {
		return false, nil
	}
	return same, err
}
