package fs

import (
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// unlearnPoll teaches the kernel that files of the export cannot be polled, by
// polling one.
//
// The Go runtime polls every file that is opened with package os, to see
// whether it can, and does so in a system call that it thinks returns at once.
// If that were a FUSE request to this very process, and the runtime wanted to
// stop all threads meanwhile (for the garbage collector), the process would
// hang for ever. After one ENOSYS the kernel sends none (fs/fuse/file.c,
// fuse_file_poll).
func unlearnPoll(e *export, dir string) error {
	layers := []Layer{probeLayer{}}
	if err := e.addLayers(layers); err != nil {
		return err
	}
	err := pollOnce(filepath.Join(dir, dataName(layers[0])))
	return errors.Join(err, e.dropLayers(layers))
}

func pollOnce(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(fd)
	_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("poll %s: %w", path, err)
	}
	return nil
}
