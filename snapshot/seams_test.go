package snapshot

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/continuity/fs"
	"github.com/moby/sys/mountinfo"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/idmap"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/merge"
	"github.com/ladle-dev/ladle/store"
)

// disk is what the lower packages keep: layers as directories of change sets
// as overlayfs stores them, and trees over them that are really mounted, one
// layer as a bind mount, several as a read-only overlay. It serves as Layers
// and Trees and outlives the endpoints over it.
type disk struct {
	root string

	mu struct {
		sync.Mutex
		layers  map[store.ID]bool
		proofs  map[store.ID]store.Proof
		numbers map[store.SpecKey]int      // of trees, by layers, for ever
		owners  map[string]map[string]bool // of mounted trees, by path
		warmed  []store.Spec
		calls   []string
		open    func(context.Context, layer.Request) (store.ID, error) // nil: every layer with a TOC is there
		mapping error                                                  // of CanMap
	}
}

func newDisk(t testing.TB) *disk {
	t.Helper()
	d := &disk{root: tempDir(t)}
	d.mu.layers = map[store.ID]bool{}
	d.mu.numbers = map[store.SpecKey]int{}
	d.mu.owners = map[string]map[string]bool{}
	t.Cleanup(func() {
		d.unmount(t)
		noMounts(t, d.root)
	})
	return d
}

// tempDir returns a directory with a short path, as lowerdirs should have.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "snapshot-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() { // nothing below may be a mount when it is deleted
			unmountBelow(t, dir)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// idOf returns the identity of the test layer called name.
func idOf(name string) store.ID {
	return store.ID{Blob: digest.FromString("blob of " + name), TOC: digest.FromString("TOC of " + name)}
}

// dir returns the directory of a layer.
func (d *disk) dir(id store.ID) string {
	return filepath.Join(d.root, "layers", digest.FromString(id.Blob.String() + id.TOC.String()).Encoded()[:12])
}

// addLayer makes a layer of files: a value is the content, an empty one a
// whiteout.
func (d *disk) addLayer(t testing.TB, name string, files map[string]string) store.ID {
	t.Helper()
	id := idOf(name)
	dir := d.dir(id)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for path, content := range files {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if content == "" {
			err = unix.Mknod(path, unix.S_IFCHR, 0)
		} else {
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.layers[id] = true
	return id
}

func (d *disk) removeLayer(id store.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.mu.layers, id)
}

func (d *disk) has(id store.ID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mu.layers[id]
}

// drop drops unclaimed layers as store.Remove does it: layers can be opened
// between its question and the deed.
func (d *disk) drop(_ context.Context, claimed func(store.ID) bool) error {
	d.mu.Lock()
	all := slices.Collect(maps.Keys(d.mu.layers))
	d.mu.Unlock()
	for _, id := range all {
		if !claimed(id) {
			time.Sleep(time.Millisecond)
			d.removeLayer(id)
		}
	}
	return nil
}

// setOpen makes Open ask f.
func (d *disk) setOpen(f func(context.Context, layer.Request) (store.ID, error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.open = f
}

func (d *disk) Open(ctx context.Context, req layer.Request) (store.ID, error) {
	d.mu.Lock()
	open := d.mu.open
	d.mu.Unlock()
	if open != nil {
		return open(ctx, req)
	}
	id := store.ID{Blob: req.Source.Digest, TOC: req.TOC}
	if !d.has(id) {
		return store.ID{}, fmt.Errorf("no index: %w", layer.ErrNotLazy)
	}
	return id, nil
}

func (d *disk) Offer(ref, socket string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.calls = append(d.mu.calls, "offer "+ref+" "+socket)
}

func (d *disk) Starting(layers []store.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.calls = append(d.mu.calls, fmt.Sprint("starting ", len(layers)))
}

func (d *disk) Usage(id store.ID) (bytes, inodes int64, err error) {
	if !d.has(id) {
		return 0, 0, store.ErrNotFound
	}
	u, err := fs.DiskUsage(context.Background(), d.dir(id))
	return u.Size, u.Inodes, err
}

func (d *disk) Proof(id store.ID) store.Proof {
	if diffID := id.Imported(); diffID != "" {
		return store.Proof{DiffID: diffID}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mu.proofs[id]
}

func (d *disk) Mount(_ context.Context, owner string, spec store.Spec) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, id := range spec.All() {
		if !d.mu.layers[id] {
			return "", fmt.Errorf("layer %s: %w", id.Blob, store.ErrNotFound)
		}
	}
	path := d.treeLocked(spec)
	d.mu.calls = append(d.mu.calls, "mount "+owner)
	if d.mu.owners[path] == nil {
		if err := d.mountTree(path, spec); err != nil {
			return "", err
		}
		d.mu.owners[path] = map[string]bool{}
	}
	d.mu.owners[path][owner] = true
	return path, nil
}

// tree returns where the tree that spec says is or will be.
func (d *disk) tree(spec store.Spec) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.treeLocked(spec)
}

func (d *disk) treeLocked(spec store.Spec) string {
	key := spec.Key()
	if d.mu.numbers[key] == 0 {
		d.mu.numbers[key] = len(d.mu.numbers) + 1
	}
	return filepath.Join(d.root, "l", fmt.Sprint(d.mu.numbers[key]))
}

func (d *disk) mountTree(path string, spec store.Spec) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	switch spec.Kind {
	case store.Diff:
		if err := d.makeDiff(path+"-diff", spec); err != nil {
			return err
		}
		return unix.Mount(path+"-diff", path, "", unix.MS_BIND, "")
	case store.Stack:
		if err := d.makeStack(path+"-stack", spec); err != nil {
			return err
		}
		return unix.Mount(path+"-stack", path, "", unix.MS_BIND, "")
	}
	if len(d.dirs(spec.Layers)) == 1 {
		dir := d.dir(spec.Layers[0])
		if spec.Again > 0 || spec.Kind == store.Lowest {
			own, whiteouts := path+"-own", ""
			if spec.Kind == store.Lowest {
				whiteouts = "c"
			}
			script := `rm -rf "$2" && cp -a "$1" "$2" && find "$2" -type "${3:-c}" ${3:+-delete}`
			if out, err := exec.Command("sh", "-c", script, "sh", dir, own, whiteouts).CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			dir = own
		}
		return unix.Mount(dir, path, "", unix.MS_BIND, "")
	}
	return unix.Mount("overlay", path, "overlay", unix.MS_RDONLY, "lowerdir="+strings.Join(d.dirs(spec.Layers), ":"))
}

