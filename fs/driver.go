package fs

import (
	"context"
	"fmt"
	"strings"

	"github.com/containerd/containerd/v2/pkg/kernelversion"
	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/durable"
	"github.com/ladle-dev/ladle/metrics"
	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
)

// plan is a tree to be mounted by a driver.
type plan struct {
	spec   store.Spec
	number uint32   // of the tree image
	image  string   // its path
	inode  uint64   // the first inode number of the image; 0 for an outdated image
	layers []Layer  // the lowest first, exported for as long as the plan is mounted
	whole  []string // see wholeFiles; empty: no layer is whole
	target string   // the directory to mount at
	// tree returns the content of the image, for the fuse driver.
	tree func() (*tree.Inode, error)

	// adopted: the tree was mounted by the process before the takeover.
	adopted bool
}

// driver is a way to mount a tree. It is called concurrently for different plans.
type driver interface {
	name() metrics.Driver
	// filesystem is the type of the mount in mountinfo.
	filesystem() string
	// mount mounts p at p.target. After an error nothing is mounted.
	mount(p *plan) error
	// adopt is mount for a plan that the process before a takeover mounted.
	adopt(p *plan) error
	// release frees the resources of mount or adopt, after p was unmounted.
	release(p *plan) error
}

// drivers returns all drivers, the best first.
func (f *FileSystem) drivers() []driver {
	return []driver{
		&erofsDriver{export: f.exportDir()},
		newLoopDriver(f.exportDir()),
		&fuseDriver{dir: f.exportDir(), export: f.export, conn: f.conn},
	}
}

// try probes whether d works. It does not probe the driver of the process before a
// takeover: that has mounted trees, and a probe needs space on the disk.
func (f *FileSystem) try(d driver) error {
	if f.opts.Takeover != nil && string(d.name()) == f.opts.Driver {
		return nil
	}
	return f.probe(d, readThroughOverlays)
}

// mayWork guesses whether d works if a probe is impossible for lack of space.
func mayWork(d driver) bool {
	if d.name() != metrics.DriverEROFS {
		return true
	}
	ok, err := kernelversion.GreaterEqualThan(kernelversion.KernelVersion{Kernel: 6, Major: 12})
	return ok && err == nil
}

// choose sets the driver: the one that the options name, or the first that works. It logs the
// reason. A driver works if the probe succeeds.
func (f *FileSystem) choose(ctx context.Context) error {
	auto := f.opts.Driver == "" || f.opts.Driver == "auto"
	var refused []string
	for _, d := range f.drivers() {
		if !auto && string(d.name()) != f.opts.Driver {
			continue
		}
		reason := f.reasonFor(auto)
		err := f.try(d)
		if durable.NoSpace(err) && mayWork(d) {
			log.G(ctx).WithError(err).WithField("driver", d.name()).Warn("filesystem driver is not probed: no space left on the disk")
			reason, err = "the first that may work", nil
		}
		if err != nil {
			refused = append(refused, fmt.Sprintf("%s: %v", d.name(), err))
			continue
		}
		entry := log.G(ctx).WithField("driver", d.name()).WithField("reason", reason)
		if len(refused) > 0 {
			entry = entry.WithField("refused", strings.Join(refused, "; "))
			reason += "; " + strings.Join(refused, "; ")
		}
		f.driver, f.reason = d, reason
		entry.Info("filesystem driver chosen")
		return nil
	}
	if len(refused) == 0 {
		return fmt.Errorf("no driver is called %q", f.opts.Driver)
	}
	return fmt.Errorf("no driver works: %s", strings.Join(refused, "; "))
}

// reasonFor says why a driver that works is chosen.
func (f *FileSystem) reasonFor(auto bool) string {
	switch {
	case f.opts.Takeover != nil:
		return "that of the process before"
	case auto:
		return "the first that works"
	}
	return "configured"
}
