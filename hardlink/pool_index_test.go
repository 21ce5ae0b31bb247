package hardlink

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
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
}
