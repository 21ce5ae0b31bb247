package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/ladle-dev/ladle/test/place"
)

const (
	stopTimeout  = 30 * time.Second // then the process is killed
	pollInterval = 5 * time.Millisecond
)

// Process is a program that runs as a child process, one at a time, with its
// output in a file. The zero value has not been started. Its methods belong to
// the child that was started last, also those that were taken as values before.
type Process struct {
	name    string
	cmd     *exec.Cmd
	logFile string
	exited  chan struct{} // closed when the child has been waited for; nil before the first
	err     error         // how it ended; read after exited
}

// Options say how a process is started.
type Options struct {
	Name string   // for errors
	Log  string   // the file that its output is appended to
	Env  []string // added to the environment
	Argv []string
}

// Start starts a child, again after Stop or Kill. It is in a process group of its
// own, so that a Ctrl-C at the terminal reaches this process only, which then
// stops its children in order.
func (p *Process) Start(o Options) error {
	if p.Running() {
		return fmt.Errorf("%s is running", o.Name)
	}
	out, err := os.OpenFile(o.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd, exited := exec.Command(o.Argv[0], o.Argv[1:]...), make(chan struct{})
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(Environment(), o.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// Pdeathsig is sent when the thread ends that started the child.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(exited)
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("%s: %w", o.Name, err)
	}
	p.name, p.cmd, p.logFile, p.exited = o.Name, cmd, o.Log, exited
	return nil
}

// Environment is this process's, with the installed components first in PATH
// and their tracing switched off.
func Environment() []string {
	env := append(os.Environ(), "OTEL_TRACES_EXPORTER=none", "OTEL_METRICS_EXPORTER=none", "OTEL_LOGS_EXPORTER=none")
	if cache, err := place.Cache(); err == nil {
		env = append(env, "PATH="+filepath.Join(cache, "bin")+":"+os.Getenv("PATH"))
	}
	return env
}

// Ready waits until check succeeds, for timeout at most. The error of a process
// that ends or does not get ready holds the end of its log.
func (p *Process) Ready(ctx context.Context, timeout time.Duration, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("%s ended: %s: %w\n%s", p.name, lastWords(p.Log()), errors.Join(p.err, err), p.Log())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w\n%s", p.name, errors.Join(ctx.Err(), err), p.Log())
		case <-time.After(pollInterval):
		}
	}
}

// Stop ends the process and waits until it is gone.
func (p *Process) Stop() error {
	if !p.Running() {
		return nil
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
		return nil
	case <-time.After(stopTimeout):
	}
	p.Kill()
	return fmt.Errorf("%s did not stop within %v and was killed\n%s", p.name, stopTimeout, p.Log())
}

// Kill ends the process as kill -9 does and waits until it is gone.
func (p *Process) Kill() {
	if !p.Running() {
		return
	}
	p.cmd.Process.Kill()
	<-p.exited
}

// Running reports whether the process was started and has not ended.
func (p *Process) Running() bool {
	if p.exited == nil {
		return false
	}
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Log is the end of the process's output.
func (p *Process) Log() string { return LogTail(p.name, p.logFile) }

// lastWords is the line in which a program says why it ends: the first one after its
// last record, that is, a line with a level, as stack traces follow it; or that record.
func lastWords(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	record := len(lines) - 1
	for record > 0 && !strings.Contains(lines[record], "level=") {
		record--
	}
	return lines[min(record+1, len(lines)-1)]
}

// LogTail is the end of the output of a process of that name, which may have
// ended long ago.
func LogTail(name, file string) string {
	const most = 8000
	data, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("--- %s (%s)\n%s", name, file, data[max(0, len(data)-most):])
}
