package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/ladle-dev/ladle/test/place"
)

const (
	readyTimeout = 60 * time.Second
	stopTimeout  = 30 * time.Second // then it is killed
	pollInterval = 50 * time.Millisecond
)

// process is a child process with its output in a file.
type process struct {
	cmd    *exec.Cmd
	log    string
	exited chan struct{} // closed when the process has been waited for
	err    error         // how it ended; read after exited
}

// startProcess starts argv with output appended to the file log, and env added
// to the environment.
func startProcess(log string, env, argv []string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	defer out.Close()
	p := &process{cmd: exec.Command(argv[0], argv[1:]...), log: log, exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Env = out, out, append(environment(), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// Pdeathsig is sent when the thread ends that started the child.
		runtime.LockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	return p, nil
}

// environment is this process's, with the components first in PATH, and no
// tracing.
func environment() []string {
	env := append(os.Environ(), "OTEL_TRACES_EXPORTER=none", "OTEL_METRICS_EXPORTER=none")
	if cache, err := place.Cache(); err == nil {
		env = append(env, "PATH="+filepath.Join(cache, "bin")+":"+os.Getenv("PATH"))
	}
	return env
}

// ready waits until check succeeds.
func (p *process) ready(ctx context.Context, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("worker: buildkitd ended: %w\n%s", errors.Join(p.err, err), p.Log())
		case <-ctx.Done():
			return fmt.Errorf("worker: buildkitd is not ready: %w\n%s", errors.Join(ctx.Err(), err), p.Log())
		case <-time.After(pollInterval):
		}
	}
}

// Close stops buildkitd and waits until it is gone.
func (p *process) Close() error {
	select {
	case <-p.exited:
		return nil
	default:
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("worker: stop buildkitd: %w", err)
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(stopTimeout):
	}
	p.Kill()
	return fmt.Errorf("worker: buildkitd did not stop within %v and was killed\n%s", stopTimeout, p.Log())
}

// Kill ends buildkitd as kill -9 does and waits until it is gone.
func (p *process) Kill() {
	_ = p.cmd.Process.Kill() // it fails only if the process has ended
	<-p.exited
}

// Log is the end of what buildkitd has logged.
func (p *process) Log() string {
	const most = 8000
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("--- %s\n%s", p.log, data[max(0, len(data)-most):])
}
