package merge_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/moby/buildkit/identity"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/idmap"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/merge"
	"github.com/ladle-dev/ladle/store"
)

// trees is lazy layers: each is the upper directory that the same change has in
// the other world. Trees over them are really mounted, so that nothing can be
// linked out of them, and stay mounted until the test ends.
type trees struct {
	root string
	mu   struct {
		sync.Mutex
		layers map[store.ID]string
		paths  map[store.SpecKey]string
		made   int
	}
}

func newTrees(t *testing.T) *trees {
	l := &trees{root: tempDir(t)}
	l.mu.layers, l.mu.paths = map[store.ID]string{}, map[store.SpecKey]string{}
	t.Cleanup(func() {
		for _, path := range l.mu.paths {
			if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		}
	})
	return l
}

func idOf(key string) store.ID {
	return store.ID{Blob: digest.FromString(key), TOC: digest.FromString("TOC " + key)}
}

func (l *trees) Open(_ context.Context, req layer.Request) (store.ID, error) {
	return store.ID{Blob: req.Source.Digest, TOC: req.TOC}, nil
}

func (l *trees) Offer(string, string)                            {}
func (l *trees) Starting([]store.ID)                             {}
func (l *trees) Usage(store.ID) (bytes, inodes int64, err error) { return 0, 0, store.ErrNotFound }
func (l *trees) Proof(store.ID) store.Proof                      { return store.Proof{} }
func (l *trees) Release(context.Context, string) error           { return nil }
func (l *trees) Warm(store.Spec)                                 {}

// Nothing runs in a user namespace here.
func (l *trees) CanMap() error { return idmap.ErrUnsupported }

func (l *trees) MountMapped(context.Context, string, store.Spec, idmap.Mapping) (string, error) {
	return "", idmap.ErrUnsupported
}

func (l *trees) MountDir(context.Context, string, string, idmap.Mapping) (string, error) {
	return "", idmap.ErrUnsupported
}

func (l *trees) Mount(ctx context.Context, _ string, spec store.Spec) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if path := l.mu.paths[spec.Key()]; path != "" {
		return path, nil
	}
	path := filepath.Join(l.root, "l", fmt.Sprint(len(l.mu.paths)))
	if err := os.MkdirAll(path, 0o755); err != nil {
		return "", err
	}
	dirs, err := l.shownLocked(ctx, spec)
	if err != nil {
		return "", err
	}
	if len(dirs) == 1 && spec.Again > 0 { // overlayfs takes no directory twice
		dirs[0], err = l.copyLocked(dirs[0])
		if err != nil {
			return "", err
		}
	}
	if len(dirs) == 1 {
		err = unix.Mount(dirs[0], path, "", unix.MS_BIND, "")
	} else {
		err = unix.Mount("overlay", path, "overlay", unix.MS_RDONLY, "lowerdir="+strings.Join(dirs, ":"))
	}
	if err != nil {
		return "", fmt.Errorf("mount %+v: %w", spec, err)
	}
	l.mu.paths[spec.Key()] = path
	return path, nil
}

// shownLocked returns the directories that a tree is to show, the topmost first.
func (l *trees) shownLocked(ctx context.Context, spec store.Spec) ([]string, error) {
	switch spec.Kind {
	case store.Diff:
		diff, err := merge.Compare(ctx, l.dirsLocked(spec.Lower), l.dirsLocked(spec.Layers), merge.Options{})
		if err != nil {
			return nil, err
		}
		return l.makeLocked(ctx, diff)
	case store.Stack:
		var dirs []string
		for _, part := range spec.Diffs() {
			dir, err := l.shownLocked(ctx, part)
			if err != nil {
				return nil, err
			}
			dirs = append(dir, dirs...)
		}
		diff, err := merge.Squash(ctx, dirs, merge.Options{})
		if err != nil {
			return nil, err
		}
		return l.makeLocked(ctx, diff)
	default:
		return l.dirsLocked(spec.Layers), nil
	}
}

func (l *trees) makeLocked(ctx context.Context, diff *merge.Diff) ([]string, error) {
	l.mu.made++
	dir := filepath.Join(l.root, fmt.Sprint("diff", l.mu.made))
	_, err := diff.Make(ctx, dir)
	return []string{dir}, err
}

// copyLocked copies a directory with all its attributes.
func (l *trees) copyLocked(dir string) (string, error) {
	l.mu.made++
	made := filepath.Join(l.root, fmt.Sprint("copy", l.mu.made))
	if out, err := exec.Command("cp", "-a", dir, made).CombinedOutput(); err != nil {
		return "", fmt.Errorf("copy %s: %w: %s", dir, err, out)
	}
	return made, nil
}

// dirsLocked returns the directories of layers, the topmost first.
func (l *trees) dirsLocked(layers []store.ID) []string {
	var dirs []string
	for _, id := range slices.Backward(layers) {
		dirs = append(dirs, l.mu.layers[id])
	}
	return dirs
}

// lazy makes a remote snapshot whose layer is the directory dir.
func (w world) lazy(ctx context.Context, t *testing.T, key, parent, dir string) {
	t.Helper()
	id := idOf(key)
	w.trees.mu.Lock()
	w.trees.mu.layers[id] = dir
	w.trees.mu.Unlock()
	_, err := w.Prepare(ctx, "extract "+key, parent, snapshots.WithLabels(map[string]string{
		snapshots.LabelSnapshotRef:                 key,
		"containerd.io/snapshot/cri.image-ref":     "registry.test/image:1",
		"containerd.io/snapshot/cri.layer-digest":  id.Blob.String(),
		"containerd.io/snapshot/cri.image-layers":  id.Blob.String(),
		"containerd.io/snapshot/stargz/toc.digest": id.TOC.String(),
	}))
	if !errdefs.IsAlreadyExists(err) {
		t.Fatal(errors.Join(errors.New("not lazy"), err))
	}
}

// own returns the directory of what a snapshot has above its parent.
func (w world) own(ctx context.Context, t *testing.T, key string) string {
	t.Helper()
	mounts, err := w.View(ctx, identity.NewID(), key)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range mounts[0].Options {
		if dirs, ok := strings.CutPrefix(o, "lowerdir="); ok {
			top, _, _ := strings.Cut(dirs, ":")
			return top
		}
	}
	return mounts[0].Source
}
