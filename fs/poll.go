package fs

import (
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// disablePoll polls a file of the export, so that the kernel sends no further POLL
// requests.
//
// The Go runtime polls every file that package os opens, to find out whether it can be
// polled, in a system call that it expects to return immediately. If that sent a FUSE
// request to this process, and the runtime wanted to stop all threads meanwhile (for a
// garbage collection), the process would deadlock. After one ENOSYS the kernel sends no
// more (fs/fuse/file.c, fuse_file_poll).
func disablePoll(e *export, dir string) error {
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
