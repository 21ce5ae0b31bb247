package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// Undo takes away what Install wrote, and puts back what was there before. Images has what has to be
// pulled again; it is nil if containerd was not asked.
func Undo(ctx context.Context, o Options) (images []string, err error) {
	r, err := begin(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.j.close()) }()
	if r.j.Installed == nil && r.j.Pending == nil {
		r.opts.say("there is nothing to undo: no ladle install has written to %s", StateDir)
		return nil, nil
	}
	if err := r.spareKubelet(); err != nil {
		return nil, err
	}
	if r.opts.Services != nil {
		if images, err = r.use(ctx); err != nil {
			return nil, err
		}
	}
	daemon, containerd, err := r.planUndo()
	if err != nil {
		return nil, err
	}
	steps := []step{
		{"keep the files of before", func(ctx context.Context) error { return r.keep(ctx, slices.Concat(containerd, daemon)) }},
		{"note that containerd's files change", r.mark},
	}
	steps = append(steps, r.puts("put back", containerd)...)
	if r.opts.Services != nil {
		steps = append(steps, step{"restart " + r.c.unit, r.restartContainerd})
		steps = append(steps, r.stopDaemon())
	}
	steps = append(steps, r.puts("put back", daemon)...)
	steps = append(steps, r.reload()...)
	steps = append(steps, step{"record that nothing is installed", r.forget})
	return images, r.all(ctx, steps)
}

func (r *run) stopDaemon() step {
	return step{"stop ladle", func(ctx context.Context) error {
		if !exists(r.on(unitPath)) && !exists(r.on(packagedUnitPath)) {
			return nil
		}
		return r.opts.Services.Disable(ctx, unitName)
	}}
}

// use returns the images that only ladle has. It is an error if containers run on ladle.
func (r *run) use(ctx context.Context) (images []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	u, err := usage(ctx, r.c.socket(), r.otherToHave())
	if err != nil {
		r.opts.say("which images have to be pulled again is not known: %v", err)
		return nil, nil
	}
	if len(u.containers) > 0 && !r.opts.Force {
		return nil, fmt.Errorf("%d containers are on ladle, and would get I/O errors: drain the node first, or use --force: %s",
			len(u.containers), strings.Join(u.containers, ", "))
	}
	return u.images, nil
}

// planUndo returns the changes to what was there before the first installation.
func (r *run) planUndo() (daemon, containerd []change, err error) {
	all := r.written()
	slices.Reverse(all)
	for _, f := range all {
		c, err := r.changeTo(f.Path, f.Before)
		if err != nil {
			return nil, nil, err
		}
		now, err := read(r.on(f.Path))
		if err != nil {
			return nil, nil, err
		}
		if !now.absent() && !now.equal(f.After) && !r.inherits(f.Path) {
			if r.imports(f.Path) || f.Path == r.opts.Daemon.Config {
				r.opts.say("%s was changed after the installation, and is left as it is", f.Path)
				continue
			}
			r.opts.say("%s was changed after the installation", f.Path)
		}
		if r.ofContainerd(f.Path) {
			containerd = append(containerd, c)
		} else {
			daemon = append(daemon, c)
		}
	}
	// What imports a drop-in goes before it.
	slices.SortStableFunc(containerd, func(a, b change) int {
		return boolToInt(!r.imports(a.Path)) - boolToInt(!r.imports(b.Path))
	})
	return daemon, containerd, nil
}

func boolToInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// forget ends an undo.
func (r *run) forget(context.Context) error {
	dirs := r.j.Pending.Dirs
	if r.j.Installed != nil {
		dirs = slices.Concat(dirs, r.j.Installed.Dirs)
	}
	r.removeDirs(dirs)
	r.j.Installed, r.j.Pending = nil, nil
	return errors.Join(r.j.write(), r.j.prune())
}

// Purge removes the state of a daemon that is not installed any more, and its configuration.
func Purge(o Options) error {
	st, err := readState(filepath.Join(o.Root, StateDir))
	if err != nil {
		return err
	}
	if st.Installed != nil || st.Pending != nil {
		return errors.New("ladle is installed")
	}
	root := filepath.Join(o.Root, o.Daemon.Root)
	mounted, err := mountinfo.GetMounts(mountinfo.PrefixFilter(root))
	if err != nil {
		return err
	}
	for _, m := range mounted {
		if m.Mountpoint != root { // which may be a disk of its own
			return fmt.Errorf("%s is not removed: %s is mounted", root, m.Mountpoint)
		}
	}
	var errs []error
	for _, name := range stateNames {
		errs = append(errs, os.RemoveAll(filepath.Join(root, name)))
	}
	config := filepath.Join(o.Root, o.Daemon.Config)
	errs = append(errs, removeIfThere(config), os.RemoveAll(filepath.Join(o.Root, StateDir)))
	_, _ = os.Remove(root), os.Remove(filepath.Dir(config)) // unless something else is there
	return errors.Join(errs...)
}

// stateNames is what the daemon has in its root directory (ARCHITECTURE.md, On disk).
var stateNames = []string{"store", "l", "m", "f", "e", "cri", "probe"}
