package stack

import (
	"os"
	"path/filepath"

	"github.com/ladle-dev/ladle/test/place"
)

// Containerd says which containerd a node runs, and how.
type Containerd struct {
	// Release is "" for the newest, or "2.3" for the long-term release.
	Release string
	// Dir is the directory of its programs; "" is where script/components.sh puts
	// those of Release.
	Dir string
	// Edit changes the configuration file; nil leaves it.
	Edit func(config string) string
	// Env is added to its environment.
	Env []string
}

// LongTerm is the long-term release of containerd that script/components.sh
// installs beside the newest.
const LongTerm = "2.3"

// program is the path of one of its programs.
func (c Containerd) program(name string) (string, error) {
	if c.Dir != "" {
		return filepath.Join(c.Dir, name), nil
	}
	if c.Release == "" {
		return place.Component(name)
	}
	return place.Release(c.Release, name)
}

// environment is what its program needs in the environment: containerd looks for
// its shim in PATH.
func (c Containerd) environment(program string) []string {
	return append([]string{"PATH=" + filepath.Dir(program) + ":" + os.Getenv("PATH")}, c.Env...)
}

func (c Containerd) edited(config string) string {
	if c.Edit == nil {
		return config
	}
	return c.Edit(config)
}
