package hardlink

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What a directory has its times from, and names that must not share an inode.
func TestMakeTimesAndSingles(t *testing.T) {
	from := t.TempDir()
	path := func(name string) string { return filepath.Join(from, name) }
	day := func(n int) time.Time { return time.Unix(1_600_000_000+int64(n)*86400, 5) }
	err := errors.Join(
		os.Mkdir(path("mode"), 0o711), os.Mkdir(path("times"), 0o700),
		os.WriteFile(path("file"), []byte("file"), 0o600), os.Link(path("file"), path("file2")),
		os.Symlink("to", path("link")), os.Link(path("link"), path("link2")),
		os.Chtimes(path("mode"), day(1), day(1)), os.Chtimes(path("times"), day(2), day(2)),
	)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now().Add(-time.Second)
	root := &Node{Dir: &Dir{}}
	root.Dir.Add("both", &Node{From: path("mode"), Times: path("times"), Dir: &Dir{}})
	root.Dir.Add("plain", &Node{Times: path("times"), Dir: &Dir{}})
	root.Dir.Add("touched", &Node{From: path("mode"), Touched: true, Dir: &Dir{}})
	for name, n := range map[string]*Node{
		"single": {From: path("link"), Anew: true, Single: true}, "single2": {From: path("link2"), Anew: true, Single: true},
		"anew": {From: path("file"), Anew: true}, "anew2": {From: path("file2"), Anew: true},
	} {
		root.Dir.Add(name, n)
	}
	to := filepath.Join(t.TempDir(), "to")
	made, err := Make(t.Context(), to, root, Options{Unsynced: true})
	if err != nil || made.Links != 0 || made.Copies != 3 {
		t.Fatalf("%+v, %v", made, err)
	}
	stat := func(name string) (st unix.Stat_t) {
		if err := unix.Lstat(filepath.Join(to, name), &st); err != nil {
			t.Fatal(err)
		}
		return st
	}
	for name, want := range map[string]struct {
		mode uint32
		time time.Time
	}{"both": {0o711, day(2)}, "plain": {0o755, day(2)}} {
		st := stat(name)
		if st.Mode&0o7777 != want.mode || unix.TimespecToNsec(st.Mtim) != want.time.UnixNano() {
			t.Errorf("%s: mode %o, time %d, want %o, %d", name, st.Mode, unix.TimespecToNsec(st.Mtim), want.mode, want.time.UnixNano())
		}
	}
	if st := stat("touched"); st.Mode&0o7777 != 0o711 || unix.TimespecToNsec(st.Mtim) < began.UnixNano() {
		t.Errorf("touched: mode %o, time %d", st.Mode, unix.TimespecToNsec(st.Mtim))
	}
	if stat("single").Ino == stat("single2").Ino || stat("single").Nlink != 1 {
		t.Error("single names share an inode")
	}
	if a, b := stat("anew"), stat("anew2"); a.Ino != b.Ino || a.Ino == inodeAt(t, path("file")) {
		t.Error("names of a copied inode do not share one, or that of what was copied")
	}
}

func inodeAt(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}
