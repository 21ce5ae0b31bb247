package install

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// plan is what a run changes.
type plan struct {
	mode       Mode
	other      string   // the snapshotter that CRI has besides
	daemon     []change // in the order in which they are made
	containerd []change
	main       string   // the text of containerd's configuration with its imports
	dropIn     string   // the text of the drop-in
	dropInPath string   // where it is
	unchanged  []change // that are as they should be
}

// planInstall finds out what an installation changes.
func (r *run) planInstall() (*plan, error) {
	p := &plan{mode: r.modeToHave(), other: r.otherToHave()}
	o := r.opts
	want := func(group *[]change, path string, c content) error {
		ch, err := r.changeTo(path, c)
		if err != nil {
			return err
		}
		if ch.Before.equal(c) && !r.inherits(path) {
			p.unchanged = append(p.unchanged, ch)
		} else {
			*group = append(*group, ch)
		}
		return nil
	}
	verifiers := r.c.dumped.text("plugins", "io.containerd.image-verifier.v1.bindir", "bin_dir")
	if verifiers == "" {
		verifiers = verifierDir
	}
	err := errors.Join(
		want(&p.daemon, o.program(), fileOf(o.Files.Program, 0o755)),
		r.wantConfig(want, p),
		r.wantUnit(want, p),
		want(&p.daemon, path.Join(verifiers, verifierName), linkTo(o.program())),
	)
	if err != nil {
		return nil, err
	}
	if err := r.planContainerd(p, want); err != nil {
		return nil, err
	}
	return p, r.planStale(p)
}

type wanter func(group *[]change, path string, c content) error

// wantConfig wants the daemon's configuration if there is none, or another one is to be replaced.
func (r *run) wantConfig(want wanter, p *plan) error {
	c, err := read(r.on(r.opts.Daemon.Config))
	replace := r.opts.Files.ReplaceConfig
	if err != nil || !replace && !c.absent() && !r.inherits(r.opts.Daemon.Config) {
		return err
	}
	if c.absent() || replace {
		c = fileOf(r.opts.Files.Config, 0o644)
	}
	return want(&p.daemon, r.opts.Daemon.Config, c)
}

// wantUnit wants the systemd unit, unless a package has put the same one in place.
func (r *run) wantUnit(want wanter, p *plan) error {
	unit := fileOf(r.opts.unit(r.c.unit), 0o644)
	packaged, err := read(r.on(packagedUnitPath))
	if err != nil {
		return err
	}
	where := packagedUnitPath
	if !packaged.equal(unit) {
		where = unitPath
		if err := want(&p.daemon, unitPath, unit); err != nil {
			return err
		}
	}
	if r.opts.Services != nil {
		return nil
	}
	for _, target := range []string{"multi-user.target", r.c.unit} { // what systemctl enable does
		if err := want(&p.daemon, path.Join(path.Dir(unitPath), target+".wants", unitName), linkTo(where)); err != nil {
			return err
		}
	}
	return nil
}

// planContainerd wants the drop-in, and what imports it.
func (r *run) planContainerd(p *plan, want wanter) error {
	c := r.c
	if c.text != nil && c.file.version() < 2 {
		return fmt.Errorf("%s is of version %d: `containerd config migrate` prints it in a newer one, which ladle can extend", c.config, c.file.version())
	}
	text, err := DropIn{
		Mode: p.mode, Address: r.opts.Daemon.Address, Root: r.opts.Daemon.Root,
		Annotate: len(c.dumped.localPulls()) > 0, Other: p.other, Unpacks: c.unpackMaps(),
		Runtime:  c.dumped.runtime().sub("runtimes", c.defaultRuntime()),
		Version2: c.file.version() == 2,
	}.Render(string(r.opts.Files.DropIn))
	if err != nil {
		return err
	}
	p.main, p.dropIn = string(c.text), text
	dir := importedDir(c.config, c.file.imports())
	if dir == "" {
		dir = c.dropIns
		if err := r.planImport(p, want); err != nil {
			return err
		}
	}
	p.dropInPath = path.Join(dir, "ladle.toml")
	// The drop-in is written before it is imported, and removed after.
	group := []change{}
	if err := want(&group, p.dropInPath, fileOf([]byte(text), 0o644)); err != nil {
		return err
	}
	p.containerd = append(group, p.containerd...)
	return nil
}

