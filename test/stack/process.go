package stack

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/ladle-dev/ladle/test/process"
)

const (
	readyTimeout  = 30 * time.Second
	removeTimeout = 30 * time.Second // for all containers of a node
)

// startProcess starts argv with its output in dir.
func startProcess(name, dir string, argv []string) (*process.Process, error) {
	p, err := process.Start(process.Options{Name: name, Log: logFile(name, dir), Argv: argv})
	if err != nil {
		return nil, fmt.Errorf("stack: %w", err)
	}
	return p, nil
}

func logFile(name, dir string) string { return filepath.Join(dir, name+".log") }
