package host

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// service is the process of a unit of Type=notify.
type service struct {
	cmd    *exec.Cmd
	conn   *net.UnixConn
	ready  chan struct{} // closed when the process has said that it is ready
	exited chan struct{} // closed when it has ended
	err    error         // then: how
}

// startService starts a process, and waits until it is ready. It is an error if it ends before.
func startService(ctx context.Context, argv []string, socket string, output *buffer) (*service, error) {
	_ = os.Remove(socket)
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	s := &service{cmd: exec.Command(argv[0], argv[1:]...), conn: conn, ready: make(chan struct{}), exited: make(chan struct{})}
	s.cmd.Env = append(slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "OTEL_") }), "NOTIFY_SOCKET="+socket)
	s.cmd.Stdout, s.cmd.Stderr = output, output
	if err := s.cmd.Start(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.exited)
	}()
	go s.listen()
	select {
	case <-s.ready:
		return s, nil
	case <-s.exited:
		err = errors.New("the process ended before it was ready")
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.kill()
	return nil, errors.Join(err, s.err)
}

func (s *service) listen() {
	ready := sync.OnceFunc(func() { close(s.ready) })
	for buf := make([]byte, 4096); ; {
		n, err := s.conn.Read(buf)
		if err != nil {
			return
		}
		if slices.Contains(strings.Split(string(buf[:n]), "\n"), "READY=1") {
			ready()
		}
	}
}

func (s *service) running() bool {
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

// stop sends sig, and waits until the process has ended.
func (s *service) stop(ctx context.Context, sig syscall.Signal) {
	_ = s.cmd.Process.Signal(sig) // it may have ended by now
	select {
	case <-s.exited:
	case <-ctx.Done():
	}
	s.kill()
}

func (s *service) kill() {
	_ = s.cmd.Process.Kill() // it may have ended by now
	<-s.exited
	_ = s.conn.Close()
}

// buffer is what processes print.
type buffer struct {
	mu struct {
		sync.Mutex
		bytes.Buffer
	}
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.Buffer.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.Buffer.String()
}