// planImport wants an import of the directory for drop-ins in containerd's configuration, or in
// what that is generated from.
func (r *run) planImport(p *plan, want wanter) (err error) {
	c := r.c
	pattern := c.dropIns + "/*.toml"
	if p.main, err = addImport(string(c.text), pattern); err != nil {
		return fmt.Errorf("%s: %w", c.config, err)
	}
	source := c.config
	if c.template != "" {
		source = c.template
	}
	have, err := read(r.on(source))
	if err != nil {
		return err
	}
	text := p.main
	if c.template != "" {
		if text, err = r.template(string(have.bytes), pattern); err != nil {
			return err
		}
	}
	to := fileOf([]byte(text), 0o644)
	if !have.absent() {
		to.Mode, to.UID, to.GID = have.Mode, have.UID, have.GID
	}
	return want(&p.containerd, source, to)
}

// template returns the template of k3s or rke2 with an import of pattern.
func (r *run) template(text, pattern string) (string, error) {
	c := r.c
	switch {
	case strings.Contains(text, pattern): // of a run that was killed, or before a restart
		return text, nil
	case !extendsGenerated(text) || r.opts.Template:
		return importInTemplate(text, pattern), nil
	case c.text == nil:
		return "", fmt.Errorf("%s has not generated %s yet: start it once", c.name, c.config)
	}
	return "", fmt.Errorf("the configuration that %[1]s generates (%[2]s) imports no directory; that of releases from March 2026 on does (k3s-io/k3s#13680). "+
		"With --template ladle writes an import into %[3]s, which must be undone before %[1]s is upgraded to such a release: "+
		"containerd would not start with two imports", c.name, c.config, c.template)
}

// planStale takes back what earlier runs wrote and this one does not want.
func (r *run) planStale(p *plan) error {
	wanted := map[string]bool{}
	for _, c := range slices.Concat(p.daemon, p.containerd, p.unchanged) {
		wanted[c.Path] = true
	}
	for _, f := range r.written() {
		if wanted[f.Path] || f.Path == r.opts.Daemon.Config || r.imports(f.Path) {
			continue
		}
		if strings.HasSuffix(path.Dir(f.Path), ".wants") { // of an image of the host; systemctl has it now
			continue
		}
		c, err := r.changeTo(f.Path, f.Before)
		if err != nil {
			return err
		}
		p.containerd = append(p.containerd, c)
	}
	return nil
}

// imports reports whether a path is that of containerd's configuration, or of its template. What
// was added there stays when it does no harm.
func (r *run) imports(path string) bool { return path == r.c.config || path == r.c.template }

// written is what the installation of before and a run that was killed have written, with
// what was there before both.
func (r *run) written() (all []change) {
	if r.j.Installed != nil {
		all = slices.Clone(r.j.Installed.Files)
	}
	if r.j.Pending == nil {
		return all
	}
	for _, f := range r.j.Pending.Files {
		if !slices.ContainsFunc(all, func(g change) bool { return g.Path == f.Path }) {
			all = append(all, f)
		}
	}
	return all
}

// inherits reports whether a run that was killed may have changed a file.
func (r *run) inherits(path string) bool {
	return r.j.Pending != nil && slices.ContainsFunc(r.j.Pending.Files, func(f change) bool { return f.Path == path })
}

// changeTo is the change of a file of the host to c. Before is what was there before a run
// that was killed.
func (r *run) changeTo(path string, c content) (change, error) {
	ch := change{Path: path, After: c}
	if r.j.Pending != nil {
		for _, f := range r.j.Pending.Files {
			if f.Path == path {
				ch.Before = f.Before
				return ch, nil
			}
		}
	}
	var err error
	ch.Before, err = read(r.on(path))
	return ch, err
}

func (r *run) modeToHave() Mode {
	switch {
	case r.opts.Mode != nil:
		return *r.opts.Mode
	case r.j.Installed != nil:
		return r.j.Installed.Mode
	}
	return Mode{Default: true}
}

// otherToHave is the snapshotter that CRI has besides ladle.
func (r *run) otherToHave() string {
	if now := r.c.dumped.images().text("snapshotter"); now != Name && now != "" {
		return now
	}
	if r.j.Installed != nil {
		return r.j.Installed.Other
	}
	return ""
}

// defaultRuntime is the name of CRI's default runtime.
func (c *containerd) defaultRuntime() string {
	if name := c.dumped.runtime().text("default_runtime_name"); name != "" {
		return name
	}
	return "runc"
}

func (c *containerd) unpackMaps() (all []map[string]any) {
	for _, u := range c.dumped.unpacks() {
		all = append(all, u)
	}
	return all
}
