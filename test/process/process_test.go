package process_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

// The first line of the error says why a program ended, also if it logs before, and
// prints a stack after.
func TestReadyOfOneThatEnds(t *testing.T) {
	for script, want := range map[string]string{
		`echo 'level=info msg=begins'; echo 'why'; echo 'main.main()'; exit 3`: "sh ended: why: exit status 3",
		`echo 'level=info msg=begins'; echo 'level=fatal msg=why'; exit 1`:     "sh ended: level=fatal msg=why: exit status 1",
		`echo why; exit 1`: "sh ended: why: exit status 1",
	} {
		var p process.Process
		err := p.Start(process.Options{Name: "sh", Log: filepath.Join(t.TempDir(), "log"), Argv: []string{"sh", "-c", script}})
		if err != nil {
			t.Fatal(err)
		}
		err = p.Ready(t.Context(), time.Minute, func(context.Context) error { return errors.New("not yet") })
		if err == nil || !strings.HasPrefix(err.Error(), want+"\n") {
			t.Errorf("%s: %v, want %s", script, err, want)
		}
	}
}
