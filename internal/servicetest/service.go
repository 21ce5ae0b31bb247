package servicetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Options say what a service runs. Socket is needed, and Command for Launch.
type Options struct {
	Command []string
	Env     []string // more of the environment
	Output  io.Writer
	Socket  string // where the notification socket is made
	// StoreMax is how many descriptors are kept: FileDescriptorStoreMax.
	StoreMax int
}

// Service runs one main process at a time. It is used by one goroutine, but
// for Stored, Pass and Notified.
type Service struct {
	opts  Options
	store store
	conn  *net.UnixConn

	cmd    *exec.Cmd
	exited chan struct{} // closed when the process has ended
	err    error         // then: how

	mu struct {
		sync.Mutex
		told []string      // since the last Launch
		more chan struct{} // closed, and another made, when there is more
	}
}

// New makes a service. The caller closes it.
func New(o Options) (*Service, error) {
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: o.Socket, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("servicetest: %w", err)
	}
	s := &Service{opts: o, conn: conn, store: store{max: o.StoreMax}}
	s.mu.more = make(chan struct{})
	go s.listen()
	return s, nil
}

// Close kills the process, if there is one, and drops what is kept.
func (s *Service) Close() error {
	s.Kill()
	s.Drop()
	return s.conn.Close()
}

// Env replaces the additions to the environment of the next process.
func (s *Service) Env(env ...string) { s.opts.Env = env }

// Launch starts a process and passes it what is kept.
func (s *Service) Launch() error {
	files, err := s.Pass()
	var names []string
	for _, f := range files {
		defer f.Close()
		names = append(names, f.Name())
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.mu.told = nil
	s.mu.Unlock()
	// LISTEN_PID must be the process's own, so a shell sets it.
	s.cmd = exec.Command("/bin/sh", append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`}, s.opts.Command...)...)
	s.cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+s.opts.Socket,
		"LISTEN_FDS="+strconv.Itoa(len(files)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	s.cmd.Env = append(s.cmd.Env, s.opts.Env...)
	s.cmd.ExtraFiles = files
	s.cmd.Stdout, s.cmd.Stderr = s.opts.Output, s.opts.Output
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("servicetest: %w", err)
	}
	s.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		s.err = cmd.Wait()
		close(exited)
	}(s.cmd, s.exited)
	return nil
}

// Ready waits until the process says that it is ready. It is an error if the
// process ends before.
func (s *Service) Ready(ctx context.Context) error {
	for {
		s.mu.Lock()
		more, ready := s.mu.more, slices.Contains(s.mu.told, "READY=1")
		s.mu.Unlock()
		if ready {
			return nil
		}
		select {
		case <-more:
		case <-s.exited:
			return fmt.Errorf("servicetest: the process ended: %w", errors.Join(s.err, errors.New("before it was ready")))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Notified reports whether the process has told note.
func (s *Service) Notified(note string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.mu.told, note)
}

// Signal sends sig to the process and waits until it has ended. It returns how.
func (s *Service) Signal(ctx context.Context, sig syscall.Signal) error {
	if err := s.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("servicetest: %w", err)
	}
	return s.Wait(ctx)
}

// Wait waits until the process has ended. It returns how.
func (s *Service) Wait(ctx context.Context) error {
	select {
	case <-s.exited:
		return s.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Kill ends the process at once, if there is one.
func (s *Service) Kill() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	_ = s.cmd.Process.Kill() // it may have ended by now
	<-s.exited
}

// Restart is systemctl restart, for a unit whose RestartKillSignal is SIGTERM.
func (s *Service) Restart(ctx context.Context) error {
	if err := s.Signal(ctx, syscall.SIGTERM); err != nil {
		return err
	}
	if err := s.Launch(); err != nil {
		return err
	}
	return s.Ready(ctx)
}

// listen receives notifications until Close.
func (s *Service) listen() {
	state, rights := make([]byte, 4096), make([]byte, unix.CmsgSpace(64*4))
	for {
		n, m, _, _, err := s.conn.ReadMsgUnix(state, rights)
		if err != nil {
			return
		}
		lines := strings.Split(string(state[:n]), "\n")
		s.store.receive(lines, descriptors(rights[:m]))
		s.mu.Lock()
		s.mu.told = append(s.mu.told, lines...)
		close(s.mu.more)
		s.mu.more = make(chan struct{})
		s.mu.Unlock()
	}
}

// descriptors returns what came with a message.
func descriptors(rights []byte) (fds []int) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil
	}
	for i := range messages {
		if got, err := unix.ParseUnixRights(&messages[i]); err == nil {
			fds = append(fds, got...)
		}
	}
	return fds
}
