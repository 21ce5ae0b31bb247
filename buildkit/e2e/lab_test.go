package e2e

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ladle-dev/ladle/buildkit/worker"
	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/link"
	"github.com/ladle-dev/ladle/test/stack"
	"github.com/ladle-dev/ladle/test/stacktest"
)

// The kinds of workers. Those on ladle share one daemon: the containerd workers
// have its main endpoint, by way of containerd, and OCI workers one each.
const (
	onOverlayfs        = "overlayfs"
	onOCI              = "oci"
	onContainerd       = "containerd"
	ladleOnOCI         = "ladle-oci" // ladle-buildkitd
	ladleOnContainerd  = "ladle-containerd"
	ladleOnOverlayfs   = "ladle-overlayfs" // the same, and no ladle
	mergingSnapshotter = "any-name"        // of ladle in the OCI worker of ladle-buildkitd
)

// onLadle are the kinds of workers that run on ladle: stock those of BuildKit's
// own daemon, and merging those of ladle-buildkitd. Its containerd worker is in
// fewer tests: what it does differently is where a call passes.
var (
	stock   = []string{onOCI, onContainerd}
	merging = []string{ladleOnOCI, ladleOnContainerd}
	onLadle = append(stock, ladleOnOCI)
)

func everyKind() []string { return append([]string{onOverlayfs}, onLadle...) }

// plugin is the name of ladle in containerd and in BuildKit's own daemon, which
// asks for lazy layers only by this name.
const plugin = "stargz"

// onlyDemand lets nothing be fetched but what somebody reads.
const onlyDemand = "noprefetch = true\nno_background_fetch = true\n"

// lab is a stack with BuildKit's workers.
type lab struct {
	*stacktest.T
	dir     string // of the workers
	base    string // reference of the lazy image that builds start from
	workers map[string]*worker.Worker
}

// labOptions say what a lab has besides ladle and an image.
type labOptions struct {
	kinds   []string     // of workers
	profile link.Profile // of the link; zero: as fast as the machine
	config  string       // of ladle
	fills   bool         // ladle fills layers in the background
	root    string       // of ladle; "": in a directory of the stack
	recipe  string       // of the lazy image; "": debian-python
}

// smallRecipe is that of a lazy image for tests that ask nothing of its contents: a
// shell and two layers more, which overlayfs unpacks in no time.
const smallRecipe = "hostile-parents"

// newLab starts a stack and workers.
func newLab(t *testing.T, o labOptions) lab {
	t.Helper()
	// On a disk, and short: the address of a socket has at most 107 bytes.
	dir, err := os.MkdirTemp("/var/tmp", "ladle-buildkit-")
	if err != nil {
		t.Fatal(err)
	}
	l := lab{dir: dir, workers: map[string]*worker.Worker{}}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	config := o.config
	if !o.fills {
		config = onlyDemand + config
	}
	for _, kind := range []string{onOCI, ladleOnOCI} {
		config += fmt.Sprintf("[[endpoint]]\nname = %q\naddress = %q\n", kind, l.endpoint(kind))
	}
	ladle := stack.Ladle(plugin, config)
	if o.root != "" {
		ladle.After = append(ladle.After, "--root", o.root) // the last one counts
	}
	l.T = stacktest.New(t, stack.Options{Profile: o.profile, Daemons: []stack.Daemon{ladle}})
	all := map[string]worker.Options{}
	for _, kind := range o.kinds {
		all[kind] = l.options(kind)
	}
	var pushing errgroup.Group
	defer pushing.Wait() //nolint:errcheck // if a worker does not start
	var base string
	pushing.Go(func() (err error) {
		base, err = l.Stack.PushImage(t.Context(), cmp.Or(o.recipe, "debian-python"), image.EStargz)
		return err
	})
	l.startWorkers(all)
	if err := pushing.Wait(); err != nil {
		t.Fatal(err)
	}
	l.base = base
	return l
}

// endpoint is the socket of an OCI worker's endpoint.
func (l lab) endpoint(kind string) string { return filepath.Join(l.dir, kind+".sock") }

// options are those of a worker.
func (l lab) options(kind string) worker.Options {
	o := worker.Options{Dir: filepath.Join(l.dir, kind), Registries: []string{l.Link.Addr()}}
	switch kind {
	case onOverlayfs:
		o.Snapshotter = "overlayfs"
	case onOCI:
		o.Snapshotter, o.Proxy = plugin, l.endpoint(kind)
	case onContainerd:
		o.Snapshotter, o.Containerd = plugin, l.Node.Address
	case ladleOnOCI:
		o.Snapshotter, o.Proxy, o.Ladle = mergingSnapshotter, l.endpoint(kind), true
	case ladleOnOverlayfs:
		o.Snapshotter, o.Ladle = "overlayfs", true
	case ladleOnContainerd:
		o.Snapshotter, o.Containerd, o.Ladle = plugin, l.Node.Address, true
	}
	return o
}

