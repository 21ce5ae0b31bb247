package fs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

const (
	fuseType      = "fuse.ladle"
	maxRead       = 1 << 20          // bytes of one READ; go-fuse allows no more
	maxBackground = 256              // READs that the kernel may have under way; its own default is 12
	serveWait     = 10 * time.Second // for requests under way to be answered
)

// connection is the FUSE mount of an export.
//
// We open /dev/fuse and mount it ourselves, and hand go-fuse the descriptor
// (as /dev/fd/N), so that we have one of our own: whoever else holds it can
// serve the mount when this process is gone. See FileSystem.Connection.
type connection struct {
	dir    string
	device *os.File // our own descriptor of the connection
	server *fuse.Server
	served chan struct{} // closed when the server has returned
}

// connect mounts e at dir and serves it.
func connect(e *export, dir string) (*connection, error) {
	device, err := mountFUSE(dir)
	if err != nil {
		return nil, err
	}
	c := &connection{dir: dir, device: device, served: make(chan struct{})}
	if err := c.serve(e); err != nil {
		return nil, errors.Join(err, unix.Unmount(dir, unix.MNT_DETACH), device.Close())
	}
	if err := unlearnPoll(e, dir); err != nil {
		return nil, errors.Join(err, c.close(e.lifetime))
	}
	return c, nil
}

// mountFUSE mounts a new connection at dir and returns it.
//
// The mount is neither nosuid nor nodev, as the trees of the fuse driver are
// bound from it (a user namespace makes it nodev anyway, and overlayfs opens
// devices by itself). Permissions are the kernel's business, for all users.
func mountFUSE(dir string) (*os.File, error) {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/fuse: %w", err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=%o,user_id=%d,group_id=%d,allow_other,default_permissions,max_read=%d",
		fd, unix.S_IFDIR, os.Geteuid(), os.Getegid(), maxRead)
	if err := unix.Mount("ladle", dir, fuseType, unix.MS_RDONLY|unix.MS_NOATIME, options); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("mount FUSE at %s: %w", dir, err)
	}
	return os.NewFile(uintptr(fd), "/dev/fuse"), nil
}

func (c *connection) serve(e *export) error {
	fd, err := unix.FcntlInt(c.device.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	c.server, err = fuse.NewServer(newRequests(e), fmt.Sprintf("/dev/fd/%d", fd), serverOptions(e))
	if err != nil {
		unix.Close(fd)
		return fmt.Errorf("FUSE: %w", err)
	}
	c.goServe()
	return nil
}

func (c *connection) goServe() {
	go func() {
		defer close(c.served)
		c.server.Serve()
	}()
}

// serverOptions are what the kernel is told when the connection begins.
func serverOptions(e *export) *fuse.MountOptions {
	return &fuse.MountOptions{
		Name:          "ladle",
		MaxWrite:      maxRead,
		MaxBackground: maxBackground,
		DisableSplice: true, // slower than copying what is in the page cache
		// Contents never change.
		EnableSymlinkCaching:     true,
		ExplicitDataCacheControl: true,
		// ACLs are enforced by the kernel, as on EROFS.
		EnableAcl: true,
		// A failed part of a read fails it whole: see the package
		// documentation. Overlayfs finds by file handles again what a file
		// was copied up from: see requests.lookupSelf.
		ExtraCapabilities: fuse.CAP_ASYNC_DIO | fuse.CAP_NO_OPENDIR_SUPPORT | fuse.CAP_EXPORT_SUPPORT,
		// It would cost one level of the kernel's two of stacking.
		DisabledCapabilities: fuse.CAP_PASSTHROUGH,
		Logger:               newServerLog(e.lifetime),
		PanicHandler:         e.panicked,
	}
}

// close unmounts the export and waits until nothing is served any more. What
// still reads from it then, through an overlay that keeps a tree, gets errors:
// MNT_FORCE aborts the connection. In a user namespace it is not allowed, and
// the connection lives as long as something uses it, or this process does.
func (c *connection) close(ctx context.Context) error {
	err := unix.Unmount(c.dir, unix.MNT_FORCE|unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if errors.Is(err, unix.EPERM) {
		err = unix.Unmount(c.dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	}
	if err != nil {
		return fmt.Errorf("unmount %s: %w", c.dir, err)
	}
	ctx, cancel := context.WithTimeout(ctx, serveWait)
	defer cancel()
	select {
	case <-c.served:
	case <-ctx.Done():
		err = errors.New("requests of the kernel are still under way")
	}
	return errors.Join(err, c.device.Close())
}
