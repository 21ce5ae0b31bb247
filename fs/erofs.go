package fs

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/metrics"
)

// erofsDriver mounts tree images from their files (Linux 6.12; root only).
type erofsDriver struct {
	export    string
	readahead readahead
}

func (d *erofsDriver) name() metrics.Driver { return metrics.DriverEROFS }

func (d *erofsDriver) filesystem() string { return "erofs" }

func (d *erofsDriver) mount(p *plan) error {
	devices := make([]string, len(p.layers))
	for i := range p.layers {
		devices[i] = p.device(i, d.export)
	}
	return mountEROFS(p.image, devices, p.target, func(create func() error) error {
		return d.readahead.around(p.image, create)
	})
}

func (d *erofsDriver) adopt(*plan) error { return nil }

func (d *erofsDriver) release(*plan) error { return nil }

// mountEROFS mounts the image source, a file or a block device, at target. It uses the
// mount API of Linux 5.2: mount(2) has one page for all device options, and mount(8) of
// util-linux would attach a loop device.
//
// The mount is neither nosuid nor nodev: it can be the root filesystem of a container,
// like a directory of overlayfs.
//
// around is called with a function that creates the filesystem, and must call it.
func mountEROFS(source string, devices []string, target string, around func(create func() error) error) error {
	fsfd, err := unix.Fsopen("erofs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("fsopen erofs: %w", err)
	}
	defer unix.Close(fsfd)
	err = configureEROFS(fsfd, source, devices)
	if err == nil {
		err = around(func() error {
			return retryInterrupted(func() error { return unix.FsconfigCreate(fsfd) })
		})
	}
	if err != nil {
		return fmt.Errorf("erofs %s: %w%s", source, err, kernelLog(fsfd))
	}
	mfd, err := unix.Fsmount(fsfd, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_RDONLY)
	if err != nil {
		return fmt.Errorf("fsmount %s: %w%s", source, err, kernelLog(fsfd))
	}
	defer unix.Close(mfd)
	err = unix.MoveMount(mfd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH)
	if err != nil {
		return fmt.Errorf("move_mount to %s: %w", target, err)
	}
	return nil
}

func configureEROFS(fsfd int, source string, devices []string) error {
	if err := unix.FsconfigSetString(fsfd, "source", source); err != nil {
		return fmt.Errorf("source: %w", err)
	}
	if err := unix.FsconfigSetFlag(fsfd, "ro"); err != nil {
		return fmt.Errorf("ro: %w", err)
	}
	for _, device := range devices {
		if err := unix.FsconfigSetString(fsfd, "device", device); err != nil {
			return fmt.Errorf("device %s: %w", device, err)
		}
	}
	return nil
}

// kernelLog returns the messages of the kernel about an error of fsfd (fsopen(2): one
// message per read), as a suffix of an error's text.
func kernelLog(fsfd int) string {
	var messages []string
	buf := make([]byte, 4096)
	for {
		n, err := unix.Read(fsfd, buf)
		if err != nil || n <= 0 {
			break
		}
		messages = append(messages, strings.TrimSpace(string(buf[:n])))
	}
	if len(messages) == 0 {
		return ""
	}
	return " (" + strings.Join(messages, "; ") + ")"
}

// retryInterrupted repeats call as long as it returns EINTR. The Go runtime sends signals
// to its own threads.
func retryInterrupted(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
