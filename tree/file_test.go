package tree

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestLstat(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	must(t, os.WriteFile(in("file"), bytes.Repeat([]byte("x"), 100_000), 0o640))
	must(t, os.Link(in("file"), in("same")))
	must(t, os.WriteFile(in("other"), nil, 0o640))
	must(t, os.Truncate(in("other"), 100<<20))
	must(t, os.Symlink("file", in("link")))
	stat := func(name string) *unix.Stat_t {
		t.Helper()
		st, err := Lstat(in(name))
		must(t, err)
		return st
	}
	file, other, link := stat("file"), stat("other"), stat("link")
	if file.Size != 100_000 || link.Mode&unix.S_IFMT != unix.S_IFLNK {
		t.Errorf("file %+v, link %+v", file, link)
	}
	if FileIDOf(file) != FileIDOf(stat("same")) || FileIDOf(file) == FileIDOf(other) || FileIDOf(file) == FileIDOf(link) {
		t.Errorf("%v, %v, %v", FileIDOf(file), FileIDOf(other), FileIDOf(link))
	}
	must(t, flush(in("file")))
	if n := DiskBytes(stat("file")); n < 100_000 || n > 1<<20 {
		t.Errorf("100,000 bytes take %d on disk", n)
	}
	if n := DiskBytes(other); n > 1<<20 {
		t.Errorf("a hole takes %d bytes on disk", n)
	}
	_, err := Lstat(in("none"))
	if bad := (*os.PathError)(nil); !errors.As(err, &bad) || bad.Path != in("none") || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// flush writes a file to disk: filesystems may give it its blocks only then.
func flush(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func TestXattr(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o640))
	long := bytes.Repeat([]byte("long"), 700)
	for name, value := range map[string][]byte{"trusted.some": []byte("some"), "trusted.empty": {}, "trusted.long": long} {
		must(t, unix.Lsetxattr(file, name, value, 0))
		got, ok, err := Xattr(file, name)
		if err != nil || !ok || !bytes.Equal(got, value) {
			t.Errorf("%s: %q, %v, %v", name, got, ok, err)
		}
	}
	// A link has its own, /proc none at all.
	link := filepath.Join(filepath.Dir(file), "link")
	must(t, os.Symlink("file", link))
	for path, name := range map[string]string{file: "trusted.none", link: "trusted.some", "/proc/self/status": "trusted.some"} {
		if got, ok, err := Xattr(path, name); ok || err != nil || len(got) > 0 {
			t.Errorf("%s of %s: %q, %v, %v", name, path, got, ok, err)
		}
	}
	_, _, err := Xattr(file+"none", "trusted.some")
	if bad := (*os.PathError)(nil); !errors.As(err, &bad) || bad.Path != file+"none" || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
