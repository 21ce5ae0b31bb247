package main

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// asReader in the environment makes the test program run as a reader: the
// process of a container. A test itself must not touch a mount that may have
// no server.
const asReader = "LADLE_TEST_RUN_AS_READER"

// readerMain does what it is told, a line at a time, and answers each with a
// line: the digest of what it read, or the error.
func readerMain(in io.Reader, out io.Writer) {
	debug.SetPanicOnFault(true)
	var f *os.File
	var mapped []byte
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var off, size int64
		var answer any
		verb, arg, _ := strings.Cut(lines.Text(), " ")
		_, _ = fmt.Sscan(arg, &off, &size) // the other verbs have none
		switch verb {
		case "open":
			var err error
			if f, err = os.Open(arg); err == nil {
				mapped, err = mapAll(f)
			}
			answer = fmt.Sprint(err)
		case "read":
			b := make([]byte, size)
			_, err := f.ReadAt(b, off)
			answer = digested(b, err)
		case "fault":
			b := make([]byte, size)
			err := copyOut(b, mapped[off:])
			answer = digested(b, err)
		case "whole":
			b, err := os.ReadFile(arg)
			answer = digested(b, err)
		}
		fmt.Fprintln(out, answer)
	}
}

func mapAll(f *os.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_PRIVATE)
}

// copyOut is copy, and returns an error in place of SIGBUS.
func copyOut(to, from []byte) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("%v", fault)
		}
	}()
	copy(to, from)
	return nil
}

func digested(b []byte, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	return fmt.Sprintf("%x", sha256.Sum256(b))
}

// reader is a child that reads.
type reader struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Scanner
}

// startReader starts a reader, which has the file at path open and mapped.
func startReader(t *testing.T, path string) *reader {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), asReader+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended by now
		_ = cmd.Wait()         // killed
	})
	r := &reader{t: t, in: in, out: bufio.NewScanner(out)}
	r.begin("open " + path)
	if answer := r.answer(); answer != "<nil>" {
		t.Fatalf("open %s: %s", path, answer)
	}
	return r
}

// begin tells the reader to do something.
func (r *reader) begin(what string) {
	r.t.Helper()
	if _, err := fmt.Fprintln(r.in, what); err != nil {
		r.t.Fatal(err)
	}
}

// answer waits for the answer to the oldest begin.
func (r *reader) answer() string {
	r.t.Helper()
	if !r.out.Scan() {
		r.t.Fatalf("the reader has ended: %v", r.out.Err())
	}
	return r.out.Text()
}

// wants waits for an answer and compares it.
func (r *reader) wants(want string) {
	r.t.Helper()
	if got := r.answer(); got != want {
		r.t.Errorf("the reader says %q, want %q", got, want)
	}
}

// fails waits for an answer, which must be an error.
func (r *reader) fails() {
	r.t.Helper()
	if got := r.answer(); !strings.HasPrefix(got, "error: ") {
		r.t.Errorf("the reader says %q, want an error", got)
	}
}
