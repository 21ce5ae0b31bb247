package fs

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// children are what this program does when it is started as a child of a test.
var children = map[string]func(args []string) error{
	"read":      childRead,
	"touch":     childTouch,
	"populate":  childPopulate,
	"daemon":    childDaemon,
	"whole":     childWhole,
	"successor": childSuccessor,
	"rootless":  childRootless,
}

const childVariable = "LADLE_FS_TEST_CHILD"

func TestMain(m *testing.M) {
	if name := os.Getenv(childVariable); name != "" {
		if err := children[name](os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// process is a child of a test. It is killed when the test ends, at the
// latest.
type process struct {
	*exec.Cmd
	out    *bufio.Reader
	exited chan error // has the result of Wait
}

func startChild(t testing.TB, name string, files []*os.File, args ...string) *process {
	t.Helper()
	c := prepareChild(t, name, files, args...)
	c.start(t)
	return c
}

func prepareChild(t testing.TB, name string, files []*os.File, args ...string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), childVariable+"="+name)
	cmd.ExtraFiles = files
	cmd.Stderr = os.Stderr
	return &process{Cmd: cmd, exited: make(chan error, 1)}
}

func (c *process) start(t testing.TB) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	t.Cleanup(func() { r.Close() })
	c.Stdout, c.out = w, bufio.NewReader(r)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		c.exited <- c.Wait()
		close(c.exited)
	}()
	t.Cleanup(func() { c.kill(t) })
}

// kill kills c and fails the test if c does not die of it.
func (c *process) kill(t testing.TB) {
	t.Helper()
	_ = c.Process.Kill() // it may be gone already
	c.wait(t)
}

// wait returns how c ended.
func (c *process) wait(t testing.TB) error {
	t.Helper()
	select {
	case err := <-c.exited:
		return err
	case <-time.After(time.Minute):
		t.Fatal("child does not exit")
		return nil
	}
}

// line reads a line that c prints, or fails the test.
func (c *process) line(t testing.TB) string {
	t.Helper()
	type result struct {
		line string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		line, err := c.out.ReadString('\n')
		done <- result{strings.TrimSpace(line), err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			t.Fatalf("child ended: %v %q", r.err, r.line)
		}
		return r.line
	case <-time.After(time.Minute):
		t.Fatal("child says nothing")
		return ""
	}
}

// childRead reads a file and prints its length, or how it failed. Unlike
// package os it does not repeat a read that was interrupted.
func childRead(args []string) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGUSR1) // handled, so that it interrupts
	fd, err := unix.Open(args[0], unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	fmt.Println("opened")
	buf := make([]byte, 64<<10)
	for total := 0; ; {
		n, err := unix.Read(fd, buf)
		if n <= 0 {
			fmt.Println(total, err)
			return nil
		}
		total += n
	}
}

// childTouch maps a file, without readahead, and sums up its pages: a fault
// that fails kills it.
func childTouch(args []string) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGUSR1)
	p, err := mapFile(args[0])
	if err != nil {
		return err
	}
	if err := unix.Madvise(p, unix.MADV_RANDOM); err != nil {
		return err
	}
	fmt.Println("opened")
	sum := 0
	for i := 0; i < len(p); i += 4096 {
		sum += int(p[i])
	}
	fmt.Println(len(p), sum)
	return nil
}

// mapFile maps a file for reading, until the process ends.
func mapFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
}
