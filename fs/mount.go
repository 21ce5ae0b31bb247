package fs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/containerd/log"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
)

// ErrClosed is returned by calls after Close.
var ErrClosed = errors.New("filesystem is closed")

// key identifies a tree, or a clone of a tree or a directory (mapped.go).
type key struct {
	tree store.SpecKey
	dir  string // of the clone of a directory
	ids  string // how a clone maps owners, as a text; "" for a tree
}

func (k key) isClone() bool { return k.ids != "" }

// attached is what is mounted at a path: *plan for a tree, *clone for a clone.
type attached interface {
	path() string
	// detached frees what it has, after it was unmounted.
	detached(f *FileSystem) error
}

// mounted is a tree or a clone that is mounted or has users.
type mounted struct {
	key key
	// turn has one unit: one call at a time mounts or unmounts it. The others wait
	// until their own ctx ends; if the first fails, the next tries for itself.
	turn *semaphore.Weighted

	// Written in its turn; nil if it is not mounted.
	at attached

	// Guarded by FileSystem.mu.
	owners map[string]struct{}
	users  int      // calls between enter and leave
	shown  attached // at, if it has owners
}

// Mount mounts the tree of spec for owner, and returns its path. owner is a name that the
// caller chooses; it can own several trees. A tree that is mounted already is shared.
// Mounting a tree again for the same owner has no effect. All layers of spec must be in
// the store, and remain there as long as the tree is mounted.
func (f *FileSystem) Mount(ctx context.Context, owner string, spec store.Spec) (string, error) {
	if err := spec.Check(); err != nil {
		return "", fmt.Errorf("fs: %w", err)
	}
	path, err := f.share(ctx, key{tree: spec.Key()}, owner, func() (attached, error) {
		p, err := f.mount(ctx, spec)
		if err != nil {
			f.opts.Mounts.Failed(f.driver.name())
			return nil, err
		}
		f.opts.Mounts.Mounted(f.driver.name(), 1)
		return p, nil
	})
	if err != nil {
		return "", fmt.Errorf("fs: mount of %d layers: %w", len(spec.Layers), err)
	}
	return path, nil
}

// share makes owner an owner of what k identifies, and returns its path. If it is not mounted
// yet, share calls mount in its turn.
func (f *FileSystem) share(ctx context.Context, k key, owner string, mount func() (attached, error)) (string, error) {
	m, err := f.enter(k)
	if err != nil {
		return "", err
	}
	defer f.leave(m)
	if err := m.turn.Acquire(ctx, 1); err != nil {
		return "", err
	}
	defer m.turn.Release(1)
	if f.lifetime.Err() != nil {
		return "", ErrClosed
	}
	if m.at == nil {
		at, err := mount()
		if err != nil {
			return "", err
		}
		m.at = at
	}
	f.own(m, owner, m.at)
	return m.at.path(), nil
}

// Release removes owner from all its trees and clones, and unmounts those without an owner.
// After an error owner may still own some of them; call Release again.
func (f *FileSystem) Release(ctx context.Context, owner string) error {
	var errs []error
	for _, m := range f.enterOwned(owner) {
		if err := f.release(ctx, m, owner); err != nil {
			errs = append(errs, err)
		}
		f.leave(m)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("fs: release of %s: %w", owner, err)
	}
	return nil
}

func (f *FileSystem) release(ctx context.Context, m *mounted, owner string) error {
	if err := m.turn.Acquire(ctx, 1); err != nil {
		return err
	}
	if m.at == nil || f.hasOthers(m, owner) {
		f.disown(m, owner)
		m.turn.Release(1)
		return nil
	}
	return f.unmount(ctx, m)
}

// Warm builds the tree image of spec in the background, so that a later Mount finds it in
// the store.
func (f *FileSystem) Warm(spec store.Spec) {
	if spec.Check() != nil {
		return // Mount fails
	}
	m, err := f.enterToWarm(key{tree: spec.Key()})
	if err != nil {
		return // closed
	}
	spec = spec.Clone()
	go func() {
		defer f.warming.Done()
		defer f.leave(m)
		if err := f.warm(m, spec); err != nil && f.lifetime.Err() == nil {
			log.G(f.lifetime).WithError(err).Warn("building a tree image in advance failed")
		}
	}()
}

