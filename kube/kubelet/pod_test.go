package kubelet

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/link"
)

// largeFile is a file of debian-python that nothing else reads, and largeSum what sha256sum
// prints of it.
const largeFile = "/opt/edits/large"

var largeSum = fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Repeat("0123456789abcdef", 700_000))))

// A pod of a lazy image runs before its image is there, is entered, and has logs.
func TestPodOfALazyImage(t *testing.T) {
	l := newLab(t, onlyDemand)
	ref := l.Push("debian-python", image.EStargz)
	before := l.Link.Counters().BytesDown
	pod := l.apply(sleeper("lazy", ref))
	if fetched := l.Link.Counters().BytesDown - before; fetched > 20e6 {
		t.Errorf("%.1f MB were fetched until it ran: the image is not lazy", float64(fetched)/1e6)
	}
	if out := l.exec(pod.Name, "python3", "-c", "print(6*7)"); out != "42\n" {
		t.Errorf("python3 prints %q", out)
	}
	l.wait("its log", func() error {
		log, err := l.k.Logs(l.Context(), pod.Name, "c")
		if err == nil && log != "started\n" {
			err = fmt.Errorf("the log is %q", log)
		}
		return err
	})
	l.remove(sleeper("lazy", ref))
}

// A pod runs on, in the same container, and reads what it never read before, whatever of
// the node is restarted or killed meanwhile; and new pods run afterwards.
func TestNodeIsRestartedBelowAPod(t *testing.T) {
	l := newLab(t, onlyDemand)
	ref := l.Push("debian-python", image.EStargz)
	pod := l.apply(sleeper("lazy", ref))
	others := 0
	for _, c := range []struct {
		name    string
		restart func()
	}{
		{"ladle is restarted", func() { l.signal(syscall.SIGHUP, "service: ready 2") }},
		{"ladle is killed", func() { l.signal(syscall.SIGUSR1, "service: ready 3") }},
		{"containerd is restarted", func() { l.restartContainerd() }},
		{"kubelet is killed", func() { l.k.Kill(); l.startKubelet(nil); l.running(pod.Name) }},
	} {
		c.restart()
		others++
		file := fmt.Sprintf("/usr/lib/python3.11/%s", []string{"ast.py", "ssl.py", "smtplib.py", "tarfile.py"}[others-1])
		if out := l.exec(pod.Name, "python3", "-c", "print(len(open('"+file+"').read())>9000)"); out != "True\n" {
			t.Errorf("%s: reading %s printed %q", c.name, file, out)
		}
		after := l.running(pod.Name)
		if after.Containers[0].ContainerID != pod.Containers[0].ContainerID || after.Containers[0].RestartCount != 0 {
			t.Errorf("%s: the container was %+v and is %+v", c.name, pod.Containers[0], after.Containers[0])
		}
		l.apply(sleeper(fmt.Sprintf("other-%d", others), ref))
	}
	if out := l.exec(pod.Name, "sha256sum", largeFile); !strings.HasPrefix(out, largeSum) {
		t.Errorf("the large file has the digest %s", out)
	}
}

func (l lab) restartContainerd() {
	l.Helper()
	if err := l.Node.StopContainerd(); err != nil {
		l.Fatal(err)
	}
	if err := l.Node.StartContainerd(l.Context()); err != nil {
		l.Fatal(err)
	}
}

// containerd is started while ladle is down, and forgets the images of ladle. When ladle is
// back, kubelet brings them back by a pull, which fetches nothing of them, and without a
// registry another start of containerd does.
func TestContainerdStartsWhileLadleIsDown(t *testing.T) {
	l := newLab(t, "")
	first, second := l.Push("busybox", image.EStargz), l.Push("busybox", image.ZstdChunked)
	l.apply(sleeper("first", first))
	l.apply(sleeper("second", second))
	l.signal(syscall.SIGUSR2, "service: down 1")
	l.restartContainerd()
	l.signal(syscall.SIGUSR1, "service: ready 2")
	l.remove(sleeper("first", first))
	l.apply(sleeper("first-again", first))

	l.remove(sleeper("second", second))
	if err := l.Link.Close(); err != nil {
		t.Fatal(err)
	}
	defer l.giveRegistry()
	l.restartContainerd()
	l.apply(sleeper("second-again", second))
}

func (l lab) giveRegistry() {
	l.Helper()
	again, err := l.Link.Again(link.Profile{})
	if err != nil {
		l.Fatal(err)
	}
	l.Link = again
}

// A node loses its power: all processes and mounts are gone. When it starts again, without
// a registry, its pods run again from what is on its disk.
func TestNodeRebootsOffline(t *testing.T) {
	l := newLab(t, "")
	ref, plain := l.Push("debian-python", image.EStargz), l.Push("busybox", image.Gzip)
	lazy := l.apply(sleeper("lazy", ref))
	l.apply(sleeper("plain", plain))
	before := l.exec(lazy.Name, "python3", "-c", python(readAll))
	if err := l.Link.Close(); err != nil {
		t.Fatal(err)
	}
	defer l.giveRegistry()
	l.crash()
	if err := l.Node.Daemon("ladle").Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.Node.StartContainerd(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.startKubelet(nil)
	for _, name := range []string{"lazy-node", "plain-node"} {
		l.wait(name+" runs again", func() error {
			all, err := l.k.Pods(t.Context())
			if err != nil {
				return err
			}
			s := all[name]
			if !s.Running() || s.Containers[0].ContainerID == lazy.Containers[0].ContainerID {
				return fmt.Errorf("%s", describe(s))
			}
			out, err := l.k.Exec(t.Context(), name, "c", "echo", "runs")
			if err == nil && out != "runs\n" {
				err = fmt.Errorf("it prints %q", out)
			}
			return err
		})
	}
	if after := l.exec("lazy-node", "python3", "-c", python(readAll)); after != before {
		t.Errorf("the files have the digest %s; before it was %s", after, before)
	}
}

// readAll prints a digest of the contents of all files of the image.
const readAll = `
import hashlib, os, stat
sum = hashlib.sha256()
for top in ("/usr", "/etc", "/var/lib", "/opt"):
    for dir, dirs, names in os.walk(top):
        dirs.sort()
        for name in sorted(names):
            path = os.path.join(dir, name)
            if stat.S_ISREG(os.lstat(path).st_mode) and path not in ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf"):
                with open(path, "rb") as f:
                    sum.update(f.read())
print(sum.hexdigest())
`

// python is a program in one word, as Exec needs it.
func python(program string) string { return fmt.Sprintf("exec(bytes.fromhex('%x'))", program) }

// crash ends all processes of the node as a loss of power does, and takes its mounts away.
func (l lab) crash() {
	l.Helper()
	l.k.Kill()
	if err := l.Node.Crash(); err != nil {
		l.Fatal(err)
	}
}
