package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// containerd is the one of a host.
type containerd struct {
	flavor
	root string // of the host's files

	program string // its path; "" if only files are looked at
	version string // of program
	release [2]int // its major and minor version
	patch   int
	text    []byte // of the configuration file, nil if there is none
	file    table  // the same
	dumped  table  // what containerd makes of it and of what it imports; file if there is no program
}

// look finds out what the host has. Without run no program is started.
func look(ctx context.Context, root string, f flavor, run bool) (*containerd, error) {
	c := &containerd{flavor: f, root: root}
	text, err := os.ReadFile(c.on(c.config))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	c.text = text
	if c.file, err = parseTable(text); err != nil {
		return nil, fmt.Errorf("%s: %w", c.config, err)
	}
	c.dumped = c.file
	if text == nil {
		c.dumped = table{"version": int64(3)}
	}
	if !run {
		return c, nil
	}
	if c.program, err = c.find(ctx); err != nil {
		return nil, err
	}
	if err := c.readRelease(ctx); err != nil {
		return nil, err
	}
	if c.dumped, err = c.dump(ctx, c.config); err != nil {
		return nil, fmt.Errorf("containerd's configuration of now is not accepted by containerd: %w", err)
	}
	return c, nil
}

// on returns where a file of the host is.
func (c *containerd) on(name string) string { return filepath.Join(c.root, name) }

// socket is the address of containerd.
func (c *containerd) socket() string {
	if a := c.dumped.address(); a != "" {
		return a
	}
	return c.address
}

// find returns the program that runs, or that would be run.
func (c *containerd) find(ctx context.Context) (string, error) {
	// The programs of k3s are one file, which goes by the name that it is called by.
	if c.template == "" {
		if pid, err := peer(ctx, c.address); err == nil {
			if program, err := programOf(pid); err == nil && filepath.Base(program) == "containerd" {
				return program, nil
			}
		}
	}
	for _, p := range c.programs {
		if exists(p) {
			return p, nil
		}
	}
	if p, err := exec.LookPath("containerd"); err == nil && c.template == "" {
		return p, nil
	}
	return "", fmt.Errorf("there is no containerd of %s on this host: it is none of %s", c.name, strings.Join(c.programs, ", "))
}

var releaseText = regexp.MustCompile(`v?(\d+)\.(\d+)\.(\d+)`)

func (c *containerd) readRelease(ctx context.Context) error {
	out, err := c.run(ctx, "--version")
	if err != nil {
		return err
	}
	m := releaseText.FindSubmatch(out)
	if m == nil {
		return fmt.Errorf("%s says no version: %q", c.program, out)
	}
	c.version = string(m[0])
	for n, number := range []*int{&c.release[0], &c.release[1], &c.patch} {
		if *number, err = strconv.Atoi(string(m[n+1])); err != nil {
			return err
		}
	}
	if c.release[0] < 2 {
		return fmt.Errorf("%s is containerd %s: ladle needs 2.0 or newer", c.program, c.version)
	}
	return nil
}

func (c *containerd) run(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, c.program, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", c.program, strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}

// dump returns the configuration as containerd understands the file at a path of the host.
func (c *containerd) dump(ctx context.Context, path string) (table, error) {
	out, err := c.run(ctx, "--config", path, "config", "dump")
	if err != nil {
		return nil, err
	}
	t, err := parseTable(out)
	if err != nil {
		return nil, fmt.Errorf("%s config dump: %w", c.program, err)
	}
	return t, nil
}

// rehearse returns what containerd would make of its configuration with the text main, and with
// the drop-in at a path, neither of which is in its place.
func (c *containerd) rehearse(ctx context.Context, main, path, dropIn string) (_ table, err error) {
	t, err := parseTable([]byte(main))
	if err != nil {
		return nil, err
	}
	staged := filepath.Join(StateDir, "ladle.toml")
	if t["imports"], err = c.expand(t.imports(), path, staged); err != nil {
		return nil, err
	}
	text, err := tomlOf(t)
	if err != nil {
		return nil, err
	}
	config := c.config + suffix
	for _, f := range []struct{ path, text string }{{staged, dropIn}, {config, text}} {
		if _, err := makeDirs(c.on(f.path)); err != nil {
			return nil, err
		}
		if err := fileOf([]byte(f.text), 0o600).put(c.on(f.path)); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, removeIfThere(c.on(f.path))) }()
	}
	return c.dump(ctx, config)
}

// expand returns the files that containerd imports, in its order, with the one at path, whether it
// is there or not, replaced by staged.
func (c *containerd) expand(imports []string, path, staged string) (all []string, err error) {
	for _, pattern := range imports {
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(filepath.Dir(c.config), pattern)
		}
		files := []string{filepath.Clean(pattern)}
		if strings.Contains(pattern, "*") {
			if files, err = filepath.Glob(c.on(pattern)); err != nil {
				return nil, err
			}
			for n := range files {
				files[n] = "/" + strings.TrimPrefix(strings.TrimPrefix(files[n], c.root), "/")
			}
			if matches, _ := filepath.Match(pattern, path); matches && !slices.Contains(files, path) {
				files = append(files, path)
				slices.Sort(files)
			}
		}
		for n := range files {
			if files[n] == path {
				files[n] = staged
			}
		}
		all = append(all, files...)
	}
	return all, nil
}

// accepted says how configurations may differ.
type accepted struct {
	want Mode // what the new one has to have
	may  Mode // what may have changed
}

// accept returns an error if containerd would not have ladle as wanted, or other settings
// than before.
func (c *containerd) accept(before, after table, a accepted, daemon Daemon) error {
	plugin := after.sub("proxy_plugins", Name)
	if plugin.text("type") != "snapshot" || plugin.text("address") != daemon.Address {
		return fmt.Errorf("containerd would not have the plugin %s at %s: it has %v", Name, daemon.Address, plugin)
	}
	images, runtimes := after.images(), after.runtime().sub("runtimes")
	if got := images.text("snapshotter"); a.want.Default != (got == Name) {
		return fmt.Errorf("the snapshotter of CRI would be %q, because of another drop-in", got)
	}
	for _, name := range a.want.Runtimes {
		if got := runtimes.text(name, "snapshotter"); got != Name {
			return fmt.Errorf("the snapshotter of the runtime %q would be %q, because of another drop-in", name, got)
		}
	}
	if len(after.localPulls()) > 0 && images.at("disable_snapshot_annotations") == true {
		return errors.New("disable_snapshot_annotations would be true, because of another drop-in")
	}
	if changed := differences(before, after, a.may); len(changed) > 0 {
		return fmt.Errorf("containerd would understand other settings otherwise, too: %s", strings.Join(changed, ", "))
	}
	return nil
}