func (f *FileSystem) warm(m *mounted, spec store.Spec) error {
	if err := f.warmers.Acquire(f.lifetime, 1); err != nil {
		return err
	}
	defer f.warmers.Release(1)
	if err := m.turn.Acquire(f.lifetime, 1); err != nil {
		return err
	}
	defer m.turn.Release(1)
	if m.at != nil {
		return nil
	}
	if _, err := f.opts.Images.Tree(f.lifetime, spec); !errors.Is(err, store.ErrNotFound) {
		return err
	}
	layers, err := f.openLayers(devicesOf(spec))
	if err != nil {
		return err
	}
	_, err = f.image(f.lifetime, spec, layers)
	return errors.Join(err, closeLayers(layers))
}

// mount is Mount for a tree that is not mounted. It runs in the tree's turn.
func (f *FileSystem) mount(ctx context.Context, spec store.Spec) (_ *plan, err error) {
	layers, err := f.openLayers(devicesOf(spec))
	if err != nil {
		return nil, err
	}
	image, err := f.image(ctx, spec, layers)
	if err != nil {
		return nil, errors.Join(err, closeLayers(layers))
	}
	if image.Number > maxNumber {
		return nil, errors.Join(fmt.Errorf("tree number %d is too large", image.Number), closeLayers(layers))
	}
	p := &plan{
		spec:   spec.Clone(),
		number: uint32(image.Number),
		image:  image.Path,
		inode:  image.FirstInode,
		layers: layers,
		tree:   func() (*tree.Inode, error) { return f.tree(spec, layers) },
		target: filepath.Join(f.treesDir(), strconv.FormatUint(image.Number, 10)),
	}
	if err := f.attach(ctx, p); err != nil {
		return nil, err
	}
	return p, nil
}

// attach exports p's layers and mounts p at its target. After an error nothing is
// exported or mounted.
func (f *FileSystem) attach(ctx context.Context, p *plan) error {
	if err := f.export.addLayers(p.layers); err != nil {
		return err
	}
	err := f.mountOrAdopt(ctx, p)
	if err != nil {
		_ = os.Remove(p.target) // err is the error to return
		return errors.Join(err, f.export.dropLayers(p.layers))
	}
	return nil
}

func (f *FileSystem) mountOrAdopt(ctx context.Context, p *plan) error {
	err := os.Mkdir(p.target, 0o700)
	if err == nil {
		return f.mountNew(ctx, p)
	}
	if !errors.Is(err, os.ErrExist) {
		return err
	}
	mounts, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(p.target))
	if err != nil {
		return err
	}
	if len(mounts) > 0 && mounts[0].FSType == f.driver.filesystem() {
		p.adopted = true
		return f.driver.adopt(p)
	}
	if err := unmount(p.target); err != nil { // a mount of another driver
		return err
	}
	return f.mountNew(ctx, p)
}

func (f *FileSystem) mountNew(ctx context.Context, p *plan) error {
	if f.driver.filesystem() == "erofs" {
		p.whole = wholeFiles(ctx, p.layers)
	}
	return f.driver.mount(p)
}

func (p *plan) path() string { return p.target }

// detached reverts attach after the target was unmounted. It removes the mount point,
// except during Close.
func (p *plan) detached(f *FileSystem) error {
	f.opts.Mounts.Mounted(f.driver.name(), -1)
	err := errors.Join(f.driver.release(p), f.export.dropLayers(p.layers))
	if f.lifetime.Err() == nil {
		err = errors.Join(err, os.Remove(p.target))
	}
	return err
}

// unmountAll unmounts every clone and every tree of any owner.
func (f *FileSystem) unmountAll(ctx context.Context) error {
	clones, trees := f.enterAll()
	err := f.unmountEach(ctx, clones)
	return errors.Join(err, f.unmountEach(ctx, trees))
}

// unmountEach unmounts what the caller has entered, several concurrently.
func (f *FileSystem) unmountEach(ctx context.Context, entered []*mounted) error {
	var g errgroup.Group
	g.SetLimit(8)
	for _, m := range entered {
		g.Go(func() error {
			defer f.leave(m)
			if err := m.turn.Acquire(ctx, 1); err != nil {
				return err
			}
			if m.at == nil {
				m.turn.Release(1)
				return nil
			}
			return f.unmount(ctx, m)
		})
	}
	return g.Wait()
}
