package snapshot

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/merge"
)

// newCopying is an endpoint that makes copies, and settles by hand.
func newCopying(t testing.TB) *settled {
	t.Helper()
	s := newSettled(t)
	s.opts.Settle = true
	return s
}

// newSettling is an endpoint that settles by itself, in milliseconds.
func newSettling(t testing.TB) *settled {
	t.Helper()
	return &settled{Snapshotter: newEndpoint(t, newDisk(t), func(o *Options) {
		o.Settle, o.SettleAfter, o.settleByLink = true, time.Millisecond, true
	}), t: t}
}

// tryCopy prepares a copy of a path, source:target.
func (s *settled) tryCopy(name, parent, from, paths string) ([]mount.Mount, error) {
	source, target, _ := strings.Cut(paths, ":")
	r := merge.CopyRequest{From: from, Source: source, Target: target}
	return s.Prepare(s.t.Context(), name+"-active", parent, snapshots.WithLabels(r.Labels()))
}

// copy makes a committed snapshot that is a copy.
func (s *settled) copy(name, parent, from, paths string) string {
	s.t.Helper()
	if _, err := s.tryCopy(name, parent, from, paths); err != nil {
		s.t.Fatalf("%s: %v", name, err)
	}
	if err := s.Commit(s.t.Context(), name, name+"-active"); err != nil {
		s.t.Fatal(err)
	}
	return name
}

// refused checks that a copy is left to the client, and leaves nothing.
func (s *settled) refused(parent, from, paths string) {
	s.t.Helper()
	if _, err := s.tryCopy("refused", parent, from, paths); !errdefs.IsNotImplemented(err) {
		s.t.Errorf("copy %s from %s over %q: %v, want ErrNotImplemented", paths, from, parent, err)
	}
	if _, err := s.Stat(s.t.Context(), "refused-active"); !errdefs.IsNotFound(err) {
		s.t.Errorf("copy %s from %s leaves a snapshot: %v", paths, from, err)
	}
}

// links returns how many names a file of a snapshot has.
func (s *settled) links(name, path string) uint64 {
	s.t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(s.upper(idOfKey(s.t, s.Snapshotter, name)), path), &st); err != nil {
		s.t.Fatal(err)
	}
	return uint64(st.Nlink)
}

// shared fails unless a file is one inode in both snapshots.
func (s *settled) shared(a, pathA, b, pathB string, want bool) {
	s.t.Helper()
	if got := s.inode(a, pathA) == s.inode(b, pathB); got != want {
		s.t.Errorf("%s/%s and %s/%s share an inode: %v, want %v", a, pathA, b, pathB, got, want)
	}
}

// noNewLinks fails if two names in a view of a snapshot share an inode, but for
// those that are allowed to.
func (s *settled) noNewLinks(name string, allowed ...string) {
	s.t.Helper()
	s.view(name, func(dir string) {
		names := map[uint64]string{}
		walk(s.t, dir, func(path string, st *unix.Stat_t) {
			if st.Mode&unix.S_IFMT == unix.S_IFDIR || slices.Contains(allowed, path) {
				return
			}
			if other := names[st.Ino]; other != "" {
				s.t.Errorf("in a view of %s, %s and %s are one inode", name, other, path)
			}
			names[st.Ino] = path
		})
	})
}

