package process_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/ladle-dev/ladle/test/process"
)

// What ends a process ends the child that runs now, also if it was taken when
// there was another one; and there is one child at a time.
func TestStartAgain(t *testing.T) {
	var p process.Process
	o := process.Options{Name: "sleep", Log: filepath.Join(t.TempDir(), "log"), Argv: []string{"sleep", "60"}}
	if err := p.Stop(); err != nil || p.Running() {
		t.Errorf("before the first start: running %v, stop %v", p.Running(), err)
	}
	kill, stop := p.Kill, p.Stop
	for _, end := range []func(){kill, func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}} {
		if err := p.Start(o); err != nil {
			t.Fatal(err)
		}
		pid := p.PID()
		if err := p.Start(o); err == nil || !strings.Contains(err.Error(), "running") {
			t.Errorf("a second child: %v", err)
		}
		if !p.Running() || p.PID() != pid {
			t.Error("it does not run")
		}
		if end(); p.Running() {
			t.Error("it runs on")
		}
	}
}
