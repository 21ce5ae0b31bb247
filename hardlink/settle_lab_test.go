package hardlink

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/tree"
)

// members is the Members of a test, in directories by their numbers below root.
type members struct {
	root     string
	used     map[uint64]bool
	together map[[2]uint64]bool
	pairs    map[[2]uint64]bool
	calls    int    // of Pair
	holding  func() // called in each Hold
}

func newMembers(t testing.TB, root string) *members {
	t.Helper()
	return &members{
		root: root, used: map[uint64]bool{}, together: map[[2]uint64]bool{}, pairs: map[[2]uint64]bool{}, holding: func() {},
	}
}

func (m *members) Dir(id uint64) string { return filepath.Join(m.root, strconv.FormatUint(id, 10)) }
func (m *members) Free(id uint64) bool  { return !m.used[id] }
func (m *members) Apart(a, b uint64) bool {
	return a != b && !m.together[[2]uint64{min(a, b), max(a, b)}]
}
func (m *members) Pair(a uint64, others []uint64) error {
	m.calls++
	for _, b := range others {
		m.pairs[[2]uint64{min(a, b), max(a, b)}] = true
	}
	return nil
}

func (m *members) Hold(do func() error) error {
	m.holding()
	return do()
}

// bed is a pool and its members on one filesystem.
type bed struct {
	testing.TB
	*members
	pool *Pool
}

func newBed(t testing.TB, root string) *bed {
	t.Helper()
	b := &bed{TB: t, members: newMembers(t, root)}
	b.open()
	t.Cleanup(func() { b.pool.Close() })
	return b
}

// onDisk is a directory on the disk: /tmp may be a tmpfs.
func onDisk(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "ladle-hardlink-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// newFilesystem is a mounted filesystem of a kind, on a loop device.
func newFilesystem(t testing.TB, kind string, size int64) string {
	t.Helper()
	dir := onDisk(t)
	image, at := filepath.Join(dir, "image"), filepath.Join(dir, "mnt")
	must(t, os.WriteFile(image, nil, 0o600))
	must(t, os.Truncate(image, size))
	must(t, os.Mkdir(at, 0o700))
	run(t, "mkfs."+kind, "-q", image)
	run(t, "mount", "-o", "loop", image, at)
	t.Cleanup(func() { run(t, "umount", at) })
	return at
}

func run(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (b *bed) open() {
	b.Helper()
	pool, err := OpenPool(filepath.Join(b.root, "pool"), PoolOptions{
		Members: b.members, Single: func(path string) bool { return path == "etc" || strings.HasPrefix(path, "etc/") },
	})
	must(b, err)
	b.pool = pool
}

// reopen is a restart of the process.
func (b *bed) reopen() {
	b.Helper()
	must(b, b.pool.Close())
	b.open()
}

func (b *bed) settle(id uint64) Reached {
	b.Helper()
	r, err := b.pool.Settle(b.Context(), id)
	must(b, err)
	return r
}

var epoch = time.Date(2024, 5, 6, 7, 8, 9, 123456789, time.UTC)

// write makes a file with attributes that depend on nothing but its path.
func (b *bed) write(id uint64, path, content string) string {
	b.Helper()
	full := filepath.Join(b.Dir(id), path)
	must(b, os.MkdirAll(filepath.Dir(full), 0o755))
	must(b, os.WriteFile(full, []byte(content), 0o640))
	must(b, os.Chtimes(full, epoch, epoch))
	must(b, os.Chtimes(filepath.Dir(full), epoch, epoch.Add(time.Hour)))
	return full
}

// listing describes what can be seen of a member, but for numbers of inodes, and
// of links, which names share an inode.
func (b *bed) listing(id uint64) (lines []string) {
	b.Helper()
	first := map[uint64]string{}
	err := filepath.WalkDir(b.Dir(id), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := tree.Lstat(path)
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%q mode %o owner %d:%d size %d time %d.%09d", path, st.Mode, st.Uid, st.Gid, st.Size, st.Mtim.Sec, st.Mtim.Nsec)
		if e.Type().IsRegular() {
			f, err := openFile(filepath.Dir(path), name{path: filepath.Base(path)})
			if err != nil {
				return err
			}
			defer f.close()
			xattrs, err := f.xattrs()
			if err != nil {
				return err
			}
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if first[st.Ino] == "" {
				first[st.Ino] = path
			}
			line += fmt.Sprintf(" xattrs %q sha256 %.12x as %q", xattrs, sha256.Sum256(content), first[st.Ino])
		}
		lines = append(lines, line)
		return nil
	})
	must(b, err)
	return lines
}

func (b *bed) unchanged(id uint64, before []string) {
	b.Helper()
	after := b.listing(id)
	for _, line := range before {
		if !slices.Contains(after, line) {
			b.Errorf("-%s", line)
		}
	}
	for _, line := range after {
		if !slices.Contains(before, line) {
			b.Errorf("+%s", line)
		}
	}
}

// inodes are those of the regular files of a member.
func (b *bed) inodes(id uint64) map[uint64]bool {
	b.Helper()
	all := map[uint64]bool{}
	must(b, filepath.WalkDir(b.Dir(id), func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		st, err := tree.Lstat(path)
		if err == nil {
			all[st.Ino] = true
		}
		return err
	}))
	return all
}

func sameInode(t testing.TB, a, b string) bool {
	t.Helper()
	x, err := tree.Lstat(a)
	must(t, err)
	y, err := tree.Lstat(b)
	must(t, err)
	return x.Ino == y.Ino
}

func setXattr(t testing.TB, path, key, value string) {
	t.Helper()
	if err := unix.Lsetxattr(path, key, []byte(value), 0); err != nil {
		t.Fatal(errors.Join(errors.New(path), err))
	}
}
