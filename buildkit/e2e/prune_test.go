package e2e

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// prune removes everything that a worker has built.
func (l lab) prune(kind string) {
	l.Helper()
	w := l.workers[kind]
	if err := w.Prune(l.Context()); err != nil {
		l.Fatal(err)
	}
	n, err := w.Records(l.Context())
	if err != nil {
		l.Fatal(err)
	}
	if n > 0 {
		l.Errorf("the %s worker has %d records after prune", kind, n)
	}
}

// left is what a daemon has on disk and mounted for all endpoints: directories
// of snapshots, layers and trees of the store, and mounts of trees.
func (l lab) left() []string {
	l.Helper()
	root := l.Node.Daemon(plugin).Root
	var left []string
	for _, pattern := range []string{"e/*/snapshots/[0-9n]*", "store/layers/*", "store/trees/*"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			l.Fatal(err)
		}
		left = append(left, found...)
	}
	for _, point := range append(mountsBelow(l.TB, root), mountsBelow(l.TB, l.dir)...) {
		if point != filepath.Join(root, "f") {
			left = append(left, "mounted: "+point)
		}
	}
	return left
}

// mountsBelow is the mount points below a directory, the last one first.
func mountsBelow(t testing.TB, dir string) (points []string) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if point := strings.Fields(line)[4]; strings.HasPrefix(point, dir+"/") {
			points = append(points, point)
		}
	}
	slices.Reverse(points)
	return points
}

// pruneAll prunes all workers on ladle, after which nothing must be left. A layer and
// its trees go when the kernel has closed the layer's data file, some time after the
// unmount.
func (l lab) pruneAll() {
	l.Helper()
	for kind := range l.workers {
		if kind != onOverlayfs {
			l.prune(kind)
		}
	}
	store := filepath.Join(l.Node.Daemon(plugin).Root, "store") + "/"
	left := l.left()
	for deadline := time.Now().Add(time.Minute); len(left) > 0 && time.Now().Before(deadline); left = l.left() {
		if slices.ContainsFunc(left, func(path string) bool { return !strings.HasPrefix(path, store) }) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	for _, path := range left {
		l.Errorf("after a prune of all workers there is %s", path)
		l.logTree(path)
	}
}

// After a prune nothing is left, on disk or mounted, but what other workers
// need; after all, nothing.
func TestPruneLeavesNothing(t *testing.T) {
	l := newLab(t, labOptions{kinds: onLadle})
	dir := l.context()
	write(t, filepath.Join(dir, "Dockerfile"), "ARG BASE\nFROM ${BASE} AS one\nRUN cat /etc/passwd >/one\nCOPY --link src /etc/src\n"+
		"RUN rm -r /etc/apt\nFROM ${BASE}\nCOPY --from=one /one /etc/src /two/\nRUN touch /three\n")
	for range 2 {
		for _, kind := range onLadle {
			l.build(kind, dir, "pruned")
		}
		l.prune(onOCI)
		for _, path := range l.left() {
			if strings.Contains(path, "/e/"+onOCI+"/") {
				t.Errorf("after a prune of the OCI worker there is %s", path)
			}
		}
		if layers, err := filepath.Glob(filepath.Join(l.Node.Daemon(plugin).Root, "store/layers/*")); err != nil || len(layers) == 0 {
			t.Errorf("the layers that the other workers need are gone: %v", err)
		}
		l.pruneAll()
	}
}

// logTree logs the first of the files below a directory.
func (l lab) logTree(dir string) {
	l.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if n++; n > 20 {
			return fs.SkipAll
		}
		l.Log(path)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.Log(err)
	}
}
