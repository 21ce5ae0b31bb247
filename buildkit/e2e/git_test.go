package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ladle-dev/ladle/test/place"
)

// Where there is no git, a build from a repository fails and nothing else does:
// BuildKit has no such source then, which ladle-buildkitd must not stand before.
func TestWithoutGit(t *testing.T) {
	l := newLab(t, labOptions{})
	root, err := place.Root()
	if err != nil {
		t.Fatal(err)
	}
	programs := t.TempDir()
	for _, name := range []string{"runc", "mount", "umount"} {
		program, err := exec.LookPath(name)
		if err == nil {
			err = os.Symlink(program, filepath.Join(programs, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	o := l.options(ladleOnOverlayfs)
	o.Command = []string{"/usr/bin/env", "PATH=" + programs, filepath.Join(root, "bin", "ladle-buildkitd")}
	l.startWorker(ladleOnOverlayfs, o)
	w := l.workers[ladleOnOverlayfs]
	if _, err = w.Buildctl(l.Context(), "build", "--frontend=dockerfile.v0", "--opt", "context=git://127.0.0.1:1/x.git"); err == nil || !strings.Contains(err.Error(), "unknown scheme") {
		t.Errorf("build from a repository: %v", err)
	}
	if _, err := w.Buildctl(l.Context(), "debug", "workers"); err != nil {
		t.Error(err)
	}
}
