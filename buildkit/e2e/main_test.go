package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ladle-dev/ladle/test/place"
)

func TestMain(m *testing.M) {
	if err := buildPrograms(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// buildPrograms builds buildkitd and buildctl unless they are there.
func buildPrograms() error {
	root, err := place.Root()
	if err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(root, "script", "buildkit.sh"))
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Run()
}
