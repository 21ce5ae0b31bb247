package stack

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/ladle-dev/ladle/test/process"
)

const (
	readyTimeout  = time.Minute
	removeTimeout = 30 * time.Second // for all containers of a node
)

// start starts argv as p, with its output in dir and env added to its
// environment.
func start(p *process.Process, name, dir string, argv []string, env ...string) error {
	if err := p.Start(process.Options{Name: name, Log: logFile(name, dir), Argv: argv, Env: env}); err != nil {
		return fmt.Errorf("stack: %w", err)
	}
	return nil
}

func logFile(name, dir string) string { return filepath.Join(dir, name+".log") }
