package store_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// run runs a program that the tests need.
func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

// mount mounts a filesystem on a directory that it returns, for as long as the
// test runs.
func mount(t *testing.T, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	run(t, "mount", append(args, dir)...)
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
			if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		}
	})
	return dir
}

// disk makes a file of size bytes, all of it a hole, in dir and a filesystem
// on it, and mounts that.
func disk(t *testing.T, dir string, size int64, mkfs string, args ...string) string {
	t.Helper()
	image := filepath.Join(dir, "disk")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, size); err != nil {
		t.Fatal(err)
	}
	run(t, mkfs, append(args, image)...)
	return mount(t, "-o", "loop", image)
}

// exhaust takes all space of the filesystem at dir but about leave bytes. What
// it made is gone when free is called.
func exhaust(t *testing.T, dir string, leave int64) (free func()) {
	t.Helper()
	reserve := filepath.Join(dir, "reserve")
	allocate(t, reserve, leave)
	ballast := filepath.Join(dir, "ballast")
	for size := int64(256 << 20); size >= 4096; {
		f, err := os.OpenFile(ballast, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		err = unix.Fallocate(int(f.Fd()), 0, info.Size(), size)
		f.Close()
		if errors.Is(err, unix.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(reserve); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
	}
}

func allocate(t *testing.T, path string, size int64) {
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
