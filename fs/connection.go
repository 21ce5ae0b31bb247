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
	maxRead       = 1 << 20          // bytes of one READ; the maximum of go-fuse
	maxBackground = 256              // concurrent READs of the kernel; its default is 12
	serveWait     = 10 * time.Second // for requests in progress at close
)

// connection is the FUSE mount of an export.
//
// It opens and mounts /dev/fuse itself, and passes a duplicate of the descriptor to
// go-fuse (as /dev/fd/N). A process with the other descriptor can serve the mount after
// this process has ended: see FileSystem.Connection.
type connection struct {
	dir    string
	device *os.File // descriptor that go-fuse does not close
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
	if err := disablePoll(e, dir); err != nil {
		return nil, errors.Join(err, c.close(e.lifetime))
	}
	return c, nil
}

// mountFUSE mounts a new connection at dir and returns its descriptor.
//
// The mount is neither nosuid nor nodev, since the fuse driver binds trees of container
// root filesystems from it (in a user namespace it is nodev anyway, and overlayfs opens
// devices itself). The kernel checks permissions, for all users.
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

// serverOptions are the parameters of the FUSE connection (INIT).
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
		// ASYNC_DIO: a failed part of a read fails the whole, see the package
		// documentation. EXPORT_SUPPORT: overlayfs opens the origin of a
		// copied-up file by its file handle, see requests.lookupSelf.
		ExtraCapabilities: fuse.CAP_ASYNC_DIO | fuse.CAP_NO_OPENDIR_SUPPORT | fuse.CAP_EXPORT_SUPPORT,
		// Trees of the fuse driver can be cloned with other owners (Linux 6.12): see
		// requests.ListXAttr for what requests have then.
		IDMappedMount: !e.notMapped,
		// Passthrough would use one of the kernel's two levels of stacking.
		DisabledCapabilities: fuse.CAP_PASSTHROUGH,
		Logger:               newServerLog(e.lifetime),
		PanicHandler:         e.panicked,
	}
}

// close unmounts the export and waits until all requests are answered. MNT_FORCE aborts
// the connection: a later read, through an overlay that still uses a tree, fails. In a
// user namespace MNT_FORCE is not permitted, and the connection exists as long as it is
// in use or this process runs.
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
		err = errors.New("FUSE requests are still in progress")
	}
	return errors.Join(err, c.device.Close())
}