// startWorker starts a worker as o says. It stops before the stack does.
func (l lab) startWorker(kind string, o worker.Options) {
	l.Helper()
	l.startWorkers(map[string]worker.Options{kind: o})
}

// startWorkers starts workers as their options say, by kind, all at once. They stop
// before the stack does.
func (l lab) startWorkers(all map[string]worker.Options) {
	l.Helper()
	var mu sync.Mutex // of started
	started := map[string]*worker.Worker{}
	var starting errgroup.Group
	for kind, o := range all {
		starting.Go(func() error {
			w, err := worker.Start(l.Context(), o)
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				started[kind] = w
			}
			return err
		})
	}
	err := starting.Wait()
	l.Cleanup(func() {
		var closing errgroup.Group
		for _, w := range started {
			if l.Failed() {
				l.Log(w.Log())
			}
			closing.Go(w.Close)
		}
		if err := closing.Wait(); err != nil {
			l.Error(err)
		}
	})
	if err != nil {
		l.Fatal(err)
	}
	maps.Copy(l.workers, started)
}

// restart calls the Start of a daemon or worker.
func (l lab) restart(start func(context.Context) error) {
	l.Helper()
	// Not the context of a subtest: what is started lives on.
	if err := start(context.WithoutCancel(l.Context())); err != nil {
		l.Fatal(err)
	}
}

// restartLadle starts ladle again and waits until its clients have noticed.
func (l lab) restartLadle() {
	l.Helper()
	l.restart(l.Node.Daemon(plugin).Start)
	for kind := range l.workers {
		l.awaitLadle(kind)
	}
}

// awaitLadle waits until a worker has noticed that ladle runs again: for three
// seconds after it found nobody, or no socket, it does not try.
func (l lab) awaitLadle(kind string) {
	l.Helper()
	dir := l.project(map[string]string{"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		_, err := l.tryBuild(kind, dir, "", "")
		if err == nil {
			return
		}
		away := strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "connect: no such file or directory")
		if time.Now().After(deadline) || !away {
			l.Fatal(err)
		}
	}
}

// cut takes the registry away from the node, and mend gives it back.
func (l lab) cut() {
	l.Helper()
	if err := l.Link.Close(); err != nil {
		l.Fatal(err)
	}
}

func (l lab) mend() {
	l.Helper()
	var err error
	if l.Link, err = l.Link.Again(link.Profile{}); err != nil {
		l.Fatal(err)
	}
}

// as is l, failing another test: a subtest.
func (l lab) as(t *testing.T) lab {
	l.T = &stacktest.T{Stack: l.Stack, TB: t}
	return l
}

// project writes the files of a build, a Dockerfile among them, and returns
// their directory.
func (l lab) project(files map[string]string) string {
	l.Helper()
	dir := l.TempDir()
	for name, content := range files {
		write(l.TB, filepath.Join(dir, name), content)
	}
	return dir
}

func write(t testing.TB, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// build builds a project on one worker, with BASE as a build argument, and
// pushes the image as name unless that is "". It returns the reference.
func (l lab) build(kind, dir, name string) (ref string) {
	l.Helper()
	return l.buildTo(kind, dir, name, "rewrite-timestamp=true")
}

// buildTo is build with options of the output.
func (l lab) buildTo(kind, dir, name, options string) (ref string) {
	l.Helper()
	ref, err := l.tryBuild(kind, dir, name, options)
	if err != nil {
		l.Fatal(err)
	}
	return ref
}

func (l lab) tryBuild(kind, dir, name, options string) (ref string, err error) {
	return l.try(kind, worker.Build{Dir: dir, Args: l.args()}, name, options)
}

func (l lab) try(kind string, b worker.Build, name, options string) (ref string, err error) {
	if name != "" {
		ref = fmt.Sprintf("%s/%s:%s", l.Link.Addr(), name, kind)
		// Without store=false the containerd worker's output includes an image
		// in containerd, which is complete: all layers are pulled for it.
		b.Output = "type=image,push=true,store=false,name=" + ref + "," + options
	}
	began := time.Now()
	_, err = l.workers[kind].Build(l.Context(), b)
	c := l.Link.Counters()
	l.Logf("%s on %s: %.2f s; link since the last reset: %d requests, %d bytes down, %d up",
		name, kind, time.Since(began).Seconds(), c.Requests, c.BytesDown, c.BytesUp)
	return ref, err
}

func (l lab) args() map[string]string {
	return map[string]string{"BASE": l.base, "SOURCE_DATE_EPOCH": "1700000000"}
}

// fetched is how many bytes passed the link towards the node since its
// counters were reset, and size what an image's layers have.
func (l lab) fetched() int64 { return l.Link.Counters().BytesDown }

func (l lab) size(ref string) (size int64) {
	l.Helper()
	for _, s := range l.layers(ref) {
		size += s
	}
	return size
}
