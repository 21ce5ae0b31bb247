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
		devices map[string]*loopDevice // by path of the data file, or of its file on the export
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
	image, err := attachLoop(p.image, true)
	if err != nil {
		return err
	}
	defer image.Close()
	var devices []string
	for i := range p.layers {
		device, err := d.acquire(p.device(i, d.export))
		if err != nil {
			return errors.Join(err, d.releaseDevices(p, i))
		}
		devices = append(devices, device)
	}
	if err := mountEROFS(image.Name(), devices, p.target, createOnly); err != nil {
		return errors.Join(err, d.releaseDevices(p, len(devices)))
	}
	return nil
}

// adopt acquires no devices: the mount has them open.
func (d *loopDriver) adopt(*plan) error { return nil }

func (d *loopDriver) release(p *plan) error {
	if p.adopted {
		return nil
	}
	return d.releaseDevices(p, len(p.layers))
}

// acquire returns the path of the loop device of the file at path.
func (d *loopDriver) acquire(path string) (string, error) {
	d.mu.Lock()
	dev := d.mu.devices[path]
	if dev == nil {
		dev = &loopDevice{}
		d.mu.devices[path] = dev
	}
	dev.users++
	d.mu.Unlock()
	exported := filepath.Dir(path) == d.export
	dev.attach.Do(func() { dev.file, dev.err = attachLoop(path, exported) })
	if dev.err != nil {
		return "", errors.Join(dev.err, d.releaseDevice(path))
	}
	return dev.file.Name(), nil
}

// releaseDevice reverts one acquire.
func (d *loopDriver) releaseDevice(path string) error {
	d.mu.Lock()
	dev := d.mu.devices[path]
	dev.users--
	last := dev.users == 0
	if last {
		delete(d.mu.devices, path)
	}
	d.mu.Unlock()
	if !last || dev.file == nil {
		return nil
	}
	return dev.file.Close()
}

// releaseDevices reverts acquire for the first n devices of p.
func (d *loopDriver) releaseDevices(p *plan, n int) error {
	var errs []error
	for i := range n {
		errs = append(errs, d.releaseDevice(p.device(i, d.export)))
	}
	return errors.Join(errs...)
}

// loopReadahead is in sectors of 512 bytes, and equals that of the erofs driver. The
// kernel's default for loop devices is several times that; here it would fetch data that
// is not read, and the layer has a readahead of its own.
const loopReadahead = 128 << 10 / 512

// attachLoop returns an open loop device for the file at path. With direct I/O the device
// has many reads of a file of the export in progress, otherwise one after the other, and the
// pages of the file are not cached twice. A data file is read through its own cache: it has
// the bytes of a layer that was imported just now, and the kernel reads ahead from one small
// file to the next.
func attachLoop(path string, direct bool) (*os.File, error) {
	file, err := mount.SetupLoop(path, mount.LoopParams{Readonly: true, Autoclear: true, Direct: direct})
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
