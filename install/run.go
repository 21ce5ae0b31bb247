package install

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
)

// run is one call of Install or Undo.
type run struct {
	opts      Options
	j         *journal
	c         *containerd
	restarted bool // containerd may run with the new configuration
}

// begin opens the journal, and looks at the host.
func begin(ctx context.Context, o Options) (_ *run, err error) {
	o.setDefaults()
	f, err := flavorOf(o.Root, o.Flavor)
	if err != nil {
		return nil, err
	}
	j, err := openJournal(filepath.Join(o.Root, StateDir))
	if err != nil {
		return nil, err
	}
	r := &run{opts: o, j: j}
	if r.c, err = look(ctx, o.Root, f, o.Services != nil); err != nil {
		return nil, errors.Join(err, j.close())
	}
	if j.Pending != nil {
		r.restarted = j.Pending.Containerd
		o.say("a run that did not end is taken over")
	}
	return r, nil
}

// on returns where a file of the host is.
func (r *run) on(name string) string { return filepath.Join(r.opts.Root, name) }

// step is a part of a run.
type step struct {
	name string
	do   func(context.Context) error
}

// all does steps. If one fails, the host is as before, unless the error says otherwise.
func (r *run) all(ctx context.Context, steps []step) error {
	for _, s := range steps {
		r.opts.Step(s.name)
		bounded, cancel := context.WithTimeout(ctx, r.opts.Timeout)
		err := s.do(bounded)
		cancel()
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return r.failed(ctx, fmt.Errorf("%s: %w", s.name, err))
		}
	}
	return nil
}

// failed puts the files of before back.
func (r *run) failed(ctx context.Context, err error) error {
	if r.j.Pending == nil {
		return err
	}
	// What was begun has to end, also if the user has lost patience.
	if back := r.rollBack(context.WithoutCancel(ctx)); back != nil {
		return fmt.Errorf("%w\nThe files of before could not all be put back: %w\n"+
			"They are kept in %s: run ladle install again, or ladle install --undo", err, back, StateDir)
	}
	return fmt.Errorf("%w\nAll files are as before, and containerd runs with its old configuration", err)
}

// keep makes the list of changes durable, with the contents of before, and makes directories.
func (r *run) keep(ctx context.Context, changes []change) error {
	next := &pending{Files: changes}
	if old := r.j.Pending; old != nil {
		next.Active, next.Containerd, next.Dirs = old.Active, old.Containerd, old.Dirs
		for _, f := range old.Files { // what is as it should be now was perhaps changed
			if !slices.ContainsFunc(changes, func(c change) bool { return c.Path == f.Path }) {
				next.Files = append(next.Files, f)
			}
		}
	} else if r.opts.Services != nil {
		active, err := r.opts.Services.Active(ctx, unitName)
		if err != nil {
			return err
		}
		next.Active = active
	}
	for _, c := range changes {
		if err := r.j.keep(c.Before); err != nil {
			return err
		}
	}
	dirs := map[string]bool{}
	for _, c := range changes {
		for d := filepath.Dir(c.Path); !exists(r.on(d)); d = filepath.Dir(d) {
			dirs[d] = true
		}
	}
	for d := range dirs {
		next.Dirs = append(next.Dirs, d)
	}
	slices.Sort(next.Dirs)
	next.Dirs = slices.Compact(next.Dirs)
	r.j.Pending = next
	if err := r.j.write(); err != nil {
		return err
	}
	for _, c := range changes {
		if c.After.absent() {
			continue
		}
		if _, err := makeDirs(r.on(c.Path)); err != nil {
			return err
		}
	}
	return nil
}

// put makes a change.
func (r *run) put(c change) func(context.Context) error {
	return func(context.Context) error {
		now, err := read(r.on(c.Path))
		if err != nil || now.equal(c.After) {
			return err
		}
		after, err := r.j.fetch(c.After)
		if err != nil {
			return err
		}
		return after.put(r.on(c.Path))
	}
}

func (r *run) puts(verb string, changes []change) (steps []step) {
	for _, c := range changes {
		name := verb + " " + c.Path
		if c.After.absent() {
			name = "remove " + c.Path
		}
		steps = append(steps, step{name, r.put(c)})
	}
	return steps
}

// mark says in the journal that containerd's files are being changed.
func (r *run) mark(context.Context) error {
	r.j.Pending.Containerd = true
	return r.j.write()
}

// restartContainerd restarts containerd, and waits until it answers.
func (r *run) restartContainerd(ctx context.Context) error {
	r.restarted = true
	if err := r.opts.Services.Restart(ctx, r.c.unit); err != nil {
		return err
	}
	return until(ctx, func(ctx context.Context) error {
		_, err := brokenPlugins(ctx, r.c.socket())
		return err
	})
}

// rollBack puts everything back that the journal lists.
func (r *run) rollBack(ctx context.Context) error {
	p := r.j.Pending
	containerdsLast := p.Active // the daemon has to be there before containerd needs it
	files := slices.Clone(p.Files)
	slices.Reverse(files)
	var daemons, containerds []change
	for _, f := range files {
		back := change{Path: f.Path, Before: f.After, After: f.Before}
		if r.ofContainerd(f.Path) {
			containerds = append(containerds, back)
		} else {
			daemons = append(daemons, back)
		}
	}
	daemon := r.puts("put back", daemons)
	switch {
	case !p.Active:
		daemon = slices.Concat(r.daemonAsBefore(), daemon, r.reload())
	case len(daemons) > 0:
		daemon = append(daemon, r.daemonAsBefore()...)
	}
	of := r.puts("put back", containerds)
	if r.opts.Services != nil && r.restarted {
		of = append(of, step{"restart " + r.c.unit + " with its old configuration", r.restartContainerd})
	}
	steps := slices.Concat(of, daemon)
	if containerdsLast {
		steps = slices.Concat(daemon, of)
	}
	var errs []error
	for _, s := range steps {
		r.opts.Step(s.name)
		bounded, cancel := context.WithTimeout(ctx, r.opts.Timeout)
		if err := s.do(bounded); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.name, err))
		}
		cancel()
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	r.removeDirs(p.Dirs)
	r.j.Pending = nil
	return errors.Join(r.j.write(), r.j.prune())
}

// ofContainerd reports whether a file is one of containerd's configuration.
func (r *run) ofContainerd(path string) bool {
	return r.imports(path) || filepath.Base(path) == "ladle.toml"
}

func (r *run) reload() []step {
	if r.opts.Services == nil {
		return nil
	}
	return []step{{"read the units anew", r.opts.Services.Reload}}
}

// daemonAsBefore restarts the daemon with the files of before, or stops it if it did not run.
func (r *run) daemonAsBefore() []step {
	if r.opts.Services == nil {
		return nil
	}
	if r.j.Pending.Active {
		return append(r.reload(), r.startDaemon()...)
	}
	return []step{r.stopDaemon()}
}

// startDaemon starts or restarts the daemon, and waits until its socket answers a call.
func (r *run) startDaemon() []step {
	s := r.opts.Services
	return []step{
		{"enable ladle", func(ctx context.Context) error { return s.Enable(ctx, unitName) }},
		{"start ladle", func(ctx context.Context) error { return s.Restart(ctx, unitName) }},
		{"wait for an answer of ladle", func(ctx context.Context) error {
			return until(ctx, func(ctx context.Context) error { return Answers(ctx, r.opts.Daemon.Address) })
		}},
	}
}
