package metastore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/log"
	"github.com/sirupsen/logrus"

	"github.com/ladle-dev/ladle/durable"
	"github.com/ladle-dev/ladle/internal/disktest"
	"github.com/ladle-dev/ladle/internal/logtest"
)

// kept is the files of a store that no process has open.
type kept map[string][]byte

// situation is a store as a process left it.
type situation struct {
	files kept
	now   map[string]string // its snapshots
	saved map[string]string // those of the saved file
	exact bool              // each changed byte is noticed
}

func readFiles(t testing.TB, dir string) kept {
	t.Helper()
	files := kept{}
	for _, name := range []string{DBFile, SavedFile, StateFile} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		files[name] = b
	}
	return files
}

// situations are stores after a Close, after a kill when all was saved, and after a kill
// when the last transactions were not.
func situations(t testing.TB) map[string]situation {
	t.Helper()
	dir := disktest.Tmpfs(t, 64<<20)
	s, err := Open(t.Context(), dir, Options{BootID: thisBoot})
	must(t, err)
	close(s.ending) // it saves when the test says so
	<-s.ended
	fill := func(from, to int) {
		for i := from; i < to; i++ {
			parent := ""
			if i%7 > 0 {
				parent = fmt.Sprint("snapshot ", i-1)
			}
			commit(t, s, fmt.Sprint("snapshot ", i), parent, snapshots.WithLabels(map[string]string{
				"label": strings.Repeat("x", i%50*3), "another": fmt.Sprint(i),
			}))
		}
	}
	fill(0, 200)
	must(t, s.WithTransaction(t.Context(), true, func(ctx context.Context) error {
		_, _, err := storage.Remove(ctx, "snapshot 6")
		return err
	}))
	must(t, s.Sync(t.Context()))
	earlier, before := readFiles(t, dir), list(t, s)
	fill(200, 220)
	must(t, s.Sync(t.Context()))
	all := map[string]situation{}
	now := list(t, s)
	all["killed"] = situation{readFiles(t, dir), now, now, true}
	ahead := maps.Clone(all["killed"].files)
	ahead[SavedFile] = earlier[SavedFile]
	all["killed before it was saved"] = situation{ahead, now, before, false}
	must(t, s.db.Close())
	s, err = Open(t.Context(), dir, Options{BootID: thisBoot})
	must(t, err)
	must(t, s.Close())
	all["closed"] = situation{readFiles(t, dir), now, now, true}
	for name, s := range all {
		if !bytes.HasPrefix(s.files[SavedFile], s.files[DBFile]) == s.exact {
			t.Fatalf("%s: saved is a copy: %v", name, !s.exact)
		}
	}
	return all
}

// put makes a directory with files. Nil is a directory in the place of a file.
func (k kept) put(t testing.TB, dir string) {
	t.Helper()
	must(t, os.RemoveAll(dir))
	must(t, os.Mkdir(dir, 0o700))
	for name, b := range k {
		if b == nil {
			must(t, os.MkdirAll(filepath.Join(dir, name, "sub"), 0o700))
		} else {
			must(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
		}
	}
}

// with returns the files with another content of one. remove: there is none.
func (k kept) with(name string, b []byte) kept {
	k = maps.Clone(k)
	k[name] = b
	return k
}

func (k kept) without(name string) kept {
	k = maps.Clone(k)
	delete(k, name)
	return k
}

// openLogged opens a store, and returns what was logged with it.
func openLogged(t testing.TB, dir string, opts Options) (*Store, string, error) {
	t.Helper()
	var out logtest.Buffer
	logger := logrus.New()
	logger.SetOutput(&out)
	opts.BootID = thisBoot
	s, err := Open(log.WithLogger(t.Context(), logrus.NewEntry(logger)), dir, opts)
	return s, out.String(), err
}

// reopened is the snapshots of a store that is opened with files, and what was logged.
func reopened(t testing.TB, dir string, files kept) (map[string]string, string) {
	t.Helper()
	files.put(t, dir)
	s, logged, err := openLogged(t, dir, Options{})
	if err != nil {
		t.Errorf("not opened: %v", err)
		return nil, logged
	}
	all := list(t, s)
	must(t, s.Close())
	return all, logged
}

// Wherever one of the files is cut, and whatever else it becomes, the store has all snapshots,
// or the saved ones if only the database had the others. The log says so once, and the damaged
// file is moved aside.
func TestOneFileDamaged(t *testing.T) {
	step := os.Getpagesize()
	if testing.Short() {
		step *= 16
	}
	for name, was := range situations(t) {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(disktest.Tmpfs(t, 64<<20), "e")
			if got, logged := reopened(t, dir, was.files); !maps.Equal(got, was.now) || logged != "" {
				t.Fatalf("of what is whole: %d snapshots, %s", len(got), logged)
			}
			for _, file := range []string{DBFile, SavedFile, StateFile} {
				damages := map[string]kept{
					"missing": was.files.without(file), "a directory": was.files.with(file, nil), "empty": was.files.with(file, []byte{}),
					"text": was.files.with(file, []byte("text\n")),
				}
				b := was.files[file]
				for size := step; size < len(b); size += step {
					damages[fmt.Sprint("cut after ", size)] = was.files.with(file, b[:size])
				}
				damages["cut by one"] = was.files.with(file, b[:len(b)-1])
				for damage, files := range damages {
					got, logged := reopened(t, dir, files)
					if !maps.Equal(got, was.now) && (file == SavedFile || !maps.Equal(got, was.saved)) {
						t.Errorf("%s is %s: %d snapshots\n%s", file, damage, len(got), logged)
					}
					if n := strings.Count(logged, "endpoint=e"); n > 1 || n == 0 && (file == DBFile || damage == "a directory") {
						t.Errorf("%s is %s: it was logged %d times:\n%s", file, damage, n, logged)
					}
					if _, err := os.Lstat(filepath.Join(dir, file+damagedSuffix)); damage == "a directory" && err != nil {
						t.Errorf("%s is %s: %v", file, damage, err)
					}
				}
			}
		})
	}
}

