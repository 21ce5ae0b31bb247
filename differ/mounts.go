package differ

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"
)

// layout is what the mount of a snapshot consists of.
type layout struct {
	dirs    []string // the topmost first; an upperdir is one of them
	options []string // of overlayfs, but for directories
}

// permitted are the options of overlay mounts that do not change what is compared, but for
// xino=, which has a value.
var permitted = []string{"index=off", userxattr}

const userxattr = "userxattr"

// layoutOf returns the layout of a mount as package snapshot makes it. ok is false for
// another one.
func layoutOf(mounts []mount.Mount) (l layout, ok bool) {
	if len(mounts) != 1 || mounts[0].Target != "" {
		return l, false
	}
	m := mounts[0]
	switch m.Type {
	case "bind":
		return layout{dirs: []string{m.Source}}, filepath.IsAbs(m.Source)
	case "overlay":
		return overlayLayout(m.Options)
	}
	return l, false
}

func overlayLayout(options []string) (l layout, ok bool) {
	var upper string
	for _, o := range options {
		key, value, _ := strings.Cut(o, "=")
		switch {
		case key == "lowerdir":
			l.dirs = strings.Split(value, ":")
		case key == "upperdir":
			upper = value
		case key == "workdir":
		case key == "xino", slices.Contains(permitted, o):
			l.options = append(l.options, o)
		default:
			return l, false
		}
	}
	if upper != "" {
		l.dirs = append([]string{upper}, l.dirs...)
	}
	odd := func(dir string) bool { return !filepath.IsAbs(dir) || strings.Contains(dir, `\`) }
	return l, len(l.dirs) > 0 && !slices.ContainsFunc(l.dirs, odd)
}

// readonly returns a mount that shows what l does and lets nobody write. An overlay mount
// without an upperdir is one.
func (l layout) readonly() mount.Mount {
	if len(l.dirs) == 1 {
		return mount.Mount{Type: "bind", Source: l.dirs[0], Options: []string{"ro", "rbind"}}
	}
	return l.overlay()
}

func (l layout) overlay() mount.Mount {
	options := append([]string{"lowerdir=" + strings.Join(l.dirs, ":")}, l.options...)
	return mount.Mount{Type: "overlay", Source: "overlay", Options: options}
}

// mounted calls do with a directory at which l is mounted meanwhile.
func (d *Differ) mounted(l layout, do func(root string) error) (err error) {
	root, err := os.MkdirTemp(d.opts.Root, "side-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unmount(root)) }()
	if err := mount.All([]mount.Mount{l.readonly()}, root); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	return do(root)
}

// unmount unmounts what is mounted at dir, if anything is, and removes dir.
func unmount(dir string) error {
	// A process that walks through all mounts may have it in use: the mount is gone from
	// its place all the same.
	if err := mount.UnmountAll(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	return os.Remove(dir)
}

// emptyMounts makes the directory root, and unmounts and removes what is in it.
func emptyMounts(root string) error {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(root)
	for _, e := range entries {
		err = errors.Join(err, unmount(filepath.Join(root, e.Name())))
	}
	return err
}
