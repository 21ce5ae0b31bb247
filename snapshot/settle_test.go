package snapshot

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/archive"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/settle"
)

// settled is an endpoint and what settles its snapshots, by hand.
type settled struct {
	*Snapshotter
	t testing.TB
	w *settle.Worker
}

func newSettled(t testing.TB) *settled {
	t.Helper()
	s := &settled{Snapshotter: newEndpoint(t, newDisk(t), onlyLinks), t: t}
	w, err := s.sharing.OpenWorker()
	if err != nil {
		t.Fatal(err)
	}
	s.w = w
	t.Cleanup(func() { w.Close() })
	return s
}

func onlyLinks(o *Options) { o.SettleAfter, o.settleByLink = time.Nanosecond, true }

func (s *settled) pass() {
	s.t.Helper()
	if _, err := s.w.Pass(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

var longAgo = time.Unix(1_700_000_000, 123_456_789)

// put writes a file that is equal wherever it is.
func put(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, longAgo, longAgo); err != nil {
		t.Fatal(err)
	}
}

// commit makes a committed snapshot that has the given files above its parent.
func (s *settled) commit(name, parent string, files ...string) string {
	s.t.Helper()
	mounts, err := s.Prepare(s.t.Context(), name+"-active", parent)
	if err != nil {
		s.t.Fatal(err)
	}
	withMounted(s.t, mounts, func(dir string) {
		for _, file := range files {
			put(s.t, filepath.Join(dir, file), "content of "+filepath.Base(file))
		}
	})
	if err := s.Commit(s.t.Context(), name, name+"-active"); err != nil {
		s.t.Fatal(err)
	}
	return name
}

// view calls use with a mounted view of the snapshot name.
func (s *settled) view(name string, use func(dir string)) {
	s.t.Helper()
	mounts, err := s.View(s.t.Context(), "view of "+name, name)
	if err != nil {
		s.t.Fatal(err)
	}
	withMounted(s.t, mounts, use)
	if err := s.Remove(s.t.Context(), "view of "+name); err != nil {
		s.t.Fatal(err)
	}
}

// layer is the digest of the layer between two snapshots, as containerd's walking
// differ makes it: it looks at inodes of both.
func (s *settled) layer(parent, name string) (sum string) {
	s.t.Helper()
	s.view(name, func(upper string) {
		lower := s.t.TempDir()
		write := func(lower string) {
			h := sha256.New()
			if err := archive.WriteDiff(s.t.Context(), h, lower, upper); err != nil {
				s.t.Fatal(err)
			}
			sum = fmt.Sprintf("%x", h.Sum(nil))
		}
		if parent == "" {
			write(lower)
		} else {
			s.view(parent, write)
		}
	})
	return sum
}

func (s *settled) inode(name, path string) uint64 {
	s.t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(s.upper(idOfKey(s.t, s.Snapshotter, name)), path), &st); err != nil {
		s.t.Fatal(name, path, err)
	}
	return st.Ino
}

func (s *settled) share(a, b, path string) bool {
	s.t.Helper()
	return s.inode(a, path) == s.inode(b, path)
}