// Whichever bit of one of the files is changed, the store has all snapshots. Only if the
// database has transactions that the saved file has not, changed bits within keys and values
// may go unnoticed.
func TestOneBitChanged(t *testing.T) {
	bits := 150
	if testing.Short() {
		bits = 21
	}
	for name, was := range situations(t) {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(disktest.Tmpfs(t, 64<<20), "e")
			r := rand.New(rand.NewPCG(1, 9))
			unnoticed := 0
			for i := range bits {
				file := []string{DBFile, SavedFile, StateFile}[i%3]
				b := bytes.Clone(was.files[file])
				at := r.IntN(len(b))
				b[at] ^= 1 << r.IntN(8)
				got, logged := reopened(t, dir, was.files.with(file, b))
				if maps.Equal(got, was.now) || file != SavedFile && maps.Equal(got, was.saved) {
					continue
				}
				unnoticed++
				if was.exact || file != DBFile {
					t.Errorf("bit of byte %d of %s: %d snapshots\n%s", at, file, len(got), logged)
				}
			}
			t.Logf("%d of %d changed bits were not noticed", unnoticed, bits)
		})
	}
}

// If both the database and its copy are damaged the store is not opened, and nothing is
// changed. A file that the saved file cannot replace after a reset is as good as damaged.
func TestBothDamaged(t *testing.T) {
	closed := situations(t)["closed"].files
	cut := func(name string) kept { return closed.with(name, closed[name][:len(closed[name])/2]) }
	flipped := bytes.Clone(closed[SavedFile])
	flipped[len(flipped)/2] ^= 1
	dir := filepath.Join(disktest.Tmpfs(t, 64<<20), "e")
	refused := func(what string, files kept, opts Options) {
		t.Helper()
		files.put(t, dir)
		s, _, err := openLogged(t, dir, opts)
		if err == nil {
			must(t, s.Close())
		}
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "docs/troubleshooting.md") || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", what, err)
		}
		entries, err := os.ReadDir(dir)
		must(t, err)
		if len(entries) != len(files) {
			t.Errorf("%s: %d files, want %d", what, len(entries), len(files))
		}
		for name, b := range files {
			if got, err := os.ReadFile(filepath.Join(dir, name)); b != nil && (err != nil || !bytes.Equal(got, b)) {
				t.Errorf("%s: %s was changed (%v)", what, name, err)
			}
		}
	}
	for db, files := range map[string]kept{
		"cut": cut(DBFile), "missing": closed.without(DBFile), "empty": closed.with(DBFile, []byte{}), "a directory": closed.with(DBFile, nil),
	} {
		for saved, both := range map[string]kept{
			"cut": files.with(SavedFile, cut(SavedFile)[SavedFile]), "missing": files.without(SavedFile),
			"empty": files.with(SavedFile, []byte{}), "a directory": files.with(SavedFile, nil), "changed": files.with(SavedFile, flipped),
		} {
			refused(db+", "+saved, both, Options{})
		}
	}
	reset := closed.with(StateFile, []byte("another boot\n"))
	refused("saved changed, and a reset", reset.with(SavedFile, flipped), Options{})

	yes := Options{Orphans: func() (bool, error) { return true, nil }}
	nothing := kept{}
	refused("all are missing, and there are directories", nothing, yes)
	refused("an empty database, and there are directories", nothing.with(DBFile, []byte{}), yes)
	nothing.put(t, dir)
	s, logged, err := openLogged(t, dir, Options{Orphans: func() (bool, error) { return false, nil }})
	must(t, err)
	must(t, s.Close())
	if logged != "" {
		t.Errorf("a new store: %s", logged)
	}
	refused("a database without snapshots, and there are directories", readFiles(t, dir), yes)
}

