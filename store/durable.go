package store

import (
	"os"
	"path/filepath"
)

// replaceFile makes content the content of the file at path, durably: at any
// moment the file has its old content or all of the new one. temp is a
// directory of the same filesystem.
func replaceFile(path, temp string, content []byte) error {
	f, err := os.CreateTemp(temp, filepath.Base(path))
	if err != nil {
		return err
	}
	err = writeSynced(f, content)
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	return syncDir(filepath.Dir(path))
}

// writeSynced writes content to f, syncs and closes it.
func writeSynced(f *os.File, content []byte) error {
	_, err := f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	return err
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
