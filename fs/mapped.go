package fs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/idmap"
	"github.com/ladle-dev/ladle/store"
)

// clones are what a FileSystem needs for clones.
type clones struct {
	impossible error // why owners cannot be mapped; nil: they can
	namespaces namespaces
}

// CanMap returns nil, or the reason why MountMapped and MountDir cannot succeed.
func (f *FileSystem) CanMap() error { return f.clones.impossible }

// MountMapped is Mount for a clone of the tree that shows the files with other owners. The
// clone is at ROOT/m/MAPPING/NUMBER, and is shared by those owners that have the same mapping.
// The tree is mounted, too.
func (f *FileSystem) MountMapped(ctx context.Context, owner string, spec store.Spec, ids idmap.Mapping) (string, error) {
	source, err := f.Mount(ctx, owner, spec)
	if err != nil {
		return "", err
	}
	c := &clone{source: source, name: filepath.Base(source), ids: ids}
	return f.shareClone(ctx, key{tree: spec.Key(), ids: ids.String()}, owner, c)
}

// MountDir mounts a clone of the directory dir that shows the files below it with other
// owners, and is read-only. It is at ROOT/m/MAPPING/d-NAME, where NAME is that of the directory
// which dir is in: no two directories dir have the same. Mounts below dir are not in the clone.
func (f *FileSystem) MountDir(ctx context.Context, owner, dir string, ids idmap.Mapping) (string, error) {
	c := &clone{source: dir, name: "d-" + filepath.Base(filepath.Dir(dir)), ids: ids}
	return f.shareClone(ctx, key{dir: dir, ids: ids.String()}, owner, c)
}

// clone is a directory, or the root of a tree, that is mounted again with other owners.
type clone struct {
	source string
	name   string // of its mount point, among those of the same mapping
	ids    idmap.Mapping

	target string
	// adopted: it was mounted by the process before the takeover.
	adopted bool
}

func (f *FileSystem) shareClone(ctx context.Context, k key, owner string, c *clone) (string, error) {
	c.target = filepath.Join(f.mappedDir(), c.ids.Name(), c.name)
	path, err := f.share(ctx, k, owner, func() (attached, error) {
		if err := f.attachClone(c); err != nil {
			return nil, err
		}
		return c, nil
	})
	if err != nil {
		return "", fmt.Errorf("fs: clone of %s with other owners: %w", c.source, err)
	}
	return path, nil
}

// attachClone mounts c, or adopts it from the process before a takeover.
func (f *FileSystem) attachClone(c *clone) error {
	err := makeMountPoint(c.target)
	if errors.Is(err, os.ErrExist) {
		if c.adopted, err = f.adoptClone(c); err != nil || c.adopted {
			return err
		}
	}
	if err == nil {
		err = f.mountClone(c)
	}
	if err != nil {
		_ = os.Remove(c.target) // err is the error to return
	}
	return err
}

// adoptClone reports whether c is mounted already. It unmounts another mount of the process
// before, of a tree that was mounted anew since.
func (f *FileSystem) adoptClone(c *clone) (bool, error) {
	mounts, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(c.target))
	if err != nil || len(mounts) == 0 {
		return false, err
	}
	if f.opts.Takeover == nil {
		return false, fmt.Errorf("another mount is at %s", c.target)
	}
	if is, err := c.isMount(mounts[0]); err != nil || is {
		return is, err
	}
	return false, unmount(c.target)
}

func (f *FileSystem) mountClone(c *clone) error {
	ns, err := f.clones.namespaces.acquire(c.ids)
	if err != nil {
		return err
	}
	if err := idmap.Clone(c.source, c.target, ns); err != nil {
		return errors.Join(err, f.clones.namespaces.release(c.ids))
	}
	return nil
}

// makeMountPoint makes a directory, and the one above it, which another call may be removing.
func makeMountPoint(dir string) (err error) {
	for range 100 {
		if err = os.Mkdir(dir, 0o700); !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
			return err
		}
	}
	return err
}

// isMount reports whether m, which is at c.target, is c. The path has a name of the mapping in
// it; this looks at what the mount tells of itself.
func (c *clone) isMount(m *mountinfo.Info) (bool, error) {
	if !slices.Contains(strings.Split(m.Options, ","), "idmapped") {
		return false, nil
	}
	var there, here unix.Stat_t
	if err := errors.Join(unix.Stat(c.target, &there), unix.Stat(c.source, &here)); err != nil {
		return false, err
	}
	user, isUser := c.ids.User(here.Uid)
	group, isGroup := c.ids.Group(here.Gid)
	same := there.Dev == here.Dev && there.Ino == here.Ino
	return same && (!isUser || user == there.Uid) && (!isGroup || group == there.Gid), nil
}

func (c *clone) path() string { return c.target }

// detached removes the mount point, except during Close, and the directory of the mapping if
// it was the last clone with it.
func (c *clone) detached(f *FileSystem) error {
	var err error
	if !c.adopted {
		err = f.clones.namespaces.release(c.ids)
	}
	if f.lifetime.Err() == nil {
		err = errors.Join(err, os.Remove(c.target))
		_ = os.Remove(filepath.Dir(c.target)) // fails if there is another clone
	}
	return err
}

// removeEmptyClones removes the mount points of clones that are not mounted.
func removeEmptyClones(dir string) error {
	mappings, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, m := range mappings {
		err = errors.Join(err, removeEmpty(filepath.Join(dir, m.Name())))
	}
	return errors.Join(err, removeEmpty(dir))
}
