package fs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/metrics"
)

// loopDriver mounts tree images through loop devices (Linux 5.16; root only):
// one for the image, and one for each layer, which all trees over it share.
//
// All are cleared by the kernel when nothing has them open (autoclear): a
// layer's by the last of its trees and us, an image's by its mount alone. So a
// killed daemon leaves none behind once its trees are unmounted.
type loopDriver struct {
	export string
	mu     struct {
		sync.Mutex
		devices map[string]*loopDevice // by name of the data file
	}
}

// loopDevice is a layer's loop device.
type loopDevice struct {
	users int // guarded by loopDriver.mu

	attach sync.Once
	file   *os.File // written by attach
	err    error    // written by attach
}

func newLoopDriver(export string) *loopDriver {
	d := &loopDriver{export: export}
	d.mu.devices = map[string]*loopDevice{}
	return d
}

func (d *loopDriver) name() metrics.Driver { return metrics.DriverLoop }

func (d *loopDriver) filesystem() string { return "erofs" }

func (d *loopDriver) mount(p *plan) (err error) {
	image, err := attachLoop(p.image)
	if err != nil {
		return err
	}
	defer image.Close()
	var devices []string
	for i, l := range p.layers {
		device, err := d.take(dataName(l))
		if err != nil {
			return errors.Join(err, d.giveAll(p.layers[:i]))
		}
		devices = append(devices, device)
	}
	if err := mountEROFS(image.Name(), devices, p.target, plainly); err != nil {
		return errors.Join(err, d.giveAll(p.layers))
	}
	return nil
}

// adopt takes nothing: the kernel keeps the devices for the mount.
func (d *loopDriver) adopt(*plan) error { return nil }

func (d *loopDriver) release(p *plan) error {
	if p.adopted {
		return nil
	}
	return d.giveAll(p.layers)
}

// take returns the path of the loop device of a data file.
func (d *loopDriver) take(data string) (string, error) {
	d.mu.Lock()
	dev := d.mu.devices[data]
	if dev == nil {
		dev = &loopDevice{}
		d.mu.devices[data] = dev
	}
	dev.users++
	d.mu.Unlock()
	dev.attach.Do(func() { dev.file, dev.err = attachLoop(filepath.Join(d.export, data)) })
	if dev.err != nil {
		return "", errors.Join(dev.err, d.give(data))
	}
	return dev.file.Name(), nil
}

// give undoes one take.
func (d *loopDriver) give(data string) error {
	d.mu.Lock()
	dev := d.mu.devices[data]
	dev.users--
	last := dev.users == 0
	if last {
		delete(d.mu.devices, data)
	}
	d.mu.Unlock()
	if !last || dev.file == nil {
		return nil
	}
	return dev.file.Close()
}

func (d *loopDriver) giveAll(layers []Layer) error {
	var errs []error
	for _, l := range layers {
		errs = append(errs, d.give(dataName(l)))
	}
	return errors.Join(errs...)
}

// loopReadahead is in sectors of 512 bytes: what the erofs driver has. The
// kernel's choice for loop devices is several times that, for disks; here it
// would fetch what nobody reads, and the layer reads ahead by itself.
const loopReadahead = 128 << 10 / 512

// attachLoop returns an open loop device on the file at path. Direct I/O lets
// the device have many reads of a data file under way, where it would
// otherwise send one after the other, and keeps the file's pages from being
// cached twice.
func attachLoop(path string) (*os.File, error) {
	file, err := mount.SetupLoop(path, mount.LoopParams{Readonly: true, Autoclear: true, Direct: true})
	if err != nil {
		return nil, fmt.Errorf("loop device of %s: %w", path, err)
	}
	if err := unix.IoctlSetInt(int(file.Fd()), unix.BLKRASET, loopReadahead); err != nil {
		return nil, errors.Join(fmt.Errorf("readahead of %s: %w", file.Name(), err), file.Close())
	}
	return file, nil
}

// plainly creates a filesystem on a loop device, whose own readahead it has.
func plainly(create func() error) error { return create() }
