package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// disk is a filesystem on a loop device that one sample has for itself. On one
// that they shared, who comes later would pay for what is deleted of the earlier
// ones: ext4 without a journal looks for inodes that have not been in use for
// the last minutes, one by one (Linux 6.18, fs/ext4/ialloc.c, recently_deleted),
// and others free extents in the background.
type disk struct{ dir string }

// diskBytes is the size of a disk, of which a sparse file has what is written.
const diskBytes = 24 << 30

// newDisk makes a filesystem of a kind, ext4 or xfs, and mounts it.
func newDisk(ctx context.Context, kind string) (_ *disk, err error) {
	dir, err := os.MkdirTemp("/var/tmp", "ladle-bench-")
	if err != nil {
		return nil, err
	}
	d := &disk{dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	image := filepath.Join(dir, "image")
	err = errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, diskBytes), os.Mkdir(d.root(), 0o711))
	if err != nil {
		return nil, err
	}
	format, options := []string{"-q"}, "loop"
	if kind == "ext4" {
		// What it has to write is not written during a sample.
		format, options = append(format, "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard"), "loop,noinit_itable"
	}
	if err := system(ctx, "mkfs."+kind, append(format, image)...); err != nil {
		return nil, err
	}
	return d, system(ctx, "mount", "-o", options, image, d.root())
}

// root is where it is mounted.
func (d *disk) root() string { return filepath.Join(d.dir, "m") }

// used is how many bytes are in use, when all is written.
func (d *disk) used(ctx context.Context) (int64, error) {
	if err := system(ctx, "sync", "-f", d.root()); err != nil {
		return 0, err
	}
	var st syscall.Statfs_t
	err := syscall.Statfs(d.root(), &st)
	return int64(st.Blocks-st.Bfree) * st.Bsize, err
}

// remove unmounts and deletes it.
func (d *disk) remove(ctx context.Context) error {
	if err := system(ctx, "umount", d.root()); err != nil {
		return err
	}
	return os.RemoveAll(d.dir)
}

func system(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %q: %w\n%s", name, args, err, out)
	}
	return nil
}
