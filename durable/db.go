package durable

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// ErrCorrupt says that a file is no database that can be read.
var ErrCorrupt = errors.New("corrupt database")

// OpenDB opens or makes the bbolt database at path, and makes those of buckets
// that it lacks. All of it is read before it returns: a database that is damaged,
// or shorter than its header says, is an ErrCorrupt, and not the end of the
// process when it is used. After other errors, such as a lock that another process
// holds for longer than timeout, the database may be whole.
func OpenDB(path string, timeout time.Duration, buckets ...[]byte) (db *bolt.DB, err error) {
	var file *os.File
	// bbolt panics on pages that make no sense, and reads of a mapped file beyond
	// its end fault.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			_ = file.Close() // with the lock; nothing was written
			db, err = nil, fmt.Errorf("%w %s: %v", ErrCorrupt, path, r)
		}
	}()
	db, err = bolt.Open(path, 0o600, &bolt.Options{
		Timeout: timeout, FreelistType: bolt.FreelistMapType,
		OpenFile: func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
			file, err = os.OpenFile(name, flag, mode)
			return file, err
		},
	})
	if err != nil {
		return nil, whyNotOpened(path, err)
	}
	if err := checkDB(db, file, buckets); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// whyNotOpened adds ErrCorrupt to those errors of opening a database that say so.
func whyNotOpened(path string, err error) error {
	for _, e := range []error{bolterrors.ErrInvalid, bolterrors.ErrVersionMismatch, bolterrors.ErrChecksum} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w %s: %w", ErrCorrupt, path, err)
		}
	}
	// What is shorter than the two pages that each database begins with has no
	// error of its own.
	if st, statErr := os.Stat(path); statErr == nil && st.Size() > 0 && st.Size() < 2*int64(os.Getpagesize()) {
		return fmt.Errorf("%w %s: %w", ErrCorrupt, path, err)
	}
	return fmt.Errorf("open %s: %w", path, err)
}

func checkDB(db *bolt.DB, file *os.File, buckets [][]byte) error {
	whole := true // nothing is written then: the disk may be full
	err := db.View(func(tx *bolt.Tx) error {
		st, err := file.Stat()
		if err != nil {
			return err
		}
		if st.Size() < tx.Size() {
			return fmt.Errorf("%w %s: %d of %d bytes", ErrCorrupt, file.Name(), st.Size(), tx.Size())
		}
		// The check goes on in a goroutine that reads the mapped file until its
		// last error was received.
		for e := range tx.Check() {
			if err == nil {
				err = fmt.Errorf("%w %s: %w", ErrCorrupt, file.Name(), e)
			}
		}
		if err != nil {
			return err
		}
		for _, name := range buckets {
			whole = whole && tx.Bucket(name) != nil
		}
		return nil
	})
	if err != nil || whole {
		return err
	}
	return db.Update(func(tx *bolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
}
