package durable_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/ladle-dev/ladle/durable"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// change makes one transaction with keys, small and large buckets and values of several
// pages that come and go.
func change(t testing.TB, db *bolt.DB, r *rand.Rand) {
	t.Helper()
	must(t, db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(fmt.Append(nil, "bucket ", r.IntN(3)))
		if err != nil {
			return err
		}
		for range 1 + r.IntN(60) {
			name := fmt.Append(nil, "key ", r.IntN(60))
			if b.Bucket(name) != nil {
				if err := b.DeleteBucket(name); err != nil {
					return err
				}
				continue
			}
			if r.IntN(4) > 0 {
				if err := b.Delete(name); err != nil {
					return err
				}
				sub, err := b.CreateBucket(name)
				if err != nil {
					return err
				}
				for i := range r.IntN(40) {
					if err := sub.Put(fmt.Append(nil, "key ", i), make([]byte, r.IntN(40))); err != nil {
						return err
					}
				}
				continue
			}
			if err := b.Put(name, make([]byte, r.IntN(40)*r.IntN(200))); err != nil {
				return err
			}
		}
		return nil
	}))
}

// contentOf returns all keys and values of a database.
func contentOf(t testing.TB, db *bolt.DB) (all []byte) {
	t.Helper()
	var walk func(b *bolt.Bucket) error
	walk = func(b *bolt.Bucket) error {
		return b.ForEach(func(k, v []byte) error {
			all = append(append(append(all, k...), 0), v...)
			if v == nil {
				return walk(b.Bucket(k))
			}
			return nil
		})
	}
	must(t, db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
			all = append(all, name...)
			return walk(b)
		})
	}))
	return all
}

func checkPath(t testing.TB, path string) (durable.DBInfo, error) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return durable.CheckDB(bytes.NewReader(b), int64(len(b)))
}

// The check finds nothing in what bbolt writes, synced or not, and tells one transaction
// from the next.
func TestCheckDBOfWhole(t *testing.T) {
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 1))
		path := filepath.Join(t.TempDir(), "db")
		db, err := bolt.Open(path, 0o600, &bolt.Options{NoSync: seed > 0, NoGrowSync: seed%2 == 1})
		must(t, err)
		if info, err := checkPath(t, path); err != nil || !info.Empty || info.Torn {
			t.Errorf("of a new database: %+v, %v", info, err)
		}
		last := durable.DBInfo{}
		for range 100 {
			change(t, db, r)
			info, err := checkPath(t, path)
			if err != nil || info.Empty || info.Torn || info.TxID <= last.TxID || info.Sum == last.Sum {
				t.Fatalf("after %+v: %+v, %v", last, info, err)
			}
			last = info
		}
		must(t, db.Close())
	}
}

// damaged is a database to damage.
type damaged struct {
	path  string
	whole []byte // its bytes
	all   []byte // its keys and values
}

func newDamaged(t testing.TB) damaged {
	t.Helper()
	d := damaged{path: filepath.Join(t.TempDir(), "db")}
	db, err := bolt.Open(d.path, 0o600, &bolt.Options{NoSync: true})
	must(t, err)
	r := rand.New(rand.NewPCG(7, 7))
	for range 30 {
		change(t, db, r)
	}
	d.all = contentOf(t, db)
	must(t, db.Close())
	d.whole, err = os.ReadFile(d.path)
	must(t, err)
	return d
}

// open opens a database with these bytes, and returns what it has.
func (d damaged) open(t testing.TB, b []byte) ([]byte, error) {
	t.Helper()
	must(t, os.WriteFile(d.path, b, 0o600))
	db, err := durable.OpenDB(d.path, time.Second)
	if err != nil {
		return nil, err
	}
	all := contentOf(t, db)
	must(t, db.Close())
	return all, nil
}