// What one stage takes over from another becomes one inode; the layers stay what
// they were.
func TestSettleStages(t *testing.T) {
	s := newSettled(t)
	s.commit("image", "", "bin/sh")
	s.commit("builder", "image", "out/one", "out/two", "etc/cron.d/table", "src")
	s.commit("copied", "", "out/one", "out/two", "etc/cron.d/table", "other")
	builder, copied := s.layer("image", "builder"), s.layer("", "copied")
	s.pass()
	for path, want := range map[string]bool{"out/one": true, "out/two": true, "etc/cron.d/table": false} {
		if s.share("builder", "copied", path) != want {
			t.Errorf("%s is shared: %v, want %v", path, !want, want)
		}
	}
	if got := s.layer("image", "builder"); got != builder {
		t.Error("the layer of the builder changed")
	}
	if got := s.layer("", "copied"); got != copied {
		t.Error("the layer of the copy changed")
	}
	// What is written on one side does not show on the other.
	for _, name := range []string{"builder", "copied"} {
		mounts, err := s.Prepare(t.Context(), "run on "+name, name)
		if err != nil {
			t.Fatal(err)
		}
		withMounted(t, mounts, func(dir string) {
			f, err := os.OpenFile(filepath.Join(dir, "out/one"), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt([]byte("CHANGED"), 0); err != nil {
				t.Fatal(err)
			}
			b, err := syscall.Mmap(int(f.Fd()), 0, 8, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
			if err != nil {
				t.Fatal(err)
			}
			b[7] = '!'
			if err := syscall.Munmap(b); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(filepath.Join(dir, "out/two"), 0o600); err != nil {
				t.Fatal(err)
			}
		})
	}
	if s.layer("image", "builder") != builder || s.layer("", "copied") != copied {
		t.Error("a layer changed when something was written above it")
	}
}

// A file that a child has again is no hard link to its parent's.
func TestSettleKeepsChainsApart(t *testing.T) {
	s := newSettled(t)
	s.commit("parent", "", "file", "same")
	s.commit("child", "parent", "copy/file")
	s.commit("grandchild", "child", "copy/again/file")
	s.commit("sibling", "parent", "copy/file")
	want := map[string]string{"child": s.layer("parent", "child"), "grandchild": s.layer("child", "grandchild")}
	s.pass()
	if s.inode("parent", "file") == s.inode("child", "copy/file") || s.inode("grandchild", "copy/again/file") == s.inode("child", "copy/file") {
		t.Error("snapshots of one chain share an inode")
	}
	if one := s.inode("sibling", "copy/file"); one != s.inode("child", "copy/file") && one != s.inode("grandchild", "copy/again/file") {
		t.Error("chains share no inode")
	}
	if s.layer("parent", "child") != want["child"] || s.layer("child", "grandchild") != want["grandchild"] {
		t.Error("a layer changed")
	}
}

// merge makes a committed merge of the snapshots uppers over parent.
func (s *settled) merge(name, parent string, uppers ...string) string {
	s.t.Helper()
	labels := map[string]string{}
	for i, upper := range uppers {
		labels[fmt.Sprintf("containerd.io/snapshot/ladle.merge.%d.upper", i)] = upper
	}
	if _, err := s.Prepare(s.t.Context(), name+"-active", parent, snapshots.WithLabels(labels)); err != nil {
		s.t.Fatal(err)
	}
	if err := s.Commit(s.t.Context(), name, name+"-active"); err != nil {
		s.t.Fatal(err)
	}
	return name
}

// alone checks that the files of a view share no inode, and have their content.
func (s *settled) alone(name string, paths ...string) {
	s.t.Helper()
	s.view(name, func(dir string) {
		seen := map[uint64]string{}
		for _, path := range paths {
			var st unix.Stat_t
			if err := unix.Lstat(filepath.Join(dir, path), &st); err != nil {
				s.t.Fatal(err)
			}
			if other := seen[st.Ino]; other != "" {
				s.t.Errorf("%s: %s and %s share an inode", name, other, path)
			}
			seen[st.Ino] = path
			if b, err := os.ReadFile(filepath.Join(dir, path)); err != nil || string(b) != "content of "+filepath.Base(path) {
				s.t.Errorf("%s: %s has %q, %v", name, path, b, err)
			}
		}
	})
}

// A merge never shows files as hard links that are none, be it made before its
// snapshots settle or after.
func TestSettleKeepsMergesApart(t *testing.T) {
	for _, first := range []string{"merged", "settled"} {
		t.Run("first "+first, func(t *testing.T) {
			s := newSettled(t)
			s.commit("builder", "", "out/file", "out/more")
			s.commit("one", "", "one/file")
			s.commit("two", "", "two/file", "two/more")
			if first == "settled" {
				s.pass()
				if s.inode("builder", "out/file") != s.inode("one", "one/file") || s.inode("two", "two/file") != s.inode("one", "one/file") {
					t.Error("they share no inode")
				}
			}
			s.merge("merge", "builder", "one", "two")
			s.merge("small", "", "one", "two")
			s.merge("again", "small", "builder")
			s.commit("run", "merge", "run/file")
			s.pass()
			s.pass()
			s.alone("merge", "out/file", "one/file", "two/file", "out/more", "two/more")
			s.alone("small", "one/file", "two/file", "two/more")
			s.alone("again", "out/file", "one/file", "two/file", "out/more", "two/more")
			s.alone("run", "out/file", "one/file", "two/file", "run/file")
			if first == "merged" && s.inode("builder", "out/file") == s.inode("one", "one/file") {
				t.Error("they share an inode")
			}
			// Also if some are gone, and after a restart.
			for _, name := range []string{"run", "merge"} {
				if err := s.Remove(t.Context(), name); err != nil {
					t.Fatal(err)
				}
			}
			s.commit("three", "", "three/file")
			s.pass()
			must(t, s.w.Close())
			s.Snapshotter = reopen(t, s.opts.Trees.(*disk), s.Snapshotter)
			s.merge("late", "again", "three")
			s.alone("late", "out/file", "one/file", "two/file", "three/file")
		})
	}
}

// What is mounted is not touched, nor what it is mounted over; when it is
// unmounted, files that are still open are what they were.
func TestSettleLeavesWhatIsInUse(t *testing.T) {
	s := newSettled(t)
	s.commit("builder", "", "file")
	s.commit("copied", "", "file")
	mounts, err := s.Prepare(t.Context(), "container", s.commit("above", "copied", "more"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := mount.All(mounts, dir); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "active/file"), "content of file")
	f, err := os.Open(filepath.Join(dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mapped, err := syscall.Mmap(int(f.Fd()), 0, len("content of file"), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(mapped)
	s.pass()
	if s.share("builder", "copied", "file") {
		t.Error("a snapshot was touched that is in use")
	}
	if err := mount.Unmount(dir, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), "container"); err != nil {
		t.Fatal(err)
	}
	s.pass()
	if !s.share("builder", "copied", "file") {
		t.Error("no inode is shared after the last use")
	}
	b, err := io.ReadAll(f)
	if err != nil || string(b) != "content of file" || string(mapped) != string(b) {
		t.Errorf("an open file has %q, mapped %q, %v", b, mapped, err)
	}
}

// Snapshots settle by themselves, also those of an earlier process.
func TestSettleByItself(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d, onlyLinks)
	l := &settled{Snapshotter: s, t: t}
	l.commit("one", "", "file")
	l.commit("two", "", "file")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	opts := s.opts
	opts.Settle = true
	for _, name := range []string{"two", "three"} {
		s, err := New(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		l.Snapshotter = s
		if name == "three" {
			l.commit("three", "", "file")
		}
		for deadline := time.Now().Add(time.Minute); !l.share("one", name, "file"); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("snapshot %s does not settle", name)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
