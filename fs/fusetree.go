package fs

import (
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/metrics"
)

// fuseDriver serves trees through the export, and bind-mounts them to their targets. It
// needs only FUSE mounts in a user namespace (Linux 4.18).
type fuseDriver struct {
	dir    string // of the export
	export *export
	conn   *connection
}

func (d *fuseDriver) name() metrics.Driver { return metrics.DriverFUSE }

func (d *fuseDriver) filesystem() string { return fuseType }

func (d *fuseDriver) mount(p *plan) error {
	if err := d.adopt(p); err != nil {
		return err
	}
	source := filepath.Join(d.dir, treeName(p.number))
	if err := unix.Mount(source, p.target, "", unix.MS_BIND, ""); err != nil {
		return errors.Join(fmt.Errorf("bind %s to %s: %w", source, p.target, err), d.release(p))
	}
	return nil
}

// adopt serves p.
func (d *fuseDriver) adopt(p *plan) error {
	root, err := p.tree()
	if err != nil {
		return err
	}
	d.export.addTree(newInodes(p, root), p.adopted)
	return nil
}

func (d *fuseDriver) release(p *plan) error {
	err := d.export.dropTree(p.number)
	d.forgetTree(p.number)
	return err
}
