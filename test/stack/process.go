package stack

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
	readyTimeout = 30 * time.Second
	stopTimeout  = 30 * time.Second // then the process is killed
	pollInterval = 5 * time.Millisecond
)

// process is a child process with its output in a file.
type process struct {
	name    string
	cmd     *exec.Cmd
	logFile string
	exited  chan struct{} // closed when the process has been waited for
	err     error         // how it ended; read after exited
}

// startProcess starts argv with output appended to dir/name.log. The child is
// in a process group of its own, so that a Ctrl-C at the terminal reaches this
// process only, which then stops its children in order.
func startProcess(name, dir string, argv []string) (*process, error) {
	logFile := filepath.Join(dir, name+".log")
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("stack: %w", err)
	}
	defer out.Close()
	p := &process{name: name, cmd: exec.Command(argv[0], argv[1:]...), logFile: logFile, exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.Env = environment()
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// Pdeathsig is sent when the thread ends that started the child.
		runtime.LockOSThread()
		if err := p.cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("stack: %s: %w", name, err)
	}
	return p, nil
}

// environment is this process's, with the installed components first in PATH
// and the registry's tracing switched off.
func environment() []string {
	env := append(os.Environ(), "OTEL_TRACES_EXPORTER=none", "OTEL_METRICS_EXPORTER=none", "OTEL_LOGS_EXPORTER=none")
	if cache, err := place.Cache(); err == nil {
		env = append(env, "PATH="+filepath.Join(cache, "bin")+":"+os.Getenv("PATH"))
	}
	return env
}

// ready waits until check succeeds. The error of a process that ends or does
// not get ready holds the end of its log.
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
			return fmt.Errorf("stack: %s ended: %w\n%s", p.name, errors.Join(p.err, err), p.logTail())
		case <-ctx.Done():
			return fmt.Errorf("stack: %s is not ready: %w\n%s", p.name, errors.Join(ctx.Err(), err), p.logTail())
		case <-time.After(pollInterval):
		}
	}
}

// stop ends the process and waits until it is gone.
func (p *process) stop() error {
	if !p.running() {
		return nil
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
		return nil
	case <-time.After(stopTimeout):
	}
	p.kill()
	return fmt.Errorf("stack: %s did not stop within %v and was killed\n%s", p.name, stopTimeout, p.logTail())
}

// kill ends the process as kill -9 does and waits until it is gone.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.exited
}

func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// logTail is the end of the process's output.
func (p *process) logTail() string { return logTail(p.name, p.logFile) }

func logTail(name, file string) string {
	const most = 8000
	data, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("--- %s (%s)\n%s", name, file, data[max(0, len(data)-most):])
}
