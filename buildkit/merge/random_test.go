package merge_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// change makes random changes below root. Equal seeds make equal changes in
// equal trees, but for inode numbers and access times.
func change(root string, seed uint64) error {
	c := changer{root, rand.New(rand.NewPCG(seed, 3))}
	for range 3 + c.r.IntN(14) {
		if err := c.step(); err != nil {
			return err
		}
	}
	return nil
}

type changer struct {
	root string
	r    *rand.Rand
}

// path returns one of few, so that layers collide.
func (c changer) path() string {
	var parts []string
	for range 1 + c.r.IntN(3) {
		parts = append(parts, string(rune('a'+c.r.IntN(4))))
	}
	return strings.Join(parts, "/")
}

func (c changer) abs(path string) string { return filepath.Join(c.root, path) }

// settle gives a path, and the directories above it, times that do not depend
// on the clock: some without a fraction of a second.
func (c changer) settle(path string) error {
	sec, nsec := int64(1_600_000_000+c.r.IntN(3)), int64(c.r.IntN(2)*c.r.IntN(3))
	stamp := []unix.Timespec{{Sec: sec, Nsec: nsec}, {Sec: sec, Nsec: nsec}}
	for ; path != "."; path = filepath.Dir(path) {
		err := unix.UtimesNanoAt(unix.AT_FDCWD, c.abs(path), stamp, unix.AT_SYMLINK_NOFOLLOW)
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ELOOP) {
			return fmt.Errorf("utimes %s: %w", path, err)
		}
	}
	return nil
}

// clear makes room at path: what is there is gone, what is above it is
// directories.
func (c changer) clear(path string) error {
	if dir := filepath.Dir(path); dir != "." {
		if err := c.mkdir(dir); err != nil {
			return err
		}
	}
	return os.RemoveAll(c.abs(path))
}

func (c changer) mkdir(path string) error {
	if dir := filepath.Dir(path); dir != "." {
		if err := c.mkdir(dir); err != nil {
			return err
		}
	}
	info, err := os.Lstat(c.abs(path))
	if err == nil && info.IsDir() {
		return nil
	}
	if err == nil {
		if err := os.Remove(c.abs(path)); err != nil {
			return err
		}
	}
	return os.Mkdir(c.abs(path), 0o755)
}

func (c changer) step() error {
	path := c.path()
	if c.throughLink(path) {
		return nil
	}
	info, _ := os.Lstat(c.abs(path))
	var err error
	switch kind := c.r.IntN(18); {
	case kind < 3:
		err = c.write(path)
	case kind < 5:
		err = c.mkdir(path)
		if err == nil {
			err = os.Chmod(c.abs(path), os.FileMode(0o700+c.r.IntN(3)))
		}
	case kind < 8:
		err = c.removed(path)
	case kind == 8:
		if err = c.clear(path); err == nil {
			err = os.Symlink(c.path(), c.abs(path))
		}
	case kind == 9:
		if err = c.clear(path); err == nil {
			err = unix.Mkfifo(c.abs(path), 0o600)
		}
	case kind == 10:
		if err = c.clear(path); err == nil {
			err = unix.Mknod(c.abs(path), unix.S_IFCHR|0o600, int(unix.Mkdev(1, uint32(3+c.r.IntN(2)))))
		}
	case kind == 11:
		return c.link(path)
	case kind == 12: // a directory that is made anew
		if err = c.clear(path); err == nil {
			if err = os.Mkdir(c.abs(path), 0o711); err == nil {
				child := path + "/" + string(rune('a'+c.r.IntN(4)))
				return errors.Join(c.write(child), c.settle(child))
			}
		}
	case info == nil:
		return nil
	case kind == 13: // copied up, and as it was
		if info.Mode()&os.ModeSymlink != 0 {
			return nil
		}
		return os.Chmod(c.abs(path), info.Mode().Perm())
	case kind == 14: // written with what it had
		return c.rewrite(path, info)
	case kind == 15:
		err = os.Lchown(c.abs(path), c.r.IntN(3), 0)
	default:
		err = c.attribute(path, info)
	}
	return errors.Join(err, c.settle(path))
}

// throughLink reports whether path is not where it seems to be.
func (c changer) throughLink(path string) bool {
	for dir := filepath.Dir(path); dir != "."; dir = filepath.Dir(dir) {
		if info, err := os.Lstat(c.abs(dir)); err == nil && info.Mode()&os.ModeSymlink != 0 {
			return true
		}
	}
	return false
}

func (c changer) removed(path string) error {
	if _, err := os.Lstat(c.abs(path)); err != nil {
		return nil
	}
	return os.RemoveAll(c.abs(path))
}

func (c changer) write(path string) error {
	if err := c.clear(path); err != nil {
		return err
	}
	return os.WriteFile(c.abs(path), []byte(strings.Repeat("x", c.r.IntN(3))+fmt.Sprint(c.r.IntN(3))), 0o644)
}

func (c changer) rewrite(path string, info os.FileInfo) error {
	if !info.Mode().IsRegular() {
		return nil
	}
	b, err := os.ReadFile(c.abs(path))
	if err == nil {
		err = os.WriteFile(c.abs(path), b, 0o644)
	}
	return errors.Join(err, os.Chtimes(c.abs(path), time.Time{}, info.ModTime()))
}

func (c changer) link(path string) error {
	from := c.path()
	info, err := os.Lstat(c.abs(from))
	// BuildKit's copies of a pipe are not links of each other.
	if err != nil || c.throughLink(from) || info.IsDir() || info.Mode()&os.ModeNamedPipe != 0 || from == path || strings.HasPrefix(from, path+"/") || strings.HasPrefix(path, from+"/") {
		return nil
	}
	if err := c.clear(path); err != nil {
		return err
	}
	if err := os.Link(c.abs(from), c.abs(path)); err != nil {
		return err
	}
	return c.settle(path)
}
