package stack_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/link"
	"github.com/ladle-dev/ladle/test/stack"
	"github.com/ladle-dev/ladle/test/stacktest"
)

func TestOverlayfsPullsThroughTheLinkAndRuns(t *testing.T) {
	s := stacktest.New(t, stack.Options{Profile: link.Profile{RTT: 5 * time.Millisecond, Bandwidth: 1e9}})
	ref := s.Push("debian-python", image.Gzip)
	if k := s.Link.Counters(); k.Requests != 0 {
		t.Errorf("pushing took %d requests through the link", k.Requests)
	}
	s.Pull("overlayfs", ref)
	if k := s.Link.Counters(); k.Requests < 5 || k.BytesDown < 50e6 {
		t.Errorf("pulling took %+v; want the manifest, the config and three layers", k)
	}
	out := s.Run("overlayfs", ref, "python3", "-c", "print(6*7)")
	if strings.TrimSpace(out) != "42" {
		t.Errorf("the command printed %q", out)
	}
}

// Every format is an ordinary image for a client that knows nothing of it.
func TestEveryFormatRunsOnOverlayfs(t *testing.T) {
	s := stacktest.New(t, stack.Options{})
	for _, f := range image.Formats() {
		ref := s.Push("busybox", f)
		s.Pull("overlayfs", ref)
		if out := s.Run("overlayfs", ref, "/bin/sh", "-c", "echo $0 runs"); out != "/bin/sh runs\n" {
			t.Errorf("%s printed %q", f, out)
		}
	}
}

func TestEditsAreApplied(t *testing.T) {
	s := stacktest.New(t, stack.Options{})
	ref := s.Push("debian-python", image.EStargz)
	s.Pull("overlayfs", ref)
	s.Run("overlayfs", ref, "sh", "-exc", `
		test ! -e /usr/share/doc/bash
		test ! -e /etc/issue.net
		test -f /usr/share/doc/tar
		test -f /etc/issue/text
		test "$(ls /etc/cron.daily)" = only
		test /srv/py -ef /usr/local/bin/py
		test -p /opt/edits/fifo
		test -u /opt/edits/setuid
		test "$(stat -c %u:%g /opt/edits/sub/dir/secret)" = 100000:65534
		test "$(/srv/py -c 'import os; print(os.getxattr("/opt/edits/xattrs", "user.ladle.binary").hex())')" = 00010aff
		test "$(/srv/py -c 'import os; print(len(os.getxattr("/usr/local/bin/cap-cat", "security.capability")))')" = 20
	`)
}

func TestDetachedContainerIsRemovedOnClose(t *testing.T) {
	s := stacktest.New(t, stack.Options{})
	ref := s.Push("pause", image.Gzip)
	s.Pull("overlayfs", ref)
	id, err := s.Node.RunDetached(t.Context(), stack.Container{Snapshotter: "overlayfs", Ref: ref})
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Node.Exec(t.Context(), id, "busybox", "echo", "inside")
	if err != nil || out != "inside\n" {
		t.Errorf("exec printed %q, %v", out, err)
	}
}

func TestContainerdRestarts(t *testing.T) {
	s := stacktest.New(t, stack.Options{})
	ref := s.Push("busybox", image.Gzip)
	s.Pull("overlayfs", ref)
	if err := s.Node.StopContainerd(); err != nil {
		t.Fatal(err)
	}
	if err := s.Node.StartContainerd(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Run("overlayfs", ref, "true")
}

// What a command prints is returned whole, also if it is read when the command has ended:
// ctr closes its end of the pipe then, and drops what is in it.
func TestOutputIsWhole(t *testing.T) {
	s := stacktest.New(t, stack.Options{})
	ref := s.Push("busybox", image.Gzip)
	s.Pull("overlayfs", ref)
	const last = 30_000 // all of it fits into the pipes on the way
	out, err := s.Node.Run(t.Context(), stack.Container{
		Snapshotter: "overlayfs", Ref: ref, Output: &late{}, Args: []string{"seq", fmt.Sprint(last)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Fields(out); len(lines) != last {
		t.Errorf("%d lines were printed, want %d", len(lines), last)
	}
}

// late takes its first bytes late, and all others at once.
type late struct{ once sync.Once }

func (l *late) Write(p []byte) (int, error) {
	l.once.Do(func() { time.Sleep(2 * time.Second) })
	return len(p), nil
}

// A command that fails is an error with the code and what was printed.
func TestErrorOfACommand(t *testing.T) {
	s := stacktest.New(t, stack.Options{})
	ref := s.Push("busybox", image.Gzip)
	s.Pull("overlayfs", ref)
	id, err := s.Node.RunDetached(t.Context(), stack.Container{Snapshotter: "overlayfs", Ref: ref, Args: []string{"sleep", "100000"}})
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"sh", "-c", "echo out; echo why >&2; exit 3"}
	_, err = s.Node.Exec(t.Context(), id, args...)
	_, runErr := s.Node.Run(t.Context(), stack.Container{Snapshotter: "overlayfs", Ref: ref, Args: args})
	for _, err := range []error{err, runErr} {
		if err == nil || !strings.Contains(err.Error(), "exit status 3\nout\nwhy\n") {
			t.Errorf("the error is %q", err)
		}
	}
	if left := strings.Fields(s.Ctr("containers", "ls", "-q")); len(left) != 1 {
		t.Errorf("there are the containers %q", left)
	}
}
