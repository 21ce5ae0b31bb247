package sametree

import (
	"context"
	"fmt"
	"os"
	"os/exec"
)

// Build builds command listtree, which needs no libraries, as the file at path.
func Build(ctx context.Context, path string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "github.com/ladle-dev/ladle/test/sametree/cmd/listtree")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("sametree: build listtree: %w\n%s", err, out)
	}
	return nil
}