// Whatever is cut off or changed, a database is corrupt or can be read and written to,
// and never ends the process. One that is cut within what it uses is corrupt.
func TestOpenDBDamaged(t *testing.T) {
	d := newDamaged(t)
	page := os.Getpagesize()
	pages := int(binary.NativeEndian.Uint64(d.whole[16+40:]))
	if other := int(binary.NativeEndian.Uint64(d.whole[page+16+40:])); other > pages {
		pages = other
	}
	for size := 0; size < len(d.whole); size += page / 2 {
		all, err := d.open(t, d.whole[:size])
		if size < pages*page && !errors.Is(err, durable.ErrCorrupt) {
			t.Errorf("cut after %d bytes of %d pages: %v", size, pages, err)
		}
		if err == nil && !bytes.Equal(all, d.all) {
			t.Errorf("cut after %d bytes: other content", size)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	found := 0
	for i := range 1000 {
		b := bytes.Clone(d.whole)
		at := r.IntN(len(b))
		if i%2 == 0 { // headers and elements
			at = at/page*page + r.IntN(600)
		}
		b[at] ^= 1 << r.IntN(8)
		switch _, err := d.open(t, b); {
		case errors.Is(err, durable.ErrCorrupt):
			found++
		case err != nil:
			t.Errorf("bit changed at %d: %v", at, err)
		default:
			db, err := durable.OpenDB(d.path, time.Second)
			must(t, err)
			db.NoSync = true
			change(t, db, r)
			must(t, db.Close())
		}
	}
	t.Logf("%d of 1000 changed bits are found", found)
	if found < 100 {
		t.Errorf("only %d of 1000 changed bits are found", found)
	}
}

// Pages that refer to each other in a circle, or to what is beyond the file, are corrupt.
func TestOpenDBOfCircles(t *testing.T) {
	d := newDamaged(t)
	page := os.Getpagesize()
	const branch = 1
	found := 0
	for at := 2 * page; at < len(d.whole); at += page {
		if binary.NativeEndian.Uint16(d.whole[at+8:]) != branch {
			continue
		}
		found++
		for _, child := range []uint64{uint64(at / page), 0, 1, 1 << 20, 1 << 62} {
			b := bytes.Clone(d.whole)
			binary.NativeEndian.PutUint64(b[at+16+8:], child)
			if all, err := d.open(t, b); err == nil && !bytes.Equal(all, d.all) || err != nil && !errors.Is(err, durable.ErrCorrupt) {
				t.Errorf("page %d leads to page %d: %v", at/page, child, err)
			}
		}
	}
	if found == 0 {
		t.Fatal("no branch page")
	}
}

// bbolt goes on with one meta page if the other one is damaged. Then the last transaction
// may be missing, and the check says so.
func TestOneMetaPage(t *testing.T) {
	d := newDamaged(t)
	page := os.Getpagesize()
	for at := range 2 {
		b := bytes.Clone(d.whole)
		clear(b[at*page : (at+1)*page])
		if info, err := durable.CheckDB(bytes.NewReader(b), int64(len(b))); err != nil || !info.Torn {
			t.Errorf("without meta page %d: %+v, %v", at, info, err)
		}
		if _, err := d.open(t, b); err != nil {
			t.Errorf("without meta page %d: %v", at, err)
		}
	}
}

// A directory is no database, and is replaced like a damaged one.
func TestOpenDBDirectory(t *testing.T) {
	dir := t.TempDir()
	path, made := filepath.Join(dir, "db"), filepath.Join(dir, "made")
	must(t, os.MkdirAll(filepath.Join(path, "sub"), 0o700))
	if _, err := durable.OpenDB(path, time.Second); !errors.Is(err, durable.ErrCorrupt) {
		t.Errorf("error %v", err)
	}
	for range 2 {
		must(t, os.WriteFile(made, []byte("new"), 0o600))
		must(t, durable.Replace(made, path))
		if got := content(t, path); got != "new" {
			t.Errorf("it has %q", got)
		}
		if _, err := os.Lstat(made); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("left: %v", err)
		}
	}
}
