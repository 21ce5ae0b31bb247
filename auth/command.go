package auth

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// variable is a variable of a program's environment.
type variable struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// command returns a command with the environment of this process and more variables, of which
// the last one of a name counts. When ctx ends it is killed, with what it has started. Its
// output is kept, maxDocument bytes at most.
func command(ctx context.Context, more []variable, program string, args ...string) (*exec.Cmd, *limited) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	cmd.Env = os.Environ()
	for _, v := range more {
		cmd.Env = append(cmd.Env, v.Name+"="+v.Value)
	}
	out := &limited{most: maxDocument}
	cmd.Stdout = out
	return cmd, out
}

// limited keeps the first bytes that are written to it, most at most.
type limited struct {
	bytes.Buffer
	most int
	over bool
}

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > l.most {
		l.over = true
		return len(p), nil
	}
	return l.Buffer.Write(p)
}
