package durable_test

import (
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/ladle-dev/ladle/durable"
	"github.com/ladle-dev/ladle/internal/disktest"
)

// A database that is whole opens on a full disk.
func TestOpenDBOnAFullDisk(t *testing.T) {
	for _, kind := range disktest.Kinds {
		t.Run(kind, func(t *testing.T) {
			dir := disktest.New(t, kind, 16<<20)
			path := filepath.Join(dir, "db")
			open := func() *bolt.DB {
				t.Helper()
				db, err := durable.OpenDB(path, time.Second, []byte("bucket"))
				if err != nil {
					t.Fatal(err)
				}
				return db
			}
			if err := open().Close(); err != nil {
				t.Fatal(err)
			}
			free := disktest.Exhaust(t, dir)
			for range 5 {
				db := open()
				err := db.View(func(tx *bolt.Tx) error {
					if tx.Bucket([]byte("bucket")) == nil {
						t.Error("the bucket is gone")
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			}
			free()
		})
	}
}
