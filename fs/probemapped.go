package fs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/log"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/durable"
	"github.com/ladle-dev/ladle/idmap"
	"github.com/ladle-dev/ladle/metrics"
)

// probeMapping finds out whether the owners of a tree's files can be mapped, and whether
// overlayfs takes the result as a lowerdir.
func (f *FileSystem) probeMapping(ctx context.Context) {
	err := f.probe(f.driver, f.tryMapping)
	switch {
	case err == nil:
		log.G(ctx).Info("owners of files can be mapped, for containers in user namespaces")
	case durable.NoSpace(err):
		log.G(ctx).WithError(err).Warn("it is not probed whether owners of files can be mapped: no space left on the disk")
	default:
		f.clones.impossible = fmt.Errorf("the driver %s cannot do it here: %w", f.driver.name(), err)
		if errors.Is(err, idmap.ErrUnsupported) {
			f.clones.impossible = fmt.Errorf("%w (it needs Linux %s)", f.clones.impossible, f.kernelThatMaps())
		}
		log.G(ctx).WithError(f.clones.impossible).Info("owners of files cannot be mapped, for containers in user namespaces")
	}
}

// kernelThatMaps returns the version of the first kernel that can map the owners of files of
// the driver.
func (f *FileSystem) kernelThatMaps() string {
	if f.driver.name() == metrics.DriverFUSE {
		return "6.12"
	}
	return "5.19"
}

// tryMapping looks at the file of the probe's tree, through an overlay over a clone that maps
// the owner 0 to others.
func (f *FileSystem) tryMapping(dir, tree string) (err error) {
	ids := idmap.Mapping{Users: []idmap.Range{{Host: 1, Size: 1}}, Groups: []idmap.Range{{Host: 2, Size: 1}}}
	ns, err := ids.Namespace()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ns.Close()) }()
	mapped, target := filepath.Join(dir, "mapped"), filepath.Join(dir, "first")
	if err := os.MkdirAll(mapped, 0o700); err != nil {
		return err
	}
	if err := idmap.Clone(tree, mapped, ns); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unmount(mapped)) }()
	if err := mountProbeOverlay(dir, mapped, target); err != nil {
		return fmt.Errorf("overlay over mapped owners: %w", err)
	}
	defer func() { err = errors.Join(err, unmount(target)) }()
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(target, probeName), &st); err != nil {
		return err
	}
	if st.Uid != 1 || st.Gid != 2 {
		return fmt.Errorf("a file of 0:0 has the owner %d:%d where it should have 1:2", st.Uid, st.Gid)
	}
	return nil
}
