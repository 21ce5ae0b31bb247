package fs

import (
	"context"
	"fmt"
	"strings"

	"github.com/containerd/containerd/v2/pkg/kernelversion"
	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/durable"
	"github.com/ladle-dev/ladle/metrics"
	"github.com/ladle-dev/ladle/tree"
)

// plan is a tree as a driver needs to know it.
type plan struct {
	number uint32  // of the tree image
	image  string  // its path
	inode  uint64  // the first inode number that is its own; 0 of an outdated image
	layers []Layer // the lowest first, exported for as long as the plan is mounted
	target string  // the directory to mount at
	// tree returns what is in the image, for who serves it without.
	tree func() (*tree.Inode, error)

	// adopted is set for a tree that was mounted before a takeover.
	adopted bool
}

// driver is a way in which the kernel gets a tree. Calls for different plans
// come concurrently.
type driver interface {
	name() metrics.Driver
	// filesystem is the type of what is mounted, as mountinfo names it.
	filesystem() string
	// mount mounts p at p.target. If it fails it leaves nothing behind.
	mount(p *plan) error
	// adopt takes p on as mounted, which is so since before a takeover.
	adopt(p *plan) error
	// release gives back what mount or adopt took, after p was unmounted.
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

// try finds out whether d works, unless it did before a takeover: a probe
// needs room on the disk, which may be full by now, and trees are mounted.
func (f *FileSystem) try(d driver) error {
	if f.opts.Takeover != nil && string(d.name()) == f.opts.Driver {
		return nil
	}
	return f.probe(d)
}

// mayWork guesses whether d works where there is no space to try it.
func mayWork(d driver) bool {
	if d.name() != metrics.DriverEROFS {
		return true
	}
	ok, err := kernelversion.GreaterEqualThan(kernelversion.KernelVersion{Kernel: 6, Major: 12})
	return ok && err == nil
}

// choose returns the driver that the options ask for, and logs why. A driver
// works if a small tree was mounted with it and read.
func (f *FileSystem) choose(ctx context.Context) (driver, error) {
	auto := f.opts.Driver == "" || f.opts.Driver == "auto"
	var refused []string
	for _, d := range f.drivers() {
		if !auto && string(d.name()) != f.opts.Driver {
			continue
		}
		reason := "configured"
		if auto {
			reason = "the first that works"
		}
		err := f.try(d)
		if durable.NoSpace(err) && mayWork(d) {
			log.G(ctx).WithError(err).WithField("driver", d.name()).Warn("no space is left to try the driver")
			reason, err = "the first that may work", nil
		}
		if err != nil {
			refused = append(refused, fmt.Sprintf("%s: %v", d.name(), err))
			continue
		}
		entry := log.G(ctx).WithField("driver", d.name()).WithField("reason", reason)
		if len(refused) > 0 {
			entry = entry.WithField("refused", strings.Join(refused, "; "))
		}
		entry.Info("filesystem driver chosen")
		return d, nil
	}
	if len(refused) == 0 {
		return nil, fmt.Errorf("no driver is called %q", f.opts.Driver)
	}
	return nil, fmt.Errorf("no driver works: %s", strings.Join(refused, "; "))
}