// What a later version wrote is refused, and left as it is, unless there is a saved file
// that this version can read.
func TestLaterFormat(t *testing.T) {
	was := situations(t)["closed"].files
	db := bytes.ReplaceAll(was[DBFile], []byte("v1"), []byte("v2"))
	later := was.with(DBFile, db).with(SavedFile, slices.Concat(db, trailer(int64(len(db)), crc32.Checksum(db, castagnoli))))
	dir := filepath.Join(disktest.Tmpfs(t, 64<<20), "e")
	for name, files := range map[string]kept{
		"both": later, "no saved file": later.without(SavedFile), "only the database": later.without(SavedFile).without(StateFile),
		"only the saved file": later.without(DBFile),
	} {
		for _, orphans := range []bool{false, true} {
			files.put(t, dir)
			s, logged, err := openLogged(t, dir, Options{Orphans: func() (bool, error) { return orphans, nil }})
			if err == nil {
				must(t, s.Close())
			}
			if !errors.Is(err, durable.ErrLaterFormat) || !strings.Contains(err.Error(), "format 2, and this version reads 1") || logged != "" {
				t.Errorf("%s: %v\n%s", name, err, logged)
			}
			for file := range files {
				if got, err := os.ReadFile(filepath.Join(dir, file)); err != nil || !bytes.Equal(got, files[file]) {
					t.Errorf("%s: %s was changed (%v)", name, file, err)
				}
			}
		}
	}
	if got, _ := reopened(t, dir, was.with(DBFile, db)); len(got) == 0 {
		t.Error("the saved file of this version is not used")
	}
}

// What containerd keeps of snapshots must not contradict itself, though each page is sound.
func TestContradictions(t *testing.T) {
	was := situations(t)["killed before it was saved"]
	dir := filepath.Join(disktest.Tmpfs(t, 64<<20), "e")
	for _, change := range [][2]string{
		{"v1", "v2"}, {"snapshots", "snapshotz"}, {"parents", "parentz"}, {"kind", "kinz"},
	} {
		files := was.files.with(DBFile, bytes.ReplaceAll(was.files[DBFile], []byte(change[0]), []byte(change[1])))
		got, logged := reopened(t, dir, files)
		if !maps.Equal(got, was.saved) || !strings.Contains(logged, DBFile+damagedSuffix) {
			t.Errorf("%q is %q: %d snapshots\n%s", change[0], change[1], len(got), logged)
		}
	}
}

// There is one damaged file of each kind, and none that takes space on a full disk.
func TestDamagedFilesAreFew(t *testing.T) {
	closed := situations(t)["closed"]
	dir := filepath.Join(disktest.New(t, "ext4", 32<<20), "e")
	closed.files.put(t, dir)
	for range 3 {
		must(t, os.Truncate(filepath.Join(dir, DBFile), 8192))
		s, _, err := openLogged(t, dir, Options{})
		must(t, err)
		if !maps.Equal(list(t, s), closed.now) {
			t.Fatal("other snapshots")
		}
		must(t, s.Close())
		if moved, err := filepath.Glob(filepath.Join(dir, "*"+damagedSuffix)); err != nil || len(moved) != 1 {
			t.Errorf("moved are %q, %v", moved, err)
		}
	}
	must(t, os.Truncate(filepath.Join(dir, DBFile), 8192))
	free := disktest.Exhaust(t, filepath.Dir(dir))
	for i := range 2 {
		s, logged, err := openLogged(t, dir, Options{})
		must(t, err)
		if got := list(t, s); !maps.Equal(got, closed.now) {
			t.Errorf("on a full disk: %d snapshots\n%s", len(got), logged)
		}
		must(t, s.WithTransaction(t.Context(), true, func(ctx context.Context) error {
			_, _, err := storage.Remove(ctx, fmt.Sprint("snapshot ", 219-i))
			return err
		}))
		delete(closed.now, fmt.Sprint("snapshot ", 219-i))
		must(t, s.Close())
	}
	free()
}
