package fs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/sys/userns"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/durable"
	"github.com/ladle-dev/ladle/erofs"
	"github.com/ladle-dev/ladle/tree"
)

// probe mounts a tree with one file below the root by d, calls try with a directory for
// other mounts and the path of the tree, and unmounts the tree.
//
// The files that it creates are not removed, so that the next probe needs no space.
func (f *FileSystem) probe(d driver, try func(dir, tree string) error) (err error) {
	dir := f.probeDir()
	p := &plan{
		number: maxNumber,
		image:  filepath.Join(dir, "image"),
		layers: []Layer{probeLayer{}},
		target: filepath.Join(dir, "tree"),
		tree:   probeLayer{}.Tree,
	}
	if err := writeProbe(p); err != nil {
		return err
	}
	if err := f.export.addLayers(p.layers); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.export.dropLayers(p.layers)) }()
	if err := d.mount(p); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unmount(p.target), d.release(p)) }()
	return try(dir, p.target)
}

func writeProbe(p *plan) error {
	for _, name := range []string{"tree", "empty", "first", "second"} {
		if err := os.MkdirAll(filepath.Join(filepath.Dir(p.image), name), 0o700); err != nil {
			return err
		}
	}
	root, err := p.tree()
	if err != nil {
		return err
	}
	var image memory
	if _, err = erofs.Write(&image, root, erofs.Options{Devices: deviceSizes(p.layers)}); err != nil {
		return err
	}
	if existing, err := os.ReadFile(p.image); err == nil && bytes.Equal(existing, image) {
		return nil
	}
	return durable.Write(p.image, image)
}

// memory is a file in memory.
type memory []byte

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if end := off + int64(len(p)); end > int64(len(*m)) {
		*m = append(*m, make([]byte, end-int64(len(*m)))...)
	}
	return copy((*m)[off:], p), nil
}

// readThroughOverlays finds out whether a driver works: it reads the file of the tree lower
// through two overlays, as in a container within a container.
//
// The second overlay detects kernels on which a file-backed EROFS counts as one of the
// two permitted levels of stacking, as it did before January 2026.
func readThroughOverlays(dir, lower string) (err error) {
	for _, name := range []string{"first", "second"} {
		target := filepath.Join(dir, name)
		if err := mountProbeOverlay(dir, lower, target); err != nil {
			return fmt.Errorf("%s overlay: %w", name, err)
		}
		defer func() { err = errors.Join(err, unmount(target)) }()
		lower = target
	}
	got, err := os.ReadFile(filepath.Join(lower, probeName))
	if err != nil {
		return err
	}
	if !bytes.Equal(got, probeContent) {
		return errors.New("a file has wrong content when read through two overlays")
	}
	return nil
}

// mountProbeOverlay mounts an overlay over lower, and an empty directory of dir, at target.
func mountProbeOverlay(dir, lower, target string) error {
	options := "lowerdir=" + filepath.Join(dir, "empty") + ":" + lower
	if userns.RunningInUserNS() {
		options += ",userxattr"
	}
	return unix.Mount("overlay", target, "overlay", unix.MS_RDONLY, options)
}

const probeName = "probe"

var probeContent = []byte(strings.Repeat("not zero", tree.BlockSize/4/8*5)) // more than a block

// probeLayer is a layer with one file.
type probeLayer struct{}

func (probeLayer) Number() uint64  { return maxNumber }
func (probeLayer) DataSize() int64 { return int64(len(probeContent)) }
func (probeLayer) Close() error    { return nil }

func (probeLayer) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	return copy(p, probeContent[off:]), nil
}

func (probeLayer) Tree() (*tree.Inode, error) {
	root := tree.NewDir(0o755)
	root.Dir.Add(probeName, &tree.Inode{Mode: unix.S_IFREG | 0o600, Size: int64(len(probeContent))})
	return root, nil
}
