package fs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/ladle-dev/ladle/metrics"
	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
)

// Layer is what the kernel needs of a layer. *layer.Layer is one. It is used
// concurrently.
type Layer interface {
	// Number is the layer's alone for ever, and below 2^31-1.
	Number() uint64
	// DataSize is in bytes.
	DataSize() int64
	// ReadAt fills p from off of the data file, whole or with an error. That
	// matches context.DeadlineExceeded if the reader has waited for as long as
	// readers do. What is local is read whether ctx has ended or not.
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
	// Tree is not changed by the caller.
	Tree() (*tree.Inode, error)
	// Close gives the layer back. Every Layer that was handed out is closed
	// once.
	Close() error
}

// Images keeps tree images, and the chunk tables of layers. *store.Store does.
type Images interface {
	Layer(id store.ID) (*store.Layer, error)
	Tree(spec store.Spec) (store.TreeImage, error)
	AddTree(spec store.Spec, inodes uint64, write func(f *os.File, image store.TreeImage) error) (store.TreeImage, error)
}

// Options say what a FileSystem stands on. Root, Images and Layers are needed.
type Options struct {
	// Root is the directory below which everything is mounted. It exists,
	// on a filesystem that EROFS can be mounted from: ext4, xfs or btrfs,
	// not tmpfs or overlay. Its path is short: at most 200 bytes.
	Root   string
	Images Images
	// Layers opens a layer, without network.
	Layers func(store.ID) (Layer, error)
	// Driver is "erofs", "loop" or "fuse". Empty or "auto" takes the first
	// of these that works here.
	Driver   string
	Requests *metrics.Requests // nil counts nothing
	Mounts   *metrics.Mounts   // nil counts nothing
	// Takeover is the connection of a process that has ended without Close.
	// Its trees remain mounted; Mount finds them again, and until then what
	// the kernel asks of them waits. If New fails the connection is closed.
	// Nil makes a new export.
	Takeover *Connection
}

// LayersOf makes Options.Layers of a set like *layer.Set.
func LayersOf[L Layer](set interface{ Layer(store.ID) (L, error) }) func(store.ID) (Layer, error) {
	return func(id store.ID) (Layer, error) {
		l, err := set.Layer(id)
		if err != nil {
			return nil, err
		}
		return l, nil
	}
}

const maxRoot = 200 // bytes: fsconfig(2) takes 255 of a path below it

// FileSystem mounts trees. It may be used concurrently.
type FileSystem struct {
	root   string
	opts   Options
	export *export
	conn   *connection
	driver driver

	// lifetime ends with Close; what runs in the background ends with it.
	lifetime context.Context
	end      context.CancelFunc
	warming  sync.WaitGroup
	warmers  turn // of as many as may warm at once

	mu struct {
		sync.Mutex
		closed bool
		// trees holds every tree that is mounted or that a call is
		// about.
		trees map[store.SpecKey]*mounted
		// owned mirrors mounted.owners.
		owned map[string]map[*mounted]struct{}
	}
}

// New makes the export below opts.Root and chooses the driver. What a killed
// process left mounted there is taken away first. ctx is for the duration of
// the call; its values (the logger) are kept until Close.
func New(ctx context.Context, opts Options) (_ *FileSystem, err error) {
	f, err := prepare(ctx, opts)
	if err != nil {
		if opts.Takeover != nil {
			err = errors.Join(err, opts.Takeover.Device.Close())
		}
		return nil, fmt.Errorf("fs: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(context.WithoutCancel(ctx)))
		}
	}()
	if opts.Takeover != nil {
		f.conn, err = takeOver(f.export, f.exportDir(), *opts.Takeover)
	} else {
		f.conn, err = connect(f.export, f.exportDir())
	}
	if err != nil {
		return nil, fmt.Errorf("fs: %w", err)
	}
	if f.driver, err = f.choose(ctx); err != nil {
		return nil, fmt.Errorf("fs: %w", err)
	}
	return f, nil
}

func prepare(ctx context.Context, opts Options) (*FileSystem, error) {
	root, err := filepath.Abs(opts.Root)
	if err != nil {
		return nil, err
	}
	if root, err = filepath.EvalSymlinks(root); err != nil {
		return nil, err
	}
	if len(root) > maxRoot {
		return nil, fmt.Errorf("%s: path longer than %d bytes", root, maxRoot)
	}
	f := &FileSystem{root: root, opts: opts, warmers: make(turn, 2)}
	f.mu.trees = map[store.SpecKey]*mounted{}
	f.mu.owned = map[string]map[*mounted]struct{}{}
	if err := f.clean(ctx); err != nil {
		return nil, err
	}
	dirs := []string{f.treesDir(), f.exportDir()}
	if opts.Takeover != nil {
		dirs = dirs[:1] // the export is there, and nobody serves it: even stat(2) may wait
	}
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	f.lifetime, f.end = context.WithCancel(context.WithoutCancel(ctx))
	f.export = newExport(f.lifetime, opts)
	return f, nil
}

// clean detaches what an earlier process left mounted, unless it is taken over.
// The directories stay: they are going to be mounted on again, and on a full disk
// there would be no room for new ones.
func (f *FileSystem) clean(ctx context.Context) error {
	dirs := []string{f.probeDir()}
	if f.opts.Takeover == nil {
		dirs = append(dirs, f.exportDir(), f.treesDir())
	}
	return detachStale(ctx, dirs...)
}

func (f *FileSystem) exportDir() string { return filepath.Join(f.root, "f") }
func (f *FileSystem) treesDir() string  { return filepath.Join(f.root, "l") }
func (f *FileSystem) probeDir() string  { return filepath.Join(f.root, "probe") }

// Driver returns the name of the driver in use: erofs, loop or fuse.
func (f *FileSystem) Driver() string { return string(f.driver.name()) }

// Requests returns how many requests the kernel has sent to the export, by
// operation; every operation is there.
func (f *FileSystem) Requests() map[metrics.Op]uint64 { return f.export.counts.snapshot() }

// Close unmounts everything, waiting until ctx ends at most. Reads that are
// under way fail. Only the first call does something. The directories stay on which
// trees were mounted, for the next process: see clean.
func (f *FileSystem) Close(ctx context.Context) error {
	if !f.shut() {
		return nil
	}
	f.end()
	f.warming.Wait()
	err := removeEmpty(f.treesDir()) // but for those that are mounted on
	err = errors.Join(err, f.unmountAll(ctx))
	if f.opts.Takeover != nil { // trees of before that nobody mounted again
		err = errors.Join(err, detachStale(ctx, f.treesDir()))
	}
	if f.conn != nil {
		err = errors.Join(err, f.conn.close(ctx))
	}
	err = errors.Join(err, f.export.close())
	if err != nil {
		return fmt.Errorf("fs: %w", err)
	}
	return nil
}
