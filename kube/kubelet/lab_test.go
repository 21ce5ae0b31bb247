package kubelet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/place"
	"github.com/ladle-dev/ladle/test/stack"
	"github.com/ladle-dev/ladle/test/stacktest"
)

// onlyDemand lets ladle fetch nothing but what somebody reads.
const onlyDemand = "noprefetch = true\nno_background_fetch = true\n"

// lab is a node with ladle below CRI, and a kubelet on it.
type lab struct {
	*stacktest.T
	k *Kubelet
}

// newLab starts a node whose ladle has this configuration, and is run as systemd runs it.
func newLab(t *testing.T, config string) lab {
	t.Helper()
	l := lab{T: stacktest.New(t, stack.Options{
		Daemons: []stack.Daemon{asService(t, stack.Ladle("ladle", config))}, CRISnapshotter: "ladle",
	})}
	l.Push("pause", image.Gzip)
	dir, err := os.MkdirTemp("/var/tmp", "kubelet-")
	if err != nil {
		t.Fatal(err)
	}
	if l.k, err = New(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(l.k.Log())
		}
		l.k.Kill()
		if err := RemovePods(context.WithoutCancel(t.Context()), l.Node.Address); err != nil {
			t.Error(err)
		}
		// kubelet has mounted its directory on itself.
		err := unix.Unmount(filepath.Join(dir, "root"), unix.MNT_DETACH)
		if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	l.startKubelet(nil)
	return l
}

func (l lab) startKubelet(more Settings) {
	l.Helper()
	if err := l.k.Start(l.Context(), l.Node.Address, more); err != nil {
		l.Fatal(err)
	}
}

// asService is d, run by internal/servicetest/service, which does as systemd.
func asService(t *testing.T, d stack.Daemon) stack.Daemon {
	t.Helper()
	root, err := place.Root()
	if err != nil {
		t.Fatal(err)
	}
	service := filepath.Join(t.TempDir(), "service")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", service, "./internal/servicetest/service")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	d.Before = append([]string{d.Binary}, d.Before...)
	d.Binary = service
	return d
}

// signal tells the service of ladle what to do, and waits for its answer.
func (l lab) signal(sig syscall.Signal, answer string) {
	l.Helper()
	d := l.Node.Daemon("ladle")
	if err := syscall.Kill(d.PID(), sig); err != nil {
		l.Fatal(err)
	}
	l.wait(answer, func() error {
		log, err := os.ReadFile(d.LogFile)
		if err == nil && !strings.Contains(string(log), answer+"\n") {
			err = fmt.Errorf("the log of ladle says nothing of it")
		}
		return err
	})
}

// wait polls until done returns nil, for at most three minutes: kubelet tries again what
// failed after pauses that grow.
func (l lab) wait(what string, done func() error) {
	l.Helper()
	deadline := time.Now().Add(3 * time.Minute)
	for {
		err := done()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			l.Fatalf("not within three minutes: %s: %v", what, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// apply has kubelet run a pod, and returns its status when it runs.
func (l lab) apply(p Pod) PodStatus {
	l.Helper()
	name, err := l.k.Apply(p)
	if err != nil {
		l.Fatal(err)
	}
	return l.running(name)
}

// running waits until a pod runs.
func (l lab) running(name string) (status PodStatus) {
	l.Helper()
	l.wait(name+" runs", func() error {
		all, err := l.k.Pods(l.Context())
		if err != nil {
			return err
		}
		if status = all[name]; !status.Running() {
			return fmt.Errorf("%s", describe(status))
		}
		return nil
	})
	return status
}

func describe(s PodStatus) string {
	text := "phase " + s.Phase
	for _, c := range s.Containers {
		if c.State.Waiting != nil {
			text += fmt.Sprintf(", %s waits: %s: %s", c.Name, c.State.Waiting.Reason, c.State.Waiting.Message)
		}
	}
	return text
}

// remove has kubelet end a pod, and waits until it is gone.
func (l lab) remove(p Pod) {
	l.Helper()
	if err := l.k.Delete(p); err != nil {
		l.Fatal(err)
	}
	l.wait(p.Name+" is gone", func() error {
		all, err := l.k.Pods(l.Context())
		if _, there := all[p.Name+"-"+nodeName]; err == nil && there {
			err = fmt.Errorf("it is there")
		}
		return err
	})
}

// exec runs a command in a container named c.
func (l lab) exec(pod string, command ...string) string {
	l.Helper()
	out, err := l.k.Exec(l.Context(), pod, "c", command...)
	if err != nil {
		l.Fatal(err)
	}
	return out
}

// sleeper is a pod with one container, c, that says started and sleeps.
func sleeper(name, ref string) Pod {
	return Pod{Name: name, Containers: []Container{{Name: "c", Image: ref, Command: sleep}}}
}

var sleep = []string{"sh", "-c", "echo started; exec sleep 100000"}
