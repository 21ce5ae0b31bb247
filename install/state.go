package install

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/durable"
)

// StateDir has what was installed, and the files of before.
const StateDir = "/var/lib/ladle-install"

const stateSchema = 1

// state is the file state.json.
type state struct {
	Schema    uint64     `json:"schema"`
	Installed *installed `json:"installed,omitempty"`
	Pending   *pending   `json:"pending,omitempty"`
}

// installed is an installation that went through.
type installed struct {
	Version string   `json:"version"`
	Flavor  string   `json:"flavor"`
	Mode    Mode     `json:"mode"`
	Other   string   `json:"other"` // the snapshotter that CRI had before
	Files   []change `json:"files"` // Before is what was there before the first installation
	Dirs    []string `json:"dirs,omitempty"`
}

// pending is a run that has not ended.
type pending struct {
	Files []change `json:"files"`
	Dirs  []string `json:"dirs,omitempty"` // that were made
	// Active: the daemon was running before.
	Active bool `json:"active"`
	// Containerd: its files may have been changed, so it may run with either configuration.
	Containerd bool `json:"containerd"`
}

// change is a file that a run changes.
type change struct {
	Path   string  `json:"path"`
	Before content `json:"before"`
	After  content `json:"after"`
}

// journal is the state on disk, and the contents that it refers to. One process at a time has
// it.
type journal struct {
	dir  string
	lock *os.File
	state
}

// openJournal waits for no other process: it is an error if one has it.
func openJournal(dir string) (_ *journal, err error) {
	if err := os.MkdirAll(filepath.Join(dir, "kept"), 0o700); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, lock.Close())
		}
	}()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, fmt.Errorf("another ladle install is running (%s is locked)", lock.Name())
	}
	j := &journal{dir: dir, lock: lock}
	j.state, err = readState(dir)
	return j, err
}

// readState returns the state in dir, an empty one if there is none.
func readState(dir string) (state, error) {
	empty := state{Schema: stateSchema}
	text, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return empty, nil
	}
	if err != nil {
		return empty, err
	}
	var st state
	if err := json.Unmarshal(text, &st); err != nil {
		return empty, fmt.Errorf("%s: %w", filepath.Join(dir, "state.json"), err)
	}
	if st.Schema != stateSchema {
		return empty, fmt.Errorf("%s: %w", dir, durable.LaterFormat(st.Schema, stateSchema))
	}
	return st, nil
}

func (j *journal) close() error { return j.lock.Close() }

// write makes the state durable.
func (j *journal) write() error {
	text, err := json.MarshalIndent(j.state, "", "  ")
	if err != nil {
		return err
	}
	return durable.Write(filepath.Join(j.dir, "state.json"), append(text, '\n'))
}

func (j *journal) kept(c content) string { return filepath.Join(j.dir, "kept", c.SHA256) }

// keep stores the bytes of a file, durably.
func (j *journal) keep(c content) error {
	if c.SHA256 == "" {
		return nil
	}
	if _, err := os.Stat(j.kept(c)); err == nil || c.bytes == nil {
		return err
	}
	return durable.Write(j.kept(c), c.bytes)
}

// fetch returns c with its bytes.
func (j *journal) fetch(c content) (content, error) {
	if c.SHA256 == "" || c.bytes != nil {
		return c, nil
	}
	b, err := os.ReadFile(j.kept(c))
	if err != nil {
		return c, err
	}
	if got := fileOf(b, 0); got.SHA256 != c.SHA256 {
		return c, fmt.Errorf("%s is damaged", j.kept(c))
	}
	c.bytes = b
	return c, nil
}

// prune removes kept contents that the state does not refer to.
func (j *journal) prune() error {
	used := map[string]bool{}
	add := func(files []change) {
		for _, f := range files {
			used[f.Before.SHA256] = true
		}
	}
	if j.Installed != nil {
		add(j.Installed.Files)
	}
	if j.Pending != nil {
		add(j.Pending.Files)
	}
	all, err := os.ReadDir(filepath.Join(j.dir, "kept"))
	if err != nil {
		return err
	}
	for _, e := range all {
		if !used[e.Name()] {
			if err := os.Remove(filepath.Join(j.dir, "kept", e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
