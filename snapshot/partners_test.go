package snapshot

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/ladle-dev/ladle/hardlink"
)

// arePartners reports whether two snapshots are partners, by number.
func arePartners(s *Snapshotter, a, b number) bool {
	return s.sharing.MustBeApart(hardlink.SourcesOf(uint64(a)), []hardlink.Sources{hardlink.SourcesOf(uint64(b))})[0]
}

// partnersFile is where an endpoint has the partners of snapshots.
func partnersFile(s *Snapshotter) string {
	return filepath.Join(s.opts.Root, settleDir, "partners.db")
}

// An endpoint starts whatever became of its partners, and shows no two names of an inode.
func TestStartWithDamagedPartners(t *testing.T) {
	s := newCopying(t)
	s.commit("builder", "", "out/file", "out/other")
	s.commit("settled", "", "to/file")
	s.copy("copied", "settled", "builder", "/out:/copy")
	s.pass()
	for i, damage := range []func(file string) error{
		os.Remove,
		func(file string) error { return os.Truncate(file, 3*int64(os.Getpagesize())) },
		func(file string) error { return os.WriteFile(file, []byte("text"), 0o600) },
		func(file string) error {
			return os.WriteFile(filepath.Join(filepath.Dir(file), "partners"), nil, 0o600)
		},
	} {
		must(t, s.w.Close())
		must(t, s.Close())
		must(t, damage(partnersFile(s.Snapshotter)))
		again, err := New(t.Context(), s.opts)
		must(t, err)
		l := &settled{Snapshotter: again, t: t}
		name := fmt.Sprint("merge ", i)
		mustMerge(t, again, name, "copied", " builder")
		l.noNewLinks(name)
		must(t, again.Close())
	}
}

// A copy that cannot be recorded as a partner of its source is not made.
func TestCopyThatIsNotRecorded(t *testing.T) {
	s := newCopying(t)
	s.commit("builder", "", "out/one")
	must(t, s.sharing.Close()) // nothing can be written to the list of partners
	if _, err := s.tryCopy("copied", "", "builder", "/out:/to"); err == nil {
		t.Error("a copy was made")
	}
	if _, err := s.Stat(t.Context(), "copied-active"); !errdefs.IsNotFound(err) {
		t.Errorf("a copy that was not made is there: %v", err)
	}
	s.opts.Settle = false
	must(t, s.openSharing(t.Context()))
	s.opts.Settle = true
	s.copy("copied", "", "builder", "/out:/to")
	s.shared("builder", "out/one", "copied", "to/one", true)
	if !arePartners(s.Snapshotter, idOfKey(t, s.Snapshotter, "builder"), idOfKey(t, s.Snapshotter, "copied")) {
		t.Error("a copy is no partner of its source")
	}
}
