package hardlink

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// dedupeSize is the number of bytes per ioctl; it is the maximum of btrfs (Linux
// fs/btrfs/reflink.c, BTRFS_MAX_DEDUPE_LEN).
const dedupeSize = 16 << 20

// share lets f share the extents of equal, and closes both. The kernel compares the bytes
// and shares the extents in one step; nothing that a program can read of the files
// changes (ioctl_fideduperange(2)), so the files may be in use.
func (b *batch) share(ctx context.Context, f, equal *file) error {
	p := &pair{name: f, equal: equal}
	defer p.close()
	for off := int64(0); off < f.st.Size; off += dedupeSize {
		if err := b.pace.rest(ctx); err != nil {
			return err
		}
		same, err := dedupe(equal, f, off, min(dedupeSize, f.st.Size-off))
		if err != nil || !same {
			return err
		}
	}
	b.reached.Shared.add(f.st.Size)
	return nil
}

// dedupe lets to share the extents of from in the range of length bytes at off. It
// returns false if the bytes differ or cannot be shared: btrfs stores short files inline.
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

// sharesExtents probes whether files in dir can share extents.
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
