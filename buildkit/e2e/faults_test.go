package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/test/link"
)

// Builds of one base at the same time, on both workers, while everything that
// no build uses is pruned over and over.
func TestBuildsAtOnce(t *testing.T) {
	l := newLab(t, labOptions{kinds: onLadle})
	var builds, prunes sync.WaitGroup
	ended := make(chan struct{})
	for _, kind := range onLadle {
		for i := range 2 {
			dir := l.project(map[string]string{"hello": "hello\n", "Dockerfile": fmt.Sprintf("ARG BASE\nFROM ${BASE}\n"+
				"RUN python3 -c 'import json' && echo %d >/number\nCOPY --link hello /etc/hello\nRUN cat /number /etc/hello >/all\n", i)})
			builds.Go(func() {
				if _, err := l.tryBuild(kind, dir, fmt.Sprint("at-once-", i), "rewrite-timestamp=true"); err != nil {
					t.Error(err)
				}
			})
		}
		prunes.Go(func() {
			for {
				select {
				case <-ended:
					return
				case <-time.After(100 * time.Millisecond):
				}
				if err := l.workers[kind].Prune(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	builds.Wait()
	close(ended)
	prunes.Wait()
	if t.Failed() {
		return
	}
	for i := range 2 {
		name := fmt.Sprintf("%s/at-once-%d:", l.Link.Addr(), i)
		for _, kind := range onLadle[1:] {
			if a, b := l.chain(name+onLadle[0]), l.chain(name+kind); !slices.Equal(a, b) {
				t.Errorf("build %d has layers %v and %v", i, a, b)
			}
		}
	}
}

// A build that a fault meets ends with success or an error, the next one
// works, and in the end nothing is left.
func TestFaults(t *testing.T) {
	l := newLab(t, labOptions{kinds: onLadle, config: "read_timeout_sec = 5\n"})
	daemon := l.Node.Daemon(plugin)
	kill := func(lab, string) { daemon.Kill() }
	start := func(l lab, _ string) { l.restartLadle() }
	for _, fault := range []struct {
		name       string
		begin, end func(l lab, kind string)
	}{
		{"ladle killed", kill, start},
		{"ladle killed and restarted", func(l lab, kind string) { kill(l, kind); start(l, kind) }, func(lab, string) {}},
		{"registry gone", func(l lab, _ string) { l.cut() }, func(l lab, _ string) { l.mend() }},
		{"buildkitd killed", func(l lab, kind string) { l.workers[kind].Kill() }, lab.restartWorker},
	} {
		for _, kind := range onLadle {
			t.Run(fault.name+"/"+kind, func(t *testing.T) {
				l := l.as(t)
				err := l.buildAnd(kind, func() { fault.begin(l, kind) })
				t.Logf("the build that met the fault: %v", lastLines(err))
				fault.end(l, kind)
				dir := l.project(map[string]string{"hello": "hello\n",
					"Dockerfile": "ARG BASE\nFROM ${BASE}\nRUN wc -c /etc/* >/sizes || true\nCOPY --link hello /etc/\nRUN cat /etc/hello /sizes\n"})
				l.build(kind, dir, "after")
				l.pruneAll()
			})
		}
	}
}

// restartWorker starts a worker again that was killed, and takes away what it
// left running or mounted, which it does not do itself.
func (l lab) restartWorker(kind string) {
	l.Helper()
	l.restart(l.workers[kind].Start)
	for id := range strings.FieldsSeq(l.Ctr("--namespace", "buildkit", "containers", "ls", "-q")) {
		l.Ctr("--namespace", "buildkit", "task", "rm", "--force", id)
		l.Ctr("--namespace", "buildkit", "containers", "rm", id)
	}
	l.removeRuncContainers(l.workers[kind].Dir)
	for _, point := range mountsBelow(l.TB, l.workers[kind].Dir) {
		l.Log("buildkitd left mounted: ", point)
		if err := unix.Unmount(point, unix.MNT_DETACH); err != nil {
			l.Errorf("unmount %s: %v", point, err)
		}
	}
}

// removeRuncContainers kills and removes the containers of an OCI worker.
func (l lab) removeRuncContainers(dir string) {
	l.Helper()
	out, err := exec.CommandContext(l.Context(), "runc", "list", "--format", "json").Output()
	if err != nil {
		l.Fatalf("runc list: %v", err)
	}
	var containers []struct{ ID, Bundle string }
	if err := json.Unmarshal(out, &containers); err != nil {
		l.Fatal(err)
	}
	for _, c := range containers {
		if !strings.HasPrefix(c.Bundle, dir+"/") {
			continue
		}
		if out, err := exec.CommandContext(l.Context(), "runc", "delete", "--force", c.ID).CombinedOutput(); err != nil {
			l.Errorf("runc delete: %v\n%s", err, out)
		}
	}
}

// A restart between builds is not noticed.
func TestRestartBetweenBuilds(t *testing.T) {
	l := newLab(t, labOptions{kinds: onLadle})
	daemon := l.Node.Daemon(plugin)
	stop := func() {
		if err := daemon.Stop(); err != nil {
			t.Error(err)
		}
	}
	dir := l.context()
	build := func(last string) {
		write(t, filepath.Join(dir, "Dockerfile"), "ARG BASE\nFROM ${BASE}\nCOPY --link src /etc/src\nRUN rm -r /etc/src /etc/apt\nRUN echo "+last+" >/last\n")
		for _, kind := range onLadle {
			l.build(kind, dir, "restarted")
		}
	}
	build("first")
	for _, end := range []struct {
		how string
		do  func()
	}{{"stopped", stop}, {"killed", daemon.Kill}} {
		end.do()
		l.restartLadle()
		build(end.how)
	}
	l.pruneAll()
}

// reader reads everything below /usr until a read fails.
const reader = `ARG BASE
FROM ${BASE}
RUN python3 -c "import os; [open(os.path.join(d, f), 'rb').read() for d, _, fs in os.walk('/usr') for f in fs if os.path.isfile(os.path.join(d, f))]"
`

// buildAnd builds something that reads the whole base, and calls fault once it
// reads. It returns how the build ended.
func (l lab) buildAnd(kind string, fault func()) error {
	l.Helper()
	dir := l.project(map[string]string{"Dockerfile": reader})
	l.Link.SetProfile(link.Profile{Bandwidth: 200e6}) // it shall not be over too soon
	defer func() { l.Link.SetProfile(link.Profile{}) }()
	l.Link.Reset()
	ended := make(chan error, 1)
	go func() {
		_, err := l.tryBuild(kind, dir, "", "")
		ended <- err
	}()
	for l.Link.Counters().BytesDown < 20_000_000 {
		select {
		case err := <-ended:
			l.Fatalf("the build ended before it had read: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	fault()
	return <-ended
}

// lastLines is the end of an error: what buildctl says in the end.
func lastLines(err error) string {
	if err == nil {
		return "success"
	}
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], "\n")
}
