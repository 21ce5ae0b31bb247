package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
)

// ErrCorrupt says that a file is no database that can be read.
var ErrCorrupt = errors.New("corrupt database")

// OpenDB opens or makes the bbolt database at path, with buckets. All of it is checked
// before it is mapped into memory (CheckDB). An ErrCorrupt are: a database that is damaged
// or has other buckets and not all of these, a file that is empty, as a process leaves it
// that is killed while it makes a database, and a directory. After other errors, such as a
// lock that another process holds for longer than timeout, the database may be whole.
func OpenDB(path string, timeout time.Duration, buckets ...[]byte) (_ *bolt.DB, err error) {
	f, made, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if made && err != nil {
			err = errors.Join(err, os.Remove(path)) // such as for want of space
		}
	}()
	if err := lock(f, timeout); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	isNew := made
	if !made {
		info, err := checkFile(f)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), f.Close())
		}
		isNew = info.Empty
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{
		FreelistType: bolt.FreelistMapType,
		// The lock is that of the open file: bbolt has it already.
		OpenFile: func(string, int, os.FileMode) (*os.File, error) { return f, nil },
	})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err) // f is closed
	}
	if err := needBuckets(db, isNew, buckets); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), db.Close())
	}
	return db, nil
}

// openFile opens or makes a file that is written to.
func openFile(path string) (f *os.File, made bool, err error) {
	f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil || !errors.Is(err, fs.ErrExist) {
		return f, true, err
	}
	f, err = os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, unix.EISDIR) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return f, false, err
}

// checkFile is CheckDB of a file.
func checkFile(f *os.File) (DBInfo, error) {
	info, err := f.Stat()
	if err != nil {
		return DBInfo{}, err
	}
	return CheckDB(f, info.Size())
}

// lock locks f as bbolt does. It returns bbolt's ErrTimeout if another process holds the
// lock for longer than timeout.
func lock(f *os.File, timeout time.Duration) error {
	const pause = 20 * time.Millisecond
	for end := time.Now().Add(timeout); ; time.Sleep(pause) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return os.NewSyscallError("flock", err)
		}
		if time.Now().After(end) {
			return bolterrors.ErrTimeout
		}
	}
}

// needBuckets makes the buckets in a database that is new, in one transaction. Another
// one that lacks some of them is corrupt. If it has all of them nothing is written: the
// disk may be full.
func needBuckets(db *bolt.DB, isNew bool, buckets [][]byte) error {
	var lacks []byte
	err := db.View(func(tx *bolt.Tx) error {
		for _, name := range buckets {
			if tx.Bucket(name) == nil {
				lacks = name
			}
		}
		return nil
	})
	if err != nil || lacks == nil {
		return err
	}
	if !isNew {
		return corrupt("there is no bucket %q", lacks)
	}
	return db.Update(func(tx *bolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return nil
	})
}