// makeDiff makes the directory of a Diff.
func (d *disk) makeDiff(path string, spec store.Spec) error {
	diff, err := merge.Compare(context.Background(), d.dirs(spec.Lower), d.dirs(spec.Layers), merge.Options{})
	if err == nil {
		_, err = diff.Make(context.Background(), path)
	}
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	return err
}

// makeStack makes the directory of a Stack.
func (d *disk) makeStack(path string, spec store.Spec) error {
	var dirs []string
	for i, part := range spec.Diffs() {
		dirs = append(dirs, fmt.Sprint(path, "-", i))
		if err := d.makeDiff(dirs[i], part); err != nil {
			return err
		}
	}
	slices.Reverse(dirs)
	diff, err := merge.Squash(context.Background(), dirs, merge.Options{})
	if err == nil {
		_, err = diff.Make(context.Background(), path)
	}
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	return err
}

// dirs returns the directories of layers, the topmost first.
func (d *disk) dirs(layers []store.ID) []string {
	var dirs []string
	for _, id := range slices.Backward(layers) {
		if dir := d.dir(id); !slices.Contains(dirs, dir) { // the kernel takes none twice
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

func (d *disk) CanMap() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mu.mapping
}

func (d *disk) setCanMap(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.mapping = err
}

// MountMapped clones what is mounted for a tree. An overlay cannot be cloned: a copy of it is.
func (d *disk) MountMapped(ctx context.Context, owner string, spec store.Spec, ids idmap.Mapping) (string, error) {
	source, err := d.Mount(ctx, owner, spec)
	if err != nil {
		return "", err
	}
	target := filepath.Join(d.root, "m", ids.Name(), filepath.Base(source))
	if spec.Kind == store.Lowest && len(d.dirs(spec.Layers)) > 1 {
		script := `test -d "$2" || cp -a "$1" "$2"`
		if out, err := exec.Command("sh", "-c", script, "sh", source, source+"-copy").CombinedOutput(); err != nil {
			return "", fmt.Errorf("%w: %s", err, out)
		}
		source += "-copy"
	}
	return target, d.clone(owner, source, target, ids)
}

func (d *disk) MountDir(_ context.Context, owner, dir string, ids idmap.Mapping) (string, error) {
	target := filepath.Join(d.root, "m", ids.Name(), "d-"+filepath.Base(filepath.Dir(dir)))
	return target, d.clone(owner, dir, target, ids)
}

func (d *disk) clone(owner, source, target string, ids idmap.Mapping) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.calls = append(d.mu.calls, "clone "+owner)
	if d.mu.owners[target] == nil {
		ns, err := ids.Namespace()
		if err != nil {
			return err
		}
		defer ns.Close()
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		if err := idmap.Clone(source, target, ns); err != nil {
			return err
		}
		d.mu.owners[target] = map[string]bool{}
	}
	d.mu.owners[target][owner] = true
	return nil
}

func (d *disk) Release(_ context.Context, owner string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.calls = append(d.mu.calls, "release "+owner)
	for path, owners := range d.mu.owners {
		delete(owners, owner)
		if len(owners) > 0 {
			continue
		}
		delete(d.mu.owners, path)
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			return err
		}
	}
	return nil
}

func (d *disk) Warm(spec store.Spec) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.warmed = append(d.mu.warmed, spec.Clone())
}

func (d *disk) warmed() []store.Spec {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mu.warmed
}

// takeCalls returns the mounts and releases since the last takeCalls.
func (d *disk) takeCalls() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	calls := d.mu.calls
	d.mu.calls = nil
	return calls
}

// allOwners returns who owns a mounted tree.
func (d *disk) allOwners() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[string]bool{}
	for _, owners := range d.mu.owners {
		maps.Copy(all, owners)
	}
	return slices.Sorted(maps.Keys(all))
}

// unmount ends all trees, as the end of a daemon does.
func (d *disk) unmount(t testing.TB) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for path := range d.mu.owners {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}
	clear(d.mu.owners)
}

func mountsBelow(t testing.TB, dir string) []string {
	t.Helper()
	infos, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, info := range slices.Backward(infos) {
		paths = append(paths, info.Mountpoint)
	}
	return paths
}

func noMounts(t testing.TB, dir string) {
	t.Helper()
	for _, path := range mountsBelow(t, dir) {
		t.Errorf("left mounted: %s", path)
	}
	unmountBelow(t, dir)
}

func unmountBelow(t testing.TB, dir string) {
	for _, path := range mountsBelow(t, dir) {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}
}
