package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/durable"
	"github.com/ladle-dev/ladle/hardlink"
	"github.com/ladle-dev/ladle/merge"
	"github.com/ladle-dev/ladle/stack"
)

// ofIsTrue checks that stacks and clean diffs name exactly the snapshots of which they
// have inodes.
func ofIsTrue(t testing.TB, s *Snapshotter) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	infos, ids, err := listIDs(ctx, s.meta)
	if err != nil {
		t.Fatal(err)
	}
	lowers := map[string]stack.Lower{}
	for _, info := range infos {
		st, err := stackOf(info)
		if err != nil {
			t.Fatal(err)
		}
		if st == nil {
			continue
		}
		for _, l := range st.LowersOf(uint64(ids[info.Name])) {
			if l.IsMade() && l.Of.Known() {
				lowers[s.dirs.Lower(l)] = l
			}
		}
	}
	names, err := os.ReadDir(s.dirs.Diff(""))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range names {
		dir := s.dirs.Diff(e.Name())
		ids, known, err := merge.Of(dir, merge.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if of := hardlink.SourcesOf(ids...); strings.Contains(e.Name(), "-") && known {
			if l, there := lowers[dir]; there && fmt.Sprint(l.Of) != fmt.Sprint(of) {
				t.Errorf("a stack says that %s is of %v, the directory %v", e.Name(), l.Of, of)
			}
			lowers[dir] = stack.Lower{Diff: e.Name(), Of: of}
		}
	}
	for dir, l := range lowers {
		checkOf(t, s, dir, l.Of)
	}
}

func checkOf(t testing.TB, s *Snapshotter, dir string, of hardlink.Sources) {
	t.Helper()
	owners, gone := map[uint64][]uint64{}, false
	for id := range of {
		inodes, err := linksIn(s.upper(number(id)))
		gone = gone || errors.Is(err, fs.ErrNotExist)
		for ino := range inodes {
			owners[ino] = append(owners[ino], id)
		}
	}
	inodes, err := linksIn(dir)
	if err != nil {
		t.Fatal(err)
	}
	found := hardlink.Sources{}
	for ino, path := range inodes {
		if len(owners[ino]) == 0 && !gone {
			t.Errorf("%s is of none of %v", path, of)
		}
		found = found.With(hardlink.SourcesOf(owners[ino]...))
	}
	if !gone && len(found) < len(of) {
		t.Errorf("%s is said to be of %v, and has files of %v", dir, of, found)
	}
}

// linksIn returns the inodes below dir that have names elsewhere, whiteouts aside.
func linksIn(dir string) (map[uint64]string, error) {
	found, elsewhere := map[uint64]string{}, map[uint64]uint64{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 {
			return nil
		}
		if found[st.Ino] == "" {
			found[st.Ino], elsewhere[st.Ino] = path, st.Nlink
		}
		elsewhere[st.Ino]--
		return nil
	})
	maps.DeleteFunc(found, func(ino uint64, _ string) bool { return elsewhere[ino] == 0 })
	return found, err
}

// ctime is the time of change of a file in the upper directory of a snapshot.
func (s *settled) ctime(name, path string) unix.Timespec {
	s.t.Helper()
	var st unix.Stat_t
	must(s.t, unix.Lstat(filepath.Join(s.upper(idOfKey(s.t, s.Snapshotter, name)), path), &st))
	return st.Ctim
}

// Files of a snapshot in the middle of a chain run where a clean diff of the chain is
// shown, or a directory that was squashed: no copy moves their times of change.
func TestCopyBesideWhatRunsInTheMiddle(t *testing.T) {
	for name, merged := range map[string]func(s *settled){
		"a clean diff": func(s *settled) {
			mustMerge(t, s.Snapshotter, "merged", "", "other upper")
		},
		"of a merge, as its side": func(s *settled) {
			mustMerge(t, s.Snapshotter, "inner", "", "other upper")
			mustMerge(t, s.Snapshotter, "merged", "image", "image inner")
		},
		"squashed": func(s *settled) {
			pairs := []string{"other upper"}
			for i := range stack.MaxLowers {
				pairs = append(pairs, " "+s.commit(fmt.Sprint("l", i), "", fmt.Sprint("file", i)))
			}
			mustMerge(t, s.Snapshotter, "merged", "image", strings.Join(pairs, ","))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newCopying(t)
			s.commit("image", "", "bin/other")
			s.commit("other", "", "bin/sh")
			s.commit("middle", "", "more/two", "again/three")
			s.commit("upper", "middle", "x")
			merged(s)
			mustPrepare(t, s.Snapshotter, "running", "merged")
			before := s.ctime("middle", "more/two")
			s.refused("other", "middle", "/more:/again")
			s.refused("image", "upper", "/again:/again")
			if s.ctime("middle", "more/two") != before {
				t.Error("the time of change of a file that may be read is another one")
			}
			s.copy("unrelated", "image", "other", "/bin:/to")
			must(t, s.Remove(t.Context(), "running"))
			s.copy("copied", "other", "middle", "/more:/again")
			s.shared("copied", "again/two", "middle", "more/two", true)
		})
	}
}

