package e2e

import (
	"crypto/sha256"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/link"
	"github.com/ladle-dev/ladle/test/stack"
)

// Files of debian-python: one that a test reads while the registry is there,
// and one that it does not.
const (
	readFile   = "/usr/lib/os-release"
	unreadFile = "/opt/edits/large"
)

// unreadSum is what sha256sum prints of unreadFile.
var unreadSum = fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Repeat("0123456789abcdef", 700_000))))

// takeRegistry lets nobody connect to the registry any more.
func (l lab) takeRegistry() {
	l.Helper()
	if err := l.Link.Close(); err != nil {
		l.Fatal(err)
	}
}

// giveRegistry undoes takeRegistry.
func (l lab) giveRegistry() {
	l.Helper()
	again, err := l.Link.Again(link.Profile{})
	if err != nil {
		l.Fatal(err)
	}
	l.Link = again
}

// muteRegistry lets the registry accept connections and say nothing, until
// the returned function is called.
func (l lab) muteRegistry() (speak func()) {
	l.Helper()
	l.takeRegistry()
	mute, err := net.Listen("tcp", l.Link.Addr())
	if err != nil {
		l.Fatal(err)
	}
	return func() {
		mute.Close()
		l.giveRegistry()
	}
}

// detached starts a container that sleeps.
func (l lab) detached(snapshotter, ref string) (id string) {
	l.Helper()
	return l.detachedWith(snapshotter, ref, "sleep", "100000")
}

// detachedWith starts a container that runs a command.
func (l lab) detachedWith(snapshotter, ref string, args ...string) (id string) {
	l.Helper()
	id, err := l.Node.RunDetached(l.Context(), stack.Container{Snapshotter: snapshotter, Ref: ref, Args: args})
	if err != nil {
		l.Fatal(err)
	}
	return id
}

// shell runs a script in a container and returns what it printed.
func (l lab) shell(id, script string) string {
	l.Helper()
	out, err := l.Node.Exec(l.Context(), id, "sh", "-ec", script)
	if err != nil {
		l.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// gone is how containers get on while the registry does not.
func gone(t *testing.T, away func(l lab) (back func())) {
	const quick = "read_timeout_sec = 8\n[blob]\nmax_retries = 1\nfetching_timeout_sec = 5\n[resolver]\nrequest_timeout_sec = 5\n"
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			t.Parallel() // each has daemons of its own, and waits for the registry
			l := newLab(t, stack.Ladle("ladle", fmt.Sprintf("driver = %q\n%s%s", driver, onlyDemand, quick)))
			ref := l.Push("debian-python", image.EStargz)
			l.Pull("ladle", ref)
			id := l.detached("ladle", ref)
			const local = "cat " + readFile + " | sha256sum && ls -lR /usr > /tree && wc -l < /tree"
			before := l.shell(id, local)
			back := away(l)
			if after := l.shell(id, local); after != before {
				t.Errorf("without the registry, the shell prints %q, and with it %q", after, before)
			}
			began := time.Now()
			out := l.shell(id, "if cat "+unreadFile+" > /dev/null 2> /said; then echo read it; else cat /said; fi")
			if !strings.Contains(out, "Input/output error") {
				t.Errorf("without the registry, cat says %q", out)
			}
			t.Logf("EIO after %.1f s", time.Since(began).Seconds())
			back()
			// The kernel repeats a READ that failed at once, and with the loop driver
			// what comes within 50 ms is taken for that (fs/late.go).
			if sum := l.shell(id, "sleep 0.1; sha256sum < "+unreadFile); !strings.HasPrefix(sum, unreadSum) {
				t.Errorf("with the registry back, the file has digest %s; want %s", sum, unreadSum)
			}
		})
	}
}

// The registry refuses connections.
func TestRegistryIsDown(t *testing.T) {
	gone(t, func(l lab) func() {
		l.takeRegistry()
		return l.giveRegistry
	})
}

// The registry accepts connections and does not answer.
func TestRegistryIsSilent(t *testing.T) {
	gone(t, lab.muteRegistry)
}

// A reader that waits for a silent registry can be killed, however long it
// would wait: one that reads, and one that is being started from such a file.
func TestWaitingReaderCanBeKilled(t *testing.T) {
	const patient = "read_timeout_sec = 3600\n[blob]\nfetching_timeout_sec = 3600\n[resolver]\nrequest_timeout_sec = 3600\n"
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			l := newLab(t, stack.Ladle("ladle", fmt.Sprintf("driver = %q\n%s%s", driver, onlyDemand, patient)))
			ref := l.Push("debian-python", image.EStargz)
			l.Pull("ladle", ref)
			id := l.detached("ladle", ref)
			l.shell(id, "cat /dev/null; sleep 0; sh -c 'kill -9 $$' || true")
			speak := l.muteRegistry()
			out := l.shell(id, `
				cat `+unreadFile+` > /dev/null & reader=$!
				(exec /opt/edits/python3 -V) & starter=$!
				sleep 1
				kill -9 $reader $starter
				wait $reader || echo reader $?
				wait $starter || echo starter $?`)
			if out != "reader 137\nstarter 137" {
				t.Errorf("the shell printed %q", out)
			}
			speak()
		})
	}
}
