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

// loopDriver mounts tree images through loop devices (Linux 5.16; root only): one for the
// image, and one for each layer, which all trees over the layer share.
//
// The kernel detaches a device when its last user closes it (autoclear). The users of a
// layer's device are the mounts of its trees and this process; the only user of an
// image's device is its mount. So a killed daemon leaves no devices once its trees are
// unmounted.
type loopDriver struct {
	export string
	mu     struct {
		sync.Mutex
		devices map[string]*loopDevice // by name of the data file
	}
}

// loopDevice is the loop device of a layer.
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
		device, err := d.acquire(dataName(l))
		if err != nil {
			return errors.Join(err, d.releaseDevices(p.layers[:i]))
		}
		devices = append(devices, device)
	}
	if err := mountEROFS(image.Name(), devices, p.target, createOnly); err != nil {
		return errors.Join(err, d.releaseDevices(p.layers))
	}
	return nil
}

// adopt acquires no devices: the mount has them open.
func (d *loopDriver) adopt(*plan) error { return nil }

func (d *loopDriver) release(p *plan) error {
	if p.adopted {
		return nil
	}
	return d.releaseDevices(p.layers)
}

// acquire returns the path of the loop device of a data file.
func (d *loopDriver) acquire(data string) (string, error) {
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
		return "", errors.Join(dev.err, d.releaseDevice(data))
	}
	return dev.file.Name(), nil
}

// releaseDevice reverts one acquire.
func (d *loopDriver) releaseDevice(data string) error {
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

func (d *loopDriver) releaseDevices(layers []Layer) error {
	var errs []error
	for _, l := range layers {
		errs = append(errs, d.releaseDevice(dataName(l)))
	}
	return errors.Join(errs...)
}

// loopReadahead is in sectors of 512 bytes, and equals that of the erofs driver. The
// kernel's default for loop devices is several times that; here it would fetch data that
// is not read, and the layer has a readahead of its own.
const loopReadahead = 128 << 10 / 512

// attachLoop returns an open loop device for the file at path. With direct I/O the device
// has many reads of a data file in progress, otherwise one after the other, and the pages
// of the file are not cached twice.
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

// createOnly creates a filesystem without changing its readahead: it uses that of the
// loop device.
func createOnly(create func() error) error { return create() }
