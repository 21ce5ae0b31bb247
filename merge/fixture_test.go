package merge_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/merge"
)

// A layer is written as one line for each entry: PATH, then what it is: "dir",
// "opaque", "xwhiteouts" (both directories), "whiteout", "mark" (a whiteout as
// an extended attribute), "fifo", "-> TARGET", "= PATH" (a hard link), or the
// content of a file. Parents are made. Times are one time with a fraction.
type lines []string

var stamp = unix.Timespec{Sec: 1_600_000_000, Nsec: 5}

func layer(t *testing.T, entries ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, line := range entries {
		path, what, _ := strings.Cut(line, " ")
		path = filepath.Join(dir, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), place(dir, path, what)); err != nil {
			t.Fatal(err)
		}
	}
	setTimes(t, dir, stamp)
	return dir
}

func place(dir, path, what string) error {
	kind, rest, _ := strings.Cut(what, " ")
	switch kind {
	case "dir":
		return os.MkdirAll(path, 0o755)
	case "opaque":
		return errors.Join(os.MkdirAll(path, 0o755), mark(path, "opaque", "y"))
	case "xwhiteouts":
		return errors.Join(os.MkdirAll(path, 0o755), mark(path, "opaque", "x"))
	case "whiteout":
		// As the kernel makes them, in a directory that was copied up.
		return errors.Join(unix.Mknod(path, unix.S_IFCHR, 0), mark(filepath.Dir(path), "origin", ""))
	case "mark":
		return errors.Join(os.WriteFile(path, nil, 0o644), mark(path, "whiteout", ""))
	case "fifo":
		return unix.Mkfifo(path, 0o644)
	case "->":
		return os.Symlink(rest, path)
	case "=":
		return os.Link(filepath.Join(dir, rest), path)
	default:
		return os.WriteFile(path, []byte(what), 0o644)
	}
}

func mark(path, name, value string) error {
	return unix.Lsetxattr(path, "trusted.overlay."+name, []byte(value), 0)
}

func setTimes(t *testing.T, dir string, ts unix.Timespec) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// read returns the lines of a layer, files as "file", and directories only if
// they are empty or marked.
func read(t *testing.T, dir string) lines {
	t.Helper()
	var found lines
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			list, err := os.ReadDir(path)
			value := make([]byte, 1)
			if n, err := unix.Lgetxattr(path, "trusted.overlay.opaque", value); err == nil && n == 1 {
				found = append(found, name+" opaque")
			} else if len(list) == 0 {
				found = append(found, name+" dir")
			}
			return err
		case unix.S_IFCHR:
			found = append(found, name+" whiteout")
		default:
			found = append(found, name+" file")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return found
}

// scan makes the clean diff of own over lower, the topmost first, and returns
// its directory: own itself if it is clean.
func scan(t *testing.T, own string, lower ...string) (dir string, diff *merge.Diff) {
	t.Helper()
	diff, err := merge.Scan(t.Context(), own, lower, merge.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if diff.AsIs {
		return own, diff
	}
	dir = filepath.Join(t.TempDir(), "diff")
	if _, err := diff.Make(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	return dir, diff
}

// shows returns the files that overlayfs shows of a stack, the topmost first:
// with contents, as a program that lists and then opens would see them.
func shows(t *testing.T, stack ...string) lines {
	t.Helper()
	mnt, empty := t.TempDir(), t.TempDir()
	options := "index=off,lowerdir=" + strings.Join(append(stack, empty), ":")
	if err := unix.Mount("overlay", mnt, "overlay", unix.MS_RDONLY, options); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(mnt, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	var found lines
	err := filepath.WalkDir(mnt, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == mnt {
			return err
		}
		name, _ := filepath.Rel(mnt, path)
		info, err := e.Info()
		if err != nil {
			return err
		}
		switch {
		case e.IsDir():
			found = append(found, fmt.Sprintf("%s dir %o", name, info.Mode().Perm()))
		case info.Mode().IsRegular():
			b, err := os.ReadFile(path)
			found = append(found, fmt.Sprintf("%s %s", name, b))
			return err
		default:
			found = append(found, fmt.Sprintf("%s %v", name, info.Mode().Type()))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return found
}

func equal(t *testing.T, what string, got lines, want ...string) {
	t.Helper()
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n  %q, want\n  %q", what, got, want)
	}
}
