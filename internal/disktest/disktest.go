package disktest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Kinds are the filesystems that New makes.
var Kinds = []string{"ext4", "xfs", "btrfs"}

// least is the size in bytes below which mkfs refuses to make a filesystem.
var least = map[string]int64{"xfs": 300 << 20, "btrfs": 128 << 20}

// New mounts a filesystem of a kind on a directory that it returns, for as long as
// the test runs. It has size bytes, or more if the kind has no smaller ones. args
// are more arguments of mkfs.
func New(t testing.TB, kind string, size int64, args ...string) string {
	t.Helper()
	return NewIn(t, t.TempDir(), kind, size, args...)
}

// NewIn is New with the filesystem in a file in dir, all of it a hole.
func NewIn(t testing.TB, dir, kind string, size int64, args ...string) string {
	t.Helper()
	image := filepath.Join(dir, "disk")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, max(size, least[kind])); err != nil {
		t.Fatal(err)
	}
	run(t, "mkfs."+kind, append(append([]string{"-q"}, args...), image)...)
	return mount(t, "-o", "loop", image)
}

// Tmpfs is New for a tmpfs.
func Tmpfs(t testing.TB, size int64) string {
	t.Helper()
	return mount(t, "-t", "tmpfs", "-o", fmt.Sprint("size=", size), "none")
}

// Thin is New for an ext4 that is a thin volume: in a file in dir, all of it a hole.
// When dir has no space the volume takes bytes and fails to write them later. It
// has no journal, which would end with the first write that fails.
//
// The volume fails each page that it does not keep. A loop device with larger
// requests would not: of a request whose first pages it could write it says that all
// were written (seen on Linux 6.18). That is a disk that changes bytes, and nothing
// above it can notice.
func Thin(t testing.TB, dir string, size int64) string {
	t.Helper()
	pages := fmt.Sprint(os.Getpagesize())
	volume := NewIn(t, dir, "ext4", size, "-b", pages, "-O", "^has_journal", "-E", "lazy_itable_init=0")
	var st unix.Stat_t
	if err := unix.Stat(volume, &st); err != nil {
		t.Fatal(err)
	}
	limit := fmt.Sprintf("/sys/dev/block/%d:%d/queue/max_sectors_kb", unix.Major(st.Dev), unix.Minor(st.Dev))
	was, err := os.ReadFile(limit)
	if err != nil {
		t.Fatal(err)
	}
	set := func(kib []byte) {
		if err := os.WriteFile(limit, kib, 0); err != nil {
			t.Fatal(err)
		}
	}
	set(fmt.Append(nil, os.Getpagesize()>>10))
	t.Cleanup(func() { set(was) }) // the device keeps it for who uses it next
	return volume
}

// mount mounts a filesystem on a directory that it returns.
func mount(t testing.TB, args ...string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "disk") // t.TempDir is too long for sockets and overlay
	if err != nil {
		t.Fatal(err)
	}
	run(t, "mount", append(args, dir)...)
	t.Cleanup(func() {
		err := unix.Unmount(dir, 0)
		for n := 0; n < 500 && errors.Is(err, unix.EBUSY); n++ {
			time.Sleep(20 * time.Millisecond) // what was mounted or open there lets go of it later
			err = unix.Unmount(dir, 0)
		}
		if err != nil {
			t.Errorf("unmount %s: %v", dir, errors.Join(err, unix.Unmount(dir, unix.MNT_DETACH)))
		}
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func run(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

// largest is the size in bytes up to which a filesystem may be one of a test.
const largest = 1 << 30

// mustBeSmall fails a test that is about to fill the disk of the machine.
func mustBeSmall(t testing.TB, dir string) {
	t.Helper()
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	if size := int64(fs.Blocks) * fs.Bsize; size > largest {
		t.Fatalf("the filesystem of %s is none of New: it has %d bytes", dir, size)
	}
}

// Exhaust takes all blocks of the filesystem at dir until free is called.
func Exhaust(t testing.TB, dir string) (free func()) {
	t.Helper()
	return ExhaustBut(t, dir, 0)
}

// ExhaustBut is Exhaust that leaves about so many bytes.
func ExhaustBut(t testing.TB, dir string, leave int64) (free func()) {
	t.Helper()
	mustBeSmall(t, dir)
	if leave > 0 {
		left := filepath.Join(dir, "left")
		Allocate(t, left, leave)
		defer func() {
			if err := os.Remove(left); err != nil {
				t.Fatal(err)
			}
		}()
	}
	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	if errors.Is(err, unix.ENOSPC) {
		return func() {}
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	taken := int64(0)
	for size := int64(256 << 20); size >= 4096; {
		err := unix.Fallocate(int(f.Fd()), 0, taken, size)
		switch {
		case errors.Is(err, unix.ENOSPC):
			size /= 2
		case err != nil:
			t.Fatal(err)
		default:
			taken += size
		}
	}
	return func() {
		t.Helper()
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		unix.Sync() // btrfs frees blocks with its next transaction
	}
}

// ExhaustInodes takes all inodes of the filesystem at dir until free is called.
func ExhaustInodes(t testing.TB, dir string) (free func()) {
	t.Helper()
	mustBeSmall(t, dir)
	ballast := filepath.Join(dir, "inodes")
	if err := os.Mkdir(ballast, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		err := os.WriteFile(filepath.Join(ballast, fmt.Sprint(i)), nil, 0o600)
		if errors.Is(err, unix.ENOSPC) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		t.Helper()
		if err := os.RemoveAll(ballast); err != nil {
			t.Fatal(err)
		}
	}
}

// Allocate makes a file that takes size bytes.
func Allocate(t testing.TB, path string, size int64) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, size); err != nil {
		t.Fatal(err)
	}
}