// Of which snapshots a directory of links has inodes is known after a restart, from the
// stack that it is in and from the directory.
func TestOfIsKept(t *testing.T) {
	s := newCopying(t)
	s.commit("other", "", "bin/sh")
	s.commit("middle", "", "more/two")
	s.commit("upper", "middle", "x")
	mustMerge(t, s.Snapshotter, "merged", "", "other upper")
	middle, upper := idOfKey(t, s.Snapshotter, "middle"), idOfKey(t, s.Snapshotter, "upper")
	s.w.Close()
	s.Snapshotter = reopen(t, s.opts.Trees.(*disk), s.Snapshotter)
	mustMerge(t, s.Snapshotter, "again", "", "other upper")
	for _, name := range []string{"merged", "again"} {
		if got := fmt.Sprint(sourcesOf(t, s.Snapshotter, name).List()); got != fmt.Sprintf("[%s %s]", middle, upper) {
			t.Errorf("%s has inodes of %s, want %s and %s", name, got, middle, upper)
		}
	}
}

// An earlier version did not write down of which snapshots a stack has inodes. They may
// be of any: nothing that runs above it sees a time of change move, and no merge shows two names
// of an inode.
func TestOfEarlierVersion(t *testing.T) {
	s := newCopying(t)
	s.commit("image", "", "bin/sh")
	s.commit("middle", "", "more/two")
	s.commit("upper", "middle", "x")
	mustMerge(t, s.Snapshotter, "merged", "", "image upper")
	name := "1-3"
	for _, e := range readNames(t, s.dirs.Diff("")) {
		if strings.Contains(e, "-") {
			name = e
		}
	}
	must(t, unix.Lremovexattr(s.dirs.Diff(name), "trusted.overlay.ladle.of"))
	s.edit("merged", func(value string) string {
		st, err := stack.Decode(value)
		must(t, err)
		lowers := fmt.Sprintf(`{"Diff":%q}`, name)
		if len(st.Lowers) > 1 {
			lowers = fmt.Sprintf(`{"Diff":"0"},{"Diff":%q}`, name)
		}
		return fmt.Sprintf(`{"Lowers":[%s],"Bare":%t}`, lowers, st.Bare)
	})
	if of := sourcesOf(t, s.Snapshotter, "merged"); of.Known() {
		t.Errorf("the stack says that it is of %v", of)
	}
	unused := s.dirs.Diff("2-1")
	must(t, os.Mkdir(unused, 0o755))
	must(t, s.w.Close())
	s.Snapshotter = reopen(t, s.opts.Trees.(*disk), s.Snapshotter)
	s.opts.Settle = true // without a worker
	if _, err := os.Lstat(unused); !os.IsNotExist(err) {
		t.Errorf("a clean diff that no merge has, and that does not say of which snapshots it has inodes, is left: %v", err)
	}
	mustMerge(t, s.Snapshotter, "same", "", "image upper")
	if of := sourcesOf(t, s.Snapshotter, "same"); of.Known() {
		t.Errorf("a new stack says that it is of %v", of)
	}
	mustPrepare(t, s.Snapshotter, "running", "merged")
	before := s.ctime("middle", "more/two")
	s.refused("image", "middle", "/more:/again")
	if s.ctime("middle", "more/two") != before {
		t.Error("the time of change of a file that may be read is another one")
	}
	must(t, s.Remove(t.Context(), "running"))
	s.copy("copied", "image", "middle", "/more:/again")
	mustMerge(t, s.Snapshotter, "both", "copied", "image merged")
	s.noNewLinks("both")
}

// An endpoint with a merge of a later version is not opened, and the error says that.
func TestStackOfLaterVersion(t *testing.T) {
	s := newCopying(t)
	s.commit("image", "", "bin/sh")
	s.commit("upper", "image", "x")
	mustMerge(t, s.Snapshotter, "merged", "", "image upper")
	s.edit("merged", func(string) string { return `{"Format":2,"Lowers":"of another type"}` })
	must(t, s.w.Close())
	must(t, s.Close())
	again, err := New(t.Context(), s.opts)
	if err == nil {
		must(t, again.Close())
	}
	if !errors.Is(err, durable.ErrLaterFormat) || errdefs.IsDataLoss(err) || !strings.Contains(err.Error(), `"merged": a later version of ladle wrote it`) {
		t.Errorf("opened with %v", err)
	}
}

// sourcesOf returns the snapshots of which a view of a committed snapshot shows inodes.
func sourcesOf(t *testing.T, s *Snapshotter, name string) hardlink.Sources {
	t.Helper()
	var chain stack.Chain
	must(t, s.meta.WithTransaction(t.Context(), false, func(ctx context.Context) (err error) {
		chain, err = readChain(ctx, name)
		return err
	}))
	return stack.Sources(chain.View())
}

func readNames(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// edit changes the stack label of a snapshot.
func (s *settled) edit(name string, change func(value string) string) {
	s.t.Helper()
	must(s.t, s.meta.WithTransaction(s.t.Context(), true, func(ctx context.Context) error {
		_, info, _, err := storage.GetInfo(ctx, name)
		if err != nil {
			return err
		}
		info.Labels[stackLabel] = change(info.Labels[stackLabel])
		_, err = storage.UpdateInfo(ctx, info)
		return err
	}))
}
