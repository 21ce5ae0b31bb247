package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Suffix ends the name of a file that is not committed.
const Suffix = ".new"

// File is the new content of the file at a path.
type File struct {
	*os.File
	path      string
	standby   bool // see CreateStandby
	committed bool
}

// Create starts to replace the file at path, which need not exist, by one that
// only its owner can read. The caller writes, commits and closes the File.
func Create(path string) (*File, error) {
	f, err := os.OpenFile(path+Suffix, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return &File{File: f, path: path}, nil
}

// Commit replaces the file. After an error it has its old content, unless only syncing the
// directory failed.
func (f *File) Commit() error {
	replace := func() error { return os.Rename(f.Name(), f.path) }
	if f.standby {
		replace = f.exchange
	}
	if err := f.End(); err != nil {
		return err
	}
	if err := replace(); err != nil {
		return err
	}
	f.committed = true
	return SyncDir(filepath.Dir(f.path))
}

// Close closes the file, and removes it if it was not committed. A standby remains.
func (f *File) Close() error {
	err := f.File.Close()
	if !f.committed && !f.standby {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}

// Write replaces the content of the file at path.
func Write(path string, content []byte) error {
	f, err := Create(path)
	if err != nil {
		return err
	}
	return f.replace(content)
}

// replace commits content, and closes f.
func (f *File) replace(content []byte) (err error) {
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(content); err != nil {
		return err
	}
	return f.Commit()
}

// Replace gives the file at from, which is on disk, the name to, in place of a file or
// a directory.
func Replace(from, to string) error {
	err := os.Rename(from, to)
	if errors.Is(err, unix.EEXIST) { // what os.Rename returns if to is a directory
		if err = unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_EXCHANGE); err == nil {
			err = os.RemoveAll(from) // the directory
		}
	}
	if err != nil {
		return err
	}
	return SyncDir(filepath.Dir(to))
}

// SyncDir waits until the names in a directory are on disk.
func SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}
