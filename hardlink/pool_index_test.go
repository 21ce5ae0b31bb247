package hardlink

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// filledIndex is the bytes of an index with some records, and where it is.
func filledIndex(t *testing.T) (path string, content []byte) {
	t.Helper()
	path = filepath.Join(onDisk(t), "index.db")
	db, err := openIndex(path, time.Second)
	must(t, err)
	must(t, db.Update(func(tx *bolt.Tx) error {
		for ino := range uint64(1000) {
			if err := (index{tx}).put(ino, nil, &record{names: []name{{ino, "some/path"}}}); err != nil {
				return err
			}
		}
		return nil
	}))
	must(t, db.Close())
	content, err = os.ReadFile(path)
	must(t, err)
	return path, content
}

func countFiles(t *testing.T, path string) (n int) {
	t.Helper()
	db, err := openIndex(path, time.Second)
	must(t, err)
	must(t, db.View(func(tx *bolt.Tx) error {
		n = tx.Bucket(bucketFiles).Stats().KeyN
		return nil
	}))
	must(t, db.Close())
	return n
}

// An index that cannot be opened now may be whole: it stays.
func TestIndexStays(t *testing.T) {
	path, _ := filledIndex(t)
	t.Run("locked", func(t *testing.T) {
		held, err := bolt.Open(path, 0o600, nil) // flock(2) is by open file: the same process will do
		must(t, err)
		if _, err := openIndex(path, 10*time.Millisecond); !errors.Is(err, bolterrors.ErrTimeout) {
			t.Errorf("opened a locked index: %v", err)
		}
		must(t, held.Close())
	})
	t.Run("no directory", func(t *testing.T) {
		if _, err := openIndex(filepath.Join(path, "index.db"), time.Second); err == nil {
			t.Error("opened below a file")
		}
	})
	if n := countFiles(t, path); n != 1000 {
		t.Errorf("%d records are left of 1000", n)
	}
}

// What is provably no index is replaced, and never ends the process: not by a
// page that makes no sense, nor by a read beyond the end of the file.
func TestIndexCorrupt(t *testing.T) {
	path, whole := filledIndex(t)
	page := os.Getpagesize()
	check := func(name string, content []byte) {
		t.Helper()
		must(t, os.WriteFile(path, content, 0o600))
		if n := countFiles(t, path); n != 0 && n != 1000 {
			t.Errorf("%s: %d records", name, n)
		}
	}
	for size := 1; size < len(whole); size += page / 2 {
		check("cut", whole[:size])
	}
	for at := 0; at < len(whole); at += page {
		torn := bytes.Clone(whole)
		for i := range page {
			torn[at+i] = byte(i * 7)
		}
		check("torn", torn)
	}
	check("both meta pages", append(make([]byte, 2*page), whole[2*page:]...))
	check("text", []byte("some text"))
	check("empty", nil)
	r := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		flipped := bytes.Clone(whole)
		flipped[r.IntN(len(flipped))] ^= 1 << r.IntN(8)
		must(t, os.WriteFile(path, flipped, 0o600))
		countFiles(t, path) // as many as there are leaf elements, or none
	}
	must(t, os.Remove(path))
	must(t, os.MkdirAll(filepath.Join(path, "directory"), 0o700))
	if n := countFiles(t, path); n != 0 {
		t.Errorf("in place of a directory: %d records", n)
	}
}

// What it costs to give an inode one more name does not depend on how many it has: as
// many names cost half of what twice as many do.
func TestIndexCostIsLinear(t *testing.T) {
	path := strings.Repeat("directory/", 20)
	var bytes []int64
	for _, n := range []uint64{500, 1000} {
		db, err := openIndex(filepath.Join(onDisk(t), "index.db"), time.Second)
		must(t, err)
		db.NoSync = true
		for member := uint64(1); member <= n; member++ {
			must(t, db.Update(func(tx *bolt.Tx) error {
				x := index{tx}
				old := x.file(7)
				if old != nil && len(old.names) != int(member-1) {
					t.Fatalf("%d names, want %d", len(old.names), member-1)
				}
				r := (&record{}).with(name{member, path})
				if old != nil {
					r = old.with(name{member, path})
				}
				return x.put(7, old, r)
			}))
		}
		stats := db.Stats()
		bytes = append(bytes, stats.TxStats.GetPageAlloc())
		must(t, db.Close())
	}
	t.Logf("bytes written for 500 and 1000 names: %v", bytes)
	if float64(bytes[1]) > 2.5*float64(bytes[0]) {
		t.Errorf("bytes written for 500 and 1000 names: %v", bytes)
	}
}

// Members are told once for each link which others share an inode, and not once for
// each name that it has.
func TestSettleTellsOfPairsOncePerLink(t *testing.T) {
	b := newBed(t, onDisk(t))
	const members = 60
	for id := uint64(1); id <= members; id++ {
		b.write(id, "file", "text")
		b.settle(id)
	}
	if b.calls != members-1 || len(b.pairs) != members*(members-1)/2 {
		t.Errorf("%d calls for %d pairs", b.calls, len(b.pairs))
	}
}
