package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/link"
	"github.com/ladle-dev/ladle/test/place"
	"github.com/ladle-dev/ladle/test/stack"
	"github.com/ladle-dev/ladle/test/stacktest"
)

// hashAll prints a digest of every regular file, each once, in four threads.
const hashAll = `
import concurrent.futures, hashlib, os, stat
def files():
    for top in ("/usr", "/etc", "/var", "/opt"):
        for dir, dirs, names in os.walk(top):
            for name in names:
                path = os.path.join(dir, name)
                if stat.S_ISREG(os.lstat(path).st_mode):
                    yield path
def digest(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest() + " " + repr(path)
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    for line in pool.map(digest, sorted(files())):
        print(line, flush=True)
print("done")
`

// TestHandover restarts the daemon while a container reads files that it never
// read before. It reads the right bytes, and others can pull and run.
func TestHandover(t *testing.T) {
	var want []string // what a container reads on overlayfs
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) { testHandover(t, driver, &want) })
	}
}

// testHandover sets want unless it is set.
func testHandover(t *testing.T, driver string, want *[]string) {
	s := stacktest.New(t, stack.Options{
		Daemons: []stack.Daemon{asService(t, stack.Ladle("ladle", fmt.Sprintf("driver = %q\n%s", driver, onlyDemand)))},
	})
	ref := s.Push("debian-python", image.EStargz)
	if *want == nil {
		s.Pull("overlayfs", ref)
		*want = sorted(s.Run("overlayfs", ref, "python3", "-c", hashAll))
	}
	s.Link.SetProfile(link.Profile{RTT: 5 * time.Millisecond, Bandwidth: 200e6})
	s.Pull("ladle", ref)

	var out lines
	ended := make(chan error, 1)
	go func() {
		_, err := s.Node.Run(s.Context(), stack.Container{
			Snapshotter: "ladle", Ref: ref, Args: []string{"python3", "-c", hashAll}, Output: &out,
		})
		ended <- err
	}()
	const restarts = 5
	formats := []image.Format{image.EStargz, image.EStargzPrefetch, image.ZstdChunked, image.Gzip, image.EStargzExternalTOC}
	for i := range restarts {
		wait(t, "the container to read on", func() bool { return out.count() > len(*want)*(i+1)/(restarts+2) })
		sig := []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1}[i%2]
		if err := syscall.Kill(s.Node.Daemon("ladle").PID(), sig); err != nil {
			t.Fatal(err)
		}
		waitReady(t, s, i+2)
		other := s.Push("busybox", formats[i])
		s.Pull("ladle", other)
		if got := s.Run("ladle", other, "echo", "runs"); got != "runs\n" {
			t.Errorf("a new container says %q", got)
		}
	}
	if err := <-ended; err != nil {
		t.Fatalf("the container ended with %v", err)
	}
	if got := sorted(out.String()); !slices.Equal(got, *want) {
		t.Errorf("the container read %d files, %d on overlayfs, or other bytes", len(got), len(*want))
	}
}

// asService is d, run by internal/servicetest/service.
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

// waitReady waits for the n-th daemon of the service to be ready.
func waitReady(t *testing.T, s *stacktest.T, n int) {
	t.Helper()
	wait(t, "a new daemon", func() bool {
		log, err := os.ReadFile(s.Node.Daemon("ladle").LogFile)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Contains(log, fmt.Appendf(nil, "service: ready %d\n", n))
	})
}

func sorted(out string) []string {
	all := strings.Split(strings.TrimSpace(out), "\n")
	slices.Sort(all)
	return all
}

// lines is output that is read while it comes.
type lines struct {
	mu struct {
		sync.Mutex
		bytes.Buffer
	}
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.String()
}

func (l *lines) count() int { return strings.Count(l.String(), "\n") }