func walk(t testing.TB, dir string, see func(path string, st *unix.Stat_t)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		see(rel, &st)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCopyLinks(t *testing.T) {
	s := newCopying(t)
	s.commit("image", "", "bin/sh")
	s.commit("builder", "image", "out/one", "out/sub/two", "out/etc/table", "etc/table", "src")
	builder := s.layer("image", "builder")
	s.copy("copied", "image", "builder", "/out:/opt/out")
	s.shared("builder", "out/one", "copied", "opt/out/one", true)
	s.shared("builder", "out/sub/two", "copied", "opt/out/sub/two", true)
	s.noNewLinks("copied")
	if _, err := s.tryCopy("mounted", "image", "builder", "/out:/opt/out"); err != nil {
		t.Fatal(err)
	}
	mounts, err := s.Mounts(t.Context(), "mounted-active")
	if err != nil {
		t.Fatal(err)
	}
	withMounted(t, mounts, func(dir string) {
		if err := os.WriteFile(filepath.Join(dir, "opt/out/one"), []byte("x"), 0o644); err == nil {
			t.Error("a copy can be written to while it shares its files")
		}
	})
	s.copy("file", "image", "builder", "/out/one:/usr/bin/")
	s.shared("builder", "out/one", "file", "usr/bin/one", true)
	s.copy("named", "image", "builder", "/out/one:/bin/sh")
	s.shared("builder", "out/one", "named", "bin/sh", true)
	s.copy("into", "image", "builder", "/out/one:/bin")
	s.shared("builder", "out/one", "into", "bin/one", true)
	s.copy("configured", "image", "builder", "/out/one:/etc/one")
	s.shared("builder", "out/one", "configured", "etc/one", false)
	if got := s.layer("image", "builder"); got != builder {
		t.Error("the source's layer is another one")
	}
	info, err := s.Stat(t.Context(), "copied")
	if err != nil || len(info.Labels) > 0 {
		t.Errorf("labels of a committed copy: %v, %v", info.Labels, err)
	}
	if info, err = s.Stat(t.Context(), "mounted-active"); err != nil || info.Labels[merge.CopiedLabel] == "" {
		t.Errorf("labels of a copy: %v, %v", info.Labels, err)
	}
}

// What a copy shows can be changed above it, on both sides, and neither sees
// the other's.
func TestCopyIsApartWhenWritten(t *testing.T) {
	s := newCopying(t)
	s.commit("builder", "", "out/one")
	s.copy("copied", "", "builder", "/out:/out")
	for name, other := range map[string]string{"builder": "copied", "copied": "builder"} {
		mounts, err := s.Prepare(t.Context(), name+"-later", name)
		if err != nil {
			t.Fatal(err)
		}
		withMounted(t, mounts, func(dir string) {
			f, err := os.OpenFile(filepath.Join(dir, "out/one"), os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteString("CHANGED"); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(f.Name(), 0o600); err != nil {
				t.Fatal(err)
			}
		})
		s.view(other, func(dir string) {
			if b, err := os.ReadFile(filepath.Join(dir, "out/one")); err != nil || string(b) != "content of one" {
				t.Errorf("written above %s, %s shows %q, %v", name, other, b, err)
			}
			if st, err := os.Stat(filepath.Join(dir, "out/one")); err != nil || st.Mode() != 0o644 {
				t.Errorf("changed above %s, %s shows %v, %v", name, other, st.Mode(), err)
			}
		})
	}
}

func TestCopyRefusals(t *testing.T) {
	s := newCopying(t)
	s.opts.Layers.(*disk).addLayer(t, "lazy", map[string]string{"lazy": "lazy"})
	prepareRemote(t, s.Snapshotter, "remote", "", idOf("lazy"))
	s.commit("image", "", "bin/sh", "dir/file", "share/file")
	s.commit("builder", "image", "out/one")
	s.change("builder2", "builder", func(dir string) {
		must(t, os.Symlink("out", filepath.Join(dir, "link")))
		must(t, unix.Mkfifo(filepath.Join(dir, "out/pipe"), 0o600))
		must(t, os.Mkdir(filepath.Join(dir, "sockets"), 0o755))
		must(t, unix.Mknod(filepath.Join(dir, "sockets/s"), unix.S_IFSOCK|0o600, 0))
		must(t, os.MkdirAll(filepath.Join(dir, "types/one"), 0o755))
	})
	s.change("parent", "image", func(dir string) {
		must(t, os.Symlink("bin", filepath.Join(dir, "link")))
		must(t, os.Mkdir(filepath.Join(dir, "setgid"), 0o755))
		must(t, os.Chmod(filepath.Join(dir, "setgid"), 0o755|os.ModeSetgid))
		put(t, filepath.Join(dir, "file"), "file")
		put(t, filepath.Join(dir, "dir/one"), "file")
	})
	for _, paths := range []string{
		"/none:/x", "/link:/x", "/link/one:/x", "/out/pipe:/x", "/sockets:/x", // of the source
		"/out:/link", "/out:/link/x", "/out:/file", "/out:/file/x", "/out/one:/link", // of the target
		"/out:/setgid/x", "/types:/dir",
	} {
		s.refused("parent", "builder2", paths)
	}
	s.refused("builder", "builder", "/out:/x")
	s.commit("above", "remote", "new")
	s.refused("image", "remote", "/:/x")
	s.refused("image", "above", "/:/x")
	s.copy("of-above", "image", "above", "/new:/x")
	for _, bad := range []merge.CopyRequest{
		{Source: "/", Target: "/"}, {From: "builder", Source: "out", Target: "/x"}, {From: "builder", Source: "/out/", Target: "/x"},
		{From: "builder", Source: "/out", Target: "/x/../y"}, {From: "builder", Source: "/out", Target: ""},
	} {
		if _, err := s.Prepare(t.Context(), "bad", "", snapshots.WithLabels(bad.Labels())); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%+v: %v, want ErrInvalidArgument", bad, err)
		}
	}
	if _, err := s.tryCopy("x", "image", "none", "/out:/x"); !errdefs.IsNotFound(err) {
		t.Errorf("copy from a snapshot that is not there: %v", err)
	}
	if _, err := s.tryCopy("x", "none", "builder", "/out:/x"); !errdefs.IsNotFound(err) {
		t.Errorf("copy over a snapshot that is not there: %v", err)
	}
	s.change("large", "image", func(dir string) {
		must(t, errors.Join(os.Mkdir(filepath.Join(dir, "out"), 0o755), os.WriteFile(filepath.Join(dir, "out/large"), nil, 0o644),
			os.Truncate(filepath.Join(dir, "out/large"), 65<<20)))
	})
	s.copy("links-are-no-bytes", "image", "large", "/out:/x")
	s.refused("links-are-no-bytes", "large", "/out:/y")
	s.opts.Settle = false
	s.refused("image", "builder", "/out:/x")
}

// change makes a committed snapshot by hand.
func (s *settled) change(name, parent string, do func(dir string)) string {
	s.t.Helper()
	mounts, err := s.Prepare(s.t.Context(), name+"-active", parent)
	if err != nil {
		s.t.Fatal(err)
	}
	withMounted(s.t, mounts, do)
	if err := s.Commit(s.t.Context(), name, name+"-active"); err != nil {
		s.t.Fatal(err)
	}
	return name
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
