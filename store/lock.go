package store

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// ErrInUse is returned by Open when another process has the store open.
var ErrInUse = errors.New("in use by another process")

// lockFile opens the file at path and locks it until it is closed, also by the
// end of the process. It does not wait: it returns ErrInUse.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, ErrInUse
	}
	return nil, os.NewSyscallError("flock", err)
}
